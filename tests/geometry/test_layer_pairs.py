"""Layer x layer matrices against pairs counted by hand, known limits, and their own errors."""

import numpy as np
import pytest
import torch

from core.geometry.layer_pairs import LayerPairs, points_within


def walk(n_layers=5, n=160, n_dims=24, step=0.5, seed=0):
    """States that take a random step at each layer."""
    generator = torch.Generator().manual_seed(seed)
    states = [torch.randn(n, n_dims, generator=generator) + 2]
    for _ in range(n_layers - 1):
        states.append(states[-1] + step * torch.randn(n, n_dims, generator=generator))
    return states


def compared(states, blocks=16, sequences=32):
    n = len(states[0])
    pairs = LayerPairs(np.arange(n), np.arange(n) * sequences // n, np.arange(n) * blocks // n)
    for state in states:
        pairs.add(state)
    return pairs, {(p.measure, p.layer_a, p.layer_b): p for p in pairs.values()}


def test_every_measure_equals_its_definition():
    states = walk()
    _, found = compared(states)
    a, b = states[1].double(), states[3].double()
    n, k = len(a), 1
    ua, ub = (torch.nn.functional.normalize(x - x.mean(0), dim=1) for x in (a, b))
    assert found["autocorrelation", 1, 3].value == pytest.approx(float((ua * ub).sum(1).mean()), abs=1e-5)
    ra, rb = (torch.nn.functional.normalize(x, dim=1) for x in (a, b))
    assert found["autocorrelation_raw", 1, 3].value == pytest.approx(float((ra * rb).sum(1).mean()), abs=1e-5)
    distances = [torch.cdist(x, x).fill_diagonal_(torch.inf) for x in (a, b)]
    nearest = [d.argsort(1)[:, :k] for d in distances]
    shared = np.mean([len(set(i.tolist()) & set(j.tolist())) / k for i, j in zip(*nearest, strict=True)])
    assert found["neighbour_overlap", 1, 3].value == pytest.approx(shared, abs=1e-6)
    rank = distances[1].argsort(1).argsort(1) + 1
    imbalance = 2 / n * float(rank.gather(1, nearest[0][:, :1]).double().mean())
    assert found["information_imbalance", 1, 3].value == pytest.approx(imbalance, rel=1e-5)


def test_alignment_is_unbiased():
    """Two unrelated clouds have CKA 0; the biased form would read D / N."""
    generator = torch.Generator().manual_seed(3)
    values = []
    for _ in range(12):
        states = [torch.randn(120, 60, generator=generator) for _ in range(2)]
        values.append(compared(states)[1]["cka", 0, 1].value)
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values)) + 1e-3
    assert compared(walk())[1]["cka", 2, 2].value == pytest.approx(1, abs=1e-5)


def test_the_error_of_alignment_is_the_exact_jackknife():
    states = walk(n_layers=3)
    _, found = compared(states, blocks=8)
    values = []
    for block in range(8):
        keep = np.arange(160) * 8 // 160 != block
        values.append(compared([s[torch.from_numpy(keep)] for s in states], blocks=7)[1]["cka", 0, 2].value)
    expected = np.sqrt(7 / 8 * np.sum((np.array(values) - np.mean(values)) ** 2))
    assert found["cka", 0, 2].std_error == pytest.approx(expected, rel=1e-3)


def together(a, b, sequences, order=None):
    """d2 of both clouds and C between them, pair by pair; `order` permutes the tokens of the second."""
    ua, ub = (torch.nn.functional.normalize(x.double() - x.double().mean(0), dim=1) for x in (a, b))
    cosines = [ua @ ua.T, ub @ ub.T if order is None else (ub @ ub.T)[order][:, order]]
    differ = torch.from_numpy(sequences[:, None] != sequences[None, :])
    if order is not None:
        differ &= torch.from_numpy(sequences[order][:, None] != sequences[order][None, :])
    x, y = (c[differ] for c in cosines)
    return 1 / float((x * x).mean()), 1 / float((y * y).mean()), float((x * y).mean())


def uneven(n_layers=3, n=160):
    """One direction dominates, and sequences share an offset: where centring anew and leaving out pairs matter."""
    generator = torch.Generator().manual_seed(7)
    states = walk(n_layers, n)
    offsets = torch.randn(32, 24, generator=generator).repeat_interleave(n // 32, 0)
    return [s * torch.tensor([6.0] + [1.0] * 23) + offsets for s in states]


def test_what_layers_have_in_common_is_counted_over_pairs_of_different_sequences():
    states, sequences = uneven(), np.arange(160) * 32 // 160
    _, found = compared(states)
    d2_a, d2_b, c = together(states[0], states[2], sequences)
    kept = d2_a * d2_b * c
    assert found["common_correlator", 0, 2].value == pytest.approx(c, rel=1e-4)
    assert found["common_correlator", 0, 0].value == pytest.approx(1 / d2_a, rel=1e-4)
    assert found["common_dimension", 0, 2].value == pytest.approx(1 / c, rel=1e-4)
    assert found["common_dimension", 0, 2].value >= np.sqrt(d2_a * d2_b)
    assert found["kept", 0, 2].value == pytest.approx(kept, rel=1e-4)
    assert found["removed", 0, 2].value == pytest.approx(d2_a - kept, rel=1e-3)
    assert found["added", 0, 2].value == pytest.approx(d2_b - kept, rel=1e-3)


def test_its_errors_are_the_exact_jackknife():
    """Every block left out, the rest centred anew, and both dimensions and C recomputed."""
    states, sequences, blocks = uneven(), np.arange(160) * 32 // 160, np.arange(160) * 8 // 160
    _, found = compared(states, blocks=8)
    without = [
        together(*(states[layer][torch.from_numpy(blocks != b)] for layer in (0, 2)), sequences[blocks != b])
        for b in range(8)
    ]
    quantities = {
        "common_correlator": [c for _, _, c in without],
        "kept": [x * y * c for x, y, c in without],
        "removed": [x - x * y * c for x, y, c in without],
        "added": [y - x * y * c for x, y, c in without],
    }
    for measure, values in quantities.items():
        expected = np.sqrt(7 / 8 * np.sum((np.array(values) - np.mean(values)) ** 2))
        assert found[measure, 0, 2].std_error == pytest.approx(expected, rel=1e-3), measure


def test_the_null_is_what_permuted_tokens_give():
    states, sequences = uneven(n=96), np.arange(96) * 32 // 96
    _, found = compared(states)
    generator = np.random.default_rng(0)
    drawn = [together(states[0], states[2], sequences, generator.permutation(96)) for _ in range(1500)]
    values = np.array([c for _, _, c in drawn])
    null = found["common_correlator", 0, 2]
    assert null.null_value == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(1500))
    assert null.null_spread == pytest.approx(values.std(), rel=0.1)
    scale = found["kept", 0, 0].value * found["kept", 2, 2].value
    assert found["kept", 0, 2].null_spread == pytest.approx(scale * null.null_spread, rel=1e-5)


