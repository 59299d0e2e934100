"""Pictures on a screen, in the reader's theme: dark or light as it is known when the page is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.figures.style import recolour
from core.figures.svg import THEMES, Theme
from core.ui import language

_LAYERED = st.components.v2.component(
    "layered_picture",
    css="""
        svg { display: block; width: 100%; height: auto; }
        [data-layer] { cursor: pointer; fill: currentColor; }
        [data-layer]:hover { fill-opacity: 0.12; }
    """,
    js="""export default ({ data, parentElement, setTriggerValue }) => {
        const file = new DOMParser().parseFromString(data, "image/svg+xml");
        const drawn = document.importNode(file.documentElement, true);
        drawn.addEventListener("click", event => {
            const place = event.target.closest("[data-layer]");
            if (place) setTriggerValue("layer", Number(place.dataset.layer));
        });
        parentElement.querySelector("svg")?.remove();
        parentElement.append(drawn);
    }""",
)
"""A drawing of our own within the page, in which layers can be clicked on."""


def theme() -> Theme:
    """Light where the browser has not told yet."""
    return THEMES.get(st.context.theme.type or "light", THEMES["light"])


def plot(figure: go.Figure, key: str, **more: Any) -> Any:
    """A figure that answers to the pointer."""
    return st.plotly_chart(recolour(figure, theme()), key=key, theme=None, config=_tools(), **more)


def _tools() -> dict[str, Any]:
    """The names of the tools above a figure, which plotly has in English."""
    _ = language.translator()
    names = {
        "Download plot as a PNG": _("Download plot as a PNG"),
        "Zoom": _("Zoom"),
        "Pan": _("Pan"),
        "Zoom in": _("Zoom in"),
        "Zoom out": _("Zoom out"),
        "Autoscale": _("Autoscale"),
        "Reset axes": _("Reset axes"),
    }
    spoken = language.current()
    return {} if spoken == "en" else {"locale": spoken, "locales": {spoken: {"dictionary": names}}}


def layered(drawn: str, key: str, choose: Callable[[int], None]) -> None:
    """A picture of `core.figures.svg_profiles` with its layers marked; a click on one of them chooses it."""

    def take() -> None:
        choose(int(st.session_state[key]["layer"]))

    _LAYERED(key=key, data=drawn, on_layer_change=take)
