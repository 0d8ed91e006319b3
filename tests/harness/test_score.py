"""`python -m harness.score` on prediction files made by hand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import SMALL, ForkedCommands, Result, SmallStudy
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

EMOTIONS = ("anger", "fear", "joy")
PEOPLE = ("p1", "p2", "p3", "p4")
Table = list[list[str]]


def clip_names() -> list[tuple[str, str, str]]:
    """Return clip_id, subject and emotion of the corpus: 4 people, 6 clips each."""
    return [
        (f"{person}/{number}", person, EMOTIONS[number % 3])
        for person in PEOPLE
        for number in range(6)
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus whose files are no media: nothing is to be decoded."""
    root = tmp_path / "clips"
    lines = ["path,subject,label,sex"]
    for clip_id, person, emotion in clip_names():
        path = root / f"{clip_id}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(clip_id)
        lines.append(f"{clip_id}.avi,{person},{emotion},{'female' if person < 'p3' else 'male'}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def answers(seed: int = 0) -> Table:
    """Return clip_id and predicted of all clips."""
    random = np.random.default_rng(seed)
    return [
        [clip_id, emotion if random.random() < 0.6 else str(random.choice(EMOTIONS))]
        for clip_id, _, emotion in clip_names()
    ]


def write(cwd: Path, rows: Table, header: Sequence[str] = ("clip_id", "predicted")) -> None:
    with (cwd / "theirs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(header), *rows])


def score(forked: ForkedCommands, cwd: Path, *arguments: str) -> Result:
    own = ("corpus=csv_manifest", "corpus.root=clips")
    return forked.run("harness.score", "theirs.csv", *own, *arguments, cwd=cwd)


def summary_of(result: Result, status: int = 0) -> Any:
    assert result.status == status, result.stderr
    return json.loads(result.stdout)


def refusal(result: Result) -> str:
    assert (result.status, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    return line


def test_figures_and_the_folder_are_those_of_a_study(
    corpus: Path, forked_commands: ForkedCommands
) -> None:
    rows = answers()
    write(corpus, rows)
    summary = summary_of(score(forked_commands, corpus, "name=theirs", "--json"))
    true = [emotion for _, _, emotion in clip_names()]
    said = [label for _, label in rows]
    assert summary["clip_accuracy"] == pytest.approx(accuracy_score(true, said))
    assert summary["uar"] == pytest.approx(balanced_accuracy_score(true, said))
    assert summary["weighted_f1"] == pytest.approx(f1_score(true, said, average="weighted"))
    assert (summary["system"], summary["protocol"]) == ("external", "LOSO")
    assert (summary["splits_done"], summary["splits_expected"], summary["coverage"]) == (4, 4, 1.0)
    assert [row["value"] for row in summary["subgroups"]["sex"]] == ["female", "male"]
    assert any("what it was trained on is not known" in text for text in summary["warnings"])
    assert summary["clip_accuracy_by_mean"] is None
    folder = corpus / "runs" / "theirs"
    assert json.loads((folder / "summary.json").read_text()) == summary
    plan = json.loads((folder / "plan.json").read_text())
    assert [split["held_out"] for split in plan["splits"]] == list(PEOPLE)
    table = pq.read_table(folder / "predictions.parquet").to_pylist()
    assert [[row["clip_id"], row["predicted"]] for row in table] == rows
    assert {row["p_anger"] for row in table} == {None}
    assert (folder / "config.yaml").exists()
    said_of_it = score(forked_commands, corpus, "name=theirs").stdout
    assert "LOSO on csv_manifest, external system" in said_of_it
    assert "4 of 4 splits done, 24 of 24 clips predicted, 4 subjects" in said_of_it
    write(corpus, answers(1))
    score(forked_commands, corpus, "name=others")
    compared = forked_commands.run(
        "harness.compare", "runs/theirs", "runs/others", "--json", cwd=corpus
    )
    assert json.loads(compared.stdout)["clips"] == 24


def chances(label: str, *, most: str | None = None) -> list[str]:
    return ["0.8" if emotion == (most or label) else "0.1" for emotion in EMOTIONS]


CHANCES = ("p_anger", "p_fear", "p_joy")


def test_paths_and_probabilities_are_taken_and_what_is_odd_is_said(
    corpus: Path, forked_commands: ForkedCommands
) -> None:
    rows = [[f"{clip_id}.avi", label, *chances(label), "x"] for clip_id, label in answers()]
    rows[3][2:5] = chances(rows[3][1], most=next(e for e in EMOTIONS if e != rows[3][1]))
    write(corpus, rows, ("path", "predicted", *CHANCES, "remark"))
    summary = summary_of(score(forked_commands, corpus, "--json"))
    write(corpus, answers())
    plain = summary_of(score(forked_commands, corpus, "--json"))
    assert summary["clip_accuracy"] == plain["clip_accuracy"]
    assert summary["clip_accuracy_by_mean"] != summary["clip_accuracy"]
    assert any("in 1 lines predicted is not the emotion" in w for w in summary["warnings"])
    assert any("(line 5 is the first)" in text for text in summary["warnings"])
    assert any("not used: the columns remark" in text for text in summary["warnings"])


def changed(line: int, column: int, value: str) -> Callable[[Table], None]:
    def change(rows: Table) -> None:
        rows[line - 2][column] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(3, 0, "p1/99"), "line 3: clip_id (p1/99) is no clip of the corpus"),
        (changed(4, 1, "rage"), "line 4: predicted (rage) must be one of: anger, fear, joy"),
        (changed(5, 1, " "), "line 5: predicted is empty"),
        (changed(6, 0, ""), "line 6: clip_id is empty"),
        (changed(4, 0, "p1/0"), "line 4: p1/0 stands there a second time (it is in line 2 too)"),
        (changed(7, 2, "0.9"), "line 7: the probabilities sum to"),
        (changed(8, 3, "high"), "line 8: p_fear (high) must be a number from 0 to 1"),
        (changed(8, 4, "nan"), "line 8: p_joy (nan) must be a number from 0 to 1"),
        (changed(9, 2, "-0.1"), "line 9: p_anger (-0.1) must be a number from 0 to 1"),
        (lambda rows: rows[2].pop(), "line 4: 4 values, and 5 columns"),
        (lambda rows: rows.clear(), "holds no prediction"),
    ],
)
def test_what_does_not_fit_is_refused_by_line_and_value(
    change: Callable[[Table], None],
    said: str,
    corpus: Path,
    forked_commands: ForkedCommands,
) -> None:
    rows = [[clip_id, label, *chances(label)] for clip_id, label in answers()]
    change(rows)
    write(corpus, rows, ("clip_id", "predicted", *CHANCES))
    assert said in refusal(score(forked_commands, corpus, "name=theirs"))
    assert not (corpus / "runs").exists()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (("clip", "predicted"), "the columns are clip, predicted; needed are clip_id"),
        (("clip_id", "label"), "needed are clip_id"),
        (("clip_id", "predicted", "predicted"), "the column predicted stands twice"),
        (("clip_id", "predicted", "p_rage"), "p_rage is of no emotion of the corpus"),
        (("clip_id", "predicted", "p_joy"), "no p_anger, p_fear: give all of them or none"),
    ],
)
def test_columns_are_checked(
    header: Sequence[str], said: str, corpus: Path, forked_commands: ForkedCommands
) -> None:
    write(corpus, [], header)
    assert said in refusal(score(forked_commands, corpus))


