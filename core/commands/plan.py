"""The verb plan: make a layer plan, list plans, show one, or write one for mergekit."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path

from core.commands.context import existing_warehouse, selected_warehouse, warn
from core.commands.jobs import report_end, report_unfinished, run_job
from core.commands.measure import select_engine, show_terms
from core.errors import InputError, Sentence, sentences
from core.locale import in_language
from core.records import PlanConfig, bytes_of
from core.terminal.output import say, say_json


def plan(options: argparse.Namespace) -> int:
    """Exit code 2 if the plan cannot be made, or if mergekit would not make its model."""
    if options.model is None:
        return _show_plans(options)
    from core.questions.plan import answer_within
    from core.runs.estimates import plan_estimate_from_process
    from core.runs.execution import load_layer_plan
    from core.runs.jobs import remove_job, submit
    from core.runs.recovery import recover
    from core.runs.requests import with_task_hash
    from core.terminal.tables import plan_record
    from core.wording.plans import estimate_lines

    budget, unit = _budget_of(options.budget)
    config = with_task_hash(
        PlanConfig(
            options.model,
            options.corpus,
            budget,
            unit,
            options.blocks,
            _parse_blocks(options.remove),
            options.task,
            verify=options.verify,
            heal=options.heal,
            directions=options.directions,
            save_model=options.save_model,
            column=options.column,
            encoding=options.encoding,
            chat=options.chat,
            seed=options.seed,
            dtype=options.dtype,
            device=options.device,
            memory_budget=bytes_of(options.memory_budget),
        )
    )
    if options.estimate_only:
        return _estimate(config, options)
    if options.mergekit and not (folder := Path(options.mergekit).absolute().parent).is_dir():
        raise InputError("There is no folder {parent}. Make it, or name another file with --mergekit.", parent=folder)
    if options.engine == "ray" and options.save_model:
        raise InputError(
            "A model that is planned on a cluster would be saved on another machine. Plan it there without --save-model, "
            "then save it here: --remove with the blocks, and --save-model."
        )
    show_terms([options.model], warn if options.json else say)
    warehouse = selected_warehouse(options)
    engine = select_engine(options, warehouse)
    warehouse.prepare()
    recover(warehouse)
    if not options.json:
        planning_now = Sentence("Planning {model} on {text}", model=config.model, text=config.corpus)
        say(planning_now, *estimate_lines(plan_estimate_from_process(config, warehouse)))
    status = run_job(submit(config, warehouse), warehouse, engine)
    if status.state != "finished":
        return report_unfinished(status)
    layer_plan = load_layer_plan(status, warehouse)
    if options.json:
        say_json(plan_record(answer_within(layer_plan)))
        remove_job(status.job)
        code = 0
    else:
        code = report_end(status, warehouse)
    return _write_recipe(layer_plan, options) if options.mergekit else code


def _estimate(config: PlanConfig, options: argparse.Namespace) -> int:
    from core.runs.estimates import plan_estimate_from_process
    from core.wording.plans import estimate_lines

    estimate = plan_estimate_from_process(config, selected_warehouse(options))
    if options.json:
        say_json(asdict(estimate))
    else:
        title = Sentence("{model} on {text}", model=config.model, text=config.corpus)
        say(title, *estimate_lines(estimate))
    return 0


def _show_plans(options: argparse.Namespace) -> int:
    """Print the existing plans."""
    from core.questions.plan import ask
    from core.terminal.tables import plan_lines, plan_record, plans_table
    from core.warehouse import layer_plans

    if not (options.list or options.show):
        raise InputError("Which model is to be planned? Name one, or look at earlier plans: --list, --show PLAN.")
    warehouse = existing_warehouse(options)
    if options.list:
        plans = layer_plans.list_plans(warehouse)
        if options.json:
            say_json(plans.to_dicts())
        elif plans.is_empty():
            say(Sentence("No plans yet: workdim plan MODEL --verify"))
        else:
            say(*plans_table(plans))
        return 0
    answer = ask(warehouse, options.show)
    if options.json:
        say_json(plan_record(answer))
    else:
        say(*plan_lines(answer.layer_plan))
    return _write_recipe(answer.layer_plan, options) if options.mergekit else 0


def _write_recipe(layer_plan, options: argparse.Namespace) -> int:
    from core.analysis.plans import mergekit_recipe
    from core.commands.context import write_out
    from core.wording.plans import mergekit_reason_text, plan_text

    if layer_plan.plan.mergekit is not None:
        warn(sentences(Sentence("No recipe was written."), mergekit_reason_text(layer_plan.plan.mergekit)))
        return 2
    recipe = mergekit_recipe(layer_plan, in_language("en", plan_text, layer_plan.plan)).encode()
    write_out(Path(options.mergekit), recipe, "--mergekit")
    if not options.json:
        say(Sentence("{file}: `mergekit-yaml {file} FOLDER` makes the smaller model.", file=options.mergekit))
    return 0


def _parse_blocks(text: str | None) -> tuple[int, ...]:
    """Parse `4,14,17` or `4,14:18`; ranges are half-open like slices: 14 to 17."""
    blocks: list[int] = []
    for part in () if text is None else text.replace(" ", "").split(","):
        found = re.fullmatch(r"([0-9]{1,5})(?::([0-9]{1,5}))?", part)  # no model has 100,000 blocks
        stretch = range(int(found[1]), int(found[2] or int(found[1]) + 1)) if found else ()
        if not stretch:
            raise InputError(
                "--remove takes numbers of blocks, counted from 0, as 4,14,15, or half-open as 4,14:16: not '{text}'.",
                text=text,
            )
        blocks += stretch
    return tuple(blocks)


def _budget_of(text: str) -> tuple[float, str]:
    """Parse `0.05` nats per token, or `2points` of a task's questions. Raises InputError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(nats?|points?)?\s*", text)
    if not found:
        raise InputError(
            "'{text}' is no budget. Write nats per token, for example 0.05, or 2points of a task.", text=text
        )
    return float(found[1]), "points" if (found[2] or "").startswith("point") else "nats"
