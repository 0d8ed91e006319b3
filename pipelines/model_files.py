"""Trained networks on a disk: a folder with their weights and all settings that predictions need.

`model.json` says what they are, `weights.safetensors` holds the state of each network. What of a
trunk no split trained is not among them: it is made again by its recipe, or lies beside them as
`trunk.safetensors`. No file here can bring code: nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from pipelines.errors import UsageError, require
from pipelines.faces import FacesConfig
from pipelines.feature_store import FeaturesConfig
from pipelines.mfcc import MfccConfig
from pipelines.networks.backbone import ModelConfig, to_be_filled
from pipelines.networks.fusion import FusionConfig
from pipelines.networks.own import source_digest
from pipelines.preprocess_config import PreprocessConfig
from pipelines.segments import SegmentsConfig
from pipelines.storage import write_json, write_whole
from pipelines.training import SplitTraining
from pipelines.training_config import TrainingConfig
from pipelines.trunk_recipe import TrunkRecipe
from pipelines.vad import VadConfig

MODEL, WEIGHTS, TRUNK = "model.json", "weights.safetensors", "trunk.safetensors"
FORM = 1
"""Of these files: raised when an older version could not read them."""
PACKAGES = ("torch", "torchvision", "numpy", "librosa", "decord", "av", "opencv-python-headless")
"""Those that a prediction's bits depend on."""
STANDARDISER = "standardiser"
_CONFIGS = {
    "fusion": FusionConfig,
    "training": TrainingConfig,
    "features": FeaturesConfig,
    "vad": VadConfig,
    "mfcc": MfccConfig,
    "faces": FacesConfig,
    "segments": SegmentsConfig,
    "preprocess": PreprocessConfig,
}


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """All settings on the way from a clip's file to a prediction."""

    model: ModelConfig
    fusion: FusionConfig
    training: TrainingConfig
    features: FeaturesConfig
    vad: VadConfig
    mfcc: MfccConfig
    faces: FacesConfig
    segments: SegmentsConfig
    preprocess: PreprocessConfig
    detector: str
    """Digest of the face detector's files."""
    trunk: TrunkRecipe | None
    """Makes the part of the trunk that no split trains, where there is one."""

    @classmethod
    def from_plain(cls, value: Mapping[str, Any], model: ModelConfig) -> ModelSettings:
        """Return the settings of a dictionary that went through JSON, with another `model`."""
        recipe = value["trunk"]
        trunk = recipe and TrunkRecipe(**{**recipe, "model": model})
        configs = {name: config(**value[name]) for name, config in _CONFIGS.items()}
        return cls(model=model, trunk=trunk, detector=value["detector"], **configs)


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """What model.json says."""

    settings: ModelSettings
    weights: str
    """What `model.weights` was: the networks here are built without."""
    classes: tuple[str, ...]
    name: str
    """The split whose networks these are."""
    study_digest: str
    trained_on: Mapping[str, list[str]]
    """Clips that were learned from (`train`) and that epochs were chosen by (`validation`)."""
    chosen_epochs: Mapping[str, int]
    threads: int
    """That the networks computed with, which decide bits."""
    on_gpu: bool
    weights_sha256: str
    trunk_digest: str
    """Of the weights of the trunk that no split trains; empty: there is none."""
    source: str
    """Digest of the source of a network of one's own; empty for others."""
    versions: Mapping[str, str]


