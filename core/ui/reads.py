"""Cached reads: thin wrappers round named queries; the version of the warehouse is a key, so a write shows at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import streamlit as st

from core.analysis import controls
from core.paths import default_path
from core.tables import SavedQueryRow
from core.warehouse import aliases as alias_table
from core.warehouse import ingest, provenance, queries, saved, schema, score_answers, score_imports, score_names
from core.warehouse.warehouse import TakenIn, Warehouse
from core.wording.labels import with_text_marks

# A profile of 31 layers is about 3,000 estimate rows and 6,000 rows of layer pairs, below 1 MB together; six of them
# in each of 48 selections stay below 300 MB.
_SELECTIONS = 48
_NAMED = {
    "runs": queries.runs,
    "estimates": queries.estimates,
    "correlators": queries.correlators,
    "pairs": queries.pairs,
    "distributions": queries.distributions,
    "summaries": queries.summaries,
    "checks": queries.checks,
    "records": provenance.records,
}
_OF_SCORES = {
    "files": score_imports.files,
    "aliases": alias_table.aliases,
    "unmet names": score_names.unmet_names,
    "conflicts": score_answers.conflicts,
    "answered": score_answers.answered,
}


def warehouse() -> Warehouse:
    return Warehouse(default_path())


def take_in() -> TakenIn:
    return ingest.take_in(warehouse())


def listing() -> pl.DataFrame:
    """All runs, a few columns of each: `queries.listing`."""
    return _listing(warehouse().path, warehouse().version())


def chosen(run_ids: Sequence[str]) -> pl.DataFrame:
    """All that is known of these runs, in this order; those that are not there are left out."""
    found = _of_runs(warehouse().path, warehouse().version(), "runs", tuple(run_ids))
    named = _marked(found, listing())
    return pl.DataFrame({"run_id": list(run_ids)}, schema={"run_id": pl.String}).join(
        named, on="run_id", how="inner", maintain_order="left"
    )


def with_controls(runs: pl.DataFrame) -> pl.DataFrame:
    """The same runs and, after them, the control passes of those on text."""
    return pl.concat([runs, chosen(controls.control_ids(runs, listing()))])


def ranking() -> pl.DataFrame:
    """All runs on unchanged text with what a comparison needs: `queries.ranking`."""
    return _marked(_ranking(warehouse().path, warehouse().version()), listing())


def counts() -> dict[str, int]:
    return _counts(warehouse().path, warehouse().version())


def scores(repositories: list[str]) -> pl.DataFrame:
    return _scores(warehouse().path, warehouse().version(), tuple(sorted(set(repositories))))


def score_files() -> pl.DataFrame:
    return _of_scores(warehouse().path, warehouse().version(), "files")


def aliases() -> pl.DataFrame:
    return _of_scores(warehouse().path, warehouse().version(), "aliases")


def unmet_names() -> pl.DataFrame:
    return _of_scores(warehouse().path, warehouse().version(), "unmet names")


def score_conflicts() -> pl.DataFrame:
    return _of_scores(warehouse().path, warehouse().version(), "conflicts")


def answered() -> pl.DataFrame:
    return _of_scores(warehouse().path, warehouse().version(), "answered")


def answers(model: str) -> pl.DataFrame:
    return _answers(warehouse().path, warehouse().version(), model)


def pilots() -> pl.DataFrame:
    return _pilots(warehouse().path, warehouse().version())


def of_pilot(pilot_id: str) -> list[str]:
    return _of_pilot(warehouse().path, warehouse().version(), pilot_id)


def saved_queries() -> list[SavedQueryRow]:
    return _saved_queries(warehouse().path, warehouse().version())


def tables() -> list[schema.Table]:
    return _tables(warehouse().path, warehouse().version())


def estimates(run_ids: list[str]) -> pl.DataFrame:
    return _of_runs(warehouse().path, warehouse().version(), "estimates", tuple(run_ids))


def correlators(run_ids: list[str]) -> pl.DataFrame:
    return _of_runs(warehouse().path, warehouse().version(), "correlators", tuple(run_ids))


def pairs(run_ids: list[str]) -> pl.DataFrame:
    return _of_runs(warehouse().path, warehouse().version(), "pairs", tuple(run_ids))


def distributions(run_ids: list[str]) -> pl.DataFrame:
    return _of_runs(warehouse().path, warehouse().version(), "distributions", tuple(run_ids))


def summaries(run_ids: list[str]) -> pl.DataFrame:
    return _of_runs(warehouse().path, warehouse().version(), "summaries", tuple(run_ids))


def checks(run_ids: list[str]) -> pl.DataFrame:
    return _of_runs(warehouse().path, warehouse().version(), "checks", tuple(run_ids))


def records(run_ids: list[str]) -> pl.DataFrame:
    """Every stored field of these runs, in the order given."""
    return _of_runs(warehouse().path, warehouse().version(), "records", tuple(run_ids))


def _marked(runs: pl.DataFrame, among: pl.DataFrame) -> pl.DataFrame:
    """The runs with their texts named as they are told apart among all."""
    names = among.select("corpus_id", "corpus_name").unique()
    joined = runs.drop("corpus_name").join(names, on="corpus_id", how="left", maintain_order="left")
    return joined.select(runs.columns)


@st.cache_data(max_entries=4, show_spinner=False)
def _listing(path: Path, version: tuple) -> pl.DataFrame:
    return with_text_marks(queries.listing(Warehouse(path)))


@st.cache_data(max_entries=4, show_spinner=False)
def _ranking(path: Path, version: tuple) -> pl.DataFrame:
    return queries.ranking(Warehouse(path))


@st.cache_data(max_entries=4, show_spinner=False)
def _counts(path: Path, version: tuple) -> dict[str, int]:
    return queries.counts(Warehouse(path))


@st.cache_data(max_entries=4, show_spinner=False)
def _pilots(path: Path, version: tuple) -> pl.DataFrame:
    return queries.pilots(Warehouse(path))


@st.cache_data(max_entries=16, show_spinner=False)
def _of_pilot(path: Path, version: tuple, pilot_id: str) -> list[str]:
    return queries.of_pilot(Warehouse(path), pilot_id)


@st.cache_data(max_entries=4, show_spinner=False)
def _saved_queries(path: Path, version: tuple) -> list[SavedQueryRow]:
    return saved.all_saved(Warehouse(path))


@st.cache_data(max_entries=4, show_spinner=False)
def _tables(path: Path, version: tuple) -> list[schema.Table]:
    return schema.tables(Warehouse(path))


@st.cache_data(max_entries=_SELECTIONS, show_spinner=False)
def _scores(path: Path, version: tuple, repositories: tuple[str, ...]) -> pl.DataFrame:
    return queries.scores(Warehouse(path), list(repositories))


@st.cache_data(max_entries=12, show_spinner=False)
def _of_scores(path: Path, version: tuple, query: str) -> pl.DataFrame:
    return _OF_SCORES[query](Warehouse(path))


# A model's answers to all of MMLU are about 2 MB.
@st.cache_data(max_entries=8, show_spinner=False)
def _answers(path: Path, version: tuple, model: str) -> pl.DataFrame:
    return score_answers.answers(Warehouse(path), model)


@st.cache_data(max_entries=_SELECTIONS, show_spinner=False)
def _of_runs(path: Path, version: tuple, query: str, run_ids: tuple[str, ...]) -> pl.DataFrame:
    return _NAMED[query](Warehouse(path), list(run_ids))
