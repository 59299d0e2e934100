"""A selection of runs as an archive that anybody can read, and that another Workdim takes in (import_runs.py).

Beside the measurements and the imported files of scores it holds every table as Parquet and CSV, with a dictionary.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import InputError
from core.exports import excel_csv
from core.records import last_name, without_places
from core.store import archive
from core.store.parcels import PARCEL_FILES
from core.tables import LONG_TABLES, TABLES, RecipeNumberRow
from core.warehouse.annotate import whole_parcel
from core.warehouse.warehouse import Warehouse

FORMATS = ("parquet", "csv", "both")
_CHOSEN = "run_id IN (SELECT unnest($ids::VARCHAR[]))"
_OF_RUNS = f"(SELECT {{key}} FROM runs WHERE {_CHOSEN})"
_SCORED = f"""
    SELECT unnest([repository, reference, base_repository]) FROM models
    WHERE model_id IN {_OF_RUNS.format(key="model_id")}
"""
_FILES = f"""
    SELECT file_sha256 FROM scores JOIN score_files USING (file_sha256) WHERE repository IN ({_SCORED})
    UNION SELECT file_sha256 FROM score_samples WHERE repository IN ({_SCORED})
"""
_TABLES = {
    "models": f"SELECT * FROM models WHERE model_id IN {_OF_RUNS.format(key='model_id')} ORDER BY model_id",
    "corpora": f"SELECT * FROM corpora WHERE corpus_id IN {_OF_RUNS.format(key='corpus_id')} ORDER BY corpus_id",
    "runs": f"SELECT * FROM runs WHERE {_CHOSEN} ORDER BY run_id",
    "scores": f"SELECT * FROM scores WHERE repository IN ({_SCORED}) OR file_sha256 IN ({_FILES}) ORDER BY ALL",
    "score_files": f"SELECT * FROM score_files WHERE file_sha256 IN ({_FILES}) ORDER BY file_sha256",
    "score_samples": f"SELECT * FROM score_samples WHERE file_sha256 IN ({_FILES}) ORDER BY ALL",
}
"""Of the scores, those of the chosen models, and imported files as a whole: half of one would be taken for all."""
_SCORE_TABLES = ("scores", "score_files", "score_samples")
_ABOUT = """# What this export holds

Measurements of Workdim: how many dimensions language models use, layer by layer. `tables/` holds the rows as Parquet
and CSV, `parcels/` the measurements as they were finished, `people/` imported files of scores, `manifest.json` the hash
of every file. It holds no text and no weights. Take it in with `workdim import`.

"""
_ABOUT_BUNDLE = """# What stands behind a report

`tables/recipe_numbers` lists every number of the report: the slide, the number as it is written, and the table, column,
run and key of the row that it came from. The other tables hold the rows of its runs. Parquet keeps every type, CSV opens
in a spreadsheet.

