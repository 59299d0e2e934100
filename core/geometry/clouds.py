"""From tokens to point clouds and blocks of text, and from values on them to estimates with errors and, by a table, with
their Gaussian equivalents.

A cloud is drawn for the whole text and with each block of text left out. One seeded permutation of the masked tokens
determines the selection: `one_per_type` takes the first occurrence of each token type, `all_tokens` takes the first
tokens. Leaving a block out repeats the draw on the remaining tokens, so a type that loses its token is represented by
its next remaining occurrence. Filtering rows instead would lose types as well and overestimate the jackknife error by
20 to 40 percent on real tokens.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy import special
from torch import Tensor

from core.files import REFERENCE
from core.records import Estimate


@dataclass(frozen=True)
class Cloud:
    """The union of the tokens of all member sets, and the member sets themselves."""

    name: str
    rows: np.ndarray
    """Positions in the table of masked tokens; (n_union,) int64."""
    members: np.ndarray
    """Member sets; (1 + n_blocks, n_union) bool. Row 0 is the whole cloud, row 1 + b the cloud without block b."""
    sequences: np.ndarray
    """Sequence of each union row; (n_union,) int64."""
    types: np.ndarray
    """Token type of each union row; (n_union,) int64."""

    @property
    def n_points(self) -> int:
        return int(self.members[0].sum())

    @cached_property
    def sequence_groups(self) -> list[np.ndarray]:
        """Union rows grouped by sequence, in the format of `grouped`."""
        return grouped(self.sequences)

    @cached_property
    def type_groups(self) -> list[np.ndarray]:
        return grouped(self.types)

    @cached_property
    def type_and_sequence_groups(self) -> list[np.ndarray]:
        return grouped(self.types * (int(self.sequences.max()) + 1) + self.sequences)


@dataclass(frozen=True)
class Tokens:
    """The masked tokens that clouds are drawn from; each array is (n_tokens,)."""

    types: np.ndarray
    sequences: np.ndarray
    blocks: np.ndarray
    n_blocks: int


def one_per_type(order: np.ndarray, tokens: Tokens, limit: int) -> Cloud:
    """The first token of each type in the permutation `order` (n_tokens,), for at most `limit` types."""
    return _assemble("one_per_type", _first_of_each(tokens.types, limit), order, tokens, np.arange(len(order)))


def one_per_word(order: np.ndarray, words: np.ndarray, rows: np.ndarray, tokens: Tokens, limit: int) -> Cloud:
    """One occurrence of each surface word, represented by the state of the last token that covers it.

    order (n_occurrences,) permutation; words (n_occurrences,) word ids; rows (n_occurrences,) masked token of each
    occurrence. Words that share a token share a point; d2 ignores pairs within a sequence.
    """
    return _assemble("one_per_word", _first_of_each(words, limit), order, tokens, rows)


def all_tokens(order: np.ndarray, tokens: Tokens, limit: int) -> Cloud:
    """The first `limit` tokens of the permutation `order`."""
    return _assemble("all_tokens", lambda items: items[:limit], order, tokens, np.arange(len(order)))


def last_token(last: np.ndarray, tokens: Tokens) -> Cloud:
    """The last token of each sequence; last (n_sequences,) holds their rows."""
    return _assemble("last_token", lambda items: items, np.arange(len(last)), tokens, last)


def _first_of_each(labels: np.ndarray, limit: int):
    def draw(items: np.ndarray) -> np.ndarray:
        _, first = np.unique(labels[items], return_index=True)
        return items[np.sort(first)[:limit]]

    return draw


def _assemble(name: str, draw, order: np.ndarray, tokens: Tokens, rows: np.ndarray) -> Cloud:
    """Builds the cloud; `order` lists items (tokens or word occurrences), and item i is the masked token `rows[i]`."""
    block = tokens.blocks[rows[order]]
    chosen = [draw(order)] + [draw(order[block != left_out]) for left_out in range(tokens.n_blocks)]
    items = np.unique(np.concatenate(chosen))
    members = np.stack([np.isin(items, picked, assume_unique=True) for picked in chosen])
    return Cloud(name, rows[items], members, tokens.sequences[rows[items]], tokens.types[rows[items]])


# --- blocks and halves of the text -----------------------------------------------------------------------------


def contiguous_blocks(documents: np.ndarray, n_blocks: int) -> np.ndarray:
    """Block number of each window, for windows in text order; (n_windows,) int64.

    Blocks are runs of consecutive windows of about equal size. With at least `n_blocks` documents, no block splits a
    document, because windows of one document are correlated.
    """
    documents = np.asarray(documents)
    n_windows = len(documents)
    starts = np.flatnonzero(np.r_[True, documents[1:] != documents[:-1]])
    if len(starts) < n_blocks:
        return np.arange(n_windows) * n_blocks // n_windows
    sizes = np.diff(np.r_[starts, n_windows])
    centres = (np.cumsum(sizes) - sizes / 2) / n_windows
    block_of_document = np.minimum((centres * n_blocks).astype(np.int64), n_blocks - 1)
    # Documents of very unequal length can leave a block empty: then assign equal numbers of documents instead.
    if len(np.unique(block_of_document)) < n_blocks:
        block_of_document = np.arange(len(starts)) * n_blocks // len(starts)
    return np.repeat(block_of_document, sizes)


def half_splits(n_sequences: int, n_splits: int, seed: int) -> np.ndarray:
    """Seeded random half-splits of the sequences; (n_splits, n_sequences) bool, True = half A."""
    generator = np.random.default_rng([seed, 2])
    halves = np.zeros((n_splits, n_sequences), dtype=bool)
    for half in halves:
        half[generator.permutation(n_sequences)[: n_sequences // 2]] = True
    return halves


_MIX = (-4658895280553007687, -7723592293110705685)
"""Odd 64-bit factors of the splitmix64 generator (Steele, Lea and Flood 2014), as signed numbers."""


def first_copies(points: Tensor, members: Tensor) -> Tensor:
    """Member sets without exact duplicates: of equal rows only the first member is kept; bool, same shape as `members`.

    points (n_points, n_dims) fp32; members (n_sets, n_points) bool. Rows are compared bitwise through a 64-bit integer
    hash, which unlike a floating-point sum does not depend on how a product was tiled.
    """
    numbers = points.float() + 0.0  # no negative zeros
    if numbers.shape[1] % 2:
        numbers = torch.nn.functional.pad(numbers, (0, 1))
    generator = torch.Generator().manual_seed(0x5EED)
    keys = torch.randint(-(2**62), 2**62, (numbers.shape[1] // 2,), generator=generator, dtype=torch.int64)
    # Two coordinates at a time. A product moves a difference to higher bits only, so the sign bit, the highest, would
    # nearly vanish from a weighted sum: the upper half is XORed into the lower half before and after each product.
    mixed = numbers.contiguous().view(torch.int64)
    mixed += keys.to(points.device)
    halves = mixed.view(torch.int32)
    halves[:, ::2] ^= halves[:, 1::2]
    for factor in _MIX:
        mixed *= factor
        halves[:, ::2] ^= halves[:, 1::2]
    _, group = torch.unique(mixed.sum(1), return_inverse=True)
    n = len(group)
    group, own = group.cpu(), members.cpu()  # small, and not every device has these operations
    position = torch.arange(n)
    result = torch.zeros_like(own)
    for index, member in enumerate(own):
        first = torch.full((n,), n).scatter_reduce_(0, group[member], position[member], "amin")
        result[index, first[first < n]] = True
    return result.to(members.device)


def grouped(labels: np.ndarray) -> list[np.ndarray]:
    """Row numbers of the points of each label, padded with -1; one array (n_groups, width) per size class.

    Size classes are powers of two, so padding at most doubles each group; labels that occur once are left out.
    """
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    result = []
    width = 2
    while counts.size and width // 2 < int(np.max(counts)):
        chosen = (counts > width // 2) & (counts <= width) if width > 2 else counts == 2
        if chosen.any():
            offset = np.arange(int(np.max(counts[chosen])))
            rows = starts[chosen][:, None] + offset
            padded = np.where(offset < counts[chosen][:, None], order[np.minimum(rows, len(order) - 1)], -1)
            result.append(padded)
        width *= 2
    return result


def beside(tensor: Tensor, array: np.ndarray) -> Tensor:
    """The array on the device of a tensor."""
    return torch.from_numpy(array).to(tensor.device)


@dataclass(frozen=True)
class PlacedCloud:
    """A cloud's points at one layer, centred on the mean of the whole cloud (its first member set)."""

    cloud: Cloud
    points: Tensor
    """(n_union, hidden_size) fp32"""
    members: Tensor
    """(n_sets, n_union) bool"""


