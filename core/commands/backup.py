"""Verbs about files: backup and restore, export for others, and cache, which cleans up."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from core.commands.context import chosen_warehouse, confirmed, existing_warehouse, number_of_runs, one_run, warn
from core.commands.runs import filtered, without_reference
from core.errors import InputError, Sentence
from core.terminal.output import one_line, padded, say, say_json, told, wrapped
from core.terminal.output import width as columns


def backup(options: argparse.Namespace) -> int:
    from core.terminal.progress import bar
    from core.warehouse.backup import create_backup, list_backups

    if options.list:
        found = list_backups(chosen_warehouse(options))
        if options.json:
            say_json([_row(one) for one in found])
        elif not found:
            say(Sentence("No backups yet. Make one: workdim backup"))
        else:
            say(*(_told(one) for one in found))
        return 0
    warehouse = existing_warehouse(options)
    with bar(Sentence("packing parcels")) as progress:
        made = create_backup(warehouse, options.out, progress, warn)
    say_json(_row(made)) if options.json else say(_told(made))
    return 0


def restore(options: argparse.Namespace) -> int:
    from core.terminal.progress import bar
    from core.warehouse.backup import restore_backup, stage_backup

    warehouse = chosen_warehouse(options)
    if not options.yes and not sys.stdin.isatty():
        raise InputError("A restore replaces the warehouse: add --yes where nobody can be asked.")
    with bar(Sentence("checking the backup")) as progress, stage_backup(warehouse, options.file, progress) as found:
        say(Sentence("{file} is whole: {runs}.", file=found.file, runs=number_of_runs(found.n_runs)))
        if not options.yes and not _agreed(Sentence("Put it in the place of {path}? [y/N] ", path=warehouse.path)):
            say(Sentence("Nothing was changed."))
            return 0
        with bar(Sentence("building the warehouse")) as progress:
            done = restore_backup(warehouse, found, warn, progress)
    say(
        Sentence("{path} is what the backup holds; {n} parcels came with it.", path=warehouse.path, n=done.n_parcels),
        Sentence(
            "Nothing that was measured since is lost: {n} later parcels are in it too, and tags and notes stand. Names, "
            "queries and score files are those of the backup.",
            n=done.n_newer,
        ),
    )
    parts = (
        (Sentence("warehouse"), done.previous_file),
        (Sentence("folder of what people wrote"), done.previous_people),
    )
    for what, kept in parts:
        if kept is not None:
            say(
                Sentence(
                    "The {what} that was there is kept as {kept}; remove it when you are sure.", what=what, kept=kept
                )
            )
    return 0


def _agreed(question: str) -> bool:
    print(one_line(question), end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _told(one) -> str:
    what = number_of_runs(one.n_runs) if one.n_runs is not None else Sentence("cannot be read")
    return f"{one.file}  {one.made_at:%Y-%m-%d %H:%M} UTC  {one.n_bytes / 1e6:.1f} MB  {told(what)}"


def _row(one) -> dict:
    return {"file": str(one.file), "made_at": one.made_at.isoformat(), "n_bytes": one.n_bytes, "n_runs": one.n_runs}


def cache(options: argparse.Namespace) -> int:
    from core.runs.caches import clean_caches, list_caches, select_caches

    warehouse = chosen_warehouse(options)
    found = list_caches(warehouse)
    if options.clean is None:
        _tell(found, options.json)
        return 0
    # Deleted runs cannot be made anew: the trash is emptied only by name.
    names = options.clean or [one.name for one in found if one.can_be_cleaned and one.name != "trash"]
    meant = [one for one in select_caches(found, names) if one.n_bytes]
    for one in meant:
        if one.in_use:
            warn(Sentence("{name} is left alone: {reason}.", name=one.name, reason=one.in_use))
    free = [one for one in meant if not one.in_use]
    for one in free:
        say(
            Sentence(
                "{name}: {size} of {what}; {cost}", name=one.name, size=_size(one.n_bytes), what=one.what, cost=one.cost
            )
        )
    size = _size(sum(one.n_bytes for one in free))
    if not free:
        say(Sentence("There is nothing to clean."))
    elif options.dry_run:
        say(Sentence("{size} would be freed.", size=size))
    elif confirmed(Sentence("Remove {size}?", size=size), options.yes):
        freed = clean_caches(warehouse, [one.name for one in free])
        say(Sentence("{size} freed.", size=_size(sum(n_bytes for _, n_bytes in freed))))
    return 0


def _tell(found, as_json: bool) -> None:
    if as_json:
        say_json([asdict(one) for one in found])
        return
    width = max(len(one.name) for one in found)
    for one in found:
        cost = one.cost if one.can_be_cleaned else Sentence("kept: {why}", why=one.cost)
        what = Sentence("{what}; {cost}", what=one.what, cost=cost)
        first = f"{padded(one.name, width)}  {_size(one.n_bytes):>10}  "
        say(*wrapped(told(what), columns() or len(told(what)) * 3, " " * len(first), first))
    able = _size(sum(one.n_bytes for one in found if one.can_be_cleaned and not one.in_use))
    say("", Sentence("{size} can be cleaned: `workdim cache --clean [NAME...]`", size=able))


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def export(options: argparse.Namespace) -> int:
    """Chosen runs take the control runs along that they were judged with."""
    import polars as pl

    from core.analysis.differences import with_controls
    from core.warehouse import queries
    from core.warehouse.export_runs import export_runs

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
    done = export_runs(
        warehouse,
        sorted(taken["run_id"]),
        options.out,
        options.format,
        {name: value for name, value in asked.items() if value},
    )
    runs, size = number_of_runs(done.n_runs), done.n_bytes / 1e6
    say(Sentence("{path}: {runs}, control runs included, {size:.1f} MB", path=done.path, runs=runs, size=size))
    return 0
