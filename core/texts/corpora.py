"""Texts to measure on, built-in ones and a user's own files: prose, chat messages as data sets write them, how much of a
table is read, and labelled texts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import charset_normalizer
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import CorpusError, Sentence, sentences, unknown_name
from core.files import DATA, beyond_limit, mend, parse_json, read_whole, refusing
from core.limits import opening
from core.records import TEXT_FILES
from core.tables import CorpusRow

CORPORA = DATA / "corpora"
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
    return lambda: paragraphs(text.read_text("utf-8")) if text.exists() else pl.read_ndjson(rows)["text"].to_list()


BUILT_IN: dict[str, BuiltIn] = {
    "python-docs": BuiltIn("en", "technical reference", "PSF-2.0", _python_docs),
    "python-source": BuiltIn("code", "source code", "PSF-2.0", _python_source),
    "english-business": BuiltIn("en", "business and general knowledge", "Apache-2.0", _shipped("english-business")),
    "japanese-business": BuiltIn("ja", "business and general knowledge", "Apache-2.0", _shipped("japanese-business")),
    "ladder-code": BuiltIn("code", "source code", "PSF-2.0", _shipped("ladder-code")),
    "ladder-prose": BuiltIn("en", "technical reference", "PSF-2.0", _shipped("ladder-prose")),
}


def open_corpus(name: str, column: str | None = None, encoding: str = "utf-8", chat: str = "template") -> Corpus:
    """A built-in corpus by name, or a .txt, .md, .jsonl, .json, .csv or .parquet file.

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
        return _corpus(
            name,
            built_in.read(),
            language=built_in.language,
            domain=built_in.domain,
            licence=built_in.licence,
            source="built-in",
        )
    path = Path(os.path.expanduser(name))
    with opening(path.name):
        return _open_file(path, column, encoding, chat)


def _open_file(path: Path, column: str | None, encoding: str, chat: str) -> Corpus:
    text = "" if path.suffix.lower() == ".parquet" else decode(path, encoding)
    if path.suffix.lower() in (".txt", ".md"):
        values, has_chats = paragraphs(text), False
    else:
        values, has_chats = _read_table(path, text, column)
    if has_chats:
        return _chat_corpus(path, read_conversations(values, path.name), chat)
    if chat == "plain":
        raise _no_chat_error(path.name)
    return _corpus(path.stem, values)


def require_corpus(name: str) -> None:
    """Raises CorpusError for a name of neither a built-in corpus nor a file of a type that is read; reads no file."""
    if name in BUILT_IN:
        return
    path = Path(os.path.expanduser(name))
    with refusing(CorpusError, "There is no text '{name}...': {reason}.", name=name[:60]):  # too long for the system
        exists = path.exists()
    if path.suffix.lower() not in TEXT_FILES:
        if exists:
            raise CorpusError(
                "{path} is no {file_types} file. Name one, or save the text as one.", path=path, file_types=TEXT_FILES
            )
        unknown = unknown_name("text", name, BUILT_IN)
        raise CorpusError(sentences(unknown, Sentence("Or name a {file_types} file.", file_types=TEXT_FILES)))
    if not path.is_file():
        raise CorpusError("There is no {what} {file}. Check the path.", what=Sentence("file"), file=path)


def _no_chat_error(name: str) -> CorpusError:
    return CorpusError("{name} holds no chat messages. Leave out --chat plain.", name=name)


def _chat_corpus(path: Path, conversations: tuple[Conversation, ...], chat: str) -> Corpus:
    """A corpus of chat messages. The plain contents have a name of their own, so that they are not taken for rendered ones."""
    pieces = [join_contents(messages) for messages in conversations]
    if chat == "plain":
        return _corpus(f"{path.stem} (plain)", pieces, domain="chat messages")
    corpus = _corpus(path.stem, pieces, conversations_hash(conversations), domain="chat messages")
    return replace(corpus, conversations=conversations)


