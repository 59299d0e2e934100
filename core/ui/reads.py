"""What the screens read: one opening of the warehouse for the lists, one for the runs that were chosen.

Everything is cached under the version of the warehouse, so that a write shows at once.
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
from core.analysis.answer import Answer
from core.analysis.answer import answer_question as answer_of
from core.analysis.population import Population
from core.analysis.population import select_population as population_of
from core.analysis.question import BY_WORD, Evidence, RankingQuestion
from core.files import default_warehouse
from core.pilots.recipe import SavedRecipe
from core.pilots.registration import registered_pilot, shipped_pilot
from core.pilots.rule import SavedRule
from core.records import SHIPPED, LayerPlan
from core.tables import PlanOutcomeRow, PlanRow, SavedQueryRow
from core.ui import url_state
from core.warehouse import aliases as alias_table
from core.warehouse import (
    layer_plans,
    profiles,
    queries,
    recipes,
    reference,
    rules,
    schema,
    score_answers,
    score_imports,
)
from core.warehouse.connection import Readable
from core.warehouse.saved_queries import list_queries
from core.warehouse.warehouse import PendingResult, Warehouse
from core.wording.labels import with_text_marks

_log = logging.getLogger("workdim")
N_LATEST = 20
"""Runs that the home screen shows."""
_OF_ALL: dict[str, Callable[..., Any]] = {
    "tables": schema.list_tables,
    "saved queries": list_queries,
    "score files": score_imports.list_imports,
    "aliases": alias_table.list_aliases,
    "unmet names": score_answers.unmatched_names,
    "score conflicts": score_answers.score_conflicts,
    "answered": score_answers.list_answer_sets,
    "durations": queries.durations,
    "plan outcomes": layer_plans.block_outcomes,
}


@dataclass(frozen=True)
class Lists:
    """What every page begins with."""

    runs: pl.DataFrame
    """All runs, a few columns of each, newest first: `queries.run_list`."""
    pilots: pl.DataFrame
    plans: pl.DataFrame
    """All layer plans, the newest first: `layer_plans.list_plans`."""
    recipes: list[SavedRecipe]
    """Of reports that are kept, the newest first."""
    counts: dict[str, int]
    """How many runs, models, corpora, estimates and scores there are."""


@dataclass(frozen=True)
class Selection:
    """All that is known of the chosen runs, and of the control passes that belong to those on text."""

    runs: pl.DataFrame
    """In the order chosen; those that are not there are left out."""
    controls: pl.DataFrame
    estimates: pl.DataFrame
    """As correlators, checks and summaries, of the runs and of their controls."""
    correlators: pl.DataFrame
    checks: pl.DataFrame
    summaries: pl.DataFrame
    pairs: pl.DataFrame
    """As distributions and records, of the runs alone."""
    distributions: pl.DataFrame
    records: pl.DataFrame
    """Every stored field, in the order of the runs."""
    scores: pl.DataFrame
    claims: pl.DataFrame
    """As extrema and against_controls, of the runs alone."""
    extrema: pl.DataFrame
    against_controls: pl.DataFrame
    """What each control says about its run on text: rows of run_controls."""
    windows: pl.DataFrame
    """Rows of run_windows, of the runs and of their controls."""

    @cached_property
    def with_controls(self) -> pl.DataFrame:
        return pl.concat([self.runs, self.controls])

    def of_runs(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Without the rows of the controls."""
        return rows.filter(pl.col("run_id").is_in(self.runs["run_id"].to_list()))


@dataclass(frozen=True)
class Home:
    """What the home screen shows of some runs, and of the newest ones."""

    runs: pl.DataFrame
    """In the order asked for."""
    profiles: pl.DataFrame
    """Of these: d2 on one point per type, as `queries.d2_profiles`."""
    extrema: pl.DataFrame
    latest: pl.DataFrame
    """All that is known of the newest runs on text."""
    saving: PlanRow | None
    """The cheapest one that was verified: `layer_plans.cheapest_verified_plan`."""


@dataclass(frozen=True)
class Deciding:
    """What a choice between models rests on, besides what the ranking reads."""

    speeds: pl.DataFrame
    """How fast the models read: `queries.speeds`."""
    rules: list[SavedRule]


def warehouse() -> Warehouse:
    return Warehouse(default_warehouse())


def take_in() -> PendingResult:
    return warehouse().try_apply_pending()


