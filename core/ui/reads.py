"""What the screens read: the warehouse is opened once for the lists of a page, once for the runs that were chosen.

What is `cached` is kept under the version of the warehouse, so that a write shows at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import polars as pl
import streamlit as st

from core.analysis.ranking import own_runs
from core.files import default_warehouse
from core.pilots.saved import SavedRecipe, SavedRule
from core.questions import ranking_answer
from core.questions.ranking_answer import Answer, answer_question
from core.questions.ranking_question import BY_WORD, Evidence, Population, RankingQuestion, select_population
from core.questions.runs import Selection, load_runs, load_selection, named_texts
from core.records import SHIPPED, LayerPlan
from core.ui import url_state
from core.warehouse import aliases as alias_table
from core.warehouse import people, queries, runs, schema, stored_scores
from core.warehouse.connection import OpenWarehouse
from core.warehouse.warehouse import Warehouse

REFERENCE = "reference"
"""The name in the URL of the choice whether shipped profiles are shown."""
P = ParamSpec("P")
R = TypeVar("R")
_opened: ContextVar[OpenWarehouse | None] = ContextVar("opened", default=None)


@dataclass(frozen=True)
class Lists:
    """The lists that every page begins with."""

    runs: pl.DataFrame
    """All runs, a few columns of each, newest first: `queries.run_list`."""
    pilots: pl.DataFrame
    plans: pl.DataFrame
    """All layer plans, the newest first: `runs.list_plans`."""
    recipes: list[SavedRecipe]
    """Saved reports, the newest first."""
    rules: list[SavedRule]


@dataclass(frozen=True)
class StartData:
    """What the screen Start shows of some runs."""

    runs: pl.DataFrame
    """In the order requested: `queries.runs`."""
    profiles: pl.DataFrame
    """Of these runs, d2 on one point per type: `queries.d2_profiles`."""
    extrema: pl.DataFrame


# --- the warehouse, opened and cached -------------------------------------------------------------------------------


def warehouse() -> Warehouse:
    return _warehouse_at(default_warehouse())


_warehouse_at = functools.cache(Warehouse)


@contextmanager
def _open() -> Iterator[OpenWarehouse]:
    """The open warehouse: whatever is read within shares one opening. Nothing is computed within, as writers wait."""
    if (outer := _opened.get()) is not None:
        yield outer
        return
    with warehouse().open() as opened:
        token = _opened.set(opened)
        try:
            yield opened
        finally:
            _opened.reset(token)


def _read(named_read: Callable[Concatenate[OpenWarehouse, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of one read of the warehouse."""
    with _open() as opened:
        return named_read(opened, *args, **kwargs)


@dataclass(frozen=True)
class _Asked:
    """What one answer is kept under, and what it was asked by."""

    path: Path
    version: tuple
    with_reference: bool
    question: str
    args: tuple = field(compare=False)
    kwargs: dict[str, Any] = field(compare=False)


