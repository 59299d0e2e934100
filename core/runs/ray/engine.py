"""Run jobs on a Ray cluster: each runs the same function as a local job, on one of its machines (core/runs/ray/worker.py).

Workers report progress to an actor, the progress board. The parcels of a finished job come back as bytes and are ingested
here, by the owner of the warehouse. A lost worker is replaced; on the same machine the new one continues from the
checkpoints. While a job is on the cluster, its lock is held here.

The workers have Ray and the packages of requirements-core.txt; the code is sent to them. Models and texts must be found
there under the same names or paths as here.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from core.errors import InputError, ResourceError, Sentence, sentences
from core.files import PROJECT, write_json
from core.records import PlanConfig, RunConfig
from core.registry.protocols import SHARED
from core.runs import jobs
from core.runs.execution import ingest_or_wait
from core.runs.jobs import Job, JobStatus, StatusCallback, waiting_policy
from core.runs.ray.worker import (
    PackedParcels,
    ProgressBoard,
    pack_parcels,
    remove_job_files,
    run_remote_job,
    unpack_parcels,
)
from core.runs.requests import preflight_cards_from_process
from core.store import parcels
from core.warehouse import runs
from core.warehouse.runs import runs_to_share
from core.warehouse.warehouse import Warehouse

POLL = 0.2
MAX_RETRIES = 3
"""How often a job is retried after its worker was lost."""
CLEANUP_TIMEOUT = 10.0
"""Seconds for the machines to remove the files of jobs."""


def run_jobs_on_cluster(
    todo: Sequence[Job], warehouse: Warehouse, address: str | None, on_status: StatusCallback
) -> Iterator[JobStatus]:
    """Run all jobs on the cluster at `address` (None starts one on this machine) and yield each as it ends.

    `on_status` is called with the status of each several times a second. Closing the iterator (Ctrl-C) cancels the jobs.
    Raises ResourceError if Ray is not installed or the cluster does not answer. A job that no machine could ever run
    fails at once; the others go on.
    """
    with connect_ray(address) as ray, ExitStack() as at_end:
        cluster_jobs = _ClusterJobs(ray, warehouse)
        at_end.callback(cluster_jobs.cancel_all)
        for job in todo:
            try:
                cluster_jobs.add(job)
            except InputError as error:  # another process runs it
                yield replace(jobs.job_status(job), state="failed", reason=str(error), exit_code=error.exit_code)
        while cluster_jobs.jobs:
            for job in [*cluster_jobs.submit_next(), *cluster_jobs.cancelled(), *cluster_jobs.finished()]:
                yield jobs.job_status(job)
            cluster_jobs.update_progress()
            for job in cluster_jobs.jobs:
                on_status(jobs.job_status(job))


class _ClusterJobs:
    """The jobs that have not ended: waiting here, or running on the cluster."""

    def __init__(self, ray: Any, warehouse: Warehouse) -> None:
        self._ray, self._warehouse = ray, warehouse
        # A board that is lost with its machine restarts elsewhere: everything in it is reported again.
        self._board = ray.remote(num_cpus=0, max_restarts=-1)(ProgressBoard).remote()
        self._pending_progress = self._board.progress.remote()
        self._waiting: dict[str, tuple[Job, Needs | None]] = {}
        """Job id -> job, and what it needs once that is known."""
        self._tasks: dict[Any, Job] = {}
        self._locks: dict[str, ExitStack] = {}
        self._first_jobs: dict[Hashable, str] = {}
        """Key of what jobs share -> id of the job that measures it."""
        self._cleanups: list[Any] = []

    @property
    def jobs(self) -> list[Job]:
        return [*self._tasks.values(), *(job for job, _ in self._waiting.values())]

    def add(self, job: Job) -> None:
        """Add a job. Raises InputError if another process runs it."""
        lock = ExitStack()
        lock.enter_context(jobs.hold_job(job, engine="ray"))
        self._locks[job.job_id], self._waiting[job.job_id] = lock, (job, None)

    # --- submit --------------------------------------------------------------------------------------------------

    def submit_next(self) -> Iterator[Job]:
        """Submit the first job that need not wait for another; yields it if no machine could run it.

        One at a time: finding out what a job needs takes a moment, in which the others must be watched.
        """
        for job, known_needs in list(self._waiting.values()):
            needs = known_needs or job_needs(job.config, self._warehouse)
            self._waiting[job.job_id] = job, needs
            if self._must_wait(job, needs):
                if known_needs:
                    continue
                return
            del self._waiting[job.job_id]
            try:
                options = task_options(self._ray, job.config, needs)
            except InputError as error:
                self._release(job)
                jobs.record_failure(job, error)
                yield job
                return
            self._submit(job, options)
            return

    def _must_wait(self, job: Job, needs: Needs) -> bool:
        """Whether it can reuse what another job is measuring: its random models, or its first draw of the text.

        The first of those that share something runs before the others, as on one machine.
        """
        if isinstance(job.config, PlanConfig):
            return False
        all_draws = replace(job.config, seed=0, device="", memory_budget=None)
        shared_keys = [all_draws, needs.random_models] if needs.random_models else [all_draws]
        running = {running_job.job_id for running_job in self._tasks.values()}
        if any(self._first_jobs.get(key) in running for key in shared_keys):
            return True
        for key in shared_keys:
            self._first_jobs.setdefault(key, job.job_id)
        return False

    def _submit(self, job: Job, options: dict[str, Any]) -> None:
        from core.models.packages import cache_folder

        # A new process for each job, so that none inherits memory of another.
        remote = self._ray.remote(max_retries=MAX_RETRIES, max_calls=1, **options)(run_remote_job)
        task = remote.remote(
            job.job_id, jobs.to_request(job), str(cache_folder().resolve()), self._known_runs(job), self._board
        )
        self._tasks[task] = job

    def _known_runs(self, job: Job) -> PackedParcels:
        """Parcels that the job can reuse."""
        if isinstance(job.config, PlanConfig):
            return {}
        run_ids = runs_to_share(self._warehouse, job.config)
        return pack_parcels(folder for run_id in run_ids if (folder := self._warehouse.parcels / run_id).is_dir())

    # --- watch ---------------------------------------------------------------------------------------------------

    def update_progress(self) -> None:
        """Write the jobs' progress files, once the board has answered."""
        if not self._ray.wait([self._pending_progress], timeout=0)[0]:
            return
        progress: dict[str, dict[str, Any]] = {}
        with suppress(self._ray.exceptions.RayError):
            progress = self._ray.get(self._pending_progress)
        for job in self._tasks.values():
            if job.job_id in progress:
                with suppress(ResourceError):  # a reader may hold the file
                    write_json(job.folder / "progress.json", progress[job.job_id], is_synced=False)
        self._pending_progress = self._board.progress.remote()

    # --- collect -------------------------------------------------------------------------------------------------

    def cancelled(self) -> Iterator[Job]:
        """Remove and yield the jobs that were cancelled by another process."""
        for job in self.jobs:
            if (job.folder / jobs.CANCEL_FILE).exists():
                self._cancel(job)
                yield job

    def cancel_all(self) -> None:
        """Cancel all jobs; returns when the machines have removed their files, or after a time limit."""
        for job in self.jobs:
            self._cancel(job)
        if self._cleanups:
            self._ray.wait(self._cleanups, num_returns=len(self._cleanups), timeout=CLEANUP_TIMEOUT)

    def _cancel(self, job: Job) -> None:
        self._waiting.pop(job.job_id, None)
        for task in [task for task, task_job in self._tasks.items() if task_job is job]:
            del self._tasks[task]
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(task, force=True)
            self._clean_up(job)
        self._release_shared(job)
        self._release(job)
        jobs.remove_job(job)

    def finished(self) -> Iterator[Job]:
        """Store the results of tasks that have ended and yield their jobs."""
        tasks = list(self._tasks)
        for task in self._ray.wait(tasks, num_returns=len(tasks), timeout=POLL)[0] if tasks else []:
            job = self._tasks.pop(task)
            self._store_result(task, job)
            self._clean_up(job)
            self._release(job)
            yield job

    def _store_result(self, task: Any, job: Job) -> None:
        """Store what a task returned as parcels and runs of this warehouse, or record its failure."""
        try:
            result = self._ray.get(task)
            if result["log"]:
                job.log.write_text(result["log"] + "\n", encoding="utf-8")
            waits = self._ingest(job, result["parcels"])
            if result["plan"] is not None:
                waits = runs.save_plan(self._warehouse, result["plan"])
            if result["finished"]:
                jobs.finish_job(job, result["finished"] | {"waits": waits})
                return
            write_json(job.folder / jobs.ERROR_FILE, result["error"])
        except self._ray.exceptions.RayTaskError as error:
            jobs.record_failure(job, error.cause)
        except self._ray.exceptions.RayError as error:
            jobs.record_failure(
                job,
                ResourceError(
                    "{model} failed on the cluster in {attempts} attempts, each with a lost worker: {reason}.",
                    model=job.config.model,
                    attempts=MAX_RETRIES + 1,
                    reason=parcels.reason_of(error),
                ),
            )
        except InputError as error:
            jobs.record_failure(job, error)
        self._release_shared(job)

    def _ingest(self, job: Job, packed: PackedParcels) -> str:
        """Ingest returned parcels; returns why some could not be ingested yet."""
        waits = ""
        unpack_parcels(job.folder, packed)
        for run_id in sorted(packed):
            folder = parcels.publish_parcel(self._warehouse.folder, job.folder / run_id)
            waits = ingest_or_wait(self._warehouse, folder) or waits
        return waits

    def _release_shared(self, job: Job) -> None:
        """Let one of the jobs that waited for this one take its place."""
        self._first_jobs = {key: job_id for key, job_id in self._first_jobs.items() if job_id != job.job_id}

    def _clean_up(self, job: Job) -> None:
        """Remove its files on the machines where it ran."""
        with suppress(self._ray.exceptions.RayError):
            for node_id in set(self._ray.get(self._board.nodes.remote(job.job_id), timeout=1)):
                task = self._ray.remote(num_cpus=0, scheduling_strategy=on_node(node_id))(remove_job_files)
                self._cleanups.append(task.remote(job.job_id))

    def _release(self, job: Job) -> None:
        self._locks.pop(job.job_id).close()


