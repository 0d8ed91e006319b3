"""The whole harness where the truth is known: nothing to learn is chance, and a leak is a number.

Each study is a public command on real files of the synthetic corpus. Its trunks are frozen as they
were drawn, and what stands on them is trained until it knows its clips by heart: whatever leaks is
found, as the studies by segment show, and where nothing does they are right as often as chance.

Clips of five seeds (other people, sentences, labels, folds, weights) are pooled and judged by the
exact 99.9 % interval, as in test_learning.py.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import run_module
from findings import Finding, hits_of

from harness.protocols import LEAKING, SUBJECT_DEPENDENT
from pipelines.corpora.synthetic import SyntheticConfig, clips, make_clip
from pipelines.split_task import seed_for

PERMUTED = (51, 52, 53, 54, 55)
NOTHING = (61, 62, 63, 64, 65)
LEAK = (71, 72, 73, 74, 75)
SUBJECTS, CLIPS = 6, 36
NETWORK = (
    "model.temporal=mean",
    "model.dropout=0",
    "fusion.dropout=0",
    "training.trunk=frozen",
    "training.keep=last",
    "training.segments_per_clip=null",
    "training.audio_epochs=300",
    "training.visual_epochs=1000",
    "training.fusion_epochs=400",
    "training.head_rate=0.02",
)
"""Learns its clips by heart, in seconds."""

Hits = dict[tuple[int, str], bool]


def study(command: str, name: str, *settings: str, seed: int, cwd: Path) -> tuple[Hits, str]:
    """Run a study; return whether each clip was recognised, and what the terminal said."""
    fixed = (f"seed={seed}", f"name={name}", "cluster.cpus=1", "tracking.enabled=false")
    done = run_module(f"harness.{command}", *NETWORK, *fixed, *settings, cwd=cwd)
    assert done.status == 0, done.stderr
    hits = hits_of(cwd / "runs" / name, seed)
    assert len(hits) == CLIPS
    return hits, done.stdout


def corpus_with_dealt_labels(seed: int, signal: str, *, within_subjects: bool, cwd: Path) -> str:
    """Make a corpus' files and a manifest that shuffles their labels; return the folder.

    Within subjects each person still bears each label once; else labels are dealt to all clips
    without regard to persons.
    """
    root = cwd / "files"
    config = SyntheticConfig(
        root=str(root), subjects=SUBJECTS, takes=1, signal=signal, difficulty=0, seed=seed
    )
    made = clips(config)
    for clip in made:
        make_clip(config, clip)
    labels: dict[str, str] = {}
    for subject in {clip.subject for clip in made} if within_subjects else {"everyone"}:
        own = [clip for clip in made if not within_subjects or clip.subject == subject]
        dealt = [clip.emotion for clip in own]
        random.Random(seed_for(seed, "labels", subject)).shuffle(dealt)
        labels |= {clip.clip_id: label for clip, label in zip(own, dealt, strict=True)}
    lines = [f"{clip.clip_id}.avi,{clip.subject},{labels[clip.clip_id]}" for clip in made]
    (root / "manifest.csv").write_text("\n".join(["path,subject,label", *lines]) + "\n")
    return str(root)


def told(name: str, finding: Finding) -> Finding:
    print(f"{name}: {finding}")
    return finding


@pytest.mark.long
@pytest.mark.xdist_group("permuted")
def test_labels_permuted_within_subjects_are_recognised_as_often_as_chance(tmp_path: Path) -> None:
    hits: Hits = {}
    for seed in PERMUTED:
        cwd = tmp_path / str(seed)
        root = corpus_with_dealt_labels(seed, "both", within_subjects=True, cwd=cwd)
        own = ("corpus=csv_manifest", f"corpus.root={root}")
        hits |= study("loso", "permuted", *own, seed=seed, cwd=cwd)[0]
        shutil.rmtree(cwd)
    finding = told("labels permuted within subjects, LOSO", Finding(hits))
    assert finding.is_at_chance, finding


@pytest.mark.long
@pytest.mark.xdist_group("nothing")
def test_clips_that_tell_nothing_are_recognised_as_often_as_chance(tmp_path: Path) -> None:
    hits: Hits = {}
    for seed in NOTHING:
        cwd = tmp_path / str(seed)
        cwd.mkdir()
        corpus = (
            f"corpus.subjects={SUBJECTS}",
            "corpus.takes=1",
            "corpus.difficulty=0",
            "corpus.signal=none",
            f"corpus.seed={seed}",
        )
        hits |= study("loso", "nothing", *corpus, seed=seed, cwd=cwd)[0]
        shutil.rmtree(cwd)
    finding = told("signal none, LOSO", Finding(hits))
    assert finding.is_at_chance, finding


@pytest.mark.long
@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(LEAK[:1], id="one corpus"),
        pytest.param(LEAK, id="five corpora", marks=pytest.mark.xdist_group("leak")),
    ],
)
def test_by_segment_a_leak_passes_for_recognition_and_by_clip_nothing_does(
    seeds: Sequence[int], tmp_path: Path
) -> None:
    """Faces tell who it is, light and pose which clip, and no label: these are dealt to all clips.

    With the corpus' own labels K-fold by clip falls below chance: of a known person the emotions
    that are left to be tested are those that the training has seen less of.
    """
    by_segment: Hits = {}
    by_clip: Hits = {}
    for seed in seeds:
        cwd = tmp_path / str(seed)
        root = corpus_with_dealt_labels(seed, "none", within_subjects=False, cwd=cwd)
        for unit, hits, warning in (
            ("segment", by_segment, LEAKING),
            ("clip", by_clip, SUBJECT_DEPENDENT),
        ):
            own = ("corpus=csv_manifest", f"corpus.root={root}")
            folds = (f"protocol.unit={unit}", "protocol.folds=3", "model.modalities=visual")
            found, said = study("kfold", unit, *own, *folds, seed=seed, cwd=cwd)
            hits |= found
            assert f"3-fold by {unit} on csv_manifest" in said
            assert f"warning: {warning}" in said
            summary = json.loads((cwd / "runs" / unit / "summary.json").read_text())
            assert summary["warnings"] == [warning]
        shutil.rmtree(cwd)
    leaking = told("no signal, 3-fold by segment", Finding(by_segment))
    honest = told("no signal, 3-fold by clip", Finding(by_clip))
    assert leaking.is_far_above_chance, leaking
    assert honest.is_at_chance, honest


def test_labels_are_dealt_anew_and_alike_by_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("test_truth.make_clip", lambda config, clip: None)
    rows: dict[tuple[int, bool, str], list[list[str]]] = {}
    for seed, within, place in ((1, True, "a"), (1, True, "b"), (2, True, "c"), (1, False, "d")):
        (tmp_path / place / "files").mkdir(parents=True)
        root = corpus_with_dealt_labels(seed, "none", within_subjects=within, cwd=tmp_path / place)
        lines = (Path(root) / "manifest.csv").read_text().splitlines()[1:]
        rows[seed, within, place] = [line.split(",") for line in lines]
    one, same, other, over_all = rows.values()
    assert one == same != other
    emotions = sorted({label for _, _, label in one})
    for dealt, in_order in ((one, True), (over_all, False)):
        of_s01 = sorted(label for _, subject, label in dealt if subject == "s01")
        assert (of_s01 == emotions) == in_order
        assert sorted(label for *_, label in dealt) == sorted(emotions * SUBJECTS)
        kept = sum(path.endswith(f"/{label}_1.avi") for path, _, label in dealt)
        assert 0 < kept < CLIPS / 2
