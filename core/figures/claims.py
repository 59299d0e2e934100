"""The grid of claims: the outcome of each claim under each specification, which shows on which choices a verdict depends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.figures.style import COLOURS, GRID, QUIET, TEXT, bare_figure, escape_label
from core.figures.text import text_width
from core.registry.specifications import CLAIMS, SPECIFICATIONS
from core.wording.labels import distinct_short_names, run_labels, shortened_name
from core.wording.verdicts import (
    claim_name,
    claim_outcome_text,
    outcome_mark,
    outcome_of,
    ratio_text,
    specification_name,
)

ROW_HEIGHT, MARGINS = 23, 130
"""Pixels of a row, and above and below all rows together."""
MOST_LETTERS = 96
"""Letters that the names of all runs share above their columns."""
_AXES = list(dict.fromkeys(specification.axis for specification in SPECIFICATIONS))
_AXIS_OF = {one.key: one.axis for one in sorted(SPECIFICATIONS, key=lambda one: _AXES.index(one.axis))}
"""Specification -> what it changes against the reference; those that change the same follow each other."""
_COLOURS = {"yes": COLOURS[0], "no": QUIET, "opposite": COLOURS[1], "cannot_tell": QUIET}


def claim_figure(claims: pl.DataFrame, runs: pl.DataFrame) -> go.Figure | None:
    """Rows are specifications, grouped by what they change against the reference, those of the core in bold; for each run a
    column for each claim. `claims` are rows of run_claims; control runs and those without claims are left out; None without any.
    """
    texts = runs.filter(pl.col("pass") == "text").join(claims, on="run_id", how="semi", maintain_order="left")
    rows: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in claims.join(texts, on="run_id", how="semi", maintain_order="left").iter_rows(named=True):
        rows.setdefault((row["cloud"], row["transform"], row["estimator"], row["n1"]), []).append(row)
    if not rows:
        return None
    keys = sorted(rows, key=[*_AXIS_OF, *(key for key in rows if key not in _AXIS_OF)].index)
    names = [escape_label(specification_name(rows[key][0])) for key in keys]
    columns = {key: x for x, key in enumerate(product(texts["run_id"], CLAIMS))}
    figure = bare_figure(
        font={"color": TEXT, "size": 13},
        height=MARGINS + ROW_HEIGHT * max(len(keys), 4),
        margin={"l": 10 + round(max(text_width(name, 11) for name in names)), "r": 10, "t": 90, "b": 20},
        showlegend=False,
        hovermode="closest",
    )
    places = [(columns[row["run_id"], row["claim"]], y, row) for y, key in enumerate(keys) for row in rows[key]]
    _draw_outcomes(figure, places, names)
    plain = {"showgrid": False, "zeroline": False}
    heads = [claim_name(claim, brief=True) for _run, claim in columns]
    figure.update_xaxes(
        side="top", tickvals=list(columns.values()), ticktext=heads, range=[-0.5, len(columns) - 0.5], **plain
    )
    figure.update_yaxes(
        tickvals=list(range(len(keys))),
        ticktext=[f"<b>{name}</b>" if rows[key][0]["is_core"] else name for key, name in zip(keys, names, strict=True)],
        range=[len(keys) - 0.5, -0.5],
        tickfont={"size": 11},
        **plain,
    )
    for y, neighbours in enumerate(pairwise(keys)):
        if len({_AXIS_OF.get(key) for key in neighbours}) > 1:
            figure.add_hline(y=y + 0.5, line={"color": GRID, "width": 1.5})
    _draw_heads(figure, texts, run_labels(runs))
    return figure


def _draw_outcomes(
    figure: go.Figure, places: Sequence[tuple[int, int, Mapping[str, Any]]], names: Sequence[str]
) -> None:
    """A trace for each outcome of the rows at their columns and lines: the sign distinguishes it, the colour only repeats that."""
    for outcome, colour in _COLOURS.items():
        cells = [place for place in places if outcome_of(place[2]) == outcome]
        if cells:
            figure.add_scatter(
                x=[x for x, _y, _row in cells],
                y=[y for _x, y, _row in cells],
                mode="text",
                text=[outcome_mark(outcome)] * len(cells),
                textfont={"size": 17, "color": colour},
                hovertext=[f"{names[y]}<br>{ratio_text(row)}: {claim_outcome_text(row)}" for _x, y, row in cells],
                hoverinfo="text",
                name=wording.name("claim_outcome", outcome),
            )


def _draw_heads(figure: go.Figure, texts: pl.DataFrame, labels: Mapping[str, str]) -> None:
    """The name of each run above its columns."""
    longest = MOST_LETTERS // texts.height
    short = distinct_short_names([labels[one] for one in texts["run_id"]], lambda name: shortened_name(name, longest))
    style: dict[str, Any] = {"showarrow": False, "yref": "paper", "y": 1, "yshift": 44, "font": {"size": 11}}
    for number, name in enumerate(short):
        middle = number * len(CLAIMS) + (len(CLAIMS) - 1) / 2
        figure.add_annotation(x=middle, text=f"<b>{escape_label(name)}</b>", **style)
