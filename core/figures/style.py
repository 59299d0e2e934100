"""The style of plotly figures: colours, template, and elements that several figures share."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from core.figures.svg import LIGHT, Theme
from core.wording.labels import distinct_short_names, shortened_name

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


def label_rows(figure: go.Figure, names: Sequence[str], longest: int = 40) -> None:
    """Labels rows 0, 1, ... from the top with these names."""
    short = distinct_short_names(names, lambda name: shortened_name(name, longest))
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
    pale = {translucent(old, part): translucent(new, part) for old, new in colours.items() for part in (BAND, BARS)}
    colours |= pale | {"white": theme.paper}
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
