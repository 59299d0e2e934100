"""The shape of a profile: working and final dimension, expansion and contraction, and the verdict on both.

Everything is judged on log d2. The working layer is chosen on one half of the sequences and its dimension read on the
other, both ways round and averaged, so that choosing the maximum does not flatter it. Control passes and second
opinions qualify the verdict.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from core.records import Profile
from core.tables import LayerEstimateRow, LayerReplicateRow, RunSummaryRow

MARGIN = math.log(1.1)
"""A rise or fall of less than 10 percent does not count as one."""


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


def selected(logs: LogProfile, n_layers: int) -> np.ndarray:
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


def ratio(logs: LogProfile, n_layers: int, working: int, below: LogProfile, layer: int) -> LogRatio:
    """log of working over another layer's dimension, both read on the same half; its error is the jackknife's."""
    chosen = selected(logs, n_layers)
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


def exponentiate(ratio: LogRatio, quantile: float) -> Interval:
    reach = quantile * ratio.error
    return Interval(math.exp(ratio.value), math.exp(ratio.value - reach), math.exp(ratio.value + reach))


def dimension(logs: LogProfile, chosen: np.ndarray, working: int) -> Interval:
    value = float(_on_other_half(logs, chosen).mean())
    return exponentiate(LogRatio(value, logs.error(logs.blocks[working])), logs.quantile)


ESTIMATOR, CLOUD = "d2", "one_per_type"
CLOUDS = ("one_per_type", "one_per_word")
"""Clouds that are summarised; the verdict that is shown first is that of the first one."""
SECOND_OPINION = ("gride", 8)
"""The nearest-neighbour estimator, with its inner rank, that is asked whether it agrees."""
FEW_TYPES = 0.9
"""Clouds smaller than this share of the protocol's read lower than full ones, and say so."""


def summarise(profile: Profile, controls: Sequence[Profile] = (), failed: Sequence[str] = ()) -> list[RunSummaryRow]:
    """A summary row for each summarised cloud that the measurement has, judged with its control passes.

    `failed` names the passes that were tried and could not be measured.
    """
    return [
        _summarise(profile, cloud, controls, failed)
        for cloud in CLOUDS
        if any(row.cloud == cloud and row.estimator == ESTIMATOR for row in profile.estimates)
    ]


def _summarise(profile: Profile, cloud: str, controls: Sequence[Profile], failed: Sequence[str]) -> RunSummaryRow:
    n_layers = profile.model.n_layers
    logs = _log_profile(profile, cloud, "residual", n_layers + 1)
    post = _log_profile(profile, cloud, "post_norm", 1)
    second = _second_opinion(profile, cloud)
    if logs is None or n_layers < 2:
        return _summary(profile, cloud, "undecided", _qualifiers(profile, cloud, post, []), controls)
    first, working, last = working_band(logs, n_layers)
    expansion = ratio(logs, n_layers, working, logs, 0)
    contraction = ratio(logs, n_layers, working, logs, n_layers)
    found = verdict([expansion, contraction], logs)
    without = _ratio_of_values(profile, cloud, working, n_layers, "abtt3")
    extra = _of_controls(profile, cloud, controls, failed)
    if found == "found" and "random_init_same" in extra:
        found = "undecided"  # what untrained weights show as well is no finding about this model
    if found == "found":
        extra += _of_removed_components(profile, cloud, without)
        extra += _of_second_opinion(second, working)
    return _summary(
        profile,
        cloud,
        found,
        _qualifiers(profile, cloud, post, extra),
        controls,
        working=dimension(logs, selected(logs, n_layers), working),
        layers=(first, working, last),
        relative_depth=working / n_layers,
        expansion=exponentiate(expansion, logs.quantile),
        contraction=exponentiate(contraction, logs.quantile),
        contraction_post=math.exp(ratio(logs, n_layers, working, post, 0).value) if post else None,
        contraction_abtt3=without,
        second=[math.exp(r.value) for r in _direct_ratios(second, working)] if second else [None, None],
    )


# --- controls and second opinions ------------------------------------------------------------------------------


