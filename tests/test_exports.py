"""Files that leave the app: what programs read back is what was there, and a spreadsheet runs none of it."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest

from core import exports

FRAME = pl.DataFrame(
    {
        "=name": ["=1+1", "plain", None, "＝SUM(A1)"],
        "value": [-1.5, 2.0, None, float("nan")],
        "n": [-3, 2**62, None, 0],
        "exact": [Decimal("-12345678901234567890.5"), None, Decimal(1), Decimal(2)],
        "layers": [[1, 2], [], None, [3]],
        "tags": [["=x", "y"], [], None, ["z"]],
        "at": [datetime(2026, 1, 2, tzinfo=UTC), None, None, None],
    }
)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_no_cell_and_no_heading_starts_a_formula(start: str):
    frame = pl.DataFrame({f"{start}head": [f"{start}cmd|'/c calc'!A0", "safe"], "other": [1, -2]})
    back = pl.read_csv(io.BytesIO(exports.excel_csv(frame)))
    assert back.columns == [f"'{start}head", "other"]
    assert back[back.columns[0]].to_list() == [f"'{start}cmd|'/c calc'!A0", "safe"]
    assert back["other"].to_list() == [1, -2]


def test_excel_reads_it_as_utf_8_and_numbers_stay_numbers():
    content = exports.excel_csv(FRAME)
    assert content.startswith(b"\xef\xbb\xbf")
    first = content.decode("utf-8-sig").splitlines()[1].split(",")
    assert first[:4] == ['"\'=1+1"', "-1.5", "-3", "-12345678901234567890.5"]


@pytest.mark.parametrize("text", ["x;=1+1", 'x;"=1+1', "x; =1+1", "x\t=1+1", "x\n=1+1", "x;＝1+1;y", '";=1+1'])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_formula_begins_where_a_spreadsheet_parts_cells_otherwise(text: str, separator: str):
    frame = pl.DataFrame({"n": [1], "text": [text], f"head{text}": [text]})
    content = exports.excel_csv(frame).decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(content), delimiter=separator) for cell in row]
    assert not [cell for cell in cells if cell.strip(' "').startswith(("=", "＝"))]


def test_headings_that_become_equal_are_no_matter():
    frame = pl.DataFrame({"=a": [1], "'=a": [2]})
    assert exports.excel_csv(frame).decode("utf-8-sig").splitlines() == ['"\'=a","\'=a"', "1,2"]


def test_csv_for_programs_changes_nothing_but_lists():
    lines = exports.csv(FRAME).decode().splitlines()
    assert lines[0] == "=name,value,n,exact,layers,tags,at"
    assert lines[1].startswith('=1+1,-1.5,-3,-12345678901234567890.5,"[1, 2]",=x y,2026-01-02')


def test_parquet_is_read_back_as_it_was():
    assert pl.read_parquet(exports.parquet(FRAME)).equals(FRAME)


def test_json_is_a_list_of_objects():
    rows = json.loads(exports.as_json(FRAME))
    assert rows[0]["layers"] == [1, 2] and rows[0]["at"] == "2026-01-02T00:00:00Z" and rows[2]["=name"] is None
    assert rows[0]["exact"] == pytest.approx(-12345678901234567890.5) and rows[2]["exact"] == 1
    assert rows[3]["value"] == "nan" and rows[2]["value"] is None


@pytest.mark.parametrize("write", [exports.csv, exports.excel_csv, exports.parquet, exports.as_json])
def test_no_rows_are_a_file_too(write):
    assert write(FRAME.clear())


def test_markdown_holds_the_statement_and_rows_in_which_nothing_is_markup() -> None:
    frame = pl.DataFrame({"na|me": ["a|b\n**c** <img src=x>", None], "value": [1 / 3, -2.0], "n": [1, 2]})
    told = exports.markdown(frame, "SELECT '```' FROM runs\n").decode()
    assert told.splitlines() == [
        "````sql",
        "SELECT '```' FROM runs",
        "````",
        "",
        r"| na\|me | value | n |",
        "| --- | --- | --- |",
        r"| a\|b \*\*c\*\* \<img src=x\> | 0.333333 | 1 |",
        "|  | -2 | 2 |",
    ]
    long = exports.markdown(pl.DataFrame({"n": range(exports.MAX_MARKDOWN_ROWS + 7)}), "SELECT 1").decode()
    assert long.count("\n|") == exports.MAX_MARKDOWN_ROWS + 2 and long.endswith("(7 more)\n")
