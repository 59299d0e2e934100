"""The slides and the HTML report of every case that the tests build, and of the warehouse, in both languages."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.conftest import run_core
from tests.deck.cases import CASES, deck_of, page_of
from tests.dump.files import of_file
from tests.dump.texts import LANGUAGES, Folder
from tests.screens import RUN_IDS

OF_THE_WAREHOUSE = {
    "warehouse_pilot": ("--pilot", "Tickets"),
    "warehouse_runs": tuple(word for run_id in RUN_IDS[:3] for word in ("--run", run_id)),
    "warehouse_appendix": ("--run", RUN_IDS[0], "--appendix"),
    "warehouse_plan": ("--plan", "0199-healed"),
}
NAMES = [*CASES, *OF_THE_WAREHOUSE]


def dump(folder: Folder, warehouse: Path, kind: str, names: Iterable[str] = NAMES) -> None:
    """`kind`: decks or reports."""
    ending = {"decks": "pptx", "reports": "html"}[kind]
    for name in names:
        for language in LANGUAGES:
            if name in CASES:
                content = (deck_of if kind == "decks" else page_of)(name, language)
            else:
                content = _made(warehouse, ending, "--language", language, *OF_THE_WAREHOUSE[name])
            folder.write(f"{kind}/{name}.{language}.txt", of_file(f"_.{ending}", content))


def _made(warehouse: Path, ending: str, *asked: str) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        out = Path(place, f"made.{ending}")
        done = run_core({"pptx": "slides", "html": "report"}[ending], "--out", str(out), *asked, warehouse=warehouse)
        return out.read_bytes() if done.returncode == 0 else done.stderr.encode()
