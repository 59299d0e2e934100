"""Sentences in two languages: gettext catalogues that are compiled in memory, so that no built file can go stale."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from core.errors import N_ as N_
from core.errors import InputError, Sentence, WorkdimError, unknown_name
from core.sources import Text

P = ParamSpec("P")
T = TypeVar("T")

LANGUAGES = {"en": "English", "ja": "日本語"}
FOLDER = Path(__file__).parent
DIRECTION_CONTROLS = "\u061c\u200f\u2028-\u202e\u2066-\u2069"
"""Characters that reverse the direction of text or break its lines: no name needs one, and no face shows one."""


@cache
def translations(language: str) -> GNUTranslations:
    """The catalogue of a language, compiled: its `gettext` and `ngettext` translate templates."""
    if language not in LANGUAGES:
        raise InputError(unknown_name("language", language, LANGUAGES))
    compiled = BytesIO()
    write_mo(compiled, catalogue(language))
    compiled.seek(0)
    return GNUTranslations(compiled)


_SPOKEN: ContextVar[str | None] = ContextVar("language", default=None)
"""The language of whoever reads what is worded here and now: of a screen's session, a verb, a deck."""
_ask_reader: Callable[[], str] = lambda: "en"  # noqa: E731
_reader_catalogue: Callable[[str], NullTranslations] = translations


def spoken() -> str:
    """The language that messages are worded in here: what `speaking` says, else the reader's own, else English."""
    return _SPOKEN.get() or _ask_reader()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Words everything inside in `language`; also a decorator of a function that words everything in it."""
    translations(language)  # an unknown language is refused before anything is said
    token = _SPOKEN.set(language)
    try:
        yield
    finally:
        _SPOKEN.reset(token)


def in_language(language: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function says in `language`."""
    return speaking(language)(function)(*args, **kwargs)


def ask_reader_by(ask: Callable[[], str], word_by: Callable[[str], NullTranslations]) -> None:
    """Where nothing else was said, `ask` tells the language: of the session whose screen is drawn, in an app's server. What
    is worded for it goes by the catalogue that `word_by` gives of a language."""
    global _ask_reader, _reader_catalogue
    _ask_reader, _reader_catalogue = ask, word_by


def _spoken_catalogue() -> NullTranslations:
    spoken_here = _SPOKEN.get()
    return _reader_catalogue(_ask_reader()) if spoken_here is None else translations(spoken_here)


def _(message: str, plural: str = "", /, **parts: Any) -> str:
    """An English message in the reader's language, filled with `parts` as a `Sentence` is, or by `format` where it is chosen
    first: _("{n} run", "{n} runs", n=3). It is a `Text`: what it is filled with keeps its sources."""
    return worded(Sentence(message, plural, **parts)) if parts else translated(message)


def translated(message: str) -> str:
    """What `_` does, for a message that was marked by `N_` elsewhere."""
    return Text(_spoken_catalogue().gettext(message))


def worded(text: str | WorkdimError) -> str:
    """An error or `Sentence` in the language of whoever reads it; any other text as it is."""
    sentence = text.message if isinstance(text, WorkdimError) else text
    return sentence.translated(_spoken_catalogue()) if isinstance(sentence, Sentence) else sentence


def catalogue(language: str) -> Catalog:
    """All .po files of a language as one: each room keeps its own file, the reader sees one vocabulary."""
    merged = Catalog(locale=language)
    for path in sorted((FOLDER / language / "LC_MESSAGES").glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language):
                if message.id:
                    merged.add(message.id, message.string)
    return merged


@dataclass(frozen=True)
class Term:
    """A word of ours, as core/locale/glossary.toml has it."""

    en: str
    ja: str
    meaning_en: str
    meaning_ja: str
    messages: Sequence[str] = ()
    """English sentences whose Japanese is the term itself."""
    never_en: Sequence[str] = ()
    never_ja: Sequence[str] = ()
    """What is not written in its place, as regular expressions; of English, whole words."""

    def name(self, language: str) -> str:
        return getattr(self, language)

    def meaning(self, language: str) -> str:
        return getattr(self, f"meaning_{language}")


@cache
def glossary() -> tuple[Term, ...]:
    with (FOLDER / "glossary.toml").open("rb") as file:
        return tuple(Term(**one) for one in tomllib.load(file)["term"])