def test_the_nulls_of_overlap_and_alignment():
    first, _, last = walk(n_layers=3, n=96)
    generator = np.random.default_rng(0)
    found = [compared([first, last[generator.permutation(96)]])[1] for _ in range(40)]
    for measure in ("neighbour_overlap", "information_imbalance", "cka"):
        values = np.array([one[measure, 0, 1].value for one in found])
        null = found[0][measure, 0, 1]
        assert null.null_value == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(40)), measure
    assert null.null_spread == pytest.approx(values.std(), rel=0.3)


@pytest.mark.parametrize(
    ("before", "after", "shared"),
    [(100, 100, 40), (20, 100, 20), (60, 60, 0)],
    ids=["40 of 100", "20 into 100", "none"],
)
def test_the_directions_that_are_kept_are_counted(before, after, shared):
    """Isotropic clouds of which some columns are the same at both layers; n = 900, so that chance is near nothing."""
    generator = torch.Generator().manual_seed(before)
    first, other = torch.zeros(900, 160), torch.zeros(900, 160)
    first[:, :before] = torch.randn(900, before, generator=generator)
    other[:, :shared] = first[:, :shared]
    other[:, before : before + after - shared] = torch.randn(900, after - shared, generator=generator)
    turn = torch.linalg.qr(torch.randn(160, 160, generator=generator))[0]
    _, found = compared([first, 3 * other @ turn])
    kept, removed, added = (found[name, 0, 1] for name in ("kept", "removed", "added"))
    assert kept.value == pytest.approx(shared, abs=3 * kept.null_spread + 0.01 * shared)
    assert abs(kept.value - shared) < 4 * kept.std_error
    assert removed.value == pytest.approx(before - shared, abs=2.5)
    assert added.value == pytest.approx(after - shared, abs=2.5)


def test_points_without_spread_have_nothing_in_common():
    states = walk(n_layers=2)
    _, found = compared([states[0], torch.ones_like(states[1])])
    assert [found[name, 0, 1].value for name in ("common_correlator", "common_dimension", "kept")] == [None] * 3
    assert np.isfinite(found["kept", 0, 0].value)


def test_limits_and_invariances():
    states = walk()
    _, found = compared(states)
    rotation = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(1)))[0]
    _, turned = compared([2 * s @ rotation for s in states])
    for key, pair in found.items():
        assert turned[key].value == pytest.approx(pair.value, abs=2e-3), key
    n = len(states[0])
    assert found["displacement", 2, 2].value == pytest.approx(0, abs=1e-6)
    assert found["neighbour_overlap", 2, 2].value == 1
    assert found["information_imbalance", 2, 2].value == pytest.approx(2 / n)


def test_a_random_walk_in_many_dimensions_has_exponent_one():
    states = walk(n_layers=12, n=200, n_dims=400, step=0.05)
    exponent = compared(states)[1]["displacement_exponent", 1, 10]
    assert exponent.value == pytest.approx(1, abs=0.05)
    assert 0 < exponent.std_error < 0.05


def test_what_a_token_does_between_layers():
    pairs, found = compared(walk())
    kept, moved, written = pairs.distributions(1)
    assert kept.values.mean() == pytest.approx(found["neighbour_overlap", 1, 2].value)
    assert moved.values.mean() == pytest.approx(found["displacement", 1, 2].value, rel=1e-4)
    assert (moved.rows == np.arange(160)).all()
    before, after = walk()[1:3]
    assert written.values == pytest.approx(((after - before).norm(dim=1) / after.norm(dim=1)).numpy(), rel=1e-3)


def test_the_sub_sample_keeps_to_the_budget():
    assert points_within(2**30, 31, 576, 800) == 800
    few = points_within(128 * 2**20, 31, 576, 800)
    assert 64 < few < 800
    assert 31 * (3 * few * 576 * 4 + few * few * 12) <= 128 * 2**20


def test_no_point_is_its_own_neighbour_however_large_the_norms():
    states = walk(n_layers=2)
    states = [1000 * torch.cat([s, s + 1e-4]) for s in states]
    _, found = compared(states)
    assert found["information_imbalance", 0, 0].value == pytest.approx(2 / 320)
