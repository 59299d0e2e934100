"""The wording of stored fields: every field of a run with its name and value, section by section, two runs compared,
and why groups of runs cannot be compared.

Names are declared with the fields: of columns in core.tables, of the request and the protocol in core.records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from core import wording
from core.analysis import ranking
from core.analysis.differences import Comparability, differences, flatten, without_incidental
from core.analysis.ranking import RankingGroup, differing_conditions
from core.locale import N_, _, translated
from core.questions.ranking_question import OtherGroup
from core.records import RunConfig
from core.registry.protocols import Protocol, settings
from core.sources import Text, shown
from core.tables import TABLES, Run
from core.wording.labels import distinct_short_names, kind_text, names_text, shortened_name, yes_or_no
from core.wording.numbers import amount
from core.wording.verdicts import badge_text, verdict_marks

TITLES = {
    "run": N_("Run"),
    "model": N_("Model"),
    "text": N_("Text"),
    "protocol": N_("Protocol"),
    "tokens": N_("Tokens asked for, read and left out"),
    "machine": N_("Machine, memory, time"),
    "programs": N_("Programs"),
    "request": N_("Request"),
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
            declared = column.declared
            section = declared.section or table.section
            if declared.screen:
                field = column.name if declared.key else table.prefix + column.name
                yield section, field, declared.screen, declared.values, declared.unit
            for part, name in declared.parts.items():
                yield section, f"{column.name}.{part}", name, "", ""
    for prefix, record in (("config.protocol.", Protocol), ("config.run.", RunConfig)):
        for name, setting in settings(record).items():
            yield setting.section or PREFIXES[prefix], prefix + name, setting.screen, "", setting.unit


_DECLARED = tuple(_declared())
_POSITIONS = {
    field: (list(TITLES).index(section), n)
    for n, (section, field, _name, _values, _unit) in enumerate(_DECLARED)
    if section in TITLES
}
"""Field -> its section and its place there. Fields that are not declared are placed by `PREFIXES`."""
NAMES = {field: name for _section, field, name, _values, _unit in _DECLARED}
KINDS = {field: values for _section, field, _name, values, _unit in _DECLARED if values}
"""Fields whose values have names in `wording.name`, and the kind of these names."""
BYTES = tuple(field for _section, field, _name, _values, unit in _DECLARED if unit == "bytes")
"""Fields that count bytes."""
CONDITIONS = {
    "pass": N_("kind of pass"),
    "kind": N_("kind of model"),
    "stack": N_("part of the model"),
    "tokenizer_hash": N_("tokenizer"),
    "words_hash": N_("words"),
    "corpus_id": N_("text"),
    "protocol_hash": N_("protocol, seed or version"),
    "dtype": N_("number format"),
    "n_points": N_("number of points (N)"),
}
"""What must be equal in runs whose dimensions are compared."""
ABSENT = "–"


@dataclass(frozen=True)
class Field:
    section: str
    """Title of its section."""
    field: str
    """Name of the column, with the part of its JSON: `library_versions.torch`."""
    label: str
    text: str
    """The value with its unit; a dash if the run has none."""


def fields(record: Mapping[str, Any]) -> list[Field]:
    """Every field of a record (core.warehouse.runs), section by section; empty ones are shown as a dash."""
    values = flatten(record)
    return [
        Field(section_title(name), name, field_name(name), field_text(name, values[name]))
        for name in sorted(values, key=field_position)
    ]


def field_position(field: str) -> tuple[int, int]:
    """The sort key of a field: its section, then its position there. Fields without a name come last."""
    if field in _POSITIONS:
        return _POSITIONS[field]
    section = next((key for prefix, key in PREFIXES.items() if field.startswith(prefix)), "run")
    return list(TITLES).index(section), len(_DECLARED)


def section_title(field: str) -> str:
    """The title of the section of a field."""
    return translated(list(TITLES.values())[field_position(field)[0]])


def field_name(field: str) -> str:
    """The name of a field. Packages keep their own; a field without a name is shown as it is stored."""
    column, _dot, part = field.partition(".")
    if field in NAMES:
        return translated(NAMES[field])
    if column == "phase_seconds":
        return _("time: {phase}").format(phase=wording.phase_name(part))
    return part if column == "library_versions" and part else field


def field_text(field: str, value: Any) -> str:
    """The value of a field with its unit; a dash for None."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return yes_or_no(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return _(", ").join(map(str, value))
    if field in KINDS:
        return wording.name(KINDS[field], str(value))
    if field in BYTES and isinstance(value, int):
        return amount(value)
    if field.startswith("phase_seconds") and isinstance(value, (int, float)):
        return _("{seconds} s").format(seconds=shown(value, ".1f"))
    if isinstance(value, int):
        return str(value) if field.endswith("seed") else shown(value, ",")
    return shown(value, ".4g") if isinstance(value, float) else str(value)


