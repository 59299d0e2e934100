"""`python -m tests.dump --out FOLDER`: what every verb, page, deck and report says, as text files; then `diff -r` of two folders.

`--words FOLDER` counts the words of such a folder instead: per page, deck, report and verb, in each language.
"""

from __future__ import annotations

import argparse
import atexit
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from core.texts.windows import word_spans
from core.warehouse import reference
from core.warehouse.warehouse import Warehouse
from tests.dump import decks, pages, verbs
from tests.dump.texts import LANGUAGES, Folder
from tests.screens import worked_with

_NAME = re.compile("^«[^»]*» ")
_VALUE = re.compile(r"^«(?:\w+ )?(?:options|raw_values?|default|value|disabled|query_string|chart .*)» ")
PARTS = ("verbs", "pages", "decks", "reports")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.dump", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--of", nargs="*", metavar="NAME", help="of these verbs, pages or cases alone")
    parser.add_argument("--warehouse", type=Path, metavar="FILE", help="one of your own instead of the fixed one")
    parser.add_argument("--words", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.words:
        print(*counted(options.words), sep="\n")
    elif options.out:
        dump(options.out, options.warehouse or fixed_warehouse(), options.only, options.of)
    else:
        parser.error("--out or --words")


def fixed_warehouse() -> Path:
    """Made-up profiles, a pilot, plans and a file of every kind that people write, beside all that ships."""
    folder = Path(tempfile.mkdtemp(prefix="dumped-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = worked_with(folder)
    reference.add_profiles(Warehouse(path), lambda _line: None)
    return path


def dump(out: Path, warehouse: Path, parts: list[str], names: list[str] | None = None) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    identity = Warehouse(warehouse).folder.identity()
    folder = Folder(out, [warehouse.parent, Path(tempfile.gettempdir())], identity)
    for part in parts:
        shutil.rmtree(out / part, ignore_errors=True)
    if "pages" in parts:
        pages.dump(folder, warehouse, names or pages.NAMES)
    for kind in ("decks", "reports"):
        if kind in parts:
            decks.dump(folder, warehouse, kind, names or decks.NAMES)
    if "verbs" in parts:
        verbs.dump(folder, warehouse, names)


def counted(folder: Path) -> list[str]:
    """Words as Unicode counts them, but numbers, each line of a file once: what is to be read there in all."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for path in sorted(folder.rglob("*.txt")):
        name, language = path.relative_to(folder).with_suffix("").as_posix().rsplit(".", 1)
        text = "\n".join(dict.fromkeys(_read(path.read_text(encoding="utf-8"))))
        counts[name][language] = sum(any(map(str.isalpha, text[start:stop])) for start, stop in word_spans(text))
    rows = [(name, *(of.get(language, 0) for language in LANGUAGES)) for name, of in counts.items()]
    for part in PARTS:
        of_part = [one for one in rows if one[0].startswith(part)]
        rows.append((f"all {part}", sum(en for _name, en, _ja in of_part), sum(ja for _name, _en, ja in of_part)))
    width = max(len(name) for name, *_ in rows)
    return [
        f"{'words of':<{width}}  {'en':>7}  {'ja':>7}",
        *(f"{name:<{width}}  {en:>7,}  {ja:>7,}" for name, en, ja in rows),
    ]


def _read(text: str) -> Iterator[str]:
    """The lines that a reader has before them: not what was asked, what is made on a click, and values chosen or drawn."""
    is_file = False
    for line in text.splitlines():
        is_file = line.startswith("--- ") or (is_file and not line.startswith(("# ", "$ ")))
        if not is_file and not line.startswith(("# ", "$ ")) and not _VALUE.match(line):
            yield _NAME.sub("", line)


if __name__ == "__main__":
    main()
