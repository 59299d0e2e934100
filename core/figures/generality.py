"""Figures of generality: a relation over several tasks, an order of models over tasks and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from core.figures.chart import Axis, Chart, Guide, Mark, Point, Series, interval_chart, whole_step
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


def order_chart(
    order: OrderTable, columns: Sequence[str], names: Mapping[str, str], title: str, selected: str = ""
) -> Chart:
    """A line for each model through its ranks, 1 for the largest value, equal values sharing their mean rank: where lines
    cross, the order changes.

    `columns`: names of the order's columns; `names`: run id -> model; `title` says what rank 1 is; `selected`: the model to
    highlight.
    """
    table = pl.DataFrame({str(k): [row[k] for row in order.values] for k in range(len(order.columns))})
    all_ranks = table.select(pl.all().rank("average", descending=True)).rows()
    models = [names[run_id] for run_id in order.run_ids]
    short, n, last = distinguishing_names(models), len(models), len(columns) - 1
    series = []
    for number in sorted(range(n), key=lambda number: models[number] == selected):  # drawn last, on top
        name, ranks = short[number], all_ranks[number]
        points = tuple(
            Point(x, rank, note=f"{name}: {columns[x]}, {rank:g}") for x, rank in enumerate(ranks) if rank is not None
        )
        end = "" if ranks[last] is None else f"{ranks[last]:g}  {shortened_name(name, 24)}"
        colour, dash = (0, "") if models[number] == selected else (None, "solid")
        series.append(Series(name, points, colour, mark="circle", dash=dash, group="models", end=end))
    labels = tuple((k, _wrap_column(column)) for k, column in enumerate(columns))
    return Chart(
        Axis("", 0, last, 1, labels=labels),
        Axis(title, 0.4, n + 0.6, whole_step(n), is_reversed=True),
        tuple(series),
        title,
    )


def _wrap_column(name: str) -> str:
    """Puts text in brackets on lines of its own."""
    bracket = next((i for i, letter in enumerate(name) if letter in "(（"), len(name))
    lines = [line for part in (name[:bracket].strip(), name[bracket:]) for line in wrap_text(part, 13, COLUMN_WIDTH)]
    return "\n".join(shortened_name(line, 26) for line in lines)
