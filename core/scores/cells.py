"""Convert one value of a file into what a column holds. Unusable values are reported, never guessed.

Required values raise `Skip`, which leaves the row out; optional ones become NULL with a remark in `remarks`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TypeGuard, TypeVar

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
    if isinstance(value, bool | float):
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**30 else "a number of more than 30 digits"
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
