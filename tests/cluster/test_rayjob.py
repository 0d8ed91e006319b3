"""The study on Kubernetes: right by KubeRay's own schema, and open to nobody.

rayjob_crd.json.gz holds the schema of KubeRay 1.1's RayJob, unchanged, with its origin and its
licence (Apache-2.0) in `about`. What the manifest uses of later releases stands in `LATER` below.
"""

from __future__ import annotations

import copy
import gzip
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr as autoscaling_config,
)

from harness.config import StudyConfig
from pipelines.config import compose_config

ROOT = Path(__file__).parent.parent.parent
MANIFEST = ROOT / "conf" / "cluster" / "rayjob.yaml"
DOCKERFILE = ROOT / "conf" / "cluster" / "Dockerfile"
ENVIRONMENT = ROOT / "conf" / "cluster" / "environment.sh"
SCHEMA = Path(__file__).parent / "rayjob_crd.json.gz"

Node = dict[str, Any]

LATER: Node = {
    "authOptions": {
        "type": "object",
        "properties": {"mode": {"type": "string", "enum": ["disabled", "token"]}},
    },
}
"""Of rayClusterSpec, since KubeRay 1.5.1: written by hand after its API reference."""


def strict(schema: Node) -> Node:
    """Return an OpenAPI schema as JSON Schema that refuses what an API server would drop unsaid."""
    told = {k: v for k, v in schema.items() if not k.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        told["type"] = ["integer", "string"]
    if "items" in told:
        told["items"] = strict(told["items"])
    if isinstance(more := told.get("additionalProperties"), dict):
        told["additionalProperties"] = strict(more)
    elif told.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        told["properties"] = {k: strict(v) for k, v in told.get("properties", {}).items()}
        told["additionalProperties"] = False
    return told


def validator() -> Any:
    schema = json.loads(gzip.decompress(SCHEMA.read_bytes()))["schema"]
    properties = schema["properties"]
    # Kubernetes' own, of every kind of object: a reference that leads out of the file.
    properties["metadata"] = {
        "type": "object",
        "properties": {
            **{key: {"type": "string"} for key in ("name", "namespace")},
            **{key: {"additionalProperties": {}} for key in ("labels", "annotations")},
        },
        "required": ["name"],
    }
    cluster = properties["spec"]["properties"]["rayClusterSpec"]["properties"]
    assert not LATER.keys() & cluster.keys()
    cluster.update(LATER)
    closed = strict({**schema, "required": ["apiVersion", "kind", "metadata", "spec"]})
    kind = jsonschema.validators.validator_for(closed, default=jsonschema.Draft202012Validator)
    kind.check_schema(closed)
    return kind(closed)


@pytest.fixture(scope="module")
def crd() -> Any:
    return validator()


@pytest.fixture
def claim() -> Node:
    return documents()[0]


@pytest.fixture
def job() -> Node:
    return documents()[1]


def documents() -> list[Node]:
    # An anchor's contents are one object wherever they stand: each its own, so that tests may edit.
    found = [json.loads(json.dumps(told)) for told in yaml.safe_load_all(MANIFEST.read_text())]
    assert [told["kind"] for told in found] == ["PersistentVolumeClaim", "RayJob"]
    return found


def groups(job: Node) -> Iterator[Node]:
    cluster = job["spec"]["rayClusterSpec"]
    yield cluster["headGroupSpec"]
    yield from cluster["workerGroupSpecs"]


def pods(job: Node) -> Iterator[Node]:
    for group in groups(job):
        yield group["template"]["spec"]


def containers(job: Node) -> Iterator[Node]:
    for pod in pods(job):
        yield from pod["containers"]


def environment(container: Node) -> dict[str, str]:
    return {told["name"]: told["value"] for told in container["env"]}


def command(job: Node) -> tuple[str, list[str]]:
    """Return the module that the job runs, and its settings."""
    python, flag, module, *settings = shlex.split(job["spec"]["entrypoint"])
    assert (python, flag) == ("python", "-m")
    return module, settings


def composed(job: Node) -> StudyConfig:
    return compose_config("study", StudyConfig, command(job)[1])


def test_kuberay_takes_the_manifest(crd: Any, job: Node) -> None:
    assert job["apiVersion"] == "ray.io/v1"
    assert [error.message for error in crd.iter_errors(job)] == []


CLUSTER = ("spec", "rayClusterSpec")
HEAD = (*CLUSTER, "headGroupSpec")
WORKER = (*CLUSTER, "workerGroupSpecs", 1)
POD = (*WORKER, "template", "spec")
CONTAINER = (*POD, "containers", 0)


@pytest.mark.parametrize(
    ("where", "key", "wrong"),
    [
        (("spec",), "ttlSecondsAfterFinish", 600),
        (("spec",), "ttlSecondsAfterFinished", "600"),
        (("spec",), "entrypoint", ["python"]),
        (("spec",), "shutdownAfterJobFinishes", "yes"),
        (CLUSTER, "enableInTreeAutoscaler", True),
        (CLUSTER, "rayVersion", 2.6),
        ((*CLUSTER, "authOptions"), "mode", "tokens"),
        ((*CLUSTER, "authOptions"), "token", "0"),
        ((*CLUSTER, "autoscalerOptions"), "upscalingMode", "Quick"),
        ((*CLUSTER, "autoscalerOptions"), "idleTimeoutMinutes", 10),
        (HEAD, "service", "ClusterIP"),
        ((*HEAD, "rayStartParams"), "num-cpus", 0),
        (WORKER, "minReplica", 0),
        (WORKER, "maxReplicas", "8"),
        (POD, "toleration", []),
        (POD, "tolerations", {}),
        (CONTAINER, "volumeMount", []),
        ((*CONTAINER, "env", 0), "val", "x"),
        ((*CONTAINER, "env", 0), "value", 0),
        ((*CONTAINER, "resources"), "request", {}),
        ((*CONTAINER, "resources", "limits"), "nvidia.com/gpu", 0.5),
        ((*CONTAINER, "resources", "limits"), "memory", "26 GiB"),
        ((*CONTAINER, "securityContext"), "privilegeEscalation", False),
        ((*POD, "volumes", 0, "persistentVolumeClaim"), "claim", "emotion"),
        (("metadata",), "label", {}),
    ],
)
def test_a_misspelt_key_and_a_wrong_type_are_refused(
    crd: Any, job: Node, where: tuple[str | int, ...], key: str, wrong: object
) -> None:
    place: Any = job
    for step in where:
        place = place[step]
    place[key] = wrong
    (error,) = crd.iter_errors(job)
    assert key in (*error.absolute_path, *re.findall(r"'([^']*)'", error.message))


@pytest.mark.parametrize(
    ("where", "key"),
    [
        (("spec",), "entrypoint"),
        (CLUSTER, "headGroupSpec"),
        (WORKER, "groupName"),
        (POD, "containers"),
        ((*POD, "volumes", 0, "persistentVolumeClaim"), "claimName"),
    ],
)
def test_what_is_needed_is_missed(
    crd: Any, job: Node, where: tuple[str | int, ...], key: str
) -> None:
    place: Any = job
    for step in where:
        place = place[step]
    del place[key]
    (error,) = crd.iter_errors(job)
    assert error.message == f"'{key}' is a required property"


def test_rays_autoscaler_takes_the_cluster(job: Node) -> None:
    told = {
        "metadata": {"name": "emotion", "namespace": "default"},
        "spec": copy.deepcopy(job["spec"]["rayClusterSpec"]),
    }
    config = autoscaling_config(told)
    kinds = config["available_node_types"]
    memory = {name: kind["resources"].pop("memory") for name, kind in kinds.items()}
    assert {name: kind["resources"] for name, kind in kinds.items()} == {
        "headgroup": {"CPU": 0},
        "cpu": {"CPU": 14},
        "gpu": {"CPU": 7, "GPU": 1},
    }
    assert memory == {"headgroup": 10 * 2**30, "cpu": 24 * 2**30, "gpu": 26 * 2**30}
    for name in ("cpu", "gpu"):
        assert kinds[name]["min_workers"] == 0
        assert kinds[name]["max_workers"] > 0
    assert job["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True


def test_the_job_is_a_command_of_the_project_with_settings_that_it_takes(job: Node) -> None:
    module, _ = command(job)
    assert module == "harness.loso"
    assert importlib.util.find_spec(module)
    config = composed(job)
    assert config.model.weights == "imagenet"
    assert config.training.trunk == "full"
    # A corpus beside the volume would not be there.
    assert config.corpus.root == "/mnt/emotion/RML"


def test_settings_fit_the_nodes(job: Node) -> None:
    config = composed(job)
    *_, gpu = groups(job)
    (of_gpu,) = gpu["template"]["spec"]["containers"]
    limits = of_gpu["resources"]["limits"]
    assert config.cluster.trial_gpus == limits["nvidia.com/gpu"]
    assert config.cluster.trial_cpus <= limits["cpu"]
    # All crops of RML, 12 GB, and the rest for the networks and for what Ray and PyTorch bring.
    held_gib = config.training.cache_mb / 2**10
    assert 12 < held_gib < 0.6 * int(limits["memory"].removesuffix("Gi"))


def test_every_pod_sees_the_volume_and_finds_what_the_other_clusters_find(
    claim: Node, job: Node
) -> None:
    # Not by a schema: a claim is of Kubernetes itself.
    assert claim["apiVersion"] == "v1"
    assert claim["spec"].keys() == {"accessModes", "storageClassName", "resources"}
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert re.fullmatch(r"\d+Gi", claim["spec"]["resources"]["requests"]["storage"])
    for pod in pods(job):
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    defaults = dict(
        re.findall(r'export (HARNESS_\w+)="\$\{\w+:-([^}]*)\}"', ENVIRONMENT.read_text())
    )
    assert defaults.keys() == {"HARNESS_DATA", "HARNESS_RUNS"}
    for container in containers(job):
        (mount,) = container["volumeMounts"]
        assert mount == {"name": "emotion", "mountPath": "/mnt/emotion"}
        assert environment(container).items() >= defaults.items()


def test_mlflow_is_written_to_the_volume_by_the_head_alone(job: Node) -> None:
    head, *workers = containers(job)
    runs = environment(head)["HARNESS_RUNS"]
    assert environment(head)["MLFLOW_TRACKING_URI"].startswith(f"sqlite:///{runs}/")
    # Two studies at once would write one file: each has its own.
    assert job["metadata"]["name"] in environment(head)["MLFLOW_TRACKING_URI"]
    assert not any("MLFLOW_TRACKING_URI" in environment(worker) for worker in workers)


def test_the_cluster_is_open_to_nobody_and_no_secret_is_written_down(job: Node) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    text = MANIFEST.read_text() + DOCKERFILE.read_text()
    for word in ("0.0.0.0", "LoadBalancer", "NodePort", "enableIngress", "hostNetwork", "EXPOSE"):
        assert word not in text
    # AWS's key ids and secrets, tokens, passwords.
    assert not re.search(r"AKIA[0-9A-Z]{16}|[A-Za-z0-9/+]{40}\b|(?i:password|secret)\s*[:=]", text)
    for container in containers(job):
        assert not re.search(r"TOKEN|SECRET|PASSWORD|KEY", " ".join(environment(container)))
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    for pod in pods(job):
        assert pod["securityContext"]["runAsNonRoot"] is True


def test_the_cluster_ends_with_the_study(job: Node) -> None:
    spec = job["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert 0 <= spec["ttlSecondsAfterFinished"] <= 3600
    assert spec["activeDeadlineSeconds"] > 0


def test_requests_are_limits(job: Node) -> None:
    autoscaler = job["spec"]["rayClusterSpec"]["autoscalerOptions"]
    for told in (autoscaler, *containers(job)):
        assert told["resources"]["requests"] == told["resources"]["limits"]


def test_gpu_pods_may_go_to_spot_nodes(job: Node) -> None:
    _, cpu, gpu = pods(job)
    keys = {told["key"] for told in gpu["tolerations"]}
    assert {"nvidia.com/gpu", "cloud.google.com/gke-spot"} <= keys
    assert "tolerations" not in cpu


def test_image_and_manifest_have_the_ray_of_the_constraints(job: Node) -> None:
    (ray,) = re.findall(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray
    # The image has it from the constraints, by `make install`.
    lines = DOCKERFILE.read_text().splitlines()
    assert "FROM python:3.11-slim" in lines
    assert "RUN make install" in lines
    assert "-c constraints.txt" in (ROOT / "Makefile").read_text()


def test_the_image_has_what_installing_needs_and_the_user_that_the_pods_run_as(job: Node) -> None:
    text = DOCKERFILE.read_text()
    copied = {
        name
        for line in re.findall(r"^COPY --chown=researcher (.*) \S+$", text, re.MULTILINE)
        for name in line.split()
    }
    brought = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())["file_mounts"].values()
    assert copied == {name for name in brought if not name.startswith("~")}
    assert all((ROOT / name).exists() for name in copied)
    assert text.index("RUN make install") > max(text.index(name) for name in copied)
    (user,) = {pod["securityContext"]["runAsUser"] for pod in pods(job)}
    assert f"useradd --create-home --uid {user} researcher" in text
    assert {container["image"] for container in containers(job)} == {
        "registry.example.org/emotion:0.1.0"
    }


def test_own_names_are_marked() -> None:
    for line in MANIFEST.read_text().splitlines():
        if "example.org" in line or "storageClassName" in line:
            assert line.endswith("# yours")


def test_the_schema_says_whose_it_is() -> None:
    about = json.loads(gzip.decompress(SCHEMA.read_bytes()))["about"]
    assert about.keys() >= {"project", "version", "taken_from", "licence", "licence_text"}
    assert "Apache License" in about["licence_text"]
