"""The content of a score file before any of it is stored: what each value would become, or why it is left out; the file as
it was given; and how its single values are read."""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from operator import attrgetter
from typing import Any, TypeGuard, TypeVar

from core.errors import InputError, Sentence
from core.registry.names import NOT_STATED
from core.tables import ScoreRow, ScoreSampleRow

_LOCAL = re.compile(r"[/~.\\]|[A-Za-z]:[\\/]|file:")


@dataclass(frozen=True)
class ParsedScore:
    """One value of the file, and the row it would become."""

    at: str
    """Its place in the file, for example `line 12` or `results / arc_easy / acc,none`."""
    model: str
    """The model as the file names it."""
    benchmark: str
    score: ScoreRow | None
    """The row as it would be stored; None if it is skipped."""
    skipped: Remark | None = None
    remarks: tuple[Remark, ...] = ()
    """What was mapped, converted or set to NULL."""

    @property
    def repository(self) -> str:
        """The model as it would be stored; of a skipped row, as the file names it."""
        return self.score.repository if self.score else self.model


@dataclass(frozen=True)
class ScoreFile:
    """One parsed file: `rows` holds scores, `samples` single answers."""

    name: str
    sha256: str
    format: str
    rows: tuple[ParsedScore, ...] = ()
    samples: tuple[ScoreSampleRow, ...] = ()
    remarks: tuple[Remark, ...] = ()
    """Remarks about the file as a whole."""


def directed(score: ScoreRow) -> str:
    """What has a better end: the metric; the benchmark where none is stated."""
    return score.benchmark if score.metric == NOT_STATED else score.metric


def metrics_without_direction(file: ScoreFile) -> tuple[str, ...]:
    """What is `directed` and neither the file nor the registry says which end is the better one."""
    unknown = (row.score for row in file.rows if row.score and row.score.higher_is_better is None)
    return tuple(dict.fromkeys(map(directed, unknown)))


def with_directions(file: ScoreFile, higher_is_better: Mapping[str, bool]) -> ScoreFile:
    """The file with what somebody said of those of unknown direction."""
    rows = tuple(
        replace(row, score=replace(row.score, higher_is_better=higher_is_better[directed(row.score)]))
        if row.score and row.score.higher_is_better is None and directed(row.score) in higher_is_better
        else row
        for row in file.rows
    )
    return replace(file, rows=rows)


def parse_row(at: str, model: Cell, benchmark: Cell, build: Callable[[Remarks], ScoreRow]) -> ParsedScore:
    """The row that `build` makes, or the reason why it made none."""
    remarks: Remarks = []
    score, skipped = None, None
    try:
        score = build(remarks)
    except Skip as skip:
        skipped = skip.remark
    return ParsedScore(at, shorten(model), shorten(benchmark), score, skipped, tuple(remarks))


def skipped_row(at: str, model: Cell, benchmark: Cell, remark: Remark | None) -> ParsedScore:
    """A skipped row for a place of the file that should hold a score and does not."""
    return ParsedScore(at, shorten(model), shorten(benchmark), None, remark)


def mapped_model(value: Cell, mapping: Mapping[str, str], remarks: Remarks) -> str:
    """The name to store a model under: the file's, unless the user gave another. Raises Skip if there is none."""
    name = required_label(value, "model")
    if name in mapping:
        remarks.append(Remark("renamed", name))
        return required_label(mapping[name], "model")
    if _LOCAL.match(name):
        remarks.append(Remark("local_path", shorten(name)))
    return name


def model_of_file(file: ScoreInput, name: Cell, remarks: Remarks) -> str:
    """The model of a file with one model; the user's name for it if the file's is unusable. Raises Unnamed."""
    try:
        return mapped_model(name, file.mapping, remarks)
    except Skip as skip:
        stated = file.mapping.get(MODEL)
        if stated is not None and stated != name:
            return model_of_file(file, stated, remarks)
        raise Unnamed(
            MODEL,
            "{file} names no model that can be stored ('{name}'): state which its scores are of.",
            file=file,
            name=shorten(name),
        ) from skip


