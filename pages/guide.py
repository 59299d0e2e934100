from core.ui.frame import guard

guard()

from functools import partial

import streamlit as st

from core.ui import guide, inputs, language

_ = language.translator()

with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    st.title(_("Guide"))
    inputs.show_download(
        _("Download to print (HTML)"),
        partial(guide.printable, language.current()),
        f"workdim_guide_{language.current()}.html",
        "print",
    )
guide.show()
