"""The rows follow the files: what each file of truth means for the tables of the DuckDB file.

`bring` is the only way from a file to rows, whoever comes: a change, an ingest, a recovery after a kill, a file that is
built anew. A file that is there gives the rows; one that is gone takes its rows along only where the trash or a
tombstone says that it was deleted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from core.errors import WarehouseError
from core.files import names_in
from core.store import annotation, people, trash
from core.store.folder import Folder
from core.store.parcels import DAMAGE, Head, check_files, damaged, is_parcel, read_head, read_parcel
from core.tables import LONG_TABLES, PILOT_SOURCE, TABLES
from core.warehouse.connection import Connection, insert, transaction

RUN = "run"
KINDS = (RUN, *people.KINDS)
BATCH = 400
"""Parcels that are read by one statement for each table."""
Report = Callable[[str], None]
Progress = Callable[[int, int], None]

_IS = "{column} = $one"
_HASHED = f"left(sha256({{column}}), {people.HASH_LENGTH}) = $one"
_STORED_ORDER = {
    "layer_estimates": "run_id, cloud, transform, estimator, n1, n2, state, layer",
    "layer_correlators": "run_id, cloud, correlator, state, layer",
    "layer_distributions": "run_id, quantity, bin_lower, layer",
    "run_checks": "run_id, check_name, layer",
}
"""Rows are stored run by run, and within a run so that equal names follow each other and take next to no room (the edges
of a bin, which are the same on every layer, 12.6 instead of 47.7 MB for 1,000 runs). Other tables are stored as they come."""
_CONTENT = {"models": ("model_id", "weights_sha256"), "corpora": ("corpus_id", "sha256")}
"""One id must not stand for two contents."""
_TAUGHT: dict[str, tuple[str, ...]] = {
    "models": ("tokenizer_hash", "configuration_hash", "key_value_size"),
    "corpora": (),
}
"""What a later parcel may tell of a model that is known: an earlier version knew less of it. A parcel of that version,
which has no configuration_hash, may come in later and teaches nothing; nor does what a parcel does not say."""
_UNUSED = (
    "DELETE FROM models WHERE model_id NOT IN (SELECT model_id FROM runs) AND model_id NOT IN (SELECT model_id FROM plans)",
    "DELETE FROM corpora WHERE corpus_id NOT IN (SELECT corpus_id FROM runs)",
)
"""A model or text that no run is of any more goes with its last run: a file built anew would not have it."""


@dataclass(frozen=True)
class Unsettled:
    """What the files have and the rows do not follow yet."""

    marked: tuple[tuple[str, str], ...] = ()
    """Kind and id of what somebody was changing when he was killed."""
    waiting: tuple[str, ...] = ()
    """Runs whose parcels are not in, oldest first."""

    def __bool__(self) -> bool:
        return bool(self.marked or self.waiting)

    def without(self, others: Collection[tuple[str, str]]) -> Unsettled:
        """All but these, kind and id, which somebody is changing."""
        return Unsettled(
            tuple(mark for mark in self.marked if mark not in others),
            tuple(run_id for run_id in self.waiting if (RUN, run_id) not in others),
        )


def unsettled(connection: Connection, folder: Folder) -> Unsettled:
    """Looks at the markers and at the names of the parcels only: ten thousand names cost a few milliseconds."""
    marked = tuple(mark for mark in folder.marked() if mark[0] in KINDS)
    return Unsettled(marked, tuple(waiting(connection, folder)))


def waiting(connection: Connection, folder: Folder) -> list[str]:
    """Runs whose parcels are not in the file, oldest first (run ids are time-ordered)."""
    names = names_in(folder.parcels)
    if names:
        names.difference_update(row[0] for row in connection.execute("SELECT run_id FROM runs").fetchall())
    # Whatever else lies there is looked at only now: ten thousand parcels that are in cost no look each.
    return [name for name in sorted(names) if is_parcel(folder.parcels / name)]


def settle(connection: Connection, folder: Folder, todo: Unsettled, report: Report) -> list[str]:
    """Bring in what a kill left, in short transactions; returns the ids of the runs that came in.

    A file that cannot be read is one line to `report` and stops nothing else.
    """
    for kind, marks in itertools.groupby(todo.marked, key=lambda mark: mark[0]):
        ids = [one for _, one in marks]
        with transaction(connection):
            bring(connection, folder, kind, ids, report)
        folder.unmark(kind, ids)
    return bring_all(connection, folder, todo.waiting, report)


def bring_all(
    connection: Connection,
    folder: Folder,
    run_ids: Sequence[str],
    report: Report,
    progress: Progress = lambda done, total: None,
) -> list[str]:
    """Bring in very many runs, some hundred to a transaction; returns the ids of those that came in."""
    taken: list[str] = []
    for start in range(0, len(run_ids), BATCH):
        batch = run_ids[start : start + BATCH]
        try:
            with transaction(connection):
                taken += bring(connection, folder, RUN, batch, report)
        except (duckdb.ConstraintException, duckdb.ConversionException, duckdb.InvalidInputException):
            # One of them holds what no check foresaw: each alone, so that it stops none of the others.
            taken += _one_by_one(connection, folder, batch, report)
        progress(min(start + BATCH, len(run_ids)), len(run_ids))
    return taken


def follow_all(connection: Connection, folder: Folder, report: Report) -> None:
    """Look at every file that people may have edited by hand, and at the trash, and bring in what differs."""
    known = [row[0] for row in connection.execute("SELECT run_id FROM runs").fetchall()]
    with transaction(connection):
        bring(connection, folder, RUN, known, report)
        for kind in people.KINDS:
            bring(connection, folder, kind, sorted({*people.ids(folder, kind), *ids_in(connection, kind)}), report)


def ids_in(connection: Connection, kind: str, schema: str = "main") -> list[str]:
    """The ids of all of people's files of a kind that a DuckDB file has rows of."""
    declared = people.KINDS[kind]
    sql = f"SELECT {declared.key} FROM {schema}.{declared.tables[0]} ORDER BY ALL"
    keys = [row[0] for row in connection.execute(sql).fetchall()]
    return [people.id_of(key) if declared.is_hashed else key for key in keys]


