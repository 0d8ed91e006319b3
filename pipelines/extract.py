"""Shards -> features of a frozen trunk, in parallel with Ray Data: `python -m pipelines.extract`.

Each clip is one row. An actor holds the trunk, passes each unique frame and each audio image of a
clip through it once, and writes the features. What is there is not done again: another study with
the same trunk, or this one after it was killed, does what is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import torch

from pipelines.clip_pool import PoolSize, map_clips
from pipelines.clip_reading import ClipPlaces
from pipelines.command_line import run_command
from pipelines.config import PipelineConfig, compose_config, describe_settings, resolve
from pipelines.corpus_plan import CorpusPlan
from pipelines.errors import StoppedError, UsageError, require
from pipelines.feature_store import AUDIO, DTYPES, FRAMES, FeatureFolder, feature_folder
from pipelines.inputs import audio_tensor, frame_tensor
from pipelines.locks import hold
from pipelines.networks.backbone import backbone_class
from pipelines.networks.frozen import LAYERS, FrozenTrunk
from pipelines.networks.pooling import resize_audio
from pipelines.preprocess import prepare
from pipelines.progress import Reporter
from pipelines.session import Place, ray_session
from pipelines.shards import ShardFolder, ShardSet
from pipelines.storage import store_problem, sweep
from pipelines.trunk_recipe import TrunkRecipe

EXTRACT = "features"
CLIPS_FOR_A_GPU = 300
"""Worth a host with one that must be started: about as long as that takes."""


class FeaturePlan:
    """Which features a configuration needs, and where they are: known without Ray."""

    def __init__(self, config: PipelineConfig) -> None:
        """Build the trunk once, to see that it can be had and what its weights are.

        Raises:
            UsageError: the weights can't be had, or the network can't be divided so.
        """
        training, cluster = config.training, config.cluster
        self.recipe = TrunkRecipe(
            model=config.model,
            seed=config.seed,
            layer=LAYERS[training.trunk],
            precision=training.precision,
            threads=cluster.extract_cpus,
            on_gpu=cluster.trial_gpus > 0,
        )
        backbone, self.digest = self.recipe.backbone()
        require(
            training.trunk != "fc" or backbone.pooled_size is not None,
            f"training.trunk (fc) fine-tunes the fully connected layers of a trunk, and "
            f"model.backbone ({config.model.backbone}) has none: use training.trunk=frozen or full",
        )
        self.rescaling = training.rescaling
        self.dtype = config.features.dtype
        self.face_size = backbone_class(config.model.backbone).face_size
        shared = {**self.recipe.settings(self.digest), "dtype": self.dtype}
        images: dict[str, dict[str, Any]] = {}
        if "audio" in config.model.used_modalities and training.rescaling != "standardised":
            images[AUDIO] = {"rescaling": training.rescaling, "size": config.model.audio_size}
        if "visual" in config.model.used_modalities:
            images[FRAMES] = {"size": self.face_size}
        self.settings = {kind: {**shared, "kind": kind, **how} for kind, how in images.items()}
        self.folders = {
            kind: feature_folder(config.paths.data, settings)
            for kind, settings in self.settings.items()
        }

    def placed(self, places: ClipPlaces) -> ClipPlaces:
        """Return the places of clips with the folders of these features among them."""
        roots = {kind: str(folder.root) for kind, folder in self.folders.items()}
        return replace(
            places,
            audio_features=roots.get(AUDIO, ""),
            frame_features=roots.get(FRAMES, ""),
        )

    def missing(self, shards: ShardSet) -> dict[str, list[str]]:
        """Return the kinds that are still to do of each clip that has segments."""
        held = {kind: folder.held() for kind, folder in self.folders.items()}
        missing = {
            outcome.clip_id: [k for k in held if shards.keys[outcome.clip_id] not in held[k]]
            for outcome in shards.usable
        }
        return {clip_id: kinds for clip_id, kinds in missing.items() if kinds}


class FeatureWorker:
    """Makes the features of one clip after another: an actor of Ray Data."""

    def __init__(
        self,
        recipe: TrunkRecipe,
        digest: str,
        shards: str,
        folders: Mapping[str, str],
        dtype: str,
        rescaling: str,
        face_size: int | None,
    ) -> None:
        self._recipe, self._digest = recipe, digest
        self._shards = ShardFolder(shards)
        self._folders = {kind: FeatureFolder(root) for kind, root in folders.items()}
        self._dtype, self._rescaling, self._face_size = dtype, rescaling, face_size
        self._trunk: FrozenTrunk | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the clip's id, and what is wrong with the request or what stopped the work."""
        refused, stopped = "", ""
        try:
            for kind in row["kinds"].split(","):
                self._extract(kind, row["clip_id"], row["key"])
        except (UsageError, FloatingPointError) as error:
            refused = str(error)
        except MemoryError as error:
            stopped = str(error) or "a process ran out of memory"
        except Exception as error:
            problem = store_problem(error)
            if problem is None and not isinstance(error, OSError):
                raise
            stopped = problem or str(error) or type(error).__name__
        return {"clip_id": row["clip_id"], "refused": refused, "stopped": stopped}

    def _extract(self, kind: str, clip_id: str, key: str) -> None:
        if kind == FRAMES:
            images = frame_tensor(self._shards.read_crops(key), self._face_size)
        else:
            images = audio_tensor(self._shards.read_mfcc(key), self._rescaling)
            images = resize_audio(images, self._recipe.model.audio_size)
        features = self._frozen()(images).to(DTYPES[self._dtype])
        if not torch.isfinite(features).all():
            raise FloatingPointError(
                f"features of {clip_id} are not finite in features.dtype ({self._dtype}): use "
                "bfloat16, or see that model.weights holds finite numbers"
            )
        self._folders[kind].write(key, features)

    def _frozen(self) -> FrozenTrunk:
        if self._trunk is None:
            self._trunk, digest = self._recipe.build()
            require(
                digest == self._digest,
                f"model.weights ({self._recipe.model.weights}) is another file on this host than "
                "on the one that started the study: give every host the same",
            )
        return self._trunk


