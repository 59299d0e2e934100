"""Computes one layer's estimates, jackknife replicates, correlators and distributions from its hidden states."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from core.geometry import correlators
from core.geometry.clouds import (
    Cloud,
    CloudEstimate,
    LayerResult,
    PlacedCloud,
    beside,
    distinct_points,
    estimates_of_sets,
    first_copies,
    log_interval,
    place,
    undefined_reason,
)
from core.geometry.correlators import GRAM_BYTES
from core.geometry.estimators import ESTIMATORS
from core.geometry.neighbours import (
    RANKS,
    TILE,
    NeighbourReading,
    differing_readings,
    distances_of_sets,
    neighbour_readings,
    readings_of_points,
    stored_neighbours,
)
from core.geometry.second_order import N_REMOVED, Scanned, d2_of_scaled, d2_without_components, scan_cloud
from core.records import Estimate
from core.registry.protocols import REFERENCE, SPECIFICATIONS, Specification


@dataclass(frozen=True)
class CloudPlan:
    """The clouds of a run and the tokens in each; the same for every layer."""

    draws: list[Cloud]
    """`one_per_type`, one cloud per seeded permutation; empty if the protocol does not use it."""
    word_draws: list[Cloud]
    """`one_per_word`, likewise; empty if the text has too few words or the tokenizer gives no word positions."""
    others: list[Cloud]
    """`all_tokens`, `last_token`"""
    halves: np.ndarray
    """Half-splits of the sequences; (n_splits, n_sequences) bool."""
    seed: int = 0
    n_surrogates: int = 2
    more_estimators: tuple[str, ...] = ()
    prompts: tuple[np.ndarray, ...] = ()
    """Rows of each sequence, if the dimension is estimated per sequence and averaged."""
    blocks: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Jackknife block of each masked token; (n_tokens,)"""
    core_only: tuple[str, ...] = ()
    """Clouds of which the core specifications alone are measured, and what their checks need: all in a control,
    those of a first look (`Protocol.core_only`)."""
    reference_only: bool = False
    """Whether d2 of `one_per_type` is all that is measured, as in each draw of a control that judges."""

    def specifications(self, cloud: str) -> list[Specification]:
        """Those of a cloud that are measured."""
        if self.reference_only:
            return [REFERENCE]
        return [s for s in SPECIFICATIONS if s.cloud == cloud and (s.is_core or cloud not in self.core_only)]

    def neighbour_rank(self, cloud: str) -> int:
        """Rank up to which neighbours of a cloud are found; 0 where no specification that is measured needs any."""
        if cloud not in self.core_only:
            return RANKS[-1]
        return max((s.n2 for s in self.specifications(cloud) if s.n2), default=0)

    @property
    def first_draws(self) -> list[Cloud]:
        """Of each cloud that is measured."""
        return [*self.draws[:1], *self.word_draws[:1], *self.others]

    @property
    def has_pairs(self) -> bool:
        """Whether pairs of layers are measured, on a sub-sample of `one_per_type`."""
        return bool(self.draws) and "one_per_type" not in self.core_only


def one_thread_on(device: torch.device) -> AbstractContextManager[None]:
    """One thread where the CPU computes, so that every bit is the same on any number of cores: layers, which are
    independent, use more of them side by side (core/measure/layers.py)."""
    return correlators.one_thread() if device.type == "cpu" else nullcontext()


def measure_layer(states: Tensor, plan: CloudPlan) -> LayerResult:
    """Measure one layer, on one thread; states (n_tokens, hidden_size) of the masked tokens, fp32, on any device."""
    with one_thread_on(states.device):
        return _measure_layer(states, plan)


