"""An answer as a record for scripts: each key of the JSON is declared once, with the field of the answer that it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any


@dataclass(frozen=True)
class Rows:
    """The field at `path` as records with these keys: a list of them for several, null where there is none."""

    path: str
    fields: Fields


Fields = Mapping[str, "str | Rows"]
"""Key -> path of the field, `relation.rho`; null where a part of the path is None."""


def same(*names: str, of: str = "") -> dict[str, str]:
    """Fields whose keys are their names; `of` is the path of the record that they stand in."""
    return {name: f"{of}.{name}" if of else name for name in names}


def as_record(answer: Any, fields: Fields) -> dict[str, Any]:
    """The declared fields of an answer, records within it as objects."""
    return {key: _plain(_at(answer, field)) for key, field in fields.items()}


def _at(answer: Any, field: str | Rows) -> Any:
    found = answer
    for name in (field if isinstance(field, str) else field.path).split("."):
        if found is None:
            return None
        found = found.get(name) if isinstance(found, Mapping) else getattr(found, name)
    if isinstance(field, str) or found is None:
        return found
    if isinstance(found, (list, tuple)):
        return [as_record(row, field.fields) for row in found]
    return as_record(found, field.fields)


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
