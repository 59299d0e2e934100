"""What only a real browser shows: a link opened cold, both languages, markup that is never run, what is in sight."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.browser.conftest import serving
from tests.browser.walk import leaves
from tests.screens import RUN_IDS, filled_warehouse
from tests.tiny import save_tiny_model

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

WAIT_MS = 30_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the warehouse that the app shows."""
    return filled_warehouse(tmp_path_factory.mktemp("home")).parent


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """One server for all tests; the first of them opens a link that nobody has opened before."""
    with serving(home / "workdim.duckdb") as found:
        yield found


@pytest.fixture(scope="module")
def context_of(browser: sync_api.Browser) -> Iterator[Callable[[str], sync_api.BrowserContext]]:
    """One for each locale: Streamlit's scripts are read and compiled once."""

    @cache
    def made(locale: str) -> sync_api.BrowserContext:
        context = browser.new_context(locale=locale, viewport={"width": 1360, "height": 900}, accept_downloads=True)
        context.set_default_timeout(WAIT_MS)
        with_all.callback(context.close)
        return context

    with ExitStack() as with_all:
        yield made


@pytest.fixture
def page(
    context_of: Callable[[str], sync_api.BrowserContext], request: pytest.FixtureRequest
) -> Iterator[sync_api.Page]:
    """A page that fails the test if it asks any machine but this one for anything; its parameter is the locale."""
    page = context_of(getattr(request, "param", "en-GB")).new_page()
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url) if leaves(request.url) else None)
    yield page
    page.close()
    assert elsewhere == []


def see(page: sync_api.Page, heading: str) -> None:
    page.get_by_role("heading", name=heading, exact=True).wait_for()


def test_a_cold_link_leads_to_two_runs_that_are_shared(page: sync_api.Page, address: str) -> None:
    answer = page.goto(f"{address}/compare?runs={RUN_IDS[0]}")
    assert answer is not None and answer.headers["content-security-policy"] == "frame-ancestors 'self'"
    see(page, "Compare")
    page.get_by_role("link", name="Choose").wait_for()  # the frame's own menu, not the file names
    curve(page, "made-up-big").wait_for()

    page.get_by_role("combobox", name="Runs to show").click()
    page.get_by_role("option", name="made-up-small").click()
    page.keyboard.press("Escape")
    curve(page, "made-up-big.*made-up-small").wait_for()  # both in one picture
    page.wait_for_url(lambda url: f"runs={RUN_IDS[0]}%2C{RUN_IDS[1]}" in url)  # it follows when the page is drawn

    page.get_by_role("link", name="Share").click()
    see(page, "Share")
    page.get_by_text("made-up-small").first.wait_for()


@pytest.mark.parametrize("page", ["ja-JP"], indirect=True)
def test_the_language_is_that_of_the_browser_and_follows_the_switch(page: sync_api.Page, address: str) -> None:
    page.goto(f"{address}/choose?choose=ranking")
    see(page, "選定")
    page.get_by_role("radio", name="English").or_(page.get_by_role("button", name="English")).click()
    see(page, "Choose")
    page.get_by_role("link", name="Compare").click()
    see(page, "Compare")
    page.wait_for_function("document.documentElement.lang === 'en'")
    page.wait_for_url("**lang=en**")  # the address follows when the page is drawn


def test_a_section_is_a_link(page: sync_api.Page, address: str) -> None:
    page.goto(f"{address}/compare?runs={RUN_IDS[0]}&live=True")
    page.locator(".js-plotly-plot").first.locator("text", has_text="random weights").first.wait_for()
    section = page.get_by_role("radio", name="Layers against layers")
    section.or_(page.get_by_role("button", name="Layers against layers")).click()
    page.locator(".js-plotly-plot .cbaxis").first.wait_for()  # the colour bar of a matrix
    page.get_by_text("Displacement exponent").wait_for()
    page.wait_for_url(lambda url: "section=pairs" in url)
    page.reload()
    page.locator(".js-plotly-plot .cbaxis").first.wait_for()


MARKUP = """
SELECT *, range AS layer, 2 AS value FROM (
    SELECT '<img src=x onerror="window.ran=1">' AS "<script>window.ran=2</script>",
        '[link](javascript:window.ran=3)' AS "**bold**", '<script>window.ran=4</script>' AS kind
    UNION ALL SELECT '<svg onload="window.ran=5">', 'plain', 'other'
), range(2)
"""


