"""Two claims about a profile, judged under every declared specification and against controls that could have failed.

It rises: the largest inner dimension exceeds that at layer 0. It falls: it exceeds that after the last block. Under
each specification a claim is a cell with an outcome of its own (`cell`); a verdict rests on all core cells and on the
control runs (`verdict`). Everything is judged on logarithms, with the delete-one-block jackknife.

The layer of the maximum was chosen on the data, so limits hold for all layers at once: their critical value is that of
the largest studentised deviation over layers under random sign flips of the blocks' pseudo-values, studentised anew in
each flip. With 16 blocks this covers; a multivariate t from the joint covariance of so few blocks does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special

from core.records import Estimate, Profile
from core.registry.passes import PASSES
from core.registry.specifications import CLAIMS, REFERENCE, SPECIFICATIONS, Specification
from core.tables import LayerEstimateRow, LayerReplicateRow, RunClaimRow, RunControlRow

MARGIN = math.log(1.1)
"""A rise or fall of less than 10 percent does not count as one."""
LEVEL = 0.05
N_FLIPS = 4096
FEWEST_BLOCKS = 6
"""The signs of fewer blocks have not enough patterns for limits of 95 percent."""
POWER = 0.5
"""A control that would have shown the text's ratio with less probability than this says nothing by its silence."""
TEN = 10.0
"""The number of dimensions that the literature names for final states (arXiv 2503.22547, its abstract)."""


@dataclass(frozen=True)
class LogProfile:
    """The logarithm of a dimension at every layer: whole, without each block, and on each half."""

    whole: np.ndarray
    """(n_states,)"""
    blocks: np.ndarray
    """(n_states, n_blocks)"""
    halves: np.ndarray
    """(n_states, n_splits, 2); without splits where none were made."""

    @property
    def quantile(self) -> float:
        return float(special.stdtrit(self.blocks.shape[1] - 1, 1 - LEVEL / 2))

    def error(self, difference: np.ndarray) -> float:
        """Delete-one-block error of a (n_blocks,) statistic."""
        b = len(difference)
        return math.sqrt((b - 1) / b * float(((difference - difference.mean()) ** 2).sum()))


def log_profile(profile: Profile, at: Specification, state: str = "residual") -> LogProfile | None:
    """None where a layer is missing or has an undefined value, and with too few blocks."""
    n_states = profile.model.n_layers + 1 if state == "residual" else 1

    def wanted(row: LayerEstimateRow | LayerReplicateRow) -> bool:
        return (row.cloud, row.transform, row.estimator, row.n1) == at.key and row.state == state

    estimates = {r.layer: r for r in profile.estimates if wanted(r)}
    rows = sorted((r for r in profile.replicates if wanted(r) and r.layer in estimates), key=lambda r: r.layer)
    whole = np.array([estimates[row.layer].value or math.nan for row in rows], dtype=float)
    if len(rows) != n_states or not (whole > 0).all():
        return None
    blocks = np.array([row.blocks for row in rows], dtype=float)
    halves = np.array([row.halves for row in rows], dtype=float).reshape(n_states, -1, 2)
    if blocks.ndim != 2 or blocks.shape[1] < FEWEST_BLOCKS or not ((blocks > 0).all() and (halves > 0).all()):
        return None
    told = [as_told(logs, estimates[row.layer]) for logs, row in zip(np.log(blocks), rows, strict=True)]
    return LogProfile(np.log(whole), np.stack(told), np.log(halves))


def as_told(blocks: np.ndarray, estimate: LayerEstimateRow | Estimate) -> np.ndarray:
    """Logarithms without each block (n_blocks,), spread so that Student's interval from them is the estimate's own.

    That one is corrected for what the jackknife gets wrong (docs/accuracy.md): interactions of blocks count twice and
    more, and a sample that reads too high is told too exact. Ratios of layers inherit it so.
    """
    deviations = blocks - blocks.mean()
    b = len(blocks)
    error = math.sqrt((b - 1) / b * float((deviations**2).sum()))
    if not estimate.value or not estimate.upper or not estimate.upper > estimate.value or not error:
        return blocks
    reach = math.log(estimate.upper / estimate.value) / float(special.stdtrit(b - 1, 1 - LEVEL / 2))
    return blocks.mean() + deviations * (reach / error)


