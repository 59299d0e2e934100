"""One word for one thing: the catalogues, English and Japanese, against the glossary that rules them."""

import re
from collections import Counter

from babel.messages.pofile import read_po

from core.deck import report
from core.locale import FOLDER, LANGUAGES, catalogue, glossary

TERMS = glossary()


ROOT = FOLDER.parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "README.ja.md",
    ROOT / "CHANGELOG.md",
    ROOT / "data" / "reference" / "README.md",
]
DOCUMENTS += [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("*/*.csv"))]


def documents(*, japanese: bool) -> list[tuple[str, str]]:
    """Name and text of every document; its tables hold both languages."""
    chosen = [one for one in DOCUMENTS if one.suffix == ".csv" or one.name.endswith(".ja.md") == japanese]
    texts = [(one, one.read_text(encoding="utf-8")) for one in chosen]
    return [(one.name, text.replace('"', "") if one.suffix == ".csv" else text) for one, text in texts]


def test_no_catalogue_and_no_japanese_document_says_a_term_otherwise():
    otherwise = []
    for path in sorted((FOLDER / "ja" / "LC_MESSAGES").glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale="ja"):
                found = [f"{w!r} for {t.ja}" for t in TERMS for w in t.never_ja if re.search(w, str(message.string))]
                otherwise += [f"{path.name}: {message.string!r} has {one}" for one in found if message.id]
    for name, text in documents(japanese=True):
        text = QUOTED.sub("", text)
        otherwise += [f"{name} has {w!r} for {t.ja}" for t in TERMS for w in t.never_ja if re.search(w, text)]
    assert not otherwise, "\n".join(otherwise)


NOT_READ = re.compile(r"`[^`]*`|\{[^}]*\}|--[\w-]+|\w+\.\w+|\w*_\w*|\b[A-Z]{2,}\b")
"""Commands, placeholders, options and names of columns in a message keep their own words."""


QUOTED = re.compile(r"```.*?```|\"[^\"]*\"|「[^」]*」|\]\([^)]*\)|\w+&\w+", re.DOTALL)
"""In a document also what is quoted, code, links, and another's name."""


def english() -> list[str]:
    forms = (message.id for message in catalogue("ja") if message.id)
    return [form for one in forms for form in ((one,) if isinstance(one, str) else one)]


def test_no_message_and_no_document_says_a_term_otherwise_in_english():
    never = {term.en: re.compile(rf"\b({'|'.join(term.never_en)})\b", re.IGNORECASE) for term in TERMS if term.never_en}
    messages = [*english(), *(text for term in TERMS for text in (term.en, term.meaning_en))]
    otherwise = [
        f"{text!r} has {found[0]!r} for {term}"
        for text in messages
        for term, words in never.items()
        if (found := words.search(NOT_READ.sub("", text)))
    ]
    otherwise += [
        f"{name}: {line!r} has {found[0]!r} for {term}"
        for name, text in documents(japanese=False)
        for line in QUOTED.sub("", text).splitlines()
        for term, words in never.items()
        if (found := words.search(NOT_READ.sub("", line)))
    ]
    assert len(never) > 20 and not otherwise, "\n".join(otherwise)


def test_the_sentences_that_are_a_term_say_it_and_are_there():
    japanese = catalogue("ja")
    said = {message: japanese.get(message) for term in TERMS for message in term.messages}
    assert {message: found and found.string for message, found in said.items()} == {
        message: term.ja for term in TERMS for message in term.messages
    }


def test_each_term_stands_once_with_its_meaning_and_follows_the_others():
    assert [term for term, n in Counter(term.en for term in TERMS).items() if n > 1] == []
    for term in TERMS:
        assert all(term.name(language) and term.meaning(language).endswith((".", "。")) for language in LANGUAGES)
        told = term.ja + term.meaning_ja
        assert not [word for other in TERMS for word in other.never_ja if re.search(word, told)], term.en


def test_words_that_decks_explain_are_in_the_glossary():
    assert {*report.TERMS} <= {term.en for term in TERMS}
