from __future__ import annotations

import functools
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from core import limits
from core.commands.main import main
from core.records import RunConfig
from core.registry.protocols import PROTOCOLS
from core.runs import jobs, requests
from core.runs.jobs import Job
from core.warehouse.warehouse import Warehouse
from tests import portions

ROOT = Path(__file__).resolve().parents[1]
os.environ["WORKDIM_LANGUAGE"] = "en"  # what a verb says is looked for in English, whatever the language of the desk
IN_MEMORY = Path("/dev/shm")
ROOM = 8 * 2**30
"""Bytes that must be free: a whole run leaves less than two gigabytes."""
MARKS_OF_FIXTURES = {"demo_warehouse": "model", "browser": "browser", "cluster": "cluster", "hub": "network"}
"""A test that needs the fixture gets the marker."""
FIRST = ("model", "browser", "cluster", "network", "slow")
"""What takes long begins first, so that both workers end at about the same time."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="all random kills and mutations instead of a portion, and the tests marked `thorough`",
    )


def pytest_configure(config: pytest.Config) -> None:
    if IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > ROOM:
        # A disk that writes through takes five milliseconds a file, and most of the time of what is small. A kill loses
        # as much here as there.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))
    portions.everything = config.getoption("--thorough")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        needed = getattr(item, "fixturenames", ())
        for fixture, mark in MARKS_OF_FIXTURES.items():
            if fixture in needed:
                item.add_marker(mark)
        if item.get_closest_marker("thorough") and not portions.everything:
            item.add_marker(pytest.mark.skip(reason="only with --thorough"))
    items.sort(key=_start)  # stable: files stay together
    if "streamlit.testing.v1" in sys.modules:
        _look_for_components_once()


def _look_for_components_once() -> None:
    """Streamlit reads what is installed for each app that a test opens: an eighth of a second, more than a page takes."""
    from streamlit.components.v2 import manifest_scanner

    manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)


def _start(item: pytest.Item) -> int:
    return next((n for n, mark in enumerate(FIRST) if item.get_closest_marker(mark)), len(FIRST))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    from tests.tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    from tests.tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-bert", "bert")


@pytest.fixture
def small_protocol(monkeypatch) -> str:
    """The name of a protocol by which a tiny model is measured in half a second, here and in the processes of jobs."""
    from tests.runs.small import MORE, SMALL

    for name, one in MORE.items():
        monkeypatch.setitem(PROTOCOLS, name, one)
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-m", "tests.runs.small"))
    return SMALL.name


@pytest.fixture
def config(tiny_llama, small_protocol) -> RunConfig:
    """A request that is measured in half a second."""
    return RunConfig(str(tiny_llama), "english-business", small_protocol, device="cpu")


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    return Warehouse(tmp_path / "w.duckdb")


@pytest.fixture(scope="session")
def demo_warehouse(tmp_path_factory) -> Warehouse:
    """What README's first command leaves behind, app aside: both demo models, measured by the real command, the larger
    one on one cloud alone without `--thorough`."""
    path = tmp_path_factory.mktemp("demo") / "workdim.duckdb"
    module = "core" if portions.everything else "tests.runs.lean_demo"
    done = start_core("demo", "--no-app", warehouse=path, timeout=380, module=module)
    assert done.returncode == 0, done.stderr[-2000:]
    return Warehouse(path)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is wrapped and no cell cut, but in a test that asks for it."""
    monkeypatch.setenv("COLUMNS", "1000")


def run_core(*arguments: str, warehouse: Path, **environment: str) -> subprocess.CompletedProcess:
    """`workdim ...` within this process, and so its jobs: what it prints, and its exit code. Nobody can be asked."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    log = logging.StreamHandler(err)
    log.setFormatter(logging.Formatter("workdim: %(message)s"))
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"WORKDIM_WAREHOUSE": str(warehouse)} | environment))
        stack.enter_context(patch("sys.stdin", io.TextIOWrapper(io.BytesIO(), encoding="utf-8")))
        stack.enter_context(patch.object(jobs, "start_job", _measure_here))
        stack.enter_context(patch.object(requests, "_run_process", answer_here))
        stack.enter_context(patch.object(limits, "watched", nullcontext))  # by what ends a job's own process
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        logging.getLogger().addHandler(log)
        stack.callback(logging.getLogger().removeHandler, log)
        try:
            code = main(arguments)
        except SystemExit as ended:  # the parser of the command line
            code = ended.code
        said = [stream.buffer.getvalue().decode("utf-8").replace("\r\n", "\n") for stream in (out, err)]
    return subprocess.CompletedProcess(arguments, code, *said)


def answer_here(kind: str, request: object, warehouse: Warehouse, cpus: int | None = None) -> object:
    return json.loads(json.dumps(requests.answer(kind, json.loads(json.dumps(request)))))


def _measure_here(job: Job, warehouse: Warehouse) -> SimpleNamespace:
    """The job is at its end when this returns: a process of its own would have to import torch first."""
    done = run_core("jobs", "resume", job.job_id, "--here", warehouse=warehouse.path)
    if job.folder.exists():  # a job that is done has none
        with job.log.open("a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
    return SimpleNamespace(pid=os.getpid(), poll=lambda: done.returncode)


def start_core(
    *arguments: str, warehouse: Path, timeout: float = 120, module: str = "core", **environment: str
) -> subprocess.CompletedProcess:
    """`workdim ...` as a user runs it: for what only a process of its own shows. It takes a second to start."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"WORKDIM_WAREHOUSE": str(warehouse), "PYTHONUTF8": "1"} | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
