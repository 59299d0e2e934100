"""The shape of a profile: its largest inner dimension, its ends, its significant peaks and valleys, and the verdicts.

All tests work on log d2. The layer of the largest inner dimension is chosen on one half of the sequences and its
dimension read on the other, then the reverse, and both are averaged: choosing the maximum does not bias it upwards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from core.analysis.claims import (
    MARGIN,
    LogProfile,
    claim_rows,
    compare_with_controls,
    count_claim,
    cross_half_maximum,
    decide_verdict,
    evaluate_claim,
    jackknife_error,
    log_profile,
    read_specifications,
    simultaneous_limits,
)
from core.records import Profile
from core.registry.protocols import CLAIMS, PASSES, REFERENCE
from core.tables import LayerEstimateRow, RunExtremumRow, RunSummaryRow


class Interval(NamedTuple):
    value: float
    lower: float
    upper: float


CLOUDS = ("one_per_type", "one_per_word")
"""Clouds that are summarised; the first one is the default on screens."""
FEW_TYPES = 0.9
"""A cloud smaller than this share of the protocol's size reads lower than a full one, and its summary says so."""


def judge_profile(profile: Profile, controls: Sequence[Profile] = (), failed: Sequence[str] = ()) -> Profile:
    """The profile with its claims, comparisons with controls, extrema, and a summary of each cloud in `CLOUDS`.

    `failed` names the control passes that could not be measured.
    """
    read, run = read_specifications(profile), profile.run
    claims = [row for claim in CLAIMS for row in claim_rows(run.run_id, run.seed, claim, read)] if read else []
    core = [logs for specification, logs in read if specification.is_core and logs]
    judged = replace(profile, claims=claims, controls=compare_with_controls(profile, controls))
    verdicts = _verdict_columns(judged, core, failed)
    measured = {row.cloud for row in profile.estimates if row.estimator == REFERENCE.estimator}
    clouds = [cloud for cloud in CLOUDS if cloud in measured]
    return replace(
        judged,
        extrema=[row for cloud in clouds for row in find_extrema(profile, cloud)],
        summaries=[_summary(profile, cloud, controls, verdicts) for cloud in clouds],
    )


