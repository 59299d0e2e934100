"""What the screens read: the warehouse is opened once for the lists of a page, once for the runs that were chosen.

Every read is cached under the version of the warehouse, so that a write shows at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from core.analysis import differences
from core.analysis.ranking import own_runs
from core.files import default_warehouse
from core.pilots.recipe import SavedRecipe
from core.pilots.rule import SavedRule
from core.questions.evidence import load_blocks, load_evidence, named_texts, repositories
from core.questions.population import Population
from core.questions.population import select_population as population_of
from core.questions.ranking_answer import Answer
from core.questions.ranking_answer import answer_question as answer_of
from core.questions.ranking_question import BY_WORD, Evidence, RankingQuestion
from core.records import SHIPPED, LayerPlan
from core.tables import PlanOutcomeRow, SavedQueryRow
from core.ui import url_state
from core.warehouse import aliases as alias_table
from core.warehouse import layer_plans, queries, recipes, reference, rules, schema, score_answers, score_imports
from core.warehouse.connection import Readable
from core.warehouse.runs import run_records
from core.warehouse.saved_queries import list_queries
from core.warehouse.warehouse import PendingResult, Warehouse

_log = logging.getLogger("workdim")
N_NEWEST = 20
"""Runs that the table of the home screen shows."""
_WHOLE_TABLES: dict[str, Callable[..., Any]] = {
    "tables": schema.list_tables,
    "saved queries": list_queries,
    "score files": score_imports.list_imports,
    "aliases": alias_table.list_aliases,
    "unmatched names": score_answers.unmatched_names,
    "score conflicts": score_answers.score_conflicts,
    "answer sets": score_answers.list_answer_sets,
    "durations": queries.durations,
    "plan outcomes": layer_plans.block_outcomes,
}


@dataclass(frozen=True)
class Lists:
    """The lists that every page begins with."""

    runs: pl.DataFrame
    """All runs, a few columns of each, newest first: `queries.run_list`."""
    pilots: pl.DataFrame
    plans: pl.DataFrame
    """All layer plans, the newest first: `layer_plans.list_plans`."""
    recipes: list[SavedRecipe]
    """Saved reports, the newest first."""
    counts: dict[str, int]
    """Numbers of runs, models, corpora, estimates and scores."""


@dataclass(frozen=True)
class Selection:
    """All that is stored of the chosen runs, and of the control passes of those on text."""

    runs: pl.DataFrame
    """In the order of choice; unknown ids are left out."""
    controls: pl.DataFrame
    estimates: pl.DataFrame
    """Of the runs and their controls, as correlators, checks, summaries and windows."""
    correlators: pl.DataFrame
    checks: pl.DataFrame
    summaries: pl.DataFrame
    pairs: pl.DataFrame
    """Of the runs alone, as everything below but the windows."""
    distributions: pl.DataFrame
    records: pl.DataFrame
    """Every stored field, in the order of the runs."""
    scores: pl.DataFrame
    claims: pl.DataFrame
    extrema: pl.DataFrame
    against_controls: pl.DataFrame
    """What each control says about its run on text: rows of run_controls."""
    windows: pl.DataFrame
    """Rows of run_windows."""

    @cached_property
    def with_controls(self) -> pl.DataFrame:
        return pl.concat([self.runs, self.controls])

    def of_runs(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of a table without those of the controls."""
        return rows.filter(pl.col("run_id").is_in(self.runs["run_id"].to_list()))


@dataclass(frozen=True)
class HomeData:
    """What the home screen shows: the runs of the gallery, and the newest runs."""

    runs: pl.DataFrame
    """Of the gallery, in the order requested."""
    profiles: pl.DataFrame
    """Of these runs, d2 on one point per type: `queries.d2_profiles`."""
    extrema: pl.DataFrame
    latest: pl.DataFrame
    """The newest runs on text: `queries.runs`."""
    saving: LayerPlan | None
    """The cheapest verified plan: `layer_plans.cheapest_verified_plan`."""


@dataclass(frozen=True)
class DecisionInputs:
    """What a choice between models needs besides the ranking."""

    speeds: pl.DataFrame
    """How fast the models read: `queries.speeds`."""
    rules: list[SavedRule]


