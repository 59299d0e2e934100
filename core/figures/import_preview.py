"""What would become of the values of each file, as one bar per file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from core.figures.style import COLOURS, QUIET, frame, shown
from core.locale import translator
from core.wording.score_files import KINDS, kind_name

_COLOURS = dict(zip(KINDS, (COLOURS[0], COLOURS[2], COLOURS[3], COLOURS[1], QUIET), strict=True))
_PATTERNS = dict(zip(KINDS, ("", "/", ".", "x", "-"), strict=True))


FEW = 10
"""Values below which plotly would mark halves of one."""


@dataclass(frozen=True)
class ImportData:
    files: list[str]
    """Names, in the order handed over."""
    counts: dict[str, list[int]]
    """Kind of value (`KINDS`) -> how many each file has; each value counts once."""


def import_points(files: Sequence[tuple[str, pl.DataFrame]]) -> ImportData:
    """`files`: name and rows of a preview, with `kind` (`with_kind`)."""
    counts = {kind: [rows.filter(kind=kind).height for _, rows in files] for kind in KINDS}
    return ImportData([name for name, _ in files], counts)


def with_kind(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a preview with `kind`: skipped, else conflict or duplicate, else mapped or taken."""
    is_skipped = pl.col("fate") == "skipped"
    return rows.with_columns(kind=pl.when(is_skipped).then("fate").otherwise(pl.coalesce("known", "fate")))


def import_figure(data: ImportData, language: str) -> go.Figure:
    """One horizontal bar per file, its parts told apart by colour and pattern."""
    _ = translator(language)
    figure = frame(_("Values"), "", height=150 + 34 * len(data.files))
    places = list(range(len(data.files)))
    for kind, numbers in data.counts.items():
        if any(numbers):
            figure.add_bar(
                y=places,
                x=numbers,
                name=kind_name(kind, language),
                orientation="h",
                text=[n or "" for n in numbers],
                marker={"color": _COLOURS[kind], "pattern": {"shape": _PATTERNS[kind], "fgcolor": "white", "size": 5}},
                textposition="inside",
                insidetextanchor="middle",
            )
    figure.update_layout(barmode="stack", bargap=0.35, legend={"traceorder": "normal"})
    if max((sum(of_file) for of_file in zip(*data.counts.values(), strict=True)), default=0) < FEW:
        figure.update_xaxes(dtick=1)
    names = [shown(name if len(name) <= 40 else name[:39] + "…") for name in data.files]
    figure.update_yaxes(tickvals=places, ticktext=names, autorange="reversed", automargin=True, ticks="")
    return figure
