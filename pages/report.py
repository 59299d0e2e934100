from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import language, notices, reads, report

_ = language.translator()

st.title(_("Report"))
runs = reads.lists().runs
notices.stop_if_no_runs(runs)
kept = report.choose_kept()
wanted, made = report.make(report.of_kept(kept) if kept else report.ask(runs))
report.download(wanted, made)
if kept:
    report.tell_changes(kept, made)
report.keep(wanted, made)
report.outlines(made)
