"""The style of plotly figures: colours, template, and elements that several figures share."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from core.figures.svg import LIGHT, Box, Dot, Point, Theme, around, boxes_overlap
from core.figures.text import text_width
from core.wording.labels import shortened_name

COLOURS = list(LIGHT.curves)
DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]
GRID, TEXT, QUIET = LIGHT.grid, LIGHT.text, LIGHT.quiet

LOG_TICKS = [a * 10**power for power in range(-2, 5) for a in (1, 2, 5)]
"""Ticks of a logarithmic axis over few powers of ten, where plotly would write 2 for 20."""

COLOUR_SCALE = "Cividis"
"""Dark blue to yellow; even in lightness, and read alike with the common colour blindnesses (Nunez et al. 2018)."""


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


def bare_figure(**layout: Any) -> go.Figure:
    return go.Figure(layout={"template": template(LIGHT), "colorway": COLOURS, **layout})


def axes_figure(x_title: str, y_title: str, height: int = 480) -> go.Figure:
    axis = {"gridcolor": GRID, "zeroline": False, "ticks": "outside"}
    return bare_figure(
        font={"color": TEXT, "size": 13},
        legend={"orientation": "h", "yref": "container", "yanchor": "top", "y": 0.94, "x": 0},
        margin={"l": 70, "r": 30, "t": 70, "b": 60},
        height=height,
        showlegend=True,
        hovermode="closest",
        xaxis=axis | {"title": {"text": x_title, "font": {"size": 12}}},
        yaxis=axis | {"title": {"text": y_title, "font": {"size": 12}}},
    )


def with_message(figure: go.Figure, sentence: str) -> go.Figure:
    figure.add_annotation(text=sentence, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper", font={"size": 15})
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False)
    return figure


def escape_label(name: str) -> str:
    """Plotly would read `<b>` in a name as bold."""
    return html.escape(name, quote=False)


def label_rows(figure: go.Figure, names: Sequence[str], longest: int = 40) -> None:
    """Labels rows 0, 1, ... from the top with these names."""
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[escape_label(shortened_name(name, longest)) for name in names],
        range=[len(names) - 0.5, -0.5],
        automargin=True,
        ticks="",
        showgrid=False,
    )


def translucent(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"


def error_bars(above: list[float | None], below: list[float | None]) -> dict:
    return {
        "type": "data",
        "symmetric": False,
        "array": [value or 0 for value in above],
        "arrayminus": [value or 0 for value in below],
        "thickness": 1.5,
        "width": 4,
    }


THIN_BARS = {"thickness": 1, "width": 0, "color": "rgba(107, 118, 128, 0.45)"}
"""For error bars among many points."""


def text_colour_on(colour: str) -> str:
    """Black or white, whichever is readable on this colour of `LIGHT`; `recolour` turns white dark for pale dark-mode colours."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (((c + 0.055) / 1.055) ** 2.4 if c > 0.04 else c / 12.92 for c in channels)
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "white"


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
    colours |= {translucent(old): translucent(new) for old, new in colours.items()} | {"white": theme.paper}
    content = figure.to_plotly_json()
    layout = content["layout"] | {
        "template": template(theme),
        "paper_bgcolor": theme.paper,
        "plot_bgcolor": theme.paper,
    }
    return go.Figure(_replace_colours({"data": content["data"], "layout": layout}, colours))


def _replace_colours(part: Any, colours: Mapping[str, str]) -> Any:
    if isinstance(part, str):
        return colours.get(part, part)
    if isinstance(part, Mapping):
        return {name: _replace_colours(value, colours) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_replace_colours(value, colours) for value in part]
    return part


# --- names in a scatter ----------------------------------------------------------------------------------------

LABEL_SIZE = 11.0
LABEL_PLACES = {
    "top center": (-0.5, -1.5),
    "bottom center": (-0.5, 1.5),
    "middle right": (0.0, 0.0),
    "middle left": (-1.0, 0.0),
    "top right": (0.0, -1.2),
    "bottom right": (0.0, 1.2),
    "top left": (-1.0, -1.2),
    "bottom left": (-1.0, 1.2),
}
"""Positions of a label: horizontal offset in label widths, vertical offset in line heights."""


def place_labels(dots: Sequence[Dot], plot: tuple[float, float], first: Collection[int] = ()) -> list[str]:
    """For each dot the place of its name (a key of `LABEL_PLACES`) where it overlaps no dot or other name; empty where there is
    no room. Of the free places the one with the fewest other dots beside it and error bars across it.

    `plot` is the size of the axes in pixels; the dots with the numbers in `first` get their places before the others.
    """
    if not dots:
        return []
    to_pixels = _scales(dots, plot)
    positions = [to_pixels(dot.x, dot.y) for dot in dots]
    bars = [bar for dot, position in zip(dots, positions, strict=True) for bar in _bars(dot, position, to_pixels)]
    occupied = [around(position, 7) for position in positions]
    beside = [around(position, 16) for position in positions]
    places = [""] * len(dots)
    for number in sorted(range(len(dots)), key=lambda number: number not in first):
        width = text_width(dots[number].name, LABEL_SIZE)
        boxes = {place: _label_box(width, positions[number], place) for place in LABEL_PLACES}
        free = [
            place
            for place, box in boxes.items()
            if box[0] > -20 and box[2] < plot[0] + 20 and not any(boxes_overlap(box, other) for other in occupied)
        ]
        if len(free) > 1:
            disturbing = [*bars, *beside[:number], *beside[number + 1 :]]
            free.sort(key=lambda place: sum(boxes_overlap(boxes[place], box) for box in disturbing))
        if free:
            places[number] = free[0]
            occupied.append(boxes[free[0]])
    return places


def _label_box(width: float, position: Point, place: str) -> Box:
    left, down = LABEL_PLACES[place]
    aside = 10 * (left == 0.0) - 10 * (left == -1.0)
    start, middle = position[0] + left * width + aside, position[1] + down * LABEL_SIZE
    return start, middle - 6, start + width, middle + 6


def _scales(dots: Sequence[Dot], plot: tuple[float, float]) -> Callable[[float, float], Point]:
    """From values to pixels of the plot, y downwards; the axes contain the error bars."""
    x_values = [value for dot in dots for value in (dot.x, *(dot.x_limits or ()))]
    y_values = [value for dot in dots for value in (dot.y, *(dot.y_limits or ()))]
    (x_low, x_high), (y_low, y_high) = ((min(values), max(values)) for values in (x_values, y_values))

    def to_pixels(x: float, y: float) -> Point:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        up = (y - y_low) / (y_high - y_low) if y_high > y_low else 0.5
        return plot[0] * across, plot[1] * (1 - up)

    return to_pixels


def _bars(dot: Dot, position: Point, to_pixels: Callable[[float, float], Point]) -> list[Box]:
    """The two error bars of a dot, as thin boxes."""
    x, y = position
    left, right = (to_pixels(end, dot.y)[0] for end in dot.x_limits or (dot.x, dot.x))
    bottom, top = (to_pixels(dot.x, end)[1] for end in dot.y_limits or (dot.y, dot.y))
    return [(left, y - 1, right, y + 1), (x - 1, top, x + 1, bottom)]
