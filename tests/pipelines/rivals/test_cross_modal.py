"""Cross-modal factors and kernel correlations, against scikit-learn, SciPy and planted truths."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from scipy import stats
from sklearn.cross_decomposition import PLSSVD
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

from pipelines.rivals.cross_modal import Centred, CrossModal, KernelSpace
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


def kernels(
    x: Matrix, y: Matrix, components: int, kernel: str = "rbf", regularisation: float | None = None
) -> CrossModal:
    spaces = [KernelSpace.fit(z, kernel=kernel, regularisation=regularisation) for z in (x, y)]
    return CrossModal.fit(x, y, spaces=(spaces[0], spaces[1]), components=components)


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


def test_with_a_linear_kernel_and_hardly_any_regularisation_it_is_correlation_analysis() -> None:
    x, y, _ = two_views()
    found = kernels(x, y, 4, "linear", 1e-12)
    cx, cy = x - x.mean(axis=0), y - y.mean(axis=0)
    zeros = np.zeros
    between = np.block([[zeros((5, 5)), cx.T @ cy], [cy.T @ cx, zeros((4, 4))]])
    within = scipy.linalg.block_diag(cx.T @ cx, cy.T @ cy)
    correlations = np.sort(scipy.linalg.eigh(between, within, eigvals_only=True))[::-1][:4]
    np.testing.assert_allclose(found.strengths, correlations, rtol=1e-8)
    projected = found.project(x, y)
    for k in range(4):
        assert correlation(projected[:, k], projected[:, 4 + k]) == pytest.approx(
            correlations[k], abs=1e-8
        )


def test_kernel_correlation_solves_the_generalised_eigenproblem() -> None:
    x, y, _ = two_views(25)
    share = 0.1
    found = kernels(x, y, 3, "rbf", share)
    n = 25
    centre = np.eye(n) - 1 / n
    kx, ky = (centre @ rbf_kernel(z, gamma=rbf_gamma(z, 1.0)) @ centre for z in (x, y))
    within = [k @ k + share * np.linalg.eigvalsh(k).max() * k for k in (kx, ky)]
    between = np.block([[np.zeros((n, n)), kx @ ky], [ky @ kx, np.zeros((n, n))]])
    # Centring leaves each kernel a direction of no length, which eigh does not take.
    held = scipy.linalg.block_diag(*within) + 1e-12 * np.eye(2 * n)
    correlations = np.sort(scipy.linalg.eigh(between, held, eigvals_only=True))[::-1][:3]
    np.testing.assert_allclose(found.strengths, correlations, rtol=1e-5)


@pytest.mark.parametrize("regularisation", [None, 0.1])
def test_a_shared_factor_is_found_on_new_rows_and_none_is_invented(
    regularisation: float | None,
) -> None:
    x, y, _ = two_views(200)
    found = kernels(x, y, 2, "rbf", regularisation)
    new_x, new_y, hidden = two_views(200, seed=1)
    projected = found.project(new_x, new_y)
    for column in (0, 2):  # the leading direction of each modality
        assert abs(correlation(projected[:, column], hidden)) > 0.8
    generator = np.random.default_rng(3)
    alone = kernels(x, generator.normal(size=y.shape), 2, "rbf", regularisation)
    projected = alone.project(new_x, generator.normal(size=new_y.shape))
    # Of 200 independent rows |r| is below 0.23 in 999 of 1000 cases.
    assert abs(correlation(projected[:, 0], projected[:, 2])) < 0.23


def test_a_relation_that_is_no_line_is_found_by_a_kernel_alone() -> None:
    generator = np.random.default_rng(0)
    x, new_x = generator.uniform(-2, 2, (150, 1)), generator.uniform(-2, 2, (150, 1))
    y, new_y = x**2 + generator.normal(0, 0.1, x.shape), new_x**2
    by_line = linear(x, y, 1).project(new_x, new_y)
    by_kernel = kernels(x, y, 1, "rbf", 0.01).project(new_x, new_y)
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
