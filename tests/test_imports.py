"""Layering is a test, not a hope: who may import whom, and what looking at the screens must not load."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import core
from tests.screens import filled_warehouse
from tests.sizes import sizes

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT = {
    "sources": set(),
    "errors": {"sources"},
    "registry": {"errors"},
    "validation": {"errors"},
    "tables": {"registry", "sources", "errors"},
    "records": {"errors", "registry", "tables"},
    "locale": {"sources", "errors"},
    "pilots": {"errors", "validation", "records", "tables"},
    "exports": set(),
    "scores": {"errors", "records", "tables"},
    "geometry": {"errors", "records", "tables"},
    "models": {"errors", "records", "tables", "geometry"},
    "texts": {"errors", "validation", "records", "tables", "geometry"},
    "measure": {"errors", "records", "tables", "geometry", "models", "texts", "analysis"},
    "plans": {"errors", "records", "tables", "geometry", "models", "texts", "analysis", "measure"},
    "paths": set(),
    "files": {"errors"},
    "ids": {"errors"},
    "limits": {"errors"},
    "store": {"errors", "records", "tables", "pilots"},
    "warehouse": {"errors", "locale", "records", "tables", "pilots", "scores", "exports", "store"},
    "sql": {"errors", "locale", "warehouse"},
    "analysis": {"sources", "errors", "records", "tables", "pilots"},
    "questions": {"sources", "errors", "records", "tables", "pilots", "analysis", "warehouse"},
    "wording": {"sources", "errors", "records", "tables", "pilots", "scores", "analysis", "questions", "locale"},
    "figures": {"sources", "errors", "records", "tables", "pilots", "analysis", "questions", "locale", "wording"},
    "deck": {
        "sources",
        "errors",
        "records",
        "tables",
        "pilots",
        "analysis",
        "questions",
        "locale",
        "wording",
        "figures",
    },
    "forecast": {"errors", "records", "tables", "geometry", "models", "texts", "measure", "analysis", "warehouse"},
    "runs": {
        "errors",
        "records",
        "tables",
        "geometry",
        "models",
        "texts",
        "measure",
        "plans",
        "analysis",
        "warehouse",
        "forecast",
        "pilots",
    },
    "ui": {
        "errors",
        "exports",
        "records",
        "tables",
        "pilots",
        "scores",
        "warehouse",
        "sql",
        "analysis",
        "questions",
        "figures",
        "wording",
        "deck",
        "locale",
        "runs",
    },
    "pages": {"ui", "analysis", "questions", "figures", "wording", "deck", "locale"},
    "app": {"ui"},
    "terminal": {"errors", "records", "tables", "scores", "locale", "analysis", "questions", "figures", "wording"},
    "api": {
        "errors",
        "records",
        "tables",
        "geometry",
        "measure",
        "analysis",
        "questions",
        "figures",
        "warehouse",
        "sql",
    },
    "__main__": {"commands"},
}
# Lazily, where a verb needs it.
for _room in set(MAY_IMPORT) - {"errors", "registry", "tables", "records", "pages", "app", "locale", "__main__"}:
    MAY_IMPORT[_room] |= {"registry", "files", "ids", "limits", "paths"} - {_room}
for _room in ("runs", "ui", "forecast", "sql"):
    MAY_IMPORT[_room].add("store")
MAY_IMPORT["commands"] = set(MAY_IMPORT) - {"pages", "app", "__main__"}
ONLY_IN = {
    "duckdb": {"warehouse", "sql"},
    "transformers": {"models"},
    "streamlit": {"ui", "pages", "app"},
    "ray": {"runs"},
}
HEAVY = ("torch", "transformers", "matplotlib", "skdim", "ray", "scipy.stats", "scipy.optimize")
MOST_IN_A_FOLDER = 25
# Lines and tokens that a room may have (`python -m tests.sizes` prints what it has). A room shrinks freely, and its numbers
# with it; it grows only by a capability, which is named behind the numbers that it needs.
MOST = {
    "__init__": (29, 103),
    "__main__": (24, 80),
    "analysis": (
        4240,
        32880,
    ),  # what puts a choice first; the error of a share of all, and the reach of many comparisons; how often each model of a decision is first; a loss that may exceed its budget; counts of a verdict, and the joint test of its methods, errors over documents and groups of questions, of a difference of two losses too; the rank among the draws of a control; how fast a run read its text, as a record
    "api": (172, 1032),
    "commands": (3377, 22450),  # the verbs compare and choose
    "deck": (
        4930,
        41300,
    ),  # a rule that no model meets, models beside a larger group of vetoed ones, orders that intervals do not bear; what costs and fails in a plan's title, names of a scatter that have no room; names of rows that leave room for their marks; blocks shaded by what each costs; no line ends between number and percent sign; who decides, and by when, of any report; checks that cannot be made; why a plan is refused, as its first picture; values of rows in a column; previews that hold every word; Japanese lines end behind phrases; marks judge the answer, and an unclear one is the same, not held; what a plan costs an ability stands in its title; blocks with the loss of each, framed; axes in plain words; a minus sign; models that do not compare are drawn each on its own scale; how many of them a picture has room for; rows of a slide's chart are named on its left, each with its value; a report's tables are whole; other looks are held against the answer that was given; the deck of a rule's choice; how many looks were tried
    "errors": (239, 1387),  # what is not there, and an empty list: one message for all kinds
    "exports": (105, 829),
    "figures": (
        4130,
        37770,
    ),  # prices beyond an axis at its end; the methods of a rise in plain words, blocks only tried framed and shaded by their price; prices of a slide in percent, each at its end; names of a query's bars; what a loss is in percent; small profiles each on a scale of its own, profiles on words; titles of axes whole on a phone; names that are cut alike are told apart; pictures for a phone, the grid of claims too; what lines to compare with are, at their ends; a query's first; columns that the types check
    # picture shows what was measured; the charts of slides, which a room of slides described beside those of screens
    "files": (359, 1819),  # one refusal for what a dozen rooms said each; where a process finds this code, for three
    "forecast": (
        672,
        5199,
    ),  # what is measured already, by the rule that a job has, which the room of jobs held; an estimate at once, from stored costs and the newest own runs, phase by phase as a job reports
    "geometry": (
        3577,
        30825,
    ),  # nearest by a sample of columns; how much blocks write; what the host reads is read for all subsets at once; d2 alone
    "ids": (41, 247),  # an id is found, or refused, in one place
    "limits": (210, 1093),  # what the workers of a job take; amounts of memory as people write them
    "locale": (
        591,
        761,
    ),  # the words of every page, in the glossary, with the wrong ones in both languages; a reader's own catalogue
    "measure": (
        2748,
        20494,
    ),  # whether d2 depends on sequences or points, which geometry held; which layer serves own labels, of encoders too; loss readable at each layer; bits and bytes of each window; the draws of a control, which goes on with its next
    # memory that runs out, states of layers, and blocks replaced, for all who run a model; controls whose blocks write as much as trained ones; decoders from pinned parts of packages
    "models": (4165, 28019),
    "pilots": (926, 5720),  # columns of pilots that the types check; who decides by a report, and by when
    "plans": (3238, 26185),  # rounding priced, one block repaired; whether norms can carry a repair is tried
    # and what a report answers, on each text:
    "questions": (
        2530,
        19030,
    ),  # own models alone asked about, and scores that count alike; readable loss beside a plan; a choice among none names models; what a report is of, read in one place for pages and verbs; a rule's choice asked again for its deck, losses paired in a choice, models compared alike on a text; which to pilot, what named budgets allow; d2 of draws; columns that the types check
    "records": (477, 2668),  # own labels; a request read back from JSON, for jobs and estimates alike
    "registry": (1466, 6445),  # own labels; loss readable at each layer; the words of a verdict; three controls
    "runs": (
        2742,
        18024,
    ),  # what this machine offers for measuring, which the room of models held; a job that cannot be written leaves no folder; how much text a protocol needs; own labels, which may have changed since; encoders told by their configuration; a layer of a job at work is read once, and one of another version is none; the worst of each quantity that the instrument's check finds
    "scores": (
        1828,
        12735,
    ),  # a row for each model, a column for each benchmark; blanks around a name, and NaN beside a key that is there twice
    "sources": (250, 1871),  # rows of narrow reads
    "sql": (879, 4459),  # what a worker is asked
    "store": (1398, 9455),  # a file that is deleted while it is read; columns that the types check
    "tables": (
        1216,
        8385,
    ),  # the choice that a report is of; counts of a verdict, group of a question; d2 of each draw; a run, alone and with a score, as one record; rows of any table as its class; the smaller model beside a plan
    "terminal": (
        1534,
        12610,
    ),  # the answer in ten lines before the details; a plan fits the terminal; heads that stay apart when they are cut
    "texts": (
        2257,
        15921,
    ),  # a text measured in pages, before and where it is too short; own labelled texts, and how their table is to be saved; a text too short names the protocol that it suffices for; groups of questions; near copies; repeats inside a piece; a text is judged before a model reads it
    "ui": (
        7660,
        61500,
    ),  # scores beside models without a ranking, and of the run that the answer is about; pages of Start as a list; a page that opens with the reader's models; five pages; a link is followed whatever was chosen before, or changed on another page; labelled texts, which stop the start where they are refused; the form of a plan stays while other pages are drawn; runs filtered, ticked, compared and deleted together; what a refusal says of the terminal by the screen's places; columns that the types check
    "validation": (236, 2016),
    "warehouse": (
        4840,
        30819,
    ),  # which run has all that is asked, which forecast held; readable loss beside a plan; a report whose runs are gone says which; an export holds one table at a time, and parcels that lack the added one; what a measurement finds there, which forecast held
    "wording": (
        3860,
        27900,
    ),  # titles that ask for what is measured first; whose blocks savings are of; equal digits within one bracket, and no percentages of the absurd; what a measurement takes and what a plan weighed, told once for screens and terminal; which layer serves own labels, as the best of many; readable loss, and its limits; where a search of blocks ended, and a count of one; names told apart where some are cut alike; what does not compare, in one line; all that keeps models apart, with each way out; models compared on a text; which to pilot, named budgets, what else saves; who may shortlist; a score for an encoder; columns that the types check
}


def sources() -> list[Path]:
    return [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py")), *sorted((ROOT / "core").rglob("*.py"))]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room(path: Path) -> str:
    """`core/deck/html.py` -> deck, `core/runs.py` -> runs, `pages/start.py` -> pages, `app.py` -> app."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] != "core":
        return parts[0]
    return parts[1] if parts[1] != "__init__" else "core"


