"""A run parcel: one finished measurement as a folder of Parquet files and run.json.

run.json is written last and lists the other files with their hashes: a folder without it is not a result, and one that
contradicts it is damaged. A parcel holds counts and hashes of a text, never the text.

    <run_id>/run.json           model, text, run, and the hashes of the tables
    <run_id>/<table>.parquet    one for each long table
    <run_id>/annotations.json   tags and note, which people change later: no hash covers it
    <run_id>/places.json        where model and text lie on this machine: never copied

A parcel is deleted by one rename into the trash: a run with a parcel there and none among the parcels is deleted, and so
are its rows. Parcels are moved inside `Warehouse.update`, which syncs the rows.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from core.errors import InputError, Sentence, WarehouseError
from core.files import (
    folders_in,
    make_folder,
    move,
    read_json,
    sync_folder,
    temporary_folder,
    unused_path,
    write_atomic,
    write_json,
    writing,
)
from core.records import PLACES, PROFILE_TABLES, SHIPPED, Profile, without_places
from core.store.folder import Folder
from core.tables import LONG_TABLES, TABLES, Table, TokenResultRow, frame

FORMAT = 3
RUN_FILE = "run.json"
ANNOTATIONS_FILE = "annotations.json"
READ_ERRORS = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException),
)
"""Errors from reading a file that was cut off, altered or forged."""
SINGLE_ROW_TABLES = {"models": "model", "corpora": "corpus", "runs": "run"}
"""Tables with one row per parcel -> key in run.json and field of Profile."""
TOKENS = "tokens"
"""Results of single tokens, on request only: checked and copied, and never ingested."""
PARCEL_FILES = (RUN_FILE, ANNOTATIONS_FILE, *(f"{table}.parquet" for table in (*LONG_TABLES, TOKENS)))
"""All files of a parcel; anything else in its folder is ignored and never copied."""
PLACES_FILE = "places.json"
"""Beside them, where a run was measured: the folders and files of model and text on this machine, to measure it again."""
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_LAYERS = 10_000
MAX_RUN_FILE_BYTES = 4 * 2**20
_LIMITS = {"SMALLINT": 2**15, "INTEGER": 2**31, "FLOAT": 2**128}
"""Types of the DuckDB file that are narrower than those of parcels -> the first number that does not fit."""


@dataclass(frozen=True)
class ParcelHeader:
    """The content of run.json and annotations.json, checked."""

    parcel: Path
    rows: dict[str, dict[str, Any]]
    """The row of models, corpora and runs, the last with the current annotations."""
    files: dict[str, str]
    """Table -> hash of its Parquet file; `tokens` come on request."""

    @property
    def run_id(self) -> str:
        return self.parcel.name


def write_parcel(folder: Path, profile: Profile) -> None:
    """Write a finished measurement into `folder`: first the tables, then run.json, each synced to disk."""
    with writing(folder):
        make_folder(folder)
        tables = {table: TABLES[table].frame(getattr(profile, field)) for table, field in PROFILE_TABLES.items()}
        if profile.tokens:  # on request only and never ingested: it follows single tokens through a text
            tables[TOKENS] = frame(profile.tokens, TokenResultRow)
        files = write_tables(folder, tables)
        single_rows = {
            key: TABLES[table].frame([getattr(profile, key)]).row(0, named=True)
            for table, key in SINGLE_ROW_TABLES.items()
        }
        content_of_run = {"format": FORMAT, **single_rows, "files": files}
        text = json.dumps(content_of_run, indent=1, ensure_ascii=False, default=datetime.isoformat)
        write_atomic(folder / RUN_FILE, text.encode())


def write_tables(folder: Path, tables: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """Write each table as a Parquet file of its name; returns their hashes."""
    hashes = {}
    for table, rows in tables.items():
        content = io.BytesIO()
        rows.write_parquet(content, compression="zstd")
        hashes[table] = hashlib.sha256(content.getvalue()).hexdigest()
        write_atomic(folder / f"{table}.parquet", content.getvalue())
    return hashes


def write_places(folder: Path, request: Mapping[str, Any]) -> None:
    """Write where model and text of a run lie, if on this machine; before the parcel, which alone is copied and shared."""
    places = {key: value for key, value in request.items() if key in PLACES}
    if places != without_places(places):
        make_folder(folder)
        write_json(folder / PLACES_FILE, places)


def is_parcel(folder: Path) -> bool:
    """Whether the folder holds a finished result."""
    return (folder / RUN_FILE).is_file()


def reason_of(error: BaseException) -> str:
    """What an error of a library says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


