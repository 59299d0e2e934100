"""Layers of a pass, measured from its hidden states: side by side on a CPU, if that is worth it, else one after the other.

Workers are processes of one thread each, which map the hidden states from disk. Given the states, layers are
independent, so every bit is the same for any number of workers, and without any. A worker writes nothing: its results
go to the job's process, which keeps them. It ends when the pipe from there closes, in the midst of a layer too, so that
a job that is killed leaves nothing at work. Workers are started as programs of this module: a fork would copy torch's
threads half, and multiprocessing's spawn runs the script or notebook again that measures.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import psutil
import torch

from core.errors import Sentence
from core.files import PROJECT, max_parallel_jobs, python_path
from core.geometry.clouds import LayerResult
from core.geometry.layer import CloudPlan, layer_bytes, measure_layer
from core.limits import anonymous_memory
from core.models.stacks import within_memory
from core.registry.estimators import CONTROLLED, JUDGED, layer_seconds

if TYPE_CHECKING:  # a worker starts without transformers
    from core.measure.plan import HiddenStates, TokenMask

_log = logging.getLogger("workdim")
T = TypeVar("T")
SHORT_SECONDS = 8.0
"""Layers that together take less are measured in the job's own process: a worker takes two seconds to start."""
WORKER_BYTES = 200 * 10**6
"""Memory of a worker before its first layer: Python, torch and what else the geometry imports."""


@dataclass(frozen=True)
class LayerMeasurer:
    device: torch.device
    workers: LayerWorkers
    room: int
    """Bytes that the workers may take together."""

    def measure(
        self, states: HiddenStates, mask: TokenMask, plan: CloudPlan, layers: Sequence[int]
    ) -> Generator[tuple[int, LayerResult], None, None]:
        """Index and result of each of these entries of the states, as they are finished: out of order."""
        hidden_size, workers = states.states.shape[2], self.workers
        n = count_workers(plan, hidden_size, len(layers), workers.cpus, self.room) if self.device.type == "cpu" else 0
        if n:
            yield from workers.measure(n, states.file, mask.keep, plan, layers)
            return
        for index in layers:
            yield index, measure_layer_on(states.points(index, mask.keep), self.device, plan)


def measure_layer_on(points: torch.Tensor, device: torch.device, plan: CloudPlan) -> LayerResult:
    """The layer measured on the device; falls back to the CPU, with a warning, if memory runs out.

    points (n_tokens_used, hidden_size).
    """
    if device.type == "cpu":
        return measure_layer(points, plan)
    if found := within_memory(device, lambda: measure_layer(points.to(device), plan)):
        return found
    _log.warning(Sentence("Memory of {device} is short: measuring on the CPU.", device=device))
    return measure_layer(points, plan)


# --- the job: its workers ----------------------------------------------------------------------------------------------