def place(states: Tensor, cloud: Cloud) -> PlacedCloud:
    points = states[beside(states, cloud.rows)]
    members = beside(states, cloud.members)
    moved = centred(points, members[0])
    # Coordinates that are constant up to round-off are set to zero.
    variances = members[0].to(points.dtype) @ moved.square() / members[0].sum()
    constant = variances.sqrt() <= 1e-6 * (points[0] - moved[0]).abs()
    return PlacedCloud(cloud, moved.masked_fill(constant, 0), members)


MIN_POINTS = 3
"""Least number of distinct points: two points lie on a line whatever their distribution."""


def undefined_reason(placed: PlacedCloud) -> str:
    """Reason why a cloud admits no estimate: no spread beyond round-off, or fewer than three distinct points.

    Empty if it does admit estimates.
    """
    distinct = int(first_copies(placed.points, placed.members[:1]).sum())
    if distinct == 1:
        return "all points are equal, or differ by round-off alone"
    return f"only {distinct} distinct points" if distinct < MIN_POINTS else ""


def centred(points: Tensor, members: Tensor | None = None) -> Tensor:
    """Points minus the mean of the members (of all by default); all zero if they differ by round-off only."""
    moved = points - (points if members is None else points[members]).mean(0)
    size, spread = points.square().sum(1).max(), moved.square().sum(1).max()
    return torch.where(spread > 1e-11 * size, moved, 0.0)


