"""Global dimensions from second-order correlators: d2 and the unbiased participation ratio.

d2 = 1 / mean of cos^2 over pairs of centred points from different sequences. It is the participation ratio of the
covariance of directions, with the diagonal removed: no 1/N bias, no weight for large norms (method: squared cosine
between distinct tokens; for isotropic points in d dimensions E cos^2 = 1/d exactly, so d2 = d).

The first part computes them on points alone; the second on a cloud of a run and on the cloud without each block, from
one pass over pairs (core.geometry.pairs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.errors import EstimateError
from core.geometry import pairs
from core.geometry.clouds import Cloud, LabelledPoints, Reading
from core.geometry.neighbours import TILE, NeighbourTable, first_copies
from core.geometry.pairs import COINCIDES

N_REMOVED = 3
"""Leading components that the `abtt3` transform removes."""

RESIDUE = 1e-6
"""Share of the variance that must be left: below it single precision has too few digits."""


def d2(points: Tensor, sequences: Tensor) -> tuple[float, float]:
    """(d2 without pairs of one sequence, d2 of all pairs) of points (n, n_dims) fp32, centred here.

    sequences (n,) int64, not negative. A point that coincides with the mean has no direction and is left out; NaN
    where no pair is left.
    """
    points = centred(points)
    squared_norms = points.square().sum(1)
    valid = squared_norms > COINCIDES * squared_norms.max()
    directions = points[valid] * squared_norms[valid].rsqrt()[:, None]
    n, n_dims = directions.shape
    if n < 3:
        return math.nan, math.nan
    product = directions @ directions.T if n <= n_dims else directions.T @ directions
    total = float(torch.dot(product.flatten(), product.flatten()))
    labels = sequences[valid]
    counts = torch.bincount(labels)
    within = float((counts == 1).sum())  # a point with itself has cosine 1
    for rows in torch.argsort(labels).split([c for c in counts.tolist() if c]):
        if len(rows) > 1:
            own = directions[rows]
            within += float((own @ own.T).square().sum())
    return _ratio(n * n - int((counts * counts).sum()), total - within), _ratio(n * n - n, total - n)


def centred(points: Tensor, members: Tensor | None = None) -> Tensor:
    """Points less the mean of the members (of all); exactly zero where they differ by round-off alone."""
    moved = points - (points if members is None else points[members]).mean(0)
    size, spread = points.square().sum(1).max(), moved.square().sum(1).max()
    return moved if float(spread) > 1e-11 * float(size) else torch.zeros_like(moved)


def halves_of_sequences(sequences: Tensor, between: Tensor, halves: Tensor) -> Tensor:
    """d2 of both halves of each split, (n_splits, 2): rows of one cloud, centred once on the cloud's own mean.

    sequences (n,) of the cloud's points, in 0..S-1; between (S, S) sums of squared cosines between two sequences;
    halves (n_splits, S) bool. Centring each half on its own mean would lower d2 where sequences cluster, 7 percent at
    the last layer of a real encoder, and so inflate a contraction.
    """
    counts = torch.bincount(sequences, minlength=halves.shape[1]).to(between.dtype)
    pairs = counts[:, None] * counts[None, :]
    between = between.clone()
    for matrix in (between, pairs):
        matrix.fill_diagonal_(0)
    sides = torch.stack([halves, ~halves], dim=1).to(between.dtype)  # (n_splits, 2, S)
    total = torch.einsum("hsa,ab,hsb->hs", sides, pairs, sides)
    return total / torch.einsum("hsa,ab,hsb->hs", sides, between, sides)


def leading_components(points: Tensor, members: Tensor, n_components: int) -> Tensor:
    """Leading principal directions of each subset, (n_sets, n_components, n_dims), by subspace iteration.

    points (n, n_dims), members (n_sets, n) bool with the whole cloud first. The whole cloud's directions start the
    others, which lack a sixteenth of it: two steps then suffice.
    """
    weight = members.to(points.dtype)
    n = weight.sum(1)
    means = weight @ points / n[:, None]
    width = min(n_components + 5, *points.shape)
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(points.shape[1], width, generator=generator).to(points)

    def step(basis: Tensor, which: slice) -> Tensor:
        scores = points @ basis - (means[which, None] @ basis)  # (n_sets, n, width)
        scores = scores * weight[which, :, None]
        image = (points.T @ scores) - means[which, :, None] * scores.sum(1, keepdim=True)
        return torch.linalg.qr(image.cpu())[0].to(points.device)  # (n_sets, n_dims, width)

    whole = basis[None]
    for _ in range(8):
        whole = step(whole, slice(0, 1))
    each = whole.expand(len(members), -1, -1)
    for _ in range(2):
        each = step(each, slice(0, len(members)))
    scores = (points @ each - means[:, None] @ each) * weight[:, :, None]
    # Decompositions of such small matrices run on the CPU: not every device has them.
    _, rotation = torch.linalg.eigh((scores.transpose(1, 2) @ scores).cpu().double())  # ascending
    return (each @ rotation.to(points)).transpose(1, 2).flip(1)[:, :n_components]


def participation_ratio(points: Tensor) -> float:
    """Unbiased participation ratio (tr S)^2 / tr S^2 of points (n, n_dims); NaN where it is undefined.

    Numerator and denominator are U-statistics: tr S^2 is the unbiased HSIC of the kernel with itself. The naive
    ratio of sample eigenvalues is biased by about 1/N: 144 for 200 Gaussian dimensions at N = 512.
    """
    points = centred(points)
    everything = torch.ones(1, len(points), dtype=torch.bool, device=points.device)
    if len(points) > points.shape[1]:
        moment = points.T @ points
        squares = torch.dot(moment.flatten(), moment.flatten())[None]
    else:
        gram = points @ points.T
        squares = torch.dot(gram.flatten(), gram.flatten())[None]
    return float(participation_ratios(points, everything, squares)[0])


def participation_ratios(points: Tensor, members: Tensor, squares: Tensor) -> np.ndarray:
    """`participation_ratio` of each subset; squares (n_sets,) sums of G_ij^2 over pairs of members, i = j included.

    It depends on differences of points alone, so the centring of the whole cloud serves every subset.
    """
    weight = members.to(points.dtype)
    n = weight.sum(1).cpu().double().numpy()
    norms = points.square().sum(1)
    totals = weight @ points  # (n_sets, n_dims)
    row_sums = (totals @ points.T - norms) * weight  # without the diagonal; (n_sets, n)
    trace, on_diagonal, total, of_rows, squared = (
        value.cpu().double().numpy()
        for value in (
            weight @ norms,
            weight @ norms.square(),
            totals.square().sum(1),
            row_sums.square().sum(1),
            squares,
        )
    )
    off = total - trace
    with np.errstate(divide="ignore", invalid="ignore"):
        second = squared - on_diagonal + off * off / ((n - 1) * (n - 2)) - 2 / (n - 2) * of_rows
        first = (n * trace - total) / (n * (n - 1))
        ratio = first * first / (second / (n * (n - 3)))
    return np.where((n >= 4) & (second > 0) & (first > 0), ratio, np.nan)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 and numerator > 0 else math.nan


def read_d2(cloud: LabelledPoints) -> Reading:
    return Reading(d2(cloud.points, cloud.sequences)[0])


def read_d2_all_pairs(cloud: LabelledPoints) -> Reading:
    return Reading(d2(cloud.points, cloud.sequences)[1])


def read_participation_ratio(cloud: LabelledPoints) -> Reading:
    return Reading(participation_ratio(cloud.points))


def read_d2_typed(cloud: LabelledPoints) -> Reading:
    """Pairs over sum of cos^2, over pairs that differ both in type and in sequence: by every pair, tile by tile."""
    if cloud.types is None:
        raise EstimateError("d2_typed needs the token type of each point: give types=.")
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


# --- a cloud and its member sets -------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlacedCloud:
    """A cloud's points on one layer, centred on the mean of the cloud itself (its first member set)."""

    cloud: Cloud
    points: Tensor
    """(n_union, hidden_size) fp32"""
    members: Tensor
    """(n_sets, n_union) bool"""


