"""What a pass has finished so far, in a folder that outlives its process: the states of all tokens, then each layer; or
the log-likelihoods of a task's answers.

A measurement that was stopped goes on from here. A checkpoint is only used by the same request, code, libraries and
files: anything else begins anew. Each file is written beside, forced to the disk and renamed, so that its name never
stands for half of it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ResourceError
from core.files import read_json, write_atomic
from core.geometry.results import CloudCorrelator, CloudEstimate, Distribution, LayerResult
from core.measure.capture import STATES_FILE, HiddenStates
from core.records import Estimate

_KEY_FILE = "key.json"
_FORWARD_FILE = "forward.json"
_SPENT_FILE = "spent.json"
_ARRAYS = ("norms", "nats")
"""Of HiddenStates, what has a file of its own beside the states, where there is any."""


class Checkpoint:
    """The results of a pass in `folder`, emptied where they belong to anything but `key`.

    `key` is whatever decides about the results, as something that JSON can write.
    """

    def __init__(self, folder: Path, key: Any) -> None:
        self._folder = folder
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
        found = _read(folder / _KEY_FILE)
        self.was_emptied = found is not None and found != {"sha256": digest}
        """Whether something else had been kept there."""
        if found != {"sha256": digest}:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / _KEY_FILE, json.dumps({"sha256": digest}).encode())

    def states(self) -> HiddenStates | None:
        """The states of a forward pass that came to its end."""
        found = _read(self._folder / _FORWARD_FILE)
        if found is None:
            return None
        states = np.load(self._folder / STATES_FILE, mmap_mode="r")
        files = {name: self._folder / f"{name}.npy" for name in _ARRAYS}
        arrays: dict[str, Any] = {
            name: np.load(file, allow_pickle=False) if file.exists() else None for name, file in files.items()
        }
        return HiddenStates(states, **arrays, **found)

    def spent(self) -> dict[str, Any]:
        """What was spent on what is here (Clock.so_far); empty where nothing is."""
        return _read(self._folder / _SPENT_FILE) or {}

    def save_states(self, states: HiddenStates, spent: dict[str, Any]) -> None:
        """Note that the pass has come to its end; the states themselves are in the folder already."""
        states.states.flush()
        others = {field.name: getattr(states, field.name) for field in fields(states) if field.name != "states"}
        for name in _ARRAYS:
            if (values := others.pop(name)) is not None:
                content = io.BytesIO()
                np.save(content, values, allow_pickle=False)
                _write(self._folder / f"{name}.npy", content.getvalue())
        _write(self._folder / _SPENT_FILE, json.dumps(spent).encode())
        _write(self._folder / _FORWARD_FILE, json.dumps(others).encode())

    def layer(self, index: int) -> LayerResult | None:
        found = _read(self._layer_file(index))
        return None if found is None else _as_layer(found)

    def save_layer(self, index: int, layer: LayerResult, spent: dict[str, Any]) -> None:
        text = json.dumps(asdict(layer), default=_plain)  # Python writes every double so that it reads back the same
        _write(self._layer_file(index), text.encode())
        _write(self._folder / _SPENT_FILE, json.dumps(spent).encode())

    def step(self, name: str, records: Mapping[str, type]) -> Any:
        """What a step has brought, of whatever records and arrays; None where it has not come to its end.

        `records`: the record classes that may stand in it, by name.
        """
        found = _read(self._folder / f"step-{name}.json")
        return None if found is None else _decoded(found, records)

    def save_step(self, name: str, value: Any) -> None:
        _write(self._folder / f"step-{name}.json", json.dumps(_encoded(value)).encode())

    def _layer_file(self, index: int) -> Path:
        return self._folder / f"layer-{index:04d}.json"


def _as_layer(found: dict[str, Any]) -> LayerResult:
    return LayerResult(
        [
            CloudEstimate(
                **e | {"estimate": Estimate(**e["estimate"]), "gaussian_equivalent": tuple(e["gaussian_equivalent"])}
            )
            for e in found["estimates"]
        ],
        [CloudCorrelator(**c) for c in found["correlators"]],
        [Distribution(d["quantity"], _as_array(d["rows"]), _as_array(d["values"])) for d in found["distributions"]],
        found["duplicate_share"],
        found["device"],
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "numbers": value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a checkpoint")


def _as_array(found: dict[str, Any]) -> np.ndarray:
    return np.array(found["numbers"], dtype=found["dtype"])


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content)
    except OSError as error:
        raise ResourceError(
            "What was measured cannot be kept in {parent}: {reason}. Free some space, or put the warehouse on "
            "another disk with --warehouse.",
            parent=path.parent,
            reason=error.strerror or error,
        ) from error


def _encoded(value: Any) -> Any:
    """As JSON can hold it: an array as its bytes, a record by the name of its class."""
    if isinstance(value, np.ndarray):
        content = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": content, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value):
        return {
            "record": type(value).__name__,
            "fields": {f.name: _encoded(getattr(value, f.name)) for f in fields(value)},
        }
    if isinstance(value, dict):
        return {"pairs": [[_encoded(key), _encoded(one)] for key, one in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_encoded(one) for one in value]}
    return [_encoded(one) for one in value] if isinstance(value, list) else value


def _decoded(found: Any, records: Mapping[str, type]) -> Any:
    if isinstance(found, list):
        return [_decoded(one, records) for one in found]
    if not isinstance(found, dict):
        return found
    if "array" in found:
        content = np.frombuffer(base64.b64decode(found["array"]), dtype=np.dtype(found["dtype"]))
        return content.reshape(found["shape"]).copy()
    if "record" in found:
        values = {name: _decoded(value, records) for name, value in found["fields"].items()}
        return records[found["record"]](**values)
    if "tuple" in found:
        return tuple(_decoded(one, records) for one in found["tuple"])
    return {_decoded(key, records): _decoded(value, records) for key, value in found["pairs"]}
