"""The reference scores: all of them, unaltered, with what their sources say and no more."""

import polars as pl
import pytest

from core.errors import WarehouseError
from core.registry.names import NOT_STATED
from core.warehouse import queries, schema
from core.warehouse import scores as shipped
from core.warehouse.scores import REFERENCE
from tests.warehouse.filling import FILE_A, import_scores


@pytest.fixture
def scores(warehouse):
    return queries.scores(warehouse)


def test_every_shipped_row_is_there(scores):
    published = pl.read_parquet(REFERENCE)
    assert scores.height == published.height == 9928
    assert scores["value"].sum() == pytest.approx(published["score"].sum())
    assert scores["value"].is_between(0, 100).all()


def test_sources_are_listed_with_their_licence_and_number_of_rows(scores):
    sources = pl.read_csv(REFERENCE.with_name("sources.csv"))
    assert sources["rows_in_benchmarks_csv"].sum() == scores.height
    assert set(sources["licence_as_stated"]) == set(scores["licence"])
    by_licence = sources.group_by("licence_as_stated").agg(pl.col("rows_in_benchmarks_csv").sum())
    assert dict(by_licence.rows()) == dict(scores.group_by("licence").len().rows())


def test_what_a_source_leaves_out_stays_out(scores):
    published = pl.read_parquet(REFERENCE)
    for ours, theirs in (("revision", "revision"), ("n_shot", "n_shot"), ("std_error", "stderr"), ("as_of", "as_of")):
        assert scores[ours].null_count() == published[theirs].null_count()
    assert scores.filter(metric=NOT_STATED).height == published["metric"].null_count()
    assert set(scores["unit"]) == {"percent"}


def test_the_direction_is_known_only_where_the_metric_tells(scores):
    direction = dict(scores.group_by("metric").agg(pl.col("higher_is_better").unique().first()).rows())
    assert direction["acc"] and direction["acc_norm"] and direction["pass@1"] and direction["mc2"]
    assert direction["acc, ranked classification"] and direction["len_norm acc, ranked classification"]
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
        monkeypatch.setattr(shipped, "REFERENCE", file)
        schema.fingerprint.cache_clear()

    yield ship
    monkeypatch.undo()
    schema.fingerprint.cache_clear()


def test_a_new_edition_takes_the_place_of_the_old_one_and_of_nothing_else(warehouse, tmp_path, edition):
    import_scores(warehouse, FILE_A)
    pl.read_parquet(REFERENCE).head(100).write_parquet(tmp_path / "new.parquet")
    edition(tmp_path / "new.parquet")
    assert queries.scores(warehouse).height == 103


def test_an_incomplete_installation_says_so(warehouse, tmp_path, edition):
    edition(tmp_path / "missing.parquet")
    with pytest.raises(WarehouseError, match="not completely installed"):
        queries.scores(warehouse)
