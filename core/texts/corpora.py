"""Texts to measure on: built-in corpora, and the user's own files of text or of chat messages."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import charset_normalizer
import polars as pl

from core.errors import CorpusError, Sentence, sentences, unknown_name
from core.files import DATA, mend, parse_json, refusing
from core.limits import opening
from core.tables import CorpusRow
from core.texts.messages import (
    Conversation,
    conversations_hash,
    join_contents,
    json_chats,
    parquet_chats,
    read_conversations,
    read_parquet_column,
    require_values_within_limits,
    which_column,
)

CORPORA = DATA / "corpora"
FILE_TYPES = (".txt", ".jsonl", ".json", ".csv", ".parquet")
CHAT = ("template", "plain")
"""How chat messages are read."""


@dataclass(frozen=True)
class Corpus:
    """A text to measure on."""

    row: CorpusRow
    pieces: list[str]
    """Paragraphs, rows or articles in order; short ones are merged before windows are drawn."""
    conversations: tuple[Conversation, ...] = ()
    """Chat messages, to be rendered by each model's own template; the pieces are then their contents."""

    @property
    def beginning(self) -> str:
        """The part of the text that its script is recognised by."""
        return "".join(self.pieces[:200])


@dataclass(frozen=True)
class BuiltIn:
    """A built-in text and how it is read."""

    language: str
    domain: str
    licence: str
    read: Callable[[], list[str]]


def _python_docs() -> list[str]:
    from pydoc_data.topics import topics

    return [topics[name].strip() for name in sorted(topics)]


def _python_source() -> list[str]:
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    if not files:
        raise CorpusError("{folder} holds no source files. Use --text python-docs.", folder=folder)
    return [path.read_text(encoding="utf-8").strip() for path in files]


def _shipped(name: str) -> Callable[[], list[str]]:
    """Paragraphs of a text, or rows of a table."""
    text, rows = CORPORA / f"{name}.txt", CORPORA / f"{name}.jsonl"
    return lambda: _paragraphs(text.read_text("utf-8")) if text.exists() else pl.read_ndjson(rows)["text"].to_list()


BUILT_IN: dict[str, BuiltIn] = {
    "python-docs": BuiltIn("en", "technical reference", "PSF-2.0", _python_docs),
    "python-source": BuiltIn("code", "source code", "PSF-2.0", _python_source),
    "english-business": BuiltIn("en", "business and general knowledge", "Apache-2.0", _shipped("english-business")),
    "japanese-business": BuiltIn("ja", "business and general knowledge", "Apache-2.0", _shipped("japanese-business")),
    "ladder-code": BuiltIn("code", "source code", "PSF-2.0", _shipped("ladder-code")),
    "ladder-prose": BuiltIn("en", "technical reference", "PSF-2.0", _shipped("ladder-prose")),
}


def open_corpus(name: str, column: str | None = None, encoding: str = "utf-8", chat: str = "template") -> Corpus:
    """A built-in corpus by name, or a .txt, .jsonl, .json, .csv or .parquet file.

    Chat messages are recognised by their shape. `chat` is how they are read: `template`, rendered by each model's own
    template, or `plain`, as a text of their contents, which is another corpus.

    Raises CorpusError for an unknown name, an unreadable file, a missing column or an empty text.
    """
    require_corpus(name)
    if chat not in CHAT:
        raise CorpusError(unknown_name("way to read chat messages", chat, CHAT))
    if name in BUILT_IN:
        if chat == "plain":
            raise _no_chat_error(name)
        built_in = BUILT_IN[name]
        return _corpus(name, built_in.read(), built_in.language, built_in.domain, built_in.licence, "built-in")
    with opening(Path(name).name):
        return _open_file(Path(name), column, encoding, chat)


def _open_file(path: Path, column: str | None, encoding: str, chat: str) -> Corpus:
    text = "" if path.suffix.lower() == ".parquet" else decode(path, encoding)
    values = _read_chats(path, text, column)
    if values is not None:
        return _chat_corpus(path, read_conversations(values, path.name), chat)
    if chat == "plain":
        raise _no_chat_error(path.name)
    return _corpus(path.stem, _read_texts(path, text, column), "unknown", "user's own", "user's own", "file")


