"""Jobs on a Ray cluster: each runs the same function as a local one, in a warehouse of its own on some machine.

Progress is gathered on a board, an actor that every worker tells. The parcels of a finished job come back as bytes and
are ingested here, by the one owner of the warehouse. A worker that is lost is replaced, and goes on where the lost one
stopped if it comes to the same machine. While a job is out, its lock is held here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError, ResourceError
from core.records import RunConfig
from core.runs import jobs
from core.runs.jobs import Job, Standing
from core.runs.local import ROOT
from core.warehouse import parcels
from core.warehouse.parcel_format import is_parcel
from core.warehouse.store import Warehouse

POLL = 0.3
RETRIES = 3
"""Times that a job whose worker was lost is given to another."""
CPUS = 2
"""Of one job, where the machines have so many."""
NOT_SENT = ["/data/local", "/.git", "/.venv", "/tests", "/docs", "**/__pycache__"]
"""Of this folder, what the workers do without."""
Parcels = dict[str, dict[str, bytes]]
"""run_id -> file name -> content"""


@dataclass(frozen=True)
class Needs:
    """What one job takes of a machine."""

    memory_bytes: int | None
    """None is: not known before."""
    n_gpus: int


def run_all(
    todo: Sequence[Job],
    warehouse: Warehouse,
    address: str | None,
    told: Callable[[Standing], None],
    needs: Callable[[RunConfig], Needs],
) -> Iterator[Standing]:
    """Send all jobs to the cluster at `address` (None starts one on this machine), and give back each as it ends.

    Raises ResourceError where Ray is not installed or the cluster does not answer. A job that no machine of the cluster
    could ever take fails at once, and the others go on.
    """
    ray = _connected(address)
    board = ray.remote(num_cpus=0)(_Board).remote()
    out: dict[Any, Job] = {}
    with ExitStack() as at_end:
        at_end.callback(ray.shutdown)
        locks = {job.job_id: at_end.enter_context(ExitStack()) for job in todo}
        at_end.callback(_call_all_back, ray, out)
        for job in todo:
            try:
                asked = _resources(ray, job.config, needs(job.config))
                locks[job.job_id].enter_context(jobs.held(job, engine="ray"))
            except InputError as error:
                jobs.fail(job, error)
                yield jobs.stand(job)
                continue
            send = ray.remote(max_retries=RETRIES, max_calls=1, **asked)(_work)
            out[send.remote(_request(job), _known(job, warehouse), board)] = job
        while out:
            ended, _ = ray.wait(list(out), num_returns=1, timeout=POLL)
            _write_progress(ray, board, out.values())
            for task in [task for task, job in out.items() if (job.folder / jobs.CANCEL_FILE).exists()]:
                _call_back(ray, task)
                locks[out[task].job_id].close()
                jobs.remove(out[task])
                yield jobs.stand(out.pop(task))
            for task in [task for task in ended if task in out]:
                job = out.pop(task)
                _settle(ray, task, job, warehouse)
                locks[job.job_id].close()
                yield jobs.stand(job)
            for job in out.values():
                told(jobs.stand(job))


class _Board:
    """Where the jobs stand, as their workers told it last."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, Any]] = {}

    def tell(self, job_id: str, told: dict[str, Any]) -> None:
        self._told[job_id] = told

    def all(self) -> dict[str, dict[str, Any]]:
        return self._told


# --- on the worker -----------------------------------------------------------------------------------------------


def _work(request: dict[str, Any], known: Parcels, board: Any) -> dict[str, Any]:
    """Measure one job here; its parcels, or why there are none."""
    from core.errors import WorkdimError
    from core.preflight.expecting import expected_seconds
    from core.runs.measuring import run

    job_id = request["job_id"]
    home = Path(tempfile.gettempdir()) / "workdim-jobs" / job_id
    warehouse = Warehouse(home / "workdim.duckdb")
    for run_id, files in known.items():
        _unpack(warehouse.parcels / run_id, files)
    job = jobs.write_job(warehouse, job_id, request["job"])
    told_at = 0.0

    def tell(_step: object) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > POLL and (told := jobs.read_json(job.folder / "progress.json")):
            told_at = time.monotonic()
            board.tell.remote(job_id, told)

    try:
        parcels.ingest_waiting(warehouse)
        finished = run(job, warehouse, tell, expected_seconds)
    except WorkdimError as error:
        return {"reason": str(error), "exit_code": error.exit_code}
    new = [folder for folder in warehouse.parcels.iterdir() if is_parcel(folder) and folder.name not in known]
    answer = {"run_id": finished.run_id, "failed": finished.failed, "was_known": finished.was_known,
              "parcels": {folder.name: _packed(folder) for folder in new}}  # fmt: skip
    shutil.rmtree(home, ignore_errors=True)
    return answer


