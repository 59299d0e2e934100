"""The correlation integral: exact counts, pairs of one sequence left out, scikit-dimension beside it."""

import math

import numpy as np
import pytest
import skdim
import torch

from core.geometry import correlators
from core.geometry.clouds import jackknife_error
from core.geometry.neighbours import nearest


def cloud(n: int = 1100, n_dims: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, n_dims, generator=torch.Generator().manual_seed(seed))


def test_counts_are_those_of_every_pair():
    points, sequences = cloud(), torch.arange(1100) // 7
    members = torch.rand(3, 1100, generator=torch.Generator().manual_seed(1)) < 0.8
    radii = (1.0, 1.6)
    counts = correlators.pair_counts(points, sequences, members, radii)
    distances = torch.cdist(points.double(), points.double())
    counted = (sequences[:, None] != sequences[None]).triu(1)
    for s, member in enumerate(members):
        of_set = counted & member[:, None] & member[None]
        for r, radius in enumerate(radii):
            assert counts[s, r] == int(((distances < radius) & of_set).sum())


@pytest.mark.parametrize("n_dims", [2, 6, 20])
def test_without_sequences_it_is_that_of_scikit_dimension(n_dims):
    points = cloud(n_dims=n_dims)
    ours = correlators.correlation_integral(points, torch.arange(len(points)))
    assert ours == pytest.approx(skdim.id.CorrInt().fit(points.double().numpy()).dimension_, rel=1e-3)


def test_copies_within_a_sequence_hide_the_dimension_only_while_they_are_counted():
    """Each sequence repeats one point of a plane with noise in eight dimensions, as a text repeats a token."""
    generator = torch.Generator().manual_seed(0)
    sequences = torch.arange(1200) // 6
    places = torch.zeros(200, 8)
    places[:, :2] = torch.rand(200, 2, generator=generator)
    points = places[sequences] + 1e-3 * torch.randn(1200, 8, generator=generator)
    left_out = correlators.correlation_integral(points, sequences)
    counted = correlators.correlation_integral(points, torch.arange(1200))
    assert left_out == pytest.approx(2, rel=0.1)
    assert counted < 1.6


def test_errors_from_the_radii_of_the_whole_are_those_from_radii_of_each_set():
    ratios = []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        sequences = torch.arange(960) // 30
        points = 0.7 * torch.randn(32, 10, generator=generator)[sequences] + torch.randn(960, 10, generator=generator)
        members = torch.stack([sequences // 2 != block for block in range(16)])
        radii = correlators.median_radii(nearest(points, 20).distances[:, [9, 19]])
        fixed = correlators.correlation_of_sets(points, sequences, members, radii)
        own = [correlators.correlation_integral(points[m], sequences[m]) for m in members]
        ratios.append(jackknife_error(np.log(fixed)) / jackknife_error(np.log(own)))
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)


def test_undefined_where_no_pair_is_near_or_points_are_few():
    assert math.isnan(correlators.correlation_integral(cloud(), torch.zeros(1100, dtype=torch.int64)))
    assert math.isnan(correlators.correlation_integral(cloud(15), torch.arange(15)))
