"""The guide: equal in both languages, with the pictures and numbers that ship, and whole in one file."""

import json
import re

import polars as pl
import pytest

from core.figures.svg import DARK, LIGHT
from core.locale import LANGUAGES, in_language
from core.records import SHIPPED
from core.ui import help, pictures
from core.warehouse.reference import shipped_bundles, shipped_parcels, unpack
from core.wording.labels import with_interval
from tests import guide


def kinds(block: str) -> str:
    """What a block is, whatever it says."""
    if help._PICTURE.fullmatch(block):
        return "picture"
    lines = block.split("\n")
    starts = [line for line in lines if re.match(r"\||- |\d+\. ", line)]
    return block if block == help.PHRASES else f"{len(starts)} entries"


def test_both_languages_say_as_much():
    english, japanese = (
        [[kinds(b) for b in blocks] for blocks in in_language(reader, help.sections).values()] for reader in LANGUAGES
    )
    assert english == japanese
    assert sum(kind == "picture" for blocks in english for kind in blocks) == 5
    assert help.PHRASES in {kind for blocks in english for kind in blocks}


@pytest.mark.parametrize("language", LANGUAGES)
def test_its_words_and_checks_are_those_of_the_glossary_and_the_registry(language):
    text = help.FILES[language].read_text(encoding="utf-8")
    assert guide.with_declared(text, language) == text, "run `python -m tests.guide` and commit what it writes"


def test_the_page_about_the_warehouse_has_its_tables_and_columns():
    text = guide.WAREHOUSE.read_text(encoding="utf-8")
    assert guide.with_tables(text) == text, "run `python -m tests.guide` and commit what it writes"


def test_no_space_stands_where_a_japanese_sentence_goes_on_in_the_next_line():
    for blocks in in_language("ja", help.sections).values():
        for block in blocks:
            lines = block.split("\n")
            assert all(re.match(r"\||- |\d+\. ", line) for line in lines[1:]), block


def test_its_reference_values_are_those_of_the_profiles_that_ship(tmp_path):
    shipped = set()
    for bundle in shipped_bundles():
        unpack(bundle, tmp_path)
    for folder in [*shipped_parcels(), *tmp_path.iterdir()]:
        told = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        summary = pl.read_parquet(folder / "run_summaries.parquet").filter(cloud="one_per_type", estimator="d2")
        for row in summary.to_dicts():
            value = with_interval(*(row[f"inner_max{end}"] for end in ("", "_lower", "_upper")))
            model = told["model"]["model_id"].partition("@")[0]
            shipped.add((model, told["corpus"]["name"], f"{row['n_points']:,}", value))
    for language in LANGUAGES:
        text = help.FILES[language].read_text(encoding="utf-8")
        rows = re.findall(r"^\| `([^`]+)` \| (\S+) \| ([\d,]+) \| (.+) \|$", text, re.MULTILINE)
        assert len(rows) == 4 and set(rows) <= shipped


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_file_to_print_needs_nothing_beside_it(language, monkeypatch):
    monkeypatch.setattr(help, "phrases", lambda: [("<b>said", "Beware.")])
    told = in_language(language, help.printable).decode()
    assert told.count("<svg") == 5 and told.count("<h2 ") == 10 and f'lang="{language}"' in told
    assert not re.search(r"<script|<link|<img|src=|url\(|<!-- |\.md\b.*</a>", told)
    assert "&lt;b&gt;said" in told and "<b>said" not in told
    assert "<table>" in told and "±" in told


def test_what_was_measured_here_is_counted_apart_from_what_ships():
    runs = pl.DataFrame(
        {
            "run_id": ["1", "2", "3", "4"],
            "model_id": ["a", "a", "b", "c"],
            "corpus_id": ["own", "own", "x", "y"],
            "tags": [[], ["mine"], [SHIPPED], [SHIPPED]],
        },
        schema_overrides={"tags": pl.List(pl.String)},
    )
    assert help.measured_text(runs) == (
        "Measured here – models: 1, texts: 1, runs: 2. Shipped with Workdim – models: 2, texts: 2, runs: 2."
    )
    assert help.measured_text(runs.tail(2)).startswith("Measured here – models: 0, texts: 0, runs: 0. Shipped with")


def test_whoever_looks_for_a_word_finds_the_lines_that_hold_it():
    found = [
        line
        for blocks in help.sections().values()
        for block in blocks
        for line in help._matching_parts(block, "TOKENIZER")
    ]
    assert found and all("tokenizer" in line.casefold() for line in found)
    (glossary,) = [line for line in found if line.startswith("| Term")]
    assert 3 < len(glossary.split("\n")) < 10


def test_its_pictures_are_dark_where_the_reader_is(monkeypatch):
    monkeypatch.setattr(pictures, "theme", lambda: DARK)
    drawn = (help.DOCS / "figures" / "guide_shape.en.svg").read_text(encoding="utf-8")
    assert LIGHT.paper in drawn
    assert not [colour for colour in (LIGHT.paper, LIGHT.text, LIGHT.grid) if colour in help._svg_in_theme(drawn)]
