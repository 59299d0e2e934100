"""The verb rules: save selection rules, apply them, and compare their choices with what came of them."""

from __future__ import annotations

import argparse
import secrets
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.commands.context import confirm, existing_warehouse, selected_warehouse
from core.errors import InputError, Sentence
from core.locale import in_language
from core.records import matching_ids
from core.terminal.output import heads, say, say_json
from core.terminal.tables import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.analysis.decision import Decision
    from core.pilots.rule import Rule, SavedRule
    from core.tables import RuleChoiceRow


OUTCOMES = {"right": Sentence("right"), "wrong": Sentence("wrong"), None: Sentence("not known")}


def list_saved(options: argparse.Namespace) -> int:
    from core.analysis.rule_record import track_record
    from core.pilots.rule import find_rule, to_toml
    from core.warehouse.rules import list_rules
    from core.wording import decisions as decision_wording

    saved = list_rules(existing_warehouse(options))
    if options.rule is not None:
        saved_rule = find_rule(saved, options.rule)
        if options.json:
            say_json(_as_json(saved_rule))
        else:
            say(*to_toml(saved_rule.rule).splitlines())
        return 0
    if options.json:
        say_json([_as_json(saved_rule) for saved_rule in saved])
    elif not saved:
        say(Sentence("No rule is saved yet: workdim rules save FILE.toml"))
    else:
        rows = [
            (
                saved_rule.rule_id,
                decision_wording.rule_name(saved_rule),
                decision_wording.track_record_text(track_record(saved_rule.choices)),
                decision_wording.task_name(saved_rule.rule.task),
                decision_wording.rule_text(saved_rule.rule),
            )
            for saved_rule in saved
        ]
        say(*table(heads("rule", "name", "was right", "learned on", "criteria"), rows, ("criteria", "learned on")))
        choices = [
            (
                choice.choice_id,
                saved_rule.rule_id,
                decision_wording.choice_text(choice),
                choice.task or "-",
                OUTCOMES[choice.outcome],
            )
            for saved_rule in saved
            for choice in saved_rule.choices
        ]
        if choices:
            say("", *table(heads("choice", "rule", "chose", "task", "outcome"), choices, ("task",)))
    return 0


def save(options: argparse.Namespace) -> int:
    from core.pilots.rule import read_rule
    from core.warehouse import rules
    from core.wording import decisions as decision_wording

    rule = read_rule(options.file)
    saved = rules.save_rule(selected_warehouse(options), rule)
    if options.json:
        say_json(_as_json(saved))
    else:
        say(f"{decision_wording.rule_name(saved)}, {saved.rule_id}: {decision_wording.rule_text(rule)}")
    return 0


def apply(options: argparse.Namespace) -> int:
    from core.analysis.rule_record import record_choice
    from core.pilots.rule import TaskName, find_rule
    from core.questions import choice as choice_question
    from core.warehouse import rules
    from core.wording import decisions as decision_wording

    if options.metric and not options.benchmark:
        raise InputError("--metric needs the benchmark that it is of: add --benchmark NAME.")
    warehouse = existing_warehouse(options)
    saved = find_rule(rules.list_rules(warehouse), options.rule)
    rule = saved.rule
    task_name = TaskName(options.benchmark, options.metric) if options.benchmark else rule.task
    choice = choice_question.ask(warehouse, choice_question.ChoiceQuestion(rule, task_name, among_all=options.all))
    decision, task = choice.decision, choice.task
    choice_row = record_choice(rule, decision, task, secrets.token_hex(6), datetime.now(UTC).replace(tzinfo=None))
    if not options.dry_run:
        rules.add_choice(warehouse, choice_row)
    if options.json:
        say_json(_decision_json(saved, decision, choice_row, task) | {"kept": not options.dry_run})
        return 0
    task_note = decision_wording.other_task_text(rule, task)
    remarks = [*([task_note] if task_note else []), *decision_wording.note_lines(decision)]
    say(decision_wording.decision_text(decision, rule.assumptions.bits), *(f"  {line}" for line in remarks))
    rows = [
        (candidate.name, f"{total:.3f}", decision_wording.pareto_text(standing, decision), *_cells(decision, n, rule))
        for n, (candidate, total, standing) in enumerate(
            zip(decision.candidates, decision.totals, decision.pareto, strict=True)
        )
    ]
    criteria = [
        f"{decision_wording.criterion_name(criterion, rule.assumptions.bits)} {decision_wording.share_text(criterion.share)}"
        for criterion in decision.criteria
    ]
    if rows:
        say("", *table([*heads("model", "mean", "among all"), *criteria], rows))
    lines = [
        Sentence("left out: {what}", what=decision_wording.exclusion_text(excluded, decision, rule.assumptions))
        for excluded in decision.excluded
    ]
    if not options.dry_run:
        lines.append(
            Sentence("Kept as choice {id}: `workdim rules outcome {id} right`, or wrong", id=choice_row.choice_id)
        )
    if lines:
        say("", *lines)
    return 0


