"""A Ray cluster: connecting to it, and the resources a job needs."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from core.errors import ResourceError, Sentence, sentences
from core.files import PROJECT
from core.records import PlanConfig, RunConfig
from core.registry.protocols import SHARED
from core.runs.estimates import preflight_cards_from_process
from core.runs.processes import waiting_policy
from core.warehouse.warehouse import Warehouse

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
                reason=first_line(error),
            )
            raise ResourceError(sentences(message, hint)) from error
        stack.callback(ray.shutdown)
        yield ray


def first_line(error: Exception) -> str:
    """The first line of an error's text, without a full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


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
