"""Two runs side by side, in words: what differs in their records, and what came out of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.analysis.differences import differences, flat, of_substance
from core.locale import translator
from core.report import wording
from core.report.provenance_words import ABSENT, field_name, field_text, place_of, section_of, section_title


@dataclass(frozen=True)
class Line:
    """One field or one result of two runs."""

    section: str
    """Title of the section that the field stands in; empty for results."""
    label: str
    one: str
    other: str


def differing(one: Mapping[str, Any], other: Mapping[str, Any], language: str, every: bool = False) -> list[Line]:
    """The fields that differ; without `every`, those left out that differ between any two runs."""
    found = differences(one, other)
    kept = sorted(found if every else of_substance(found), key=lambda each: place_of(each.field))
    return [
        Line(
            section_title(section_of(each.field), language),
            field_name(each.field, language),
            field_text(each.field, each.one, language),
            field_text(each.field, each.other, language),
        )
        for each in kept
    ]


def agreeing(one: Mapping[str, Any], other: Mapping[str, Any], language: str) -> list[str]:
    """Names of the fields that both runs have with one value."""
    unlike = {each.field for each in differences(one, other)}
    return [field_name(name, language) for name, value in flat(one).items() if value is not None and name not in unlike]


def results(one: Mapping[str, Any], other: Mapping[str, Any], language: str) -> list[Line]:
    """What came out: dimensions with their intervals, N, verdict and checks. Rows as of `queries.runs`."""
    _ = translator(language)
    told = [
        (_("Working dimension"), lambda run: _interval(run, "working_dimension")),
        (_("Final, before the norm"), lambda run: _interval(run, "final_dimension_pre_norm")),
        (_("Final, after the norm"), lambda run: _interval(run, "final_dimension_post_norm")),
        (_("N (points)"), lambda run: ABSENT if run["n_points"] is None else f"{run['n_points']:,}"),
        (_("Expansion-contraction"), lambda run: wording.outcome_short(run, language)),
        (_("Checks"), lambda run: _checks(run, language)),
    ]
    return [Line("", label, say(one), say(other)) for label, say in told]


def _interval(run: Mapping[str, Any], name: str) -> str:
    return wording.with_interval(run[name], run[f"{name}_lower"], run[f"{name}_upper"])


def _checks(run: Mapping[str, Any], language: str) -> str:
    """The worst outcome, and the checks that veto the run."""
    _ = translator(language)
    outcome = wording.outcome_name(run["worst_check"], language)
    names = [wording.check_name(name, language) for name in run["vetoed_by"] or []]
    return _("{outcome}: {checks}").format(outcome=outcome, checks=_(", ").join(names)) if names else outcome
