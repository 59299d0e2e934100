from core.ui.frame import guard

guard()

import streamlit as st

from core.analysis import ranking
from core.report import score_figures, score_points, wording
from core.report.labels import group_title
from core.ui import comparison, language, pilots, published, reads, states, tables
from core.ui.plain import plain

_ = language.translator()
reader = language.current()

st.title(_("Ranking"))
states.stop_if_no_runs(reads.listing())
runs = reads.ranking()
chosen, runs = pilots.choose(runs)
pilot = pilots.pilot_of(chosen)
asked = comparison.choose_comparison(runs)
st.markdown(comparison.condition(asked.cloud))
groups = asked.groups
if not groups:
    st.info(comparison.no_group(asked))
    st.stop()

shown = comparison.in_sight(groups)
everything = comparison.rows_of(groups)
scores = ranking.without_other_pilots(reads.scores(published.repositories(everything)), pilot)
partial = published.choose_partial(scores)
scored = ranking.with_scores(comparison.rows_of(shown), scores, partial=partial)
offered = ranking.benchmarks(scored)
benchmark, dimension = published.choose_picture(offered, pilot)
pilots.tell_exploratory(pilot, offered, benchmark)
for number, group in enumerate(shown):
    st.subheader(plain(group_title(group, reader)))
    for caution in comparison.cautions(group):
        st.warning(caution, icon=":material/balance:")
    if benchmark:
        data = score_points.ranking_points(group, scored, benchmark, dimension, asked.cloud, reader)
        if data.points:
            st.plotly_chart(score_figures.ranking_figure(data, reader), key=f"scatter {number}", theme=None)
            st.markdown(wording.scatter_caution(reader))
            if data.without_score:
                st.caption(_("Without this score: {names}").format(names=plain(_(", ").join(data.without_score))))
        else:
            st.caption(_("No run of this group has this score."))
    rows = pilots.with_own_score(published.with_score_text(group, scored, benchmark), scored, pilot)
    tables.show(tables.ranked(rows, pilots.own_title(pilot)), f"group {number}")
    for note in published.score_notes(group, scored, benchmark):
        st.caption(note)

exported = published.export_later(groups, scores, benchmark, pilot, partial=partial)
tables.download_later(exported, "workdim_ranking.csv", _("Download all groups (CSV)"))