def _measure_layer(states: Tensor, plan: CloudPlan) -> LayerResult:
    parts = [
        _measure_cloud(states, plan, *measure_draws(states, plan, draws))
        for draws in (plan.draws, plan.word_draws)
        if draws
    ]
    for cloud in plan.others:
        placed = place(states, cloud)
        scanned, distinct = _scan(placed, plan, typed=cloud.name == "all_tokens")
        d2 = estimates_of_sets(cloud, "d2", scanned.d2, without_two=scanned.without_two)
        parts.append(_measure_cloud(states, plan, placed, scanned, distinct, d2))
    estimates = [e for part in parts for e in part.estimates]
    if plan.prompts:
        estimates += _per_prompt(states, plan.prompts)
    without = {e.cloud for e in estimates if math.isnan(e.estimate.value)}
    why = {c.name: undefined_reason(place(states, c)) for c in plan.first_draws if c.name in without}
    return LayerResult(
        [e.within_bounds(states.shape[1], why.get(e.cloud, "")) for e in estimates],
        [one for part in parts for one in part.correlators],
        [one for part in parts for one in part.distributions],
        parts[0].duplicate_share if plan.draws else math.nan,
        states.device.type,
    )


def _measure_cloud(
    states: Tensor, plan: CloudPlan, placed: PlacedCloud, scanned: Scanned, distinct: Tensor, d2: CloudEstimate
) -> LayerResult:
    """Measure a cloud after its pass over pairs; of a core-only cloud the specifications alone. `distinct`: its member sets
    without exact copies."""
    cloud, is_whole = placed.cloud, placed.cloud.name not in plan.core_only
    estimates = [d2, *([] if plan.reference_only else second_order_estimates(placed, scanned))]
    correlators_ = [correlators.second_order_correlator(d2), *correlators.first_order(states, cloud)]
    copies = cloud.n_points - int(distinct[0].sum())
    result = LayerResult(estimates, correlators_, [], copies / cloud.n_points)
    if is_whole and cloud.name != "one_per_word":
        spectra = correlators.spectra_of_sets(placed.points, placed.members)
        estimates.append(estimates_of_sets(cloud, "effective_rank", spectra.effective_rank))
        estimates.append(estimates_of_sets(cloud, "stable_rank", spectra.stable_rank))
    estimates += _d2_of_transforms(placed, plan)
    if is_whole:
        within = distances_of_sets(scanned.table, distinct)
        read = estimates_of_readings(placed, distinct, neighbour_readings(within, distinct))
        estimates += read
    estimates += _estimates_with_differing_labels(placed, scanned, distinct, plan)
    if is_whole and cloud.name == "one_per_type":
        local_d2, of_tokens = correlators.local_readings(
            placed, scanned.table, distinct, plan.seed, wide=not plan.core_only
        )
        surrogates = _surrogates(placed, plan.n_surrogates, plan.seed)
        points = placed.points[placed.members[0]]  # on request, without replicates
        estimates += [
            *local_d2,
            correlators.correlation_integral_of_cloud(placed, distinct, within),
            *(
                CloudEstimate(cloud.name, name, None, None, ESTIMATORS[name](points), [])
                for name in plan.more_estimators
            ),
            *surrogates,
        ]
        kurtosis, cosines = correlators.cosines(placed, plan.seed)
        shares, of_population = correlators.token_to_population(states, placed)
        nonlinearity, leading = correlators.nonlinearity(read, surrogates), correlators.leading_shares(placed, spectra)
        correlators_ += [*nonlinearity, *leading, kurtosis, *shares]
        result.distributions.extend([*of_tokens, cosines, *of_population])
    return result


# --- any cloud -------------------------------------------------------------------------------------------------


def _scan(placed: PlacedCloud, plan: CloudPlan, **options) -> tuple[Scanned, Tensor]:
    """The pass over pairs of a cloud as the plan needs it, and the member sets without exact copies."""
    name = placed.cloud.name
    ratio = name not in plan.core_only or any(s.estimator == "participation_ratio" for s in plan.specifications(name))
    return scan_with_neighbours(placed, plan.neighbour_rank(name), ratio=ratio, **options)


