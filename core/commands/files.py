"""Verbs that move measurements in and out (ingest, import, export, backup, restore), and cache, which cleans up."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from core.commands.context import confirm, existing_warehouse, find_run_id, number_of_runs, selected_warehouse, warn
from core.commands.runs import filter_runs
from core.errors import InputError, Sentence, sentences
from core.locale import worded
from core.records import SHORT_ID
from core.terminal.output import one_line, pad, say, say_json, wrap
from core.terminal.output import width as columns

ARRIVAL_STATES = {
    "new": Sentence("new"),
    "known": Sentence("here already"),
    "annotated": Sentence("tags added"),
    "waits": Sentence("waits"),
    "conflict": Sentence("conflict"),
    "damaged": Sentence("damaged"),
}
"""State of a parcel after an import -> its words."""
STATE_WIDTH = 15


def ingest(options: argparse.Namespace) -> int:
    from core.runs.recovery import recover
    from core.terminal.progress import counting_bar
    from core.warehouse import reference
    from core.warehouse.connection import exists

    warehouse = selected_warehouse(options)
    if options.reference:
        shipped = reference.shipped_run_ids()
        if not shipped:
            raise InputError("No reference profiles came with this Workdim. Install it with its data folder.")
        new = reference.add_all_profiles(warehouse, warn)
        say(
            Sentence(
                "{n} of {of} reference profiles was added, and the shipped layer plans; they carry the tag 'reference'.",
                "{n} of {of} reference profiles were added, and the shipped layer plans; they carry the tag 'reference'.",
                n=len(new),
                of=len(shipped),
            )
        )
    elif options.without_reference:
        say(_removed_references(*reference.remove_profiles(existing_warehouse(options))))
    elif options.rebuild:
        with counting_bar(Sentence("reading parcels")) as progress:
            rebuilt = warehouse.rebuild(warn, progress)
        say(_made_anew(len(rebuilt.run_ids)))
        if rebuilt.previous_file:
            say(Sentence("The old file is kept: {kept}", kept=rebuilt.previous_file))
    else:
        if not exists(warehouse.path):
            warehouse.prepare()
            n_runs = warehouse.read("SELECT count(*) AS n FROM runs")["n"][0]
            say(_made_anew(n_runs))
        waiting = len(warehouse.pending_changes().run_ids)
        recover(warehouse)
        warehouse.sync_files(warn)
        n = waiting - len(warehouse.pending_changes().run_ids)
        say(Sentence("{n} waiting parcel was taken in.", "{n} waiting parcels were taken in.", n=n))
    return 0


def _removed_references(n_profiles: int, n_plans: int) -> Sentence:
    if not n_profiles and not n_plans:
        return Sentence("There are no reference profiles here, and none will be taken in.")
    profiles = Sentence(
        "{n} reference profile was moved to the trash.", "{n} reference profiles were moved to the trash.", n=n_profiles
    )
    return sentences(
        profiles if n_profiles else "",
        Sentence("The shipped layer plans were removed.") if n_plans else "",
        Sentence("`workdim ingest --reference` adds them again."),
    )


def _made_anew(n: int) -> Sentence:
    return Sentence(
        "The warehouse was made anew from {n} parcel.", "The warehouse was made anew from {n} parcels.", n=n
    )


def import_(options: argparse.Namespace) -> int:
    """Exit code 2 if something was left out."""
    from core.runs.recovery import recover_for_reader
    from core.terminal.progress import counting_bar
    from core.warehouse.connection import exists
    from core.warehouse.import_runs import REJECTED_STATES, import_runs

    warehouse = selected_warehouse(options)
    if exists(warehouse.path) and not options.dry_run:
        recover_for_reader(warehouse)
    with counting_bar(Sentence("checking parcels")) as progress:
        outcome = import_runs(warehouse, options.paths, options.dry_run, progress)
    left_out = outcome.count(*REJECTED_STATES) + len(outcome.remarks)
    if options.json:
        say_json(asdict(outcome))
        return 2 if left_out else 0
    for arrival in outcome.arrivals:
        say(
            f"{pad(worded(ARRIVAL_STATES[arrival.state]), STATE_WIDTH)}{arrival.run_id[:SHORT_ID]:<15}{worded(arrival.reason or arrival.source)}"
        )
    for line in outcome.remarks:
        say(f"{pad(worded(Sentence('left out')), STATE_WIDTH)}{worded(line)}")
    counts = {
        "new": outcome.count("new", "waits"),
        "waiting": outcome.count("waits"),
        "known": outcome.count("known", "annotated"),
        "annotated": outcome.count("annotated"),
        "left_out": left_out,
        "scores": outcome.n_scores,
    }
    summary = (
        Sentence("Runs: {new} would come in, {known} here already, {left_out} left out. Scores: {scores:,}.", **counts)
        if options.dry_run
        else Sentence("Runs: {new} came in, {known} here already, {left_out} left out. Scores: {scores:,}.", **counts)
    )
    say(summary)
    if counts["waiting"]:
        say(Sentence("Of those that came in, {waiting} wait beside the warehouse.", **counts))
    if counts["annotated"]:
        say(Sentence("Of those that were here, {annotated} have further tags or notes now.", **counts))
    return 2 if left_out else 0


def backup(options: argparse.Namespace) -> int:
    from core.terminal.progress import counting_bar
    from core.warehouse.backup import create_backup, list_backups

    if options.list:
        backups = list_backups(selected_warehouse(options))
        if options.json:
            say_json([_backup_json(existing) for existing in backups])
        elif not backups:
            say(Sentence("No backups yet. Make one: workdim backup"))
        else:
            say(*(_backup_line(existing) for existing in backups))
        return 0
    warehouse = existing_warehouse(options)
    with counting_bar(Sentence("packing parcels")) as progress:
        created = create_backup(warehouse, options.out, progress, warn)
    say_json(_backup_json(created)) if options.json else say(_backup_line(created))
    return 2 if created.n_left_out else 0


def restore(options: argparse.Namespace) -> int:
    from core.terminal.progress import counting_bar
    from core.warehouse.backup import restore_backup, stage_backup

    warehouse = selected_warehouse(options)
    if not options.yes and not sys.stdin.isatty():
        raise InputError("A restore replaces the warehouse: add --yes where nobody can be asked.")
    with (
        counting_bar(Sentence("checking the backup")) as progress,
        stage_backup(warehouse, options.file, progress) as staged,
    ):
        runs = number_of_runs(staged.n_runs)
        if staged.damaged:
            say(Sentence("{file}: {runs}, and damaged files, which are left out.", file=staged.file, runs=runs))
            for name in staged.damaged:
                warn(Sentence("{name} of the backup is damaged: it is left out, and what is here stays.", name=name))
        else:
            say(Sentence("{file} is whole: {runs}.", file=staged.file, runs=runs))
        if not options.yes and not _ask(Sentence("Put it in the place of {path}? [y/N] ", path=warehouse.path)):
            say(Sentence("Nothing was changed."))
            return 0
        with counting_bar(Sentence("building the warehouse")) as progress:
            restored = restore_backup(warehouse, staged, warn, progress)
    say(
        Sentence(
            "{path} is what the backup holds; {n} parcel came with it.",
            "{path} is what the backup holds; {n} parcels came with it.",
            path=warehouse.path,
            n=restored.n_parcels,
        ),
        Sentence(
            "Nothing that was measured since is lost: {n} later parcel is in it too, and tags and notes stand. Names, "
            "queries and score files are those of the backup.",
            "Nothing that was measured since is lost: {n} later parcels are in it too, and tags and notes stand. Names, "
            "queries and score files are those of the backup.",
            n=restored.n_newer,
        ),
    )
    parts = (
        (Sentence("warehouse"), restored.previous_file),
        (Sentence("folder of what people wrote"), restored.previous_people),
    )
    for what, old_path in parts:
        if old_path is not None:
            say(
                Sentence(
                    "The {what} that was there is kept as {kept}; remove it when you are sure.",
                    what=what,
                    kept=old_path,
                )
            )
    return 0


def _ask(question: str) -> bool:
    print(one_line(question), end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _backup_line(backup) -> str:
    what = number_of_runs(backup.n_runs) if backup.n_runs is not None else Sentence("cannot be read")
    return f"{backup.file}  {backup.made_at:%Y-%m-%d %H:%M} UTC  {backup.n_bytes / 1e6:.1f} MB  {worded(what)}"


def _backup_json(backup) -> dict:
    return {
        "file": str(backup.file),
        "made_at": backup.made_at.isoformat(),
        "n_bytes": backup.n_bytes,
        "n_runs": backup.n_runs,
        "n_left_out": backup.n_left_out,
    }


def cache(options: argparse.Namespace) -> int:
    from core.runs.caches import clean_caches, list_caches, select_caches

    warehouse = selected_warehouse(options)
    all_caches = list_caches(warehouse)
    if options.clean is None:
        _show_caches(all_caches, options.json)
        return 0
    # Deleted runs cannot be recreated, so the trash is emptied only if it is named.
    names = options.clean or [item.name for item in all_caches if item.can_be_cleaned and item.name != "trash"]
    selected = [item for item in select_caches(all_caches, names) if item.n_bytes]
    for item in selected:
        if item.in_use:
            warn(Sentence("{name} is left alone: {reason}.", name=item.name, reason=item.in_use))
    cleanable = [item for item in selected if not item.in_use]
    for item in cleanable:
        say(
            Sentence(
                "{name}: {size} of {what}; {cost}",
                name=item.name,
                size=_size_text(item.n_bytes),
                what=item.what,
                cost=item.cost,
            )
        )
    size = _size_text(sum(item.n_bytes for item in cleanable))
    if not cleanable:
        say(Sentence("There is nothing to clean."))
    elif options.dry_run:
        say(Sentence("{size} would be freed.", size=size))
    elif confirm(Sentence("Remove {size}?", size=size), options.yes):
        freed = clean_caches(warehouse, [item.name for item in cleanable])
        say(Sentence("{size} freed.", size=_size_text(sum(n_bytes for _, n_bytes in freed))))
    return 0


def _show_caches(caches, as_json: bool) -> None:
    if as_json:
        say_json([asdict(cache) for cache in caches])
        return
    width = max(len(cache.name) for cache in caches)
    for cache in caches:
        cost = cache.cost if cache.can_be_cleaned else Sentence("kept: {why}", why=cache.cost)
        what = Sentence("{what}; {cost}", what=cache.what, cost=cost)
        first = f"{pad(cache.name, width)}  {_size_text(cache.n_bytes):>10}  "
        say(*wrap(worded(what), columns() or len(worded(what)) * 3, " " * len(first), first))
    cleanable = _size_text(sum(cache.n_bytes for cache in caches if cache.can_be_cleaned and not cache.in_use))
    say("", Sentence("{size} can be cleaned: `workdim cache --clean [NAME...]`", size=cleanable))


def _size_text(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def export(options: argparse.Namespace) -> int:
    """Export runs; selected runs bring the control runs that their verdicts rest on."""
    import polars as pl

    from core.analysis.differences import with_controls
    from core.analysis.ranking import own_runs
    from core.warehouse import queries
    from core.warehouse.export_runs import export_runs

    warehouse = existing_warehouse(options)
    all_runs = queries.runs(warehouse)
    selected_runs = all_runs
    if not (options.run or options.model or options.tag or options.pilot):  # the recipient has the shipped profiles
        selected_runs = own_runs(selected_runs)
    if options.run:
        ids = [find_run_id(all_runs["run_id"], start) for start in options.run]
        selected_runs = selected_runs.filter(pl.col("run_id").is_in(ids))
    selected_runs = filter_runs(selected_runs, warehouse, model=options.model, tag=options.tag, pilot=options.pilot)
    exported = with_controls(selected_runs, all_runs) if selected_runs.height < all_runs.height else selected_runs
    selection = {name: getattr(options, name) for name in ("run", "model", "tag", "pilot", "format")}
    written = export_runs(
        warehouse,
        sorted(exported["run_id"]),
        options.out,
        options.format,
        {name: value for name, value in selection.items() if value},
    )
    runs, size = number_of_runs(written.n_runs), written.n_bytes / 1e6
    say(Sentence("{path}: {runs}, control runs included, {size:.1f} MB", path=written.path, runs=runs, size=size))
    return 0
