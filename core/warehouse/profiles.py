"""Read a run back as the profile that was measured, and find runs of the same measurement: controls, seeds, repeats."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import polars as pl

from core.errors import Sentence, WarehouseError
from core.records import Profile
from core.registry.passes import SHARED
from core.store.parcels import is_parcel, read_parcel
from core.tables import LONG_TABLES, TABLES
from core.warehouse.warehouse import Warehouse

_log = logging.getLogger("workdim")

_CONTROLS = """
    SELECT runs.run_id
    FROM runs JOIN models USING (model_id)
    WHERE runs.pass = $pass AND runs.corpus_id = $corpus_id AND runs.protocol_hash = $protocol_hash
        AND runs.dtype = $dtype AND models.tokenizer_hash = $tokenizer_hash
        AND runs.chat_template_hash IS NOT DISTINCT FROM $chat_template_hash
        AND models.configuration_hash = $configuration_hash AND coalesce(runs.stack, 'main') = $stack
        AND ($is_shared OR runs.model_id = $model_id)
        AND runs.model_seed IS NOT DISTINCT FROM $model_seed
    ORDER BY runs.started_at DESC LIMIT 1
"""


# Only the protocol can tell whether a hash is its own with another seed.
_SEEDS = """
    SELECT run_id, seed, protocol_hash FROM runs
    WHERE pass = 'text' AND model_id = $model_id AND corpus_id = $corpus_id AND dtype = $dtype
        AND coalesce(stack, 'main') = $stack
    ORDER BY started_at, run_id
"""


# Shipped profiles were measured elsewhere: they are no reason not to measure here.
_SAME_MEASUREMENT = """
    SELECT run_id, config FROM runs JOIN models USING (model_id)
    WHERE pass = 'text' AND model_id = $model_id AND corpus_id = $corpus_id AND protocol_hash = $protocol_hash
        AND dtype = $dtype AND coalesce(stack, 'main') = $stack AND NOT list_contains(tags, 'reference')
        AND models.configuration_hash = $configuration_hash AND models.tokenizer_hash = $tokenizer_hash
    ORDER BY started_at DESC, run_id DESC
"""


def read_profile(warehouse: Warehouse, run_id: str) -> Profile:
    """A run as it was measured: from its parcel, in double precision, or from its rows if the parcel cannot be read.

    Verdicts are computed from this, because the long tables of the DuckDB file have fewer digits. Token results are left
    out. Raises KeyError if the warehouse has no such run.
    """
    parcel = warehouse.parcels / run_id
    if is_parcel(parcel):
        try:
            return Profile.from_frames(read_parcel(parcel))
        except WarehouseError as error:
            _log.warning(error.message)
    profile = Profile.from_frames(read_run_tables(warehouse, run_id))
    _log.warning(
        Sentence(
            "Run {run} is read from the rows of the warehouse, which keep seven digits: it has no whole parcel.",
            run=run_id,
        )
    )
    return profile


def read_run_tables(warehouse: Warehouse, run_id: str) -> dict[str, pl.DataFrame]:
    """The rows of a run, its model and its text, with the types of a parcel. Raises KeyError for an unknown run."""
    with warehouse.open() as opened:
        tables = {"runs": opened.read("SELECT * FROM runs WHERE run_id = ?", [run_id])}
        if tables["runs"].is_empty():
            raise KeyError(run_id)
        for table, key in (("models", "model_id"), ("corpora", "corpus_id")):
            tables[table] = opened.read(f"SELECT * FROM {table} WHERE {key} = ?", [tables["runs"][key][0]])
        for table in LONG_TABLES:
            tables[table] = opened.read(f"SELECT * FROM {table} WHERE run_id = ?", [run_id])
    return {table: rows.cast(dict(TABLES[table].schema)) for table, rows in tables.items()}  # type: ignore[arg-type]


def find_control(warehouse: Warehouse, **same: Any) -> str | None:
    """The newest control run that agrees in everything named in `_CONTROLS`, or None."""
    found = warehouse.read(_CONTROLS, same | {"is_shared": same["pass"] in SHARED})
    return found["run_id"][0] if found.height else None


def seeds_of_runs(warehouse: Warehouse, **same: Any) -> list[tuple[str, int, str]]:
    """run_id, seed and protocol_hash of the runs of one model on one text, oldest first."""
    return warehouse.read(_SEEDS, same).rows()


def find_same_runs(warehouse: Warehouse, **same: Any) -> list[tuple[str, str]]:
    """run_id and config of the runs of one model, text, protocol and dtype, newest first."""
    names = ("model_id", "corpus_id", "protocol_hash", "dtype", "stack", "configuration_hash", "tokenizer_hash")
    return warehouse.read(_SAME_MEASUREMENT, {name: same[name] for name in names}).rows()


# IN, not list_contains: only IN lets DuckDB skip the row groups of other runs.
_RUN_RECORDS = """
    SELECT runs.*, models.* EXCLUDE (model_id), corpora.name AS corpus_name, corpora.language AS corpus_language,
        corpora.domain AS corpus_domain, corpora.licence AS corpus_licence, corpora.sha256 AS corpus_sha256,
        corpora.n_documents AS corpus_n_documents, corpora.n_characters AS corpus_n_characters,
        corpora.source AS corpus_source
    FROM runs JOIN models USING (model_id) JOIN corpora USING (corpus_id)
    WHERE runs.run_id IN ({marks}) ORDER BY list_position($ids, runs.run_id)
"""


def run_records(warehouse: Warehouse, run_ids: Sequence[str]) -> pl.DataFrame:
    """All stored fields of these runs, in the given order; columns of the text begin with `corpus_`."""
    marks = ", ".join(f"$id{number}" for number in range(len(run_ids))) or "NULL"
    named = {f"id{number}": run_id for number, run_id in enumerate(run_ids)}
    return warehouse.read(_RUN_RECORDS.format(marks=marks), {"ids": list(run_ids), **named})
