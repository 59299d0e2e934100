"""The command-line parser: argparse with verbs under headings, worded texts, and helpful errors."""

from __future__ import annotations

import argparse
import difflib
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from core.errors import InputError, Sentence
from core.locale import _, worded
from core.terminal.output import Head, columns, say, wrap

Run = Callable[[argparse.Namespace], int]
NAME = "workdim"
LIST = "list"
"""The default action of a verb with actions."""
SHARED = "with every verb"


argparse._ = _  # type: ignore[attr-defined]  # also translates argparse's own texts, such as "invalid choice"


class Help(argparse.RawDescriptionHelpFormatter):
    """Help formatter that translates texts, which are declared in English, into the reader's language."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=_columns())

    def start_section(self, heading: str | None) -> None:
        super().start_section(heading and worded(Sentence(heading)))

    def _get_help_string(self, action: argparse.Action) -> str:
        return worded(Sentence(action.help or ""))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap(text, width)


def _columns() -> int:
    return max(60, min(columns(), 110))


class Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, as all other errors are. Its texts are passed in English."""

    verbs: Verbs | None = None
    """The verbs of the top parser, or the actions of a verb; None for a parser without either."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, "formatter_class": Help, **options})

    def error(self, message: str) -> NoReturn:
        raise InputError(
            "{what}. `{verb} --help` says more.", what=f"{message[:1].upper()}{message[1:]}", verb=self.prog
        )

    def format_help(self) -> str:
        if self.verbs:
            return self.verbs.overview()
        self._action_groups.sort(key=lambda group: group.title == SHARED)  # the verb's own options come first
        needed = [option for option in self._actions if option.required and option.option_strings]
        words = [f"{option.option_strings[0]} {option.metavar}" for option in needed]
        self.usage = " ".join([self.prog, *words, *map(_place, self._get_positional_actions()), _("[options]")])
        return super().format_help()

    def print_help(self, file: Any = None) -> None:
        """Print headings (lines followed by indented ones) in the style of table heads."""
        lines = self.format_help().rstrip().split("\n")
        after = [*lines[1:], ""]
        say(
            *(
                Head(line) if line[:1] not in ("", " ") and next_line[:2] == "  " else line
                for line, next_line in zip(lines, after, strict=True)
            )
        )

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse, but `list` may be left out. Raises InputError, with a suggestion for an unknown option."""
        options, rest = self.parse_known_args(_in_words(self, list(args or ()) or ["--help"]), namespace)
        if rest:
            verb = options.parser
            known = [option for option in verb._option_string_actions if option.startswith("--")]
            if near := difflib.get_close_matches(rest[0].partition("=")[0], known, n=1):
                raise InputError(
                    "`{verb}` does not take {word}. Did you mean {near}?", verb=verb.prog, word=rest[0], near=near[0]
                )
            raise InputError(
                "`{verb}` does not take {word}. `{verb} --help` says what it takes.", verb=verb.prog, word=rest[0]
            )
        return options


class Verbs:
    """Verbs, or the actions of a verb, under headings in order of use."""

    def __init__(self, parser: Parser, text: str, what: str = "ACTION") -> None:
        self._parser, self._text, self._what = parser, text, what
        self._sections: list[tuple[str, list[tuple[str, str]]]] = []
        self._added = parser.add_subparsers(required=True, metavar=what, parser_class=Parser)
        parser.verbs = self

    def under(self, heading: str) -> None:
        """Start a heading for the verbs added next."""
        self._sections.append((heading, []))

    def __call__(
        self, name: str, run: Run | None, text: str, with_json: str | bool = False, example: str = ""
    ) -> argparse.ArgumentParser:
        """Add a verb with `--warehouse`, and with `--json` if it prints records (`with_json` may be its help text)."""
        self._sections[-1][1].append((name, text))
        lines = "\n".join(f"  {NAME} {line}" for line in example.splitlines())
        added = self._added.add_parser(
            name,
            description=_sentence(text),
            epilog=f"{_('for example:')}\n{lines}" if example else None,
            add_help=False,
        )
        added.set_defaults(run=run, parser=added)
        shared = added.add_argument_group(SHARED)
        if with_json:
            text = "records for a program" if with_json is True else with_json
            shared.add_argument("--json", action="store_true", help=text)
        # Suppressed, so that an action keeps a value given before it: `scores --warehouse FILE list`.
        default = argparse.SUPPRESS if self._what == "ACTION" else None
        shared.add_argument(
            "--warehouse", type=Path, metavar="FILE", default=default, help="warehouse file (or WORKDIM_WAREHOUSE)"
        )
        shared.add_argument("-h", "--help", action="help", help="say this")
        return added

    def group(self, name: str, text: str) -> Verbs:
        """Add a verb that has actions."""
        added = self(name, None, text)
        assert isinstance(added, Parser)
        inner = Verbs(added, text)
        inner.under("Actions")
        return inner

    @property
    def texts(self) -> list[str]:
        """All English texts to translate: its own, those of its verbs, and its headings."""
        of_verbs = [
            text for heading, verbs in self._sections for text in (heading, *(verb_text for _name, verb_text in verbs))
        ]
        return [self._text, *of_verbs]

    @property
    def names(self) -> list[str]:
        return [name for _, verbs in self._sections for name, _ in verbs]

    def within(self, name: str) -> Verbs | None:
        """The actions of this verb; None if it has none."""
        return self._added.choices[name].verbs

    def overview(self) -> str:
        prog, width = self._parser.prog, max(map(len, self.names)) + 2
        what = self._what if self._what == "VERB" else f"[{LIST}] | {self._what}"
        lines = [_sentence(self._text), "", f"{_('usage: ')}{prog} {what} {_('[options]')}"]
        for heading, verbs in self._sections:
            lines += ["", worded(Sentence(heading))]
            for name, text in verbs:
                lines += wrap(worded(Sentence(text)), _columns(), " " * (width + 2), f"  {name:<{width}}")
        more = _("`{prog} {what} --help` says more of each.").format(prog=prog, what=self._what)
        return "\n".join([*lines, "", more, ""])


