"""Export runs as an archive that people can read and another Workdim can import (import_runs.py).

Beside parcels and imported score files it holds every table as Parquet and CSV, with a dictionary of columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import InputError
from core.exports import excel_csv, parquet
from core.records import last_name, without_places
from core.store import archive
from core.store.parcels import PARCEL_FILES
from core.tables import LONG_TABLES, TABLES, RecipeNumberRow
from core.warehouse.runs import require_parcel
from core.warehouse.warehouse import Warehouse

FORMATS = {"parquet": ("parquet",), "csv": ("csv",), "both": ("parquet", "csv")}
"""What is asked for -> the formats of the tables."""
_SELECTED = "run_id IN (SELECT unnest($ids::VARCHAR[]))"
_KEYS_OF_RUNS = f"(SELECT {{key}} FROM runs WHERE {_SELECTED})"
_SCORED_NAMES = f"""
    SELECT unnest([repository, reference, base_repository]) FROM models
    WHERE model_id IN {_KEYS_OF_RUNS.format(key="model_id")}
"""
_SCORE_FILES = f"""
    SELECT file_sha256 FROM scores JOIN score_files USING (file_sha256) WHERE repository IN ({_SCORED_NAMES})
    UNION SELECT file_sha256 FROM score_samples WHERE repository IN ({_SCORED_NAMES})
"""
_QUERIES = {
    "models": f"SELECT * FROM models WHERE model_id IN {_KEYS_OF_RUNS.format(key='model_id')} ORDER BY model_id",
    "corpora": f"SELECT * FROM corpora WHERE corpus_id IN {_KEYS_OF_RUNS.format(key='corpus_id')} ORDER BY corpus_id",
    "runs": f"SELECT * FROM runs WHERE {_SELECTED} ORDER BY run_id",
    "scores": f"SELECT * FROM scores WHERE repository IN ({_SCORED_NAMES}) OR file_sha256 IN ({_SCORE_FILES}) ORDER BY ALL",
    "score_files": f"SELECT * FROM score_files WHERE file_sha256 IN ({_SCORE_FILES}) ORDER BY file_sha256",
    "score_samples": f"SELECT * FROM score_samples WHERE file_sha256 IN ({_SCORE_FILES}) ORDER BY ALL",
}
"""Scores of the selected models, and imported files as a whole: half a file would be taken for all of it."""
_SCORE_TABLES = ("scores", "score_files", "score_samples")


def _(message: str) -> str:
    """Mark a message for the catalogues; `translate` of the export translates it."""
    return message


_README = (
    _("What this export holds"),
    _(
        "Measurements of Workdim: how many dimensions language models use, layer by layer. `tables/` holds the rows as "
        "Parquet and CSV, `parcels/` the measurements as they were finished, `people/` imported files of scores, "
        "`manifest.json` the hash of every file. It holds no text and no weights. Take it in with `workdim import`."
    ),
)
_REPORT_README = (
    _("What stands behind a report"),
    _(
        "`tables/recipe_numbers` lists every number of the report: the slide, the number as it is written, and the table, "
        "column, run and key of the row that it came from. The other tables hold the rows of its runs. Parquet keeps every "
        "type, CSV opens in a spreadsheet."
    ),
)
_TYPES = {
    pl.String(): _("text"),
    pl.Int64(): _("whole number"),
    pl.Float64(): _("decimal number"),
    pl.Boolean(): _("yes or no"),
    pl.Datetime("us"): _("date and time"),
    pl.List(pl.String): _("list of texts"),
    pl.List(pl.Int64): _("list of whole numbers"),
    pl.List(pl.Float64): _("list of numbers"),
}
Translate = Callable[[str], str]
"""English message -> the message in the language of whoever reads the export."""


@dataclass(frozen=True)
class ExportResult:
    path: Path
    n_runs: int
    n_bytes: int


def export_runs(
    warehouse: Warehouse,
    run_ids: Sequence[str],
    target: Path,
    formats: str = "both",
    selection: dict[str, Any] | None = None,
    translate: Translate = str,
) -> ExportResult:
    """Write these runs to a new .zip file, whole or not at all.

    `selection` is how the runs were selected, for the manifest; `translate` words the dictionary. Raises InputError if there
    are no runs or the target exists, ResourceError if it cannot be written.
    """
    if not run_ids:
        raise InputError("No run is chosen for the export. `workdim runs` lists what is there.")
    manifest = {"kind": "export", "asked": selection or {}, "runs": list(run_ids)}
    with archive.create_archive(target, manifest) as writer:
        parcels = [require_parcel(warehouse, run_id) for run_id in run_ids]
        for parcel in parcels:
            writer.add_files(f"parcels/{parcel.name}", parcel, PARCEL_FILES)
        with warehouse.open() as opened:
            tables = {table: opened.read(sql, {"ids": list(run_ids)}) for table, sql in _QUERIES.items()}
        for sha256 in tables["score_files"]["file_sha256"]:
            folder = warehouse.folder.people / "scores" / sha256
            writer.add_files(f"people/scores/{sha256}", folder, archive.SCORE_FILES)
        included = [
            name for name in TABLES if name in LONG_TABLES or (name in tables and _is_included(name, tables[name]))
        ]
        for name in included:
            rows = tables[name] if name in tables else _read_parcels(parcels, name)
            _add_table(writer, name, rows, FORMATS[formats])
        _add_dictionary(writer, _README, included, translate)
    return ExportResult(target, len(run_ids), target.stat().st_size)


def export_report_data(
    warehouse: Warehouse,
    numbers: Sequence[RecipeNumberRow],
    run_ids: Sequence[str],
    target: Path,
    translate: Translate = str,
) -> ExportResult:
    """Export what a report shows: its numbers with their sources, and the rows of its runs in the source tables.

    Writes Parquet and CSV to a new .zip file; `translate` words the dictionary. Raises as `export_runs`.
    """
    plans = sorted({json.loads(number.source_key or "")["plan_id"] for number in numbers if _has_plan_source(number)})
    sources = {number.source_table for number in numbers if number.source_key} | {"runs", "models", "corpora"}
    manifest = {"kind": "report", "runs": list(run_ids)}
    with archive.create_archive(target, manifest) as writer:
        tables = {"recipe_numbers": TABLES["recipe_numbers"].frame(numbers)}
        with warehouse.open() as opened:
            for table in [name for name in TABLES if name in sources]:
                if table in _QUERIES:
                    tables[table] = opened.read(_QUERIES[table], {"ids": list(run_ids)})
                elif "run_id" in TABLES[table].names:
                    tables[table] = opened.read(f"SELECT * FROM {table} WHERE {_SELECTED}", {"ids": list(run_ids)})
                else:
                    sql = f"SELECT * FROM {table} WHERE plan_id IN (SELECT unnest($ids::VARCHAR[]))"
                    tables[table] = opened.read(sql, {"ids": plans})
        if "plans" in tables:
            tables["plans"] = tables["plans"].with_columns(
                pl.col("config").map_elements(_config_without_places, pl.String),
                pl.col("saved_as").map_elements(last_name, pl.String),
            )
        for name, rows in tables.items():
            _add_table(writer, name, rows)
        _add_dictionary(writer, _REPORT_README, list(tables), translate)
    return ExportResult(target, len(run_ids), target.stat().st_size)


def _config_without_places(config: str) -> str:
    return json.dumps(without_places(json.loads(config)), ensure_ascii=False)


def _has_plan_source(number: RecipeNumberRow) -> bool:
    return number.source_table in ("plans", "plan_outcomes") and number.source_key is not None


def export_as_zip(warehouse: Warehouse, run_ids: Sequence[str], folder: Path, translate: Translate = str) -> bytes:
    """The content of an export as one zip file, made in the temporary `folder`."""
    target = folder / "workdim_export.zip"
    export_runs(warehouse, run_ids, target, translate=translate)
    return target.read_bytes()


def column_dictionary(tables: Sequence[str], translate: Translate = str) -> pl.DataFrame:
    """table, column, type, optional (whether it may be empty), meaning: one row per column, in the tables' order."""
    rows = [
        (table, column.name, translate(_TYPES[column.dtype]), column.is_optional, translate(column.declared.meaning))
        for table in tables
        for column in TABLES[table].columns
    ]
    return pl.DataFrame(rows, schema=["table", "column", "type", "optional", "meaning"], orient="row")


