"""Scores that people bring: imported, browsed, named, held against each other."""

from core.locale import _
from core.ui import inputs
from core.ui.scores import import_form, imported_files, paired_answers


def show() -> None:
    sections = {
        "all": (_("All scores"), imported_files.show_all),
        "import": (_("Import"), import_form.show),
        "files": (_("Imported files"), imported_files.show),
        "names": (_("Names of models"), imported_files.show_names),
        "conflicts": (_("Contradictions"), imported_files.show_conflicts),
        "pairs": (_("Two models, question by question"), paired_answers.show),
    }
    if not inputs.may_write():
        del sections["import"], sections["names"]
    show_section = inputs.choose_section("scores", sections)
    show_section()
