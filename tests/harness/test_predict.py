"""What kept models say of clips: their study's own predictions again, and other people's files."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import ForkedCommands, Result, SmallStudy, run_module
from media_files import write_clip

from harness.recogniser import Recogniser
from harness.timeline import draw_timeline

SPLIT, SUBJECT = "loso-s02", "s02"


def model_of(study: SmallStudy) -> Path:
    return study.folder / "models" / SPLIT


def clips_of(study: SmallStudy, subject: str = SUBJECT) -> Path:
    (corpus,) = (study.cwd / "data" / "corpora").iterdir()
    return corpus / subject


@pytest.fixture(scope="module")
def seen(small_study: SmallStudy, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The test clips of a split, among files of which nothing can be said, by the split's model."""
    folder = tmp_path_factory.mktemp("clips")
    shutil.copytree(clips_of(small_study), folder / "all" / "deeper")
    (folder / "all" / "text.avi").write_text("this is no video\n")
    write_clip(folder / "all" / "silent.mp4", audio=None)
    write_clip(folder / "all" / "faceless.mp4")
    (folder / "empty").mkdir()
    arguments = ("all", "gone.mp4", "empty", "--model", str(model_of(small_study)), "--json")
    return run_module("harness.predict", *arguments, cwd=folder)


def told_of(seen: Result) -> dict[str, dict[str, Any]]:
    return {Path(clip["path"]).stem: clip for clip in json.loads(seen.stdout)["clips"]}


def test_a_kept_model_predicts_from_the_files_what_its_split_did_to_the_bit(
    small_study: SmallStudy, seen: Result
) -> None:
    told = told_of(seen)
    table = pq.read_table(small_study.folder / "segment_predictions.parquet")
    rows = [row for row in table.to_pylist() if row["split_id"] == SPLIT]
    assert len({row["clip_id"] for row in rows}) == 6
    for row in rows:
        segment = told[Path(row["clip_id"]).name]["segments"][row["segment_index"]]
        expected = {label: row[f"p_{label}"] for label in segment["probabilities"]}
        assert segment["probabilities"] == expected
        assert segment["attention"] == {
            "audio": row["beta_audio"],
            "visual": row["beta_visual"],
        }


def test_votes_are_counted_as_in_the_study(small_study: SmallStudy, seen: Result) -> None:
    told = told_of(seen)
    rows = pq.read_table(small_study.folder / "predictions.parquet").to_pylist()
    for row in [row for row in rows if row["split_id"] == SPLIT]:
        clip = told[Path(row["clip_id"]).name]
        assert (clip["emotion"], clip["tie"]) == (row["predicted"], row["tie"])
        votes = Counter(
            max(segment["probabilities"], key=segment["probabilities"].__getitem__)
            for segment in clip["segments"]
        )
        assert clip["votes"] == votes[clip["emotion"]]
        of_segments = [s["probabilities"][clip["emotion"]] for s in clip["segments"]]
        assert clip["probability"] == pytest.approx(np.mean(of_segments), abs=1e-12)


def test_what_can_not_be_said_has_its_reason_and_the_others_go_on(seen: Result) -> None:
    assert seen.status == 1
    told = told_of(seen)
    assert len(told) == 6 + 5
    reasons = {
        name: (clip["status"], clip["reason"])
        for name, clip in told.items()
        if clip["emotion"] is None
    }
    assert reasons == {
        "text": ("failed", "not_media"),
        "silent": ("failed", "no_audio"),
        "faceless": ("dropped", "no_face"),
        "gone": ("failed", "missing_file"),
        "empty": ("failed", "missing_file"),
    }
    assert seen.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.avi", "--model", "nowhere"), r"--model \(nowhere\) is no folder that holds a model"),
        (("a.avi", "--model", "runs/small"), r"did you mean runs/small/models/loso-s01\?"),
        (("--model", "{model}"), "no CLIP is named: give media files, or folders of them"),
        (("a.avi", "--model", "{model}", "vad.floor_db=3"), "the model keeps its own settings"),
        (("a.avi", "--model", "{model}", "cluster.cpus=0"), "cluster.cpus"),
        (("a.avi", "b.avi", "--model", "{model}", "--timeline", "x.png"), "draws one clip"),
        (("a.avi", "--model", "{model}", "--timeline", "x.jpg"), "must end with .png"),
        (("a.avi", "--model", "models:/x/1", "paths.runs=none"), "there is no store"),
        (("a.avi", "--model", "models:/x/1", "tracking.uri=http://h:x"), "can't be fetched from"),
    ],
)
def test_a_wrong_request_is_one_line_and_status_2(
    arguments: tuple[str, ...],
    said: str,
    small_study: SmallStudy,
    forked_commands: ForkedCommands,
) -> None:
    model = str(model_of(small_study))
    words = [argument.format(model=model) for argument in arguments]
    result = forked_commands.run("harness.predict", *words, cwd=small_study.cwd)
    assert (result.status, result.stdout) == (2, "")
    assert re.fullmatch(rf"error: .*{said}.*\n", result.stderr), result.stderr


