"""Workdim's screens: `python -m core app`, or `streamlit run app.py`."""

from core.ui import frame

frame.run()