def require_corpus(name: str) -> None:
    """Raises CorpusError for a name of neither a built-in corpus nor a file of a type that is read; reads no file."""
    if name in BUILT_IN:
        return
    path = Path(name)
    with refusing(CorpusError, "There is no text '{name}...': {reason}.", name=name[:60]):  # too long for the system
        exists = path.exists()
    is_of_known_type = path.suffix.lower() in FILE_TYPES
    if not exists and not is_of_known_type:
        unknown = unknown_name("text", name, BUILT_IN)
        raise CorpusError(sentences(unknown, Sentence("Or name a {file_types} file.", file_types=FILE_TYPES)))
    if path.is_dir() or not is_of_known_type:
        raise CorpusError(
            "{path} is no {file_types} file. Name one, or save the text as one.", path=path, file_types=FILE_TYPES
        )
    if not path.is_file():
        raise CorpusError("There is no {what} {file}. Check the path.", what=Sentence("file"), file=path)


def _no_chat_error(name: str) -> CorpusError:
    return CorpusError("{name} holds no chat messages. Leave out --chat plain.", name=name)


def _read_chats(path: Path, text: str, column: str | None) -> list[Any] | None:
    """The conversations of a file, unparsed; None if it holds texts. `text` is its content, empty for Parquet."""
    kind = path.suffix.lower()
    if kind in (".jsonl", ".json"):
        return json_chats(text, path, column)
    return parquet_chats(path, column) if kind == ".parquet" else None


def _chat_corpus(path: Path, conversations: tuple[Conversation, ...], chat: str) -> Corpus:
    """A corpus of chat messages. The plain contents have a name of their own, so that they are not taken for rendered ones."""
    pieces = [join_contents(messages) for messages in conversations]
    if chat == "plain":
        return _corpus(f"{path.stem} (plain)", pieces, "unknown", "chat messages", "user's own", "file")
    corpus = _corpus(
        path.stem, pieces, "unknown", "chat messages", "user's own", "file", conversations_hash(conversations)
    )
    return replace(corpus, conversations=conversations)


def _corpus(
    name: str, pieces: list[str], language: str, domain: str, licence: str, source: str, sha256: str = ""
) -> Corpus:
    """A corpus with its row; `sha256` is given if the content is more than its pieces. Raises CorpusError if it is empty."""
    pieces = [piece for piece in pieces if piece.strip()]
    if not pieces:
        raise CorpusError("{name} holds no text. Choose another file or column.", name=name)
    sha256 = sha256 or hashlib.sha256("\0".join(pieces).encode("utf-8", "surrogatepass")).hexdigest()
    row = CorpusRow(
        f"{name}@{sha256[:12]}", name, language, domain, licence, sha256, len(pieces), sum(map(len, pieces)), source
    )
    return Corpus(row, pieces)


def _paragraphs(text: str) -> list[str]:
    return [paragraph.strip() for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]


def _read_texts(path: Path, text: str, column: str | None) -> list[str]:
    """The paragraphs of a text file, or the texts of a table. `text` is its content, empty for Parquet."""
    kind = path.suffix.lower()
    if kind == ".txt":
        return _paragraphs(text)
    if kind == ".jsonl":
        return _json_texts(path, text, column)
    try:
        if kind == ".parquet":
            column = _choose_column(path, pl.read_parquet_schema(path), column)
            values = read_parquet_column(path, column)
        else:
            frame = pl.read_csv(io.StringIO(text), infer_schema=False)
            values = frame[_choose_column(path, frame.schema, column)]
            require_values_within_limits(path, len(values), values.estimated_size())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(path, str(error).splitlines()[0]) from error
    return [str(value).strip() for value in values.drop_nulls()]