def cached(max_entries: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep what a function returns for each version of the warehouse, with and without what ships, and each question.

    Frames are not changed in place anywhere, so that all sessions share them: cache_data would copy them at each look.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.lru_cache(max_entries)  # Streamlit's own hashes each question anew, a tenth of the time of a click
        def stored(asked: _Asked) -> R:
            return function(*asked.args, **asked.kwargs)

        @functools.wraps(function)
        def ask(*args: P.args, **kwargs: P.kwargs) -> R:
            current = warehouse()
            question = repr([tuple(one) if isinstance(one, list) else one for one in (*args, *kwargs.items())])
            return stored(_Asked(current.path, current.version(), shows_reference(), question, args, kwargs))

        return ask

    return decorate


def _cached_read(named_read: Callable[Concatenate[OpenWarehouse, P], R], max_entries: int = 4) -> Callable[P, R]:
    return cached(max_entries)(functools.partial(_read, named_read))


def shows_reference() -> bool:
    """Whether the reader shows the profiles that Workdim ships."""
    return bool(st.session_state.get(url_state.key(REFERENCE), True))


# --- lists ------------------------------------------------------------------------------------------------------------


def lists() -> Lists:
    """The lists, without the profiles that Workdim ships where the reader hides them."""
    return _lists(shows_reference())


@cached(4)
def _lists(with_reference: bool) -> Lists:
    with _open() as opened:
        all_runs, plans = queries.run_list(opened), runs.list_plans(opened)
        return Lists(
            named_texts(opened, all_runs if with_reference else own_runs(all_runs)),
            queries.pilots(opened),
            plans if with_reference else plans.filter(pl.col("note").ne_missing(SHIPPED)),
            people.list_recipes(opened),
            people.list_rules(opened),
        )


def has_reference() -> bool:
    """Whether the warehouse holds profiles that Workdim ships."""
    return _lists(True).runs.height > own_runs(_lists(True).runs).height


def own_references() -> list[str]:
    """References of the models measured here, the newest first."""
    return own_runs(_lists(True).runs)["reference"].unique(maintain_order=True).to_list()


def encoder_references() -> list[str]:
    """References of the encoders that are measured here."""
    return _lists(True).runs.filter(kind="encoder")["reference"].unique().to_list()


def own_first(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs measured here, the newest first; then those that Workdim ships, the oldest first, which is the order in
    which they are worth a look."""
    own = own_runs(runs)
    return pl.concat([own, runs.join(own, on="run_id", how="anti", maintain_order="left").reverse()])


score_files = _cached_read(stored_scores.list_imports)
all_scores = _cached_read(queries.scores)
aliases = _cached_read(alias_table.list_aliases)
unmatched_names = _cached_read(stored_scores.unmatched_names)
score_conflicts = _cached_read(stored_scores.score_conflicts)
answer_sets = _cached_read(stored_scores.list_answer_sets)
answers = _cached_read(stored_scores.answers, 8)  # those of a model to all of MMLU are about 2 MB
counts = _cached_read(queries.counts)
readable_losses = _cached_read(runs.readable_losses)
smaller_sibling = _cached_read(runs.smaller_sibling)
stored_costs = _cached_read(runs.stored_costs)
saved_queries = _cached_read(people.list_queries)
plan_outcomes = _cached_read(runs.block_outcomes)
cheapest_plan = _cached_read(runs.cheapest_verified_plan)
tables = _cached_read(schema.list_tables)
rows = _cached_read(queries.rows, 8)
inner_maxima = _cached_read(queries.inner_maxima, 8)
speeds = _cached_read(queries.speeds, 8)
pilot_run_ids = _cached_read(queries.pilot_run_ids, 16)


# --- runs and plans ---------------------------------------------------------------------------------------------------


# A profile of 31 layers is about 3,000 estimate rows and 6,000 rows of layer pairs, below 1 MB together; six of them
# in each of 48 selections stay below 300 MB.
@cached(48)
def selection(run_ids: Sequence[str]) -> Selection:
    """All that is stored of these runs and their controls."""
    with _open() as opened:
        return load_selection(
            opened, run_ids, _lists(True).runs
        )  # a run may have been judged with a control that is hidden


@cached(24)
def start_data(run_ids: Sequence[str]) -> StartData:
    with _open() as opened:
        evidence()  # for the answers on the same screen
        return StartData(
            load_runs(opened, run_ids),
            queries.d2_profiles(opened, run_ids),
            queries.rows(opened, "run_extrema", run_ids),
        )


@cached(8)
def layer_plan(plan_id: str) -> LayerPlan | None:
    """A layer plan, or None where it was deleted."""
    return runs.load_plan(warehouse(), plan_id)


# --- dimension and score ----------------------------------------------------------------------------------------------


@cached(2)
def evidence() -> Evidence:
    """All visible runs on unchanged text, with the scores of their models."""
    return _read(ranking_answer.load_evidence, with_reference=shows_reference())


@cached(2)
def _evidence_by_word() -> Evidence:
    return _read(ranking_answer.with_summaries, evidence())


@cached(64)  # Decide asks one question for each task
def population(question: RankingQuestion) -> Population:
    """The models that a question compares, with their scores."""
    return select_population(_evidence_by_word() if question.cloud == BY_WORD else evidence(), question)


@cached(16)
def answer(question: RankingQuestion) -> Answer:
    """The answer to a question about all of its models, as the verb `rank` gives it."""
    return answer_about(population(question))


@cached(64)
def relation(question: RankingQuestion) -> Answer:
    """As `answer`, where only its relation of dimension and score is shown: the blocks of text, which only the ranks of
    its models need, are not read."""
    return answer_question(population(question))


def answer_about(
    population: Population, full_answer: Answer | None = None, *, is_of_summaries: bool = True, is_brief: bool = False
) -> Answer:
    """The answer about a population; of a part of a population, `full_answer` is the answer about the whole.

    `is_of_summaries`: the dimension is that of the runs' summaries and not of another specification. Only for the
    summaries are the values without each block of text stored. `is_brief`: enough for a sentence, in a fifth of the time.
    """
    blocks, score_blocks = _blocks(population.asked)
    return answer_question(
        population, blocks if is_of_summaries else None, score_blocks, full_answer=full_answer, is_brief=is_brief
    )


@cached(16)
def _blocks(question: RankingQuestion) -> tuple[pl.DataFrame, pl.DataFrame]:
    return _read(ranking_answer.load_blocks, population(question))
