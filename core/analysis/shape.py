"""The profile as it is: its largest inner dimension, its ends, every turn that stands out, and the verdicts.

Everything is judged on log d2. The layer of the largest inner dimension is chosen on one half of the sequences and its
dimension read on the other, both ways round and averaged, so that choosing the maximum does not flatter it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from core.analysis.claims import (
    MARGIN,
    LogProfile,
    Verdict,
    against_controls,
    cell,
    claims,
    log_profile,
    simultaneous,
    verdict,
)
from core.records import Profile
from core.registry.passes import PASSES
from core.registry.specifications import CLAIMS, REFERENCE
from core.tables import LayerEstimateRow, RunExtremumRow, RunSummaryRow


class Interval(NamedTuple):
    value: float | None
    lower: float | None
    upper: float | None


UNDEFINED = Interval(None, None, None)
CLOUDS = ("one_per_type", "one_per_word")
"""Clouds that are summarised; what is shown first is that of the first one."""
FEW_TYPES = 0.9
"""Clouds smaller than this share of the protocol's read lower than full ones, and say so."""


def judged(profile: Profile, controls: Sequence[Profile] = (), failed: Sequence[str] = ()) -> Profile:
    """The profile with its claims, its extrema, what its controls say, and a summary of each summarised cloud.

    `failed` names the control passes that were tried and could not be measured.
    """
    of_cells = claims(profile)
    of_controls = against_controls(profile, controls)
    untrained = [name for name in failed if not PASSES[name].has_effect]
    verdicts = {
        claim: verdict(
            [row for row in of_cells if row.claim == claim],
            [row for row in of_controls if row.claim == claim],
            profile.worst_check == "veto",
            untrained,
        )
        for claim in CLAIMS
    }
    clouds = [
        cloud
        for cloud in CLOUDS
        if any(row.cloud == cloud and row.estimator == REFERENCE.estimator for row in profile.estimates)
    ]
    return replace(
        profile,
        claims=of_cells,
        controls=of_controls,
        extrema=[row for cloud in clouds for row in extrema(profile, cloud)],
        summaries=[_summary(profile, cloud, controls, verdicts) for cloud in clouds],
    )


# --- turns of the profile --------------------------------------------------------------------------------------


def extrema(profile: Profile, cloud: str) -> list[RunExtremumRow]:
    """Both ends, and the peaks and valleys that stand out: by 10 percent, and beyond the error of their difference.

    Limits hold for all layers at once; those that tell a turn from an error, for all pairs of layers.
    """
    logs = log_profile(profile, replace(REFERENCE, cloud=cloud))
    if logs is None:
        return []
    band = simultaneous(logs.whole, logs.blocks)
    turns = [("start", 0), *_turns(logs), ("end", len(logs.whole) - 1)]
    return [
        RunExtremumRow(
            profile.run.run_id,
            cloud,
            kind,
            layer,
            *(math.exp(float(limit[layer])) for limit in (band.values, band.lower, band.upper)),
        )
        for kind, layer in turns
    ]


def _turns(logs: LogProfile) -> list[tuple[str, int]]:
    """Peaks and valleys in turn: each the extreme layer between two moves that stand out."""
    n = len(logs.whole)
    a, b = np.triu_indices(n, 1)
    moves = simultaneous(logs.whole[b] - logs.whole[a], logs.blocks[b] - logs.blocks[a])
    signs = np.zeros((n, n), dtype=int)
    size = np.abs(moves.values)
    stands_out = (size >= MARGIN) & (size > moves.critical * moves.errors)
    signs[a, b] = np.where(stands_out, np.sign(moves.values), 0)
    turns: list[tuple[str, int]] = []
    low = high = 0  # the lowest and the highest layer since the last turn
    direction = 0  # of the last move that stood out; the first one ends no other, and so makes no turn
    for layer in range(1, n):
        low = layer if logs.whole[layer] < logs.whole[low] else low
        high = layer if logs.whole[layer] > logs.whole[high] else high
        if direction >= 0 and signs[high, layer] < 0:
            if direction > 0:
                turns.append(("peak", high))
            direction, low, high = -1, layer, layer
        elif direction <= 0 and signs[low, layer] > 0:
            if direction < 0:
                turns.append(("valley", low))
            direction, low, high = 1, layer, layer
    return turns


# --- the largest inner dimension -------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogRatio:
    value: float
    error: float


def band_around_peak(logs: LogProfile) -> tuple[int, int, int]:
    """First layer, lower median and last layer of the contiguous run around the peak within one paired error."""
    n_layers = len(logs.whole) - 1
    peak = _peak(logs)

    def within(layer: int) -> bool:
        gap = logs.whole[peak] - logs.whole[layer]
        return gap <= logs.error(logs.blocks[peak] - logs.blocks[layer])

    first = last = peak
    while first > 1 and within(first - 1):
        first -= 1
    while last < n_layers - 1 and within(last + 1):
        last += 1
    return first, (first + last) // 2, last


def _peak(logs: LogProfile) -> int:
    return 1 + int(np.argmax(logs.whole[1:-1]))


def _on_other_half(logs: LogProfile) -> np.ndarray:
    """log d2 at the layer chosen on one half, read on the other; (n_splits, 2), second index = the half read."""
    chosen = 1 + np.argmax(logs.halves[1:-1], axis=0)  # (n_splits, 2)
    splits = np.arange(chosen.shape[0])
    return np.stack([logs.halves[chosen[:, 1], splits, 0], logs.halves[chosen[:, 0], splits, 1]], axis=1)


