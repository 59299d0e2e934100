"""The verb plan: make a layer plan, list plans, show one, or write one for mergekit."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path

import polars as pl

from core.analysis.plans import mergekit_recipe
from core.commands.context import existing_warehouse, selected_warehouse, show_records, warn, write_out
from core.commands.jobs import report_end, report_unfinished, request_of, run_each
from core.commands.measure import select_engine, show_terms
from core.errors import InputError, Sentence, nothing_yet, sentences
from core.files import no_folder
from core.locale import in_language
from core.questions import plan as plan_question
from core.records import BUDGETS, SHIPPED, LayerPlan, PlanConfig
from core.runs.estimates import plan_estimate_from_process
from core.runs.execution import load_layer_plan
from core.runs.jobs import remove_job
from core.runs.requests import with_task_hash
from core.terminal.output import say, say_json, tell
from core.terminal.tables import plan_lines, plan_record, plans_table
from core.warehouse import runs
from core.wording.plans import estimate_lines, mergekit_reason_text, readable_lines, recipe_text, sibling_lines


def plan(options: argparse.Namespace) -> int:
    """Exit code 2 if the plan cannot be made, or if mergekit would not make its model."""
    if options.model is None:
        return _show_plans(options)
    budget, unit = _budget_of(options.budget)
    remove = _parse_blocks(options.remove)
    config = with_task_hash(request_of(PlanConfig, options, budget=budget, budget_unit=unit, remove=remove))
    warehouse = selected_warehouse(options)
    title = Sentence("{model} on {text}", model=config.model, text=config.corpus)
    if options.estimate_only:
        estimate = plan_estimate_from_process(config, warehouse)
        show_records(options, asdict(estimate), lambda: [title, *estimate_lines(estimate)])
        return 0
    if options.mergekit and not (folder := Path(options.mergekit).absolute().parent).is_dir():
        raise InputError(no_folder(folder))
    if options.engine == "ray" and options.save_model:
        raise InputError(
            "A cluster cannot save here. Plan there without --save-model, then here with --remove and --save-model."
        )
    show_terms([options.model], warn if options.json else say)
    engine = select_engine(options, warehouse)
    estimate = plan_estimate_from_process(config, warehouse)  # what is refused is refused before a job starts
    if not options.json:
        planning_now = Sentence("Planning {model} on {text}", model=config.model, text=config.corpus)
        say(planning_now, *estimate_lines(estimate))

    def report(status) -> int:
        if status.state != "finished":
            return report_unfinished(status)
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
        show_records(options, plans.to_dicts(), lambda: plans_table(plans), nothing_yet("plan MODEL --verify"))
        if (n := all_plans.height - plans.height) and not (options.list or options.json):
            tell("Plans that came with Workdim: {n}, `workdim plan --list {tag}`.", n=n, tag=SHIPPED)
        return 0
    answer = plan_question.ask(warehouse, options.show)
    plan = answer.layer_plan.plan
    more = [*sibling_lines(answer.sibling, plan), *readable_lines(answer.readable, plan)]
    show_records(options, plan_record(answer), lambda: [*plan_lines(answer.layer_plan), *more])
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
            raise InputError(
                "--remove takes block numbers from 0, as 4,14,15 or, for the same, 4,14:16, not '{text}'.", text=text
            )
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