def _of_controls(profile: Profile, cloud: str, controls: Sequence[Profile], failed: Sequence[str]) -> list[str]:
    """What the control passes say about a shape: qualifiers."""
    if profile.run.pass_ != "text":
        return []
    random, shuffled = (
        [_shows(control, cloud) for control in controls if control.run.pass_ == name]
        for name in ("random_init", "shuffled")
    )
    found = []
    if not random:
        found.append("random_init_failed" if "random_init" in failed else "no_random_init")
    elif "same" in random:
        found.append("random_init_same")
    else:
        found.append("random_init_differs" if set(random) == {"differs"} else "random_init_unclear")
    if shuffled:
        found.append(f"shuffled_{shuffled[0]}")
    else:
        found.append("shuffled_failed" if "shuffled" in failed else "no_shuffled")
    return found


def _shows(control: Profile, cloud: str) -> str:
    """Whether a control shows the shape: `same`, `differs` or `unclear`. Shuffled text has no words: its types count.

    A control whose shape is found but vetoed shows the artefact that the veto names, and decides nothing; one without
    the shape differs, whatever its checks say.
    """
    rows = {row.cloud: row for row in control.summaries}
    row = rows.get(cloud) or rows.get(CLOUD)
    if row is not None and row.verdict == "not_found":
        return "differs"
    is_clean = row is not None and row.verdict == "found" and "check_vetoed" not in row.qualifiers
    return "same" if is_clean else "unclear"


def _of_removed_components(profile: Profile, cloud: str, contraction: float | None) -> list[str]:
    """What is left of a finding without the leading components; nothing on clouds where that is not measured."""
    if contraction is not None:
        return ["abtt3_lost"] if contraction <= math.exp(MARGIN) else []
    is_measured = any(row.transform == "abtt3" and row.cloud == cloud for row in profile.estimates)
    return ["abtt3_undefined"] if is_measured else []


def _of_second_opinion(second: LogProfile | None, working: int) -> list[str]:
    """What the nearest-neighbour estimator says of a finding; nothing where it agrees."""
    if second is None:
        return ["gride_unclear"]
    expansion, contraction = _direct_ratios(second, working)
    answer = verdict([expansion, contraction], second)
    if answer == "not_found" and verdict([contraction], second) == "found":
        return ["gride_contracts"]
    return {"found": [], "not_found": ["gride_disagrees"], "undecided": ["gride_unclear"]}[answer]


def _second_opinion(profile: Profile, cloud: str) -> LogProfile | None:
    estimator, n1 = SECOND_OPINION
    return _log_profile(profile, cloud, "residual", profile.model.n_layers + 1, estimator, n1)


def _direct_ratios(logs: LogProfile, working: int) -> list[LogRatio]:
    """Working layer over embedding and over the final layer, on the whole cloud: expansion and contraction."""
    return [
        LogRatio(float(logs.whole[working] - logs.whole[layer]), logs.error(logs.blocks[working] - logs.blocks[layer]))
        for layer in (0, -1)
    ]


def _ratio_of_values(profile: Profile, cloud: str, working: int, n_layers: int, transform: str) -> float | None:
    """Working over final d2 after a transform; None where it was not measured."""
    values = {
        row.layer: row.value
        for row in profile.estimates
        if (row.cloud, row.estimator, row.transform, row.state) == (cloud, ESTIMATOR, transform, "residual")
    }
    above, below = values.get(working), values.get(n_layers)
    return above / below if above and below else None


# --- reading a profile and writing the row ---------------------------------------------------------------------