def inner_maximum(logs: LogProfile, middle: int) -> LogRatio:
    return LogRatio(float(_on_other_half(logs).mean()), logs.error(logs.blocks[middle]))


def ratio(logs: LogProfile, middle: int, below: LogProfile, layer: int) -> LogRatio:
    """log of the inner maximum over another layer's dimension, both on the same half; its error is the jackknife's."""
    value = float((_on_other_half(logs) - below.halves[layer]).mean())
    return LogRatio(value, logs.error(logs.blocks[middle] - below.blocks[layer]))


def _exponentiated(ratio: LogRatio, quantile: float) -> Interval:
    reach = quantile * ratio.error
    return Interval(math.exp(ratio.value), math.exp(ratio.value - reach), math.exp(ratio.value + reach))


# --- the summary -----------------------------------------------------------------------------------------------


def _summary(profile: Profile, cloud: str, controls: Sequence[Profile], verdicts: dict[str, Verdict]) -> RunSummaryRow:
    n_layers = profile.model.n_layers
    at = replace(REFERENCE, cloud=cloud)
    logs, post = log_profile(profile, at), log_profile(profile, at, "post_norm")
    inner = _of_inner_layers(logs, post, n_layers) if logs and n_layers >= 2 and logs.halves.size else {}
    lowest = int(np.argmin(logs.whole)) if logs else None
    return RunSummaryRow(
        run_id=profile.run.run_id,
        estimator=REFERENCE.estimator,
        cloud=cloud,
        **(dict.fromkeys(_OF_INNER_LAYERS) | inner),
        lowest_layer=lowest,
        lowest_dimension=math.exp(float(logs.whole[lowest])) if logs and lowest is not None else None,
        **_named("embedding_dimension", _estimated(profile, cloud, 0, "residual")),
        **_named("final_dimension_pre_norm", _estimated(profile, cloud, n_layers, "residual")),
        **_named("final_dimension_post_norm", _estimated(profile, cloud, n_layers, "post_norm")),
        verdict_rise=verdicts["rise"].word,
        verdict_fall=verdicts["fall"].word,
        reasons_rise=verdicts["rise"].reasons,
        reasons_fall=verdicts["fall"].reasons,
        qualifiers=_qualifiers(profile, cloud, post is not None),
        bits_per_byte=profile.run.bits_per_byte,
        n_points=_n_points(profile, cloud),
        control_run_ids=[control.run.run_id for control in controls] or None,
    )


_OF_INNER_LAYERS = (
    *(
        f"{name}{end}"
        for name in ("inner_max", "working_dimension", "expansion_ratio", "contraction_ratio")
        for end in ("", "_lower", "_upper")
    ),
    "inner_max_layer",
    "working_layer",
    "working_layer_first",
    "working_layer_last",
    "relative_depth",
    "contraction_ratio_post_norm",
)


def _of_inner_layers(logs: LogProfile, post: LogProfile | None, n_layers: int) -> dict[str, Any]:
    """A working dimension only where an inner peak exceeds both ends by 10 percent; the maximum in any case."""
    first, middle, last = band_around_peak(logs)
    maximum = _exponentiated(inner_maximum(logs, middle), logs.quantile)
    found = {
        **_named("inner_max", maximum),
        "inner_max_layer": _peak(logs),
        "relative_depth": _peak(logs) / n_layers,
        **_named("expansion_ratio", _exponentiated(ratio(logs, middle, logs, 0), logs.quantile)),
        **_named("contraction_ratio", _exponentiated(ratio(logs, middle, logs, n_layers), logs.quantile)),
        "contraction_ratio_post_norm": math.exp(ratio(logs, middle, post, 0).value) if post else None,
    }
    if all(cell(logs, claim).outcome == "yes" for claim in CLAIMS):
        found |= {
            **_named("working_dimension", maximum),
            "working_layer": middle,
            "working_layer_first": first,
            "working_layer_last": last,
        }
    return found


def _qualifiers(profile: Profile, cloud: str, has_final_norm: bool) -> list[str]:
    outcomes = {check.outcome for check in profile.checks}
    limit = json.loads(profile.run.config)["protocol"]["max_types"]
    held = {
        "no_final_norm": not has_final_norm,
        # Only types fill up to a protocol's limit; a text has as many words as it has.
        "few_types": cloud == REFERENCE.cloud and _n_points(profile, cloud) < FEW_TYPES * limit,
        "check_warned": "warn" in outcomes,
        "check_vetoed": "veto" in outcomes,
    }
    return [name for name, holds in held.items() if holds]


def _is_primary(row: LayerEstimateRow, cloud: str) -> bool:
    return (row.estimator, row.cloud, row.transform) == (REFERENCE.estimator, cloud, REFERENCE.transform)


def _n_points(profile: Profile, cloud: str) -> int:
    return max((row.n_points for row in profile.estimates if _is_primary(row, cloud)), default=0)


def _estimated(profile: Profile, cloud: str, layer: int, state: str) -> Interval:
    for row in profile.estimates:
        if _is_primary(row, cloud) and row.layer == layer and row.state == state:
            return Interval(row.value, row.lower, row.upper)
    return UNDEFINED


def _named(name: str, interval: Interval) -> dict[str, Any]:
    return {name: interval.value, f"{name}_lower": interval.lower, f"{name}_upper": interval.upper}
