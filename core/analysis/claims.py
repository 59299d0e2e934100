"""Two claims about a profile, tested under every declared specification, judged, and held against controls.

`rise`: the largest inner dimension exceeds that at layer 0. `fall`: it exceeds that after the last block. Each claim
has one result per specification (`evaluate_claim`). All tests work on logarithms, with the delete-one-block jackknife.

The layer of the maximum is chosen on the data, so the limits are simultaneous over layers: their critical value is that
of the largest studentised deviation over layers under random sign flips of the blocks' pseudo-values, studentised again
in each flip. With 16 blocks this covers; a multivariate t from the joint covariance of so few blocks does not.

Of the controls, drawn networks judge: whether the text exceeds what they show. The others tell what they change, an effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import groupby
from operator import attrgetter
from statistics import median
from typing import Any

import numpy as np
from scipy import special

from core.records import Estimate, Profile
from core.registry.checks import CHECKS
from core.registry.protocols import CLAIMS, PASSES, REFERENCE, SPECIFICATIONS, TRAINED, Specification
from core.tables import LayerEstimateRow, LayerReplicateRow, LayerSeedRow, RunClaimRow, RunControlRow, RunSummaryRow

MARGIN = math.log(1.1)
"""A rise or fall of less than 10 percent does not count as one."""
LEVEL = 0.05
N_FLIPS = 4096
END = {"rise": 0, "fall": -1}
"""The layer that a claim holds the largest inner dimension against."""
FEWEST_BLOCKS = 6
"""Fewer blocks have too few sign patterns for 95 percent limits."""


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

    @property
    def peak(self) -> int:
        """The inner layer of the largest dimension."""
        return 1 + int(np.argmax(self.whole[1:-1]))


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
    return _log_profile([estimates[row.layer] for row in rows], rows) if len(rows) == n_states else None


def _log_profile(
    estimates: Sequence[LayerEstimateRow | LayerSeedRow], replicates: Sequence[LayerReplicateRow | LayerSeedRow]
) -> LogProfile | None:
    """Both with one row for each layer; None where something is undefined, and with too few blocks."""
    values = np.array([row.value or math.nan for row in estimates], dtype=float)
    if not (values > 0).all():
        return None
    blocks, halves = (np.array([getattr(row, of) for row in replicates], dtype=float) for of in ("blocks", "halves"))
    if blocks.ndim != 2 or blocks.shape[1] < FEWEST_BLOCKS or not ((blocks > 0).all() and (halves > 0).all()):
        return None
    scaled = [scale_to_interval(logs, row) for logs, row in zip(np.log(blocks), estimates, strict=True)]
    return LogProfile(np.log(values), np.stack(scaled), np.log(halves).reshape(len(values), -1, 2))


def scale_to_interval(blocks: np.ndarray, estimate: LayerEstimateRow | LayerSeedRow | Estimate) -> np.ndarray:
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
    unit, errors = _unit_deviations(blocks)
    largest = np.zeros(N_FLIPS)
    flips = _sign_flips(b)
    for part in np.array_split(unit, max(1, math.ceil(len(unit) / 64))):  # bounds memory for pairs of many layers
        means = flips @ part.T / b  # (n_flips, n)
        largest = np.maximum(largest, np.abs(means, out=means).max(1, initial=0))
    # Of flipped values with mean square 1, the studentised mean grows with the mean: the largest mean has the largest.
    return SimultaneousLimits(values, errors, np.sort(_studentised(largest, b)))


def flipped_deviations(blocks: np.ndarray) -> np.ndarray:
    """Deviations of values (n,) under each sign flip of the blocks, the same for all of them; (n_flips, n)."""
    unit, errors = _unit_deviations(blocks)
    return np.asarray(errors * _studentised(_sign_flips(blocks.shape[1]) @ unit.T / blocks.shape[1], blocks.shape[1]))


def _unit_deviations(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Deviations of the pseudo-values with mean square 1, (n, n_blocks), and the standard errors of their means, (n,)."""
    b = blocks.shape[1]
    pseudo = (1 - b) * (blocks - blocks.mean(1, keepdims=True))
    scale = np.sqrt((pseudo**2).mean(1))
    unit = np.divide(pseudo, scale[:, None], out=np.zeros_like(pseudo), where=scale[:, None] > 0)
    return unit, scale / math.sqrt(b - 1)


def _studentised(means: np.ndarray, n_blocks: int) -> np.ndarray:
    """Means of flipped values with mean square 1, over their standard errors."""
    return np.asarray(means / np.sqrt(np.maximum(1 - means**2, 1e-12) / (n_blocks - 1)))


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


def log_ratio_to_end(logs: LogProfile, claim: str) -> tuple[np.ndarray, np.ndarray]:
    """Log ratio of each inner layer to the end of the claim: (L-1,), and without each block (L-1, B)."""
    end = END[claim]
    return logs.whole[1:-1] - logs.whole[end], logs.blocks[1:-1] - logs.blocks[end]


