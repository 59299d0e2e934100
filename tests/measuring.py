"""One measurement within the process of the tests: what the command and a process of its own do, in one call."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.errors import InputError, ResourceError
from core.records import Profile, ProgressCallback, RunConfig
from core.runs.caches import recover
from core.runs.execution import run_submitted
from core.runs.jobs import remove_job, submit
from core.warehouse.runs import read_profile
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Finished:
    """A finished measurement: what its job keeps of it, its profile and those of its control passes."""

    run_id: str
    waits: str
    failed: tuple[str, ...]
    was_known: bool
    profile: Profile
    controls: list[Profile]


def measure(config: RunConfig, warehouse: Warehouse, progress: ProgressCallback, again: bool = True) -> Finished:
    """Measure one model in this process and append the result. Raises InputError for what the user can mend.

    A measurement of the same request that was interrupted goes on. Nothing is left of one that is refused or stopped
    with Ctrl-C; one that ran out of memory or disk can go on. Without `again`, a run that the warehouse has already is
    not measured twice.
    """
    if not warehouse.path.exists() and not warehouse.parcels.exists():
        prepared(warehouse.path)
    warehouse.prepare()  # an unusable warehouse is found out now, not after the measuring
    recover(warehouse)
    job = submit(config, warehouse, again=again)
    try:
        result = run_submitted(job, warehouse, progress)
        profile = read_profile(warehouse, result["run_id"])
        control_ids = (profile.summaries[0].control_run_ids if profile.summaries else None) or []
        controls = [read_profile(warehouse, run_id) for run_id in control_ids]
        remove_job(job)
        return Finished(**result, profile=profile, controls=controls)
    except ResourceError:
        if not list(job.folder.glob("kept-*/step-forward.json")):
            remove_job(job)
        raise
    except (InputError, KeyboardInterrupt):
        remove_job(job)
        raise


def prepared(path: Path) -> Warehouse:
    """A new warehouse without runs: copied, because to fill in the reference scores takes a fifth of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_template(), path)
    return Warehouse(path)


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="prepared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Warehouse(folder / "workdim.duckdb").prepare()
    return folder / "workdim.duckdb"
