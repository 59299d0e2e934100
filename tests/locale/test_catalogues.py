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
from functools import cache
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from core import errors
from core.commands.main import Parser, build_parser
from core.errors import InputError, Sentence, WorkdimError, unknown_name
from core.locale import FOLDER, LANGUAGES, catalogue, in_language, translated, worded
from core.tables import TABLES
from core.tables.columns import Table

ROOT = Path(__file__).parents[2]
PLACES = ("core", "pages", "app.py")


def sources() -> list[Path]:
    places = [ROOT / place for place in PLACES]
    return [path for place in places for path in (sorted(place.glob("**/*.py")) if place.is_dir() else [place])]


ERRORS = {name for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, WorkdimError)}
ERRORS |= {"DiskFull", "OtherProgram", "NewerSchema", "Unnamed"}
"""Kinds that a room makes of these; all are built as their base is."""
COUNTING = {"_", "Sentence", "Finding", "Notice", "tell", "warn"}
WORDED = {"Sentence", "Finding", "Notice", "tell", "warn", "sentences", "unknown_name", "refusing"}


@cache
def calls() -> tuple[tuple[str, list[ast.expr], str], ...]:
    return tuple(_calls())


def _calls() -> Iterator[tuple[str, list[ast.expr], str]]:
    """What is called, its message (and plural) and the place, of all that gives words to people: `_`, sentences, errors."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            if not isinstance(node.func, ast.Name):
                if isinstance(node.func, ast.Call):  # `type(error)("...")`: of a kind known only when it is made
                    yield "Sentence", node.args[:1], place
                continue
            if node.func.id == "heads":
                yield from ((node.func.id, [text], place) for text in node.args)
            elif node.func.id in ("_", "N_") and isinstance(node.args[0], ast.Dict):  # a table of messages
                yield from ((node.func.id, [text], place) for text in texts_in(node.args[0]))
            elif node.func.id == "kind":  # an error of the kind that was asked for
                yield "Sentence", node.args[:1], place
            elif node.func.id in {"_", "N_", *WORDED} | ERRORS:
                start = 1 if node.func.id in ("Unnamed", "refusing") else 0
                forms = 2 if node.func.id in COUNTING | ERRORS else 1
                yield node.func.id, node.args[start : start + forms], place


def texts_in(table: ast.expr) -> Iterator[ast.expr]:
    """The texts of a table of messages, and of the tables within it."""
    inner = table.values if isinstance(table, ast.Dict) else table.elts if isinstance(table, ast.Tuple) else [table]
    for one in inner:
        if isinstance(one, ast.Constant):
            yield one
        elif isinstance(one, (ast.Dict, ast.Tuple)):
            yield from texts_in(one)


@cache
def messages() -> dict[str | tuple[str, str], str]:
    """English sentence, or its singular and plural -> where it is used: the literals of `_`, sentences and errors."""
    found: dict[str | tuple[str, str], str] = {}
    for called, forms, place in calls():
        texts = [form.value for form in forms if isinstance(form, ast.Constant) and isinstance(form.value, str)]
        assert texts or called != "_", f"{place}: _() takes a literal; its placeholders are filled with parts."
        if texts:
            found[texts[0] if len(texts) == 1 else (texts[0], texts[1])] = place
    found |= dict.fromkeys(texts_of(build_parser()), "core/commands/verbs.toml")
    for table in TABLES.values():
        found |= dict.fromkeys([table.comment, *meanings(table)], f"the table {table.name}")
    return found


def meanings(table: Table) -> list[str]:
    """What its columns say of themselves, where their names leave something open."""
    return [column.declared.meaning for column in table.columns if column.declared.meaning]


def texts_of(of: Parser) -> Iterator[str]:
    """What the parser of the command line says of its verbs and options, which it is given in English."""
    if of.verbs:
        yield of.verbs._text
        yield from (verb[key] for verb in of.verbs._declared.values() for key in ("heading", "says") if key in verb)
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
        place
        for called, forms, place in calls()
        if called != "_" and any(isinstance(form, (ast.JoinedStr, ast.BinOp)) for form in forms)
    ]
    assert filled == []


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def translations_of(message: Message | None) -> list[str]:
    """The translation, or each of its plural forms; empty if it is missing."""
    strings = (message.string if isinstance(message.string, tuple) else (message.string,)) if message else ()
    return [text for text in strings if text]


def first_form(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def found_in(japanese: Catalog, english: str | tuple[str, str]) -> Message | None:
    """The message of a sentence; one that counts must have both English forms in the catalogue."""
    message = japanese.get(english if isinstance(english, str) else english[0])
    return message if message and message.id == english else None


def test_every_sentence_is_translated():
    japanese, missing, differing = catalogue("ja"), [], []
    assert len(messages()) > 3000
    for english, place in messages().items():
        forms = (english,) if isinstance(english, str) else english
        texts = translations_of(found_in(japanese, english))
        if not texts and not re.search("[A-Za-z]", re.sub(r"{[^}]*}", "", forms[0])):
            continue  # places and punctuation alone: what stands in it is worded
        if not texts:
            missing.append(f"{place}: {english!r}")
        elif any(placeholders(text) != placeholders(forms[-1]) for text in (*forms, *texts)):
            differing.append(f"{place}: {english!r} and {texts}")
    assert not missing, "No Japanese:\n" + "\n".join(missing)
    assert not differing, "Other placeholders:\n" + "\n".join(differing)


RETIRED = re.compile("窓|乱数|装置|手順|実行|当方|頁|版|である|95 %")
"""Other words for what we call ウィンドウ, ランダム重み, デバイス, プロトコル, 測定, 本ツール, スライド, リビジョン."""

PLAIN = re.compile(
    "(?<=[だるくすつぬむうぶぐたい])(?<!です|ます)(?<!ください)(?<!ました|でした)(?<!しょう)(?<![違問扱]い)。"
)
"""A sentence that ends in a plain verb: ours are polite (です・ます), or end in a noun, as titles and cells do."""


def test_the_reports_japanese_keeps_to_one_word_for_one_thing():
    for message in _report_in_japanese():
        assert not any(map(RETIRED.search, translations_of(message))), message.string


def test_japanese_has_one_register():
    plain = [
        text for message in catalogue("ja") if message.id for text in translations_of(message) if PLAIN.search(text)
    ]
    assert not plain
    assert all(map(PLAIN.search, ("数値は信頼できない。", "測定した。", "違いがある。")))
    assert not any(map(PLAIN.search, ("数値は信頼できません。", "測定しました。", "測り方による違い。")))


def _report_in_japanese() -> list[Message]:
    with (FOLDER / "ja" / "LC_MESSAGES" / "wording.po").open("rb") as file:
        return [message for message in read_po(file, locale="ja") if message.id]


def test_catalogues_hold_no_unsure_translation():
    assert not [message.id for language in LANGUAGES for message in catalogue(language) if message.fuzzy and message.id]


def test_a_sentence_stands_in_one_catalogue_and_is_used():
    kept = []
    for path in sorted((FOLDER / "ja" / "LC_MESSAGES").glob("*.po")):
        with path.open("rb") as file:
            kept += [message for message in read_po(file, locale="ja") if message.id]
    assert [text for text, n in Counter(map(first_form, kept)).items() if n > 1] == []
    unused = {message.id for message in kept} - set(messages())
    assert [text for text in unused if repr(text)[1:-1] not in inspect.getsource(argparse)] == []


def test_an_unknown_language_is_named():
    with pytest.raises(InputError, match=r"Unknown language 'jp'.*ja"):
        in_language("jp", translated, "")


def test_an_error_is_worded_for_whoever_reads_it_in_another_process_too():
    inner = unknown_name("column", "txet", ["id", "text"])
    error = InputError("{named}: {problem}", named="pilot.toml", problem=inner)
    assert str(error) == "pilot.toml: Unknown column 'txet'. Did you mean text? Available: id, text."
    told = errors.from_record(json.loads(json.dumps(errors.to_record({"reason": error.message}))))["reason"]
    for found in (error, told, pickle.loads(pickle.dumps(error)).message):
        japanese = in_language("ja", worded, found)
        assert japanese.startswith("pilot.toml") and "txet" in japanese and "id、text" in japanese
        assert not re.search("Unknown|column|Available", japanese)


def test_a_sentence_that_counts_takes_the_form_of_its_number_in_each_language():
    told = [Sentence("{n:,} run", "{n:,} runs", n=n) for n in (0, 1, 2)]
    assert told == ["0 runs", "1 run", "2 runs"]
    assert [in_language("ja", worded, one) for one in told] == ["測定0件", "測定1件", "測定2件"]
    error = InputError("{path}: {n} row is damaged.", "{path}: {n} rows are damaged.", path="a.csv", n=2)
    assert str(error) == "a.csv: 2 rows are damaged."
    for one in (*told, error.message):
        for copy in (
            pickle.loads(pickle.dumps(one)),
            errors.from_record(json.loads(json.dumps(errors.to_record(one)))),
        ):
            assert (copy, copy.plural, in_language("ja", worded, copy)) == (
                one,
                one.plural,
                in_language("ja", worded, one),
            )


@pytest.mark.parametrize(
    "record",
    [
        {"template": "{a.__class__}", "parts": {"a": 1}},
        {"template": "{a:>999999999}", "parts": {"a": 1}},
        {"template": "{a", "parts": {"a": 1}},
        {"template": "{b}", "parts": {"a": 1}},
        {"template": "{a:d}", "parts": {"a": "no number"}},
        {"template": "{a}", "plural": "{a}s", "parts": {"a": 1}},
        {"template": "{n}", "plural": "{n}s", "parts": {"n": "no number"}},
        {"template": "{n}", "plural": "{n:>999999999}", "parts": {"n": 1}},
        {"template": "{a}", "parts": ["a"]},
    ],
)
def test_a_record_that_is_no_sentence_of_ours_stays_the_text_that_it_is(record):
    assert errors.from_record(record) == record["template"] and not isinstance(errors.from_record(record), Sentence)


def test_the_names_that_a_sentence_quotes_are_never_taken_for_its_words():
    assert (
        in_language("ja", worded, Sentence("{name}", name="{name.__class__} language")) == "{name.__class__} language"
    )
