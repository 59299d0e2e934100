from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.commands.app import free_port
from tests.browser.walk import started, wait_for_port
from tests.screens import ROOT

sync_api = pytest.importorskip("playwright.sync_api")


@contextmanager
def serving(warehouse: Path) -> Iterator[str]:
    """The app on this warehouse, whose folder takes what it writes on its terminal; its address."""
    port = free_port(8701)
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    environment = os.environ | {"WORKDIM_WAREHOUSE": str(warehouse), "PYTHONUTF8": "1"}
    with (warehouse.parent / "server.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for_port(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=20)


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright, started(playwright) as found:
        if found is None:
            pytest.skip("no Chromium or Chrome on the PATH")
        yield found
