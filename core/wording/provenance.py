"""Names of every stored field of a run, section by section; the English name is the catalogue's message.

The names are declared with the fields: columns in core.tables, parts of the request and of the protocol in
core.records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core import wording
from core.analysis.differences import Comparability, differences, flatten, without_incidental
from core.locale import translator
from core.records import RunConfig
from core.registry.protocols import Protocol, settings
from core.tables import TABLES
from core.wording.verdicts import badge_text, verdict_marks


def _(message: str) -> str:
    """Marks a message for the catalogues; it is translated once the reader's language is known."""
    return message


TITLES = {
    "run": _("Run"),
    "model": _("Model"),
    "text": _("Text"),
    "protocol": _("Protocol"),
    "tokens": _("Tokens asked for, read and left out"),
    "machine": _("Machine, memory, time"),
    "programs": _("Programs"),
    "request": _("Request"),
}
"""Section -> its title, in display order."""
PREFIXES = {
    "config.protocol.": "protocol",
    "config.run.": "request",
    "config": "request",
    "execution": "machine",
    "phase_seconds": "machine",
    "library_versions": "programs",
}
"""Prefix -> section, for parts of JSON fields without a declared name: an installation may have unknown packages."""


def _declared() -> Iterator[tuple[str, str, str, str, str]]:
    """(section, field, name, kind of its values, unit) of every declared field of a run."""
    for table in (TABLES["models"], TABLES["corpora"], TABLES["runs"]):
        for column in table.columns:
            said = column.declared
            section = said.section or table.section
            if said.screen:
                field = column.name if said.key else table.prefix + column.name
                yield section, field, said.screen, said.values, said.unit
            for part, name in said.parts.items():
                yield section, f"{column.name}.{part}", name, "", ""
    for prefix, record in (("config.protocol.", Protocol), ("config.run.", RunConfig)):
        for name, setting in settings(record).items():
            yield setting.section or PREFIXES[prefix], prefix + name, setting.screen, "", setting.unit


_DECLARED = tuple(_declared())
SECTIONS: dict[str, tuple[str, dict[str, str]]] = {
    key: (title, {field: name for section, field, name, _values, _unit in _DECLARED if section == key})
    for key, title in TITLES.items()
}
"""Section -> its title, and its fields in order. Fields that are not declared are placed by `PREFIXES`."""
NAMES = {field: name for _section, field, name, _values, _unit in _DECLARED}
KINDS = {field: values for _section, field, _name, values, _unit in _DECLARED if values}
"""Fields whose values have names in `wording.name`, and the kind of these names."""
BYTES = tuple(field for _section, field, _name, _values, unit in _DECLARED if unit == "bytes")
"""Fields that count bytes and are shown in GB."""
REASONS = {
    "pass": _("kind of pass"),
    "kind": _("kind of model"),
    "stack": _("part of the model"),
    "corpus_id": _("text"),
    "protocol_hash": _("protocol or seed"),
    "dtype": _("number format"),
    "tokenizer_hash": _("tokenizer"),
    "n_points": _("number of points"),
}
"""What can make two runs not comparable."""


ABSENT = "–"


@dataclass(frozen=True)
class Field:
    field: str
    """Name of the column, with the part of its JSON: `library_versions.torch`."""
    label: str
    text: str
    """The value with its unit; a dash if the run has none."""


@dataclass(frozen=True)
class Section:
    key: str
    title: str
    fields: tuple[Field, ...]


def sections(record: Mapping[str, Any], language: str) -> list[Section]:
    """Every field of a record (core.warehouse.runs); empty ones are shown as a dash."""
    told = flatten(record)
    placed = {key: [name for name in fields if name in told] for key, (_title, fields) in SECTIONS.items()}
    for name in told:
        if name not in NAMES:
            placed[field_section(name)].append(name)
    return [
        Section(key, section_title(key, language), tuple(_field(name, told[name], language) for name in names))
        for key, names in placed.items()
        if names
    ]


def field_section(field: str) -> str:
    """The section of a field."""
    for key, (_title, fields) in SECTIONS.items():
        if field in fields:
            return key
    return next((key for prefix, key in PREFIXES.items() if field.startswith(prefix)), "run")


def field_position(field: str) -> tuple[int, int]:
    """Sort key of a field: its section, then its position there; fields without a name come last."""
    key = field_section(field)
    known = list(SECTIONS[key][1])
    return list(SECTIONS).index(key), known.index(field) if field in known else len(known)


def section_title(key: str, language: str) -> str:
    return translator(language)(SECTIONS[key][0])


