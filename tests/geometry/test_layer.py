"""One layer's estimates: re-drawn clouds, their errors against the true spread, and the known cluster trap."""

import numpy as np
import pytest
import torch

from core.geometry import clouds, layer, resampling, second_order


def plan(types, sequences, n_blocks=16, max_types=10_000, n_draws=2, n_splits=4):
    n_sequences = int(sequences.max()) + 1
    blocks = (np.arange(n_sequences) * n_blocks // n_sequences)[sequences]
    orders = [np.random.default_rng([5, d]).permutation(len(types)) for d in range(n_draws)]
    return layer.LayerPlan(
        [clouds.one_per_type(order, types, blocks, sequences, n_blocks, max_types) for order in orders],
        clouds.all_tokens(orders[0], blocks, sequences, n_blocks, 4096),
        resampling.half_splits(n_sequences, n_splits, seed=0),
    )


def clustered(seed, n_types=300, n_sequences=32, n_tokens=40, n_dims=10, hidden_size=64):
    """Tokens of `n_types` types: centres in `n_dims` dimensions, a small flat spread in 2 within a type."""
    generator = np.random.default_rng(seed)
    types = generator.zipf(1.3, size=n_sequences * n_tokens * 3)
    types = types[types <= n_types][: n_sequences * n_tokens]
    centres = np.zeros((n_types + 1, hidden_size))
    centres[:, :n_dims] = generator.normal(size=(n_types + 1, n_dims))
    points = centres[types] + 1e-6 * generator.normal(size=(len(types), hidden_size))
    points[:, -2:] += 0.02 * generator.normal(size=(len(types), 2))
    sequences = np.repeat(np.arange(n_sequences), n_tokens)[: len(types)]
    return torch.tensor(points, dtype=torch.float32), types, sequences


def found(result, cloud, estimator, n1=None):
    return next(e for e in result.estimates if (e.cloud, e.estimator, e.n1) == (cloud, estimator, n1))


def test_leaving_a_block_out_draws_the_next_occurrence_of_each_type():
    types = np.array([7, 7, 8, 9, 9, 8])
    sequences = np.array([0, 1, 0, 0, 1, 1])
    cloud = clouds.one_per_type(np.arange(6), types, sequences, sequences, n_blocks=2, limit=10)
    assert cloud.rows[cloud.members[0]].tolist() == [0, 2, 3]
    assert cloud.rows[cloud.members[1]].tolist() == [1, 4, 5]
    assert cloud.rows[cloud.members[2]].tolist() == [0, 2, 3]


def test_the_limit_takes_the_types_that_the_permutation_meets_first():
    types = np.array([5, 6, 7, 8, 5])
    cloud = clouds.one_per_type(np.array([3, 4, 0, 1, 2]), types, np.zeros(5, int), np.zeros(5, int), 1, limit=2)
    assert sorted(types[cloud.rows[cloud.members[0]]].tolist()) == [5, 8]


def test_every_estimate_of_a_member_set_equals_the_estimate_of_its_points_alone():
    states, types, sequences = clustered(0)
    chosen = plan(types, sequences)
    result = layer.measure_layer(states, chosen)
    cloud = chosen.draws[0]
    without_block_3 = states[torch.from_numpy(cloud.rows[cloud.members[4]])]
    alone = layer.measure_layer(
        without_block_3,
        plan(np.arange(len(without_block_3)), cloud.sequences[cloud.members[4]], n_draws=1),
    )
    for estimator, n1 in [("two_nn", 1), ("mle", None), ("gride", 8), ("participation_ratio", None)]:
        expected = found(alone, "one_per_type", estimator, n1).estimate.value
        assert found(result, "one_per_type", estimator, n1).blocks[3] == pytest.approx(expected, rel=2e-3), estimator


def test_token_copies_collapse_neighbour_estimates_and_one_per_type_recovers_the_dimension():
    """900 types in 10 dimensions: over all tokens the nearest neighbours are copies of the token itself."""
    states, types, sequences = clustered(1, n_types=900, n_tokens=120)
    result = layer.measure_layer(states, plan(types, sequences))
    assert found(result, "one_per_type", "d2").estimate.value == pytest.approx(10, rel=0.06)
    assert 8 < found(result, "one_per_type", "two_nn", 1).estimate.value < 11
    assert found(result, "all_tokens", "two_nn", 1).estimate.value < 3


def test_the_jackknife_error_of_d2_is_the_true_spread():
    """Error over true standard deviation within [0.8, 2.2], over 30 independent clustered clouds."""
    estimates = []
    for seed in range(30):
        generator = np.random.default_rng(1000 + seed)
        sequences = np.repeat(np.arange(32), 24)
        points = 0.6 * generator.normal(size=(32, 30))[sequences] + 0.8 * generator.normal(size=(768, 30))
        states = torch.tensor(points, dtype=torch.float32)
        result = layer.measure_layer(states, plan(np.arange(768), sequences, n_draws=1))
        estimates.append(found(result, "one_per_type", "d2").estimate)
    spread = np.std([e.value for e in estimates], ddof=1)
    ratio = np.mean([e.std_error for e in estimates]) / spread
    assert 0.8 < ratio < 2.2
    assert np.mean([e.lower < 30 < e.upper for e in estimates]) > 0.85


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_halves_of_the_sequences_read_what_the_whole_cloud_reads(share):
    """A bias of the halves would go straight into the ratios of working, embedding and final dimension."""
    gaps = []
    for seed in range(6):
        generator = np.random.default_rng(seed)
        sequences = np.repeat(np.arange(32), 24)
        points = np.sqrt(share) * generator.normal(size=(32, 100))[sequences]
        points += np.sqrt(1 - share) * generator.normal(size=(768, 100))
        chosen = plan(np.arange(768), sequences, n_splits=20, n_draws=1)
        result = layer.measure_layer(torch.tensor(points, dtype=torch.float32), chosen)
        d2 = found(result, "one_per_type", "d2")
        gaps.append(np.mean(np.log(d2.halves)) - np.log(d2.estimate.value))
    assert abs(np.mean(gaps)) < 0.012


def test_a_layer_where_all_tokens_coincide_is_undefined_not_a_crash():
    states, types, sequences = clustered(3)
    result = layer.measure_layer(torch.ones_like(states), plan(types, sequences))
    assert all(not e.estimate.value > 0 for e in result.estimates)


def test_both_routes_to_d2_agree():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(300, 50, generator=generator) @ torch.randn(50, 80, generator=generator) + 5
    sequences = torch.arange(300) % 11
    centred = points - points.mean(0)
    by_pairs = second_order.pair_d2(centred @ centred.T, sequences)
    assert by_pairs == pytest.approx(second_order.direction_d2(points, sequences), rel=1e-4)
    u = torch.nn.functional.normalize(centred.double(), dim=1)
    cosines = (u @ u.T).square()
    other = sequences[:, None] != sequences[None]
    assert by_pairs[0] == pytest.approx(1 / float(cosines[other].mean()), rel=1e-4)


def test_e1_is_the_pairwise_sum_that_it_stands_for():
    states, types, sequences = clustered(2)
    chosen = plan(types, sequences)
    points = states[torch.from_numpy(chosen.draws[0].rows[chosen.draws[0].members[0]])].double()
    gram = points @ points.T
    n = len(points)
    e1 = float((gram.sum() - gram.diagonal().sum()) / (n * gram.diagonal().sum()))
    result = layer.measure_layer(states, chosen)
    stored = next(c for c in result.correlators if (c.cloud, c.correlator) == ("one_per_type", "E1"))
    assert stored.value == pytest.approx(e1, abs=1e-5)


def test_halves_hold_every_sequence_once():
    halves = resampling.half_splits(10, 5, seed=3)
    assert (halves.sum(1) == 5).all()
    assert not np.array_equal(halves[0], halves[1])


@pytest.mark.parametrize("sizes", [[1] * 32, [2] * 16, [9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 7]])
def test_blocks_never_cut_a_document_where_there_are_enough(sizes):
    documents = np.repeat(np.arange(len(sizes)), sizes)
    blocks = resampling.contiguous_blocks(documents, 16)
    assert sorted(set(blocks.tolist())) == list(range(16))
    assert (np.diff(blocks) >= 0).all()
    for document in range(len(sizes)):
        assert len(set(blocks[documents == document].tolist())) == 1


def test_few_documents_are_cut_into_equal_blocks():
    assert np.bincount(resampling.contiguous_blocks(np.repeat([0, 1, 2], 16), 16)).tolist() == [3] * 16