def conditions_text(keys: Iterable[str]) -> str:
    """The names of conditions in which runs differ: `tokenizer, text`."""
    return _(", ").join(translated(CONDITIONS[key]) for key in keys)


def comparability_text(comparability: Comparability) -> str:
    """Whether two runs may be compared and, if not, why, with the way out."""
    if comparability.by_types:
        return _(
            "Their dimensions may be compared: same text, protocol, tokenizer and kind of model, and N within 10 %."
        )
    ways = () if comparability.by_words else ways_out(comparability.reasons)
    return wording.joined_sentences((_apart_text(comparability.by_words, comparability.reasons), *ways))


def _apart_text(by_words: bool, reasons: Sequence[str]) -> str:
    """Why dimensions do not compare on one point per type, and whether they do on one per word."""
    template = (
        _("Their dimensions compare on one point per word alone, because they differ in: {what}.")
        if by_words
        else _("Their dimensions may not be compared, because they differ in: {what}.")
    )
    return template.format(what=conditions_text(reasons))


@dataclass(frozen=True)
class Line:
    """One field or one result of two runs."""

    section: str
    """Title of the field's section; empty for results."""
    label: str
    one: str
    other: str


def differing_lines(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Line]:
    """The fields in which two runs differ, but for those that differ between any two runs."""
    differing = without_incidental(differences(one, other))
    return [
        Line(
            section_title(difference.field),
            field_name(difference.field),
            field_text(difference.field, difference.one),
            field_text(difference.field, difference.other),
        )
        for difference in sorted(differing, key=lambda difference: field_position(difference.field))
    ]


def result_lines(one: Run, other: Run) -> list[Line]:
    """The results of two runs."""
    others = result_texts(other)
    return [Line("", label, text, others[label]) for label, text in result_texts(one).items()]


def result_texts(run: Run, *, is_brief: bool = False) -> dict[str, str]:
    """The results of a run by their names: dimensions with intervals, N, verdicts and checks.

    `is_brief` shows verdicts as marks and a short name, without their reasons.
    """
    verdicts = f"{verdict_marks(run)} {badge_text(run)}" if is_brief else wording.outcome_text(run)
    return {
        _("Largest inner dimension"): wording.interval_of(run, "inner_max"),
        _("Working dimension"): wording.shape_text(run),
        _("Final, before the norm"): wording.interval_of(run, "final_dimension_pre_norm"),
        _("Final, after the norm"): wording.interval_of(run, "final_dimension_post_norm"),
        _("N (points)"): ABSENT if run.n_points is None else shown(run.n_points, ","),
        _("Verdicts"): verdicts,
        _("Checks"): checks_text(run),
    }


def checks_text(run: Run) -> str:
    """The worst outcome of the checks of a run; of a veto, also the checks."""
    outcome = wording.outcome_name(run.worst_check)
    names = wording.names("check", run.vetoed_by or []).values()
    return _("{outcome}: {checks}").format(outcome=outcome, checks=_(", ").join(names)) if names else outcome


# --- groups ----------------------------------------------------------------------------------------------------


