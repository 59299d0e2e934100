"""A warehouse with something in every table that a file can give, and what it holds."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from core.store import user_files
from core.tables import TABLES
from core.warehouse import people
from core.warehouse.aliases import set_aliases
from core.warehouse.people import save_query
from core.warehouse.runs import save_plan
from tests.plans.made import layer_plan
from tests.warehouse.test_pilots import PILOT, with_score
from tests.warehouse.test_recipes import RECIPE, number_row
from tests.warehouse.test_rules import RULE, chosen

NOW = datetime(2026, 1, 1)
FILE_A, FILE_B = "a" * 64, "b" * 64


def import_scores(warehouse, file_sha256, n=3):
    """As a reader of score files stores one: the file, its scores, its single answers."""
    score = {
        "repository": [f"o/model-{k}" for k in range(n)],
        "benchmark": "arc",
        "metric": "acc",
        "filter": "none",
        "n_shot": 0,
        "suite": "s",
        "value": 0.5,
        "unit": "fraction",
        "higher_is_better": True,
        "n_samples": 10,
        "is_partial": False,
        "is_group": False,
        "source": "a file",
        "licence": "own",
        "flags": "",
        "file_sha256": file_sha256,
    }
    answer = {
        "repository": "o/model-0",
        "benchmark": "arc",
        "metric": "acc",
        "filter": "none",
        "value": 1.0,
        "file_sha256": file_sha256,
        "doc_hash": [f"doc-{k}" for k in range(n)],
    }
    file = {"file_name": "f.json", "format": "lm_eval", "n_taken": n, "n_skipped": 0, "imported_at": NOW}
    rows = {"score_files": file | {"file_sha256": [file_sha256]}, "scores": score, "score_samples": answer}
    with warehouse.update("scores", file_sha256):
        user_files.write(
            warehouse.folder, "scores", file_sha256, {table: typed(table, of) for table, of in rows.items()}
        )


def typed(table, rows):
    frame = pl.DataFrame(rows)
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in TABLES[table].schema.items()
    )


def fill(warehouse):
    """A file or more of every kind that people write."""
    people.register_pilot(warehouse, with_score(PILOT, 61.0))
    people.add_runs(warehouse, PILOT.pilot_id, ["one", "two"])
    import_scores(warehouse, FILE_A)
    import_scores(warehouse, FILE_B, n=2)
    set_aliases(warehouse, {"Llama": "o/llama"})
    save_query(warehouse, "all", "SELECT 1", "a 'note'")
    people.save_rule(warehouse, RULE)
    people.add_choice(warehouse, chosen(RULE, "choice-1"))
    save_plan(warehouse, layer_plan())
    people.save_recipe(
        warehouse,
        RECIPE,
        [number_row(1, 21.5), number_row(2, 0.3, source_table=None, source_key=None)],
        "0.1",
        b"PK a template",
    )


def content(warehouse, tables=tuple(TABLES)):
    with warehouse.open() as opened:
        return {table: opened.read(f"FROM {table} ORDER BY ALL") for table in tables}


def same(one, other):
    return one.keys() == other.keys() and all(one[table].equals(other[table]) for table in one)