def dictionary_markdown(tables: Sequence[str], translate: Translate = str) -> str:
    """The dictionary as Markdown: a heading and a table for each."""
    head = " | ".join(translate(title) for title in (_("column"), _("data type"), _("meaning")))
    may_be_empty = translate(_("{type}, may be empty"))
    parts = []
    for table in tables:
        parts += [f"## {table}", "", translate(TABLES[table].comment), "", f"| {head} |", "|---|---|---|"]
        for _table, column, kind, optional, meaning in column_dictionary([table], translate).iter_rows():
            cell = meaning.replace("|", "\\|").replace("\n", " ")
            parts.append(f"| `{column}` | {may_be_empty.format(type=kind) if optional else kind} | {cell} |")
        parts.append("")
    return "\n".join(parts)


def _add_table(
    writer: archive.ArchiveWriter, table: str, rows: pl.DataFrame, formats: Sequence[str] = ("parquet", "csv")
) -> None:
    """Add rows for people to read; the CSV is one for spreadsheets."""
    if "parquet" in formats:
        writer.add(f"tables/{table}.parquet", parquet(rows))
    if "csv" in formats:
        writer.add(f"tables/{table}.csv", excel_csv(rows))


def _add_dictionary(
    writer: archive.ArchiveWriter, readme: tuple[str, str], tables: Sequence[str], translate: Translate
) -> None:
    """Add the dictionary as a table for a spreadsheet, and as text below the description of the export."""
    title, text = map(translate, readme)
    writer.add("dictionary.csv", excel_csv(column_dictionary(tables, translate)))
    writer.add("dictionary.md", f"# {title}\n\n{text}\n\n{dictionary_markdown(tables, translate)}".encode())


def _read_parcels(parcels: Sequence[Path], table: str) -> pl.DataFrame:
    """Rows of parcels, in double precision: the DuckDB file holds most numbers in single precision."""
    of_each = [pl.read_parquet((parcel / f"{table}.parquet").read_bytes()) for parcel in parcels]
    declared = TABLES[table]
    return pl.concat([declared.frame([]), *of_each], how="diagonal").select(declared.names)


def _is_included(table: str, rows: pl.DataFrame) -> bool:
    return bool(rows.height) or table not in _SCORE_TABLES
