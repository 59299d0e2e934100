"""The grid of claims: the outcome of each claim under each specification, which shows on which choices a verdict depends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.figures.style import COLOURS, GRID, QUIET, TEXT, bare_figure, escape_label, with_message
from core.locale import _
from core.registry.specifications import CLAIMS, SPECIFICATIONS
from core.wording.labels import distinct_short_names, run_labels, shortened_name
from core.wording.verdicts import (
    claim_name,
    claim_outcome_text,
    outcome_mark,
    outcome_of,
    ratio_text,
    specification_name,
    specification_of,
)

ROW_HEIGHT, MARGINS = 23, 130
"""Pixels of a row, and above and below all rows together."""
LETTER, MOST_LETTERS = 5.9, 96
"""Pixels of a letter of a specification's name, and letters that the names of all runs share above their columns."""
_OUTCOME_COLOURS = {"yes": COLOURS[0], "no": QUIET, "opposite": COLOURS[1], "cannot_tell": QUIET}


@dataclass(frozen=True)
class ClaimCell:
    """One claim of one run under one specification."""

    outcome: str | None
    """None for a core specification without a value."""
    ratio: str
    """With its simultaneous interval."""
    told: str
    """The outcome in words."""

    @property
    def mark(self) -> str:
        return outcome_mark(self.outcome)


@dataclass(frozen=True)
class ClaimLine:
    """One specification."""

    name: str
    axis: str
    """What it changes against the reference, a key of the kind `axis`; empty for the reference."""
    is_core: bool
    cells: dict[tuple[str, str], ClaimCell]
    """(run_id, claim) -> outcome; without a cell for specifications that a run did not measure."""


@dataclass(frozen=True)
class ClaimData:
    runs: dict[str, str]
    """run_id -> name, of the runs that have claims."""
    lines: list[ClaimLine]
    """Grouped by axis, the reference first."""


def claim_points(claims: pl.DataFrame, runs: pl.DataFrame) -> ClaimData:
    """`claims` are rows of run_claims; control runs and those without claims are left out."""
    texts = runs.filter(pl.col("pass") == "text", pl.col("run_id").is_in(claims["run_id"].unique().to_list()))
    labels = run_labels(runs)
    of_key: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in claims.filter(pl.col("run_id").is_in(texts["run_id"].to_list())).iter_rows(named=True):
        of_key.setdefault((row["cloud"], row["transform"], row["estimator"], row["n1"]), []).append(row)
    return ClaimData(
        {run_id: labels[run_id] for run_id in texts["run_id"]},
        [_claim_line(of_key[key]) for key in sorted(of_key, key=_sort_key)],
    )


def _sort_key(key: tuple[Any, ...]) -> tuple[int, int]:
    """Sorts by axis, in the order of declaration; specifications that are no longer declared come last."""
    axes = list(dict.fromkeys(specification.axis for specification in SPECIFICATIONS))
    declared = [specification.key for specification in SPECIFICATIONS]
    if key not in declared:
        return len(axes), 0
    position = declared.index(key)
    return axes.index(SPECIFICATIONS[position].axis), position


def _claim_line(rows: list[Mapping[str, Any]]) -> ClaimLine:
    first = rows[0]
    specification = specification_of(first)
    return ClaimLine(
        name=specification_name(first),
        axis=specification.axis if specification else "",
        is_core=first["is_core"],
        cells={
            (row["run_id"], row["claim"]): ClaimCell(outcome_of(row), ratio_text(row), claim_outcome_text(row))
            for row in rows
        },
    )


def claim_figure(data: ClaimData) -> go.Figure:
    """Rows are specifications, those of the core in bold; for each run a column for each claim."""
    longest = max((sum(1 if letter.isascii() else 2 for letter in line.name) for line in data.lines), default=0)
    figure = bare_figure(
        font={"color": TEXT, "size": 13},
        height=MARGINS + ROW_HEIGHT * max(len(data.lines), 4),
        margin={"l": 10 + round(LETTER * longest), "r": 10, "t": 90, "b": 20},
        showlegend=False,
        hovermode="closest",
    )
    if not data.lines:
        return with_message(figure, _("No claims are stored for the chosen runs."))
    columns = [(run_id, claim) for run_id in data.runs for claim in CLAIMS]
    for outcome, colour in _OUTCOME_COLOURS.items():
        _draw_marks(figure, data, columns, outcome, colour)
    names = [f"<b>{escape_label(line.name)}</b>" if line.is_core else escape_label(line.name) for line in data.lines]
    heads = [claim_name(claim, brief=True) for _run, claim in columns]
    figure.update_xaxes(
        side="top",
        tickvals=list(range(len(columns))),
        ticktext=heads,
        range=[-0.5, len(columns) - 0.5],
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=names,
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
        tickfont={"size": 11},
    )
    for index in range(1, len(data.lines)):
        if data.lines[index].axis != data.lines[index - 1].axis:
            figure.add_hline(y=index - 0.5, line={"color": GRID, "width": 1.5})
    longest = MOST_LETTERS // max(len(data.runs), 1)
    names = distinct_short_names(list(data.runs.values()), lambda name: shortened_name(name, longest))
    for number, name in enumerate(names):
        middle = number * len(CLAIMS) + (len(CLAIMS) - 1) / 2
        style: dict[str, Any] = {"showarrow": False, "yref": "paper", "y": 1, "yshift": 44, "font": {"size": 11}}
        figure.add_annotation(x=middle, text=f"<b>{escape_label(name)}</b>", **style)
    return figure


def _draw_marks(figure: go.Figure, data: ClaimData, columns: list[tuple[str, str]], outcome: str, colour: str) -> None:
    """All marks of one outcome: the sign distinguishes it, the colour only repeats that."""
    cells = [
        (x, y, line, line.cells[column])
        for y, line in enumerate(data.lines)
        for x, column in enumerate(columns)
        if column in line.cells and line.cells[column].outcome == outcome
    ]
    if not cells:
        return
    word = wording.name("claim_outcome", outcome)
    figure.add_scatter(
        x=[x for x, _y, _line, _cell in cells],
        y=[y for _x, y, _line, _cell in cells],
        mode="text",
        text=[cell.mark for *_before, cell in cells],
        textfont={"size": 17, "color": colour},
        customdata=[f"{escape_label(line.name)}<br>{cell.ratio}: {cell.told}" for _x, _y, line, cell in cells],
        hovertemplate="%{customdata}<extra></extra>",
        name=word,
    )
