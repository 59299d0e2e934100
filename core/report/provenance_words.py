"""The record of a run in words: every stored field with its name and unit, in sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.analysis.differences import Comparability, flat
from core.locale import translator
from core.report import wording
from core.report.provenance_names import BYTES, KINDS, NAMES, PREFIXES, REASONS, SECTIONS

ABSENT = "–"


@dataclass(frozen=True)
class Field:
    field: str
    """Name of the column, and of the part of its JSON: `library_versions.torch`."""
    label: str
    text: str
    """With its unit; a dash where the run has nothing there."""


@dataclass(frozen=True)
class Section:
    key: str
    title: str
    fields: tuple[Field, ...]


def sections(record: Mapping[str, Any], language: str) -> list[Section]:
    """Every field of a record (core.warehouse.provenance), the empty ones with a dash."""
    told = flat(record)
    placed = {key: [name for name in fields if name in told] for key, (_title, fields) in SECTIONS.items()}
    for name in told:
        if name not in NAMES:
            placed[section_of(name)].append(name)
    return [
        Section(key, section_title(key, language), tuple(_field(name, told[name], language) for name in names))
        for key, names in placed.items()
        if names
    ]


def section_of(field: str) -> str:
    """The section that a field stands in."""
    for key, (_title, fields) in SECTIONS.items():
        if field in fields:
            return key
    return next((key for prefix, key in PREFIXES.items() if field.startswith(prefix)), "run")


def place_of(field: str) -> tuple[int, int]:
    """Where a field stands among all: its section, then its place there; those without a name come last."""
    key = section_of(field)
    known = list(SECTIONS[key][1])
    return list(SECTIONS).index(key), known.index(field) if field in known else len(known)


def section_title(key: str, language: str) -> str:
    return translator(language)(SECTIONS[key][0])


def _field(name: str, value: Any, language: str) -> Field:
    return Field(name, field_name(name, language), field_text(name, value, language))


def field_name(field: str, language: str) -> str:
    """A package by its own name, a phase of measuring by ours; what has no name yet as it is stored."""
    _ = translator(language)
    column, _dot, part = field.partition(".")
    if field in NAMES:
        return translator(language)(NAMES[field])
    if column == "phase_seconds":
        return _("time: {phase}").format(phase=wording.phase_name(part, language))
    return part if column == "library_versions" and part else field


def field_text(field: str, value: Any, language: str) -> str:
    """The value with its unit, as a person reads it."""
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


def comparison(found: Comparability, language: str) -> str:
    """Whether two runs may be compared, and why not, in a sentence."""
    _ = translator(language)
    why = _(", ").join(translator(language)(REASONS[name]) for name in found.reasons)
    if found.by_types:
        return _(
            "Their dimensions may be compared: same text, protocol, tokenizer and kind of model, and N within 10 %."
        )
    if found.by_words:
        return _("They may be compared on one point per word alone, because they differ in: {what}.").format(what=why)
    return _("Their dimensions may not be compared, because they differ in: {what}.").format(what=why)
