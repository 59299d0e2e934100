"""Verbs that write runs for others: export, and slides."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from core.commands.context import existing_warehouse, number_of_runs, one_run, write_out
from core.commands.runs import filtered
from core.errors import InputError
from core.terminal.output import say

if TYPE_CHECKING:
    import polars as pl

    from core.deck.deck_data import RunFrames
    from core.warehouse.warehouse import Warehouse

LONG_DECK = 6
"""Runs on text beyond which a deck that nobody chose is too long to present."""


def export(options: argparse.Namespace) -> int:
    """Chosen runs take the control runs along that they were judged with."""
    import polars as pl

    from core.analysis.differences import with_controls
    from core.warehouse import queries
    from core.warehouse.export_runs import export

    warehouse = existing_warehouse(options)
    known = queries.runs(warehouse)
    found = known
    if options.chosen:
        ids = [one_run(known["run_id"], start) for start in options.chosen]
        found = found.filter(pl.col("run_id").is_in(ids))
    found = filtered(found, warehouse, model=options.model, tag=options.tag, pilot=options.pilot)
    taken = with_controls(found, known) if found.height < known.height else found
    asked = {name: getattr(options, name) for name in ("chosen", "model", "tag", "pilot", "format")}
    done = export(
        warehouse,
        sorted(taken["run_id"]),
        options.out,
        options.format,
        {name: value for name, value in asked.items() if value},
    )
    say(f"{done.path}: {number_of_runs(done.n_runs)}, control runs included, {done.n_bytes / 1e6:.1f} MB")
    return 0


def read_frames(warehouse: Warehouse, runs: pl.DataFrame) -> RunFrames:
    """What a deck is made from, read of these runs."""
    from core.deck.deck_data import RunFrames
    from core.warehouse import queries

    ids = runs["run_id"].to_list()
    return RunFrames(
        runs=runs,
        estimates=queries.estimates(warehouse, ids),
        correlators=queries.correlators(warehouse, ids),
        checks=queries.checks(warehouse, ids),
        summaries=queries.summaries(warehouse, ids),
        scores=queries.scores(warehouse),
    )


def slides(options: argparse.Namespace) -> int:
    import polars as pl

    from core.analysis.differences import with_controls
    from core.analysis.ranking import newest
    from core.deck.build import deck
    from core.deck.deck_data import deck_data
    from core.pilots.registration import chosen_pilot
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
    content = deck(deck_data(read_frames(warehouse, runs), options.language, pilot))
    write_out(options.out, content)
    say(f"{options.out}: {runs.height} runs, controls included, {len(content) / 1e3:.0f} kB")
    if not options.chosen and pilot is None and runs.filter(pl.col("pass") == "text").height > LONG_DECK:
        say("That is a long deck. --run RUN, once for each, makes one of the runs that you choose.")
    return 0
