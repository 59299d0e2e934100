"""Check files that people write against a declared model (pydantic dataclasses).

A field is declared once, with its type, default and description; unknown keys are refused. Any error becomes an
InputError of one line that names the file, the key, the value and what is allowed there.
"""

from __future__ import annotations

import tomllib
import types
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin

from pydantic import ConfigDict, Field, Strict, StringConstraints, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from core.errors import InputError, Sentence, sentences, unknown_name
from core.files import not_utf8, read_whole

T = TypeVar("T")

MODEL_CONFIG = ConfigDict(extra="forbid", validate_default=False, validate_by_name=True)
"""Configuration of every declared model. A file has the alias of a field that has one; records have the field's name."""
Text = Annotated[
    str, Strict(), StringConstraints(strip_whitespace=True, min_length=1), Field(description=Sentence("a text"))
]
Whole = Annotated[int, Strict(), Field(ge=0, lt=2**63, description=Sentence("a whole number, 0 or more"))]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False, description=Sentence("a number"))]
PositiveNumber = Annotated[
    float, Strict(), Field(ge=0, allow_inf_nan=False, description=Sentence("a number, 0 or more"))
]
YesNo = Annotated[bool, Strict(), Field(description=Sentence("true or false"))]

_UNKNOWN_NAME = "unknown_name"
_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")


def read_toml(file: Path, what: str) -> dict[str, Any]:
    """The content of a TOML file; `what` names it in messages, for example "pilot file". Raises InputError."""
    return parse_toml(read_whole(file, what), file)