def _place(argument: argparse.Action) -> str:
    """`MODEL...`, `[RULE]`, `RUN RUN`, `right|wrong|unknown`."""
    name = str(argument.metavar or "|".join(map(str, argument.choices or (argument.dest,))))
    if isinstance(argument.nargs, int):
        return " ".join([name] * argument.nargs)
    return {"+": f"{name}...", "?": f"[{name}]"}.get(argument.nargs or "", name)


def _sentence(text: str) -> str:
    """`text` as a sentence in the reader's language."""
    sentence = worded(Sentence(text))
    return _("{text}.").format(text=f"{sentence[:1].upper()}{sentence[1:]}")


REPLACED = {
    "--show": "runs show",
    "--diff": "runs diff",
    "--note": "runs note",
    "--delete": "runs delete",
    "--restore": "runs undelete",
    "--again": "runs again",
    "--trash": "runs list --deleted",
    "--empty-trash": "cache --clean trash",
    "--untag": "runs untag",
}
"""Former flags of `runs` -> their replacement."""


def _in_words(top: Parser, line: list[str]) -> list[str]:
    """The line with its action written out. Raises InputError for an unknown verb or action."""
    verb, rest = line[0], line[1:]
    if verb.startswith("-"):
        return line
    if verb in ("cancel", "resume"):
        raise _written(f"{NAME} {verb}", shlex.join([NAME, "jobs", *line]))
    assert top.verbs is not None
    if verb not in top.verbs.names:
        raise _unknown(Sentence("There is no verb '{asked}'.", asked=verb), verb, top.verbs.names, NAME)
    inner = top.verbs.within(verb)
    if inner is None:
        return line
    if verb == "runs":
        _refuse_replaced(rest)
    position = 0
    while position < len(rest) and rest[position].startswith("--warehouse"):
        position += 1 if "=" in rest[position] else 2
    if position >= len(rest) or rest[position].startswith("-"):
        return line if {"-h", "--help"} & set(rest) else [verb, *rest[:position], LIST, *rest[position:]]
    if rest[position] not in inner.names:
        raise _unknown(
            Sentence("There is no action '{asked}'.", asked=rest[position]),
            rest[position],
            inner.names,
            f"{NAME} {verb}",
        )
    return line


def _refuse_replaced(rest: list[str]) -> None:
    old = "--untag" if "--untag" in rest else next((word for word in rest if word in REPLACED), None)
    if old is None and rest[:1] == ["--tag"] and len(rest) > 2 and not rest[2].startswith("-"):
        old = "--tag"
    if old is not None:
        others = [word for word in rest if word not in ({old, "--tag"} if old == "--untag" else {old})]
        now = " ".join([NAME, REPLACED.get(old, "runs tag"), shlex.join(others)]).rstrip()
        raise _written(f"{NAME} runs {old}", now)


def _written(old: str, now: str) -> InputError:
    return InputError("`{old}` is written `{now}` now.", old=old, now=now)


def _unknown(problem: Sentence, word: str, names: Iterable[str], of: str) -> InputError:
    if near := difflib.get_close_matches(word, list(names), n=1, cutoff=0.5):
        return InputError("{told} Did you mean `{near}`?", told=problem, near=f"{of} {near[0]}")
    return InputError("{told} `{of} --help` lists them.", told=problem, of=of)
