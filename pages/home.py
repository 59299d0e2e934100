from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import gallery, inputs, language, notices, reads, tables, url_state
from core.ui.measure import job_cards

_ = language.translator()

st.title("Workdim")
st.markdown(_("Estimates of how many dimensions a language model uses, layer by layer, on texts of your choice."))
if n := job_cards.n_alive():
    label = _("Measurements that wait or are at work: {n}").format(n=n)
    st.page_link("pages/pilot.py", label=label, icon=":material/hourglass_top:")
runs = reads.lists().runs
notices.stop_if_no_runs(runs)

if st.button(_("Compare models on my text"), type="primary", icon=":material/add_chart:"):
    st.switch_page("pages/pilot.py")
gallery.say_finding()
st.subheader(_("Profiles"))
shown = gallery.show(runs)

with st.expander(_("Latest runs, as a table")):
    tables.show_latest(runs, shown.latest)
    st.caption(
        _(
            "Estimated dimensions (d2, one per type), in brackets their 95 % intervals. Neither higher nor lower is better."
        )
    )

st.subheader(_("What to do next"))
newest = {"runs": url_state.joined(inputs.newest_on_one_text(runs))}
st.page_link(
    "pages/profiles.py",
    label=_("Look at the newest runs layer by layer"),
    icon=":material/show_chart:",
    query_params=newest,
)
st.page_link(
    "pages/ranking.py", label=_("Set models side by side, with their published scores"), icon=":material/table_rows:"
)
st.page_link("pages/decide.py", label=_("Choose a model on stated criteria"), icon=":material/rule:")
st.page_link(
    "pages/report.py",
    label=_("Take the comparison to a meeting as slides"),
    icon=":material/slideshow:",
    query_params=newest,
)
st.page_link("pages/pilot.py", label=_("Measure another model or another text"), icon=":material/science:")
