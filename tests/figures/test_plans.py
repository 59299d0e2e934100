"""What the figures of layer plans show."""

import lxml.etree
import pytest

from core.figures import plans as plan_figures
from core.locale import in_language
from tests.plans.made import layer_plan

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("blocks", "n_layers"), [([3, 4, 6], 8), ([], 12), ([40, 41, *range(60, 70), 79], 80)])
def test_the_picture_names_every_block_once_in_each_model(blocks, n_layers):
    root = lxml.etree.fromstring(in_language("ja", plan_figures.blocks_svg, blocks, n_layers).encode())
    told = [text.text for text in root.iter(f"{SVG}text")]
    kept = n_layers - len(blocks)
    numbers = [text for text in told if text.isdigit()]
    assert len(numbers) == n_layers + 2 * kept  # whole, smaller, and its new numbers
    assert [text for text in told if text.startswith("[")] == (
        ["[3, 5)", "[6, 7)"] if n_layers == 8 else ["[40, 42)", "[60, 70)", "[79, 80)"] if blocks else []
    )
    across = [float(text.get("x")) for text in root.iter(f"{SVG}text")]
    assert min(across) >= 0 and max(across) <= float(root.get("width"))


def test_in_the_picture_of_a_set_over_the_budget_no_block_goes():
    root = lxml.etree.fromstring(plan_figures.blocks_svg([3], 8, tried_as="tried, not recommended").encode())
    told = [text.text for text in root.iter() if text.text]
    assert "tried, not recommended" in told and "goes" not in told
    assert not any("Smaller model" in text or text.startswith("Goes") for text in told)


def test_prices_stand_over_their_numbers_of_blocks():
    data = plan_figures.price_points(layer_plan())
    assert [len(row.blocks) for row in data.steps] == [1, 2, 3] and len(data.random) == 3
    figure = plan_figures.price_figure(data, 0.05)
    steps = next(trace for trace in figure.data if trace.name == "the search's set of each size")
    assert list(steps.x) == [1, 2, 3] and list(steps.y) == [0.008, 0.017, 0.031]
    assert figure.layout.yaxis.type == "log"


def test_a_price_below_a_logarithmic_axis_lies_on_its_edge_and_says_its_value():
    found = layer_plan()
    for row in found.outcomes:
        if row.rule == "path" and len(row.blocks) == 1:
            object.__setattr__(row, "difference", -0.001)
    figure = plan_figures.price_figure(plan_figures.price_points(found), 0.05)
    steps = next(trace for trace in figure.data if trace.name == "the search's set of each size")
    assert 0 < steps.y[0] < 0.01 and "-0.001" in steps.hovertext[0]
