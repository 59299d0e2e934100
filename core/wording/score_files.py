"""The wording of imported score files: why a value was left out, or how it was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from core.errors import InputError, unknown_name
from core.locale import N_, _, translated, worded
from core.scores.cells import Remark
from core.scores.score_rows import ParsedScore, ScoreFile
from core.sources import shown
from core.wording.numbers import number

REMARKS = {
    "name_missing": N_("Skipped: no name ({detail})"),
    "name_is_no_text": N_("Skipped: name is no text ({detail})"),
    "name_too_long": N_("Skipped: name above 300 characters ({detail})"),
    "name_with_control_characters": N_("Skipped: control characters in name ({detail})"),
    "no_value": N_("Skipped: no value"),
    "not_a_number": N_("Skipped: not a number ({detail})"),
    "not_finite": N_("Skipped: not a finite number ({detail})"),
    "not_readable": N_("Skipped: unreadable comparability ({detail})"),
    "not_a_task": N_("Skipped: no scores stand here ({detail})"),
    "value_twice": N_("Skipped: two values under one key"),
    "no_metric_was_computed": N_("Skipped: answers without scores"),
    "std_error_alone": N_("Skipped: standard error without value ({detail})"),
    "ragged": N_("Skipped: cells in line / header: {detail}"),
    "repeated": N_("Skipped: same value as at {detail}"),
    "differs_from": N_("Another value at {detail}; both kept"),
    "renamed": N_("Named {detail} in the file"),
    "local_path": N_("Local path: name the model meant ({detail})"),
    "no_revision": N_("Revision not stated"),
    "no_filter": N_("Filter not stated"),
    "no_unit": N_("Unit not stated"),
    "no_std_error": N_("No standard error ({detail})"),
    "unit_by_metric": N_("Unit taken from the metric's name and values ({detail})"),
    "direction_by_metric": N_("Direction taken from the metric's name ({detail})"),
    "to_percent": N_("Converted from 0-1 to percent"),
    "decimal_comma": N_("Decimal comma read ({detail})"),
    "beyond_fraction": N_("Not between 0 and 1: unit kept ({detail})"),
    "outside_percent": N_("Outside 0 to 100 percent ({detail})"),
    "outside_fraction": N_("Outside 0 to 1 ({detail})"),
    "left_out": N_("Left empty, not readable: {detail}"),
    "encoding": N_("Read as {detail} text"),
    "separator": N_("Cells parted by: {detail}"),
    "column_ignored": N_("Column not taken: {detail}"),
    "key_twice": N_("Two values of one key: {detail}"),
    "samples_inside": N_("Single answers in results not taken"),
    "availability_inverted": N_("Availability column read as the contrary of its name"),
    "model_from_file_name": N_("Model named after file or folder: {detail}"),
    "filters_not_named": N_("Unnamed filters kept apart by order"),
    "metric_not_per_question": N_("Not scored question by question: {detail}"),
}
"""What is said of a value that was skipped or changed, and of a file."""


def remark_text(remark: Remark) -> str:
    """A remark in one sentence, with the name or value from the file. It is plain text: a page must escape it."""
    if remark.code not in REMARKS:
        raise InputError(unknown_name("remark", remark.code, REMARKS))
    return translated(REMARKS[remark.code]).format(detail=worded(remark.detail))


def format_name(format: str) -> str:
    """The usual name of a score file's format."""
    names = {
        "lm_eval": _("lm-evaluation-harness results"),
        "lm_eval_v03": _("lm-evaluation-harness results (v0.3)"),
        "lm_eval_samples": _("lm-evaluation-harness single answers"),
        "answers_table": _("Single answers, table"),
        "leaderboard_v2_csv": _("Open LLM Leaderboard v2, CSV"),
        "leaderboard_v2_json": _("Open LLM Leaderboard v2, JSON"),
        "csv": _("Table after the template"),
        "hub_eval_results": _("Evaluation results of a model repository (.eval_results)"),
        "scored_here": _("Scored here on your own task"),
    }
    if format not in names:
        raise InputError(unknown_name("format of score files", format, names))
    return names[format]


KINDS = ("taken", "mapped", "duplicate", "conflict", "skipped")
EXAMPLES = 3


def kind_name(kind: str) -> str:
    """What becomes of a value, one of KINDS, in words."""
    names = {
        "taken": _("taken"),
        "mapped": _("taken, with a note"),
        "duplicate": _("taken, is there already"),
        "conflict": _("taken, contradicts what is there"),
        "skipped": _("skipped"),
    }
    return names[kind]


def row_remarks_text(row: ParsedScore) -> str:
    """Why a value is skipped, or how it was changed; empty if it is taken unchanged."""
    remarks = [row.skipped] if row.skipped else row.remarks
    return _("; ").join(remark_text(remark) for remark in remarks)


def known_score_text(known: str | None, sources: str | None, value: float | None) -> str:
    """What the warehouse, or another row of the file, already has for the same score."""
    if known is None:
        return ""
    if known == "duplicate":
        return _("the same from {source}").format(source=sources)
    return _("{value} from {source}").format(value=number(value), source=sources)


def remark_lines(rows: Sequence[ParsedScore], *, skipped: bool) -> list[str]:
    """Why values were skipped, or how the others were changed: `2 × Skipped: no value (for example line 4; line 7)`.

    Each reason once, the most frequent first.
    """
    by_code: dict[str, list[tuple[Remark, str]]] = {}
    for row in rows:
        if (row.skipped is not None) == skipped:
            for remark in [row.skipped] if row.skipped else row.remarks:
                by_code.setdefault(remark.code, []).append((remark, row.at))
    lines = []
    for _code, remarks in sorted(by_code.items(), key=lambda one: (-len(one[1]), one[0])):
        first = remarks[0][0]
        if len({remark.detail for remark, _at in remarks}) > 1:  # one line stands for all, worded as the first
            first = replace(first, detail=f"{first.detail}, …")
        places = _("; ").join(worded(at) for _remark, at in remarks[:EXAMPLES])
        line = _("{n:,} × {words} (for example {places})")
        lines.append(line.format(n=len(remarks), words=remark_text(first), places=places))
    return lines


def measured_text(names: pl.DataFrame) -> str:
    """How many of the models that a preview names are measured here, and by what they are known: `3 of 4 (by name: 2, ...)`."""
    known = names.filter("is_measured")
    by = {
        "reference": _("by reference"),
        "repository": _("by repository"),
        "id": _("by id"),
        "name": _("by name"),
        "short_name": _("by shortened name"),
        "alias": _("by alias"),
    }
    counts = dict(known["matched_by"].value_counts(sort=True).rows())
    parts = [_("{what}: {n}").format(what=by[key], n=shown(counts[key], ",")) for key in by if key in counts]
    text = _("{n} of {total}").format(n=shown(known.height, ","), total=shown(names.height, ","))
    return _("{quantity} ({details})").format(quantity=text, details=_(", ").join(parts)) if parts else text


def file_remark_lines(file: ScoreFile) -> list[str]:
    """What is to say of the file as a whole."""
    return [remark_text(remark) for remark in file.remarks]
