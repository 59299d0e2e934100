"""The command line: `workdim VERB`, the verbs of the app, as `verbs.toml` declares them. Heavy modules are imported only where
a verb needs them.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import logging
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from core.commands.context import fail, warn
from core.errors import InputError, ResourceError, Sentence, WorkdimError
from core.files import default_warehouse, version
from core.limits import bytes_of
from core.locale import _, speaking, translated, worded
from core.terminal.output import (
    Fixed,
    WordedFormatter,
    guarded_output,
    name_warehouse,
    preferred_language,
    say,
    width,
    wrap,
)
from core.warehouse.warehouse import Warehouse

NAME = "workdim"
LIST = "list"
"""The default action of a verb with actions."""
ABOUT_VERBS = {"says", "json", "function", "example", "heading", "actions"}
"""Keys of a verb in `verbs.toml` that are no arguments."""
DECLARED = Path(__file__).with_name("verbs.toml")
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 2 bad input (one clear line), 1 a failure of ours, 130 stopped by Ctrl-C."""
    with guarded_output(), speaking(preferred_language()):
        to_terminal = logging.StreamHandler()
        to_terminal.setFormatter(WordedFormatter("workdim: %(message)s"))
        logging.basicConfig(level=logging.WARNING, handlers=[to_terminal])
        name_warehouse(None)
        try:
            options = build_parser().parse_args(sys.argv[1:] if arguments is None else arguments)
            name_warehouse(options.warehouse)
            options.warehouse = Warehouse(options.warehouse or default_warehouse())
            module, _, function = options.function.partition(".")
            code = getattr(import_module(f"core.commands.{module}"), function)(options) or 0
            sys.stdout.flush()
            return code
        except WorkdimError as error:
            return fail(error)
        except BrokenPipeError:  # the reader of the output is gone, as with `| head`
            _drop_output()
            return 0
        except OSError as error:
            _drop_output()
            return fail(ResourceError(_reason(error)))
        except MemoryError:
            return fail(ResourceError("There is not enough memory. Try a smaller model, or --dtype bfloat16."))
        except KeyboardInterrupt:
            print(file=sys.stderr)
            warn("stopped; nothing half written was kept.")
            return 130


def _reason(error: OSError) -> Sentence:
    """One line for an error of the file system."""
    what: str = str(error.filename)[:200] if error.filename else Sentence("A file")
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # for a folder: one entry for each file
        _, what, why = error.args[0][0]
        return Sentence("{what} cannot be written: {why}.", what=what, why=why)
    if error.errno in FULL:
        return Sentence("The disk is full; nothing half written was kept. Free some space, try again.")
    if isinstance(error, PermissionError):
        return Sentence("{what} may not be read or written here: check its permissions.", what=what)
    return Sentence("{what} cannot be read or written: {reason}.", what=what, reason=error.strerror or error)


def _drop_output() -> None:
    """Discard buffered output that cannot be written any more; otherwise Python tries to write it again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- the parser: argparse with verbs under headings, worded texts, and helpful errors -----------------------------------


def build_parser() -> Parser:
    """The parser of `workdim`; the parsed options carry the name of the verb's function."""
    top = Parser(prog=NAME, add_help=False)
    top.add_argument("-h", "--help", action="help", default=argparse.SUPPRESS)
    top.add_argument("--version", action="version", version=f"{NAME} {version()}")
    declared = tomllib.loads(DECLARED.read_text(encoding="utf-8"))
    Verbs(top, "how many dimensions a language model uses, layer by layer", declared["verbs"], declared["shared"])
    return top


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(_("{text} is no whole number from 1 on", text=text))
    return int(text)


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(_("a name was expected, not blanks"))
    return text


TYPES = {"name": _name, "number": float, "path": Path, "positive": _positive, "size": bytes_of, "whole": int}
"""Type of an argument in `verbs.toml` -> what reads it."""


argparse._ = _  # type: ignore[attr-defined]  # also translates argparse's own texts, such as "invalid choice"


