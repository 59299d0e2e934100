"""What a measurement or plan will take: from the shape of a model and what earlier measurements took on this machine.

No library of models is loaded, so that a form can say it while it is filled in.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.errors import InputError
from core.files import max_parallel_jobs
from core.records import RunConfig
from core.registry.estimators import CONTROLLED, JUDGED, extra_seconds, layer_seconds
from core.registry.protocols import CHANGED, DRAWN, PASSES, PROTOCOLS, STANDARD_CONTROLS, Protocol
from core.tables import ModelRow
from core.warehouse.connection import exists
from core.warehouse.runs import StoredCost, stored_costs
from core.warehouse.warehouse import Warehouse

START = 10.0
"""Processor seconds until a network is opened: libraries, configuration, tokenizer, text."""
LOAD = {True: 2e-8, False: 5e-9}
"""Processor seconds per parameter to read and place a file: of GGUF, dequantised, its vocabulary included; of safetensors."""
FORWARD = 2.4e-11
"""Processor seconds per parameter and token of a forward pass with head and loss."""
PAIRS = 0.02
"""What comparing all pairs of layers takes of measuring them."""
OUTSET = 0.1
"""Processor seconds of a phase, whatever its size."""
SCALES = (0.3, 3.0)
"""Limits of what earlier runs may say of this machine: one that was disturbed is not taken for its speed."""
SHORTEST = 10.0
"""Processor seconds of the shortest run that says something of it: a smaller model's are those of starting."""
NEWEST = 200
"""Own runs that are looked at: a form asks again with every change, of warehouses of many thousand runs too."""
CPU = "cpu"
_NAMED_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([mb])(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class Outline:
    """What times follow from of a model."""

    parameters: float
    n_layers: float
    hidden_size: float
    is_gguf: bool
    is_exact: bool = True
    """False where it follows from its name and from models of that size."""


@dataclass(frozen=True)
class Pace:
    """Seconds on this machine, beside what it does now, per processor second of the amounts above."""

    alone: float
    """Of what one thread does."""
    together: float
    """Of what all processors of the job share."""


def known_costs(warehouse: Warehouse) -> list[StoredCost]:
    """`stored_costs`; none where there is no warehouse yet, which is not made, or none that can be read now."""
    with suppress(InputError):  # what needs the warehouse refuses by itself
        if exists(warehouse.path):
            return stored_costs(warehouse)
    return []


def outline(reference: str, known: Sequence[StoredCost]) -> Outline | None:
    """The shape of a model: as a run has stored it, as its folder says, or as its name lets expect; None where nothing does."""
    if stored := next((one for one in known if one.reference in (reference.partition("@")[0], reference)), None):
        return outline_of(stored)
    folder = Path(os.path.expanduser(reference))  # Path.expanduser fails for a home that is not there
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = config.get("text_config", config)
        n_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        size = {"float32": 4}.get(config.get("torch_dtype") or config.get("dtype"), 2)
        return Outline(n_bytes / size, config["num_hidden_layers"], config["hidden_size"], is_gguf=False)
    size_in_name = _NAMED_SIZE.search(reference)
    n = float(size_in_name[1]) * {"m": 1e6, "b": 1e9}[size_in_name[2].lower()] if size_in_name else 0.0
    if not n or not known:
        return None
    near = min(known, key=lambda one: abs(math.log(one.parameters / n)))
    width = (n / near.parameters) ** (1 / 3)  # depth and width grow with the third root together
    is_gguf = "gguf" in reference.lower()
    return Outline(n, near.n_layers * width, near.hidden_size * width, is_gguf, is_exact=False)


def outline_of(model: ModelRow | StoredCost) -> Outline:
    """The shape of a model that was read, now or for an earlier run."""
    return Outline(model.parameters, model.n_layers, model.hidden_size, model.weight_format == "gguf")


def pass_seconds(
    model: Outline, protocol: Protocol, name: str, pace: Pace, estimators: tuple[str, ...] = ()
) -> dict[str, float]:
    """Phase -> seconds of one pass; `estimators` are those beyond the usual ones."""
    one = PASSES[name]
    n_seeds = protocol.n_control_seeds if one.judges else 1
    share = JUDGED if one.judges else CONTROLLED if one.is_control else 1.0
    forward = OUTSET + model.parameters * protocol.n_sequences * protocol.n_tokens * FORWARD
    layer = share * layer_seconds(protocol.max_types, model.hidden_size)
    layer += extra_seconds(estimators, protocol.max_types) if estimators else 0.0
    geometry = OUTSET + (model.n_layers + 2) * layer
    load = OUTSET + (0.0 if one.weights == DRAWN else model.parameters * LOAD[model.is_gguf])
    # One more pass measures how much the trained blocks write.
    seeds = {"seeds": n_seeds * forward + (n_seeds - 1) * geometry} if one.weights in CHANGED else {}
    shared = {**seeds, "forward": forward, "geometry": geometry, "layers": OUTSET + PAIRS * geometry}
    return {"load": load * pace.alone, **{phase: seconds * pace.together for phase, seconds in shared.items()}}


def plan_seconds(model: Outline, n_tokens: float, readings: int, pace: Pace) -> float:
    """Seconds of a layer plan that passes so many tokens through the model and reads its weights so often from their files."""
    load = START + model.parameters * LOAD[model.is_gguf] * max(1, readings)
    return load * pace.alone + model.parameters * n_tokens * FORWARD * pace.together


def expected_seconds(config: RunConfig, known: Sequence[StoredCost]) -> tuple[float, bool] | None:
    """Seconds of a measurement on this machine, and whether the model's shape is known; None where nothing is known of it."""
    model, protocol = outline(config.model, known), PROTOCOLS.get(config.protocol)
    pace = pace_of(known, CPU if config.device == "auto" else config.device)
    if model is None or protocol is None or pace is None:
        return None
    names = {*protocol.passes, *(STANDARD_CONTROLS if config.controls else ())} - {"without_bos"}
    passes = [pass_seconds(model, protocol, name, pace) for name in (*names, "text")]
    return START * pace.alone + sum(sum(one.values()) for one in passes), model.is_exact


def pace_of(known: Sequence[StoredCost], device: str) -> Pace | None:
    """The pace of this machine; None for a GPU that nothing was measured on yet.

    It follows from the least disturbed of the newest own runs, and on a CPU from the processes at work in the last minute.
    """
    kind = device.partition(":")[0]
    own = [one for one in known if one.is_own and one.device == kind and one.protocol in PROTOCOLS][:NEWEST]
    least = min(filter(None, map(_ratio, own)), default=None)
    if device != CPU:
        return None if least is None else Pace(least, least)
    scale = min(max(least or 1.0, SCALES[0]), SCALES[1])
    n_cpus = os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")  # a list of numbers is allowed too
    threads = max(1, (int(told) if told.isdecimal() else n_cpus) // max_parallel_jobs())
    load = psutil.getloadavg()[0]
    # Of n processors, as many processes as want them have an equal share.
    share = {n: max(1.0, (load + n) / n_cpus) for n in (1, threads)}
    return Pace(scale * share[1], scale * share[threads] / threads)


def _ratio(run: StoredCost) -> float | None:
    """What a run on text took, over what is expected of it on a machine at rest; None where it was too short to tell.

    On a CPU processor time tells it: a busy machine makes a run wait, and hardly work more.
    """
    expected = sum(pass_seconds(outline_of(run), PROTOCOLS[run.protocol], "text", Pace(1.0, 1.0)).values())
    took = run.processor_seconds if run.device == CPU else sum(json.loads(run.phase_seconds).values())
    return took / expected if took is not None and expected >= SHORTEST else None