# --- points on their own ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelledPoints:
    """A point cloud with labels: the input of an estimator's formula."""

    points: Tensor
    """(n_points, n_dims) fp32"""
    sequences: Tensor
    """(n_points,) int64 in 0..S-1; all different if the points are independent."""
    types: Tensor | None = None
    """(n_points,) int64; needed only by estimators that exclude pairs of one token type."""

    def where(self, keep: Tensor) -> LabelledPoints:
        return LabelledPoints(self.points[keep], self.sequences[keep], None if self.types is None else self.types[keep])


def distinct_points(points: Tensor) -> Tensor:
    """Mask of the points that are not exact copies of an earlier point; (n_points,) bool."""
    return first_copies(points, torch.ones(1, len(points), dtype=torch.bool, device=points.device))[0]


class Reading(NamedTuple):
    """Result of an estimator's formula on one cloud."""

    value: float
    """NaN if undefined."""
    scale: float = math.nan
    n_dropped: int = 0
    notes: str = ""
    terms: np.ndarray | None = None
    """Contribution of each point, for values proportional to 1 / mean of the terms with neighbours from other sequences
    only; (n_points,)"""
    rank: int = 0
    """Neighbour rank that goes with `terms`: see `neighbours.sums_over_centres`."""


# --- results: estimates and correlators per cloud, with jackknife errors and intervals -------------------------------

# Errors come from a delete-one-block jackknife over blocks of text. Tokens of one sequence are dependent, so whole
# sequences are left out, never single tokens. There is no bootstrap with replacement: 63 percent of its rows would have
# an exact copy, which breaks every neighbour ratio.


