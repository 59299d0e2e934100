"""Static pictures are well-formed, say what they show, and lay no name over another or beyond an edge."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from core.analysis.differences import LayerDifference
from core.figures.chart import Guide, Point, Span, log_axis, log_ticks, round_axis, row_chart, scatter_chart
from core.figures.chart_figure import COLOURS, axes_figure, chart_figure, recolour, translucent
from core.figures.layer_profiles import difference_chart, layer_chart, profile_svg, thumbnail
from core.figures.profile_data import Curve, Mark, ProfileData, Reference, claim_phases
from core.figures.svg import DARK, LIGHT, Caption, chart_svg, visual_svg
from core.figures.text import shorten_to_width, spread_apart, text_width, wrap_text
from core.tables import Run, RunExtremumRow
from tests.frames import made

SVG = "{http://www.w3.org/2000/svg}"


def turn(run_id: str, kind: str, layer: int, value: float) -> RunExtremumRow:
    return RunExtremumRow(run_id, "one_per_type", kind, layer, value, None, None)


def curve(name: str, values: list[float], run_id: str = "r1") -> Curve:
    last = len(values) - 1
    marks = [
        Mark(layer, layer / last, value, value * 0.9, value * 1.1)
        for layer, value in enumerate(values)
        if not math.isnan(value)
    ]
    return Curve(run_id, name, marks, None, None)


def data(*curves: Curve) -> ProfileData:
    return ProfileData("d2", "one_per_type", None, list(curves), (800, 800), True)


def words(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_a_profile_speaks_for_itself_and_nothing_of_its_name_is_markup():
    caption = Caption("A <b>model</b> & its profile", "python-docs, quick", "run 42")
    turns = [turn("r1", "peak", 2, 30.0)]
    svg = profile_svg(data(curve("<script>x", [10, 20, 30, 25])), caption, turns)
    told = words(svg)
    assert "A <b>model</b> & its profile" in told and "python-docs, quick" in told and "run 42" in told
    assert "<script>x" in told and "layer 2: 30.0" in told and "<script" not in svg
    assert "at most 30.0 inside (layer 2)" in (ElementTree.fromstring(svg).findtext(f"{SVG}desc") or "")


def test_a_click_beside_a_layer_chooses_it_and_its_value_is_told_once():
    svg = profile_svg(data(replace(curve("a", [10, 20, 30]), band=(1, 2))), Caption("t"), selected=1)
    strips = [one for one in ElementTree.fromstring(svg).iter(f"{SVG}rect") if one.get("data-layer") == "1"]
    assert [one.findtext(f"{SVG}title") for one in strips] == ["a\nLayer 1: 20.0 [18.0, 22.0]"]


def test_a_missing_layer_is_a_gap():
    svg = profile_svg(data(curve("a", [10, 20, math.nan, 25, 30])), Caption("t"))
    lines = [one.get("points") for one in ElementTree.fromstring(svg).iter(f"{SVG}polyline")]
    assert [len(points.split()) for points in lines[-2:]] == [2, 2]


def test_names_at_the_ends_keep_apart_and_inside():
    names = ["a-model-with-a-very-long-name-of-fifty-characters-or-so", "b", "c"]
    curves = [curve(name, [10, 20, 15 + 0.1 * n], f"r{n}") for n, name in enumerate(names)]
    svg = profile_svg(data(*curves), Caption("t"))
    ends = [one for one in ElementTree.fromstring(svg).iter(f"{SVG}text") if one.get("font-weight") and one.text != "t"]
    heights = sorted(float(one.get("y", 0)) for one in ends)
    assert min(b - a for a, b in pairwise(heights)) >= 16
    assert all(float(one.get("x", 0)) + text_width(one.text or "", 13, bold=True) <= 960 for one in ends)


@pytest.mark.parametrize("with_control", [False, True])
def test_names_that_are_cut_alike_stand_by_what_differs(with_control: bool):
    names = ("ladder-128-base-model-of-python-1500", "ladder-128-wide-model-of-python-1500")
    found = data(*(curve(name, [9, 20, 12 + n], f"r{n}") for n, name in enumerate(names)))
    marks = [Mark(n, n / 2, 8.0 + n, None, None) for n in range(3)]
    control = Reference("random_init", "r0", names[0], 0, marks)
    told = words(profile_svg(replace(found, references=[control] * with_control), Caption("t"), size=(300, 400)))
    assert {"base", "wide"} <= set(told) and ("random weights" in told) == with_control
    many = data(*(curve(f"{name}-{n}", [9, 20, 12], f"{name}{n}") for name in names for n in (1, 2)))
    small = words(profile_svg(many, Caption("t"), size=(300, 400)))
    assert {"base-…-1500-1", "wide-…-1500-1"} <= set(small), "above small charts too"


def test_a_logarithmic_axis_says_so_and_no_value_leaves_a_note():
    drawn = profile_svg(replace(data(curve("a", [1, 9])), is_log=True), Caption("t"))
    assert any(text.endswith("log scale") for text in words(drawn))
    assert "No such estimates in the chosen runs." in words(profile_svg(data(), Caption("t")))


def test_a_thumbnail_names_its_ends_its_peak_and_its_valley():
    turns = [turn("r1", "peak", 1, 44.0), turn("r1", "valley", 2, 5.0), turn("r1", "valley", 3, 9.0)]
    told = words(thumbnail(curve("a", [20, 44, 5, 9, 12]), turns, theme=DARK))
    assert told == ["44.0", "5.00", "20.0", "12.0", "0", "4"]
    at_its_end = [turn("r1", "valley", 4, 11.0)]  # one number there, not two that lie on each other
    assert words(thumbnail(curve("a", [20, 44, 30, 20, 12]), at_its_end)) == ["11.0", "20.0", "0", "4"]


def test_labels_of_three_curves_lie_on_none_of_them():
    deep = [150, 12, 5, 7, 32, 19, 19, 8, 8, 7, 9, 30, 44, 79, 86, 48, 55]
    curves = [curve(f"m{n}", [value * (1 + 0.1 * n) for value in deep], f"r{n}") for n in range(3)]
    turns = [
        turn(f"r{n}", kind, layer, deep[layer] * (1 + 0.1 * n))
        for n in range(3)
        for kind, layer in (("valley", 2), ("peak", 14))
    ]
    drawn = ElementTree.fromstring(profile_svg(data(*curves), Caption("t"), turns, size=(720, 430)))
    lines = [one.get("points", "").split() for one in drawn.iter(f"{SVG}polyline") if one.get("stroke-width") == "2.4"]
    assert len(lines) == 3
    labels = [one for one in drawn.iter(f"{SVG}text") if (one.text or "").startswith("layer ")]
    assert len(labels) >= 2
    for label in labels:
        x, y, wide = float(label.get("x", 0)), float(label.get("y", 0)), text_width(label.text or "", 12)
        left = x - wide * {"start": 0, "middle": 0.5, "end": 1}[label.get("text-anchor", "start")]
        for points in lines:
            near = [tuple(map(float, point.split(","))) for point in points]
            assert not any(left < at < left + wide and y - 9 < height < y + 2 for at, height in near)


def test_a_scatter_names_dots_where_there_is_room_and_no_name_lies_on_a_dot():
    points = [Point(n % 4 + 0.01 * n, n // 4, name=f"model {n}") for n in range(16)] + [Point(0.0, 0.0, name="twin")]
    svg = chart_svg(scatter_chart({"one": points}, "x", "y", ""), Caption("t"))
    assert len(re.findall(r'<circle [^>]* r="4.5"', svg)) == 17 and "● one" in words(svg)
    assert len(re.findall(r"<title>model 3 \(3\): 0[.0]*</title>", svg)) == 1
    assert sum(text.startswith("model") for text in words(svg)) >= 14


def test_a_guide_across_rows_has_its_name_above_them_and_not_among_the_ticks():
    points = (Point(1.0, 0, name="best"), Point(2.0, 0, name="next"))
    svg = visual_svg(row_chart("ratio", points, guides=[Guide("needed", 1.5)], beside=[0.0, 3.0]))
    down = {text.text: float(text.get("y", 0)) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")}
    assert down["needed"] < down["best"] < down["next"] < down["ratio"]


def test_logarithmic_ticks_are_few():
    assert log_ticks(3, 60) == [5, 10, 20, 50] and log_ticks(0.1, 20_000) == [0.1, 1, 10, 100, 1000, 10_000]


@pytest.mark.parametrize("value", [1.0, 1.2, 1.45, 1.7, 2.5, 3.0, 4.0, 6.0, 8.0, 9.9])
def test_an_axis_of_nearly_one_value_has_a_tick_too(value: float):
    near = replace(data(curve("a", [value, value, value])), is_log=True)
    assert chart_figure(layer_chart(near)).layout.yaxis.ticktext and log_axis("", [value]).ticks()


def test_places_keep_their_order_and_distance():
    assert spread_apart([10, 10, 12], 5, 0, 100) == pytest.approx([5.67, 10.67, 15.67], abs=0.4)
    assert spread_apart([], 5, 0, 1) == []
    crowded = spread_apart([50.0] * 21 + [7.0] * 3, 15, 0, 310)
    assert min(b - a for a, b in pairwise(sorted(crowded))) == pytest.approx(310 / 23), "as far apart as there is room"
    assert min(crowded) == pytest.approx(0) and max(crowded) == pytest.approx(310)


def test_text_is_cut_in_its_middle_and_broken_at_spaces_or_between_japanese_letters():
    assert shorten_to_width("abcdefghij", 10, 40) == "abc…hij" or len(shorten_to_width("abcdefghij", 10, 40)) < 10
    assert wrap_text("one two three", 10, 45) == ["one two", "three"]
    assert wrap_text("one two three", 10, 45, bold=True) == ["one", "two", "three"]
    assert not any(line.endswith("「") for line in wrap_text("いずれも「対照なし」です", 10, 52))
    assert all(not line.startswith("、") for line in wrap_text("次元が増え、最後に減る", 10, 52))


def test_a_figure_in_the_dark_has_no_colour_of_the_light_one():
    figure = axes_figure("x", "y")
    figure.add_scatter(x=[1], y=[1], line={"color": COLOURS[0]}, fillcolor=translucent(COLOURS[0]))
    assert recolour(figure, LIGHT) is figure
    told = recolour(figure, DARK).to_json()
    assert DARK.curves[0] in told and translucent(DARK.curves[0]) in told and DARK.paper in told
    assert not any(colour in told.split('"template"')[0] for colour in (LIGHT.curves[0], LIGHT.text))


def test_only_robust_phases_are_shaded_and_many_runs_stand_side_by_side_on_one_scale():
    run = made(Run, run_id="r1", n_layers=4, verdict_rise="holds", verdict_fall="depends")
    turns = [turn("r1", "valley", 1, 5.0), turn("r1", "peak", 3, 44.0)]
    assert claim_phases(run, turns) == [Span("rises", 1, 3)] and claim_phases(run, turns[:1]) == []
    alone = words(profile_svg(data(curve("a", [9, 5, 20, 44, 12])), Caption("t"), turns, phases=[Span("rises", 1, 3)]))
    assert "rises" in alone
    many = [curve(f"m{n}", [9, 5, 20, 44 + n, 12], f"r{n}") for n in range(4)]
    told = words(profile_svg(data(*many), Caption("t")))
    assert {"m0", "m1", "m2", "m3"} <= set(told) and told.count("0") == 8, "each has both of its axes"


def test_what_a_click_on_a_layer_meets_ends_where_the_axis_does():
    drawn = profile_svg(data(curve("a", [9, 5, 20, 44, 12])), Caption("t"))
    strips = re.findall(r'<rect x="([\d.]+)"[^>]* width="([\d.]+)"[^>]*data-layer', drawn)
    first, *_inner, last = ((float(x), float(x) + float(width)) for x, width in strips)
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"[^>]*data-layer', drawn)]
    assert first[0] == pytest.approx(min(places), abs=0.2) and last[1] == pytest.approx(max(places), abs=0.2)


def test_controls_that_run_off_a_linear_axis_are_cut_there_and_several_seeds_are_a_band():
    far = [
        Reference(
            "random_init", "r1", "a", seed, [Mark(n, n / 2, v + seed, None, None) for n, v in enumerate([900, 10, 12])]
        )
        for seed in (0, 1)
    ]
    found = replace(data(curve("a", [9, 20, 12])), references=far)
    svg = profile_svg(found, Caption("t"))
    assert any("controls run off the axis" in text for text in words(svg))
    assert words(svg).count("random weights") == 1, "its name, at its end"
    low = [replace(one, marks=[replace(mark, value=min(mark.value, 20.0)) for mark in one.marks]) for one in far]
    up = [replace(one, marks=[*one.marks[:2], replace(one.marks[2], value=900.0)]) for one in far]
    assert "random weights" in words(profile_svg(replace(found, references=low), Caption("t")))
    assert "↑ random weights" in words(profile_svg(replace(found, references=up), Caption("t")))
    phone = words(profile_svg(replace(found, references=low), Caption("t"), size=(300, 400)))
    assert "random weights" in phone, "whole on a phone too"
    many = replace(data(*(curve(f"m{n}", [9, 20, 12], f"r{n}") for n in range(1, 5))), references=low)
    small, without = (words(profile_svg(one, Caption("t"))) for one in (many, replace(many, references=[])))
    assert small.count("1") == without.count("1") + 1, "numbered in small charts"
    assert any(text.endswith("1 random weights") for text in small)
    bands = [one for one in ElementTree.fromstring(svg).iter(f"{SVG}polygon") if one.get("fill-opacity")]
    assert len(bands) == 2, "the curve's band and the controls'"
    back = replace(
        far[0], marks=[Mark(n, n / 4, value, None, None) for n, value in enumerate([9.0, 8.0, 900.0, 7.0, 6.0])]
    )
    dashed = ElementTree.fromstring(
        profile_svg(replace(data(curve("a", [9, 20, 12, 12, 12])), references=[back]), Caption("t"))
    ).iter(f"{SVG}polyline")
    pieces = [len(one.get("points", "").split()) for one in dashed if one.get("stroke-dasharray") == "2 3"]
    assert pieces == [2, 2], "no line crosses the layer whose value is off the axis"
    assert not any("run off" in text for text in words(profile_svg(replace(found, is_log=True), Caption("t"))))


def test_a_difference_is_drawn_around_zero_in_percent():
    rows = [LayerDifference(0, 0.25, 0.1, 0.4), LayerDifference(1, -0.1, None, None)]
    told = words(chart_svg(difference_chart({"other": rows}), Caption("t")))
    assert {"difference in %", "other", "0"} <= set(told)
    deep = [LayerDifference(layer, 0.5, None, None) for layer in range(12) if layer != 5]
    svg = chart_svg(difference_chart({"other": deep}), Caption("t"))
    assert "10" in words(svg) and "12" not in words(svg), "no tick beyond the last layer"
    lines = [one for one in ElementTree.fromstring(svg).iter(f"{SVG}polyline") if one.get("stroke-width") == "2.4"]
    assert [len(line.get("points", "").split()) for line in lines] == [5, 6], "a missing layer is a gap"


def test_a_narrow_picture_has_fewer_marks_along_its_axis():
    drawn = data(curve("a", [float(20 + n % 5) for n in range(31)]))
    wide, narrow = (words(profile_svg(drawn, Caption("t"), size=(width, 400))) for width in (960, 150))
    marks = [[text for text in told if text.isdecimal()] for told in (wide, narrow)]
    assert {"0", "10", "20", "30"} <= {*marks[0]} and len(marks[1]) < len(marks[0])


def test_an_axis_spans_any_values_in_no_more_steps_than_asked_for():
    for n in range(1, 200):
        for most in (3, 6):
            axis = round_axis("", [0.0, 0.37 * n], most_steps=most)
            assert axis.low <= 0.0 and 0.37 * n <= axis.high and 0.37 * n <= most * axis.step
