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
        N_("a check vetoed it: not to be relied on"),
        N_(
            "A check found a fault that the numbers may not survive: do not use this run, its checks say what to change."
        ),
    ),
    "too_few_layers": Words(
        N_("too few layers"),
        N_("the model has too few layers"),
        N_("A model with fewer than two blocks has no inner layer that could be compared with its ends."),
    ),
    "control_shows_it": Words(
        N_("a control shows it too"),
        N_("a control shows it too"),
        N_("A model or text from which the claimed cause was removed gives it as well: do not read it as its result."),
    ),
    "axis_dominant_directions": Words(
        N_("dominant directions"),
        N_("goes with dominant directions"),
        N_(
            "With the one or three leading components removed it reads otherwise: state it as a claim about a few "
            "directions of large variance, not about the whole cloud."
        ),
    ),
    "axis_scale": Words(
        N_("scale of coordinates"),
        N_("goes with the scale of coordinates"),
        N_("With every coordinate scaled to one variance it reads otherwise: a few large coordinates carry it."),
    ),
    "axis_norms": Words(
        N_("norms"),
        N_("goes with the norms of points"),
        N_(
            "Where the norms of points count too (participation ratio) it reads otherwise: state the estimator with it."
        ),
    ),
    "axis_neighbours": Words(
        N_("nearest neighbours"),
        N_("nearest neighbours read otherwise"),
        N_("The nearest-neighbour dimension (GRIDE) reads otherwise: state the estimator with every claim."),
    ),
    "axis_words": Words(
        N_("types or words"),
        N_("words read otherwise than token types"),
        N_("On one point per word it reads otherwise: it belongs to how the tokenizer cuts words."),
    ),
    "axis_tokens": Words(
        N_("types or all tokens"),
        N_("all tokens read otherwise than token types"),
        N_("On all tokens it reads otherwise: it depends on how often each token type counts."),
    ),
    "control_not_exceeded": Words(
        N_("not clearly above a control"),
        N_("not clearly above a control"),
        N_(
            "The interval of the text's ratio over the control's reaches below 1.1, or networks of the control reach the "
            "text: measure more text."
        ),
    ),
    "no_control": Words(
        N_("no control"),
        N_("no control with power was measured"),
        N_("Nothing was measured that could have shown it without training: run the protocol standard."),
    ),
    "control_no_power": Words(
        N_("controls without power"),
        N_("its controls could not have shown it"),
        N_("The controls had no room or too large an error to show it, so their silence says nothing."),
    ),
    "control_not_usable": Words(
        N_("no usable control"),
        N_("no control is usable"),
        N_("A control that its own check vetoes counts neither for a claim nor against it: look at its checks."),
    ),
    "control_failed": Words(
        N_("a control failed"),
        N_("a control could not be measured"),
        N_("A control was tried and could not be measured: read the claim as untested."),
    ),
    "one_too_small": Words(
        N_("one method too small to count"),
        N_("one method’s ratio is too small to count"),
        N_("All methods exceed one, and all but one exceed 1.1, which counts: measure more text to decide the last."),
    ),
    "within_error": Words(
        N_("lower limit below 1.10"),
        N_("a lower limit is below the 1.10 that counts"),
        N_("Some interval holds both a ratio above 1.1, which counts, and one below it: measure more text."),
    ),
    "cells_missing": Words(
        N_("specifications missing"),
        N_("some core specifications were not measured"),
        N_("A verdict needs all core specifications: some have no value here, as the table of claims shows."),
    ),
}
"""In display order: the most important first."""

QUALIFIERS: dict[str, Words] = {
    "check_vetoed": REASONS["check_vetoed"],
    "few_types": Words(
        N_("few token types"),
        N_("few token types: reads lower than a full sample"),
        N_(
            "Fewer token types than the protocol allows read lower: compare with runs of the same number, "
            "or read more text."
        ),
    ),
    "no_final_norm": Words(
        N_("no final norm"),
        N_("no final norm"),
        N_(
            "The architecture has no norm after its last block, whose output stands for the final state: "
            "do not compare it with values after a norm."
        ),
    ),
    "check_warned": Words(
        N_("a check gave a warning"),
        N_("a check gave a warning"),
        N_("A check came close to its limit: read its value before relying on the second digit."),
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