def test_a_query_by_link_by_example_and_by_hand(page: sync_api.Page, address: str, tmp_path: Path) -> None:
    """Whatever it answers is in sight, an error too."""
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"{address}/query?sql={quote('SELECT run_id, pass FROM runs ORDER BY run_id')}")
    see(page, "Query")
    page.get_by_text("From a link").wait_for()
    run_query(page)
    sync_api.expect(page.get_by_text("Rows: 7, columns: 2")).to_be_in_viewport(ratio=1, timeout=WAIT_MS)
    sync_api.expect(page.get_by_test_id("stDataFrame").last).to_be_in_viewport(ratio=0.4, timeout=WAIT_MS)

    page.get_by_role("combobox", name="Examples").click()
    page.get_by_role("option", name="The newest run, layer by layer").click()
    page.get_by_text("Rows: 6, columns: 7").wait_for()
    page.locator(".js-plotly-plot .xtitle", has_text="layer").wait_for()
    page.wait_for_url(lambda url: url.endswith("example=one_profile"))
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV for Excel").click()
    download.value.save_as(tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8-sig").startswith('"layer","state","d2"')

    editor = page.get_by_role("textbox", name="SQL")
    editor.fill("DROP TABLE runs")
    editor.press("Control+Enter")
    sync_api.expect(page.get_by_text("DROP is refused")).to_be_in_viewport(ratio=1, timeout=WAIT_MS)
    sync_api.expect(page.get_by_role("button", name="CSV for Excel")).to_have_count(0)


def test_markup_in_an_answer_is_text(page: sync_api.Page, address: str) -> None:
    page.goto(f"{address}/query?sql={quote(MARKUP)}")
    run_query(page)
    page.get_by_text("Rows: 4, columns: 6").wait_for()
    page.locator(".js-plotly-plot .legendtext", has_text="<img src=x").wait_for()
    page.locator(".js-plotly-plot .legendtitletext", has_text="<script>window.ran=2</script>").wait_for()
    page.get_by_role("combobox", name="Colour").wait_for()  # shows the name of a column
    for sql in ("SELECT * FROM \"<img src=x onerror='window.ran=6'>\"", "SELECT error('<svg onload=window.ran=7>')"):
        editor = page.get_by_role("textbox", name="SQL")
        editor.fill(sql)
        editor.press("Control+Enter")
        page.get_by_role("alert").get_by_text("window.ran").wait_for()
        page.get_by_role("alert").wait_for()
    assert page.evaluate("window.ran") is None
    assert page.locator("a[href^='javascript']").count() == 0


def test_a_measurement_is_started_followed_and_cancelled(page: sync_api.Page, address: str, home: Path) -> None:
    model = save_tiny_model(home / "tiny")
    page.goto(f"{address}/measure")
    see(page, "Measure")
    page.get_by_role("textbox", name="Models, one per line").fill(str(model))
    page.keyboard.press("Control+Enter")
    page.get_by_text("on this machine").wait_for()
    page.get_by_role("radio", name="standard").or_(page.get_by_role("button", name="standard")).click()
    page.get_by_role("button", name="Start measuring").click(timeout=180_000)
    page.get_by_text("Its card appears at the top").first.wait_for()
    sync_api.expect(page.get_by_text("running", exact=True)).to_be_in_viewport(timeout=120_000)
    (job,) = [folder for folder in (home / "jobs").iterdir() if folder.is_dir()]
    page.reload()  # a closed tab changes nothing
    page.get_by_role("progressbar").first.wait_for(timeout=120_000)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("running", exact=True).wait_for(state="detached")
    assert not job.exists()


def run_query(page: sync_api.Page) -> None:
    """A link fills the editor alone; a click before the page is drawn whole makes Streamlit forget the statement."""
    page.get_by_role("textbox", name="SQL").wait_for()
    page.locator("[data-test-script-state=notRunning]").first.wait_for()
    page.get_by_role("button", name="Run the query").click()


def curve(page: sync_api.Page, name: str) -> sync_api.Locator:
    """The picture that shows a run."""
    return page.get_by_role("img", name=re.compile(name))


HOSTILE = "<img src=x onerror='window.ran=1'><script>window.ran=1</script>**bold** [a](javascript:window.ran=1)"
"""Would set `window.ran` if any part of it were run."""


def test_names_of_a_hostile_file_are_shown_and_never_run(page: sync_api.Page, address: str) -> None:
    text = f'model,benchmark,metric,value,unit,source\n"{HOSTILE}","{HOSTILE}","{HOSTILE}",61,percent,"{HOSTILE}"\n'
    text += f'"{HOSTILE}",b,acc,"{HOSTILE}",percent,s\n'
    bad = {"name": f"{HOSTILE.replace('/', '')}.json", "mimeType": "application/json", "buffer": b'{"results": {'}
    good = {"name": "**scores** <b>x<b>.csv", "mimeType": "text/csv", "buffer": text.encode()}
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(f"{address}/choose?choose=scores&scores=import")
    see(page, "Choose")
    page.locator("[data-testid=stFileUploaderDropzoneInput]").set_input_files([bad, good])
    see(page, "What happens to each value")
    page.get_by_text("not a number (<img src=x").first.wait_for()  # a reason, letter by letter
    page.get_by_role("button", name="Store 1 file").click()
    page.get_by_text("Stored from **scores** <b>x<b>.csv – scores: 1").wait_for()
    sections = {
        "Imported files": "File to remove",
        "Names of models": "Names and the models that they mean",
        "Contradictions": re.compile("contradict each other|differ beyond rounding"),
        "Import": "Take larger files",
    }
    for section, told in sections.items():
        page.get_by_role("radio", name=section).or_(page.get_by_role("button", name=section)).first.click()
        page.get_by_text(told).first.wait_for()
        assert page.evaluate("window.ran") is None, section
        assert page.locator("[data-testid=stMain] img[src='x'], [data-testid=stMain] a[href^=javascript]").count() == 0
        assert page.locator("[data-testid=stMain] strong", has_text="bold").count() == 0
    assert dialogs == []
