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
    "analysis": (4107, 31956),
    "api": (172, 1019),
    "commands": (3269, 21741),
    "deck": (4375, 34909),
    "errors": (241, 1401),
    "exports": (105, 829),
    "figures": (3730, 33581),
    "files": (363, 1839),
    "forecast": (627, 4864),
    "geometry": (3438, 29952),
    "ids": (41, 259),
    "limits": (212, 1104),
    "locale": (595, 751),
    "measure": (2646, 19912),
    "models": (3725, 24961),
    "pilots": (909, 5627),
    "plans": (2978, 24134),
    "questions": (2557, 19364),
    "records": (485, 2688),
    "registry": (1474, 6056),
    "runs": (2686, 17512),
    "scores": (1808, 12621),
    "sources": (251, 1886),
    "sql": (857, 4147),
    "store": (1316, 8682),
    "tables": (1232, 7936),
    "terminal": (1453, 11817),
    "texts": (2179, 15610),
    "ui": (6941, 55450),
    "validation": (211, 1788),
    "warehouse": (4601, 29001),
    "wording": (3674, 24650),
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
