"""`python -m tests.ladder`: trains the family of small language models that Workdim compares with, a process for each run.

Runs that are finished are passed over, one that was stopped goes on from its last hundred steps, and one that another
process works at is left to it: start this command as often as there are processors to spare. Checkpoints lie in the
folder `--out`, each as a model of its own; logs, scores and answers in data/reference/ladder.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.ladder.recipes import all_runs

DATA = Path(__file__).resolve().parents[2] / "data"
OUT, LOGS, PARCELS = DATA / "local" / "ladder", DATA / "reference" / "ladder", DATA / "reference" / "profiles"
BUSY = 75
"""Exit code where another process is at the run."""


def main() -> int:
    options = parser().parse_args()
    if options.list:
        return _list(options.out, options.logs)
    if options.ship:
        from tests.ladder.shipping import ship

        ship(options.out, options.logs, LOGS)
        return 0
    give_way()
    if options.measure is not None:
        from tests.ladder.measuring import measure
        from tests.reference import unpack_all

        if options.parcels == PARCELS:
            unpack_all()  # `python -m tests.reference --pack` when all is measured
        measure(options.out, options.logs, options.parcels, options.measure, options.final)
        return 0
    if options.run and options.until is not None:
        from tests.ladder.run import remake

        remake(all_runs()[options.run], options.until, options.out, options.logs, _say)
        return 0
    if options.run:
        return _run(options.run, options.out, options.logs)
    return _run_all(options.out, options.logs)


def give_way() -> None:
    """Hours of computing leave the processors to everybody else."""
    if hasattr(os, "nice"):
        os.nice(19)
    if (
        hasattr(os, "getsid") and os.getsid(0) == os.getpid()
    ):  # else it is the session of a shell, and of all that it runs
        with suppress(OSError):  # Linux shares processors among sessions first: niceness counts within one only
            Path("/proc/self/autogroup").write_text("19", encoding="ascii")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.ladder", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="of the checkpoints")
    parser.add_argument("--logs", type=Path, default=LOGS, metavar="FOLDER", help="of logs and answers")
    parser.add_argument("--list", action="store_true", help="all runs, in their order, and how far they are")
    parser.add_argument("--run", metavar="NAME", choices=all_runs(), help="train this one, in this process")
    parser.add_argument(
        "--until", type=int, metavar="STEP", help="with --run: checkpoints of a finished run once more, up to this step"
    )
    parser.add_argument("--ship", action="store_true", help="write what Workdim ships of the finished runs")
    parser.add_argument("--measure", nargs="*", metavar="NAME", help="measure the finished runs, or these of them")
    parser.add_argument("--final", action="store_true", help="with --measure: final checkpoints only")
    parser.add_argument(
        "--parcels", type=Path, default=PARCELS, metavar="FOLDER", help="with --measure: where profiles go"
    )
    return parser


def _list(out: Path, logs: Path) -> int:
    from tests.ladder.run import states

    for name, state in states(out, logs).items():
        print(f"{state:9} {name}")
    return 0


def _run(name: str, out: Path, logs: Path) -> int:
    from tests.ladder.run import finish

    return 0 if finish(all_runs()[name], out, logs, _say) else BUSY


def _run_all(out: Path, logs: Path) -> int:
    """Each run in a process of its own, which ends with this one."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    failed = []
    for name in all_runs():
        command = [sys.executable, "-m", "tests.ladder", "--out", str(out), "--logs", str(logs), "--run", name]
        code = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False).returncode
        if code not in (0, BUSY):
            failed.append(name)
            _say(f"{name} failed with code {code}")
    return 1 if failed else 0


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
