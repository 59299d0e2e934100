"""Distributions: shares by layer on one grid, whatever bins the layers came with."""

from __future__ import annotations

from dataclasses import asdict

import polars as pl
import pytest

from core.figures.within_layers import bin_median, bin_shares, distribution_figure
from core.locale import LANGUAGES, in_language
from core.tables import LayerDistributionRow

RUN = "run"


def rows(quantity: str, *bins: tuple[int, float, float, int]) -> pl.DataFrame:
    """layer, lower edge, upper edge, count."""
    return pl.DataFrame([asdict(LayerDistributionRow(RUN, layer, quantity, a, b, n)) for layer, a, b, n in bins])


def test_common_bins_are_kept_without_their_empty_ends():
    found = rows(
        "cosine", (0, -1, -0.5, 0), (0, -0.5, 0, 1), (0, 0, 0.5, 3), (1, -1, -0.5, 0), (1, -0.5, 0, 2), (1, 0, 0.5, 2)
    )
    drawn = distribution_figure(found, RUN, "cosine").data[0]
    assert drawn.y == (-0.5, 0, 0.5)
    assert drawn.z == ([0.25, 0.5], [0.75, 0.5])


def test_layers_with_bins_of_their_own_meet_on_one_grid():
    found = rows("local_d2", (0, 0, 10, 10), (1, 5, 15, 10), (1, 15, 20, 10))
    drawn = distribution_figure(found, RUN, "local_d2").data[0]
    assert (drawn.y[0], drawn.y[-1], len(drawn.y)) == (0, 20, 61)
    of_layer = [sum(line[j] for line in drawn.z) for j in range(2)]
    assert of_layer == pytest.approx([1, 1]), "no token is lost or counted twice"
    below_ten = sum(line[1] for line, edge in zip(drawn.z, drawn.y[1:], strict=True) if edge <= 10 + 1e-9)
    assert below_ten == pytest.approx(0.25)


def test_bins_that_grow_are_drawn_on_a_logarithmic_axis():
    found = rows("local_d2", *((0, 10.0**i, 10.0 ** (i + 1), 5) for i in range(3)))
    assert distribution_figure(found, RUN, "local_d2").layout.yaxis.type == "log"


@pytest.mark.parametrize(("counts", "median"), [([10, 0], 0.5), ([5, 5], 1.0), ([2, 6], 1 + 2 / 6), ([0, 4], 1.5)])
def test_the_median_is_interpolated_within_its_bin(counts, median):
    bins = rows("cosine", *((0, n, n + 1, count) for n, count in enumerate(counts)))
    assert bin_median(bins) == pytest.approx(median)


def test_a_bin_without_width_counts_once():
    assert bin_shares(rows("cosine", (0, 0.5, 0.5, 7)), [0, 0.5, 1]).tolist() == [0, 1]


def test_the_figure_says_what_was_counted():
    figure = distribution_figure(rows("cosine", (0, 0, 1, 9)), RUN, "cosine")
    assert "pairs: 9" in figure.layout.yaxis.title.text
    assert figure.data[0].customdata[0][0] == "Layer 0, 0 to 1.00: 100.0 % (median: 0.500)"
    assert [trace.name for trace in figure.data[1:]] == ["median", "median"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("counts", [[], [(0, 0.0, 1.0, 0)]])
def test_without_tokens_the_figure_says_so(counts, language):
    found = rows("cosine", *counts) if counts else rows("cosine", (0, 0, 1, 1)).clear()
    assert in_language(language, distribution_figure, found, RUN, "cosine").layout.annotations[0].text
