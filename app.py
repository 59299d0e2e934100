"""Workdim's screens: `workdim app`, or `streamlit run app.py`."""

import streamlit as st

from core.ui.server import FIRST_SCREEN, lifespan, middleware

# The server imports the app, and runs this file as a script for each reader. A string on a line of its own would be drawn.
app = st.App(__file__, middleware=middleware(), lifespan=lifespan)

if __name__ == "__main__":
    FIRST_SCREEN.wait()
    from core.ui import frame

    frame.run()
