"""A saved model, ready to predict: what preprocessing made of a clip -> its segments' emotions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pipelines.device import exact_device
from pipelines.errors import require
from pipelines.feature_store import DTYPES
from pipelines.inputs import ClipTensors, to_tensors
from pipelines.model_files import (
    STANDARDISER,
    ModelRecord,
    fill,
    read_record,
    read_trunk,
    read_weights,
)
from pipelines.networks.backbone import Backbone, backbone_class, build_backbone
from pipelines.networks.frozen import FrozenTrunk
from pipelines.networks.fusion import FusionNetwork
from pipelines.networks.own import source_digest
from pipelines.networks.pooling import resize_audio
from pipelines.networks.weights import weights_digest
from pipelines.one_stage import JOINT, JointNetwork
from pipelines.precision import compute_type
from pipelines.prediction import predict_segments
from pipelines.records import ClipArrays
from pipelines.segment_networks import SegmentNetworks, build_fusion
from pipelines.split_task import SegmentPrediction
from pipelines.standardise import Standardiser
from pipelines.training import FUSION
from pipelines.training_config import ONE_STAGE
from pipelines.trunk_recipe import TrunkRecipe


class TrainedModel:
    """The networks of a saved model, on the device that they were trained on where there is one.

    A study's predictions come out again to the bit on the same type of CPU, with the same versions:
    clips take the same way, in the same number formats, on as many threads.
    """

    def __init__(self, folder: Path) -> None:
        """Load it.

        Raises:
            UsageError: the folder holds no model, or the trunk that it needs can't be had.
        """
        self.record = read_record(folder)
        record, settings = self.record, self.record.settings
        self.warnings = _warnings(record)
        self.on_gpu = record.on_gpu and torch.cuda.is_available()
        self.device = exact_device(record.threads, on_gpu=self.on_gpu)
        tensors = read_weights(folder, record.weights_sha256)
        classes = len(record.classes)
        self.networks = SegmentNetworks(
            classes, seed=0, model=settings.model, training=settings.training, device=self.device
        )
        self.fusion: FusionNetwork | None = None
        held: dict[str, nn.Module] = {**self.networks.networks}
        if settings.model.fuses:
            self.fusion = build_fusion(self.networks, classes, settings.fusion, seed=0)
            held[FUSION] = self.fusion
            if settings.training.stages == ONE_STAGE:
                held = {JOINT: JointNetwork(self.networks, self.fusion)}
        for name, network in held.items():
            fill(network, _part(tensors, name), name)
        self.standardiser: Standardiser | None = None
        if of_rows := _part(tensors, STANDARDISER):
            fitted_on = tuple(record.trained_on["train"])
            self.standardiser = Standardiser(fitted_on=fitted_on, **of_rows)
        self.trunk: FrozenTrunk | None = None
        if settings.trunk is not None:
            self.trunk = self._frozen(folder, settings.trunk)

    def predict(self, arrays: ClipArrays) -> list[SegmentPrediction]:
        """Predict the segments of one clip.

        Raises:
            FloatingPointError: something in it is not finite.
        """
        clip = self._tensors(arrays)
        torch.set_num_threads(self.record.threads)
        return predict_segments(self.networks, self.fusion, clip)

    def _tensors(self, arrays: ClipArrays) -> ClipTensors:
        """Return the clip as the networks were trained on clips: as pixels, or as features."""
        settings = self.record.settings
        clip = to_tensors(
            arrays,
            face_size=backbone_class(settings.model.backbone).face_size,
            rescaling=settings.training.rescaling,
        )
        if self.standardiser is not None:
            clip = self.standardiser(clip)
        if self.trunk is None or settings.trunk is None:
            return clip
        torch.set_num_threads(settings.trunk.threads)
        nothing = torch.empty(0)
        stored = DTYPES[settings.features.dtype]
        used = settings.model.used_modalities
        return replace(
            clip,
            frames=self.trunk(clip.frames).to(stored).to(self.device)
            if "visual" in used
            else nothing,
            audio=self._audio_features(self.trunk, clip.audio) if "audio" in used else nothing,
        )

    def _audio_features(self, trunk: FrozenTrunk, images: Tensor) -> Tensor:
        settings = self.record.settings
        if self.standardiser is not None:
            return trunk(images).to(self.device)  # these are in no feature store
        features = trunk(resize_audio(images, settings.model.audio_size))
        return features.to(DTYPES[settings.features.dtype]).to(self.device)

    def _frozen(self, folder: Path, recipe: TrunkRecipe) -> FrozenTrunk:
        backbone = self._backbone(folder, recipe)
        require(
            weights_digest(backbone) == self.record.trunk_digest,
            f"the frozen trunk of the model in {folder} comes out otherwise here: its weights "
            "(model.weights) or the torch that drew them are others than when it was trained",
        )
        return FrozenTrunk(
            backbone,
            layer=recipe.layer,
            compute=compute_type(recipe.precision),
            device=self.device,
        )

    def _backbone(self, folder: Path, recipe: TrunkRecipe) -> Backbone:
        saved = read_trunk(folder)
        if saved is not None:
            backbone = build_backbone(recipe.model)
            fill(backbone, saved, "trunk")
            return backbone
        model = replace(recipe.model, weights=self.record.weights)
        backbone, _ = replace(recipe, model=model).backbone()
        return backbone


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors of one network, by their names in it."""
    start = f"{name}."
    return {key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)}


def _warnings(record: ModelRecord) -> tuple[str, ...]:
    backbone = record.settings.model.backbone
    if record.source == source_digest(backbone):
        return ()
    return (f"the code of model.backbone ({backbone}) is not what it was when this was trained",)