def _json_texts(path: Path, text: str, column: str | None) -> list[str]:
    """The texts of a column of JSON lines, parsed one by one: whatever else a line holds is in memory for that line only.

    A table's reader would find one type for all lines first, which takes gigabytes for a few nested ones.
    """
    nested = ("list", "dict")
    kinds: dict[str, str] = {}
    """Column -> `String` if each value is a text or can be written as one, else the first other type."""
    for _, record in json_lines(path, text):
        for name, value in record.items():
            kind = "String" if isinstance(value, str) else type(value).__name__
            is_telling = kind in ("String", *nested) or name not in kinds
            if value is not None and is_telling and kinds.get(name) not in nested:
                kinds[name] = kind
    column = _choose_column(path, kinds, column)
    texts = []
    for number, record in json_lines(path, text):
        value = record.get(column)
        if value is None:
            continue
        piece = value if isinstance(value, str) else json.dumps(value)
        try:
            piece.encode()
        except UnicodeEncodeError as error:
            line = Sentence("{file}, line {number}", file=path.name, number=number)
            raise mend(line, Sentence("half a character"), CorpusError) from error
        texts.append(piece.strip())
    require_values_within_limits(path, len(texts), len(text))
    return texts


def json_lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and object of each line that is not blank. Raises CorpusError for a line that is none."""
    for number, line in enumerate(io.StringIO(text), 1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
        except ValueError as error:
            raise _unreadable(path, Sentence("line {number} is no JSON object", number=number)) from error
        if not isinstance(record, dict):
            raise _unreadable(path, Sentence("line {number} is no JSON object", number=number))
        yield number, record


def _unreadable(path: Path, problem: str) -> CorpusError:
    kind = path.suffix.lower()[1:]
    return CorpusError(
        "{path} cannot be read as {kind}: {first}. Check the file.", path=path.name, kind=kind, first=problem
    )


def _choose_column(path: Path, kinds: Mapping[str, Any], column: str | None) -> str:
    """The text column to read: `column`, else `text`, else the only one. `kinds` are the columns with their types.

    Raises CorpusError.
    """
    text_columns = [name for name, kind in kinds.items() if str(kind) == "String"]
    if column is None:
        if "text" in text_columns:
            return "text"
        if len(text_columns) == 1 and "text" not in kinds:  # else what is called so would be passed over in silence
            return text_columns[0]
        raise which_column(path, kinds)
    if column not in text_columns:
        raise CorpusError(unknown_name(Sentence("text column of {path}", path=path.name), column, text_columns))
    return column


def decode(path: Path, encoding: str) -> str:
    """The text of a file. Raises CorpusError if it cannot be read or decoded, or is empty."""
    with refusing(CorpusError, "{path} cannot be read: {reason}. Check its permissions.", path=path):
        raw = path.read_bytes()
    if not raw.strip():
        raise CorpusError("{name} holds no text. Choose another file or column.", name=path.name)
    try:
        text = raw.decode("utf-8-sig" if _is_utf_8(encoding) else encoding)
        text.encode()
        if "\0" in text:  # UTF-16 bytes often pass as UTF-8 with a NUL after every letter
            raise UnicodeError
        return text
    except LookupError as error:
        raise CorpusError(
            "Unknown encoding '{encoding}'. Common ones: utf-8, cp932, utf-16, euc_jp.", encoding=encoding
        ) from error
    except UnicodeError as error:
        raise CorpusError(
            "{path} is not {encoding}, or damaged. {advice}",
            path=path.name,
            encoding=encoding,
            advice=_likely_encoding(raw, encoding),
        ) from error


def _is_utf_8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8")


def _likely_encoding(raw: bytes, encoding: str) -> Sentence:
    """Advice on which encoding to try."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        guess = "utf-16"
    elif best := charset_normalizer.from_bytes(raw[:200_000]).best():
        # Japanese text in cp932 is, by chance, valid in other double-byte encodings too; cp932 is the common one.
        guess = "cp932" if best.encoding in ("cp932", "shift_jis", "shift_jis_2004", "johab", "big5") else best.encoding
    else:
        return Sentence("Name its encoding with --encoding.")
    if not _is_utf_8(encoding):
        with suppress(UnicodeDecodeError):
            raw.decode("utf-8")
            guess = "utf-8"
    return Sentence("Try --encoding {guess}.", guess=guess)
