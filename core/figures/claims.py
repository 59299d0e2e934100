"""The grid of claims: the outcome of each claim under each specification, which shows on which choices a verdict depends."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import polars as pl

from core.analysis import claims as claim_analysis
from core.figures.chart import Chart, Guide, Point, in_rows, interval_chart, round_axis, x_ends
from core.figures.svg import LIGHT, SMALL, Drawing, Theme
from core.figures.text import shorten_to_width, text_width, wrap_text
from core.locale import _
from core.registry.protocols import CLAIMS, SPECIFICATIONS
from core.sources import shown, stated
from core.tables import RunClaimRow, ids_of, records
from core.tables.sourced import rows_of
from core.wording import labels
from core.wording.labels import distinct_short_names, run_labels
from core.wording.verdicts import (
    claim_name,
    claim_outcome_text,
    outcome_legend_text,
    outcome_mark,
    outcome_of,
    ratio_text,
    specification_name,
)

HEADS, LINE, GAP = 40.0, 14.0, 9.0
"""Pixels above the rows of a grid, of a line of a name, and between rows."""
NARROWEST, WIDEST = 38.0, 90.0
"""Pixels of a column."""
_AXES = list(dict.fromkeys(specification.axis for specification in SPECIFICATIONS))
_AXIS_OF = {one.key: one.axis for one in sorted(SPECIFICATIONS, key=lambda one: _AXES.index(one.axis))}
"""Specification -> what it changes against the reference; those that change the same follow each other."""


RATIO = stated(round(math.exp(claim_analysis.MARGIN), 3), "MARGIN")
"""From here on a ratio counts as a rise or a fall."""


@dataclass(frozen=True)
class ClaimGrid:
    """Rows are specifications, grouped by what they change against the reference; for each run a column for each claim."""

    runs: Mapping[str, str]
    """run_id -> its label."""
    rows: Mapping[tuple[Any, ...], Sequence[RunClaimRow]]
    """Cloud, transform, estimator and n1 of a specification -> its rows of run_claims."""


def claim_grid(claims: pl.DataFrame, runs: pl.DataFrame) -> ClaimGrid | None:
    """`claims` are rows of run_claims; control runs and those without claims are left out; None without any."""
    texts = runs.filter(pl.col("pass") == "text").join(claims, on="run_id", how="semi", maintain_order="left")
    found: dict[tuple[Any, ...], list[RunClaimRow]] = {}
    for row in records(claims.join(texts, on="run_id", how="semi", maintain_order="left"), RunClaimRow):
        found.setdefault((row.cloud, row.transform, row.estimator, row.n1), []).append(row)
    if not found:
        return None
    labels, order = run_labels(runs), [*_AXIS_OF, *(key for key in found if key not in _AXIS_OF)]
    return ClaimGrid({one: labels[one] for one in ids_of(texts)}, {key: found[key] for key in order if key in found})


def grid_svg(grid: ClaimGrid, theme: Theme = LIGHT, size: tuple[float, float] = (960.0, 0.0)) -> str:
    """The grid in this width, specifications of the core in bold; its height is that of its rows. Runs for whose columns
    there is no room stand in a further grid below."""
    drawing = Drawing(*size, theme)
    names = [(specification_name(rows[0]), bool(rows[0].is_core)) for rows in grid.rows.values()]
    left = 10 + min(max(text_width(name, SMALL, is_core) for name, is_core in names), 0.46 * size[0])
    lines = [wrap_text(name, SMALL, left - 10, is_core) for name, is_core in names]
    together = max(1, int((size[0] - left) // (NARROWEST * len(CLAIMS))))
    ids, drawing.height = list(grid.runs), 0.0
    for start in range(0, len(ids), together):
        _draw_grid(drawing, grid, ids[start : start + together], lines, left)
    return drawing.svg(_("Read in other ways"), outcome_legend_text())


def _draw_grid(
    drawing: Drawing, grid: ClaimGrid, run_ids: Sequence[str], lines: Sequence[Sequence[str]], left: float
) -> None:
    """Draws the columns of some runs below what is drawn already, with the names of the specifications on their left."""
    theme, top = drawing.theme, drawing.height
    step = min((drawing.width - left) / (len(run_ids) * len(CLAIMS)), WIDEST)
    columns = {key: left + step * (n + 0.5) for n, key in enumerate(product(run_ids, CLAIMS))}
    room = step * len(CLAIMS) - 8
    short = distinct_short_names(
        [grid.runs[run] for run in run_ids], lambda name: shorten_to_width(name, SMALL, room, bold=True)
    )
    for n, name in enumerate(short):
        drawing.text((left + step * (n + 0.5) * len(CLAIMS), top + 13), name, SMALL, anchor="middle", bold=True)
    for (_run, claim), x in columns.items():
        drawing.text((x, top + 30), claim_name(claim), SMALL, theme.quiet, "middle")
    y = top + HEADS
    axes = [_AXIS_OF.get(key) for key in grid.rows]
    ends = [*(before != after for before, after in pairwise(axes)), False]
    for rows, told, is_last in zip(grid.rows.values(), lines, ends, strict=True):
        height = LINE * len(told) + GAP
        for n, line in enumerate(told):
            drawing.text((0, y + LINE * (n + 1)), line, SMALL, bold=bool(rows[0].is_core))
        for row in rows:
            if (row.run_id, row.claim) in columns:
                _draw_outcome(drawing, row, (columns[row.run_id, row.claim], y + height / 2), step, height)
        y += height
        if is_last:
            drawing.line([(0, y), (left + step * len(columns), y)], theme.grid, 1.5)
    drawing.height = y + 12


def _draw_outcome(drawing: Drawing, row: RunClaimRow, middle: tuple[float, float], width: float, height: float) -> None:
    """The sign distinguishes an outcome, its colour only repeats that; a pointer over it tells ratio and interval."""
    (x, y), outcome = middle, outcome_of(row)
    colours = {"yes": drawing.theme.curves[0], "opposite": drawing.theme.curves[1]}
    drawing.text((x, y + 6), outcome_mark(outcome), 17, colours.get(outcome or "", drawing.theme.quiet), "middle")
    told = html.escape(f"{specification_name(row)}\n{ratio_text(row)}: {claim_outcome_text(row)}", quote=False)
    drawing.parts.append(
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill-opacity="0"><title>{told}</title></rect>'
    )


def _axis(row: RunClaimRow) -> str:
    return _AXIS_OF.get((row.cloud, row.transform, row.estimator, row.n1), "")


def _method_name(row: RunClaimRow, headline: str) -> str:
    """What differs from the headline's method, which is called `headline`: `nearest neighbours`."""
    if row.estimator == "participation_ratio":
        return _("participation ratio")
    if row.transform != "centred":
        return labels.name("transform", row.transform)
    axis = _axis(row)
    return labels.name("axis", axis) if axis else headline


def rise_chart(claims: pl.DataFrame, headline: str) -> Chart | None:
    """The ratio of the rise by each core method, first the headline's, called `headline`, with its interval and the ratio from
    which it counts. `claims` are rows of one run; None without them."""
    title = _("Largest inner dimension over that at layer 0")
    rows = rows_of(claims.filter(claim="rise", is_core=True), RunClaimRow)
    points = (
        Point(row.ratio, 0, left=row.lower, right=row.upper, name=_method_name(row, headline))
        for row in sorted(rows, key=lambda row: bool(_axis(row)))
        if row.ratio is not None
    )
    line = in_rows(points, title)
    needed = Guide(_("counts from {ratio}").format(ratio=shown(RATIO, "g")), RATIO)
    x = round_axis(title, [*x_ends([line]), 1.0, RATIO])
    return interval_chart([line], x, [needed]) if line.points else None
