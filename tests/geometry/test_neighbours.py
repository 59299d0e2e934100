"""Neighbour tables against brute force in double precision."""

import numpy as np
import pytest
import torch

from core.geometry import neighbours
from core.geometry.clouds import first_copies
from core.geometry.neighbours import nearest, within_sets


def brute_force(points: torch.Tensor, k: int) -> np.ndarray:
    x = points.double()
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")  # of differences, without gigabytes
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


def test_neighbours_within_subsets_are_those_of_the_subset_even_where_stored_ones_run_out():
    points = torch.randn(600, 10, generator=torch.Generator().manual_seed(3))
    members = torch.zeros(2, 600, dtype=torch.bool)
    members[0] = True
    members[1, torch.randperm(600, generator=torch.Generator().manual_seed(4))[:150]] = True
    ranks = (1, 2, 8, 20)
    for stored in (24, 500):  # 24 stored neighbours hold about 6 of the 150: far fewer than the 20 asked
        found = within_sets(nearest(points, stored), members, ranks, sum_to=20)
        for which, member in enumerate(members):
            expected = brute_force(points[member], 20)
            of_ranks = expected[:, [r - 1 for r in ranks]]
            assert found.distances[which][member].numpy() == pytest.approx(of_ranks, rel=1e-4)
            assert found.log_sums[which][member].numpy() == pytest.approx(np.log(expected).sum(1), rel=1e-4)
            assert found.distances[which][~member].isnan().all()


def test_ranks_that_a_subset_is_too_small_for_are_missing():
    points = torch.randn(50, 4, generator=torch.Generator().manual_seed(5))
    members = torch.zeros(1, 50, dtype=torch.bool)
    members[0, :6] = True
    found = within_sets(nearest(points, 49), members, (1, 5, 6), sum_to=5)
    assert found.distances[0, :6, :2].isfinite().all() and found.distances[0, :, 2].isnan().all()


def test_only_the_first_of_equal_rows_stays_in_each_member_set():
    points = torch.tensor([[1.0, 2.0], [0.0, -0.0], [1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    members = torch.tensor([[True] * 5, [False, True, True, True, True]])
    assert first_copies(points, members).tolist() == [
        [True, True, False, True, False],
        [False, True, True, True, False],
    ]


SIGNS = torch.randint(0, 2, (2000, 12), generator=torch.Generator().manual_seed(7)) * 2.0 - 1
HALF_PLANE = torch.randn(500, 2, generator=torch.Generator().manual_seed(8))


@pytest.mark.parametrize(
    "points",
    [SIGNS, torch.eye(513), torch.cat([HALF_PLANE, HALF_PLANE * torch.tensor([1.0, -1.0])]), SIGNS[:, :11].abs() - 1],
    ids=["signs", "one-hot", "mirrored", "all-equal"],
)
def test_points_that_differ_in_few_bits_are_no_copies(points):
    everything = torch.ones(1, len(points), dtype=torch.bool)
    assert int(first_copies(points, everything).sum()) == len(torch.unique(points, dim=0))


@pytest.mark.parametrize("spread", [1e-3, 1e-4])
def test_neighbours_in_clusters_far_smaller_than_their_distance_from_the_mean_are_the_right_ones(spread):
    """The product form cannot tell the members of such a cluster apart, not even which are the candidates."""
    generator = torch.Generator().manual_seed(6)
    centres = torch.randn(20, 200, generator=generator)
    points = centres.repeat_interleave(60, 0) + spread * torch.randn(1200, 200, generator=generator)
    np.testing.assert_allclose(nearest(points, 20).distances.numpy(), brute_force(points, 20), rtol=1e-2)


@pytest.mark.parametrize("kind", ["spread", "sorted", "copies", "hidden", "few columns"])
def test_the_smallest_are_the_smallest_however_values_lie(kind):
    """A sample of the columns says where to look; where it misleads, all are looked at."""
    values = torch.randn(40, 400 if kind == "few columns" else 4096, generator=torch.Generator().manual_seed(0))
    if kind == "sorted":
        values = values.sort(dim=1).values
    elif kind == "copies":
        values = values.round()
    elif kind == "hidden":
        values[:, torch.arange(4096) % 8 == 0] = torch.inf  # all of the sampled ones
    k = 68
    assert (neighbours._few_candidates(values, k) is None) == (kind in ("copies", "hidden", "few columns"))
    found, columns = neighbours._smallest(values, k)
    assert torch.equal(found, values.topk(k, dim=1, largest=False).values)
    assert torch.equal(values.gather(1, columns), found)
    assert all(len(set(row)) == k for row in columns.tolist())
