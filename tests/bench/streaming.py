"""`python -m tests.bench.streaming`: a model of 1.5 GB measured within 900 MiB, beside the same without a limit.

Linux, as root: the limit is a memory control group, which kills what exceeds it. Both runs read the same text; their
estimates must agree within 1e-5, and the ratio of their forward passes is what reading block by block costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from core.warehouse import queries
from core.warehouse.warehouse import Warehouse
from tests.tiny import save_tiny_model

LIMIT = 900 * 2**20
BUDGET = "800MiB"
"""Less than the limit by what the process may take besides: libraries, and pages of files that it reads."""
SHAPE = dict(
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=18,
    num_attention_heads=16,
    num_key_value_heads=16,
    vocab_size=32_000,
)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = save_tiny_model(folder / "large", **SHAPE)
        size = sum(file.stat().st_size for file in model.glob("*.safetensors"))
        print(f"weights of {size / 1e9:.2f} GB")
        free = _measured(model, folder / "free" / "w.duckdb", [])
        with _limited() as group:
            held = _measured(model, folder / "held" / "w.duckdb", ["--memory-budget", BUDGET], group)
            peak = int((group / PEAK).read_text())
        for label, (run, _) in (("no limit", free), (f"{LIMIT / 2**20:.0f} MiB", held)):
            seconds = json.loads(run["phase_seconds"])
            print(
                f"{label}: forward pass {seconds['forward']:.1f} s, anonymous {run['peak_memory_bytes'] / 1e9:.2f} GB"
            )
        print(f"peak of the control group {peak / 2**20:.0f} MiB, files included")
        both = free[1].join(held[1], on=KEYS, suffix="_held", nulls_equal=True)
        deviation = ((pl.col("value_held") - pl.col("value")) / pl.col("value")).abs().max()
        print(f"{both.height} of {free[1].height} estimates, largest deviation {both.select(deviation).item():.1e}")


KEYS = ["layer", "state", "cloud", "estimator", "n1", "n2", "transform"]
GROUPS = Path("/sys/fs/cgroup/memory")
PEAK = "memory.max_usage_in_bytes"


def _measured(model: Path, file: Path, options: list[str], group: Path | None = None) -> tuple[dict, pl.DataFrame]:
    file.parent.mkdir()
    command = [sys.executable, "-m", "core", "measure", str(model), "--warehouse", str(file), *options]
    enter = (lambda: (group / "cgroup.procs").write_text(str(os.getpid()))) if group else None
    done = subprocess.run(command, preexec_fn=enter, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}: {done.stderr}")
    warehouse = Warehouse(file)
    run = queries.runs(warehouse).row(0, named=True)
    return run, queries.rows(warehouse, "layer_estimates", [run["run_id"]]).filter(
        pl.col("transform") != "gaussian_surrogate"
    )


@contextmanager
def _limited() -> Iterator[Path]:
    group = GROUPS / f"workdim-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
    except OSError as error:
        raise SystemExit(f"No memory control group can be made under {GROUPS}: {error}.") from error
    try:
        yield group
    finally:
        group.rmdir()


if __name__ == "__main__":
    main()