# --- limits that hold for all layers at once -------------------------------------------------------------------


@dataclass(frozen=True)
class Simultaneous:
    """Statistics of several layers with limits that hold for all of them at once."""

    values: np.ndarray
    """(n,)"""
    errors: np.ndarray
    """(n,) standard errors"""
    largest: np.ndarray
    """(n_flips,) largest studentised deviation of any of them, under each sign flip of the blocks; ascending."""

    @property
    def critical(self) -> float:
        """What that exceeds with probability `LEVEL`: standard errors from a value to its limit."""
        return float(np.quantile(self.largest, 1 - LEVEL, method="higher"))

    @property
    def lower(self) -> np.ndarray:
        return self.values - self.critical * self.errors

    @property
    def upper(self) -> np.ndarray:
        return self.values + self.critical * self.errors

    def p_value(self, studentised: float) -> float:
        """Of a deviation as large as this of some value from the truth, either way."""
        return (1 + float((self.largest >= studentised).sum())) / (1 + len(self.largest))


def simultaneous(values: np.ndarray, blocks: np.ndarray) -> Simultaneous:
    """Of values (n,) and the same without each block (n, n_blocks)."""
    b = blocks.shape[1]
    pseudo = (1 - b) * (blocks - blocks.mean(1, keepdims=True))  # deviations of the pseudo-values; (n, b)
    squares = (pseudo**2).mean(1)
    scale = np.sqrt(squares)
    unit = np.divide(pseudo, scale[:, None], out=np.zeros_like(pseudo), where=scale[:, None] > 0)
    largest = np.zeros(N_FLIPS)
    flips = _flips(b)
    for part in np.array_split(unit, max(1, math.ceil(len(unit) / 64))):  # all pairs of many layers are many
        means = flips @ part.T / b  # (n_flips, n)
        largest = np.maximum(largest, np.abs(means, out=means).max(1, initial=0))
    # Of flipped values with mean square 1, the studentised mean grows with the mean: the largest mean has the largest.
    studentised = largest / np.sqrt(np.maximum(1 - largest**2, 1e-12) / (b - 1))
    return Simultaneous(values, np.sqrt(squares / (b - 1)), np.sort(studentised))


@cache
def _flips(n_blocks: int) -> np.ndarray:
    return np.random.default_rng(n_blocks).integers(0, 2, (N_FLIPS, n_blocks)) * 2.0 - 1


# --- one claim under one specification -------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """Logarithms of the ratio of the largest inner dimension to that at one end, and what they come to."""

    ratio: float
    lower: float
    upper: float
    layer: int
    """Of the largest inner dimension."""
    p_yes: float
    p_no: float
    p_opposite: float

    @property
    def outcome(self) -> str:
        return self.outcome_at(LEVEL)

    def outcome_at(self, level: float) -> str:
        """`yes`: above 1.1; `opposite`: below 1/1.1; `no`: not above 1.1; else `cannot_tell`."""
        if self.p_yes <= level:
            return "yes"
        if self.p_opposite <= level:
            return "opposite"
        return "no" if self.p_no <= level else "cannot_tell"


def cell(logs: LogProfile, claim: str) -> Cell:
    """A claim under the specification that `logs` were read by; at least one inner layer is needed."""
    above, blocks = _over_end(logs, claim)
    return _cell(simultaneous(above, blocks))


def _over_end(logs: LogProfile, claim: str) -> tuple[np.ndarray, np.ndarray]:
    """Inner layers over layer 0 (rise) or over the last (fall): (L-1,) and without each block (L-1, B)."""
    end = 0 if claim == "rise" else -1
    return logs.whole[1:-1] - logs.whole[end], logs.blocks[1:-1] - logs.blocks[end]


