"""`python -m tests.look --out FOLDER`: every screen and slide as a picture, in both languages, to be looked at."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import polars as pl
from playwright.sync_api import sync_playwright

from core.analysis.differences import with_controls
from core.commands.app import free_port, start_server, stop, wait_until_ready
from core.commands.reports import read_frames
from core.deck.build import deck
from core.deck.deck_data import deck_data
from core.files import default_path
from core.pilots.registration import Registered, registered
from core.warehouse import queries
from core.warehouse.warehouse import Warehouse

SCREENS = {
    "home": "?",
    "profiles": "profiles?",
    "profiles_controls": "profiles?controls=True&",
    "profiles_live": "profiles?live=True&",
    "compare": "profiles?section=compare&",
    "measure": "pilot?",
    "profiles_scan": "profiles?estimator=gride&surrogate=True&",
    "profiles_equivalent": "profiles?estimator=gride&equivalent=True&",
    "profiles_correlator": "profiles?estimator=E1&",
    "pairs": "profiles?section=pairs&",
    "pairs_imbalance": "profiles?section=pairs&measure=information_imbalance&",
    "distributions": "profiles?section=distributions&",
    "distributions_cosine": "profiles?section=distributions&quantity=cosine&",
    "within": "profiles?section=within&",
    "norms": "profiles?section=norms&",
    "checks": "profiles?section=checks&",
    "provenance": "profiles?section=provenance&",
    "ranking": "ranking?",
    "ranking_words": "ranking?points=one_per_word&",
    "ranking_vetoed": "ranking?vetoed=True&",
    "decide": "decide?",
    "decide_cost": "decide?decide=cost&a.price_per_hour=2&",
    "decide_tasks": "decide?decide=tasks&",
    "decide_elsewhere": "decide?decide=elsewhere&",
    "decide_rules": "decide?decide=rules&",
    "shrink": "shrink?",
    "shrink_alone": "shrink?shrink=alone&",
    "shrink_harder": "shrink?shrink=harder&",
    "shrink_saving": "shrink?shrink=saving&",
    "shrink_directions": "shrink?shrink=directions&",
    "shrink_files": "shrink?shrink=files&",
    "shrink_history": "shrink?shrink=history&",
    "shrink_new": "shrink?shrink=new&",
    "query": "query?example=ranks_disagree&",
    "query_profile": "query?example=one_profile&",
    "query_refused": "query?sql=DROP TABLE runs&",
    "report": "report?",
    "scores": "scores?",
    "scores_files": "scores?scores=files&",
    "scores_names": "scores?scores=names&",
    "scores_conflicts": "scores?scores=conflicts&",
    "scores_pairs": "scores?scores=pairs&",
    "profiles_pilot": "profiles?pilot={pilot}&",
    "ranking_pilot": "ranking?pilot={pilot}&",
    "report_pilot": "report?pilot={pilot}&",
}
"""Name of the picture -> the address that shows it; {pilot} is the pilot that was registered last."""
WIDTHS = (1360, 1000)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.look", description=__doc__)
    parser.add_argument("--warehouse", type=Path, default=default_path(), metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--only",
        nargs="*",
        default=[*SCREENS, "deck", "deck_pilot"],
        metavar="NAME",
        help="screens, deck or deck_pilot",
    )
    parser.add_argument("--dark", action="store_true", help="as a reader sees them whose system is dark")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    screens(Warehouse(options.warehouse), options.out, options.only, "dark" if options.dark else "light")
    warehouse = Warehouse(options.warehouse)
    known = queries.runs(warehouse)
    if "deck" in options.only:
        slides(warehouse, options.out, "deck", known.filter(pl.col("pass") == "text"))
    pilot = newest_pilot(warehouse)
    if "deck_pilot" in options.only and pilot:
        own = queries.of_pilot(warehouse, pilot.pilot_id)
        slides(warehouse, options.out, "deck_pilot", known.filter(pl.col("run_id").is_in(own)), pilot)
    print(f"{len(list(options.out.glob('*.png')))} pictures in {options.out}")
    return 0


def screens(warehouse: Warehouse, out: Path, only: list[str], theme: Literal["light", "dark"]) -> None:
    runs = queries.runs(warehouse)
    chosen = ",".join(runs.filter(pl.col("pass") == "text")["run_id"].to_list()[:3])
    pilot = newest_pilot(warehouse)
    asked = {
        name: address.format(pilot=quote(pilot.pilot_id) if pilot else "")
        for name, address in SCREENS.items()
        if name in only and (pilot or "{pilot}" not in address)
    }
    port = free_port(8600)
    server = start_server(warehouse.path, port)
    try:
        wait_until_ready(server, port)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            for width in WIDTHS:
                for language in ("en", "ja"):
                    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
                    for name, address in asked.items():
                        page.goto(
                            f"http://127.0.0.1:{port}/{address}lang={language}"
                            + ("" if "pilot=" in address else f"&runs={chosen}")
                        )
                        page.get_by_role("heading").first.wait_for()
                        if name.startswith("query"):  # a link fills the editor alone
                            page.locator("[data-testid=stFormSubmitButton] button").first.click()
                        page.wait_for_timeout(2500)  # figures draw after their text
                        height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
                        page.set_viewport_size({"width": width, "height": max(900, height)})
                        page.wait_for_timeout(800)
                        page.screenshot(path=out / f"{name}_{language}_{width}.png")
                        page.set_viewport_size({"width": width, "height": 900})
                    page.close()
            browser.close()
    finally:
        stop(server)


def newest_pilot(warehouse: Warehouse) -> Registered | None:
    rows = queries.pilots(warehouse).to_dicts()
    return registered(rows[0]) if rows else None


def slides(warehouse: Warehouse, out: Path, name: str, chosen: pl.DataFrame, pilot: Registered | None = None) -> None:
    """Rendered by LibreOffice; skipped where it or pdftoppm is missing."""
    if not (shutil.which("soffice") and shutil.which("pdftoppm")):
        print("LibreOffice or pdftoppm is missing: no pictures of slides.", file=sys.stderr)
        return
    known = queries.runs(warehouse)
    runs = with_controls(chosen, known)
    if runs.is_empty():
        return
    frames = read_frames(warehouse, runs)
    for language in ("en", "ja"):
        file = out / f"{name}_{language}.pptx"
        file.write_bytes(deck(deck_data(frames, language, pilot)))
        subprocess.run(["soffice", "--headless", "--convert-to", "pdf", "--outdir", str(out), str(file)], check=True)
        pdf = file.with_suffix(".pdf")
        subprocess.run(["pdftoppm", "-r", "80", "-png", str(pdf), str(out / f"{name}_{language}")], check=True)


if __name__ == "__main__":
    sys.exit(main())