def _packed(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _unpack(folder: Path, files: Mapping[str, bytes]) -> None:
    beside = folder.with_name(f".{folder.name}")
    beside.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (beside / name).write_bytes(content)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(beside, folder)


# --- on the machine that asks ------------------------------------------------------------------------------------


def _connected(address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ResourceError(
            "--engine ray needs Ray, which is not installed: python -m pip install -r requirements-ray.txt"
        ) from error
    options = {"address": address} if address else {"include_dashboard": False, "num_cpus": os.cpu_count()}
    try:
        ray.init(runtime_env={"working_dir": str(ROOT), "excludes": NOT_SENT}, logging_level="ERROR",
                 log_to_driver=False, **options)  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise ResourceError(f"The Ray cluster at {address or 'this machine'} cannot be used: {first}") from error
    return ray


def _resources(ray: Any, config: RunConfig, needs: Needs) -> dict[str, Any]:
    """What to ask the scheduler for; raises ResourceError for what no machine has, which would wait for ever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = {name: max((machine.get(name, 0) for machine in machines), default=0) for name in ("CPU", "GPU", "memory")}
    n_gpus = 1 if config.device == "auto" and most["GPU"] >= 1 else needs.n_gpus
    if n_gpus > most["GPU"]:
        raise ResourceError(f"{config.model} is to be measured on {config.device}, and no machine of the cluster has "
                            "a GPU. Choose --device cpu or auto.")  # fmt: skip
    memory = needs.memory_bytes or 0
    if memory > most["memory"]:
        raise ResourceError(
            f"{config.model} needs {memory / 1e9:.1f} GB of memory, and no machine of the cluster offers more than "
            f"{most['memory'] / 1e9:.1f} GB. Set --memory-budget, or choose a smaller model or --dtype bfloat16."
        )
    return {"num_cpus": min(CPUS, most["CPU"]), "num_gpus": n_gpus, "memory": memory}


def _request(job: Job) -> dict[str, Any]:
    return {"job_id": job.job_id, "job": jobs.as_request(job) | {"directory": "."}}


def _known(job: Job, warehouse: Warehouse) -> Parcels:
    """Runs of this warehouse that the worker need not measure again: control passes, and this very model."""
    asked = job.config
    sql = (
        "SELECT run_id FROM runs WHERE protocol = ? AND seed = ? "
        "AND (pass <> 'text' OR json_extract_string(config, '$.run.model') = ?) ORDER BY started_at DESC LIMIT 40"
    )
    run_ids = warehouse.read(sql, [asked.protocol, asked.seed, asked.model])["run_id"]
    folders = [warehouse.parcels / run_id for run_id in run_ids]
    return {folder.name: _packed(folder) for folder in folders if is_parcel(folder)}


def _write_progress(ray: Any, board: Any, out: Any) -> None:
    with suppress(ray.exceptions.RayError):
        told = ray.get(board.all.remote(), timeout=5)
        for job in out:
            if job.job_id in told:
                with suppress(ResourceError):
                    jobs.write_json(job.folder / "progress.json", told[job.job_id])


def _settle(ray: Any, task: Any, job: Job, warehouse: Warehouse) -> None:
    """What a task brought becomes parcels and runs of this warehouse; or the job has failed."""
    try:
        answer = ray.get(task)
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        jobs.fail(job, ResourceError(f"{RETRIES + 1} workers were lost over {job.config.model}, the last: {first}"))
        return
    if "reason" in answer:
        jobs.fail(job, InputError(answer["reason"]))
        return
    waits = ""
    for run_id, files in answer.pop("parcels").items():
        _unpack(job.folder / run_id, files)
        folder = parcels.finish(warehouse, job.folder / run_id)
        try:
            parcels.ingest(warehouse, folder)
        except InputError as error:  # it waits in its parcel
            waits = str(error)
    jobs.finish(job, answer | {"waits": waits})


def _call_all_back(ray: Any, out: Mapping[Any, Job]) -> None:
    for task in out:
        _call_back(ray, task)


def _call_back(ray: Any, task: Any) -> None:
    with suppress(ray.exceptions.RayError):
        ray.cancel(task, force=True)
