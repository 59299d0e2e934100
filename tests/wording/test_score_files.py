"""Every code that a reader of score files uses has words in both languages."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from core.errors import InputError
from core.locale import in_language
from core.scores import lm_eval, reader, table
from core.scores.score_rows import Remark
from core.wording.scores import format_name, remark_text

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


@pytest.mark.parametrize("code", sorted(codes_in_use()))
@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_code_has_words(code, language):
    assert in_language(language, remark_text, Remark(code, "{x} <b>"))


def test_there_are_codes_and_none_is_invented():
    assert len(codes_in_use()) > 30
    with pytest.raises(InputError, match="Unknown remark 'no_such_thing'"):
        remark_text(Remark("no_such_thing"))


def test_the_detail_stands_in_the_words():
    assert remark_text(Remark("not_a_number", "high")) == "Skipped: not a number (high)"
    assert "high" in in_language("ja", remark_text, Remark("not_a_number", "high"))


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_format_has_a_name(language):
    formats = [
        value
        for module in (lm_eval, reader, table)
        for name, value in vars(module).items()
        if name.startswith("FORMAT")
    ]
    names = [in_language(language, format_name, format) for format in formats]
    assert len(set(names)) == len(names) == 8
    with pytest.raises(InputError, match="Unknown format"):
        in_language(language, format_name, "xlsx")
