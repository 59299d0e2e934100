"""Verbs about files: backup and restore, export and slides for others, and cache, which cleans up."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from core.commands.context import (
    chosen_warehouse,
    confirmed,
    existing_warehouse,
    number_of_runs,
    one_run,
    warn,
    write_out,
)
from core.commands.runs import filtered, without_reference
from core.errors import InputError
from core.terminal.output import one_line, say, say_json


def backup(options: argparse.Namespace) -> int:
    from core.warehouse.backup import back_up, backups

    if options.list:
        found = backups(chosen_warehouse(options))
        if options.json:
            say_json([_row(one) for one in found])
        elif not found:
            say("No backups yet. Make one: workdim backup")
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


def cache(options: argparse.Namespace) -> int:
    from core.runs.caches import caches, chosen, clean

    warehouse = chosen_warehouse(options)
    found = caches(warehouse)
    if options.clean is None:
        _tell(found, options.json)
        return 0
    # Deleted runs cannot be made anew: the trash is emptied only by name.
    names = options.clean or [one.name for one in found if one.can_be_cleaned and one.name != "trash"]
    meant = [one for one in chosen(found, names) if one.n_bytes]
    for one in meant:
        if one.in_use:
            warn(f"{one.name} is left alone: {one.in_use}.")
    free = [one for one in meant if not one.in_use]
    for one in free:
        say(f"{one.name}: {_size(one.n_bytes)} of {one.what}; {one.cost}")
    if not free:
        say("There is nothing to clean.")
    elif options.dry_run:
        say(f"{_size(sum(one.n_bytes for one in free))} would be freed.")
    elif confirmed(f"Remove {_size(sum(one.n_bytes for one in free))}?", options.yes):
        freed = clean(warehouse, [one.name for one in free])
        say(f"{_size(sum(n_bytes for _, n_bytes in freed))} freed.")
    return 0


def _tell(found, as_json: bool) -> None:
    if as_json:
        say_json([asdict(one) for one in found])
        return
    width = max(len(one.name) for one in found)
    for one in found:
        kind = "" if one.can_be_cleaned else "kept: "
        say(f"{one.name:<{width}}  {_size(one.n_bytes):>10}  {one.what}; {kind}{one.cost}")
    able = sum(one.n_bytes for one in found if one.can_be_cleaned and not one.in_use)
    say("", f"{_size(able)} can be cleaned: `workdim cache --clean [NAME...]`")


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


if TYPE_CHECKING:
    import polars as pl

    from core.deck.deck_data import RunFrames
    from core.warehouse.warehouse import Warehouse

LONG_DECK = 6
"""Runs on text beyond which a deck that nobody chose is too long to present."""


def export(options: argparse.Namespace) -> int:
    """Chosen runs take the control runs along that they were judged with."""
    import polars as pl

    from core.analysis.differences import with_controls
    from core.warehouse import queries
    from core.warehouse.export_runs import export

    warehouse = existing_warehouse(options)
    known = queries.runs(warehouse)
    found = known
    if not (
        options.chosen or options.model or options.tag or options.pilot
    ):  # whoever gets it has those that are shipped
        found = without_reference(found)
    if options.chosen:
        ids = [one_run(known["run_id"], start) for start in options.chosen]
        found = found.filter(pl.col("run_id").is_in(ids))
    found = filtered(found, warehouse, model=options.model, tag=options.tag, pilot=options.pilot)
    taken = with_controls(found, known) if found.height < known.height else found
    asked = {name: getattr(options, name) for name in ("chosen", "model", "tag", "pilot", "format")}
    done = export(
        warehouse,
        sorted(taken["run_id"]),
        options.out,
        options.format,
        {name: value for name, value in asked.items() if value},
    )
    say(f"{done.path}: {number_of_runs(done.n_runs)}, control runs included, {done.n_bytes / 1e6:.1f} MB")
    return 0


def read_frames(warehouse: Warehouse, runs: pl.DataFrame) -> RunFrames:
    """What a deck is made from, read of these runs."""
    from core.deck.deck_data import RunFrames
    from core.warehouse import queries

    ids = runs["run_id"].to_list()
    return RunFrames(
        runs=runs,
        estimates=queries.estimates(warehouse, ids),
        correlators=queries.correlators(warehouse, ids),
        checks=queries.checks(warehouse, ids),
        summaries=queries.summaries(warehouse, ids),
        scores=queries.scores(warehouse),
        claims=queries.claims(warehouse, ids),
        extrema=queries.extrema(warehouse, ids),
        against_controls=queries.against_controls(warehouse, ids),
    )


def slides(options: argparse.Namespace) -> int:
    import polars as pl

    from core.analysis.asked import Asked
    from core.analysis.differences import with_controls
    from core.analysis.ranking import newest
    from core.commands.rank import answered
    from core.deck.build import deck
    from core.deck.deck_data import deck_data
    from core.pilots.registration import chosen_pilot
    from core.warehouse import queries

    if options.out.suffix.lower() != ".pptx":
        raise InputError(
            "{out} is no PowerPoint file name. Name a file that ends in .pptx with --out.", out=options.out.name
        )
    warehouse = existing_warehouse(options)
    known = runs = queries.runs(warehouse)
    pilot = found = None
    if options.pilot is not None:
        pilot = chosen_pilot(queries.pilots(warehouse).to_dicts(), options.pilot)
        runs = runs.filter(pl.col("run_id").is_in(queries.of_pilot(warehouse, pilot.pilot_id)))
        if runs.is_empty():
            raise InputError("The pilot {pilot} has no result yet: `workdim pilot FILE.toml`.", pilot=pilot.pilot.name)
        found, _ = answered(warehouse, Asked(pilot=pilot))
    if options.chosen:
        chosen = [one_run(runs["run_id"], start) for start in options.chosen]
        runs = runs.filter(pl.col("run_id").is_in(chosen))
    else:
        runs = newest(runs.filter(runs["pass"] == "text"))
        runs = runs if pilot else without_reference(runs)
        if runs.is_empty() and not known.is_empty():
            raise InputError(
                "There are no runs of your own yet. Measure a model, or name shipped ones with --run RUN: `workdim "
                "runs --tag reference` lists them."
            )
    if runs.is_empty():
        raise InputError("There are no such runs. `workdim runs` lists what is there.")
    runs = with_controls(runs, known)
    content = deck(deck_data(read_frames(warehouse, runs), options.language, pilot, found=found))
    write_out(options.out, content)
    say(f"{options.out}: {runs.height} runs, controls included, {len(content) / 1e3:.0f} kB")
    if not options.chosen and pilot is None and runs.filter(pl.col("pass") == "text").height > LONG_DECK:
        say("That is a long deck. --run RUN, once for each, makes one of the runs that you choose.")
    return 0
