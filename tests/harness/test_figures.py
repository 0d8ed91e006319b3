"""Figures of predictions against scikit-learn, and clips that were tested several times by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
)

from harness.breakdowns import spread, subgroups
from harness.figures import clip_figures, intervals, per_subject, segment_figures
from pipelines.records import Clip, Prediction

CLASSES = ("anger", "fear", "joy", "sadness")


def predicted(
    clip_id: str,
    emotion: str,
    answer: str,
    *,
    by_mean: str | None = None,
    tie: bool = False,
    repeat: int = 0,
    seed_index: int = 0,
) -> Prediction:
    return Prediction(
        split_id=f"{repeat}-{seed_index}",
        repeat=repeat,
        seed_index=seed_index,
        seed=0,
        clip_id=clip_id,
        subject=clip_id.partition("/")[0],
        emotion=emotion,
        predicted=answer,
        predicted_by_mean=by_mean or answer,
        tie=tie,
        probabilities=dict.fromkeys(CLASSES, 0.25),
    )


def random_study(seed: int) -> tuple[list[Prediction], list[float]]:
    """Return predictions of clips that were tested once to three times, and each one's weight."""
    random = np.random.default_rng(seed)
    rows, weights = [], []
    for number in range(int(random.integers(12, 40))):
        clip_id = f"s{number % 5}/{number}"
        emotion = CLASSES[number % 4] if number < 4 else str(random.choice(CLASSES))
        times = int(random.integers(1, 4))
        for repeat in range(times):
            answer, by_mean = map(str, random.choice(CLASSES, 2))
            tie = bool(random.random() < 0.3)
            rows.append(
                predicted(clip_id, emotion, answer, by_mean=by_mean, tie=tie, repeat=repeat)
            )
            weights.append(1 / times)
    return rows, weights


@pytest.mark.parametrize("seed", range(20))
def test_figures_equal_scikit_learns_with_each_clip_counted_once(seed: int) -> None:
    rows, weights = random_study(seed)
    true, said = [row.emotion for row in rows], [row.predicted for row in rows]
    found = clip_figures(rows, CLASSES)
    assert found["clip_accuracy"] == pytest.approx(
        accuracy_score(true, said, sample_weight=weights)
    )
    assert found["clip_accuracy_by_mean"] == pytest.approx(
        accuracy_score(true, [row.predicted_by_mean for row in rows], sample_weight=weights)
    )
    assert found["uar"] == pytest.approx(balanced_accuracy_score(true, said, sample_weight=weights))
    assert found["weighted_f1"] == pytest.approx(
        f1_score(true, said, average="weighted", sample_weight=weights, zero_division=0)
    )
    counts = confusion_matrix(true, said, labels=CLASSES, sample_weight=weights)
    np.testing.assert_allclose(found["confusion"], counts)
    shares = confusion_matrix(true, said, labels=CLASSES, sample_weight=weights, normalize="true")
    np.testing.assert_allclose(found["confusion_percent"], 100 * shares)
    assert np.sum(found["confusion"]) == pytest.approx(len({row.clip_id for row in rows}))
    assert found["tie_rate"] == pytest.approx(np.average([r.tie for r in rows], weights=weights))
    for told in found_subjects(rows, weights):
        (ours,) = [row for row in per_subject(rows) if row["subject"] == told["subject"]]
        assert ours == {key: pytest.approx(v) if key != "subject" else v for key, v in told.items()}


def found_subjects(rows: Sequence[Prediction], weights: Sequence[float]) -> list[dict[str, object]]:
    told = []
    for subject in sorted({row.subject for row in rows}):
        own = [(row, w) for row, w in zip(rows, weights, strict=True) if row.subject == subject]
        true, said = [r.emotion for r, _ in own], [r.predicted for r, _ in own]
        own_weights = [w for _, w in own]
        told.append(
            {
                "subject": subject,
                "clips": len({row.clip_id for row, _ in own}),
                "clip_accuracy": accuracy_score(true, said, sample_weight=own_weights),
                "uar": f_recall(true, said, own_weights),
            }
        )
    return told


def f_recall(true: Sequence[str], said: Sequence[str], weights: Sequence[float]) -> float:
    """Mean recall over the classes that occur, by the weighted counts."""
    recalls = []
    for label in sorted(set(true)):
        of_class = [(s, w) for t, s, w in zip(true, said, weights, strict=True) if t == label]
        recalls.append(sum(w for s, w in of_class if s == label) / sum(w for _, w in of_class))
    return float(np.mean(recalls))


