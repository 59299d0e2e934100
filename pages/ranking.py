from core.ui.frame import guard

guard()

import streamlit as st

from core.analysis import ranking
from core.report import figures, wording
from core.report.labels import group_title
from core.ui import comparison, language, reads, states, tables
from core.ui.plain import plain

_ = language.translator()
reader = language.current()

st.title(_("Ranking"))
runs = reads.runs()
states.stop_if_no_runs(runs)
asked = comparison.choose_comparison(runs)
st.markdown(
    _("Runs are compared within one group only: same kind of model, tokenizer, text and protocol.")
    + " "
    + _("Estimated dimensions (d2, one per type, N in each row), in brackets their 95 % intervals. No order is better.")
)
groups = ranking.groups(asked.runs, asked.order)
if not groups:
    st.info(_("No run passes these filters."))
    st.stop()

scored = ranking.with_scores(asked.runs, reads.scores(comparison.repositories(asked.runs)))
benchmark, dimension = comparison.choose_picture(ranking.benchmarks(scored))
for number, group in enumerate(groups):
    st.subheader(plain(group_title(group, reader)))
    for caution in comparison.cautions(group):
        st.warning(caution, icon=":material/balance:")
    if benchmark:
        data = figures.ranking_points(group, scored, benchmark, dimension)
        if data.points:
            st.plotly_chart(figures.ranking_figure(data, reader), key=f"scatter {number}", theme=None)
            st.markdown(wording.scatter_caution(reader))
            if data.without_score:
                st.caption(_("Without this score: {names}").format(names=plain(_(", ").join(data.without_score))))
        else:
            st.caption(_("No run of this group has this score."))
    tables.show(tables.ranked(comparison.with_score_text(group, scored, benchmark)), f"group {number}")
    for note in comparison.score_notes(group, scored, benchmark):
        st.caption(note)

tables.download(comparison.for_export(groups, scored, benchmark), "workdim_ranking.csv", _("Download all groups (CSV)"))
