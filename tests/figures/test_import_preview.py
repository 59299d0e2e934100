"""What an import does and paired differences, by value; and what an import prints."""

from __future__ import annotations

import polars as pl
import pytest

from core.analysis.differences import compare_all_answers
from core.figures.chart_figure import chart_figure
from core.figures.scores import paired_chart, with_kind
from core.scores.score_rows import Remark
from core.terminal.output import one_line
from core.terminal.score_imports import import_lines
from core.warehouse.aliases import suggest_models
from core.warehouse.stored_scores import ImportPreview
from core.wording import scores as score_wording
from core.wording.scores import comparison_lines, comparison_outcome_text, p_number_text
from tests.warehouse.score_files import score, score_file


def test_each_value_counts_by_what_matters_most_about_it():
    kinds = [("taken", None), ("mapped", None), ("mapped", "conflict"), ("taken", "duplicate"), ("skipped", None)]
    rows = pl.DataFrame(kinds, schema={"fate": pl.String, "known": pl.String}, orient="row")
    assert with_kind(rows)["kind"].to_list() == ["taken", "mapped", "conflict", "duplicate", "skipped"]


def compared(right_a: list[int], right_b: list[int]):
    a, b = (
        pl.DataFrame(
            {"doc_hash": [f"q{n}" for n in range(len(right))], "value": [float(one) for one in right]}
        ).with_columns(
            benchmark=pl.lit("<i>arc"), metric=pl.lit("acc"), filter=pl.lit("none"), group_id=pl.lit(None, pl.String)
        )
        for right in (right_a, right_b)
    )
    return compare_all_answers(a, b)


def test_a_difference_that_can_be_told_is_filled_and_one_that_cannot_is_open():
    clear, unclear = compared([1] * 20 + [0] * 5, [0] * 25), compared([1, 0, 1, 0], [0, 1, 1, 1])
    figure = chart_figure(paired_chart("o/<b>a", "b", [*clear, *unclear]))
    assert [(trace.name, trace.marker.symbol) for trace in figure.data] == [
        ("told apart", "circle"),
        ("cannot be told apart", "circle-open"),
    ]
    assert figure.data[0].x == (0.8,) and figure.layout.yaxis.ticktext == ("&lt;i&gt;arc, acc",) * 2
    assert figure.layout.xaxis.title.text.startswith("&lt;b&gt;a minus b")


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ([1] * 20 + [0] * 5, [0] * 25, "The difference exceeds chance"),
        ([1, 0] * 30, [0, 1] * 30, "with 80 % probability we would detect"),
        ([1, 0, 1], [0, 1, 1], "too few questions"),
        ([1, 0, 1], [1, 0, 1], "cannot be told apart on these questions"),
    ],
)
def test_a_comparison_says_whether_the_two_can_be_told_apart(a, b, said):
    ((_key, one),) = compared(a, b)
    assert said in comparison_lines("arc", "a", "b", one)[-1]
    assert (comparison_outcome_text(one) == "first is higher") == one.is_told_apart


def test_p_values_are_written_short():
    assert [p_number_text(p) for p in (None, 1.0, 0.0312, 3e-9)] == ["–", "1", "0.031", "< 0.0001"]


def test_reasons_are_grouped_with_their_first_places():
    file = score_file(*[Remark("not_a_number", f"x{n}") for n in range(5)], Remark("no_value"), score())
    first, second = score_wording.remark_lines(file.rows, skipped=True)
    assert first.startswith("5 × ") and "x0" in first and first.endswith(" (for example line 2; line 3; line 4)")
    assert second.startswith("1 × ")


def test_a_terminal_gets_no_commands_out_of_a_name():
    file = score_file(score("\x1b[31mred"), name="a.csv")
    found = pl.DataFrame(
        {"fate": ["taken"], "known": [None], "is_partial": [False], "model": [""], "benchmark": [""], "metric": [""]}
        | {"value": [0.5], "known_from": [None], "known_value": [None]},
        schema_overrides={"known": pl.String},
    )
    names = pl.DataFrame(
        {"name": ["\x1b[31mred", "ghost"], "matched_by": None, "is_measured": False, "suggestions": [["o/red"], []]},
        schema_overrides={"suggestions": pl.List(pl.String), "matched_by": pl.String},
    )
    told = "\n".join(map(one_line, import_lines(ImportPreview(file, found, names, None), None, [])))
    assert "\x1b" not in told and "o/red" in told and "not measured here: ghost\n" in told and "not stored" in told


def test_a_name_is_met_with_the_model_it_looks_like_and_a_known_or_an_unlike_one_with_none():
    like = ["ORG/Some-Model", "org__Some-Model", "/data/models/some-model/", "C:\\models\\Some-Model", "./Some-Model"]
    like.append("/root/.cache/hub/models--org--Some-Model/snapshots/0a1b")
    known_or_unlike = ["org/Some-Model", "x/y", "", "///", "__"]
    found = suggest_models([*like, *known_or_unlike], ["org/Some-Model", "other/thing"])
    assert found == {name: ["org/Some-Model"] if name in like else [] for name in found}
