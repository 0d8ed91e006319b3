"""What two modalities have in common: cross-modal factors, kernel factors, kernel correlations.

After Wang, Guan and Venetsanopoulos, "Kernel Cross-Modal Factor Analysis for Information Fusion
With Application to Bimodal Emotion Recognition", IEEE Transactions on Multimedia 14(3), 2012.

Cross-modal factor analysis finds orthonormal directions A and B so that XA and YB are as close as
can be (Frobenius norm): the singular vectors of X'Y. Its kernel form is the same in the feature
spaces of two kernels, where the coordinates of kernel principal component analysis are an
orthonormal basis of all that the training rows span: with K = U diag(d) U', X becomes U diag(d)^.5.
Regularised kernel correlation asks for unit length under diag(d) + k in place of the identity, so
each coordinate is divided by (d + k)^.5 before the singular vectors are taken; this solves the
generalised eigenproblem of Kx Ky against Kx^2 + k Kx and Ky^2 + k Ky.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.linalg
from sklearn.decomposition import KernelPCA

from pipelines.rivals.examples import Matrix
from pipelines.rivals.kernels import rbf_gamma


class Space(Protocol):
    """One modality in coordinates whose mean over the training rows is zero."""

    def __call__(self, rows: Matrix) -> Matrix:
        """Return rows [n, d] in coordinates [n, r]."""
        ...


@dataclass(frozen=True, eq=False)
class Centred:
    """The space of the rows themselves."""

    mean: Matrix
    """[d]."""

    @classmethod
    def fit(cls, rows: Matrix) -> Centred:
        """Take the mean of training rows [n, d]."""
        return cls(rows.mean(axis=0))

    def __call__(self, rows: Matrix) -> Matrix:
        """Return the rows without the mean."""
        return rows - self.mean


@dataclass(frozen=True, eq=False)
class KernelSpace:
    """The feature space of a kernel, as far as training rows span it."""

    components: KernelPCA
    scale: Matrix
    """[r] each coordinate is multiplied by."""

    @classmethod
    def fit(
        cls,
        rows: Matrix,
        *,
        kernel: str = "rbf",
        width: float = 1.0,
        regularisation: float | None = None,
    ) -> KernelSpace:
        """Span the space by training rows.

        Args:
            rows: [n, d].
            kernel: `rbf`, or another of scikit-learn's.
            width: of an RBF kernel, as a multiple of the median distance between the rows.
            regularisation: of kernel correlation, as a share of the largest eigenvalue of the
                centred kernel matrix; None leaves the coordinates as they are (factor analysis).
        """
        gamma = rbf_gamma(rows, width) if kernel == "rbf" else None
        components = KernelPCA(
            kernel=kernel, gamma=gamma, eigen_solver="dense", remove_zero_eig=True
        ).fit(rows)
        values = components.eigenvalues_
        if regularisation is None:
            return cls(components, np.ones_like(values))
        return cls(components, 1.0 / np.sqrt(values + regularisation * values.max(initial=0.0)))

    def __call__(self, rows: Matrix) -> Matrix:
        """Return the coordinates of rows, seen in training or not."""
        coordinates: Matrix = self.components.transform(rows) * self.scale
        return coordinates


@dataclass(frozen=True, eq=False)
class CrossModal:
    """The leading pairs of directions of two spaces."""

    audio: Space
    visual: Space
    audio_directions: Matrix
    """[r, k] orthonormal."""
    visual_directions: Matrix
    """[s, k] orthonormal."""
    strengths: Matrix
    """[k] singular values, largest first; of kernel correlation the (regularised) correlations."""

    @classmethod
    def fit(
        cls, audio: Matrix, visual: Matrix, *, spaces: tuple[Space, Space], components: int
    ) -> CrossModal:
        """Find the directions.

        Args:
            audio: training rows [n, da].
            visual: of the same segments [n, dv].
            spaces: of both, fitted on these rows.
            components: pairs of directions; fewer where the spaces are smaller.
        """
        x, y = spaces[0](audio), spaces[1](visual)
        left, strengths, right = scipy.linalg.svd(x.T @ y, full_matrices=False)
        k = slice(0, components)
        return cls(*spaces, left[:, k], right[k].T, strengths[k])

    def project(self, audio: Matrix, visual: Matrix) -> Matrix:
        """Return both modalities on their directions, side by side: [n, 2k]."""
        return np.concatenate(
            [
                self.audio(audio) @ self.audio_directions,
                self.visual(visual) @ self.visual_directions,
            ],
            axis=1,
        )