_NO_EQUIVALENT = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class CloudEstimate:
    cloud: str
    estimator: str
    n1: int | None
    n2: int | None
    estimate: Estimate
    blocks: list[float]
    """Delete-one replicates: the value without block 0, 1, ...; empty if the estimator has none."""
    halves: list[float] = field(default_factory=list)
    """Values on half A and half B of split 0, of split 1, ..."""
    transform: str = "centred"
    gaussian_equivalent: tuple[float, float, float] = _NO_EQUIVALENT
    """Dimension of the isotropic Gaussian cloud of equal size on which the estimator gives this value; the same for the
    lower and upper end of the interval."""

    def calibrated(self) -> CloudEstimate:
        """With its Gaussian equivalent, if the estimator has one."""
        e = self.estimate
        lower, middle, upper = (
            gaussian_equivalent(self.estimator, self.n1, v, e.n_points) for v in (e.lower, e.value, e.upper)
        )
        return replace(self, gaussian_equivalent=(middle, lower, upper))

    def within_bounds(self, n_dims: int, why_none: str = "") -> CloudEstimate:
        """The estimate, or one without value, replicates and Gaussian equivalent if the value is not a dimension.

        `why_none` is the reason why the cloud admits no estimate at all; empty if it does.
        """
        estimate = undefined_estimate(self.estimate, why_none) if why_none else within_bounds(self.estimate, n_dims)
        if estimate is self.estimate:
            return self
        return replace(self, estimate=estimate, blocks=[], halves=[], gaussian_equivalent=_NO_EQUIVALENT)


@dataclass(frozen=True)
class CloudCorrelator:
    cloud: str
    correlator: str
    value: float
    std_error: float
    n_points: int

    @classmethod
    def of_sets(cls, cloud: Cloud, correlator: str, values: Sequence[float]) -> CloudCorrelator:
        """From the values of all member sets, the whole cloud first."""
        value, *blocks = map(float, values)
        return cls(cloud.name, correlator, value, jackknife_error(np.array(blocks)), cloud.n_points)


@dataclass(frozen=True)
class Distribution:
    """The distribution of a quantity, usually with one value per token."""

    quantity: str
    rows: np.ndarray
    """The tokens' rows in the masked table; empty if values do not belong to single tokens."""
    values: np.ndarray


@dataclass(frozen=True)
class LayerResult:
    estimates: list[CloudEstimate]
    correlators: list[CloudCorrelator]
    distributions: list[Distribution]
    duplicate_share: float
    """Share of exact copies among the points of `one_per_type`."""
    device: str = "cpu"
    """Type of the device used."""

    def value(self, cloud: str, estimator: str) -> float:
        """Value of an estimate of centred points that has no scale; NaN if there is no such estimate."""
        for e in self.estimates:
            if (e.cloud, e.estimator, e.n1, e.transform) == (cloud, estimator, None, "centred"):
                return e.estimate.value
        return math.nan


def none_if_nan(value: float) -> float | None:
    """The value; None, which is stored as NULL, if it is not finite."""
    return value if math.isfinite(value) else None


# --- errors ----------------------------------------------------------------------------------------------------


def jackknife_error(replicates: np.ndarray) -> float:
    """Delete-one-block standard error, sqrt((B-1)/B sum (theta_b - mean)^2).

    NaN with fewer than two replicates, or if one is not finite.
    """
    replicates = np.asarray(replicates, dtype=float)
    if len(replicates) < 2 or not np.isfinite(replicates).all():
        return math.nan
    b = len(replicates)
    return math.sqrt((b - 1) / b * float(np.sum((replicates - replicates.mean()) ** 2)))


@dataclass(frozen=True)
class SecondOrder:
    """Delete-two-blocks corrections of the jackknife; zero if not computed."""

    excess: float = 0.0
    """Upward bias of the jackknife variance: it counts interactions of blocks twice."""
    slope: float = 0.0
    """Decrease of log error per unit of log value: above 0, the error of an overestimate is too small."""


@dataclass(frozen=True)
class CentreSums:
    """Leave-out values of a neighbour estimate in which left-out points lose their own ratios but stay as neighbours of
    others; used to correct the jackknife variance."""

    without_two: np.ndarray
    """Log estimate without each pair of blocks, on the diagonal without one block; (n_blocks, n_blocks)"""
    share: float
    """Weight of the jackknife variance against the centres' variance; points that share neighbours are dependent."""


FEWEST_BLOCKS = 6
"""Minimum number of blocks; fewer carry no information on pairs of blocks."""


