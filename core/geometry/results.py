"""What the geometry of one layer gives back: estimates and correlators of named clouds, and distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from core.geometry import calibration
from core.geometry.clouds import Cloud
from core.geometry.resampling import log_interval
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


def of_sets(
    cloud: Cloud, estimator: str, values: np.ndarray | list[float], transform: str = "centred"
) -> CloudEstimate:
    """From (n_sets,) values, the whole cloud's first."""
    value, *blocks = [float(v) for v in values]
    return from_blocks(cloud, estimator, None, None, value, blocks, n_points=cloud.n_points, transform=transform)


def from_blocks(
    cloud: Cloud,
    estimator: str,
    n1: int | None,
    n2: int | None,
    value: float,
    blocks: list[float],
    *,
    scale: float = math.nan,
    n_points: int,
    n_dropped: int = 0,
    transform: str = "centred",
) -> CloudEstimate:
    estimate = log_interval(value, blocks, scale=scale, n_points=n_points, n_dropped=n_dropped)
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
    if transform != "centred" or estimator not in calibration.CALIBRATED:
        return found
    read = (estimate.value, estimate.lower, estimate.upper)
    middle, lower, upper = (calibration.gaussian_equivalent(estimator, n1, v, estimate.n_points) for v in read)
    return replace(found, gaussian_equivalent=(middle, lower, upper))
