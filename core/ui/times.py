"""Times are stored in UTC and shown in the reader's own zone."""

from __future__ import annotations

from datetime import datetime, timedelta

import streamlit as st


def local(at: datetime) -> str:
    """The browser names its distance to UTC in minutes, positive west of Greenwich; without one, UTC is named."""
    behind = st.context.timezone_offset
    if behind is None:
        return f"{at:%Y-%m-%d %H:%M} UTC"
    return f"{at - timedelta(minutes=behind):%Y-%m-%d %H:%M}"
