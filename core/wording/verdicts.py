"""How a verdict is worded: never without what supports or limits it, the most important first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from core.locale import translator
from core.wording import labels


def _(message: str) -> str:
    """Marks a message for the catalogues."""
    return message


class Qualifier(NamedTuple):
    brief: str
    """For table cells."""
    full: str
    """For sentences."""
    meaning: str
    """What it means, and what to do about it."""


QUALIFIERS: dict[str, Qualifier] = {
    "check_vetoed": Qualifier(
        _("a check vetoed it"),
        _("a check vetoed it: not to be relied on"),
        _(
            "A check found a fault that the numbers may not survive; the verdict stays as it was judged, "
            "but do not use this run: its checks say what to change."
        ),
    ),
    "no_random_init": Qualifier(
        _("not controlled against random weights"),
        _("not controlled against random weights"),
        _("Random weights can give such a shape without any training: run the protocol standard, which measures them."),
    ),
    "random_init_same": Qualifier(
        _("random weights show it too"),
        _("random weights show it too: no sign of training"),
        _("The same architecture with random weights gives the shape as well: do not read it as a result of training."),
    ),
    "random_init_unclear": Qualifier(
        _("random weights leave it open"),
        _("random weights leave it open: their control is undecided or vetoed"),
        _(
            "Random weights were measured, but their control is undecided or vetoed, so it decides nothing: "
            "read the shape as not controlled, or measure more text."
        ),
    ),
    "random_init_failed": Qualifier(
        _("random weights could not be measured"),
        _("random weights could not be measured: not controlled by them"),
        _("The same architecture with random weights could not be measured: read the shape as not controlled."),
    ),
    "random_init_differs": Qualifier(
        _("random weights do not show it"),
        _("random weights do not show it"),
        _("The same architecture with random weights does not show the shape: random weights alone do not give it."),
    ),
    "no_shuffled": Qualifier(
        _("not controlled against shuffled text"),
        _("not controlled against shuffled text"),
        _(
            "Vocabulary and weights can give such a shape whatever the text says: run the protocol standard, "
            "which measures shuffled text."
        ),
    ),
    "shuffled_same": Qualifier(
        _("shuffled text shows it too"),
        _("shuffled tokens show it too: about vocabulary and weights, no evidence of semantics"),
        _(
            "The tokens of each window in random order give the shape as well: it is about vocabulary and weights, "
            "and no evidence of semantics."
        ),
    ),
    "shuffled_unclear": Qualifier(
        _("shuffled text leaves it open"),
        _("shuffled text leaves it open: its control is undecided or vetoed"),
        _(
            "Shuffled text was measured, but its control is undecided or vetoed: "
            "whether the shape needs the order of tokens stays open."
        ),
    ),
    "shuffled_failed": Qualifier(
        _("shuffled text could not be measured"),
        _("shuffled text could not be measured: not controlled by it"),
        _(
            "The tokens of each window in random order could not be measured: "
            "whether the shape needs the order of tokens stays open."
        ),
    ),
    "shuffled_differs": Qualifier(
        _("shuffled text does not show it"),
        _("shuffled text does not show it"),
        _(
            "The tokens of each window in random order do not show the shape: vocabulary and weights alone do not give it, "
            "which is no evidence of semantics yet."
        ),
    ),
    "abtt3_lost": Qualifier(
        _("no contraction without three components"),
        _("the contraction does not survive removing three components"),
        _(
            "With the three leading components removed the contraction is gone: a few directions carry it, so do not "
            "read the final dimension as the dimension of the whole state."
        ),
    ),
    "abtt3_undefined": Qualifier(
        _("not known without three components"),
        _("whether the contraction survives removing three components is not known"),
        _(
            "With the three leading components removed the ratio of working to final dimension is not defined: "
            "whether a few directions carry the contraction stays open."
        ),
    ),
    "gride_contracts": Qualifier(
        _("nearest-neighbour dimension only contracts"),
        _("nearest-neighbour dimension only contracts"),
        _(
            "The nearest-neighbour dimension (GRIDE, n1=8, n2=16) falls but does not rise: "
            "state the estimator with every claim."
        ),
    ),
    "gride_disagrees": Qualifier(
        _("nearest-neighbour dimension does not show it"),
        _("nearest-neighbour dimension does not show it"),
        _(
            "The nearest-neighbour dimension (GRIDE, n1=8, n2=16) does not both rise and fall: "
            "state the estimator with every claim."
        ),
    ),
    "gride_unclear": Qualifier(
        _("nearest-neighbour dimension leaves it open"),
        _("nearest-neighbour dimension leaves it open"),
        _(
            "Whether the nearest-neighbour dimension (GRIDE, n1=8, n2=16) rises and falls is undecided within its error: "
            "state the estimator with every claim."
        ),
    ),
    "few_types": Qualifier(
        _("few token types"),
        _("few token types: reads lower than a full sample"),
        _(
            "Fewer token types than the protocol allows read lower: compare with runs of the same number, "
            "or read more text."
        ),
    ),
    "no_final_norm": Qualifier(
        _("no final norm"),
        _("no final norm"),
        _(
            "The architecture has no norm after its last block, whose output stands for the final state: "
            "do not compare it with values after a norm."
        ),
    ),
    "check_warned": Qualifier(
        _("a check gave a warning"),
        _("a check gave a warning"),
        _("A check came close to its limit: read its value before relying on the second digit."),
    ),
}
"""In the order in which they are said: what weighs most first. None changes the verdict that is stored."""

OF_RANDOM_WEIGHTS = (
    "no_random_init",
    "random_init_same",
    "random_init_unclear",
    "random_init_failed",
    "random_init_differs",
)
"""One of them stands beside every verdict: "found" says which."""
_COMPARED = {
    "random_init_same",
    "random_init_unclear",
    "random_init_differs",
    "shuffled_same",
    "shuffled_unclear",
    "shuffled_differs",
}
_IN_DETAIL_ONLY = {"no_shuffled"}
"""Left to the slides of controls and of open questions and to the screen of checks, to keep a verdict short."""


def ordered(qualifiers: Iterable[str]) -> list[str]:
    """By importance; those that nobody has worded yet come last, in the order given."""
    known = list(QUALIFIERS)
    return sorted(dict.fromkeys(qualifiers), key=lambda key: known.index(key) if key in known else len(known))


def qualifier_text(qualifier: str, language: str, brief: bool = True) -> str:
    """What supports or limits a verdict, to stand in brackets behind it."""
    words = QUALIFIERS.get(qualifier)
    if words is None:
        return qualifier
    return translator(language)(words.brief if brief else words.full)


def qualifier_meaning(qualifier: str, language: str) -> str:
    """Empty for a qualifier that nobody has explained yet."""
    words = QUALIFIERS.get(qualifier)
    return translator(language)(words.meaning) if words else ""


def limits_of(qualifiers: Iterable[str] | None, language: str, brief: bool = True) -> list[str]:
    """What limits a verdict, as it stands beside it; where nothing was recorded, that too is said."""
    if qualifiers is None:
        return [translator(language)(_("controls not stated"))]
    told = (qualifier for qualifier in ordered(qualifiers) if qualifier not in _IN_DETAIL_ONLY)
    return [qualifier_text(qualifier, language, brief) for qualifier in told]


def verdict_word(verdict: str | None, language: str) -> str:
    """Only the word. A reader sees it through `verdict_text` or `verdict_short`, with what limits it."""
    return labels.name("verdict", verdict if verdict in ("found", "not_found") else "undecided", language)


def verdict_short(verdict: str | None, qualifiers: Iterable[str] | None, language: str) -> str:
    """For a table column that is headed "expansion-contraction"."""
    return _qualified(verdict, qualifiers, language, brief=True)


def verdict_text(verdict: str | None, qualifiers: Iterable[str] | None, language: str) -> str:
    """The whole verdict: "expansion-contraction: found (not controlled against random weights)"."""
    told = translator(language)(_("expansion-contraction: {verdict}"))
    return told.format(verdict=_qualified(verdict, qualifiers, language, brief=False))


def shows_shape(verdict: str | None, qualifiers: Iterable[str] | None, language: str) -> str:
    """What a control pass came to: it has no verdict of its own, it shows the shape of the text run or does not."""
    _ = translator(language)
    words = {"found": _("shows the shape"), "not_found": _("does not show the shape")}
    word = words.get(verdict or "", _("undecided"))
    vetoed = [qualifier_text("check_vetoed", language)] if "check_vetoed" in (qualifiers or []) else []
    return _("{word} ({limits})").format(word=word, limits=vetoed[0]) if vetoed else word


def outcome_short(run: Mapping[str, Any], language: str) -> str:
    """What a run came to, for a table: the verdict of a run on text, what a control pass shows, or a dash."""
    if run["verdict"] is None:
        return "–"
    return _outcome(run, language, verdict_short)


def outcome_text(run: Mapping[str, Any], language: str) -> str:
    """The same in full: "expansion-contraction: ..." or "control, random weights, seed 1: ..."."""
    return _outcome(run, language, verdict_text)


def _outcome(run: Mapping[str, Any], language: str, told: Callable[..., str]) -> str:
    if run["pass"] == "text":
        return told(run["verdict"], run["qualifiers"], language)
    name = labels.control_name(run["pass"], run.get("model_seed"), language)
    shows = shows_shape(run["verdict"], run["qualifiers"], language)
    return translator(language)(_("control, {name}: {shows}")).format(name=name, shows=shows)


def _qualified(verdict: str | None, qualifiers: Iterable[str] | None, language: str, brief: bool) -> str:
    """A "found" that says nothing of random weights says that it does not; no control shows what was not found."""
    translate = translator(language)
    told = None if qualifiers is None else list(qualifiers)
    if told is not None and verdict == "not_found":
        told = [key for key in told if key not in _COMPARED]
    limits = limits_of(told, language, brief)
    if verdict == "found" and told is not None and not set(OF_RANDOM_WEIGHTS) & set(told):
        limits.insert(0, translate(_("controls not stated")))
    word = verdict_word(verdict, language)
    if not limits:
        return word
    return translate(_("{word} ({limits})")).format(word=word, limits=translate(_("; ")).join(limits))
