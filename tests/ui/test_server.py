"""What Workdim adds to Streamlit's server."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest

from core.ui.server import MIDDLEWARE
from tests.screens import ROOT


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


@pytest.mark.parametrize(
    "script", [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))], ids=lambda path: path.name
)
def test_no_script_has_a_text_that_streamlit_would_draw(script: Path) -> None:
    """It draws every expression that stands alone, but for the script's own docstring."""
    body = ast.parse(script.read_text(encoding="utf-8")).body
    alone = [node.value for node in body[1:] if isinstance(node, ast.Expr)]
    assert not [ast.unparse(value) for value in alone if not isinstance(value, ast.Call)]
