"""Why a claim does not simply hold, and what limits the numbers of a run, in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from core.locale import N_, translated
from core.tables import RunSummaryRow


class Words(NamedTuple):
    text: str
    meaning: str
    """What it means, and what to do about it."""


REASONS: dict[str, Words] = {
    "check_vetoed": Words(N_("vetoed by a check"), N_("Do not use this run; its checks say what to change.")),
    "too_few_layers": Words(N_("too few layers"), N_("A model of one block has no inner layer.")),
    "control_shows_it": Words(N_("a control shows it too"), N_("It does not come from what the control lacks.")),
    "axis_dominant_directions": Words(
        N_("changes without dominant directions"), N_("It is about a few directions of large variance.")
    ),
    "axis_scale": Words(N_("changes with scaled coordinates"), N_("A few large coordinates carry it.")),
    "axis_norms": Words(
        N_("changes where norms count"), N_("State the estimator: norms count in the participation ratio.")
    ),
    "axis_neighbours": Words(N_("changes by nearest neighbours"), N_("State the estimator: GRIDE says otherwise.")),
    "axis_words": Words(
        N_("changes when words are counted"), N_("The answer changes when words are counted instead of tokens.")
    ),
    "axis_tokens": Words(N_("changes on all tokens"), N_("It depends on how often a type counts.")),
    "control_not_exceeded": Words(
        N_("not clearly above a control"), N_("A control comes too close: measure more text.")
    ),
    "no_control": Words(N_("no control"), N_("Nothing shows that training is needed: use protocol standard.")),
    "control_no_power": Words(N_("its controls could not have shown it"), N_("Their silence says nothing.")),
    "control_not_usable": Words(
        N_("no usable control"), N_("Vetoed controls count neither way: look at their checks.")
    ),
    "control_failed": Words(N_("a control failed"), N_("Read the claim as untested.")),
    "one_too_small": Words(N_("one method too small to count"), N_("All others exceed 1.1: measure more text.")),
    "within_error": Words(
        N_("a lower limit below 1.10"), N_("An interval reaches both sides of 1.1: measure more text.")
    ),
    "cells_missing": Words(N_("specifications missing"), N_("See the table of claims.")),
}
"""In display order: the most important first."""

QUALIFIERS: dict[str, Words] = {
    "check_vetoed": REASONS["check_vetoed"],
    "few_types": Words(N_("few token types"), N_("Values read low: compare equal numbers, or read more text.")),
    "no_final_norm": Words(N_("no final norm"), N_("Do not compare its final state with values after a norm.")),
    "check_warned": Words(N_("a check gave a warning"), N_("Look at it before relying on the second digit.")),
}
"""What limits the numbers of a run, regardless of any claim."""

_KNOWN = REASONS | QUALIFIERS


def reason_text(key: str) -> str:
    """Why a claim does not simply hold, or what limits a run. A key without words is returned as it is."""
    words = _KNOWN.get(key)
    return translated(words.text) if words else key


def reason_meaning(key: str) -> str:
    """What a reason means; empty if there is no explanation yet."""
    words = _KNOWN.get(key)
    return translated(words.meaning) if words else ""


def sorted_reasons(keys: Iterable[str] | None) -> list[str]:
    """Keys of reasons, the most important first; those without words come last, in the given order."""
    known = list(_KNOWN)
    return sorted(dict.fromkeys(keys or ()), key=lambda key: known.index(key) if key in known else len(known))


def run_reasons(run: RunSummaryRow) -> list[str]:
    """Keys of all remarks on a run: the reasons of its verdicts, and what limits its numbers."""
    key_lists = [run.reasons_rise, run.reasons_fall, run.qualifiers]
    return sorted_reasons(key for keys in key_lists for key in keys or ())