def _field(name: str, value: Any, language: str) -> Field:
    return Field(name, field_name(name, language), field_text(name, value, language))


def field_name(field: str, language: str) -> str:
    """The field's name: packages keep their own, measuring phases have ours; an unnamed field is shown as stored."""
    _ = translator(language)
    column, _dot, part = field.partition(".")
    if field in NAMES:
        return translator(language)(NAMES[field])
    if column == "phase_seconds":
        return _("time: {phase}").format(phase=wording.phase_name(part, language))
    return part if column == "library_versions" and part else field


def field_text(field: str, value: Any, language: str) -> str:
    """The value with its unit, in readable form."""
    _ = translator(language)
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return _(", ").join(map(str, value))
    if field in KINDS:
        return wording.name(KINDS[field], str(value), language)
    if field in BYTES and isinstance(value, int):
        return f"{value / 1e9:.2f} GB"
    if field.startswith("phase_seconds") and isinstance(value, (int, float)):
        return _("{seconds} s").format(seconds=f"{value:.1f}")
    if isinstance(value, int):
        return str(value) if field.endswith("seed") else f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def comparability_text(found: Comparability, language: str) -> str:
    """Whether two runs may be compared and, if not, why, in one sentence."""
    _ = translator(language)
    why = _(", ").join(translator(language)(REASONS[name]) for name in found.reasons)
    if found.by_types:
        return _(
            "Their dimensions may be compared: same text, protocol, tokenizer and kind of model, and N within 10 %."
        )
    if found.by_words:
        return _("They may be compared on one point per word alone, because they differ in: {what}.").format(what=why)
    return _("Their dimensions may not be compared, because they differ in: {what}.").format(what=why)


@dataclass(frozen=True)
class Line:
    """One field or one result of two runs."""

    section: str
    """Title of the field's section; empty for results."""
    label: str
    one: str
    other: str


def differing_lines(one: Mapping[str, Any], other: Mapping[str, Any], language: str, every: bool = False) -> list[Line]:
    """The fields that differ; without `every`, only those that do not differ between any two runs."""
    found = differences(one, other)
    kept = sorted(found if every else without_incidental(found), key=lambda each: field_position(each.field))
    return [
        Line(
            section_title(field_section(each.field), language),
            field_name(each.field, language),
            field_text(each.field, each.one, language),
            field_text(each.field, each.other, language),
        )
        for each in kept
    ]


def agreeing_names(one: Mapping[str, Any], other: Mapping[str, Any], language: str) -> list[str]:
    """Names of the fields that have the same value in both runs."""
    unlike = {each.field for each in differences(one, other)}
    return [
        field_name(name, language) for name, value in flatten(one).items() if value is not None and name not in unlike
    ]


def result_lines(
    one: Mapping[str, Any], other: Mapping[str, Any], language: str, *, is_brief: bool = False
) -> list[Line]:
    """Results of two runs: dimensions with their intervals, N, verdicts and checks. Rows come from `queries.runs`.

    `is_brief` shows verdicts as marks and one sentence, without their reasons.
    """
    _ = translator(language)

    def verdicts(run: Mapping[str, Any]) -> str:
        return (
            f"{verdict_marks(run)} {badge_text(run, language)}"
            if is_brief
            else wording.short_outcome_text(run, language)
        )

    told = [
        (_("Largest inner dimension"), lambda run: _interval_text(run, "inner_max")),
        (_("Working dimension"), lambda run: wording.shape_text(run, language)),
        (_("Final, before the norm"), lambda run: _interval_text(run, "final_dimension_pre_norm")),
        (_("Final, after the norm"), lambda run: _interval_text(run, "final_dimension_post_norm")),
        (_("N (points)"), lambda run: ABSENT if run["n_points"] is None else f"{run['n_points']:,}"),
        (_("Verdicts"), verdicts),
        (_("Checks"), lambda run: _checks_text(run, language)),
    ]
    return [Line("", label, say(one), say(other)) for label, say in told]


def _interval_text(run: Mapping[str, Any], name: str) -> str:
    return wording.with_interval(run[name], run[f"{name}_lower"], run[f"{name}_upper"])


def _checks_text(run: Mapping[str, Any], language: str) -> str:
    """The worst outcome, and the checks that veto the run."""
    _ = translator(language)
    outcome = wording.outcome_name(run["worst_check"], language)
    names = [wording.name("check", name, language) for name in run["vetoed_by"] or []]
    return _("{outcome}: {checks}").format(outcome=outcome, checks=_(", ").join(names)) if names else outcome
