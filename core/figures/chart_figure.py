"""Charts as plotly figures, for screens, and the style that all plotly figures share."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import plotly.io

from core.figures.chart import Axis, Bars, Chart, Guide, Point, Series, point_text
from core.figures.svg import LIGHT, Theme
from core.figures.text import SIDES, Position, name_sides, spread_apart, text_width, wrap_text
from core.wording.labels import distinct_short_names, shortened_name

SYMBOLS = {
    "circle": "circle",
    "open": "circle-open",
    "diamond": "diamond",
    "triangle": "triangle-up",
    "down": "triangle-down",
    "hollow": "triangle-up-open",
    "square": "square",
    "plus": "cross",
    "dash": "line-ew-open",
}
LABEL_SIZE = 11.0
END_GAP = LABEL_SIZE + 4
"""Pixels from one name at the end of a line to the next."""
PLOT = (450.0, 310.0)
"""Pixels of the axes in a window of 1,000: labels that do not overlap there do not overlap in a wider window."""
MARGINS = 130
"""Pixels of a figure above and below its axes."""
LONGEST_ROW = 40
_PATTERNS = ("", "/", ".", "x", "-")


def chart_figure(chart: Chart, height: int = 440) -> go.Figure:
    """Lines with bands, marks with error bars, names where there is room, guides; values under the pointer."""
    height = max(height, MARGINS + round(END_GAP * len(_labelled_ends(chart))))
    lines = [part for line in chart.y.title.split("\n") for part in wrap_text(line, 12, height - 60)]
    figure = axes_figure(_in_html(chart.x.title), _in_html("\n".join(lines)), height)
    if not chart.points:
        return with_message(figure, chart.alternative)
    in_legend: set[str] = set()
    sides = _names_beside(chart, height)
    _label_line_ends(figure, chart, height)
    for line in chart.series:
        is_new = bool(line.name) and not line.group and line.name not in in_legend
        in_legend |= {line.name} if is_new else set()
        _draw_series(figure, line, chart, sides, is_new)
    for guide in chart.guides:
        _draw_guide(figure, guide, chart)
        in_legend |= {guide.name} if guide.name and not guide.is_vertical else set()
    for span in chart.spans:
        name = {"text": escape_label(span.name), "font": {"color": QUIET, "size": LABEL_SIZE}}
        figure.add_vrect(
            span.low, span.high, fillcolor=QUIET, opacity=0.08, line_width=0, annotation=name, annotation_position="top"
        )
    _set_axis(figure.update_xaxes, chart.x)
    _set_axis(figure.update_yaxes, chart.y)
    if chart.y.is_ordered:
        _label_rows(figure, [name for _row, name in chart.y.labels])
    if not in_legend:
        figure.update_layout(showlegend=False, margin={"t": 20})
    return figure


def _labelled_ends(chart: Chart) -> list[Series]:
    return [line for line in chart.series if line.end and line.is_named]


def _label_line_ends(figure: go.Figure, chart: Chart, height: int) -> None:
    """Writes what lines to compare with are behind their ends, apart from each other: a legend would tell them by dashes.

    Each is a trace, which the legend hides with its line.
    """
    ends = _labelled_ends(chart)
    inner = height - MARGINS
    wanted = [inner * (1 - min(max(chart.y.share(line.points[-1].y), 0), 1)) for line in ends]
    for line, y in zip(ends, spread_apart(wanted, END_GAP, 0, inner), strict=True):
        figure.add_scatter(
            x=[chart.x.high],
            y=[chart.y.value(1 - y / inner)],
            mode="text",
            text=["\u00a0\u00a0" + escape_label(line.end)],  # beyond the mark of a last point
            textposition="middle right",
            textfont={"size": LABEL_SIZE, "color": _colour(line)},
            cliponaxis=False,
            hoverinfo="skip",
            showlegend=False,
            legendgroup=line.group or line.name,
            name=escape_label(line.name),
        )
    if ends:
        ticks = (text_width(part, LABEL_SIZE + 2) for _at, label in chart.x.labels for part in label.split("\n"))
        room = max(22 + max(text_width(line.end, LABEL_SIZE) for line in ends), max(ticks, default=0) / 2)
        figure.update_layout(margin={"r": round(room)})


def _draw_series(figure: go.Figure, line: Series, chart: Chart, sides: Mapping[Point, str], in_legend: bool) -> None:
    """A line with its band, or marks with error bars; names stand on those sides of their points, if on any."""
    colour, points = _colour(line), line.points
    x, y = [point.x for point in points], [point.y for point in points]
    bars = {}
    if not line.is_line:
        bars["error_x"] = _bars(x, [(point.left, point.right) for point in points], colour)
        bars["error_y"] = _bars(y, [(point.lower, point.upper) for point in points], colour)
    elif line.is_banded:
        _draw_band(figure, line, colour)
    parts = {"lines": line.is_line, "markers": line.mark != "none", "text": any(point in sides for point in points)}
    figure.add_scatter(
        x=x or (None,),
        y=y or (None,),
        mode="+".join(part for part, is_drawn in parts.items() if is_drawn),
        name=escape_label(line.name),
        legendgroup=line.group or line.name,
        showlegend=in_legend,
        line=_line(line, colour),
        marker={
            "symbol": SYMBOLS.get(line.mark, "circle"),
            "size": 9,
            "color": colour,
            "line": {"width": 2, "color": colour},
        },
        text=[escape_label(point.name) if point in sides else "" for point in points],
        textposition=[sides.get(point, "top center") for point in points],
        textfont={"size": LABEL_SIZE},
        **bars,
        hovertext=[_in_html(point_text(chart, line, point)) for point in points],
        hoverinfo="text",
        cliponaxis=False,
    )


def bars_figure(bars: Bars, row_height: int = 22) -> go.Figure:
    """Horizontal bars; what a part is tells its pattern too, unless it is written within."""
    figure = axes_figure(_in_html(bars.title), "", 140 + row_height * len(bars.rows))
    for n, (name, part) in enumerate(bars.parts.items()):
        colour = COLOURS[n] if n < len(COLOURS) else QUIET
        pattern = {"shape": _PATTERNS[n % len(_PATTERNS)], "fgcolor": "white", "size": 5, "fillmode": "overlay"}
        figure.add_bar(
            x=[bar.high - bar.low for bar in part],
            y=[bar.row for bar in part],
            base=[bar.low for bar in part],
            orientation="h",
            name=escape_label(name),
            marker={"color": colour, "line": {"color": "white", "width": 1}, "pattern": {} if bars.marked else pattern},
            text=[escape_label(bar.text) for bar in part],
            textposition="inside",
            insidetextanchor="middle",
            textfont={"size": LABEL_SIZE},
            textangle=0,
            hovertext=[escape_label(bar.note) for bar in part],
            hoverinfo="text",
        )
    for row, at in enumerate(bars.marked):
        figure.add_shape(type="line", x0=at, x1=at, y0=row - 0.42, y1=row + 0.42, line={"color": TEXT, "width": 3})
    figure.update_layout(barmode="overlay", bargap=0.35, legend={"traceorder": "normal"}, margin={"l": 10})
    if bars.is_share:
        figure.update_xaxes(range=[-0.005, 1.005], tickformat=".0%")
    _label_rows(figure, bars.rows)
    return figure


def _in_html(text: str) -> str:
    return escape_label(text).replace("\n", "<br>")


def _colour(line: Series) -> str:
    return QUIET if line.colour is None else COLOURS[line.colour % len(COLOURS)]


def _line(line: Series, colour: str) -> dict[str, Any]:
    if line.dash or line.colour is None:
        return {"color": colour, "width": 1.3, "dash": line.dash or "dot"}
    return {"color": colour, "width": 2.5, "dash": DASHES[line.colour % len(DASHES)]}


def _draw_band(figure: go.Figure, line: Series, colour: str) -> None:
    banded = [point for point in line.points if point.lower is not None and point.upper is not None]
    figure.add_scatter(
        x=[point.x for point in [*banded, *banded[::-1]]],
        y=[point.upper for point in banded] + [point.lower for point in banded[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=translucent(colour),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=line.group or line.name,
        name=escape_label(line.name),
    )


def _bars(values: Sequence[float], limits: Sequence[tuple[float | None, float | None]], colour: str) -> dict:
    pairs = list(zip(values, limits, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [0 if high is None else high - value for value, (_low, high) in pairs],
        "arrayminus": [0 if low is None else value - low for value, (low, _high) in pairs],
        "thickness": 1.5,
        "width": 0,
        "color": translucent(colour, BARS),
    }


def _draw_guide(figure: go.Figure, guide: Guide, chart: Chart) -> None:
    """A line upwards with its name above it, or across with its name in the legend: beside the line it would lie on marks."""
    line = {"color": QUIET, "width": 1.2, "dash": "dash"}
    if guide.is_vertical:
        figure.add_vline(guide.at, line=line, annotation={"text": escape_label(guide.name), "font": {"color": QUIET}})
        return
    (left, y), (right, _y) = guide.ends(chart)
    figure.add_scatter(
        x=[left, right],
        y=[y, y],
        mode="lines",
        line=line,
        name=escape_label(guide.name),
        showlegend=bool(guide.name),
        hoverinfo="skip",
    )


def _set_axis(update: Callable[..., Any], axis: Axis) -> None:
    ends = [axis.high, axis.low] if axis.is_reversed else [axis.low, axis.high]
    if axis.is_log:
        update(type="log", range=[math.log10(end) for end in ends])
    elif not axis.is_ordered:
        update(range=ends, dtick=axis.step, tickformat=f",.{axis.decimals}f")
    if axis.is_log or (axis.labels and not axis.is_ordered):
        places, labels = zip(*axis.ticks(), strict=True)
        update(tickvals=places, ticktext=list(map(_in_html, labels)))


def _names_beside(chart: Chart, height: int) -> dict[Point, str]:
    """Position of the name of each point that has room for one, as plotly calls it."""
    if chart.y.is_ordered:
        return {}
    plot = PLOT[0], height - MARGINS

    def to_pixels(x: float, y: float) -> Position:
        return plot[0] * chart.x.share(x), plot[1] * (1 - chart.y.share(y))

    edges = (-20, -20, plot[0] + 20, plot[1])
    sides = name_sides(
        chart.points, to_pixels, edges, LABEL_SIZE, [line.points for line in chart.series if line.is_line]
    )
    return {point: _text_position(*SIDES[side]) for point, side in zip(chart.points, sides, strict=True) if side}


def _text_position(across: int, down: int) -> str:
    return f"{('top', 'middle', 'bottom')[down + 1]} {('left', 'center', 'right')[across + 1]}"


# --- what all figures share -------------------------------------------------------------------------------------

COLOURS = list(LIGHT.curves)
DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]
GRID, TEXT, QUIET = LIGHT.grid, LIGHT.text, LIGHT.quiet

BAND, BARS = 0.15, 0.45
"""Opacity of bands and of error bars."""

LOG_TICKS = [a * 10**power for power in range(-2, 5) for a in (1, 2, 5)]
"""Ticks of a logarithmic axis over few powers of ten, where plotly would write 2 for 20."""


def template(theme: Theme) -> dict[str, Any]:
    """The plotly template of all figures. Plotly's own is forty times as long; it would be copied and validated three times
    for each figure (a third of the time of filtering the ranking) and sent to the browser."""
    axis = {"gridcolor": theme.grid, "linecolor": theme.grid, "title": {"standoff": 15}, "automargin": True}
    return {
        "layout": {
            "autotypenumbers": "strict",
            "paper_bgcolor": theme.paper,
            "plot_bgcolor": theme.paper,
            "hoverlabel": {"align": "left"},
            "shapedefaults": {"line": {"color": theme.text}},
            "annotationdefaults": {"arrowcolor": theme.text, "arrowhead": 0, "arrowwidth": 1},
            "xaxis": axis,
            "yaxis": axis,
        },
        "data": {
            "bar": [{"type": "bar", "marker": {"line": {"color": theme.paper, "width": 0.5}}}],
            "heatmap": [{"type": "heatmap", "colorbar": {"outlinewidth": 0, "ticks": ""}}],
        },
    }


def axes_figure(x_title: str, y_title: str, height: int = 480) -> go.Figure:
    axis = {"gridcolor": GRID, "zeroline": False, "ticks": "outside"}
    layout = {
        "template": template(LIGHT),
        "colorway": COLOURS,
        "font": {"color": TEXT, "size": 13},
        "legend": {"orientation": "h", "yref": "container", "yanchor": "top", "y": 0.94, "x": 0},
        "margin": {"l": 70, "r": 30, "t": 70, "b": 60},
        "height": height,
        "showlegend": True,
        "hovermode": "closest",
        "xaxis": axis | {"title": {"text": x_title, "font": {"size": 12}}},
        "yaxis": axis | {"title": {"text": y_title, "font": {"size": 12}}},
    }
    return go.Figure(layout=layout)


def with_message(figure: go.Figure, sentence: str) -> go.Figure:
    figure.add_annotation(text=sentence, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper", font={"size": 15})
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False)
    return figure


def add_heatmap(
    figure: go.Figure, x: list, y: list, values: list[list], notes: list[list[str]], bar: dict[str, Any], **more: Any
) -> None:
    """Values by row and column in colours; `bar`: title and ticks of the scale."""
    title = bar.pop("title") | {"side": "right", "font": {"size": 12}}
    figure.add_heatmap(
        x=x,
        y=y,
        z=values,
        colorscale="Cividis",  # even in lightness, read alike with the common colour blindnesses (Nunez et al. 2018)
        customdata=notes,
        hovertemplate="%{customdata}<extra></extra>",
        colorbar={"title": title, "thickness": 16, **bar},
        **more,
    )


def escape_label(name: str) -> str:
    """Plotly would read `<b>` in a name as bold."""
    return html.escape(name, quote=False)


def _label_rows(figure: go.Figure, names: Sequence[str]) -> None:
    """Labels rows 0, 1, ... from the top with these names."""
    short = distinct_short_names(names, lambda name: shortened_name(name, LONGEST_ROW))
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=list(map(escape_label, short)),
        range=[len(names) - 0.5, -0.5],
        automargin=True,
        ticks="",
        showgrid=False,
    )


def translucent(colour: str, opacity: float = BAND) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def recolour(figure: go.Figure, theme: Theme) -> go.Figure:
    """The same figure in another theme; figures are drawn in the colours of `LIGHT`."""
    if theme == LIGHT:
        return figure
    colours = dict(
        zip(
            (LIGHT.text, LIGHT.quiet, LIGHT.grid, *LIGHT.curves),
            (theme.text, theme.quiet, theme.grid, *theme.curves),
            strict=True,
        )
    )
    pale = {translucent(old, part): translucent(new, part) for old, new in colours.items() for part in (BAND, BARS)}
    colours |= pale | {"white": theme.paper}
    quoted = "|".join(re.escape(f'"{old}"') for old in colours)
    content = re.sub(quoted, lambda found: f'"{colours[found[0][1:-1]]}"', figure.to_json())
    recoloured = plotly.io.from_json(content, skip_invalid=True)
    return recoloured.update_layout(template=template(theme), paper_bgcolor=theme.paper, plot_bgcolor=theme.paper)