def second_order(without_two: np.ndarray | None) -> SecondOrder:
    """Efron and Stein's correction of the jackknife variance, and the dependence of the error on the value.

    without_two (B, B): log estimate without each pair of blocks, on the diagonal without one block. With
    Q_ab = (B-2) theta_ab - (B-1) (theta_a + theta_b), minus its mean, the excess is sum_{a<b} Q_ab^2 / B^2, divided by
    the share (B-3) / (B-1) that remains after fitting means. The error without block a is that of theta_ab over b.
    """
    if without_two is None or len(without_two) < FEWEST_BLOCKS or not np.isfinite(without_two).all():
        return SecondOrder()
    b = len(without_two)
    one = np.diag(without_two)
    others = ~np.eye(b, dtype=bool)
    interaction = ((b - 2) * without_two - (b - 1) * (one[:, None] + one))[others]
    excess = interaction.var() * (b - 1) ** 2 / (2 * b * (b - 3))
    errors = without_two[others].reshape(b, b - 1).std(axis=1)
    deviations = one - one.mean()
    if not (errors > 0).all() or not deviations.any():
        return SecondOrder(float(excess))
    slope = -float(deviations @ np.log(errors)) / float(deviations @ deviations)
    return SecondOrder(float(excess), slope)


WIDEST = 1.5
"""Maximum ratio of the quantile used to that of Student's t."""


def log_interval(
    bare: Estimate,
    blocks: Sequence[float],
    draw_values: Sequence[float] = (),
    *,
    without_two: np.ndarray | None = None,
    with_bias: bool = False,
    centres: CentreSums | None = None,
) -> Estimate:
    """A positive estimate with standard error and 95 percent interval, from the jackknife on the log scale.

    `blocks` are the delete-one replicates; without them, or if one is not positive, there is no error.
    `draw_values` are the values on the independent draws whose mean is the estimate; their variance is
    added as s^2 / n_draws. The interval is value * exp(-+ t * error), t with B-1 degrees of freedom. With `without_two`
    (see `second_order`) the excess, up to half of the variance, is subtracted, and t is multiplied by
    1 + slope * t * error, the increase of the error at the far end of the interval. `with_bias` adds the squared
    jackknife bias. With `centres` the variance is a weighted mean of theirs and the jackknife's.
    """
    value, replicates = bare.value, np.asarray(blocks, dtype=float)
    if not (math.isfinite(value) and value > 0):
        return replace(bare, value=math.nan)
    if not len(replicates) or not (replicates > 0).all():
        return bare
    logs = np.log(replicates)
    error = jackknife_error(logs)
    if centres is None or not np.isfinite(centres.without_two).all():
        further = second_order(without_two)
        error = math.sqrt(error**2 - min(further.excess, error**2 / 2))
    else:
        further = second_order(centres.without_two)
        own = jackknife_error(np.diag(centres.without_two))
        error = math.sqrt((1 - centres.share) * min(own, error) ** 2 + centres.share * error**2)
    if with_bias:
        error = math.hypot(error, (len(logs) - 1) * (float(logs.mean()) - math.log(value)))
    if len(draw_values) > 1:
        error = math.hypot(error, float(np.std(np.log(draw_values), ddof=1)) / math.sqrt(len(draw_values)))
    quantile = float(special.stdtrit(len(replicates) - 1, 0.975))
    if further.slope > 0:  # two decimals, as stored in the file
        quantile = round(quantile * min(1 + further.slope * quantile * error, WIDEST), 2)
    reach = quantile * error
    return replace(bare, std_error=value * error, lower=value * math.exp(-reach), upper=value * math.exp(reach))


def within_bounds(estimate: Estimate, n_dims: int) -> Estimate:
    """The estimate, or NaN with a note if its interval, doubled in width, lies above the dimension the points can span.

    N points centred on their mean span at most min(n_dims, N - 1) dimensions. If all directions are orthogonal, as for
    one-hot points, a correlator is round-off and its inverse arbitrary. For a cloud that fills its space the value lies
    above the limit half of the time, and the interval occasionally, hence the doubling. Without an interval, the limit
    for the value is doubled. Ranks saturate at N - 1 instead: a value that reaches it reflects N, not a dimension. A
    value that was already undefined gets a note if it has none.
    """
    if math.isnan(estimate.value):
        return estimate if estimate.notes else undefined_estimate(estimate, UNDEFINED)
    n = estimate.n_points
    limit = min(n_dims, n - 1)
    begins = estimate.lower**2 / estimate.value if math.isfinite(estimate.lower) else estimate.value / 2
    if begins > limit:
        return undefined_estimate(
            estimate, f"{estimate.value:.4g} lies above the {limit} that {n} points in {n_dims} columns can span"
        )
    if limit == n - 1 and estimate.value > SATURATED * limit:
        return undefined_estimate(
            estimate, f"{estimate.value:.4g} is all that {n} points can span, whatever their dimension"
        )
    return estimate


