"""From stage 1's vectors to the rows that a rival's classifier is given."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.preprocessing import StandardScaler

from pipelines.rivals.config import ANOVA, CFA, KCCA, POOLING, RivalConfig
from pipelines.rivals.cross_modal import Centred, CrossModal, KernelCorrelation, KernelSpace, Space
from pipelines.rivals.examples import Matrix, Rows, Segments, mean_by_clip
from pipelines.split_task import seed_for


@dataclass(frozen=True)
class Representation:
    """What was fitted before the classifier, and what makes its rows."""

    rows: Callable[[Segments], Rows]
    fitted: dict[str, list[str]] = field(default_factory=dict)
    """What was fitted -> ids of the clips that it was fitted on."""
    warnings: tuple[str, ...] = ()


def fit_representation(rival: RivalConfig, train: Segments, *, seed: int) -> Representation:
    """Fit what a rival on features makes of segments.

    Args:
        rival: which one.
        train: the training segments.
        seed: of the split.
    """
    if rival.kind == POOLING:
        return Representation(mean_by_clip)
    if rival.kind == ANOVA:
        return _selected(train, rival.features)
    return _factors(rival, train, seed)


def _selected(train: Segments, count: int) -> Representation:
    """Keep the entries of both vectors whose means differ most between classes (one-way ANOVA)."""
    selector = SelectKBest(f_classif, k=min(count, train.both.shape[1]))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # An entry that never varies, of a unit that is never active, has no F: it is chosen last.
        warnings.simplefilter("ignore", UserWarning)
        selector.fit(train.both, train.labels)
    return Representation(
        lambda segments: segments.rows(selector.transform(segments.both)),
        {"feature selector": sorted(set(train.clip_ids))},
    )


def _factors(rival: RivalConfig, train: Segments, seed: int) -> Representation:
    """Project both modalities on what they have in common."""
    some = train if rival.kind == CFA else _drawn(train, rival.kernel_rows, seed)
    scale = (StandardScaler().fit(some.audio), StandardScaler().fit(some.visual))

    def scaled(segments: Segments) -> tuple[Matrix, Matrix]:
        return scale[0].transform(segments.audio), scale[1].transform(segments.visual)

    factors = _fit_factors(rival, *scaled(some))
    seen = sorted(set(some.clip_ids))
    fewer = (
        f"the kernel matrices of {rival.kind} hold {rival.kernel_rows} of the training segments "
        "(rival.kernel_rows), drawn by the split's seed"
    )
    return Representation(
        lambda segments: segments.rows(factors.project(*scaled(segments))),
        {"vector scales": seen, "cross-modal factors": seen},
        () if some is train else (fewer,),
    )


def _fit_factors(
    rival: RivalConfig, audio: Matrix, visual: Matrix
) -> CrossModal | KernelCorrelation:
    if rival.kind == KCCA:
        return KernelCorrelation.fit(
            audio,
            visual,
            components=rival.components,
            shrinkage=rival.regularisation,
            width=rival.kernel_width,
        )

    def space(rows: Matrix) -> Space:
        if rival.kind == CFA:
            return Centred.fit(rows)
        return KernelSpace.fit(rows, width=rival.kernel_width)

    spaces = (space(audio), space(visual))
    return CrossModal.fit(audio, visual, spaces=spaces, components=rival.components)


def _drawn(train: Segments, most: int, seed: int) -> Segments:
    """Return training segments that a kernel matrix can hold, the same ones for the same seed."""
    if len(train) <= most:
        return train
    generator = np.random.default_rng(seed_for(seed, "rival", "kernel rows"))
    return train.take(np.sort(generator.choice(len(train), most, replace=False)))