def imported(tree: ast.AST) -> set[str]:
    """Dotted names that the code below `tree` imports, `from core import wording` as `core.wording`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import on line {node.lineno}: write the full name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_of(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("core.")}


def test_import_table() -> None:
    for path in sources():
        names, own = imported(parsed(path)), room(path)
        if own == "core":
            assert names <= {
                "typing.TYPE_CHECKING",
                "typing.Any",
                "importlib.import_module",
                "__future__.annotations",
            } | {f"core.api.{name}" for name in core.__all__}, (
                "core/__init__.py imports nothing of the rooms, so that `import core` costs nothing"
            )
            continue
        assert rooms_of(names) - {own} <= MAY_IMPORT[own], path
        for package in ONLY_IN.keys() & {name.split(".")[0] for name in names}:
            assert own in ONLY_IN[package], f"{path}: {package} is imported only by {sorted(ONLY_IN[package])}"


def test_ui_reaches_runs_only_inside_functions() -> None:
    for path in sorted((ROOT / "core" / "ui").rglob("*.py")):
        at_import = [node for node in parsed(path).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not [node.lineno for node in at_import if "runs" in rooms_of(imported(node))], path


def test_every_room_is_in_the_table() -> None:
    assert {room(path) for path in sources()} - {"core"} <= set(MAY_IMPORT)


def test_a_module_has_one_name() -> None:
    """Whoever reads `plan_wording` knows the file; where a short name would be that of several files, the room stands behind."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "core").rglob("*.py")
    }
    names: dict[str, set[str]] = {}
    for path in sources():
        for node in ast.walk(parsed(path)):
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                if (module := f"{node.module}.{alias.name}") in modules:
                    names.setdefault(module, set()).add(alias.asname or alias.name)
    assert {module: sorted(found) for module, found in names.items() if len(found) > 1} == {}


