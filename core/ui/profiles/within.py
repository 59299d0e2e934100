"""Dimension and loss within one model: does what is read with more directions go with what is predicted worse?"""

from __future__ import annotations

import streamlit as st

from core.analysis.within import PLACES, shuffled_windows, within
from core.figures.scores import windows_picture
from core.ui import inputs, language, notices, pictures, tables
from core.ui.markdown import escape
from core.ui.ranking.answer import ICONS
from core.ui.reads import Selection
from core.wording import within as words


def show(chosen: Selection) -> None:
    """The sentence, the picture, and what belongs to them; of one run."""
    _ = language.translator()
    reader = language.current()
    runs = chosen.runs
    told = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run = inputs.choose_one_run(runs)
        own = runs.filter(run_id=run["run_id"])
        windows = chosen.windows.filter(run_id=run["run_id"])
        if run["kind"] != "decoder":
            st.info(_("This model gives no probability to what follows, so that its windows have no loss."))
            return
        if windows.is_empty():
            notices.tell_what_is_missing(
                own,
                _("The windows of this protocol are too short for a dimension of their own."),
                _("This run holds no losses of single windows: they came with a later version. Measure it again."),
            )
            return
        names = {"inner": _("Largest inner dimension"), "final": _("After the last block")}
        place = inputs.choose(_("Layer"), list(PLACES), "place", PLACES[0], names.__getitem__)
        shuffled = shuffled_windows(run, chosen.with_controls, chosen.windows)
        if shuffled is not None:
            kinds = {"text": _("As it stands"), "shuffled": _("Tokens shuffled")}
            read = inputs.choose(_("Text"), list(kinds), "read", "text", kinds.__getitem__)
        else:
            read = "text"
    found = within(windows, place, shuffled)
    with told:
        st.markdown(f"#### {ICONS[found.relation.answer]} {escape(words.sentence(found, run, reader))}")
        drawn, of_run = windows, run
        if read == "shuffled" and shuffled is not None:
            of_run = chosen.with_controls.filter(run_id=shuffled["run_id"][0]).row(0, named=True)
            drawn = shuffled
        picture = windows_picture(drawn, of_run, place, reader, pictures.theme())
        st.image(picture, width="stretch", alt=_("Dimension against loss, a dot for each window"))
    st.caption("  \n".join(map(escape, (*words.notes(found, reader), words.expectation(reader)))))
    label = _("Download these numbers (CSV)")
    tables.download(tables.traced(chosen.windows, chosen.with_controls), "workdim_windows.csv", label)
