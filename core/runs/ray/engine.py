"""Jobs on a Ray cluster: each runs the same function as a local one, on some machine of it (core/runs/ray/worker.py).

Progress is gathered on a board, an actor that every worker tells. The parcels of a finished job come back as bytes and
are ingested here, by the one owner of the warehouse. A worker that is lost is replaced, and goes on where the lost one
stopped if it comes to the same machine. While a job is out, its lock is held here.

The workers have Ray and what requirements-core.txt names; the code is sent to them. Models and texts are found there as
they are found here: by their name on the hub, or under the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from core.errors import InputError, ResourceError, WarehouseLocked
from core.records import PlanConfig
from core.registry.passes import SHARED
from core.runs import jobs
from core.runs.jobs import Job, JobStatus
from core.runs.ray.cluster import Needs, connected, first_line, needs_of, on_node, resources
from core.runs.ray.worker import Board, Parcels, clear, pack, unpack, work
from core.store import parcels
from core.warehouse import layer_plans
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import Warehouse

POLL = 0.2
RETRIES = 3
"""Times that a job whose worker was lost is given to another."""
CLEARED_WITHIN = 10.0
"""Seconds that the machines have to clear away what jobs left there."""


def run_all(
    todo: Sequence[Job], warehouse: Warehouse, address: str | None, told: Callable[[JobStatus], None]
) -> Iterator[JobStatus]:
    """Send all jobs to the cluster at `address` (None starts one on this machine), and give back each as it ends.

    `told` hears several times a second where each stands. Whoever stops listening (Ctrl-C) cancels those that are out.
    Raises ResourceError where Ray is not installed or the cluster does not answer. A job that no machine of the cluster
    could ever take fails at once, and the others go on.
    """
    with connected(address) as ray, ExitStack() as at_end:
        out = _Out(ray, warehouse)
        at_end.callback(out.call_all_back)
        for job in todo:
            try:
                out.take(job)
            except InputError as error:  # another process has it, and what it says of the job
                yield replace(jobs.stand(job), state="failed", reason=str(error), exit_code=error.exit_code)
        while out.jobs:
            for job in [*out.send_next(), *out.called_back(), *out.ended()]:
                yield jobs.stand(job)
            out.gather()
            for job in out.jobs:
                told(jobs.stand(job))


class _Out:
    """The jobs that are not at their end: waiting here, or at work on the cluster."""

    def __init__(self, ray: Any, warehouse: Warehouse) -> None:
        self._ray, self._warehouse = ray, warehouse
        # A board that is lost with its machine begins anew elsewhere: it holds nothing that is not told again.
        self._board = ray.remote(num_cpus=0, max_restarts=-1)(Board).remote()
        self._asked = self._board.all.remote()
        self._waiting: dict[str, tuple[Job, Needs | None]] = {}
        self._tasks: dict[Any, Job] = {}
        self._locks: dict[str, ExitStack] = {}
        self._first: dict[Hashable, str] = {}
        self._clearing: list[Any] = []

    @property
    def jobs(self) -> list[Job]:
        return [*self._tasks.values(), *(job for job, _ in self._waiting.values())]

    def take(self, job: Job) -> None:
        """Raises InputError where another process is at work on it."""
        lock = ExitStack()
        lock.enter_context(jobs.held(job, engine="ray"))
        self._locks[job.job_id], self._waiting[job.job_id] = lock, (job, None)

    # --- out -----------------------------------------------------------------------------------------------------

    def send_next(self) -> Iterator[Job]:
        """Send the first job that need not wait for another one; gives it back where no machine could take it.

        One at a time: what a job needs takes a moment to find out, and the others are to be heard meanwhile.
        """
        for job, known in list(self._waiting.values()):
            needs = known or needs_of(job.config, self._warehouse)
            self._waiting[job.job_id] = job, needs
            if self._follows(job, needs):
                if known:
                    continue
                return
            del self._waiting[job.job_id]
            try:
                options = resources(self._ray, job.config, needs)
            except InputError as error:
                self._release(job)
                jobs.fail(job, error)
                yield job
                return
            self._send(job, options)
            return

    def _follows(self, job: Job, needs: Needs) -> bool:
        """Whether it can do with what another one is measuring: its random models, or its first draw of the text.

        The first of those that share something goes before the others, as it would on one machine.
        """
        if isinstance(job.config, PlanConfig):
            return False
        draws = replace(job.config, seed=0, device="", memory_budget=None)
        shared = [draws, needs.random_models] if needs.random_models else [draws]
        out = {one.job_id for one in self._tasks.values()}
        if any(self._first.get(key) in out for key in shared):
            return True
        for key in shared:
            self._first.setdefault(key, job.job_id)
        return False

    def _send(self, job: Job, options: dict[str, Any]) -> None:
        from core.models.packages import cache_folder

        # A new process for each job: what one leaves in memory is not the next one's.
        task = self._ray.remote(max_retries=RETRIES, max_calls=1, **options)(work)
        sent = task.remote(
            job.job_id, jobs.as_request(job), str(cache_folder().resolve()), self._known(job), self._board
        )
        self._tasks[sent] = job

    def _known(self, job: Job) -> Parcels:
        """Runs of this warehouse that bear on the job: random models on its text, and its own model's on that text."""
        asked = job.config
        if isinstance(asked, PlanConfig):
            return {}
        sql = (
            "SELECT run_id FROM runs WHERE protocol = ? AND json_extract_string(config, '$.run.corpus') = ? "
            "AND (list_contains(?, pass) OR json_extract_string(config, '$.run.model') = ?)"
        )
        run_ids = self._warehouse.read(sql, [asked.protocol, asked.corpus, list(SHARED), asked.model])["run_id"]
        return pack(folder for run_id in run_ids if (folder := self._warehouse.parcels / run_id).is_dir())

    # --- under way -----------------------------------------------------------------------------------------------

    def gather(self) -> None:
        """What the board says becomes the jobs' progress files, once it has answered."""
        if not self._ray.wait([self._asked], timeout=0)[0]:
            return
        told: dict[str, dict[str, Any]] = {}
        with suppress(self._ray.exceptions.RayError):
            told = self._ray.get(self._asked)
        for job in self._tasks.values():
            if job.job_id in told:
                with suppress(ResourceError):  # a reader may hold the file
                    jobs.write_json(job.folder / "progress.json", told[job.job_id])
        self._asked = self._board.all.remote()

    # --- back ----------------------------------------------------------------------------------------------------

    def called_back(self) -> Iterator[Job]:
        """The jobs that somebody has cancelled; nothing of them is left."""
        for job in self.jobs:
            if (job.folder / jobs.CANCEL_FILE).exists():
                self._call_back(job)
                yield job

    def call_all_back(self) -> None:
        """Whatever is out; returns when the machines have cleared up, or will not."""
        for job in self.jobs:
            self._call_back(job)
        if self._clearing:
            self._ray.wait(self._clearing, num_returns=len(self._clearing), timeout=CLEARED_WITHIN)

    def _call_back(self, job: Job) -> None:
        self._waiting.pop(job.job_id, None)
        for task in [task for task, one in self._tasks.items() if one is job]:
            del self._tasks[task]
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(task, force=True)
            self._clear(job)
        self._forget_first(job)
        self._release(job)
        jobs.remove(job)

    def ended(self) -> Iterator[Job]:
        tasks = list(self._tasks)
        for task in self._ray.wait(tasks, num_returns=len(tasks), timeout=POLL)[0] if tasks else []:
            job = self._tasks.pop(task)
            self._settle(task, job)
            self._clear(job)
            self._release(job)
            yield job

    def _settle(self, task: Any, job: Job) -> None:
        """What a task brought becomes parcels and runs of this warehouse; or the job has failed."""
        try:
            answer = self._ray.get(task)
            if answer["log"]:
                job.log.write_text(answer["log"] + "\n", encoding="utf-8")
            waits = self._take_in(job, answer["parcels"])
            if answer["plan"] is not None:
                waits = layer_plans.save_plan(self._warehouse, answer["plan"])
            if answer["finished"]:
                jobs.finish(job, answer["finished"] | {"waits": waits})
                return
            jobs.write_json(job.folder / "error.json", answer["error"])
        except self._ray.exceptions.RayTaskError as error:
            jobs.fail(job, error.cause)
        except self._ray.exceptions.RayError as error:
            jobs.fail(
                job,
                ResourceError(
                    "{model} could not be measured on the cluster, in {attempts} attempts where a worker was lost: "
                    "{reason}.",
                    model=job.config.model,
                    attempts=RETRIES + 1,
                    reason=first_line(error),
                ),
            )
        except InputError as error:
            jobs.fail(job, error)
        self._forget_first(job)

    def _take_in(self, job: Job, brought: Parcels) -> str:
        """Why parcels wait to be ingested, where they do."""
        waits = ""
        unpack(job.folder, brought)
        for run_id in sorted(brought):
            folder = parcels.publish_parcel(self._warehouse.folder, job.folder / run_id)
            try:
                ingest_parcel(self._warehouse, folder)
            except (WarehouseLocked, ResourceError) as error:
                waits = str(error)
        return waits

    def _forget_first(self, job: Job) -> None:
        """Of those that waited for a job which brought nothing, the next one is the first."""
        self._first = {key: job_id for key, job_id in self._first.items() if job_id != job.job_id}

    def _clear(self, job: Job) -> None:
        """Nothing of it stays on the machines where it was."""
        with suppress(self._ray.exceptions.RayError):
            for node_id in set(self._ray.get(self._board.nodes.remote(job.job_id), timeout=1)):
                task = self._ray.remote(num_cpus=0, scheduling_strategy=on_node(node_id))(clear)
                self._clearing.append(task.remote(job.job_id))

    def _release(self, job: Job) -> None:
        self._locks.pop(job.job_id).close()
