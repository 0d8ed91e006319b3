"""Composes conf/ with overrides into validated dataclasses.

Every settings class stands beside what it configures and validates itself; this module only puts
them together with Hydra, and turns what Hydra and OmegaConf object to into one line.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipelines.corpora.listing import CORPUS_CONFIGS
from pipelines.credentials import refuse_credential
from pipelines.errors import UsageError, require, require_one_of
from pipelines.faces import FacesConfig
from pipelines.feature_store import FeaturesConfig
from pipelines.marked_output import IN_JOB
from pipelines.mfcc import MfccConfig
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.fusion import FusionConfig
from pipelines.networks.own import OWN_FORM, is_own
from pipelines.precision import resolve_precision
from pipelines.preprocess_config import PreprocessConfig
from pipelines.rivals.config import RivalConfig
from pipelines.segments import SegmentsConfig
from pipelines.session import ClusterConfig
from pipelines.training_config import TrainingConfig
from pipelines.vad import VadConfig

LONGEST_NAME = 200
"""Bytes: a file system takes 255, and files beside the folder have more to their names."""
TEST_CORPUS = "test_corpus"
"""Names a second corpus where a configuration has one."""
CONF = Path(__file__).parent.parent / "conf"
FOR_CLUSTERS = ("cluster/onprem", "cluster/rayjob")
"""Files of conf/ that start a cluster, and are no settings of a command."""
ConfigT = TypeVar("ConfigT")


@dataclass
class PathsConfig:
    """Where things are kept."""

    data: str = field(default_factory=lambda: os.environ.get("HARNESS_DATA", "data"))
    """Made corpora, shards and features; unset: HARNESS_DATA, else data."""
    runs: str = field(default_factory=lambda: os.environ.get("HARNESS_RUNS", "runs"))
    """Studies, and the default MLflow store; unset: HARNESS_RUNS, else runs."""
    cache: str = ""
    """Copies of clips from object storage, on each host; empty: in the user's cache folder."""


