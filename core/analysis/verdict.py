"""The verdict on a claim: from all its core results and from the controls of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.analysis.curve import is_small
from core.registry.specifications import SPECIFICATIONS
from core.tables import RunClaimRow, RunControlRow

TEN = 10.0
"""The number of dimensions that the literature names for final states (arXiv 2503.22547, its abstract)."""


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
