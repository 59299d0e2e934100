"""What the geometry of one layer gives back: estimates and correlators of named clouds, with their errors.

Errors come from leaving out blocks of text. Tokens of one sequence depend on each other, so whole sequences are left
out, never tokens. A bootstrap with replacement is not offered: 63 percent of its rows would have an exact copy, which
breaks every neighbour ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import special

from core.geometry import gaussian
from core.geometry.clouds import Cloud
from core.geometry.neighbour_dimensions import CentreSums
from core.records import Estimate


@dataclass(frozen=True)
class CloudEstimate:
    cloud: str
    estimator: str
    n1: int | None
    n2: int | None
    estimate: Estimate
    blocks: list[float]
    """The value without block 0, 1, ...; empty where the estimator has no replicates."""
    halves: list[float] = field(default_factory=list)
    """On half A and half B of split 0, of split 1, ..."""
    transform: str = "centred"
    gaussian_equivalent: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    """Dimension of the isotropic Gaussian cloud of as many points that the estimator reads the same on; and that of the
    ends of its interval."""

    def within_bounds(self, n_dims: int, why_none: str = "") -> CloudEstimate:
        """Without value, replicates and Gaussian equivalent where the value is no dimension.

        `why_none` says what keeps the cloud from carrying any estimate; empty where it can.
        """
        estimate = undefined_estimate(self.estimate, why_none) if why_none else within_bounds(self.estimate, n_dims)
        if estimate is self.estimate:
            return self
        return CloudEstimate(self.cloud, self.estimator, self.n1, self.n2, estimate, [], transform=self.transform)


@dataclass(frozen=True)
class CloudCorrelator:
    cloud: str
    correlator: str
    value: float
    std_error: float
    n_points: int


@dataclass(frozen=True)
class Distribution:
    """One value for each of some tokens."""

    quantity: str
    rows: np.ndarray
    """The tokens' rows in the masked table; empty where values do not belong to single tokens."""
    values: np.ndarray


@dataclass(frozen=True)
class LayerResult:
    estimates: list[CloudEstimate]
    correlators: list[CloudCorrelator]
    distributions: list[Distribution]
    duplicate_share: float
    """Exact copies among the points of `one_per_type`."""
    device: str = "cpu"
    """Kind of device that it was measured on."""

    def value(self, cloud: str, estimator: str, n1: int | None = None, transform: str = "centred") -> float:
        """NaN where there is no such estimate."""
        for e in self.estimates:
            if (e.cloud, e.estimator, e.n1, e.transform) == (cloud, estimator, n1, transform):
                return e.estimate.value
        return math.nan


# --- errors ----------------------------------------------------------------------------------------------------


def jackknife_error(replicates: np.ndarray) -> float:
    """Delete-one-block standard error, sqrt((B-1)/B sum (theta_b - mean)^2); NaN with fewer than two replicates."""
    replicates = np.asarray(replicates, dtype=float)
    if len(replicates) < 2 or not np.isfinite(replicates).all():
        return math.nan
    b = len(replicates)
    return math.sqrt((b - 1) / b * float(np.sum((replicates - replicates.mean()) ** 2)))


def t_quantile(probability: float, n_blocks: int) -> float:
    """Quantile of Student's t with B-1 degrees of freedom, which jackknife intervals use."""
    return float(special.stdtrit(n_blocks - 1, probability))


@dataclass(frozen=True)
class SecondOrder:
    """What leaving out two blocks at a time tells of the jackknife; neutral where it was not done."""

    excess: float = 0.0
    """What the jackknife's variance has too much: interactions of blocks count twice in it."""
    slope: float = 0.0
    """By how much log error falls where the log of the value rises: above 0 a value too high is told too exact."""


FEWEST_BLOCKS = 6
"""Fewer tell nothing about pairs of them."""


def second_order(without_two: np.ndarray | None) -> SecondOrder:
    """Efron and Stein's correction of the jackknife variance, and how the error goes with the value.

    without_two (B, B): the log without each two blocks, on its diagonal without each one. With
    Q_ab = (B-2) theta_ab - (B-1) (theta_a + theta_b), less its mean, the excess is sum_{a<b} Q_ab^2 / B^2, over the
    (B-3) / (B-1) that the fitted means leave of it. The error without block a is that of theta_ab over b.
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
"""No interval is wider than this many times that of Student's t."""


