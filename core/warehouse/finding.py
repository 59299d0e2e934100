"""What an integrity check says of a warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    line: str
    """What is wrong, and what to do about it."""
    is_damage: bool = True
    """Whether something is lost or wrong, or is only to be known."""


def some(names: Sequence[str], what: str) -> str:
    """`3 runs (a, b and 1 more)`: a finding of many stays one line."""
    shown = ", ".join(str(name) for name in names[:2])
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'} ({shown}{more})"
