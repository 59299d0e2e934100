"""Every sentence that a person may read exists in Japanese, with the same placeholders."""

import ast
import re
import string
from collections import Counter
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import read_po

from core.errors import InputError
from core.locale import FOLDER, LANGUAGES, catalogue, translator

ROOT = Path(__file__).parents[2]
PLACES = ("core", "pages", "app.py")


def sources() -> list[Path]:
    places = [ROOT / place for place in PLACES]
    return [path for place in places for path in (sorted(place.glob("**/*.py")) if place.is_dir() else [place])]


def messages() -> dict[str, str]:
    """English sentence -> where it is used: the literal arguments of calls of `_`."""
    found = {}
    for path in sources():
        if not path.exists():
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                found[literal(node, path)] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


def literal(call: ast.Call, path: Path) -> str:
    text = call.args[0]
    assert isinstance(text, ast.Constant) and isinstance(text.value, str), (
        f"{path.name}:{call.lineno}: _() takes a literal; fill its placeholders with .format afterwards."
    )
    return text.value


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


MESSAGES = messages()


def test_there_are_messages():
    assert len(MESSAGES) > 100


def test_every_sentence_is_translated():
    japanese, missing, differing = catalogue("ja"), [], []
    for english, place in MESSAGES.items():
        message = japanese.get(english)
        if message is None or not message.string:
            missing.append(f"{place}: {english!r}")
        elif placeholders(message.string) != placeholders(english):
            differing.append(f"{place}: {english!r} and {message.string!r}")
    assert not missing, "No Japanese:\n" + "\n".join(missing)
    assert not differing, "Other placeholders:\n" + "\n".join(differing)


RETIRED = re.compile("窓|乱数|装置|手順|実行|当方|頁|版|である|95 %")
"""Other words for what we call ウィンドウ, ランダム重み, デバイス, プロトコル, 測定, 本ツール, スライド, リビジョン."""

APP_ONLY = ("No estimates of", "No correlators of", "No run of this group", "The published claim")
"""Sentences of the report's catalogue that are read on a page only: polite, as all of the page."""


def test_the_reports_japanese_keeps_to_one_word_for_one_thing():
    for message in _report_in_japanese():
        assert not RETIRED.search(message.string), message.string


def test_pages_are_polite_and_slides_are_brief():
    for message in _report_in_japanese():
        polite = re.search("(です|ます|ません)。", message.string) is not None
        assert polite == message.id.startswith(APP_ONLY), message.string


def _report_in_japanese() -> list[Message]:
    with (FOLDER / "ja" / "LC_MESSAGES" / "wording.po").open("rb") as file:
        return [message for message in read_po(file, locale="ja") if message.id]


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogues_hold_no_unsure_translation(language):
    assert not [message.id for message in catalogue(language) if message.fuzzy and message.id]


def test_a_sentence_stands_in_one_catalogue_and_is_used():
    kept = []
    for path in sorted((FOLDER / "ja" / "LC_MESSAGES").glob("*.po")):
        with path.open("rb") as file:
            kept += [message.id for message in read_po(file, locale="ja") if message.id]
    assert [text for text, n in Counter(kept).items() if n > 1] == []
    assert sorted(set(kept) - set(MESSAGES)) == []


def test_english_is_the_message_itself():
    assert translator("en")("Working dimension") == "Working dimension"
    assert translator("ja")("Working dimension") == "作業次元"


def test_an_unknown_language_is_named():
    with pytest.raises(InputError, match=r"Unknown language 'jp'.*ja"):
        translator("jp")
