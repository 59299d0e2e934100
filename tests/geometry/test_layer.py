"""One layer's estimates: re-drawn clouds, their errors against the true spread, and the known cluster trap."""

import itertools
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.geometry import clouds, correlators, layer, second_order
from core.geometry.clouds import place
from core.geometry.neighbours import gride, mle, readings_of_points
from core.registry.protocols import CORE_CLOUDS, SPECIFICATIONS
from tests.bench.coverage import population_d2, reported_d2, tokens_of_sequences
from tests.geometry.test_registry import CANNOT_CARRY

pytestmark = pytest.mark.slow


def plan(types, sequences, n_blocks=16, max_types=10_000, n_draws=2, n_splits=4, **changes):
    n_sequences = int(sequences.max()) + 1
    tokens = clouds.Tokens(types, sequences, (np.arange(n_sequences) * n_blocks // n_sequences)[sequences], n_blocks)
    orders = [np.random.default_rng([5, d]).permutation(len(types)) for d in range(n_draws)]
    return layer.CloudPlan(
        [clouds.one_per_type(order, tokens, max_types) for order in orders],
        [],
        [clouds.all_tokens(orders[0], tokens, 4096)],
        clouds.half_splits(n_sequences, n_splits, seed=0),
        blocks=tokens.blocks,
        **changes,
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


def found(result, cloud, estimator, n1=None, transform="centred"):
    wanted = (cloud, estimator, n1, transform)
    return next(e for e in result.estimates if (e.cloud, e.estimator, e.n1, e.transform) == wanted)


@pytest.fixture(scope="module")
def measured():
    """Every specification of one layer: states, plan and what was found."""
    states, types, sequences = clustered(2, n_types=400, n_tokens=60)
    chosen = plan(types, sequences)
    chosen = replace(chosen, word_draws=[replace(cloud, name="one_per_word") for cloud in chosen.draws])
    return states, chosen, layer.measure_layer(states, chosen)


def primary_d2(states, chosen):
    return layer.measure_draws(states, chosen, chosen.draws)[3]


@pytest.fixture(scope="module")
def of_gaussian():
    """A plan for the clouds of `CANNOT_CARRY`, and the rows of a cloud that carries an estimate."""
    chosen = plan(np.arange(400), np.arange(400) % 20)
    states = torch.randn(400, 20, generator=torch.Generator().manual_seed(0))
    return chosen, keys_of(layer.measure_layer(states, chosen))


def keys_of(result):
    return sorted(str((e.cloud, e.estimator, e.n1, e.n2, e.transform)) for e in result.estimates)


@pytest.mark.parametrize("points", CANNOT_CARRY.values(), ids=CANNOT_CARRY)
def test_a_layer_that_carries_no_estimate_has_every_row_without_a_value_and_says_why(points, of_gaussian):
    chosen, keys = of_gaussian
    result = layer.measure_layer(points, chosen)
    assert keys_of(result) == keys
    own = [e for e in result.estimates if e.transform != "gaussian_surrogate"]
    assert [(e.estimator, e.n2) for e in own if not math.isnan(e.estimate.value) or not e.estimate.notes] == []


def test_the_correlator_of_a_neighbourhood_is_that_of_its_points():
    generator = np.random.default_rng(10)
    states = torch.tensor(generator.normal(size=(400, 12)) * np.arange(1, 13) ** -0.5, dtype=torch.float32)
    chosen = plan(np.arange(400), np.arange(400) % 20, n_draws=1)
    placed = place(states, chosen.draws[0])
    result = layer.measure_layer(states, chosen)
    wide = next(e for e in result.estimates if (e.estimator, e.n2) == ("local_d2", 100))
    found = [wide.estimate.value, *wide.blocks]
    for which in (0, 3):
        member = placed.members[which]
        points = placed.points.double()
        rows = placed.members[0].nonzero().squeeze(1)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[: correlators.WIDE_CENTRES]
        values = []
        for centre in rows[order][member[rows[order]]]:
            distances = (points - points[centre]).norm(dim=1).masked_fill(~member, torch.inf)
            distances[centre] = torch.inf
            own = points[distances.argsort()[:100]]
            u = torch.nn.functional.normalize(own - own.mean(0), dim=1)
            values.append(float(((u @ u.T).square().sum() - 100) / (100 * 99)))
        assert found[which] == pytest.approx(1 / (np.mean(values) - 1 / 99**2), rel=1e-3)


def test_leaving_a_block_out_draws_the_next_occurrence_of_each_type():
    types = np.array([7, 7, 8, 9, 9, 8])
    sequences = np.array([0, 1, 0, 0, 1, 1])
    cloud = clouds.one_per_type(np.arange(6), clouds.Tokens(types, sequences, sequences, 2), limit=10)
    assert cloud.rows[cloud.members[0]].tolist() == [0, 2, 3]
    assert cloud.rows[cloud.members[1]].tolist() == [1, 4, 5]
    assert cloud.rows[cloud.members[2]].tolist() == [0, 2, 3]


def test_the_limit_takes_the_types_that_the_permutation_meets_first():
    types = np.array([5, 6, 7, 8, 5])
    tokens = clouds.Tokens(types, np.zeros(5, int), np.zeros(5, int), 1)
    cloud = clouds.one_per_type(np.array([3, 4, 0, 1, 2]), tokens, limit=2)
    assert sorted(types[cloud.rows[cloud.members[0]]].tolist()) == [5, 8]


EXACT = [
    ("d2_all_pairs", None),
    ("participation_ratio", None),
    ("two_nn", 1),
    ("mle", None),
    ("two_nn_censored", 1),
    ("two_nn_linear", 1),
]
# Replicates by perturbation, by the moment estimate, by kept neighbours or by fixed radii: near, not equal.
NEAR = [("effective_rank", None, 0.01), ("stable_rank", None, 0.02), ("gride", 8, 0.02)]


def test_every_estimate_of_a_member_set_equals_the_estimate_of_its_points_alone():
    states, types, sequences = clustered(0)
    chosen = plan(types, sequences, n_draws=1)
    result = layer.measure_layer(states, chosen)
    cloud = chosen.draws[0]
    rows = cloud.rows[cloud.members[4]]
    _, own_sequences = np.unique(cloud.sequences[cloud.members[4]], return_inverse=True)
    alone = layer.measure_layer(states[torch.from_numpy(rows)], plan(np.arange(len(rows)), own_sequences, n_draws=1))
    assert found(result, "one_per_type", "d2").blocks[3] == pytest.approx(
        second_order.d2(states[torch.from_numpy(rows)], torch.from_numpy(own_sequences))[0], rel=1e-3
    )
    for estimator, n1, tolerance in [(name, n1, 2e-3) for name, n1 in EXACT] + NEAR:
        expected = found(alone, "one_per_type", estimator, n1).estimate.value
        assert found(result, "one_per_type", estimator, n1).blocks[3] == pytest.approx(expected, rel=tolerance), (
            estimator
        )


def test_the_typed_d2_leaves_out_pairs_of_one_type_and_of_one_sequence():
    states, types, sequences = clustered(4, n_types=60, n_sequences=8, n_tokens=25)
    chosen = plan(types, sequences, n_blocks=4)
    cloud = chosen.others[0]
    result = layer.measure_layer(states, chosen)
    for which in (0, 2):
        rows = cloud.rows[cloud.members[which]]
        points = states[torch.from_numpy(rows)].double()
        u = torch.nn.functional.normalize(points - points.mean(0), dim=1)
        other = (types[rows][:, None] != types[rows]) & (sequences[rows][:, None] != sequences[rows])
        expected = 1 / float((u @ u.T).square()[torch.from_numpy(other)].mean())
        typed = found(result, "all_tokens", "d2_typed")
        value = typed.estimate.value if which == 0 else typed.blocks[which - 1]
        assert value == pytest.approx(expected, rel=1e-3)


REMOVED = [("abtt1", 1), ("abtt3", 3)]


def test_removing_components_is_done_afresh_without_each_block():
    states, types, sequences = clustered(6)
    states[:, 20:22] += 3 * torch.randn(len(states), 2, generator=torch.Generator().manual_seed(1))
    chosen = plan(types, sequences, n_draws=1)
    cloud = chosen.draws[0]
    result = layer.measure_layer(states, chosen)
    for (transform, n_removed), which in itertools.product(REMOVED, (0, 5)):
        removed = found(result, "one_per_type", "d2", transform=transform)
        rows = torch.from_numpy(cloud.rows[cloud.members[which]])
        centred = (states[rows] - states[rows].mean(0)).double()
        axes = torch.linalg.svd(centred, full_matrices=False)[2][:n_removed]
        rest = (centred - centred @ axes.T @ axes).float()
        # Centring the rest again changes nothing: it has mean zero already.
        expected = second_order.d2(rest, torch.from_numpy(cloud.sequences[cloud.members[which]]))[0]
        value = removed.estimate.value if which == 0 else removed.blocks[which - 1]
        assert value == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("scale", [10, 1000])
def test_components_that_hold_nearly_all_variance_leave_an_exact_rest(scale):
    """Three of 64 directions hold 83 to 99.999 percent: single precision must not lose the rest beside them."""
    states = torch.randn(800, 64, generator=torch.Generator().manual_seed(2))
    states[:, :3] *= scale
    states[:, 3:] *= torch.linspace(1, 3, 61)
    cloud = plan(np.arange(800), np.arange(800) % 40, n_draws=1).draws[0]
    removed = second_order.d2_without_components(place(states, cloud), [n for _, n in REMOVED])
    for ((_, n_removed), (values, _)), which in itertools.product(zip(REMOVED, removed, strict=True), (0, 5)):
        rows = torch.from_numpy(cloud.rows[cloud.members[which]])
        centred = states[rows].double() - states[rows].double().mean(0)
        axes = torch.linalg.svd(centred, full_matrices=False)[2][:n_removed]
        u = torch.nn.functional.normalize(centred - centred @ axes.T @ axes, dim=1)
        sequences = torch.from_numpy(cloud.sequences[cloud.members[which]])
        other = sequences[:, None] != sequences[None, :]
        assert values[which] == pytest.approx(1 / float((u @ u.T).square()[other].mean()), rel=1e-4)


def test_pairs_of_blocks_without_components_are_those_of_points_that_lost_them():
    """What interval widths come from; two of the three leading components are put back where one is removed."""
    states = torch.randn(480, 30, generator=torch.Generator().manual_seed(9)) * torch.arange(1, 31) ** -0.5
    sequences = np.arange(480) % 48
    placed = place(states, plan(np.arange(480), sequences, n_blocks=8, n_draws=1).draws[0])
    removed = second_order.d2_without_components(placed, (1, 3))
    for n_removed, (_, two) in zip((1, 3), removed, strict=True):
        axes = torch.linalg.svd(placed.points, full_matrices=False)[2][:n_removed]
        expected = second_order.log_d2_without_two(
            placed.points - placed.points @ axes.T @ axes, torch.from_numpy(sequences[placed.cloud.rows] * 8 // 48)
        )
        assert two - two.mean() == pytest.approx(expected - expected.mean(), abs=2e-4)
        assert expected.std() > 0.005


def test_what_removed_components_leave_of_a_cloud_of_three_dimensions_is_undefined():
    states = torch.randn(500, 3, generator=torch.Generator().manual_seed(3)) @ torch.randn(3, 20)
    result = layer.measure_layer(states, plan(np.arange(500), np.arange(500) % 40, n_draws=1))
    assert math.isnan(found(result, "one_per_type", "d2", transform="abtt3").estimate.value)
    assert 1 < found(result, "one_per_type", "d2", transform="abtt1").estimate.value < 2.2


def test_every_specification_is_measured_with_replicates_and_dominant_directions_are_told(measured):
    result = measured[-1]
    for specification in SPECIFICATIONS:
        cloud, transform, estimator, n1 = specification.key
        estimate = found(result, cloud, estimator, n1, transform)
        assert estimate.n2 == specification.n2 and len(estimate.blocks) == 16, specification
        assert 0 < estimate.estimate.std_error < estimate.estimate.value, specification
    shares = {c.correlator: c for c in result.correlators if c.correlator.startswith("top_")}
    assert len(shares) == 6 and all(0 < c.value <= 1 and 0 < c.std_error < 0.1 for c in shares.values())
    assert shares["top_components_10"].value > 0.99 > shares["top_components_3"].value > 0.2  # ten dimensions


def test_neighbours_of_one_window_and_of_one_type_are_left_out_in_every_set():
    """Windows are directions of their own here: among all neighbours the nearest are of the same window."""
    states, types, sequences = clustered(5, n_types=500, n_tokens=30)
    generator = np.random.default_rng(5)
    states += torch.tensor(2 * generator.normal(size=(32, 64))[sequences], dtype=torch.float32)
    states += torch.tensor(0.1 * generator.normal(size=states.shape), dtype=torch.float32)
    chosen = plan(types, sequences, n_draws=1)
    result = layer.measure_layer(states, chosen)
    for drawn, estimator, n1 in (
        (chosen.draws[0], "gride_between", 4),
        (chosen.draws[0], "mle_between", None),
        (chosen.others[0], "gride_typed", 8),
    ):
        estimate = found(result, drawn.name, estimator, n1)
        for which in (0, 3):
            rows = drawn.rows[drawn.members[which]]
            points = states[torch.from_numpy(rows)].double()
            same = sequences[rows][:, None] == sequences[rows]
            if estimator == "gride_typed":
                same |= types[rows][:, None] == types[rows]
            apart = torch.cdist(points, points).masked_fill(torch.from_numpy(same), torch.inf)
            distances = apart.sort(dim=1).values[:, :20]
            expected = mle(distances) if n1 is None else gride(distances, n1)
            value = estimate.estimate.value if which == 0 else estimate.blocks[which - 1]
            assert value == pytest.approx(expected, rel=1e-3 if which == 0 or n1 is None else 0.02)


def test_where_each_point_is_a_window_of_its_own_nothing_is_left_out():
    states = torch.randn(600, 20, generator=torch.Generator().manual_seed(4))
    result = layer.measure_layer(states, plan(np.arange(600), np.arange(600), n_draws=1))
    for kind, n1 in (("gride", 2), ("gride", 4), ("gride", 8), ("gride", 16), ("mle", None)):
        between, plain = (found(result, "one_per_type", name, n1) for name in (f"{kind}_between", kind))
        assert between.estimate.value == pytest.approx(plain.estimate.value, rel=1e-6)
        assert between.blocks == pytest.approx(plain.blocks, rel=1e-6)


def test_neighbours_that_no_point_has_are_undefined():
    """One window holds all points but a few."""
    states = torch.randn(300, 10, generator=torch.Generator().manual_seed(6))
    sequences = np.r_[np.zeros(290, int), np.arange(1, 11)]
    result = layer.measure_layer(states, plan(np.arange(300), sequences, n_blocks=4, n_draws=1))
    between = found(result, "one_per_type", "gride_between", 8)
    assert math.isnan(between.estimate.value) and between.estimate.notes
    assert found(result, "one_per_type", "gride_between", 2).estimate.value > 3


@pytest.mark.parametrize("spread", [0.3, 0.003])
def test_wide_neighbourhoods_of_tight_clusters_keep_their_digits(spread):
    generator = np.random.default_rng(12)
    states = np.repeat(generator.normal(size=(4, 64)), 250, axis=0) + spread * generator.normal(size=(1000, 64))
    states = torch.tensor(states, dtype=torch.float32)
    result = layer.measure_layer(states, plan(np.arange(1000), np.arange(1000) % 40, n_draws=1))
    of_k = {e.n2: e.estimate.value for e in result.estimates if e.estimator == "local_d2"}
    assert of_k[100] == pytest.approx(64, rel=0.03) and of_k[200] == pytest.approx(64, rel=0.03)


def test_scaled_coordinates_count_alike_and_a_constant_one_changes_nothing():
    states, types, sequences = clustered(7)
    states[:, -1] = 0
    constant = states.clone()
    constant[:, -1] = 123.4
    chosen = plan(types, sequences, n_draws=1)
    plain, stretched, moved = (
        {t: found(result, "one_per_type", "d2", transform=t).estimate.value for t in ("centred", "zscore")}
        for result in (
            layer.measure_layer(s, chosen) for s in (states, states * torch.linspace(1, 30, states.shape[1]), constant)
        )
    )
    assert stretched["zscore"] == pytest.approx(plain["zscore"], rel=1e-3)
    assert stretched["centred"] != pytest.approx(plain["centred"], rel=0.05)
    assert moved == pytest.approx(plain, rel=2e-3)


def test_a_gaussian_cloud_reads_as_its_surrogate_and_clusters_read_lower():
    generator = np.random.default_rng(8)
    sequences = np.repeat(np.arange(32), 32)
    gaussian = torch.tensor(generator.normal(size=(1024, 40)) * np.arange(1, 41) ** -0.3, dtype=torch.float32)
    centres = torch.tensor(generator.normal(size=(64, 40)), dtype=torch.float32)
    clusters = centres[generator.integers(64, size=1024)] + 0.3 * gaussian
    ratios = []
    for states in (gaussian, clusters):
        result = layer.measure_layer(states, plan(np.arange(1024), sequences, n_draws=1))
        ratios.append(next(c for c in result.correlators if c.correlator == "nonlinearity_ratio_8"))
    assert abs(ratios[0].value - 1) < 3 * ratios[0].std_error
    assert ratios[1].value > 1.15


def test_the_local_family_goes_from_the_local_to_the_global():
    """A flat cloud reads the same at every size; its error comes from the text, and is not zero."""
    generator = np.random.default_rng(9)
    flat = torch.tensor(generator.normal(size=(900, 20)), dtype=torch.float32)
    sequences = np.arange(900) % 30
    result = layer.measure_layer(flat, plan(np.arange(900), sequences, n_draws=1))
    readings = {e.n2: e.estimate for e in result.estimates if e.estimator == "local_d2"}
    assert sorted(readings) == [20, 50, 100, 200, 400]
    for estimate in readings.values():
        assert estimate.value == pytest.approx(20, rel=0.05)
        assert 0 < estimate.std_error < 1


def test_token_copies_collapse_neighbour_estimates_and_one_per_type_recovers_the_dimension():
    """900 types in 10 dimensions: over all tokens the nearest neighbours are copies of the token itself."""
    states, types, sequences = clustered(1, n_types=900, n_tokens=120)
    result = layer.measure_layer(states, plan(types, sequences))
    assert found(result, "one_per_type", "d2").estimate.value == pytest.approx(10, rel=0.06)
    assert 8 < found(result, "one_per_type", "two_nn", 1).estimate.value < 11
    assert found(result, "all_tokens", "two_nn", 1).estimate.value < 3


def test_the_published_interval_of_d2_holds_the_truth_where_types_are_drawn_again():
    """Unequal variances, types as unequal as words, a cap on types, five draws: what a run reports."""
    variances = np.arange(1, 101) ** -1.0
    truth, held, errors, values = population_d2(variances), [], [], []
    for seed in range(24):
        states, types, sequences = tokens_of_sequences(32, variances, 0.2, seed)
        estimate = reported_d2(states, types, sequences)
        held.append(estimate.lower < truth < estimate.upper)
        errors.append(estimate.std_error)
        values.append(estimate.value)
    assert 0.85 <= np.mean(held) <= 1.0
    assert 0.75 < np.mean(errors) / np.std(values, ddof=1) < 1.4
    assert np.mean(values) == pytest.approx(truth, rel=0.03)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_halves_of_the_sequences_read_what_the_whole_cloud_reads(share):
    """A bias of the halves would go straight into the ratios of working, embedding and final dimension."""
    gaps = []
    for seed in range(6):
        generator = np.random.default_rng(seed)
        sequences = np.repeat(np.arange(32), 24)
        points = np.sqrt(share) * generator.normal(size=(32, 100))[sequences]
        points += np.sqrt(1 - share) * generator.normal(size=(768, 100))
        chosen = plan(np.arange(768), sequences, n_splits=20, n_draws=1)
        d2 = primary_d2(torch.tensor(points, dtype=torch.float32), chosen)
        gaps.append(np.mean(np.log(d2.halves)) - np.log(d2.estimate.value))
    assert abs(np.mean(gaps)) < 0.012


def test_both_routes_to_d2_agree_with_the_pairs():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(300, 50, generator=generator) @ torch.randn(50, 80, generator=generator) + 5
    sequences = torch.arange(300) % 11
    points += 8 * torch.randn(11, 80, generator=generator)[sequences]
    for some in (points, points[:60]):  # more points than dimensions, and fewer
        own = sequences[: len(some)]
        u = torch.nn.functional.normalize((some - some.mean(0)).double(), dim=1)
        cosines, other = u @ u.T, own[:, None] != own[None]
        within = cosines[~other & ~torch.eye(len(some), dtype=torch.bool)].mean()
        rho = within - cosines[other].mean()
        share = torch.bincount(own)[own].double() / len(some)
        owed = rho * (share[:, None] + share[None] - share.mean()) + (1 - rho) / len(some)
        expected = 1 / float((cosines.square() - owed.square())[other].mean())
        assert second_order.d2(some, own)[0] == pytest.approx(expected, rel=1e-4)
        of_all = (float(cosines.square().sum()) - len(some)) / (len(some) ** 2 - len(some))
        assert second_order.d2(some, own)[1] == pytest.approx(1 / of_all, rel=1e-4)


def test_what_single_tokens_are_to_their_cloud():
    """Four of 400 tokens lie ten times as far out; all share an offset along the first axis."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(400, 20, generator=generator)
    states[:4] *= 10
    states[:, 0] += 5
    types = np.arange(400)
    placed = place(states, plan(types, types // 10).draws[0])
    held, (shares, cosines) = correlators.token_to_population(states, placed)
    assert [c.correlator for c in held] == ["variance_top_1", "variance_top_10"]
    assert shares.values.mean() == pytest.approx(1, abs=1e-5)
    assert held[0].value == pytest.approx(shares.values[np.isin(shares.rows, range(4))].sum() / 400, rel=1e-5)
    assert 0.4 < held[0].value < held[1].value < 0.65 and held[0].std_error > 0.02
    mean = states.double().mean(0)
    expected = torch.nn.functional.cosine_similarity(states.double(), mean[None], dim=1).numpy()
    assert cosines.values == pytest.approx(expected[cosines.rows], abs=1e-5)


def test_e1_is_the_pairwise_sum_that_it_stands_for(measured):
    states, chosen, result = measured
    points = states[torch.from_numpy(chosen.draws[0].rows[chosen.draws[0].members[0]])].double()
    gram = points @ points.T
    n = len(points)
    e1 = float((gram.sum() - gram.diagonal().sum()) / (n * gram.diagonal().sum()))
    stored = next(c for c in result.correlators if (c.cloud, c.correlator) == ("one_per_type", "E1"))
    assert stored.value == pytest.approx(e1, abs=1e-5)


def test_halves_hold_every_sequence_once():
    halves = clouds.half_splits(10, 5, seed=3)
    assert (halves.sum(1) == 5).all()
    assert not np.array_equal(halves[0], halves[1])


@pytest.mark.parametrize("sizes", [[1] * 32, [2] * 16, [9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 7]])
def test_blocks_never_cut_a_document_where_there_are_enough(sizes):
    documents = np.repeat(np.arange(len(sizes)), sizes)
    blocks = clouds.contiguous_blocks(documents, 16)
    assert sorted(set(blocks.tolist())) == list(range(16))
    assert (np.diff(blocks) >= 0).all()
    for document in range(len(sizes)):
        assert len(set(blocks[documents == document].tolist())) == 1


def test_few_documents_are_cut_into_equal_blocks():
    assert np.bincount(clouds.contiguous_blocks(np.repeat([0, 1, 2], 16), 16)).tolist() == [3] * 16


def test_a_run_stores_no_dimension_above_what_the_points_can_span():
    n, n_sequences = 320, 16
    sequences = np.repeat(np.arange(n_sequences), n // n_sequences)
    result = layer.measure_layer(torch.eye(n, 400), plan(np.arange(n), sequences, n_draws=1))
    for e in result.estimates:
        begins = e.estimate.lower if math.isfinite(e.estimate.lower) else e.estimate.value / 2
        assert not begins > n - 1, e
    d2 = found(result, "one_per_type", "d2")
    assert math.isnan(d2.estimate.value) and "can span" in d2.estimate.notes and not d2.blocks and not d2.halves


def test_a_control_measures_the_core_specifications_as_a_text_does_and_nothing_else():
    states, types, sequences = clustered(3)
    whole = plan(types, sequences)
    rows, order = np.arange(len(types)), np.random.default_rng(1).permutation(len(types))
    tokens = clouds.Tokens(types, sequences, whole.blocks, 16)
    whole = replace(whole, word_draws=[clouds.one_per_word(order, types // 2, rows, tokens, 500)])
    text = layer.measure_layer(states, whole)
    control = layer.measure_layer(states, replace(whole, core_only=CORE_CLOUDS))
    core = {s.key for s in SPECIFICATIONS if s.is_core}
    measured = {(e.cloud, e.transform, e.estimator, e.n1) for e in control.estimates}
    assert core <= measured and {estimator for *_, estimator, _ in measured - core} == {"d2", "d2_all_pairs"}
    for e in control.estimates:
        same = found(text, e.cloud, e.estimator, e.n1, e.transform)
        assert e.estimate.value == pytest.approx(same.estimate.value, rel=1e-4)
        assert e.blocks == pytest.approx(same.blocks, rel=1e-4) and e.halves == pytest.approx(same.halves, rel=1e-4)
    assert control.duplicate_share == text.duplicate_share and not control.distributions
    first_look_clouds = ("one_per_word", "all_tokens")
    first_look = layer.measure_layer(states, replace(whole, core_only=first_look_clouds))

    def keys(result, *clouds):
        return {(e.cloud, e.transform, e.estimator, e.n1, e.n2) for e in result.estimates if e.cloud in clouds}

    assert keys(first_look, *first_look_clouds) == keys(control, *first_look_clouds)
    assert keys(first_look, "one_per_type") == {
        key for key in keys(text, "one_per_type") if key[4] not in correlators.WIDE_KS
    }


def test_prompts_are_in_memory_one_at_a_time(monkeypatch):
    read: list[weakref.ref] = []

    def watched(points):
        assert not any(earlier() is not None for earlier in read)
        read.append(weakref.ref(points))
        return readings_of_points(points)

    monkeypatch.setattr(layer, "readings_of_points", watched)
    states = clustered(0)[0]
    prompts = np.split(np.arange(400), 4)
    found = layer._per_prompt(states, prompts)
    assert len(read) == len(prompts)
    assert {row.estimate.n_points for row in found} == {100}
