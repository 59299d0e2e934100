"""Workdim's screens: `workdim app`, or `streamlit run app.py`."""

import streamlit as st

from core.ui.server import lifespan, middleware, wait_until_loaded

# The server imports the app, and runs this file as a script for each reader. A string on a line of its own would be drawn.
app = st.App(__file__, middleware=middleware(), lifespan=lifespan)

if __name__ == "__main__":
    wait_until_loaded()
    from core.ui import frame

    frame.run()