def lists() -> Lists:
    """Without the profiles that Workdim ships where the reader hides them."""
    return _lists(warehouse().path, warehouse().version(), shows_reference())


REFERENCE = "reference"
"""The name of the reader's choice, shown or hidden, in the URL."""


def shows_reference() -> bool:
    """Whether the reader lets the profiles that Workdim ships be seen."""
    return bool(st.session_state.get(url_state.key(REFERENCE), True))


def has_reference() -> bool:
    """Whether there are any of them here."""
    return _everything().runs.height > _own(_everything().runs).height


def has_own_runs() -> bool:
    """Whether there is anything that was measured here or brought here."""
    return not _own(_everything().runs).is_empty()


def take_in_reference() -> None:
    """The profiles that Workdim ships, whoever took them out."""
    reference.add_all_profiles(warehouse(), _log.warning)


def _everything() -> Lists:
    return _lists(warehouse().path, warehouse().version(), True)


def own_first(runs: pl.DataFrame) -> pl.DataFrame:
    """What was measured here, newest first, as it came; then what Workdim ships, the oldest first: these were measured in
    the order in which they are worth a look."""
    own = _own(runs)
    return pl.concat([own, runs.join(own, on="run_id", how="anti", maintain_order="left").reverse()])


def _own(runs: pl.DataFrame) -> pl.DataFrame:
    return runs.filter(~pl.col("tags").list.contains(SHIPPED))


def selection(run_ids: Sequence[str]) -> Selection:
    return _selection(warehouse().path, warehouse().version(), tuple(run_ids))


def ranking() -> pl.DataFrame:
    """All runs on unchanged text with what a comparison needs: `queries.ranking`."""
    return _known().runs


def home(run_ids: Sequence[str], texts: pl.DataFrame) -> Home:
    """Of these runs, and of the newest of `texts`, rows of `Lists.runs`."""
    newest = texts["run_id"].head(N_LATEST).to_list()
    return _home(warehouse().path, warehouse().version(), tuple(run_ids), tuple(newest), shows_reference())


def population(asked: RankingQuestion) -> Population:
    """Who is compared, by what: everything but the coefficients."""
    return _population(warehouse().path, warehouse().version(), _key(asked), asked)


def answer(asked: RankingQuestion) -> Answer:
    """The answer to a question of all of its models, as the verb `rank` gives it."""
    return _answer(warehouse().path, warehouse().version(), _key(asked), asked)


def relation(asked: RankingQuestion) -> Answer:
    """As `answer`, for whoever tells the relation alone: the ranks of its models know nothing of what blocks of text they
    share, which would be read for them."""
    return _relation(warehouse().path, warehouse().version(), _key(asked), asked)


def told(
    found: Population, among: Answer | None = None, *, is_of_summaries: bool = True, is_brief: bool = False
) -> Answer:
    """The answer about a population, or part of it: then `among` is that of the whole. `is_of_summaries`: its dimension is
    that of the runs' summaries, not one that was read by another specification; of the former the values without each
    block of text are stored. `is_brief`: enough for a sentence, in a fifth of the time."""
    blocks, of_scores = _blocks(warehouse().path, warehouse().version(), _key(found.asked), found.asked)
    return answer_of(found, blocks if is_of_summaries else None, of_scores, full_answer=among, is_brief=is_brief)


def scores() -> pl.DataFrame:
    """The scores of all models that the reader sees."""
    return _known().scores


def _known() -> Evidence:
    return _evidence(warehouse().path, warehouse().version(), shows_reference())


def deciding(run_ids: Sequence[str]) -> Deciding:
    """For a choice between the models of these runs."""
    return _deciding(warehouse().path, warehouse().version(), tuple(run_ids))


