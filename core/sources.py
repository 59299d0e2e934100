"""Numbers that know where they come from, and texts that keep it: a sentence says of each of its numbers which row it is of.

A number gets its `Source` where it is read (`core/tables/sourced.py`) or computed (`stamped`). Writing it into a message with
`Text.format` keeps its place in the text; so do joining, cutting and trimming. An f-string forgets it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from string import Formatter
from typing import Any, SupportsIndex

STATED = "stated"
"""What stands for the table of a number that no table holds: one of a definition."""


@dataclass(frozen=True)
class Source:
    """Where a number comes from."""

    table: str
    """Or the question whose answer it is of, or STATED."""
    column: str
    """Or the field of that answer, or the name of a constant."""
    key: tuple[tuple[str, Any], ...] = ()
    """Columns that find the row that it was read from, with their values."""


def _both_ways(operate: Callable[[Any, Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An operator with the sourced number on its left, and on its right."""

    def on_the_left(self: _Sourced, other: Any) -> Any:
        return _combined(self, other, operate(_plain(self), _plain(other)))

    def on_the_right(self: _Sourced, other: Any) -> Any:
        return _combined(self, other, operate(_plain(other), _plain(self)))

    return on_the_left, on_the_right


class _Sourced:
    """What numbers with a source share: a change of unit keeps the source, a sum of two is derived from both."""

    source: Source | None

    def __new__(cls, value: float, source: Source | None = None) -> Any:
        self = super().__new__(cls, value)  # type: ignore[call-arg]
        self.source = source
        return self

    __add__, __radd__ = _both_ways(operator.add)
    __sub__, __rsub__ = _both_ways(operator.sub)
    __mul__, __rmul__ = _both_ways(operator.mul)
    __truediv__, __rtruediv__ = _both_ways(operator.truediv)

    def __neg__(self) -> Any:
        return sourced(-_plain(self), self.source)

    def __abs__(self) -> Any:
        return sourced(abs(_plain(self)), self.source)

    def __round__(self, digits: int | None = None) -> Any:
        return sourced(round(_plain(self), digits), self.source)

    def __str__(self) -> str:
        return shown(self)


class Number(_Sourced, float):  # type: ignore[misc]
    """A number with its source; anywhere else it is a float."""


class Count(_Sourced, int):  # type: ignore[misc]
    """A whole number with its source; anywhere else it is an int."""


def _plain(value: Any) -> Any:
    if not isinstance(value, (Number, Count)):
        return value
    return int(value) if isinstance(value, Count) else float(value)