def measure_draws(
    states: Tensor, plan: CloudPlan, draws: list[Cloud]
) -> tuple[PlacedCloud, Scanned, Tensor, CloudEstimate]:
    """The first draw, its pass over pairs, its member sets without exact copies, and d2 averaged over all draws."""
    halves = beside(states, plan.halves)
    placed = place(states, draws[0])
    scanned, distinct = _scan(placed, plan, halves=halves)
    repeats = [scanned, *(scan_cloud(place(states, cloud), halves=halves) for cloud in draws[1:])]
    # The geometric mean over the draws, and of its replicates.
    per_draw = np.stack([one.d2 for one in repeats])  # (n_draws, n_sets)
    logs = np.log(per_draw).mean(0)
    blocks = np.exp(logs[1:]).tolist()
    two = np.mean([one.without_two for one in repeats], axis=0)
    bare = Estimate(math.exp(logs[0]), n_points=placed.cloud.n_points)
    estimate = log_interval(bare, blocks, per_draw[:, 0].tolist(), without_two=two)
    of_halves = np.exp(np.log(np.stack([one.halves for one in repeats])).mean(0))  # (n_splits, 2)
    d2 = CloudEstimate(placed.cloud.name, "d2", None, None, estimate, blocks, of_halves.flatten().tolist())
    return placed, scanned, distinct, d2


def scan_with_neighbours(
    placed: PlacedCloud, rank: int = RANKS[-1], *, ratio: bool = True, **options
) -> tuple[Scanned, Tensor]:
    """The pass over pairs with neighbours up to `rank`, and the member sets without exact copies."""
    distinct = first_copies(placed.points, placed.members)
    used = distinct.any(0)
    k = stored_neighbours(int(distinct[0].sum()), int(used.sum()), rank) if rank else 0
    return scan_cloud(placed, k=k, used=used, ratio=ratio, **options), distinct


def second_order_estimates(placed: PlacedCloud, scanned: Scanned) -> list[CloudEstimate]:
    cloud = placed.cloud
    estimates = [estimates_of_sets(cloud, "d2_all_pairs", scanned.d2_all_pairs)]
    if len(scanned.participation_ratio):
        values, two = scanned.participation_ratio, scanned.ratio_without_two
        estimates.append(estimates_of_sets(cloud, "participation_ratio", values, without_two=two, with_bias=True))
    if len(scanned.d2_typed):
        estimates.append(estimates_of_sets(cloud, "d2_typed", scanned.d2_typed))
    return estimates


def _d2_of_transforms(placed: PlacedCloud, plan: CloudPlan) -> list[CloudEstimate]:
    """d2 after each transform that the cloud's specifications name."""
    cloud = placed.cloud
    asked = {s.transform for s in plan.specifications(cloud.name) if s.estimator == "d2"}
    removals = {name: n for name, n in N_REMOVED.items() if name in asked}
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if removals:
        found |= zip(removals, d2_without_components(placed, list(removals.values())), strict=True)
    if "zscore" in asked:
        found["zscore"] = d2_of_scaled(placed)
    return [estimates_of_sets(cloud, "d2", values, transform, two) for transform, (values, two) in found.items()]


def _estimates_with_differing_labels(
    placed: PlacedCloud, scanned: Scanned, distinct: Tensor, plan: CloudPlan
) -> list[CloudEstimate]:
    """Neighbour estimates that exclude neighbours of the same sequence, or of the same type too, per specification."""
    cloud, estimates, specifications = placed.cloud, [], plan.specifications(placed.cloud.name)
    sequences, types = (beside(placed.points, x) for x in (cloud.sequences, cloud.types))
    for kind, labels in (("between", [sequences]), ("typed", [sequences, types])):
        scales = [s.n1 for s in specifications if s.n1 and s.estimator == f"gride_{kind}"]
        with_mle = any(s.estimator == f"mle_{kind}" for s in specifications)
        readings = differing_readings(scanned.table, distinct, labels, kind, scales, with_mle)
        estimates += estimates_of_readings(placed, distinct, readings)
    return estimates


def estimates_of_readings(
    placed: PlacedCloud, distinct: Tensor, readings: list[NeighbourReading]
) -> list[CloudEstimate]:
    n = int(distinct[0].sum())
    return [reading.estimate(placed.cloud, n) for reading in readings]


