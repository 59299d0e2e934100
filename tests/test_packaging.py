"""What is imported is declared, once, and what was tested can be installed again."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PIP = "pip"
"""Comes with every virtual environment; imported to ask what it would do."""


def declared(name: str) -> dict[str, Requirement]:
    """The requirements of a file and of those that it includes, by name."""
    found = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if included := re.fullmatch(r"-r (\S+)", line):
            found |= declared(included[1])
        elif line.strip() and not line.startswith(("#", "-")):
            found[canonicalize_name(Requirement(line).name)] = Requirement(line)
    return found


def imported(*places: str) -> dict[str, str]:
    """Every foreign package that a file below imports, and one such file."""
    found = {}
    files = [
        file
        for place in places
        for file in ([ROOT / place] if (ROOT / place).is_file() else (ROOT / place).rglob("*.py"))
    ]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in names:
                found[name.partition(".")[0]] = str(file.relative_to(ROOT))
    return {name: file for name, file in found.items() if name not in sys.stdlib_module_names}


@pytest.mark.parametrize(
    ("places", "requirements", "own"),
    [
        (("core", "pages", "app.py"), "requirements-ray.txt", {"core"}),
        (
            ("tests",),
            "requirements-dev.txt",
            {"core", "tests", "pages", "dadapy"},
        ),  # DADApy: in an environment of its own
    ],
)
def test_every_import_is_declared(places: tuple[str, ...], requirements: str, own: set[str]) -> None:
    known, of_package = set(declared(requirements)) | {PIP}, packages_distributions()
    undeclared = {
        name: file
        for name, file in imported(*places).items()
        if name not in own and not {canonicalize_name(one) for one in of_package.get(name, [name])} & known
    }
    assert undeclared == {}


def test_only_the_cluster_needs_ray() -> None:
    assert set(declared("requirements-ray.txt")) - set(declared("requirements-core.txt")) == {"ray"}
    assert declared("requirements.txt") == declared("requirements-core.txt")
    assert (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()[-1] == "-e ."


def test_the_package_declares_the_same_ranges_and_its_command_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"]["file"] == ["requirements-core.txt"]
    module, _, name = project["project"]["scripts"]["workdim"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_constraints_name_a_version_within_each_range() -> None:
    pins = declared("constraints.txt")
    for name, wanted in declared("requirements-dev.txt").items():
        (pin,) = pins[name].specifier
        assert pin.operator == "==" and wanted.specifier.contains(pin.version), (wanted, pin)


def test_the_hooks_use_the_linter_of_the_tests() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    asked = {Requirement(one) for hook in hooks for one in hook["additional_dependencies"]}
    assert asked == {declared("requirements-dev.txt")["ruff"]}


def test_the_public_checks_are_those_of_the_repository() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert any(step.get("run", "").startswith(".ci/run") for step in workflow["jobs"]["test"]["steps"])
