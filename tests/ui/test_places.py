"""What messages say of the terminal, a screen says by its own places: pages, sections and controls."""

import re
from pathlib import Path

import pytest

import core
from core.errors import InputError, Sentence, missing
from core.locale import catalogue
from core.texts.corpora import which_column
from core.ui.language import PLACES, OnScreen

IN_TERMINAL_ALONE = {
    *("--address", "--allowed-host", "--engine", "--estimate-only", "--json", "--port", "--yes"),  # of the verb itself
    *("--benchmark", "--example", "--examples", "--format", "--list", "--model", "--out", "--recipe", "--run"),
    *("--save", "--saved", "--schema", "--show", "--suggested", "--limit", "--again", "--dry-run", "--metric"),
    *("--estimator", "--mergekit", "--memory-budget", "--remove", "--save-model", "--stack", "--warehouse", "--help"),
    *("--models", "--clean", "--tag", "--kept"),
}
"""Options that no screen has."""
OPTION, COMMAND = re.compile(r"(?<![\w-])--[a-z][a-z-]*(?!\w)"), re.compile("`[^`]*`|workdim [^.)]*")


def test_a_refusal_names_the_control_of_the_screen():
    refusal = which_column(Path("mine.csv"), ["a", "b"]).message
    assert str(refusal).endswith("Name one with --column.")
    assert refusal.translated(OnScreen("en")).endswith("Name one with “Column of the text”.")
    assert "「テキストの列」" in refusal.translated(OnScreen("ja"))


def test_what_is_missing_is_looked_up_on_a_page_of_the_screen():
    assert str(missing("run", "x", "runs list --deleted")) == "There is no run x: see `workdim runs list --deleted`."
    assert (
        missing("run", "x", "runs list --deleted").translated(OnScreen("en"))
        == "There is no run x: see “Show the trash”."
    )


def test_what_only_a_terminal_does_is_said_to_be_of_one_and_the_reader_s_words_stay():
    damaged = InputError("{path} is damaged. `workdim ingest --rebuild` makes it anew from the parcels.", path="--text")
    told = damaged.message.translated(OnScreen("en"))
    assert told == "--text is damaged. `workdim ingest --rebuild` (in a terminal) makes it anew from the parcels."


def test_what_a_run_was_asked_and_is_tagged_with_stands_on_compare():
    again = Sentence(
        "Run {run} is of Workdim {version} and cannot be repeated. Measure anew; `workdim runs show {run}` tells what was asked.",
        run="x",
        version="1",
    )
    assert again.translated(OnScreen("en")).endswith("Measure anew; “Provenance” tells what was asked.")
    assert "「測定」で測定してください。当時の指定は「測定条件・履歴」で" in again.translated(OnScreen("ja"))
    tags = Sentence("A run has at most {most_tags} tags. `workdim runs untag` takes one away.", most_tags=20)
    assert tags.translated(OnScreen("en")).endswith("“Tags” takes one away.")


@pytest.mark.parametrize("label", sorted(set(PLACES.values())))
def test_every_place_is_drawn_under_that_name(label: str):
    root = Path(core.__file__).parents[1]
    files = [*root.glob("core/ui/**/*.py"), *root.glob("pages/*.py")]
    drawn = "".join(path.read_text(encoding="utf-8") for path in files)
    assert re.search(rf'(?<!N)_\(\s*"{re.escape(label)}"', drawn)


def test_every_option_that_a_message_names_is_a_place_or_known_to_have_none():
    messages = [one.id if isinstance(one.id, str) else one.id[1] for one in catalogue("ja") if one.id]
    named = {option for text in messages for option in OPTION.findall(COMMAND.sub("", text))}
    with_value = {place.split(" ")[0] for place in PLACES if place.startswith("--")}
    assert named - with_value - IN_TERMINAL_ALONE == set()
