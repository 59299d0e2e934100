"""SIGKILL at a hundred random moments: no finished run is lost, none is half there, the file opens and is sound."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.portions import kills

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

KILLS = {
    "ingest": 30,
    "update": 20,
    "scores": 12,
    "write": 10,
    "delete": 10,
    "rebuild": 10,
    "restore": 15,
    "import": 9,
    "backup": 6,
}
LONGEST = 380.0
"""Seconds that a scenario may take."""


@pytest.fixture(scope="module")
def killed(request, tmp_path_factory) -> Iterator[dict[str, Future[str]]]:
    """What was said of each scenario that is asked for, once it has ended: nothing, if it went well.

    Two processes share them, because each leaves most processors idle.
    """
    asked = [one.callspec.params["scenario"] for one in request.session.items if "killed" in one.fixturenames]
    ended = {scenario: Future[str]() for scenario in asked}
    with ThreadPoolExecutor(2) as pool:
        for half in (asked[::2], asked[1::2]):
            pool.submit(kill, {scenario: ended[scenario] for scenario in half}, tmp_path_factory.mktemp("killed"))
        yield ended


def kill(ended: dict[str, Future[str]], place: Path) -> None:
    scenarios = [f"{one}={kills(KILLS[one])}" for one in ended]
    command = [sys.executable, "-m", "tests.warehouse.kill_rounds", str(place), *scenarios]
    with (
        (place / "said").open("wb") as said,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True
        ) as process,
    ):
        for one, future in ended.items():
            late = threading.Timer(LONGEST, os.killpg, (process.pid, signal.SIGKILL))  # its forks hold its output, too
            late.start()
            line = process.stdout.readline()
            late.cancel()
            status = json.loads(line)["failed"] if line else "no line"
            told = (place / "said").read_text(encoding="utf-8")[-3000:]
            future.set_result(f"{one} ended with {status}: {told}" if status else "")


@pytest.mark.parametrize("scenario", KILLS)
def test_a_kill_at_any_moment_loses_nothing(scenario, killed):
    said = killed[scenario].result()
    assert not said, said
