"""What Workdim adds to Streamlit's server: protection against other sites, and an early start.

Streamlit sends no security headers, checks the Host header only when a WebSocket is opened, and lets a page of any port of
this machine open one. It loads an app when the first reader asks for it, and the reader waits.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

HEADERS = {
    # In a frame of another site the app could be covered and clicked through.
    "Content-Security-Policy": "frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    # Addresses hold what was chosen and typed: a site that a link leads to does not receive them.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
REFUSED = 1008
"""Code of a WebSocket that is closed for a breach of policy."""


class _Loading:
    """Modules that a thread imports before anybody needs them.

    Whoever needs them waits for it: of two threads that import one library at once, one can find half of it.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless that was done before."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._load, name=self._modules[0], daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Wait until all is loaded."""
        self.start()
        if self._thread is not None:
            self._thread.join()

    def _load(self) -> None:
        gc.disable()  # it would go through all modules again and again, and find nothing
        try:
            for name in self._modules:
                importlib.import_module(name)
            inspect.stack()  # Streamlit calls it once, for 0.1 s; the files of all modules are cached from then on
            gc.freeze()
        finally:
            gc.enable()


FIRST_SCREEN = _Loading("core.ui.frame", "core.ui.home")
"""What Home needs: most of a second, in which a browser loads Streamlit's own scripts."""
OTHER_SCREENS = _Loading("pandas", "plotly.graph_objects", "core.runs.jobs")
"""What tables, plotly's figures and jobs need besides; loaded once the first screen is drawn."""


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[None]:
    """Load the modules of the first screen as soon as the server answers, before anybody asks for it."""
    FIRST_SCREEN.start()
    yield


class SecurityHeaders:
    """Adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class SameOrigin:
    """Refuses WebSockets that a page of another port or site opens."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != headers.get("host"):
                await send({"type": "websocket.close", "code": REFUSED})
                return
        await self._app(scope, receive, send)


def middleware() -> list[Middleware]:
    """The middleware of the app, the outermost first. Hosts are those of `server.allowedHosts`, any where there are none."""
    hosts = list(config.get_option("server.allowedHosts")) or ["*"]
    return [
        Middleware(SecurityHeaders),
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        Middleware(SameOrigin),
    ]
