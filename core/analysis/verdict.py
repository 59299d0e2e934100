"""A claim under all its core specifications at once: how many say yes, their median, one joint test; and the verdict.

The specifications read the same text, so their results are no independent witnesses: the joint test flips the signs of
whole blocks of text in all of them together, and the effective number says how many witnesses they amount to. The verdict
rests on their results and on the controls of the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from core.analysis.claims import MARGIN, LogProfile, flipped_deviations, log_ratio_to_end
from core.registry.specifications import SPECIFICATIONS
from core.tables import RunClaimRow, RunControlRow, RunSummaryRow

TEN = 10.0
"""The number of dimensions that the literature names for final states (arXiv 2503.22547, its abstract)."""


# --- all specifications at once ---------------------------------------------------------------------------------


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
    p, effective = joint_test(claim, logs) if len(logs) > 1 else (None, None)
    yes, no, reverse = (outcomes.count(one) for one in ("yes", "no", "opposite"))
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
    limits = row.lower, row.upper
    return row.outcome == "cannot_tell" and None not in limits and 1 < (row.lower or 0) <= math.exp(MARGIN)


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


def compare_with_ten(lower: float | None, upper: float | None) -> str:
    """`above` or `below` ten, `in` if the interval contains ten; empty without an interval."""
    if lower is None or upper is None:
        return ""
    return "above" if lower > TEN else "below" if upper < TEN else "in"