def save_model(
    folder: Path, settings: ModelSettings, training: SplitTraining, *, study_digest: str
) -> None:
    """Write the networks of a trained split; model.json comes last and stands for all.

    Args:
        folder: made where it is not there.
        settings: see `ModelSettings`.
        training: of the split, which has been run.
        study_digest: marks the study.
    """
    tensors = {
        f"{name}.{key}": tensor
        for name, network in training.networks.items()
        for key, tensor in tensors_of(network).items()
    }
    standardiser = training.clips.standardiser
    if standardiser is not None:
        tensors[f"{STANDARDISER}.mean"] = standardiser.mean
        tensors[f"{STANDARDISER}.deviation"] = standardiser.deviation
    write_whole(folder / WEIGHTS, partial(_save, tensors))
    task = training.task
    record = ModelRecord(
        settings=settings,
        weights=settings.model.weights,
        classes=task.classes,
        name=task.split_id,
        study_digest=study_digest,
        trained_on={"train": list(task.train_ids), "validation": list(task.validation_ids)},
        chosen_epochs=training.result.chosen_epochs,
        # As they are, not as they were asked for: a frozen trunk of the split sets its own.
        threads=torch.get_num_threads(),
        on_gpu=training.device.type == "cuda",
        weights_sha256=_sha256(folder / WEIGHTS),
        trunk_digest=settings.trunk.backbone()[1] if settings.trunk else "",
        source=source_digest(settings.model.backbone),
        versions={name: version(name) for name in PACKAGES},
    )
    write_json(folder / MODEL, {"form": FORM, **asdict(record)})


def save_trunk(folder: Path, recipe: TrunkRecipe) -> None:
    """Put the trunk that no split trains beside its model, so that the folder needs nothing else.

    Raises:
        UsageError: the trunk's weights can't be had.
    """
    backbone, _ = recipe.backbone()
    write_whole(folder / TRUNK, partial(_save, tensors_of(backbone)))


def read_record(folder: Path) -> ModelRecord:
    """Read model.json.

    Raises:
        UsageError: the folder holds no model, or one that this version can't use.
    """
    path = folder / MODEL
    try:
        value = json.loads(path.read_text())
        require(
            value["form"] == FORM,
            f"the model in {folder} is of form {value['form']}, and this version reads form {FORM}",
        )
        told = value["settings"]
        record = {entry.name: value[entry.name] for entry in fields(ModelRecord)}
        record["settings"] = ModelSettings.from_plain(told, to_be_filled(told["model"]))
        return ModelRecord(**{**record, "classes": tuple(value["classes"])})
    except OSError as error:
        raise UsageError(
            f"{folder} holds no model: there is no {MODEL} ({error.strerror})"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} can't be used ({type(error).__name__}: {error}): is it of another version?"
        ) from error


def is_model(folder: Path) -> bool:
    """Whether a folder holds a whole model."""
    return (folder / MODEL).is_file()


def read_weights(folder: Path, expected: str) -> dict[str, Tensor]:
    """Read the networks' tensors, and see that they are those that the record speaks of.

    Raises:
        UsageError: they are not there, or others.
    """
    path = folder / WEIGHTS
    require(path.is_file(), f"{folder} holds no whole model: there is no {WEIGHTS}")
    require(
        _sha256(path) == expected,
        f"{path} is not the file that {MODEL} beside it speaks of: it was changed or cut short; "
        "copy the whole folder again",
    )
    return _load(path)


def read_trunk(folder: Path) -> dict[str, Tensor] | None:
    """Read the trunk that lies beside a model; None where there is none."""
    path = folder / TRUNK
    return _load(path) if path.is_file() else None


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return all that a network computes with, by name, those buffers included that torch does not
    save: a trunk's normalisation is one.
    """
    return {**network.state_dict(), **dict(network.named_buffers())}


def fill(network: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Copy saved tensors into a network.

    Args:
        network: built as the saved one was.
        tensors: as `tensors_of` gave them.
        what: names the network in messages.

    Raises:
        UsageError: they belong to another network.
    """
    own = tensors_of(network)
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    held = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    odd = sorted(name for name in shapes.keys() | held.keys() if shapes.get(name) != held.get(name))
    require(
        not odd,
        f"the saved weights do not fit the {what} network that model.json describes: "
        f"{odd[0] if odd else ''} is another or missing; was its code changed since?",
    )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
    network.requires_grad_(False)
    network.eval()


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    # Channels last is a matter of speed: in the file every tensor is in its plain order.
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not by save_file, whose files nobody but their owner may read.
    path.write_bytes(save(plain))


def _load(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} can't be read as safetensors: {error}") from error
    return tensors


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
