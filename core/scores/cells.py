"""One value out of a file, made into what a column holds. What cannot be used is told, never guessed.

Required values raise `Skip`, which leaves the row out; optional ones become NULL and say so in `remarks`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime

from core.scores.parsed_score import Remark

MAX_NAME = 300
"""Characters of a name that is stored; hub names end at 96, local paths are longer."""
_SHOWN = 80
_MAX_WHOLE = 2**31 - 1
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,5})?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_NOT_FINITE = {"nan", "inf", "+inf", "-inf", "infinity", "-infinity", "+infinity"}
_BLANK = {"", "n/a", "na", "none", "null", "-", "–", "—"}
_BOOLEANS = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}
_DAY = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:$|[T ])", re.ASCII)
_FIRST_DAY = 946_684_800
"""1 January 2000 in Unix time: less is a clock that counts from the start of the machine."""
Cell = object
Remarks = list[Remark]


class Skip(Exception):
    """This value is left out, for a reason."""

    def __init__(self, code: str, detail: object = "") -> None:
        super().__init__(code)
        self.remark = Remark(code, shorten(detail))


def shorten(value: object) -> str:
    """Any value as one printable line of at most 80 characters."""
    text = value if isinstance(value, str) else _shown(value)
    shortened = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    if shortened.isprintable():
        return shortened
    return "".join("�" if _is_control(character) else character for character in shortened)


def _shown(value: object) -> str:
    """Of a container only its kind: its text may be megabytes, or nested deeper than `repr` goes."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value) if isinstance(value, float) else _whole_shown(value)
    return "" if value is None else str(value) if isinstance(value, bool) else type(value).__name__


def _whole_shown(value: int) -> str:
    return str(value) if abs(value) < 10**30 else "a number of more than 30 digits"


def _is_control(character: str) -> bool:
    """Control, format and private characters, half surrogates, line separators: nothing that a name needs."""
    return unicodedata.category(character) in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def is_blank(value: Cell) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in _BLANK)


def required_label(value: Cell, what: str) -> str:
    """A name that must be there. Raises Skip where it is missing, no text, too long or not printable."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Skip("name_missing", what)
    if not isinstance(value, str):
        raise Skip("name_is_no_text", f"{what}: {shorten(value)}")
    text = value.strip()
    if len(text) > MAX_NAME:
        raise Skip("name_too_long", text)
    if not text.isprintable() and any(map(_is_control, text)):
        raise Skip("name_with_control_characters", text)
    return text


def optional_label(value: Cell, what: str, remarks: Remarks) -> str | None:
    """A name that may be missing; numbers are taken as their digits."""
    if is_blank(value):
        return None
    try:
        return required_label(shorten(value) if _is_number(value) else value, what)
    except Skip as skip:
        remarks.append(Remark("left_out", f"{what}: {skip.remark.detail}"))
        return None


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: Cell, remarks: Remarks, decimal_comma: bool = False) -> float:
    """A finite number; text is read as a table has it. Raises Skip for all else."""
    if value is None:
        raise Skip("no_value")
    if isinstance(value, str):
        value = _number_in_text(value, remarks, decimal_comma)
    if not _is_number(value):
        raise Skip("not_a_number", value)
    try:
        found = float(value)  # type: ignore[arg-type]
    except OverflowError as error:
        raise Skip("not_finite", value) from error
    if not math.isfinite(found):
        raise Skip("not_finite", str(found))
    return found


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
    """A finite number that JSON gives as a number: text and truth values are none."""
    if is_blank(value):
        raise Skip("no_value", value)
    if isinstance(value, str):
        raise Skip("not_a_number", value)
    return number(value, [])


def std_error(value: Cell, remarks: Remarks, decimal_comma: bool = False) -> float | None:
    """NULL where it is blank, `N/A`, not finite or negative; the last three are told."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        found = number(value, remarks, decimal_comma)
    except Skip as skip:
        remarks.append(Remark("no_std_error", skip.remark.detail))
        return None
    if found < 0:
        remarks.append(Remark("no_std_error", shorten(value)))
        return None
    return found


def whole_number(value: Cell, what: str, remarks: Remarks) -> int | None:
    """A count from 0, also as text or as 5.0; NULL and told where it is anything else."""
    if is_blank(value):
        return None
    try:
        found = number(value, [])
    except Skip:
        found = -1.0
    if found < 0 or found > _MAX_WHOLE or found != int(found):
        remarks.append(Remark("left_out", f"{what}: {shorten(value)}"))
        return None
    return int(found)


def boolean(value: Cell, what: str, remarks: Remarks) -> bool | None:
    """True or false, also as words; NULL and told where it is anything else."""
    if is_blank(value):
        return None
    if isinstance(value, bool):
        return value
    found = _BOOLEANS.get(shorten(value).strip().lower())
    if found is None:
        remarks.append(Remark("left_out", f"{what}: {shorten(value)}"))
    return found


def day(value: Cell, remarks: Remarks) -> str | None:
    """`YYYY-MM-DD` of an ISO date, of 2024/6/1, or of Unix seconds; NULL and told where it is anything else."""
    if is_blank(value):
        return None
    found = _day_of_seconds(value) if _is_number(value) else _day_in_text(value)
    if found is None:
        remarks.append(Remark("left_out", f"date: {shorten(value)}"))
    return found


def _day_of_seconds(value: Cell) -> str | None:
    try:
        seconds = number(value, [])
        return datetime.fromtimestamp(seconds, UTC).date().isoformat() if seconds > _FIRST_DAY else None
    except (Skip, ValueError, OverflowError, OSError):
        return None


def _day_in_text(value: Cell) -> str | None:
    found = _DAY.match(value.strip()) if isinstance(value, str) and len(value) <= MAX_NAME else None
    if found is None:
        return None
    try:
        return datetime(*map(int, found.groups())).date().isoformat()  # type: ignore[arg-type]
    except ValueError:
        return None
