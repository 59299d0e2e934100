"""A model hub on this machine: as much of the API as a card asks for, over folders of files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    address: str
    models: dict[str, Path] = field(default_factory=dict)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the API says of a model beside its files."""
    closed: set[str] = field(default_factory=set)
    """Models whose files are given to nobody."""
    fetched: list[str] = field(default_factory=list)


@contextmanager
def local_hub() -> Iterator[Hub]:
    hub = Hub("")

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(200, b"")

        def do_GET(self) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self.describe("/".join(parts[2:4]))
            elif parts[2:3] == ["resolve"]:
                self.give("/".join(parts[:2]), "/".join(parts[4:]))
            else:
                self.answer(404, b"")

        def describe(self, name: str) -> None:
            if name not in hub.models:
                self.answer(401, b"", "RepoNotFound")
                return
            files = [{"rfilename": p.name, "size": p.stat().st_size} for p in sorted(hub.models[name].iterdir())]
            content = {"id": name, "modelId": name, "sha": SHA, "siblings": files, "gated": False, "tags": []}
            self.answer(200, json.dumps(content | hub.told.get(name, {})).encode())

        def give(self, name: str, file: str) -> None:
            if name in hub.closed:
                self.answer(403, b"", "GatedRepo")
                return
            hub.fetched.append(file)
            self.answer(200, (hub.models[name] / file).read_bytes())

        def answer(self, status: int, content: bytes, code: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