def test_missing_predictions_make_it_incomplete_and_count_as_wrong(
    corpus: Path, forked_commands: ForkedCommands
) -> None:
    rows = [row for row in answers() if row[0] not in ("p2/1", "p2/2") and row[0][:2] != "p4"]
    write(corpus, rows)
    result = score(forked_commands, corpus, "name=part", "--json")
    summary = summary_of(result, status=1)
    assert (summary["complete"], summary["splits_done"]) == (False, 2)
    assert not {"clip_accuracy", "uar", "clip_accuracy_subject_mean"} & summary.keys()
    emotion_of = {clip_id: emotion for clip_id, _, emotion in clip_names()}
    right = sum(emotion_of[clip_id] == label for clip_id, label in rows)
    assert summary["clip_accuracy_all"] == pytest.approx(right / 24)
    assert summary["coverage"] == pytest.approx(16 / 24)
    assert summary["splits_failed"] == [
        {"split_id": "loso-p2", "error": "no prediction for 2 clips (p2/1, p2/2) of its 6"},
        {
            "split_id": "loso-p4",
            "error": "no prediction for 6 clips (p4/0, p4/1, p4/2, p4/3, p4/4 and 1 more) of its 6",
        },
    ]
    said = score(forked_commands, corpus, "name=part").stdout
    assert "incomplete: 2 of 4 splits are done" in said
    assert "pooled" not in said
    refused = forked_commands.run("harness.compare", "runs/part", "runs/part", cwd=corpus)
    assert "runs/part is incomplete" in refused.stderr


