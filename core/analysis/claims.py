"""Two claims about a profile, tested under every declared specification and against control runs.

`rise`: the largest inner dimension exceeds that at layer 0. `fall`: it exceeds that after the last block. Each claim
has one result per specification (`evaluate_claim`); the verdict rests on all core results and on the control runs
(`decide_verdict`). All tests work on logarithms, with the delete-one-block jackknife.

The layer of the maximum is chosen on the data, so the limits are simultaneous over layers: their critical value is that
of the largest studentised deviation over layers under random sign flips of the blocks' pseudo-values, studentised again
in each flip. With 16 blocks this covers; a multivariate t from the joint covariance of so few blocks does not.
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
"""Fewer blocks have too few sign patterns for 95 percent limits."""
POWER = 0.5
"""Least power of a usable control: below it, a control that shows no effect is no evidence."""
TEN = 10.0
"""The number of dimensions that the literature names for final states (arXiv 2503.22547, its abstract)."""


@dataclass(frozen=True)
class LogProfile:
    """The logarithm of a dimension at every layer: on all data, without each block, and on each half."""

    whole: np.ndarray
    """(n_states,)"""
    blocks: np.ndarray
    """(n_states, n_blocks)"""
    halves: np.ndarray
    """(n_states, n_splits, 2); n_splits is 0 where the run has no half-splits."""

    @property
    def quantile(self) -> float:
        return float(special.stdtrit(self.blocks.shape[1] - 1, 1 - LEVEL / 2))


def jackknife_error(without: np.ndarray) -> np.ndarray:
    """Delete-one-block error of statistics (..., n_blocks): (...)."""
    return np.asarray(np.sqrt((without.shape[-1] - 1) * without.var(axis=-1)))


def log_profile(profile: Profile, specification: Specification, state: str = "residual") -> LogProfile | None:
    """None where a layer is missing or has an undefined value, and with too few blocks."""
    n_states = profile.model.n_layers + 1 if state == "residual" else 1

    def is_selected(row: LayerEstimateRow | LayerReplicateRow) -> bool:
        return (row.cloud, row.transform, row.estimator, row.n1) == specification.key and row.state == state

    estimates = {r.layer: r for r in profile.estimates if is_selected(r)}
    rows = sorted((r for r in profile.replicates if is_selected(r) and r.layer in estimates), key=lambda r: r.layer)
    values = np.array([estimates[row.layer].value or math.nan for row in rows], dtype=float)
    if len(rows) != n_states or not (values > 0).all():
        return None
    blocks = np.array([row.blocks for row in rows], dtype=float)
    halves = np.array([row.halves for row in rows], dtype=float).reshape(n_states, -1, 2)
    if blocks.ndim != 2 or blocks.shape[1] < FEWEST_BLOCKS or not ((blocks > 0).all() and (halves > 0).all()):
        return None
    log_blocks = [scale_to_interval(logs, estimates[row.layer]) for logs, row in zip(np.log(blocks), rows, strict=True)]
    return LogProfile(np.log(values), np.stack(log_blocks), np.log(halves))


def scale_to_interval(blocks: np.ndarray, estimate: LayerEstimateRow | Estimate) -> np.ndarray:
    """Log values without each block (n_blocks,), rescaled so that Student's interval from them equals the estimate's.

    The estimate's interval corrects known errors of the jackknife (docs/accuracy.md): interactions of blocks are
    counted more than once, and samples that read too high get too small an error. Ratios of layers inherit the correction.
    """
    error = float(jackknife_error(blocks))
    if not estimate.value or not estimate.upper or not estimate.upper > estimate.value or not error:
        return blocks
    half_width = math.log(estimate.upper / estimate.value) / float(special.stdtrit(len(blocks) - 1, 1 - LEVEL / 2))
    return blocks.mean() + (blocks - blocks.mean()) * (half_width / error)


# --- limits that hold for all layers at once -------------------------------------------------------------------


@dataclass(frozen=True)
class SimultaneousLimits:
    """Statistics of several layers with simultaneous 95 percent limits."""

    values: np.ndarray
    """(n,)"""
    errors: np.ndarray
    """(n,) standard errors"""
    largest: np.ndarray
    """(n_flips,) the largest studentised deviation over layers under each sign flip of the blocks; ascending."""

    @property
    def critical(self) -> float:
        """Standard errors from a value to its limit: `largest` exceeds it with probability `LEVEL`."""
        return float(np.quantile(self.largest, 1 - LEVEL, method="higher"))

    @property
    def lower(self) -> np.ndarray:
        return self.values - self.critical * self.errors

    @property
    def upper(self) -> np.ndarray:
        return self.values + self.critical * self.errors

    def p_value(self, studentised: float) -> float:
        """Two-sided p of a studentised deviation as large as this at any layer."""
        return (1 + float((self.largest >= studentised).sum())) / (1 + len(self.largest))


def simultaneous_limits(values: np.ndarray, blocks: np.ndarray) -> SimultaneousLimits:
    """Limits from values (n,) and the same values without each block (n, n_blocks)."""
    b = blocks.shape[1]
    pseudo = (1 - b) * (blocks - blocks.mean(1, keepdims=True))  # deviations of the pseudo-values; (n, b)
    squares = (pseudo**2).mean(1)
    scale = np.sqrt(squares)
    unit = np.divide(pseudo, scale[:, None], out=np.zeros_like(pseudo), where=scale[:, None] > 0)
    largest = np.zeros(N_FLIPS)
    flips = _sign_flips(b)
    for part in np.array_split(unit, max(1, math.ceil(len(unit) / 64))):  # bounds memory for pairs of many layers
        means = flips @ part.T / b  # (n_flips, n)
        largest = np.maximum(largest, np.abs(means, out=means).max(1, initial=0))
    # Of flipped values with mean square 1, the studentised mean grows with the mean: the largest mean has the largest.
    studentised = largest / np.sqrt(np.maximum(1 - largest**2, 1e-12) / (b - 1))
    return SimultaneousLimits(values, np.sqrt(squares / (b - 1)), np.sort(studentised))


@cache
def _sign_flips(n_blocks: int) -> np.ndarray:
    return np.random.default_rng(n_blocks).integers(0, 2, (N_FLIPS, n_blocks)) * 2.0 - 1


# --- one claim under one specification -------------------------------------------------------------------------


@dataclass(frozen=True)
class ClaimResult:
    """One claim under one specification: the log ratio of the largest inner dimension to that at one end, and p-values."""

    ratio: float
    lower: float
    upper: float
    layer: int
    """The layer of the largest inner dimension."""
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


def _log_ratio_to_end(logs: LogProfile, claim: str) -> tuple[np.ndarray, np.ndarray]:
    """Log ratio of each inner layer to layer 0 (rise) or to the last (fall): (L-1,), and without each block (L-1, B)."""
    end = 0 if claim == "rise" else -1
    return logs.whole[1:-1] - logs.whole[end], logs.blocks[1:-1] - logs.blocks[end]


def evaluate_claim(logs: LogProfile, claim: str) -> ClaimResult:
    """Test a claim on the log profile of one specification; needs at least one inner layer."""
    limits = simultaneous_limits(*_log_ratio_to_end(logs, claim))
    errors = np.maximum(limits.errors, 1e-12)

    def p_above(limit: float) -> float:
        """p of the null hypothesis that no layer exceeds the limit."""
        return limits.p_value(float(((limits.values - limit) / errors).max()))

    def p_below(limit: float) -> float:
        """p of the null hypothesis that some layer reaches the limit."""
        return limits.p_value(float(((limit - limits.values) / errors).min()))

    return ClaimResult(
        float(limits.values.max()),
        float(limits.lower.max()),
        float(limits.upper.max()),
        1 + int(limits.values.argmax()),
        p_above(MARGIN),
        p_below(MARGIN),
        p_below(-MARGIN),
    )


def holm_outcomes(results: Sequence[ClaimResult | None]) -> list[str]:
    """Outcomes with the family-wise error rate controlled over all results (Holm 1979); a missing result cannot tell."""
    p_values = [min(c.p_yes, c.p_no, c.p_opposite) if c else 1.0 for c in results]
    outcomes = ["cannot_tell"] * len(results)
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        level = LEVEL / (len(results) - rank)
        result = results[index]
        if result is None or p_values[index] > level:
            break
        outcomes[index] = result.outcome_at(level)
    return outcomes


def evaluate_claims(profile: Profile) -> list[RunClaimRow]:
    """Rows for every claim under every measured specification; core specifications get a row even where unmeasured.

    Empty without inner layers, and for a protocol without the cloud of the reference specification.
    """
    if profile.model.n_layers < 2 or all(row.cloud != REFERENCE.cloud for row in profile.estimates):
        return []
    log_profiles = [(specification, log_profile(profile, specification)) for specification in SPECIFICATIONS]
    run = profile.run
    return [row for claim in CLAIMS for row in claim_rows(run.run_id, run.seed, claim, log_profiles)]


def claim_rows(
    run_id: str, seed: int, claim: str, log_profiles: Sequence[tuple[Specification, LogProfile | None]]
) -> Iterable[RunClaimRow]:
    """The rows of one claim, from the log profile under each specification (None where it was not measured)."""
    results = [(specification, evaluate_claim(logs, claim) if logs else None) for specification, logs in log_profiles]
    corrected = iter(holm_outcomes([result for specification, result in results if specification.is_core]))
    for specification, result in results:
        outcome_holm = next(corrected) if specification.is_core else None
        if result or specification.is_core:
            yield RunClaimRow(
                run_id=run_id,
                claim=claim,
                cloud=specification.cloud,
                estimator=specification.estimator,
                transform=specification.transform,
                n1=specification.n1,
                n2=specification.n2,
                seed=seed,
                is_core=specification.is_core,
                ratio=math.exp(result.ratio) if result else None,
                lower=math.exp(result.lower) if result else None,
                upper=math.exp(result.upper) if result else None,
                outcome=result.outcome if result else "cannot_tell",
                outcome_holm=outcome_holm,
                layer=result.layer if result else None,
            )


# --- controls --------------------------------------------------------------------------------------------------


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
        above, blocks = _log_ratio_to_end(logs, claim)
        control_above, control_blocks = _log_ratio_to_end(control, claim)
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


# --- the verdict -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    word: str
    """`robust`, `depends`, `no`, `cannot_tell`, `not_usable` or `not_controlled`."""
    reasons: list[str]
    """Why it is not robust, by key; empty for `robust` and `no`."""


def decide_verdict(
    rows: Sequence[RunClaimRow], controls: Sequence[RunControlRow], is_vetoed: bool, failed: Sequence[str] = ()
) -> Verdict:
    """The verdict on one claim from its rows and those of its controls; `failed` names passes that could not be measured.

    `robust` needs every core row (an intersection-union test, which needs no correction) and a powered control that was
    exceeded. `depends` needs a yes and a no that both survive Holm's correction over the core: without it, specifications
    at the margin give a false yes in 16 to 27 percent.
    """
    core = [row for row in rows if row.is_core]
    if is_vetoed:
        return Verdict("not_usable", ["check_vetoed"])
    if not core:
        return Verdict("cannot_tell", ["too_few_layers"])
    shows_it = [row for row in controls if row.outcome == "shows_it"]
    if all(row.outcome == "yes" for row in core):
        return Verdict("depends", ["control_shows_it"]) if shows_it else _verdict_against_controls(controls, failed)
    reference = core[0]
    kinds = {row.outcome_holm for row in core}
    if "yes" in kinds and kinds & {"no", "opposite"}:
        return Verdict("depends", _disagreeing_axes(core))
    if reference.outcome == "yes" and shows_it:
        return Verdict("depends", ["control_shows_it"])
    if reference.outcome in ("no", "opposite") and not any(row.outcome == "yes" for row in core):
        return Verdict("no", [])
    missing = any(row.ratio is None for row in core)
    return Verdict("cannot_tell", ["cells_missing"] if missing else ["within_error"])


def _verdict_against_controls(controls: Sequence[RunControlRow], failed: Sequence[str]) -> Verdict:
    """The text must exceed every control, whatever its power; a vetoed control can count against a claim, never for it."""
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


def _disagreeing_axes(core: Sequence[RunClaimRow]) -> list[str]:
    """The axes of the specifications that disagree with the reference.

    Where the reference is undecided: the axes of the smaller side.
    """
    axes = {specification.key: specification.axis for specification in SPECIFICATIONS}

    def axes_with(outcomes: tuple[str, ...]) -> list[str]:
        rows = [row for row in core[1:] if row.outcome_holm in outcomes]
        return list(dict.fromkeys(f"axis_{axes[r.cloud, r.transform, r.estimator, r.n1]}" for r in rows))

    yes, against = axes_with(("yes",)), axes_with(("no", "opposite"))
    if core[0].outcome == "cannot_tell":
        return min(against, yes, key=len)
    return against if core[0].outcome == "yes" else yes


def compare_with_ten(lower: float | None, upper: float | None) -> str:
    """`above` or `below` ten, `in` if the interval contains ten; empty without an interval."""
    if lower is None or upper is None:
        return ""
    return "above" if lower > TEN else "below" if upper < TEN else "in"
