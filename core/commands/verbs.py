"""Builds the parser of all verbs of the command line, which `verbs.toml` declares."""

from __future__ import annotations

import argparse
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.commands.parser import NAME, Parser, Verbs

DECLARED = Path(__file__).with_suffix(".toml")


def build_parser() -> Parser:
    """The parser of `workdim`; the parsed options carry the name of the verb's function."""
    top = Parser(prog=NAME, add_help=False)
    top.add_argument("-h", "--help", action="help", default=argparse.SUPPRESS)
    top.add_argument("--version", action="version", version=f"{NAME} {_version()}")
    declared = tomllib.loads(DECLARED.read_text(encoding="utf-8"))
    Verbs(top, "how many dimensions a language model uses, layer by layer", declared["verbs"], declared["shared"])
    return top


def _version() -> str:
    try:
        return version(NAME)
    except PackageNotFoundError:  # run from its folder without installation
        from core.measure.checkpoint import code_version

        return code_version()
