"""What must be true of any screen, whatever it shows: looked at in a real browser, one view after the other."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = get_args(Theme)
WIDTHS = (390, 1280, 1920)
HEIGHT = 800
"""Pixels above the fold."""
MOST_TOLD, AT_WIDTH = 60, 1280
"""Words above the fold, at this width, but in the Guide, which is to be read."""
LANGUAGES = ("en", "ja")
ARGUMENTS = ("--disable-dev-shm-usage", "--disable-gpu", "--no-sandbox")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
WAIT_MS = 300_000
"""A busy machine draws slowly; what never comes is told soon enough."""
_EXCEPT = ("[data-testid=stDataFrame]", "[data-testid=stSidebarNavItems]")
"""Tables drawn on a canvas, whose rows are offered as CSV; and Streamlit's own menu, which groups its items by elements
that no list may hold."""

_TOLD = """([height, language, names]) => {
    const without = 'svg, canvas, table, pre, code, style, script, textarea, [role=img], '
        + '[data-testid=stDataFrame], [data-testid=stPlotlyChart], [data-testid=stIconMaterial], '
        + '[class*=stMarkdownBadge], .st-key-gallery, .st-key-names button';
    const words = new Intl.Segmenter(language, {granularity: 'word'});
    const texts = document.createTreeWalker(document.querySelector('[data-testid=stMain]'), NodeFilter.SHOW_TEXT);
    let n = 0;
    while (texts.nextNode()) {
        const text = texts.currentNode, parent = text.parentElement;
        const isChosen = parent.closest('[data-testid=stMultiSelect]') && !parent.closest('[data-testid=stWidgetLabel]');
        if (isChosen || parent.closest(without) || !parent.checkVisibility()) continue;
        const range = document.createRange();
        range.selectNodeContents(text);
        const box = range.getBoundingClientRect();
        if (box.width < 2 || box.top >= height) continue;
        const told = names.reduce((left, name) => left.replaceAll(name, ''), text.textContent);
        for (const part of words.segment(told)) n += part.isWordLike ? 1 : 0;
    }
    return n;
}"""
"""Words by ICU of all that starts above the fold: titles, prose, and labels of controls and buttons; not tables, pictures,
names of models and what is chosen of many, nor what stands beneath a picture of the gallery."""
_SIDEWAYS = """() => [document.scrollingElement, document.querySelector('[data-testid=stMain]'),
    ...document.querySelectorAll('[data-testid=stMain] [role=radiogroup]')].some(part => part.scrollWidth > part.clientWidth + 1)"""
_SETTLED = """() => document.querySelector('[data-test-script-state=notRunning]')
    && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')
    && [...document.images].every(one => one.complete)
    && [...document.querySelectorAll('[data-testid=stPlotlyChart]')].every(one => one.querySelector('.main-svg'))"""


@dataclass
class Watched:
    """A page, and what its browser complains of or asks other machines for."""

    page: Page
    said: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """What was said since this was asked last."""
        found, self.said[:] = list(dict.fromkeys(self.said)), []
        return found


@contextmanager
def started(playwright: Playwright) -> Iterator[Browser | None]:
    """Chromium or Chrome as the system has it; None where it has none."""
    executable = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if executable is None:
        yield None
        return
    browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def watched(
    browser: Browser, theme: Theme = "light", width: int = AT_WIDTH, locale: str = "en-GB", height: int = HEIGHT
) -> Iterator[Watched]:
    """A new page in a browser of its own that asks this machine alone and has nothing to complain of."""
    context = browser.new_context(
        locale=locale, viewport={"width": width, "height": height}, color_scheme=theme, accept_downloads=True
    )
    context.set_default_timeout(WAIT_MS)
    found = Watched(context.new_page())
    context.on("request", lambda one: found.said.append(f"asks {one.url}") if leaves(one.url) else None)
    context.on("console", lambda one: found.said.extend(_complaints(one)))
    context.on("weberror", lambda one: found.said.append(f"script: {one.error}"))
    try:
        yield found
    finally:
        context.close()


def _complaints(message: ConsoleMessage) -> list[str]:
    """Without the question of Streamlit's that a deep link begins with: whether the app lies beneath its path."""
    url = message.location.get("url", "")
    return [f"console: {message.text} {url}"] if message.type == "error" and "/_stcore/" not in url else []


def wait_for_port(port: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def leaves(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1"


def settle(page: Page) -> None:
    """Wait until all is drawn."""
    page.get_by_test_id("stMain").get_by_role("heading").first.wait_for()
    page.wait_for_function(_SETTLED)
    page.wait_for_timeout(150)


def faults(page: Page, language: str, names: Sequence[str] = (), *, is_refused: bool = False) -> list[str]:
    """What is wrong with the view at this width; `names`: of models. `is_refused` where the screen is to show an error."""
    found = [f"error: {text}" for text in page.get_by_test_id("stException").all_inner_texts()]
    errors = page.locator("[data-testid=stAlertContentError]").all_inner_texts()
    found += [] if is_refused else [f"error: {text}" for text in errors]
    if page.get_by_test_id("stSidebar").count() == 0 or page.locator("html").get_attribute("lang") != language:
        found.append("the frame is not drawn, or not in its language")
    if page.evaluate(_SIDEWAYS):
        found.append("the page, or a row of options, scrolls sideways")
    width = (page.viewport_size or {}).get("width")
    n = page.evaluate(_TOLD, [HEIGHT, language, sorted(names, key=len, reverse=True)])
    if width == AT_WIDTH and n > MOST_TOLD and urlsplit(page.url).path != "/help":
        found.append(f"{n} words above the fold")
    return found


def inaccessible(page: Page) -> list[str]:
    """Serious findings of axe, each with its first element."""
    found = Axe().run(page, {"exclude": [[one] for one in _EXCEPT]}, {"resultTypes": ["violations"]})
    return [
        f"axe: {one['id']} ({len(one['nodes'])}): {one['nodes'][0]['html'][:160]} {_why(one['nodes'][0])}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def _why(node: dict) -> str:
    return " ".join(check["message"] for kind in ("any", "all", "none") for check in node[kind])[:200]


def picture(page: Page, path: Path) -> None:
    """The whole page, not only what is above the fold."""
    size = page.viewport_size or {"width": WIDTHS[0], "height": HEIGHT}
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": max(HEIGHT, height)})
    page.wait_for_timeout(350)
    page.screenshot(path=path)
    page.set_viewport_size(size)


def in_order(found: Sequence[str]) -> str:
    return "\n".join(f"  {one}" for one in found)
