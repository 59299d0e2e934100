"""Single answers of many models in one table, CSV or Parquet: what the ladder ships, and what an export writes."""

from __future__ import annotations

import io

import polars as pl
import pytest

from core.errors import InputError
from core.scores.reader import read_scores

ROWS = {
    "repository": ["local:a", "local:a", "o/b"],
    "revision": ["0123456789ab", "0123456789ab", None],
    "benchmark": ["ladder_copying"] * 3,
    "metric": ["acc"] * 3,
    "filter": ["none", "none", None],
    "doc_hash": ["0a0a0a0a0a0a0a0a", "1b1b1b1b1b1b1b1b", "0a0a0a0a0a0a0a0a"],
    "doc_id": [0, 1, 0],
    "value": [1.0, 0.0, 1.0],
}


def parquet(**changes) -> bytes:
    content = io.BytesIO()
    pl.DataFrame(ROWS | changes, strict=False).write_parquet(content)
    return content.getvalue()


@pytest.mark.parametrize("content", [parquet(), pl.DataFrame(ROWS).write_csv().encode()], ids=["parquet", "csv"])
def test_each_line_is_an_answer(content):
    found = read_scores("answers", content, {"o/b": "owner/better"})
    assert (found.format, found.rows) == ("answers_table", ())
    told = [(one.repository, one.revision, one.filter, one.doc_hash, one.value) for one in found.samples]
    assert told == [
        ("local:a", "0123456789ab", "none", "0a0a0a0a0a0a0a0a", 1.0),
        ("local:a", "0123456789ab", "none", "1b1b1b1b1b1b1b1b", 0.0),
        ("owner/better", None, "not stated", "0a0a0a0a0a0a0a0a", 1.0),
    ]
    assert {one.file_sha256 for one in found.samples} == {found.sha256}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"value": [1.0, None, 0.0]}, r"row 2: no_value\."),
        ({"value": [1.0, float("inf"), 0.0]}, "row 2: not_finite"),
        ({"repository": ["a", "b", ""]}, "row 3: name_missing"),
        ({"doc_hash": ["0a0a0a0a", "1b1b1b1b", "../x/../y"]}, "row 3: not_readable"),
        ({name: [] for name in ROWS}, "holds no scores"),
    ],
)
def test_a_line_that_is_no_answer_refuses_the_file(changes, line):
    with pytest.raises(InputError, match=line):
        read_scores("answers.parquet", parquet(**changes))
