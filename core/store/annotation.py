"""Tags and note of a run: what people say of a measurement after it was made, kept beside it in its parcel.

`annotations.json` stands beside run.json and is no part of the hashes in it. Tags that Workdim itself gave a run stand
in run.json and nowhere else.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError, ResourceError
from core.files import read_json, write_through
from core.records import SHIPPED

FILE = "annotations.json"
OWN_TAGS = (SHIPPED,)
"""What Workdim says itself."""
LONGEST_TAG = 40
LONGEST_NOTE = 10_000
MOST_TAGS = 50
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control and direction marks, half a character, which no file can hold, and line ends."""
IMPORTED = "[imported]"
"""Stands before the note of another team, where a run has a note here already."""


@dataclass(frozen=True)
class Annotations:
    tags: tuple[str, ...] = ()
    """Those that people gave."""
    note: str | None = None

    def tagged(self, tag: str) -> Annotations:
        """With one tag more; raises InputError for one that cannot be."""
        tags = tuple(dict.fromkeys([*self.tags, checked_tag(tag)]))
        if len(tags) > MOST_TAGS:
            raise InputError(
                "A run has at most {most_tags} tags. `workdim runs untag` takes one away.", most_tags=MOST_TAGS
            )
        return Annotations(tags, self.note)

    def untagged(self, tag: str) -> Annotations:
        """With one tag less; raises InputError where it has no such tag."""
        tag = checked_tag(tag)
        if tag not in self.tags:
            raise InputError("The run has no tag '{tag}'. It has: {tags}.", tag=tag, tags=self.tags)
        return Annotations(tuple(other for other in self.tags if other != tag), self.note)

    def retagged(self, tags: Iterable[str]) -> Annotations:
        """With these tags in place of its own."""
        said = Annotations((), self.note)
        for tag in tags:
            said = said.tagged(tag)
        return said

    def noted(self, note: str) -> Annotations:
        """With this note; an empty one takes the note away."""
        return Annotations(self.tags, checked_note(note) or None)

    def merged(self, others: Annotations) -> Annotations:
        """Both together: the union of the tags, and the other note below ours, marked. Twice is as good as once."""
        note, theirs = self.note, others.note
        if theirs and not note:
            note = theirs
        elif theirs and note and theirs not in note:
            note = f"{note}\n{IMPORTED} {theirs}"[:LONGEST_NOTE]
        return Annotations(tuple(dict.fromkeys([*self.tags, *others.tags]))[:MOST_TAGS], note)


def checked_tag(text: str) -> str:
    """The tag without blanks around it; raises InputError where it is none."""
    tag = unicodedata.normalize("NFC", text).strip()
    if (
        not tag
        or len(tag) > LONGEST_TAG
        or "," in tag
        or any(unicodedata.category(letter) in _UNSEEN for letter in tag)
    ):
        raise InputError(
            "{text!r} is no tag: a tag has 1 to {longest_tag} characters, on one line and without a comma.",
            text=text[:60],
            longest_tag=LONGEST_TAG,
        )
    if tag.casefold() in OWN_TAGS:
        raise InputError(
            "The tag '{tag}' is Workdim's own: it marks the profiles that it ships. Choose another.", tag=tag
        )
    return tag


def checked_note(text: str) -> str:
    """The note without blanks around it; raises InputError for one that is too long or holds control characters."""
    note = text.replace("\r\n", "\n").strip()
    if len(note) > LONGEST_NOTE or any(unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t" for one in note):
        raise InputError(
            "A note has at most {longest_note:,} characters, and no control characters.", longest_note=LONGEST_NOTE
        )
    return note


def of_row(tags: Iterable[str], note: str | None) -> Annotations:
    """What people said, of the columns of `runs`."""
    return Annotations(tuple(tag for tag in tags if tag not in OWN_TAGS), note)


def as_tags(own: Iterable[str], said: Annotations) -> list[str]:
    """The column `runs.tags`: first what Workdim says itself, as the run's tags in `own` have it."""
    return [*(tag for tag in own if tag in OWN_TAGS), *said.tags]


def write(parcel: Path, said: Annotations) -> None:
    """Keep it in the parcel. Raises ResourceError where that cannot be written."""
    try:
        content = json.dumps({"tags": list(said.tags), "note": said.note}, indent=1, ensure_ascii=False)
        write_through(parcel / FILE, content.encode())
    except OSError as error:
        raise ResourceError(
            "{file} cannot be written: {reason}.", file=parcel / FILE, reason=error.strerror or error
        ) from error


def read(parcel: Path) -> Annotations | None:
    """What the parcel keeps; None where nobody said anything. Raises ValueError for a file that is none of ours."""
    try:
        found = read_json(parcel / FILE)
    except FileNotFoundError:
        return None
    tags, note = (found.get("tags"), found.get("note")) if isinstance(found, dict) else (None, None)
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags) or len(tags) > MOST_TAGS:
        raise ValueError(f"{FILE} does not hold a list of tags")
    if not (note is None or isinstance(note, str)):
        raise ValueError(f"{FILE} holds a note that is no text")
    try:
        return Annotations(tuple(dict.fromkeys(map(checked_tag, tags))), checked_note(note or "") or None)
    except InputError as error:
        raise ValueError(f"{FILE}: {error}") from error


def columns(parcel: Path, own: Iterable[str]) -> dict[str, Any] | None:
    """`tags` and `note` of the run as people have them since, `own` being the tags of run.json; None where nobody said
    anything. Raises ValueError as `read` does."""
    said = read(parcel)
    return None if said is None else {"tags": as_tags(own, said), "note": said.note}
