"""What leaves a warehouse and what comes in: backups of all files and their restoring, exports of runs for other people,
imports of what others measured. All are one kind of archive (core.store.archive).

A backup is made while others read and write: every file is whole at any moment, so that a change during the backup is in
it as it was before or after. The DuckDB file is left out, because it is built from the rest; what people made in it becomes
files first. A damaged file is left out by name, of a backup as of a restore: it never takes the place of a good one. An
export holds, beside parcels and imported score files, every table as Parquet and CSV, with a dictionary of columns. Each
run and each score file is imported whole or not at all; one that fails does not stop the others.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from core.errors import (
    InputError,
    ResourceError,
    Sentence,
    WarehouseError,
    WarehouseLocked,
    WorkdimError,
    missing,
    sentences,
)
from core.exports import excel_csv, parquet
from core.files import (
    NOTHING_CHANGED,
    REFERENCE,
    folders_in,
    make_folder,
    no_folder,
    read_json,
    refusing,
    temporary_folder,
    timestamp,
    unused_path,
    writing,
)
from core.locale import N_, _, translated, worded
from core.records import last_name, without_places
from core.store import archive, parcels, user_files
from core.store.archive import Archive
from core.store.folder import Folder, Progress, no_progress
from core.store.parcels import PARCEL_FILES, RUN_FILE, RUN_ID, TOKENS, Annotations, is_parcel, read_parcel
from core.tables import LONG_TABLES, PILOT_SOURCE, TABLES, RecipeNumberRow, frame, ids_of
from core.warehouse import sync
from core.warehouse.connection import exclusive, exists, translated_errors, write_connection
from core.warehouse.runs import annotate, require_parcel
from core.warehouse.schema import shipped_hashes
from core.warehouse.sync import CONTENT_HASHES, Report, build, check_content, known_content
from core.warehouse.warehouse import Warehouse

_log = logging.getLogger("workdim")


@dataclass(frozen=True)
class Backup:
    """A backup file."""

    file: Path
    made_at: datetime
    n_bytes: int
    n_runs: int | None
    """None if the file cannot be read."""
    n_left_out: int = 0
    """Damaged files that were left out when it was made."""


def create_backup(
    warehouse: Warehouse, out: Path | None = None, progress: Progress = no_progress, report: Report = _log.warning
) -> Backup:
    """Write a backup to `out`, or to `backups/` beside the warehouse: complete, or not there at all.

    `progress` is called with parcels done and in total. `report` gets a line for each damaged file, which is left out, and
    if the DuckDB file is damaged, so that what people made in it since the last backup is missing. Raises InputError if `out` exists or has no folder, ResourceError if there is no room,
    WarehouseLocked if another process holds the DuckDB file.
    """
    if out is None:
        make_folder(warehouse.folder.backups)
        out = unused_path(warehouse.folder.backups / f"{warehouse.path.stem}-{timestamp()}.zip")
    if not out.parent.is_dir():
        raise InputError(no_folder(out.parent))
    manifest: dict[str, Any] = {"kind": "backup", "n_runs": 0}
    folder = warehouse.folder
    _save_own_tables(warehouse, report)
    damaged = sync.damaged_files(folder)
    with archive.create_archive(out, manifest) as writer:
        for path in _user_files(folder):
            if path in damaged:
                continue
            place = path if path.is_dir() else path.parent
            writer.add_files(
                place.relative_to(folder.root).as_posix(), place, archive.SCORE_FILES if path.is_dir() else [path.name]
            )
        # Folders copied by hand, or files left by a file browser, could not be restored.
        packed = [
            parcel for parcel in folders_in(folder.parcels) if RUN_ID.fullmatch(parcel.name) and is_parcel(parcel)
        ]
        for number, parcel in enumerate(packed, start=1):
            if (problem := parcels.problem(parcel)) and is_parcel(parcel):  # and not deleted since
                damaged[parcel] = problem
            else:
                manifest["n_runs"] += writer.add_files(f"parcels/{parcel.name}", parcel, PARCEL_FILES)
            progress(number, len(packed))
    for problem in damaged.values():
        report(sentences(problem, Sentence("It is not in the backup.")))
    return Backup(out, datetime.now(UTC), out.stat().st_size, manifest["n_runs"], len(damaged))


def list_backups(warehouse: Warehouse) -> list[Backup]:
    """The files in `backups/`, newest first."""
    backups = []
    for file in warehouse.folder.backups.glob("*.zip"):
        about: dict[str, Any] = {}
        with contextlib.suppress(WarehouseError, ResourceError, OSError), archive.open_archive(file, None) as packed:
            about = packed.manifest
        status = file.stat()
        made_at = datetime.fromtimestamp(status.st_mtime, UTC)
        backups.append(Backup(file, made_at, status.st_size, about.get("n_runs")))
    return sorted(backups, key=lambda backup: backup.made_at, reverse=True)


@dataclass(frozen=True)
class StagedBackup:
    """A checked backup, unpacked beside the warehouse."""

    file: Path
    folder: Path
    n_runs: int
    damaged: tuple[str, ...]
    """Files in it that were damaged when it was made, and are left out: those that are here stay."""


@dataclass(frozen=True)
class RestoreResult:
    """What a restore changed."""

    previous_file: Path | None
    """Where the previous DuckDB file is kept."""
    previous_people: Path | None
    """Where the previous user files are kept."""
    n_parcels: int
    """Parcels that were missing or damaged here and came from the backup."""
    n_newer: int
    """Parcels that are not in the backup and stay."""


@contextlib.contextmanager
def stage_backup(warehouse: Warehouse, file: Path, progress: Progress = no_progress) -> Iterator[StagedBackup]:
    """Unpack and check a backup; the unpacked files are removed at the end of the block.

    `progress` is called with files done and in total. Raises WarehouseError for a backup that is damaged, of a newer
    Workdim or of another program, InputError if there is no such file, ResourceError if there is no room.
    """
    file = file.expanduser().resolve()
    if not file.is_file():
        raise InputError(missing("file", file, "backup --list"))
    root = warehouse.folder.root
    make_folder(root)
    with temporary_folder("restore", root) as place:
        unpacked = place / "restore"
        make_folder(unpacked)
        with writing(root, NOTHING_CHANGED), archive.open_archive(file, root) as packed:
            if packed.manifest.get("kind") == "export":
                raise InputError("{file} is an export and no backup: `workdim import` takes it in.", file=file)
            packed.unpack(unpacked, progress)
        damaged = _remove_damaged(Folder(unpacked))
        yield StagedBackup(file, unpacked, len(folders_in(unpacked / "parcels")), damaged)


def restore_backup(
    warehouse: Warehouse, backup: StagedBackup, report: Report = _log.warning, progress: Progress = no_progress
) -> RestoreResult:
    """Replace parcels and user files by those of the backup, then rebuild the DuckDB file.

    `report` gets a line for what could not be carried over; `progress` follows the rebuild. The previous files are kept
    under names that end in the time. Raises WarehouseLocked if another process holds the warehouse.
    """
    present, backed_up = (folders_in(place / "parcels") for place in (warehouse.folder.root, backup.folder))
    n_newer = len({parcel.name for parcel in present if is_parcel(parcel)} - {parcel.name for parcel in backed_up})
    with _exclusive(warehouse):
        pending, n_parcels = archive.begin_restore(warehouse.folder, backup.folder, backup.damaged, report)
        previous_people = archive.previous_files(warehouse.folder, pending)
    built = build(warehouse.path, warehouse.wait, lambda: bool(warehouse.folder.pending_restores()), report, progress)
    return RestoreResult(
        built.previous_file if built else None,
        previous_people if previous_people.is_dir() else None,
        n_parcels,
        n_newer,
    )


@contextlib.contextmanager
def _exclusive(warehouse: Warehouse) -> Iterator[None]:
    """Keep other processes from changing files or opening the DuckDB file, if it can be opened."""
    path, wait = warehouse.path, warehouse.wait
    close = write_connection if exists(path) else exclusive
    with contextlib.ExitStack() as inside:
        try:
            with translated_errors(path):
                inside.enter_context(close(path, wait))
        except WarehouseLocked:
            raise
        except (WarehouseError, ResourceError):  # ruined, or newer: it is replaced
            inside.enter_context(exclusive(path, wait))
        yield


def _save_own_tables(warehouse: Warehouse, report: Report) -> None:
    """Write what people made in the DuckDB file to files; the next one who opens it brings their rows in."""
    if not exists(warehouse.path):
        return
    try:
        with warehouse.open() as opened:
            queries = sync.save_own_tables(opened.connection, warehouse.folder, report)
        if queries:
            warehouse.folder.mark("query", queries)
    except WarehouseLocked:
        raise
    except WarehouseError as error:
        report(sentences(error.message, Sentence("Added tables are in the backup as last saved.")))


def _user_files(folder: Folder) -> list[Path]:
    """The files and folders of all that people wrote."""
    ids = [(kind, file_id) for kind in user_files.KINDS for file_id in user_files.list_ids(folder, kind)]
    return [*(user_files.path_of(folder, kind, file_id) for kind, file_id in ids), *sync.own_table_files(folder)]


def _remove_damaged(unpacked: Folder) -> tuple[str, ...]:
    """Remove the damaged files of an unpacked backup; returns their names in it."""
    bad = [parcel for parcel in folders_in(unpacked.parcels) if parcels.problem(parcel)]
    damaged = [*bad, *sync.damaged_files(unpacked)]
    for path in damaged:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return tuple(path.relative_to(unpacked.root).as_posix() for path in damaged)


# --- exports ---------------------------------------------------------------------------------------------------------

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
        "Measurements of Workdim. `tables/` holds rows (Parquet, CSV), `parcels/` measurements, "
        "`people/` files of scores, `manifest.json` hashes. No text, no weights. `workdim import` "
        "takes it in."
    ),
)
_REPORT_README = (
    N_("What stands behind a report"),
    N_("`tables/recipe_numbers`: every number of the report, and where it stands. Other tables: rows of its runs."),
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


def export_runs(
    warehouse: Warehouse,
    run_ids: Sequence[str],
    target: Path,
    formats: str = "both",
    selection: dict[str, Any] | None = None,
) -> Path:
    """Write these runs to a new .zip file, whole or not at all; returns the file.

    `selection` is how the runs were selected, for the manifest. Raises InputError if there are no runs or the target exists,
    ResourceError if it cannot be written.
    """
    if not run_ids:
        raise InputError("No run is chosen for the export. `workdim runs` lists what is there.")
    manifest = {"kind": "export", "asked": selection or {}, "runs": list(run_ids)}
    with archive.create_archive(target, manifest) as writer:
        chosen = [require_parcel(warehouse, run_id) for run_id in run_ids]
        for parcel in chosen:
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
        rows = ((name, tables[name] if name in tables else _read_parcels(chosen, name)) for name in included)
        _add_tables(writer, _README, rows, FORMATS[formats])
    return target


def export_report_data(
    warehouse: Warehouse, numbers: Sequence[RecipeNumberRow], run_ids: Sequence[str], target: Path
) -> None:
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
                is_plan = table in ("plans", "plan_outcomes")
                where = "plan_id IN (SELECT unnest($ids::VARCHAR[]))" if is_plan else _SELECTED
                sql = _QUERIES.get(table, f"SELECT * FROM {table} WHERE {where}")
                tables[table] = opened.read(sql, {"ids": plans if is_plan else list(run_ids)})
        if "plans" in tables:
            tables["plans"] = tables["plans"].with_columns(
                pl.col("config").map_elements(_config_without_places, pl.String),
                pl.col("saved_as").map_elements(last_name, pl.String),
            )
        _add_tables(writer, _REPORT_README, tables.items(), FORMATS["both"])


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


# --- imports: each parcel is copied to a private folder and checked there before its tables are read -----------------

_ANNOTATION_COLUMNS = {"tags", "note"}
"""Columns that people change: not part of the measurement."""


@dataclass(frozen=True)
class ImportedRun:
    """The outcome for one run, or for a source that is no run."""

    source: str
    """Where it was found."""
    run_id: str
    state: str
    """`new`; `waits`: new, but its rows wait because the warehouse is locked or full; `known`; `annotated`: known, and
    tags or note were merged; `conflict`: other content under the same id; `damaged`."""
    reason: str = ""


@dataclass(frozen=True)
class ImportResult:
    arrivals: list[ImportedRun] = field(default_factory=list)
    n_scores: int = 0
    remarks: list[str] = field(default_factory=list)
    """One line for each score file that was left out."""

    def count(self, *states: str) -> int:
        return sum(arrival.state in states for arrival in self.arrivals)

    @property
    def n_left_out(self) -> int:
        return self.count("conflict", "damaged") + len(self.remarks)


class _Known:
    """What an import can conflict with."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.runs, self.content = set[str](), {table: dict[str, str]() for table in CONTENT_HASHES}
        if exists(warehouse.path):
            with warehouse.open() as opened:
                self.runs = set(ids_of(opened.read("SELECT run_id FROM runs")))
                self.content = known_content(opened.connection)

    def tables(self, run_id: str) -> dict[str, pl.DataFrame] | None:
        """The tables of a run that is here; None without a parcel that can be read."""
        try:
            return read_parcel(self.warehouse.parcels / run_id)
        except WarehouseError:
            return None


