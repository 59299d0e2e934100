"""What Workdim adds to Streamlit's server: protection against other sites, and an early start.

Streamlit sends no security headers, checks the Host header only when a WebSocket is opened, and lets a page of any port of
this machine open one. It loads an app when the first reader asks for it, and the reader waits.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
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
_FIRST_SCREEN = ("core.ui.frame", "core.ui.start")
"""Modules of the first screen: most of a second of loading, in which a browser loads Streamlit's own scripts."""
_loading: list[threading.Thread] = []


def _load() -> None:
    gc.disable()  # it would go through all modules again and again, and find nothing
    try:
        for name in _FIRST_SCREEN:
            importlib.import_module(name)
        inspect.stack()  # Streamlit calls it once, for 0.1 s; the files of all modules are cached from then on
        gc.freeze()
    finally:
        gc.enable()


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[None]:
    """Load the modules of the first screen as soon as the server answers, before anybody asks for it."""
    _loading.append(threading.Thread(target=_load, name="first screen", daemon=True))
    _loading[-1].start()
    yield


def wait_until_loaded() -> None:
    """Wait until the modules are loaded: of two threads that import one library at once, one can find half of it."""
    for thread in _loading:
        thread.join()


_turns = threading.Condition()
_n_drawing = 0
_is_wanted = False
"""Whether a page waits for its turn to load pandas; pages that come later let it go first."""
_LONGEST_WAIT = 20.0
"""Seconds for which pandas waits until no page is drawn."""


@contextmanager
def drawing(needs_pandas: bool) -> Iterator[None]:
    """Draw a page. The first that needs pandas loads it once no other is drawn, or after twenty seconds all the same: plotly
    asks whether pandas is there, and would take the half that another thread has loaded for the whole. Pages without it are
    spared 40 MB and a third of a second."""
    global _n_drawing, _is_wanted
    with _turns:
        _turns.wait_for(lambda: not _is_wanted, _LONGEST_WAIT)
        if needs_pandas and "pandas" not in sys.modules:
            _is_wanted = True
            _turns.wait_for(lambda: _n_drawing == 0, _LONGEST_WAIT)
            importlib.import_module("pandas")
            _is_wanted = False
            _turns.notify_all()
        _n_drawing += 1
    try:
        yield
    finally:
        with _turns:
            _n_drawing -= 1
            _turns.notify_all()


class Guard:
    """Refuses WebSockets that a page of another port or site opens, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope) if scope["type"] == "websocket" else {}
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            await send({"type": "websocket.close", "code": REFUSED})
        else:
            await self._app(scope, receive, send_with_headers)


def middleware() -> list[Middleware]:
    """The middleware of the app, the outermost first. Hosts are those of `server.allowedHosts`, any where there are none."""
    hosts = list(config.get_option("server.allowedHosts")) or ["*"]
    return [Middleware(Guard), Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)]
