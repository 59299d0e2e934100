"""What the controls of a run show about its claims: each control held against the run, on the same windows of text.

A control that judges (`Pass.judges`) is a network of which several draws were run. If the directions that training wrote
were nothing but drawn ones, the trained network would be one more draw: its rank among them is an exact test (Barnard
1963; with 19 draws the highest rank has a one-sided p of .05). Beside it stands by how much it exceeds the median draw.
Every other control is an effect: its interval, and whether it is within 10 percent of none.

A control is usable if its own d2 does not depend on the number of windows at the layers of the claim. One that is not
usable counts neither for a claim nor against it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
from scipy import special

from core.analysis.claims import END, LEVEL, MARGIN, LogProfile, jackknife_error, log_profile, scale_to_interval
from core.records import Estimate, Profile
from core.registry.checks import CHECKS
from core.registry.passes import PASSES, TRAINED
from core.registry.specifications import CLAIMS, REFERENCE
from core.tables import LayerSeedRow, RunControlRow

POWER = 0.5
"""Least power of a usable control: below it, a control that shows no effect is no evidence."""
WINDOW_CHECK = "sequence_invariance"
"""The check of d2 itself: its change from half of the windows to all."""


def compare_with_controls(profile: Profile, controls: Sequence[Profile]) -> list[RunControlRow]:
    """Compare a run with each of its controls under the reference specification.

    A control that judges and has no full profile (some layer has no estimate), or other windows, is `not_usable`.
    """
    logs = log_profile(profile, REFERENCE)
    if profile.run.pass_ != "text" or profile.model.n_layers < 2 or logs is None or not logs.halves.size:
        return []
    rows = []
    for control in controls:
        ids = profile.run.run_id, control.run.run_id
        # Blocks hold the same text only if both runs redrew the same number of windows.
        is_paired = control.run.n_windows_redrawn == profile.run.n_windows_redrawn
        if PASSES[control.run.pass_].judges:
            draws = draws_of(control, logs) if is_paired else []
            for claim in CLAIMS:
                against = hold_against(logs, draws, claim, profile.model.hidden_size) if draws else None
                rows.append(_control_row(ids, claim, against, is_usable=_is_usable(control)))
            continue
        control_logs = log_profile(control, REFERENCE)
        if control_logs is None or control_logs.blocks.shape != logs.blocks.shape or not is_paired:
            continue
        is_vetoed = any(c.outcome == "veto" for c in control.checks if c.check_name == WINDOW_CHECK)
        of_text = PASSES[control.run.pass_].weights == TRAINED
        for claim, interval, outcome in _effects(logs, control_logs, of_text=of_text):
            ratio, lower, upper = map(math.exp, interval)
            rows.append(RunControlRow(*ids, claim, ratio, lower, upper, None, "not_usable" if is_vetoed else outcome))
    return rows


# --- a control that judges --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Against:
    """A run held against the draws of a control, for one claim; ratios are logarithms."""

    ratio: float
    """The run's ratio over that of the median draw."""
    lower: float
    upper: float
    p: float
    """One-sided: the share of networks, the run among the draws, whose ratio is at least the run's."""
    power: float
    n_seeds: int

    @property
    def outcome(self) -> str:
        """`exceeded`: above all but a twentieth of the draws, and by more than 10 percent; `shows_it`: by less."""
        if self.upper <= MARGIN:
            return "shows_it"
        if self.power < POWER:
            return "no_power"
        return "exceeded" if self.p <= LEVEL and self.lower > MARGIN else "cannot_tell"


def _control_row(ids: tuple[str, str], claim: str, against: Against | None, *, is_usable: bool) -> RunControlRow:
    if against is None:
        return RunControlRow(*ids, claim, None, None, None, 0.0, "not_usable")
    ratio, lower, upper = map(math.exp, (against.ratio, against.lower, against.upper))
    outcome = against.outcome if is_usable else "not_usable"
    return RunControlRow(*ids, claim, ratio, lower, upper, against.power, outcome, against.n_seeds, against.p)


def draws_of(control: Profile, like: LogProfile) -> list[LogProfile]:
    """The log profile of each draw of a control; empty if one has an undefined value, or other blocks or halves."""
    draws, sizes = [], (like.blocks.shape[1], like.halves[0].size)
    for _seed, group in groupby(sorted(control.seeds, key=attrgetter("model_seed", "layer")), attrgetter("model_seed")):
        rows = list(group)
        # A layer whose d2 is more than its points can span has neither a value nor blocks.
        if [(len(row.blocks), len(row.halves)) for row in rows] != [sizes] * len(like.whole):
            return []
        values, blocks, halves = (np.array([getattr(r, name) for r in rows], float) for name in _VALUES)
        if not all((part > 0).all() for part in (values, blocks, halves)):
            return []
        scaled = [scale_to_interval(logs, _estimate(row)) for logs, row in zip(np.log(blocks), rows, strict=True)]
        draws.append(LogProfile(np.log(values), np.stack(scaled), np.log(halves).reshape(like.halves.shape)))
    return draws


