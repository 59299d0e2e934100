"""Every code that a reader of score files uses has words in both languages."""

from __future__ import annotations

import ast
from pathlib import Path

from core.locale import in_language
from core.scores import lm_eval, reader, table
from core.scores.score_rows import Remark
from core.wording.scores import FORMATS, REMARKS, remark_text

ROOM = Path(__file__).parents[2] / "core" / "scores"
MAKERS = {"Remark": 0, "Skip": 0, "left_out": 3}
"""What makes a remark, and where its code stands among the arguments."""


def codes_in_use() -> set[str]:
    found = {"outside_percent", "outside_fraction"}
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
                found |= literals(node.args[MAKERS[node.func.id]])
            elif (
                isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "code"
            ):
                found |= literals(node.value)
    return found


def literals(node: ast.expr) -> set[str]:
    """The texts that an expression may be: `"a"`, or `"a" if x else "b"`; a name is followed to its assignment."""
    if isinstance(node, ast.IfExp):
        return literals(node.body) | literals(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_every_code_has_words_and_none_is_invented():
    found = codes_in_use()
    assert len(found) > 30 and found <= set(REMARKS)
    assert remark_text(Remark("not_a_number", "high")) == "Skipped: not a number (high)"
    assert "high" in in_language("ja", remark_text, Remark("not_a_number", "high"))


def test_every_format_has_a_name():
    modules = (lm_eval, reader, table)
    formats = {one for module in modules for name, one in vars(module).items() if name.startswith("FORMAT")}
    assert formats | {"scored_here"} == set(FORMATS)