def evaluate_claim(logs: LogProfile, claim: str) -> ClaimResult:
    """Test a claim on the log profile of one specification; needs at least one inner layer."""
    limits = simultaneous_limits(*log_ratio_to_end(logs, claim))
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
        1 + int(np.argmax(limits.values)),
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


def read_specifications(profile: Profile) -> list[tuple[Specification, LogProfile | None]]:
    """The log profile under every declared specification, None where it was not measured.

    Empty without inner layers, and for a protocol without the cloud of the reference specification.
    """
    if profile.model.n_layers < 2 or all(row.cloud != REFERENCE.cloud for row in profile.estimates):
        return []
    return [(specification, log_profile(profile, specification)) for specification in SPECIFICATIONS]


def claim_rows(
    run_id: str, seed: int, claim: str, log_profiles: Sequence[tuple[Specification, LogProfile | None]]
) -> Iterable[RunClaimRow]:
    """The rows of one claim, from the log profile under each specification (None where it was not measured)."""
    results = [(specification, evaluate_claim(logs, claim) if logs else None) for specification, logs in log_profiles]
    corrected = iter(holm_outcomes([result for specification, result in results if specification.is_core]))
    for specification, result in results:
        outcome_holm = next(corrected) if specification.is_core else None
        if result or specification.is_core:
            described = asdict(specification)
            del described["axis"]
            limits: dict[str, Any] = dict.fromkeys(("ratio", "lower", "upper"))
            if result:
                limits = {name: math.exp(getattr(result, name)) for name in limits}
            yield RunClaimRow(
                run_id=run_id,
                claim=claim,
                seed=seed,
                **described,
                **limits,
                outcome=result.outcome if result else "cannot_tell",
                outcome_holm=outcome_holm,
                layer=result.layer if result else None,
            )


# --- all specifications at once --------------------------------------------------------------------------------------

# The specifications read the same text, so their results are no independent witnesses: the joint test flips the signs of
# whole blocks of text in all of them together, and the effective number says how many witnesses they amount to.


@dataclass(frozen=True)
class ClaimCounts:
    """What the core specifications of a run say of one claim; a column `{field}_{claim}` of run_summaries each."""

    methods: int
    """Core specifications that have a result."""
    yes: int
    no: int
    """Surely not above 1.1, nor the other way round."""
    reversed: int
    """Below 1/1.1."""
    median_ratio: float | None = None
    joint_p: float | None = None
    """One-sided p of the median over specifications; None without blocks."""
    effective_methods: float | None = None

    @classmethod
    def of(cls, run: RunSummaryRow, claim: str) -> ClaimCounts | None:
        """From a summary; None where nothing was counted."""
        found: dict[str, Any] = {name: getattr(run, f"{name}_{claim}") for name in cls.__dataclass_fields__}
        return cls(**found) if found["methods"] else None

    def columns(self, claim: str) -> dict[str, Any]:
        return {f"{name}_{claim}": value for name, value in asdict(self).items()}


def count_claim(rows: Iterable[RunClaimRow], claim: str, logs: Sequence[LogProfile]) -> ClaimCounts:
    """The counts of a claim from its rows, and the joint test from the log profiles of the core that have blocks."""
    core = [row for row in rows if row.claim == claim and row.is_core and row.ratio is not None]
    outcomes = [row.outcome for row in core]
    middle = median(row.ratio for row in core if row.ratio is not None) if core else None
    yes, no, reverse = (outcomes.count(one) for one in ("yes", "no", "opposite"))
    p, effective = joint_test(claim, logs) if len(logs) > 1 else (None, None)
    return ClaimCounts(len(core), yes, no, reverse, middle, p, effective)


def joint_test(claim: str, logs: Sequence[LogProfile]) -> tuple[float, float]:
    """One-sided p that the median ratio over specifications exceeds 1.1, and their effective number.

    The statistic is the median over specifications of the largest log ratio over layers (specification curve; Simonsohn,
    Simmons and Nelson 2020). Under the null hypothesis every layer of every specification stands at 1.1; the signs of the
    blocks' pseudo-values are flipped together in all of them, so that what they share stays shared.

    The effective number is S over the largest eigenvalue of the correlations (S x S) of their log ratios over all layers
    and blocks: 1 if all curves are one curve up to its scale, S if they have nothing in common.
    """
    ratios, nulls, curves = [], [], []
    for one in logs:
        values, blocks = log_ratio_to_end(one, claim)
        ratios.append(float(values.max()))
        nulls.append(flipped_deviations(blocks).max(1))
        curves.append(blocks.ravel())
    null = np.median(nulls, axis=0)  # (n_flips,)
    p = (1 + float((null >= median(ratios) - MARGIN).sum())) / (1 + len(null))
    correlations = np.nan_to_num(np.corrcoef(np.stack(curves)))
    return p, len(logs) / float(np.linalg.eigvalsh(correlations)[-1])


