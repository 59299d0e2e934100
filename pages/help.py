from core.ui.frame import guard

guard()


import streamlit as st

from core.locale import _, spoken
from core.ui import help, inputs

with inputs.row("center", horizontal_alignment="distribute"):
    st.title(_("Help"))
    inputs.show_download(_("Download to print (HTML)"), help.printable, f"workdim_guide_{spoken()}.html", "print")
help.show()