@dataclass(frozen=True)
class Scanned:
    """What one pass over the pairs of a cloud gave; arrays are (n_sets,) with the whole cloud first."""

    d2: np.ndarray
    d2_all_pairs: np.ndarray
    participation_ratio: np.ndarray
    """Empty where it was not asked for, as are all below."""
    halves: np.ndarray
    """(n_splits, 2)"""
    d2_typed: np.ndarray
    table: NeighbourTable


def place(states: Tensor, cloud: Cloud) -> PlacedCloud:
    points = states[torch.from_numpy(cloud.rows).to(states.device)]
    members = torch.from_numpy(cloud.members).to(states.device)
    moved = centred(points, members[0])
    # A coordinate that is constant but for round-off is constant.
    variances = members[0].to(points.dtype) @ moved.square() / members[0].sum()
    constant = variances.sqrt() <= 1e-6 * (points[0] - moved[0]).abs()
    return PlacedCloud(cloud, moved.masked_fill(constant, 0), members)


MIN_DISTINCT = 3
"""Two points are a line whatever they were drawn from."""


def why_no_cloud(placed: PlacedCloud) -> str:
    """What keeps a cloud from carrying any estimate: it has no spread but round-off, or less than three distinct points.

    Empty where it carries one.
    """
    distinct = int(first_copies(placed.points, placed.members[:1]).sum())
    if distinct == 1:
        return "all points are equal, or differ by round-off alone"
    return f"only {distinct} distinct points" if distinct < MIN_DISTINCT else ""


