from core.ui.frame import guard

guard()

import polars as pl
import streamlit as st

from core.analysis.ranking import own_runs
from core.ui import inputs, reads, run_choice, start

with inputs.row("center", horizontal_alignment="distribute"):
    st.title("Workdim", width="content")
    with inputs.row("center", width="content"):
        start.show_questions()
run_choice.show_undo()
texts = run_choice.runs_or_stop().filter(pl.col("pass") == "text")
own = own_runs(texts)
start.show_first_steps(own)
answers = st.container()
shown, ids = start.choose_runs(texts, own)
data = reads.start_data(ids)
with answers:
    start.show_answers()
start.show_gallery(data, shown)
start.show_reference(texts)
run_choice.show_trash()