def sourced(value: Any, source: Source | None) -> Any:
    """The number with its source; what is no number stays as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return Count(int(value), source) if isinstance(value, int) else Number(float(value), source)


def _combined(one: _Sourced, other: Any, value: Any) -> Any:
    """The value of an arithmetic of two; NotImplemented (of an array, a series) and the like pass."""
    if not isinstance(other, (int, float)):
        return value
    beside = getattr(other, "source", None)
    if one.source is None or beside is None or beside == one.source:
        return sourced(value, one.source or beside)
    table, column = (
        first if first == second else f"{first}, {second}"
        for first, second in ((one.source.table, beside.table), (one.source.column, beside.column))
    )
    return sourced(value, Source(table, column))


def derived(value: Any, question: str, field: str) -> Any:
    """A number that a function computed: `question` names it, `field` the number of its answer."""
    return sourced(value, Source(question, field))


def counted(n: int, things: str) -> Any:
    """How many there are of something: rows of a table, answers to a question."""
    return derived(n, things, "count")


def stated(value: Any, name: str) -> Any:
    """A number of a definition, a threshold: the constant `name`."""
    return sourced(value, Source(STATED, name))


def stamped(record: Any, question: str) -> Any:
    """A finished answer whose numbers are derived numbers, each with the path of its field; those with a source keep it.

    Frames within it stay as they are: their rows get their sources where they are read.
    """
    return changed(record, lambda value, path: value if isinstance(value, _Sourced) else derived(value, question, path))


def changed(value: Any, change: Callable[[Any, str], Any], path: str = "") -> Any:
    """The record with `change` of each of its values, given with the path of its field."""
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(changed(one, change, path) for one in value)
    if isinstance(value, dict):
        return {name: changed(one, change, f"{path}[{name}]") for name, one in value.items()}
    if not is_dataclass(value) or isinstance(value, type):
        return change(value, path)
    name = getattr(value, "run_id", None)
    own = f"{path}[{name}]." if name and path else path and f"{path}."
    before = {field.name: getattr(value, field.name) for field in fields(value) if hasattr(value, field.name)}
    after = {name: changed(one, change, own + name) for name, one in before.items()}
    if all(after[name] is before[name] for name in before):
        return value
    made = object.__new__(type(value))  # a row of a narrow read has not all fields, which `replace` asks for
    vars(made).update(after)
    return made


# --- texts -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stretch:
    """A part of a text that is a number."""

    start: int
    end: int
    value: float
    source: Source | None
    """None: nobody said where this number comes from."""

    def moved(self, by: int) -> Stretch:
        return Stretch(self.start + by, self.end + by, self.value, self.source)


class Text(str):
    """A text that knows which stretches of it are numbers, and where they come from. Anywhere else it is a str."""

    stretches: tuple[Stretch, ...]

    def __new__(cls, text: str = "", stretches: Iterable[Stretch] | None = None) -> Text:
        self = super().__new__(cls, text)
        self.stretches = tuple(getattr(text, "stretches", ()) if stretches is None else stretches)
        return self

    def __str__(self) -> str:
        return self

    def __getnewargs__(self) -> tuple[str, tuple[Stretch, ...]]:  # type: ignore[override]
        return str.__str__(self), self.stretches

    def format(self, /, *parts: Any, **named: Any) -> Text:
        written, n_unnamed = [], 0
        for literal, name, form, conversion in _FORMATTER.parse(self):
            written.append(literal)
            if name is None:
                continue
            if not name:
                name, n_unnamed = str(n_unnamed), n_unnamed + 1
            value = named[name] if name in named else _FORMATTER.get_field(name, parts, named)[0]
            written.append(shown(_FORMATTER.convert_field(value, conversion), form or ""))
        return joined("", written)

    def __add__(self, other: str) -> Text:
        return joined("", (self, other))

    def __radd__(self, other: str) -> Text:
        return joined("", (other, self))

    def join(self, parts: Iterable[str]) -> Text:
        return joined(self, parts)

    def __getitem__(self, at: SupportsIndex | slice) -> Text:
        cut = super().__getitem__(at)
        start, end, step = at.indices(len(self)) if isinstance(at, slice) else (int(at), int(at) + 1, 1)
        if not self.stretches or step != 1:
            return Text(cut, ())
        return Text(cut, (one.moved(-start) for one in self.stretches if start <= one.start and one.end <= end))

    def rstrip(self, letters: str | None = None) -> Text:
        return self[: len(super().rstrip(letters))]

    def replace(self, old: str, new: str) -> Text:  # type: ignore[override]
        return self.substituted(re.escape(old), lambda _found: new)

    def substituted(self, pattern: str | re.Pattern[str], change: Callable[[re.Match[str]], str]) -> Text:
        """What `re.sub` gives; numbers outside the matches keep their sources."""
        parts, end = [], 0
        for found in re.finditer(pattern, self):
            parts += [self[end : found.start()], change(found)]
            end = found.end()
        return joined("", (*parts, self[end:])) if parts else self


_FORMATTER = Formatter()


def shown(value: Any, form: str = "") -> Text:
    """A value as `format` writes it; of a number all of that is its stretch."""
    if isinstance(value, str):
        return Text(value if not form else format(str.__str__(value), form), None if not form else ())
    written = format(_plain(value), form)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Text(written, (Stretch(0, len(written), float(value), getattr(value, "source", None)),))
    return Text(written, ())


def joined(between: str, parts: Iterable[str]) -> Text:
    """The texts with `between` between them."""
    texts = list(parts)
    if between:
        texts = [piece for part in texts for piece in (between, part)][1:]
    stretches: list[Stretch] = []
    length = 0
    for text in texts:
        if isinstance(text, Text) and text.stretches:
            stretches += (one.moved(length) for one in text.stretches)
        length += len(text)
    return Text("".join(texts), stretches)
