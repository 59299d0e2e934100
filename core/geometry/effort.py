"""Predicts computing time and memory of one layer's geometry from its plan, before anything is measured.

Four kinds of work are counted and weighted by their cost on one thread of one machine. The weights were fitted by least
squares on relative errors to 21 layers (300 to 2,000 types, 32 to 3,072 dimensions, all protocols); predictions are
within 25 percent there. The self-test (core/forecast/speed.py) measures how much faster or slower another machine is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch

from core.geometry.clouds import Cloud
from core.geometry.layer import CloudPlan
from core.geometry.local import CENTRES, GRAM_BYTES, KS, WIDE_CENTRES, WIDE_KS
from core.geometry.neighbour_dimensions import RANKS, stored_neighbours
from core.geometry.pairs import TILE
from core.geometry.spectrum import one_thread
from core.registry.estimators import CLOUD, find_estimator
from core.registry.specifications import Specification


@dataclass(frozen=True)
class Effort:
    """Amounts of work; used as weights: seconds per unit of each kind."""

    products: float = 0.0
    """Multiplications over all pairs of points."""
    pairs: float = 0.0
    """Pairs in neighbour searches."""
    members: float = 0.0
    """Stored neighbours times member sets."""
    small_products: float = 0.0
    """Multiplications within neighbourhoods and between axes."""

    def __add__(self, other: Effort) -> Effort:
        return Effort(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


PER_STORED = 8
"""Bytes per member set, point and stored neighbour while neighbours are restricted to member sets."""
COPIES = 6
"""Number of copies of a cloud's points in memory at once."""
SECONDS = Effort(products=2.36e-11, pairs=1.98e-8, members=2.87e-10, small_products=4.41e-11)


def layer_seconds(plan: CloudPlan, hidden_size: int) -> float:
    """Time of `measure_layer` on the reference machine of the weights, without further estimators."""
    effort = layer_effort(plan, hidden_size)
    return sum(amount * each for amount, each in zip(astuple(effort), astuple(SECONDS), strict=True))


def layer_bytes(plan: CloudPlan, hidden_size: int) -> int:
    """Peak memory of `measure_layer`, the layer's states included."""
    clouds = [*plan.draws[:1], *plan.word_draws[:1], *plan.others]
    sizes = [(len(cloud.rows), len(cloud.members) * _finds_neighbours(plan, cloud)) for cloud in clouds]
    sizes += [(len(rows), 1) for rows in plan.prompts]
    # Of a tile: distances, their squares, and which columns are the nearest.
    of_cloud = max(
        (n * (COPIES * hidden_size * 4 + n_sets * 90 * PER_STORED + 5 * TILE * 4) for n, n_sets in sizes), default=0
    )
    products = 8 * len(plan.draws[0].rows) ** 2 if plan.has_pairs else 0
    return 2 * len(plan.blocks) * hidden_size * 4 + of_cloud + min(products, GRAM_BYTES)


def _finds_neighbours(plan: CloudPlan, cloud: Cloud) -> bool:
    return cloud.name not in plan.core_only or any(s.n2 for s in plan.specifications(cloud.name))


def layer_effort(plan: CloudPlan, hidden_size: int) -> Effort:
    total = Effort()
    for draws in (plan.draws, plan.word_draws, *([cloud] for cloud in plan.others)):
        for number, cloud in enumerate(draws):
            total += _scan(cloud, hidden_size, number == 0 and _finds_neighbours(plan, cloud))
    for cloud in [*plan.draws[:1], *plan.others]:
        if cloud.name not in plan.core_only:
            total += _ranks(cloud, hidden_size)
    for cloud in [*plan.draws[:1], *plan.word_draws[:1], *plan.others]:
        total += _specified(cloud, hidden_size, plan.specifications(cloud.name))
    if plan.has_pairs:
        total += _types(plan.draws[0], hidden_size, plan.n_surrogates, wide=not plan.core_only)
    for rows in plan.prompts:
        total += Effort(products=len(rows) ** 2 * hidden_size, pairs=len(rows) ** 2)
    return total


def _scan(cloud: Cloud, hidden_size: int, with_neighbours: bool) -> Effort:
    """One pass over pairs; without neighbours each pair is computed once."""
    n_sets, n = cloud.members.shape
    if not with_neighbours:
        return Effort(products=n * n * (hidden_size + n_sets) / 2)
    k = stored_neighbours(cloud.n_points, n)
    return Effort(products=n * n * (hidden_size + 2 * n_sets), pairs=n * n, members=n_sets * n * k)


def _specified(cloud: Cloud, hidden_size: int, of_cloud: list[Specification]) -> Effort:
    """Work for specifications of a cloud: transforms, each with its own pass over pairs; neighbours of other windows.

    If neighbours must also differ in type, the stored ones are too few and about half of the rows are searched again.
    """
    n_sets, n = cloud.members.shape
    pairs_formed = len({s.transform == "zscore" for s in of_cloud if s.transform != "centred"}) / 2
    work = Effort(products=pairs_formed * n**2 * (hidden_size + n_sets))
    differing = [s.n2 for s in of_cloud if s.n2]
    if differing:
        k = stored_neighbours(cloud.n_points, n, max(differing))
        sought = 0.5 if any(s.estimator == "gride_typed" for s in of_cloud) else 0.0
        work += Effort(products=sought * n**2 * hidden_size, pairs=sought * n**2, members=n_sets * n * k)
    return work


def _types(cloud: Cloud, hidden_size: int, n_surrogates: int, *, wide: bool) -> Effort:
    """Work for the primary cloud only: local dimensions, surrogates, pair counts."""
    n, n_union = cloud.n_points, len(cloud.rows)
    near = n * max(KS) ** 2 + CENTRES * (1.25 * RANKS[-1]) ** 2
    ks = [k for k in WIDE_KS if wide and 2 * k <= n]
    if ks:
        near += WIDE_CENTRES * (1.25 * ks[-1] * n_union / n + 32) ** 2
    return Effort(
        products=hidden_size * (0.5 * n_union**2 + 2 * n_surrogates * n**2),
        pairs=(n_surrogates + 1) * n**2,
        small_products=near * hidden_size,
    )


def _ranks(cloud: Cloud, hidden_size: int) -> Effort:
    """One eigendecomposition, and its perturbation for each block left out."""
    n_sets, n = cloud.members.shape
    axes = min(cloud.n_points, hidden_size)
    return Effort(products=2 * n * hidden_size * axes, small_products=n_sets * hidden_size**2 * n / 8)


def extra_work(names: Sequence[str], n_points: int) -> float:
    """Cost of a run's additional estimators in units of `unit_seconds`; it grows with the number of pairs."""
    return sum(find_estimator(name).cost for name in names) * (n_points / CLOUD[0]) ** 2


def unit_seconds() -> float:
    """Current t1 of this machine on a cloud of size `CLOUD`; the second of two tries is timed."""
    points = torch.randn(*CLOUD, generator=torch.Generator().manual_seed(0))
    norms = points.square().sum(1)
    with one_thread():
        for _ in range(2):
            start = time.perf_counter()
            for rows in points.split(TILE):
                (norms - 2 * rows @ points.T).topk(64, largest=False)
        return time.perf_counter() - start
