from core.ui.frame import guard

guard()

import polars as pl
import streamlit as st

from core.locale import _
from core.ui import home, inputs, notices, reads, url_state

with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    with st.container(width="content"):
        st.title("Workdim")
        st.markdown(_("Dimensions of language models, layer by layer."))
    button = st.container(width="content")
home.show_active_jobs()
runs = notices.runs_or_stop()
with button:
    home.show_measure_button()
findings = st.container()
with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
    st.subheader(_("Profiles"), width="content")
    with st.container(width="content"):
        filtered = inputs.choose_filtered_runs(runs)
texts = filtered.filter(pl.col("pass") == "text")
data = reads.home_data(home.choose_gallery_page(texts), texts["run_id"].head(reads.N_NEWEST).to_list())
with findings:
    home.show_findings(data.saving)
home.show_gallery(data)

with st.expander(_("Latest runs, as a table")):
    home.show_newest_runs(filtered, data.latest)
    st.caption(
        _(
            "Estimated dimensions (d2, one per type), in brackets their 95 % intervals. Neither higher nor lower is better."
        )
    )

st.subheader(_("What to do next"))
newest = {"runs": url_state.join_values(inputs.runs_shown_first(runs))}
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
