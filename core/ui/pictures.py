"""Pictures on a screen, in the reader's theme: dark or light as it is known when the page is loaded."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.figures.style import themed
from core.figures.svg import THEMES, Theme


def theme() -> Theme:
    """Light where the browser has not told yet."""
    return THEMES.get(st.context.theme.type or "light", THEMES["light"])


def plot(figure: go.Figure, key: str, **more: Any) -> Any:
    """A figure that answers to the pointer."""
    return st.plotly_chart(themed(figure, theme()), key=key, theme=None, **more)
