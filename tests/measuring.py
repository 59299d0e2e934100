"""One measurement within the process of the tests: what the command and a process of its own do, in one call."""

from __future__ import annotations

from core.errors import InputError, ResourceError
from core.records import ProgressCallback, RunConfig
from core.runs.execution import Finished, run
from core.runs.jobs import remove, submit
from core.runs.recovery import sweep
from core.warehouse.warehouse import Warehouse


def measure(config: RunConfig, warehouse: Warehouse, progress: ProgressCallback, again: bool = True) -> Finished:
    """Measure one model in this process and append the result. Raises InputError for what the user can mend.

    A measurement of the same request that was interrupted goes on. Nothing is left of one that is refused or stopped
    with Ctrl-C; one that ran out of memory or disk can go on. Without `again`, a run that the warehouse has already is
    not measured twice.
    """
    warehouse.prepare()  # an unusable warehouse is found out now, not after the measuring
    sweep(warehouse)
    job = submit(config, warehouse, again=again)
    try:
        finished = run(job, warehouse, progress)
        remove(job)
        return finished
    except ResourceError:
        if not list(job.folder.glob("kept-*/forward.json")):
            remove(job)
        raise
    except (InputError, KeyboardInterrupt):
        remove(job)
        raise
