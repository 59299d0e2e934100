"""Measurements of another team, checked before anything is merged: a parcel, a folder of them, an export, a zip file.

Each run comes whole or not at all, and one that cannot come does not stop the others.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from core import files
from core.errors import InputError, ResourceError, WarehouseError, WarehouseLocked
from core.files import folders_in, make_folder
from core.store import annotation
from core.store.annotation import Annotations
from core.store.parcels import MANY_TABLES, ROWS_OF_RUN, is_parcel, read_parcel
from core.store.trash import set_aside
from core.warehouse import ingest, score_arrivals
from core.warehouse.care import annotate
from core.warehouse.exchange import MANIFEST
from core.warehouse.staging import check_tokens, staged_copy
from core.warehouse.unpacking import unpack
from core.warehouse.warehouse import Warehouse, is_there

LEFT_OUT = ("conflict", "damaged")
_CONTENT = {"models": ("model_id", "weights_sha256"), "corpora": ("corpus_id", "sha256")}
_BEYOND = {"tags", "note"}
"""Columns of `runs` that people change: no part of what was measured."""


@dataclass(frozen=True)
class Arrival:
    """What became of one run, or of one thing that is none."""

    source: str
    """Where it was found."""
    run_id: str
    state: str
    """`new`; `waits`, new and beside the warehouse, which is locked; `known`; `annotated`, known, and tags or note came
    with it; `conflict`, another content under the same id; `damaged`."""
    reason: str = ""


@dataclass(frozen=True)
class Import:
    arrivals: list[Arrival] = field(default_factory=list)
    n_scores: int = 0
    remarks: list[str] = field(default_factory=list)
    """One line for each thing besides runs that was left out."""

    def count(self, *states: str) -> int:
        return sum(one.state in states for one in self.arrivals)

    @property
    def is_complete(self) -> bool:
        return not self.count(*LEFT_OUT) and not self.remarks


class _Here:
    """What the warehouse holds, as far as an arrival can collide with it."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self._exists = is_there(warehouse.path)
        self.runs = set(self._read("SELECT run_id FROM runs", "run_id"))
        self.content: dict[str, dict[str, str]] = {}
        for table, (key, content) in _CONTENT.items():
            keys = self._read(f"SELECT {key} FROM {table} ORDER BY {key}", key)
            hashes = self._read(f"SELECT {content} FROM {table} ORDER BY {key}", content)
            self.content[table] = dict(zip(keys, hashes, strict=True))

    def _read(self, sql: str, column: str) -> list[str]:
        return self.warehouse.read(sql)[column].to_list() if self._exists else []

    def has(self, run_id: str) -> bool:
        return run_id in self.runs or is_parcel(self.warehouse.parcels / run_id)

    def tables(self, run_id: str) -> dict[str, pl.DataFrame]:
        parcel = self.warehouse.parcels / run_id
        if is_parcel(parcel):
            try:
                return read_parcel(parcel)
            except WarehouseError:
                if run_id not in self.runs:
                    raise
        return {table: self.warehouse.read(sql, [run_id]) for table, sql in ROWS_OF_RUN.items()}

    def other_content(self, tables: dict[str, pl.DataFrame]) -> str:
        """The model or text that stands for something else here; empty where there is none."""
        for table, (key, content) in _CONTENT.items():
            name, arrived = tables[table][key][0], tables[table][content][0]
            here = self.content[table].get(name, arrived)
            if here != arrived:
                return f"{name} is another content here ({here[:12]}; this one has {arrived[:12]})"
        return ""

    def add(self, tables: dict[str, pl.DataFrame]) -> None:
        self.runs.add(tables["runs"]["run_id"][0])
        for table, (key, content) in _CONTENT.items():
            self.content[table].setdefault(tables[table][key][0], tables[table][content][0])


