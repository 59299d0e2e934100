"""Names in the warehouse's scores that no measured model goes by, and which model each may mean."""

from __future__ import annotations

import polars as pl

from core.pilots.registration import SOURCE
from core.scores.near_names import suggestions
from core.warehouse.warehouse import Warehouse


def unmet_names(warehouse: Warehouse) -> pl.DataFrame:
    """name, n_scores, n_samples and `suggestions` (measured models), of every name that has one and no alias yet; names
    with most scores first."""
    found = warehouse.read(f"""
        WITH named AS (
            SELECT repository AS name, count(*) AS n_scores, 0 AS n_samples FROM scores
            WHERE NOT starts_with(source, '{SOURCE}') GROUP BY ALL
            UNION ALL SELECT repository, 0, count(*) FROM score_samples GROUP BY ALL)
        SELECT name, sum(n_scores)::BIGINT AS n_scores, sum(n_samples)::BIGINT AS n_samples FROM named
        WHERE name NOT IN (SELECT alias FROM model_aliases)
            AND name NOT IN (SELECT reference FROM models)
            AND name NOT IN (SELECT repository FROM models WHERE repository IS NOT NULL)
        GROUP BY ALL ORDER BY n_scores DESC, n_samples DESC, name
    """)
    known = warehouse.read("SELECT reference FROM models UNION SELECT repository FROM models")["reference"].drop_nulls()
    near = suggestions(found["name"].to_list(), known.to_list())
    told = pl.Series("suggestions", [near[name] for name in found["name"]], dtype=pl.List(pl.String))
    return found.with_columns(told).filter(pl.col("suggestions").list.len() > 0)
