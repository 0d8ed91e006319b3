"""Cross-modal factors and kernel correlations, against scikit-learn, SciPy and planted truths."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
from scipy import stats
from sklearn.cross_decomposition import PLSSVD
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

from pipelines.rivals.cross_modal import Centred, CrossModal, KernelCorrelation, KernelSpace
from pipelines.rivals.examples import Matrix
from pipelines.rivals.kernels import rbf_gamma


def two_views(
    rows: int = 60, *, seed: int = 0, noise: float = 0.3
) -> tuple[Matrix, Matrix, Matrix]:
    """Two views of one hidden factor, and the factor: the other entries are noise."""
    generator = np.random.default_rng(seed)
    hidden = generator.normal(size=rows)
    x, y = generator.normal(size=(rows, 5)) + 3.0, generator.normal(size=(rows, 4)) - 1.0
    x[:, 1] = 2.0 * hidden + noise * x[:, 1]
    y[:, 2] = hidden + noise * y[:, 2]
    return x, y, hidden


def linear(x: Matrix, y: Matrix, components: int) -> CrossModal:
    return CrossModal.fit(x, y, spaces=(Centred.fit(x), Centred.fit(y)), components=components)


def kernels(x: Matrix, y: Matrix, components: int, kernel: str = "rbf") -> CrossModal:
    spaces = [KernelSpace.fit(z, kernel=kernel) for z in (x, y)]
    return CrossModal.fit(x, y, spaces=(spaces[0], spaces[1]), components=components)


def correlations(
    x: Matrix, y: Matrix, components: int, shrinkage: float = 0.1
) -> KernelCorrelation:
    return KernelCorrelation.fit(x, y, components=components, shrinkage=shrinkage, width=1.0)


def correlation(one: Matrix, other: Matrix) -> float:
    return float(stats.pearsonr(one, other).statistic)


def assert_same_up_to_sign(one: Matrix, other: Matrix, tolerance: float = 1e-9) -> None:
    signs = np.sign((one * other).sum(axis=0))
    np.testing.assert_allclose(one * signs, other, atol=tolerance)


def test_cross_modal_factors_are_plssvds() -> None:
    x, y, _ = two_views()
    ours = linear(x, y, 3)
    theirs = PLSSVD(n_components=3, scale=False).fit(x, y)
    assert_same_up_to_sign(ours.audio_directions, theirs.x_weights_)
    assert_same_up_to_sign(ours.visual_directions, theirs.y_weights_)
    new_x, new_y, _ = two_views(10, seed=1)
    both = np.concatenate(theirs.transform(new_x, new_y), axis=1)
    assert_same_up_to_sign(ours.project(new_x, new_y), both)


def test_no_other_orthonormal_directions_have_more_in_common() -> None:
    x, y, _ = two_views()
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    found = linear(x, y, 4)
    trace = np.trace(found.audio_directions.T @ x.T @ y @ found.visual_directions)
    generator = np.random.default_rng(2)
    for _ in range(50):
        a = scipy.linalg.qr(generator.normal(size=(5, 4)), mode="economic")[0]
        b = scipy.linalg.qr(generator.normal(size=(4, 4)))[0]
        assert np.trace(a.T @ x.T @ y @ b) < trace


def test_with_a_linear_kernel_kernel_factors_are_the_linear_ones() -> None:
    x, y, _ = two_views()
    new_x, new_y, _ = two_views(10, seed=1)
    one, other = kernels(x, y, 3, "linear"), linear(x, y, 3)
    np.testing.assert_allclose(one.strengths, other.strengths, rtol=1e-9)
    assert_same_up_to_sign(one.project(new_x, new_y), other.project(new_x, new_y), 1e-8)


def test_kernel_factors_are_eigenvectors_of_the_product_of_the_kernels() -> None:
    x, y, _ = two_views(30)
    found = kernels(x, y, 3)
    centre = np.eye(30) - 1 / 30
    kx, ky = (centre @ rbf_kernel(z, gamma=rbf_gamma(z, 1.0)) @ centre for z in (x, y))
    squares = np.sort(scipy.linalg.eigvals(kx @ ky).real)[::-1]
    np.testing.assert_allclose(found.strengths**2, squares[:3], rtol=1e-8)
    projected = found.project(x, y)[:, :3]
    # Kx alpha for alpha an eigenvector of Ky Kx: so Kx Ky has it as an eigenvector.
    np.testing.assert_allclose(kx @ ky @ projected, projected * found.strengths**2, atol=1e-7)


def test_kernel_correlation_solves_the_generalised_eigenproblem() -> None:
    n, share = 25, 0.1
    x, y, _ = two_views(n)
    found = correlations(x, y, 3, share)
    centre = np.eye(n) - 1 / n
    kx, ky = (centre @ rbf_kernel(z, gamma=rbf_gamma(z, 1.0)) @ centre for z in (x, y))
    # Per modality the covariance of the coordinates, shrunk: (1 - c) K^2 / (n - 1) + c K.
    within = [(1 - share) * k @ k / (n - 1) + share * k for k in (kx, ky)]
    between = np.block([[np.zeros((n, n)), kx @ ky], [ky @ kx, np.zeros((n, n))]]) / (n - 1)
    # Centring leaves each kernel a direction of no length, which eigh does not take.
    held = scipy.linalg.block_diag(*within) + 1e-12 * np.eye(2 * n)
    _, vectors = scipy.linalg.eigh(between, held)
    projected = found.project(x, y)
    for pair in range(3):
        alpha = vectors[:, -1 - pair]
        for column, by_hand in ((pair, kx @ alpha[:n]), (3 + pair, ky @ alpha[n:])):
            assert abs(correlation(projected[:, column], by_hand)) > 1 - 1e-6


@pytest.mark.parametrize("found_by", [kernels, correlations])
def test_a_shared_factor_is_found_on_new_rows_and_none_is_invented(
    found_by: Callable[[Matrix, Matrix, int], CrossModal | KernelCorrelation],
) -> None:
    x, y, _ = two_views(200)
    found = found_by(x, y, 2)
    new_x, new_y, hidden = two_views(200, seed=1)
    projected = found.project(new_x, new_y)
    for column in (0, 2):  # the leading direction of each modality
        assert abs(correlation(projected[:, column], hidden)) > 0.8
    generator = np.random.default_rng(3)
    alone = found_by(x, generator.normal(size=y.shape), 2)
    projected = alone.project(new_x, generator.normal(size=new_y.shape))
    # Of 200 independent rows |r| is below 0.23 in 999 of 1000 cases.
    assert abs(correlation(projected[:, 0], projected[:, 2])) < 0.23


def test_a_relation_that_is_no_line_is_found_by_a_kernel_alone() -> None:
    generator = np.random.default_rng(0)
    x, new_x = generator.uniform(-2, 2, (150, 1)), generator.uniform(-2, 2, (150, 1))
    y, new_y = x**2 + generator.normal(0, 0.1, x.shape), new_x**2
    by_line = linear(x, y, 1).project(new_x, new_y)
    by_kernel = correlations(x, y, 1, 0.01).project(new_x, new_y)
    assert abs(correlation(*by_line.T)) < 0.3
    assert abs(correlation(*by_kernel.T)) > 0.95


def test_the_width_of_a_kernel_is_a_multiple_of_the_median_distance() -> None:
    rows = np.array([[0.0], [1.0], [4.0]])  # 1, 3 and 4 apart
    assert rbf_gamma(rows, 2.0) == pytest.approx(1 / (2 * 6.0**2))
    assert rbf_gamma(np.ones((4, 2)), 1.0) == 1.0
    many = np.random.default_rng(0).normal(size=(3000, 4))
    exact = np.median(euclidean_distances(many)[np.triu_indices(3000, k=1)])
    assert 1 / np.sqrt(2 * rbf_gamma(many, 1.0)) == pytest.approx(exact, rel=0.02)


def test_a_modality_that_never_varies_has_nothing_in_common() -> None:
    x, y, _ = two_views(20)
    projected = kernels(x, np.ones_like(y), 2).project(x, y)
    assert not projected.any()
    assert not correlations(x, np.ones_like(y), 2).project(x, y).any()


@pytest.mark.parametrize(("rows", "pairs"), [(3, 2), (20, 4)])
def test_there_are_no_more_directions_than_rows_or_columns(rows: int, pairs: int) -> None:
    x, y, _ = two_views(rows)
    projected = correlations(x, y, 16).project(x, y)
    assert np.isfinite(projected).all()
    assert projected.shape == (rows, 2 * pairs)
