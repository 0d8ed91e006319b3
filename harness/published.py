"""Numbers of the literature, each with its protocol: to stand beside ours, never to be ranked.

From tables 1 and 2 of Priyasad et al. 2019 ("the paper"), and its figure 4.
"""

from __future__ import annotations

from dataclasses import dataclass

LOSO = "LOSO"
KFOLD = "K-fold"
THE_PAPER = "Priyasad et al. 2019"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published accuracy."""

    corpus: str
    """As it is called here: `rml`, `enterface05`."""
    protocol: str
    system: str
    accuracy: float
    """Share of 0-1."""
    metric: str = "accuracy"
    """What it is of: `accuracy` over clips, or `UAR`."""
    clips: int | None = None
    """How many were tested; None where the paper that cites the number does not say."""


PUBLISHED = (
    Published(corpus="rml", protocol=LOSO, system="Sarvestani et al.", accuracy=0.7203),
    Published(corpus="rml", protocol=LOSO, system="Zhang et al.", accuracy=0.7432),
    Published(
        corpus="rml", protocol=LOSO, system=THE_PAPER, accuracy=0.7613, metric="UAR", clips=500
    ),
    Published(corpus="enterface05", protocol=LOSO, system="Sarvestani et al.", accuracy=0.7011),
    Published(corpus="enterface05", protocol=LOSO, system="Bejani et al.", accuracy=0.7702),
    Published(corpus="enterface05", protocol=LOSO, system=THE_PAPER, accuracy=0.7849, clips=1166),
    Published(corpus="rml", protocol=KFOLD, system="Wang et al.", accuracy=0.8222),
    Published(corpus="rml", protocol=KFOLD, system="Seng et al.", accuracy=0.9083),
    Published(corpus="rml", protocol=KFOLD, system=THE_PAPER, accuracy=0.9870, clips=500),
    Published(corpus="enterface05", protocol=KFOLD, system="Wang et al.", accuracy=0.7247),
    Published(corpus="enterface05", protocol=KFOLD, system="Seng et al.", accuracy=0.8667),
    Published(corpus="enterface05", protocol=KFOLD, system=THE_PAPER, accuracy=0.9775, clips=1166),
)

FIGURE_4_LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
FIGURE_4 = (
    (88.24, 0.00, 0.00, 0.00, 11.76, 0.00),
    (22.73, 77.27, 0.00, 0.00, 0.00, 0.00),
    (19.35, 3.23, 70.97, 6.45, 0.00, 0.00),
    (15.79, 0.00, 10.53, 63.16, 5.26, 5.26),
    (3.57, 0.00, 10.71, 0.00, 85.71, 0.00),
    (14.29, 0.00, 3.57, 0.00, 10.71, 71.43),
)
"""The paper's confusion matrix of RML under LOSO: rows true, per cent of the row. The mean of its
diagonal is the paper's 76.13 %, which is therefore a UAR."""
