"""Which rows have the same networks of stage 1, and where these lie while the rows are run."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

from harness.ablating.rows import Row
from harness.config import StudyConfig, config_digest
from harness.protocols import ProtocolConfig
from pipelines.config import resolve
from pipelines.errors import UsageError
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.fusion import FusionConfig
from pipelines.rivals.config import RivalConfig
from pipelines.segment_networks import AUDIO, VISUAL
from pipelines.storage import digest_of
from pipelines.training_config import TWO_STAGES, TrainingConfig

STAGE1 = "stage1"
"""Folder of an ablation while its rows are run."""
ELSEWHERE = ("fusion_epochs", "joint_epochs", "segments_per_batch")
"""Settings of `training` that no network of stage 1 is trained by."""
OF_FRAMES = ("temporal", "lstm_hidden")
"""Settings of `model` that the audio network does not have."""


class SharedStage1:
    """Networks of stage 1 that several rows begin with: the first of them trains them.

    They take as much disk as they have weights, in each split; those of a row's settings are
    removed when no row that is still to run begins with them.
    """

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        self._folder = folder / STAGE1
        self._digests = {row.name: _digests(row) for row in rows}
        self._waiting = Counter(
            digest for of_row in self._digests.values() for digest in of_row.values()
        )
        self._shared = {digest for digest, rows in self._waiting.items() if rows > 1}

    def of(self, row: Row) -> dict[str, Path]:
        """Return network -> its folder, for those that more rows than this one begin with."""
        return {
            name: self._folder / digest
            for name, digest in self._digests[row.name].items()
            if digest in self._shared
        }

    def end(self, row: Row) -> None:
        """Remove what no row begins with any more, now that this one has run."""
        for digest in self._digests[row.name].values():
            self._waiting[digest] -= 1
            if not self._waiting[digest]:
                shutil.rmtree(self._folder / digest, ignore_errors=True)

    def close(self) -> None:
        """Remove what is left: an earlier run may have had other rows."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _digests(row: Row) -> Mapping[str, str]:
    """Return network -> digest of its settings, for networks that a row trains by themselves."""
    if row.config is None:
        return {}
    config = deepcopy(row.config)
    if config.training.stages != TWO_STAGES or config.rival.classical:
        return {}
    try:
        resolve(config)
        return {name: stage1_digest(config, name) for name in config.model.used_modalities}
    except UsageError:
        return {}  # the row will say why it can't be run


def stage1_digest(config: StudyConfig, network: str) -> str:
    """Return a digest of the settings that one network of stage 1 depends on.

    It is that of the study with all that stands on the network, beside it or around it put to the
    defaults: a setting that is not known here to be without effect counts.

    Args:
        config: of a study, resolved.
        network: `audio` or `visual`.
    """
    alike = deepcopy(config)
    alike.fusion, alike.rival, alike.protocol = FusionConfig(), RivalConfig(), ProtocolConfig()
    alike.model.modalities = network
    other = {AUDIO: "visual_epochs", VISUAL: "audio_epochs"}[network]
    for name in (*ELSEWHERE, other):
        setattr(alike.training, name, getattr(TrainingConfig, name))
    for name in OF_FRAMES if network == AUDIO else ():
        setattr(alike.model, name, getattr(ModelConfig, name))
    return digest_of([network, config_digest(alike)])