def parse_toml(written: bytes | str, file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(written if isinstance(written, str) else written.decode("utf-8-sig"))
        _require_whole_numbers_of_toml(content)
        return content
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError("{file} is no TOML: {error}.", file=file.name, error=error) from error
    except UnicodeDecodeError as error:
        raise not_utf8(file) from error
    except ValueError as error:
        raise InputError("{file} holds a whole number beyond 64 bits. Correct it.", file=file.name) from error


def _require_whole_numbers_of_toml(value: Any) -> None:
    """Raises ValueError for numbers beyond 64 bits, as Python does for those of thousands of digits: it could read the
    others, and not write all of them."""
    if isinstance(value, int) and value.bit_length() > 63:
        raise ValueError(value.bit_length())
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _require_whole_numbers_of_toml(part)


def validate(model: type[T], content: Any, place: Path | str, context: Any = None) -> T:
    """Validate the content of a file, or of one of its lines, as a declared model. Raises InputError for the first error.

    `place` starts the message; of a path only the file name is used. `context` is passed to the validators of the
    model: what is known of the place where the file was read.
    """
    named = place if isinstance(place, str) else place.name
    try:
        return TypeAdapter(model).validate_python(content, context=context, by_name=False)
    except ValidationError as error:
        first = min(error.errors(include_url=False), key=_weight)
        raise InputError(
            "{named}: {problem}",
            named=named,
            problem=_sentence(model, first).with_texts(lambda text: " ".join(text.split())),
        ) from error


def from_config(adapter: TypeAdapter[T], text: str) -> T:
    """Read what a column `config` holds of a declared model. Raises ValueError, in one line, for anything else."""
    try:
        return adapter.validate_json(text, by_alias=False, by_name=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = dotted(("config", *first["loc"]))
        raise ValueError(f"{place}: {' '.join(str(first['msg']).split())}") from error


def _weight(error: Any) -> tuple[bool, bool, int]:
    """Less for what an author mends first: a mistyped key, as it also makes another key missing; then what is nearest to the top
    of the file; a list that is too short last, as it may be so because one of its entries is wrong."""
    return error["type"] not in _UNKNOWN_KEY, error["type"] == "too_short", len(error["loc"])


def refuse_name(value: Any, allowed: Collection[str], more: str = "") -> NoReturn:
    """For validators: refuse a value that is not one of the names; `more` is an additional sentence."""
    raise PydanticCustomError(_UNKNOWN_NAME, "unknown", {"allowed": list(allowed), "more": more})


def _sentence(model: type, error: Any) -> Sentence:
    """Describe one error of pydantic in the terms of the file's author."""
    key, value, kind = dotted(error["loc"]), error["input"], error["type"]
    context = error.get("ctx", {})
    *above, last = error["loc"] or ("",)
    if kind == "value_error":  # raised by a validator of the model itself
        problem = context["error"].args[0] if context["error"].args else str(context["error"])
        whole = problem if str(problem).endswith(".") else Sentence("{problem}.", problem=problem)
        return Sentence("{key} {problem}", key=key, problem=whole) if key else Sentence("{problem}", problem=whole)
    if kind in _UNKNOWN_KEY:
        allowed = [dotted((*above, name)) for name, _field in _fields(_model_at(model, above))]
        return unknown_name(Sentence("key"), key, allowed)
    if kind == _UNKNOWN_NAME and isinstance(value, str):
        return sentences(unknown_name(Sentence("{key}", key=key), value, context["allowed"]), context["more"])
    field = dict(_fields(_model_at(model, above))).get(str(last)) or _entry_of(model, above)
    what = _described(model, field)
    if kind == _UNKNOWN_NAME:
        what = Sentence("one of {names}", names=context["allowed"])
    if kind in ("missing", "missing_argument"):
        return Sentence("{key} is missing; it must be {what}.", key=key, what=what)
    choices = _choices(field.annotation) if field else ()
    if choices and isinstance(value, str):
        return unknown_name(Sentence("{key}", key=key), value, choices)
    if not key:
        return Sentence("must be {what}, not {value}.", what=what, value=format_value(value))
    return Sentence("{key} must be {what}, not {value}.", key=key, what=what, value=format_value(value))


def dotted(location: Sequence[str | int]) -> str:
    """Format a location, for example `models[1].score.value`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _fields(model: Any) -> Iterator[tuple[str, FieldInfo]]:
    """The keys of a declared model, named as in the file. Excluded fields are computed, never written."""
    for name, field in getattr(model, "__pydantic_fields__", {}).items():
        if not field.exclude:
            yield str(field.validation_alias or name), field


def _model_at(model: Any, location: Sequence[str | int]) -> Any:
    """The declared model of the table at this location of the file."""
    for part in location:
        if isinstance(part, str) and (field := dict(_fields(model)).get(part)):
            model = _model_of(field)
    return model


def _entry_of(model: Any, location: Sequence[str | int]) -> FieldInfo | None:
    """The field of the plain values in the table or list at this location; None if there are no plain values."""
    if not location:
        return None
    field = dict(_fields(_model_at(model, location[:-1]))).get(str(location[-1]))
    if field is None or get_origin(field.annotation) not in (dict, list, tuple) or _model_of(field):
        return None
    return FieldInfo.from_annotation(get_args(field.annotation)[get_origin(field.annotation) is dict])


def _model_of(field: FieldInfo) -> Any:
    """The declared model that a field holds, alone, in a list or by name; None if it holds plain values."""
    return next((kind for kind in _leaves(field.annotation) if hasattr(kind, "__pydantic_fields__")), None)


def _leaves(annotation: Any) -> Iterator[Any]:
    """The types that make up an annotation."""
    inner = [] if get_origin(annotation) is Literal else get_args(annotation)
    if not inner:
        yield annotation
    for one in inner:
        yield from _leaves(one)


def _choices(annotation: Any) -> tuple[str, ...]:
    return next((get_args(kind) for kind in _leaves(annotation) if get_origin(kind) is Literal), ())


def _described(model: Any, field: FieldInfo | None) -> Sentence:
    """Describe the values that a field accepts."""
    if field is None:  # the file itself, or an entry of a list
        return Sentence("a table with {names}", names=[name for name, _ in _fields(model)])
    described = [field.description, *_descriptions(field.annotation)]
    if found := next(filter(None, described), None):
        return found if isinstance(found, Sentence) else Sentence(found)
    if choices := _choices(field.annotation):
        return Sentence("one of {names}", names=choices)
    return Sentence("a table with {names}", names=[name for name, _ in _fields(_model_of(field))])


def _descriptions(annotation: Any) -> Iterator[str | None]:
    """Those of the `Annotated` types in an optional field; pydantic does not lift them to the field."""
    if get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _descriptions(one)
    elif get_origin(annotation) is Annotated:
        yield from (one.description for one in get_args(annotation)[1:] if isinstance(one, FieldInfo))


def format_value(value: Any) -> str:
    """Format a value so that the file's author recognises it."""
    if value is None:
        return Sentence("nothing")
    if isinstance(value, dict):
        return Sentence("a table")
    return Sentence("a list") if isinstance(value, (list, tuple)) else repr(value)