def test_a_folder_of_something_else_is_left_alone(
    corpus: Path, forked_commands: ForkedCommands
) -> None:
    write(corpus, answers())
    first = summary_of(score(forked_commands, corpus, "name=theirs", "--json"))
    again = summary_of(score(forked_commands, corpus, "name=theirs", "--json"))
    assert again == first
    write(corpus, answers(1))
    assert "name (theirs) is taken" in refusal(score(forked_commands, corpus, "name=theirs"))
    write(corpus, answers())
    other = score(forked_commands, corpus, "name=theirs", "protocol=kfold", "protocol.folds=3")
    assert "name (theirs) is taken" in refusal(other)
    (corpus / "runs" / "mine").mkdir()
    (corpus / "runs" / "mine" / "notes.txt").write_text("mine")
    assert "name (mine) is taken" in refusal(score(forked_commands, corpus, "name=mine"))
    held = json.loads((corpus / "runs" / "theirs" / "summary.json").read_text())
    assert held == first


def test_clips_tested_several_times_need_their_split_and_count_once(
    corpus: Path, forked_commands: ForkedCommands
) -> None:
    splits = [
        {
            "split_id": f"{person}-{repeat}",
            "repeat": repeat,
            "train": [c for c, other, _ in clip_names() if other != person],
            "validation": [],
            # The first repeat tests everybody, the second p1 alone.
            "test": [c for c, other, _ in clip_names() if other == person],
        }
        for repeat in range(2)
        for person in (PEOPLE if repeat == 0 else PEOPLE[:1])
    ]
    (corpus / "plan.json").write_text(json.dumps({"unit": "clip", "splits": splits}))
    plan = "protocol.plan=plan.json"
    write(corpus, answers())
    assert "line 2: p1/0 is tested by 2 splits" in refusal(score(forked_commands, corpus, plan))
    emotion_of = {clip_id: emotion for clip_id, _, emotion in clip_names()}
    rows = [[c, emotion_of[c], f"{c[:2]}-0"] for c in emotion_of]
    rows += [[c, "joy", "p1-1"] for c in emotion_of if c[:2] == "p1"]
    header = ("clip_id", "predicted", "split_id")
    write(corpus, rows, header)
    summary = summary_of(score(forked_commands, corpus, plan, "--json"))
    # 18 clips of others are right; the 6 of p1 once right and once by chance: 2 of 6.
    assert summary["clip_accuracy"] == pytest.approx((18 + 6 / 2 + 2 / 2) / 24)
    assert summary["per_subject"][0]["clip_accuracy"] == pytest.approx(4 / 6)
    assert [row["clip_accuracy"] for row in summary["repeats"]["each"]] == pytest.approx([1, 1 / 3])
    rows[0][2] = "p2-0"
    write(corpus, rows, header)
    assert "line 2: split_id (p2-0) does not test p1/0" in refusal(
        score(forked_commands, corpus, plan)
    )
    rows[0][2] = "p9-0"
    write(corpus, rows, header)
    assert "split_id (p9-0) is no split of the plan" in refusal(
        score(forked_commands, corpus, plan)
    )


def test_the_plan_is_guarded_and_its_warnings_stand_beside_the_number(
    corpus: Path, forked_commands: ForkedCommands
) -> None:
    write(corpus, answers())
    by_clip = ("protocol=kfold", "protocol.folds=3")
    said = score(forked_commands, corpus, *by_clip).stdout
    assert "[subject-dependent: the people tested were also trained on]" in said.splitlines()[0]
    by_segment = (*by_clip, "protocol.unit=segment")
    assert "protocol.unit (segment)" in refusal(score(forked_commands, corpus, *by_segment))
    (corpus / "clips" / "p2" / "0.avi").write_text("p1/0")
    line = refusal(score(forked_commands, corpus, "name=copied"))
    assert "p1/0" in line
    assert "p2/0" in line


def test_a_study_s_own_predictions_have_its_figures(
    small_study: SmallStudy, forked_commands: ForkedCommands, tmp_path: Path
) -> None:
    table = pq.read_table(small_study.folder / "predictions.parquet").to_pylist()
    with (tmp_path / "ours.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0].keys())
        writer.writeheader()
        writer.writerows(table)
    (made,) = (small_study.cwd / "data" / "corpora").iterdir()
    result = forked_commands.run(
        "harness.score",
        "ours.csv",
        *SMALL,
        f"corpus.root={made}",
        f"protocol.plan={small_study.folder / 'plan.json'}",
        "name=again",
        "--json",
        cwd=tmp_path,
    )
    again = summary_of(result)
    ours = json.loads((small_study.folder / "summary.json").read_text())
    for name in (
        "clip_accuracy",
        "clip_accuracy_by_mean",
        "uar",
        "weighted_f1",
        "ci95_low",
        "ci95_high",
        "confusion",
        "per_subject",
        "intervals",
        "subgroups",
    ):
        assert again[name] == ours[name]
    assert not any("can't be read" in warning for warning in again["warnings"])
