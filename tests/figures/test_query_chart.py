"""The quick picture of a query: what it is drawn as at first, its points, and that nothing in it is markup."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from core.figures.query_chart import (
    KINDS,
    MOST_POINTS,
    MOST_SERIES,
    ChartChoice,
    default_choice,
    grouping_columns,
    query_figure,
    query_points,
)
from core.locale import in_language

PROFILE = pl.DataFrame({"name": ["a", "a", "b", "b"], "layer": [1, 0, 0, 1], "value": [3.0, 2.0, 5.0, None]})


@pytest.mark.parametrize(
    ("frame", "choice"),
    [
        (PROFILE, ChartChoice("line", "layer", "value", "name")),
        (pl.DataFrame({"name": ["a", "b"], "n_layers": [30, 6]}), ChartChoice("bar", "name", "n_layers", None)),
        (
            pl.DataFrame({"name": ["a", "b", "b"], "text": ["t", "t", "u"], "value": [3.0, 6.0, 7.0]}),
            ChartChoice("bar", "name", "value", "text"),
        ),
        (
            pl.DataFrame({"name": ["a", "a", "a"], "low": [1.0, 2.0, 3.0], "high": [3.0, 6.0, 7.0]}),
            ChartChoice("scatter", "low", "high"),
        ),
        (pl.DataFrame({"x": [1.0, 2.0], "y": [1.0, 3.0]}), ChartChoice("scatter", "x", "y")),
        (pl.DataFrame({"x": [1.0, 2.0, 2.5]}), ChartChoice("histogram", "x")),
        (pl.DataFrame({"day": [date(2026, 1, 1), date(2026, 1, 2)], "n": [1, 2]}), ChartChoice("line", "day", "n")),
        (
            pl.DataFrame({"name": ["a", "b"], "n_points": [90, 80], "d2_lower": [1.0, 2.0], "loss": [3.0, 2.0]}),
            ChartChoice("bar", "name", "loss"),
        ),
        (
            pl.DataFrame({"layer": [0, 1], "n_points": [90, 80], "inner_max": [None, None], "x": [3.0, 2.0]}),
            ChartChoice("line", "layer", "x"),
        ),
        (
            pl.DataFrame({"layer": [0, 1], "mean_distance": [0.9, 0.8], "value": [3.0, 2.0]}),
            ChartChoice("line", "layer", "value"),
        ),
        (pl.DataFrame({"name": ["a", "b"]}), None),
        (PROFILE.clear(), None),
    ],
)
def test_the_first_picture(frame: pl.DataFrame, choice: ChartChoice | None):
    assert default_choice(frame) == choice


def test_a_line_runs_from_left_to_right_and_a_missing_value_is_counted():
    data = query_points(PROFILE, ChartChoice("line", "layer", "value", "name"))
    assert [(one.name, one.x, one.y) for one in data.series] == [("a", [0, 1], [2.0, 3.0]), ("b", [0], [5.0])]
    assert (data.n_empty, data.n_beyond) == (1, 0)


@pytest.mark.parametrize("kind", ["bar", "scatter"])
def test_names_stand_at_the_side_where_they_take_no_height(kind: str):
    names = [f"HuggingFaceTB/SmolLM2-{size}-Instruct" for size in ("135M", "360M")]
    figure = query_figure(
        query_points(pl.DataFrame({"model": names, "value": [1.0, 2.0]}), ChartChoice(kind, "model", "value"))
    )
    assert (list(figure.data[0].x), list(figure.data[0].y)) == ([1.0, 2.0], names)
    assert figure.layout.yaxis.title.text == "model" and list(figure.layout.yaxis.tickvals) == names
    assert max(map(len, figure.layout.yaxis.ticktext)) <= 24


def test_infinite_values_and_what_is_too_much_are_left_out_and_counted():
    many = pl.DataFrame({"x": [float(n) for n in range(MOST_POINTS + 7)] + [float("inf"), float("nan")]})
    data = query_points(many, ChartChoice("histogram", "x"))
    assert (len(data.series[0].x), data.n_empty, data.n_beyond) == (MOST_POINTS, 2, 7)
    parts = pl.DataFrame({"x": range(40), "part": [n % 20 for n in range(40)]})
    data = query_points(parts, ChartChoice("scatter", "x", "x", "part"))
    assert len(data.series) == MOST_SERIES and data.n_beyond == 2 * (20 - MOST_SERIES)
    assert "part" not in grouping_columns(parts)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_each_kind_bears_the_names_of_its_columns(kind: str, language: str):
    choice = ChartChoice(kind, "layer", None if kind == "histogram" else "value", "name")
    figure = in_language(language, query_figure, query_points(PROFILE, choice))
    assert len(figure.data) == 2 and {trace.name for trace in figure.data} == {"a", "b"}
    assert figure.layout.xaxis.title.text == "layer"
    assert figure.layout.yaxis.title.text == {"histogram": {"en": "rows", "ja": "行数"}[language]}.get(kind, "value")


def test_twelve_series_are_told_apart():
    frame = pl.DataFrame({"x": range(MOST_SERIES), "part": [f"p{n}" for n in range(MOST_SERIES)]})
    for kind in ("line", "scatter", "bar"):
        figure = query_figure(query_points(frame, ChartChoice(kind, "x", "x", "part")))
        looks = {str((trace.line if kind == "line" else trace.marker).to_plotly_json()) for trace in figure.data}
        assert len(looks) == MOST_SERIES
        legend = figure.layout.legend  # beside the picture, scrolling: above it, it would take its place
        assert (legend.orientation, legend.maxheight) == ("v", 1.0) and legend.x > 1


def test_markup_is_drawn_letter_by_letter():
    markup = "<a href='javascript:alert(1)'>x</a>"
    frame = pl.DataFrame({markup: [markup, "b"], "<b>": [1, 2]})
    figure = query_figure(query_points(frame, ChartChoice("bar", markup, "<b>", markup)))
    drawn = [figure.layout.xaxis.title.text, figure.layout.yaxis.title.text, figure.layout.legend.title.text]
    drawn += figure.layout.yaxis.ticktext
    drawn += [trace.name for trace in figure.data] + [value for trace in figure.data for value in trace.y]
    assert drawn and not [text for text in drawn if "<" in text]


def test_no_drawable_row_is_an_empty_picture():
    frame = pl.DataFrame({"x": [1.0, None], "y": [None, 2.0]}, schema={"x": pl.Float64, "y": pl.Float64})
    figure = query_figure(query_points(frame, ChartChoice("scatter", "x", "y")))
    assert figure.layout.annotations[0].text == "No row has both values."


def test_rows_that_share_a_place_are_points_and_never_added_up() -> None:
    twice = pl.DataFrame({"model": ["a", "a", "b"], "value": [1.0, 2.0, 3.0]})
    found = query_points(twice, ChartChoice("bar", "model", "value"))
    assert found.choice.kind == "scatter" and found.series[0].y == [1.0, 2.0, 3.0]
    assert query_points(twice[1:], ChartChoice("bar", "model", "value")).choice.kind == "bar"
