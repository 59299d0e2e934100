from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.warehouse.warehouse import Warehouse
from tests import portions

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="all random kills and mutations instead of a portion, and the tests marked `thorough`",
    )


def pytest_configure(config: pytest.Config) -> None:
    portions.everything = config.getoption("--thorough")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--thorough"):
        for item in items:
            if item.get_closest_marker("thorough"):
                item.add_marker(pytest.mark.skip(reason="only with --thorough"))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    from tests.tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    from tests.tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-bert", "bert")


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    return Warehouse(tmp_path / "w.duckdb")


@pytest.fixture(scope="session")
def demo_warehouse(tmp_path_factory) -> Warehouse:
    """What README's first command leaves behind, app aside: both demo models, measured by the real command."""
    path = tmp_path_factory.mktemp("demo") / "workdim.duckdb"
    done = run_core("demo", "--no-app", warehouse=path, timeout=380)
    assert done.returncode == 0, done.stderr[-2000:]
    return Warehouse(path)


def run_core(
    *arguments: str, warehouse: Path, timeout: float = 120, module: str = "core", **environment: str
) -> subprocess.CompletedProcess:
    """`python -m core ...` as a user runs it."""
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