def _cell(found: Simultaneous) -> Cell:
    errors = np.maximum(found.errors, 1e-12)

    def p_above(limit: float) -> float:
        """That some layer only seems to exceed the limit."""
        return found.p_value(float(((found.values - limit) / errors).max()))

    def p_below(limit: float) -> float:
        """That some layer reaches the limit although none seems to."""
        return found.p_value(float(((limit - found.values) / errors).min()))

    return Cell(
        float(found.values.max()),
        float(found.lower.max()),
        float(found.upper.max()),
        1 + int(found.values.argmax()),
        p_above(MARGIN),
        p_below(MARGIN),
        p_below(-MARGIN),
    )


def holm(cells: Sequence[Cell | None]) -> list[str]:
    """Outcomes with the error rate held over all cells together (Holm 1979); a cell that is missing cannot tell."""
    p_values = [min(c.p_yes, c.p_no, c.p_opposite) if c else 1.0 for c in cells]
    outcomes = ["cannot_tell"] * len(cells)
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        level = LEVEL / (len(cells) - rank)
        found = cells[index]
        if found is None or p_values[index] > level:
            break
        outcomes[index] = found.outcome_at(level)
    return outcomes


def claims(profile: Profile) -> list[RunClaimRow]:
    """Every claim under every specification that the profile was measured by; core ones also where it was not.

    Empty without inner layers, and for a protocol without the cloud of the reference.
    """
    if profile.model.n_layers < 2 or all(row.cloud != REFERENCE.cloud for row in profile.estimates):
        return []
    read = [(at, log_profile(profile, at)) for at in SPECIFICATIONS]
    run = profile.run
    return [row for claim in CLAIMS for row in cells_of(run.run_id, run.seed, claim, read)]


def cells_of(
    run_id: str, seed: int, claim: str, read: Sequence[tuple[Specification, LogProfile | None]]
) -> Iterable[RunClaimRow]:
    """The rows of one claim, from the profile that each specification reads; None where it was not measured."""
    cells = [(at, cell(logs, claim) if logs else None) for at, logs in read]
    core = iter(holm([found for at, found in cells if at.is_core]))
    for at, found in cells:
        after_holm = next(core) if at.is_core else None
        if found or at.is_core:
            yield RunClaimRow(
                run_id=run_id,
                claim=claim,
                cloud=at.cloud,
                estimator=at.estimator,
                transform=at.transform,
                n1=at.n1,
                n2=at.n2,
                seed=seed,
                is_core=at.is_core,
                ratio=math.exp(found.ratio) if found else None,
                lower=math.exp(found.lower) if found else None,
                upper=math.exp(found.upper) if found else None,
                outcome=found.outcome if found else "cannot_tell",
                outcome_holm=after_holm,
                layer=found.layer if found else None,
            )


# --- controls --------------------------------------------------------------------------------------------------


def against_controls(profile: Profile, controls: Sequence[Profile]) -> list[RunControlRow]:
    """What each control says, on the reference specification, paired by the blocks of text that both have read.

    A control of untrained weights that has no such profile, because a layer carries no estimate, is not usable.
    """
    logs = log_profile(profile, REFERENCE)
    if profile.run.pass_ != "text" or profile.model.n_layers < 2 or logs is None:
        return []
    found = []
    for control in controls:
        other = log_profile(control, REFERENCE)
        has_effect = PASSES[control.run.pass_].has_effect
        ids = profile.run.run_id, control.run.run_id
        # Blocks are the same text only where no window was drawn again for one of the two.
        is_paired = control.run.n_windows_redrawn == profile.run.n_windows_redrawn
        if other is None or other.blocks.shape != logs.blocks.shape or not is_paired:
            if not has_effect:
                found += [RunControlRow(*ids, claim, None, None, None, 0.0, "not_usable") for claim in CLAIMS]
            continue
        is_vetoed = control.worst_check == "veto"
        shown = _effect if has_effect else _untrained
        for claim, ratio, power, outcome in shown(logs, other, profile.model.hidden_size):
            value, lower, upper = map(math.exp, ratio)
            found.append(RunControlRow(*ids, claim, value, lower, upper, power, "not_usable" if is_vetoed else outcome))
    return found


