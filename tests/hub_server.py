"""A model hub and a forward proxy on this machine, as much of them as a download needs."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

SHA = "a" * 40


@dataclass
class Hub:
    """What the server tells of itself, and how it behaves."""

    repositories: dict[str, Path] = field(default_factory=dict)
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Status and X-Error-Code for a repository."""
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the API says of a repository beside its files."""
    closed: set[str] = field(default_factory=set)
    """Repositories that are described to everybody, and whose files are given to nobody."""
    delay: float = 0.0
    """Seconds before each answer."""
    broken: set[str] = field(default_factory=set)
    """Files that end after half of their bytes."""
    asked: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    """Files whose content was given."""
    url: str = ""


def in_force(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """As HF_ENDPOINT and HF_HOME would have it, which are read when the hub's client is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, hub)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with _serving(Handler) as hub.url:
        yield hub


@contextmanager
def _serving(handler: type) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request: BaseHTTPRequestHandler, hub: Hub) -> None:
    path = unquote(urlsplit(request.path).path)
    hub.asked.append(path)
    time.sleep(hub.delay)
    parts = path.removeprefix("/api/models").strip("/").split("/")
    repository, rest = "/".join(parts[:2]), parts[2:]
    status, code = hub.answers.get(repository, (200, ""))
    folder = hub.repositories.get(repository)
    if status == 200 and folder is None:
        status, code = 401, "RepoNotFound"
    if status == 200 and rest[:1] in (["revision"], ["tree"], ["resolve"]) and rest[1] not in (SHA, "main"):
        status, code = 404, "RevisionNotFound"
    if status == 200 and rest[:1] == ["resolve"] and repository in hub.closed:
        status, code = 403, "GatedRepo"
    if status != 200:
        _send(request, status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})
    elif path.startswith("/api/models") and rest[:1] == ["tree"]:
        _send(request, 200, json.dumps(_tree(folder)).encode())
    elif path.startswith("/api/models"):
        about = _about(repository, folder) | hub.told.get(repository, {})
        _send(request, 200, json.dumps(about).encode())
    else:
        _send_file(request, folder / "/".join(rest[2:]), hub)


def _about(repository: str, folder: Path) -> dict[str, Any]:
    files = [{"rfilename": file.name, "size": file.stat().st_size} for file in sorted(folder.iterdir())]
    return {
        "id": repository,
        "modelId": repository,
        "sha": SHA,
        "siblings": files,
        "private": False,
        "gated": False,
        "tags": [],
    }


def _tree(folder: Path) -> list[dict]:
    return [
        {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _etag(file)}
        for file in sorted(folder.iterdir())
    ]


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


def _send_file(request: BaseHTTPRequestHandler, file: Path, hub: Hub) -> None:
    if not file.is_file():
        _send(request, 404, b"", {"X-Error-Code": "EntryNotFound"})
        return
    content = file.read_bytes()
    if request.command == "GET":
        hub.fetched.append(file.name)
    _send(request, 200, content, {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": SHA}, file.name in hub.broken)


def _send(request, status: int, content: bytes, headers: dict[str, str] | None = None, broken: bool = False) -> None:
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content[: len(content) // 2] if broken else content)
        if broken:
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)


@dataclass
class Proxy:
    delay: float = 0.0
    """Seconds before it takes anything on."""
    password: str = ""
    """What it asks for in Proxy-Authorization, if anything."""
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def running_proxy() -> Iterator[Proxy]:
    """Forwards plain http:// requests."""
    proxy = Proxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            proxy.asked.append(self.path)
            time.sleep(proxy.delay)
            if proxy.password and self.headers.get("Proxy-Authorization") != proxy.password:
                _send(self, 407, b"who are you?")
            else:
                _forward(self)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with _serving(Handler) as proxy.url:
        yield proxy


def _forward(request: BaseHTTPRequestHandler) -> None:
    import http.client

    parts = urlsplit(request.path)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(request.command, parts.path + (f"?{parts.query}" if parts.query else ""))
    answer = connection.getresponse()
    content = answer.read()
    headers = {
        name: value for name, value in answer.getheaders() if name.lower() not in ("content-length", "connection")
    }
    request.send_response(answer.status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", answer.getheader("Content-Length") or str(len(content)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)
    connection.close()