def replicates(run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of layer_replicates: what two runs are compared by, block by block of their text."""
    return _replicates(warehouse().path, warehouse().version(), tuple(run_ids))


def inner_maxima(run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of `queries.inner_maxima`: the dimension of each run under each specification."""
    return _inner_maxima(warehouse().path, warehouse().version(), tuple(run_ids))


def _key(asked: RankingQuestion) -> str:
    """What tells questions apart: of a pilot its id, and whether the profiles that Workdim ships are counted."""
    pilot = asked.pilot.pilot_id if asked.pilot else None
    return repr(
        (shows_reference(), pilot, *(getattr(asked, field.name) for field in fields(asked) if field.name != "pilot"))
    )


def of_pilot(pilot_id: str) -> list[str]:
    return _of_pilot(warehouse().path, warehouse().version(), pilot_id)


def repositories(runs: pl.DataFrame) -> list[str]:
    """What the scores of these runs are filed under: hub repositories, their own and those of their base models, and
    their references, which own scores name."""
    found = (runs[column].drop_nulls() for column in ("repository", "base_repository", "reference"))
    return sorted({name for names in found for name in names})


def score_files() -> pl.DataFrame:
    return _of_all("score files")


def aliases() -> pl.DataFrame:
    return _of_all("aliases")


def unmet_names() -> pl.DataFrame:
    return _of_all("unmet names")


def score_conflicts() -> pl.DataFrame:
    return _of_all("score conflicts")


def answered() -> pl.DataFrame:
    return _of_all("answered")


def answers(model: str) -> pl.DataFrame:
    return _answers(warehouse().path, warehouse().version(), model)


def durations() -> pl.DataFrame:
    """How long measurements took here: `queries.durations`."""
    return _of_all("durations")


def own_references() -> list[str]:
    """Models that were measured here, as they were asked for, the newest first."""
    return _own(_everything().runs)["reference"].unique(maintain_order=True).to_list()


def saved_queries() -> list[SavedQueryRow]:
    return _of_all("saved queries")


def plan_outcomes() -> list[PlanOutcomeRow]:
    """Of all plans, what whole blocks cost: `layer_plans.block_outcomes`."""
    return _of_all("plan outcomes")


def layer_plan(plan_id: str) -> LayerPlan | None:
    """None where it was deleted since."""
    return _layer_plan(warehouse().path, warehouse().version(), plan_id)


def tables() -> list[schema.Table]:
    return _of_all("tables")


def _of_all(name: str) -> Any:
    return _read(warehouse().path, warehouse().version(), name)


def _marked(runs: pl.DataFrame, among: pl.DataFrame) -> pl.DataFrame:
    """The runs with their texts named as they are told apart among all."""
    names = among.select("corpus_id", "corpus_name").unique()
    joined = runs.drop("corpus_name").join(names, on="corpus_id", how="left", maintain_order="left")
    return joined.select(runs.columns)


def _in_order(runs: pl.DataFrame, run_ids: Sequence[str]) -> pl.DataFrame:
    order = pl.DataFrame({"run_id": list(run_ids)}, schema={"run_id": pl.String})
    return order.join(runs, on="run_id", how="inner", maintain_order="left")


# Frames are not changed in place anywhere, so that all sessions share them: cache_data would copy them at each look.
@st.cache_resource(max_entries=4, show_spinner=False)
def _lists(path: Path, version: tuple, with_reference: bool) -> Lists:
    with Warehouse(path).open() as opened:
        listed = queries.run_list(opened)
        runs = with_text_marks(listed if with_reference else _own(listed))
        plans = layer_plans.list_plans(opened)
        return Lists(
            runs,
            queries.pilots(opened),
            plans if with_reference else plans.filter(pl.col("note").ne_missing(SHIPPED)),
            recipes.list_recipes(opened),
            queries.counts(opened),
        )


@st.cache_resource(max_entries=24, show_spinner=False)
def _read(path: Path, version: tuple, name: str) -> Any:
    with Warehouse(path).open() as opened:
        return _OF_ALL[name](opened)


# A profile of 31 layers is about 3,000 estimate rows and 6,000 rows of layer pairs, below 1 MB together; six of them
# in each of 48 selections stay below 300 MB.
@st.cache_resource(max_entries=48, show_spinner=False)
def _selection(path: Path, version: tuple, run_ids: tuple[str, ...]) -> Selection:
    among = _lists(path, version, True).runs  # a run may have been judged with a control that is hidden
    control_ids = differences.control_ids(_in_order(among, run_ids), among)
    own, all_ids = list(run_ids), [*run_ids, *control_ids]
    with Warehouse(path).open() as opened:
        found = _marked(queries.runs(opened, all_ids), among)
        runs = _in_order(found, own)
        records: Callable[..., pl.DataFrame] = profiles.run_records
        return Selection(
            runs,
            _in_order(found, control_ids),
            queries.estimates(opened, all_ids),
            queries.correlators(opened, all_ids),
            queries.checks(opened, all_ids),
            queries.summaries(opened, all_ids),
            queries.pairs(opened, own),
            queries.distributions(opened, own),
            records(opened, own),
            queries.scores(opened, repositories(runs)),
            queries.claims(opened, own),
            queries.extrema(opened, own),
            queries.control_comparisons(opened, own),
            queries.windows(opened, all_ids),
        )


@st.cache_resource(max_entries=24, show_spinner=False)
def _home(path: Path, version: tuple, run_ids: tuple[str, ...], latest: tuple[str, ...], with_reference: bool) -> Home:
    among = _lists(path, version, True).runs
    with Warehouse(path).open() as opened:
        _evidence(path, version, with_reference, opened)  # for the answers beside them
        found = _marked(queries.runs(opened, sorted({*run_ids, *latest})), among)
        return Home(
            _in_order(found, run_ids),
            queries.d2_profiles(opened, run_ids),
            queries.extrema(opened, run_ids),
            _in_order(found, latest),
            layer_plans.cheapest_verified_plan(opened, with_reference),
        )


@st.cache_resource(max_entries=2, show_spinner=False)
def _evidence(path: Path, version: tuple, with_reference: bool, _opened: Readable | None = None) -> Evidence:
    listed = _lists(path, version, with_reference)
    with Warehouse(path).open() if _opened is None else nullcontext(_opened) as opened:
        found = queries.ranking(opened)
        runs = _marked(found if with_reference else _own(found), listed.runs)
        return Evidence(
            runs=runs,
            scores=queries.scores(opened, repositories(runs)),
            pilots=tuple(registered_pilot(row) for row in listed.pilots.to_dicts()),
            shipped_pilot=shipped_pilot(),
            import_times=queries.import_times(opened),
        )


@st.cache_resource(max_entries=64, show_spinner=False)  # Decide asks one question for each task
def _population(path: Path, version: tuple, key: str, _asked: RankingQuestion) -> Population:
    known = _evidence(path, version, shows_reference())
    if _asked.cloud == BY_WORD:
        known = replace(known, summaries=_summaries(path, version, tuple(known.runs["run_id"])))
    return population_of(known, _asked)


@st.cache_resource(max_entries=16, show_spinner=False)
def _answer(path: Path, version: tuple, key: str, _asked: RankingQuestion) -> Answer:
    return told(population(_asked))


@st.cache_resource(max_entries=64, show_spinner=False)
def _relation(path: Path, version: tuple, key: str, _asked: RankingQuestion) -> Answer:
    return answer_of(population(_asked))


@st.cache_resource(max_entries=8, show_spinner=False)
def _replicates(path: Path, version: tuple, run_ids: tuple[str, ...]) -> pl.DataFrame:
    return queries.replicates(Warehouse(path), run_ids)


@st.cache_resource(max_entries=16, show_spinner=False)
def _blocks(path: Path, version: tuple, key: str, _asked: RankingQuestion) -> tuple[pl.DataFrame, pl.DataFrame]:
    found = population(_asked)
    with Warehouse(path).open() as opened:
        return (
            queries.jackknife_blocks(opened, found.required_blocks()),
            score_answers.score_blocks(opened, found.required_score_blocks()),
        )


@st.cache_resource(max_entries=8, show_spinner=False)
def _inner_maxima(path: Path, version: tuple, run_ids: tuple[str, ...]) -> pl.DataFrame:
    return queries.inner_maxima(Warehouse(path), run_ids)


@st.cache_resource(max_entries=8, show_spinner=False)
def _deciding(path: Path, version: tuple, run_ids: tuple[str, ...]) -> Deciding:
    with Warehouse(path).open() as opened:
        return Deciding(queries.speeds(opened, run_ids), rules.list_rules(opened))


@st.cache_resource(max_entries=8, show_spinner=False)
def _summaries(path: Path, version: tuple, run_ids: tuple[str, ...]) -> pl.DataFrame:
    return queries.summaries(Warehouse(path), run_ids)


@st.cache_resource(max_entries=8, show_spinner=False)
def _layer_plan(path: Path, version: tuple, plan_id: str) -> LayerPlan | None:
    return layer_plans.load_plan(Warehouse(path), plan_id)


@st.cache_resource(max_entries=16, show_spinner=False)
def _of_pilot(path: Path, version: tuple, pilot_id: str) -> list[str]:
    return queries.pilot_run_ids(Warehouse(path), pilot_id)


# A model's answers to all of MMLU are about 2 MB.
@st.cache_resource(max_entries=8, show_spinner=False)
def _answers(path: Path, version: tuple, model: str) -> pl.DataFrame:
    return score_answers.answers(Warehouse(path), model)
