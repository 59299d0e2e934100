"""Workdim's screens: `python -m core app`, or `streamlit run app.py`."""

import streamlit as st

from core.ui.server import MIDDLEWARE

app = st.App(__file__, middleware=MIDDLEWARE)
"""What the server imports. It then runs this file as a script for each reader."""

if __name__ == "__main__":
    from core.ui import frame

    frame.run()