SATURATED = 0.99
"""Share of N - 1 above which a value only reflects the number of points. For 400 Gaussian points the effective rank is
.90 of N - 1 in 2,000 columns and .995 in 40,000; for one-hot points it is 1."""
UNDEFINED = "too few distinct points, or equal distances or directions throughout"


def undefined_estimate(estimate: Estimate, note: str) -> Estimate:
    """The estimate with the value NaN and `note` appended to its notes."""
    notes = "; ".join(filter(None, [estimate.notes, note]))
    return replace(estimate, value=math.nan, std_error=math.nan, lower=math.nan, upper=math.nan, notes=notes)


# --- from values to estimates ----------------------------------------------------------------------------------


def estimates_of_sets(
    cloud: Cloud,
    estimator: str,
    values: np.ndarray | list[float],
    transform: str = "centred",
    without_two: np.ndarray | None = None,
    *,
    with_bias: bool = False,
) -> CloudEstimate:
    """Estimate from (n_sets,) values, the whole cloud first; other arguments as in `log_interval`."""
    value, *blocks = map(float, values)
    bare = Estimate(value, n_points=cloud.n_points)
    estimate = log_interval(bare, blocks, without_two=without_two, with_bias=with_bias)
    return CloudEstimate(cloud.name, estimator, None, None, estimate, blocks, transform=transform)


# --- the table of neighbour estimators on isotropic Gaussian clouds --------------------------------------------------

# Computed anew by `workdim calibrate` (core.geometry.estimators).

TABLE = REFERENCE / "gaussian_calibration.csv"
N_POINTS = (256, 512, 1024, 2048, 4096)
N_DIMS = (2, 4, 7, 10, 15, 20, 30, 45, 65, 100, 150, 250, 400, 600)


def gaussian_equivalent(estimator: str, n1: int | None, value: float, n_points: int) -> float:
    """Dimension of the isotropic Gaussian cloud of `n_points` points on which the estimator gives `value`.

    NaN outside the table: an estimator, a number of points, or a value, that it does not cover.
    """
    curves = gaussian_curves().get((estimator, n1 or 0))
    if curves is None or not math.isfinite(value) or not N_POINTS[0] <= n_points <= N_POINTS[-1]:
        return math.nan
    sizes = sorted(curves)
    place = np.interp(math.log(n_points), np.log(sizes), np.arange(len(sizes)))
    low, share = min(int(place), len(sizes) - 2), place - min(int(place), len(sizes) - 2)
    curve = (1 - share) * np.log(curves[sizes[low]]) + share * np.log(curves[sizes[low + 1]])
    if not curve[0] <= math.log(value) <= curve[-1] or (np.diff(curve) <= 0).any():
        return math.nan
    return float(np.exp(np.interp(math.log(value), curve, np.log(N_DIMS))))


@cache
def gaussian_curves() -> dict[tuple[str, int], dict[int, np.ndarray]]:
    """{(estimator, n1): {n_points: value at each of N_DIMS}}"""
    found: dict[tuple[str, int], dict[int, list[tuple[int, float]]]] = {}
    with TABLE.open(encoding="utf-8", newline="") as stream:  # polars would take 8 MB for it in every worker
        for row in csv.DictReader(stream):
            sizes = found.setdefault((row["estimator"], int(row["n1"])), {})
            sizes.setdefault(int(row["n_points"]), []).append((int(row["n_dims"]), float(row["value"])))
    return {
        key: {n: np.array([v for _, v in sorted(read)]) for n, read in sizes.items()} for key, sizes in found.items()
    }