def import_runs(
    warehouse: Warehouse, paths: Sequence[Path], dry_run: bool = False, progress: Progress = no_progress
) -> ImportResult:
    """Merge the content of these paths into the warehouse; with `dry_run` only say what would happen.

    New runs are added with their annotations; annotations of known runs are merged. `progress` is called with the parcels
    of a path done and in total. Raises InputError for a missing path, WarehouseLocked if the warehouse cannot even be
    read, ResourceError if nothing can be written.
    """
    for path in paths:
        if not path.exists():
            raise InputError("There is no {path}. Name a parcel, a folder of parcels, or an export.", path=path)
    known, imported, remarks, n_scores = _Known(warehouse), list[ImportedRun](), list[str](), 0
    root = warehouse.folder.root
    make_folder(root)
    with temporary_folder("import", root) as place:
        for path in paths:
            try:
                with (
                    refusing(WarehouseError, "{what} cannot be read: {reason}.", what=path),
                    archive.open_archive(path, root) as opened,
                ):
                    imported += _import_parcels(opened, known, place, dry_run, progress)
                    n_imported, messages = _import_scores(opened, warehouse, place, dry_run)
                    n_scores += n_imported
                    remarks += messages
            except (WarehouseLocked, ResourceError):
                raise
            except WarehouseError as error:
                imported.append(ImportedRun(str(path), "", "damaged", error.message))
    return ImportResult(imported, n_scores, remarks)