@contextlib.contextmanager
def naming_damage(file: Path) -> Iterator[None]:
    """Raise WarehouseError, which names the file or parcel, for whatever reading it fails by."""
    try:
        yield
    except WarehouseError:
        raise
    except (InputError, *READ_ERRORS) as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: BaseException) -> WarehouseError:
    """The error for a file or parcel that cannot be read because of `error`."""
    reason = error.message if isinstance(error, InputError) else reason_of(error)
    if isinstance(error, FileNotFoundError):
        reason = Sentence("{file} is missing", file=Path(error.filename).name)
    return WarehouseError("{file} is damaged ({reason}); it was left where it is.", file=file, reason=reason)


def read_versioned(file: Path, max_bytes: int, newest_format: int) -> dict[str, Any]:
    """Read a JSON file of the store that has a `format`.

    Raises WarehouseError for a newer format, one of READ_ERRORS for a file that is too large or invalid.
    """
    if file.stat().st_size > max_bytes:
        raise ValueError(f"{file.name} has {file.stat().st_size / 1e6:.0f} MB")
    content = read_json(file)
    if not isinstance(content["format"], int) or content["format"] < 1:
        raise ValueError(f"the format {str(content['format'])[:20]} is none")
    if content["format"] > newest_format:
        raise WarehouseError("{file} was written by a newer Workdim: update Workdim to read it.", file=file)
    return content


def read_table(file: Path, sha256: str, table: Table) -> pl.DataFrame:
    """Read a Parquet file of the store, checked against its hash and the declared table.

    Optional columns that it lacks are NULL. Raises one of READ_ERRORS.
    """
    rows, types = pl.read_parquet(io.BytesIO(_read_unaltered(file, sha256))), table.schema
    if added := [name for name in types if name not in rows.columns and name in table.optional]:
        rows = rows.with_columns(pl.lit(None, types[name]).alias(name) for name in added)
    if dict(rows.schema) != types:
        raise ValueError(f"{file.name} has other columns than {table.name}")
    if missing := [name for name in types if name not in table.optional and rows[name].null_count()]:
        raise ValueError(f"{file.name} lacks values of {', '.join(missing)}")
    return rows if rows.columns == list(types) else rows.select(types)


def _read_unaltered(file: Path, sha256: str) -> bytes:
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{file.name} has changed since it was written")
    return content


def read_header(parcel: Path) -> ParcelHeader:
    """Read and check the header of a parcel. Raises WarehouseError if it is damaged or no parcel."""
    with naming_damage(parcel):
        content = read_versioned(parcel / RUN_FILE, MAX_RUN_FILE_BYTES, FORMAT)
        rows = {table: parse_rows(table, [content[key]]).row(0, named=True) for table, key in SINGLE_ROW_TABLES.items()}
        run, n_layers, tags = rows["runs"], rows["models"]["n_layers"], rows["runs"]["tags"]
        if not 0 <= n_layers <= MAX_LAYERS:
            raise ValueError(f"a model of {n_layers} blocks")
        # What annotations.json could not hold, or the next annotation would damage the parcel.
        Annotations().with_tags(set(tags) - set(RESERVED_TAGS)).with_note(run["note"] or "")
        rows["runs"] |= annotation_columns(parcel, tags) or {}
        hashes = content["files"]
        present = [*LONG_TABLES, *([TOKENS] if TOKENS in hashes else [])]
        header = ParcelHeader(parcel, rows, {table: str(hashes[table]) for table in present})
        is_consistent = all(
            run[key] == rows[table][key] for table, key in (("models", "model_id"), ("corpora", "corpus_id"))
        )
        if not is_consistent or run["run_id"] != parcel.name:
            raise ValueError(f"{RUN_FILE} mixes several runs, models or texts")
        return header


def problem(parcel: Path) -> str:
    """Why a parcel cannot be read; empty if it can."""
    try:
        read_parcel(parcel)
    except WarehouseError as error:
        return error.message
    return ""


