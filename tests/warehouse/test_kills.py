"""SIGKILL at a hundred random moments: no finished run is lost, none is half there, the file opens and is sound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        for line in process.stdout or ():
            told = json.loads(line)
            failed = told["failed"] and (place / "said").read_text(encoding="utf-8")
            ended[told["scenario"]].set_result(failed or "")
    for one in ended.values():
        if not one.done():
            one.set_result((place / "said").read_text(encoding="utf-8") or "It ended before.")


@pytest.mark.parametrize("scenario", KILLS)
def test_a_kill_at_any_moment_loses_nothing(scenario, killed):
    said = killed[scenario].result()
    assert not said, said[-3000:]