def _import_parcels(
    source: Archive, known: _Known, place: Path, dry_run: bool, progress: Progress
) -> list[ImportedRun]:
    folders = source.folders("parcels")
    if not folders:
        told = Sentence("It holds no parcel. Of a folder that was zipped by hand, name the folder.")
        return [ImportedRun(str(source.path), "", "damaged", told)]
    imported = []
    for number, (label, files) in enumerate(sorted(folders.items()), start=1):
        imported.append(_import_parcel(source, label, files, known, place, dry_run))
        progress(number, len(folders))
    return imported


def _import_parcel(
    packed: Archive, label: str, files: dict[str, str], known: _Known, place: Path, dry_run: bool
) -> ImportedRun:
    member = packed.members.get(next(iter(files.values())))
    source, run_id = str(member.parent if isinstance(member, Path) else packed.path), label
    try:
        run_id = _stage_parcel(packed, files, source, place)
        tables = read_parcel(place / run_id)
        if run_id not in known.runs:  # a known one is compared with ours, which may have come with Workdim
            _check_reserved_tags(place / run_id)
    except WarehouseError as error:
        # Name the source, not the temporary copy.
        return ImportedRun(source, run_id, "damaged", error.message.replaced(str(place / run_id), source))
    try:
        return ImportedRun(source, run_id, *_judge_run(place / run_id, tables, known, dry_run))
    finally:
        shutil.rmtree(place / run_id, ignore_errors=True)


