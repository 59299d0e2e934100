"""Which files of core a measured job enters, from its request to its rows, and by which functions: `python -m tests.bench.entered`.

The job is that of a tiny model, measured once before, so that imports are not counted. A file that is entered for one
function which only passes things on is a place to look.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

from core.records import RunConfig
from core.registry.protocols import PROTOCOLS
from core.runs.execution import run_submitted
from core.runs.jobs import submit
from core.warehouse.warehouse import Warehouse
from tests.runs.small import SMALL
from tests.tiny import save_tiny_model

CORE = f"{Path(__file__).resolve().parents[2] / 'core'}/"


def entered(config: RunConfig, folder: Path) -> dict[str, Counter[str]]:
    """File of core -> functions by which others enter it, and how often, while a job is done."""
    found: dict[str, Counter[str]] = defaultdict(Counter)

    def count(frame: FrameType, event: str, _what: Any) -> None:
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(CORE):
            return
        caller = frame.f_back
        while caller and not caller.f_code.co_filename.startswith(CORE):
            caller = caller.f_back
        if caller is None or caller.f_code.co_filename != file:
            found[file.removeprefix(CORE)][frame.f_code.co_name] += 1

    for name in ("warm", "counted"):
        warehouse = Warehouse(folder / name / "w.duckdb")
        warehouse.prepare()
        job = submit(config, warehouse)
        sys.setprofile(count if name == "counted" else None)
        run_submitted(job, warehouse, lambda _step: None)
        sys.setprofile(None)
    return found


if __name__ == "__main__":
    PROTOCOLS[SMALL.name] = SMALL
    with tempfile.TemporaryDirectory() as place:
        model = save_tiny_model(Path(place) / "model", num_hidden_layers=3)
        files = entered(RunConfig(str(model), "english-business", SMALL.name, device="cpu"), Path(place))
    for file, functions in sorted(files.items()):
        print(f"{file}: {', '.join(name for name, _n in functions.most_common(6))}")
    print(f"{len(files)} files")