_VALUES = ("value", "blocks", "halves")


def _estimate(row: LayerSeedRow) -> Estimate:
    return Estimate(row.value or math.nan, upper=row.upper or math.nan)


def _is_usable(control: Profile) -> bool:
    """Whether d2 of the median draw changes little with the number of windows, wherever a claim looks."""
    shifts: dict[int, list[float]] = {}
    for row in control.seeds:
        if row.window_shift is not None:
            shifts.setdefault(row.model_seed, []).append(abs(row.window_shift))
    return bool(shifts) and float(np.median([max(of) for of in shifts.values()])) <= CHECKS[WINDOW_CHECK].veto


def hold_against(logs: LogProfile, draws: Sequence[LogProfile], claim: str, hidden_size: int) -> Against:
    """The rank of a run's ratio among those of the draws, and its ratio to the median draw.

    Layers of all maxima are chosen on one half of the windows and read on the other. The error is the jackknife's, paired
    by blocks of text, and that of a median of draws: sqrt(pi/2) times that of their mean. Power is that of a t test of one
    draw's ratio against 1.1, if its true ratio were the run's or, if smaller, the largest one possible: a control whose
    embedding already fills the space cannot rise.
    """
    ratio, blocks = _cross_half_ratio(logs, claim)
    ratios, draw_blocks = (np.array(of) for of in zip(*(_cross_half_ratio(draw, claim) for draw in draws), strict=True))
    n = len(draws)
    spread = float(ratios.std(ddof=1)) if n > 1 else 0.0
    value, median_blocks = ratio - float(np.median(ratios)), np.median(draw_blocks, axis=0)
    error = math.hypot(float(jackknife_error(blocks - median_blocks)), math.sqrt(math.pi / 2 / n) * spread)
    reach = logs.quantile * error
    p = (1 + int((ratios >= ratio).sum())) / (n + 1)
    if claim == "rise":
        room = math.log(hidden_size) - float(np.median([draw.whole[0] for draw in draws]))
    else:
        room = float(np.median([draw.whole[1:-1].max() for draw in draws]))
    of_draw = math.hypot(float(jackknife_error(median_blocks)), spread)
    power = control_power(ratio, room, of_draw, blocks.shape[-1])
    return Against(value, value - reach, value + reach, p, power, n)


def cross_half_maximum(logs: LogProfile) -> np.ndarray:
    """log d2 at the layer chosen on one half, read on the other; (n_splits, 2), the second index is the half read."""
    chosen = 1 + np.argmax(logs.halves[1:-1], axis=0)  # (n_splits, 2)
    splits = np.arange(chosen.shape[0])
    return np.stack([logs.halves[chosen[:, 1], splits, 0], logs.halves[chosen[:, 0], splits, 1]], axis=1)


def _cross_half_ratio(logs: LogProfile, claim: str) -> tuple[float, np.ndarray]:
    """Log ratio of the largest inner dimension to that at the end of the claim, and without each block; (n_blocks,)"""
    end = END[claim]
    return float((cross_half_maximum(logs) - logs.halves[end]).mean()), logs.blocks[logs.peak] - logs.blocks[end]


def control_power(ratio: float, room: float, error: float, n_blocks: int) -> float:
    """Power of a control: the probability that it reads above 1.1 where its true log ratio is min(ratio, room).

    Noncentral t with n_blocks - 1 degrees of freedom beyond its 95 percent point.
    """
    freedom = n_blocks - 1
    delta = min((min(ratio, room) - MARGIN) / max(error, 1e-6), 30)  # from there on the power is 1
    return 1 - float(special.nctdtr(freedom, delta, special.stdtrit(freedom, 1 - LEVEL))) if delta > 0 else 0.0


# --- an effect --------------------------------------------------------------------------------------------------


def _effects(
    logs: LogProfile, control: LogProfile, *, of_text: bool
) -> Iterable[tuple[str, tuple[float, float, float], str]]:
    """(claim, log ratio with its limits, outcome) of what a control changes; `of_text`: the same network on another text,
    whose dimensions are compared too."""
    for claim in (*CLAIMS, *(("inner_max", "final") if of_text else ())):
        ratio = _stated(logs, claim) - _stated(control, claim)
        value, error = float(ratio[0]), float(jackknife_error(ratio[1:]))
        lower, upper = value - logs.quantile * error, value + logs.quantile * error
        if lower >= -MARGIN and upper <= MARGIN:
            outcome = "same"
        else:
            outcome = "differs" if lower > 0 or upper < 0 else "cannot_tell"
        yield claim, (value, lower, upper), outcome


def _stated(logs: LogProfile, claim: str) -> np.ndarray:
    """The log ratio of a claim, or the log dimension, on all data, then without each block; (1 + B,)"""
    layers = np.concatenate([logs.whole[:, None], logs.blocks], 1)
    largest = layers[-1 if claim == "final" else logs.peak]
    return largest - layers[END[claim]] if claim in END else largest
