"""`python -m tests.bench.preflight [--protocol NAME] [--controls] MODEL...`: what was told before, beside what it took.

Each model is estimated and then measured by a process of its own, with an empty warehouse, on one text. Printed are
ratios of estimated to measured, per phase, in all, and for the peak of memory. The estimates are those beside what the
machine did in the last minute: where that changes meanwhile, the ratio to processor time is the one to look at.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from core.warehouse import queries
from core.warehouse.warehouse import Warehouse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--corpus", default="english-business")
    parser.add_argument("--protocol", default="quick")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--memory-budget")
    parser.add_argument("--controls", action="store_true")
    options = parser.parse_args()
    asked = ["--text", options.corpus, "--protocol", options.protocol, "--dtype", options.dtype]
    asked += ["--memory-budget", options.memory_budget] if options.memory_budget else []
    asked += ["--controls"] if options.controls else []
    for model in options.models:
        compare(model, asked)


def compare(model: str, asked: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.duckdb"
        began = time.perf_counter()
        card = json.loads(_core(file, "measure", model, *asked, "--estimate-only", "--json"))[0]
        estimating = time.perf_counter() - began
        began, before = time.perf_counter(), os.times()
        _core(file, "measure", model, *asked)
        took, after = time.perf_counter() - began, os.times()
        runs = queries.runs(Warehouse(file)).sort("started_at")
    print(f"{model} {' '.join(asked)}")
    print(f"  in all: estimated {card['seconds']:.1f} s, {card['seconds'] / took:.2f} times what it took")
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"  {card['seconds'] / busy:.2f} times the processor time of it, {busy / took:.2f} processors busy with it")
    print(f"  the estimate took {estimating / took:.2f} times as long as measuring")
    for told, run in zip(card["passes"], runs.iter_rows(named=True), strict=True):
        _print_pass(told, run)


def _print_pass(told: dict[str, Any], run: dict[str, Any]) -> None:
    measured = json.loads(run["phase_seconds"])
    of_both = {name: value for name, value in measured.items() if name in told["seconds"]}
    phases = ", ".join(f"{name} {told['seconds'][name] / max(value, 0.01):.2f}" for name, value in of_both.items())
    memory = told["memory_bytes"] / run["peak_memory_bytes"]
    whole = sum(told["seconds"].values()) / (run["finished_at"] - run["started_at"]).total_seconds()
    peak = f"{run['peak_memory_bytes'] / 1e6:.0f} MB"
    print(f"  {told['name']}: time {whole:.2f} ({phases}), memory {memory:.2f} of {peak}")


def _core(file: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "core", *arguments],
        env=os.environ | {"WORKDIM_WAREHOUSE": str(file)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