def is_small(row: RunClaimRow) -> bool:
    """Whether a ratio exceeds one beyond its error, and reaches 1.1 without surely exceeding it: too small to count."""
    return row.outcome == "cannot_tell" and 1 < (row.lower or 0) <= math.exp(MARGIN)


# --- the verdict ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    word: str
    """A key of `VERDICTS`."""
    reasons: list[str]
    """Why it does not simply hold, by key; empty for `holds` and `fails`."""


def decide_verdict(
    rows: Sequence[RunClaimRow], controls: Sequence[RunControlRow], is_vetoed: bool, failed: Sequence[str] = ()
) -> Verdict:
    """The verdict on one claim from its rows and those of its controls; `failed` names passes that could not be measured.

    `holds` needs every core row (an intersection-union test, which needs no correction) and a usable control with power
    that was exceeded. `mostly_holds` lets one core row be too small to count: its limits lie above one and reach 1.1
    (`is_small`). It says that all exceed one and all but one 1.1, and is wrong in at most 2 x 2.5 percent whichever two
    do not. `depends` needs a yes and a no that both survive Holm's correction over the core: without it, specifications
    at the margin give a false yes in 16 to 27 percent. That methods disagree hides no control that shows the claim.
    """
    core = [row for row in rows if row.is_core]
    if is_vetoed:
        return Verdict("invalid", ["check_vetoed"])
    if not core:
        return Verdict("unclear", ["too_few_layers"])
    judges = [row for row in controls if row.power is not None]
    shown = ["control_shows_it"] if any(row.outcome == "shows_it" for row in judges) else []
    kinds = {row.outcome_holm for row in core}
    others = [row for row in core if row.outcome != "yes"]
    is_small_alone = len(others) == 1 and is_small(others[0])
    if "yes" in kinds and kinds & {"no", "opposite"}:
        return Verdict("depends", _disagreeing_axes(core) + shown)
    if shown and (not others or is_small_alone or core[0].outcome == "yes"):
        return Verdict("depends", shown)
    if not others or is_small_alone:
        return _verdict_against_controls(judges, failed, ["one_too_small"] if others else [])
    if core[0].outcome in ("no", "opposite") and all(row.outcome != "yes" for row in core):
        return Verdict("fails", [])
    missing = any(row.ratio is None for row in core)
    return Verdict("unclear", ["cells_missing" if missing else "within_error", *shown])


def _verdict_against_controls(judges: Sequence[RunControlRow], failed: Sequence[str], small: list[str]) -> Verdict:
    """The text must exceed every control that could have shown the claim; one that is not usable counts neither way.

    `small` are the reasons why the claim holds only mostly, if it holds.
    """
    outcomes = {row.outcome for row in judges}
    if "cannot_tell" in outcomes:
        return Verdict("unclear", ["control_not_exceeded", *small])
    if "exceeded" in outcomes:
        return Verdict("mostly_holds" if small else "holds", small)
    if "no_power" in outcomes:
        return Verdict("untested", ["control_no_power", *small])
    reason = "control_not_usable" if outcomes else "control_failed" if failed else "no_control"
    return Verdict("untested", [reason, *small])


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


TEN = 10.0
"""The number of dimensions that the literature names for final states (arXiv 2503.22547, its abstract)."""


def compare_with_ten(lower: float | None, upper: float | None) -> str:
    """`above` or `below` ten, `in` if the interval contains ten; empty without an interval."""
    if lower is None or upper is None:
        return ""
    return "above" if lower > TEN else "below" if upper < TEN else "in"


# --- controls --------------------------------------------------------------------------------------------------------

# Each control is held against the run, on the same windows of text. A control that judges (`Pass.judges`) is a network of
# which several draws were run. If the directions that training wrote were nothing but drawn ones, the trained network would
# be one more draw: its rank among them is an exact test (Barnard 1963; with 19 draws the highest rank has a one-sided p of
# .05). Beside it stands by how much it exceeds the median draw. Every other control is an effect: its interval, and whether
# it is within 10 percent of none. A control is usable if its own d2 does not depend on the number of windows at the layers
# of the claim. One that is not usable counts neither for a claim nor against it.


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
        is_alike = [(len(row.blocks), len(row.halves)) for row in rows] == [sizes] * len(like.whole)
        if not is_alike or (draw := _log_profile(rows, rows)) is None:
            return []
        draws.append(draw)
    return draws


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
        value, reach = float(ratio[0]), logs.quantile * float(jackknife_error(ratio[1:]))
        lower, upper = value - reach, value + reach
        is_same, is_other = lower >= -MARGIN and upper <= MARGIN, lower > 0 or upper < 0
        yield claim, (value, lower, upper), "same" if is_same else "differs" if is_other else "cannot_tell"


def _stated(logs: LogProfile, claim: str) -> np.ndarray:
    """The log ratio of a claim, or the log dimension, on all data, then without each block; (1 + B,)"""
    layers = np.concatenate([logs.whole[:, None], logs.blocks], 1)
    largest = layers[-1 if claim == "final" else logs.peak]
    return largest - layers[END[claim]] if claim in END else largest
