"""What a run says about its own making: phases, memory, versions of code and libraries."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from core.records import Progress, ProgressCallback

if TYPE_CHECKING:
    from core.models.model import Blueprint
    from core.texts.corpora import Corpus

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "safetensors", "gguf", "scipy", "scikit-dimension")

WATCH_EVERY = 0.02
"""Seconds between two looks at the memory; one takes 30 microseconds."""


@dataclass
class Clock:
    """Phase times, peak memory and the start."""

    progress: ProgressCallback
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(tzinfo=None))
    """In UTC, without a zone, as it is stored."""
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    _phase: str = ""
    _since: float = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.report(Progress(name, 0, 1))
        self._phase, self._since = name, time.perf_counter()
        with self._watched():
            yield
        self.seconds = self.so_far()["seconds"]
        self._phase = ""

    def so_far(self) -> dict[str, Any]:
        """What was spent, as JSON can hold it, for a process that goes on after this one."""
        seconds = dict(self.seconds)
        if self._phase:
            seconds[self._phase] = seconds.get(self._phase, 0.0) + time.perf_counter() - self._since
        return {"started_at": self.started_at.isoformat(), "seconds": seconds, "peak_memory": self.peak_memory}

    def add(self, earlier: dict[str, Any]) -> None:
        """What an earlier process spent on the same pass; nothing where it left nothing."""
        if not earlier:
            return
        self.started_at = datetime.fromisoformat(earlier["started_at"])
        for name, seconds in earlier["seconds"].items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.peak_memory = max(self.peak_memory, earlier["peak_memory"])

    def report(self, progress: Progress) -> None:
        self._look()
        self.progress(progress)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Looks at the memory all the while: the largest tensors live and die between two steps of progress."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(WATCH_EVERY):
                self._look()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            self._look()

    def _look(self) -> None:
        self.peak_memory = max(self.peak_memory, anonymous_memory())


def anonymous_memory() -> int:
    """Bytes of memory that are the process's own, mapped files left out where the system tells them apart."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return psutil.Process().memory_info().rss


def decisive(blueprint: Blueprint, corpus: Corpus) -> list[object]:
    """What decides about results beside the request: code, libraries, the model's files, the text, the kind of device."""
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
    return {name: _version(name) for name in PACKAGES}


def code_stamp() -> str:
    """Changes with every change of the code, also of one that no version tells apart from the last."""
    files = sorted((ROOT / "core").rglob("*.py"))
    stamps = [(str(file.relative_to(ROOT)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stamps).encode()).hexdigest()[:12]


def code_version() -> str:
    """Workdim's version, and the commit where the code is a git checkout.

    Code that was sent to a cluster without its checkout has it from whoever sent it, in WORKDIM_CODE_VERSION.
    """
    if sent := os.environ.get("WORKDIM_CODE_VERSION"):
        return sent
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=10"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return version
    if not (ROOT / ".git").exists():  # unpacked inside another project's checkout
        return version
    return f"{version}+{done.stdout.strip()}" if done.returncode == 0 and done.stdout.strip() else version


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