def warehouse() -> Warehouse:
    return Warehouse(default_warehouse())


def _current() -> tuple[Path, tuple]:
    """The warehouse and its version, the key of every cached read."""
    return warehouse().path, warehouse().version()


def apply_pending() -> PendingResult:
    """Add measurements that ended while the warehouse was locked."""
    return warehouse().try_apply_pending()


def lists() -> Lists:
    """The lists, without the profiles that Workdim ships where the reader hides them."""
    return _lists(*_current(), shows_reference())


REFERENCE = "reference"
"""The name in the URL of the choice whether shipped profiles are shown."""


def shows_reference() -> bool:
    """Whether the reader shows the profiles that Workdim ships."""
    return bool(st.session_state.get(url_state.key(REFERENCE), True))


def has_reference() -> bool:
    """Whether the warehouse holds profiles that Workdim ships."""
    return _all_lists().runs.height > own_runs(_all_lists().runs).height


def has_own_runs() -> bool:
    """Whether the warehouse holds runs that were measured or imported here."""
    return not own_runs(_all_lists().runs).is_empty()


def add_reference() -> None:
    """Add the profiles that Workdim ships, also those that were removed."""
    reference.add_all_profiles(warehouse(), _log.warning)


def _all_lists() -> Lists:
    return _lists(*_current(), True)


