from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import inputs, language, score_conflicts, score_files, score_import, score_names, score_pairs

_ = language.translator()

st.title(_("Scores"))
sections = {
    "import": (_("Import"), score_import.show),
    "files": (_("Imported files"), score_files.show),
    "names": (_("Names of models"), score_names.show),
    "conflicts": (_("Contradictions"), score_conflicts.show),
    "pairs": (_("Two models, question by question"), score_pairs.show),
}
section = inputs.choose(
    _("Section"), list(sections), "scores", "import", lambda name: sections[name][0], label_visibility="collapsed"
)
sections[section][1]()
