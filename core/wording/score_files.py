"""The wording of imported score files: why a value was left out, or how it was changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import polars as pl

from core.errors import InputError, unknown_name
from core.locale import translator
from core.scores.cells import Remark
from core.scores.score_rows import ParsedScore, ScoreFile
from core.wording.numbers import number


def remark_text(remark: Remark, language: str) -> str:
    """A remark in one sentence, with the name or value from the file. It is plain text: a page must escape it."""
    sentences = (
        _skipped_texts(translator(language)) | _changed_texts(translator(language)) | _file_texts(translator(language))
    )
    if remark.code not in sentences:
        raise InputError(unknown_name("remark", remark.code, sentences))
    return sentences[remark.code].format(detail=remark.detail)


def format_name(format: str, language: str) -> str:
    """The usual name of a score file's format."""
    _ = translator(language)
    names = {
        "lm_eval": _("lm-evaluation-harness results"),
        "lm_eval_v03": _("lm-evaluation-harness results (v0.3)"),
        "lm_eval_samples": _("lm-evaluation-harness single answers"),
        "answers_table": _("Single answers, table"),
        "lighteval": _("lighteval results (Open LLM Leaderboard v1)"),
        "leaderboard_v2_csv": _("Open LLM Leaderboard v2, CSV"),
        "leaderboard_v2_json": _("Open LLM Leaderboard v2, JSON"),
        "leaderboard_merged_csv": _("Open LLM Leaderboard v2 with arena scores, CSV"),
        "leaderboard_contents": _("Open LLM Leaderboard v2, data set"),
        "leaderboard_v1_csv": _("Open LLM Leaderboard v1, CSV"),
        "obs_scaling_csv": _("ObsScaling table, CSV"),
        "csv": _("Table after the template"),
        "hub_eval_results": _("Evaluation results of a model repository (.eval_results)"),
        "scored_here": _("Scored here on a task of one's own"),
    }
    if format not in names:
        raise InputError(unknown_name("format of score files", format, names))
    return names[format]


def _skipped_texts(_: Callable[[str], str]) -> dict[str, str]:
    return {
        "name_missing": _("Skipped: no name ({detail})"),
        "name_is_no_text": _("Skipped: a name that is no text ({detail})"),
        "name_too_long": _("Skipped: a name longer than 300 characters ({detail})"),
        "name_with_control_characters": _("Skipped: a name with control characters ({detail})"),
        "no_value": _("Skipped: no value"),
        "not_a_number": _("Skipped: not a number ({detail})"),
        "not_finite": _("Skipped: not a finite number ({detail})"),
        "not_readable": _("Skipped: what decides on comparability cannot be read ({detail})"),
        "not_a_task": _("Skipped: no scores stand here ({detail})"),
        "value_twice": _("Skipped: two different values under one key"),
        "no_metric_was_computed": _("Skipped: answers were recorded but not scored"),
        "std_error_alone": _("Skipped: a standard error without its value ({detail})"),
        "ragged": _("Skipped: cells in this line / in the header: {detail}"),
        "repeated": _("Skipped: the same value as at {detail}"),
    }


def _changed_texts(_: Callable[[str], str]) -> dict[str, str]:
    return {
        "differs_from": _("Another value for the same stands at {detail}; both are kept"),
        "renamed": _("Named {detail} in the file"),
        "local_path": _("The name is a local path: give it the name of the model that is meant ({detail})"),
        "matched_by_name": _("Matched by name with {detail} by whoever made the file"),
        "no_revision": _("Revision not stated"),
        "no_filter": _("Filter not stated"),
        "no_unit": _("Unit not stated"),
        "no_std_error": _("No standard error ({detail})"),
        "std_error_from_interval": _("Standard error from the 95% interval {detail}"),
        "unit_by_metric": _("Unit taken from the metric's name and the values ({detail})"),
        "direction_by_metric": _("Direction taken from the metric's name ({detail})"),
        "to_percent": _("Converted from 0-1 to percent"),
        "decimal_comma": _("Decimal comma read ({detail})"),
        "beyond_fraction": _("Not between 0 and 1: unit left as the metric's name ({detail})"),
        "outside_percent": _("Outside 0 to 100 percent ({detail})"),
        "outside_fraction": _("Outside 0 to 1 ({detail})"),
        "left_out": _("Left empty, not readable: {detail}"),
    }


