"""`python -m core` with one protocol more, which a tiny model is measured by in a second; jobs use the same command."""

from __future__ import annotations

import sys
from dataclasses import replace

from core.cli import main
from core.registry.protocols import PROTOCOLS
from core.runs import local, on_ray, ray_cluster, ray_worker

SMALL = replace(
    PROTOCOLS["quick"], name="small", n_sequences=16, n_tokens=96, n_draws=2, n_surrogates=1, n_random_models=1
)


def use() -> None:
    """Know the protocol here, in the processes of jobs, and on the workers of a Ray cluster."""
    PROTOCOLS["small"] = SMALL
    local.COMMAND = (sys.executable, "-m", "tests.runs.small")
    ray_cluster.SENT = ("core", "data", "pyproject.toml", "tests")
    on_ray.work = work


def work(*sent):
    """The work of a worker, which gets this function by its name."""
    PROTOCOLS["small"] = SMALL
    return ray_worker.work(*sent)


if __name__ == "__main__":
    from tests.runs import small

    small.use()
    sys.exit(main())
