"""Nearest-neighbour dimensions of one cloud and of the cloud without each block, from one table of neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.geometry import ratios
from core.geometry.neighbours import NeighbourTable, SetNeighbours, nearest, within_sets

RANKS = (1, 2, 4, 8, 10, 16, 20, 32, 64)
"""Ranks whose distances are kept: those of GRIDE, of the maximum-likelihood estimator and of the correlation radii."""
LOCAL = 8
"""GRIDE stops where its outer neighbour is farther than N / 4 ranks away: no neighbourhood any more."""


@dataclass(frozen=True)
class Reading:
    """One estimator at one scale, on the whole cloud and without each block."""

    estimator: str
    n1: int | None
    n2: int
    value: float
    blocks: list[float]
    mean_distance: float
    """Mean distance of the outer neighbour."""


def stored_neighbours(n_points: int, n_union: int) -> int:
    """How many neighbours to store so that nearly every row finds 64 of them in each member set.

    A member set holds n_points of the n_union rows, and blocks are not spread evenly over neighbourhoods.
    """
    return math.ceil(RANKS[-1] * 1.1 * n_union / max(n_points, 1)) + 8


def distances_of_sets(table: NeighbourTable, distinct: Tensor) -> SetNeighbours:
    """What `neighbour_readings` needs; distinct (n_sets, n) bool are member sets without exact copies."""
    return within_sets(table, distinct, RANKS, ratios.MLE_NEIGHBOURS)


def readings_of_points(points: Tensor) -> list[Reading]:
    """The readings of a cloud alone, without subsets; points (n, n_dims) without exact copies."""
    everyone = torch.ones(1, len(points), dtype=torch.bool, device=points.device)
    return neighbour_readings(distances_of_sets(nearest(points, RANKS[-1]), everyone), everyone)


def neighbour_readings(found: SetNeighbours, distinct: Tensor) -> list[Reading]:
    """TwoNN in three forms, MLE and the GRIDE scan, from `distances_of_sets` of the same member sets."""
    distances = found.distances.cpu().double()  # small by now, and Apple's GPUs have no double precision
    whole = distances[0][distinct[0].cpu()]  # (n_points, n_ranks)
    n = len(whole)
    if n < ratios.MIN_POINTS:
        return []
    # Ranks that a set is too small for, and points at one place, stay undefined.
    logs = torch.where(distances > 0, distances.log(), torch.nan).numpy()
    count = distinct.sum(1).cpu().numpy()
    readings = []

    def add(estimator: str, n1: int | None, n2: int, value: float, blocks: np.ndarray) -> None:
        readings.append(Reading(estimator, n1, n2, value, blocks.tolist(), float(whole[:, RANKS.index(n2)].mean())))

    if n > 2:
        ratio = np.maximum(logs[:, :, 1] - logs[:, :, 0], 0)
        of_sets = _undefined_if_empty(count - 1, np.nansum(ratio, 1))
        add("two_nn", 1, 2, ratios.two_nn(whole[:, :2]), of_sets[1:])
        for name, function in (("two_nn_censored", ratios.two_nn_censored), ("two_nn_linear", ratios.two_nn_linear)):
            add(name, 1, 2, function(whole[:, :2]), _each(function, distances, distinct))
    if n > ratios.MLE_NEIGHBOURS:
        of_sets = _mle(found, logs, count)
        add("mle", None, ratios.MLE_NEIGHBOURS, of_sets[0], of_sets[1:])
    for n1 in ratios.GRIDE_SCALES:
        if n >= LOCAL * n1 and n > 2 * n1:
            inner, outer = RANKS.index(n1), RANKS.index(2 * n1)
            value = ratios.gride(_as_table(whole, n1, inner, outer), n1)
            add("gride", n1, 2 * n1, value, _gride_of_sets(logs, count, n1, inner, outer, value))
    return readings


def _mle(found: SetNeighbours, logs: np.ndarray, count: np.ndarray) -> np.ndarray:
    """sum_{j<k} log(r_k / r_j) = k log r_k - sum_{j<=k} log r_j, summed over points."""
    k = ratios.MLE_NEIGHBOURS
    spread = k * logs[:, :, RANKS.index(k)] - found.log_sums.cpu().double().numpy()
    return _undefined_if_empty((k - 1) * count, np.nansum(spread, 1))


def _gride_of_sets(logs: np.ndarray, count: np.ndarray, n1: int, inner: int, outer: int, value: float) -> np.ndarray:
    """The moment estimate of each subset, scaled so that it meets the likelihood's root on the whole cloud.

    The moment estimate (H_{n2-1} - H_{n1-1}) / mean log mu has 99.9 percent of the likelihood's information.
    """
    log_mu = np.maximum(logs[:, :, outer] - logs[:, :, inner], 0)
    moment = _undefined_if_empty(count, np.nansum(log_mu, 1))
    return moment[1:] * (value / moment[0])


def _each(function: Callable[[Tensor], float], distances: Tensor, distinct: Tensor) -> np.ndarray:
    members = distinct.cpu()
    return np.array([function(distances[s][members[s]][:, :2]) for s in range(1, len(members))])


def _as_table(whole: Tensor, n1: int, inner: int, outer: int) -> Tensor:
    """A table of 2 n1 columns of which `ratios.gride` reads the columns of ranks n1 and 2 n1."""
    table = whole.new_full((len(whole), 2 * n1), math.nan)
    table[:, n1 - 1], table[:, 2 * n1 - 1] = whole[:, inner], whole[:, outer]
    return table


def _undefined_if_empty(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    good = np.isfinite(denominator) & (denominator > 0)
    return np.divide(numerator, denominator, out=np.full(len(denominator), np.nan), where=good)
