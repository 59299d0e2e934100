"""Verbs that take finished measurements into the warehouse: ingest those of this folder, import those of others."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from core.commands.context import chosen_warehouse, existing_warehouse, warn
from core.errors import InputError, Sentence
from core.records import SHORT_ID
from core.terminal.output import padded, say, say_json, told

ARRIVED = {
    "new": Sentence("new"),
    "known": Sentence("here already"),
    "annotated": Sentence("tags added"),
    "waits": Sentence("waits"),
    "conflict": Sentence("conflict"),
    "damaged": Sentence("damaged"),
}
"""What became of a parcel."""
ARRIVED_WIDTH = 15


def ingest(options: argparse.Namespace) -> int:
    from core.runs.recovery import recover
    from core.terminal.progress import bar
    from core.warehouse import reference
    from core.warehouse.connection import exists
    from core.warehouse.runs import waiting_parcels

    warehouse = chosen_warehouse(options)
    if options.reference:
        shipped = reference.shipped_run_ids()
        if not shipped:
            raise InputError("No reference profiles came with this Workdim. Install it with its data folder.")
        new = reference.add_all_profiles(warehouse, warn)
        say(
            Sentence(
                "{n} of {of} reference profiles were taken in; they carry the tag 'reference'.",
                n=len(new),
                of=len(shipped),
            )
        )
    elif options.without_reference:
        n_out = reference.remove_profiles(existing_warehouse(options))
        say(
            Sentence(
                "{n} reference profiles were moved to the trash. `workdim ingest --reference` takes them in again.",
                n=n_out,
            )
        )
    elif options.rebuild:
        with bar(Sentence("reading parcels")) as progress:
            built = warehouse.rebuild(warn, progress)
        say(Sentence("The warehouse was made anew from {n} parcels.", n=len(built.run_ids)))
        if built.previous_file:
            say(Sentence("The old file is kept: {kept}", kept=built.previous_file))
    else:
        if not exists(warehouse.path):
            warehouse.prepare()
            n_runs = warehouse.read("SELECT count(*) AS n FROM runs")["n"][0]
            say(Sentence("The warehouse was made anew from {n} parcels.", n=n_runs))
        waiting = len(waiting_parcels(warehouse))
        recover(warehouse)
        warehouse.sync_files(warn)
        say(Sentence("{n} waiting parcels were taken in.", n=waiting - len(waiting_parcels(warehouse))))
    return 0


def import_(options: argparse.Namespace) -> int:
    """Exit code 2 where something was left out."""
    from core.runs.recovery import recover_for_reader
    from core.terminal.progress import bar
    from core.warehouse.connection import exists
    from core.warehouse.import_runs import REJECTED_STATES, import_runs

    warehouse = chosen_warehouse(options)
    if exists(warehouse.path) and not options.dry_run:
        recover_for_reader(warehouse)
    with bar(Sentence("checking parcels")) as progress:
        done = import_runs(warehouse, options.paths, options.dry_run, progress)
    left_out = done.count(*REJECTED_STATES) + len(done.remarks)
    if options.json:
        say_json(asdict(done))
        return 2 if left_out else 0
    for one in done.arrivals:
        say(
            f"{padded(told(ARRIVED[one.state]), ARRIVED_WIDTH)}{one.run_id[:SHORT_ID]:<15}{told(one.reason or one.source)}"
        )
    for line in done.remarks:
        say(f"{padded(told(Sentence('left out')), ARRIVED_WIDTH)}{told(line)}")
    counts = {
        "new": done.count("new", "waits"),
        "waiting": done.count("waits"),
        "known": done.count("known", "annotated"),
        "annotated": done.count("annotated"),
        "left_out": left_out,
        "scores": done.n_scores,
    }
    brief = (
        Sentence("Runs: {new} would come in, {known} here already, {left_out} left out. Scores: {scores:,}.", **counts)
        if options.dry_run
        else Sentence("Runs: {new} came in, {known} here already, {left_out} left out. Scores: {scores:,}.", **counts)
    )
    say(brief)
    if counts["waiting"]:
        say(Sentence("Of those that came in, {waiting} wait beside the warehouse.", **counts))
    if counts["annotated"]:
        say(Sentence("Of those that were here, {annotated} have further tags or notes now.", **counts))
    return 2 if left_out else 0
