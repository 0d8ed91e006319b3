"""`python -m harness.compare` on folders made by hand, recounted from outside."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared_runs import SUBJECTS, Rows, made, write_run
from conftest import ForkedCommands, Result
from scipy import stats

from harness.comparing.comparison import compare as compared
from harness.comparing.picture import draw_comparison
from harness.comparing.run_results import read_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, seed, share in (("A", 0, 0.5), ("B", 1, 0.8), ("C", 2, 0.6)):
        write_run(tmp_path / name, made(seed, share))
    return tmp_path


def compare(forked: ForkedCommands, cwd: Path, *arguments: str) -> Result:
    return forked.run("harness.compare", *arguments, cwd=cwd)


def result_of(forked: ForkedCommands, cwd: Path, *arguments: str) -> Any:
    result = compare(forked, cwd, *arguments, "--json")
    assert result.status == 0, result.stderr
    return json.loads(result.stdout)


def refusal(result: Result) -> str:
    assert (result.status, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    return line


def rights(rows: Rows) -> dict[str, bool]:
    return {row["clip_id"]: row["emotion"] == row["predicted"] for row in rows}


def shares(right: Mapping[str, bool]) -> list[float]:
    return [
        float(np.mean([is_right for clip_id, is_right in right.items() if clip_id[:2] == subject]))
        for subject in SUBJECTS
    ]


def test_differences_intervals_and_tests_recounted_by_scipy_and_enumeration(
    runs: Path, forked_commands: ForkedCommands
) -> None:
    found = result_of(forked_commands, runs, "A", "B", "C")
    a = rights(made(0, 0.5))
    assert found["clips"] == len(a) == 40
    assert found["family"] == ["B", "C"]
    assert found["warnings"] == []
    p_values: dict[str, list[float]] = {"permutation": [], "mcnemar": []}
    for one, (seed, share) in zip(found["comparisons"], ((1, 0.8), (2, 0.6)), strict=True):
        b = rights(made(seed, share))
        differences = np.subtract(shares(b), shares(a))
        mean = one["difference_subject_mean"]
        low, high = stats.ttest_rel(shares(b), shares(a)).confidence_interval(0.95)
        assert mean["value"] == pytest.approx(differences.mean())
        assert [mean["low"], mean["high"]] == pytest.approx([low, high])
        assert "nominal 95 %" in mean["label"]
        pooled = one["difference_pooled"]
        assert pooled["value"] == pytest.approx((sum(b.values()) - sum(a.values())) / 40)
        assert pooled["low"] <= pooled["value"] <= pooled["high"]
        signs = itertools.product((-1, 1), repeat=5)
        sums = [abs(np.dot(sign, differences)) for sign in signs]
        exact = np.mean([one >= abs(differences.sum()) - 1e-9 for one in sums])
        assert one["permutation"]["p"] == pytest.approx(exact)
        assert one["permutation"]["smallest_p"] == 2 / 2**5
        only_a = sum(a[c] and not b[c] for c in a)
        only_b = sum(b[c] and not a[c] for c in a)
        assert one["mcnemar"]["p"] == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
        assert one["mcnemar"]["label"] == "ignores clustering"
        assert one["mcnemar"]["smallest_p"] == 2 / 2 ** (only_a + only_b)
        assert {row["clip_id"] for row in one["right_to_wrong"]} == {
            c for c in a if a[c] and not b[c]
        }
        assert {row["clip_id"] for row in one["wrong_to_right"]} == {
            c for c in a if b[c] and not a[c]
        }
        assert [row["difference"] for row in one["per_subject"]] == pytest.approx(differences)
        for row in one["per_emotion"]:
            own = [r["clip_id"] for r in made(0, 0.5) if r["emotion"] == row["emotion"]]
            assert row["first"] == pytest.approx(np.mean([a[c] for c in own]))
            assert row["later"] == pytest.approx(np.mean([b[c] for c in own]))
        for kind, values in p_values.items():
            values.append(one[kind]["p"])
    for kind, (one, other) in p_values.items():
        smaller = min(1.0, 2 * min(one, other))
        by_hand = {min(one, other): smaller, max(one, other): max(smaller, one, other)}
        for comparison in found["comparisons"]:
            told = comparison[kind]
            assert told["p_holm"] == pytest.approx(by_hand[told["p"]])


def test_the_interval_comes_before_the_p_values_and_the_family_is_told(
    runs: Path, forked_commands: ForkedCommands
) -> None:
    said = compare(forked_commands, runs, "A", "B", "C").stdout
    for part in ("LOSO", "made", "5 of 5", "on the same 40 clips of 5 subjects"):
        assert part in said
    pair = said[said.index("B minus A") : said.index("C minus A")]
    places = [
        pair.index(part)
        for part in (
            "mean over subjects",
            "t interval, nominal 95 % over 5 subjects",
            "permutation",
            "the smallest possible is 0.0625",
            "McNemar",
            "ignores clustering",
            "the family declared beforehand, the 2 comparisons named on the command line (B, C)",
        )
    ]
    assert places == sorted(places)


def test_a_run_against_itself_is_no_difference(runs: Path, forked_commands: ForkedCommands) -> None:
    (one,) = result_of(forked_commands, runs, "A", "A")["comparisons"]
    assert one["difference_subject_mean"]["value"] == one["difference_pooled"]["value"] == 0
    assert one["permutation"]["p"] == one["mcnemar"]["p"] == 1.0
    assert one["wrong_to_right"] == one["right_to_wrong"] == []


def test_other_test_clips_are_refused_by_name_and_left_out_when_asked(
    runs: Path, forked_commands: ForkedCommands
) -> None:
    write_run(runs / "D", [row for row in made(3, 0.7) if row["clip_id"] != "s2/4"])
    line = refusal(compare(forked_commands, runs, "A", "D"))
    assert "test clips differ" in line
    assert "s2/4" in line
    assert "--common" in line
    found = result_of(forked_commands, runs, "A", "D", "--common")
    assert found["clips"] == 39
    assert found["left_out"] == {"A": ["s2/4"]}
    assert (
        "left out of A: 1 clip (s2/4)"
        in compare(forked_commands, runs, "A", "D", "--common").stdout
    )


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (
            "emotion",
            "fear",
            "the true label of 1 clip (s1/0) differs: s1/0 has anger in A and fear",
        ),
        ("subject", "s9", "the subject of 1 clip (s1/0) differs: s1/0 has s1 in A and s9 in X"),
    ],
)
def test_other_labels_and_subjects_are_refused(
    column: str, value: str, said: str, runs: Path, forked_commands: ForkedCommands
) -> None:
    rows = made(3, 0.7)
    rows[0][column] = value
    write_run(runs / "X", rows)
    assert said in refusal(compare(forked_commands, runs, "A", "X", "--common"))


def test_other_recordings_under_the_same_names_are_refused(
    runs: Path, forked_commands: ForkedCommands
) -> None:
    for name, content in (("A", "one"), ("B", "one"), ("C", "other")):
        told = {row["clip_id"]: content for row in made(0, 0.5)}
        (runs / name / "contents.json").write_text(json.dumps(told))
    assert compare(forked_commands, runs, "A", "B").status == 0
    for more in ([], ["--common"]):
        line = refusal(compare(forked_commands, runs, "A", "C", *more))
        assert "(s1/0, s1/1, s1/2, s1/3, s1/4 and 35 more) of the same name is another" in line


def test_a_run_that_is_named_twice_is_refused(runs: Path, forked_commands: ForkedCommands) -> None:
    line = refusal(compare(forked_commands, runs, "A", "B", str(runs / "B")))
    assert "B is named more than once" in line


def test_a_run_whose_ledger_lacks_a_split_is_refused_whatever_its_summary_says(
    runs: Path, forked_commands: ForkedCommands
) -> None:
    rows = made(3, 0.7)
    write_run(runs / "L", rows)
    tested = [row["clip_id"] for row in rows]
    plan = {"unit": "clip", "splits": [{"split_id": "x", "train": [], "test": tested}]}
    (runs / "L" / "plan.json").write_text(json.dumps(plan))
    (runs / "L" / "splits").mkdir()
    line = refusal(compare(forked_commands, runs, "A", "L"))
    assert "L is incomplete: its split x is not done (1 such in all)" in line


def test_incomplete_runs_and_folders_that_are_none_are_refused(
    runs: Path, forked_commands: ForkedCommands
) -> None:
    write_run(runs / "I", made(3, 0.7), complete=False, splits_done=4)
    line = refusal(compare(forked_commands, runs, "A", "I", "--common"))
    assert "I is incomplete (4 of 5 splits are done)" in line
    write_run(runs / "P", made(3, 0.7)[1:])
    plan = {
        "unit": "clip",
        "splits": [{"split_id": "x", "train": [], "test": [r["clip_id"] for r in made(3, 0.7)]}],
    }
    (runs / "P" / "plan.json").write_text(json.dumps(plan))
    line = refusal(compare(forked_commands, runs, "A", "P", "--common"))
    assert "P is incomplete: its plan tests 1 clip (s1/0) without result" in line
    assert "nowhere is no folder" in refusal(compare(forked_commands, runs, "A", "nowhere"))
    assert "two runs or more" in refusal(compare(forked_commands, runs, "A"))


def test_several_predictions_of_a_clip_are_averaged_and_mcnemar_is_left_out(
    runs: Path, forked_commands: ForkedCommands
) -> None:
    one, other = made(1, 0.8), made(2, 0.6)
    write_run(runs / "E", [*one, *other], protocol="LOSO, 2 seeds")
    found = result_of(forked_commands, runs, "A", "E")
    (pair,) = found["comparisons"]
    averaged = np.mean([shares(rights(one)), shares(rights(other))], axis=0)
    expected = np.subtract(averaged, shares(rights(made(0, 0.5))))
    assert [row["difference"] for row in pair["per_subject"]] == pytest.approx(expected)
    assert pair["mcnemar"] is None
    assert "E predicted clips several times" in pair["mcnemar_left_out"]
    assert "the protocols differ (A LOSO, E LOSO, 2 seeds)" in found["warnings"][0]


def test_a_warning_of_a_protocol_and_an_external_system_are_said(
    runs: Path, forked_commands: ForkedCommands
) -> None:
    leak = "subject-dependent: the people tested were also trained on"
    write_run(runs / "K", made(1, 0.9), warnings=[leak], protocol_warnings=[leak])
    write_run(runs / "X", made(2, 0.9), system="external")
    said = compare(forked_commands, runs, "A", "K", "X").stdout
    assert f"warning: K is {leak}" in said
    assert f"K minus A [{leak}]" in said
    assert "X is of an external system: what it was trained on is not known here" in said


def test_the_picture_shows_each_subject_in_both_runs_and_each_emotions_difference(
    runs: Path,
) -> None:
    leak = "subject-dependent: the people tested were also trained on"
    write_run(runs / "K", made(1, 0.9), protocol_warnings=[leak])
    found = compared([read_run(runs / name) for name in ("A", "B", "K")])
    figure = draw_comparison(found)
    assert len(figure.axes) == 2 * 2
    for pair, subjects, emotions in zip(
        found["comparisons"], figure.axes[::2], figure.axes[1::2], strict=True
    ):
        drawn = [points.get_offsets() for points in subjects.collections[1:]]
        for which, points in zip(("first", "later"), drawn, strict=True):
            expected = [[100 * row[which], n] for n, row in enumerate(pair["per_subject"])]
            assert np.asarray(points).tolist() == expected
        middles = [np.asarray(points.get_offsets()) for points in emotions.collections[1::2]]
        assert [float(point[0, 0]) for point in middles] == pytest.approx(
            [100 * row["difference"] for row in pair["per_emotion"]]
        )
    written = " ".join(text.get_text() for text in figure.texts)
    mean = 100 * found["comparisons"][0]["difference_subject_mean"]["value"]
    assert f"{mean:+.1f} points, mean over 5 subjects" in written
    assert "subject-dependent" in written


@pytest.mark.parametrize(("kind", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_the_same_comparison_is_the_same_picture_to_the_byte(
    kind: str, begins: bytes, runs: Path, forked_commands: ForkedCommands
) -> None:
    pictures = [runs / f"{name}.{kind}" for name in ("one", "two")]
    for picture in pictures:
        said = compare(forked_commands, runs, "A", "B", "--picture", str(picture))
        assert (said.status, said.stderr) == (0, "")
    one, two = (picture.read_bytes() for picture in pictures)
    assert one.startswith(begins)
    assert one == two


def test_a_picture_that_cannot_be_is_refused(runs: Path, forked_commands: ForkedCommands) -> None:
    def refused(*arguments: str) -> str:
        return refusal(compare(forked_commands, runs, *arguments))

    assert "--picture (x.jpg) must end with" in refused("A", "B", "--picture", "x.jpg")
    assert "no folder gone" in refused("A", "B", "--picture", "gone/x.png")
    alone = refused("A", "--published", "rml", "--picture", "x.png")
    assert "name two or more" in alone


def test_published_numbers_stand_beside_with_protocol_and_interval(
    runs: Path, forked_commands: ForkedCommands
) -> None:
    rows = result_of(forked_commands, runs, "A", "--published", "rml")["published"]["rows"]
    assert [(row["protocol"], round(100 * row["accuracy"], 2)) for row in rows] == [
        ("LOSO", 72.03),
        ("LOSO", 74.32),
        ("LOSO", 76.13),
        ("K-fold", 82.22),
        ("K-fold", 90.83),
        ("K-fold", 98.70),
    ]
    paper = rows[2]
    exact = stats.binomtest(381, 500).proportion_ci(0.95, method="wilson")
    assert [paper["low"], paper["high"]] == pytest.approx([exact.low, exact.high], abs=0.002)
    assert "ignores subjects" in paper["label"]
    assert rows[0]["low"] is None
    said = compare(forked_commands, runs, "A", "--published", "enterface05").stdout
    for part in ("78.49 %", "1166", "not known", "ignores", "A is not of enterface05"):
        assert part in said