def test_a_timeline_says_what_each_segment_was_taken_for(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    clip = clips_of(small_study) / "fear_1.avi"
    with Recogniser(model_of(small_study)) as recogniser:
        recognition, result = recogniser.look_at(str(clip))
    figure = draw_timeline(recognition, result)
    title = figure.texts[0].get_text()
    assert title.startswith(f"fear_1.avi: {recognition.emotion}, ")
    assert title.endswith(f"({recognition.votes} of {len(recognition.segments)} segments)")
    cells, attention = figure.axes[-2:]
    numbers = [text.get_text() for text in cells.texts]
    expected = [
        f"{100 * probability:.0f}"
        for segment in recognition.segments
        for probability in segment.probabilities.values()
    ]
    assert numbers == expected
    assert [label.get_text() for label in cells.get_yticklabels()] == list(recogniser.classes)
    assert [label.get_text() for label in attention.get_yticklabels()] == ["audio", "visual"]
    faces = [axes for axes in figure.axes if axes.images]
    assert len(faces) >= 5


@pytest.mark.long
def test_many_clips_go_through_ray_and_come_out_as_one_by_one(
    small_study: SmallStudy, seen: Result, tmp_path: Path
) -> None:
    corpus = clips_of(small_study).parent
    (corpus / "text.avi").write_text("this is no video\n")
    model = model_of(small_study)
    result = run_module("harness.predict", str(corpus), "--model", str(model), cwd=tmp_path)
    as_json = run_module(
        "harness.predict", str(corpus), "--model", str(model), "--json", cwd=tmp_path
    )
    (corpus / "text.avi").unlink()
    assert (result.status, as_json.status) == (1, 1)
    assert re.search(r"^running on ", result.stderr, re.MULTILINE)
    assert re.search(r"predict: 19 of 19 in [\d.]+ s", result.stderr)
    assert re.search(r"text.avi: failed: not_media", result.stderr)
    lines = result.stdout.splitlines()
    assert len(lines) == 18
    pattern = r"[a-z]+ +[\d.]+ %  \d+ of \d+ segments(, a tie)? +\S+/s\d\d/[a-z]+_1\.avi"
    assert all(re.fullmatch(pattern, line) for line in lines)
    alone = told_of(seen)
    clips = json.loads(as_json.stdout)["clips"]
    of_subject = [clip for clip in clips if f"/{SUBJECT}/" in clip["path"]]
    assert len(of_subject) == 6
    for clip in of_subject:
        assert clip["segments"] == alone[Path(clip["path"]).stem]["segments"]


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        ("training.trunk=frozen",),
        ("training.trunk=frozen", "training.rescaling=standardised", "cluster.extract_cpus=2"),
        ("training.trunk=fc", "fusion.attend_over=timesteps", "cluster.trial_cpus=2"),
    ],
)
def test_on_frozen_trunks_too_the_files_give_the_studys_predictions(
    settings: tuple[str, ...], small_study: SmallStudy, tmp_path: Path
) -> None:
    shutil.copytree(small_study.cwd / "data", tmp_path / "data")
    study = run_module("harness.loso", *small_study.arguments, *settings, cwd=tmp_path)
    assert study.status == 0, study.stderr
    folder = tmp_path / "runs" / "small"
    model = str(folder / "models" / SPLIT)
    clips = str(clips_of(small_study))
    result = run_module("harness.predict", clips, "--model", model, "--json", cwd=tmp_path)
    told = told_of(result)
    rows = pq.read_table(folder / "segment_predictions.parquet").to_pylist()
    rows = [row for row in rows if row["split_id"] == SPLIT]
    assert rows
    for row in rows:
        segment = told[Path(row["clip_id"]).name]["segments"][row["segment_index"]]
        assert segment["probabilities"] == {
            label: row[f"p_{label}"] for label in segment["probabilities"]
        }


@pytest.mark.long
def test_real_faces_are_looked_at_whatever_the_model_learned(
    small_study: SmallStudy, grid_clips: Path, tmp_path: Path
) -> None:
    model = str(model_of(small_study))
    result = run_module(
        "harness.predict", str(grid_clips), "--model", model, "--json", cwd=tmp_path
    )
    assert result.status == 0, result.stderr
    clips = json.loads(result.stdout)["clips"]
    assert len(clips) == 11
    assert all(clip["emotion"] in clip["probabilities"] for clip in clips)


@pytest.mark.long
def test_splits_that_were_done_without_it_are_trained_again_to_be_kept(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    shutil.copytree(small_study.cwd / "data", tmp_path / "data")
    shutil.copytree(small_study.cwd / "runs", tmp_path / "runs")
    folder = tmp_path / "runs" / "small"
    weights = (folder / "models" / SPLIT / "weights.safetensors").read_bytes()
    shutil.rmtree(folder / "models" / SPLIT)
    result = run_module("harness.loso", *small_study.arguments, cwd=tmp_path)
    assert result.status == 0, result.stderr
    assert "train: 1 of 1 in" in result.stderr
    assert (folder / "models" / SPLIT / "weights.safetensors").read_bytes() == weights
