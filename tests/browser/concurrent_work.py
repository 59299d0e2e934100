"""What other processes do to one warehouse until a time: `python -m tests.browser.concurrent_work ROLE FILE UNTIL NUMBER`.

Prints one line of JSON: what was done, and the waits for the file, in seconds: time asleep for a lock, not the time of
the work itself, which on a busy machine says nothing about locks.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from core.store import parcels
from core.warehouse import queries
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_profile, under

PAUSE = 0.3
"""Seconds between two jobs that finish, or two looks: already far more than people and machines do."""


class Waits:
    """Counts, for each piece of work, how long this process slept: nothing here sleeps but for a lock."""

    def __init__(self) -> None:
        self.asleep = 0.0
        self.each: list[float] = []
        self.work: list[float] = []
        """The rest of the time: what the work itself took on this machine, as busy as it is."""
        self._sleep = time.sleep
        time.sleep = self._counted

    def _counted(self, seconds: float) -> None:
        start = time.perf_counter()
        self._sleep(seconds)
        self.asleep += time.perf_counter() - start

    def during(self, work: Callable[[], object]) -> None:
        self.asleep, start = 0.0, time.perf_counter()
        work()
        self.each.append(self.asleep)
        self.work.append(time.perf_counter() - start - self.asleep)
        self._sleep(PAUSE)


def finish_jobs(warehouse: Warehouse, until: float, number: int, waits: Waits) -> list[str]:
    """Jobs whose measurement has just ended: written, made parcels, taken in."""
    done: list[str] = []
    like = make_profile()
    while not done or time.time() < until:  # on a busy machine the time is over before this process has begun
        run_id = f"01a{number:05d}-0000-7000-8000-{len(done):012d}"
        folder = warehouse.path.parent / "measuring" / run_id
        parcels.write_parcel(folder, under(like, run_id))
        finished = parcels.publish_parcel(warehouse.folder, folder)
        waits.during(lambda finished=finished: ingest_parcel(warehouse, finished))
        done.append(run_id)
    return done


def look(warehouse: Warehouse, until: float, number: int, waits: Waits) -> list[str]:
    """What a page reads, without a page's own pauses."""
    while not waits.each or time.time() < until:
        waits.during(lambda: queries.run_list(warehouse))
        newest = queries.run_list(warehouse)["run_id"].head(1).to_list()
        waits.during(lambda newest=newest: queries.rows(warehouse, "layer_estimates", newest))
    return []


ROLES = {"job": finish_jobs, "reader": look}


def main() -> None:
    role, file, until, number = sys.argv[1:]
    waits = Waits()
    done = ROLES[role](Warehouse(Path(file), wait=60.0), float(until), int(number), waits)
    print(json.dumps({"role": role, "done": done, "waits": sorted(waits.each), "work": sorted(waits.work)}))


if __name__ == "__main__":
    main()
