"""The shape of a profile: working and final dimension, expansion and contraction, and the verdict on both.

Everything is judged on log d2. The working layer is chosen on one half of the sequences and its dimension read on
the other, both ways round and averaged, so that choosing the maximum does not flatter it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from core.records import Profile
from core.tables import LayerReplicateRow, RunSummaryRow

ESTIMATOR, CLOUD = "d2", "one_per_type"
MARGIN = math.log(1.1)
"""A rise or fall of less than 10 percent does not count as one."""
FEW_TYPES = 0.9
"""Clouds smaller than this share of the protocol's read lower than full ones, and say so."""


class Interval(NamedTuple):
    value: float | None
    lower: float | None
    upper: float | None


UNDEFINED = Interval(None, None, None)


@dataclass(frozen=True)
class LogProfile:
    """log d2 of every layer, whole, without each block, and on each half."""

    whole: np.ndarray
    """(n_states,)"""
    blocks: np.ndarray
    """(n_states, n_blocks)"""
    halves: np.ndarray
    """(n_states, n_splits, 2)"""

    @property
    def quantile(self) -> float:
        return float(stats.t.ppf(0.975, self.blocks.shape[1] - 1))

    @property
    def one_sided(self) -> float:
        return float(stats.t.ppf(0.95, self.blocks.shape[1] - 1))

    def error(self, difference: np.ndarray) -> float:
        """Delete-one-block error of a (n_blocks,) statistic."""
        b = len(difference)
        return math.sqrt((b - 1) / b * float(((difference - difference.mean()) ** 2).sum()))


def summarise(profile: Profile) -> RunSummaryRow:
    """The summary row of a finished measurement."""
    n_layers = profile.model.n_layers
    logs = _log_profile(profile, "residual", n_layers + 1)
    post = _log_profile(profile, "post_norm", 1)
    qualifiers = _qualifiers(profile, post)
    if logs is None or n_layers < 2:
        return _summary(profile, "undecided", qualifiers)
    first, working, last = working_band(logs, n_layers)
    dimension = _dimension(logs, _selected(logs, n_layers), working)
    expansion = _ratio(logs, n_layers, working, logs, 0)
    contraction = _ratio(logs, n_layers, working, logs, n_layers)
    return _summary(
        profile,
        verdict([expansion, contraction], logs),
        qualifiers,
        working=dimension,
        layers=(first, working, last),
        relative_depth=working / n_layers,
        expansion=_exponentiate(expansion, logs.quantile),
        contraction=_exponentiate(contraction, logs.quantile),
        contraction_post=math.exp(_ratio(logs, n_layers, working, post, 0).value) if post else None,
    )


# --- definitions -----------------------------------------------------------------------------------------------


def working_band(logs: LogProfile, n_layers: int) -> tuple[int, int, int]:
    """First layer, lower median and last layer of the contiguous run around the peak within one paired error."""
    peak = 1 + int(np.argmax(logs.whole[1:n_layers]))

    def within(layer: int) -> bool:
        gap = logs.whole[peak] - logs.whole[layer]
        return gap <= logs.error(logs.blocks[peak] - logs.blocks[layer])

    first = last = peak
    while first > 1 and within(first - 1):
        first -= 1
    while last < n_layers - 1 and within(last + 1):
        last += 1
    return first, (first + last) // 2, last


def _selected(logs: LogProfile, n_layers: int) -> np.ndarray:
    """The layer chosen on each half: the maximum over layers 1..L-1; (n_splits, 2)."""
    return 1 + np.argmax(logs.halves[1:n_layers], axis=0)


def _on_other_half(logs: LogProfile, chosen: np.ndarray) -> np.ndarray:
    """log d2 at the layer chosen on one half, read on the other; (n_splits, 2), second index = the half read."""
    splits = np.arange(chosen.shape[0])
    return np.stack([logs.halves[chosen[:, 1], splits, 0], logs.halves[chosen[:, 0], splits, 1]], axis=1)


@dataclass(frozen=True)
class LogRatio:
    value: float
    error: float


def _ratio(logs: LogProfile, n_layers: int, working: int, below: LogProfile, layer: int) -> LogRatio:
    """log of working over another layer's dimension, both read on the same half; its error is the jackknife's."""
    chosen = _selected(logs, n_layers)
    value = float((_on_other_half(logs, chosen) - below.halves[layer]).mean())
    return LogRatio(value, logs.error(logs.blocks[working] - below.blocks[layer]))


