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


def compared(states, blocks=16):
    n = len(states[0])
    pairs = LayerPairs(np.arange(n), np.arange(n) * blocks // n)
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
    kept, moved = pairs.distributions(1)
    assert kept.values.mean() == pytest.approx(found["neighbour_overlap", 1, 2].value)
    assert moved.values.mean() == pytest.approx(found["displacement", 1, 2].value, rel=1e-4)
    assert (moved.rows == np.arange(160)).all()


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
