"""Verbs that move measurements in and out (ingest, import, export, backup, restore), and cache, which cleans up."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict

import polars as pl

from core.analysis.differences import with_controls
from core.analysis.ranking import own_runs
from core.commands.context import (
    confirm,
    existing_warehouse,
    find_stored_runs,
    number_of_runs,
    selected_warehouse,
    show_records,
    warn,
)
from core.commands.runs import filter_runs
from core.errors import InputError, Sentence, nothing_yet
from core.ids import SHORT_ID
from core.locale import _, worded
from core.runs.caches import clean_caches, list_caches, select_caches
from core.runs.recovery import recover, recover_for_reader
from core.tables import ids_of
from core.terminal.output import pad, tell
from core.terminal.progress import counting_bar
from core.warehouse import queries, reference
from core.warehouse.connection import exists
from core.warehouse.exchange import (
    REJECTED_STATES,
    Backup,
    create_backup,
    export_runs,
    import_runs,
    list_backups,
    restore_backup,
    stage_backup,
)
from core.wording.labels import amount

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


def ingest(options: argparse.Namespace) -> None:
    warehouse = selected_warehouse(options)
    if options.reference:
        shipped = reference.shipped_run_ids()
        if not shipped:
            raise InputError("No reference profiles came with this Workdim. Install it with its data folder.")
        n, of = len(reference.add_profiles(warehouse, warn, with_removed=True)), len(shipped)
        if n:
            tell("Added: {n} of {of} reference profiles, and the shipped layer plans.", n=n, of=of)
        else:
            tell("All {of} reference profiles and the shipped layer plans are here already.", of=of)
    elif options.without_reference:
        n_profiles, n_plans = reference.remove_profiles(existing_warehouse(options))
        tell(
            "Moved to the trash: reference profiles ({n}), shipped layer plans ({n_plans}). `workdim ingest --reference` "
            "adds them again.",
            n=n_profiles,
            n_plans=n_plans,
        )
    elif options.rebuild:
        with counting_bar(Sentence("reading parcels")) as progress:
            rebuilt = warehouse.rebuild(warn, progress)
        _tell_made_anew(len(rebuilt.run_ids))
        if rebuilt.previous_file:
            tell("The earlier file is kept: {kept}", kept=rebuilt.previous_file)
    else:
        if not exists(warehouse.path):
            warehouse.prepare()
            _tell_made_anew(queries.counts(warehouse)["runs"])
        waiting = len(warehouse.pending_changes().run_ids)
        recover(warehouse)
        warehouse.sync_files(warn)
        n = waiting - len(warehouse.pending_changes().run_ids)
        tell("Waiting parcels taken in: {n}.", n=n)


def _tell_made_anew(n: int) -> None:
    tell("The warehouse was made anew; parcels: {n}.", n=n)


def import_(options: argparse.Namespace) -> int:
    """Exit code 2 if something was left out."""
    warehouse = selected_warehouse(options)
    if exists(warehouse.path) and not options.dry_run:
        recover_for_reader(warehouse)
    with counting_bar(Sentence("checking parcels")) as progress:
        outcome = import_runs(warehouse, options.paths, options.dry_run, progress)
    left_out = outcome.count(*REJECTED_STATES) + len(outcome.remarks)

    def lines() -> Iterator[str]:
        counts = {
            "new": outcome.count("new", "waits"),
            "known": outcome.count("known", "annotated"),
            "left_out": left_out,
            "scores": outcome.n_scores,
        }
        yield (
            Sentence("Runs: {new} would be new, {known} known, {left_out} left out. Scores: {scores:,}.", **counts)
            if options.dry_run
            else Sentence("Runs: {new} new, {known} known, {left_out} left out. Scores: {scores:,}.", **counts)
        )
        if waiting := outcome.count("waits"):
            yield Sentence("Waiting beside the warehouse: {waiting} of them.", waiting=waiting)
        if annotated := outcome.count("annotated"):
            yield Sentence("Of those here, {annotated} have new tags or notes.", annotated=annotated)
        for arrival in outcome.arrivals:
            state, why = worded(ARRIVAL_STATES[arrival.state]), worded(arrival.reason or arrival.source)
            yield f"{pad(state, STATE_WIDTH)}{arrival.run_id[:SHORT_ID]:<{SHORT_ID + 2}}{why}"
        for line in outcome.remarks:
            yield f"{pad(_('left out'), STATE_WIDTH)}{worded(line)}"

    show_records(options, asdict(outcome), lines)
    return 2 if left_out else 0


def backup(options: argparse.Namespace) -> int:
    if options.list:
        backups = list_backups(selected_warehouse(options))
        records = [asdict(existing) for existing in backups]
        none = nothing_yet("backup")
        show_records(options, records, lambda: map(_backup_line, backups), none)
        return 0
    warehouse = existing_warehouse(options)
    with counting_bar(Sentence("packing parcels")) as progress:
        created = create_backup(warehouse, options.out, progress, warn)
    show_records(options, asdict(created), lambda: [_backup_line(created)])
    return 2 if created.n_left_out else 0


def _backup_line(backup: Backup) -> str:
    what = number_of_runs(backup.n_runs) if backup.n_runs is not None else Sentence("cannot be read")
    return f"{backup.file}  {backup.made_at:%Y-%m-%d %H:%M} UTC  {backup.n_bytes / 1e6:.1f} MB  {worded(what)}"


def restore(options: argparse.Namespace) -> None:
    warehouse = selected_warehouse(options)
    with (
        counting_bar(Sentence("checking the backup")) as progress,
        stage_backup(warehouse, options.file, progress) as staged,
    ):
        tell(
            "{file}: {runs}; damaged files: {n}.",
            file=staged.file,
            runs=number_of_runs(staged.n_runs),
            n=len(staged.damaged),
        )
        for name in staged.damaged:
            warn("{name} of the backup is damaged and left out; what is here stays.", name=name)
        if not confirm(Sentence("Put it in the place of {path}?", path=warehouse.path), options.yes):
            tell("Nothing was changed.")
            return
        with counting_bar(Sentence("building the warehouse")) as progress:
            restored = restore_backup(warehouse, staged, warn, progress)
    tell("{path} is restored; parcels: {n}.", path=warehouse.path, n=restored.n_parcels)
    tell(
        "Later parcels kept: {n}, and tags and notes. Names, queries and score files are the backup's.",
        n=restored.n_newer,
    )
    for kept in filter(None, (restored.previous_file, restored.previous_people)):
        tell("The earlier file is kept: {kept}", kept=kept)


def cache(options: argparse.Namespace) -> None:
    warehouse = selected_warehouse(options)
    all_caches = list_caches(warehouse)
    if options.clean is None:
        show_records(options, [asdict(cache) for cache in all_caches], lambda: _cache_lines(all_caches))
        return
    # Deleted runs cannot be recreated, so the trash is emptied only if it is named.
    names = options.clean or [item.name for item in all_caches if item.can_be_cleaned and item.name != "trash"]
    cleanable = []
    for item in select_caches(all_caches, names):
        if item.n_bytes and item.in_use:
            warn("{name} is left alone: {reason}.", name=item.name, reason=item.in_use)
        elif item.n_bytes:
            cleanable.append(item)
            size = amount(item.n_bytes)
            tell("{name}: {size} of {what}; {cost}", name=item.name, size=size, what=item.what, cost=item.cost)
    size = amount(sum(item.n_bytes for item in cleanable))
    if not cleanable:
        tell("There is nothing to clean.")
    elif options.dry_run:
        tell("{size} would be freed.", size=size)
    elif confirm(Sentence("Remove {size}?", size=size), options.yes):
        freed = clean_caches(warehouse, [item.name for item in cleanable])
        tell("{size} freed.", size=amount(sum(n_bytes for _, n_bytes in freed)))


def _cache_lines(caches) -> Iterator[str]:
    room = max(len(cache.name) for cache in caches)
    for cache in caches:
        cost = cache.cost if cache.can_be_cleaned else Sentence("kept: {why}", why=cache.cost)
        what = worded(Sentence("{what}; {cost}", what=cache.what, cost=cost))
        yield f"{pad(cache.name, room)}  {amount(cache.n_bytes):>10}  {what}"
    cleanable = amount(sum(cache.n_bytes for cache in caches if cache.can_be_cleaned and not cache.in_use))
    yield ""
    yield Sentence("{size} can be cleaned: `workdim cache --clean [NAME...]`", size=cleanable)


def export(options: argparse.Namespace) -> None:
    """Export runs; selected runs bring the control runs that their verdicts rest on."""
    warehouse = existing_warehouse(options)
    all_runs = queries.runs(warehouse)
    chosen = {name: getattr(options, name) for name in ("run", "model", "tag", "pilot") if getattr(options, name)}
    selected = all_runs if chosen else own_runs(all_runs)  # the recipient has the shipped profiles
    if options.run:
        selected = selected.filter(pl.col("run_id").is_in(find_stored_runs(warehouse, options.run)))
    selected = filter_runs(selected, warehouse, options.model, options.tag, options.pilot)
    exported = with_controls(selected, all_runs) if selected.height < all_runs.height else selected
    selection = chosen | {"format": options.format}
    run_ids = sorted(ids_of(exported))
    written = export_runs(warehouse, run_ids, options.out, options.format, selection)
    runs, size = number_of_runs(written.n_runs), written.n_bytes / 1e6
    tell("{path}: {runs}, control runs included, {size:.1f} MB", path=written.path, runs=runs, size=size)