def read_parcel(folder: Path) -> dict[str, pl.DataFrame]:
    """The tables of a parcel, checked: complete, unaltered, typed, and about one run of one model on one text."""
    header = read_header(folder)
    single = {table: pl.DataFrame([header.rows[table]], schema=TABLES[table].schema) for table in SINGLE_ROW_TABLES}
    return single | read_tables(header)


def read_tables(header: ParcelHeader) -> dict[str, pl.DataFrame]:
    """The long tables of a parcel, each row checked. Of results of single tokens only the hash is. Raises WarehouseError.

    The tables of the DuckDB file have neither foreign nor unique keys, because an index on long tables slows every ingest.
    A parent, control or pilot that is not here is no error: controls come first, and a parcel may come from elsewhere.
    """
    with naming_damage(header.parcel):
        if TOKENS in header.files:
            _read_unaltered(header.parcel / f"{TOKENS}.parquet", header.files[TOKENS])
        tables = {}
        for table in map(TABLES.__getitem__, LONG_TABLES):
            rows = read_table(header.parcel / f"{table.name}.parquet", header.files[table.name], table)
            _check_rows(header, table, rows)
            tables[table.name] = rows
        return tables


def parse_rows(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of a JSON file as a typed frame; a missing optional column is NULL. Raises ValueError."""
    types, optional = TABLES[table].schema, TABLES[table].optional
    for row in rows:
        if unknown := row.keys() - types.keys():
            raise ValueError(f"{table} has no column {min(unknown)!r}")
        if missing := [name for name in types if row.get(name) is None and name not in optional]:
            raise ValueError(f"a row of {table} lacks {', '.join(missing)}")
    times = [name for name, kind in types.items() if kind == pl.Datetime("us")]
    parsed = [
        row
        | {name: datetime.fromisoformat(row[name]).replace(tzinfo=None) for name in times if row.get(name) is not None}
        for row in rows
    ]
    return pl.DataFrame(parsed, schema=types, orient="row")


def _check_rows(header: ParcelHeader, table: Table, rows: pl.DataFrame) -> None:
    """Raises ValueError unless all rows are of one run, their layers exist, their numbers fit into the
    DuckDB file and no row is there twice."""
    if rows.is_empty():
        return
    if (rows["run_id"] != header.run_id).any():
        raise ValueError(f"{table.name} mixes several runs")
    n_layers = header.rows["models"]["n_layers"]
    for column in table.columns:
        limit, is_layer = _LIMITS.get(column.sql_type), column.declared.is_layer
        for end in (rows[column.name].min(), rows[column.name].max()) if limit or is_layer else ():
            if not isinstance(end, int | float):  # NULLs alone
                continue
            if is_layer and not 0 <= end <= n_layers:
                raise ValueError(f"layer {end} of {n_layers} in {table.name}")
            if limit and not -limit <= end < limit:
                raise ValueError(f"{table.name} has a value of {column.name} beyond any that is measured")
    if rows.select(table.key).n_unique() != rows.height:
        raise ValueError(f"a row of {table.name} twice")


def publish_parcel(folder: Folder, job_folder: Path) -> Path:
    """Make a job's complete folder a parcel by one rename. Idempotent."""
    parcels = folder.parcels
    target = parcels / job_folder.name
    if not job_folder.exists() and is_parcel(target):
        return target
    if not is_parcel(job_folder):
        raise WarehouseError(
            "The job {job_folder} has not finished: it has no {run_file}.", job_folder=job_folder, run_file=RUN_FILE
        )
    if is_parcel(target):
        if (target / RUN_FILE).read_bytes() != (job_folder / RUN_FILE).read_bytes():
            raise WarehouseError(
                "There is another result under {target}: {job_folder} was left where it is.",
                target=target,
                job_folder=job_folder,
            )
        shutil.rmtree(job_folder)
        return target
    make_folder(parcels)
    move(job_folder, target)
    for parent in (parcels, job_folder.parent):
        sync_folder(parent)
    return target


def publish_finished(folder: Folder, job_folder: Path) -> None:
    """Make parcels of the finished passes that an earlier process of a job left; they are not ingested yet."""
    for finished in filter(is_parcel, folders_in(job_folder)):
        publish_parcel(folder, finished)


# --- tags and note, which people change -----------------------------------------------------------------------------

RESERVED_TAGS = (SHIPPED,)
"""Tags that only Workdim gives: they stand in run.json alone."""
MAX_TAG_LENGTH = 40
MAX_NOTE_LENGTH = 10_000
MAX_TAGS = 50
_FORBIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories a tag may not contain: control and direction marks, lone surrogates, line ends."""
IMPORTED_PREFIX = "[imported]"
"""Precedes an imported note if the run has a note here already."""


@dataclass(frozen=True)
class Annotations:
    tags: tuple[str, ...] = ()
    """Given by people; Workdim's own are not in it."""
    note: str | None = None

    def with_tags(self, tags: Iterable[str]) -> Annotations:
        """A copy with these tags instead; raises InputError for an invalid one."""
        normal = tuple(dict.fromkeys(map(normalize_tag, tags)))
        if len(normal) > MAX_TAGS:
            raise InputError(
                "A run has at most {most_tags} tags. `workdim runs untag` takes one away.", most_tags=MAX_TAGS
            )
        return Annotations(normal, self.note)

    def with_tag(self, tag: str) -> Annotations:
        """A copy with one more tag."""
        return self.with_tags([*self.tags, tag])

    def without_tag(self, tag: str) -> Annotations:
        """A copy without this tag; raises InputError if it has no such tag."""
        tag = normalize_tag(tag)
        if tag not in self.tags:
            raise InputError("The run has no tag '{tag}'. It has: {tags}.", tag=tag, tags=self.tags)
        return Annotations(tuple(other for other in self.tags if other != tag), self.note)

    def with_note(self, note: str) -> Annotations:
        """A copy with this note; an empty one removes it."""
        return Annotations(self.tags, normalize_note(note) or None)

    def merged_with(self, others: Annotations) -> Annotations:
        """The union of the tags, and the other note below this one, marked as imported. Idempotent."""
        note, theirs = self.note, others.note
        if theirs and not note:
            note = theirs
        elif theirs and note and theirs not in note:
            note = f"{note}\n{IMPORTED_PREFIX} {theirs}"[:MAX_NOTE_LENGTH]
        return Annotations(tuple(dict.fromkeys([*self.tags, *others.tags]))[:MAX_TAGS], note)


def normalize_tag(text: str) -> str:
    """The tag in NFC, without blanks around it; raises InputError for an invalid one."""
    tag = unicodedata.normalize("NFC", text).strip()
    if (
        not tag
        or len(tag) > MAX_TAG_LENGTH
        or "," in tag
        or any(unicodedata.category(letter) in _FORBIDDEN_CATEGORIES for letter in tag)
    ):
        raise InputError(
            "{text!r} is no tag: 1 to {longest_tag} characters on one line, no comma.",
            text=text[:60],
            longest_tag=MAX_TAG_LENGTH,
        )
    if tag.casefold() in RESERVED_TAGS:
        raise InputError("The tag '{tag}' marks Workdim's own profiles. Choose another.", tag=tag)
    return tag


def normalize_note(text: str) -> str:
    """The note without blanks around it; raises InputError if it is too long or has control characters."""
    note = text.replace("\r\n", "\n").strip()
    if len(note) > MAX_NOTE_LENGTH or any(
        unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t" for one in note
    ):
        raise InputError(
            "A note has at most {longest_note:,} characters, and no control characters.", longest_note=MAX_NOTE_LENGTH
        )
    return note


def annotations_from_row(tags: Iterable[str], note: str | None) -> Annotations:
    """From the columns of `runs`."""
    return Annotations(tuple(tag for tag in tags if tag not in RESERVED_TAGS), note)


def write_annotations(parcel: Path, annotations: Annotations) -> None:
    """Write them into the parcel. Raises ResourceError if that fails."""
    write_json(parcel / ANNOTATIONS_FILE, {"tags": list(annotations.tags), "note": annotations.note})


def read_annotations(parcel: Path) -> Annotations | None:
    """The parcel's annotations; None if it has none. Raises InputError or one of READ_ERRORS for an invalid file."""
    try:
        content = read_json(parcel / ANNOTATIONS_FILE)
    except FileNotFoundError:
        return None
    if not isinstance(content["tags"], list):
        raise ValueError(f"{ANNOTATIONS_FILE} does not hold a list of tags")
    return Annotations().with_tags(content["tags"]).with_note(content.get("note") or "")


def annotation_columns(parcel: Path, run_tags: Iterable[str]) -> dict[str, Any] | None:
    """The current columns `tags` and `note` of a run; None if the parcel has no annotations.

    `run_tags` are the tags in run.json. Raises as `read_annotations` does.
    """
    annotations = read_annotations(parcel)
    if annotations is None:
        return None
    reserved = [tag for tag in run_tags if tag in RESERVED_TAGS]
    return {"tags": [*reserved, *annotations.tags], "note": annotations.note}


# --- the trash: parcels of deleted runs, until they are restored or it is emptied -------------------------------------

DAMAGED_SUFFIX = ".damaged"
"""Suffix in the trash for a damaged parcel that was replaced by another of the same run."""


@dataclass(frozen=True)
class TrashedRun:
    """A run in the trash, as far as its parcel is readable."""

    run_id: str
    deleted_at: str
    """ISO 8601, UTC."""
    n_bytes: int
    model_id: str = ""
    corpus_id: str = ""
    protocol: str = ""
    pass_: str = ""


def list_trashed(folder: Folder) -> list[TrashedRun]:
    """The runs in the trash, the oldest measurement first."""
    return [_read_trashed(folder.trash / name) for name in trashed_ids(folder)]


def trashed_ids(folder: Folder) -> list[str]:
    """Ids of the runs in the trash, sorted."""
    return [one.name for one in folders_in(folder.trash) if RUN_ID.fullmatch(one.name)]


def is_deleted(folder: Folder, run_id: str) -> bool:
    """Whether the run's parcel lies in the trash and not among the parcels."""
    return is_parcel(folder.trash / run_id) and not is_parcel(folder.parcels / run_id)


def move_to_trash(folder: Folder, run_id: str) -> None:
    """Move a parcel to the trash; the time of its folder tells when. A pilot that counts it as a result goes on doing so.

    Raises ResourceError if it cannot be moved; the run is not deleted then.
    """
    make_folder(folder.trash)
    with writing(folder.trash):
        os.utime(folder.parcels / run_id)  # first, as it fails where another process has moved it meanwhile
        shutil.rmtree(folder.trash / run_id, ignore_errors=True)  # of an earlier deletion
        move(folder.parcels / run_id, folder.trash / run_id)


def restore_parcel(folder: Folder, run_id: str) -> None:
    """Move a parcel out of the trash."""
    if is_parcel(folder.parcels / run_id):  # it came back another way
        shutil.rmtree(folder.trash / run_id, ignore_errors=True)
    else:
        make_folder(folder.parcels)
        move(folder.trash / run_id, folder.parcels / run_id)


def clear_trash(folder: Folder) -> int:
    """Remove the content of the trash for good; returns the number of runs."""
    if not folder.trash.exists():
        return 0
    removed = trashed_ids(folder)
    with temporary_folder("emptied", folder.root) as place:
        move(folder.trash, place / folder.trash.name)
    return len(removed)


def quarantine(folder: Folder, parcel: Path) -> None:
    """Move a damaged parcel to the trash, under a name that is not taken for a deleted run."""
    target = unused_path(folder.trash / f"{parcel.name}{DAMAGED_SUFFIX}")
    make_folder(target.parent)
    move(parcel, target)


def _read_trashed(parcel: Path) -> TrashedRun:
    said: dict[str, Any] = {}
    with contextlib.suppress(*READ_ERRORS):  # the trash must be listed also where that is damaged
        said = dict(read_json(parcel / RUN_FILE)["run"])
    names = (str(said.get(key, "")) for key in ("model_id", "corpus_id", "protocol", "pass"))
    deleted_at = datetime.fromtimestamp(parcel.stat().st_mtime, UTC).isoformat(timespec="seconds")
    n_bytes = sum(file.stat().st_size for file in parcel.iterdir() if file.is_file())
    return TrashedRun(parcel.name, deleted_at, n_bytes, *names)
