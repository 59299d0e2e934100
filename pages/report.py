from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui import notices, report

st.title(_("Report"))
runs = notices.runs_or_stop()
saved = report.choose_saved_report()
request = report.read_saved_report(saved) if saved else report.choose_new_report(runs)
request, made = report.make_report(request)
report.show_downloads(request, made)
if saved:
    report.show_changes(saved, made)
report.show_save_form(request, made)
report.show_slides(made)