def outcome(options: argparse.Namespace) -> int:
    from core.analysis.rule_record import track_record
    from core.warehouse import rules
    from core.wording import decisions as decision_wording

    warehouse = existing_warehouse(options)
    by_id = {choice.choice_id: (saved, choice) for saved in rules.list_rules(warehouse) for choice in saved.choices}
    matches = [by_id[choice_id] for choice_id in matching_ids(by_id, options.choice)]
    if len(matches) != 1:
        raise InputError(
            "{n_found} choices begin or end with '{choice}'. `workdim rules list` lists them.",
            n_found=len(matches),
            choice=options.choice,
        )
    ((saved, choice),) = matches
    verdict = None if options.outcome == "unknown" else options.outcome
    row = rules.set_outcome(warehouse, saved.rule_id, choice.choice_id, verdict, options.note)
    if options.json:
        say_json(asdict(row))
    else:
        after = [row if choice.choice_id == row.choice_id else choice for choice in saved.choices]
        say(f"{decision_wording.rule_name(saved)}: {decision_wording.track_record_text(track_record(after))}")
    return 0


def delete(options: argparse.Namespace) -> int:
    from core.pilots.rule import find_rule
    from core.warehouse import rules
    from core.wording import decisions as decision_wording

    warehouse = existing_warehouse(options)
    saved = find_rule(rules.list_rules(warehouse), options.rule)
    name = decision_wording.rule_name(saved)
    question = Sentence(
        "Forget {name} with its {n} choice?", "Forget {name} with its {n} choices?", name=name, n=len(saved.choices)
    )
    if not confirm(question, options.yes):
        say(Sentence("Nothing was deleted."))
        return 0
    rules.delete_rule(warehouse, saved.rule_id)
    if options.json:
        say_json({"rule_id": saved.rule_id, "deleted": True})
    else:
        say(Sentence("{name} is forgotten.", name=name))
    return 0


def _cells(decision: Decision, row: int, rule: Rule) -> list[str]:
    from core.wording import decisions as decision_wording

    readings = decision.candidates[row].values
    return [
        decision_wording.interval_text(criterion.criterion.of, readings[k], rule.assumptions)
        for k, criterion in enumerate(decision.criteria)
    ]


def _as_json(saved: SavedRule) -> dict[str, Any]:
    from core.analysis.rule_record import track_record

    return {
        "rule_id": saved.rule_id,
        "version": saved.version,
        "saved_at": saved.at,
        "rule": asdict(saved.rule),
        "record": asdict(track_record(saved.choices)),
        "choices": [asdict(choice) for choice in saved.choices],
    }


def _decision_json(
    saved: SavedRule, decision: Decision, choice: RuleChoiceRow, task: Mapping[str, Any] | None
) -> dict[str, Any]:
    from core.wording import decisions as decision_wording

    change = decision.nearest_change
    return {
        "answer": in_language("en", decision_wording.decision_text, decision, saved.rule.assumptions.bits),
        "standing": decision.standing,
        "rule_id": saved.rule_id,
        "version": saved.version,
        "learned_on": asdict(saved.rule.task) if saved.rule.task else None,
        "task": None if task is None else {key: task[key] for key in ("benchmark", "metric", "filter", "n_shot")},
        "choice": asdict(choice),
        "weights": {criterion.key: criterion.share for criterion in decision.criteria},
        "weighs_nothing": {
            criterion.key: criterion.muted_reason for criterion in decision.criteria if criterion.muted_reason
        },
        "changes": None
        if change is None
        else {
            "criterion": decision.criteria[change.criterion].key,
            "weight": change.share,
            "at": change.new_share,
            "then": decision_wording.model_name(decision, change.run_id),
        },
        "models": [
            {
                "model": candidate.name,
                "model_id": candidate.model_id,
                "run_id": candidate.run_id,
                "mean": total,
                "standing": standing.status,
                "dominated_by": [decision_wording.model_name(decision, run_id) for run_id in standing.dominated_by],
            }
            for candidate, total, standing in zip(decision.candidates, decision.totals, decision.pareto, strict=True)
        ],
        "left_out": [
            {
                "model": excluded.candidate.name,
                "why": excluded.reason,
                "criterion": decision.criteria[excluded.criterion].key,
            }
            for excluded in decision.excluded
        ],
    }