def model_by_path(file: ScoreInput, named: str | None, remarks: Remarks) -> str:
    """The model that the user states, else the one that the file's path names. Raises Unnamed."""
    stated = file.mapping.get(MODEL)
    model = model_of_file(file, stated or named, remarks)
    if named is not None and stated is None:
        remarks.append(Remark("model_from_file_name", shorten(named)))
    return model


def normalize_dtype(value: Cell, remarks: Remarks) -> str | None:
    """`torch.bfloat16` -> bfloat16; `auto` becomes NULL."""
    dtype = optional_label(value, "dtype", remarks)
    return None if dtype is None or dtype == "auto" else dtype.removeprefix("torch.")


def join_flags(flags: Mapping[str, bool]) -> str:
    """The flags that are set, in the format of the `flags` column."""
    return ";".join(flag for flag, is_set in flags.items() if is_set)


MAX_VALUES = 200_000
"""Most values of one file: three times the largest public export (4,576 rows of 13), about 2 KB of memory each."""
_identity = attrgetter(
    *("repository", "revision", "benchmark", "metric", "filter", "n_shot", "suite", "dtype", "chat_template"),
    *("task_version", "source_row", "source"),
)
"""What a score measures and where it comes from: two values with the same identity are one score."""


def score_file(file: ScoreInput, format: str, rows: Iterable[ParsedScore], remarks: Iterable[Remark]) -> ScoreFile:
    """The file with its scores: repeated values are skipped, a different value of the same score is kept with a remark.

    Raises InputError for no value at all, and past MAX_VALUES.
    """
    first_by_identity: dict[tuple[object, ...], ParsedScore] = {}
    kept: list[ParsedScore] = []
    for row in rows:
        earlier = first_by_identity.setdefault(_identity(row.score), row) if row.score else row
        if earlier is not row and earlier.score and row.score:
            if earlier.score.value == row.score.value:
                row = replace(row, score=None, skipped=Remark("repeated", earlier.at))
            else:
                row = replace(row, remarks=(*row.remarks, Remark("differs_from", earlier.at)))
        kept.append(row)
        file.require_at_most(MAX_VALUES, len(kept), Sentence("values"))
    if not kept:
        raise InputError("{file} holds no scores.", file=file)
    return ScoreFile(file.shown_name, file.sha256, format, tuple(kept), (), tuple(remarks))


# --- a score file as input: its bytes, their encoding, and what the user stated about it -----------------------------

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

    def __str__(self) -> str:
        return self.shown_name

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def encoding(self) -> str:
        """The text encoding of the bytes. Raises InputError if they are not text."""
        for mark, kind in _NOT_TEXT.items():
            if self.content.startswith(mark):
                raise InputError("{file} is {kind}.", file=self, kind=kind)
        known = [encoding for start, encoding in _ENCODINGS.items() if re.match(start, self.content)]
        candidates = known or ["utf-8", "cp932"]
        for encoding in candidates:
            with suppress(UnicodeDecodeError):
                if "\0" not in self.content.decode(encoding):
                    return encoding
        raise InputError(
            "{file} cannot be read as {tried} text, or holds NUL bytes: save it as UTF-8.",
            file=self,
            tried=[encoding.upper() for encoding in candidates],
        )

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
                "{file} has {n:,} {unit}; up to {most:,} are read. Split it.",
                file=self,
                n=math.ceil(n),
                unit=unit,
                most=most,
            )


def unknown_format(file: ScoreInput) -> InputError:
    return InputError(
        "{file} is no score file that is known: of lm-evaluation-harness (0.3, 0.4), the Open LLM Leaderboard v2, "
        "evaluation results of the hub (.eval_results/*.yaml), or CSV after `workdim scores template`.",
        file=file,
    )


