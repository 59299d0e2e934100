"""The check that catches a random model: dependence on the number of sequences."""

import numpy as np
import pytest
import torch

from core.geometry import clouds
from core.measure import rows

N_SEQUENCES, N_TOKENS, N_DIMS = 32, 60, 200


def checked(points, types):
    sequences = np.repeat(np.arange(N_SEQUENCES), N_TOKENS)
    order = np.random.default_rng(0).permutation(len(types))
    halves = clouds.half_splits(N_SEQUENCES, 4, seed=0)
    cloud = clouds.one_per_type(order, clouds.Tokens(types, sequences, sequences // 2, 16), 800)
    pairs = rows.sequence_pairs(order, types, sequences, halves, 800)
    states = torch.tensor(points, dtype=torch.float32)
    first = cloud.rows[cloud.members[0]][: cloud.n_points // 2]
    return rows.dependence(states, sequences, pairs, cloud, first, seed=0), pairs, types


@pytest.fixture
def types():
    return np.random.default_rng(1).integers(0, 400, N_SEQUENCES * N_TOKENS)


def test_tokens_that_do_not_know_their_sequence_pass(types):
    points = np.random.default_rng(2).normal(size=(400, 40))[types]
    found, _, _ = checked(points + 0.1 * np.random.default_rng(3).normal(size=points.shape), types)
    for name in ("sequence_invariance", "sequence_invariance_all_pairs", "n_invariance"):
        value, error = found[name]
        assert abs(value) < 0.05 and abs(value) < 4 * error + 0.01
    assert abs(found["sequence_share"][0]) < 0.05


def test_states_that_average_their_prefix_are_caught(types):
    """Nine tenths of the variance is one direction per sequence, as in late layers of random weights."""
    generator = np.random.default_rng(4)
    own = generator.normal(size=(N_SEQUENCES, N_DIMS))[np.repeat(np.arange(N_SEQUENCES), N_TOKENS)]
    found, _, _ = checked(own + generator.normal(size=own.shape) / 3, types)
    assert found["sequence_invariance_all_pairs"][0] > np.log(1.2)
    assert found["sequence_share"][0] == pytest.approx(0.9, abs=0.05)


def test_both_sides_hold_the_same_types_and_only_one_is_confined_to_half_of_the_text(types):
    _, pairs, types = checked(np.random.default_rng(5).normal(size=(len(types), 5)), types)
    sequences = np.repeat(np.arange(N_SEQUENCES), N_TOKENS)
    assert len(pairs) == 8
    for few, many in pairs:
        assert (types[few] == types[many]).all()
        assert len(np.unique(sequences[few])) <= N_SEQUENCES // 2 < len(np.unique(sequences[many]))


def test_an_estimator_that_grows_with_the_number_of_points_would_be_caught(monkeypatch, types):
    """The check sees N, not the vocabulary: with d2 replaced by the naive participation ratio it fails."""

    def naive(points, sequences):
        spread = torch.linalg.svdvals(points - points.mean(0)) ** 2
        ratio = float(spread.sum() ** 2 / spread.square().sum())
        return ratio, ratio

    points = np.random.default_rng(2).normal(size=(400, 300))[types]
    points = points + 0.1 * np.random.default_rng(3).normal(size=points.shape)
    assert abs(checked(points, types)[0]["n_invariance"][0]) < np.log(1.1)
    monkeypatch.setattr(rows.second_order, "d2", naive)
    assert checked(points, types)[0]["n_invariance"][0] > np.log(1.2)


def test_omega_squared_of_pure_noise_is_zero_on_average():
    sequences = torch.arange(320) // 10
    shares = [
        rows.between_share(torch.randn(320, 30, generator=torch.Generator().manual_seed(s)), sequences)
        for s in range(20)
    ]
    assert np.mean(shares) == pytest.approx(0, abs=0.005)