class Help(argparse.RawDescriptionHelpFormatter):
    """Help formatter that translates texts, which are declared in English, into the reader's language."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=_columns())

    def start_section(self, heading: str | None) -> None:
        super().start_section(heading and translated(heading))

    def _get_help_string(self, action: argparse.Action) -> str:
        return worded(Sentence(action.help or "")).replace("%", "%%")  # argparse fills what it is given

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap(text, width)


def _columns() -> int:
    return max(60, min(width(), 110))


class Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, as all other errors are. Its texts are passed in English."""

    verbs: Verbs | None = None
    """The verbs of the top parser, or the actions of a verb; None for a parser without either."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.needed: list[str] = []
        super().__init__(*arguments, **{"allow_abbrev": False, "formatter_class": Help, **options})

    def error(self, message: str) -> NoReturn:
        raise InputError(
            "{what}. `{verb} --help` says more.", what=f"{message[:1].upper()}{message[1:]}", verb=self.prog
        )

    def format_help(self) -> str:
        if self.verbs:
            return self.verbs.overview()
        self.usage = " ".join([self.prog, *self.needed, _("[options]")])
        return super().format_help()

    def print_help(self, file: Any = None) -> None:
        say(*map(Fixed, self.format_help().rstrip().split("\n")))

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse, but `list` may be left out. Raises InputError, with a suggestion for an unknown option."""
        options, rest = self.parse_known_args(_in_words(self, list(args or ()) or ["--help"]), namespace)
        if rest:
            verb, word = options.parser, rest[0].partition("=")[0]
            problem = Sentence("`{verb}` does not take {word}.", verb=verb.prog, word=rest[0])
            raise _unknown(problem, word, verb._option_string_actions, verb.prog)
        return options