def extract_features(
    plan: FeaturePlan, shards: ShardSet, config: PipelineConfig, place: Place, reporter: Reporter
) -> None:
    """Bring the feature store up to date. Needs a Ray session.

    Raises:
        UsageError: the trunk can't make features of these clips.
        StoppedError: the store can't be written to, or actors die; what is finished is kept.
    """
    if not plan.missing(shards):
        reporter.line(f"{EXTRACT}: {len(shards.usable)} clips were done before")
        return
    with ExitStack() as held:
        # In one order for everybody: two that wait for each other would wait for ever.
        for folder in sorted(plan.folders.values(), key=lambda folder: str(folder.root)):
            held.enter_context(hold(folder.root, reporter.line))
        missing = plan.missing(shards)
        if not missing:
            reporter.line(f"{EXTRACT}: {len(shards.usable)} clips were done before")
            return
        for kind, folder in plan.folders.items():
            sweep(folder.root)
            folder.describe(plan.settings[kind])
        _extract(plan, shards, missing, config, place, reporter)


def _extract(
    plan: FeaturePlan,
    shards: ShardSet,
    missing: Mapping[str, Sequence[str]],
    config: PipelineConfig,
    place: Place,
    reporter: Reporter,
) -> None:
    rows = [
        {"clip_id": clip_id, "key": shards.keys[clip_id], "kinds": ",".join(kinds)}
        for clip_id, kinds in missing.items()
    ]
    arguments = {
        "recipe": plan.recipe,
        "digest": plan.digest,
        "shards": str(shards.folder.root),
        "folders": {kind: str(folder.root) for kind, folder in plan.folders.items()},
        "dtype": plan.dtype,
        "rescaling": plan.rescaling,
        "face_size": plan.face_size,
    }
    cluster = config.cluster
    size = PoolSize.on(
        place,
        cpus=cluster.extract_cpus,
        gpus=cluster.trial_gpus,
        share=CLIPS_FOR_A_GPU if cluster.trial_gpus else PoolSize.share,
    )
    made = map_clips(
        FeatureWorker,
        arguments,
        rows,
        size,
        cpus=cluster.extract_cpus,
        gpus=cluster.trial_gpus,
    )
    with closing(made) as answers, reporter.stage(EXTRACT, len(rows)) as stage:
        for answer in answers:
            if "lost" in answer:
                raise StoppedError(
                    f"the process that made features of {answer['clip_id']} died twice, of too "
                    "little memory perhaps: lower cluster.cpus or raise cluster.extract_cpus, so "
                    "that fewer run at once, and run the same command again: what is finished is "
                    "kept"
                )
            if refused := answer["refused"]:
                raise UsageError(refused)
            if stopped := answer["stopped"]:
                raise StoppedError(
                    f"features of {answer['clip_id']} can't be made in paths.data "
                    f"({config.paths.data}): {stopped}; what is finished is kept: make room there, "
                    "or mend what is wrong, and run the same command again"
                )
            stage.advance()


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the features of a corpus by a frozen trunk, ahead of the studies that want them."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        config = compose_config("pipeline", PipelineConfig, options.overrides)
        resolve(config)
        require(
            config.training.trunk in LAYERS,
            f"training.trunk ({config.training.trunk}) trains the whole trunk, so there is nothing "
            "to extract: use training.trunk=frozen or fc",
        )
        plan = FeaturePlan(config)
        require(
            bool(plan.folders),
            f"training.rescaling ({config.training.rescaling}) makes audio images of each split's "
            f"own, and model.modalities ({config.model.modalities}) uses no others: there is "
            "nothing to extract ahead of a study",
        )
        corpus_plan = CorpusPlan(config)
        corpus_plan.require_ready()
        with ray_session(config.cluster, reporter, verbose=options.verbose) as place:
            shards = prepare(corpus_plan, place, reporter)
            extract_features(plan, shards, config, place, reporter)
        folders = {kind: str(folder.root) for kind, folder in plan.folders.items()}
        print(json.dumps(folders) if options.json else "\n".join(folders.values()))
        return 0

    return run_command(
        "python -m pipelines.extract",
        "Make the features of a corpus by a frozen trunk: each unique frame and audio image once.",
        ["python -m pipelines.extract profile=fast corpus=rml corpus.root=/data/RML"],
        run,
        arguments,
        lambda: describe_settings("pipeline", PipelineConfig),
        on_ray=True,
    )


if __name__ == "__main__":
    sys.exit(main())