def _per_prompt(states: Tensor, prompts: Sequence[np.ndarray]) -> list[CloudEstimate]:
    """Neighbour estimates on all tokens of one sequence, averaged over sequences, with the error of the mean.

    Sequences are treated as independent: the jackknife leaves one out. N is the mean number of distinct points.
    """
    kept: list[int] = []

    def distinct() -> Iterator[Tensor]:  # one prompt in memory at a time: all together are another copy of the states
        for rows in prompts:
            points = states[beside(states, rows)]
            points = points[distinct_points(points)]
            kept.append(len(points))
            yield points

    read = _by_scale(distinct())
    n_points = round(float(np.mean(kept)))
    n_dropped = round(float(np.mean([len(rows) for rows in prompts]))) - n_points
    estimates = []
    for (estimator, n1, n2), readings in read.items():
        values = np.array([r.value for r in readings if math.isfinite(r.value)])
        n = len(values)
        without_one = ((values.sum() - values) / (n - 1)).tolist() if n > 1 else []
        bare = Estimate(
            float(values.mean()) if n else math.nan,
            scale=float(np.mean([r.mean_distance for r in readings if math.isfinite(r.value)] or [math.nan])),
            n_points=n_points,
            n_dropped=n_dropped,
            notes="" if n == len(prompts) else f"undefined in {len(prompts) - n} of {len(prompts)} sequences",
        )
        found = log_interval(bare, without_one)
        estimates.append(CloudEstimate("per_prompt", estimator, n1, n2, found, []).calibrated())
    return estimates


def _by_scale(clouds: Iterable[Tensor]) -> dict[tuple[str, int | None, int], list[NeighbourReading]]:
    """The readings of several clouds by estimator, n1 and n2."""
    read: dict[tuple[str, int | None, int], list[NeighbourReading]] = {}
    for points in clouds:
        for reading in readings_of_points(points):
            read.setdefault((reading.estimator, reading.n1, reading.n2), []).append(reading)
    return read


def _surrogates(placed: PlacedCloud, n_surrogates: int, seed: int) -> list[CloudEstimate]:
    """GRIDE and TwoNN on Gaussian surrogates of this cloud: mean and standard error over the surrogates."""
    points = placed.points[placed.members[0]]
    generator = torch.Generator().manual_seed(seed)
    clouds = (gaussian_surrogate(points, generator) for _ in range(n_surrogates))
    estimates = []
    for (estimator, n1, n2), readings in _by_scale(clouds).items():
        if estimator not in ("gride", "two_nn"):
            continue
        values = [reading.value for reading in readings]
        spread = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
        estimate = Estimate(float(np.mean(values)), spread, n_points=len(points))
        estimates.append(
            CloudEstimate(placed.cloud.name, estimator, n1, n2, estimate, [], transform="gaussian_surrogate")
        )
    return estimates


def gaussian_surrogate(points: Tensor, generator: torch.Generator) -> Tensor:
    """n Gaussian points with the sample covariance of `points` (n, n_dims).

    Each is a sum of the centred points with independent normal weights: conditional on the points, exactly Gaussian
    with the sample covariance, without a decomposition. `generator` is on the CPU, so that all devices draw the same.
    """
    centred = points - points.mean(0)
    n = len(points)
    weights = torch.randn(n, n, generator=generator).to(points) / (n - 1) ** 0.5
    return weights @ centred


PER_STORED = 8
"""Bytes per member set, point and stored neighbour while neighbours are restricted to member sets."""
COPIES = 6
"""Number of copies of a cloud's points in memory at once."""


def layer_bytes(plan: CloudPlan, hidden_size: int) -> int:
    """Peak memory of `measure_layer`, the layer's states included."""
    sizes = [(len(one.rows), len(one.members) * bool(plan.neighbour_rank(one.name))) for one in plan.first_draws]
    sizes += [(len(rows), 1) for rows in plan.prompts]
    # Of a tile: distances, their squares, and which columns are the nearest.
    of_cloud = max(
        (n * (COPIES * hidden_size * 4 + n_sets * 90 * PER_STORED + 5 * TILE * 4) for n, n_sets in sizes), default=0
    )
    products = 8 * len(plan.draws[0].rows) ** 2 if plan.has_pairs else 0
    return 2 * len(plan.blocks) * hidden_size * 4 + of_cloud + min(products, GRAM_BYTES)