def bring(
    connection: Connection, folder: Folder, kind: str, ids: Sequence[str], report: Report | None = None
) -> list[str]:
    """Make the rows of these files what the files hold, within the caller's transaction; returns the ids that are new.

    Raises WarehouseError for a file that cannot be read, or passes it to `report` as one line: its rows stay.
    """
    if kind == RUN:
        return _bring_runs(connection, folder, ids, report)
    declared, new = people.KINDS[kind], []
    for one in ids:
        try:
            tables = people.read(folder, kind, one)
        except ValueError:  # a marker that is none of ours: its name is no id
            continue
        except FileNotFoundError:
            if people.is_buried(folder, kind, one):
                remove(connection, kind, one)
            continue
        except WarehouseError as error:
            if report is None:
                raise
            report(str(error))
            continue
        remove(connection, kind, one)
        for table in declared.tables:
            insert(connection, table, tables[table])
        new.append(one)
    return new


def rows_of(kind: str, table: str) -> str:
    """The condition by which the rows of one of people's files are found in a table; `$one` is its id."""
    declared = people.KINDS[kind]
    if table == "scores" and kind == "pilot":
        return f"file_sha256 = '' AND source = '{PILOT_SOURCE}' || $one"
    return (_HASHED if declared.is_hashed else _IS).format(column=declared.key)


def remove_runs(connection: Connection, run_ids: Sequence[str]) -> None:
    """Take all rows of these runs out, and the models and texts that no other run is of."""
    marks = ", ".join("?" * len(run_ids)) or "NULL"
    for table in ("runs", *LONG_TABLES):
        connection.execute(f"DELETE FROM {TABLES[table].stored_name} WHERE run_id IN ({marks})", list(run_ids))
    for statement in _UNUSED:
        connection.execute(statement)


def check_content(connection: Connection, rows: dict[str, dict[str, Any]]) -> None:
    """Raises WarehouseError where the model or text of a parcel has another content in the file."""
    for table, (key, content) in _CONTENT.items():
        name = rows[table][key]
        there = connection.execute(f"SELECT {content} FROM {table} WHERE {key} = ?", [name]).fetchall()
        if there and there[0][0] != rows[table][content]:
            raise _other_content(name, there[0][0], rows[table][content])


def remove(connection: Connection, kind: str, one: str) -> None:
    for table in people.KINDS[kind].tables:
        connection.execute(f"DELETE FROM {table} WHERE {rows_of(kind, table)}", {"one": one})


def _bring_runs(connection: Connection, folder: Folder, run_ids: Sequence[str], report: Report | None) -> list[str]:
    known = dict(
        connection.execute(
            "SELECT run_id, {'tags': tags, 'note': note} FROM runs WHERE run_id IN (SELECT unnest(?))", [list(run_ids)]
        ).fetchall()
    )
    heads, gone = [], []
    for run_id in run_ids:
        try:
            if not is_parcel(folder.parcels / run_id):
                if run_id in known and trash.is_deleted(folder, run_id):
                    gone.append(run_id)
            elif run_id in known:
                _annotate(connection, folder, run_id, known[run_id])
            else:
                head = read_head(folder.parcels / run_id)
                check_files(head)
                heads.append(head)
        except WarehouseError as error:
            if report is None:
                raise
            report(str(error))
    if gone:
        remove_runs(connection, gone)
    return _insert_runs(connection, heads, report) if heads else []


def _annotate(connection: Connection, folder: Folder, run_id: str, known: dict[str, Any]) -> None:
    """A parcel never changes but for its annotations: so of a run that is in, only these are looked at."""
    try:
        said = annotation.columns(folder.parcels / run_id, known["tags"])
    except DAMAGE as error:
        raise damaged(folder.parcels / run_id, error) from error
    if said is not None and said != known:
        connection.execute("UPDATE runs SET tags = ?, note = ? WHERE run_id = ?", [said["tags"], said["note"], run_id])