def _corpus(
    name: str,
    pieces: list[str],
    sha256: str = "",
    *,
    language: str = "unknown",
    domain: str = "user's own",
    licence: str = "user's own",
    source: str = "file",
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


def paragraphs(text: str) -> list[str]:
    return [paragraph.strip() for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]


def _read_table(path: Path, text: str, column: str | None) -> tuple[list[Any], bool]:
    """The values of the column to read, and whether they are conversations. `text` is the file's content, empty for Parquet."""
    if path.suffix.lower() != ".parquet":
        return _read_rows(path, text, column)
    try:
        kinds = {name: _kind_of_type(dtype) for name, dtype in pl.read_parquet_schema(path).items()}
        column = _choose_column(path, kinds, column)
        values = read_parquet_column(path, column)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(path, str(error).splitlines()[0]) from error
    is_chats = kinds[column] == CHATS
    return values.to_list() if is_chats else [value.strip() for value in values.drop_nulls()], is_chats


def _read_rows(path: Path, text: str, column: str | None) -> tuple[list[Any], bool]:
    """As `_read_table`. Lines are parsed one by one: whatever else a line holds is in memory for that line only.

    A table's reader would find one type for all lines first, which takes gigabytes for a few nested ones.
    """
    types: dict[str, set[str]] = {}
    for number, row in _rows(path, text):
        if is_chat(row):  # the rows themselves are conversations
            return [row for _, row in _rows(path, text)], True
        for name, value in _record(path, number, row).items():
            if value is not None:
                types.setdefault(name, set()).add(CHATS if is_chat(value) else type(value).__name__)
    kinds = {
        name: CHATS if CHATS in of else TEXTS if "str" in of and not of & {"list", "dict"} else ""
        for name, of in types.items()
    }
    if path.suffix.lower() == ".csv":  # its header names the columns, those without a value as well
        kinds = dict.fromkeys(pl.read_csv(io.StringIO(text), n_rows=0, infer_schema=False).columns, TEXTS)
    if path.suffix.lower() == ".json":
        kinds = {name: kind for name, kind in kinds.items() if kind == CHATS}
        if not kinds:
            raise CorpusError("{path} holds no conversations. Save plain texts as .jsonl.", path=path.name)
    column = _choose_column(path, kinds, column)
    rows = ((number, _record(path, number, row).get(column)) for number, row in _rows(path, text))
    if kinds[column] == CHATS:
        return [value for _, value in rows], True
    texts = []
    for number, value in rows:
        if value is not None:
            piece = value if isinstance(value, str) else json.dumps(value)
            texts.append(_whole(piece, Sentence("{file}, line {number}", file=path.name, number=number)).strip())
    _require_within_limits(path, len(texts), len(text))
    return texts, False


def _rows(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Number and value of each row of a CSV file, of each line that is not blank, or of each item of the one list in a .json
    file. Raises CorpusError for what is none of these."""
    if path.suffix.lower() == ".csv":
        try:
            for number, row in enumerate(pl.read_csv(io.StringIO(text), infer_schema=False).iter_rows(named=True), 1):
                if any(value is not None for value in row.values()):  # an empty line is a row without values
                    yield number, row
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise _unreadable(path, str(error).splitlines()[0]) from error
        return
    if path.suffix.lower() == ".json":
        try:
            rows = parse_json(text)
        except ValueError as error:
            if not str(error).startswith("Extra data"):  # else it holds lines, as data sets are exported
                raise _unreadable(path, str(error)) from error
        else:
            yield from enumerate(rows if isinstance(rows, list) else [], 1)
            return
    for number, line in enumerate(io.StringIO(text), 1):
        if line.strip():
            try:
                yield number, parse_json(line)
            except ValueError as error:
                raise _no_object(path, number) from error


def _record(path: Path, number: int, row: Any) -> dict[str, Any]:
    """A row, which has to be an object in a file of lines. Raises CorpusError."""
    if isinstance(row, dict):
        return row
    if path.suffix.lower() == ".json":
        return {}
    raise _no_object(path, number)


def _no_object(path: Path, number: int) -> CorpusError:
    return _unreadable(path, Sentence("line {number} is no JSON object", number=number))


def _unreadable(path: Path, problem: str) -> CorpusError:
    kind = path.suffix.lower()[1:]
    return CorpusError(
        "{path} cannot be read as {kind}: {first}. Check the file.", path=path.name, kind=kind, first=problem
    )


TEXTS, CHATS = "texts", "chats"
"""Kinds of columns that are read."""
USUAL = ("messages", "conversations")
"""Preferred names if several columns hold messages: preference data have `chosen` and `rejected` as well."""


def _choose_column(path: Path, kinds: Mapping[str, str], column: str | None) -> str:
    """The column to read: `column`, else the only one of messages, else `text`, else the only one of texts.

    `kinds` are the columns with their kinds. Raises CorpusError.
    """
    texts, chats = ([name for name, kind in kinds.items() if kind == wanted] for wanted in (TEXTS, CHATS))
    if column is not None:
        if column not in (*texts, *chats):
            raise CorpusError(unknown_name(Sentence("column of {path}", path=path.name), column, [*texts, *chats]))
        return column
    usual = [name for name in USUAL if name in chats][:1] or chats
    plain = ["text"] if "text" in (texts if usual else kinds) else [] if usual else texts
    candidates = [*usual, *plain]  # what is called `text` is not passed over in silence
    if len(candidates) != 1 or candidates[0] not in (*texts, *chats):
        raise which_column(path, kinds)
    return candidates[0]


def which_column(path: Path, columns: Iterable[str]) -> CorpusError:
    return CorpusError(
        "Which column of {path}? It has {columns}. Name one with --column.", path=path.name, columns=columns
    )


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


# --- chat messages ------------------------------------------------------------------------------------------------

SHAPES = (("role", "content"), ("from", "value"))
"""Keys of a message: those of chat APIs and those of ShareGPT."""
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}

UNMEASURED = [
    *("tool_calls", "tool_call_id", "tools", "function_call", "functions", "reasoning_content", "reasoning"),
    *("reasoning_details", "thinking", "thinking_blocks", "thought", "thoughts", "image", "images", "audio"),
    *("audios", "video", "videos"),
]
"""Keys that templates render beside the content. Other keys of a message (its number, its rating) are ignored."""


@dataclass(frozen=True)
class Message:
    role: str
    """`system`, `user` or `assistant`."""
    content: str
    """Stripped of white space: most templates strip it, and all models must read the same."""


Conversation = tuple[Message, ...]
BETWEEN = "\n\n"
"""Separates joined contents and pieces, as paragraphs."""


def is_chat(value: Any) -> bool:
    """Whether a value of a table is a list of messages."""
    return isinstance(value, list) and any(
        isinstance(message, dict) and any(keys[0] in message and keys[1] in message for keys in SHAPES)
        for message in value
    )


def read_conversations(values: Sequence[Any], name: str) -> tuple[Conversation, ...]:
    """One conversation per value. Raises CorpusError, with its number, for the first value that is none."""
    return tuple(
        _conversation(value, Sentence("Conversation {number} of {name}", number=number, name=name))
        for number, value in enumerate(values, 1)
    )


def conversations_hash(conversations: Sequence[Conversation]) -> str:
    """SHA-256 over roles and contents; differs from that of the same words as plain text."""
    content = ["chat", [[[message.role, message.content] for message in messages] for messages in conversations]]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()


def join_contents(messages: Sequence[Message]) -> str:
    """The contents as paragraphs."""
    return BETWEEN.join(message.content for message in messages)


def _conversation(value: Any, location: str) -> Conversation:
    """Parse one conversation. Raises CorpusError."""
    if not isinstance(value, list) or not value:
        raise mend(location, Sentence("no messages"), CorpusError)
    return tuple(
        _message(message, Sentence("{where}, message {number}", where=location, number=number))
        for number, message in enumerate(value, 1)
    )


def _message(value: Any, location: str) -> Message:
    """Parse one message. Raises CorpusError, also for content that is not text."""
    keys = next((keys for keys in SHAPES if isinstance(value, dict) and keys[0] in value), None)
    if keys is None:
        raise mend(location, Sentence("no role and content, or from and value"), CorpusError)
    # A rendered tool call or chain of thought is neither content nor template.
    unmeasured = sorted(key for key in UNMEASURED if value.get(key) not in (None, "", [], {}))
    if unmeasured:
        raise mend(location, Sentence("{more} beside {keys} is not measured", more=unmeasured, keys=keys), CorpusError)
    role = ROLES.get(str(value[keys[0]]).lower())
    if role is None:
        raise CorpusError(unknown_name(Sentence("role in {where}", where=location), str(value[keys[0]]), ROLES))
    content = _text(value.get(keys[1]), location).strip()
    if not content:
        raise mend(location, Sentence("an empty message"), CorpusError)
    return Message(role, content)


def _text(content: Any, location: str) -> str:
    """A text, or a list of parts that are all text."""
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        content = "".join(part["text"] for part in content)
    if content is None:
        return ""
    if not isinstance(content, str):
        raise mend(location, Sentence("more than text"), CorpusError)
    return _whole(content, location)


def _whole(text: str, location: str) -> str:
    """The text. Raises CorpusError if it holds half a character, as JSON may."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise mend(location, Sentence("half a character"), CorpusError) from error
    return text


MAX_VALUES = 10**6
"""Largest number of texts or messages of a table: a protocol reads some thousand windows, and each text takes memory."""
MAX_TABLE_BYTES = 2**31
"""Largest size of a table of text."""
MAX_UNPACKED_BYTES = 2**28
"""Largest size of a Parquet column in memory: compressed, and with values written once for many rows, it takes a file of
two kilobytes."""


def read_parquet_column(path: Path, column: str) -> pl.Series:
    """One column of a Parquet file. Raises CorpusError for more than the limits.

    Before reading, by the file's own account of the column; a value that is stored once for many rows is counted
    afterwards, since polars keeps it once as well until it is copied. Other columns are not read.
    """
    _require_column_within_limits(path, column)
    values = pl.read_parquet(path, columns=[column])[column]
    _require_within_limits(path, len(values), values.estimated_size(), MAX_UNPACKED_BYTES)
    return values


def _require_column_within_limits(path: Path, column: str) -> None:
    """Raises CorpusError for a column that exceeds the limits by the file's footer."""
    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError):  # the reader of the file reports what is wrong
        return
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    own = [chunk for chunk in chunks if chunk.path_in_schema == column or chunk.path_in_schema.startswith(f"{column}.")]
    # A list in a row counts as many values as it has.
    n_values = Counter[str]()
    for chunk in own:
        n_values[chunk.path_in_schema] += chunk.num_values
    n_bytes = sum(chunk.total_uncompressed_size for chunk in own)
    _require_within_limits(path, max([footer.num_rows, *n_values.values()]), n_bytes, MAX_UNPACKED_BYTES)


def _require_within_limits(path: Path, n_values: int, n_bytes: float, max_bytes: int = MAX_TABLE_BYTES) -> None:
    """Raises CorpusError for a table of more values or bytes than are read."""
    if n_values > MAX_VALUES:
        raise beyond_limit(path.name, n_values, MAX_VALUES, Sentence("texts"), CorpusError)
    if n_bytes > max_bytes:
        raise beyond_limit(path.name, n_bytes / 1e6, max_bytes / 1e6, "MB", CorpusError)


def _kind_of_type(dtype: Any) -> str:
    if dtype == pl.String:
        return TEXTS
    if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
        return ""
    names = {field.name for field in dtype.inner.fields}
    return CHATS if any(names >= set(keys) for keys in SHAPES) else ""


# --- labelled texts, which layers are probed with ------------------------------------------------------------------

MOST_LABELLED = 1000
"""Labelled texts that are read; of more, as many by a fixed draw."""
FEWEST_LABELLED = 20
"""Least number of labelled documents: fewer tell no layers apart."""


@dataclass(frozen=True)
class LabelledTexts:
    texts: tuple[str, ...]
    classes: np.ndarray
    """(n_texts,) number of each text's label"""
    documents: np.ndarray
    """(n_texts,) document of each text, which is never probed with what was learned from it"""

    @property
    def sha256(self) -> str:
        content = [self.texts, self.classes.tolist(), self.documents.tolist()]
        return hashlib.sha256(json.dumps(content).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def guess(self) -> float:
        """Share of the commonest label."""
        return float(np.bincount(self.classes).max() / len(self.classes))


def read_labels(path: Path) -> LabelledTexts:
    """A file of JSON lines or CSV with `text`, `label` and, if several rows are of one document, `document`. Raises CorpusError."""
    try:
        content = read_whole(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError("{path} is not UTF-8. Save it so: Excel calls it CSV UTF-8.", path=path.name) from error
    rows = [_record(path, number, row) for number, row in _rows(path, content)]
    if not all(
        isinstance(row.get("text"), str) and row["text"].strip() and row.get("label") is not None for row in rows
    ):
        raise CorpusError(
            "{path} is no file of labelled texts. Each row needs `text` and `label`, as JSON lines or CSV.",
            path=path.name,
        )
    texts, labels = [_whole(row["text"], path.name) for row in rows], [str(row["label"]) for row in rows]
    # Without a document of its own, a text that is there twice would be learned from its copy.
    documents = [str(row["text"] if row.get("document") is None else row["document"]) for row in rows]
    in_documents = Counter(label for label, _document in {*zip(labels, documents, strict=True)})
    if len(set(documents)) < FEWEST_LABELLED or len(in_documents) < 2 or min(in_documents.values()) < 2:
        raise CorpusError(
            "{path} has: texts {n_texts}, labels {n_labels}, documents {n_documents}. Give {fewest} documents or more, each label in "
            "two of them.",
            path=path.name,
            n_texts=len(rows),
            n_labels=len(in_documents),
            n_documents=len(set(documents)),
            fewest=FEWEST_LABELLED,
        )
    drawn = np.sort(np.random.default_rng(0).permutation(len(rows))[:MOST_LABELLED])
    return LabelledTexts(
        tuple(texts[at] for at in drawn),
        *(np.unique([names[at] for at in drawn], return_inverse=True)[1] for names in (labels, documents)),
    )
