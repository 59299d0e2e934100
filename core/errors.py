"""The errors that a person sees. One line each: what was asked, what is there, what to do.

WorkdimError                something went wrong that we can name (exit code 1)
  InputError                the request cannot be met as it stands (exit code 2)
    ModelError              a model that is missing, broken or refused
    CorpusError             a text that is missing, too short or wrongly encoded
    EstimateError           points that an estimator cannot work on
    ResourceError           no disk, no memory, no network
    WarehouseError          a warehouse file that cannot be used
      WarehouseLocked       another process holds it and did not let go in time
    QueryError              a typed SQL statement that was refused or failed

An error carries its message as a template with named parts: InputError("There is no {what} {file}.", what=..., file=...).
Read as a string it is English; who knows the reader's language words it there (core/locale: worded). A message that
counts has a second template, for any number but one: InputError("{n} row is ...", "{n} rows are ...", n=len(rows)).
"""

from __future__ import annotations

import difflib
import numbers
import string
from collections.abc import Callable, Iterable, Mapping
from gettext import NullTranslations
from typing import Any

from core.sources import Text, shown


def N_(words: Any) -> Any:
    """Mark a message, or all in a table, for the catalogues; they are worded later, by `translated`, where a reader is known."""
    return words


ENGLISH = NullTranslations()
"""The language that messages are written in."""

_MAX_FORMAT_LENGTH = 8
"""Letters of a format such as `,.2f`: one read from a file must not produce a line of any length."""


class Sentence(str):
    """A message that keeps its template and parts, so that it can be translated for whoever reads it later.

    As a string it is English. A part is a number, a text or name that is not translated, a list of such, or a Sentence,
    which is translated with the sentence around it. A template without parts is taken as it is.

    A sentence that counts has a `plural`: the template for any part `n` but 1. Other languages have forms of their own,
    as many as their catalogue says: Sentence("{n} run", "{n} runs", n=3).
    """

    template: str
    plural: str
    parts: Mapping[str, Any]

    def __new__(cls, template: str, plural: str = "", /, **parts: Any) -> Sentence:
        plain_parts = {name: _plain(part) for name, part in parts.items()}
        self = super().__new__(cls, _fill(str(template), plural, plain_parts, ENGLISH))
        self.template, self.plural, self.parts = str(template), plural, plain_parts
        return self

    def translated(self, catalogue: NullTranslations) -> str:
        """The sentence with every template in it translated by the catalogue."""
        return _fill(self.template, self.plural, self.parts, catalogue)

    def replaced(self, old: str, new: str) -> Sentence:
        """The sentence with `new` in place of `old` in every text that it is filled with: a place that is gone, say."""
        return self.with_texts(lambda text: text.replace(old, new))

    def with_texts(self, change: Callable[[str], str]) -> Sentence:
        """The sentence with every text that it is filled with changed."""
        return Sentence(self.template, self.plural, **{name: _changed(one, change) for name, one in self.parts.items()})


def _changed(part: Any, change: Callable[[str], str]) -> Any:
    if isinstance(part, Sentence):
        return part.with_texts(change)
    if isinstance(part, list):
        return [_changed(one, change) for one in part]
    return change(part) if isinstance(part, str) else part


def sentences(*parts: str) -> Sentence:
    """Join sentences with blanks; empty ones are left out."""
    non_empty = [one for one in parts if one]
    joined = non_empty[0] if non_empty else ""
    for one in non_empty[1:]:
        joined = Sentence("{first} {second}", first=joined, second=one)
    return joined if isinstance(joined, Sentence) else Sentence("{text}", text=joined)


def to_record(value: Any) -> Any:
    """A value as JSON for another process, from which `from_record` restores its Sentences."""
    if isinstance(value, Sentence):
        plural = {"plural": value.plural} if value.plural else {}
        return {"template": value.template, **plural, "parts": to_record(value.parts)}
    if isinstance(value, Mapping):
        return {name: to_record(one) for name, one in value.items()}
    return [to_record(one) for one in value] if isinstance(value, (list, tuple)) else value


