"""What the page says of attention, of learning and of several seeds, against counts by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import ForkedCommands
from page_reader import Page
from run_folders import EMOTIONS, made_study

from harness.page.render import read_page


def page_of(folder: Path) -> Page:
    return Page(read_page(folder))


def test_attention_on_modalities_is_the_mean_over_segments(tmp_path: Path) -> None:
    made_study(tmp_path, networks=())
    rows = page_of(tmp_path).tables["attention"]
    # 0.25, 0.35 and 0.45 on audio in every clip.
    assert rows[1:] == [[name, "18", "35.0", "65.0", "0.0"] for name in EMOTIONS]


def test_attention_on_frames_is_by_frame(tmp_path: Path) -> None:
    made_study(tmp_path, attention="timesteps", networks=())
    rows = page_of(tmp_path).tables["attention"]
    assert rows[0] == ["frame", *EMOTIONS]
    assert [row[1] for row in rows[1:]] == ["0.500", *["0.026"] * 19]


def test_attention_on_segments_is_relative_to_equal_weights(tmp_path: Path) -> None:
    made_study(tmp_path, attention="segments", networks=())
    page = page_of(tmp_path)
    # Weights 0.2, 0.3, 0.5 of three segments, in the first, third and last fifth of a clip.
    told = [(row[0], row[1]) for row in page.tables["attention"][1:]]
    assert told == [("1", "0.600"), ("2", "–"), ("3", "0.900"), ("4", "–"), ("5", "1.500")]  # noqa: RUF001
    assert "each clip has one prediction" in page.by_id["votes"]


def test_one_modality_has_no_attention(tmp_path: Path) -> None:
    made_study(tmp_path, attention=None, networks=("audio",))
    page = page_of(tmp_path)
    assert "attention" not in page.tables
    assert "Nothing was weighed" in page.by_id["attention"]
    assert [row[0] for row in page.tables["epochs"][1:]] == ["audio"]


def test_epochs_are_counted_over_splits(tmp_path: Path) -> None:
    made_study(tmp_path, networks=("audio", "fusion"))
    rows = page_of(tmp_path).tables["epochs"]
    # Splits trained 2, 3 and 4 epochs, and each kept the second.
    accuracy = f"{100 * (1 - 0.8 / 2**0.5):.1f}"
    assert rows[1:] == [
        ["audio", "1", "3", "2", "2", "2", accuracy],
        ["fusion", "2", "3", "2", "2", "2", accuracy],
    ]


def test_a_training_in_one_stage_has_its_curves(tmp_path: Path) -> None:
    made_study(tmp_path, networks=("joint",))
    page = page_of(tmp_path)
    accuracy = f"{100 * (1 - 0.8 / 2**0.5):.1f}"
    assert page.tables["epochs"][1:] == [["joint", "–", "3", "2", "2", "2", accuracy]]  # noqa: RUF001
    assert "One stage, joint network: 3 splits." in page.by_id["curves"]


def test_segments_dealt_out_to_several_splits_vote_together(tmp_path: Path) -> None:
    made_study(tmp_path, networks=())
    votes = page_of(tmp_path).tables["votes"]
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    predictions.assign(split_id="all").to_parquet(tmp_path / "predictions.parquet")
    assert page_of(tmp_path).tables["votes"] == votes


def test_several_seeds_have_their_spread_and_each_clip_its_worst_result(tmp_path: Path) -> None:
    summary = made_study(tmp_path, seeds=3, networks=())
    page = page_of(tmp_path)
    figures = {row[0]: row for row in page.tables["headline"]}
    assert figures["deviation between seeds"][1] == f"{100 * summary['seeds']['sd']:.1f}"
    # Each clip's segments vote once a seed; its row of the confusion counts once.
    votes = page.tables["votes"]
    assert votes[0][1] == "votes"
    assert sum(int(row[1]) for row in votes[1:]) == 3 * summary["clips"]
    assert f"of {3 * summary['clips']} votes" in page.text
    rows = page.tables["hardest_clips"][1:]
    assert len({row[0] for row in rows}) == len(rows)
    assert all(row[7] == "3" and 1 <= int(row[6]) <= 3 for row in rows)


def test_the_page_tells_on_what_the_study_was_trained(tmp_path: Path) -> None:
    made_study(tmp_path, networks=("audio",))
    run = {
        "started": "2026-01-02T03:04:05+00:00",
        "finished": None,
        "place": "a cluster",
        "splits": 3,
        "machine": {"cpu": "Abacus", "cores": 2, "memory_gib": 8.0, "system": "Linux"},
        "versions": {"torch": "9.9"},
        "git_commit": "abc",
    }
    (tmp_path / "provenance.json").write_text(json.dumps({"runs": [run]}))
    told = dict(row for row in page_of(tmp_path).tables["provenance"])
    assert told["digest of the configuration"] == "c0ffee"
    assert told["worked on"] == "2026-01-02T03:04:05+00:00 to an interruption"
    assert told["driver"] == "Abacus, 2 cores, 8.0 GiB, Linux"
    assert told["trained with"] == "3 splits: cpu, 1 threads"


@pytest.mark.parametrize("missing", ["folder", "summary.json", "whole"])
def test_a_folder_that_is_no_study_is_refused_in_one_line_and_the_others_have_their_pages(
    missing: str, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    folder, good = tmp_path / "run", tmp_path / "good"
    if missing != "folder":
        folder.mkdir()
    if missing == "whole":
        (folder / "summary.json").write_text('{"protocol": ')
    made_study(good, networks=())
    said = forked_commands.run("harness.report", str(folder), str(good), cwd=tmp_path)
    assert said.status == 2
    assert said.stdout == f"{good / 'report.html'}\n"
    assert (good / "report.html").exists()
    assert said.stderr.startswith(f"error: {folder} ")
    assert said.stderr.count("\n") == 1


def test_the_pages_that_were_made_are_told_to_programs(
    tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    made_study(tmp_path / "run", networks=())
    said = forked_commands.run("harness.report", "run", "--json", cwd=tmp_path)
    page = str(Path("run") / "report.html")
    assert (said.status, said.stderr) == (0, "")
    assert json.loads(said.stdout) == [{"folder": "run", "page": page, "problem": None}]
