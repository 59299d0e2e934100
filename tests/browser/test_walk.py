"""Every screen in a real browser: nothing is wrong with it, however it is opened; and what people come for in few clicks."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.records import RunConfig
from core.runs.jobs import finish_job, submit
from core.warehouse.warehouse import Warehouse
from tests import look
from tests.browser.conftest import serving
from tests.browser.walk import MOST_TOLD, THEMES, WIDTHS, faults, inaccessible, settle, watched
from tests.screens import RUN_IDS, VETOED, WAREHOUSES, worked_with

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

CUT = (
    ("profiles", f"compare?runs={RUN_IDS[0]},{RUN_IDS[1]}&", "ja", "dark", 1000),
    ("start", "?", "en", "light", 1360),
    ("ranking", "choose?choose=ranking&vetoed=True&", "en", "dark", 1920),
)
"""What is looked at each time; the rest of the walk only with `--thorough`, or by `python -m tests.look`."""


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worked_with(tmp_path_factory.mktemp("worked"))


@pytest.fixture(scope="module")
def address(worked: Path) -> Iterator[str]:
    with serving(worked) as found:
        yield found


def test_browsers_side_by_side_each_draw_their_own_screen_without_a_fault(
    browser: sync_api.Browser, address: str
) -> None:
    """Opened cold, and all at once: each in its language, theme and width."""
    with ExitStack() as opened:
        seen = {}
        for name, link, language, theme, width in CUT:
            seen[name] = opened.enter_context(watched(browser, theme, width))
            seen[name].page.goto(f"{address}/{link}lang={language}", wait_until="commit")
        found = []
        for name, _link, language, _theme, _width in CUT:
            page = seen[name].page
            settle(page)
            found += [f"{name}: {one}" for one in (*faults(page, language), *inaccessible(page), *seen[name].faults())]
        assert not found, "\n".join(found)
        assert "言語" in seen["profiles"].page.inner_text("body") and "made-up-vetoed" in seen["ranking"].page.content()


@pytest.mark.thorough
@pytest.mark.parametrize("name", WAREHOUSES)
def test_nothing_is_wrong_with_any_screen(name: str, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    options = argparse.Namespace(
        out=tmp_path / "pictures", only=list(look.SCREENS), languages=list(MOST_TOLD), themes=THEMES, widths=WIDTHS
    )
    assert look.walk(Warehouse(WAREHOUSES[name](tmp_path)), name, options) == 0


MEASURING = 2
"""Clicks that start a measurement and ask what it will take, as `test_app.py` follows one."""


def test_two_models_are_compared_on_a_text_of_ones_own_in_six_clicks(
    browser: sync_api.Browser, address: str, worked: Path
) -> None:
    """Up to the measurement and from its end on: here both models are measured already."""
    with watched(browser) as seen:
        page = seen.page
        page.goto(address)
        hand = Hand(page)
        hand.click(page.get_by_role("button", name="Compare models on my text"))
        page.get_by_role("textbox", name="Models, one per line").wait_for()
        warehouse = Warehouse(worked)
        for model, run_id in (("made-up/big", RUN_IDS[0]), ("made-up/small", RUN_IDS[1])):
            finish_job(submit(RunConfig(model, "english-business", "quick"), warehouse), {"run_id": run_id})
        page.reload()
        hand.click(page.get_by_role("button", name="Compare (2)"))
        page.get_by_text("What came out").wait_for()
        for name in ("made-up-big", "made-up-small"):
            page.get_by_role("img", name=re.compile(name)).first.wait_for()
        assert hand.clicks + MEASURING <= 6


def test_six_other_tasks_take_few_clicks(browser: sync_api.Browser, address: str) -> None:
    """Typing and waiting do not count."""
    with watched(browser) as seen, watched(browser, locale="ja-JP") as japanese:
        page = seen.page
        page.goto(address)
        hand = Hand(page)
        hand.click(menu(page, "Choose"))
        page.locator("h4").first.wait_for()  # the sentence that answers
        assert hand.clicks == 1

        other = page.context.new_page()
        other.goto(page.url)  # a view is shared by its address: each page is a session of its own
        assert other.locator("h4").first.inner_text() == page.locator("h4").first.inner_text()
        other.close()

        page.goto(address)
        hand = Hand(page)
        hand.click(page.get_by_role("link", name="Which layers can go?"))
        page.get_by_text("blocks can go").first.wait_for()
        assert hand.clicks <= 2

        page.goto(address)
        hand = Hand(page)
        hand.click(page.get_by_role("button", name="Filters"))
        hand.click(page.get_by_role("button", name="veto", exact=True))
        page.get_by_text("Runs that pass the filters: 1 of 5.").wait_for()
        page.wait_for_function("document.querySelectorAll('.st-key-gallery img').length == 1")
        assert page.locator(".st-key-gallery img").get_attribute("alt") == "made-up-vetoed" and hand.clicks == 2

        page.goto(f"{address}/compare?runs={VETOED}")
        hand = Hand(page)
        with page.expect_download() as table:
            hand.click(page.get_by_role("button", name="Download these numbers (CSV)"))
        assert table.value.suggested_filename == "workdim_profiles.csv" and hand.clicks == 1

        japanese.page.goto(address)
        hand = Hand(japanese.page)
        hand.click(menu(japanese.page, "共有"))
        with japanese.page.expect_download() as deck:
            hand.click(japanese.page.get_by_role("button", name="スライドをダウンロード"))
        assert "_ja_" in deck.value.suggested_filename and hand.clicks == 2


def test_a_layer_and_pictures_are_clicked_on(browser: sync_api.Browser, address: str) -> None:
    with watched(browser) as seen:
        page = seen.page
        page.goto(f"{address}/compare?runs={RUN_IDS[0]}")
        settle(page)
        page.locator("[data-layer='2']").first.click()
        page.get_by_text("Layer 2: output of block 2").wait_for()
        page.wait_for_url("**layer=2**")
        page.go_back()
        page.get_by_text("Layer 2: output of block 2").wait_for(state="detached")

        page.goto(address)
        settle(page)
        for at, told in enumerate(("Open the profile", "Compare (2)")):
            page.locator(".st-key-gallery [data-testid=stCheckbox] label").nth(at).click()
            page.get_by_role("button", name=told).wait_for()
        page.get_by_role("button", name="Compare (2)").click()
        page.get_by_text("What came out").wait_for()
        assert seen.faults() == []


def menu(page: sync_api.Page, name: str) -> sync_api.Locator:
    return page.get_by_test_id("stSidebarNavLink").filter(has_text=name)


class Hand:
    """Clicks, each when the page is drawn, and counts them."""

    def __init__(self, page: sync_api.Page) -> None:
        self.page, self.clicks = page, 0

    def click(self, what: sync_api.Locator) -> None:
        settle(self.page)
        what.click()
        self.clicks += 1
