"""Checkpoints of a job in a folder: the hidden states of a pass, then each layer; or the answers to a task.

An interrupted job resumes from its checkpoint, if request, code, libraries and files are the same; otherwise it starts
over. Each file is written under another name, synced and renamed, so that no file is ever half written.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.files import free_some, read_json_or_none, write_atomic, writing
from core.geometry.results import CloudCorrelator, CloudEstimate, Distribution, LayerResult
from core.measure.capture import STATES_FILE, HiddenStates
from core.records import Estimate

KEY_FILE = "key.json"
FORWARD_FILE = "forward.json"
RESOURCES_FILE = "spent.json"
STEP_PREFIX = "step-"
LAYER_RECORDS = {one.__name__: one for one in (LayerResult, CloudEstimate, CloudCorrelator, Distribution, Estimate)}
ARRAY_FIELDS = ("norms", "nats", "readable")
"""Fields of HiddenStates that are stored as .npy files."""


class Checkpoint:
    """The stored results of a pass in `folder`, which is emptied if it belongs to another `key`.

    `key` holds everything that decides about the results, as JSON values.
    """

    def __init__(self, folder: Path, key: Any) -> None:
        self._folder = folder
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
        stored_key = read_json_or_none(folder / KEY_FILE)
        self.was_emptied = stored_key is not None and stored_key != {"sha256": digest}
        """Whether results of another key were deleted."""
        if stored_key != {"sha256": digest}:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / KEY_FILE, json.dumps({"sha256": digest}).encode())

    def states(self) -> HiddenStates | None:
        """The states of a finished forward pass; None if there is none."""
        content = read_json_or_none(self._folder / FORWARD_FILE)
        if content is None:
            return None
        states = np.load(self._folder / STATES_FILE, mmap_mode="r")
        files = {name: self._folder / f"{name}.npy" for name in ARRAY_FIELDS}
        arrays: dict[str, Any] = {
            name: np.load(file, allow_pickle=False) if file.exists() else None for name, file in files.items()
        }
        return HiddenStates(states, **arrays, **content)

    def resources(self) -> dict[str, Any]:
        """Time and memory spent on the stored results (`Clock.resources`); empty if there are none."""
        return read_json_or_none(self._folder / RESOURCES_FILE) or {}

    def save_states(self, states: HiddenStates, resources: dict[str, Any]) -> None:
        """Mark the forward pass as finished; the states themselves are in the folder already."""
        states.states.flush()
        metadata = {field.name: getattr(states, field.name) for field in fields(states) if field.name != "states"}
        for name in ARRAY_FIELDS:
            if (values := metadata.pop(name)) is not None:
                content = io.BytesIO()
                np.save(content, values, allow_pickle=False)
                _write(self._folder / f"{name}.npy", content.getvalue())
        _write(self._folder / RESOURCES_FILE, json.dumps(resources).encode())
        _write(self._folder / FORWARD_FILE, json.dumps(metadata).encode())

    def layer(self, index: int) -> LayerResult | None:
        """The stored result of a layer; None if it is not finished."""
        return self.step(_layer(index), LAYER_RECORDS)

    def save_layer(self, index: int, layer: LayerResult, resources: dict[str, Any]) -> None:
        """Store the result of a layer, and the time and memory spent so far."""
        self.save_step(_layer(index), layer, resources)

    def step(self, name: str, records: Mapping[str, type]) -> Any:
        """The stored result of a step, made of records and arrays; None if the step is not finished.

        `records`: the record classes that it may contain, by name.
        """
        content = read_json_or_none(self._step_file(name))
        return None if content is None else _decode(content, records)

    def has_step(self, name: str) -> bool:
        return self._step_file(name).is_file()

    def save_step(self, name: str, value: Any, resources: dict[str, Any] | None = None) -> None:
        """Store the result of a step, and the time and memory spent so far if they are told."""
        # Python writes every double so that it reads back the same.
        _write(self._step_file(name), json.dumps(_encode(value)).encode())
        if resources:
            _write(self._folder / RESOURCES_FILE, json.dumps(resources).encode())

    def _step_file(self, name: str) -> Path:
        return self._folder / f"{STEP_PREFIX}{name}.json"


def _layer(index: int) -> str:
    return f"layer-{index:04d}"


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises ResourceError."""
    with writing(path.parent, free_some("--warehouse")):
        write_atomic(path, content)


def _encode(value: Any) -> Any:
    """A value as JSON: an array as base64 bytes, a record with the name of its class."""
    if isinstance(value, np.ndarray):
        content = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": content, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value):
        return {
            "record": type(value).__name__,
            "fields": {record_field.name: _encode(getattr(value, record_field.name)) for record_field in fields(value)},
        }
    if isinstance(value, dict):
        return {"pairs": [[_encode(key), _encode(item)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item) for item in value]}
    return [_encode(item) for item in value] if isinstance(value, list) else value


def _decode(content: Any, records: Mapping[str, type]) -> Any:
    """The value that `_encode` wrote."""
    if isinstance(content, list):
        return [_decode(item, records) for item in content]
    if not isinstance(content, dict):
        return content
    if "array" in content:
        array = np.frombuffer(base64.b64decode(content["array"]), dtype=np.dtype(content["dtype"]))
        return array.reshape(content["shape"]).copy()
    if "record" in content:
        values = {name: _decode(value, records) for name, value in content["fields"].items()}
        return records[content["record"]](**values)
    if "tuple" in content:
        return tuple(_decode(item, records) for item in content["tuple"])
    return {_decode(key, records): _decode(value, records) for key, value in content["pairs"]}
