"""Builds the parser of all verbs of the command line, which `verbs.toml` declares."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from core.commands.parser import NAME, Arguments, Parser, Verbs
from core.errors import Sentence
from core.limits import bytes_of
from core.locale import worded

DECLARED = Path(__file__).with_suffix(".toml")


def build_parser() -> Parser:
    """The parser of `workdim`; the parsed options carry the name of the verb's function."""
    top = Parser(prog=NAME, add_help=False)
    top.add_argument("-h", "--help", action="help", default=argparse.SUPPRESS)
    top.add_argument("--version", action="version", version=f"{NAME} {_version()}")
    verbs = Verbs(top, "how many dimensions a language model uses, layer by layer", "VERB")
    declared = tomllib.loads(DECLARED.read_text(encoding="utf-8"))
    for name, verb in declared["verbs"].items():
        if "heading" in verb:
            verbs.under(verb["heading"])
        if "actions" not in verb:
            _declare(verbs, f"{name}.{name}", name, verb, declared["shared"])
            continue
        actions = verbs.group(name, verb["says"])
        for action, declaration in verb["actions"].items():
            function = f"{action}_" if action in ("list", "import") else action
            _declare(actions, f"{name}.{function}", action, declaration, declared["shared"])
    return top


def _declare(verbs: Verbs, function: str, name: str, verb: dict[str, Any], shared: Mapping[str, Any]) -> None:
    about = {key: verb.pop(key) for key in ("says", "json", "function", "example", "heading") if key in verb}
    function = about.get("function", function)
    added = verbs(name, function, about["says"], about.get("json", False), about.get("example", ""))
    _declare_arguments(added, verb, shared)


def _declare_arguments(added: Arguments, declared: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
    for written, what in declared.items():
        if written == "shares":
            for name in what:
                _declare_arguments(added, shared[name], shared)
        elif written == "groups":
            for title, arguments in what.items():
                _declare_arguments(added.group(title), arguments, shared)
        elif written == "one_of":
            _declare_arguments(added.one_of(), what, shared)
        elif isinstance(what, str):
            added(written, what)
        else:
            added(written, **what | ({"type": TYPES[what["type"]]} if "type" in what else {}))


def _version() -> str:
    try:
        return version(NAME)
    except PackageNotFoundError:  # run from its folder without installation
        from core.measure.checkpoint import code_version

        return code_version()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(worded(Sentence("{text} is no whole number from 1 on", text=text)))
    return int(text)


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(worded(Sentence("a name was expected, not blanks")))
    return text


TYPES = {"name": _name, "number": float, "path": Path, "positive": _positive, "size": bytes_of, "whole": int}
"""Type of an argument in `verbs.toml` -> what reads it."""
