"""The verdict on a claim: from all its core results and from the controls of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.registry.specifications import SPECIFICATIONS
from core.tables import RunClaimRow, RunControlRow

TEN = 10.0
"""The number of dimensions that the literature names for final states (arXiv 2503.22547, its abstract)."""


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