_Shown = tuple[str, tuple[float, float, float], float | None, str]
"""claim; log ratio, its lower and upper limit; power; outcome"""


def _untrained(logs: LogProfile, control: LogProfile, hidden_size: int) -> Iterable[_Shown]:
    """The text's ratio must exceed the control's; below or at it, the control shows the claim as well.

    Power is that of a one-sided t test of the control's own ratio against 1.1, were it as large as the text's or as
    its room allows: a control whose embedding fills the space already cannot rise.
    """
    for claim in CLAIMS:
        above, blocks = _over_end(logs, claim)
        of_control, of_blocks = _over_end(control, claim)
        at = int(of_control.argmax())
        ratio, lower, upper = _of_maxima(above, blocks, of_control, of_blocks)
        filled = control.whole[0] if claim == "rise" else 0.0
        room = (math.log(hidden_size) if claim == "rise" else float(control.whole[1:-1].max())) - filled
        power = power_of(float(above.max()), room, control.error(of_blocks[at]), blocks.shape[1])
        if upper <= 0:
            outcome = "shows_it"
        elif power < POWER:
            outcome = "no_power"
        else:
            outcome = "exceeded" if lower > 0 else "cannot_tell"
        yield claim, (ratio, lower, upper), power, outcome


def _of_maxima(
    one: np.ndarray, one_blocks: np.ndarray, other: np.ndarray, other_blocks: np.ndarray
) -> tuple[float, float, float]:
    """The maximum of one profile (n,) less that of another (m,), with limits for all pairs of layers at once.

    Both layers were chosen on the data. max_l a_l - max_k b_k is the largest, over l, of the smallest a_l - b_k.
    """
    pairs = simultaneous(
        (one[:, None] - other[None, :]).ravel(),
        (one_blocks[:, None] - other_blocks[None, :]).reshape(-1, one_blocks.shape[1]),
    )
    lower, upper = (limits.reshape(len(one), len(other)).min(1).max() for limits in (pairs.lower, pairs.upper))
    return float(one.max() - other.max()), float(lower), float(upper)


def power_of(ratio: float, room: float, error: float, n_blocks: int) -> float:
    """Probability that a control with this error (of a log ratio) reads above 1.1 where its truth is min(ratio, room).

    Noncentral t with n_blocks - 1 degrees of freedom beyond its 95 percent point.
    """
    from scipy import stats  # half a second to load, which nobody who looks at pages needs

    freedom = n_blocks - 1
    delta = (min(ratio, room) - MARGIN) / max(error, 1e-6)
    if delta > 30:  # beyond what the distribution is computed for, and certain
        return 1.0
    return float(stats.nct.sf(special.stdtrit(freedom, 1 - LEVEL), freedom, delta)) if delta > 0 else 0.0


def _effect(logs: LogProfile, control: LogProfile, _hidden_size: int) -> Iterable[_Shown]:
    """How much the order of tokens matters, or the opening token: with its interval, and whether it is none within 10
    percent."""
    peak = 1 + int(logs.whole[1:-1].argmax())
    other = 1 + int(control.whole[1:-1].argmax())
    statements = {
        "rise": ((peak, 0), (other, 0)),
        "fall": ((peak, -1), (other, -1)),
        "inner_max": ((peak, None), (other, None)),
        "final": ((-1, None), (-1, None)),
    }
    for claim, (of_text, of_control) in statements.items():
        ratio, blocks = _log_ratio(logs, *of_text), _log_ratio(control, *of_control)
        value, error = float(ratio[0] - blocks[0]), logs.error(ratio[1:] - blocks[1:])
        lower, upper = value - logs.quantile * error, value + logs.quantile * error
        if lower >= -MARGIN and upper <= MARGIN:
            outcome = "same"
        else:
            outcome = "differs" if lower > 0 or upper < 0 else "cannot_tell"
        yield claim, (value, lower, upper), None, outcome