def own_first(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs measured here, the newest first; then those that Workdim ships, the oldest first, which is the order in
    which they are worth a look."""
    own = own_runs(runs)
    return pl.concat([own, runs.join(own, on="run_id", how="anti", maintain_order="left").reverse()])


def selection(run_ids: Sequence[str]) -> Selection:
    """All that is stored of these runs and their controls."""
    return _selection(*_current(), tuple(run_ids))


def ranking() -> pl.DataFrame:
    """All visible runs on unchanged text with the columns of a comparison: `queries.ranking`."""
    return _visible_evidence().runs


def home_data(run_ids: Sequence[str], texts: pl.DataFrame) -> HomeData:
    """What the home screen shows of these runs, and of the newest of `texts`, rows of `Lists.runs`."""
    newest = texts["run_id"].head(N_NEWEST).to_list()
    return _home_data(*_current(), tuple(run_ids), tuple(newest), shows_reference())


def population(question: RankingQuestion) -> Population:
    """The models that a question compares, with their scores."""
    return _population(*_current(), _question_key(question), question)


def answer(question: RankingQuestion) -> Answer:
    """The answer to a question about all of its models, as the verb `rank` gives it."""
    return _answer(*_current(), _question_key(question), question)


def relation(question: RankingQuestion) -> Answer:
    """As `answer`, where only its relation of dimension and score is shown: the blocks of text, which only the ranks of
    its models need, are not read."""
    return _relation(*_current(), _question_key(question), question)


def answer_about(
    population: Population, full_answer: Answer | None = None, *, is_of_summaries: bool = True, is_brief: bool = False
) -> Answer:
    """The answer about a population; of a part of a population, `full_answer` is the answer about the whole.

    `is_of_summaries`: the dimension is that of the runs' summaries and not of another specification. Only for the
    summaries are the values without each block of text stored. `is_brief`: enough for a sentence, in a fifth of the time.
    """
    blocks, score_blocks = _blocks(*_current(), _question_key(population.asked), population.asked)
    return answer_of(
        population, blocks if is_of_summaries else None, score_blocks, full_answer=full_answer, is_brief=is_brief
    )


def scores() -> pl.DataFrame:
    """The scores of all visible models."""
    return _visible_evidence().scores


def _visible_evidence() -> Evidence:
    return _evidence(*_current(), shows_reference())


def decision_inputs(run_ids: Sequence[str]) -> DecisionInputs:
    """What a choice between the models of these runs needs besides the ranking."""
    return _decision_inputs(*_current(), tuple(run_ids))


def replicates(run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of layer_replicates: the values without each block of text, by which two runs are compared."""
    return _replicates(*_current(), tuple(run_ids))


def inner_maxima(run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of `queries.inner_maxima`: the dimension of each run under each specification."""
    return _inner_maxima(*_current(), tuple(run_ids))


def _question_key(question: RankingQuestion) -> str:
    """The cache key of a question: its fields, the pilot by its id, and whether shipped profiles are visible."""
    pilot = question.pilot.pilot_id if question.pilot else None
    return repr(
        (
            shows_reference(),
            pilot,
            *(getattr(question, field.name) for field in fields(question) if field.name != "pilot"),
        )
    )


def pilot_run_ids(pilot_id: str) -> list[str]:
    return _pilot_run_ids(*_current(), pilot_id)


# Whole tables of the warehouse: the functions of `_WHOLE_TABLES`.


def score_files() -> pl.DataFrame:
    return _whole_table("score files")


def aliases() -> pl.DataFrame:
    return _whole_table("aliases")


def unmatched_names() -> pl.DataFrame:
    return _whole_table("unmatched names")


def score_conflicts() -> pl.DataFrame:
    return _whole_table("score conflicts")


def answer_sets() -> pl.DataFrame:
    return _whole_table("answer sets")


def durations() -> pl.DataFrame:
    """How long measurements took here: `queries.durations`."""
    return _whole_table("durations")


def saved_queries() -> list[SavedQueryRow]:
    return _whole_table("saved queries")


def plan_outcomes() -> list[PlanOutcomeRow]:
    """What whole blocks cost in all plans: `layer_plans.block_outcomes`."""
    return _whole_table("plan outcomes")


def tables() -> list[schema.Table]:
    return _whole_table("tables")


def _whole_table(name: str) -> Any:
    return _cached_table(*_current(), name)


def answers(model: str) -> pl.DataFrame:
    """The answers of a model to single questions of benchmarks."""
    return _answers(*_current(), model)


def own_references() -> list[str]:
    """References of the models measured here, the newest first."""
    return own_runs(_all_lists().runs)["reference"].unique(maintain_order=True).to_list()


def layer_plan(plan_id: str) -> LayerPlan | None:
    """A layer plan, or None where it was deleted."""
    return _layer_plan(*_current(), plan_id)


def _in_order(runs: pl.DataFrame, run_ids: Sequence[str]) -> pl.DataFrame:
    order = pl.DataFrame({"run_id": list(run_ids)}, schema={"run_id": pl.String})
    return order.join(runs, on="run_id", how="inner", maintain_order="left")


# Frames are not changed in place anywhere, so that all sessions share them: cache_data would copy them at each look.
@st.cache_resource(max_entries=4, show_spinner=False)
def _lists(path: Path, version: tuple, with_reference: bool) -> Lists:
    with Warehouse(path).open() as opened:
        listed = queries.run_list(opened)
        runs = named_texts(opened, listed if with_reference else own_runs(listed))
        plans = layer_plans.list_plans(opened)
        return Lists(
            runs,
            queries.pilots(opened),
            plans if with_reference else plans.filter(pl.col("note").ne_missing(SHIPPED)),
            recipes.list_recipes(opened),
            queries.counts(opened),
        )


@st.cache_resource(max_entries=24, show_spinner=False)
def _cached_table(path: Path, version: tuple, name: str) -> Any:
    with Warehouse(path).open() as opened:
        return _WHOLE_TABLES[name](opened)


# A profile of 31 layers is about 3,000 estimate rows and 6,000 rows of layer pairs, below 1 MB together; six of them
# in each of 48 selections stay below 300 MB.
@st.cache_resource(max_entries=48, show_spinner=False)
def _selection(path: Path, version: tuple, run_ids: tuple[str, ...]) -> Selection:
    all_runs = _lists(path, version, True).runs  # a run may have been judged with a control that is hidden
    control_ids = differences.control_ids(_in_order(all_runs, run_ids), all_runs)
    ids, all_ids = list(run_ids), [*run_ids, *control_ids]
    with Warehouse(path).open() as opened:
        stored = named_texts(opened, queries.runs(opened, all_ids))
        runs = _in_order(stored, ids)
        return Selection(
            runs,
            _in_order(stored, control_ids),
            queries.estimates(opened, all_ids),
            queries.correlators(opened, all_ids),
            queries.checks(opened, all_ids),
            queries.summaries(opened, all_ids),
            queries.pairs(opened, ids),
            queries.distributions(opened, ids),
            run_records(opened, ids),
            queries.scores(opened, repositories(runs)),
            queries.claims(opened, ids),
            queries.extrema(opened, ids),
            queries.control_comparisons(opened, ids),
            queries.windows(opened, all_ids),
        )


@st.cache_resource(max_entries=24, show_spinner=False)
def _home_data(
    path: Path, version: tuple, run_ids: tuple[str, ...], latest: tuple[str, ...], with_reference: bool
) -> HomeData:
    with Warehouse(path).open() as opened:
        _evidence(path, version, with_reference, opened)  # for the answers on the same screen
        stored = named_texts(opened, queries.runs(opened, sorted({*run_ids, *latest})))
        return HomeData(
            _in_order(stored, run_ids),
            queries.d2_profiles(opened, run_ids),
            queries.extrema(opened, run_ids),
            _in_order(stored, latest),
            layer_plans.cheapest_verified_plan(opened, with_reference),
        )


@st.cache_resource(max_entries=2, show_spinner=False)
def _evidence(path: Path, version: tuple, with_reference: bool, _opened: Readable | None = None) -> Evidence:
    with Warehouse(path).open() if _opened is None else nullcontext(_opened) as opened:
        return load_evidence(opened, with_reference=with_reference)


@st.cache_resource(max_entries=64, show_spinner=False)  # Decide asks one question for each task
def _population(path: Path, version: tuple, key: str, _question: RankingQuestion) -> Population:
    evidence = _evidence(path, version, shows_reference())
    if _question.cloud == BY_WORD:
        evidence = replace(evidence, summaries=_summaries(path, version, tuple(evidence.runs["run_id"])))
    return population_of(evidence, _question)


@st.cache_resource(max_entries=16, show_spinner=False)
def _answer(path: Path, version: tuple, key: str, _question: RankingQuestion) -> Answer:
    return answer_about(population(_question))


@st.cache_resource(max_entries=64, show_spinner=False)
def _relation(path: Path, version: tuple, key: str, _question: RankingQuestion) -> Answer:
    return answer_of(population(_question))


@st.cache_resource(max_entries=8, show_spinner=False)
def _replicates(path: Path, version: tuple, run_ids: tuple[str, ...]) -> pl.DataFrame:
    return queries.replicates(Warehouse(path), run_ids)


@st.cache_resource(max_entries=16, show_spinner=False)
def _blocks(path: Path, version: tuple, key: str, _question: RankingQuestion) -> tuple[pl.DataFrame, pl.DataFrame]:
    models = population(_question)
    with Warehouse(path).open() as opened:
        return load_blocks(opened, models)


@st.cache_resource(max_entries=8, show_spinner=False)
def _inner_maxima(path: Path, version: tuple, run_ids: tuple[str, ...]) -> pl.DataFrame:
    return queries.inner_maxima(Warehouse(path), run_ids)


@st.cache_resource(max_entries=8, show_spinner=False)
def _decision_inputs(path: Path, version: tuple, run_ids: tuple[str, ...]) -> DecisionInputs:
    with Warehouse(path).open() as opened:
        return DecisionInputs(queries.speeds(opened, run_ids), rules.list_rules(opened))


@st.cache_resource(max_entries=8, show_spinner=False)
def _summaries(path: Path, version: tuple, run_ids: tuple[str, ...]) -> pl.DataFrame:
    return queries.summaries(Warehouse(path), run_ids)


@st.cache_resource(max_entries=8, show_spinner=False)
def _layer_plan(path: Path, version: tuple, plan_id: str) -> LayerPlan | None:
    return layer_plans.load_plan(Warehouse(path), plan_id)


@st.cache_resource(max_entries=16, show_spinner=False)
def _pilot_run_ids(path: Path, version: tuple, pilot_id: str) -> list[str]:
    return queries.pilot_run_ids(Warehouse(path), pilot_id)


# A model's answers to all of MMLU are about 2 MB.
@st.cache_resource(max_entries=8, show_spinner=False)
def _answers(path: Path, version: tuple, model: str) -> pl.DataFrame:
    return score_answers.answers(Warehouse(path), model)