MAX_JSON = 64
"""Largest file that is one JSON text, in MiB. Parsed JSON takes about ten times its size in memory, and must be held as a whole."""
_MAX_REMARKS = 20
"""Most duplicate keys that are reported; a hostile file with millions of them would fill the memory."""


@dataclass(frozen=True)
class DuplicateKey:
    """Replaces the value of a key that one object has twice with different values: neither is used."""

    key: str


def load(file: ScoreInput, remarks: list[Remark]) -> Any:
    """Parse the whole file. Raises InputError if it is too large, invalid or nested too deeply."""
    size = math.ceil(len(file.content) / 2**20)
    if size > MAX_JSON:  # none that could be split
        raise InputError(
            "{file} has {size} MiB of JSON; up to {limit} are read. Leave out single answers (samples), or use JSON lines.",
            file=file,
            size=size,
            limit=MAX_JSON,
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


# --- one value of a file as what a column holds; unusable values are reported, never guessed -------------------------
#
# Required values raise `Skip`, which leaves the row out; optional ones become NULL with a remark in `remarks`.

MAX_NAME = 300
"""Longest name that is stored, in characters; hub names end at 96, local paths are longer."""
MAX_SHOWN = 80
_MAX_WHOLE = 2**31 - 1
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,5})?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_NOT_FINITE = {"nan", "inf", "+inf", "-inf", "infinity", "-infinity", "+infinity"}
_BLANK = {"", "n/a", "na", "none", "null", "-", "–", "—"}
_BOOLEANS = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}
_DAY = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:$|[T ])", re.ASCII)
_QUESTION_HASH = re.compile(r"[0-9A-Za-z_-]{8,128}")
_FIRST_DAY = 946_684_800
"""1 January 2000 in Unix time: a smaller number counts seconds since the machine started."""
Cell = object
T = TypeVar("T")


@dataclass(frozen=True)
class Remark:
    """Why something was left out or how it was changed: a code that `core.wording.scores` puts into words."""

    code: str
    detail: str = ""
    """A name or value from the file, cut to a readable length."""


Remarks = list[Remark]


class Skip(Exception):
    """Raised for a value that is left out; the code says why."""

    def __init__(self, code: str, detail: object = "") -> None:
        super().__init__(code)
        self.remark = Remark(code, shorten(detail))


def shorten(value: object) -> str:
    """Format any value as one printable line of at most 80 characters."""
    text = value if isinstance(value, str) else _format_value(value)
    shortened = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
    if shortened.isprintable():
        return shortened
    return "".join("�" if _is_control(character) else character for character in shortened)


def _format_value(value: object) -> str:
    """A value as text; only the type of a container, whose text may be megabytes or nested deeper than `repr` goes."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value) if isinstance(value, float) or abs(value) < 10**30 else "a number of more than 30 digits"
    return type(value).__name__


def _is_control(character: str) -> bool:
    """Whether it is a control, format or private character, a half surrogate or a line separator: no name needs these."""
    return unicodedata.category(character) in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def is_blank(value: Cell) -> bool:
    """Whether a cell holds nothing, or a text that stands for nothing such as `N/A`."""
    return value is None or (isinstance(value, str) and value.strip().lower() in _BLANK)


def required_label(value: Cell, name: str) -> str:
    """A name that must be present. Raises Skip if it is missing, not text, too long or not printable."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Skip("name_missing", name)
    if not isinstance(value, str):
        raise Skip("name_is_no_text", f"{name}: {shorten(value)}")
    text = value.strip()
    if len(text) > MAX_NAME:
        raise Skip("name_too_long", text)
    if not text.isprintable() and any(map(_is_control, text)):
        raise Skip("name_with_control_characters", text)
    return text


def is_question_hash(value: Cell) -> TypeGuard[str]:
    """Whether it can be the `doc_hash` by which the answers of two models are paired."""
    return isinstance(value, str) and _QUESTION_HASH.fullmatch(value) is not None


