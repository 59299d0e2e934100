"""What Workdim adds to Streamlit's server."""

from __future__ import annotations

import ast
import asyncio
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.commands import app
from core.files import READ_ONLY
from core.ui import inputs, server
from tests.screens import ROOT

HOSTS = ["localhost", "workdim.example.com"]


def answered(monkeypatch: pytest.MonkeyPatch, kind: str, address: str = "/", **headers: str) -> list[dict]:
    """What the server sends to such a request, of which a page would answer `page`."""
    monkeypatch.setattr(server.config, "get_option", {"server.allowedHosts": HOSTS}.__getitem__)
    sent: list[dict] = []

    async def page(scope, receive, send) -> None:
        await send({"type": f"{kind}.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})

    async def send(message) -> None:
        sent.append(message)

    async def receive() -> dict:
        return {"type": "websocket.connect"}

    app = page
    for part in reversed(server.middleware()):
        app = part.cls(app, *part.args, **part.kwargs)
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    path, _, asked = address.partition("?")
    scope = {"type": kind, "headers": lines, "method": "GET", "path": path, "scheme": "http"}
    scope["query_string"] = asked.encode()
    with ThreadPoolExecutor(max_workers=1) as thread:  # this one has a loop already where a browser ran before
        thread.submit(asyncio.run, app(scope, receive, send)).result()
    return sent


def test_what_the_first_screen_needs_is_loaded_before_anybody_asks(monkeypatch) -> None:
    monkeypatch.setattr(server, "_loading", [])
    begun, let_go = threading.Event(), threading.Event()
    monkeypatch.setattr(server, "_load", lambda: (begun.set(), let_go.wait(20)))

    async def start() -> None:
        async with server.lifespan(None):
            assert begun.wait(20)  # the server goes on meanwhile

    with ThreadPoolExecutor(max_workers=2) as threads:
        threads.submit(asyncio.run, start()).result()
        page = threads.submit(server.wait_until_loaded)
        assert not page.done()
        let_go.set()
        page.result(20)


def test_no_other_site_may_show_a_page_in_a_frame(monkeypatch) -> None:
    headers = dict(answered(monkeypatch, "http", host="localhost:8501")[0]["headers"])
    assert headers[b"content-security-policy"] == b"frame-ancestors 'self'"
    assert headers[b"x-frame-options"] == b"SAMEORIGIN" and headers[b"content-type"] == b"text/html"
    assert headers[b"x-content-type-options"] == b"nosniff" and headers[b"referrer-policy"] == b"same-origin"


@pytest.mark.parametrize("host", ["localhost:8501", "workdim.example.com"])
def test_pages_of_the_server_itself_are_answered(monkeypatch, host) -> None:
    assert answered(monkeypatch, "http", host=host)[0]["status"] == 200
    opened = answered(monkeypatch, "websocket", host=host, origin=f"https://{host}")
    assert opened[0]["type"] == "websocket.response.start"


def test_other_names_and_pages_of_other_ports_are_refused(monkeypatch) -> None:
    refused = answered(monkeypatch, "http", host="rebound.example.org")[0]
    assert refused["status"] == 400 and (b"x-frame-options", b"SAMEORIGIN") in refused["headers"]
    for origin in ("http://localhost:9999", "https://example.org", "null"):
        (closed,) = answered(monkeypatch, "websocket", host="localhost:8501", origin=origin)
        assert closed == {"type": "websocket.close", "code": server.REFUSED}


def test_what_changes_something_is_not_drawn_where_the_app_may_only_show(monkeypatch) -> None:
    drawn = []

    @inputs.hidden_when_read_only
    def draw(what: str) -> None:
        drawn.append(what)

    draw("a")
    monkeypatch.setenv(READ_ONLY, "1")
    draw("b")
    assert drawn == ["a"]


@pytest.mark.parametrize(
    "script", [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))], ids=lambda path: path.name
)
def test_no_script_has_a_text_that_streamlit_would_draw(script: Path) -> None:
    """It draws every expression that stands alone, but for the script's own docstring."""
    body = ast.parse(script.read_text(encoding="utf-8")).body
    alone = [node.value for node in body[1:] if isinstance(node, ast.Expr)]
    assert not [ast.unparse(value) for value in alone if not isinstance(value, ast.Call)]


def test_an_error_offers_no_search_of_its_text_on_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(app.subprocess, "Popen", lambda command, **_more: started.append(command))
    app.start_server(Path("w.duckdb"), 8501)
    at = started[0].index("--client.showErrorLinks")
    assert started[0][at + 1] == "false"
    set_by_file = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert set_by_file["client"]["showErrorLinks"] is False
