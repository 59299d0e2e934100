"""Cached reads: thin wrappers round named queries; the version of the warehouse is a key, so a write shows at once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import streamlit as st

from core.report.labels import with_text_marks
from core.warehouse import parcels, provenance, queries, trash
from core.warehouse.store import Warehouse, default_path

# A profile of 31 layers is about 3,000 estimate rows and 6,000 rows of layer pairs, below 1 MB together; six of them
# in each of 48 selections stay below 300 MB.
_SELECTIONS = 48
_NAMED = {
    "estimates": queries.estimates,
    "correlators": queries.correlators,
    "pairs": queries.pairs,
    "distributions": queries.distributions,
    "summaries": queries.summaries,
    "checks": queries.checks,
    "records": provenance.records,
}


def warehouse() -> Warehouse:
    return Warehouse(default_path())


def take_in() -> parcels.TakenIn:
    trash.finish_to_read(warehouse())
    return parcels.take_in(warehouse())


def runs() -> pl.DataFrame:
    return _runs(warehouse().path, warehouse().version())


def counts() -> dict[str, int]:
    return _counts(warehouse().path, warehouse().version())


def scores(repositories: list[str]) -> pl.DataFrame:
    return _scores(warehouse().path, warehouse().version(), tuple(sorted(set(repositories))))


def pilots() -> pl.DataFrame:
    return _pilots(warehouse().path, warehouse().version())


def of_pilot(pilot_id: str) -> list[str]:
    return _of_pilot(warehouse().path, warehouse().version(), pilot_id)


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


@st.cache_data(max_entries=4, show_spinner=False)
def _runs(path: Path, version: tuple) -> pl.DataFrame:
    return with_text_marks(queries.runs(Warehouse(path)))


@st.cache_data(max_entries=4, show_spinner=False)
def _counts(path: Path, version: tuple) -> dict[str, int]:
    return queries.counts(Warehouse(path))


@st.cache_data(max_entries=4, show_spinner=False)
def _pilots(path: Path, version: tuple) -> pl.DataFrame:
    return queries.pilots(Warehouse(path))


@st.cache_data(max_entries=16, show_spinner=False)
def _of_pilot(path: Path, version: tuple, pilot_id: str) -> list[str]:
    return queries.of_pilot(Warehouse(path), pilot_id)


@st.cache_data(max_entries=_SELECTIONS, show_spinner=False)
def _scores(path: Path, version: tuple, repositories: tuple[str, ...]) -> pl.DataFrame:
    return queries.scores(Warehouse(path), list(repositories))


@st.cache_data(max_entries=_SELECTIONS, show_spinner=False)
def _of_runs(path: Path, version: tuple, query: str, run_ids: tuple[str, ...]) -> pl.DataFrame:
    return _NAMED[query](Warehouse(path), list(run_ids))