def take_in(warehouse: Warehouse, paths: Sequence[Path], dry_run: bool = False) -> Import:
    """Merge what these paths hold into the warehouse; with `dry_run` only say what would become of it.

    New runs come in with their annotations; of known ones the annotations are merged. Raises InputError for a path that
    is not there, WarehouseLocked where the warehouse cannot even be read.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"There is no {path}. Name a parcel, a folder of parcels, or an export.")
    here, arrivals, remarks, n_scores = _Here(warehouse), list[Arrival](), list[str](), 0
    make_folder(warehouse.path.parent)
    with files.workplace("incoming", warehouse.path.parent) as workplace:
        for path in paths:
            try:
                with _opened(path, workplace / "unpacked") as folder:
                    told = _manifest(folder)
                    found = list(_parcels_in(folder))
                    if not found:
                        arrivals.append(Arrival(str(path), "", "damaged", "It holds no parcel."))
                    for run_id in sorted(told.keys() - {parcel.name for parcel in found}):
                        arrivals.append(Arrival(str(path), run_id, "damaged", "The manifest names it, and it is gone."))
                    for parcel in found:
                        one = _arrive(parcel, told.get(parcel.name, {}), here, workplace, dry_run)
                        arrivals.append(_told_by(path, folder, one))
                    taken, left = score_arrivals.take_in(warehouse, folder, _hashes(folder), dry_run)
                    n_scores += taken
                    remarks += [line.replace(str(folder), str(path)) for line in left]
            except WarehouseLocked:
                raise
            except WarehouseError as error:
                reason = str(error).replace(str(workplace / "unpacked"), str(path))
                arrivals.append(Arrival(str(path), "", "damaged", reason))
    return Import(arrivals, n_scores, remarks)


def _told_by(path: Path, folder: Path, one: Arrival) -> Arrival:
    """By the place that its sender knows: what came in a zip file was unpacked elsewhere."""
    source, reason = (text.replace(str(folder), str(path)) for text in (one.source, one.reason))
    return replace(one, source=source, reason=reason)


@contextmanager
def _opened(path: Path, unpacked: Path) -> Iterator[Path]:
    if path.is_dir():
        yield path
        return
    if path.suffix.lower() != ".zip":
        raise WarehouseError(
            f"{path} is neither a folder nor a .zip file. Name an export or a folder of parcels; files of scores are "
            "taken by `python -m core scores import`."
        )
    make_folder(unpacked)
    try:
        unpack(path, unpacked)
        yield _top(unpacked)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _top(folder: Path) -> Path:
    """The export itself where the zip file holds it in a folder."""
    inside = list(folder.iterdir())
    is_wrapped = len(inside) == 1 and inside[0].is_dir() and inside[0].name != "parcels" and not is_parcel(inside[0])
    return inside[0] if is_wrapped else folder


def _parcels_in(folder: Path) -> Iterator[Path]:
    if is_parcel(folder):
        yield folder
        return
    inner = folder / "parcels"
    yield from filter(is_parcel, folders_in(inner if inner.is_dir() else folder))


def _hashes(folder: Path) -> dict[str, str]:
    """File of the export -> its hash by the manifest; empty where there is none."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {str(name): str(file["sha256"]) for name, file in told.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WarehouseError(f"{folder / MANIFEST} is damaged: nothing of this export was taken.") from error


def _manifest(folder: Path) -> dict[str, dict[str, str]]:
    """Parcel -> file -> hash."""
    told: dict[str, dict[str, str]] = {}
    for name, sha256 in _hashes(folder).items():
        parts = name.split("/")
        if len(parts) == 3 and parts[0] == "parcels":
            told.setdefault(parts[1], {})[parts[2]] = sha256
    return told


def _arrive(parcel: Path, told: dict[str, str], here: _Here, workplace: Path, dry_run: bool) -> Arrival:
    source, run_id = str(parcel), parcel.name
    try:
        run_id, staged = staged_copy(parcel, told, workplace)
        tables = read_parcel(staged)
        check_tokens(staged)
    except (WarehouseError, OSError) as error:
        # Not by the copy's own place, which is gone in a moment.
        return Arrival(source, run_id, "damaged", str(error).replace(str(workplace / run_id), source))
    try:
        if here.has(run_id):
            return _meet(source, run_id, tables, here, dry_run)
        other = here.other_content(tables)
        if other:
            return Arrival(source, run_id, "conflict", f"{other}.")
        here.add(tables)
        return Arrival(source, run_id, "new") if dry_run else _come_in(source, staged, here.warehouse)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _come_in(source: str, staged: Path, warehouse: Warehouse) -> Arrival:
    run_id, target = staged.name, warehouse.parcels / staged.name
    make_folder(warehouse.parcels)
    if target.exists():  # the rest of a parcel, without what makes it one
        set_aside(warehouse.folder, target)
    try:
        os.replace(staged, target)
    except OSError as error:
        raise ResourceError(f"{target} cannot be written: {error.strerror or error}.") from error
    try:
        ingest.ingest(warehouse, target)
    except (WarehouseLocked, ResourceError) as error:
        return Arrival(source, run_id, "waits", str(error))
    except (WarehouseError, duckdb.Error) as error:  # what the checks above did not foresee
        os.replace(target, staged)
        return Arrival(source, run_id, "conflict", str(error).splitlines()[0])
    return Arrival(source, run_id, "new")


def _meet(source: str, run_id: str, tables: dict[str, pl.DataFrame], here: _Here, dry_run: bool) -> Arrival:
    """A run that is here already: the same measurement, or another one under its id."""
    known = here.tables(run_id)
    differing = [table for table in ("models", "corpora", "runs", *MANY_TABLES) if not _same(table, known, tables)]
    if differing:
        return Arrival(source, run_id, "conflict", f"Another result has this id here; they differ in {differing[0]}.")
    ours, theirs = _said(known), _said(tables)
    if ours.merged(theirs) == ours:
        return Arrival(source, run_id, "known")
    if not dry_run and run_id in here.runs:
        annotate(here.warehouse, run_id, lambda said: said.merged(theirs))
    return Arrival(source, run_id, "annotated")


def _same(table: str, known: dict[str, pl.DataFrame], arrived: dict[str, pl.DataFrame]) -> bool:
    """Whether both hold the same rows, in whatever order."""
    one, other = known[table], arrived[table]
    if table in _CONTENT:  # what else is known of a model or text may grow with the version
        return one.select(_CONTENT[table]).equals(other.select(_CONTENT[table]))
    columns = [name for name in other.columns if not (table == "runs" and name in _BEYOND)]
    one, other = one.select(columns), other.select(columns)
    if one.schema != other.schema or one.height != other.height:
        return False
    plain = [name for name, kind in other.schema.items() if not kind.is_nested()]
    return one.sort(plain).equals(other.sort(plain))


def _said(tables: dict[str, pl.DataFrame]) -> Annotations:
    row: dict[str, Any] = tables["runs"].row(0, named=True)
    return annotation.of_row(row["tags"], row["note"])
