from core.ui.frame import guard

guard()

import polars as pl
import streamlit as st

from core.ui import board, inputs, language, notices, reads, tables, url_state

_ = language.translator()

with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    with st.container(width="content"):
        st.title("Workdim")
        st.markdown(_("Dimensions of language models, layer by layer."))
    button = st.container(width="content")
board.tell_work()
runs = reads.lists().runs
notices.stop_if_no_runs(runs)
with button:
    board.offer_comparison()
findings = st.container()
with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
    st.subheader(_("Profiles"), width="content")
    with st.container(width="content"):
        passing = inputs.choose_passing(runs)
texts = passing.filter(pl.col("pass") == "text")
home = reads.home(board.profile_ids(texts), texts)
with findings:
    board.say_findings(home.saving)
board.show_profiles(home)

with st.expander(_("Latest runs, as a table")):
    tables.show_latest(passing, home.latest)
    st.caption(
        _(
            "Estimated dimensions (d2, one per type), in brackets their 95 % intervals. Neither higher nor lower is better."
        )
    )

st.subheader(_("What to do next"))
newest = {"runs": url_state.joined(inputs.newest_on_one_text(runs))}
with st.container(horizontal=True):
    st.page_link(
        "pages/profiles.py",
        label=_("Look at the newest runs layer by layer"),
        icon=":material/show_chart:",
        query_params=newest,
    )
    st.page_link("pages/decide.py", label=_("Choose a model on stated criteria"), icon=":material/rule:")
    st.page_link(
        "pages/report.py",
        label=_("Take the comparison to a meeting as slides"),
        icon=":material/slideshow:",
        query_params=newest,
    )