def _optional(value: Cell, name: str, remarks: Remarks, read: Callable[[Cell], T]) -> T | None:
    """What `read` makes of a value; NULL if it is blank, and with a remark if it cannot be read."""
    if is_blank(value):
        return None
    try:
        return read(value)
    except (Skip, ValueError, LookupError, OverflowError, OSError):
        remarks.append(Remark("left_out", f"{name}: {shorten(value)}"))
        return None


def optional_label(value: Cell, name: str, remarks: Remarks) -> str | None:
    """A name that may be missing; a number is taken as its digits."""
    return _optional(
        value, name, remarks, lambda cell: required_label(shorten(cell) if _is_number(cell) else cell, name)
    )


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: Cell, remarks: Remarks, decimal_comma: bool = False) -> float:
    """A finite number; text is read the way a table writes numbers. Raises Skip for everything else."""
    if value is None:
        raise Skip("no_value")
    if isinstance(value, str):
        value = _number_in_text(value, remarks, decimal_comma)
    if not _is_number(value):
        raise Skip("not_a_number", value)
    try:
        result = float(value)  # type: ignore[arg-type]
    except OverflowError as error:
        raise Skip("not_finite", value) from error
    if not math.isfinite(result):
        raise Skip("not_finite", str(result))
    return result


def _number_in_text(text: str, remarks: Remarks, decimal_comma: bool) -> float:
    stripped = text.strip() if len(text) <= MAX_NAME else text
    if is_blank(stripped):
        raise Skip("no_value", stripped)
    if stripped.lower() in _NOT_FINITE:
        raise Skip("not_finite", stripped)
    if decimal_comma and _DECIMAL_COMMA.fullmatch(stripped):
        remarks.append(Remark("decimal_comma", stripped))
        stripped = stripped.replace(",", ".")
    if not _NUMBER.fullmatch(stripped):
        raise Skip("not_a_number", text)
    return float(stripped)


def json_number(value: Cell) -> float:
    """A finite number that is a number in JSON; text and booleans raise Skip."""
    if is_blank(value):
        raise Skip("no_value", value)
    if isinstance(value, str):
        raise Skip("not_a_number", value)
    return number(value, [])


def std_error(value: Cell, remarks: Remarks, decimal_comma: bool = False) -> float | None:
    """A standard error. NULL if blank, `N/A`, not finite or negative; the last three leave a remark."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        error = number(value, remarks, decimal_comma)
    except Skip as skip:
        error, value = -1.0, skip.remark.detail
    if error < 0:
        remarks.append(Remark("no_std_error", shorten(value)))
        return None
    return error


def whole_number(value: Cell, name: str, remarks: Remarks) -> int | None:
    """A count from 0, also as text or as 5.0; anything else becomes NULL with a remark."""

    def read(cell: Cell) -> int:
        count = number(cell, [])
        if count % 1 or not 0 <= count <= _MAX_WHOLE:
            raise ValueError(count)
        return int(count)

    return _optional(value, name, remarks, read)


def boolean(value: Cell, name: str, remarks: Remarks) -> bool | None:
    """True or false, also as words; anything else becomes NULL with a remark."""
    return _optional(value, name, remarks, lambda cell: _BOOLEANS[shorten(cell).strip().lower()])


def day(value: Cell, remarks: Remarks) -> str | None:
    """`YYYY-MM-DD` from an ISO date, from 2024/6/1 or from Unix seconds; anything else becomes NULL with a remark."""
    return _optional(value, "date", remarks, _day)


def _day(value: Cell) -> str:
    if _is_number(value):
        seconds = number(value, [])
        if seconds <= _FIRST_DAY:
            raise ValueError(seconds)
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    match = _DAY.match(required_label(value, "date"))
    if match is None:
        raise ValueError(value)
    return date(*map(int, match.groups())).isoformat()
