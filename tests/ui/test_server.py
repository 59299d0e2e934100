"""What Workdim adds to Streamlit's server."""

from __future__ import annotations

import asyncio

from core.ui.server import MIDDLEWARE


def test_no_other_site_may_show_a_page_in_a_frame() -> None:
    sent: list[dict] = []

    async def page(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})

    async def send(message) -> None:
        sent.append(message)

    app = page
    for part in MIDDLEWARE:
        app = part.cls(app, *part.args, **part.kwargs)
    asyncio.run(app({"type": "http"}, None, send))
    headers = dict(sent[0]["headers"])
    assert headers[b"content-security-policy"] == b"frame-ancestors 'self'"
    assert headers[b"x-frame-options"] == b"SAMEORIGIN" and headers[b"content-type"] == b"text/html"
