"""Verbs that keep a warehouse from being lost: backup and restore."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator

from core.commands.context import chosen_warehouse, existing_warehouse, number_of_runs, warn
from core.errors import InputError
from core.terminal.output import one_line, say, say_json


def backup(options: argparse.Namespace) -> int:
    from core.warehouse.backup import back_up, backups

    if options.list:
        found = backups(chosen_warehouse(options))
        if options.json:
            say_json([_row(one) for one in found])
        elif not found:
            say("No backups yet. Make one: python -m core backup")
        else:
            say(*(_told(one) for one in found))
        return 0
    warehouse = existing_warehouse(options)
    with bar("packing parcels") as progress:
        made = back_up(warehouse, options.out, progress, warn)
    say_json(_row(made)) if options.json else say(_told(made))
    return 0


def restore(options: argparse.Namespace) -> int:
    from core.warehouse.backup import put_in_place, staged

    warehouse = chosen_warehouse(options)
    if not options.yes and not sys.stdin.isatty():
        raise InputError("A restore replaces the warehouse: add --yes where nobody can be asked.")
    with bar("checking the backup") as progress, staged(warehouse, options.file, progress) as found:
        say(f"{found.file} is whole: {number_of_runs(found.n_runs)}.")
        if not options.yes and not _agreed(f"Put it in the place of {warehouse.path}? [y/N] "):
            say("Nothing was changed.")
            return 0
        with bar("building the warehouse") as progress:
            done = put_in_place(warehouse, found, warn, progress)
    say(f"{warehouse.path} is what the backup holds; {done.n_parcels} parcels came with it.")
    say(
        f"Nothing that was measured since is lost: {done.n_since} later parcels are in it too, and tags and notes "
        "stand. Names, queries and score files are those of the backup."
    )
    for what, kept in (("warehouse", done.kept), ("folder of what people wrote", done.kept_people)):
        if kept is not None:
            say(f"The {what} that was there is kept as {kept}; remove it when you are sure.")
    return 0


@contextlib.contextmanager
def bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left, for what takes longer than two seconds; silent where there is no terminal."""
    from tqdm import tqdm

    from core.terminal.output import progress_stream
    from core.terminal.tables import BAR

    with tqdm(desc=text, leave=False, delay=2.0, disable=None, bar_format=BAR, file=progress_stream()) as shown:

        def report(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield report


def _agreed(question: str) -> bool:
    print(one_line(question), end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _told(one) -> str:
    what = number_of_runs(one.n_runs) if one.n_runs is not None else "cannot be read"
    return f"{one.file}  {one.made_at:%Y-%m-%d %H:%M} UTC  {one.n_bytes / 1e6:.1f} MB  {what}"


def _row(one) -> dict:
    return {"file": str(one.file), "made_at": one.made_at.isoformat(), "n_bytes": one.n_bytes, "n_runs": one.n_runs}