def test_no_files_import_each_other_in_a_circle() -> None:
    """An import within a function counts: it hides a circle from Python, not from the reader."""
    paths = sorted((ROOT / "core").rglob("*.py"))
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    imports = {}
    for name, path in files.items():
        found = imported(parsed(path))
        imports[name] = {one if one in files else one.rpartition(".")[0] for one in found} - {name}
    # Take away, again and again, what imports nothing of the rest, then what nothing of the rest imports.
    while leaves := [name for name, others in imports.items() if not others & set(imports)]:
        for name in leaves:
            del imports[name]
    while roots := set(imports).difference(*imports.values()):
        for name in roots:
            del imports[name]
    assert sorted(imports) == []


def test_core_stays_small_enough_to_be_looked_over() -> None:
    paths = sorted((ROOT / "core").rglob("*.py"))
    folders = Counter(path.parent.relative_to(ROOT).as_posix() for path in paths)
    assert {folder: n for folder, n in folders.items() if n > MOST_IN_A_FOLDER} == {}
    found = sizes()
    assert set(found) == set(MOST), "a room has a line in the table, and no line is without a room"
    grown = {
        room: (n, MOST[room]) for room, n in found.items() if any(a > b for a, b in zip(n, MOST[room], strict=True))
    }
    assert not grown, f"lines and tokens, and how many there may be: {grown}"


MOST_BY_STRING = 700
"""Subscripts by a constant string; it may only shrink. What a row holds is an attribute of its record (`core.tables.records`)."""


def test_columns_are_attributes_of_records_and_not_keys_of_mappings() -> None:
    by_string = Counter(
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "core").rglob("*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Subscript) and isinstance(getattr(node.slice, "value", None), str)
    )
    assert by_string.total() <= MOST_BY_STRING, by_string.most_common(20)


def test_looking_at_pages_loads_no_model_library(tmp_path: Path) -> None:
    looker = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({str(ROOT / 'app.py')!r}, default_timeout=60).run()\n"
        f"for page in {[path.name for path in sorted((ROOT / 'pages').glob('*.py'))]!r}:\n"
        "    app.switch_page('pages/' + page).run()\n"
        "    assert not app.exception, (page, app.exception)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", looker],
        cwd=ROOT,
        env={**os.environ, "WORKDIM_WAREHOUSE": str(filled_warehouse(tmp_path))},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"
