"""Training of one split, in plain torch (section 5: "we train our models in two phases").

Stage 1 trains the audio network and the visual network, each with its own softmax. Stage 2 trains
the attention fusion on their frozen features. With `training.stages=one` there is one network of
all of them instead, and one training. After every epoch the networks are scored on the
inner validation subject; the epoch with the lowest validation loss is kept, unless the last one is
asked for. Test clips are opened when nothing is left to choose, and their labels never arrive here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial

import torch
from torch import nn

from pipelines.checkpoints import Checkpoints, State
from pipelines.fitting import Fit, Fitted, HaltedError
from pipelines.inputs import TEST_PHASE, Wall
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.frozen import FrozenTrunk
from pipelines.networks.fusion import FusionConfig, FusionNetwork
from pipelines.one_stage import JOINT, OneStage
from pipelines.prediction import predict_segments
from pipelines.segment_networks import AUDIO, VISUAL
from pipelines.shared_networks import SharedNetworks
from pipelines.split_clips import SplitClips
from pipelines.split_task import (
    Row,
    SegmentPrediction,
    SplitResult,
    SplitTask,
    seed_for,
)
from pipelines.stage1 import Stage1
from pipelines.stage2 import Stage2
from pipelines.training_config import ONE_STAGE, TrainingConfig

TRAINING_VERSION = 2
"""Raised whenever the same clips and settings would give other predictions than before."""
FUSION = "fusion"
NO_CHECKPOINTS = Checkpoints(folder=None, key="", every_s=0.0)


class SplitTraining:
    """One split, from its clips behind the wall to predictions of its test segments."""

    def __init__(
        self,
        task: SplitTask,
        wall: Wall,
        *,
        model: ModelConfig,
        fusion: FusionConfig,
        training: TrainingConfig,
        device: torch.device,
        frozen_audio: FrozenTrunk | None = None,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
        shared: SharedNetworks | None = None,
        on_epoch: Callable[[Row], None] = lambda row: None,
        halts: Callable[[Sequence[Row]], bool] = lambda curves: False,
    ) -> None:
        """Build the networks, and fit what is fitted before them.

        Args:
            task: the split: its clips, and the labels of those that it learns from.
            wall: the only way to its clips; with a frozen (part of a) trunk they come as features.
            model: networks of stage 1.
            fusion: network that both of them feed.
            training: how; its precision is resolved.
            device: where.
            frozen_audio: makes features of standardised audio images, where both are asked for.
            checkpoints: where a killed training goes on.
            shared: where other studies leave networks of stage 1 that are the same as here.
            on_epoch: called after every epoch with its losses and accuracies.
            halts: asked after every epoch, with those of the network so far, whether to give up.

        Raises:
            UsageError: one stage is asked for, and there is nothing to fuse.
        """
        training.check_modalities(model.modalities)
        self.task, self.wall = task, wall
        self.config, self.device = training, device
        self.checkpoints, self.on_epoch, self.halts = checkpoints, on_epoch, halts
        self.shared = shared or SharedNetworks()
        self.clips = SplitClips(
            task,
            wall,
            standardised=training.rescaling == "standardised",
            frozen_audio=frozen_audio,
            device=device,
        )
        self.stage1 = Stage1(
            self.clips, seed=task.seed, model=model, training=training, device=device
        )
        self.stage2: Stage2 | None = None
        self.one_stage: OneStage | None = None
        if training.stages == ONE_STAGE:
            self.one_stage = OneStage(self.clips, self.stage1, seed=task.seed, fusion=fusion)
        elif model.fuses:
            self.stage2 = self._build_stage2(fusion)
        self.class_weights = self.clips.class_weights() if training.class_weights else None
        self.result = SplitResult(
            segments=[],
            curves=[],
            chosen_epochs={},
            reads={},
            fitted=self.clips.fitted,
            parameters={
                name: sum(parameter.numel() for parameter in network.parameters())
                for name, network in self.networks.items()
            },
            warnings=self.clips.gaps(),
        )
        if training.augment and training.trunk != "full":
            self.result.warnings.append(
                f"training.augment does nothing with training.trunk={training.trunk}: features of "
                "frozen layers are computed once"
            )

    @property
    def networks(self) -> dict[str, nn.Module]:
        """All networks of the split, by name, in the order in which they are trained."""
        if self.one_stage is not None:
            return {JOINT: self.one_stage.network}
        networks: dict[str, nn.Module] = {**self.stage1.networks}
        if self.stage2 is not None:
            networks[FUSION] = self.stage2.network
        return networks

    @property
    def fusion(self) -> FusionNetwork | None:
        """The fusion network; None where there is one modality, whose network then predicts."""
        if self.one_stage is not None:
            return self.one_stage.network.fusion
        return None if self.stage2 is None else self.stage2.network

    def run(self) -> SplitResult:
        """Train all networks, freeze, predict the test segments; or give up where `halts` says so.

        Raises:
            FloatingPointError: a loss or a prediction is not finite.
            MemoryError: the device can't hold the networks, or not even one clip at a time.
        """
        try:
            self._run()
        except HaltedError as halted:
            self.result.curves += halted.curves
            self.result.halted = True
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"the networks of {self.task.split_id} and what trains them do not fit on "
                f"{self.device}: lower training.clips_per_batch, set training.trunk=frozen or fc, "
                "choose a smaller model, or give each trial more of the GPU (cluster.trial_gpus)"
            ) from error
        self.result.reads = {phase: sorted(ids) for phase, ids in self.wall.reads.items()}
        for problem in (self.checkpoints.problem, self.shared.problem):
            if problem:
                self.result.warnings.append(problem)
        return self.result

    def _run(self) -> None:
        for name, epochs, train in self._trainings():
            held = self.shared.load(name)
            if held is not None:
                self._take(name, held)
                continue
            with self._timed(name):
                fitted = train(self._fit(name, epochs))
            self._note(name, fitted)
            self._leave(name, fitted)
        self._train_stage2()
        self.wall.freeze()
        with self._timed("test"):
            for clip_id in self.task.test:
                self.result.segments += self._predict(clip_id)

    def _trainings(self) -> Iterator[tuple[str, int, Callable[[Fit], Fitted]]]:
        """Yield network, epochs and what trains it: before stage 2, where there is one."""
        config = self.config
        if self.one_stage is not None:
            yield JOINT, config.joint_epochs, self.one_stage.train
            return
        epochs = {AUDIO: config.audio_epochs, VISUAL: config.visual_epochs}
        for name in self.stage1.networks:
            yield name, epochs[name], partial(self.stage1.train, name)

    def _take(self, name: str, held: State) -> None:
        """Take a network that another study has trained, with all that is known of its training."""
        network = self.networks[name]
        network.load_state_dict(held["network"])
        network.eval().requires_grad_(False)
        for phase, clip_ids in held["reads"].items():
            self.wall.reads.setdefault(phase, set()).update(clip_ids)
        self._note(name, Fitted(**held["fitted"]))
        # What it took when it was trained: what this study would take by itself.
        self.result.seconds[name] = held["seconds"]
        self.result.taken.append(name)

    def _leave(self, name: str, fitted: Fitted) -> None:
        """Leave a network for the studies that share it."""
        reads = {phase: sorted(ids) for phase, ids in self.wall.reads.items()}
        self.shared.save(
            name,
            {
                "network": self.networks[name].state_dict(),
                "fitted": asdict(replace(fitted, resumed_after=0)),
                "reads": reads,
                "seconds": self.result.seconds[name],
            },
        )

    def _predict(self, clip_id: str) -> list[SegmentPrediction]:
        clip = self.clips.read(TEST_PHASE, clip_id)
        return predict_segments(self.stage1, self.fusion, clip)

    def _build_stage2(self, fusion: FusionConfig) -> Stage2 | None:
        return Stage2(self.clips, self.stage1, seed=self.task.seed, fusion=fusion)

    def _train_stage2(self) -> None:
        if self.stage2 is not None:
            with self._timed(FUSION):
                self._note(FUSION, self.stage2.train(self._fit(FUSION, self.config.fusion_epochs)))

    def _fit(self, name: str, epochs: int) -> Fit:
        variations = {**self.stage1.variation}
        if self.one_stage is not None:
            variations[JOINT] = self.one_stage.variation
        return Fit(
            name=name,
            epochs=epochs,
            schedule=self.config.schedule,
            patience=self.config.patience,
            keep=self.config.keep,
            seed=seed_for(self.task.seed, name, "fit"),
            class_weights=self.class_weights,
            device=self.device,
            checkpoints=self.checkpoints,
            generators=(variations[name],) if name in variations else (),
            reads=self.wall.reads,
            on_epoch=self.on_epoch,
            halts=self.halts,
        )

    def _note(self, name: str, fitted: Fitted) -> None:
        self.result.chosen_epochs[name] = fitted.chosen_epoch
        self.result.curves += fitted.curves
        if fitted.resumed_after:
            self.result.resumed[name] = fitted.resumed_after
        if fitted.micro_batch:
            self.result.warnings.append(
                f"the {name} network ran out of memory on {self.device}: its batches went through "
                f"in parts of {fitted.micro_batch}"
            )

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.result.seconds[name] = time.perf_counter() - start