@dataclass
class PipelineConfig:
    """All settings of preprocessing and training."""

    corpus: Any = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    vad: VadConfig = field(default_factory=VadConfig)
    mfcc: MfccConfig = field(default_factory=MfccConfig)
    faces: FacesConfig = field(default_factory=FacesConfig)
    segments: SegmentsConfig = field(default_factory=SegmentsConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    rival: RivalConfig = field(default_factory=RivalConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    name: str | None = None
    """Names the study and its folder; unset: made from corpus, protocol and configuration."""
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self.name is None or re.fullmatch(r"\w[\w.=+-]*", self.name) is not None,
            f"name ({self.name}) must be of letters, digits and . _ = + - and start with a letter, "
            "digit or _: it names a folder",
        )
        require(
            self.name is None or len(self.name.encode()) <= LONGEST_NAME,
            f"name ({self.name}) must be of {LONGEST_NAME} bytes at most: it names a folder",
        )
        self.training.check_modalities(self.model.modalities)
        require(0 <= self.seed < 2**32, f"seed ({self.seed}) must be from 0 to {2**32 - 1}")


def register_schema(name: str, schema: type) -> None:
    """Let a primary configuration in conf/ be checked against a dataclass."""
    ConfigStore.instance().store(name=name, node=schema)


for _name, _schema in CORPUS_CONFIGS.items():
    ConfigStore.instance().store(group="corpus", name=f"{_name}_schema", node=_schema)
register_schema("pipeline_schema", PipelineConfig)


def compose_config(primary: str, schema: type[ConfigT], overrides: Sequence[str]) -> ConfigT:
    """Compose `conf/<primary>.yaml` with overrides such as `corpus=rml training.patience=3`.

    Raises:
        UsageError: an unknown key or group, a wrong type or a value out of range, in one line
            that names the key.
    """
    overrides = _with_own_network(overrides)
    for override in overrides:
        _check_form(override, overrides)
    told = [_to_hydra(override, schema) for override in overrides]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            composed = OmegaConf.to_object(compose(config_name=primary, overrides=told))
    except UsageError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UsageError(_explain(error, schema, overrides)) from error
    if not isinstance(composed, schema):
        raise TypeError(f"conf/{primary}.yaml does not start from {schema.__name__}")
    for name, value in _texts(to_plain(composed)):
        refuse_credential(name, value)
    if isinstance(composed, PipelineConfig):
        make_paths_absolute(composed)
    return composed


def _texts(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in plain.items():
        if isinstance(value, Mapping):
            yield from _texts(value, f"{prefix}{key}.")
        elif isinstance(value, str):
            yield f"{prefix}{key}", value


def resolve(config: PipelineConfig) -> None:
    """Settle what depends on the hardware, once for all processes of a study."""
    config.training.precision = resolve_precision(
        config.training.precision, on_gpu=config.cluster.trial_gpus > 0
    )


def make_paths_absolute(config: PipelineConfig) -> None:
    """Let every process find what the user named, whatever folder it works in."""
    require(
        "://" not in config.paths.runs,
        f"paths.runs ({config.paths.runs}) is an address, and must be a folder that every host "
        "sees; paths.data and corpus.root may lie in an object store",
    )
    for name in ("data", "runs"):
        require(getattr(config.paths, name) != "", f"paths.{name} is empty: name a folder")
    for group, holder, name in (
        ("paths", config.paths, "data"),
        ("paths", config.paths, "runs"),
        ("paths", config.paths, "cache"),
        ("corpus", config.corpus, "root"),
        (TEST_CORPUS, getattr(config, TEST_CORPUS, None), "root"),
        ("faces", config.faces, "model_dir"),
    ):
        value = getattr(holder, name, "")
        if "://" in value:
            scheme, _, place = value.partition("://")
            require(
                place[:1] not in ("", "/") or scheme in ("file", "memory"),
                f"{group}.{name} ({value}) names no bucket: write {scheme}://bucket/folder",
            )
        elif value:
            # What makes shards and features alone has no run.
            if name != "runs" or type(config) is not PipelineConfig:
                _require_lasting(f"{group}.{name}", value)
            setattr(holder, name, str(Path(value).expanduser().absolute()))
    if config.model.weights not in ("none", "imagenet"):
        _require_lasting("model.weights", config.model.weights)
        config.model.weights = str(Path(config.model.weights).expanduser().absolute())


def _require_lasting(name: str, value: str) -> None:
    """Refuse, in a job, what would lie in its own folder: it ends with it, on one host."""
    require(
        not os.environ.get(IN_JOB) or Path(value).expanduser().is_absolute(),
        f"{name} ({value}) is relative, and the folder of a job is gone when it ends: give a path "
        "that every host of the cluster sees, or set HARNESS_DATA and HARNESS_RUNS on them",
    )


def _with_own_network(overrides: Sequence[str]) -> list[str]:
    """Let `model=package.module:Class` mean conf/model/own.yaml with that class as its trunk."""
    expanded = []
    for position, override in enumerate(overrides, start=1):
        key, _, value = override.partition("=")
        if key != "model" or not is_own(value):
            expanded.append(override)
        elif not any(later.startswith("model=") for later in overrides[position:]):
            expanded += ["model=own", f"model.backbone={value}"]
    return expanded


def _to_hydra(override: str, schema: type) -> str:
    """Write in Hydra's way what Hydra would not take as people write it."""
    key, _, value = override.partition("=")
    if key == TEST_CORPUS and key in known_keys(schema):
        return f"corpus@{override}"
    # A mapping is given whole; Hydra would only change keys that are in it already.
    return f"++{override}" if value.startswith("{") else override


def _check_form(override: str, given: Sequence[str]) -> None:
    """Refuse what is no `key=value`, or no choice of a group, before Hydra sees all at once."""
    key, equals, value = override.partition("=")
    require(
        bool(equals and key),
        f"{override} is not a setting: settings are written key=value, e.g. corpus=synthetic",
    )
    require(
        key[0] not in "+~",
        f"{override}: settings can be changed, not added or removed: leave out {key[0]}",
    )
    first, dot, _ = key.partition(".")
    require(re.split("[./]", key)[0] != "hydra", f"{key} is not a setting of this project's")
    require(
        not (first == TEST_CORPUS and dot and not any(o.startswith(f"{first}=") for o in given)),
        f"{key} is a setting of a second corpus: name it, as in {TEST_CORPUS}=enterface05",
    )
    group = "corpus" if key == TEST_CORPUS else key
    if group in _groups():
        require_one_of(key, value, _choices(group))
    try:
        OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise UsageError(
            f"{key} ({value}) can't be read: quote what holds spaces, commas, brackets or =, as in "
            f"'{key}=\"{value}\"'"
        ) from error


def to_plain(config: object) -> dict[str, Any]:
    """Return a configuration as plain dictionaries: what is written to config.yaml."""
    if not is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"{config!r} is not a configuration")
    return asdict(config)


def to_yaml(config: object) -> str:
    """Return the resolved configuration as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(to_plain(config)))


def settings_of(config: PipelineConfig) -> Mapping[str, Any]:
    """Return the settings that change a clip's shards: not places, nor time limits."""
    faces = {key: v for key, v in to_plain(config.faces).items() if key != "model_dir"}
    # The time limit and the recycling of children only decide whether a clip is tried again.
    return {
        "vad": to_plain(config.vad),
        "mfcc": to_plain(config.mfcc),
        "faces": faces,
        "segments": to_plain(config.segments),
        "max_seconds": config.preprocess.max_seconds,
        "truncated": config.preprocess.truncated,
    }


def known_keys(schema: type, prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting, those of all corpora included."""
    corpora = dict.fromkeys(("corpus", TEST_CORPUS), tuple(CORPUS_CONFIGS.values()))
    for entry in fields(schema):
        key = prefix + entry.name
        yield key
        kind = entry.default_factory if isinstance(entry.default_factory, type) else None
        for nested in corpora.get(key, (kind,) if is_dataclass(kind) else ()):
            yield from known_keys(nested, key + ".")


def _explain(error: Exception, schema: type, overrides: Sequence[str]) -> str:
    """Turn an error of Hydra or OmegaConf into one line that names the key and what to do."""
    causes = [error]
    while causes[-1].__cause__ is not None and isinstance(causes[-1].__cause__, Exception):
        causes.append(causes[-1].__cause__)
    text = " ".join(str(cause) for cause in causes)
    known = sorted(set(known_keys(schema)))
    if others := re.search(r"(?:In '([\w/]+)': )?Could not override '(\w+)'", text):
        chosen, group = others.groups()
        if group in _groups() and group not in known:
            name = f"{chosen.replace('/', '=')} sets {group}, which" if chosen else group
            return f"{name} is of another command: see --help for the settings of this one"
    # The last value of a key is the one that counts; the longest key is the most exact.
    told = dict(override.partition("=")[::2] for override in overrides)
    for bare, value in sorted(told.items(), key=lambda pair: -len(pair[0])):
        if bare not in known and re.search(rf"['\" ]{re.escape(bare)}['\"\s.:]", text + " "):
            close = difflib.get_close_matches(bare, [*known, *_groups()], n=1)
            hint = f"did you mean {close[0]}?" if close else "see --help for the settings"
            return f"{bare} is not a setting: {hint}"
        if re.search(rf"(full_key|key).*\b{re.escape(bare)}\b", text):
            reason = str(causes[-1]).splitlines()[0]
            return f"{bare} ({value}): {reason}"
    return " ".join(str(error).split())


def _groups() -> list[str]:
    return sorted(path.name for path in CONF.iterdir() if path.is_dir())


def _choices(group: str) -> list[str]:
    files = (path.stem for path in (CONF / group).glob("*.yaml"))
    choices = sorted(name for name in files if f"{group}/{name}" not in FOR_CLUSTERS)
    return [*choices, OWN_FORM] if group == "model" else choices


def describe_settings(primary: str, schema: type) -> str:
    """Return the choices of every group in conf/ and every setting with its default, for --help."""
    lines = ["groups of settings:"]
    for group in _groups():
        lines.append(f"  {group + '=':<10} {' | '.join(_choices(group))}")
    lines += ["", "settings and their defaults:"]
    composed = OmegaConf.create(to_plain(compose_config(primary, schema, [])))
    for key in dict.fromkeys(known_keys(schema)):
        value = OmegaConf.select(composed, key, default="")
        if key.startswith(f"{TEST_CORPUS}."):
            continue  # as those of corpus
        if value == {} or not OmegaConf.is_dict(value):
            lines.append(f"  {key}={'null' if value is None else value}")
    return "\n".join(lines)
