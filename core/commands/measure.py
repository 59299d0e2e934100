"""Verbs that measure and plan: measure, pilot, calibrate, compare and plan."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import polars as pl

from core.analysis.plans import mergekit_recipe
from core.commands.context import existing_warehouse, show_records, warn, write_out
from core.commands.jobs import local_engine, report_end, request_of, run_each
from core.errors import InputError, Sentence, nothing_yet, sentences
from core.files import no_folder
from core.locale import N_, in_language
from core.models.packages import terms_before_fetching
from core.pilots.pilot import find_pilot, pilot_requests, read_pilot
from core.questions import plan as plan_question
from core.questions import runs as run_question
from core.questions.record import as_record
from core.questions.runs import RECORD, Comparison
from core.records import BUDGETS, SHIPPED, LayerPlan, PlanConfig, Progress, RunConfig
from core.runs.execution import load_layer_plan
from core.runs.jobs import STATES, JobStatus, remove_job
from core.runs.requests import (
    expand_request,
    pilot_measurements,
    plan_estimate_from_process,
    plan_request,
    preflight_cards_from_process,
    protocol_names,
    run_pilot,
    text_names,
    with_companions,
    with_labels_hash,
    with_readable_companions,
)
from core.tables import PilotRow, records
from core.terminal.output import say, say_json, tell
from core.terminal.progress import ProgressBar, card_lines
from core.terminal.tables import plan_lines, plan_record, plans_table, table_of
from core.texts.sample import open_text
from core.warehouse import queries, runs
from core.warehouse.connection import exists
from core.warehouse.warehouse import Warehouse
from core.wording import runs as run_wording
from core.wording.plans import estimate_lines, mergekit_reason_text, readable_lines, recipe_text, sibling_lines


def measure(options: argparse.Namespace) -> int:
    request = request_of(RunConfig, options, model="", estimators=tuple(options.estimators or ()))
    request = with_labels_hash(request)
    if options.estimate_only:
        return estimate_all(with_companions(request, options.models), options)
    if options.json:
        raise InputError("--json needs --estimate-only here.")
    open_text(request)  # once, and not when each model's job reaches it
    # By `os.path`: names that are too long, or of a home that is not there, are no path either.
    paths = [one for one in options.models if one.startswith((".", "/", "~"))]
    absent = [one for one in paths if not os.path.exists(os.path.expanduser(one))]
    if len(absent) == len(options.models):  # nor is a turn waited for; others are measured all the same
        raise InputError("{path} is not there. Check the path.", path=absent)
    # Models measured together are compared across tokenizers: their words are chosen for all of them.
    show_terms(options.models)
    warehouse = options.warehouse
    engine = select_engine(options, warehouse)
    configs = with_readable_companions(request, options.models, warehouse)
    return measure_all(expanded(configs), warehouse, options.again, engine, at_once=options.engine == "ray")


def show_terms(models: Iterable[str], show: Callable[[str], None] = say) -> None:
    """Print the terms that a user accepts by fetching these models, before anything is fetched."""
    for terms in filter(None, map(terms_before_fetching, dict.fromkeys(models))):
        show(terms)


def expanded(requests: Iterable[RunConfig]) -> list[RunConfig]:
    """The measurements of the requests: also the further draws and texts of their protocols."""
    return [part for request in requests for part in expand_request(request)]


def measure_all(configs, warehouse, again: bool = False, engine=None, at_once: bool = False) -> int:
    """Measure one after the other, or all at once where the engine is a cluster. Returns an exit code."""
    begun = N_("Measuring {of} at once") if at_once else N_("Measuring {model} on {text}, {protocol} ({n} of {of})")
    return run_each(configs, warehouse, lambda status: report_end(status, warehouse), begun, engine, again, at_once)


def calibrate(options: argparse.Namespace) -> None:
    from core.geometry.clouds import TABLE
    from core.geometry.estimators import calibrate_gaussian, write_table

    path = options.out or TABLE
    if not path.parent.is_dir():
        raise InputError(no_folder(path.parent))
    with ProgressBar(Sentence("Gaussian clouds")) as bar:
        rows = calibrate_gaussian(lambda done, total: bar.report(Progress("calibrate", done, total)))
    write_table(rows, path)
    tell("{path}: {n} readings", path=path, n=len(rows))


def estimate_all(configs: Sequence[RunConfig], options: argparse.Namespace) -> int:
    """Print one card for each measurement of the expanded requests; exit code 2 if one of them is refused."""
    cards = preflight_cards_from_process(expanded(configs), options.warehouse)
    lines = [line for card in cards for line in ("", *card_lines(card))]
    show_records(options, [asdict(card) for card in cards], lines[1:])
    return 2 if any(card.refusals for card in cards) else 0


def select_engine(options: argparse.Namespace, warehouse):
    """A core.runs.requests.Engine. Raises InputError for options that conflict, or if Ray is not available."""
    if options.engine == "ray":
        from core.runs.ray import engine
        from core.runs.ray.engine import check_ray

        check_ray(options.address)  # before any job is submitted
        return lambda todo, on_progress: engine.run_jobs_on_cluster(todo, warehouse, options.address, on_progress)
    if options.address:
        raise InputError("--address needs --engine ray.")
    return local_engine(warehouse)


def pilot(options: argparse.Namespace) -> int:
    """Exit code 2 if a request was not met; the others are measured all the same."""
    warehouse = options.warehouse
    asked = _load_pilot(options.file, warehouse)
    if options.estimate_only:
        return estimate_all(pilot_requests(asked), options)
    show_terms(model.reference for model in asked.models)
    n_requests = len(pilot_measurements(asked))
    tell(
        "Pilot {name} ({id}): {n} measurement",
        "Pilot {name} ({id}): {n} measurements",
        name=asked.name,
        id=asked.pilot_id,
        n=n_requests,
    )
    n_failed, started = 0, set()

    def on_progress(status) -> None:
        name = _request_text(status.job.config)
        if status.state == "running" and name not in started:  # without a terminal this is the only sign of progress
            started.add(name)
            bar.clear()
            tell("  {name}: begun", name=name)
        bar.follow(status)

    with ProgressBar(asked.name, n_requests) as bar:
        for result in run_pilot(asked, warehouse, select_engine(options, warehouse), on_progress):
            bar.ended()
            name = _request_text(result.config)
            if result.state == "finished":
                suffix = Sentence(" (was there already)") if result.was_known else ""
                tell("  {name}: run {run}{known}", name=name, run=result.run_id, known=suffix)
            else:
                n_failed += 1
                warn("{name}: {state}. {reason}", name=name, state=STATES[result.state], reason=result.reason)
            for note in result.notes:
                warn("{name}: {problem}", name=name, problem=note)
    if n_failed:
        warn("Failed: {n} of {of}. The same command tries again.", n=n_failed, of=n_requests)
    tell("`workdim slides --pilot {id} --out FILE.pptx` writes its slides.", id=asked.pilot_id)
    return 2 if n_failed else 0


def _request_text(config: RunConfig | PlanConfig) -> Sentence:
    return Sentence("{model} on {text}", model=config.model, text=config.corpus)


def _load_pilot(name: str, warehouse):
    """A pilot from a file, or a registered one by its name or id."""
    if name.endswith(".toml") or not exists(warehouse.path):
        return read_pilot(Path(name), protocol_names(), text_names())
    return find_pilot(records(queries.pilots(warehouse), PilotRow), name).pilot


# --- compare: which of several models reads a text best, and may their dimensions be compared? ----------------------------


def compare(options: argparse.Namespace) -> int:
    """What is missing is measured where a text is named; the exit code is that of a measurement that fails."""
    if options.corpus is None:
        warehouse = existing_warehouse(options)
        run_ids = run_question.find_runs(warehouse, options.models)
    else:
        warehouse = options.warehouse
        run_ids, code = _measured(options, warehouse)
        if code:
            return code
    comparison = run_question.ask_comparison(warehouse, run_ids)
    sentence = in_language("en", run_wording.comparison_text, comparison)
    show_records(options, {"sentence": sentence, **as_record(comparison, RECORD)}, comparison_lines(comparison))
    return 0


def _measured(options: argparse.Namespace, warehouse: Warehouse) -> tuple[list[str], int]:
    """The runs of the models on the text, in their order, and the worst exit code; measured together, so that their words are
    the same."""
    if len(dict.fromkeys(options.models)) < 2:
        raise InputError("Two models or more are compared: name another one.")
    request = request_of(RunConfig, options, model="")
    open_text(request)
    show_terms(options.models, warn)
    run_ids: dict[str, None] = {}

    def report(status: JobStatus) -> int:
        if waits := status.result.get("waits"):
            warn(waits)
            return 1
        run_ids[status.result["run_id"]] = None
        remove_job(status.job)
        return 0

    code = run_each(with_readable_companions(request, options.models, warehouse), warehouse, report)
    return list(run_ids), code


def comparison_lines(comparison: Comparison) -> Sequence[str]:
    """The answer, a line for each model, and what may be compared."""
    lines = [run_wording.comparison_text(comparison), ""]
    lines += table_of(comparison.models, run_wording.comparison_columns(comparison))
    notes = run_wording.comparison_note_lines(comparison)
    return [*lines, *([""] if notes else []), *notes]


# --- plan: make a layer plan, list plans, show one, or write one for mergekit ----------------------------------------------


def plan(options: argparse.Namespace) -> int:
    """Exit code 2 if the plan cannot be made, or if mergekit would not make its model."""
    if options.model is None:
        return _show_plans(options)
    budget, unit = _budget_of(options.budget)
    remove = _parse_blocks(options.remove)
    config = plan_request(request_of(PlanConfig, options, budget=budget, budget_unit=unit, remove=remove))
    warehouse = options.warehouse
    estimate = plan_estimate_from_process(config, warehouse)  # what is refused is refused before a job starts
    if options.estimate_only:
        show_records(options, asdict(estimate), [_request_text(config), *estimate_lines(estimate)])
        return 0
    if options.mergekit and not (folder := Path(options.mergekit).absolute().parent).is_dir():
        raise InputError(no_folder(folder))
    if options.engine == "ray" and options.save_model:
        raise InputError(
            "A cluster cannot save here. Plan there without --save-model, then here with --remove and --save-model."
        )
    show_terms([options.model], warn if options.json else say)
    engine = select_engine(options, warehouse)
    if not options.json:
        say(Sentence("Planning {model} on {text}", model=config.model, text=config.corpus), *estimate_lines(estimate))

    def report(status) -> int:
        layer_plan = load_layer_plan(status, warehouse)
        code = 0
        if options.json:
            say_json(plan_record(plan_question.answer_within(layer_plan)))
            remove_job(status.job)
        else:
            code = report_end(status, warehouse)
        return code or _write_recipe(layer_plan, options)

    return run_each([config], warehouse, report, engine=engine)


def _show_plans(options: argparse.Namespace) -> int:
    """Print the existing plans, or one of them."""
    if options.list is None and not options.show:
        raise InputError("Which model? Name one, or see earlier plans with --list and --show PLAN.")
    warehouse = existing_warehouse(options)
    if options.list is not None:
        all_plans = runs.list_plans(warehouse)
        plans = all_plans.filter(pl.col("note") == options.list if options.list else pl.col("note").ne_missing(SHIPPED))
        show_records(options, plans.to_dicts(), plans_table(plans), nothing_yet("plan MODEL --verify"))
        if (n := all_plans.height - plans.height) and not (options.list or options.json):
            tell("Plans that came with Workdim: {n}, `workdim plan --list {tag}`.", n=n, tag=SHIPPED)
        return 0
    answer = plan_question.ask(warehouse, options.show)
    plan = answer.layer_plan.plan
    more = [*sibling_lines(answer.sibling, plan), *readable_lines(answer.readable, plan)]
    show_records(options, plan_record(answer), [*plan_lines(answer.layer_plan), *more])
    return _write_recipe(answer.layer_plan, options)


def _write_recipe(layer_plan: LayerPlan, options: argparse.Namespace) -> int:
    """Write the recipe for mergekit, if it was asked for."""
    if not options.mergekit:
        return 0
    if layer_plan.plan.mergekit is not None:
        warn(sentences(Sentence("No mergekit file was written."), mergekit_reason_text(layer_plan.plan.mergekit)))
        return 2
    recipe = mergekit_recipe(layer_plan, in_language("en", recipe_text, layer_plan)).encode()
    write_out(Path(options.mergekit), recipe, "--mergekit")
    if not options.json:
        tell("{file}: `mergekit-yaml {file} FOLDER` makes the smaller model.", file=options.mergekit)
    return 0


def _parse_blocks(text: str | None) -> tuple[int, ...]:
    """Parse `4,14,17` or `4,14:18`; ranges are half-open like slices: 14 to 17."""
    blocks: list[int] = []
    for part in () if text is None else text.replace(" ", "").split(","):
        found = re.fullmatch(r"([0-9]{1,5})(?::([0-9]{1,5}))?", part)  # no model has 100,000 blocks
        stretch = range(int(found[1]), int(found[2] or int(found[1]) + 1)) if found else ()
        if not stretch:
            raise InputError("--remove takes block numbers from 0, as 4,14,15 or 4,14:16, not '{text}'.", text=text)
        blocks += stretch
    return tuple(blocks)


def _budget_of(text: str) -> tuple[float, str]:
    """Parse a name, `0.05` nats per token, or `2points` of a task's questions. Raises InputError."""
    if text.strip() in BUDGETS:
        return BUDGETS[text.strip()], "nats"
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(nats?|points?)?\s*", text)
    if not found:
        raise InputError(
            "'{text}' is no budget. Write {names}, nats per token (0.05) or points (2points).",
            text=text,
            names=[*BUDGETS],
        )
    return float(found[1]), "points" if (found[2] or "").startswith("point") else "nats"