def _log_profile(
    profile: Profile, cloud: str, state: str, n_states: int, estimator: str = ESTIMATOR, n1: int | None = None
) -> LogProfile | None:
    """None where a layer is missing or has an undefined value; without half-splits the halves are empty."""

    def wanted(row: LayerEstimateRow | LayerReplicateRow) -> bool:
        return (row.cloud, row.estimator, row.n1, row.state) == (cloud, estimator, n1, state)

    values = {r.layer: r.value for r in profile.estimates if wanted(r) and r.transform == "centred"}
    rows = sorted((r for r in profile.replicates if wanted(r)), key=lambda r: r.layer)
    if len(rows) != n_states or any(not value or value <= 0 for value in values.values()):
        return None
    blocks = np.array([row.blocks for row in rows], dtype=float)
    halves = np.array([row.halves for row in rows], dtype=float).reshape(n_states, -1, 2)
    if not (np.isfinite(blocks).all() and np.isfinite(halves).all() and blocks.shape[1] > 1):
        return None
    whole = np.array([values[row.layer] for row in rows], dtype=float)
    return LogProfile(np.log(whole), np.log(blocks), np.log(halves))


def _is_primary(row: LayerEstimateRow, cloud: str) -> bool:
    return (row.estimator, row.cloud, row.transform) == (ESTIMATOR, cloud, "centred")


def _qualifiers(profile: Profile, cloud: str, post: LogProfile | None, extra: list[str]) -> list[str]:
    outcomes = {check.outcome for check in profile.checks}
    limit = json.loads(profile.run.config)["protocol"]["max_types"]
    held = {
        "no_final_norm": post is None,
        # Only types fill up to a protocol's limit; a text has as many words as it has.
        "few_types": cloud == CLOUD and _n_points(profile, cloud) < FEW_TYPES * limit,
        "check_warned": "warn" in outcomes,
        "check_vetoed": "veto" in outcomes,
    }
    return extra + [name for name, holds in held.items() if holds]


def _n_points(profile: Profile, cloud: str) -> int:
    return max((row.n_points for row in profile.estimates if _is_primary(row, cloud)), default=0)


def _estimated(profile: Profile, cloud: str, layer: int, state: str) -> Interval:
    for row in profile.estimates:
        if _is_primary(row, cloud) and row.layer == layer and row.state == state:
            return Interval(row.value, row.lower, row.upper)
    return UNDEFINED


def _summary(
    profile: Profile,
    cloud: str,
    verdict: str,
    qualifiers: list[str],
    controls: Sequence[Profile],
    working: Interval = UNDEFINED,
    layers: tuple[int | None, int | None, int | None] = (None, None, None),
    relative_depth: float | None = None,
    expansion: Interval = UNDEFINED,
    contraction: Interval = UNDEFINED,
    contraction_post: float | None = None,
    contraction_abtt3: float | None = None,
    second: Sequence[float | None] = (None, None),
) -> RunSummaryRow:
    n_layers = profile.model.n_layers
    first, middle, last = layers
    return RunSummaryRow(
        run_id=profile.run.run_id,
        estimator=ESTIMATOR,
        cloud=cloud,
        **_named("inner_max", working),
        inner_max_layer=middle,
        lowest_layer=None,
        lowest_dimension=None,
        verdict_rise=None,
        verdict_fall=None,
        reasons_rise=[],
        reasons_fall=[],
        **_named("working_dimension", working),
        working_layer=middle,
        working_layer_first=first,
        working_layer_last=last,
        relative_depth=relative_depth,
        **_named("embedding_dimension", _estimated(profile, cloud, 0, "residual")),
        **_named("final_dimension_pre_norm", _estimated(profile, cloud, n_layers, "residual")),
        **_named("final_dimension_post_norm", _estimated(profile, cloud, n_layers, "post_norm")),
        **_named("expansion_ratio", expansion),
        **_named("contraction_ratio", contraction),
        contraction_ratio_post_norm=contraction_post,
        verdict=verdict,
        qualifiers=qualifiers,
        bits_per_byte=profile.run.bits_per_byte,
        n_points=_n_points(profile, cloud),
        control_run_ids=[control.run.run_id for control in controls] or None,
        contraction_ratio_abtt3=contraction_abtt3,
        expansion_ratio_gride_8=second[0],
        contraction_ratio_gride_8=second[1],
    )


def _named(name: str, interval: Interval) -> dict[str, Any]:
    return {name: interval.value, f"{name}_lower": interval.lower, f"{name}_upper": interval.upper}
