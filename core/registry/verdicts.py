"""The words of a verdict on a claim, the strongest first; core/locale/glossary.toml says what each of them means."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import N_ as _


@dataclass(frozen=True)
class VerdictWord:
    name: str
    """On screens and slides: the English message of the catalogues."""
    mark: str
    """Where there is no room for words: a mark means one thing wherever it stands."""
    is_decided: bool = False
    """Whether it says something about the model: what a verdict on another text can agree or disagree with."""


VERDICTS = {
    "holds": VerdictWord(_("holds"), "✓", is_decided=True),
    "mostly_holds": VerdictWord(_("mostly holds"), "◕", is_decided=True),
    "depends": VerdictWord(_("depends"), "◐", is_decided=True),
    "fails": VerdictWord(_("fails"), "✕", is_decided=True),
    "unclear": VerdictWord(_("unclear"), "?"),
    "invalid": VerdictWord(_("not usable"), "⊘"),
    "untested": VerdictWord(_("untested"), "□"),
}
"""By the word that is stored."""
