"""What the controls of a run show about its claims: each control held against the run, paired by common blocks of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import special

from core.analysis.claims import (
    LEVEL,
    MARGIN,
    LogProfile,
    jackknife_error,
    log_profile,
    log_ratio_to_end,
    simultaneous_limits,
)
from core.records import Profile
from core.registry.passes import PASSES
from core.registry.specifications import CLAIMS, REFERENCE
from core.tables import RunControlRow

POWER = 0.5
"""Least power of a usable control: below it, a control that shows no effect is no evidence."""


def compare_with_controls(profile: Profile, controls: Sequence[Profile]) -> list[RunControlRow]:
    """Compare a run with each of its controls under the reference specification, paired by common blocks of text.

    A control of untrained weights without a full profile (some layer has no estimate) is `not_usable`.
    """
    logs = log_profile(profile, REFERENCE)
    if profile.run.pass_ != "text" or profile.model.n_layers < 2 or logs is None:
        return []
    rows = []
    for control in controls:
        control_logs = log_profile(control, REFERENCE)
        has_effect = PASSES[control.run.pass_].has_effect
        ids = profile.run.run_id, control.run.run_id
        # Blocks hold the same text only if both runs redrew the same number of windows.
        is_paired = control.run.n_windows_redrawn == profile.run.n_windows_redrawn
        if control_logs is None or control_logs.blocks.shape != logs.blocks.shape or not is_paired:
            if not has_effect:
                rows += [RunControlRow(*ids, claim, None, None, None, 0.0, "not_usable") for claim in CLAIMS]
            continue
        is_vetoed = control.worst_check == "veto"
        compare = _compare_effect if has_effect else _compare_untrained
        for claim, ratio, power, outcome in compare(logs, control_logs, profile.model.hidden_size):
            value, lower, upper = map(math.exp, ratio)
            rows.append(RunControlRow(*ids, claim, value, lower, upper, power, "not_usable" if is_vetoed else outcome))
    return rows


_ControlComparison = tuple[str, tuple[float, float, float], float | None, str]
"""claim; log ratio, its lower and upper limit; power; outcome"""


def _compare_untrained(logs: LogProfile, control: LogProfile, hidden_size: int) -> Iterable[_ControlComparison]:
    """Whether the text's ratio exceeds that of untrained weights; if not, the control shows the claim as well.

    Power is that of a one-sided t test of the control's own ratio against 1.1, if its true ratio were the text's or, if
    smaller, the largest one possible: a control whose embedding already fills the space cannot rise.
    """
    for claim in CLAIMS:
        above, blocks = log_ratio_to_end(logs, claim)
        control_above, control_blocks = log_ratio_to_end(control, claim)
        peak = int(control_above.argmax())
        ratio, lower, upper = _difference_of_maxima(above, blocks, control_above, control_blocks)
        embedding = control.whole[0] if claim == "rise" else 0.0
        room = (math.log(hidden_size) if claim == "rise" else float(control.whole[1:-1].max())) - embedding
        power = control_power(float(above.max()), room, float(jackknife_error(control_blocks[peak])), blocks.shape[1])
        if upper <= 0:
            outcome = "shows_it"
        elif power < POWER:
            outcome = "no_power"
        else:
            outcome = "exceeded" if lower > 0 else "cannot_tell"
        yield claim, (ratio, lower, upper), power, outcome


def _difference_of_maxima(
    values: np.ndarray, blocks: np.ndarray, other_values: np.ndarray, other_blocks: np.ndarray
) -> tuple[float, float, float]:
    """The maximum of one profile (n,) minus that of another (m,), with limits simultaneous over all pairs of layers.

    Both layers are chosen on the data. max_l a_l - max_k b_k = max over l of min over k of (a_l - b_k).
    """
    pairs = simultaneous_limits(
        (values[:, None] - other_values[None, :]).ravel(),
        (blocks[:, None] - other_blocks[None, :]).reshape(-1, blocks.shape[1]),
    )
    lower, upper = (
        limits.reshape(len(values), len(other_values)).min(1).max() for limits in (pairs.lower, pairs.upper)
    )
    return float(values.max() - other_values.max()), float(lower), float(upper)


def control_power(ratio: float, room: float, error: float, n_blocks: int) -> float:
    """Power of a control: the probability that it reads above 1.1 where its true log ratio is min(ratio, room).

    Noncentral t with n_blocks - 1 degrees of freedom beyond its 95 percent point.
    """
    from scipy import stats  # loads in half a second, and pages do not need it

    freedom = n_blocks - 1
    delta = (min(ratio, room) - MARGIN) / max(error, 1e-6)
    if delta > 30:  # beyond the range of scipy's noncentral t; the power is 1
        return 1.0
    return float(stats.nct.sf(special.stdtrit(freedom, 1 - LEVEL), freedom, delta)) if delta > 0 else 0.0


def _compare_effect(logs: LogProfile, control: LogProfile, _hidden_size: int) -> Iterable[_ControlComparison]:
    """The effect of token order, or of the opening token: its interval, and whether it is within 10 percent of none."""
    peak = 1 + int(logs.whole[1:-1].argmax())
    other = 1 + int(control.whole[1:-1].argmax())
    statements = {
        "rise": ((peak, 0), (other, 0)),
        "fall": ((peak, -1), (other, -1)),
        "inner_max": ((peak, None), (other, None)),
        "final": ((-1, None), (-1, None)),
    }
    for claim, (text_layers, control_layers) in statements.items():
        ratio, blocks = _log_ratio(logs, *text_layers), _log_ratio(control, *control_layers)
        value, error = float(ratio[0] - blocks[0]), float(jackknife_error(ratio[1:] - blocks[1:]))
        lower, upper = value - logs.quantile * error, value + logs.quantile * error
        if lower >= -MARGIN and upper <= MARGIN:
            outcome = "same"
        else:
            outcome = "differs" if lower > 0 or upper < 0 else "cannot_tell"
        yield claim, (value, lower, upper), None, outcome


def _log_ratio(logs: LogProfile, layer: int, below: int | None) -> np.ndarray:
    """On all data, then without each block; (1 + B,)"""
    logs_and_blocks = np.concatenate([logs.whole[:, None], logs.blocks], 1)
    return logs_and_blocks[layer] - (logs_and_blocks[below] if below is not None else 0)
