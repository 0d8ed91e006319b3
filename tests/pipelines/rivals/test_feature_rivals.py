"""Rivals on features: they learn what a modality tells, and from training clips alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, recall_score

from pipelines.rivals.classifiers import STRENGTHS, Classifier, average_recall, choose_classifier
from pipelines.rivals.config import ANOVA, CFA, KCCA, KCFA, ON_FEATURES, POOLING, RivalConfig
from pipelines.rivals.examples import Matrix, Rows, Segments, mean_by_clip
from pipelines.rivals.feature_training import FeatureRival
from pipelines.rivals.representations import fit_representation

CLASSES, PER_CLIP = 3, 3


def segments(subject: str, clips: int, tells: tuple[str, ...], *, seed: int = 0) -> Segments:
    """Vectors of both modalities; those named tell the class, and the others are noise."""
    generator = np.random.default_rng([seed, ord(subject)])
    labels = np.arange(clips) % CLASSES
    of_segments = np.repeat(labels, PER_CLIP)
    views: dict[str, Matrix] = {}
    for name, size in (("audio", 8), ("visual", 6)):
        views[name] = generator.normal(size=(clips * PER_CLIP, size))
        if name in tells:
            views[name][np.arange(len(of_segments)), of_segments] += 2.5
    return Segments(
        audio=views["audio"],
        visual=views["visual"],
        labels=of_segments,
        clip_ids=tuple(f"{subject}/{n:03}" for n in range(clips) for _ in range(PER_CLIP)),
    )


def of_clip(given: Segments, clip_id: str) -> Segments:
    return given.take(np.flatnonzero(np.array(given.clip_ids) == clip_id))


def right_clips(kind: str, tells: tuple[str, ...]) -> tuple[int, int]:
    """Clips of a person never seen that are predicted rightly, of how many."""
    train, held_out, test = (segments(s, n, tells) for s, n in (("a", 45), ("b", 15), ("c", 60)))
    rival = RivalConfig(kind=kind, components=4, networks=2, hidden=8, features=6)
    fitted = FeatureRival.fit(rival, train, held_out, classes=CLASSES, weighted=True, seed=1)
    right = 0
    for clip_id in dict.fromkeys(test.clip_ids):
        clip = of_clip(test, clip_id)
        probabilities = fitted.probabilities(clip)
        assert len(probabilities) == (1 if rival.per_clip else PER_CLIP)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
        right += int(probabilities.mean(axis=0).argmax() == clip.labels[0])
    return right, 60


@pytest.mark.parametrize("kind", [POOLING, ANOVA])
@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_what_one_modality_tells_is_learned(kind: str, modality: str) -> None:
    right, clips = right_clips(kind, (modality,))
    assert right > 0.8 * clips


@pytest.mark.parametrize("kind", [CFA, KCFA, KCCA])
def test_what_both_modalities_tell_is_learned_by_what_they_have_in_common(kind: str) -> None:
    right, clips = right_clips(kind, ("audio", "visual"))
    assert right > 0.8 * clips


@pytest.mark.parametrize("kind", ON_FEATURES)
def test_where_nothing_tells_the_class_it_is_at_chance(kind: str) -> None:
    right, clips = right_clips(kind, ())
    assert stats.binomtest(right, clips, 1 / CLASSES).pvalue > 0.001


@pytest.mark.parametrize("kind", ON_FEATURES)
def test_the_same_seed_gives_the_same_bits_and_what_was_fitted_names_training_clips(
    kind: str,
) -> None:
    train, held_out = segments("a", 12, ("audio",)), segments("b", 6, ("audio",))
    rival = RivalConfig(kind=kind, components=2, networks=2, hidden=4, kernel_rows=9)

    def fitted(seed: int) -> FeatureRival:
        return FeatureRival.fit(rival, train, held_out, classes=CLASSES, weighted=True, seed=seed)

    one, same, other = fitted(1), fitted(1), fitted(2)
    assert (one.probabilities(held_out) == same.probabilities(held_out)).all()
    drawn = kind in (KCFA, KCCA, ANOVA)  # rows of the kernel, or first weights
    assert (one.probabilities(held_out) != other.probabilities(held_out)).any() == drawn
    assert "classifier" in one.fitted
    for what, clip_ids in one.fitted.items():
        assert set(clip_ids) <= set(train.clip_ids), what
        whole = kind not in (KCFA, KCCA) or what == "classifier"
        assert (set(clip_ids) == set(train.clip_ids)) == whole
    assert bool(one.representation.warnings) == (kind in (KCFA, KCCA))


def test_a_held_out_clip_changes_a_choice_and_nothing_that_is_fitted() -> None:
    train, held_out = segments("a", 30, ("audio",)), segments("b", 12, ("audio",))
    rival = RivalConfig(kind=CFA, components=3)
    found = [
        FeatureRival.fit(rival, train, given, classes=CLASSES, weighted=True, seed=1)
        for given in (held_out, replace(held_out, audio=held_out.audio * 100.0))
    ]
    rows = [one.representation.rows(train).values for one in found]
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(
        found[0].classifier.scaler.mean_, found[1].classifier.scaler.mean_
    )


def test_pooling_is_the_mean_over_each_clip() -> None:
    given = Segments(
        audio=np.array([[1.0], [3.0], [10.0]]),
        visual=np.array([[0.0], [4.0], [7.0]]),
        labels=np.array([1, 1, 0]),
        clip_ids=("z", "z", "a"),
    )
    rows = mean_by_clip(given)
    assert rows.values.tolist() == [[2.0, 2.0], [10.0, 7.0]]
    assert rows.labels.tolist() == [1, 0]
    assert rows.clip_ids == ("z", "a")


def test_the_analysis_of_variance_keeps_the_entries_that_differ_between_classes() -> None:
    train = segments("a", 60, ("visual",))
    train.audio[:, 3] = 1.0  # a unit that is never active
    kept = fit_representation(RivalConfig(kind=ANOVA, features=3), train, seed=0)
    values = kept.rows(train).values
    expected = [
        stats.f_oneway(*(column[train.labels == label] for label in range(CLASSES))).statistic
        for column in train.both.T
        if np.ptp(column) > 0
    ]
    assert np.argsort(expected)[-3:].min() >= 7  # of the visual ones, behind seven audio entries
    np.testing.assert_array_equal(values, train.visual[:, :3])


def rows_of(values: Matrix, labels: list[int]) -> Rows:
    return Rows(values=values, labels=np.array(labels), clip_ids=tuple(map(str, labels)))


def test_the_strength_is_the_first_of_those_best_on_the_held_out_rows() -> None:
    generator = np.random.default_rng(0)
    labels = [0, 1] * 20
    values = generator.normal(size=(40, 2)) + 1.5 * np.array(labels)[:, None]
    train, held_out = rows_of(values, labels), rows_of(values + 0.2, labels)
    rival = RivalConfig(kind=POOLING)
    chosen = choose_classifier(rival, train, held_out, classes=2, weighted=False, seed=0)
    scores = [
        balanced_accuracy_score(held_out.labels, one.probabilities(held_out.values).argmax(axis=1))
        for strength in STRENGTHS
        for one in [_with_strength(strength, train)]
    ]
    assert chosen.value == STRENGTHS[int(np.argmax(scores))]
    assert chosen.score == pytest.approx(max(scores))
    assert chosen.chosen == {"C": chosen.value, "validation_uar": chosen.score}
    alone = choose_classifier(rival, train, None, classes=2, weighted=False, seed=0)
    assert alone.chosen == {"C": 1.0}
    assert alone.warnings("cfa") == ["no inner validation subject: C of cfa is 1, unchosen"]


def _with_strength(strength: float, train: Rows) -> Classifier:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.rivals.classifiers.STRENGTHS", (strength,))
        return choose_classifier(
            RivalConfig(kind=POOLING), train, None, classes=2, weighted=False, seed=0
        )


def test_a_class_without_a_training_row_has_probability_zero() -> None:
    values = np.random.default_rng(0).normal(size=(20, 3))
    for labels, shown in (([0, 2] * 10, [0, 2]), ([1] * 20, [1])):
        fitted = choose_classifier(
            RivalConfig(kind=POOLING),
            rows_of(values, labels),
            None,
            classes=4,
            weighted=True,
            seed=0,
        )
        probabilities = fitted.probabilities(values)
        assert np.flatnonzero(probabilities.any(axis=0)).tolist() == shown
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_average_recall_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    probabilities, labels = generator.random((50, 4)), generator.integers(0, 3, 50)
    assert average_recall(probabilities, labels) == pytest.approx(
        recall_score(labels, probabilities.argmax(axis=1), labels=[0, 1, 2], average="macro")
    )
