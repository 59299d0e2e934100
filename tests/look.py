"""`python -m tests.look --out FOLDER`: every screen as a picture, in both languages, light and dark, narrow and wide, with
nothing, at first start and with months of work; and every slide. What is wrong with a screen is printed.

All of it takes most of an hour; `--only`, `--of`, `--languages`, `--themes` and `--widths` take a part.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import polars as pl
from playwright.sync_api import sync_playwright

from core.commands.app import free_port, start_server, stop, wait_until_ready
from core.deck.deck_data import deck_data
from core.deck.powerpoint import draw_deck
from core.deck.report import build_story
from core.locale import in_language
from core.pilots.pilot import RegisteredPilot, registered_pilot
from core.pilots.saved import Recipe
from core.questions import choice as choice_question
from core.tables import PilotRow, records
from core.warehouse import queries
from core.warehouse.warehouse import Warehouse
from tests.browser.walk import (
    HEIGHT,
    LANGUAGES,
    THEMES,
    WIDTHS,
    Watched,
    faults,
    inaccessible,
    picture,
    settle,
    started,
    watched,
)
from tests.screens import WAREHOUSES

SCREENS = {
    "start": "?",
    "help": "help?",
    "help_glossary": "help?topic=glossary&",
    "compare": "compare?{run}",
    "compare_first": "compare?",
    "compare_three": "compare?{three}",
    "compare_six": "compare?{six}",
    "compare_controls": "compare?controls=True&{three}",
    "compare_live": "compare?live=True&{three}",
    "compare_scan": "compare?estimator=gride&surrogate=True&{three}",
    "compare_equivalent": "compare?estimator=gride&equivalent=True&{three}",
    "compare_correlator": "compare?estimator=E1&{three}",
    "compare_pairs": "compare?section=pairs&{three}",
    "compare_pairs_imbalance": "compare?section=pairs&measure=information_imbalance&{three}",
    "compare_distributions": "compare?section=distributions&{three}",
    "compare_distributions_cosine": "compare?section=distributions&quantity=cosine&{three}",
    "compare_within": "compare?section=within&{run}",
    "compare_norms": "compare?section=norms&{three}",
    "compare_checks": "compare?section=checks&{three}",
    "compare_provenance": "compare?section=provenance&{three}",
    "measure": "measure?",
    "choose_ranking": "choose?choose=ranking&",
    "choose_ranking_own": "choose?choose=ranking&group=own&",
    "choose_ranking_words": "choose?choose=ranking&points=one_per_word&",
    "choose_ranking_vetoed": "choose?choose=ranking&vetoed=True&",
    "choose": "choose?",
    "choose_cost": "choose?choose=cost&a.price_per_hour=2&",
    "choose_tasks": "choose?choose=tasks&",
    "choose_elsewhere": "choose?choose=elsewhere&",
    "choose_rules": "choose?choose=rules&",
    "plan": "plan?",
    "plan_alone": "plan?shrink=alone&",
    "plan_harder": "plan?shrink=harder&",
    "plan_saving": "plan?shrink=saving&",
    "plan_directions": "plan?shrink=directions&",
    "plan_files": "plan?shrink=files&",
    "plan_history": "plan?shrink=history&",
    "plan_new": "plan?shrink=new&",
    "query": "query?example=ranks_disagree&",
    "query_profile": "query?example=one_profile&",
    "query_refused": "query?sql=DROP TABLE runs&",
    "share": "share?",
    "choose_scores": "choose?choose=scores&",
    "choose_scores_files": "choose?choose=scores&scores=files&",
    "choose_scores_names": "choose?choose=scores&scores=names&",
    "choose_scores_conflicts": "choose?choose=scores&scores=conflicts&",
    "choose_scores_pairs": "choose?choose=scores&scores=pairs&",
    "compare_pilot": "compare?pilot={pilot}&",
    "choose_pilot": "choose?pilot={pilot}&",
    "choose_ranking_pilot": "choose?choose=ranking&pilot={pilot}&",
    "share_pilot": "share?pilot={pilot}&",
}
"""Name of the picture -> the address that shows it: of the newest run, of three or six, or of the newest pilot."""
FEW = ("start", "measure", "compare", "choose", "choose_ranking", "choose_scores", "share", "plan", "query", "help")
"""One screen of each page: all there is to see where there is little to show."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.look", description=__doc__)
    parser.add_argument("--warehouse", type=Path, metavar="FILE", help="one of your own instead of the three made here")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--only",
        nargs="*",
        default=[*SCREENS, "deck", "deck_pilot"],
        metavar="NAME",
        help="screens, deck or deck_pilot",
    )
    parser.add_argument("--of", nargs="*", default=list(WAREHOUSES), choices=list(WAREHOUSES), help="which warehouses")
    parser.add_argument("--languages", nargs="*", default=list(LANGUAGES), choices=list(LANGUAGES))
    parser.add_argument("--themes", nargs="*", default=list(THEMES), choices=list(THEMES))
    parser.add_argument("--widths", nargs="*", type=int, default=list(WIDTHS))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    n_faults = 0
    with tempfile.TemporaryDirectory() as folder:
        paths = {"own": options.warehouse} if options.warehouse else {}
        for name in options.of if not paths else ():
            Path(folder, name).mkdir()
            paths[name] = WAREHOUSES[name](Path(folder, name))
        for name, path in paths.items():
            n_faults += walk(Warehouse(path), name, options)
        decks(Warehouse(list(paths.values())[-1]), options)
    print(f"{len(list(options.out.glob('*.png')))} pictures in {options.out}, {n_faults} faults")
    return 1 if n_faults else 0


