"""Verbs that take finished measurements into the warehouse: ingest those of this folder, import those of others."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from core.commands.context import chosen_warehouse, existing_warehouse, warn
from core.errors import InputError
from core.records import SHORT_ID
from core.terminal.output import say, say_json


def ingest(options: argparse.Namespace) -> int:
    from core.runs.recovery import sweep
    from core.terminal.progress import bar
    from core.warehouse import ingest as parcels
    from core.warehouse import reference
    from core.warehouse.connection import is_there

    warehouse = chosen_warehouse(options)
    if options.reference:
        shipped = reference.references()
        if not shipped:
            raise InputError("No reference profiles came with this Workdim. Install it with its data folder.")
        new = reference.take_in(warehouse, warn)
        say(f"{len(new)} of {len(shipped)} reference profiles were taken in; they carry the tag 'reference'.")
    elif options.without_reference:
        n_out = reference.take_out(existing_warehouse(options))
        say(f"{n_out} reference profiles were moved to the trash. `ingest --reference` takes them in again.")
    elif options.rebuild:
        with bar("reading parcels") as progress:
            built = warehouse.rebuild(warn, progress)
        say(f"The warehouse was made anew from {len(built.run_ids)} parcels.")
        if built.kept:
            say(f"The old file is kept: {built.kept}")
    else:
        if not is_there(warehouse.path):
            warehouse.prepare()
            n_runs = warehouse.read("SELECT count(*) AS n FROM runs")["n"][0]
            say(f"The warehouse was made anew from {n_runs} parcels.")
        waiting = len(parcels.waiting_parcels(warehouse))
        sweep(warehouse)
        warehouse.follow_files(warn)
        say(f"{waiting - len(parcels.waiting_parcels(warehouse))} waiting parcels were taken in.")
    return 0


def import_(options: argparse.Namespace) -> int:
    """Exit code 2 where something was left out."""
    from core.runs.recovery import sweep_to_read
    from core.terminal.progress import bar
    from core.warehouse.connection import is_there
    from core.warehouse.import_runs import LEFT_OUT, import_runs

    warehouse = chosen_warehouse(options)
    if is_there(warehouse.path) and not options.dry_run:
        sweep_to_read(warehouse)
    with bar("checking parcels") as progress:
        done = import_runs(warehouse, options.paths, options.dry_run, progress)
    left_out = done.count(*LEFT_OUT) + len(done.remarks)
    if options.json:
        say_json(asdict(done))
        return 2 if left_out else 0
    for one in done.arrivals:
        say(f"{one.state:<10}{one.run_id[:SHORT_ID]:<15}{one.reason or one.source}")
    for line in done.remarks:
        say(f"{'left out':<10}{line}")
    would = "would come in" if options.dry_run else "came in"
    waiting = f" ({done.count('waits')} wait beside the warehouse)" if done.count("waits") else ""
    annotated = f" ({done.count('annotated')} with further tags or notes)" if done.count("annotated") else ""
    say(
        f"Runs: {done.count('new', 'waits')} {would}{waiting}, {done.count('known', 'annotated')} here already"
        f"{annotated}, {left_out} left out. Scores: {done.n_scores:,}."
    )
    return 2 if left_out else 0
