"""How a field of a request or of a protocol is declared: runs store both as JSON, and screens name their fields."""

from __future__ import annotations

import typing
from dataclasses import dataclass, fields
from functools import cache


@dataclass(frozen=True)
class Setting:
    """What is said of a field, in `Annotated[int, Setting(_("windows asked for"))]`."""

    screen: str
    """Name on screen: the English message of the catalogues."""
    section: str = ""
    """Section of the record of a run, where it is not the usual one of such fields."""
    unit: str = ""
    changes_values: bool = True
    """Whether another setting gives other values, so that runs must share it to be compared."""


@cache
def settings(record_class: type) -> dict[str, Setting]:
    """Field -> what is declared of it. The class is declared without postponed annotations."""
    return {f.name: typing.get_args(f.type)[1] for f in fields(record_class)}
