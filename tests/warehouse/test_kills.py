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
def killed(request, tmp_path_factory) -> Iterator[dict[str, Future]]:
    """What came of each scenario that is asked for; two run at a time, because each leaves most processors idle."""
    asked = [one.callspec.params["scenario"] for one in request.session.items if "killed" in one.fixturenames]
    with ThreadPoolExecutor(2) as pool:
        yield {scenario: pool.submit(kill, scenario, tmp_path_factory.mktemp(scenario)) for scenario in asked}


def kill(scenario: str, place: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tests.warehouse.kill_rounds", scenario, str(place), str(kills(KILLS[scenario]))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=380,
        check=False,
    )


@pytest.mark.parametrize("scenario", KILLS)
def test_a_kill_at_any_moment_loses_nothing(scenario, killed):
    done = killed[scenario].result()
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["unfinished"] >= kills(KILLS[scenario]) / 3, told
