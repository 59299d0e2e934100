from core.ui.frame import guard

guard()

import polars as pl
import streamlit as st

from core.locale import _
from core.ui import inputs, notices, reads, start, url_state

with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    with st.container(width="content"):
        st.title("Workdim")
        st.markdown(_("Dimensions of language models, layer by layer."))
    buttons = st.container(width="content")
start.show_active_jobs()
runs = notices.runs_or_stop()
with buttons:
    start.show_measure_button()
    inputs.show_link("plan", _("Which layers can go?"), "content_cut")
findings = st.container()
with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
    st.subheader(_("Profiles"), width="content")
    with st.container(width="content"):
        filtered = inputs.choose_filtered_runs(runs)
texts = filtered.filter(pl.col("pass") == "text")
data = reads.home_data(start.choose_gallery_page(texts), texts["run_id"].head(reads.N_NEWEST).to_list())
with findings:
    start.show_findings(data.saving)
start.show_gallery(data)

with st.expander(_("Latest runs, as a table")):
    start.show_newest_runs(filtered, data.latest)
    st.caption(
        _(
            "Estimated dimensions (d2, one per type), in brackets their 95 % intervals. Neither higher nor lower is better."
        )
    )

st.subheader(_("What to do next"))
newest = {"runs": url_state.join_values(inputs.runs_shown_first(runs))}
with st.container(horizontal=True):
    st.page_link(
        "pages/compare.py",
        label=_("Look at the newest runs layer by layer"),
        icon=":material/show_chart:",
        query_params=newest,
    )
    st.page_link("pages/choose.py", label=_("Choose a model on stated criteria"), icon=":material/rule:")
    st.page_link(
        "pages/share.py",
        label=_("Take the comparison to a meeting as slides"),
        icon=":material/slideshow:",
        query_params=newest,
    )
