"""The last step of every rival: a classifier, its strength chosen on the inner validation subject.

Class probabilities of a support vector machine are its decision values, one a class, through a
softmax: their order is the machine's, their height is not calibrated. A class that no training row
shows has probability 0.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight

from pipelines.rivals.config import ANOVA, CFA, KCCA, KCFA, POOLING, RivalConfig
from pipelines.rivals.examples import Labels, Matrix, Rows
from pipelines.rivals.kernels import rbf_gamma
from pipelines.split_task import seed_for

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Of C, of support vector machines and of logistic regression; the middle one where there is nobody
to choose by. The first is the most regular, and wins a tie."""
DECAYS = (1.0, 0.01, 0.0001)
"""Of alpha, of perceptrons, in the same order."""
ROWS_PER_BATCH = 32
"""Of perceptrons."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """Fitted models that vote by mean probability, behind a scale; most often there is one."""

    scaler: StandardScaler | ColumnTransformer
    models: tuple[Any, ...]
    classes: int
    fitted_on: list[str]
    """Ids of the clips that scale and models have seen."""
    setting: str = ""
    """Name of what was chosen on the inner validation subject."""
    value: float = math.nan
    """And what it came to."""
    score: float = math.nan
    """Unweighted average recall there; NaN where there was nobody to choose by."""

    def probabilities(self, values: Matrix) -> Matrix:
        """Return class probabilities [n, classes] of rows [n, d]."""
        scaled = self.scaler.transform(values) if values.shape[1] else values
        each = np.zeros((len(self.models), len(values), self.classes))
        for of_model, model in zip(each, self.models, strict=True):
            of_model[:, model.classes_] = _probabilities(model, scaled)
        mean: Matrix = each.mean(axis=0)
        return mean

    @property
    def chosen(self) -> dict[str, float]:
        """What was chosen, and the unweighted average recall that it was chosen for."""
        if math.isnan(self.value):
            return {}
        score = {} if math.isnan(self.score) else {"validation_uar": self.score}
        return {self.setting: self.value, **score}

    def warnings(self, kind: str) -> list[str]:
        """Return what a reader of the split's figures must know of the choice."""
        if math.isnan(self.value) or not math.isnan(self.score):
            return []
        return [
            f"no inner validation subject: {self.setting} of {kind} is {self.value:g}, unchosen"
        ]

    @property
    def parameters(self) -> int:
        """How many numbers the models have learned; support vectors count as such."""
        return sum(_parameters(model) for model in self.models)


def choose_classifier(
    rival: RivalConfig,
    train: Rows,
    held_out: Rows | None,
    *,
    classes: int,
    weighted: bool,
    seed: int,
    blocks: Sequence[int] = (),
) -> Classifier:
    """Fit a rival's classifier for each strength; keep the one best on the inner validation rows.

    Args:
        rival: its kind says which classifier.
        train: what is fitted on.
        held_out: of the inner validation subject, to choose by; None: the middle one is taken.
        classes: how many there are.
        weighted: weigh each class by the inverse of its share of the training rows.
        seed: of the split.
        blocks: sizes of the sets of columns that count alike in distances, however many columns
            each has; empty: all columns count alike.
    """
    scaler = _scaler(blocks)
    values = scaler.fit_transform(train.values) if train.values.shape[1] else train.values
    scaled = replace(train, values=values)
    weights = compute_sample_weight("balanced" if weighted else None, train.labels)

    def fitted(setting: str, value: float, models: Sequence[Any]) -> Classifier:
        with warnings.catch_warnings():
            # The perceptrons' number of epochs is a setting of ours, not a failure.
            warnings.simplefilter("ignore", ConvergenceWarning)
            for model in models:
                model.fit(scaled.values, scaled.labels, sample_weight=weights)
        return Classifier(scaler, tuple(models), classes, train.clips, setting, value)

    if values.shape[1] == 0 or len(np.unique(train.labels)) == 1:
        return fitted("", math.nan, [DummyClassifier(strategy="prior")])
    setting, options, build = _family(rival, scaled, seed)
    if held_out is None:
        middle = options[len(options) // 2]
        return fitted(setting, middle, build(middle))
    tried = [fitted(setting, value, build(value)) for value in options]
    scores = [average_recall(one.probabilities(held_out.values), held_out.labels) for one in tried]
    best = int(np.argmax(scores))
    return replace(tried[best], score=scores[best])


def average_recall(probabilities: Matrix, labels: Labels) -> float:
    """Return the mean, over the classes that are there, of the share of their rows found."""
    right = probabilities.argmax(axis=1) == labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def _scaler(blocks: Sequence[int]) -> StandardScaler | ColumnTransformer:
    """Return what brings columns to mean 0 and deviation 1, then each block to the same length."""
    if len(blocks) < 2:
        return StandardScaler()
    ends = np.cumsum(blocks)
    return ColumnTransformer(
        [
            (str(end), StandardScaler(), slice(end - size, end))
            for size, end in zip(blocks, ends, strict=True)
        ],
        transformer_weights={
            str(end): 1.0 / math.sqrt(size) for size, end in zip(blocks, ends, strict=True)
        },
    )


def _family(
    rival: RivalConfig, scaled: Rows, seed: int
) -> tuple[str, Sequence[float], Callable[[float], list[Any]]]:
    """Return the setting to choose, its values, and what builds unfitted models for one of them."""
    if rival.kind == ANOVA:
        seeds = [seed_for(seed, "rival", "perceptron", str(n)) for n in range(rival.networks)]
        batch = min(ROWS_PER_BATCH, len(scaled))
        return (
            "alpha",
            DECAYS,
            lambda alpha: [
                MLPClassifier(
                    (rival.hidden,), alpha=alpha, batch_size=batch, max_iter=100, random_state=own
                )
                for own in seeds
            ],
        )
    if rival.kind in (CFA, KCFA, KCCA):
        return "C", STRENGTHS, lambda c: [LogisticRegression(C=c, max_iter=1000)]
    if rival.kind == POOLING:
        return "C", STRENGTHS, lambda c: [SVC(C=c, kernel="linear")]
    gamma = rbf_gamma(scaled.values, rival.kernel_width)
    return "C", STRENGTHS, lambda c: [SVC(C=c, kernel="rbf", gamma=gamma)]


def _probabilities(model: Any, values: Matrix) -> Matrix:
    if not isinstance(model, SVC):
        probabilities: Matrix = model.predict_proba(values)
        return probabilities
    scores = model.decision_function(values)
    if scores.ndim == 1:  # of two classes: how far it is from the first to the second
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    softmax: Matrix = powers / powers.sum(axis=1, keepdims=True)
    return softmax


def _parameters(model: Any) -> int:
    if isinstance(model, SVC):
        learned = [model.support_vectors_, model.dual_coef_, model.intercept_]
    elif isinstance(model, MLPClassifier):
        learned = [*model.coefs_, *model.intercepts_]
    elif isinstance(model, LogisticRegression):
        learned = [model.coef_, model.intercept_]
    else:
        learned = [model.class_prior_]
    return sum(int(np.size(part)) for part in learned)
