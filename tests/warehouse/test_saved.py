"""Saved queries outlive the file, and the schema is told in the words of its comments."""

from __future__ import annotations

import pytest

from core.errors import InputError
from core.tables import TABLES, VERSIONS
from core.warehouse import people, schema


def test_a_query_is_saved_found_replaced_and_forgotten(warehouse):
    people.save_query(warehouse, " first look ", "SELECT 1 ", note="  ")
    assert [(row.name, row.sql, row.note) for row in people.list_queries(warehouse)] == [
        ("first look", "SELECT 1", None)
    ]
    with pytest.raises(InputError, match="Choose another name, or replace it with --replace"):
        people.save_query(warehouse, "first look", "SELECT 2")
    assert people.find_query(warehouse, "first look").sql == "SELECT 1"
    people.save_query(warehouse, "first look", "SELECT 2", note="two", replace=True)
    assert people.find_query(warehouse, "first look").note == "two"
    (file,) = (warehouse.folder.people / "queries").iterdir()
    assert '"SELECT 2"' in file.read_text()
    people.delete_query(warehouse, "first look")
    assert people.list_queries(warehouse) == []
    assert not file.exists() and not warehouse.folder.pending_changes()


def test_a_name_that_cannot_be_read_is_refused_and_any_other_kept_letter_by_letter(warehouse):
    for name in ("", "   ", "x" * 81, "two\nlines", "zero\u200bwidth", "\u202eturned", "nul\0"):
        with pytest.raises(InputError):
            people.save_query(warehouse, name, "SELECT 1")
    assert people.list_queries(warehouse) == []
    for name in ("表の一覧", "it's; DROP TABLE runs --", "<b>bold</b>", "a,b%2C&c=d#e"):
        people.save_query(warehouse, name, "SELECT '" + "長" * 1000 + "'")
        assert people.find_query(warehouse, name).name == name


def test_an_unknown_name_lists_what_is_there(warehouse):
    with pytest.raises(InputError, match="Unknown saved query"):
        people.find_query(warehouse, "x")
    people.save_query(warehouse, "ranking", "SELECT 1")
    with pytest.raises(InputError, match="Did you mean ranking"):
        people.delete_query(warehouse, "rankin")


def test_the_schema_tells_every_column_with_its_comment(warehouse):
    told = {table.name: table for table in schema.list_tables(warehouse)}
    assert told.keys() == {*TABLES, VERSIONS.name}
    for name, table in TABLES.items():
        assert told[name].comment == table.comment
        assert {column.name: column.comment for column in told[name].columns} == table.comments
    assert [column.name for column in told["scores"].columns] == TABLES["scores"].names
    assert told["scores"].n_rows > 1000 and told["runs"].n_rows == 0


def test_a_table_is_found_by_its_name_and_no_other(warehouse):
    assert schema.find_table(warehouse, "RUNS").name == "runs"
    with pytest.raises(InputError, match="Did you mean runs"):
        schema.find_table(warehouse, "run")
