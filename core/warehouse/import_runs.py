"""Import measurements and scores of another team: from a parcel, a folder of parcels, or an archive.

Each run and each score file is imported whole or not at all; one that fails does not stop the others. Each is copied to
a private folder and checked there before its tables are read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from core.errors import InputError, ResourceError, Sentence, WarehouseError, WarehouseLocked, WorkdimError
from core.files import REFERENCE, make_folder, read_json, temporary_folder, writing
from core.store import archive, parcels, user_files
from core.store.archive import Archive
from core.store.folder import Folder
from core.store.parcels import PARCEL_FILES, RUN_FILE, RUN_ID, TOKENS, Annotations, is_parcel, read_parcel
from core.tables import LONG_TABLES, PILOT_SOURCE, TABLES, ids_of
from core.warehouse.connection import exists
from core.warehouse.runs import annotate
from core.warehouse.schema import shipped_hashes
from core.warehouse.sync import CONTENT_HASHES, check_content, known_content
from core.warehouse.warehouse import Warehouse

REJECTED_STATES = ("conflict", "damaged")
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
    def is_complete(self) -> bool:
        return not self.count(*REJECTED_STATES) and not self.remarks


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
    warehouse: Warehouse,
    paths: Sequence[Path],
    dry_run: bool = False,
    progress: archive.Progress = lambda done, total: None,
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
                with archive.open_archive(path, root) as opened:
                    imported += _import_parcels(opened, known, place, dry_run, progress)
                    n_imported, messages = _import_scores(opened, warehouse, place, dry_run)
                    n_scores += n_imported
                    remarks += messages
            except (WarehouseLocked, ResourceError):
                raise
            except WarehouseError as error:
                imported.append(ImportedRun(str(path), "", "damaged", str(error)))
            except OSError as error:
                what, why = error.filename or path, error.strerror or error
                reason = Sentence("{what} cannot be read: {reason}.", what=what, reason=why)
                imported.append(ImportedRun(str(path), "", "damaged", reason))
    return ImportResult(imported, n_scores, remarks)


# --- runs ------------------------------------------------------------------------------------------------------


def _import_parcels(
    source: Archive, known: _Known, place: Path, dry_run: bool, progress: archive.Progress
) -> list[ImportedRun]:
    imported = []
    folders = source.folders("parcels")
    for label in sorted(
        {name.split("/")[1] for name in source.declared_files if name.startswith("parcels/")} - folders.keys()
    ):
        imported.append(
            ImportedRun(str(source.path), label, "damaged", Sentence("The manifest names it, and it is gone."))
        )
    if not folders:
        imported.append(ImportedRun(str(source.path), "", "damaged", Sentence("It holds no parcel.")))
    for number, (label, files) in enumerate(folders.items(), start=1):
        imported.append(_import_parcel(source, label, files, known, place, dry_run))
        progress(number, len(folders))
    return imported


def _import_parcel(
    packed: Archive, label: str, files: dict[str, str], known: _Known, place: Path, dry_run: bool
) -> ImportedRun:
    member = packed.members[files.get(RUN_FILE, next(iter(files.values())))]
    source, run_id = str(member.parent if isinstance(member, Path) else packed.path), label
    try:
        run_id, staged = _stage_parcel(packed, files, source, place)
        tables = read_parcel(staged)
        _check_reserved_tags(staged)
    except WarehouseError as error:
        # Name the source, not the temporary copy.
        return ImportedRun(source, run_id, "damaged", error.message.replaced(str(place / run_id), source))
    try:
        if (ours := known.tables(run_id)) is not None:
            return _compare_with_known(source, run_id, tables, ours, known, dry_run)
        rows = {table: tables[table].row(0, named=True) for table in CONTENT_HASHES}
        try:
            check_content(known.content, rows)
        except WarehouseError as error:
            return ImportedRun(source, run_id, "conflict", error.message)
        known.runs.add(run_id)
        for table, (key, content) in CONTENT_HASHES.items():
            known.content[table][rows[table][key]] = rows[table][content]
        return ImportedRun(source, run_id, "new") if dry_run else _add_run(source, staged, known.warehouse)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _stage_parcel(packed: Archive, files: dict[str, str], source: str, place: Path) -> tuple[str, Path]:
    """Copy a parcel to a private folder named by its run id; returns both. Raises WarehouseError if it is damaged."""
    copies = place / "parcel"
    shutil.rmtree(copies, ignore_errors=True)
    missing = {
        name
        for name in packed.declared_files
        if name.rpartition("/")[0] in {f.rpartition("/")[0] for f in files.values()}
    }
    if gone := sorted(missing - set(files.values())):
        raise WarehouseError("{gone} of {path} is missing, which its manifest names.", gone=gone[0], path=packed.path)
    for file, name in files.items():
        if file not in PARCEL_FILES:
            continue
        packed.extract(name, copies / file)
        if file.endswith(".parquet") and file != f"{TOKENS}.parquet":
            archive.check_parquet_size(copies / file, f"{source}, {file}")
    try:
        told = read_json(copies / RUN_FILE)
        run_id = told["run"]["run_id"]
        if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id):
            raise ValueError("it names no run")
        if TOKENS not in told["files"]:
            (copies / f"{TOKENS}.parquet").unlink(missing_ok=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WarehouseError(
            "The parcel {source} is damaged: its {run_file} cannot be read.", source=source, run_file=RUN_FILE
        ) from error
    staged = place / run_id
    shutil.rmtree(staged, ignore_errors=True)
    os.replace(copies, staged)
    return run_id, staged


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


def _add_run(source: str, staged: Path, warehouse: Warehouse) -> ImportedRun:
    run_id, target = staged.name, warehouse.parcels / staged.name
    make_folder(warehouse.parcels)
    try:
        with writing(target), warehouse.update("run", run_id):
            if target.exists():  # damaged, or remains of a parcel without run.json
                parcels.quarantine(warehouse.folder, target)
            os.replace(staged, target)
    except WarehouseLocked as error:
        os.replace(staged, target)
        return ImportedRun(source, run_id, "waits", str(error))
    except ResourceError as error:
        if not is_parcel(target):
            raise
        return ImportedRun(source, run_id, "waits", str(error))
    except (WarehouseError, duckdb.Error) as error:  # not foreseen by the checks above
        os.replace(target, staged)
        return ImportedRun(source, run_id, "conflict", str(error).splitlines()[0])
    return ImportedRun(source, run_id, "new")


def _compare_with_known(
    source: str,
    run_id: str,
    tables: dict[str, pl.DataFrame],
    known: dict[str, pl.DataFrame],
    content: _Known,
    dry_run: bool,
) -> ImportedRun:
    """The outcome for a run that is here already: the same measurement, or another one under its id."""
    differences = [table for table in ("models", "corpora", "runs", *LONG_TABLES) if not _is_same(table, known, tables)]
    if differences:
        reason = Sentence("Another result has this id here; they differ in {table}.", table=differences[0])
        return ImportedRun(source, run_id, "conflict", reason)
    local, imported = _annotations(known), _annotations(tables)
    if local.merged_with(imported) == local:
        return ImportedRun(source, run_id, "known")
    if not dry_run and run_id in content.runs:
        annotate(content.warehouse, run_id, lambda annotations: annotations.merged_with(imported))
    return ImportedRun(source, run_id, "annotated")


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


# --- scores ----------------------------------------------------------------------------------------------------


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
                if file.endswith(".parquet"):
                    archive.check_parquet_size(target / file, f"{source}, {file}")
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