def from_record(value: Any) -> Any:
    """The value that `to_record` wrote. A template whose parts are missing stays a plain text."""
    if isinstance(value, list):
        return [from_record(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    if value.keys() | {"plural"} != {"template", "plural", "parts"}:
        return {name: from_record(one) for name, one in value.items()}
    template, plural, parts = str(value["template"]), str(value.get("plural") or ""), value["parts"]
    try:
        for _, name, spec, _ in string.Formatter().parse(template + plural) if parts else ():
            if name is not None and (name not in parts or len(spec or "") > _MAX_FORMAT_LENGTH):
                return template
        if plural and not isinstance(parts["n"], int):
            return template
        return Sentence(template, plural, **{str(name): from_record(one) for name, one in parts.items()})
    except (ValueError, TypeError, AttributeError, LookupError):
        return template


def _fill(template: str, plural: str, parts: Mapping[str, Any], catalogue: NullTranslations) -> str:
    if plural:
        pattern = catalogue.ngettext(template, plural, parts["n"])
    else:
        pattern = catalogue.gettext(template) if template else ""
    return (
        Text(pattern).format(**{name: _translate_part(part, catalogue) for name, part in parts.items()})
        if parts
        else pattern
    )


def _translate_part(part: Any, catalogue: NullTranslations) -> Any:
    if isinstance(part, Sentence):
        return part.translated(catalogue)
    if isinstance(part, list):
        texts = [shown(_translate_part(one, catalogue)) for one in part]
        return Text(catalogue.gettext(", ")).join(texts) or catalogue.gettext("none")
    return part


def _plain(part: Any) -> Any:
    """A part as a type that JSON can hold."""
    if isinstance(part, (Sentence, Text, bool, int, float)):
        return part
    if isinstance(part, numbers.Integral):  # numpy's
        return int(part)
    if isinstance(part, numbers.Real):
        return float(part)
    if isinstance(part, WorkdimError):
        return part.message
    if isinstance(part, Iterable) and not isinstance(part, str):
        return [_plain(one) for one in part]
    return str(part)


class WorkdimError(Exception):
    """Base of all errors with a message made for people."""

    exit_code = 1
    message: Sentence

    def __init__(self, message: str = "", plural: str = "", /, **parts: Any) -> None:
        whole = message if isinstance(message, Sentence) and not parts else Sentence(message, plural, **parts)
        super().__init__(whole)
        self.message = whole

    def __str__(self) -> str:
        """The message, a Sentence: who stores the text of an error keeps its parts."""
        return self.message


class InputError(WorkdimError):
    exit_code = 2


class ModelError(InputError):
    pass


class CorpusError(InputError):
    pass


class EstimateError(InputError):
    pass


class ResourceError(InputError):
    pass


class WarehouseError(InputError):
    pass


class WarehouseLocked(WarehouseError):
    pass


class QueryError(InputError):
    pass


def missing(kind: str, asked: object, verb: str) -> Sentence:
    """The message for what is not there; `workdim {verb}` lists what is."""
    what = kind if isinstance(kind, Sentence) else Sentence(kind)
    return Sentence("There is no {kind} {asked}: see {command}.", kind=what, asked=asked, command=_command(verb))


def nothing_yet(verb: str) -> Sentence:
    """The message for an empty list; `workdim {verb}` makes its first entry."""
    return Sentence("None yet. Begin with {command}.", command=_command(verb))


def _command(verb: str) -> Sentence:
    """A Sentence, because a screen words commands as the places where it does the same."""
    written = f"`workdim {verb}`"
    return Sentence(written)


def unknown_name(kind: str, asked: str, available: Iterable[str]) -> Sentence:
    """The message for an unknown name: similar names first, then all of them.

    `kind` is what the name stands for, in words of the catalogues.
    """
    names = sorted(available)
    near = difflib.get_close_matches(asked, names, n=3, cutoff=0.5)
    what = kind if isinstance(kind, Sentence) else Sentence(kind)
    if near:
        return Sentence(
            "Unknown {kind} '{asked}'. Did you mean {near}? Available: {names}.",
            kind=what,
            asked=asked,
            near=near,
            names=names,
        )
    return Sentence("Unknown {kind} '{asked}'. Available: {names}.", kind=what, asked=asked, names=names)
