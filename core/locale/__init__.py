"""Sentences in two languages: gettext catalogues that are compiled in memory, so that no built file can go stale."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from core.errors import InputError, Sentence, WorkdimError, unknown_name

LANGUAGES = {"en": "English", "ja": "日本語"}
FOLDER = Path(__file__).parent
DIRECTION_CONTROLS = "\u061c\u200f\u2028-\u202e\u2066-\u2069"
"""Characters that reverse the direction of text or break its lines: no name needs one, and no face shows one."""


@lru_cache(maxsize=8)
def translations(language: str) -> GNUTranslations:
    """The catalogue of a language, compiled: its `gettext` and `ngettext` translate templates."""
    if language not in LANGUAGES:
        raise InputError(unknown_name("language", language, LANGUAGES))
    compiled = BytesIO()
    write_mo(compiled, catalogue(language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def translator(language: str) -> Callable[[str], str]:
    """The function that turns an English sentence into `language`; the placeholders in it are filled afterwards."""
    return translations(language).gettext


def worded(text: str | WorkdimError, language: str) -> str:
    """An error or `Sentence` in the language of whoever reads it; any other text as it is."""
    sentence = text.message if isinstance(text, WorkdimError) else text
    return sentence.translated(translations(language)) if isinstance(sentence, Sentence) else sentence


def catalogue(language: str) -> Catalog:
    """All .po files of a language as one: each room keeps its own file, the reader sees one vocabulary."""
    merged = Catalog(locale=language)
    for path in sorted((FOLDER / language / "LC_MESSAGES").glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language):
                if message.id and message.string:
                    merged.add(message.id, message.string)
    return merged


@dataclass(frozen=True)
class Term:
    """A word of ours, as core/locale/glossary.toml has it."""

    en: str
    ja: str
    meaning_en: str
    meaning_ja: str
    messages: tuple[str, ...] = ()
    """English sentences whose Japanese is the term itself."""
    never: tuple[str, ...] = ()
    """What is not written in its place in Japanese, as regular expressions."""

    def name(self, language: str) -> str:
        return self.ja if language == "ja" else self.en

    def meaning(self, language: str) -> str:
        return self.meaning_ja if language == "ja" else self.meaning_en


@lru_cache(maxsize=1)
def glossary() -> tuple[Term, ...]:
    with (FOLDER / "glossary.toml").open("rb") as file:
        found = tomllib.load(file)["term"]
    return tuple(
        replace(Term(**one), messages=tuple(one.get("messages", ())), never=tuple(one.get("never", ())))
        for one in found
    )