def verdict(ratios: list[LogRatio], logs: LogProfile) -> str:
    """Expansion-contraction by intersection-union: `found`, `not_found` or `undecided`.

    Found where the one-sided lower 95 percent limits of all ratios exceed 1.1, which needs no correction for
    multiple tests; not found where any upper 97.5 percent limit stays below 1.1.
    """
    if all(r.value - logs.one_sided * r.error > MARGIN for r in ratios):
        return "found"
    if any(r.value + logs.quantile * r.error < MARGIN for r in ratios):
        return "not_found"
    return "undecided"


def _exponentiate(ratio: LogRatio, quantile: float) -> Interval:
    reach = quantile * ratio.error
    return Interval(math.exp(ratio.value), math.exp(ratio.value - reach), math.exp(ratio.value + reach))


def _dimension(logs: LogProfile, chosen: np.ndarray, working: int) -> Interval:
    value = float(_on_other_half(logs, chosen).mean())
    return _exponentiate(LogRatio(value, logs.error(logs.blocks[working])), logs.quantile)


# --- reading a profile and writing the row ---------------------------------------------------------------------


def _log_profile(profile: Profile, state: str, n_states: int) -> LogProfile | None:
    """None where a layer is missing or has an undefined value."""
    values = {r.layer: r.value for r in profile.estimates if _is_primary(r) and r.state == state}
    rows: list[LayerReplicateRow] = sorted(
        (r for r in profile.replicates if _is_primary(r) and r.state == state), key=lambda r: r.layer
    )
    if len(rows) != n_states or any(not value or value <= 0 for value in values.values()):
        return None
    blocks = np.array([row.blocks for row in rows], dtype=float)
    halves = np.array([row.halves for row in rows], dtype=float).reshape(n_states, -1, 2)
    if not (np.isfinite(blocks).all() and np.isfinite(halves).all() and blocks.shape[1] > 1):
        return None
    whole = np.array([values[row.layer] for row in rows], dtype=float)
    return LogProfile(np.log(whole), np.log(blocks), np.log(halves))


def _is_primary(row) -> bool:
    return row.estimator == ESTIMATOR and row.cloud == CLOUD


def _qualifiers(profile: Profile, post: LogProfile | None) -> list[str]:
    outcomes = {check.outcome for check in profile.checks}
    limit = json.loads(profile.run.config)["protocol"]["max_types"]
    held = {
        "no_random_init": True,  # the control pass is another run; nothing here has seen it
        "no_final_norm": post is None,
        "few_types": _n_points(profile) < FEW_TYPES * limit,
        "check_warned": "warn" in outcomes,
        "check_vetoed": "veto" in outcomes,
    }
    return [name for name, holds in held.items() if holds]


def _n_points(profile: Profile) -> int:
    return max((row.n_points for row in profile.estimates if _is_primary(row)), default=0)


def _estimated(profile: Profile, layer: int, state: str) -> Interval:
    for row in profile.estimates:
        if _is_primary(row) and row.layer == layer and row.state == state:
            return Interval(row.value, row.lower, row.upper)
    return UNDEFINED


def _summary(
    profile: Profile,
    verdict: str,
    qualifiers: list[str],
    working: Interval = UNDEFINED,
    layers: tuple[int | None, int | None, int | None] = (None, None, None),
    relative_depth: float | None = None,
    expansion: Interval = UNDEFINED,
    contraction: Interval = UNDEFINED,
    contraction_post: float | None = None,
) -> RunSummaryRow:
    n_layers = profile.model.n_layers
    first, middle, last = layers
    return RunSummaryRow(
        run_id=profile.run.run_id,
        estimator=ESTIMATOR,
        cloud=CLOUD,
        **_named("working_dimension", working),
        working_layer=middle,
        working_layer_first=first,
        working_layer_last=last,
        relative_depth=relative_depth,
        **_named("embedding_dimension", _estimated(profile, 0, "residual")),
        **_named("final_dimension_pre_norm", _estimated(profile, n_layers, "residual")),
        **_named("final_dimension_post_norm", _estimated(profile, n_layers, "post_norm")),
        **_named("expansion_ratio", expansion),
        **_named("contraction_ratio", contraction),
        contraction_ratio_post_norm=contraction_post,
        verdict=verdict,
        qualifiers=qualifiers,
        bits_per_byte=profile.bits_per_byte,
        n_points=_n_points(profile),
    )


def _named(name: str, interval: Interval) -> dict[str, Any]:
    return {name: interval.value, f"{name}_lower": interval.lower, f"{name}_upper": interval.upper}
