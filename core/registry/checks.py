"""What judges a run: its validity checks, each with its warning and veto limits, and the words of verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from core.errors import N_ as _


@dataclass(frozen=True)
class Check:
    key: str
    """Key in the warehouse."""
    formula: str
    """The quantity checked."""
    name: str
    """Name on screens and slides: the English message of the catalogues."""
    meaning: str
    """What it guards against and what to do about it, in one sentence."""
    warn: float = math.inf
    """Above this limit the run gets a warning. Infinite: the value is informative only and not judged."""
    veto: float = math.inf
    """Above this limit the run is vetoed: rankings exclude it."""

    is_log_change: bool = False
    """Whether the value is a change of a logarithm, judged in both directions; the limits are then logarithms too."""

    @property
    def is_judged(self) -> bool:
        return self.warn < math.inf


# A change of less than 10 percent passes, a change of more than 20 percent is a veto, in either direction.
_CHANGE: dict[str, Any] = {"warn": math.log(1.1), "veto": math.log(1.2), "is_log_change": True}

CHECKS: dict[str, Check] = {
    check.key: check
    for check in (
        Check(
            "norm_dropped_share",
            "share of tokens left out for their norm",
            _("Share of tokens masked for their norm"),
            _("A few tokens with huge norms pull every mean: read other text, or see Large-norm tokens."),
            warn=0.05,
            veto=0.2,
        ),
        Check(
            "duplicates",
            "exact copies in the cloud, at any layer after the embedding",
            _("Share of duplicate points"),
            _("Many points are equal, which spoils neighbour ratios: look for repeated text."),
            warn=0.005,
            veto=0.05,
        ),
        # Near copies are counted as one passage, so that half of the windows may be copies; a header in each may not.
        Check(
            "near_copies",
            "windows that share rows of tokens with an earlier one",
            _("Share of windows that copy another"),
            _("Few passages make wide intervals: remove repeated text."),
            warn=0.05,
            veto=0.5,
        ),
        Check(
            "unknown_token_share",
            "tokens that the tokenizer has no entry for",
            _("Share of unknown tokens"),
            _("Unknown tokens share one vector: use a script that the tokenizer knows."),
            warn=0.01,
            veto=0.1,
        ),
        # A tokenizer that covers a script needs less than one token per character in any language.
        Check(
            "tokens_per_character",
            "tokens per character of text",
            _("Tokens per character"),
            _("Bytes are measured, not words: use a language of the model."),
            warn=0.9,
            veto=1.3,
        ),
        Check(
            "token_types",
            "token types in the cloud",
            _("Number of token types"),
            _("d2 rises with it: compare nearly equal numbers, or read more text."),
        ),
        Check(
            "sequence_invariance",
            "change of d2 between half of the sequences and all of them, at equal token types",
            _("Shift of log d2 with the number of windows"),
            _("The dimension changes with the number of windows: read more (protocol standard)."),
            **_CHANGE,
        ),
        Check(
            "sequence_invariance_all_pairs",
            "the same for d2 of all pairs, which random weights do not pass",
            _("Shift of log d2, all pairs, with the number of windows"),
            _("With pairs inside a window, the dimension changes with the number of windows: read more."),
            **_CHANGE,
        ),
        Check(
            "sequence_share",
            "variance of directions between sequences, as omega squared",
            _("Share of variance between windows"),
            _("Passages differ more than words: read more and shorter passages."),
            warn=0.2,
            veto=0.3,
        ),
        Check(
            "n_invariance",
            "change of d2 between half of the points and all of them",
            _("Shift of log d2 with the number of points"),
            _("The dimension changes with the number of points: read more text."),
            **_CHANGE,
        ),
        Check(
            "second_draw",
            "change of the largest inner d2 from the first draw of the text to a later one",
            _("Shift of the largest inner log d2 with the draw"),
            _("The dimension changes with the draw of the text: read more text, state all draws."),
            **_CHANGE,
        ),
        Check(
            "vocabulary_shift",
            "change of d2 from the half of the types that the text meets first to all of them",
            _("Shift of log d2 with the breadth of the vocabulary"),
            _("For information: why only equal N compare."),
        ),
        Check(
            "d2_without_norm_rule",
            "change of d2 if tokens with a large norm beyond position 0 were kept",
            _("Shift of log d2 without the norm rule"),
            _("For information: what leaving out large norms changes."),
        ),
        # Only the comparison across tokenizers uses words: too many lost words are a warning, never a veto.
        Check(
            "words_lost_share",
            "words of the text that some tokenizer cannot place",
            _("Share of word occurrences lost"),
            _("Lost words are missing across tokenizers: read shorter windows."),
            warn=0.05,
        ),
    )
}


# --- the words of a verdict on a claim, the strongest first ----------------------------------------------------------

# core/locale/glossary.toml says what each of them means.


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
