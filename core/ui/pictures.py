"""Figures and drawings on a screen, in the reader's theme: dark or light, as the browser says when the page is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.figures.chart import Chart
from core.figures.chart_figure import COLOURS, chart_figure, recolour
from core.figures.svg import THEMES, Theme
from core.locale import N_, spoken, translated

_PICTURE = st.components.v2.component(
    "picture",
    css="""
        svg { display: block; width: 100%; height: auto; }
        [data-layer] { cursor: pointer; fill: currentColor; }
        [data-layer]:hover { fill-opacity: 0.12; }
    """,
    js="""export default ({ data, parentElement, setTriggerValue }) => {
        const phone = matchMedia("(max-width: 640px)");
        const show = () => {
            const file = new DOMParser().parseFromString(phone.matches ? data.narrow : data.wide, "image/svg+xml");
            const drawn = document.importNode(file.documentElement, true);
            drawn.addEventListener("click", event => {
                const place = event.target.closest("[data-layer]");
                if (place) setTriggerValue("layer", Number(place.dataset.layer));
            });
            parentElement.querySelectorAll("svg").forEach(one => one.remove());
            parentElement.append(drawn);
        };
        show();
        phone.addEventListener("change", show);
        return () => phone.removeEventListener("change", show);
    }""",
)
"""Two SVG drawings within the page, of which a window shows one; layers can be clicked on."""
NARROW = (340.0, 440.0)
"""Pixels of a picture on a phone."""


ICONS = {
    "related_as_registered": ":material/check_circle:",
    "related_other_way": ":material/swap_vert:",
    "not_related": ":material/do_not_disturb_on:",
    "cannot_tell": ":material/help:",
    "hint": ":material/lightbulb:",
}
"""Icons by the word of an answer whether two things are related."""
_COLOURS = "colours of runs"
_BUTTONS = (
    N_("Download plot as a PNG"),
    N_("Zoom"),
    N_("Pan"),
    N_("Zoom in"),
    N_("Zoom out"),
    N_("Autoscale"),
    N_("Reset axes"),
)
"""The buttons above a figure, which plotly names in English."""


def theme() -> Theme:
    """The colours of the reader's theme: light where the browser has not said yet."""
    return THEMES.get(st.context.theme.type or "light", THEMES["light"])


def session_colours(run_ids: Sequence[str]) -> dict[str, int]:
    """Run -> its colour, the same on all pages of a session as long as those shown together leave it one of its own.

    Where more are shown than there are colours, some are alike in any case, and each keeps the one that it had.
    """
    kept: dict[str, int] = st.session_state.setdefault(_COLOURS, {})
    colours: dict[str, int] = {}
    is_crowded = len(run_ids) > len(COLOURS)
    for run_id in sorted(run_ids, key=lambda one: one not in kept):
        free = [n for n in range(len(COLOURS)) if n not in colours.values()] or [len(colours) % len(COLOURS)]
        if run_id in kept and (is_crowded or kept[run_id] in free):
            colours[run_id] = kept[run_id]
        else:  # one that no other run had, so that a run that was shown before finds its own again
            colours[run_id] = min(free, key=lambda n: n in kept.values())
    kept |= colours
    return colours


def plot(picture: Chart | go.Figure, key: str, height: int = 440, **more: Any) -> Any:
    """Draw a chart, or a figure of plotly, which answers to the pointer; `height` is in pixels, of a chart alone."""
    figure = chart_figure(picture, height) if isinstance(picture, Chart) else picture
    names = {name: translated(name) for name in _BUTTONS}
    locale = {} if spoken() == "en" else {"locale": spoken(), "locales": {spoken(): {"dictionary": names}}}
    return st.plotly_chart(recolour(figure, theme()), key=key, theme=None, config=locale, **more)


def plot_drawn(
    draw: Callable[[tuple[float, float]], str],
    size: tuple[float, float],
    key: str,
    choose_layer: Callable[[int], None] = lambda layer: None,
) -> None:
    """Draw the SVG that a function makes of width and height: of this size, and for a phone in one with fewer labels, as
    smaller ones could not be read. A click on a layer chooses it, where the picture has any."""
    drawn = {"wide": draw(size), "narrow": draw(NARROW)}
    _PICTURE(key=key, data=drawn, on_layer_change=lambda: choose_layer(int(st.session_state[key]["layer"])))
