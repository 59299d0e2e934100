"""Every sentence that a person may read exists in Japanese, with the same placeholders."""

import argparse
import ast
import inspect
import json
import pickle
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import read_po

from core import errors
from core.commands.parser import Parser
from core.commands.verbs import build_parser
from core.errors import InputError, Sentence, WorkdimError, unknown_name
from core.locale import FOLDER, LANGUAGES, catalogue, translator, worded
from core.tables import TABLES

ROOT = Path(__file__).parents[2]
PLACES = ("core", "pages", "app.py")


def sources() -> list[Path]:
    places = [ROOT / place for place in PLACES]
    return [path for place in places for path in (sorted(place.glob("**/*.py")) if place.is_dir() else [place])]


ERRORS = {name for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, WorkdimError)}
ERRORS |= {"DiskFull", "OtherProgram", "NewerSchema", "Unnamed"}
"""Kinds that a room makes of these; all are built as their base is."""
WORDED = {"Sentence", "sentences", "unknown_name"}


def calls() -> Iterator[tuple[str, ast.expr, str]]:
    """What is called, its message and the place, of all that gives words to people: `_`, sentences and errors."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
                continue
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            if node.func.id == "heads":
                yield from ((node.func.id, text, place) for text in node.args)
            elif node.func.id in {"_", *WORDED} | ERRORS:
                yield node.func.id, node.args[1 if node.func.id == "Unnamed" else 0], place


def messages() -> dict[str, str]:
    """English sentence -> where it is used: the literals that are given to `_`, to sentences and to errors."""
    found = {}
    for called, text, place in calls():
        is_literal = isinstance(text, ast.Constant) and isinstance(text.value, str)
        assert is_literal or called != "_", (
            f"{place}: _() takes a literal; fill its placeholders with .format afterwards."
        )
        if is_literal:
            found[text.value] = place
    found |= dict.fromkeys(texts_of(build_parser()), "core/commands/verbs.py")
    for table in TABLES.values():
        found |= dict.fromkeys([table.comment, *table.comments.values()], f"the table {table.name}")
    return found


def texts_of(of: Parser) -> Iterator[str]:
    """What the parser of the command line says of its verbs and options, which it is given in English."""
    yield from of.verbs.texts if of.verbs else ()
    for group in of._action_groups:
        actions = [one for one in group._group_actions if one.help != argparse.SUPPRESS]
        yield from [group.title] * bool(actions and group.title and not of.verbs)
        yield from (one.help for one in actions if one.help)
        for one in actions:
            for inner in one.choices.values() if isinstance(one.choices, dict) else ():
                yield from texts_of(inner)


def test_an_error_carries_a_template_and_its_parts():
    """Not an f-string, nor texts put together: who reads it in Japanese would have it in English."""
    filled = [
        place for called, text, place in calls() if called != "_" and isinstance(text, (ast.JoinedStr, ast.BinOp))
    ]
    assert filled == []


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


MESSAGES = messages()


def test_there_are_messages():
    assert len(MESSAGES) > 100


def test_every_sentence_is_translated():
    japanese, missing, differing = catalogue("ja"), [], []
    for english, place in MESSAGES.items():
        message = japanese.get(english)
        if message is None and not re.search("[A-Za-z]", re.sub(r"{[^}]*}", "", english)):
            continue  # places and punctuation alone: what stands in it is worded
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
    of_argparse = {text for text in kept if repr(text)[1:-1] in inspect.getsource(argparse)}
    assert sorted(set(kept) - set(MESSAGES) - of_argparse) == []


def test_english_is_the_message_itself():
    assert translator("en")("Working dimension") == "Working dimension"
    assert translator("ja")("Working dimension") == "作業次元"


def test_an_unknown_language_is_named():
    with pytest.raises(InputError, match=r"Unknown language 'jp'.*ja"):
        translator("jp")


def test_an_error_is_worded_for_whoever_reads_it_in_another_process_too():
    inner = unknown_name("column", "txet", ["id", "text"])
    error = InputError("{named}: {problem}", named="pilot.toml", problem=inner)
    assert str(error) == "pilot.toml: Unknown column 'txet'. Did you mean text? Available: id, text."
    told = errors.from_record(json.loads(json.dumps(errors.to_record({"reason": error.message}))))["reason"]
    for found in (error, told, pickle.loads(pickle.dumps(error)).message):
        japanese = worded(found, "ja")
        assert japanese.startswith("pilot.toml") and "txet" in japanese and "id、text" in japanese
        assert not re.search("Unknown|column|Available", japanese)


@pytest.mark.parametrize(
    "record",
    [
        {"template": "{a.__class__}", "parts": {"a": 1}},
        {"template": "{a:>999999999}", "parts": {"a": 1}},
        {"template": "{a", "parts": {"a": 1}},
        {"template": "{b}", "parts": {"a": 1}},
        {"template": "{a:d}", "parts": {"a": "no number"}},
        {"template": "{a}", "parts": ["a"]},
    ],
)
def test_a_record_that_is_no_sentence_of_ours_stays_the_text_that_it_is(record):
    assert errors.from_record(record) == record["template"] and not isinstance(errors.from_record(record), Sentence)


def test_the_names_that_a_sentence_quotes_are_never_taken_for_its_words():
    assert worded(Sentence("{name}", name="{name.__class__} language"), "ja") == "{name.__class__} language"
