from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui import run_choice, share

st.title(_("Share"))
runs = run_choice.runs_or_stop()
chosen, shown = st.columns([2, 5.2], gap="medium")
with chosen:
    saved = share.choose_saved_report()
    request = share.read_saved_report(saved) if saved else share.choose_new_report(runs)
    made = share.make_report(request)
    if saved:
        share.show_changes(saved, made)
    share.show_save_form(request, made)
with shown:
    share.show_downloads(request, made)
    share.show_slides(made)
