"""A score file as input: its bytes, their encoding, and what the user stated about it."""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from core.errors import InputError, Sentence
from core.scores.cells import Remark, shorten

MAX_BYTES = 256 * 2**20
"""Larger files are not read. The largest public export of scores that we know has 3 MB."""
MAX_LINE = 16 * 2**20
"""Longest line of JSON, in characters: one question with all its answers."""
MODEL = ""
"""Key of `mapping` for the model, if the file names none."""
BENCHMARK = "benchmark:"
"""Key of `mapping` for the benchmark of a file of single answers, if its name does not contain it."""
_NOT_TEXT = {
    b"PK\x03\x04": Sentence("a ZIP archive or Excel workbook: unpack it or save it as CSV"),
    b"\x1f\x8b": Sentence("compressed with gzip: unpack it first"),
    b"%PDF": Sentence("a PDF: save the table as CSV"),
    b"\xd0\xcf\x11\xe0": Sentence("an old Excel workbook: save the sheet as CSV"),
}
_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE + b"|" + codecs.BOM_UTF16_BE: "utf-16",
    # Every other byte of the Latin letters that start a table or JSON text is NUL.
    rb"([^\0]\0){2}": "utf-16-le",
    rb"(\0[^\0]){2}": "utf-16-be",
}
"""Pattern of how a file starts -> its encoding."""


class Unnamed(InputError):
    """The scores are understood, but their model or benchmark is not named; `key` is what `mapping` must supply."""

    def __init__(self, key: str, message: str, /, **parts: Any) -> None:
        super().__init__(message, **parts)
        self.key = key


@dataclass(frozen=True)
class ScoreInput:
    """A file to read scores from, and what the user stated about it."""

    name: str
    content: bytes = field(repr=False)
    mapping: Mapping[str, str]
    """Model names in the file -> names to store; under MODEL and BENCHMARK, what the file does not state."""

    @cached_property
    def path(self) -> list[str]:
        """The parts of the name: folders, and the file last."""
        return self.name.replace("\\", "/").rstrip("/").split("/")

    @cached_property
    def shown_name(self) -> str:
        """The last part of the name, as it can be printed."""
        return shorten(self.path[-1] or "file")

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def encoding(self) -> str:
        """The text encoding of the bytes. Raises InputError if they are not text."""
        for mark, kind in _NOT_TEXT.items():
            if self.content.startswith(mark):
                raise InputError("{file} is {kind}.", file=self.shown_name, kind=kind)
        known = [encoding for start, encoding in _ENCODINGS.items() if re.match(start, self.content)]
        candidates = known or ["utf-8", "cp932"]
        for encoding in candidates:
            if self._can_decode(encoding):
                return encoding
        if b"\0" in self.content and not known:
            raise InputError("{file} holds NUL bytes: it is no text, or was damaged on its way.", file=self.shown_name)
        raise InputError(
            "{file} cannot be read as {tried} text: save it as UTF-8.",
            file=self.shown_name,
            tried=[encoding.upper() for encoding in candidates],
        )

    def _can_decode(self, encoding: str) -> bool:
        try:
            return "\0" not in self.content.decode(encoding)
        except UnicodeDecodeError:
            return False

    @property
    def encoding_remarks(self) -> tuple[Remark, ...]:
        return () if self.encoding.startswith("utf-8") else (Remark("encoding", self.encoding.upper()),)

    def text(self) -> io.TextIOWrapper:
        """The text as a stream; line ends are kept."""
        return io.TextIOWrapper(io.BytesIO(self.content), encoding=self.encoding, newline="")

    @cached_property
    def first_line(self) -> str:
        """The first line that is not blank, up to MAX_LINE; empty if there is none."""
        with self.text() as text:
            return next((line for line in iter(lambda: text.readline(MAX_LINE), "") if line.strip()), "")

    def require_at_most(self, most: int, n: float, unit: Sentence) -> None:
        """Raises InputError for a file with more of something than is read."""
        if n > most:
            raise InputError(
                "{file} has {n:,} {unit}; up to {most:,} are read. Split it into smaller files.",
                file=self.shown_name,
                n=math.ceil(n),
                unit=unit,
                most=most,
            )


MAX_JSON = 64 * 2**20
"""Parsed JSON takes about ten times its size in memory, and must be held as a whole."""
_MAX_REMARKS = 20
"""Most duplicate keys that are reported; a hostile file with millions of them would fill the memory."""


@dataclass(frozen=True)
class DuplicateKey:
    """Replaces the value of a key that one object has twice with different values: neither is used."""

    key: str


def load(file: ScoreInput, remarks: list[Remark]) -> Any:
    """Parse the whole file. Raises InputError if it is too large, invalid or nested too deeply."""
    if len(file.content) > MAX_JSON:
        raise InputError(
            "{file} has {size} MB; {limit} are read. Leave out single answers (samples), or use JSON lines.",
            file=file.shown_name,
            size=len(file.content) // 2**20,
            limit=MAX_JSON // 2**20,
        )
    return parse(file.content.decode(file.encoding), file.shown_name, remarks)


def parse(text: str, source: str, remarks: list[Remark]) -> Any:
    """Like json.loads, with NaN and Infinity as Python writes them; error messages start with `source`."""
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, remarks))
    except json.JSONDecodeError as error:
        raise InputError(
            "{where} is incomplete JSON (line {line}, character {column}: {reason}). Copy it again.",
            where=source,
            line=error.lineno,
            column=error.colno,
            reason=error.msg,
        ) from error
    except (RecursionError, ValueError) as error:
        raise InputError("{where} is JSON nested too deep or with too long a number.", where=source) from error


def _object(pairs: list[tuple[str, Any]], remarks: list[Remark]) -> dict[str, Any]:
    """A JSON object; a key that it has twice with different values becomes a DuplicateKey."""
    unique = dict(pairs)
    if len(unique) == len(pairs):
        return unique
    merged: dict[str, Any] = {}
    for key, value in pairs:
        earlier = merged.setdefault(key, value)
        if earlier is not value and (type(earlier) is not type(value) or earlier != value):  # NaN is not NaN
            merged[key] = DuplicateKey(shorten(key))
            if len(remarks) < _MAX_REMARKS:
                remarks.append(Remark("key_twice", shorten(key)))
    return merged


def section(data: Any, key: str) -> dict[str, Any]:
    """The object under a key; empty if it is missing or not an object."""
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, dict) else {}
