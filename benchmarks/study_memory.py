"""Memory of a whole study, over all its processes, by the number of its splits."""

from __future__ import annotations

import csv
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.feature_corpus import Geometry, outcomes, write_clip
from benchmarks.measured_process import Measured, measure
from pipelines.config import PipelineConfig, compose_config, resolve
from pipelines.corpus_plan import CorpusPlan
from pipelines.extract import FeaturePlan

SPLITS = (6, 21, 42)
CLIPS, FEATURE_SIZE = 6, 128
REPEATS = 3
MOST_GROWTH = 0.05
"""Of the peak, from the least number of splits to the largest."""


def run() -> dict[str, Any]:
    """Run studies of 6, 21 and 42 subjects whose shards and features are there."""
    with tempfile.TemporaryDirectory() as name:
        studies = {splits: prepared(Path(name) / str(splits), splits) for splits in SPLITS}
        peaks: dict[int, list[float]] = {splits: [] for splits in SPLITS}
        for repeat in range(REPEATS):
            for splits in SPLITS:
                command = [*studies[splits], f"name=study-{repeat}"]
                done = measured(command, Path(name))
                peaks[splits].append(done.peak_bytes / 2**20)
    medians = {splits: statistics.median(mebibytes) for splits, mebibytes in peaks.items()}
    least, most = medians[min(SPLITS)], medians[max(SPLITS)]
    return {
        "work": f"python -m harness.loso with a frozen trunk: {CLIPS} clips a subject, "
        f"{FEATURE_SIZE} features, LSTM 128, 2 epochs of each network, all CPUs, MLflow; shards "
        "and features are there; Ray's own processes included",
        "measure": "largest sum of the proportional set size (PSS) of all processes at one moment",
        "peak_mib": {str(splits): round(mebibytes) for splits, mebibytes in medians.items()},
        "peak_mib_of_repeats": {
            str(splits): [round(mebibytes) for mebibytes in each] for splits, each in peaks.items()
        },
        "repeats": REPEATS,
        "mib_a_split": round((most - least) / (max(SPLITS) - min(SPLITS)), 2),
        "growth": round(most / least - 1, 4),
        "flat": most <= (1 + MOST_GROWTH) * least,
    }


def measured(command: list[str], folder: Path) -> Measured:
    """Run a study, which must succeed."""
    done = measure(command, folder)
    if done.status != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return done


def prepared(folder: Path, subjects: int) -> list[str]:
    """Write a corpus that has been preprocessed and extracted; return the study's command."""
    geometry = Geometry(subjects=subjects, clips=CLIPS, feature_size=FEATURE_SIZE)
    corpus = folder / "corpus"
    clips = list(outcomes(geometry))
    for outcome in clips:
        path = corpus / f"{outcome.clip_id}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(outcome.clip_id)  # no video: that its shards are there is all that counts
    with (corpus / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "subject", "label"))
        writer.writerows((f"{o.clip_id}.avi", o.subject, o.emotion) for o in clips)
    overrides = [
        "corpus=csv_manifest",
        f"corpus.root={corpus}",
        f"paths.data={folder / 'data'}",
        f"paths.runs={folder / 'runs'}",
        "training.trunk=frozen",
        "training.augment=false",
        "training.audio_epochs=2",
        "training.visual_epochs=2",
        "training.fusion_epochs=2",
    ]
    config = compose_config("pipeline", PipelineConfig, overrides)
    resolve(config)
    task, features = CorpusPlan(config).task(), FeaturePlan(config)
    for outcome in clips:
        write_clip(task.folder, features.folders, task.keys[outcome.clip_id], outcome, geometry)
    task.finish({outcome.clip_id: outcome for outcome in clips})
    return [sys.executable, "-m", "harness.loso", "--json", "-q", *overrides]
