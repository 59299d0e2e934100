"""Tables of the page of scores. Cells are drawn letter by letter: no markup of a file is ever run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from core import wording
from core.analysis.paired import PairedComparison
from core.figures.scores import benchmark_label, with_kind
from core.ui import language, tables
from core.warehouse.score_imports import ImportPreview
from core.wording import score_files
from core.wording.scores import comparison_outcome_text, p_number_text

MOST_ROWS = 2_000
"""More are counted, not drawn."""


def show(table: pl.DataFrame, key: str, **more: Any) -> None:
    tables.show(table, key, **more)


def values(previews: Sequence[ImportPreview], kind: str | None) -> tuple[pl.DataFrame, int]:
    """Of the values of this kind, or all, the first MOST_ROWS as a table; and how many there are."""
    found: list[pl.DataFrame] = []
    n_all = 0
    for preview in previews:
        rows = with_kind(preview.rows)
        rows = rows if kind is None else rows.filter(kind=kind)
        n_all += rows.height
        left = MOST_ROWS - sum(table.height for table in found)
        if left > 0 and rows.height:
            found.append(_values(preview, rows.head(left)))
    drawn = pl.concat(found) if found else _values(previews[0], with_kind(previews[0].rows.head(0)))
    return tables.without_empty(drawn.to_dict()), n_all


def _values(preview: ImportPreview, rows: pl.DataFrame) -> pl.DataFrame:
    _ = language.translator()
    lang = language.current()
    said = [score_files.row_remarks_text(preview.file.rows[number], lang) for number in rows["number"]]
    known = [
        score_files.known_score_text(known, sources, value, lang)
        for known, sources, value in rows.select("known", "known_from", "known_value").rows()
    ]
    is_alias = rows["model"] != rows["reference"]
    columns = {
        _("Model"): rows["model"],
        _("What will be done"): [score_files.kind_name(kind, lang) for kind in rows["kind"]],
        _("Benchmark"): rows["benchmark"],
        _("Metric"): _named(rows["metric"], wording.metric_name),
        _("Score"): rows["value"],
        _("Unit"): _named(rows["unit"], wording.unit_name),
        _("Why, or what was made of it"): [text or None for text in said],
        _("In the warehouse already"): [text or None for text in known],
        _("Model that is meant"): rows["reference"].zip_with(is_alias, pl.Series([None], dtype=pl.String)),
        _("Shots"): rows["n_shot"],
        _("Filter"): _stated(rows["filter"]),
        _("Suite"): _stated(rows["suite"]),
        _("Partial run"): [True if partial else None for partial in rows["is_partial"]],
        _("Revision"): rows["revision"],
        _("Where in the file"): rows["at"],
        _("File"): pl.Series([preview.file.name] * rows.height, dtype=pl.String),
    }
    types = {name: pl.String for name in columns} | {
        _("Score"): pl.Float64,
        _("Shots"): pl.Int64,
        _("Partial run"): pl.Boolean,
    }
    return pl.DataFrame(columns, schema=types)


def names(found: pl.DataFrame) -> pl.DataFrame:
    """Rows of `Preview.names`."""
    _ = language.translator()
    met = {True: _("measured here"), False: _("not measured here")}
    return tables.without_empty(
        {
            _("Name in the file"): found["name"],
            _("Model that is meant"): found["reference"],
            _("Known"): [met[is_measured] for is_measured in found["is_measured"]],
            _("May be meant"): [_(", ").join(near) or None for near in found["suggestions"]],
            _("Scores"): found["n_scores"],
            _("Single answers"): found["n_samples"],
        }
    )


def files(found: pl.DataFrame, format_name) -> pl.DataFrame:
    """Rows of `score_imports.files`."""
    _ = language.translator()
    return pl.DataFrame(
        {
            _("File"): found["file_name"],
            _("Kind of file"): [format_name(one, language.current()) for one in found["format"]],
            _("Scores"): found["n_taken"],
            _("Of partial runs"): found["n_partial"],
            _("Skipped"): found["n_skipped"],
            _("Single answers"): found["n_samples"],
            _("Models"): found["n_models"],
            _("Imported"): [language.local_time(at, in_table=True) for at in found["imported_at"]],
            "SHA-256": found["file_sha256"].str.head(12),
        }
    )


def conflicts(found: pl.DataFrame) -> pl.DataFrame:
    """Rows of `score_answers.score_conflicts`."""
    _ = language.translator()
    lang = language.current()
    variants = found.select("dtype", "chat_template").rows()
    settings = [wording.score_settings_text(dtype, template, lang) for dtype, template in variants]
    return tables.without_empty(
        {
            _("Model"): found["repository"],
            _("Benchmark"): found["benchmark"],
            _("Metric"): _named(found["metric"], wording.metric_name),
            _("Lowest"): found["lowest"].round_sig_figs(4),
            _("Highest"): found["highest"].round_sig_figs(4),
            _("Values"): found["n_values"],
            _("Value and source"): [" | ".join(told) for told in found["told"]],
            _("Shots"): found["n_shot"],
            _("Filter"): _stated(found["filter"]),
            _("Suite"): _stated(found["suite"]),
            _("Revision"): found["revision"],
            _("Settings"): settings,
        }
    )


def differences(found: Sequence[tuple[dict[str, str], PairedComparison]]) -> pl.DataFrame:
    """Comparisons of `paired.compare_all_answers`."""
    _ = language.translator()
    ones = [one for _key, one in found]
    return tables.without_empty(
        {
            _("Benchmark"): [benchmark_label(key, language.current()) for key, _one in found],
            _("Result"): [comparison_outcome_text(one, language.current()) for one in ones],
            _("Difference"): [wording.with_interval(one.difference, one.lower, one.upper) for one in ones],
            _("Common questions"): [one.n_common for one in ones],
            _("Mean of the first"): pl.Series([one.mean_a for one in ones]).round(4),
            _("Mean of the second"): pl.Series([one.mean_b for one in ones]).round(4),
            _("Standard error"): [None if one.std_error is None else float(f"{one.std_error:.2g}") for one in ones],
            _("Only the first is right"): [one.only_a_right for one in ones],
            _("Only the second is right"): [one.only_b_right for one in ones],
            _("p (exact)"): [p_number_text(one.p_value) for one in ones],
            _("Detectable difference"): [wording.number(one.detectable) for one in ones],
            _("Only asked of the first"): [one.n_only_a for one in ones],
            _("Only asked of the second"): [one.n_only_b for one in ones],
        }
    )


def _stated(column: pl.Series) -> list[str | None]:
    """As the source has it; that it does not say is said in the reader's language."""
    return _named(column, wording.stated_text)


def _named(column: pl.Series, name: Callable[[str, str], str]) -> list[str | None]:
    return [None if text is None else name(text, language.current()) for text in column]
