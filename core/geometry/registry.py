"""`ESTIMATORS`: every estimator by name, each a function of points alone.

`ESTIMATORS["two_nn"](points)` takes any (n_points, n_dims) float tensor or array and returns an `Estimate`. Errors come
from a jackknife that computes the estimate again without each block of sequences: slower than the shared tables of
`core.geometry.layer`, and independent of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.errors import EstimateError, unknown_name
from core.geometry import correlation, external, local, ratios, second_order, spectrum
from core.geometry.neighbours import TILE, first_copies, nearest
from core.geometry.resampling import log_interval
from core.records import Estimate


@dataclass(frozen=True)
class LabelledPoints:
    """What a formula works on."""

    points: Tensor
    """(n_points, n_dims) fp32"""
    sequences: Tensor
    """(n_points,) int64 in 0..S-1; all different where points are independent."""
    types: Tensor | None = None
    """(n_points,) int64, only for `d2_typed`."""

    def where(self, keep: Tensor) -> LabelledPoints:
        return LabelledPoints(self.points[keep], self.sequences[keep], None if self.types is None else self.types[keep])

    def distinct(self) -> LabelledPoints:
        everything = torch.ones(1, len(self.points), dtype=torch.bool, device=self.points.device)
        return self.where(first_copies(self.points, everything)[0])


class Reading(NamedTuple):
    """What a formula found."""

    value: float
    scale: float = math.nan
    n_dropped: int = 0
    notes: str = ""


Formula = Callable[[LabelledPoints], Reading]

# --- formulas on labelled points -------------------------------------------------------------------------------


def _without_copies(formula: Formula, cloud: LabelledPoints) -> Reading:
    """For what is based on small distances: exact copies are left out first, and counted."""
    distinct = cloud.distinct()
    reading = formula(distinct) if len(distinct.points) >= ratios.MIN_POINTS else Reading(math.nan)
    return reading._replace(n_dropped=len(cloud.points) - len(distinct.points))


def _by_neighbours(estimate: Callable[[Tensor], float], k: int, cloud: LabelledPoints) -> Reading:
    if len(cloud.points) <= k:
        return Reading(math.nan)
    distances = nearest(cloud.points, k).distances
    return Reading(estimate(distances), float(distances[:, -1].mean()))


def _gride_scan(cloud: LabelledPoints) -> Reading:
    """All scales up to N/8, read at n1 = 8; the notes say from where on the scan is flat, or its range."""
    n = len(cloud.points)
    scales = [n1 for n1 in ratios.GRIDE_SCALES if n >= 8 * n1]
    if ratios.GRIDE_READ_AT not in scales:
        return Reading(math.nan, notes=f"{n} points are too few for n1 = {ratios.GRIDE_READ_AT}")
    distances = nearest(cloud.points, 2 * scales[-1]).distances
    values = {n1: ratios.gride(distances, n1) for n1 in scales}
    flat = ratios.plateau(values)
    range_ = f"{min(values.values()):.1f} to {max(values.values()):.1f} over n1 = {scales[0]} to {scales[-1]}"
    notes = f"no plateau: {range_}" if flat is None else f"plateau from n1 = {flat}, n2 = {2 * flat}: {range_}"
    return Reading(values[ratios.GRIDE_READ_AT], float(distances[:, 2 * ratios.GRIDE_READ_AT - 1].mean()), notes=notes)


def _local_d2(k: int, cloud: LabelledPoints) -> Reading:
    if len(cloud.points) <= k:
        return Reading(math.nan)
    table = nearest(cloud.points, k)
    c2 = local.local_c2(table.points, table.indices, (k,))[k]
    return Reading(local.local_dimension(c2), float(table.distances[:, k - 1].mean()))


def _d2_typed(cloud: LabelledPoints) -> Reading:
    """Pairs over sum of cos^2, over pairs that differ both in type and in sequence: by every pair, tile by tile."""
    assert cloud.types is not None
    directions = torch.nn.functional.normalize(cloud.points - cloud.points.mean(0), dim=1)
    squares, pairs = 0.0, 0
    for start in range(0, len(directions), TILE):
        rows = slice(start, start + TILE)
        counted = cloud.sequences[rows, None] != cloud.sequences[None, :]
        counted &= cloud.types[rows, None] != cloud.types[None, :]
        cosines = directions[rows] @ directions.T
        squares += float((cosines.square_() * counted).sum(1).cpu().double().sum())
        pairs += int(counted.sum())
    return Reading(pairs / squares if squares > 0 else math.nan)


def _external(name: str, cloud: LabelledPoints) -> Reading:
    value, notes = external.fit(name, cloud.points)
    return Reading(value, notes=notes)


_BY_NEIGHBOURS: dict[str, Formula] = {
    "two_nn": partial(_by_neighbours, ratios.two_nn, 2),
    "two_nn_censored": partial(_by_neighbours, ratios.two_nn_censored, 2),
    "two_nn_linear": partial(_by_neighbours, ratios.two_nn_linear, 2),
    "mle": partial(_by_neighbours, ratios.mle, ratios.MLE_NEIGHBOURS),
    "gride": _gride_scan,
    **{f"gride_{n1}": partial(_by_neighbours, partial(ratios.gride, n1=n1), 2 * n1) for n1 in ratios.GRIDE_SCALES},
    **{f"local_d2_{k}": partial(_local_d2, k) for k in local.KS},
    "correlation_integral": lambda c: Reading(correlation.correlation_integral(c.points, c.sequences)),
}
_GLOBAL: dict[str, Formula] = {
    "d2": lambda c: Reading(second_order.d2(c.points, c.sequences)[0]),
    "d2_all_pairs": lambda c: Reading(second_order.d2(c.points, c.sequences)[1]),
    "participation_ratio": lambda c: Reading(second_order.participation_ratio(c.points)),
    "effective_rank": lambda c: Reading(spectrum.ranks(c.points)[0]),
    "stable_rank": lambda c: Reading(spectrum.ranks(c.points)[1]),
}

# --- points of any kind -> Estimate ----------------------------------------------------------------------------


def _estimate(
    name: str, formula: Formula, points, sequences=None, n_blocks: int | None = 16, *, types=None
) -> Estimate:
    """Run a formula on points, with a block jackknife; without `sequences`, points count as independent.

    points (n_points, n_dims); sequences (n_points,) integers, or None. Raises EstimateError for fewer than three
    distinct points. Blocks are groups of neighbouring sequences; `n_blocks` None or 0 leaves the error out.
    """
    cloud = _labelled(name, points, sequences, types)
    everyone = torch.ones(1, len(cloud.points), dtype=torch.bool, device=cloud.points.device)
    distinct = int(first_copies(cloud.points, everyone).sum())
    if distinct < ratios.MIN_POINTS:
        raise EstimateError(
            f"{name} needs at least {ratios.MIN_POINTS} distinct points; {len(cloud.points)} were given and "
            f"{distinct} are distinct. Give more points."
        )
    reading = formula(cloud)
    n = len(cloud.points) - reading.n_dropped
    notes = [] if sequences is not None else ["independent points assumed"]
    replicates = []
    if n_blocks:
        blocks = _blocks(cloud.sequences, n_blocks, shuffled=sequences is None)
        found = range(int(blocks.max()) + 1)
        if len(found) > 1:
            replicates = [formula(cloud.where(blocks != b)).value for b in found]
        else:
            notes.append("one sequence: no error")
    else:
        notes.append("no error estimated: ask for n_blocks")
    return log_interval(
        reading.value,
        replicates,
        scale=reading.scale,
        n_points=n,
        n_dropped=reading.n_dropped,
        notes="; ".join([*notes, *filter(None, [reading.notes])]),
    )


def _labelled(name: str, points, sequences, types) -> LabelledPoints:
    points = torch.as_tensor(np.asarray(points) if not isinstance(points, Tensor) else points).float()
    if points.ndim != 2 or len(points) < ratios.MIN_POINTS or not bool(torch.isfinite(points).all()):
        raise EstimateError(
            f"{name} needs a (n_points, n_dims) array of at least {ratios.MIN_POINTS} finite points; this one has "
            f"shape {tuple(points.shape)}. Drop rows with missing values or give more points."
        )

    def labels(values, what: str) -> Tensor:
        values = torch.as_tensor(np.asarray(values)) if not isinstance(values, Tensor) else values
        if values.shape != (len(points),):
            raise EstimateError(
                f"{name} needs one {what} for each of the {len(points)} points; {what}s have shape "
                f"{tuple(values.shape)}. Give a list as long as the points."
            )
        return torch.unique(values, return_inverse=True)[1].to(points.device)

    own = torch.arange(len(points), device=points.device)
    return LabelledPoints(
        points,
        own if sequences is None else labels(sequences, "sequence"),
        None if types is None else labels(types, "type"),
    )


def _blocks(sequences: Tensor, n_blocks: int, shuffled: bool) -> Tensor:
    """A block number for each point; the order of independent points means nothing, so it is shuffled."""
    n_labels = int(sequences.max()) + 1
    blocks = sequences * min(n_blocks, n_labels) // n_labels
    if shuffled:
        blocks = blocks[torch.randperm(len(blocks), generator=torch.Generator().manual_seed(0)).to(blocks.device)]
    return blocks


def _typed(points, sequences=None, n_blocks: int | None = 16, *, types) -> Estimate:
    """`types` (n_points,): the token id of each point."""
    return _estimate("d2_typed", _d2_typed, points, sequences, n_blocks, types=types)


def _local(points, sequences=None, n_blocks: int | None = 16, *, k: int = local.KS[-1]) -> Estimate:
    """`k`: neighbours of each point, at least 3."""
    if k < 3:
        raise EstimateError(f"local_d2 needs at least 3 neighbours of each point, not {k}. Raise k.")
    formula = partial(_without_copies, partial(_local_d2, k))
    return _estimate("local_d2", formula, points, sequences, n_blocks)


_WITH_OPTIONS: dict[str, Callable[..., Estimate]] = {"d2_typed": _typed, "local_d2": _local}


class Registry(dict[str, Callable[..., Estimate]]):
    """A dictionary that answers an unknown name with the near ones and all of them."""

    def __missing__(self, name: str) -> Callable[..., Estimate]:
        raise EstimateError(unknown_name("estimator", name, self))


ESTIMATORS = Registry(
    {name: partial(_estimate, name, formula) for name, formula in _GLOBAL.items()}
    | {name: partial(_estimate, name, partial(_without_copies, formula)) for name, formula in _BY_NEIGHBOURS.items()}
    | _WITH_OPTIONS
    | {
        name: partial(_estimate, name, partial(_without_copies, partial(_external, name)), n_blocks=None)
        for name in external.FITTERS
    }
)
"""Name -> function(points, sequences=None, n_blocks=16) -> Estimate.

`gride_8` is GRIDE at ranks 8 and 16, `gride` the same with the whole scan in its notes. `d2_typed` asks for types=,
`local_d2` takes k=. The `skdim_` ones come from scikit-dimension and give an error only where n_blocks is given.
"""
