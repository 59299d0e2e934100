"""How a verdict is worded: never without what supports or limits it, the most important first.

A qualifier has a brief form for table cells, a full form for sentences and, in `core.wording.meanings`, a sentence on
what it means and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from core.locale import translator
from core.wording import names


def _(message: str) -> str:
    """Marks a message for the catalogues."""
    return message


class Wording(NamedTuple):
    brief: str
    full: str


QUALIFIERS: dict[str, Wording] = {
    "check_vetoed": Wording(_("a check vetoed it"), _("a check vetoed it: not to be relied on")),
    "no_random_init": Wording(_("not controlled against random weights"), _("not controlled against random weights")),
    "random_init_same": Wording(_("random weights show it too"), _("random weights show it too: no sign of training")),
    "random_init_unclear": Wording(
        _("random weights leave it open"), _("random weights leave it open: their control is undecided or vetoed")
    ),
    "random_init_failed": Wording(
        _("random weights could not be measured"), _("random weights could not be measured: not controlled by them")
    ),
    "random_init_differs": Wording(_("random weights do not show it"), _("random weights do not show it")),
    "no_shuffled": Wording(_("not controlled against shuffled text"), _("not controlled against shuffled text")),
    "shuffled_same": Wording(
        _("shuffled text shows it too"),
        _("shuffled tokens show it too: about vocabulary and weights, no evidence of semantics"),
    ),
    "shuffled_unclear": Wording(
        _("shuffled text leaves it open"), _("shuffled text leaves it open: its control is undecided or vetoed")
    ),
    "shuffled_failed": Wording(
        _("shuffled text could not be measured"), _("shuffled text could not be measured: not controlled by it")
    ),
    "shuffled_differs": Wording(_("shuffled text does not show it"), _("shuffled text does not show it")),
    "abtt3_lost": Wording(
        _("no contraction without three components"), _("the contraction does not survive removing three components")
    ),
    "abtt3_undefined": Wording(
        _("not known without three components"),
        _("whether the contraction survives removing three components is not known"),
    ),
    "gride_contracts": Wording(
        _("nearest-neighbour dimension only contracts"), _("nearest-neighbour dimension only contracts")
    ),
    "gride_disagrees": Wording(
        _("nearest-neighbour dimension does not show it"), _("nearest-neighbour dimension does not show it")
    ),
    "gride_unclear": Wording(
        _("nearest-neighbour dimension leaves it open"), _("nearest-neighbour dimension leaves it open")
    ),
    "few_types": Wording(_("few token types"), _("few token types: reads lower than a full sample")),
    "no_final_norm": Wording(_("no final norm"), _("no final norm")),
    "check_warned": Wording(_("a check gave a warning"), _("a check gave a warning")),
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


def limits_of(qualifiers: Iterable[str] | None, language: str, brief: bool = True) -> list[str]:
    """What limits a verdict, as it stands beside it; where nothing was recorded, that too is said."""
    if qualifiers is None:
        return [translator(language)(_("controls not stated"))]
    told = (qualifier for qualifier in ordered(qualifiers) if qualifier not in _IN_DETAIL_ONLY)
    return [qualifier_text(qualifier, language, brief) for qualifier in told]


def verdict_word(verdict: str | None, language: str) -> str:
    """Only the word. A reader sees it through `verdict_text` or `verdict_short`, with what limits it."""
    return names.name("verdict", verdict if verdict in ("found", "not_found") else "undecided", language)


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
    name = names.control_name(run["pass"], run.get("model_seed"), language)
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
