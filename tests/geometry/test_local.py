"""The local second-order correlator against its definition, and its member sets against tables of their own."""

import math

import numpy as np
import pytest
import torch

from core.geometry import correlators, second_order
from core.geometry.neighbours import nearest


def gaussian(n_points: int, n_dims: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n_points, n_dims, generator=torch.Generator().manual_seed(seed))


def defined(points: torch.Tensor, neighbours: torch.Tensor) -> float:
    """C2_loc of one neighbourhood, word for word."""
    own = points[neighbours].double()
    k = len(own)
    directions = torch.nn.functional.normalize(own - own.mean(0), dim=1)
    squared_cosines = (directions @ directions.T).square()
    return float((squared_cosines.sum() - k) / (k * (k - 1)) - 1 / (k - 1) ** 2)


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_every_k_is_its_definition_far_from_the_origin_too(offset):
    points = gaussian(300, 12) + offset
    table = nearest(points, 40)
    found = correlators.local_c2(points, table.indices, (5, 20, 40))
    for k, values in found.items():
        expected = [defined(points, row[:k]) for row in table.indices]
        assert values.numpy() == pytest.approx(np.array(expected), rel=2e-3, abs=2e-5), k


@pytest.mark.parametrize(("n_dims", "reads"), [(5, 5.0), (10, 9.9), (20, 19.7), (50, 49.6), (100, 99.7)])
def test_gaussian_clouds_read_their_dimension_where_angles_at_the_point_read_four(n_dims, reads):
    points = gaussian(2048, n_dims, n_dims)
    c2 = correlators.local_c2(points, nearest(points, 50).indices, (50,))[50]
    assert correlators.local_dimension(c2) == pytest.approx(reads, rel=0.02)


def test_with_all_other_points_as_neighbours_it_becomes_d2():
    """Up to the correction for centring on k points, which d2 does not make: 1 / d2 - 1 / (N-1)^2."""
    points = gaussian(200, 8)
    c2 = correlators.local_c2(points, nearest(points, 199).indices, (199,))[199]
    plain = second_order.d2(points, torch.arange(200))[1]
    assert correlators.local_dimension(c2) == pytest.approx(plain, rel=5e-3)


@pytest.mark.parametrize("k", [20, 60])
def test_member_sets_read_what_their_points_alone_read(k):
    points = gaussian(500, 15)
    members = torch.ones(4, 500, dtype=torch.bool)
    for left_out in range(1, 4):
        members[left_out, left_out * 40 : left_out * 40 + 31] = False
    centres = torch.arange(0, 500, 5)
    indices = nearest(points, k + 40).indices
    found = correlators.local_d2_of_sets(points, indices[centres], members, centres, (k,))
    for member, value in zip(members, found[k], strict=True):
        alone = points[member]
        c2 = correlators.local_c2(alone, nearest(alone, k).indices, (k,))[k]
        own_centres = torch.isin(member.nonzero().squeeze(1), centres)
        assert value == pytest.approx(correlators.local_dimension(c2[own_centres]), rel=1e-4)


def test_a_centre_whose_stored_neighbours_run_out_is_left_out_of_that_set():
    points = gaussian(100, 5)
    indices = nearest(points, 10).indices
    members = torch.ones(2, 100, dtype=torch.bool)
    members[1, indices[0, :4]] = False  # centre 0 keeps 6 of its 10
    both = correlators.local_d2_of_sets(points, indices[:1], members, torch.tensor([0]), (6, 7))
    assert math.isfinite(both[6][1]) and math.isnan(both[7][1]) and math.isfinite(both[7][0])


def test_neighbours_that_coincide_have_no_dimension_and_do_not_spoil_the_mean():
    points = torch.cat([torch.zeros(30, 6), gaussian(200, 6) + 50])
    c2 = correlators.local_c2(points, nearest(points, 10).indices, (10,))[10]
    assert c2[:30].isnan().all() and not c2[30:].isnan().any()
    assert correlators.local_dimension(c2) == pytest.approx(6, rel=0.1)
    assert math.isnan(correlators.local_dimension(c2[:30]))