# --- the cluster: connecting to it, and what a job needs ---------------------------------------------------------------

DEFAULT_CPUS = 2
"""CPUs, and so threads, of a job if OMP_NUM_THREADS is not set and a machine has that many."""
SENT_PATHS = ("core", "data", "pyproject.toml")
"""What is sent to the workers."""
OBJECT_STORE_BYTES = 200 * 2**20
CONNECT_TIMEOUT = 10.0


@dataclass(frozen=True)
class Needs:
    """What a job needs of a machine, and can share with other jobs."""

    memory_bytes: int | None
    """None if unknown."""
    random_models: Hashable = None
    """Key of the random models: jobs with equal keys share them. None if it measures none."""


def job_needs(config: RunConfig | PlanConfig, warehouse: Warehouse) -> Needs:
    """Needs from the preflight card. Memory is unknown if only the workers can see the GPU or the model; a plan takes at
    most about as much as measuring the same model on the same text."""
    if isinstance(config, PlanConfig):
        names = ("model", "corpus", "column", "encoding", "chat", "dtype", "device", "memory_budget")
        measurement = RunConfig(**{name: getattr(config, name) for name in names})
        return Needs(job_needs(measurement, warehouse).memory_bytes)
    (card,) = preflight_cards_from_process([config], warehouse, _n_threads())
    to_measure = {pass_.name for pass_ in card.passes if pass_.known_run is None}
    shared = (
        card.architecture,
        card.parameters,
        card.n_layers,
        card.hidden_size,
        config.stack,
        config.corpus,
        config.chat,
        config.protocol,
        config.seed,
        config.dtype,
    )
    return Needs(card.memory_bytes, shared if to_measure.intersection(SHARED) else None)


