"""Two models on the same questions: the difference on each benchmark with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from core.analysis.paired import Paired
from core.figures.style import COLOURS, QUIET, TEXT, bars, frame, shown
from core.locale import translator
from core.registry.names import NOT_STATED
from core.wording.numbers import number


@dataclass(frozen=True)
class Difference:
    name: str
    """Benchmark, metric and, where there is one, filter."""
    value: float
    lower: float | None
    upper: float | None
    is_told_apart: bool
    n: int


@dataclass(frozen=True)
class PairedData:
    model_a: str
    model_b: str
    differences: list[Difference]


def benchmark_label(key: dict[str, str]) -> str:
    """`arc_easy, acc`: with the filter where it is one."""
    parts = [key["benchmark"], key["metric"], key["filter"] if key["filter"] not in ("none", NOT_STATED) else ""]
    return ", ".join(part for part in parts if part)


def paired_points(model_a: str, model_b: str, found: Sequence[tuple[dict[str, str], Paired]]) -> PairedData:
    """`found` comes from `analysis.paired.all_paired`."""
    return PairedData(
        model_a,
        model_b,
        [
            Difference(benchmark_label(key), one.difference, one.lower, one.upper, one.is_told_apart, one.n_common)
            for key, one in found
        ],
    )


def paired_figure(data: PairedData, language: str) -> go.Figure:
    """One line per benchmark; filled where the models can be told apart, open where they cannot."""
    _ = translator(language)
    title = _("{a} minus {b}:<br>difference of means, 95 % interval")
    title = title.format(a=shown(_last(data.model_a)), b=shown(_last(data.model_b)))
    figure = frame(title, "", height=170 + 36 * len(data.differences))
    figure.add_vline(x=0, line={"color": TEXT, "width": 1})
    for told, name, symbol, colour in (
        (True, _("told apart"), "circle", COLOURS[0]),
        (False, _("cannot be told apart"), "circle-open", QUIET),
    ):
        chosen = [(place, one) for place, one in enumerate(data.differences) if one.is_told_apart == told]
        if not chosen:
            continue
        figure.add_scatter(
            x=[one.value for _place, one in chosen],
            y=[place for place, _one in chosen],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
            error_x=bars(
                [None if one.upper is None else one.upper - one.value for _place, one in chosen],
                [None if one.lower is None else one.value - one.lower for _place, one in chosen],
            ),
            hovertext=[f"{shown(one.name)}: {number(one.value)} (n={one.n:,})" for _place, one in chosen],
            hoverinfo="text",
        )
    figure.update_yaxes(
        tickvals=list(range(len(data.differences))),
        ticktext=[shown(one.name) for one in data.differences],
        autorange="reversed",
        automargin=True,
        ticks="",
    )
    return figure


def _last(model: str) -> str:
    """Without its owner or folders, so that two names have room below a narrow picture."""
    return model.rsplit("/", 1)[-1]
