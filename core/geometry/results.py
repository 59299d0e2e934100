"""Results of one layer's geometry: estimates and correlators per cloud, with jackknife errors and intervals.

Errors come from a delete-one-block jackknife over blocks of text. Tokens of one sequence are dependent, so whole
sequences are left out, never single tokens. There is no bootstrap with replacement: 63 percent of its rows would have
an exact copy, which breaks every neighbour ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import special

from core.geometry.calibration import CALIBRATED, gaussian_equivalent
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
    """Delete-one replicates: the value without block 0, 1, ...; empty if the estimator has none."""
    halves: list[float] = field(default_factory=list)
    """Values on half A and half B of split 0, of split 1, ..."""
    transform: str = "centred"
    gaussian_equivalent: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    """Dimension of the isotropic Gaussian cloud of equal size on which the estimator gives this value; the same for the
    lower and upper end of the interval."""

    def within_bounds(self, n_dims: int, why_none: str = "") -> CloudEstimate:
        """The estimate, or one without value, replicates and Gaussian equivalent if the value is not a dimension.

        `why_none` is the reason why the cloud admits no estimate at all; empty if it does.
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


def t_quantile(probability: float, n_blocks: int) -> float:
    """Quantile of Student's t with B-1 degrees of freedom, used for jackknife intervals."""
    return float(special.stdtrit(n_blocks - 1, probability))


@dataclass(frozen=True)
class SecondOrder:
    """Delete-two-blocks corrections of the jackknife; zero if not computed."""

    excess: float = 0.0
    """Upward bias of the jackknife variance: it counts interactions of blocks twice."""
    slope: float = 0.0
    """Decrease of log error per unit of log value: above 0, the error of an overestimate is too small."""


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
    """A positive estimate with standard error and 95 percent interval, from the jackknife on the log scale.

    `blocks` are the delete-one replicates; without them, or if one is not positive, there is no error.
    `draw_values` are the values on the independent draws whose mean is `value`; their variance is
    added as s^2 / n_draws. The interval is value * exp(-+ t * error), t with B-1 degrees of freedom. With `without_two`
    (see `second_order`) the excess, up to half of the variance, is subtracted, and t is multiplied by
    1 + slope * t * error, the increase of the error at the far end of the interval. `with_bias` adds the squared
    jackknife bias. With `centres` the variance is a weighted mean of theirs and the jackknife's.
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
    if further.slope > 0:  # two decimals, as stored in the file
        quantile = round(quantile * min(1 + further.slope * quantile * error, WIDEST), 2)
    reach = quantile * error
    return Estimate(
        value, value * error, value * math.exp(-reach), value * math.exp(reach), scale, n_points, n_dropped, notes
    )


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
    """Estimate from (n_sets,) values, the whole cloud first; other arguments as in `log_interval`."""
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
) -> CloudEstimate:
    estimate = log_interval(value, blocks, centres=centres, scale=scale, n_points=n_points, n_dropped=n_dropped)
    return as_cloud_estimate(cloud.name, estimator, n1, n2, estimate, blocks)


def as_cloud_estimate(
    cloud: str,
    estimator: str,
    n1: int | None,
    n2: int | None,
    estimate: Estimate,
    blocks: list[float] | None = None,
    transform: str = "centred",
) -> CloudEstimate:
    """The cloud estimate, with its Gaussian equivalent if the estimator is calibrated."""
    found = CloudEstimate(cloud, estimator, n1, n2, estimate, blocks or [], [], transform)
    if transform != "centred" or estimator not in CALIBRATED:
        return found
    read = (estimate.value, estimate.lower, estimate.upper)
    middle, lower, upper = (gaussian_equivalent(estimator, n1, v, estimate.n_points) for v in read)
    return replace(found, gaussian_equivalent=(middle, lower, upper))
