"""Why a claim does not simply hold, and what limits the numbers of a run, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from core.locale import N_, translated


class Words(NamedTuple):
    brief: str
    """For table cells."""
    full: str
    """For sentences."""
    meaning: str
    """What it means, and what to do about it."""


REASONS: dict[str, Words] = {
    "check_vetoed": Words(
        N_("a check vetoed it"),
        N_("vetoed by a check: not to be relied on"),
        N_("A check found a serious fault: do not use this run; its checks say what to change."),
    ),
    "too_few_layers": Words(
        N_("too few layers"),
        N_("the model has too few layers"),
        N_("A model of one block has no inner layer to compare."),
    ),
    "control_shows_it": Words(
        N_("a control shows it too"),
        N_("a control shows it too"),
        N_("A control without the claimed cause shows it as well: it is no result of that cause."),
    ),
    "axis_dominant_directions": Words(
        N_("dominant directions"),
        N_("changes without dominant directions"),
        N_(
            "Without one or three leading components the answer changes: it is about a few directions of "
            "large variance."
        ),
    ),
    "axis_scale": Words(
        N_("scale of coordinates"),
        N_("changes when coordinates are scaled alike"),
        N_("With all coordinates scaled alike the answer changes: a few large coordinates carry it."),
    ),
    "axis_norms": Words(
        N_("norms"),
        N_("changes where norms count"),
        N_("Where norms count too (participation ratio) the answer changes: state the estimator."),
    ),
    "axis_neighbours": Words(
        N_("nearest neighbours"),
        N_("changes by nearest neighbours"),
        N_("By nearest neighbours (GRIDE) the answer changes: state the estimator."),
    ),
    "axis_words": Words(
        N_("types or words"),
        N_("changes when words are counted"),
        N_("The answer changes when words are counted instead of tokens."),
    ),
    "axis_tokens": Words(
        N_("types or all tokens"),
        N_("changes on all tokens"),
        N_("On all tokens the answer changes: it depends on how often a type counts."),
    ),
    "control_not_exceeded": Words(
        N_("not clearly above a control"),
        N_("not clearly above a control"),
        N_("The ratio over the control may be below 1.1, or the control reaches the text: measure more text."),
    ),
    "no_control": Words(
        N_("no control"),
        N_("no control with power was measured"),
        N_("No control could have shown it without training: run the protocol standard."),
    ),
    "control_no_power": Words(
        N_("controls without power"),
        N_("its controls could not have shown it"),
        N_("The controls could not have shown it, so their silence says nothing."),
    ),
    "control_not_usable": Words(
        N_("no usable control"),
        N_("no control is usable"),
        N_("A vetoed control counts neither way: look at its checks."),
    ),
    "control_failed": Words(
        N_("a control failed"),
        N_("a control could not be measured"),
        N_("A control could not be measured: read the claim as untested."),
    ),
    "one_too_small": Words(
        N_("one method too small to count"),
        N_("one method’s ratio is too small to count"),
        N_("All methods exceed one, and all but one 1.1: measure more text to decide."),
    ),
    "within_error": Words(
        N_("lower limit below 1.10"),
        N_("a lower limit is below 1.10"),
        N_("An interval reaches both sides of 1.1: measure more text."),
    ),
    "cells_missing": Words(
        N_("specifications missing"),
        N_("some core specifications were not measured"),
        N_("Some core specifications have no value here; see the table of claims."),
    ),
}
"""In display order: the most important first."""

QUALIFIERS: dict[str, Words] = {
    "check_vetoed": REASONS["check_vetoed"],
    "few_types": Words(
        N_("few token types"),
        N_("few token types: reads lower than a full sample"),
        N_(
            "Fewer token types than the protocol allows read lower: compare runs of the same number, or read more text."
        ),
    ),
    "no_final_norm": Words(
        N_("no final norm"),
        N_("no final norm"),
        N_(
            "No norm after the last block, whose output stands for the final state: do not compare it with "
            "values after a norm."
        ),
    ),
    "check_warned": Words(
        N_("a check gave a warning"),
        N_("a check gave a warning"),
        N_("A check is close to its limit: look at it before relying on the second digit."),
    ),
}
"""What limits the numbers of a run, regardless of any claim."""

_KNOWN = REASONS | QUALIFIERS


def reason_text(key: str, brief: bool = True) -> str:
    """Why a claim does not simply hold, or what limits a run. A key without words is returned as it is."""
    words = _KNOWN.get(key)
    if words is None:
        return key
    return translated(words.brief if brief else words.full)


def reason_meaning(key: str) -> str:
    """What a reason means; empty if there is no explanation yet."""
    words = _KNOWN.get(key)
    return translated(words.meaning) if words else ""


def sorted_reasons(keys: Iterable[str] | None) -> list[str]:
    """Keys of reasons, the most important first; those without words come last, in the given order."""
    known = list(_KNOWN)
    return sorted(dict.fromkeys(keys or ()), key=lambda key: known.index(key) if key in known else len(known))


def run_reasons(run: Mapping[str, Any]) -> list[str]:
    """Keys of all remarks on a run: the reasons of its verdicts, and what limits its numbers."""
    key_lists = [run["reasons_rise"], run["reasons_fall"], run["qualifiers"]]
    return sorted_reasons(key for keys in key_lists for key in keys or ())
