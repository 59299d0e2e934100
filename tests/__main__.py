"""`python -m tests`: linter, formatter, types and all tests. With `--quick` those that take two minutes in all.

Tests run in two workers, and types are checked beside them. Those marked `alone` measure how long people wait, and run
after all others in one process.
All further arguments go to pytest: `python -m tests tests/geometry -k spectrum`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
CHECKS = (("ruff", "check", "."), ("ruff", "format", "--check", "."))
NEEDED = ("ruff", "mypy", "pytest", "pytest_timeout", "xdist")
TYPES = ("mypy",)
"""A minute of one processor: beside the tests, whose workers wait for browsers, processes and disks now and then."""
NOT_QUICK = ("alone", "browser", "cluster", "model", "network", "slow")
"""Markers of the tests that `--quick` leaves out."""
NOTHING_SELECTED = 5
"""Exit code of pytest."""
N_SLOWEST = 25


class Case(NamedTuple):
    file: str
    name: str
    seconds: float
    outcome: str


def main(arguments: list[str]) -> int:
    """What takes seconds comes first and ends the run where it fails; types are told at the end, whatever tests say. 0 only
    if all passed."""
    options, passed_on = parser().parse_known_args(arguments)
    begun = time.monotonic()
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        print(f"== not installed: {', '.join(missing)}. Run: python -m pip install -r requirements-dev.txt", flush=True)
        return 1
    if failed := [" ".join(check) for check in CHECKS if run(check) != 0]:
        print(f"== failed: {', '.join(failed)}; no test was run", flush=True)
        return 1
    with tempfile.TemporaryDirectory() as folder, started(TYPES, Path(folder) / "types.txt") as types:
        reports = [Path(folder) / "side-by-side.xml", Path(folder) / "alone.xml"]
        # Threads that spin while they wait take the processor from the other worker.
        environments: tuple[dict[str, str], ...] = ({"OMP_NUM_THREADS": "1"}, {})
        commands = pytest_commands(options, passed_on, reports)
        codes = []
        for command, extra in zip(commands, environments, strict=False):
            if command is commands[-1] and len(commands) > 1:
                types.wait()  # nothing stands beside what is alone
            codes.append(run(command, **extra))
        is_wrong = types.wait() != 0
        print(f"== {' '.join(TYPES)}\n{(Path(folder) / 'types.txt').read_text(encoding='utf-8')}", flush=True)
        if is_wrong:
            failed.append(" ".join(TYPES))
        cases = [case for report in reports if report.exists() for case in read_report(report)]
    if set(codes) - {0, NOTHING_SELECTED} or 0 not in codes:
        failed.append("pytest")
    print_slowest(cases)
    counts = Counter(case.outcome for case in cases)
    said = ", ".join(f"{counts[name]} {name}" for name in ("failed", "passed", "skipped") if counts[name])
    print(f"== {said or 'no tests ran'} in {time.monotonic() - begun:.0f}s", flush=True)
    if failed:
        print(f"== failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="no browser, network, cluster, kill or real model")
    parser.add_argument("--coverage", action="store_true", help="say which lines of core no test ran")
    parser.add_argument("-n", dest="workers", metavar="N", default="2", help="workers (default: 2)")
    parser.add_argument("-m", dest="marked", metavar="MARKERS", help="as in pytest")
    return parser


def pytest_commands(options: argparse.Namespace, passed_on: list[str], reports: list[Path]) -> list[list[str]]:
    """What runs side by side; then, unless `--quick`, what runs alone."""
    selected = [f"({options.marked})"] if options.marked else []
    left_out = NOT_QUICK if options.quick else ("alone",)
    workers = ["-n", options.workers, "--dist", "loadfile", "--no-loadscope-reorder"]
    parts = [([*selected, *(f"not {mark}" for mark in left_out)], workers)]
    if not options.quick:
        parts.append(([*selected, "alone"], ["-n", "0", *files_of_alone(passed_on)]))
    commands = []
    for (marks, ways), report in zip(parts, reports, strict=False):
        commands.append(["pytest", "-m", " and ".join(marks), *ways, f"--junitxml={report}", *passed_on])
    if options.coverage:
        (ROOT / ".coverage").unlink(missing_ok=True)
        for command in commands:
            command += ["--cov=core", "--cov-append", "--cov-report="]
        commands[-1][-1] += "term-missing:skip-covered"
    return commands


def files_of_alone(passed_on: list[str]) -> list[str]:
    """Where nobody has named any: to read all others for the few tests that are marked would take a quarter minute."""
    if any((ROOT / argument.partition("::")[0]).exists() for argument in passed_on):
        return []
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in files if "mark.alone" in file.read_text(encoding="utf-8")]


def run(command: tuple[str, ...] | list[str], **environment: str) -> int:
    print(f"== {' '.join(command)}", flush=True)
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=os.environ | environment, check=False
    ).returncode


def started(command: tuple[str, ...], told: Path) -> subprocess.Popen[bytes]:
    """A check beside the tests, which says into a file what is shown at the end."""
    with told.open("wb") as file:
        return subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)


def read_report(path: Path) -> list[Case]:
    """A test for each element; one that failed while it was set up or cleaned away after it passed counts as failed."""
    cases = []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        file = case.get("classname", "").replace(".", "/") + ".py"
        name = case.get("name", "").partition("@")[0]
        cases.append(Case(file, name, float(case.get("time", "0")), outcome))
    return cases


def print_slowest(cases: list[Case]) -> None:
    files: Counter[str] = Counter()
    for case in cases:
        files[case.file] += case.seconds
    print("== slowest tests and files, in seconds")
    for case in sorted(cases, key=lambda case: -case.seconds)[:N_SLOWEST]:
        print(f"{case.seconds:7.1f}  {case.file}::{case.name}")
    for file, seconds in files.most_common(N_SLOWEST):
        print(f"{seconds:7.1f}  {file}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
