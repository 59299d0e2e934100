"""Effective and stable rank: limits, bounds, and replicates against exact eigenvalues."""

import math

import numpy as np
import pytest
import torch

from core.geometry import correlators
from core.geometry.clouds import jackknife_error


def test_equal_variances_count_themselves_and_one_variance_is_one():
    assert correlators.effective_rank(torch.full((7,), 3.0)) == pytest.approx(7)
    assert correlators.stable_rank(torch.full((7,), 3.0)) == pytest.approx(7)
    single = torch.tensor([0.0, 5.0, 0.0])
    assert correlators.effective_rank(single) == pytest.approx(1)
    assert correlators.stable_rank(single) == pytest.approx(1)


def test_shares_are_of_variances_not_of_singular_values():
    """Shares 0.8 and 0.2; singular values would give 2/3 and 1/3, and a rank of 1.89."""
    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    assert correlators.effective_rank(torch.tensor([4.0, 1.0])) == pytest.approx(math.exp(entropy))


@pytest.mark.parametrize(("n", "n_dims"), [(300, 40), (40, 300), (60, 60)])
def test_both_are_those_of_the_singular_values_of_centred_points(n, n_dims):
    generator = np.random.default_rng(n)
    points = generator.normal(size=(n, n_dims)) * np.arange(1, n_dims + 1) ** -0.7 + 5
    variances = np.linalg.svd(points - points.mean(0), compute_uv=False) ** 2
    shares = variances / variances.sum()
    shares = shares[shares > 1e-14]
    effective, stable = correlators.ranks(torch.tensor(points, dtype=torch.float32))
    assert effective == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-4)
    assert stable == pytest.approx(1 / shares.max(), rel=1e-4)
    assert stable <= 1 / (shares**2).sum() <= effective <= min(n - 1, n_dims) + 1e-3


def test_points_without_variance_have_no_rank():
    assert all(math.isnan(value) for value in correlators.ranks(torch.ones(10, 4)))
    assert all(math.isnan(value) for value in correlators.ranks(torch.ones(1, 4)))


def clustered(n: int, n_dims: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points with a random effect per sequence (a fifth of the variance) and variances 1/k; 17 member sets."""
    generator = np.random.default_rng(seed)
    sequences = np.arange(n) * 32 // n
    points = 0.5 * generator.normal(size=(32, n_dims))[sequences] + generator.normal(size=(n, n_dims))
    points = torch.tensor(points * np.arange(1, n_dims + 1) ** -0.5, dtype=torch.float32)
    members = torch.ones(17, n, dtype=torch.bool)
    for block in range(16):
        members[1 + block] = torch.from_numpy(sequences // 2 != block)
    return points, members


def exact_spectra(points: torch.Tensor, members: torch.Tensor) -> np.ndarray:
    """Effective rank, stable rank and shares of 1, 3, 10 components of each set's own eigenvalues; (5, n_sets)."""
    own = [np.linalg.eigvalsh(np.cov(points[member].double().numpy().T))[::-1] for member in members]
    tops = [[of_set[:top].sum() / of_set.sum() for top in (1, 3, 10)] for of_set in own]
    return np.array([[*correlators.ranks(points[m]), *t] for m, t in zip(members, tops, strict=True)]).T


@pytest.mark.parametrize(("n", "n_dims"), [(1000, 200), (400, 100), (200, 300)])
def test_errors_from_replicates_are_those_of_exact_eigenvalues(n, n_dims):
    ratios = []
    for seed in range(4):
        points, members = clustered(n, n_dims, seed)
        found = correlators.spectra_of_sets(points, members)
        fast = [found.effective_rank, found.stable_rank, *found.components.values()]
        exact = exact_spectra(points, members)
        assert [values[0] for values in fast] == pytest.approx(exact[:, 0], rel=1e-6)
        ratios.append(
            [jackknife_error(np.log(f[1:])) / jackknife_error(np.log(e[1:])) for f, e in zip(fast, exact, strict=True)]
        )
    assert np.mean(ratios, axis=0) == pytest.approx([1] * 5, abs=0.05)


def test_sets_that_are_drawn_again_hold_points_the_first_set_lacks():
    """The whole of the eigenbasis is the union: rows that only other sets use have directions of their own."""
    points, members = clustered(600, 50, 9)
    members[0, 580:] = False
    members[1:, 580:] = torch.rand(16, 20, generator=torch.Generator().manual_seed(1)) < 0.5
    fast = correlators.spectra_of_sets(points, members)
    found = [fast.effective_rank, fast.stable_rank, *fast.components.values()]
    for values, expected in zip(found, exact_spectra(points, members), strict=True):
        assert values == pytest.approx(expected, rel=5e-3)


def test_shares_of_the_leading_coordinates_are_those_of_each_sets_own_variances():
    points, members = clustered(300, 40, 3)
    found = correlators.coordinate_shares(points - points.mean(0), members)
    for which in (0, 7):
        variances = np.sort(points[members[which]].double().numpy().var(0))[::-1]
        for top in (1, 3, 10):
            assert found[top][which] == pytest.approx(variances[:top].sum() / variances.sum(), rel=1e-4)
    assert all(math.isnan(v) for v in correlators.coordinate_shares(torch.zeros(20, 4), members[:2, :20])[3])