def _verdict_columns(profile: Profile, core: Sequence[LogProfile], failed: Sequence[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    untrained = [name for name in failed if not PASSES[name].has_effect]
    for claim in CLAIMS:
        rows = [row for row in profile.claims if row.claim == claim]
        controls = [row for row in profile.controls if row.claim == claim]
        verdict = decide_verdict(rows, controls, profile.worst_check == "veto", untrained)
        columns |= {f"verdict_{claim}": verdict.word, f"reasons_{claim}": verdict.reasons}
        columns |= count_claim(rows, claim, core).columns(claim)
    return columns


# --- turns of the profile --------------------------------------------------------------------------------------


def find_extrema(profile: Profile, cloud: str) -> list[RunExtremumRow]:
    """Both ends, and the peaks and valleys that exceed 10 percent and the error of their difference.

    Limits are simultaneous over layers; the test for a turning point is simultaneous over pairs of layers.
    """
    logs = log_profile(profile, replace(REFERENCE, cloud=cloud))
    if logs is None:
        return []
    band = simultaneous_limits(logs.whole, logs.blocks)
    turns = [("start", 0), *_turning_points(logs), ("end", len(logs.whole) - 1)]
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


def _turning_points(logs: LogProfile) -> list[tuple[str, int]]:
    """Alternating peaks and valleys: each is the extreme layer between two significant moves."""
    n = len(logs.whole)
    a, b = np.triu_indices(n, 1)
    moves = simultaneous_limits(logs.whole[b] - logs.whole[a], logs.blocks[b] - logs.blocks[a])
    signs = np.zeros((n, n), dtype=int)
    size = np.abs(moves.values)
    stands_out = (size >= MARGIN) & (size > moves.critical * moves.errors)
    signs[a, b] = np.where(stands_out, np.sign(moves.values), 0)
    turns: list[tuple[str, int]] = []
    low = high = 0  # the lowest and the highest layer since the last turn
    direction = 0  # of the last significant move; the first one makes no turn
    for layer in range(1, n):
        low = layer if logs.whole[layer] < logs.whole[low] else low
        high = layer if logs.whole[layer] > logs.whole[high] else high
        for kind, turn, after in (("peak", high, -1), ("valley", low, 1)):
            if direction != after and signs[turn, layer] == after:
                if direction:
                    turns.append((kind, turn))
                direction, low, high = after, layer, layer
                break
    return turns


# --- the largest inner dimension -------------------------------------------------------------------------------


def band_around_peak(logs: LogProfile) -> tuple[int, int, int]:
    """First, lower median and last layer of the contiguous range around the peak within one paired standard error."""
    n_layers = len(logs.whole) - 1
    peak = logs.peak

    def is_within_error(layer: int) -> bool:
        gap = logs.whole[peak] - logs.whole[layer]
        return bool(gap <= jackknife_error(logs.blocks[peak] - logs.blocks[layer]))

    first = last = peak
    while first > 1 and is_within_error(first - 1):
        first -= 1
    while last < n_layers - 1 and is_within_error(last + 1):
        last += 1
    return first, (first + last) // 2, last


def _inner_maximum(logs: LogProfile, middle: int, to: LogProfile | None = None, layer: int = 0) -> Interval:
    """The inner maximum, or its ratio to a layer of `to`, both on the same half; the error is the jackknife's."""
    halves, blocks = cross_half_maximum(logs), logs.blocks[middle]
    if to is not None:
        halves, blocks = halves - to.halves[layer], blocks - to.blocks[layer]
    value, reach = float(halves.mean()), logs.quantile * float(jackknife_error(blocks))
    return Interval(math.exp(value), math.exp(value - reach), math.exp(value + reach))


# --- the summary -----------------------------------------------------------------------------------------------


def _summary(profile: Profile, cloud: str, controls: Sequence[Profile], verdicts: Mapping[str, Any]) -> RunSummaryRow:
    n_layers, specification = profile.model.n_layers, replace(REFERENCE, cloud=cloud)
    rows = {
        (row.layer, row.state): row
        for row in profile.estimates
        if (row.cloud, row.transform, row.estimator, row.n1) == specification.key
    }
    n_points = max((row.n_points for row in rows.values()), default=0)
    logs, post = log_profile(profile, specification), log_profile(profile, specification, "post_norm")
    columns: dict[str, Any] = dict.fromkeys(RunSummaryRow.__dataclass_fields__)
    if logs:
        lowest = int(np.argmin(logs.whole))
        columns |= {"lowest_layer": lowest, "lowest_dimension": math.exp(float(logs.whole[lowest]))}
    if logs and n_layers >= 2 and logs.halves.size:
        columns |= _inner_layer_columns(logs, post, n_layers)
    columns |= {
        "run_id": profile.run.run_id,
        "estimator": REFERENCE.estimator,
        "cloud": cloud,
        **_interval_columns("embedding_dimension", rows.get((0, "residual"))),
        **_interval_columns("final_dimension_pre_norm", rows.get((n_layers, "residual"))),
        **_interval_columns("final_dimension_post_norm", rows.get((n_layers, "post_norm"))),
        **verdicts,
        "qualifiers": _qualifiers(profile, cloud, n_points, post is not None),
        "bits_per_byte": profile.run.bits_per_byte,
        "n_points": n_points,
        "control_run_ids": [control.run.run_id for control in controls] or None,
    }
    return RunSummaryRow(**columns)


def _inner_layer_columns(logs: LogProfile, post: LogProfile | None, n_layers: int) -> dict[str, Any]:
    """A working dimension only where an inner peak exceeds both ends by 10 percent; the maximum in any case."""
    first, middle, last = band_around_peak(logs)
    maximum = _inner_maximum(logs, middle)
    columns = {
        **_interval_columns("inner_max", maximum),
        "inner_max_layer": logs.peak,
        "relative_depth": logs.peak / n_layers,
        **_interval_columns("expansion_ratio", _inner_maximum(logs, middle, logs, 0)),
        **_interval_columns("contraction_ratio", _inner_maximum(logs, middle, logs, n_layers)),
        "contraction_ratio_post_norm": _inner_maximum(logs, middle, post, 0).value if post else None,
    }
    if all(evaluate_claim(logs, claim).outcome == "yes" for claim in CLAIMS):
        columns |= {
            **_interval_columns("working_dimension", maximum),
            "working_layer": middle,
            "working_layer_first": first,
            "working_layer_last": last,
        }
    return columns


def _qualifiers(profile: Profile, cloud: str, n_points: int, has_final_norm: bool) -> list[str]:
    outcomes = {check.outcome for check in profile.checks}
    limit = json.loads(profile.run.config)["protocol"]["max_types"]
    applies = {
        "no_final_norm": not has_final_norm,
        # Only types have a protocol limit to fill; the number of words depends on the text.
        "few_types": cloud == REFERENCE.cloud and n_points < FEW_TYPES * limit,
        "check_warned": "warn" in outcomes,
        "check_vetoed": "veto" in outcomes,
    }
    return [name for name, holds in applies.items() if holds]


def _interval_columns(name: str, of: Interval | LayerEstimateRow | None) -> dict[str, Any]:
    ends = {"": "value", "_lower": "lower", "_upper": "upper"}
    return {f"{name}{end}": getattr(of, field, None) for end, field in ends.items()}