def _insert_runs(connection: Connection, heads: list[Head], report: Report | None) -> list[str]:
    single, filled = _without_doubles(heads, report)
    fitting = _fitting(connection, single, report)
    if not fitting:
        return []
    runs = pl.DataFrame([head.rows["runs"] for head in fitting], schema=TABLES["runs"].schema)
    insert(connection, "runs", runs)
    for table in filled:
        chosen = f"(SELECT * FROM {_PARQUET} ORDER BY {_STORED_ORDER[table]})" if table in _STORED_ORDER else _PARQUET
        connection.execute(TABLES[table].insert_sql(chosen), [_files(fitting, table)])
    return [head.run_id for head in fitting]


_PARQUET = "read_parquet(?, union_by_name = true, hive_partitioning = false)"


def _files(heads: Iterable[Head], table: str) -> list[str]:
    """Paths for DuckDB, which takes some letters of a path for a pattern."""
    paths = (str(head.parcel / f"{table}.parquet") for head in heads)
    return ["".join(f"[{letter}]" if letter in "*?[" else letter for letter in path) for path in paths]


def _without_doubles(heads: list[Head], report: Report | None) -> tuple[list[Head], list[str]]:
    """Those whose rows are each there once, which no index of the long tables would see to; and the tables that have
    rows. Read here, because a statement of DuckDB takes three times as long for one parcel."""
    filled: list[str] = []
    suspects: set[str] = set()
    try:
        for table in LONG_TABLES:
            paths = [head.parcel / f"{table}.parquet" for head in heads]
            keys = pl.read_parquet(paths, columns=list(TABLES[table].key), glob=False)
            if not keys.is_empty():
                filled.append(table)
                if keys.n_unique() < keys.height:
                    suspects.update(keys.filter(keys.is_duplicated())["run_id"])
    except DAMAGE:  # one of them has rows that cannot be read behind a footer that can
        filled, suspects = list(LONG_TABLES), {head.run_id for head in heads}
    bad = set()
    for head in heads:
        if head.run_id in suspects:
            try:
                read_parcel(head.parcel)
            except WarehouseError as error:
                if report is None:
                    raise
                report(str(error))
                bad.add(head.run_id)
    return [head for head in heads if head.run_id not in bad], filled


def _fitting(connection: Connection, heads: list[Head], report: Report | None) -> list[Head]:
    """Those whose model and text are known by no other content; these are inserted, or taught what the file lacks."""
    known = {
        table: {
            row[0]: row[1:]
            for row in connection.execute(
                f"SELECT {', '.join((*_CONTENT[table], *_TAUGHT[table]))} FROM {table}"
            ).fetchall()
        }
        for table in _CONTENT
    }
    new: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in _CONTENT}
    fitting = []
    for head in heads:
        try:
            for table, (key, content) in _CONTENT.items():
                there = known[table].get(head.rows[table][key])
                if there and there[0] != head.rows[table][content]:
                    raise _other_content(head.rows[table][key], there[0], head.rows[table][content])
        except WarehouseError as error:
            if report is None:
                raise
            report(str(error))
            continue
        fitting.append(head)
        for table, (key, content) in _CONTENT.items():
            row = head.rows[table]
            there = known[table].get(row[key], (None,) * (1 + len(_TAUGHT[table])))
            said = (row[column] for column in _TAUGHT[table])
            now = (row[content], *(new if new is not None else old for new, old in zip(said, there[1:], strict=True)))
            if row[key] not in known[table]:
                new[table][row[key]] = row
                known[table][row[key]] = now
            elif _TAUGHT[table] and row["configuration_hash"] is not None and known[table][row[key]] != now:
                known[table][row[key]] = now
                if row[key] in new[table]:
                    new[table][row[key]] |= dict(zip(_TAUGHT[table], now[1:], strict=True))
                else:
                    connection.execute(
                        f"UPDATE {table} SET {', '.join(f'{column} = ?' for column in _TAUGHT[table])} WHERE {key} = ?",
                        [*now[1:], row[key]],
                    )
    for table, rows in new.items():
        insert(connection, table, pl.DataFrame(list(rows.values()), schema=TABLES[table].schema))
    return fitting


def _other_content(name: str, there: str, here: str) -> WarehouseError:
    return WarehouseError(
        "{name} is in the warehouse with another content ({there}, this parcel has {here}): the parcel was "
        "left where it is.",
        name=name,
        there=there[:12],
        here=here[:12],
    )


def _one_by_one(connection: Connection, folder: Folder, run_ids: Sequence[str], report: Report) -> list[str]:
    taken: list[str] = []
    for run_id in run_ids:
        try:
            with transaction(connection):
                taken += bring(connection, folder, RUN, [run_id], report)
        except (duckdb.ConstraintException, duckdb.ConversionException, duckdb.InvalidInputException) as error:
            report(str(damaged(folder.parcels / run_id, error)))
    return taken
