"""Ten tasks that people come with, walked in a browser from the page Start.

Clicks are counted and typing is not; each task ends with its right answer in the first view of a window of 1280 x 800, in
English, and in Japanese at the same address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from pptx import Presentation

from core.locale import _, in_language
from core.scores.reader import read_scores
from core.sql.examples import EXAMPLES
from core.store import parcels
from core.warehouse import runs as layer_plans
from core.warehouse.stored_scores import store_import
from core.warehouse.warehouse import Warehouse
from tests.browser.conftest import serving
from tests.browser.walk import settle, watched
from tests.plans.made import layer_plan
from tests.profiles import make_corpus, make_model, make_profile
from tests.screens import ROOT
from tests.tiny import save_tiny_model

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

WAIT_MS = 60_000
MEASURED_MS = 240_000
"""Milliseconds that two measurements may take on a busy machine."""
SCORED, UNSCORED = {"small-of-ours": 61, "large-of-ours": 72}, "unscored-of-ours"
"""Models on one text with their scores, and one without."""
MANY = [f"branch-{number}-of-ours" for number in range(9)]
"""Models on another text, whose own scores rise with their dimension."""
VETOED, FOUND = "vetoed-of-ours", "branch-4-of-ours"
TINY = ("tiny-llama", "tiny-qwen2")
N_RUNS = 1_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("tasks"))


def prepared(folder: Path) -> Path:
    """The folder of a warehouse with the runs, scores and plan of the tasks, two models to measure, and a text."""
    warehouse = Warehouse(folder / "workdim.duckdb")
    on = [(name, "calls") for name in (*SCORED, UNSCORED, VETOED)] + [(name, "letters") for name in MANY]
    for number, (name, text) in enumerate(on):
        run_id = f"01900000-0000-7000-8000-0000000001{number:02d}"
        model = make_model(f"{name}@1")
        corpus = make_corpus(f"{text}-0123456789ab")
        outcome = "veto" if name == VETOED else "pass"
        bits = 0.9 if name == "large-of-ours" else 1.1
        profile = make_profile(
            run_id, model=model, corpus=corpus, peak=60.0 + 5 * number, outcome=outcome, bits_per_byte=bits
        )
        parcels.write_parcel(warehouse.parcels / run_id, profile)
    warehouse.rebuild()
    store_import(warehouse, read_scores("calls.csv", score_file("calls", SCORED)))
    plan = {"model_id": "large-of-ours@1", "reference": "large-of-ours", "name": "large-of-ours"}
    layer_plans.save_plan(warehouse, layer_plan("0199-whole", **plan))
    for number, name in enumerate(TINY):
        save_tiny_model(folder / name, name.removeprefix("tiny-"), seed=number, num_hidden_layers=2)
    text = (ROOT / "data/corpora/english-business.txt").read_text(encoding="utf-8")
    (folder / "tickets.txt").write_text(text, encoding="utf-8")
    return folder


def score_file(benchmark: str, scores: dict[str, float]) -> bytes:
    lines = [f"{name},{benchmark},acc,{value},2,percent,true" for name, value in scores.items()]
    return "\n".join(["model,benchmark,metric,value,std_error,unit,higher_is_better", *lines]).encode()


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with serving(home / "workdim.duckdb") as found:
        yield found


class Reader:
    """Somebody at the app, who does one task after another."""

    def __init__(self, page: sync_api.Page, address: str, language: str = "en") -> None:
        self.page, self.address, self.language, self.clicks = page, address, language, 0

    def say(self, message: str) -> str:
        return in_language(self.language, _, message)

    def begin(self) -> None:
        self.language = "en"
        self.page.goto(f"{self.address}/?lang=en")
        self.clicks = 0

    def in_each_language(self) -> Iterator[str]:
        """The view that the task has ended in, and the same address in Japanese."""
        yield self.language
        at = urlsplit(self.page.url)
        self.language = "ja"
        self.page.goto(at._replace(query=urlencode(parse_qs(at.query) | {"lang": "ja"}, doseq=True)).geturl())
        yield self.language

    def click(self, what: sync_api.Locator) -> None:
        settle(self.page)
        what.click()
        self.clicks += 1

    def open(self, page: str) -> None:
        self.click(self.page.get_by_test_id("stSidebarNavLink").filter(has_text=self.say(page)))

    def press(self, button: str) -> None:
        self.click(self.page.get_by_role("button", name=self.say(button), exact=True))

    def choose(self, label: str, option: str | re.Pattern[str]) -> None:
        """One of a list: two clicks."""
        self.click(self.page.get_by_role("combobox", name=self.say(label)))
        self.page.get_by_role("option", name=option).click()
        self.clicks += 1

    def sees(self, *texts: str) -> None:
        """Each of these texts whole and in the first view, without scrolling."""
        settle(self.page)
        for text in texts:
            self.is_in_view(self.page.get_by_test_id("stMain").get_by_text(text).first)

    def is_in_view(self, what: sync_api.Locator, share: float = 1.0) -> None:
        sync_api.expect(what).to_be_in_viewport(ratio=share, timeout=WAIT_MS)
        self.page.wait_for_function("document.querySelector('[data-testid=stMain]').scrollTop == 0", timeout=WAIT_MS)

    def tick(self, name: str) -> None:
        card = self.page.locator(".st-key-gallery > div").filter(has=self.page.get_by_alt_text(name, exact=True))
        self.click(card.locator("[data-testid=stCheckbox] label").first)


def test_ten_tasks_take_few_clicks_and_end_in_the_answer(
    browser: sync_api.Browser, address: str, home: Path, tmp_path: Path
) -> None:
    with watched(browser) as seen:
        seen.page.set_default_timeout(WAIT_MS)
        reader = Reader(seen.page, address)
        which_to_pilot(reader)
        relation_of_own_scores(reader)
        layers_that_can_go(reader)
        slides_in_japanese(reader, tmp_path)
        sql_and_its_picture(reader)
        why_vetoed(reader)
        delete_and_undo(reader)
        two_models_on_own_text(reader, home)
        find_a_run(reader, home)
        assert seen.faults() == []


def which_to_pilot(reader: Reader) -> None:
    reader.begin()
    reader.open("Choose")
    reader.choose("Compared models", re.compile("calls"))
    assert reader.clicks <= 3
    for _language in reader.in_each_language():
        headline = reader.page.locator("h4").first
        sync_api.expect(headline).to_contain_text("large-of-ours", timeout=WAIT_MS)
        reader.is_in_view(headline)
        reader.sees(UNSCORED)


def relation_of_own_scores(reader: Reader) -> None:
    scores = {name: 50.0 + 4 * number for number, name in enumerate(MANY)}
    reader.begin()
    reader.page.goto(f"{reader.address}/choose?choose=scores&scores=import&lang=en")
    settle(reader.page)
    file = {"name": "replies.csv", "mimeType": "text/csv", "buffer": score_file("replies", scores)}
    reader.page.locator("[data-testid=stFileUploaderDropzoneInput]").set_input_files([file])
    reader.press("Store 1 file")
    reader.click(reader.page.get_by_role("link", name="replies"))
    assert reader.clicks <= 4
    for _language in reader.in_each_language():
        reader.sees("replies", "n = 9", reader.say("Compared models"))


def layers_that_can_go(reader: Reader) -> None:
    reader.begin()
    reader.click(reader.page.get_by_role("link", name=reader.say("Which layers can go?")))
    assert reader.clicks <= 2
    told = {"en": "3 of 8 blocks can go", "ja": "8ブロック中3ブロックを除去可能"}
    for language in reader.in_each_language():
        reader.sees(told[language])


def slides_in_japanese(reader: Reader, folder: Path) -> None:
    reader.begin()
    reader.open("Share")
    japanese = reader.page.get_by_test_id("stMain")
    reader.click(japanese.get_by_role("radio", name="日本語").or_(japanese.get_by_role("button", name="日本語")))
    reader.page.get_by_role("img", name=re.compile("[ぁ-ん]")).first.wait_for()  # the first slide, in small
    with reader.page.expect_download() as download:
        reader.press("Slides (PowerPoint)")
    deck = folder / "deck.pptx"
    download.value.save_as(deck)
    first = [shape.text_frame.text for shape in Presentation(str(deck)).slides[0].shapes if shape.has_text_frame]
    assert re.search("[ぁ-ん]", " ".join(first))
    assert reader.clicks <= 3


def sql_and_its_picture(reader: Reader) -> None:
    reader.begin()
    reader.open("Query")
    reader.choose("Examples", in_language("en", lambda: _(EXAMPLES["one_profile"].title)))
    assert reader.clicks <= 3
    for language in reader.in_each_language():
        if language == "ja":
            reader.press("Run the query")  # a link runs nothing
        reader.is_in_view(reader.page.get_by_role("textbox", name="SQL"))
        reader.is_in_view(reader.page.get_by_test_id("stDataFrame").last, 0.5)
        reader.is_in_view(reader.page.locator(".js-plotly-plot").last, 0.95)


def why_vetoed(reader: Reader) -> None:
    """The answer is shared and opened again: what a page shows is its address, sent to somebody else it shows the same."""
    reader.begin()
    look_for(reader, VETOED)
    reader.click(reader.page.locator(".st-key-gallery").get_by_role("link", name=VETOED))
    assert reader.clicks <= 2
    told = {"en": "Huge norms pull every mean", "ja": "平均を歪めて"}
    reader.sees(VETOED, told["en"])
    answer = reader.page.locator("h4").first.inner_text()
    with watched(reader.page.context.browser) as other:
        other.page.goto(reader.page.url)
        theirs = Reader(other.page, reader.address)
        theirs.sees(VETOED)
        sync_api.expect(other.page.locator("h4").first).to_have_text(answer, timeout=WAIT_MS)
        for language in theirs.in_each_language():
            theirs.sees(VETOED, told[language])


def delete_and_undo(reader: Reader) -> None:
    reader.begin()
    settle(reader.page)
    reader.tick(MANY[-1])
    reader.press("Move to the trash")
    deleted = reader.page.get_by_alt_text(MANY[-1], exact=True)
    deleted.wait_for(state="detached")
    reader.press("Undo")
    deleted.wait_for()
    assert reader.clicks <= 3


def two_models_on_own_text(reader: Reader, home: Path) -> None:
    reader.begin()
    reader.press("Compare models on my text")
    page = reader.page
    settle(page)
    page.locator("[data-testid=stFileUploaderDropzoneInput]").first.set_input_files(home / "tickets.txt")
    settle(page)
    reader.clicks = 0
    page.get_by_role("textbox", name=reader.say("Models, one per line")).fill(
        "\n".join(str(home / one) for one in TINY)
    )
    page.keyboard.press("Control+Enter")
    reader.press("Start measuring")
    compare = page.get_by_role("button", name="Compare (2)")
    compare.wait_for(timeout=MEASURED_MS)
    reader.click(compare)
    settle(page)
    runs = Warehouse(home / "workdim.duckdb").read(
        "SELECT name, bits_per_byte FROM runs JOIN models USING (model_id) WHERE name LIKE 'tiny%' AND pass = 'text'"
    )
    best, other = sorted(runs.iter_rows(named=True), key=lambda run: run["bits_per_byte"])
    assert reader.clicks <= 4
    for _language in reader.in_each_language():
        headline = page.locator("h4").first
        sync_api.expect(headline).to_contain_text(f"{best['bits_per_byte']:.2f}", timeout=WAIT_MS)
        reader.is_in_view(headline)
        told = headline.inner_text()
        in_order = [best["name"], *(f"{run['bits_per_byte']:.2f}" for run in (best, other))]
        assert [told.index(one) for one in in_order] == sorted(told.index(one) for one in in_order)
        for name in TINY:
            reader.is_in_view(page.get_by_role("img", name=re.compile(name)).first, 0.5)


def find_a_run(reader: Reader, home: Path) -> None:
    add_copies(home)
    reader.begin()
    look_for(reader, FOUND)
    reader.is_in_view(reader.page.get_by_alt_text(FOUND, exact=True))
    assert reader.clicks <= 1


def look_for(reader: Reader, name: str) -> None:
    """Find the one run of this name, wherever in the pages of the gallery it stands."""
    reader.click(reader.page.get_by_role("textbox", name=reader.say("Find runs")))
    reader.page.keyboard.type(name)
    reader.page.keyboard.press("Enter")
    reader.page.wait_for_function("document.querySelectorAll('.st-key-gallery img').length == 1")


def add_copies(home: Path) -> None:
    """Rows of further runs alone, as many as months of work leave: what a search looks through."""
    with Warehouse(home / "workdim.duckdb").write() as connection:
        connection.execute(
            "INSERT INTO runs SELECT runs.* REPLACE ('01800000-0000-7000-8000-' || lpad(n::VARCHAR, 12, '0') AS run_id) "
            "FROM runs, range(?) AS copies (n) WHERE run_id = '01900000-0000-7000-8000-000000000100' "
            "ON CONFLICT DO NOTHING",
            [N_RUNS],
        )
