"""Words of the command line: what a line means, what may be left out, and what is refused with the right spelling."""

import re
import shlex
from collections.abc import Iterator
from importlib import import_module

import pytest

from core.commands.main import Parser, build_parser, main
from core.errors import InputError
from core.locale import LANGUAGES, catalogue, in_language
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("line", "function"),
    [
        ("runs", "runs.list_"),
        ("runs --tag candidate --limit 3 --json", "runs.list_"),
        ("runs show 0190 --warehouse w.duckdb", "runs.show"),
        ("runs list --deleted", "runs.list_"),
        ("jobs --json", "jobs.list_"),
        ("jobs cancel 0190", "jobs.cancel"),
        ("scores --warehouse=w.duckdb", "scores.list_"),
        ("scores --warehouse w.duckdb import x.csv", "scores.import_"),
    ],
)
def test_an_action_is_a_word_and_list_may_be_left_out(line, function):
    options = build_parser().parse_args(line.split())
    assert options.function == function
    assert ("--warehouse" in line) == (options.warehouse is not None)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("mesure x", "There is no verb 'mesure'. Did you mean `workdim measure`?"),
        ("runs shw x", "There is no action 'shw'. Did you mean `workdim runs show`?"),
        ("zzz", "There is no verb 'zzz'. `workdim --help` lists them."),
        ("runs --limt 3", "`workdim runs list` does not take --limt. Did you mean `workdim runs list --limit`?"),
        ("runs --limit 0", "no whole number"),
        ("runs show", "the following arguments are required: RUN. `workdim runs show --help`"),
    ],
)
def test_what_is_not_understood_is_one_line_with_the_right_spelling(line, told, capsys):
    assert main(shlex.split(line)) == 2
    said = capsys.readouterr().err
    assert told.lower() in said.lower() and said.startswith("workdim: ") and said.count("\n") == 1


def functions(verbs):
    for name in verbs.names:
        inner = verbs.within(name)
        yield from functions(inner) if inner else [verbs._added.choices[name].get_default("function")]


def test_every_verb_is_a_function():
    for function in functions(build_parser().verbs):
        module, _, name = function.partition(".")
        assert callable(getattr(import_module(f"core.commands.{module}"), name)), function


def test_the_first_help_names_every_verb_and_each_has_its_own(capsys):
    top = build_parser()
    assert top.verbs is not None
    text = top.format_help()
    assert len(text.splitlines()) < 50 and max(map(len, text.splitlines())) < 110
    for name in top.verbs.names:
        assert f"\n  {name} " in text
        with pytest.raises(SystemExit) as ended:
            top.parse_args([name, "--help"])
        assert ended.value.code == 0 and f"usage: workdim {name}" in capsys.readouterr().out
    for line in ([], ["--version"]):
        with pytest.raises(SystemExit):
            top.parse_args(line)
    assert re.search(r"^workdim \d", capsys.readouterr().out, flags=re.MULTILINE)


def test_an_example_is_one_line_in_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        build_parser().parse_args(["measure", "--help"])
    assert (
        "\n  workdim measure ./my-model ./other.gguf --text mail.txt --protocol standard\n" in capsys.readouterr().out
    )


def all_parsers(of: Parser) -> Iterator[Parser]:
    yield of
    for action in of._actions:
        for inner in action.choices.values() if isinstance(action.choices, dict) else ():
            yield from all_parsers(inner)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_help_of_every_verb_and_action_is_told_in_both_languages(language):
    """A percent sign in a text is no format of argparse."""
    told = [in_language(language, parser.format_help) for parser in all_parsers(build_parser())]
    assert len(told) > 50 and sum("5%" in one for one in told) == (language == "ja")


def commands_of_texts() -> set[str]:
    """What messages, screens and remarks of the code tell to type, between backticks; placeholders as `1`."""
    texts = [path.read_text(encoding="utf-8") for room in ("core", "pages") for path in (ROOT / room).rglob("*.py")]
    texts += [str(message.string) for message in catalogue("ja")]
    texts = [re.sub(r'"\s*\n\s*f?"', "", text) for text in texts]  # sentences of several literals
    found = {line for text in texts for line in re.findall(r"`workdim ([a-z][^`]*)`", text)}
    return {re.sub(r"\{[^{}]*\}", "1", line).partition(" ...")[0] for line in found}


def test_every_command_that_a_text_names_is_one():
    lines = commands_of_texts()
    assert len(lines) > 30
    parser = build_parser()
    for line in sorted(lines):
        try:
            parser.parse_args(shlex.split(line.replace("[NAME...]", "")))
        except InputError as error:  # a text may leave out what is required
            assert "are required" in str(error), f"{line}: {error}"


def test_there_is_one_spelling_of_the_command():
    for room in ("core", "pages", "docs", "data/reference", "data/pilots"):
        for path in (ROOT / room).rglob("*"):
            if path.suffix in (".py", ".po", ".md", ".toml", ".ipynb") and path.name != "__main__.py":
                assert "python -m core" not in path.read_text(encoding="utf-8"), path
