"""Whether the rows of a parcel belong together: what foreign keys and unique keys would say, before the insert.

The tables have neither, because an index on long tables slows every ingest. That a run names a parent, a control or
a pilot that is not here is no fault of its parcel: controls come first, and a parcel may come from elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from core.errors import WarehouseError
from core.tables import LONG_TABLES, TABLES


def check_keys(folder: Path, tables: dict[str, pl.DataFrame]) -> None:
    """Raises WarehouseError, one line, where the rows are not those of one run, one model and one corpus, each once."""
    _check_one_run(folder, tables)
    n_layers = tables["models"]["n_layers"][0]
    for table in LONG_TABLES:
        columns = TABLES[table].layer_columns
        layers = tables[table].select(lowest=pl.min_horizontal(columns).min(), highest=pl.max_horizontal(columns).max())
        lowest, highest = layers.row(0)
        if lowest is not None and (lowest < 0 or highest > n_layers):
            raise WarehouseError(
                f"The parcel {folder} has a row of layer {lowest if lowest < 0 else highest} in {table}, and its model "
                f"has {n_layers} blocks; it was left where it is."
            )
    for table in LONG_TABLES:
        keys = tables[table].select(TABLES[table].key)
        if keys.n_unique() != keys.height:
            twice = keys.filter(keys.is_duplicated()).row(0, named=True)
            named = ", ".join(f"{name} {value}" for name, value in list(twice.items())[1:] if value is not None)
            raise WarehouseError(
                f"The parcel {folder} holds one row of {table} twice ({named}); it was left where it is."
            )


def _check_one_run(folder: Path, tables: dict[str, pl.DataFrame]) -> None:
    run = tables["runs"].row(0, named=True)
    model, corpus = tables["models"]["model_id"][0], tables["corpora"]["corpus_id"][0]
    strangers = [table for table in LONG_TABLES if (tables[table]["run_id"] != run["run_id"]).any()]
    if strangers or run["model_id"] != model or run["corpus_id"] != corpus or run["run_id"] != folder.name:
        where = ", ".join(strangers) or "run.json"
        raise WarehouseError(f"The parcel {folder} mixes several runs, models or corpora ({where}); it was left there.")
