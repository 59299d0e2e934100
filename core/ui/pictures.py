"""Figures and drawings on a screen, in the reader's theme: dark or light, as the browser says when the page is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.figures.style import recolour
from core.figures.svg import THEMES, Theme
from core.locale import _, spoken

_LAYERED_PICTURE = st.components.v2.component(
    "layered_picture",
    css="""
        svg { display: block; width: 100%; height: auto; }
        [data-layer] { cursor: pointer; fill: currentColor; }
        [data-layer]:hover { fill-opacity: 0.12; }
    """,
    js="""export default ({ data, parentElement, setTriggerValue }) => {
        const file = new DOMParser().parseFromString(new TextDecoder().decode(data), "image/svg+xml");
        const drawn = document.importNode(file.documentElement, true);
        drawn.addEventListener("click", event => {
            const place = event.target.closest("[data-layer]");
            if (place) setTriggerValue("layer", Number(place.dataset.layer));
        });
        parentElement.querySelector("svg")?.remove();
        parentElement.append(drawn);
    }""",
)
"""An SVG drawing within the page, in which layers can be clicked on."""


def theme() -> Theme:
    """The colours of the reader's theme: light where the browser has not said yet."""
    return THEMES.get(st.context.theme.type or "light", THEMES["light"])


def plot(figure: go.Figure, key: str, **more: Any) -> Any:
    """Draw a plotly figure, which answers to the pointer."""
    return st.plotly_chart(recolour(figure, theme()), key=key, theme=None, config=_plotly_locale(), **more)


def _plotly_locale() -> dict[str, Any]:
    """The names of the buttons above a figure, which plotly has in English."""
    names = {
        "Download plot as a PNG": _("Download plot as a PNG"),
        "Zoom": _("Zoom"),
        "Pan": _("Pan"),
        "Zoom in": _("Zoom in"),
        "Zoom out": _("Zoom out"),
        "Autoscale": _("Autoscale"),
        "Reset axes": _("Reset axes"),
    }
    return {} if spoken() == "en" else {"locale": spoken(), "locales": {spoken(): {"dictionary": names}}}


def plot_layered(svg: str, key: str, choose_layer: Callable[[int], None]) -> None:
    """Draw a picture of `core.figures.layer_profiles` with its layers marked; a click on one of them chooses it."""

    def on_click() -> None:
        choose_layer(int(st.session_state[key]["layer"]))

    _LAYERED_PICTURE(key=key, data=svg.encode(), on_layer_change=on_click)
