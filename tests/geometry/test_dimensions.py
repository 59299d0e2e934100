"""Estimators on clouds of known dimension, against an independent implementation, and under invariances."""

import math

import numpy as np
import pytest
import skdim
import torch

from core.errors import EstimateError
from core.geometry.dimensions import ESTIMATORS, gride
from core.geometry.neighbours import nearest


def gaussian(n_points: int, n_dims: int, hidden_size: int = 0, seed: int = 0) -> torch.Tensor:
    """Isotropic points of `n_dims`, rotated into `hidden_size` dimensions."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n_points, n_dims, generator=generator)
    if not hidden_size:
        return points
    basis, _ = torch.linalg.qr(torch.randn(hidden_size, n_dims, generator=generator))
    return points @ basis.T + 3.0


@pytest.mark.parametrize("n_dims", [5, 20, 100])
@pytest.mark.parametrize("name", ["d2", "d2_all_pairs", "participation_ratio"])
def test_global_estimators_return_the_dimension_of_a_gaussian(name, n_dims):
    estimates = [ESTIMATORS[name](gaussian(512, n_dims, 576, seed)).value for seed in range(3)]
    assert np.mean(estimates) == pytest.approx(n_dims, rel=0.03)


@pytest.mark.parametrize("name", ["two_nn", "mle", "gride_1", "gride_2", "gride_8"])
def test_neighbour_estimators_return_a_low_dimension(name):
    estimate = ESTIMATORS[name](torch.rand(2000, 3, generator=torch.Generator().manual_seed(1)))
    assert estimate.value == pytest.approx(3, rel=0.08)
    assert estimate.lower < estimate.value < estimate.upper


def test_two_nn_is_the_maximum_likelihood_of_an_independent_implementation():
    points = gaussian(800, 10).numpy()
    distances, _ = skdim.get_nn(points, 2)
    log_ratios = np.log(distances[:, 1] / distances[:, 0])
    assert ESTIMATORS["two_nn"](points).value == pytest.approx((len(points) - 1) / log_ratios.sum(), rel=1e-4)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_mle_agrees_with_scikit_dimension_to_three_digits(offset):
    points = gaussian(800, 10, 64).numpy() + offset
    theirs = skdim.id.MLE().fit(points, n_neighbors=20, comb="mle").dimension_
    assert ESTIMATORS["mle"](points).value == pytest.approx(theirs, rel=1e-3)


def test_two_nn_linear_of_scikit_dimension_is_near_ours():
    points = gaussian(1500, 8).numpy()
    theirs = skdim.id.TwoNN().fit(points).dimension_
    assert ESTIMATORS["two_nn"](points).value == pytest.approx(theirs, rel=0.1)


def test_gride_solves_its_likelihood():
    """The score of f(mu) at the estimate is zero, computed from the paper's density by finite differences."""
    distances = nearest(gaussian(600, 6), 16).distances
    estimate, n1, n2 = gride(distances, 8), 8, 16
    mu = (distances[:, n2 - 1] / distances[:, n1 - 1]).double()

    def log_likelihood(d: float) -> float:
        n = len(mu)
        terms = (n2 - n1 - 1) * torch.log(mu**d - 1) - ((n2 - 1) * d + 1) * mu.log()
        return (n - 1) * math.log(d) + float(terms.sum())

    step = 1e-4 * estimate
    below, here, above = (log_likelihood(estimate + move) for move in (-step, 0, step))
    slope, curvature = (above - below) / (2 * step), (above - 2 * here + below) / step**2
    assert abs(slope / curvature) < 1e-4 * estimate


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_scale_rotation_shift_and_order_change_nothing(name):
    points = gaussian(400, 6, 24)
    rotation, _ = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(7)))
    changed = (points @ rotation * 37.0 + 11.0)[torch.randperm(400, generator=torch.Generator().manual_seed(8))]
    assert ESTIMATORS[name](changed).value == pytest.approx(ESTIMATORS[name](points).value, rel=2e-3)


def test_exact_duplicates_leave_two_nn_unchanged_and_are_counted():
    points = gaussian(700, 8)
    doubled = torch.cat([points, points[:300]])
    estimate = ESTIMATORS["two_nn"](doubled)
    assert estimate.value == pytest.approx(ESTIMATORS["two_nn"](points).value, rel=1e-5)
    assert (estimate.n_dropped, estimate.n_points) == (300, 700)


def test_sinks_ruin_the_participation_ratio_and_leave_masked_d2_alone():
    """0.4 percent of the rows point the same way with 170 times the norm, as attention sinks do."""
    points = gaussian(1000, 40, 128) - 3.0
    sinks = torch.cat([points, 170 * (points[:1] + 0.05 * points[1:5])])
    assert ESTIMATORS["participation_ratio"](sinks).value < 2
    norms = sinks.norm(dim=1)
    masked = sinks[norms < 3 * norms.median()]
    assert ESTIMATORS["d2"](masked).value == pytest.approx(ESTIMATORS["d2"](points).value, rel=0.03)


def test_d2_without_pairs_of_a_sequence_is_unbiased_where_sequences_cluster():
    """Random effect per sequence, 36 percent of the variance, d = 50: all pairs read about 10 percent low."""
    generator, values = np.random.default_rng(0), []
    for _ in range(12):
        sequences = np.repeat(np.arange(32), 32)
        effect = generator.normal(size=(32, 50))[sequences] * math.sqrt(0.36)
        points = effect + generator.normal(size=(1024, 50)) * math.sqrt(0.64)
        values.append([ESTIMATORS[name](points, sequences).value for name in ("d2", "d2_all_pairs")])
    excluded, plain = np.mean(values, axis=0)
    assert excluded == pytest.approx(50, rel=0.03)
    assert plain < 45


def test_points_that_cannot_be_estimated_are_refused_by_name():
    with pytest.raises(EstimateError, match="two_nn needs at least 3 distinct points; 50 were given and 1"):
        ESTIMATORS["two_nn"](torch.ones(50, 4))
    with pytest.raises(EstimateError, match="finite"):
        ESTIMATORS["d2"](torch.full((50, 4), float("nan")))
    with pytest.raises(EstimateError, match="shape"):
        ESTIMATORS["d2"](torch.ones(7))


def test_points_without_sequences_say_so():
    assert ESTIMATORS["d2"](gaussian(100, 5)).notes == "independent points assumed"
    assert ESTIMATORS["d2"](gaussian(100, 5), np.arange(100) // 5).notes == ""
