"""What a measurement will take, told at once: from the shape of a model and what earlier measurements took here.

No library of models is loaded, so that a form can say it while it is filled in. `preflight_card` reads model and text,
refuses what cannot be measured, and takes some seconds for it.
"""

from __future__ import annotations

import json
import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import psutil

from core.files import max_parallel_jobs
from core.records import RunConfig
from core.registry.passes import CONTROLS, DRAWN
from core.registry.protocols import PROTOCOLS, STANDARD_CONTROLS, Protocol

START = 10.0
"""Processor seconds until a network is opened: libraries, configuration, tokenizer, text."""
LOAD = {True: 8e-8, False: 5e-9}
"""Processor seconds per parameter to read and place a file: of GGUF, dequantised, its vocabulary included; of safetensors."""
FORWARD = 2.4e-11
"""Processor seconds per parameter and token of a forward pass with head and loss."""
LAYER, LAYER_POINTS, LAYER_POWER = 1.81e-3, 800, 1.7
"""Processor seconds of a layer per width at so many points, and how they grow with points: SmolLM2, quick and standard."""
CONTROL = {True: 0.06, False: 0.4}
"""What a layer of a control takes of one of the text: of a draw that judges, which has d2 alone, and of an effect."""
SCALES = (0.3, 3.0)
"""Limits of what earlier runs may say of this machine: one that was disturbed is not taken for its speed."""
_NAMED_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([mb])(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class Outline:
    """What is known of a model before it is read."""

    parameters: float
    n_layers: float
    hidden_size: float
    is_gguf: bool
    is_exact: bool = True
    """False where it follows from its name and from models of that size."""


def outline(reference: str, known: pl.DataFrame) -> Outline | None:
    """The shape of a model: as a run has stored it, as its folder says, or as its name lets expect; None where nothing does.

    `known` has rows of `queries.stored_costs`.
    """
    rows = known.filter((pl.col("reference") == reference.partition("@")[0]) | (pl.col("reference") == reference))
    if not rows.is_empty():
        return _stored(rows.row(0, named=True))
    folder = Path(os.path.expanduser(reference))  # Path.expanduser fails for a home that is not there
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = config.get("text_config", config)
        n_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        size = {"float32": 4}.get(config.get("torch_dtype") or config.get("dtype"), 2)
        return Outline(n_bytes / size, config["num_hidden_layers"], config["hidden_size"], is_gguf=False)
    size_in_name = _NAMED_SIZE.search(reference)
    n = float(size_in_name[1]) * {"m": 1e6, "b": 1e9}[size_in_name[2].lower()] if size_in_name else 0.0
    if not n or known.is_empty():
        return None
    near = min(known.unique("reference").to_dicts(), key=lambda row: abs(math.log(row["parameters"] / n)))
    width = (n / near["parameters"]) ** (1 / 3)  # depth and width grow with the third root together
    is_gguf = "gguf" in reference.lower()
    return Outline(n, near["n_layers"] * width, near["hidden_size"] * width, is_gguf, is_exact=False)


def phases(model: Outline, protocol: Protocol, controls: bool, own_controls: bool = True) -> tuple[float, float]:
    """Processor seconds of a whole measurement: what one thread does, and what all of the job's processors share."""
    names = {*(protocol.passes if own_controls else ()), *(STANDARD_CONTROLS if controls else ())}
    passes = [CONTROLS[name] for name in names if name != "without_bos"]
    n_seeds = [protocol.n_control_seeds if one.judges else 1 for one in passes]
    load = model.parameters * LOAD[model.is_gguf]
    n_loads = 1 + sum(one.weights != DRAWN for one in passes)
    forward = model.parameters * protocol.n_sequences * protocol.n_tokens * FORWARD
    layer = LAYER * model.hidden_size * (protocol.max_types / LAYER_POINTS) ** LAYER_POWER
    n_layers = (model.n_layers + 2) * (1 + sum(CONTROL[one.judges] * n for one, n in zip(passes, n_seeds, strict=True)))
    together = forward * (1 + sum(n_seeds)) + n_layers * layer
    return START + load * n_loads, together


def expected_seconds(config: RunConfig, known: pl.DataFrame, load: float | None = None) -> tuple[float, bool] | None:
    """Seconds of a measurement on this machine beside what it does now, and whether the model's shape is known; None where
    nothing is known of it. `load`: processes at work, by default the mean of the last minute.
    """
    model, protocol = outline(config.model, known), PROTOCOLS.get(config.protocol)
    if model is None or protocol is None:
        return None
    alone, together = phases(model, protocol, config.controls)
    n_cpus = os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")  # a list of numbers is allowed too
    threads = max(1, (int(told) if told.isdecimal() else n_cpus) // max_parallel_jobs())
    load = psutil.getloadavg()[0] if load is None else load
    # Of n processors, as many processes as want them have an equal share.
    share = {n: max(1.0, (load + n) / n_cpus) for n in (1, threads)}
    seconds = alone * share[1] + together / threads * share[threads]
    return seconds * _scale(known), model.is_exact


def _scale(known: pl.DataFrame) -> float:
    """What the least disturbed run here took, over what is expected of it on a machine at rest; 1 without any."""
    ratios = []
    for row in known.filter(is_own=True).to_dicts():
        alone, together = phases(_stored(row), PROTOCOLS[row["protocol"]], controls=False, own_controls=False)
        expected = alone - START + together / max(1, row["threads"] or 1)
        ratios.append(sum(json.loads(row["phase_seconds"]).values()) / expected)
    return min(max(min(ratios, default=1.0), SCALES[0]), SCALES[1])


def _stored(row: dict[str, Any]) -> Outline:
    return Outline(row["parameters"], row["n_layers"], row["hidden_size"], row["weight_format"] == "gguf")
