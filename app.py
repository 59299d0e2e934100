"""Workdim's screens: `workdim app`, or `streamlit run app.py`."""

import streamlit as st

from core.ui.server import middleware

# The server imports the app, and runs this file as a script for each reader. A string on a line of its own would be drawn.
app = st.App(__file__, middleware=middleware())

if __name__ == "__main__":
    from core.ui import frame

    frame.run()
