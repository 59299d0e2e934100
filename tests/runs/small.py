"""`workdim` with one protocol more, which a tiny model is measured by in a second; jobs use the same command."""

from __future__ import annotations

import sys
from dataclasses import replace

from core.commands.main import main
from core.registry.protocols import PROTOCOLS
from core.runs import processes
from core.runs.ray import cluster, engine, worker

SMALL = replace(
    PROTOCOLS["quick"], name="small", n_sequences=16, n_tokens=96, n_draws=2, n_surrogates=1, n_random_models=1
)


def use() -> None:
    """Know the protocol here, in the processes of jobs, and on the workers of a Ray cluster."""
    PROTOCOLS["small"] = SMALL
    processes.COMMAND = (sys.executable, "-m", "tests.runs.small")
    cluster.SENT = ("core", "data", "pyproject.toml", "tests")
    engine.work = work


def work(*sent):
    """The work of a worker, which gets this function by its name."""
    PROTOCOLS["small"] = SMALL
    return worker.work(*sent)


if __name__ == "__main__":
    from tests.runs import small

    small.use()
    sys.exit(main())