@contextmanager
def connect_ray(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at `address`; None starts one here and stops it at the end.

    Raises ResourceError if Ray is not installed or the cluster does not answer.
    """
    check_ray(address)
    # Read by Ray when it is imported. A job that is killed for its memory again and again must end some time.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_task_oom_retries": "3"}
    if address is None:  # Ray listens on all interfaces: only we can speak to this cluster, and no token stays on disk
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    import ray

    with ExitStack() as stack:
        if address:
            options: dict[str, Any] = {"address": address}
        else:
            # Its own folder, short because sockets lie in it: nothing of the cluster stays, the code's copy included.
            folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp" if os.name == "posix" else None)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            options = {
                "address": "local",
                "include_dashboard": False,
                "num_cpus": os.cpu_count(),
                "object_store_memory": OBJECT_STORE_BYTES,
                "_temp_dir": folder,
            }
        try:
            ray.init(runtime_env=_environment(), logging_level=logging.CRITICAL, log_to_driver=False, **options)
        except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
            hint = Sentence("Where it asks for a token: RAY_AUTH_MODE=token.") if address else ""
            message = Sentence(
                "The Ray cluster at {address} cannot be used: {reason}.",
                address=address or Sentence("this machine"),
                reason=parcels.reason_of(error),
            )
            raise ResourceError(sentences(message, hint)) from error
        stack.callback(ray.shutdown)
        yield ray


def _environment() -> dict[str, Any]:
    """Ray's runtime environment of the workers: the code and two variables."""
    from core.measure.checkpoint import code_version

    # Patterns as in .gitignore, the last that matches decides: only SENT_PATHS are sent. "/*" would leave out the folder
    # itself, which Ray asks for as ".".
    excludes = [
        "/[!.]*",
        "/.?*",
        *(f"!/{name}{suffix}" for name in SENT_PATHS for suffix in ("", "/**")),
        "/data/local",
        "/data/reference/profiles",  # a third of data, which no measurement reads
        "__pycache__",
    ]
    variables = {"WORKDIM_CODE_VERSION": code_version(), "PYTHONUTF8": "1"}
    return {"working_dir": str(PROJECT), "excludes": excludes, "env_vars": variables}


def check_ray(address: str | None) -> None:
    """Raises ResourceError if Ray is not installed or no cluster listens at the address.

    Ray itself would try for minutes and then end the process.
    """
    if importlib.util.find_spec("ray") is None:
        raise ResourceError(
            "--engine ray needs Ray, which is not installed: python -m pip install -r requirements-ray.txt"
        )
    if address is None:
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        raise ResourceError(
            "'{address}' is no Ray address. Write --address HOST:PORT as printed by ray start.", address=address
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise ResourceError("No Ray cluster answers at {address}: {error}.", address=address, error=error) from error


def task_options(ray: Any, config: RunConfig | PlanConfig, needs: Needs) -> dict[str, Any]:
    """Options of the job's Ray task. Raises ResourceError for what no machine has, for which Ray would wait for ever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    has_gpu = [machine for machine in machines if machine.get("GPU", 0) >= 1]
    wants_gpu = config.device.startswith("cuda") or (config.device == "auto" and bool(has_gpu))
    if wants_gpu and not has_gpu:
        raise ResourceError(
            "{model} asks for {device}, but no machine of the cluster has a GPU. Choose --device cpu or auto.",
            model=config.model,
            device=config.device,
        )
    suitable = has_gpu if wants_gpu else machines
    max_memory = max((machine.get("memory", 0) for machine in suitable), default=0)
    memory = needs.memory_bytes or 0
    if memory > max_memory:
        raise ResourceError(
            "{model} needs {memory:.1f} GB of memory; the cluster offers {most:.1f} GB. Set --memory-budget, "
            "or choose a smaller model or --dtype bfloat16.",
            model=config.model,
            memory=memory / 1e9,
            most=max_memory / 1e9,
        )
    large_enough = [machine for machine in suitable if machine.get("memory", 0) >= memory]
    cpus = min(_n_threads(), int(max(machine.get("CPU", 0) for machine in large_enough)))
    # As many threads as CPUs, whatever the shell had in which a worker's machine was started: sums of another number
    # of threads differ in their last bits.
    threads = {"env_vars": {"OMP_NUM_THREADS": str(max(cpus, 1)), **waiting_policy()}}
    return {"num_cpus": cpus, "num_gpus": int(wants_gpu), "memory": memory or None, "runtime_env": threads}


def _n_threads() -> int:
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() and int(text) > 0 else DEFAULT_CPUS


def on_node(node_id: str) -> Any:
    """Scheduling strategy of a task for one machine."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id, soft=False)
