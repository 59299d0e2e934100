"""Two-token correlators of a cloud: E1, mean cosine, C2, kurtosis of the cosines, nonlinearity ratio.

The first-order correlators are computed from sums, without forming pairs. They measure how much of the cloud is a
common offset; the correlator that measures a dimension is C2 = 1 / d2 (core.geometry.second_order).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from core.geometry.clouds import Cloud
from core.geometry.neighbour_dimensions import GRIDE_READ_AT
from core.geometry.results import CloudCorrelator, CloudEstimate, Distribution, jackknife_error
from core.geometry.second_order import PlacedCloud
from core.geometry.spectrum import Spectra, coordinate_shares

COSINE_SAMPLE = 256
TOP_PERCENT = (1, 10)


def first_order(points: Tensor, members: Tensor) -> dict[str, list[float]]:
    """`E1` and `mean_cosine` of each member set.

    points (n, n_dims) fp32, NOT centred; members (n_sets, n) bool.
    E1 = sum_{i != j} x_i.x_j / (N sum |x_i|^2) = |mean x|^2 / mean |x|^2 - 1/N, in [-1/N, 1 - 1/N]: the formula of
    the DeepCT package, not verified against arXiv 2503.22547. mean_cosine = (N |mean u|^2 - 1) / (N - 1), u = x/|x|.
    """
    weights = members.to(points.dtype)
    n = weights.sum(1)
    norms = points.norm(dim=1)
    directions = points / norms.clamp_min(torch.finfo(points.dtype).tiny)[:, None]
    mean = weights @ points / n[:, None]  # (n_sets, n_dims)
    mean_direction = weights @ directions / n[:, None]
    energy = weights @ norms.square() / n
    return {
        "E1": (mean.square().sum(1) / energy - 1 / n).tolist(),
        "mean_cosine": ((n * mean_direction.square().sum(1) - 1) / (n - 1)).tolist(),
    }


def first_order_of_cloud(states: Tensor, cloud: Cloud) -> list[CloudCorrelator]:
    rows = torch.from_numpy(cloud.rows).to(states.device)
    values = first_order(states[rows], torch.from_numpy(cloud.members).to(states.device))
    return [
        CloudCorrelator(cloud.name, name, v[0], jackknife_error(np.array(v[1:])), cloud.n_points)
        for name, v in values.items()
    ]


def token_to_population(states: Tensor, placed: PlacedCloud) -> tuple[list[CloudCorrelator], list[Distribution]]:
    """Each token's share of the cloud's variance and its cosine to the mean.

    states (n_tokens, n_dims) of the masked tokens, NOT centred. Shares are multiples of 1/N; the sum of the largest
    shares is returned with its jackknife error. Cosines are uncentred.
    """
    cloud = placed.cloud
    rows = cloud.rows[cloud.members[0]]
    points = states[torch.from_numpy(rows).to(states.device)]
    mean = points.mean(0)
    tiny = torch.finfo(points.dtype).tiny
    squared = (points - mean).square().sum(1)
    shares = squared / squared.mean().clamp_min(tiny)
    cosines = (points @ mean) / (points.norm(dim=1) * mean.norm()).clamp_min(tiny)
    held = (
        torch.stack([_held_by_largest(states, cloud.rows[members]) for members in cloud.members]).cpu().double().numpy()
    )
    found = [
        CloudCorrelator(cloud.name, f"variance_top_{percent}", float(v[0]), jackknife_error(v[1:]), cloud.n_points)
        for percent, v in zip(TOP_PERCENT, held.T, strict=True)
    ]
    return found, [
        Distribution("variance_share", rows, shares.cpu().numpy()),
        Distribution("cosine_to_mean", rows, cosines.cpu().numpy()),
    ]


def _held_by_largest(states: Tensor, rows: np.ndarray) -> Tensor:
    """Share of the variance due to the `TOP_PERCENT` percent of the tokens farthest from the mean; NaN without variance."""
    points = states[torch.from_numpy(rows).to(states.device)]
    squared = (points - points.mean(0)).square().sum(1).sort(descending=True).values
    sizes = [max(1, round(percent / 100 * len(rows))) for percent in TOP_PERCENT]
    return torch.stack([squared[:size].sum() for size in sizes]) / squared.sum()


def second_order_correlator(d2: CloudEstimate) -> CloudCorrelator:
    """C2 = 1 / d2, with the same relative standard error; 1/d for isotropic points in d dimensions."""
    e = d2.estimate
    value = 1 / e.value if e.value > 0 else math.nan
    return CloudCorrelator(d2.cloud, "C2", value, e.std_error * value * value, e.n_points)


def nonlinearity(read: Iterable[CloudEstimate], surrogate: Iterable[CloudEstimate]) -> list[CloudCorrelator]:
    """GRIDE of the Gaussian surrogates over GRIDE of the data: 1 for a Gaussian cloud, above 1 for others."""
    of_data = {e.n1: e.estimate for e in read if e.estimator == "gride"}
    result = []
    for e in surrogate:
        data = of_data.get(e.n1)
        if e.estimator == "gride" and e.n1 == GRIDE_READ_AT and data is not None and data.value > 0:
            ratio = e.estimate.value / data.value
            parts = [data.std_error / data.value, e.estimate.std_error / e.estimate.value]
            error = ratio * math.hypot(*(part for part in parts if math.isfinite(part)))
            result.append(CloudCorrelator(e.cloud, f"nonlinearity_ratio_{GRIDE_READ_AT}", ratio, error, data.n_points))
    return result


def leading_shares(placed: PlacedCloud, spectra: Spectra) -> list[CloudCorrelator]:
    """Share of the variance explained by the leading coordinates and principal components, with jackknife errors."""
    cloud = placed.cloud
    by_kind = {"coordinates": coordinate_shares(placed.points, placed.members), "components": spectra.components}
    return [
        CloudCorrelator(cloud.name, f"top_{kind}_{top}", v[0], jackknife_error(np.array(v[1:])), cloud.n_points)
        for kind, of_tops in by_kind.items()
        for top, v in of_tops.items()
    ]


def cosines(placed: PlacedCloud, seed: int, distributions: list[Distribution]) -> CloudCorrelator:
    """Distribution of the cosine between two centred tokens, and its excess kurtosis: above 0 it indicates clusters.

    Uses pairs of different sequences in a seeded subsample; the kurtosis has a jackknife error. For isotropic points in
    d dimensions the excess kurtosis is -6 / (d + 2). The distribution is appended to `distributions`.
    """
    rows = placed.members[0].nonzero().squeeze(1).cpu()
    sample = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:COSINE_SAMPLE]]
    directions = torch.nn.functional.normalize(placed.points[sample.to(placed.points.device)], dim=1)
    products = (directions @ directions.T).cpu().double().numpy()
    sequences, kept = placed.cloud.sequences[sample.numpy()], placed.members[:, sample.to(placed.points.device)]
    counted = np.triu(sequences[:, None] != sequences[None, :], 1)
    of_sets = _excess_kurtosis(products, counted, kept.cpu().numpy())
    distributions.append(Distribution("cosine", np.empty(0, dtype=np.int64), products[counted]))
    error = jackknife_error(of_sets[1:])
    return CloudCorrelator(placed.cloud.name, "cosine_kurtosis", float(of_sets[0]), error, len(sample))


def _excess_kurtosis(values: np.ndarray, counted: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Excess kurtosis of the counted values between members of each set, (n_sets,); NaN if they do not vary.

    values (n, n) double; counted (n, n) bool; members (n_sets, n) bool.
    """
    held = members.astype(float)
    moved = np.where(counted, values - values[counted].mean(), 0.0) if counted.any() else np.zeros(values.shape)

    def sums(of_pairs: np.ndarray) -> np.ndarray:
        return ((held @ of_pairs) * held).sum(1)

    with np.errstate(divide="ignore", invalid="ignore"):
        first, second, third, fourth = (sums(moved**power) / sums(counted.astype(float)) for power in (1, 2, 3, 4))
        variance = second - first**2
        central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        # Cosines that are equal but for round-off have no shape.
        return np.where(variance > 1e-14, central / variance**2 - 3, np.nan)
