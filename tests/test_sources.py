"""A number keeps its source through arithmetic, and a text through everything that is done to texts."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from core.errors import Sentence
from core.locale import _, in_language, worded
from core.sources import STATED, Count, Number, Source, Text, counted, derived, joined, shown, sourced, stamped, stated
from core.tables import RunControlRow, ScoredRun
from core.tables.sourced import row_of, rows_of

PEAK = Source("run_summaries", "inner_max", (("run_id", "r1"),))
START = Source("run_summaries", "embedding_dimension", (("run_id", "r1"),))


def told(text: str) -> list[tuple[str, str | None]]:
    """Each number of a text as it is written, with the column that it is of."""
    return [
        (text[one.start : one.end], one.source.column if one.source else None) for one in getattr(text, "stretches", ())
    ]


def test_a_change_of_unit_keeps_the_source_and_two_sources_make_a_derived_number():
    peak, start = Number(106.2, PEAK), Number(44.0, START)
    for same in (100 * peak, peak / 2, -peak, abs(peak), round(peak, 1), round(peak), peak - 1, max(peak, 1.0)):
        assert same.source == PEAK
    assert (peak / start).source == Source("run_summaries", "inner_max, embedding_dimension")
    assert (peak - peak).source == PEAK and Count(3, PEAK) + 1 == 4
    assert (stated(2, "A") * stated(3, "B")).source.table == STATED


def test_anywhere_else_it_is_a_plain_number():
    peak = Number(106.2, PEAK)
    assert peak == 106.2 and hash(peak) == hash(106.2) and f"{peak:.1f}" == "106.2" and 3 // Count(2, PEAK) == 1
    assert (np.array([1.0, 2.0]) * peak).tolist() == [106.2, 212.4]
    assert pl.DataFrame({"a": [peak, None], "b": [Text("x"), "y"]}).schema == {"a": pl.Float64, "b": pl.String}
    for copied in (copy.deepcopy(peak), pickle.loads(pickle.dumps(peak))):
        assert copied == peak and copied.source == PEAK
    assert sourced(None, PEAK) is None and sourced(True, PEAK) is True


def test_a_text_knows_its_numbers_wherever_they_are_moved():
    text = Text("{name}: {peak:.0f} at layer {n}").format(name="Qwen-7B", peak=Number(106.2, PEAK), n=3)
    whole = [("106", "inner_max"), ("3", None)]
    assert text == "Qwen-7B: 106 at layer 3" and told(text) == whole
    for moved in (
        text + ".",
        "(" + text + ")",
        Text(", ").join(["first", text]),
        joined("", (text, " m")),
        text.replace("Qwen-7B", "a longer name than before"),
        Text("{}  ").format(text).rstrip(),
        text.substituted(r"[aeiou]", lambda _found: ""),
        text[4:],
        str(text),
        pickle.loads(pickle.dumps(text)),
    ):
        assert told(moved) == whole, moved
    assert told(text[:10]) == [] and told(text[:12]) == whole[:1], "half a number is none"
    assert told(Text(", ").join(map(str, (Count(1, PEAK), Count(20, START))))) == [
        ("1", "inner_max"),
        ("20", "embedding_dimension"),
    ]


def test_names_with_digits_are_no_numbers_and_a_number_without_a_source_is_told():
    assert told(shown("Qwen-7B")) == [] and told(shown(7)) == [("7", None)]
    assert told(Text("{} {:>5} {!r}").format("7B", "x", "8B")) == []


@pytest.mark.parametrize("language", ("en", "ja"))
def test_messages_and_sentences_keep_them_in_every_language(language):
    def said() -> tuple[str, str]:
        part = _("{name}: {relation}").format(name="peak", relation=shown(Number(106.2, PEAK), ".1f"))
        runs = Sentence("{n} further check", "{n} further checks", n=counted(12, "run_checks"))
        return part, worded(runs)

    part, sentence = in_language(language, said)
    assert told(part) == [("106.2", "inner_max")] and told(sentence) == [("12", "count")]


@dataclass(frozen=True)
class Model:
    run_id: str
    dimension: float | None
    is_vetoed: bool = False


@dataclass(frozen=True)
class Found:
    rho: float
    models: tuple[Model, ...]
    word: str = "hint"


def test_an_answer_is_stamped_with_the_paths_of_its_fields():
    found = stamped(Found(0.31, (Model("r1", 106.2), Model("r2", Number(44.0, START)), Model("r3", None))), "answer")
    assert found.rho.source == Source("answer", "rho")
    assert found.models[0].dimension.source.column == "models[r1].dimension"
    assert found.models[1].dimension.source == START, "what has a source keeps it"
    assert found.models[2].dimension is None and found.models[0].is_vetoed is False
    assert derived(1, "answer", "n").source == Source("answer", "n")


def test_a_row_says_of_each_number_which_table_it_is_of():
    frame = pl.DataFrame(
        {"run_id": ["r1"], "name": ["m"], "inner_max": [106.2], "parameters": [7], "score": [43.9], "n_points": [9]}
        | {"score_sources": [2]}
    )
    row = row_of(frame, ScoredRun)
    assert row.name == "m" and row.inner_max.source.key == (("run_id", "r1"),)
    tables = {name: getattr(row, name).source.table for name in ("inner_max", "parameters", "score")}
    assert tables == {"inner_max": "run_summaries", "parameters": "models", "score": "scores"}
    assert row.score.source.column == "value" and row.n_points.source.table == "run_summaries"
    assert row.score_sources.source == Source("runs", "score_sources", (("run_id", "r1"),)), "declared by no table"
    control = pl.DataFrame({"run_id": ["r1"], "power": [0.8]})
    assert next(rows_of(control, RunControlRow)).power.source.table == "run_controls"
