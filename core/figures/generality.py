"""Figures of generality: a relation over several tasks, an order of models over tasks and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import polars as pl

from core.figures.chart import Axis, Chart, Guide, Mark, Point, Series, interval_chart
from core.figures.style import COLOURS, GRID, axes_figure, escape_label
from core.figures.text import wrap_text
from core.locale import _
from core.questions.generality import OrderTable, OverTasks
from core.wording import decisions as decision_wording
from core.wording.answers import coefficient_text
from core.wording.labels import distinguishing_names, shortened_name

# --- tasks -----------------------------------------------------------------------------------------------------


def task_chart(over_tasks: OverTasks) -> Chart:
    """Spearman's rho of dimension and score: a row for each task that has a coefficient, alone and drawn towards the other
    tasks; their mean last."""
    pooled = over_tasks.pooled
    shrunk = pooled.tasks if pooled else {}
    kinds: dict[str, tuple[str, Mark, list[Point]]] = {
        "alone": (_("this task alone"), "circle", []),
        "pooled": (_("drawn towards the other tasks"), "diamond", []),
        "mean": (_("all tasks"), "square", []),
    }

    def add(kind: str, row: int, name: str, rho: float, lower: float | None, upper: float | None) -> None:
        note = f"{name}: {coefficient_text(rho, lower, upper)}"
        kinds[kind][2].append(
            Point(rho, row + (0.2 if kind == "pooled" else 0), left=lower, right=upper, name=name, note=note)
        )

    tasks = [task for task in over_tasks.tasks if task.answer.relation.rho is not None]
    for row, task in enumerate(tasks):
        name, relation = decision_wording.task_name(task.benchmark), task.answer.relation
        add("alone", row, name, relation.rho or 0.0, relation.lower, relation.upper)
        if task.key in shrunk:
            add("pooled", row, name, shrunk[task.key].rho, shrunk[task.key].lower, shrunk[task.key].upper)
    if pooled and pooled.n_tasks > 1:
        add("mean", len(tasks), _("mean over tasks"), pooled.rho, pooled.lower, pooled.upper)
    series = (
        Series(name, tuple(points), colour, False, mark, is_named=False)
        for colour, (name, mark, points) in enumerate(kinds.values())
    )
    x = Axis(_("Spearman's rho of dimension and score (95 % intervals)"), -1, 1, 0.5, 1)
    return interval_chart(series, x, (Guide("", 0.0),), nothing=_("No task with five scores: no coefficient."))


# --- orders ----------------------------------------------------------------------------------------------------


COLUMN_WIDTH = 165.0
"""Most pixels of a column's name."""


def order_figure(
    order: OrderTable, columns: Sequence[str], names: Mapping[str, str], title: str, selected: str = ""
) -> go.Figure:
    """A line for each model through its ranks, 1 for the largest value, equal values sharing their mean rank: where lines
    cross, the order changes.

    `columns`: names of the order's columns; `names`: run id -> model; `title` says what rank 1 is; `selected`: the model to
    highlight.
    """
    table = pl.DataFrame({str(k): [row[k] for row in order.values] for k in range(len(order.columns))})
    all_ranks = table.select(pl.all().rank("average", descending=True)).rows()
    models = [names[run_id] for run_id in order.run_ids]
    short, n, last = distinguishing_names(models), len(models), len(columns) - 1
    figure = axes_figure("", "", height=max(360, 150 + 17 * n))
    # Names of models with equal ranks stand below each other.
    places = {x: sorted((r, i) for i, row in enumerate(all_ranks) if (r := row[x]) is not None) for x in (0, last)}
    for number in sorted(range(n), key=lambda number: models[number] == selected):  # drawn last, on top
        is_selected, name = models[number] == selected, escape_label(short[number])
        ranks = [(x, rank) for x, rank in enumerate(all_ranks[number]) if rank is not None]
        figure.add_scatter(
            x=[x for x, _rank in ranks],
            y=[rank for _x, rank in ranks],
            mode="lines+markers",
            name=name,
            line={"color": COLOURS[1 if is_selected else 0], "width": 3.5 if is_selected else 1.2},
            marker={"size": 8 if is_selected else 5},
            opacity=1 if is_selected else 0.65,
            showlegend=False,
            hovertext=[f"{name}: {escape_label(columns[x])}, {rank:g}" for x, rank in ranks],
            hoverinfo="text",
        )
        for x, anchor, shift in ((0, "right", -8), (last, "left", 8)):
            rank = all_ranks[number][x]
            if rank is not None:
                text = escape_label(f"{rank:g}  {shortened_name(short[number], 24)}")
                figure.add_annotation(
                    x=x,
                    y=places[x].index((rank, number)) + 1,
                    text=f"<b>{text}</b>" if is_selected else text,
                    showarrow=False,
                    xanchor=anchor,
                    xshift=shift,
                    font={"size": 10},
                )
    figure.update_xaxes(
        tickvals=list(range(last + 1)),
        ticktext=[_wrap_column(column) for column in columns],
        range=[-0.02, last + 0.02],
        tickangle=0,
        gridcolor=GRID,
    )
    figure.update_yaxes(range=[n + 0.6, 0.4], showticklabels=False, ticks="", showgrid=False)
    above = {"showarrow": False, "xref": "paper", "yref": "paper", "xanchor": "right", "yanchor": "bottom"}
    figure.add_annotation(x=0, y=1, text=title, font={"size": 12}, xshift=-8, yshift=4, **above)
    figure.update_layout(margin={"l": 190, "r": 170, "t": 40})
    return figure


def _wrap_column(name: str) -> str:
    """Puts text in brackets on lines of its own."""
    bracket = next((i for i, letter in enumerate(name) if letter in "(（"), len(name))
    lines = [line for part in (name[:bracket].strip(), name[bracket:]) for line in wrap_text(part, 13, COLUMN_WIDTH)]
    return "<br>".join(escape_label(shortened_name(line, 26)) for line in lines)