def scan_cloud(
    placed: PlacedCloud,
    *,
    k: int = 0,
    used: Tensor | None = None,
    halves: Tensor | None = None,
    typed: bool = False,
    ratio: bool = False,
) -> Scanned:
    """One pass over all pairs: always d2; on request `k` neighbours among the `used` points, d2 of `halves`
    (n_splits, n_sequences) bool, typed d2, participation ratio."""
    points, members, cloud = placed.points, placed.members, placed.cloud
    centred = pairs.directions(points, members)
    sequences = torch.from_numpy(cloud.sequences).to(points.device)
    columns = [centred.weights.T]
    if ratio:
        columns.append(members.T.to(points.dtype))
    if halves is not None:
        of_sequence = torch.nn.functional.one_hot(sequences, halves.shape[1]).to(points.dtype)
        columns.append(of_sequence * centred.weights[0][:, None])
    products, table = pairs.scan(points, torch.cat(columns, 1), k, used)
    by_weight, *others = products.split([column.shape[1] for column in columns], 1)
    everything = pairs.all_pairs(points, centred, by_weight)
    within = pairs.pairs_within(points, centred, cloud.sequence_groups)
    d2_typed = split = ratios = np.empty(0)
    if ratio:
        squares = torch.einsum("sn,ns->s", members.to(points.dtype), others.pop(0))
        ratios = participation_ratios(points, members, squares)
    if typed:
        of_type = pairs.pairs_within(points, centred, cloud.type_groups)
        of_both = pairs.pairs_within(points, centred, cloud.type_and_sequence_groups)
        d2_typed = everything.without(within, of_type.without(of_both)).d2
    if halves is not None:
        between = of_sequence.T @ (others.pop(0) * centred.weights[0][:, None])  # (S, S)
        between = (between + between.T) / 2
        split = halves_of_sequences(sequences[members[0]], between, halves).cpu().numpy()
    return Scanned(everything.without(within).d2, everything.d2, ratios, split, d2_typed, table)


def d2_without_components(placed: PlacedCloud) -> np.ndarray:
    """d2 after each member set lost its own leading components; (n_sets,).

    The components of the whole cloud are taken out of the points first, explicitly; a subset's own are nearly those,
    and the difference is a small move. NaN where they leave less than `RESIDUE` of the variance.
    """
    points, members = placed.points, placed.members
    own = leading_components(points, members, N_REMOVED)  # (n_sets, n_removed, n_dims)
    first = own[0]
    rest = points
    for _ in range(2):  # once leaves round-off of the large components behind
        rest = rest - (rest @ first.T) @ first
    of_whole = members[0]
    if not float(rest[of_whole].square().sum()) > RESIDUE * float(points[of_whole].square().sum()):
        return np.full(len(members), np.nan)
    taken = points @ first.T  # (n, n_removed)
    weight = members.to(points.dtype)
    means = weight / weight.sum(1, keepdim=True).clamp_min(1)  # (n_sets, n)
    # What a set's own components still find in the rest, and what they miss of the whole cloud's.
    found = torch.einsum("srd,nd->snr", own, rest) - torch.einsum("srd,sd->sr", own, means @ rest)[:, None]
    missed = first - (first @ own.transpose(1, 2)) @ own  # (n_sets, n_removed, n_dims)
    shifted = taken[None] - (means @ taken)[:, None]
    moved = pairs.directions(rest, members, torch.cat([own, missed], 1), torch.cat([-found, shifted], 2))
    products, _ = pairs.scan(rest, moved.weights.T)
    within = pairs.pairs_within(rest, moved, placed.cloud.sequence_groups)
    return pairs.all_pairs(rest, moved, products).without(within).d2


def d2_of_scaled(placed: PlacedCloud) -> np.ndarray:
    """d2 with every coordinate divided by its standard deviation on the cloud; (n_sets,).

    The scales are those of the whole cloud in every subset: leaving a block out moves them too little to matter.
    """
    spread = placed.points[placed.members[0]].std(0)
    scale = torch.where(spread > 0, 1 / spread.clamp_min(1e-30), 0.0)  # constant coordinates are left out
    return scan_cloud(PlacedCloud(placed.cloud, placed.points * scale, placed.members)).d2
