"""What the documents promise is what the code does."""

import re
import shlex

import pytest

from core.cli import _parser
from core.measure.corpora import BUILT_IN
from tests.conftest import ROOT


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(name: str) -> list[str]:
    """Every `python -m core ...` line of a document, comments cut off."""
    return re.findall(r"-m core (.+?)(?:\s+#.*)?$", text_of(name), flags=re.MULTILINE)


@pytest.mark.parametrize("line", [c for c in commands("README.md") if not c.endswith("`")])
def test_every_command_of_the_readme_is_understood(line):
    line = line.partition("`")[0]
    assert _parser().parse_args(shlex.split(line)).run


def test_the_checks_of_a_fresh_machine_run_the_readmes_test_command():
    command = re.search(r"^(python3 .*-m tests)$", text_of("README.md"), flags=re.MULTILINE)[1]
    assert command in text_of(".ci/run").splitlines()


def test_every_built_in_text_is_named():
    for name in BUILT_IN:
        assert f"`{name}`" in text_of("README.md")


def test_paths_that_the_documents_name_exist():
    for name in ("README.md", "CONTRIBUTING.md"):
        for path in re.findall(r"`((?:core|pages|tests|data|\.ci)/[\w./-]*)`", text_of(name)):
            if not path.startswith("data/local"):
                assert (ROOT / path).exists(), path
