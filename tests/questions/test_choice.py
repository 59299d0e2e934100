"""Among which runs a choice is made."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from core.analysis.criteria import ChoiceContext, choice_context, resolve_criterion
from core.pilots.saved import Assumptions, Criterion
from core.questions.choice import (
    DEFAULT_WEIGHTS,
    RECORD,
    Missing,
    PilotChoice,
    all_models,
    choose_pilot,
    judged,
    offer_criteria,
    one_run_each,
)
from core.questions.ranking_question import Evidence
from core.questions.record import as_record
from core.records import DAMAGED, EARLIER, SHIPPED
from core.wording import decisions as decision_wording
from tests import frames
from tests.analysis.test_criteria import SPEEDS


def test_among_all_models_a_checkpoint_on_the_way_and_a_ruin_are_none() -> None:
    tags = {"a": [], "b": [SHIPPED], "early": [SHIPPED, EARLIER], "ruin": [SHIPPED, DAMAGED]}
    runs = frames.runs(*map(frames.Model, tags)).with_columns(tags=pl.Series(list(tags.values()), dtype=pl.List(str)))
    assert all_models(Evidence(runs, frames.scores()))["name"].sort().to_list() == ["a", "b"]


def test_each_model_is_taken_on_the_newest_text_that_all_have_read() -> None:
    read = [("a", "new", "quick"), ("a", "old", "long"), ("a", "old", "quick"), ("b", "old", "quick")]  # newest first
    runs = pl.DataFrame(read, ("model_id", "corpus_id", "protocol_hash"), orient="row")
    assert one_run_each(runs).rows() == read[2:], "by one protocol, as losses of two do not compare"
    assert one_run_each(runs[[0, 1, 3]]).rows() == [read[1], read[3]]
    assert one_run_each(runs[[0, 3]]).rows() == [read[0], read[3]]


LOSSES = {"a": (1.0, 10), "b": (1.2, 20), "c": (1.4, 30)}
"""Bits per byte and parameters: `a` is better in both."""


def context(losses=None, *scores) -> ChoiceContext:
    losses = losses or LOSSES
    runs = frames.runs(*map(frames.Model, losses)).with_columns(
        bits_per_byte=pl.Series([loss for loss, _n in losses.values()], dtype=pl.Float64),
        parameters=pl.Series([n * 10**6 for _loss, n in losses.values()]),
    )
    known = [(run_id, loss) for run_id, (loss, _n) in zip(runs["run_id"], losses.values(), strict=True) if loss]
    schema = {"run_id": pl.String, "sequence": pl.Int64, "document": pl.Int64, "bits": pl.Float64, "n_bytes": pl.Int64}
    windows = [  # documents of 1 to 1.9 times the bits, for all models alike, and 1 percent that are each model's own
        (run_id, n, n, 100 * loss * (1 + 0.1 * (n % 10)) + ((n * (i + 3)) % 7 - 3) / 3, 145)
        for i, (run_id, loss) in enumerate(known)
        for n in range(40)
    ]
    found = choice_context(runs, frames.scores(*scores), SPEEDS.clear(), Assumptions(), comparable=False)
    return found.with_windows(pl.DataFrame(windows, schema, orient="row"))


def answer(of: ChoiceContext, use_class: str = "general", asked: str | None = None, missing=()) -> PilotChoice:
    benchmark = None
    if asked:
        benchmark = next(row for row in of.benchmarks.to_dicts() if row["benchmark"] == asked)
    available, default = offer_criteria(of, benchmark, use_class=use_class)
    criteria = [
        resolve_criterion(Criterion(one.criterion.of, weight=DEFAULT_WEIGHTS[one.criterion.of]), of, one.benchmark)
        for one in (available[key] for key in default)
    ]
    return choose_pilot(of, criteria, use_class, asked=benchmark, missing=missing)


def scored(**values):
    return [frames.score(f"hub:{name}", value, std_error=0.5) for name, value in values.items()]


def test_without_scores_the_loss_on_the_text_decides_and_what_is_missing_is_named() -> None:
    found = answer(context())
    assert (found.word, found.model.name, found.share, found.is_dominant) == ("choice", "a", 1.0, True)
    assert [one.model for one in found.missing] == ["a", "b", "c"] and {one.what for one in found.missing} == {"score"}
    assert "surely no worse" in decision_wording.pilot_text(found)
    assert "scores import FILE" in decision_wording.missing_lines(found)[0]


def test_a_score_that_one_model_lacks_is_no_criterion_and_who_lacks_it_is_told() -> None:
    of = context(None, *scored(b=70, c=60))
    found = answer(of)
    assert (found.word, found.model.name) == ("choice", "a")
    assert [(one.model, one.benchmark) for one in found.missing] == [("a", None)], "nobody asked for a benchmark"
    asked = answer(of, asked="arc_easy")
    assert (asked.word, asked.model.name) == ("leads", "a"), "the score was asked for, and not all have it"
    told = decision_wording.pilot_text(asked)
    assert "No choice yet" in told and "No score in arc_easy" in decision_wording.missing_lines(asked)[0]


def test_where_no_score_was_named_the_loss_on_one_text_decides_and_else_all_scores_alike() -> None:
    fast = [frames.score(f"hub:{name}", value, benchmark="a_minute") for name, value in (("a", 1), ("b", 2), ("c", 3))]
    good = [
        frames.score(f"hub:{name}", value, benchmark=benchmark)
        for benchmark in ("quality", "tickets")
        for name, value in (("a", 30), ("b", 20), ("c", 10))
    ]
    of = context(None, *fast, *good)
    by_loss = answer(of)
    assert (by_loss.model.name, by_loss.decides) == ("a", "bits_per_byte")
    assert as_record(by_loss, RECORD)["decides"] == "bits_per_byte"
    assert decision_wording.pilot_text(by_loss).startswith("By bits per byte: a")
    apart = replace(of, runs=of.runs.with_columns(corpus_id=pl.Series(["one", "other", "one"])))
    by_scores = answer(apart)
    shares = {one.key.split("~")[1]: one.share for one in by_scores.choice.decision.criteria if one.benchmark}
    assert len(shares) == 3 and len(set(shares.values())) == 1, "none is first by its name"
    assert (by_scores.model.name, answer(apart, "safety_critical").model.name) == ("a", "a")


def test_a_score_that_all_have_decides_and_near_ones_cannot_be_told_apart() -> None:
    of = context(None, *scored(a=50, b=60, c=80))
    asked = answer(of, asked="arc_easy")
    assert asked.model.name == "c" and asked.decides.startswith("score~arc_easy")
    even = {name: (None, 10) for name in "ab"}
    near = answer(context(even, *scored(a=50.0, b=50.05)))
    assert near.word in ("leads", "cannot_tell") and near.share < 0.8
    unknown = answer(context(even, *(frames.score(f"hub:{name}", value) for name, value in (("a", 50), ("b", 60)))))
    assert (unknown.word, unknown.share) == ("leads", None), "no error is known: nobody can say in how many draws"
    said = decision_wording.pilot_text(unknown), *decision_wording.note_lines(unknown.choice.decision)
    assert " ".join(said).count("error") == 1, "it is told once"
    undirected = context(even, *(frames.score(f"hub:{name}", 50.0, higher_is_better=None) for name in "ab"))
    asked = answer(undirected, asked="arc_easy")
    assert (asked.word, asked.refusal) == ("no_choice", "no_criterion"), "the smallest alone is no choice"
    assert "the column higher_is_better" in " ".join(decision_wording.missing_lines(asked))
    assert answer(undirected, "safety_critical").missing == asked.missing
    alone = answer(context({"a": (1.0, 10)}))
    assert not alone.is_dominant, "there is nothing that it is better than"


def test_where_a_wrong_answer_does_harm_only_a_score_supports_and_what_is_untested_is_named() -> None:
    found = answer(context(), "safety_critical")
    assert (found.word, found.model, found.share) == ("no_choice", None, None)
    assert found.refusal == "no_task_score" and "none is shared" in decision_wording.pilot_text(found)
    with_score = answer(context(None, *scored(a=50, b=60, c=80)), "safety_critical")
    assert (with_score.word, with_score.model.name) == ("leads", "c")
    assert [one.criterion.of for one in with_score.choice.decision.criteria if one.criterion.weight] == ["score"]
    assert with_score.untested == ("own_task", "one_text", "harm")
    (untested,) = decision_wording.untested_lines(with_score)
    assert untested.startswith("Untested: a task of your own;") and untested.endswith("how often an answer does harm.")
    assert judged(with_score.choice, "safety_critical").untested == with_score.untested, "of a saved rule too"


def test_a_model_that_was_not_measured_keeps_the_answer_open() -> None:
    found = answer(context(), missing=[Missing("d", "run")])
    assert (found.word, found.model.name) == ("leads", "a")
    assert any(line.startswith("Not measured: d.") for line in decision_wording.missing_lines(found))
    encoders = {name: (None, n) for name, n in (("a", 10), ("b", 20))}
    nothing = answer(context(encoders))
    assert (nothing.word, nothing.refusal) == ("no_choice", "no_criterion")
    of = context(encoders)
    mixed = context({"a": (1.0, 10), "b": (None, 20)})
    assert "Encoders have no loss: b." in " ".join(decision_wording.missing_lines(answer(mixed)))
    apart = replace(of, runs=of.runs.with_columns(corpus_id=pl.Series(["one", "other"])))
    assert "compare MODEL MODEL --text FILE" in " ".join(decision_wording.missing_lines(answer(apart)))
    of = replace(of, runs=of.runs.with_columns(kind=pl.lit("encoder")))
    assert len(decision_wording.missing_lines(answer(of))) == 1
