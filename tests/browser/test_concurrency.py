"""Everybody at once on one warehouse: four browsers, the command line, three finishing jobs, a slow typed query."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest

from core.warehouse import queries
from core.warehouse.warehouse import Warehouse
from tests import portions
from tests.browser.conftest import serving
from tests.screens import ROOT, filled_warehouse

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.alone, pytest.mark.browser]

SECONDS = 20.0 if portions.everything else 9.0
LONGEST_WAIT = 1.0
"""Seconds that a reader may sleep for a lock; where the machine is so busy that a write alone takes long, the time of
three writes: a reader waits for the one that is at work, never for a row of them."""
PATIENCE = 10.0
"""Seconds after which a job leaves its parcel to others, who would have to be told of it."""
SESSIONS = 4
PAGES = ("", "compare", "choose?choose=ranking", "share", "measure")
SLOW = "SELECT count(*) FROM range(1000000) AS a, range(1000000) AS b, range(1000) AS c WHERE a.range + b.range = 7"
"""Stopped by its limit of ten seconds, which is waited for, and asked again as long as there is time."""
VERBS = (["runs"], ["sql", "SELECT count(*) FROM layer_estimates"], ["jobs"])
OF_LOCKS = (
    "has held the warehouse",
    "Could not set lock",
    "different configuration",
    "finished measurement waits",
    "finished measurements wait",
    "Traceback",
)


def test_nothing_is_lost_and_nobody_waits_for_long(tmp_path: Path, browser: sync_api.Browser) -> None:
    warehouse = Warehouse(filled_warehouse(tmp_path))
    with serving(warehouse.path) as address:
        sessions = [browser.new_context().new_page() for _ in range(SESSIONS)]
        click(sessions, address, 0)  # the server is warm before the others begin
        until = time.time() + SECONDS
        roles = ["job", "job", "job", "reader"]
        workers = [worker(role, warehouse, until, number) for number, role in enumerate(roles)]
        command_line = [in_a_loop(warehouse, VERBS, until), in_a_loop(warehouse, [["sql", SLOW]], until)]
        seen: list[str] = []
        while time.time() < until:
            seen += click(sessions, address, len(seen))
        for page in sessions:
            page.context.close()
        told = [json.loads(answer(process)) for process in workers]
        said = [answer(process) for process in command_line]
    done = [run_id for one in told for run_id in one["done"]]
    assert set(done) <= set(queries.run_list(warehouse)["run_id"]) and len(done) >= 3  # each job at least once
    assert not warehouse.pending_changes().run_ids
    everything = "\n".join([*seen, *said, (tmp_path / "server.log").read_text(encoding="utf-8")])
    assert not [text for text in OF_LOCKS if text in everything], everything[-3000:]
    assert "exceeded" in said[1] or "stopped" in said[1], said[1]  # the slow query was there all the time
    longest_write = max(one["work"][-1] for one in told if one["role"] == "job")
    limits = {"reader": max(LONGEST_WAIT, 3 * longest_write), "job": max(PATIENCE, 12 * longest_write)}
    for one in told:
        waits, work = one["waits"], one["work"]
        print(
            f"{one['role']}: {len(waits)} times, asleep {median(waits):.3f} s, {waits[-1]:.3f} s at most; "
            f"work {median(work):.3f} s, {work[-1]:.3f} s at most (medians)"
        )
        assert waits[-1] < limits[one["role"]], (limits, waits)


def click(sessions: Sequence[sync_api.Page], address: str, turn: int) -> list[str]:
    """Every session opens a page, each another one, all at the same time; what they then say."""
    for number, page in enumerate(sessions):
        page.goto(f"{address}/{PAGES[(turn + number) % len(PAGES)]}", wait_until="commit")
    said = []
    for page in sessions:
        page.get_by_test_id("stMain").get_by_role("heading").first.wait_for()
        said.append(page.get_by_test_id("stMain").inner_text())
    return said


def worker(role: str, warehouse: Warehouse, until: float, number: int) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "tests.browser.concurrent_work",
        role,
        str(warehouse.path),
        str(until),
        str(number),
    ]
    return started(command, warehouse)


def in_a_loop(warehouse: Warehouse, verbs: Sequence[list[str]], until: float) -> subprocess.Popen:
    """`workdim ...`, one verb after the other until the time."""
    code = (
        "import subprocess, sys, time, json\n"
        "until, verbs = float(sys.argv[1]), json.loads(sys.argv[2])\n"
        "while time.time() < until:\n"
        "    for verb in verbs:\n"
        "        subprocess.run([sys.executable, '-m', 'core', *verb], stdout=subprocess.DEVNULL)\n"
    )
    return started([sys.executable, "-c", code, str(until), json.dumps(list(verbs))], warehouse)


def started(command: list[str], warehouse: Warehouse) -> subprocess.Popen:
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(warehouse),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def answer(process: subprocess.Popen) -> str:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    return out


def environment(warehouse: Warehouse) -> dict[str, str]:
    return os.environ | {"WORKDIM_WAREHOUSE": str(warehouse.path), "PYTHONUTF8": "1"}
