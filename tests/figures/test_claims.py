"""The grid of claims is readable at any width: nothing is written smaller, over another name or beyond an edge."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from core.figures.decisions import claim_grid, grid_svg
from core.figures.text import text_width
from core.locale import in_language
from core.registry.protocols import CLAIMS
from tests import frames
from tests.frames import Model

SVG = "{http://www.w3.org/2000/svg}"
MODELS = [Model(f"a-model-of-ours-{n}", n_layers=10) for n in range(3)]


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("width", [300.0, 960.0])
def test_every_outcome_stands_beneath_its_run_and_nothing_is_cut(language: str, width: float) -> None:
    grid = claim_grid(frames.claims(*MODELS), frames.runs(*MODELS))
    assert grid is not None
    drawn = ElementTree.fromstring(in_language(language, grid_svg, grid, size=(width, 0.0)))
    told = list(drawn.iter(f"{SVG}text"))
    for one in told:
        size, text = float(one.get("font-size", 0)), one.text or ""
        assert size >= 11
        wide = text_width(text, size, bold=one.get("font-weight") == "600")
        left = float(one.get("x", 0)) - {"start": 0.0, "middle": 0.5}[one.get("text-anchor", "")] * wide
        assert left >= -1 and left + wide <= width + 1, text
    notes = [one for one in drawn.iter(f"{SVG}title") if "\n" in (one.text or "")]
    assert len(notes) == frames.claims(*MODELS).height and len(notes) % (len(MODELS) * len(CLAIMS)) == 0
    assert len({one.text for one in told} & {*"●○▼?"}) > 1
    heads = [one.text for one in told if one.get("font-weight") == "600" and one.get("text-anchor") == "middle"]
    assert len(heads) == len(set(heads)) == len(MODELS), "names that are cut stay apart"
    assert claim_grid(frames.claims(*MODELS).clear(), frames.runs(*MODELS)) is None
