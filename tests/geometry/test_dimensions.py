"""Estimators on clouds of known dimension, at their limits, under invariances, and on clusters like those of tokens."""

import math

import numpy as np
import pytest
import torch

from core.geometry.estimators import ESTIMATORS
from core.geometry.neighbours import gride, nearest, two_nn, two_nn_censored, two_nn_linear
from core.geometry.second_order import d2_of_windows
from core.registry.estimators import plateau

OURS = sorted(name for name in ESTIMATORS if not name.startswith("skdim_") and not name.endswith("_typed"))


def gaussian(n_points: int, n_dims: int, hidden_size: int = 0, seed: int = 0) -> torch.Tensor:
    """Isotropic points of `n_dims`, rotated into `hidden_size` dimensions."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n_points, n_dims, generator=generator)
    if not hidden_size:
        return points
    basis, _ = torch.linalg.qr(torch.randn(hidden_size, n_dims, generator=generator))
    return points @ basis.T + 3.0


@pytest.mark.parametrize("n_dims", [5, 100])
@pytest.mark.parametrize("name", ["d2_all_pairs", "participation_ratio"])
def test_global_estimators_return_the_dimension_of_a_gaussian(name, n_dims):
    estimates = [ESTIMATORS[name](gaussian(512, n_dims, 576, seed), n_blocks=0).value for seed in range(3)]
    assert np.mean(estimates) == pytest.approx(n_dims, rel=0.03)


@pytest.mark.parametrize("name", ["two_nn", "two_nn_censored", "two_nn_linear", "mle", "gride_1", "gride_2", "gride_8"])
def test_neighbour_estimators_return_a_low_dimension(name):
    estimate = ESTIMATORS[name](torch.rand(1500, 3, generator=torch.Generator().manual_seed(1)))
    assert estimate.value == pytest.approx(3, rel=0.08)
    assert estimate.lower < estimate.value < estimate.upper


@pytest.mark.parametrize("name", ["correlation_integral", "local_d2_20", "gride"])
def test_estimators_of_larger_neighbourhoods_return_a_low_dimension_too(name):
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(2))
    assert ESTIMATORS[name](points, n_blocks=0).value == pytest.approx(3, rel=0.1)


def test_ranks_count_equal_variances_and_bound_the_participation_ratio():
    points = gaussian(4000, 12, 60)
    effective, stable, pr = (
        ESTIMATORS[name](points, n_blocks=0).value for name in ("effective_rank", "stable_rank", "participation_ratio")
    )
    assert effective == pytest.approx(12, rel=0.01)
    assert 0.85 * 12 < stable < pr


# --- formulas and their limits -----------------------------------------------------------------------------------


def pareto(n: int, d: float, seed: int = 0) -> torch.Tensor:
    """Distances whose ratios follow the law exactly: F(mu) = 1 - mu^-d."""
    mu = (1 - torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)) ** (-1 / d)
    return torch.stack([torch.ones(n, dtype=torch.float64), mu], dim=1)


@pytest.mark.parametrize("estimate", [two_nn, two_nn_censored, two_nn_linear])
def test_two_nn_is_unbiased_where_its_law_holds_exactly(estimate):
    values = [estimate(pareto(300, 7.0, seed)) for seed in range(200)]
    assert np.mean(values) == pytest.approx(7, abs=4 * np.std(values) / math.sqrt(200) + 0.05)


def test_censoring_ignores_how_large_the_largest_ratios_are():
    distances = pareto(100, 5.0)
    stretched = distances.clone()
    largest = distances[:, 1].argsort()[-10:]
    stretched[largest, 1] *= 1000
    assert two_nn_censored(stretched) == pytest.approx(two_nn_censored(distances))
    assert two_nn_linear(stretched) == pytest.approx(two_nn_linear(distances))
    assert two_nn(stretched) < 0.8 * two_nn(distances)


@pytest.mark.parametrize("estimate", [two_nn, two_nn_censored, two_nn_linear])
def test_ties_raise_two_nn_and_nothing_but_ties_is_undefined(estimate):
    distances = pareto(200, 5.0)
    tied = distances.clone()
    tied[::4, 1] = 1.0
    assert estimate(tied) > 1.15 * estimate(distances)
    assert math.isnan(estimate(torch.ones(50, 2)))
    assert math.isnan(estimate(torch.zeros(50, 2)))
    assert math.isnan(estimate(pareto(1, 5.0)))


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


@pytest.mark.parametrize(
    ("scan", "starts"),
    [
        ([4.5, 6.2, 11.7, 19.7, 21.1, 21.4], 8),
        ([10.0, 10.5, 10.9, 30.0, 31.0, 31.5], 1),
        ([10.0, 10.5, 15.0, 15.5, 22.0, 22.5], None),  # never twice in succession
        ([10.0, math.nan, 10.2, 10.3, 10.4, 10.5], 4),
        ([], None),
    ],
)
def test_a_plateau_is_two_successive_doublings_that_agree(scan, starts):
    assert plateau(dict(zip((1, 2, 4, 8, 16, 32), scan, strict=False))) == starts


def test_the_gride_scan_is_read_at_ranks_8_and_16_and_says_where_it_is_flat():
    points = gaussian(800, 4)
    estimate = ESTIMATORS["gride"](points, n_blocks=0)
    assert estimate.value == ESTIMATORS["gride_8"](points, n_blocks=0).value
    assert "plateau from n1 = " in estimate.notes
    few = ESTIMATORS["gride"](points[:40], n_blocks=0)
    assert math.isnan(few.value) and "too few" in few.notes


# --- invariances -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_scale_rotation_shift_and_order_change_nothing(name):
    points = gaussian(400, 6, 24)
    rotation, _ = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(7)))
    changed = (points @ rotation * 37.0 + 11.0)[torch.randperm(400, generator=torch.Generator().manual_seed(8))]
    before, after = (ESTIMATORS[name](cloud, n_blocks=0).value for cloud in (points, changed))
    assert after == pytest.approx(before, rel=2e-3)


# --- clouds like those of tokens ---------------------------------------------------------------------------------


def test_thirty_percent_repeated_rows_leave_two_nn_unchanged_and_are_counted():
    points = gaussian(700, 8)
    repeated = torch.cat([points, points[:300]])  # 300 of 1,000 rows
    for name in ("two_nn", "two_nn_censored", "mle", "correlation_integral", "local_d2_20"):
        estimate = ESTIMATORS[name](repeated, n_blocks=0)
        assert estimate.value == pytest.approx(ESTIMATORS[name](points, n_blocks=0).value, rel=1e-4), name
        assert (estimate.n_dropped, estimate.n_points) == (300, 700)


def test_sinks_ruin_the_participation_ratio():
    """0.4 percent of the rows point one way with 170 times the norm, as attention sinks do."""
    points = gaussian(996, 40, 128) - 3.0
    sinks = torch.cat([points, 170 * (points[:1] + 0.05 * points[1:5])])
    centred = sinks - sinks.mean(0)
    naive = torch.linalg.svdvals(centred).square()
    assert float(naive.sum().square() / naive.square().sum()) == pytest.approx(1, abs=0.05)
    assert ESTIMATORS["participation_ratio"](sinks, n_blocks=0).value < 2
    assert ESTIMATORS["participation_ratio"](points, n_blocks=0).value == pytest.approx(40, rel=0.05)


def test_d2_without_pairs_of_a_sequence_is_unbiased_where_sequences_cluster():
    """Random effect per sequence, 36 percent of the variance, d = 50: all pairs read about 10 percent low."""
    generator, values = np.random.default_rng(0), []
    for _ in range(12):
        sequences = np.repeat(np.arange(32), 32)
        effect = generator.normal(size=(32, 50))[sequences] * math.sqrt(0.36)
        points = effect + generator.normal(size=(1024, 50)) * math.sqrt(0.64)
        values.append([ESTIMATORS[name](points, sequences, n_blocks=0).value for name in ("d2", "d2_all_pairs")])
    excluded, plain = np.mean(values, axis=0)
    assert excluded == pytest.approx(50, rel=0.03)
    assert plain < 45


def hierarchical(seed: int):
    """4,096 tokens of about 850 types in 32 sequences, in 64 dimensions; and the rows of one token per type.

    Types lie in 10 dimensions with unit variance, as unequally often as words do (rank to the power -0.8: 6 percent of
    all tokens are of the first type); the contexts of one type spread over a plane of its own with standard deviation
    0.05; a sequence shifts its tokens in the 10 dimensions, with a share of 0.05 of the variance.
    """
    generator = np.random.default_rng(seed)
    frequency = np.arange(1, 1001) ** -0.8
    _, types = np.unique(generator.choice(1000, 4096, p=frequency / frequency.sum()), return_inverse=True)
    n_types = types.max() + 1
    centres = np.zeros((n_types, 64))
    centres[:, :10] = generator.normal(size=(n_types, 10))
    planes = np.linalg.qr(generator.normal(size=(n_types, 64, 2)))[0]
    spread = np.einsum("ndp,np->nd", planes[types], generator.normal(size=(len(types), 2)))
    sequences = np.arange(len(types)) * 32 // len(types)
    effect = np.zeros((32, 64))
    effect[:, :10] = generator.normal(size=(32, 10))
    points = math.sqrt(0.95) * centres[types] + 0.05 * spread + math.sqrt(0.05) * effect[sequences]
    order = generator.permutation(len(types))
    _, first = np.unique(types[order], return_index=True)
    return points, types, sequences, order[np.sort(first)]


def test_one_token_per_type_recovers_the_dimension_that_copies_of_tokens_hide():
    """Between types the dimension is 10; all tokens together read the dimension of the spread within a type."""
    points, _, sequences, one_per_type = hierarchical(0)
    cloud = points[one_per_type]
    assert len(points) == 4096 and 750 < len(cloud) < 950
    assert ESTIMATORS["two_nn"](points, n_blocks=0).value == pytest.approx(1.7, abs=0.3)
    assert ESTIMATORS["two_nn"](cloud, n_blocks=0).value == pytest.approx(9.5, rel=0.08)
    assert ESTIMATORS["gride_2"](cloud, n_blocks=0).value == pytest.approx(9.3, rel=0.06)
    by_type = ESTIMATORS["d2"](cloud, sequences[one_per_type])
    assert by_type.value == pytest.approx(10, rel=0.06)
    assert by_type.lower < 10 < by_type.upper


def test_typed_d2_leaves_out_pairs_of_a_type_and_pairs_of_a_sequence():
    points, types, sequences, _ = hierarchical(1)
    points, types, sequences = points[::8], types[::8], sequences[::8]
    directions = points - points.mean(0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    counted = (types[:, None] != types[None]) & (sequences[:, None] != sequences[None])
    expected = 1 / np.mean(((directions @ directions.T) ** 2)[counted])
    estimate = ESTIMATORS["d2_typed"](points, sequences, types=types)
    assert estimate.value == pytest.approx(expected, rel=5e-4)  # what centring adds is taken off: test_layer proves it
    assert estimate.std_error > 0
    plain = ESTIMATORS["d2"](points, sequences, n_blocks=0).value
    assert plain < 0.96 * estimate.value  # pairs of one frequent type point the same way


def test_d2_of_a_window_on_its_own_is_that_of_its_directions_and_knows_no_copies():
    """Of 20 isotropic directions around a common state; copies of one type are pairs that do not count."""
    noise = np.random.default_rng(5)
    n, n_windows = 128, 16
    basis = np.linalg.qr(noise.standard_normal((64, 20)))[0].T
    points = noise.standard_normal((n_windows, n, 20)) @ basis + 3 * noise.standard_normal((n_windows, 1, 64))
    types = np.tile(np.arange(n), (n_windows, 1))

    def read(points, types):
        stretches = torch.arange(n) * 8 // n
        return d2_of_windows(torch.from_numpy(points).float(), torch.from_numpy(types), stretches)

    plain = read(points, types)
    assert plain.shape == (n_windows, 9) and plain[:, 0].mean() == pytest.approx(20, rel=0.02)
    without = np.log(plain[:, 1:])
    errors = np.sqrt(7 / 8 * ((without - without.mean(1, keepdims=True)) ** 2).sum(1))
    assert errors.mean() == pytest.approx(np.log(plain[:, 0]).std(ddof=1), rel=0.6)
    half = types // 2  # every token twice
    copies = np.take_along_axis(points, half[..., None], 1)
    told, untold = read(copies, half)[:, 0].mean(), read(copies, types)[:, 0].mean()
    assert told == pytest.approx(20, rel=0.05) and untold < 0.9 * told
    assert np.isnan(read(copies, np.zeros_like(half))).all()