def test_a_clip_that_was_tested_four_times_counts_as_much_as_one_tested_once() -> None:
    rows = [predicted("s1/a", "anger", "anger", repeat=repeat) for repeat in range(3)]
    rows += [predicted("s1/a", "anger", "fear", repeat=3), predicted("s1/b", "fear", "joy")]
    rows += [predicted("s2/c", "joy", "joy")]
    found = clip_figures(rows, CLASSES)
    assert found["clip_accuracy"] == pytest.approx((3 / 4 + 0 + 1) / 3)
    assert found["uar"] == pytest.approx((3 / 4 + 0 + 1) / 3)
    assert [row["clip_accuracy"] for row in per_subject(rows)] == pytest.approx([3 / 8, 1.0])
    assert [row["clips"] for row in per_subject(rows)] == [2, 1]
    assert found["clip_accuracy_subject_mean"] == pytest.approx((3 / 8 + 1) / 2)
    assert found["subject_sd"] == pytest.approx(np.std([3 / 8, 1.0], ddof=1))
    assert found["confusion"][0] == [0.75, 0.25, 0.0, 0.0]
    assert found["confusion_percent"][0] == [75.0, 25.0, 0.0, 0.0]
    assert found["confusion_percent"][3] == [0.0] * 4  # nobody showed it


def test_counts_are_whole_numbers_where_repeats_agree() -> None:
    rows = [predicted("s1/a", "anger", "fear", repeat=repeat) for repeat in range(3)]
    assert clip_figures(rows, CLASSES)["confusion"][0] == [0, 1, 0, 0]
    assert isinstance(clip_figures(rows, CLASSES)["confusion"][0][1], int)


def test_chance_and_the_commonest_emotion() -> None:
    rows = [predicted(f"s1/{n}", "fear", "joy") for n in range(3)]
    # Twice tested, and yet one clip.
    rows += [predicted("s1/x", "joy", "joy", repeat=r) for r in range(5)]
    found = clip_figures(rows, CLASSES)
    assert (found["majority_class"], found["majority_class_rate"]) == ("fear", 0.75)
    assert found["chance"] == 0.5


def test_three_intervals_each_labelled() -> None:
    right = {"s1": 3, "s2": 2, "s3": 4, "s4": 1}
    rows = [
        predicted(f"{subject}/{n}", "anger", "anger" if n < count else "joy")
        for subject, count in right.items()
        for n in range(4)
    ]
    by_subject, by_clip, wilson = intervals(rows)
    shares = [count / 4 for count in right.values()]
    low, high = stats.ttest_1samp(shares, 0).confidence_interval(0.95)
    assert [by_subject["low"], by_subject["high"]] == pytest.approx([low, min(1.0, high)])
    assert by_subject["of"] == "clip_accuracy_subject_mean"
    assert by_clip["method"] == "cluster bootstrap"
    assert by_clip["low"] < 10 / 16 < by_clip["high"]
    exact = stats.binomtest(10, 16).proportion_ci(0.95, method="wilson")
    assert [wilson["low"], wilson["high"]] == pytest.approx([exact.low, exact.high])
    assert "ignores subjects" in wilson["label"]
    for one in (by_subject, by_clip, wilson):
        assert one["label"].startswith("nominal 95 %")
    assert intervals(rows) == [by_subject, by_clip, wilson]


def test_an_interval_that_says_nothing_says_so() -> None:
    alone = intervals([predicted("s1/a", "joy", "joy"), predicted("s1/b", "joy", "fear")])
    assert alone[0]["low"] is alone[1]["low"] is None
    assert alone[0]["label"] == "one subject gives no interval"
    alike = intervals([predicted(f"s{n}/a", "joy", "joy") for n in range(3)])
    assert "has no width" in alike[0]["label"]
    assert alike[2]["low"] < 1.0
    rows = [predicted(f"s{n}/{c}", "joy", "joy") for n in range(3) for c in "abcdefgh"]
    rows[0] = predicted("s0/a", "joy", "fear")
    near = intervals(rows)
    assert "covers less near the ceiling" in near[0]["label"]
    assert "too narrow with so few" in near[1]["label"]


