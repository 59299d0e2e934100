"""What no parcel holds: beside the file before it is in the file, and back again when the file is lost."""

from __future__ import annotations

import os
from datetime import datetime

import duckdb
import polars as pl
import pytest

from core.errors import ResourceError
from core.store.parcels import MANY_TABLES
from core.warehouse import mirror, pilots
from core.warehouse.comments import COMMENTS
from core.warehouse.inserting import insert
from core.warehouse.warehouse import Warehouse
from tests.warehouse.test_pilots import PILOT, with_score

NOW = datetime(2026, 1, 1)
FILE_A, FILE_B = "a" * 64, "b" * 64


def import_scores(warehouse, file_sha256, n=3):
    """As a reader of score files stores one: the file, its scores, its single answers."""
    score = {
        "repository": [f"o/model-{k}" for k in range(n)],
        "revision": None,
        "benchmark": "arc",
        "metric": "acc",
        "filter": "none",
        "n_shot": 0,
        "suite": "s",
        "value": 0.5,
        "std_error": None,
        "unit": "fraction",
        "higher_is_better": True,
        "n_samples": 10,
        "is_partial": False,
        "is_group": False,
        "source": "a file",
        "licence": "own",
        "as_of": None,
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
    with warehouse.write(mirrored=("score_files", "scores", "score_samples")) as connection:
        connection.execute("INSERT INTO score_files VALUES (?, 'f.json', 'lm_eval', ?, 0, ?)", [file_sha256, n, NOW])
        insert(connection, "scores", pl.DataFrame(score))
        insert(connection, "score_samples", pl.DataFrame(answer))


def fill(warehouse):
    """A row or more in every table that is mirrored."""
    pilots.register(warehouse, with_score(PILOT, 61.0))
    pilots.add_runs(warehouse, PILOT.pilot_id, ["one", "two"])
    import_scores(warehouse, FILE_A)
    import_scores(warehouse, FILE_B, n=2)
    with warehouse.write(mirrored=("plans", "plan_outcomes", "model_aliases", "saved_queries")) as connection:
        connection.execute("INSERT INTO plans VALUES ('p', 'r', 'm', 'prune', [2, 3], NULL, 0.1, '{}', NULL, ?)", [NOW])
        connection.execute("INSERT INTO plan_outcomes VALUES ('p', 'loss', NULL, 1, 2, 0.1, 9, ?)", [NOW])
        connection.execute("INSERT INTO model_aliases VALUES ('Llama', 'o/llama', ?)", [NOW])
        connection.execute("INSERT INTO saved_queries VALUES ('all', 'SELECT 1', 'a ''note''', ?)", [NOW])


def content(warehouse, tables=mirror.TABLES):
    return {table: warehouse.read(f"SELECT * FROM {table} ORDER BY ALL") for table in tables}


def lose(warehouse):
    warehouse.path.unlink()


def test_a_lost_file_is_made_anew_with_all_that_people_wrote_and_imported(warehouse):
    fill(warehouse)
    before = content(warehouse)
    assert all(rows.height for rows in before.values())
    lose(warehouse)
    after = content(warehouse)
    assert all(before[table].equals(after[table]) for table in before)


def test_shipped_scores_are_not_mirrored_and_an_import_rewrites_no_other(warehouse):
    import_scores(warehouse, FILE_A)
    first = warehouse.mirror / "scores" / f"{FILE_A}.parquet"
    stamp = first.stat().st_mtime_ns
    import_scores(warehouse, FILE_B)
    assert {file.stem for file in mirror.files(warehouse.mirror, "scores")} == {FILE_A, FILE_B}
    assert first.stat().st_mtime_ns == stamp and pl.read_parquet(first).height == 3
    assert warehouse.read("SELECT count(*) AS n FROM scores")["n"][0] > 100


def test_what_is_taken_out_leaves_the_mirror_too(warehouse):
    fill(warehouse)
    with warehouse.write(mirrored=mirror.TABLES) as connection:
        for table in ("score_files", "scores", "score_samples"):
            connection.execute(f"DELETE FROM {table} WHERE file_sha256 = ?", [FILE_A])
        connection.execute("DELETE FROM saved_queries")
    assert not list(warehouse.mirror.rglob(f"*{FILE_A}*")) and not (warehouse.mirror / "saved_queries.parquet").exists()
    before = content(warehouse)
    lose(warehouse)
    after = content(warehouse)
    assert all(before[table].equals(after[table]) for table in before)


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_mirror_that_cannot_be_written_refuses_the_write(warehouse, monkeypatch, fails):
    fill(warehouse)
    before = content(warehouse), {file: file.read_bytes() for file in warehouse.mirror.rglob("*") if file.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, fails, full)
        with pytest.raises(ResourceError, match=r"No space left .* Nothing was changed"):
            import_scores(warehouse, "c" * 64)
    after = content(warehouse), {file: file.read_bytes() for file in warehouse.mirror.rglob("*") if file.is_file()}
    assert all(before[0][table].equals(after[0][table]) for table in before[0])
    assert before[1] == after[1]


def test_a_write_that_fails_after_the_mirror_was_written_takes_it_back(warehouse, monkeypatch):
    fill(warehouse)
    before = content(warehouse)
    really = mirror.write

    def written_and_then(connection, folder, tables):
        really(connection, folder, tables)
        if not failed:
            failed.append(True)
            raise duckdb.IOException("IO Error: No space left on device")

    failed: list[bool] = []
    monkeypatch.setattr(mirror, "write", written_and_then)
    with pytest.raises(ResourceError, match="no room"):
        import_scores(warehouse, "c" * 64)
    assert failed
    lose(warehouse)
    after = content(warehouse)
    assert all(before[table].equals(after[table]) for table in before)


def cut(file):
    file.write_bytes(file.read_bytes()[:-50])


def hold_other_columns(file):
    pl.DataFrame({"colour": ["red"]}).write_parquet(file)


def lack_a_value(file):
    pl.read_parquet(file).with_columns(reference=pl.lit(None, pl.String)).write_parquet(file)


def hold_a_name_twice(file):
    rows = pl.read_parquet(file)
    pl.concat([rows, rows]).write_parquet(file)


@pytest.mark.parametrize("damage", [cut, hold_other_columns, lack_a_value, hold_a_name_twice])
def test_one_damaged_file_is_one_line_is_kept_and_stops_nothing(warehouse, damage, caplog):
    fill(warehouse)
    before = content(warehouse)
    file = warehouse.mirror / "model_aliases.parquet"
    damage(file)
    kept = file.read_bytes()
    lose(warehouse)
    after = content(warehouse)
    assert after["model_aliases"].is_empty()
    assert all(before[table].equals(after[table]) for table in before if table != "model_aliases")
    (line,) = [record.message for record in caplog.records]
    assert str(file) in line and "\n" not in line
    with warehouse.write(mirrored=("model_aliases",)) as connection:
        connection.execute("INSERT INTO model_aliases VALUES ('new', 'o/new', ?)", [NOW])
    assert [aside.read_bytes() for aside in mirror.set_aside(warehouse.mirror)] == [kept]


def test_a_part_of_an_earlier_version_is_read_with_nulls(warehouse):
    import_scores(warehouse, FILE_A)
    file = warehouse.mirror / "scores" / f"{FILE_A}.parquet"
    pl.read_parquet(file).drop("source_row", "dtype").write_parquet(file)
    lose(warehouse)
    rows = warehouse.read("SELECT source_row, dtype FROM scores WHERE file_sha256 = ?", [FILE_A])
    assert rows.rows() == [(None, None)] * 3


def test_a_hash_that_is_none_names_no_file_elsewhere(warehouse):
    import_scores(warehouse, "../../elsewhere")
    assert len(mirror.files(warehouse.mirror, "scores")) == 1
    lose(warehouse)
    assert Warehouse(warehouse.path).read("SELECT 1 FROM scores WHERE file_sha256 = '../../elsewhere'").height == 3


def test_every_table_is_in_parcels_or_mirrored():
    of_parcels = {"models", "corpora", "runs", *MANY_TABLES}
    assert set(COMMENTS) == of_parcels | {*mirror.TABLES, "schema_migrations"}
