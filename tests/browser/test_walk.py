"""Every screen in a real browser: nothing is wrong with it, however it is opened."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.warehouse.warehouse import Warehouse
from tests import look
from tests.browser.conftest import serving
from tests.browser.walk import LANGUAGES, THEMES, WIDTHS, faults, inaccessible, settle, watched
from tests.screens import RUN_IDS, WAREHOUSES, worked_with

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

NAMES = ("made-up-big", "made-up-small", "made-up-encoder", "made-up-vetoed")
CUT = (
    ("profiles", f"compare?runs={RUN_IDS[0]},{RUN_IDS[1]}&", "ja", "dark", 390),
    ("start", "?", "en", "light", 1280),
    ("ranking", "choose?choose=ranking&vetoed=True&", "en", "dark", 1920),
    ("choose_pilot", "", "ja", "light", 1280),
    ("choose_ranking_pilot", "", "ja", "light", 1280),
    ("share_pilot", "", "ja", "light", 1280),
)
"""What is looked at each time, where `tests.look` has no address for it by an own one; the rest of the walk only with `--thorough`, or by `python -m tests.look`."""


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worked_with(tmp_path_factory.mktemp("worked"))


@pytest.fixture(scope="module")
def address(worked: Path) -> Iterator[str]:
    with serving(worked) as found:
        yield found


def test_browsers_side_by_side_each_draw_their_own_screen_without_a_fault(
    browser: sync_api.Browser, worked: Path, address: str
) -> None:
    """Opened cold, and all at once: each in its language, theme and width."""
    with ExitStack() as opened:
        seen, known = {}, look.addresses(Warehouse(worked))
        for name, link, language, theme, width in CUT:
            seen[name] = opened.enter_context(watched(browser, theme, width))
            seen[name].page.goto(f"{address}/{link or known[name]}lang={language}", wait_until="commit")
        found = []
        for name, _link, language, _theme, _width in CUT:
            page = seen[name].page
            settle(page)
            found += [
                f"{name}: {one}" for one in (*faults(page, language, NAMES), *inaccessible(page), *seen[name].faults())
            ]
        assert not found, "\n".join(found)
        assert "言語" in seen["profiles"].page.inner_text("body") and "made-up-vetoed" in seen["ranking"].page.content()


@pytest.mark.thorough
@pytest.mark.parametrize("name", WAREHOUSES)
def test_nothing_is_wrong_with_any_screen(name: str, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    options = argparse.Namespace(
        out=tmp_path / "pictures", only=list(look.SCREENS), languages=list(LANGUAGES), themes=THEMES, widths=WIDTHS
    )
    assert look.walk(Warehouse(WAREHOUSES[name](tmp_path)), name, options) == 0


def test_a_layer_and_pictures_are_clicked_on(browser: sync_api.Browser, address: str) -> None:
    with watched(browser) as seen:
        page = seen.page
        page.goto(f"{address}/compare?runs={RUN_IDS[0]}")
        settle(page)
        page.locator("[data-layer='2']").first.click()
        page.get_by_text("Layer 2 (0 = embedding output)").wait_for()
        page.wait_for_url("**layer=2**")
        page.go_back()
        page.get_by_text("Layer 2 (0 = embedding output)").wait_for(state="detached")

        page.goto(address)
        settle(page)
        for at, told in enumerate(("Open the profile", "Compare (2)")):
            page.locator(".st-key-gallery [data-testid=stCheckbox] label").nth(at).click()
            page.get_by_role("button", name=told).wait_for()
        page.get_by_role("button", name="Compare (2)").click()
        page.get_by_text("What came out").wait_for()
        assert seen.faults() == []