"""
_TYPES = {
    pl.String: "text",
    pl.Int64: "whole number",
    pl.Float64: "number",
    pl.Boolean: "yes or no",
    pl.Datetime: "time",
    pl.List: "list",
}


@dataclass(frozen=True)
class Exported:
    path: Path
    n_runs: int
    n_bytes: int


def export(
    warehouse: Warehouse,
    run_ids: Sequence[str],
    target: Path,
    formats: str = "both",
    asked: dict[str, Any] | None = None,
) -> Exported:
    """Write these runs to a new folder, or to a file where `target` ends in .zip; whole or not at all.

    `asked` is the selection in its asker's words, for the manifest. Raises InputError where there is nothing to write
    or something in the way, ResourceError where it cannot be written.
    """
    if not run_ids:
        raise InputError("No run is chosen for the export. `workdim runs` lists what is there.")
    about = {"kind": "export", "asked": asked or {}, "runs": list(run_ids)}
    with archive.written(target, about, target.suffix.lower() == ".zip") as writer:
        parcels = [whole_parcel(warehouse, run_id) for run_id in run_ids]
        for parcel in parcels:
            writer.add_files(f"parcels/{parcel.name}", parcel, PARCEL_FILES)
        with warehouse.opened() as opened:
            tables = {table: opened.read(sql, {"ids": list(run_ids)}) for table, sql in _TABLES.items()}
        for sha256 in tables["score_files"]["file_sha256"]:
            folder = warehouse.folder.people / "scores" / sha256
            writer.add_files(f"people/scores/{sha256}", folder, archive.SCORE_FILES)
        shown = [name for name in TABLES if name in LONG_TABLES or (name in tables and _is_shown(name, tables[name]))]
        for name in shown:
            rows = tables[name] if name in tables else _of_parcels(parcels, name)
            if formats in ("parquet", "both"):
                content = io.BytesIO()
                rows.write_parquet(content, compression="zstd")
                writer.add(f"tables/{name}.parquet", content.getvalue())
            if formats in ("csv", "both"):
                writer.add(f"tables/{name}.csv", excel_csv(rows))
        writer.add("dictionary.csv", excel_csv(dictionary(shown)))
        writer.add("dictionary.md", (_ABOUT + as_markdown(shown)).encode())
    return Exported(target, len(run_ids), target.stat().st_size if target.is_file() else writer.n_bytes)


def bundle(warehouse: Warehouse, numbers: Sequence[RecipeNumberRow], run_ids: Sequence[str], target: Path) -> Exported:
    """Everything that a report shows: its numbers with their sources, and the rows of its runs in the tables that these
    came from; Parquet and CSV in a new folder, or a file where `target` ends in .zip. Raises as `export`."""
    plans = sorted({json.loads(one.source_key or "")["plan_id"] for one in numbers if _is_of_plan(one)})
    sources = {one.source_table for one in numbers} | {"runs", "models", "corpora"}
    about = {"kind": "report", "runs": list(run_ids)}
    with archive.written(target, about, target.suffix.lower() == ".zip") as writer:
        tables = {"recipe_numbers": TABLES["recipe_numbers"].frame(numbers)}
        with warehouse.opened() as opened:
            for table in [name for name in TABLES if name in sources]:
                if table in _TABLES:
                    tables[table] = opened.read(_TABLES[table], {"ids": list(run_ids)})
                elif "run_id" in TABLES[table].names:
                    tables[table] = opened.read(f"SELECT * FROM {table} WHERE {_CHOSEN}", {"ids": list(run_ids)})
                else:
                    sql = f"SELECT * FROM {table} WHERE plan_id IN (SELECT unnest($ids::VARCHAR[]))"
                    tables[table] = opened.read(sql, {"ids": plans})
        if "plans" in tables:
            tables["plans"] = tables["plans"].with_columns(
                pl.col("config").map_elements(_shared_config, pl.String),
                pl.col("saved_as").map_elements(last_name, pl.String),
            )
        for name, rows in tables.items():
            content = io.BytesIO()
            rows.write_parquet(content, compression="zstd")
            writer.add(f"tables/{name}.parquet", content.getvalue())
            writer.add(f"tables/{name}.csv", excel_csv(rows))
        writer.add("dictionary.csv", excel_csv(dictionary(list(tables))))
        writer.add("dictionary.md", (_ABOUT_BUNDLE + as_markdown(list(tables))).encode())
    return Exported(target, len(run_ids), target.stat().st_size if target.is_file() else writer.n_bytes)


def _shared_config(config: str) -> str:
    return json.dumps(without_places(json.loads(config)), ensure_ascii=False)


def _is_of_plan(one: RecipeNumberRow) -> bool:
    return one.source_table in ("plans", "plan_outcomes") and one.source_key is not None


def as_zip(warehouse: Warehouse, run_ids: Sequence[str], folder: Path) -> bytes:
    """The content of an export as one zip file, made in the temporary `folder`."""
    target = folder / "workdim_export.zip"
    export(warehouse, run_ids, target)
    return target.read_bytes()


def dictionary(tables: Sequence[str]) -> pl.DataFrame:
    """table, column, type, optional (whether it may be empty), meaning: one row per column, in the tables' order."""
    rows = [
        (table, column.name, _type(column.dtype), column.is_optional, column.declared.meaning)
        for table in tables
        for column in TABLES[table].columns
    ]
    return pl.DataFrame(rows, schema=["table", "column", "type", "optional", "meaning"], orient="row")


def as_markdown(tables: Sequence[str]) -> str:
    """The same to be read: a heading and a table for each."""
    parts = []
    for table in tables:
        parts += [f"## {table}", "", TABLES[table].comment, "", "| column | type | meaning |", "|---|---|---|"]
        for _table, column, kind, optional, meaning in dictionary([table]).iter_rows():
            cell = meaning.replace("|", "\\|").replace("\n", " ")
            parts.append(f"| `{column}` | {kind}{', may be empty' if optional else ''} | {cell} |")
        parts.append("")
    return "\n".join(parts)


def _of_parcels(parcels: Sequence[Path], table: str) -> pl.DataFrame:
    """The rows as they were measured: the DuckDB file holds most numbers in single precision."""
    of_each = [pl.read_parquet((parcel / f"{table}.parquet").read_bytes()) for parcel in parcels]
    declared = TABLES[table]
    return pl.concat([declared.frame([]), *of_each], how="diagonal").select(declared.names)


def _is_shown(table: str, rows: pl.DataFrame) -> bool:
    return bool(rows.height) or table not in _SCORE_TABLES


def _type(kind: pl.DataType) -> str:
    if isinstance(kind, pl.List):
        return f"list of {_type(kind.inner)}s"  # type: ignore[arg-type]
    return _TYPES[kind.base_type()]