@pytest.mark.parametrize("seed", range(5))
def test_figures_of_segments_equal_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    clips = {
        f"c{n}": Clip(clip_id=f"c{n}", path="", subject="s", emotion=CLASSES[n % 4])
        for n in range(8)
    }
    pieces = [(clip_id, index) for clip_id in clips for index in range(int(random.integers(1, 4)))]
    pieces += [piece for piece in pieces if random.random() < 0.4]  # tested twice
    chances = random.dirichlet(np.ones(4), len(pieces))
    table = pa.table(
        {
            "clip_id": [clip_id for clip_id, _ in pieces],
            "segment_index": [index for _, index in pieces],
            **{f"p_{label}": chances[:, n] for n, label in enumerate(CLASSES)},
        }
    )
    found = segment_figures(table, clips, CLASSES)
    true = [clips[clip_id].emotion for clip_id, _ in pieces]
    said = [CLASSES[choice] for choice in chances.argmax(1)]
    weights = [1 / pieces.count(piece) for piece in pieces]
    assert found["segments"] == len(set(pieces))
    assert found["segment_accuracy"] == pytest.approx(
        accuracy_score(true, said, sample_weight=weights)
    )
    assert found["segment_uar"] == pytest.approx(
        balanced_accuracy_score(true, said, sample_weight=weights)
    )
    assert found["segment_weighted_f1"] == pytest.approx(
        f1_score(true, said, average="weighted", sample_weight=weights, zero_division=0)
    )
    np.testing.assert_allclose(
        found["segment_confusion"],
        confusion_matrix(true, said, labels=CLASSES, sample_weight=weights),
    )


def test_seeds_spread_apart_from_subjects_and_drawings_of_folds() -> None:
    answers = {(0, 0): "jj", (0, 1): "jf", (1, 0): "jj", (1, 1): "ff"}
    rows = [
        predicted(f"s{n}/a", "joy", {"j": "joy", "f": "fear"}[said], repeat=r, seed_index=s)
        for (r, s), both in answers.items()
        for n, said in enumerate(both)
    ]
    seeds = spread(rows, lambda row: row.seed_index)
    assert seeds is not None
    assert [row["clip_accuracy"] for row in seeds["each"]] == [1.0, 0.25]
    assert seeds["mean"] == 0.625
    assert seeds["sd"] == pytest.approx(np.std([1.0, 0.25], ddof=1))
    repeats = spread(rows, lambda row: row.repeat)
    assert repeats is not None
    assert [row["clip_accuracy"] for row in repeats["each"]] == [0.75, 0.5]
    one_seed = [row for row in rows if row.seed_index == 0]
    assert spread(one_seed, lambda row: row.seed_index) is None


def test_subgroups_of_what_the_corpus_knows() -> None:
    known = {
        "s1/a": {"sex": "female", "language": "Urdu", "age": "31"},
        "s1/b": {"sex": "female", "language": "Farsi", "age": "31"},
        "s2/a": {"sex": "female", "language": "Urdu"},
        "s3/a": {"sex": "male", "language": ""},
    }
    clips = {
        c: Clip(clip_id=c, path="", subject=c[:2], emotion="joy", attributes=attributes)
        for c, attributes in known.items()
    }
    right = {"s1/a", "s1/b", "s3/a"}
    rows = [predicted(c, "joy", "joy" if c in right else "fear") for c in known]
    tables = subgroups(rows, clips)
    assert set(tables) == {"sex", "language"}  # a single age tells no groups apart
    female, male = tables["sex"]
    assert (female["value"], female["subjects"], female["clips"]) == ("female", 2, 3)
    assert female["clip_accuracy"] == pytest.approx(2 / 3)
    low, high = stats.ttest_1samp([1.0, 0.0], 0).confidence_interval(0.95)
    assert [female["low"], female["high"]] == [max(0.0, low), min(1.0, high)]
    assert female["clip_accuracy_subject_mean"] == 0.5
    assert (male["low"], male["high"]) == (None, None)
    assert [row["value"] for row in tables["language"]] == ["Farsi", "Urdu", "not known"]


def test_an_attribute_that_is_as_good_as_a_name_gives_no_subgroups() -> None:
    clips = {
        f"s{n}/a": Clip(
            clip_id=f"s{n}/a", path="", subject=f"s{n}", emotion="joy", attributes={"age": str(n)}
        )
        for n in range(13)
    }
    rows = [predicted(clip_id, "joy", "joy") for clip_id in clips]
    assert subgroups(rows, clips) == {}
