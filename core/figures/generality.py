"""Whether it holds elsewhere, as pictures: a relation over tasks, an order of models over tasks and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from core.analysis.generality import Order, OverTasks
from core.figures.style import COLOURS, GRID, TEXT, bars, empty, frame, name_rows, shown
from core.figures.svg import wrapped
from core.locale import translator
from core.wording import decisions as words
from core.wording.answers import coefficient
from core.wording.labels import distinct, shortened

# --- tasks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskLine:
    name: str
    rho: float
    lower: float | None
    upper: float | None
    pooled: tuple[float, float, float] | None
    """Drawn towards the other tasks: value, lower, upper."""
    is_mean: bool = False


_Places = Sequence[tuple[int, tuple[float, float | None, float | None]]]


def task_lines(found: OverTasks, language: str) -> list[TaskLine]:
    """The relation of each task that has a coefficient, their mean last."""
    _ = translator(language)
    drawn = found.pooled.tasks if found.pooled else {}
    lines = [
        TaskLine(
            words.task_name(one.benchmark, language),
            relation.rho,
            relation.lower,
            relation.upper,
            None if (own := drawn.get(one.key)) is None else (own.rho, own.lower, own.upper),
        )
        for one in found.tasks
        if (relation := one.answer.relation).rho is not None
    ]
    mean = found.pooled
    if mean and mean.n_tasks > 1:
        lines.append(TaskLine(_("mean over tasks"), mean.rho, mean.lower, mean.upper, None, is_mean=True))
    return lines


def task_figure(lines: Sequence[TaskLine], language: str) -> go.Figure:
    """Spearman's rho of dimension and score, a line for each task."""
    _ = translator(language)
    figure = frame(
        _("Spearman's rho of dimension and score (95 % intervals)"), "", height=130 + 44 * max(len(lines), 1)
    )
    if not lines:
        return empty(figure, _("No task has scores of five models: no coefficient."))
    figure.add_vline(x=0, line={"color": TEXT, "width": 1})
    alone = [(n, (one.rho, one.lower, one.upper)) for n, one in enumerate(lines) if not one.is_mean]
    drawn: _Places = [(n, one.pooled) for n, one in enumerate(lines) if one.pooled]
    mean = [(n, (one.rho, one.lower, one.upper)) for n, one in enumerate(lines) if one.is_mean]
    groups: tuple[tuple[str, str, str, _Places, float], ...] = (
        (_("this task alone"), "circle", COLOURS[0], alone, -0.12),
        (_("drawn towards the other tasks"), "diamond-open", COLOURS[1], drawn, 0.16),
        (_("all tasks"), "diamond", COLOURS[2], mean, 0.0),
    )
    for name, symbol, colour, found, shift in groups:
        if not found:
            continue
        figure.add_scatter(
            x=[value for _place, (value, *_ends) in found],
            y=[place + shift for place, _values in found],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
            error_x=bars(
                [None if upper is None else upper - value for _place, (value, _low, upper) in found],
                [None if lower is None else value - lower for _place, (value, lower, _high) in found],
            ),
            hovertext=[f"{shown(lines[place].name)}: {coefficient(*values)}" for place, values in found],
            hoverinfo="text",
        )
    figure.update_xaxes(range=[-1.05, 1.05])
    name_rows(figure, [one.name for one in lines])
    return figure


# --- orders ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OrderData:
    columns: list[str]
    names: list[str]
    ranks: list[list[float | None]]
    """By model, then by column: 1 for the largest value; equal values share their mean rank."""
    chosen: int | None = None
    """The model that stands out."""


def order_points(order: Order, columns: Sequence[str], names: Mapping[str, str], chosen: str = "") -> OrderData:
    """`names`: run id -> model; `columns`: what the columns of the order are called; `chosen`: the model that stands out."""
    table = pl.DataFrame({str(k): [row[k] for row in order.values] for k in range(len(order.columns))})
    ranks = table.select(pl.all().rank("average", descending=True))
    whole = [names[run_id] for run_id in order.run_ids]
    at = whole.index(chosen) if chosen in whole else None
    return OrderData(list(columns), distinct(whole), [list(row) for row in ranks.rows()], at)


ROOM = 165.0
"""Pixels that the name of a column may take in width."""


def order_figure(data: OrderData, title: str) -> go.Figure:
    """A line for each model through its places: lines that run level keep the order, lines that cross change it.

    `title`: what place 1 is.
    """
    n, last = len(data.names), len(data.columns) - 1
    figure = frame("", "", height=max(360, 150 + 17 * n))
    # Names of models that tie stand below each other.
    places = {x: sorted((r, i) for i, row in enumerate(data.ranks) if (r := row[x]) is not None) for x in (0, last)}
    for number in sorted(range(n), key=lambda one: one == data.chosen):  # what stands out is drawn over the others
        is_chosen, name = number == data.chosen, shown(data.names[number])
        known = [(x, rank) for x, rank in enumerate(data.ranks[number]) if rank is not None]
        figure.add_scatter(
            x=[x for x, _rank in known],
            y=[rank for _x, rank in known],
            mode="lines+markers",
            name=name,
            line={"color": COLOURS[1 if is_chosen else 0], "width": 3.5 if is_chosen else 1.2},
            marker={"size": 8 if is_chosen else 5},
            opacity=1 if is_chosen else 0.65,
            showlegend=False,
            hovertext=[f"{name}: {shown(data.columns[x])}, {rank:g}" for x, rank in known],
            hoverinfo="text",
        )
        for x, anchor, shift in ((0, "right", -8), (last, "left", 8)):
            rank = data.ranks[number][x]
            if rank is not None:
                text = shown(f"{rank:g}  {shortened(data.names[number], 24)}")
                figure.add_annotation(
                    x=x,
                    y=places[x].index((rank, number)) + 1,
                    text=f"<b>{text}</b>" if is_chosen else text,
                    showarrow=False,
                    xanchor=anchor,
                    xshift=shift,
                    font={"size": 10},
                )
    figure.update_xaxes(
        tickvals=list(range(last + 1)),
        ticktext=[_wrapped(one) for one in data.columns],
        range=[-0.02, last + 0.02],
        tickangle=0,
        gridcolor=GRID,
    )
    figure.update_yaxes(range=[n + 0.6, 0.4], showticklabels=False, ticks="", showgrid=False)
    above = {"showarrow": False, "xref": "paper", "yref": "paper", "xanchor": "right", "yanchor": "bottom"}
    figure.add_annotation(x=0, y=1, text=title, font={"size": 12}, xshift=-8, yshift=4, **above)
    figure.update_layout(margin={"l": 190, "r": 170, "t": 40})
    return figure


def _wrapped(name: str) -> str:
    """What stands in brackets on lines of its own."""
    at = next((i for i, letter in enumerate(name) if letter in "(（"), len(name))
    lines = [line for part in (name[:at].strip(), name[at:]) for line in wrapped(part, 13, ROOM)]
    return "<br>".join(shown(shortened(line, 26)) for line in lines)
