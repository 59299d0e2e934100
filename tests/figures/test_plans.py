"""What the figures of layer plans show."""

from dataclasses import replace

import lxml.etree

from core.figures import plans as plan_figures
from core.figures.chart_figure import chart_figure
from core.figures.svg import visual_svg
from core.records import LayerPlan
from core.wording import plans as plan_wording
from tests.plans.made import layer_plan

TEXT = "{http://www.w3.org/2000/svg}text"


def picture(blocks: list[int], is_recommended: bool) -> list[str]:
    svg = visual_svg(plan_figures.block_row(layer_plan(), blocks, is_recommended))
    return [text.text for text in lxml.etree.fromstring(svg.encode()).iter() if text.text]


def test_the_picture_names_every_block():
    told = picture([3, 4, 6], True)
    assert [text for text in told if text.isdigit()] == [str(n) for n in range(8)] and "goes" in told


def test_below_each_block_stands_the_loss_without_all_of_it():
    """Not without its attention or its MLP, which the plan prices too."""
    row = plan_figures.block_row(layer_plan(), [3, 4, 6], True)
    assert [block.told for block in row.blocks] == ["6 %", "4 %", "2 %", "0.7 %", "0.6 %", "3 %", "0.7 %", "5 %"]


def test_a_block_without_which_text_is_of_no_use_has_no_more_digits_and_the_darkest_shade():
    made = layer_plan()
    dear = [
        replace(row, difference=8.1) if (row.rule, row.unit, row.blocks) == ("single", "block", [0]) else row
        for row in made.outcomes
    ]
    row = plan_figures.block_row(LayerPlan(made.plan, dear), [3], False)
    assert (row.blocks[0].told, row.blocks[0].shade) == (">1000 %", 3) and not row.do_go
    assert [block.shade for block in row.blocks[1:]] == [0] * 6 + [1], "the last costs 5 percent and a little"
    assert plan_wording.share_harder_text(8.1) == ">1000 %"


def test_on_a_phone_the_picture_has_more_rows_and_no_smaller_letters():
    row = plan_figures.block_row(layer_plan(), [3, 4, 6], True)
    wide, narrow = (lxml.etree.fromstring(visual_svg(row, size=(width, 400)).encode()) for width in (600.0, 200.0))
    assert [text.text for text in wide.iter(TEXT)] == [text.text for text in narrow.iter(TEXT)]
    assert {text.get("font-size") for text in narrow.iter(TEXT)} == {text.get("font-size") for text in wide.iter(TEXT)}
    assert float(narrow.get("height")) == float(wide.get("height")) + 58, "four blocks a row"
    assert max(float(text.get("x")) for text in narrow.iter(TEXT)) < 200


def test_in_the_picture_of_a_set_over_the_budget_no_block_goes():
    told = picture([3], False)
    assert "tried, not recommended" in told and "goes" not in told


def test_prices_stand_over_their_numbers_of_blocks():
    figure = chart_figure(plan_figures.price_chart(layer_plan(), 0.05))
    _band, steps = (trace for trace in figure.data if trace.name == "the search")
    assert list(steps.x) == [1, 2, 3] and list(steps.y) == [0.008, 0.017, 0.031]
    assert figure.layout.yaxis.type == "log" and figure.layout.xaxis.ticktext[0].startswith("1<br>−")
    (random,) = (trace for trace in figure.data if trace.name == "random set")
    assert len(random.x) == 3
    marks = [trace for trace in figure.data if trace.mode == "markers"]
    assert len({trace.marker.color for trace in marks}) == len(marks) > 3, "each choice has a colour of its own"


def test_a_price_below_a_logarithmic_axis_lies_on_its_edge_and_says_its_value():
    found = layer_plan()
    for row in found.outcomes:
        if row.rule == "path" and len(row.blocks) == 1:
            object.__setattr__(row, "difference", -0.001)
    chart = plan_figures.price_chart(found, 0.05)
    (steps,) = (line for line in chart.series if line.name == "the search")
    assert steps.points[0].y == chart.y.low and 0 < chart.y.low < 0.01 and "-0.001" in steps.points[0].note


def test_prices_told_are_of_as_many_blocks_as_the_plan_and_the_cheapest_of_a_rule():
    """A search goes beyond the plan's size, and a rule may choose several sets of it."""
    made = layer_plan()
    (last, influence) = (
        next(row for row in made.outcomes if row.rule == rule and len(row.blocks) == 3 and row.measure == "loss")
        for rule in ("path", "influence")
    )
    further = replace(last, blocks=[3, 4, 6, 7], difference=0.3, lower=0.25, upper=0.35)
    dearer = replace(influence, blocks=[0, 1, 2], difference=0.9, lower=0.8, upper=1.0)
    alone = replace(last, blocks=[3], difference=0.004, lower=0.001, upper=0.007, is_healed=True)
    found = LayerPlan(made.plan, [*made.outcomes, further, dearer, alone])
    chart = plan_figures.price_chart(found, 0.05, is_brief=True)
    told = [line.name for line in chart.series]
    assert told[-1] == "this plan, before repair: 3 %" and len(told) == 3, "one block repaired is no plan"
    assert "lowest block influence: 5 %" in told and all(name in chart.alternative for name in told)
    assert [len(line.points) for line in chart.series if line.name.startswith("lowest block")] == [1]


def test_a_price_of_thousands_of_percent_hides_no_other_on_a_slide():
    made = layer_plan()
    huge = [
        replace(row, difference=4.0, lower=3.5, upper=4.5) if row.rule == "influence" else row for row in made.outcomes
    ]
    chart, whole = (
        plan_figures.price_chart(LayerPlan(made.plan, rows), made.plan.budget, is_brief=True)
        for rows in (huge, made.outcomes)
    )
    cut = next(line for line in chart.series if "lowest block influence" in line.name)
    assert chart.y.high < 40 and cut.name.endswith(">1000 %") and cut.points[-1].y <= chart.y.high
    assert "beyond the axis" in chart.key and "beyond" not in whole.key
