"""How long a reader waits: `python -m tests.bench.browser FILE [--changes 40]`, FILE of `python -m tests.bench.warehouses`.

The server is started as for anybody, and Chromium changes filters and dimension on the page Choose, one after another.
A change is timed in the browser, from the key to the second frame after the script has ended, and beside it stand the
processor seconds that the server has spent on it: on a busy machine read these. Afterwards: what the server's process
holds, and whether it has loaded a library of models.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from playwright import sync_api

from core.commands.app import free_port, start_server, stop
from core.questions.ranking_answer import load_evidence, with_summaries
from core.questions.ranking_question import BY_WORD, RankingQuestion, select_population
from core.ui.choose.choices import offered_groups
from core.warehouse.warehouse import Warehouse
from tests.browser.walk import BROWSERS, wait_for_port

READY, FIRST_SCREEN, MEGABYTES = 1.0, 1.5, 350
"""Seconds until the server answers, then until the first screen stands; what the process holds after all changes."""
P95 = ((1_000, 0.4), (10_000, 0.7))
"""Seconds of a change of a filter, with so many runs."""
HEAVY = ("libtorch", "transformers")
LONGEST = 30
"""Seconds after which a change that started no run of the page is told as missed."""
_WATCH = """() => {
    const app = document.querySelector('[data-testid=stApp]');
    if (!window.benchKeys) {
        window.benchKeys = true;
        for (const kind of ['keydown', 'pointerdown'])
            document.addEventListener(kind, () => { window.benchBegan = performance.now(); }, true);
    }
    window.benchDone = new Promise(resolve => {
        let ran = false;
        const watch = new MutationObserver(records => {
            const state = app.getAttribute('data-test-script-state');
            // Both changes of a quick run come at once: that it ran is then only told by what was before.
            ran = ran || state === 'running' || records.some(record => record.oldValue === 'running');
            if (!ran || state !== 'notRunning') return;
            watch.disconnect();
            requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - window.benchBegan)));
        });
        watch.observe(app, {attributes: true, attributeFilter: ['data-test-script-state'], attributeOldValue: true});
    });
}"""

_DONE = "longest => Promise.race([window.benchDone, new Promise(end => setTimeout(() => end(null), longest))])"


@contextmanager
def serving(warehouse: Path) -> Iterator[tuple[str, int, float]]:
    """Address and process of a server, and how long it took to answer."""
    port = free_port(8701)
    began = time.perf_counter()
    server = start_server(warehouse, port)
    try:
        wait_for_port(port)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=60) as answer:
            assert answer.status == 200
        yield f"http://127.0.0.1:{port}", server.pid, time.perf_counter() - began
    finally:
        stop(server)


def widest_group(warehouse: Path) -> str:
    """The key of the group with models of most families, which a filter by family chooses from; on words, where models of
    several tokenizers compare."""
    with Warehouse(warehouse).open() as opened:
        evidence = with_summaries(opened, load_evidence(opened))
    groups = offered_groups(select_population(evidence, RankingQuestion(cloud=BY_WORD)))
    return max(groups, key=lambda key: groups[key].rows["family"].n_unique())


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def loaded(process: int) -> list[str]:
    maps = Path(f"/proc/{process}/maps").read_text(encoding="utf-8")
    return [name for name in HEAVY if name in maps]


def settle(page: Any) -> None:
    """Until the script has ended and nothing new has begun for a moment."""
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'"
    )
    page.wait_for_timeout(300)


class Reader:
    """Somebody at the page Choose."""

    def __init__(self, page: Any, process: int) -> None:
        self.page, self.process = page, process
        self.seconds: dict[str, list[float]] = {}
        self.processor: dict[str, list[float]] = {}
        self.n_missed = 0

    def change(self, kind: str, act: Any) -> None:
        settle(self.page)
        self.page.evaluate(_WATCH)
        before = processor_seconds(self.process)
        act()
        waited = self.page.evaluate(_DONE, LONGEST * 1e3)
        if waited is None:
            self.n_missed += 1
            return
        self.page.wait_for_timeout(100)
        self.seconds.setdefault(kind, []).append(waited / 1e3)
        self.processor.setdefault(kind, []).append(processor_seconds(self.process) - before)

    def setting(self, label: str) -> Any:
        """A choice among the settings, with no open list of another one over it."""
        self.page.keyboard.press("Escape")
        box = self.page.get_by_role("combobox", name=label)
        if not box.count():
            self.page.get_by_role("button", name="Settings").click()
        return box

    def choose(self, kind: str, label: str, option: int) -> None:
        """Another of a list that holds one."""
        box = self.setting(label)
        box.click()
        self.page.get_by_role("option").first.wait_for()
        options = self.page.get_by_role("option")
        at = option % options.count()
        if options.nth(at).get_attribute("aria-selected") == "true":
            at = (at + 1) % options.count()
        self.change(kind, options.nth(at).click)

    def filter(self, label: str, number: int) -> None:
        """One value of a filter, and all again: two changes."""
        box = self.setting(label)
        box.click()
        options = self.page.get_by_role("option").filter(has_not_text="Select all")
        options.first.wait_for()
        self.change("filter", options.nth(number % options.count()).click)
        box = self.page.get_by_role("combobox", name=label)
        box.focus()
        self.change("filter", lambda: self.page.keyboard.press("Backspace"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--changes", type=int, default=40)
    parser.add_argument("--filter", default="Model family", metavar="LABEL")
    options = parser.parse_args()
    executable = next(found for name in BROWSERS if (found := shutil.which(name)))
    n_runs = sum(1 for _ in (options.file.parent / "parcels").iterdir())
    group = widest_group(options.file)
    with serving(options.file) as (address, process, ready), sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--disable-dev-shm-usage"])
        page = browser.new_context(locale="en-GB", viewport={"width": 1360, "height": 900}).new_page()
        page.set_default_timeout(60_000)
        began, before = time.perf_counter(), processor_seconds(process)
        page.goto(address)
        page.get_by_role("heading").first.wait_for()
        settle(page)
        first = time.perf_counter() - began - 0.3
        spent = processor_seconds(process)
        print(f"{n_runs:,} runs; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        print(f"  server answers    {ready:6.2f} s (limit {READY:g}), {before:.2f} processor s")
        print(f"  first screen      {first:6.2f} s (limit {FIRST_SCREEN:g}), {spent - before:.2f} processor s")
        began = time.perf_counter()
        page.goto(f"{address}/choose?choose=ranking&points={BY_WORD}&group={quote(group)}")
        page.get_by_role("heading", name="Choose", exact=True).wait_for()
        settle(page)
        told = processor_seconds(process) - spent
        print(f"  ranking, first    {time.perf_counter() - began - 0.3:6.2f} s, {told:.2f} processor s")
        reader = Reader(page, process)
        for number in range(options.changes // 2):
            reader.filter(options.filter, number)
            if number % 5 == 4:
                reader.choose("dimension", "Dimension", number)
        limit = next((seconds for runs, seconds in P95 if n_runs <= runs), P95[-1][1])
        for kind, waits in reader.seconds.items():
            own = reader.processor[kind]
            p95, spent95 = (sorted(of)[max(0, -(-95 * len(of) // 100) - 1)] for of in (waits, own))
            print(
                f"  {kind:<10} {len(waits):4} changes: least {min(waits):.2f}, median {median(waits):.2f}, p95 {p95:.2f} s "
                f"(limit {limit:g}); processor: median {median(own):.2f}, p95 {spent95:.2f} s"
            )
        if reader.n_missed:
            print(f"  {reader.n_missed} changes started no run of the page within {LONGEST} s and are left out")
        held, heavy = megabytes(process), loaded(process)
        print(
            f"  the server holds {held:.0f} MB (limit {MEGABYTES}); of {', '.join(HEAVY)}: {', '.join(heavy) or 'none'}"
        )
        browser.close()


if __name__ == "__main__":
    main()
