"""Verbs that take finished measurements into the warehouse, or make slides of them: ingest, slides."""

from __future__ import annotations

import argparse
import os

from core.errors import InputError
from core.verbs.chosen import chosen_warehouse, existing_warehouse, one_run, warn

LONG_DECK = 6
"""Runs on text beyond which a deck that nobody chose is too long to present."""


def ingest(options: argparse.Namespace) -> int:
    from core.instrument import references
    from core.runs.settling import sweep
    from core.verbs.keeping import bar
    from core.warehouse import ingest as parcels
    from core.warehouse import rebuilding, trash

    warehouse = chosen_warehouse(options)
    if options.reference:
        shipped = list(references())
        if not shipped:
            raise InputError("No reference profiles came with this Workdim. Install it with its data folder.")
        new = sum(parcels.take_copy(warehouse, folder) for folder in shipped)
        print(f"{new} of {len(shipped)} reference profiles were taken in; they carry the tag 'reference'.")
    elif options.rebuild:
        trash.finish_deletions(warehouse)  # rows that a killed process left are no runs without a parcel
        with bar("reading parcels") as progress:
            taken = rebuilding.rebuild(warehouse, warn, progress)
        print(f"The warehouse was made anew from {len(taken)} parcels.")
    else:
        waiting = len(parcels.waiting_parcels(warehouse))
        sweep(warehouse)
        rebuilding.mend(warehouse)
        print(f"{waiting - len(parcels.waiting_parcels(warehouse))} waiting parcels were taken in.")
    return 0


def slides(options: argparse.Namespace) -> int:
    import polars as pl

    from core.analysis.controls import with_controls
    from core.analysis.ranking import newest
    from core.pilots import chosen_pilot
    from core.report.slides import deck
    from core.warehouse import queries

    if options.out.suffix.lower() != ".pptx":
        raise InputError(f"{options.out.name} is no PowerPoint file name. Name a file that ends in .pptx with --out.")
    warehouse = existing_warehouse(options)
    known = runs = queries.runs(warehouse)
    pilot = None
    if options.pilot is not None:
        pilot = chosen_pilot(queries.pilots(warehouse).to_dicts(), options.pilot)
        runs = runs.filter(pl.col("run_id").is_in(queries.of_pilot(warehouse, pilot.pilot_id)))
        if runs.is_empty():
            raise InputError(f"The pilot {pilot.pilot.name} has no result yet: `python -m core pilot FILE.toml`.")
    if options.chosen:
        chosen = [one_run(runs["run_id"], start) for start in options.chosen]
        runs = runs.filter(pl.col("run_id").is_in(chosen))
    else:
        runs = newest(runs.filter(runs["pass"] == "text"))
    if runs.is_empty():
        raise InputError("There are no such runs. `python -m core runs` lists what is there.")
    runs = with_controls(runs, known)
    ids = runs["run_id"].to_list()
    content = deck(
        runs,
        queries.estimates(warehouse, ids),
        queries.correlators(warehouse, ids),
        queries.checks(warehouse, ids),
        queries.scores(warehouse),
        options.language,
        summaries=queries.summaries(warehouse, ids),
        pilot=pilot,
    )
    beside = options.out.with_name(options.out.name + ".new")
    try:
        beside.write_bytes(content)
        os.replace(beside, options.out)
    except OSError as error:
        raise InputError(f"{options.out} cannot be written: {error.strerror}. Name another file with --out.") from error
    print(f"{options.out}: {len(ids)} runs, controls included, {len(content) / 1e3:.0f} kB")
    if not options.chosen and pilot is None and runs.filter(pl.col("pass") == "text").height > LONG_DECK:
        print("That is a long deck. --run RUN, once for each, makes one of the runs that you choose.")
    return 0