def _stage_parcel(packed: Archive, files: dict[str, str], source: str, place: Path) -> str:
    """Copy a parcel to a private folder named by its run id; returns that. Raises WarehouseError if it is damaged."""
    of_zip = next(iter(files.values())).rpartition("/")[0]
    run_file = Path(f"{source}, {of_zip}" if packed.zip_file else source) / RUN_FILE
    try:
        if RUN_FILE not in files:
            raise FileNotFoundError(errno.ENOENT, "", RUN_FILE)
        packed.extract(files[RUN_FILE], place / RUN_FILE)
        told = read_json(place / RUN_FILE)
        run_id = told["run"]["run_id"]
        if not RUN_ID.fullmatch(run_id):
            raise ValueError("it names no run")
        left_out = () if TOKENS in told["files"] else (f"{TOKENS}.parquet",)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise parcels.damaged(run_file, error) from error
    shutil.rmtree(place / run_id, ignore_errors=True)
    for file in sorted(files.keys() & {*PARCEL_FILES}.difference(left_out)):
        packed.extract(files[file], place / run_id / file)
    return run_id


def _check_reserved_tags(staged: Path) -> None:
    """Raises WarehouseError for a run with a reserved tag that is not one of the shipped profiles."""
    reserved = set(read_json(staged / RUN_FILE)["run"]["tags"]) & set(parcels.RESERVED_TAGS)
    shipped = REFERENCE / "profiles" / staged.name / RUN_FILE
    if reserved and not (shipped.is_file() and shipped.read_bytes() == (staged / RUN_FILE).read_bytes()):
        raise WarehouseError(
            "Run {staged} has Workdim's own tag '{tag}', but is not shipped with it.",
            staged=staged.name,
            tag=reserved.pop(),
        )


