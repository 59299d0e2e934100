from core.ui.frame import guard

guard()

import streamlit as st

from core.analysis import ranking
from core.report import score_figures, score_points, wording
from core.ui import comparison, language, reads, states, tables
from core.ui.plain import plain

_ = language.translator()
reader = language.current()

st.title(_("Ranking"))
by_type = reads.runs()
states.stop_if_no_runs(by_type)
cloud = comparison.choose_cloud(by_type)
runs = comparison.with_summaries(by_type, reads.runs(cloud), cloud)
asked = comparison.choose_comparison(runs, cloud)
st.markdown(comparison.condition(cloud))
if not asked.groups:
    st.info(_("No run passes these filters."))
    st.stop()

scored = ranking.with_scores(asked.runs, reads.scores(comparison.repositories(asked.runs)))
benchmark, dimension = comparison.choose_picture(ranking.benchmarks(scored))
for number, group in enumerate(asked.groups):
    st.subheader(plain(comparison.title(group, cloud)))
    for caution in comparison.cautions(group):
        st.warning(caution, icon=":material/balance:")
    if benchmark:
        data = score_points.ranking_points(group, scored, benchmark, dimension, cloud)
        if data.points:
            st.plotly_chart(score_figures.ranking_figure(data, reader), key=f"scatter {number}", theme=None)
            st.markdown(wording.scatter_caution(reader))
            if data.without_score:
                st.caption(_("Without this score: {names}").format(names=plain(_(", ").join(data.without_score))))
        else:
            st.caption(_("No run of this group has this score."))
    tables.show(tables.ranked(comparison.with_score_text(group, scored, benchmark)), f"group {number}")
    for note in comparison.score_notes(group, scored, benchmark):
        st.caption(note)

exported = comparison.for_export(asked.groups, scored, benchmark)
tables.download(exported, "workdim_ranking.csv", _("Download all groups (CSV)"))
