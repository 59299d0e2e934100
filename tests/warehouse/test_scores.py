"""The reference scores: all of them, unaltered, with what their sources say and no more."""

import json

import polars as pl
import pytest

from core.errors import WarehouseError
from core.registry.names import NOT_STATED
from core.registry.published import higher_is_better
from core.warehouse import queries, schema
from core.warehouse.schema import BENCHMARKS, LADDER
from tests.warehouse.filling import FILE_A, import_scores

OWN = pl.col("suite").str.starts_with("workdim+") | (pl.col("suite") == "ladder")
"""Scores that were measured here."""


@pytest.fixture
def scores(warehouse):
    """Those that others have published."""
    return queries.scores(warehouse).filter(~OWN)


def test_four_public_decoders_have_answered_the_tasks_of_the_ladder(warehouse):
    found = queries.scores(warehouse).filter(pl.col("suite").str.starts_with("workdim+"))
    assert (
        found.group_by("benchmark", "metric").agg(pl.col("repository").n_unique())["repository"].to_list() == [4] * 12
    )
    right = found.filter(metric="acc")
    assert right["value"].is_between(0.5, 1).all() and right["std_error"].min() > 0 and set(right["n_samples"]) == {60}
    by_size = right.filter(benchmark="code_identifier").sort("repository")
    assert by_size["value"].to_list()[2:] == pytest.approx([0.9, 14 / 15]), "Qwen2.5-Coder of 0.5B and of 1.5B"


def test_the_scores_of_the_ladder_are_there_as_its_logs_have_them(warehouse):
    """Each under the weights that were scored, so that another folder of that name has none of them."""
    found = queries.scores(warehouse).filter(suite="ladder")
    logged = {
        (f"local:ladder-{log['recipe']['name']}-step{at['step']}", at["weights_sha256"][:12], f"ladder_{text}"): (
            at["bits_per_byte"][text]["value"],
            at["bits_per_byte"][text]["std_error"],
        )
        for log in map(json.loads, (file.read_text() for file in LADDER.parent.glob("runs/*.json")))
        for at in log["checkpoints"]
        for text in ("code", "prose")
    }
    of_text = found.filter(metric="bits_per_byte")
    keys = of_text.select("repository", "revision", "benchmark").rows()
    assert dict(zip(keys, of_text.select("value", "std_error").rows(), strict=True)) == logged
    assert set(of_text["unit"]) == {"bits per byte"} and not of_text["higher_is_better"].any()
    tasks = found.filter(metric="acc")
    assert tasks.height == 4 * len({name for name, _, _ in logged if name.endswith("-step1500")})
    assert tasks["higher_is_better"].all() and set(tasks["n_samples"]) == {500} and tasks["std_error"].min() > 0


def test_shipped_scores_without_each_file_are_those_of_the_same_files_for_all_models(warehouse):
    found = queries.scores(warehouse).filter(suite="ladder", benchmark="ladder_code")
    keys = ["file_sha256", "repository", "benchmark", "metric", "filter"]
    wanted = found.select(*keys, "value", "std_error", run_id="repository")
    told = wanted.join(schema.shipped_blocks(wanted), on="run_id")
    assert told.height == found.height and told["blocks"].list.len().unique().to_list() == [26]
    n = 26
    error = ((n - 1) ** 2 / n * pl.col("blocks").list.var()).sqrt()
    assert told.select((error / pl.col("std_error")).is_between(0.8, 1.25)).to_series().all()
    assert schema.shipped_blocks(wanted.with_columns(file_sha256=pl.lit("other"))).is_empty()


def test_every_shipped_row_is_there(scores):
    assert scores.height == 9928 and set(scores["unit"]) == {"percent"}
    assert scores["value"].sum() == pytest.approx(pl.read_parquet(BENCHMARKS)["value"].sum())
    assert scores["value"].is_between(0, 100).all()


def test_sources_are_listed_with_their_licence_and_number_of_rows(scores):
    sources = pl.read_csv(BENCHMARKS.with_name("sources.csv"))
    assert sources["rows_in_benchmarks_csv"].sum() == scores.height
    assert set(sources["licence_as_stated"]) == set(scores["licence"])
    by_licence = sources.group_by("licence_as_stated").agg(pl.col("rows_in_benchmarks_csv").sum())
    assert dict(by_licence.rows()) == dict(scores.group_by("licence").len().rows())


def test_the_direction_is_known_only_where_the_metric_tells(scores):
    direction = dict(scores.group_by("metric").agg(pl.col("higher_is_better").unique().first()).rows())
    assert direction["acc"] and direction["acc_norm"] and direction["pass@1"] and direction["mc2"]
    assert direction["acc, ranked classification"] and direction["len_norm acc, ranked classification"]
    assert direction == {metric: higher_is_better(metric) for metric in direction}
    assert direction[NOT_STATED] is None
    assert direction["raw"] is None


def test_means_over_parts_are_marked(scores):
    marked = scores.filter("is_group")
    is_mean = scores["flags"].str.contains("derived_macro_mean_of_subtasks") | scores["metric"].str.starts_with(
        "mean of"
    )
    assert marked.height == is_mean.sum() > 0


@pytest.fixture
def edition(monkeypatch):
    """Another version of Workdim, which ships other scores."""

    def ship(file):
        monkeypatch.setattr(schema, "SHIPPED_SCORES", (file, *schema.SHIPPED_SCORES[1:]))
        schema.fingerprint.cache_clear()

    yield ship
    monkeypatch.undo()
    schema.fingerprint.cache_clear()


def test_a_new_edition_takes_the_place_of_the_old_one_and_of_nothing_else(warehouse, tmp_path, edition):
    import_scores(warehouse, FILE_A)
    pl.read_parquet(BENCHMARKS).head(100).write_parquet(tmp_path / "new.parquet")
    edition(tmp_path / "new.parquet")
    assert queries.scores(warehouse).filter(~OWN).height == 103


def test_an_incomplete_installation_says_so(warehouse, tmp_path, edition):
    edition(tmp_path / "missing.parquet")
    with pytest.raises(WarehouseError, match="not completely installed"):
        queries.scores(warehouse)