class Arguments:
    """The arguments of a verb, or a group of them, each written as its help shows it.

    `--yes` is a switch, `--tag TAG` takes a value, `[RULE]` may be left out, `MODEL...` and `RUN RUN` are several. An
    argument without a flag is named by its word: `models` are the `MODEL...`, `file` is the `FILE.toml`.
    """

    def __init__(self, to: argparse._ActionsContainer, needed: list[str]) -> None:
        self._to, self._needed = to, needed

    def __call__(self, written: str, text: str = "", *, dest: str = "", **options: Any) -> None:
        flag, _, place = written.partition(" ") if written.startswith("--") else ("", "", written)
        may_lack = place.startswith("[") and place.endswith("]")
        place = place[1:-1] if may_lack else place
        first, *others = place.split() or [""]
        if place.endswith("..."):
            options["nargs"], place = "*" if may_lack else "+", place[:-3]
        elif may_lack:
            options["nargs"] = "?"
        elif set(others) == {first}:
            options["nargs"], place = 1 + len(others), first
        if not place and "choices" not in options:
            options["action"] = "store_true"
        elif "choices" not in options:
            options["metavar"] = place
        if not flag or options.get("required"):
            self._needed.append(written)
        word = "".join(re.findall(r"^\w+", place)).lower() + ("s" if options.get("nargs", "?") != "?" else "")
        options |= {"dest": dest} if flag and dest else {}
        self._to.add_argument(flag or dest or word, help=text or None, **options)

    def declare(self, declared: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
        """The arguments of a table of `verbs.toml`: those it `shares`, in `groups` under a title, `one_of` at most, or its own."""
        for written, what in declared.items():
            if written == "shares":
                for name in what:
                    self.declare(shared[name], shared)
            elif written == "groups":
                for title, arguments in what.items():
                    Arguments(self._to.add_argument_group(title), self._needed).declare(arguments, shared)
            elif written == "one_of":
                Arguments(self._to.add_mutually_exclusive_group(), self._needed).declare(what, shared)
            elif isinstance(what, str):
                self(written, what)
            else:
                self(written, **what | ({"type": TYPES[what["type"]]} if "type" in what else {}))


class Verbs:
    """Verbs, or the actions of one, as `verbs.toml` declares them in order of use."""

    def __init__(self, parser: Parser, text: str, declared: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
        """`text` says what all are for; `shared` are arguments of several verbs."""
        self._parser, self._text, self._declared = parser, text, declared
        self._what = "VERB" if parser.prog == NAME else "ACTION"
        self._added = parser.add_subparsers(required=True, metavar=self._what, parser_class=Parser)
        parser.verbs = self
        for name, verb in declared.items():
            self._add(name, verb, shared)

    def _add(self, name: str, verb: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
        """Add a verb with `--warehouse`, and with `--json` if it prints records; `json` may say which.

        The overview says what both mean, once for all verbs. The function is `runs.show` of `core/commands/runs.py`, which is
        imported when the verb is run.
        """
        example = "\n".join(f"  {NAME} {line}" for line in verb.get("example", "").splitlines())
        added = self._added.add_parser(
            name,
            description=_sentence(verb["says"]),
            epilog=f"{_('for example:')}\n{example}" if example else None,
            add_help=False,
        )
        of_file = name if self._what == "VERB" else self._parser.prog.removeprefix(f"{NAME} ")
        function = f"{name}_" if name in ("list", "import") else name
        added.set_defaults(function=verb.get("function", f"{of_file}.{function}"), parser=added)
        added.add_argument("--warehouse", type=Path, metavar="FILE", help=argparse.SUPPRESS)
        added.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
        if "actions" in verb:
            Verbs(added, verb["says"], verb["actions"], shared)
        else:
            own = {written: what for written, what in verb.items() if written not in ABOUT_VERBS}
            Arguments(added, added.needed).declare(own, shared)
        if what := verb.get("json"):
            added.add_argument("--json", action="store_true", help=None if what is True else what)

    @property
    def names(self) -> list[str]:
        return list(self._declared)

    def within(self, name: str) -> Verbs | None:
        """The actions of this verb; None if it has none."""
        return self._added.choices[name].verbs

    def overview(self) -> str:
        prog, width = self._parser.prog, max(map(len, self.names)) + 2
        what = self._what if self._what == "VERB" else f"[{LIST}] | {self._what}"
        lines = [_sentence(self._text), "", f"{_('usage: ')}{prog} {what} {_('[options]')}"]
        lines += ["", _("Actions")] if self._what == "ACTION" else []
        for name, verb in self._declared.items():
            if heading := verb.get("heading"):
                lines += ["", translated(heading)]
            lines += wrap(translated(verb["says"]), _columns(), " " * (width + 2), f"  {name:<{width}}")
        if self._what == "VERB":
            lines += ["", _("With every verb")]
            lines += [f"  --warehouse FILE  {_('warehouse file (or WORKDIM_WAREHOUSE)')}"]
            lines += [f"  --json            {_('records for programs (most verbs)')}"]
        more = _("`{prog} {what} --help` says more of each.", prog=prog, what=self._what)
        return "\n".join([*lines, "", more, ""])


def _sentence(text: str) -> str:
    """`text` as a sentence in the reader's language."""
    sentence = translated(text)
    return _("{text}.", text=f"{sentence[:1].upper()}{sentence[1:]}")


def _in_words(top: Parser, line: list[str]) -> list[str]:
    """The line with its action written out. Raises InputError for an unknown verb or action."""
    verb, *rest = line = _warehouse_last(line)
    if verb.startswith("-"):
        return line
    assert top.verbs is not None
    if verb not in top.verbs.names:
        raise _unknown(Sentence("There is no verb '{asked}'.", asked=verb), verb, top.verbs.names, NAME)
    inner = top.verbs.within(verb)
    if inner is None:
        return line
    rest = _warehouse_last(rest)
    if not rest or rest[0].startswith("-"):
        return line if {"-h", "--help"} & set(rest) else [verb, LIST, *rest]
    action = rest[0]
    if action not in inner.names:
        raise _unknown(Sentence("There is no action '{asked}'.", asked=action), action, inner.names, f"{NAME} {verb}")
    return [verb, *rest]


def _warehouse_last(words: list[str]) -> list[str]:
    """`--warehouse FILE` that comes first is put last: the parser of the verb or action after it would not know it."""
    n = 0 if not words or not words[0].startswith("--warehouse") else 1 if "=" in words[0] else 2
    return [*words[n:], *words[:n]]


def _unknown(problem: Sentence, word: str, names: Iterable[str], of: str) -> InputError:
    if near := difflib.get_close_matches(word, list(names), n=1, cutoff=0.5):
        return InputError("{told} Did you mean `{near}`?", told=problem, near=f"{of} {near[0]}")
    return InputError("{told} `{of} --help` lists them.", told=problem, of=of)