def cpus_of_job() -> int:
    """As many as torch has threads, which OMP_NUM_THREADS and Ray decide, shared among the jobs that run at once."""
    return max(1, torch.get_num_threads() // max_parallel_jobs())


def count_workers(plan: CloudPlan, hidden_size: int, n_layers: int, cpus: int, room: int) -> int:
    """How many workers measure these layers within `room` bytes; 0 if the job's own process does."""
    share = JUDGED if plan.reference_only else 1.0 if plan.has_pairs else CONTROLLED
    n_points = plan.draws[0].n_points if plan.draws else len(plan.blocks)
    if n_layers * share * layer_seconds(n_points, hidden_size) < SHORT_SECONDS:
        return 0
    most = min(cpus, n_layers, room // (WORKER_BYTES + layer_bytes(plan, hidden_size)))
    return most if most > 1 else 0


class LayerWorkers(AbstractContextManager["LayerWorkers"]):
    """The workers of a job, one for each of its CPUs: started when a pass needs them, and kept for its later passes."""

    def __init__(self) -> None:
        self.cpus = cpus_of_job()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._spent = 0.0
        """Processor seconds of those that have ended, which not every system tells afterwards."""

    def __exit__(self, *_: object) -> None:
        self.close()

    def memory(self) -> int:
        """Bytes that the workers take now."""
        return sum(self._of_each(anonymous_memory))

    def processor_seconds(self) -> float:
        """Processor time of all workers, of those too that have ended."""
        return self._spent + sum(self._of_each(lambda pid: sum(psutil.Process(pid).cpu_times()[:2])))

    def _of_each(self, read: Callable[[int], T]) -> Iterator[T]:
        for process in tuple(self._processes):
            with suppress(psutil.Error):  # it has just ended
                yield read(process.pid)

    def measure(
        self, n_workers: int, states: Path, keep: np.ndarray, plan: CloudPlan, layers: Sequence[int]
    ) -> Generator[tuple[int, LayerResult], None, None]:
        """Index and result of each of these layers as they are finished, out of order.

        `states` is the file of hidden states, (n_states, n_sequences * n_tokens, hidden_size); keep the mask of tokens.
        Raises MemoryError if the system ended a worker, and what measuring a layer raises; all workers are gone then.
        """
        self._processes += [_start() for _ in range(n_workers - len(self._processes))]
        idle = queue.SimpleQueue[subprocess.Popen[bytes]]()
        for worker in self._processes[:n_workers]:
            idle.put(worker)
        told = set[int]()

        def measure_one(index: int) -> tuple[int, LayerResult]:
            worker = idle.get()
            try:
                if worker.pid not in told:
                    told.add(worker.pid)
                    _send(worker, (states.absolute(), keep, plan))
                return index, _ask(worker, index)
            finally:
                idle.put(worker)

        with ThreadPoolExecutor(n_workers) as threads:
            asked = [threads.submit(measure_one, index) for index in layers]
            try:
                for finished in as_completed(asked):
                    yield finished.result()
            except BaseException:  # also if the caller stops asking: what is begun is not waited for
                for one in asked:
                    one.cancel()
                self.close()
                raise

    def close(self) -> None:
        """End all workers at once."""
        self._spent = self.processor_seconds()
        ending, self._processes = self._processes, []
        for process in ending:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    assert pipe
                    pipe.close()


def _start() -> subprocess.Popen[bytes]:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, "-m", "core.measure.layers"],
        cwd=PROJECT,
        env=os.environ | one_thread | {"PYTHONPATH": python_path(), "PYTHONUTF8": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _send(worker: subprocess.Popen[bytes], request: object) -> None:
    assert worker.stdin
    with suppress(OSError):  # one that has ended gives no answer either, which tells more
        pickle.dump(request, worker.stdin)
        worker.stdin.flush()


def _ask(worker: subprocess.Popen[bytes], index: int) -> LayerResult:
    _send(worker, index)
    assert worker.stdout
    try:
        answer = pickle.load(worker.stdout)
    except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        code = worker.wait()
        if code == -9:  # SIGKILL, what the system does where memory runs out
            raise MemoryError("A process that measures layers was killed.") from error
        raise RuntimeError(f"A process that measures layers ended with code {code}.") from error
    if isinstance(answer, Exception):
        raise answer
    return answer


# --- the worker ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Measure the layers whose indices come on standard input, after the states and the plan that they belong to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the job's process, which ends its workers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # standard output is for answers, not for what libraries print
    requests = queue.SimpleQueue[Any]()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    while True:
        request = requests.get()
        if isinstance(request, tuple):
            file, keep, plan = request
            states = np.load(file, mmap_mode="r")
            continue
        try:
            answer: LayerResult | Exception = measure_layer(torch.from_numpy(states[request][keep]), plan)
        except Exception as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


def _read(requests: queue.SimpleQueue[Any]) -> None:
    """Pass requests on; end the process when the pipe closes, whatever it is at."""
    try:
        while True:
            requests.put(pickle.load(sys.stdin.buffer))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