def _file_texts(_: Callable[[str], str]) -> dict[str, str]:
    return {
        "encoding": _("Read as {detail} text"),
        "separator": _("Cells parted by: {detail}"),
        "column_ignored": _("Column not taken: {detail}"),
        "key_twice": _("A key stands twice with different values: {detail}"),
        "samples_inside": _("Single answers inside the results file are not taken"),
        "availability_inverted": _("The column on availability says the contrary of its name and is read so"),
        "flags_inverted": _("The columns flagged, moe and merged say the contrary of their names and are read so"),
        "rounded_to_two_digits": _("Raw values have two digits only"),
        "model_from_file_name": _("Model taken from the name of the file or folder: {detail}"),
        "filters_not_named": _("Several filters without names: kept apart by their order"),
        "metric_not_per_question": _("Not scored question by question: {detail}"),
    }


KINDS = ("taken", "mapped", "duplicate", "conflict", "skipped")
EXAMPLES = 3

# A leaderboard has the same few remarks on thousands of values.
_cached_remark_text = lru_cache(maxsize=4096)(remark_text)


@dataclass(frozen=True)
class RemarkGroup:
    """A remark, with the number of values that it applies to."""

    code: str
    words: str
    """Wording of the first value."""
    count: int
    places: tuple[str, ...]
    """Positions of the first few values in the file."""


def kind_name(kind: str, language: str) -> str:
    """What becomes of a value, one of KINDS, in words."""
    _ = translator(language)
    names = {
        "taken": _("taken"),
        "mapped": _("taken and mapped"),
        "duplicate": _("taken, is there already"),
        "conflict": _("taken, contradicts what is there"),
        "skipped": _("skipped"),
    }
    return names[kind]


def row_remarks_text(row: ParsedScore, language: str) -> str:
    """Why a value is skipped, or how it was changed; empty if it is taken unchanged."""
    _ = translator(language)
    remarks = [row.skipped] if row.skipped else row.remarks
    return _("; ").join(_cached_remark_text(remark, language) for remark in remarks)


def known_score_text(known: str | None, sources: str | None, value: float | None, language: str) -> str:
    """What the warehouse, or another row of the file, already has for the same score."""
    _ = translator(language)
    if known is None:
        return ""
    if known == "duplicate":
        return _("the same from {source}").format(source=sources)
    return _("{value} from {source}").format(value=number(value), source=sources)


def remark_groups(rows: Sequence[ParsedScore], language: str, *, skipped: bool) -> list[RemarkGroup]:
    """Why values were skipped, or how the others were changed, each reason once. The most frequent comes first."""
    by_code: dict[str, list[tuple[Remark, str]]] = {}
    for row in rows:
        if (row.skipped is not None) != skipped:
            continue
        for remark in [row.skipped] if row.skipped else row.remarks:
            by_code.setdefault(remark.code, []).append((remark, row.at))
    groups = []
    for code, remarks in by_code.items():
        first = remarks[0][0]
        if len({remark.detail for remark, _ in remarks}) > 1:  # one line stands for all, worded as the first
            first = replace(first, detail=f"{first.detail}, …")
        groups.append(
            RemarkGroup(
                code, _cached_remark_text(first, language), len(remarks), tuple(at for _, at in remarks[:EXAMPLES])
            )
        )
    return sorted(groups, key=lambda group: (-group.count, group.code))


def measured_text(names: pl.DataFrame, language: str) -> str:
    """How many of the models that a preview names are measured here, and by what they are known: `3 of 4 (by name: 2, ...)`."""
    _ = translator(language)
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
    parts = [_("{what}: {n}").format(what=by[key], n=f"{counts[key]:,}") for key in by if key in counts]
    text = _("{n} of {total}").format(n=f"{known.height:,}", total=f"{names.height:,}")
    return _("{quantity} ({details})").format(quantity=text, details=_(", ").join(parts)) if parts else text


def file_remark_lines(file: ScoreFile, language: str) -> list[str]:
    """What is to say of the file as a whole."""
    return [_cached_remark_text(remark, language) for remark in file.remarks]
