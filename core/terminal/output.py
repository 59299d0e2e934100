"""The one way to the terminal: names that others wrote cannot move its cursor, colour it, or pretend to be a line of ours.

`say` prints lines, a line break within one spelled out. `guarded` puts the same filter before all else that a verb
writes, to standard output and standard error, libraries included.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from core.locale import LANGUAGES, worded

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What would move the cursor, colour the terminal, or turn the direction of a line round; not line break and tab."""


def spell(text: str) -> str:
    """Control characters spelled out, in a way that leaves JSON what it is: those below a space it never holds."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}" if found[0] < " " else f"\\u{ord(found[0]):04x}", text)


def language() -> str:
    """What the variable WORKDIM_LANGUAGE says, English where it says nothing that is known."""
    asked = os.environ.get("WORKDIM_LANGUAGE", "")
    return asked if asked in LANGUAGES else "en"


def one_line(text: str) -> str:
    """The message of an error comes out in the reader's language."""
    return spell(worded(text, language())).replace("\n", "\\n").replace("\t", "\\t")


def say(*lines: str) -> None:
    print("\n".join(map(one_line, lines)), flush=True)


def say_json(content: Any) -> None:
    print(json.dumps(content, default=str, ensure_ascii=False, indent=1), flush=True)


class _Guard:
    """A stream whose text is spelled; in all else it is the stream itself."""

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        self.unguarded.write(spell(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


@contextmanager
def guarded() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    for stream in before:  # a Windows console may default to a code page without our signs
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.stdout, sys.stderr = _Guard(sys.stdout), _Guard(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def progress_stream() -> TextIO:
    """Standard error as bars need it, which move the cursor themselves: what they name goes through `one_line`."""
    return getattr(sys.stderr, "unguarded", sys.stderr)
