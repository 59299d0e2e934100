"""What an answer about dimension and score rests on, read from the warehouse: the same for screens, verbs, decks.

A screen reads the parts, as its questions share them; who has one question asks it by `ask`.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from core.analysis.ranking import own_runs
from core.pilots.pilot import RegisteredPilot, registered_pilot, shipped_pilot
from core.questions.population import Population, group_key, select_population
from core.questions.ranking_answer import Answer, answer_question, relate_by_specification
from core.questions.ranking_question import BY_WORD, Evidence, RankingQuestion
from core.questions.selection import named_texts, repositories
from core.records import SHIPPED
from core.tables import PilotRow, ids_of, records
from core.warehouse import queries, score_answers
from core.warehouse.connection import Readable
from core.warehouse.warehouse import Warehouse


def load_evidence(warehouse: Readable, *, with_reference: bool = True) -> Evidence:
    """The runs on text with their scores, and the pilots; without `with_reference` no profile that ships with Workdim."""
    runs = queries.ranking(warehouse)
    runs = named_texts(warehouse, runs if with_reference else own_runs(runs))
    return Evidence(
        runs=runs,
        scores=queries.scores(warehouse, repositories(runs)),
        pilots=tuple(registered_pilot(row) for row in records(queries.pilots(warehouse), PilotRow)),
        shipped_pilot=shipped_pilot(),
        import_times=queries.import_times(warehouse),
    )


def with_summaries(warehouse: Readable, evidence: Evidence) -> Evidence:
    """What a question on one point per word needs besides."""
    return replace(evidence, summaries=queries.rows(warehouse, "run_summaries", ids_of(evidence.runs)))


def load_blocks(warehouse: Readable, population: Population) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The values of each model's dimension and score without each block of text and of questions, as `answer_question`
    takes them."""
    return (
        queries.jackknife_blocks(warehouse, population.required_blocks()),
        score_answers.score_blocks(warehouse, population.required_score_blocks()),
    )


def ask_for_report(warehouse: Warehouse, pilot: RegisteredPilot | None, runs: pl.DataFrame) -> tuple[Answer, ...]:
    """What a report of these runs answers: the question of its pilot, or that of the profiles that ship with Workdim where
    it is of nothing else; then the same question on each other text that these models have read. Empty without a question.
    """
    is_shipped = runs.height > 0 and runs["tags"].list.contains(SHIPPED).fill_null(False).all()
    if pilot is None and not is_shipped:
        return ()
    question = RankingQuestion(pilot=pilot)
    answer = ask(warehouse, question, with_specifications=True)
    if pilot is None:
        answered = set(ids_of(answer.population.rows))
        if answer.registration.by != "shipped" or not answered or answered - set(ids_of(runs)):
            return ()
    others = [
        other.group
        for other in answer.population.others
        if set(other.differing_keys) <= {"corpus_id", "n_points"} and "corpus_id" in other.differing_keys
    ]
    return (answer, *(ask(warehouse, replace(question, group=group_key(group))) for group in others))


def ask(warehouse: Warehouse, question: RankingQuestion, *, with_specifications: bool = False) -> Answer:
    """The answer to one question, computed while the warehouse is closed; on request under every specification too, which
    takes several times as long. Raises InputError for an unknown benchmark or family."""
    with warehouse.open() as opened:
        evidence = load_evidence(opened)
        if question.cloud == BY_WORD:
            evidence = with_summaries(opened, evidence)
    population = select_population(evidence, question)
    with warehouse.open() as opened:
        blocks, score_blocks = load_blocks(opened, population)
        if with_specifications:
            maxima = queries.inner_maxima(opened, ids_of(population.rows))
    answer = answer_question(population, blocks, score_blocks)
    if not with_specifications:
        return answer
    return replace(answer, specifications=relate_by_specification(population, maxima))
