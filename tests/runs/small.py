"""`workdim` with further protocols; jobs and estimates use the same command.

Most tests ask what becomes of a measurement, whatever its numbers: by `SMALL`, with one cloud of few windows, a tiny model
is measured in half a second; by `CONTROLLED` with two controls. What a whole measurement finds, and what meets one at work,
is asked of `WHOLE`: three times as much work. `LEAN` gives the numbers of a quick measurement of one cloud alone. What it
takes of memory is asked of its windows with little geometry: by `BROAD` of all clouds, by `NARROW` of one.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from core.commands.main import main
from core.registry.protocols import PROTOCOLS
from core.runs import jobs, requests
from core.runs.ray import engine, worker

WHOLE = replace(
    PROTOCOLS["quick"],
    name="whole",
    core_only=(),
    n_sequences=16,
    n_tokens=96,
    n_draws=2,
    n_surrogates=1,
    n_control_seeds=3,
)
SMALL = replace(
    WHOLE,
    name="small",
    n_tokens=64,
    max_types=200,
    n_draws=1,
    n_blocks=8,
    n_half_splits=4,
    n_surrogates=0,
    clouds=("one_per_type",),
)
CONTROLLED = replace(SMALL, name="controlled", passes=("shuffled", "random_blocks"))
LEAN = replace(PROTOCOLS["quick"], name="lean", n_draws=2, n_surrogates=0, clouds=("one_per_type",))
BROAD = replace(PROTOCOLS["quick"], name="broad", n_draws=1, n_blocks=8, n_half_splits=4, n_surrogates=0)
NARROW = replace(BROAD, name="narrow", clouds=("one_per_type",))
ESTIMATE = "--as-the-process-of-an-estimate"
MORE = {one.name: one for one in (SMALL, CONTROLLED, WHOLE, LEAN, BROAD, NARROW)}


def use() -> None:
    """Know the protocol here, in the processes of jobs and estimates, and on the workers of a Ray cluster."""
    PROTOCOLS.update(MORE)
    requests.COMMAND = (sys.executable, "-P", "-m", "tests.runs.small", ESTIMATE)
    jobs.COMMAND = (sys.executable, "-m", "tests.runs.small")
    engine.SENT_PATHS = ("core", "data", "pyproject.toml", "tests")
    engine.run_remote_job = work


def work(*sent):
    """The work of a worker, which gets this function by its name."""
    PROTOCOLS.update(MORE)
    return worker.run_remote_job(*sent)


if __name__ == "__main__":
    from tests.runs import small

    small.use()
    if sys.argv[1:2] == [ESTIMATE]:
        del sys.argv[1]
        sys.exit(requests.main())
    sys.exit(main())
