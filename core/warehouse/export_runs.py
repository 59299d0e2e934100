"""Export runs as an archive that people can read and another Workdim can import (import_runs.py).

Beside parcels and imported score files it holds every table as Parquet and CSV, with a dictionary of columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import InputError
from core.exports import excel_csv, parquet
from core.locale import N_, _, translated, worded
from core.records import last_name, without_places
from core.store import archive
from core.store.parcels import PARCEL_FILES
from core.tables import LONG_TABLES, TABLES, RecipeNumberRow, frame
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


_README = (
    N_("What this export holds"),
    N_(
        "Measurements of Workdim: dimensions that language models use, layer by layer. `tables/` holds rows (Parquet, CSV), "
        "`parcels/` measurements, `people/` files of scores, `manifest.json` hashes. No text, no weights. `workdim import` "
        "takes it in."
    ),
)
_REPORT_README = (
    N_("What stands behind a report"),
    N_(
        "`tables/recipe_numbers`: every number of the report with slide, wording, and its row's table, column, run and "
        "key. Other tables: rows of its runs."
    ),
)
_TYPES = {
    pl.String(): N_("text"),
    pl.Int64(): N_("whole number"),
    pl.Float64(): N_("decimal number"),
    pl.Boolean(): N_("yes or no"),
    pl.Datetime("us"): N_("date and time"),
    pl.List(pl.String): N_("list of texts"),
    pl.List(pl.Int64): N_("list of whole numbers"),
    pl.List(pl.Float64): N_("list of numbers"),
}


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
) -> ExportResult:
    """Write these runs to a new .zip file, whole or not at all.

    `selection` is how the runs were selected, for the manifest. Raises InputError if there are no runs or the target exists,
    ResourceError if it cannot be written.
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
        for name in _SCORE_TABLES:
            if tables[name].is_empty():
                del tables[name]
        # Read one by one, as they are written: all rows of many runs together take gigabytes.
        included = [name for name in TABLES if name in tables or name in LONG_TABLES]
        rows = ((name, tables[name] if name in tables else _read_parcels(parcels, name)) for name in included)
        _add_tables(writer, _README, rows, FORMATS[formats])
    return ExportResult(target, len(run_ids), target.stat().st_size)


def export_report_data(
    warehouse: Warehouse, numbers: Sequence[RecipeNumberRow], run_ids: Sequence[str], target: Path
) -> ExportResult:
    """Export what a report shows: its numbers with their sources, and the rows of its runs in the source tables.

    Writes Parquet and CSV to a new .zip file. Raises as `export_runs`.
    """
    keyed = [(number.source_table, json.loads(number.source_key)) for number in numbers if number.source_key]
    plans = sorted({key["plan_id"] for table, key in keyed if table in ("plans", "plan_outcomes")})
    sources = {table for table, _key in keyed} | {"runs", "models", "corpora"}
    manifest = {"kind": "report", "runs": list(run_ids)}
    with archive.create_archive(target, manifest) as writer:
        tables = {"recipe_numbers": frame(numbers, RecipeNumberRow)}
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
        _add_tables(writer, _REPORT_README, tables.items(), FORMATS["both"])
    return ExportResult(target, len(run_ids), target.stat().st_size)


def _config_without_places(config: str) -> str:
    return json.dumps(without_places(json.loads(config)), ensure_ascii=False)


def column_dictionary(tables: Sequence[str]) -> pl.DataFrame:
    """table, column, type, optional (whether it may be empty), meaning: one row per column, in the tables' order."""
    rows = [
        (table, column.name, translated(_TYPES[column.dtype]), column.is_optional, worded(column.declared.comment))
        for table in tables
        for column in TABLES[table].columns
    ]
    return pl.DataFrame(rows, schema=["table", "column", "type", "optional", "meaning"], orient="row")


def _dictionary_markdown(tables: Sequence[str]) -> str:
    """The dictionary as Markdown: a heading and a table for each."""
    head = " | ".join((_("column"), _("data type"), _("meaning")))
    may_be_empty = _("{type}, may be empty")
    parts = []
    for table in tables:
        parts += [f"## {table}", "", translated(TABLES[table].comment), "", f"| {head} |", "|---|---|---|"]
        for _table, column, kind, optional, meaning in column_dictionary([table]).iter_rows():
            cell = meaning.replace("|", "\\|").replace("\n", " ")
            parts.append(f"| `{column}` | {may_be_empty.format(type=kind) if optional else kind} | {cell} |")
        parts.append("")
    return "\n".join(parts)


def _add_tables(
    writer: archive.ArchiveWriter,
    readme: tuple[str, str],
    tables: Iterable[tuple[str, pl.DataFrame]],
    formats: Sequence[str],
) -> None:
    """Add rows for people to read, the CSV one for spreadsheets; and their dictionary as a table for a spreadsheet, and as
    text below the description of the export."""
    names = []
    for table, rows in tables:
        names.append(table)
        for form in formats:
            writer.add(f"tables/{table}.{form}", parquet(rows) if form == "parquet" else excel_csv(rows))
    title, text = map(translated, readme)
    writer.add("dictionary.csv", excel_csv(column_dictionary(names)))
    writer.add("dictionary.md", f"# {title}\n\n{text}\n\n{_dictionary_markdown(names)}".encode())


def _read_parcels(parcels: Sequence[Path], table: str) -> pl.DataFrame:
    """Rows of parcels, in double precision: the DuckDB file holds most numbers in single precision."""
    of_each = [pl.read_parquet((parcel / f"{table}.parquet").read_bytes()) for parcel in parcels]
    declared = TABLES[table]
    return pl.concat([declared.frame([]), *of_each], how="diagonal").select(declared.names)
