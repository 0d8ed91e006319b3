"""What two modalities have in common: cross-modal factors, kernel factors, kernel correlations.

After Wang, Guan and Venetsanopoulos, "Kernel Cross-Modal Factor Analysis for Information Fusion
With Application to Bimodal Emotion Recognition", IEEE Transactions on Multimedia 14(3), 2012.

Cross-modal factor analysis finds orthonormal directions A and B so that XA and YB are as close as
can be (Frobenius norm): the singular vectors of X'Y. Its kernel form is the same in the feature
spaces of two kernels, where the coordinates of kernel principal component analysis are an
orthonormal basis of all that the training rows span: with K = U diag(d) U', X becomes U diag(d)^.5.
Regularised kernel correlation, which they compare it with, is that of cca-zoo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.linalg
from cca_zoo.nonparametric import KCCA
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

    @classmethod
    def fit(cls, rows: Matrix, *, kernel: str = "rbf", width: float = 1.0) -> KernelSpace:
        """Span the space by training rows.

        Args:
            rows: [n, d].
            kernel: `rbf`, or another of scikit-learn's.
            width: of an RBF kernel, as a multiple of the median distance between the rows.
        """
        gamma = rbf_gamma(rows, width) if kernel == "rbf" else None
        components = KernelPCA(
            kernel=kernel, gamma=gamma, eigen_solver="dense", remove_zero_eig=True
        )
        return cls(components.fit(rows))

    def __call__(self, rows: Matrix) -> Matrix:
        """Return the coordinates of rows, seen in training or not."""
        coordinates: Matrix = self.components.transform(rows)
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
    """[k] singular values, largest first."""

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


@dataclass(frozen=True, eq=False)
class KernelCorrelation:
    """The leading pairs of directions along which two modalities correlate most, in the feature
    spaces of two RBF kernels.
    """

    model: KCCA | None
    """None where a modality never varies: it has nothing in common with the other."""

    @classmethod
    def fit(
        cls, audio: Matrix, visual: Matrix, *, components: int, shrinkage: float, width: float
    ) -> KernelCorrelation:
        """Find the directions.

        Args:
            audio: training rows [n, da].
            visual: of the same segments [n, dv].
            components: pairs of directions; fewer where there are fewer rows (less one) or columns.
            shrinkage: of each covariance towards the identity, above 0, up to 1.
            width: of the kernels, as a multiple of the median distance between the rows.
        """
        if not all(np.ptp(rows, axis=0).any() for rows in (audio, visual)):
            return cls(None)
        model = KCCA(
            min(components, len(audio) - 1, audio.shape[1], visual.shape[1]),
            kernel="rbf",
            gamma=[rbf_gamma(rows, width) for rows in (audio, visual)],
            shrinkage=shrinkage,
        )
        return cls(model.fit([audio, visual]))

    def project(self, audio: Matrix, visual: Matrix) -> Matrix:
        """Return both modalities on their directions, side by side: [n, 2k]."""
        if self.model is None:
            return np.zeros((len(audio), 2))
        return np.concatenate(self.model.transform([audio, visual]), axis=1)
