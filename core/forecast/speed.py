"""Measures the speed of this machine for the operations of a measurement, once, and stores it in the cache folder.

Run as a program, this file performs the self-test in a separate process, whose memory is that of a measurement before
it starts.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

import numpy as np
import torch

from core.errors import WorkdimError
from core.files import PROJECT, write_atomic
from core.geometry import clouds
from core.geometry.clouds import contiguous_blocks, half_splits
from core.geometry.effort import layer_seconds
from core.geometry.layer import CloudPlan, measure_layer
from core.limits import anonymous_memory
from core.models.model import TORCH_DTYPES, choose_device
from core.models.packages import cache_folder
from core.models.random_weights import load_libraries

FORMAT = 3
"""Incremented when the self-test changes, so that results cached by earlier versions are not used."""
HIDDEN, WIDE = 512, 2048
"""Width of the block on which products are timed, and of its inner layer."""

_MIN_SECONDS = 0.15
TIMEOUT = 180.0
"""Timeout of the self-test in seconds, mostly for reading libraries from a slow disk."""
WAREHOUSE = 28 * 10**6
"""Bytes used by the warehouse's libraries in a measuring process."""


@dataclass(frozen=True)
class Speed:
    """Seconds per operation, for the machine, torch version, thread count, device and dtype in `_key`."""

    multiplication: float
    """One multiply-add within a matrix product, in the dtype and on the device."""
    number: float
    """One element of a block's other operations: activations, norms, sums."""
    draw: float
    """One normal random number, drawn on the CPU."""
    step: float
    """One step of the interpreter, as in reading a GGUF header."""
    geometry: float
    """Time of a layer's geometry, as a multiple of the prediction of `core.geometry.effort`."""
    start: float
    """Time from the start of a process until a measurement begins."""
    base_memory: int
    """Bytes of a process at that time."""


def speed_of(dtype: str, device: torch.device) -> Speed:
    """Cached speed of this machine, or else the result of the self-test (5 to 10 seconds).

    Raises WorkdimError if the self-test fails.
    """
    key, file = _key(dtype, device), cache_folder() / "speed.json"
    try:
        cache: dict[str, dict] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing or corrupt: measuring again takes seconds
        cache = {}
    if key not in cache:
        cache[key] = asdict(_run_self_test(dtype, device))
        with suppress(OSError):  # if the cache cannot be written, the test runs again next time
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, json.dumps(cache, indent=1).encode())
    return Speed(**cache[key])


def _key(dtype: str, device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    values = (
        FORMAT,
        platform.node(),
        platform.machine(),
        os.cpu_count(),
        sys.version.split()[0],
        torch.__version__,
        torch.get_num_threads(),
        name,
        dtype,
    )
    return " ".join(map(str, values))


def _run_self_test(dtype: str, device: torch.device) -> Speed:
    """The result of the self-test in a process of its own. Raises WorkdimError."""
    command = [sys.executable, "-m", "core.forecast.speed", dtype, str(device), str(torch.get_num_threads())]
    try:
        completed = subprocess.run(
            command,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise WorkdimError(
            "The self-test of this machine has not ended within {patience:g} seconds.", patience=TIMEOUT
        ) from error
    if completed.returncode:
        raise WorkdimError(
            "The self-test of this machine failed: {reason}",
            reason=(completed.stderr.splitlines() or ["no reason"])[-1],
        )
    return Speed(**json.loads(completed.stdout.splitlines()[-1]))


# --- the self-test ---------------------------------------------------------------------------------------------


def self_test(dtype: str, device: torch.device, start: float) -> Speed:
    """Run the self-test; `start` is the time in seconds that this process has used so far."""
    base = anonymous_memory() + WAREHOUSE
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(1024, HIDDEN, generator=generator).to(device, TORCH_DTYPES[dtype])
    inner = torch.randn(WIDE, HIDDEN, generator=generator).to(device, TORCH_DTYPES[dtype])
    product_seconds = _time_per_call(lambda: states @ inner.T, device)
    inner_states = states @ inner.T
    activation_seconds = _time_per_call(lambda: torch.nn.functional.silu(inner_states) * inner_states, device)
    buffer = torch.empty(2**20)
    return Speed(
        multiplication=product_seconds / (1024 * HIDDEN * WIDE),
        number=activation_seconds / (2 * inner_states.numel()),
        draw=_time_per_call(buffer.normal_, torch.device("cpu")) / buffer.numel(),
        step=_time_per_call(lambda: sum(len(str(i)) for i in range(20_000)), torch.device("cpu")) / 20_000,
        geometry=_geometry_factor(device),
        start=start,
        base_memory=base,
    )


def _time_per_call(work: Callable[[], object], device: torch.device) -> float:
    """Shortest time of one call, over at least five calls and _MIN_SECONDS, because other processes only add time.

    On a CPU it is capped at the mean CPU time per call, so that a busy machine is measured as an idle one. The mean is
    used because some systems count CPU time in steps longer than a call.
    """
    times: list[float] = []
    work()
    cpu_start = time.process_time()
    while sum(times) < _MIN_SECONDS or len(times) < 5 or time.process_time() == cpu_start:
        _synchronize(device)
        start = time.perf_counter()
        work()
        _synchronize(device)
        times.append(time.perf_counter() - start)
    cpu_seconds = (time.process_time() - cpu_start) / len(times)
    return min(*times, cpu_seconds) if device.type == "cpu" else min(times)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _geometry_factor(device: torch.device) -> float:
    """Measured over predicted time for a layer of the quick protocol's size, with Zipf-distributed token types."""
    generator = np.random.default_rng(0)
    n_sequences, n_tokens, hidden_size = 32, 128, 256
    sequences = np.repeat(np.arange(n_sequences), n_tokens)
    types = np.minimum(generator.zipf(1.3, len(sequences)), 3000)
    tokens = clouds.Tokens(types, sequences, contiguous_blocks(np.arange(n_sequences), 16)[sequences], 16)
    orders = [generator.permutation(len(types)) for _ in range(3)]
    plan = CloudPlan(
        draws=[clouds.one_per_type(order, tokens, 600) for order in orders],
        word_draws=[],
        others=[clouds.all_tokens(orders[0], tokens, 2048)],
        halves=half_splits(n_sequences, 20, 0),
    )
    states = torch.randn(len(types), hidden_size, generator=torch.Generator().manual_seed(0))
    states = (states * torch.linspace(1, 0.1, hidden_size)).to(device)
    seconds = _time_per_call(lambda: measure_layer(states, plan), device)
    return seconds / layer_seconds(plan, hidden_size)


if __name__ == "__main__":
    dtype_name, device_name, n_threads = sys.argv[1:]
    torch.set_num_threads(int(n_threads))
    import core.measure.profile  # noqa: F401  # part of the memory of a measurement before it starts

    load_libraries()
    result = self_test(dtype_name, choose_device(device_name), time.process_time())
    print(json.dumps(asdict(result)))
