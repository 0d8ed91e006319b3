"""The width of Gaussian (RBF) kernels."""

from __future__ import annotations

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from pipelines.rivals.examples import Matrix

MOST_ROWS = 2000
"""The median distance is taken among so many rows at most, spread evenly over all."""


def rbf_gamma(rows: Matrix, width: float) -> float:
    """Return gamma of exp(-gamma |a - b|^2) = exp(-|a - b|^2 / (2 w^2)).

    Args:
        rows: of the training part [n, d].
        width: w as a multiple of the median distance between two rows.
    """
    some = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(int))]
    pairs = np.triu_indices(len(some), k=1)
    distances = euclidean_distances(some)[pairs]
    median = float(np.median(distances)) if len(distances) else 0.0
    # Where at least half of the rows are alike any width will do.
    return 1.0 / (2.0 * (width * median) ** 2) if median > 0 else 1.0