READ, LONGEST_TEXT = 30, 20
"""Letters that are read of a group's name in a list of the screen, and that its text may take of them."""


def group_name(group: RankingGroup) -> str:
    """What the runs share, as names: `decoder, english-business, quick`; a hash would mean nothing to a reader."""
    return _(", ").join(_group_parts(group))


def group_names(groups: Sequence[RankingGroup]) -> list[str]:
    """Names that tell groups apart where only their beginnings are read: the text first, without its middle if it is long,
    what all have in common last, and before names that begin alike stands the first model."""
    parts = [_group_parts(group) for group in groups]
    texts = distinct_short_names(
        [text for _kind, text, *_more in parts], lambda name: shortened_name(name, LONGEST_TEXT)
    )
    named = [[kind, text, *more] for text, (kind, _whole, *more) in zip(texts, parts, strict=True)]
    common = set.intersection(*map(set, named)) if len(named) > 1 else set()
    names = [_(", ").join(sorted((text, kind, *more), key=common.__contains__)) for kind, text, *more in named]
    models = distinct_short_names([one.rows["name"][0] for one in groups], lambda name: shortened_name(name, 16))
    first = [_("{model} …: {group}").format(model=model, group=name) for model, name in zip(models, names, strict=True)]
    beginnings = [name[:READ] for name in names]
    return [longer if beginnings.count(name[:READ]) > 1 else name for name, longer in zip(names, first, strict=True)]


def _group_parts(group: RankingGroup) -> list[str]:
    kind, stack, *read = group.rows.select("kind", "stack", "corpus_name", "protocol").row(0)
    size = [Text("N={}").format(wording.size_range(group.n_points))] if group.n_points[1] else []
    return [kind_text(kind, stack), *read, *size]


def group_models_text(group: RankingGroup) -> str:
    """The first models of a group by name; the others are counted."""
    return names_text(group.rows["name"].unique(maintain_order=True).to_list(), most=1)


def group_advice_text(other: OtherGroup, told: Collection[str] = ()) -> str:
    """Why a group cannot be compared with the one shown, and what would change that, but for the ways that are `told` elsewhere."""
    difference = _("Another {what}.").format(what=conditions_text(other.differing_keys))
    return wording.joined_sentences([difference, *(way for way in ways_out(other.differing_keys) if way not in told)])


def differing_text(runs: pl.DataFrame) -> str:
    """Why the dimensions of runs do not compare, and whether they do on words, as of two of them; empty where they do."""
    differing, words = differing_conditions(runs), runs["words_hash"]
    by_words = {*differing} <= {"tokenizer_hash", "n_points"} and words.n_unique() == 1 and not words.null_count()
    return _apart_text(by_words, differing) if differing else ""


def why_apart_lines(runs: pl.DataFrame) -> list[str]:
    """The ways out, then all that keeps the dimensions of these runs apart; none where nothing does."""
    differing = differing_conditions(runs)
    vetoed = ranking.vetoed(runs)
    lines = [*ways_out(differing), differing_text(runs)] if differing else []
    if not vetoed.is_empty():
        names = names_text(vetoed["name"].unique(maintain_order=True).to_list())
        template = _("Vetoed by a check: {names}. See Compare, Checks.")
        lines.append(template.format(names=names))
    return lines


def ways_out(differing: Collection[str]) -> list[str]:
    """What makes models comparable that differ in these conditions."""
    if {"kind", "stack"} & set(differing):
        return [_("Decoders and encoders are never ranked together: Compare shows their shapes.")]
    lines = []
    if "words_hash" in differing:
        lines.append(_("Measured together, they compare on words."))
    elif "tokenizer_hash" in differing:
        lines.append(_("On one point per word they compare if measured together."))
    elif {"corpus_id", "protocol_hash"} & set(differing):
        lines.append(_("They compare if measured together."))
    if "n_points" in differing:
        lines.append(_("N differs by more than 10 %: use a longer text."))
    return lines
