"""What a job keeps, so that another process can go on: its results in a folder, what they took, what they depend on.

The folder holds the hidden states of a pass and then each layer; or the answers to a task, or the steps of a plan. An
interrupted job resumes from it, if request, code, libraries and files are the same; otherwise it starts over. Each file
is written under another name, synced and renamed, so that no file is ever half written.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.files import PROJECT, free_some, read_json_or_none, utc_now, version, write_atomic, writing
from core.limits import anonymous_memory
from core.records import Progress, ProgressCallback

if TYPE_CHECKING:
    from core.models.model import Blueprint
    from core.texts.corpora import Corpus

KEY_FILE = "key.json"
RESOURCES_FILE = "spent.json"
STEP_PREFIX = "step-"
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "safetensors", "gguf", "scipy", "scikit-dimension")

SAMPLE_INTERVAL = 0.02
"""Seconds between two samples of memory use; one takes 30 microseconds."""


class Checkpoint:
    """The stored results of a pass in `folder`, which is emptied if it belongs to another `key`.

    `key` holds everything that decides about the results, as JSON values.
    """

    def __init__(self, folder: Path, key: Any) -> None:
        self._folder = folder
        own_key = {"sha256": hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()}
        stored_key = read_json_or_none(folder / KEY_FILE)
        self.was_emptied = stored_key is not None and stored_key != own_key
        """Whether results of another key were deleted."""
        if stored_key != own_key:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / KEY_FILE, own_key)

    def resources(self) -> dict[str, Any]:
        """Time and memory spent on the stored results (`Clock.resources`); empty if there are none."""
        return read_json_or_none(self._folder / RESOURCES_FILE) or {}

    def step(self, name: str, *records: type) -> Any:
        """The stored result of a step, made of arrays and of these `records`; None if the step is not finished."""
        content = read_json_or_none(self._step_file(name))
        return None if content is None else _decode(content, {one.__name__: one for one in records})

    def has_step(self, name: str) -> bool:
        return self._step_file(name).is_file()

    def save_step(self, name: str, value: Any, resources: dict[str, Any] | None = None) -> None:
        """Store the result of a step, and the time and memory spent so far if they are told."""
        if resources:
            _write(self._folder / RESOURCES_FILE, resources)
        _write(self._step_file(name), _encode(value))

    def _step_file(self, name: str) -> Path:
        return self._folder / f"{STEP_PREFIX}{name}.json"


def _write(path: Path, content: Any) -> None:
    """Write a JSON file atomically, every double so that it reads back the same. Raises ResourceError."""
    with writing(path.parent, free_some("--warehouse")):
        write_atomic(path, json.dumps(content).encode())


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


# --- what results took ------------------------------------------------------------------------------------------------


@dataclass
class Clock:
    """Start time, time per phase, processor time and peak memory, of the process with its workers."""

    progress: ProgressCallback
    memory_of_workers: Callable[[], int] = lambda: 0
    processor_of_workers: Callable[[], float] = lambda: 0.0
    started_at: datetime = field(default_factory=utc_now)
    """In UTC, without a zone, as it is stored."""
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    _phase: str = ""
    _since: float = 0.0
    _processor_before: float = field(init=False)

    def __post_init__(self) -> None:
        self._processor_before = self._processor_now()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time and watch the memory of a phase."""
        self.report(Progress(name, 0, 1))
        self._phase, self._since = name, time.perf_counter()
        stop = threading.Event()

        def watch() -> None:  # in a thread, as the largest tensors live shorter than a step of progress
            while not stop.wait(SAMPLE_INTERVAL):
                self._update_peak()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self._update_peak()
        self.seconds = self.resources()["seconds"]
        self._phase = ""

    def resources(self) -> dict[str, Any]:
        """Time and memory spent so far, as JSON values, for a process that resumes this one."""
        seconds = dict(self.seconds)
        if self._phase:
            seconds[self._phase] = seconds.get(self._phase, 0.0) + time.perf_counter() - self._since
        return {
            "started_at": self.started_at.isoformat(),
            "seconds": seconds,
            "processor_seconds": self.processor_seconds,
            "peak_memory": self.peak_memory,
        }

    @property
    def processor_seconds(self) -> float:
        """Processor time so far, which a busy machine stretches far less than the time of the clock on the wall."""
        return self._processor_now() - self._processor_before

    def add_earlier(self, earlier: dict[str, Any]) -> None:
        """Add what an earlier process spent on the same pass; `earlier` may be empty."""
        if not earlier:
            return
        self.started_at = datetime.fromisoformat(earlier["started_at"])
        for name, seconds in earlier["seconds"].items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self._processor_before -= earlier["processor_seconds"]
        self.peak_memory = max(self.peak_memory, earlier["peak_memory"])

    def report(self, progress: Progress) -> None:
        """Pass progress on."""
        self._update_peak()
        self.progress(progress)

    def _processor_now(self) -> float:
        return time.process_time() + self.processor_of_workers()

    def _update_peak(self) -> None:
        self.peak_memory = max(self.peak_memory, anonymous_memory() + self.memory_of_workers())


# --- what they depend on ----------------------------------------------------------------------------------------------


def result_key(blueprint: Blueprint, corpus: Corpus) -> list[object]:
    """What results depend on besides the request: code, libraries, model files, text, and type of device."""
    row = blueprint.weightless.row
    return [
        code_version(),
        code_stamp(),
        library_versions(),
        row.weights_sha256,
        row.configuration_hash,
        row.tokenizer_hash,
        corpus.row.sha256,
        blueprint.device.type,
    ]


def library_versions() -> dict[str, str]:
    """Package -> installed version, of the libraries that results depend on."""
    return {name: _version(name) for name in PACKAGES}


def code_stamp() -> str:
    """A hash that changes with every change of the code, also between commits."""
    files = sorted((PROJECT / "core").rglob("*.py"))
    stamps = [(str(file.relative_to(PROJECT)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stamps).encode()).hexdigest()[:12]


def code_version() -> str:
    """Workdim's version, and the commit where the code is a git checkout.

    Code sent to a cluster without its checkout gets it from the environment variable WORKDIM_CODE_VERSION.
    """
    if version_sent := os.environ.get("WORKDIM_CODE_VERSION"):
        return version_sent
    if not (PROJECT / ".git").exists():  # unpacked, perhaps inside another project's checkout
        return version()
    try:
        completed = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=10"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return version()
    commit = completed.stdout.strip() if completed.returncode == 0 else ""
    return f"{version()}+{commit}" if commit else version()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
