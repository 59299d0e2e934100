from core.ui.frame import guard

guard()

import streamlit as st

from core import wording
from core.analysis import ranking
from core.figures import scores as score_scatter
from core.ui import comparison, language, notices, pilot_filter, reads, tables
from core.ui.markdown import escape
from core.wording.labels import group_title

_ = language.translator()
reader = language.current()

st.title(_("Ranking"))
notices.stop_if_no_runs(reads.lists().runs)
runs = reads.ranking()
chosen, runs = pilot_filter.choose(runs)
pilot = pilot_filter.pilot_of(chosen)
asked = comparison.choose_comparison(runs)
st.markdown(comparison.condition(asked.cloud))
groups = asked.groups
if not groups:
    st.info(comparison.no_group(asked))
    st.stop()

shown = comparison.in_sight(groups)
everything = comparison.rows_of(groups)
scores = ranking.without_other_pilots(reads.scores(everything), pilot)
partial = comparison.choose_partial(scores)
scored = ranking.with_scores(comparison.rows_of(shown), scores, partial=partial)
offered = ranking.benchmarks(scored)
benchmark, dimension = comparison.choose_picture(offered, pilot)
pilot_filter.tell_exploratory(pilot, offered, benchmark)
for number, group in enumerate(shown):
    st.subheader(escape(group_title(group, reader)))
    for caution in comparison.cautions(group):
        st.warning(caution, icon=":material/balance:")
    if benchmark:
        data = score_scatter.ranking_points(group, scored, benchmark, dimension, asked.cloud, reader)
        if data.points:
            st.plotly_chart(score_scatter.ranking_figure(data, reader), key=f"scatter {number}", theme=None)
            st.markdown(wording.scatter_caution(reader))
            if data.without_score:
                st.caption(_("Without this score: {names}").format(names=escape(_(", ").join(data.without_score))))
        else:
            st.caption(_("No run of this group has this score."))
    rows = pilot_filter.with_own_score(comparison.with_score_text(group, scored, benchmark), scored, pilot)
    tables.show(tables.ranked(rows, pilot_filter.own_title(pilot)), f"group {number}")
    for note in comparison.score_notes(group, scored, benchmark):
        st.caption(note)

exported = comparison.export_later(groups, scores, benchmark, pilot, partial=partial)
tables.download_later(exported, "workdim_ranking.csv", _("Download all groups (CSV)"))
