"""What the example queries ask, in words."""

from __future__ import annotations

from core.locale import translator


def example_title(name: str, language: str) -> str:
    """The title of one of `core.sql.examples.EXAMPLES`."""
    _ = translator(language)
    titles = {
        "working_dimensions": _("Working dimension of all models, text by text, with intervals"),
        "ranks_disagree": _("Models whose dimension and score disagree in rank"),
        "one_profile": _("Profile of the newest run, layer by layer"),
        "repeats": _("How much seeds and protocols move the working dimension"),
        "controls": _("Trained models against their controls"),
        "checks_not_passed": _("Runs that were vetoed or warned, and why"),
        "score_conflicts": _("Scores on which sources disagree"),
        "cost": _("Time and memory of each run"),
        "corpora": _("Texts compared"),
        "lowest_overlap": _("Layers where neighbours change most"),
        "words_against_types": _("One point per word against one per token type"),
        "estimators": _("All estimators at the working layer"),
        "dimension_and_score": _("Dimension beside published scores"),
        "schema": _("All tables and columns with their meaning"),
    }
    return titles[name]
