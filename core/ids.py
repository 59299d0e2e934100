"""Ids as people type and read them, the beginning or the ending of one standing for the whole; and names that they type."""

from __future__ import annotations

from collections.abc import Iterable

from core.errors import InputError, missing

SHORT_ID = 18
"""Characters of an id that separate a run from its controls, which start with the same time: 13 would be the time alone."""
SHORTEST_ENDING = 4
"""Characters that the ending of an id must have where it stands for the whole."""
MAX_NAME = 80
"""Characters of the name of a rule, a query or a report."""


def matching_ids(ids: Iterable[str], text: str) -> list[str]:
    """The id that is `text`, else all that begin or end so: the terminal prints beginnings, screens and slides endings."""
    text, known = text.strip().strip("…"), list(ids)
    if text in known:
        return [text]
    is_ending = len(text) >= SHORTEST_ENDING
    return [one for one in known if text and (one.startswith(text) or (is_ending and one.endswith(text)))]


def only_id(ids: Iterable[str], text: str, kind: str, verb: str) -> str:
    """The only id that is `text`, or begins or ends so. Raises InputError; `workdim {verb}` lists what has these ids."""
    matches = matching_ids(ids, text)
    if len(matches) > 1:
        raise InputError("Several begin or end with '{asked}': {found}. Type more.", asked=text, found=matches[:3])
    if not matches:
        raise InputError(missing(kind, text[:80], verb))
    return matches[0]


def typed_name(text: str) -> str:
    """The name without blanks around it. Raises InputError for an invalid one."""
    name = text.strip()
    if not name or len(name) > MAX_NAME or not name.replace("\u3000", " ").isprintable():  # the Japanese blank
        raise InputError("A name has 1 to {most} visible characters on one line.", most=MAX_NAME)
    return name