def _judge_run(staged: Path, tables: dict[str, pl.DataFrame], known: _Known, dry_run: bool) -> tuple[str, str]:
    """State and reason of a run that is whole; a new one is added, notes on a known one are merged."""
    if (ours := known.tables(staged.name)) is not None:
        return _compare_with_known(staged.name, tables, ours, known, dry_run)
    rows = {table: tables[table].row(0, named=True) for table in CONTENT_HASHES}
    try:
        check_content(known.content, rows)
    except WarehouseError as error:
        return "conflict", error.message
    known.runs.add(staged.name)
    for table, (key, content) in CONTENT_HASHES.items():
        known.content[table][rows[table][key]] = rows[table][content]
    return ("new", "") if dry_run else _add_run(staged, known.warehouse)


def _add_run(staged: Path, warehouse: Warehouse) -> tuple[str, str]:
    target = warehouse.parcels / staged.name
    make_folder(warehouse.parcels)
    try:
        with writing(target), warehouse.update("run", staged.name):
            if target.exists():  # damaged, or remains of a parcel without run.json
                parcels.quarantine(warehouse.folder, target)
            os.replace(staged, target)
    except (WarehouseLocked, ResourceError) as error:
        if isinstance(error, WarehouseLocked):
            os.replace(staged, target)
        elif not is_parcel(target):
            raise
        return "waits", str(error)
    except (WarehouseError, duckdb.Error) as error:  # not foreseen by the checks above
        os.replace(target, staged)
        return "conflict", str(error).splitlines()[0]
    return "new", ""


def _compare_with_known(
    run_id: str, tables: dict[str, pl.DataFrame], ours: dict[str, pl.DataFrame], known: _Known, dry_run: bool
) -> tuple[str, str]:
    """State and reason of a run that is here already: the same measurement, or another one under its id."""
    for table in ("models", "corpora", "runs", *LONG_TABLES):
        if not _is_same(table, ours, tables):
            return "conflict", Sentence("Another result has this id here; they differ in {table}.", table=table)
    local, imported = _annotations(ours), _annotations(tables)
    if local.merged_with(imported) == local:
        return "known", ""
    if not dry_run and run_id in known.runs:
        annotate(known.warehouse, run_id, lambda annotations: annotations.merged_with(imported))
    return "annotated", ""


def _is_same(table: str, known: dict[str, pl.DataFrame], imported: dict[str, pl.DataFrame]) -> bool:
    """Whether both have the same rows of a table, in any order."""
    declared = TABLES[table].schema  # later versions know more columns of a model or text
    columns = CONTENT_HASHES.get(table) or [name for name in declared if name not in _ANNOTATION_COLUMNS]
    plain = [name for name in columns if not declared[name].is_nested()]
    ours, theirs = (each[table].select(columns).sort(plain) for each in (known, imported))
    return ours.equals(theirs)


def _annotations(tables: dict[str, pl.DataFrame]) -> Annotations:
    row: dict[str, Any] = tables["runs"].row(0, named=True)
    return parcels.annotations_from_row(row["tags"], row["note"])


def _import_scores(packed: Archive, warehouse: Warehouse, place: Path, dry_run: bool) -> tuple[int, list[str]]:
    """Import score files; returns the number of scores and a message for each file left out.

    Known files are skipped. Shipped scores and own scores of a pilot are refused: the first are here already, the
    others belong to their pilot.
    """
    n_scores, messages = 0, list[str]()
    for sha256, files in packed.folders("people/scores").items():
        source = f"{packed.path}, people/scores/{sha256}"
        staged = Folder(place / "scores")
        try:
            if user_files.exists(warehouse.folder, "scores", sha256):
                continue
            target = user_files.path_of(staged, "scores", sha256)
            for file in archive.SCORE_FILES:
                packed.extract(files[file], target / file)
            tables = user_files.read(staged, "scores", sha256) or {}
            rows = tables["scores"]
            if (
                sha256 in shipped_hashes()
                or rows["source"].str.starts_with(PILOT_SOURCE).any()
                or not rows["value"].is_finite().all()
            ):
                raise WarehouseError("it claims what no imported file may.")
            if not dry_run:
                with warehouse.update("scores", sha256):
                    user_files.write(warehouse.folder, "scores", sha256, tables)
            n_scores += tables["scores"].height
        except (WarehouseError, ResourceError, OSError, KeyError, ValueError) as error:
            message = error.message if isinstance(error, WorkdimError) else Sentence("{text}", text=error)
            reason = message.replaced(str(staged.people), f"{packed.path}, people")
            messages.append(Sentence("The scores in {source} were left out: {reason}", source=source, reason=reason))
        finally:
            shutil.rmtree(staged.root, ignore_errors=True)
    return n_scores, messages