def _log_ratio(logs: LogProfile, layer: int, below: int | None) -> np.ndarray:
    """Whole, then without each block; (1 + B,)"""
    both = np.concatenate([logs.whole[:, None], logs.blocks], 1)
    return both[layer] - (both[below] if below is not None else 0)


# --- the verdict -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    word: str
    """`robust`, `depends`, `no`, `cannot_tell`, `not_usable` or `not_controlled`."""
    reasons: list[str]
    """Why it is not robust, by key; empty for `robust` and `no`."""


def verdict(
    rows: Sequence[RunClaimRow], controls: Sequence[RunControlRow], is_vetoed: bool, failed: Sequence[str] = ()
) -> Verdict:
    """Of one claim: `rows` its cells, `controls` what controls say of it; `failed` passes could not be measured.

    Robust needs every core cell (an intersection-union test, which needs no correction) and a control that could have
    shown the claim. Depends needs a yes and a no that both stay after Holm's correction over the core: without it,
    cells at the margin give a false yes in 16 to 27 percent.
    """
    core = [row for row in rows if row.is_core]
    if is_vetoed:
        return Verdict("not_usable", ["check_vetoed"])
    if not core:
        return Verdict("cannot_tell", ["too_few_layers"])
    shown = [row for row in controls if row.outcome == "shows_it"]
    if all(row.outcome == "yes" for row in core):
        return Verdict("depends", ["control_shows_it"]) if shown else _controlled(controls, failed)
    reference = core[0]
    kinds = {row.outcome_holm for row in core}
    if "yes" in kinds and kinds & {"no", "opposite"}:
        return Verdict("depends", _axes(core))
    if reference.outcome == "yes" and shown:
        return Verdict("depends", ["control_shows_it"])
    if reference.outcome in ("no", "opposite") and not any(row.outcome == "yes" for row in core):
        return Verdict("no", [])
    missing = any(row.ratio is None for row in core)
    return Verdict("cannot_tell", ["cells_missing"] if missing else ["within_error"])


def _controlled(controls: Sequence[RunControlRow], failed: Sequence[str]) -> Verdict:
    """The text must exceed every control, whatever its power: one that is vetoed counts against a claim, never for it."""
    untrained = [row for row in controls if row.power is not None]
    if not untrained:
        return Verdict("not_controlled", ["control_failed" if failed else "no_control"])
    vetoed = [row for row in untrained if row.outcome == "not_usable"]
    reached = [row for row in untrained if row.lower is None or row.lower <= 1]
    if any(row not in vetoed for row in reached):
        return Verdict("not_controlled", ["control_not_exceeded"])
    if reached:
        has_none = any(row.ratio is None for row in reached)
        return Verdict("not_controlled", ["control_failed" if has_none else "control_vetoed"])
    if any(row.outcome == "exceeded" for row in untrained):
        return Verdict("robust", [])
    return Verdict("not_controlled", ["control_vetoed" if vetoed else "control_no_power"])


def _axes(core: Sequence[RunClaimRow]) -> list[str]:
    """What the claim goes with: the axes of the cells that say otherwise than the reference does.

    Where the reference is undecided, those of the side that fewer axes are on.
    """
    axes = {at.key: at.axis for at in SPECIFICATIONS}

    def told(outcomes: tuple[str, ...]) -> list[str]:
        rows = [row for row in core[1:] if row.outcome_holm in outcomes]
        return list(dict.fromkeys(f"axis_{axes[r.cloud, r.transform, r.estimator, r.n1]}" for r in rows))

    yes, against = told(("yes",)), told(("no", "opposite"))
    if core[0].outcome == "cannot_tell":
        return min(against, yes, key=len)
    return against if core[0].outcome == "yes" else yes


def against_ten(lower: float | None, upper: float | None) -> str:
    """Whether a dimension is ten: `above`, `below`, or `in` where its interval holds ten; empty without an interval."""
    if lower is None or upper is None:
        return ""
    return "above" if lower > TEN else "below" if upper < TEN else "in"
