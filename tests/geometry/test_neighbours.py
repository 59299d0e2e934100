"""Neighbour tables against brute force in double precision."""

import numpy as np
import pytest
import torch

from core.geometry.neighbours import first_copies, nearest


def brute_force(points: torch.Tensor, k: int) -> np.ndarray:
    x = points.double()
    distances = (x[:, None] - x[None]).norm(dim=2)
    distances.fill_diagonal_(torch.inf)
    return distances.sort(dim=1).values[:, :k].numpy()


@pytest.mark.parametrize("n_points", [3, 40, 1100])
def test_distances_are_those_of_brute_force(n_points):
    points = torch.randn(n_points, 12, generator=torch.Generator().manual_seed(n_points))
    k = min(20, n_points - 1)
    assert nearest(points, k).distances.numpy() == pytest.approx(brute_force(points, k), rel=1e-4)


def test_nearly_equal_points_far_from_the_origin_keep_their_distances():
    """Pairs 1e-3 apart at norm 100: the product form alone has lost every digit of their distance."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(200, 64, generator=generator) * 12
    points = torch.cat([centres, centres + 1e-3 * torch.randn(200, 64, generator=generator)])
    assert nearest(points, 3).distances.numpy() == pytest.approx(brute_force(points, 3), rel=1e-3)


def test_a_restricted_table_is_the_table_of_the_subset_even_where_stored_neighbours_run_out():
    points = torch.randn(600, 10, generator=torch.Generator().manual_seed(3))
    keep = torch.zeros(600, dtype=torch.bool)
    keep[torch.randperm(600, generator=torch.Generator().manual_seed(4))[:150]] = True
    for stored in (24, 500):  # 24 stored neighbours hold about 6 kept ones: far fewer than the 20 asked
        restricted = nearest(points, stored).restrict(keep, 20)
        assert restricted.numpy() == pytest.approx(brute_force(points[keep], 20), rel=1e-4)


def test_only_the_first_of_equal_rows_stays_in_each_member_set():
    points = torch.tensor([[1.0, 2.0], [0.0, -0.0], [1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    members = torch.tensor([[True] * 5, [False, True, True, True, True]])
    assert first_copies(points, members).tolist() == [
        [True, True, False, True, False],
        [False, True, True, True, False],
    ]
