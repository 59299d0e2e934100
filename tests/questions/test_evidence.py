"""What an answer rests on, as it is read; and an answer as a record."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import polars as pl

from core.questions.record import Rows, as_record
from core.questions.runs import named_texts


class Texts:
    """A warehouse of two texts of one name."""

    def read(self, sql: str, params: object = None) -> pl.DataFrame:
        return pl.DataFrame({"corpus_id": ["notes@aaaaaaaa", "notes@bbbbbbbb"], "corpus_name": ["notes", "notes"]})


def test_a_text_has_one_name_whichever_runs_are_looked_at() -> None:
    one_run = pl.DataFrame({"run_id": ["r"], "corpus_id": ["notes@bbbbbbbb"], "corpus_name": ["notes"]})
    named = named_texts(Texts(), one_run)
    assert named["corpus_name"].to_list() == ["notes #bbbbbb"] and named.columns == one_run.columns


def test_a_record_has_what_is_declared_and_null_for_what_is_not_there() -> None:
    @dataclass
    class Shares:
        low: float

    answer = SimpleNamespace(
        n=3, relation=None, rows=(SimpleNamespace(name="a"),), shares=Shares(0.5), group={"text": "t"}
    )
    fields = {
        "n": "n",
        "coefficient": "relation.rho",
        "models": Rows("rows", {"model": "name"}),
        "shares": "shares",
        "text": "group.text",
        "within": Rows("relation.strata", {"n": "n"}),
    }
    assert as_record(answer, fields) == {
        "n": 3,
        "coefficient": None,
        "models": [{"model": "a"}],
        "shares": {"low": 0.5},
        "text": "t",
        "within": None,
    }
