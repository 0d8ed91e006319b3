"""The files that start a cluster: right by Ray's own rules, and open to nobody."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from moto import mock_aws
from ray.autoscaler._private.aws import config as aws
from ray.autoscaler._private.util import prepare_config, validate_config

from harness.config import StudyConfig
from pipelines.config import compose_config, describe_settings
from pipelines.errors import UsageError

ROOT = Path(__file__).parent.parent.parent
AWS, ONPREM = ROOT / "ray_cluster.yaml", ROOT / "conf" / "cluster" / "onprem.yaml"
SCRIPTS = sorted((ROOT / "conf" / "cluster").glob("*.sh"))
BOTH = pytest.mark.parametrize("path", [AWS, ONPREM], ids=["aws", "onprem"])


def prepared(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = prepare_config(yaml.safe_load(path.read_text()))
    return config


def commands(path: Path) -> list[str]:
    config = yaml.safe_load(path.read_text())
    return [c for key, told in config.items() if key.endswith("_commands") for c in told]


@BOTH
def test_ray_takes_the_file(path: Path) -> None:
    validate_config(prepared(path))


@BOTH
def test_every_command_and_script_is_bash(path: Path) -> None:
    for text in [*commands(path), *(script.read_text() for script in SCRIPTS)]:
        done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True)
        assert done.returncode == 0, f"{text}: {done.stderr}"


@BOTH
def test_nothing_listens_to_the_world_and_no_secret_is_written_down(path: Path) -> None:
    told = "\n".join([path.read_text(), *(script.read_text() for script in SCRIPTS)])
    assert "0.0.0.0" not in told
    assert "--dashboard-host=127.0.0.1" in told
    assert "mlflow server --host 127.0.0.1" in told
    assert "RAY_AUTH_MODE=token" in told
    assert told.count("ray start") == told.count("RAY_enable_metrics_collection=0 ray start")
    # AWS's key ids and secrets, tokens, passwords.
    assert not re.search(r"AKIA[0-9A-Z]{16}|[A-Za-z0-9/+]{40}\b|(?i:password|secret)\s*[:=]", told)


@BOTH
def test_the_project_comes_with_its_constraints_and_without_what_lies_beside_it(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    brought = set(config["file_mounts"].values())
    assert {"pyproject.toml", "constraints.txt", "Makefile", "README.md"} < brought
    assert {"harness", "pipelines", "conf"} < brought
    # Ray reads the whole of a folder that it is told to bring, whatever rsync leaves out.
    assert not brought & {".", "./", ".venv", "data", "runs"}
    for remote, here in config["file_mounts"].items():
        assert here.startswith("~") or (ROOT / here).exists()
        assert here.startswith("~") or remote.endswith(f"/harness/{here}")
    assert any("make install" in command for command in config["setup_commands"])
    assert "-c constraints.txt" in (ROOT / "Makefile").read_text()


def test_hosts_come_when_they_are_needed_and_trials_do_not_run_on_the_head() -> None:
    kinds = prepared(AWS)["available_node_types"]
    assert kinds["head"]["resources"] == {"CPU": 0}
    for name in ("cpu", "gpu"):
        assert kinds[name]["min_workers"] == 0
        assert kinds[name]["max_workers"] > 0
    assert kinds["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in kinds["head"]["node_config"]


def test_what_ray_makes_in_an_account_lets_in_ssh_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    # The key that it makes goes to ~/.ssh.
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        config = aws.bootstrap_aws(prepared(AWS))  # type: ignore[no-untyped-call]
        region = config["provider"]["region"]
        made = boto3.client("ec2", region_name=region).describe_security_groups()
    (group,) = [g for g in made["SecurityGroups"] if g["GroupName"] == "ray-autoscaler-emotion"]
    open_to_all = [
        (rule["FromPort"], rule["ToPort"])
        for rule in group["IpPermissions"]
        if any(each["CidrIp"] == "0.0.0.0/0" for each in rule["IpRanges"])
        or any(each["CidrIpv6"] == "::/0" for each in rule["Ipv6Ranges"])
    ]
    assert open_to_all == [(22, 22)]
    for kind in config["available_node_types"].values():
        assert kind["node_config"]["SecurityGroupIds"] == [group["GroupId"]]
        assert kind["node_config"]["MetadataOptions"]["HttpTokens"] == "required"


def test_what_starts_a_cluster_is_no_setting_of_a_command() -> None:
    with pytest.raises(UsageError, match=r"^cluster \(onprem\) must be one of: local$"):
        compose_config("study", StudyConfig, ["cluster=onprem"])
    (shown,) = [
        line
        for line in describe_settings("study", StudyConfig).splitlines()
        if line.startswith("  cluster= ")
    ]
    assert shown.split() == ["cluster=", "local"]