def log_interval(
    value: float,
    blocks: Sequence[float],
    draw_values: Sequence[float] = (),
    *,
    without_two: np.ndarray | None = None,
    with_bias: bool = False,
    centres: CentreSums | None = None,
    scale: float = math.nan,
    n_points: int,
    n_dropped: int = 0,
    notes: str = "",
) -> Estimate:
    """A positive estimate with its error: the jackknife on the logarithm, and the variance of the draw.

    `blocks` are the delete-one values. `draw_values` are the values on the independent draws whose mean `value` is;
    their variance enters as s^2 / n_draws. The interval is value * exp(-+ t * error), t with B-1 degrees of freedom.
    With the logs `without_two` blocks (see `second_order`) the variance loses its excess, up to half of it, and t grows
    by what the error would be greater at the far end, 1 + slope * t * error. `with_bias` adds the square of the bias as
    the jackknife finds it. With `centres` the variance lies between theirs and the jackknife's.
    """
    replicates = np.asarray(blocks, dtype=float)
    if not math.isfinite(value) or value <= 0 or not len(replicates) or not (replicates > 0).all():
        return Estimate(
            value if math.isfinite(value) and value > 0 else math.nan,
            scale=scale,
            n_points=n_points,
            n_dropped=n_dropped,
            notes=notes,
        )
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
    quantile = t_quantile(0.975, len(replicates))
    if further.slope > 0:  # two decimals, because the file keeps it
        quantile = round(quantile * min(1 + further.slope * quantile * error, WIDEST), 2)
    reach = quantile * error
    return Estimate(
        value, value * error, value * math.exp(-reach), value * math.exp(reach), scale, n_points, n_dropped, notes
    )


def within_bounds(estimate: Estimate, n_dims: int) -> Estimate:
    """The estimate, or NaN with a note where even twice its interval lies above what so many points and columns span.

    N points centred on their mean span at most min(n_dims, N - 1) dimensions. Where all directions are orthogonal, as
    those of one-hot points, a correlator is round-off and its inverse any number. The value of a cloud that fills its
    space lies above the limit half of the time, its interval now and then. Without an interval a value counts that is
    more than twice as large. Ranks stop at N - 1 instead: a value that has reached it tells N, no dimension.
    A value that was undefined all along gets a note as well, if it has none.
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
"""Share of N - 1 from which on a value tells the number of points. Of 400 Gaussian points the effective rank is .90 of
it in 2,000 columns and .995 in 40,000; of one-hot points it is 1."""
UNDEFINED = "too few distinct points, or equal distances or directions throughout"


def undefined_estimate(estimate: Estimate, note: str) -> Estimate:
    """The estimate without value, and why."""
    return Estimate(
        math.nan,
        scale=estimate.scale,
        n_points=estimate.n_points,
        n_dropped=estimate.n_dropped,
        notes="; ".join(filter(None, [estimate.notes, note])),
    )


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
    """From (n_sets,) values, the whole cloud's first; the others as in `log_interval`."""
    value, *blocks = [float(v) for v in values]
    estimate = log_interval(value, blocks, without_two=without_two, with_bias=with_bias, n_points=cloud.n_points)
    return as_cloud_estimate(cloud.name, estimator, None, None, estimate, blocks, transform)


def estimate_from_blocks(
    cloud: Cloud,
    estimator: str,
    n1: int | None,
    n2: int | None,
    value: float,
    blocks: list[float],
    *,
    centres: CentreSums | None = None,
    scale: float = math.nan,
    n_points: int,
    n_dropped: int = 0,
    transform: str = "centred",
) -> CloudEstimate:
    estimate = log_interval(value, blocks, centres=centres, scale=scale, n_points=n_points, n_dropped=n_dropped)
    return as_cloud_estimate(cloud.name, estimator, n1, n2, estimate, blocks, transform)


def as_cloud_estimate(
    cloud: str,
    estimator: str,
    n1: int | None,
    n2: int | None,
    estimate: Estimate,
    blocks: list[float] | None = None,
    transform: str = "centred",
) -> CloudEstimate:
    """With its Gaussian equivalent, where the estimator has one."""
    found = CloudEstimate(cloud, estimator, n1, n2, estimate, blocks or [], [], transform)
    if transform != "centred" or estimator not in gaussian.CALIBRATED:
        return found
    read = (estimate.value, estimate.lower, estimate.upper)
    middle, lower, upper = (gaussian.gaussian_equivalent(estimator, n1, v, estimate.n_points) for v in read)
    return replace(found, gaussian_equivalent=(middle, lower, upper))