def walk(warehouse: Warehouse, name: str, options: argparse.Namespace) -> int:
    """Every screen of one warehouse in each language, theme and width: a picture of each, and what is wrong with it."""
    port = free_port(8600)
    server = start_server(warehouse.path, port)
    n_faults = 0
    try:
        wait_until_ready(server, port)
        asked = {key: link for key, link in addresses(warehouse).items() if key in options.only}
        names = queries.runs(warehouse)["name"].unique().to_list()
        few = {key: link for key, link in asked.items() if key in FEW}
        with sync_playwright() as playwright, started(playwright) as browser:
            if browser is None:
                raise SystemExit("There is no Chromium or Chrome on the PATH.")
            for theme, language in itertools.product(options.themes, options.languages):
                with watched(browser, theme) as seen:
                    for screen, link in (few if name in ("empty", "first") else asked).items():
                        asked_for = f"http://127.0.0.1:{port}/{link}lang={language}"
                        for fault in look(seen, asked_for, screen, names, options):
                            n_faults += 1
                            print(f"{name} {screen} {language} {theme}: {fault}", flush=True)
                        for width in options.widths:
                            taken = options.out / f"taken_{width}.png"
                            taken.rename(options.out / f"{name}_{screen}_{language}_{theme}_{width}.png")
    finally:
        stop(server)
    return n_faults


def look(seen: Watched, link: str, screen: str, names: Sequence[str], options: argparse.Namespace) -> list[str]:
    """Open a screen once and make it narrow and wide; its pictures are named by their width."""
    page = seen.page
    page.goto(link, wait_until="commit")
    settle(page)
    if screen.startswith("query"):  # a link fills the editor alone
        page.get_by_test_id("stFormSubmitButton").get_by_role("button").first.click()
        page.wait_for_timeout(500)
        settle(page)
    found: dict[str, list[int]] = {}
    language = link[-2:]
    for width in options.widths:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.wait_for_timeout(250)
        for fault in faults(page, language, names, is_refused=screen == "query_refused"):
            found.setdefault(fault, []).append(width)
        picture(page, options.out / f"taken_{width}.png")
    return (
        seen.faults()
        + inaccessible(page)
        + [f"{fault} at {', '.join(map(str, widths))}" for fault, widths in found.items()]
    )


def addresses(warehouse: Warehouse) -> dict[str, str]:
    """The link of each screen, but for the language; those of a pilot only where there is one."""
    runs = queries.runs(warehouse).filter(pl.col("pass") == "text")["run_id"].to_list()
    pilot = newest_pilot(warehouse)
    chosen = {name: runs[:n] for name, n in (("run", 1), ("three", 3), ("six", 6))}
    places = {name: f"runs={','.join(own)}&" if own else "" for name, own in chosen.items()}
    return {
        name: link.format(**places, pilot=quote(pilot.pilot_id) if pilot else "")
        for name, link in SCREENS.items()
        if pilot or "{pilot}" not in link
    }


def decks(warehouse: Warehouse, options: argparse.Namespace) -> None:
    known = queries.runs(warehouse)
    if "deck" in options.only and not known.is_empty():
        slides(warehouse, options.out, "deck", known.filter(pl.col("pass") == "text").head(4))
    pilot = newest_pilot(warehouse)
    if "deck_pilot" in options.only and pilot:
        own = queries.pilot_run_ids(warehouse, pilot.pilot_id)
        slides(warehouse, options.out, "deck_pilot", known.filter(pl.col("run_id").is_in(own)), pilot)


def newest_pilot(warehouse: Warehouse) -> RegisteredPilot | None:
    rows = records(queries.pilots(warehouse).head(1), PilotRow)
    return registered_pilot(rows[0]) if rows else None


def slides(
    warehouse: Warehouse, out: Path, name: str, chosen: pl.DataFrame, pilot: RegisteredPilot | None = None
) -> None:
    """Rendered by LibreOffice; skipped where it or pdftoppm is missing."""
    if not (shutil.which("soffice") and shutil.which("pdftoppm")):
        print("LibreOffice or pdftoppm is missing: no pictures of slides.", file=sys.stderr)
        return
    if chosen.is_empty():
        return
    found = choice_question.ask_report(
        warehouse, Recipe("look", tuple(chosen["run_id"]), pilot.pilot_id if pilot else None)
    )
    for language in ("en", "ja"):
        file = out / f"{name}_{language}.pptx"
        data = in_language(language, deck_data, found)
        file.write_bytes(draw_deck(build_story(data)))
        subprocess.run(["soffice", "--headless", "--convert-to", "pdf", "--outdir", str(out), str(file)], check=True)
        pdf = file.with_suffix(".pdf")
        subprocess.run(["pdftoppm", "-r", "80", "-png", str(pdf), str(out / f"{name}_{language}")], check=True)


if __name__ == "__main__":
    sys.exit(main())
