"""Verbs that take measurements from one warehouse to another: export and import."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from core.verbs.caring import Verb, filtered
from core.verbs.chosen import chosen_warehouse, existing_warehouse, number_of_runs, one_run


def add(verb: Verb) -> None:
    """The parsers of `export` and `import`."""
    out = verb("export", export, "write runs as Parquet, CSV and parcels, with a data dictionary")
    out.add_argument("--out", type=Path, required=True, metavar="FOLDER|FILE.zip")
    out.add_argument("--run", dest="chosen", action="append", metavar="RUN", help="run id (repeatable); default: all")
    out.add_argument("--model", metavar="TEXT", help="runs whose model has this in its name or reference")
    out.add_argument("--tag", metavar="TAG", help="runs that have this tag")
    out.add_argument("--pilot", metavar="NAME", help="results of this pilot, by its name or id")
    out.add_argument("--format", choices=("parquet", "csv", "both"), default="both", help="of the tables")
    into = verb(
        "import", import_, "take in measurements of another team: parcels, folders of them, exports, .zip files"
    )
    into.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    into.add_argument("--dry-run", action="store_true", help="say what would become of each; change nothing")
    into.add_argument("--json", action="store_true")


def export(options: argparse.Namespace) -> int:
    """Chosen runs take the control runs along that they were judged with."""
    import polars as pl

    from core.analysis.controls import with_controls
    from core.warehouse import queries
    from core.warehouse.exchange import export

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
    print(f"{done.path}: {number_of_runs(done.n_runs)}, control runs included, {done.n_bytes / 1e6:.1f} MB")
    return 0


def import_(options: argparse.Namespace) -> int:
    """Exit code 2 where something was left out."""
    from core.runs.settling import sweep_to_read
    from core.warehouse.arrivals import LEFT_OUT, take_in
    from core.warehouse.warehouse import is_there

    warehouse = chosen_warehouse(options)
    if is_there(warehouse.path) and not options.dry_run:
        sweep_to_read(warehouse)
    done = take_in(warehouse, options.paths, options.dry_run)
    left_out = done.count(*LEFT_OUT) + len(done.remarks)
    if options.json:
        print(json.dumps(asdict(done), indent=1, ensure_ascii=False))
        return 2 if left_out else 0
    for one in done.arrivals:
        print(f"{one.state:<10}{one.run_id[:13]:<15}{one.reason or one.source}")
    for line in done.remarks:
        print(f"{'left out':<10}{line}")
    would = "would come in" if options.dry_run else "came in"
    waiting = f" ({done.count('waits')} wait beside the warehouse)" if done.count("waits") else ""
    annotated = f" ({done.count('annotated')} with further tags or notes)" if done.count("annotated") else ""
    print(
        f"Runs: {done.count('new', 'waits')} {would}{waiting}, {done.count('known', 'annotated')} here already"
        f"{annotated}, {left_out} left out. Scores: {done.n_scores:,}."
    )
    return 2 if left_out else 0
