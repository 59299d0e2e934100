"""Models compared on a text: the loss first, what may be compared once, and encoders by their shape."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import InputError
from core.questions import runs as run_question
from core.questions.record import as_record
from core.store.parcels import write_parcel
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import Warehouse
from core.wording import runs as run_wording
from tests.profiles import make_corpus, make_model, make_profile

A, B, C, E, F, G = (f"01900000-0000-7000-8000-00000000000{n}" for n in range(6))


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory) -> Warehouse:
    """Three decoders, of which `b` reads the text worse and `c` has another tokenizer, two encoders, and `g` on a text of
    its own."""
    folder = tmp_path_factory.mktemp("compared")
    warehouse = Warehouse(folder / "w.duckdb")

    def add(run_id: str, name: str, more_bits: float = 0.0, words: str | None = None, corpus=None, **changes) -> None:
        profile = make_profile(run_id, model=make_model(f"local:{name}", **changes), corpus=corpus)
        windows = [
            replace(row, document=row.sequence, bits=row.bits + more_bits * row.n_bytes) for row in profile.windows
        ]
        bits = sum(row.bits for row in windows) / 8000 if windows else None
        profile = replace(profile, windows=windows, run=replace(profile.run, bits_per_byte=bits, words_hash=words))
        parcel = warehouse.parcels / run_id
        write_parcel(parcel, profile)
        ingest_parcel(warehouse, parcel)

    add(A, "a", words="w")
    add(B, "b", 0.3)
    add(C, "c", 0.01, words="w", tokenizer_hash="other")
    add(E, "e", kind="encoder")
    add(F, "f", kind="encoder")
    add(G, "g", corpus=make_corpus("another-0123456789cd"))
    return warehouse


def test_the_loss_on_the_text_comes_first_with_its_paired_difference(warehouse):
    found = run_question.ask_comparison(warehouse, [A, B])
    record = as_record(found, run_question.RECORD)
    assert [one["bits_per_byte"] for one in record["models"]] == pytest.approx([1.1, 1.4])
    difference = record["difference"]
    assert difference["value"] == pytest.approx(-0.3) and difference["unit"] == "document" and difference["n"] == 16
    assert difference["lower"] == pytest.approx(-0.3) == difference["upper"]  # each document is worse by the same
    assert record["points"] == "one_per_type" and all(one["may"] for one in record["compares"])
    told = run_wording.comparison_text(found)
    assert told.startswith("a reads ") and "better than b. On " in told, "plainly first, then by how much"
    assert ": a 1.10 [" in told and "b 1.40 [" in told and "more than chance" in told


def test_another_tokenizer_is_compared_on_words_and_that_is_said_once(warehouse):
    found = run_question.ask_comparison(warehouse, [A, C])
    assert found.points == "one_per_word" and found.difference.loss.value == pytest.approx(-0.01)
    notes = run_wording.comparison_note_lines(found)
    assert sum("one point per word" in note for note in notes) == 1
    apart = run_question.ask_comparison(warehouse, [B, C])
    assert apart.points is None
    assert "differ in: tokenizer, words. Measured together" in run_wording.comparison_note_lines(apart)[-1]


def test_of_three_each_is_held_against_the_first_and_the_best_is_named_first(warehouse):
    found = run_question.ask_comparison(warehouse, [B, C, A])
    assert [one.other.run.run_id for one in found.differences] == [C, A]
    assert [one.run.run_id for one in found.by_loss] == [A, C, B]
    assert "(lower is better): a 1.10 [" in run_wording.comparison_text(found)
    assert run_wording.comparison_note_lines(found)[0].startswith("b less each other: c 0.290")


def test_encoders_have_no_loss_and_their_shape_is_the_answer(warehouse):
    found = run_question.ask_comparison(warehouse, [E, F])
    assert found.difference is None and {one.reasons for one in found.compares if not one.may} == {("no_loss",)}
    told = run_wording.comparison_text(found)
    assert told.startswith("Encoders have no loss: e, f. Largest inner dimension: e ")
    mixed = run_question.ask_comparison(warehouse, [A, E])
    assert mixed.points is None and "Encoders have no loss: e." in run_wording.comparison_text(mixed)


def test_an_encoder_named_first_leaves_the_losses_of_the_others_their_answer(warehouse):
    found = run_question.ask_comparison(warehouse, [E, B, G, A])
    assert [one.run.run_id for one in found.by_loss] == [A, B]
    record = as_record(found, run_question.RECORD)
    assert [one["bits_per_byte"] for one in record["models"]] == pytest.approx([None, 1.4, 1.1, 1.1])
    difference = record["difference"]
    assert (difference["of"], difference["from"]) == ("local:b", "local:a")
    assert difference["value"] == pytest.approx(0.3) and "0.300 [" in run_wording.comparison_text(found)
    assert ": a 1.10 [" in run_wording.comparison_text(found)
    notes = run_wording.not_compared_lines(found)
    assert notes[0] == "Encoders have no loss: e." and notes[1].startswith("Losses of g do not compare")
    losses = [one for one in as_record(found, run_question.RECORD)["compares"] if one["what"] == "bits_per_byte"]
    assert [(one["of"], one["model"], one["may"]) for one in losses] == [
        ("local:b", "local:e", False),
        ("local:b", "local:g", False),
        ("local:b", "local:a", True),
    ]
    apart = run_question.ask_comparison(warehouse, [E, A, G])  # two losses, of two texts
    assert "Losses of g do not compare, because they differ in: " in run_wording.comparison_text(apart)


def test_runs_are_found_by_id_and_models_by_name_or_folder(warehouse, tmp_path):
    assert run_question.find_runs(warehouse, ["a", B[-6:], "a"]) == [A, B]
    (tmp_path / "a").mkdir()
    assert run_question.find_runs(warehouse, [str(tmp_path / "a"), "b"]) == [A, B]
    for no_path in ("~nobody-of-this-name/x", "x" * 300):
        with pytest.raises(InputError, match="No run or measured model is called"):
            run_question.find_runs(warehouse, [no_path])
    with pytest.raises(InputError, match="nobody"):
        run_question.find_runs(warehouse, ["a", "nobody"])
    with pytest.raises(InputError, match="Measure them on one: add --text FILE"):
        run_question.find_runs(warehouse, ["a", "g"])
    with pytest.raises(InputError, match="Two runs"):
        run_question.ask_comparison(warehouse, [A])
