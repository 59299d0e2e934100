"""Which runs are shown first, how they are named, and what the tables and exports hold."""

from __future__ import annotations

import polars as pl
import pytest

from core.analysis import ranking
from core.ui import comparison, inputs, tables
from core.warehouse import queries
from core.warehouse.store import Warehouse
from tests.screens import RUN_IDS, filled_warehouse


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(filled_warehouse(tmp_path_factory.mktemp("filled")))


@pytest.fixture(scope="module")
def runs(warehouse: Warehouse) -> pl.DataFrame:
    return queries.runs(warehouse)


def test_the_newest_comparable_runs_read_the_same_text(runs: pl.DataFrame) -> None:
    assert inputs.newest_comparable(runs) == [RUN_IDS[3]]  # alone on its text
    assert inputs.newest_comparable(runs.filter(pl.col("run_id") != RUN_IDS[3])) == RUN_IDS[2::-1]
    assert inputs.newest_comparable(runs.clear()) == []


def test_a_run_is_named_by_what_tells_it_apart(runs: pl.DataFrame) -> None:
    run = runs.filter(run_id=RUN_IDS[0]).row(0, named=True)
    assert inputs.run_label(run).startswith("made-up-big · made-up · quick · 2026-01-01")
    assert "random weights" in inputs.run_label({**run, "pass": "random_init"})


def test_repositories_are_those_of_the_models_and_of_their_bases(runs: pl.DataFrame) -> None:
    assert comparison.repositories(runs) == ["HuggingFaceTB/SmolLM2-135M"]


def test_each_row_of_a_group_says_its_score_or_that_there_is_none(warehouse: Warehouse, runs: pl.DataFrame) -> None:
    scored = ranking.with_scores(runs, queries.scores(warehouse, comparison.repositories(runs)))
    benchmark = ranking.benchmarks(scored).row(0, named=True)
    for group in ranking.groups(runs):
        shown = comparison.with_score_text(group, scored, benchmark)
        assert set(shown["run_id"]) == set(group.rows["run_id"])
        assert shown["score_text"].null_count() == 0
        assert tables.ranked(shown).height == shown.height


def test_the_export_numbers_the_groups_and_keeps_all_runs(warehouse: Warehouse, runs: pl.DataFrame) -> None:
    groups = ranking.groups(runs)
    scored = ranking.with_scores(runs, queries.scores(warehouse, []))
    exported = comparison.for_export(groups, scored, None)
    assert exported["comparison_group"].unique().sort().to_list() == [1, 2, 3]
    assert exported["run_id"].sort().to_list() == RUN_IDS


def test_a_run_without_a_summary_has_dashes_not_a_verdict(runs: pl.DataFrame) -> None:
    bare = runs.head(1).with_columns(
        pl.lit(None).cast(kind).alias(name)
        for name, kind in runs.schema.items()
        if name.startswith(("working_", "final_")) or name in ("verdict", "qualifiers", "worst_check")
    )
    line = tables.overview(bare).row(0, named=True)
    assert line["Expansion-contraction"] == "–"
    assert line["Working dimension"] == "–"
    assert line["Checks"] == "no check was made"


def test_of_several_layers_the_worst_check_is_shown(runs: pl.DataFrame) -> None:
    checks = pl.DataFrame(
        {
            "run_id": [RUN_IDS[0]] * 3,
            "check_name": ["duplicates"] * 3,
            "layer": [0, 1, 2],
            "value": [0.0, 0.2, 0.1],
            "threshold": [0.1] * 3,
            "outcome": ["pass", "warn", "pass"],
        }
    )
    shown = tables.worst_checks(checks, runs.filter(run_id=RUN_IDS[0]))
    assert shown.height == 1
    assert shown.row(0, named=True) == {
        "Model": "made-up-big", "Check": "Share of duplicate points", "Outcome": "warning",
        "Value": 0.2, "Limit": 0.1, "Layer": 1,
    }  # fmt: skip
