"""Tags and note of a run, which people change after it was measured.

They are stored in the parcel, in `annotations.json`, which the hashes in run.json do not cover. Tags that Workdim itself
gives a run stand in run.json only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.files import read_json, write_json
from core.records import SHIPPED

FILE = "annotations.json"
RESERVED_TAGS = (SHIPPED,)
"""Tags that only Workdim gives."""
MAX_TAG_LENGTH = 40
MAX_NOTE_LENGTH = 10_000
MAX_TAGS = 50
_FORBIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories a tag may not contain: control and direction marks, lone surrogates, line ends."""
IMPORTED_PREFIX = "[imported]"
"""Precedes an imported note if the run has a note here already."""


@dataclass(frozen=True)
class Annotations:
    tags: tuple[str, ...] = ()
    """Given by people; Workdim's own are not in it."""
    note: str | None = None

    def with_tag(self, tag: str) -> Annotations:
        """A copy with one more tag; raises InputError for an invalid one."""
        tags = tuple(dict.fromkeys([*self.tags, normalize_tag(tag)]))
        if len(tags) > MAX_TAGS:
            raise InputError(
                "A run has at most {most_tags} tags. `workdim runs untag` takes one away.", most_tags=MAX_TAGS
            )
        return Annotations(tags, self.note)

    def without_tag(self, tag: str) -> Annotations:
        """A copy without this tag; raises InputError if it has no such tag."""
        tag = normalize_tag(tag)
        if tag not in self.tags:
            raise InputError("The run has no tag '{tag}'. It has: {tags}.", tag=tag, tags=self.tags)
        return Annotations(tuple(other for other in self.tags if other != tag), self.note)

    def with_tags(self, tags: Iterable[str]) -> Annotations:
        """A copy with these tags instead."""
        annotations = Annotations((), self.note)
        for tag in tags:
            annotations = annotations.with_tag(tag)
        return annotations

    def with_note(self, note: str) -> Annotations:
        """A copy with this note; an empty one removes it."""
        return Annotations(self.tags, normalize_note(note) or None)

    def merged_with(self, others: Annotations) -> Annotations:
        """The union of the tags, and the other note below this one, marked as imported. Idempotent."""
        note, theirs = self.note, others.note
        if theirs and not note:
            note = theirs
        elif theirs and note and theirs not in note:
            note = f"{note}\n{IMPORTED_PREFIX} {theirs}"[:MAX_NOTE_LENGTH]
        return Annotations(tuple(dict.fromkeys([*self.tags, *others.tags]))[:MAX_TAGS], note)


def normalize_tag(text: str) -> str:
    """The tag in NFC, without blanks around it; raises InputError for an invalid one."""
    tag = unicodedata.normalize("NFC", text).strip()
    if (
        not tag
        or len(tag) > MAX_TAG_LENGTH
        or "," in tag
        or any(unicodedata.category(letter) in _FORBIDDEN_CATEGORIES for letter in tag)
    ):
        raise InputError(
            "{text!r} is no tag: 1 to {longest_tag} characters on one line, no comma.",
            text=text[:60],
            longest_tag=MAX_TAG_LENGTH,
        )
    if tag.casefold() in RESERVED_TAGS:
        raise InputError("The tag '{tag}' marks Workdim's own profiles. Choose another.", tag=tag)
    return tag


def normalize_note(text: str) -> str:
    """The note without blanks around it; raises InputError if it is too long or has control characters."""
    note = text.replace("\r\n", "\n").strip()
    if len(note) > MAX_NOTE_LENGTH or any(
        unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t" for one in note
    ):
        raise InputError(
            "A note has at most {longest_note:,} characters, and no control characters.", longest_note=MAX_NOTE_LENGTH
        )
    return note


def from_row(tags: Iterable[str], note: str | None) -> Annotations:
    """From the columns of `runs`."""
    return Annotations(tuple(tag for tag in tags if tag not in RESERVED_TAGS), note)


def write(parcel: Path, annotations: Annotations) -> None:
    """Write them into the parcel. Raises ResourceError if that fails."""
    write_json(parcel / FILE, {"tags": list(annotations.tags), "note": annotations.note})


def read(parcel: Path) -> Annotations | None:
    """The parcel's annotations; None if it has none. Raises ValueError for an invalid file."""
    try:
        content = read_json(parcel / FILE)
    except FileNotFoundError:
        return None
    tags, note = (content.get("tags"), content.get("note")) if isinstance(content, dict) else (None, None)
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags) or len(tags) > MAX_TAGS:
        raise ValueError(f"{FILE} does not hold a list of tags")
    if not (note is None or isinstance(note, str)):
        raise ValueError(f"{FILE} holds a note that is no text")
    try:
        return Annotations(tuple(dict.fromkeys(map(normalize_tag, tags))), normalize_note(note or "") or None)
    except InputError as error:
        raise ValueError(f"{FILE}: {error}") from error


def read_columns(parcel: Path, run_tags: Iterable[str]) -> dict[str, Any] | None:
    """The current columns `tags` and `note` of a run; None if the parcel has no annotations.

    `run_tags` are the tags in run.json. Raises ValueError as `read` does.
    """
    annotations = read(parcel)
    if annotations is None:
        return None
    reserved = [tag for tag in run_tags if tag in RESERVED_TAGS]
    return {"tags": [*reserved, *annotations.tags], "note": annotations.note}
