"""Which layer serves labels: the classifier against one fitted anew without each document, and layers that know."""

import json

import numpy as np
import pytest
import torch

from core.errors import CorpusError
from core.measure import profile
from core.measure.profile import probe_layers, told
from core.models.hub import find_weights
from core.tables import LayerCorrelatorRow
from core.texts.corpora import read_labels
from core.wording.readouts import served_text
from tests.frames import made
from tests.tiny import open_model


def test_leaving_a_document_out_is_fitting_without_it():
    generator = np.random.default_rng(0)
    classes, documents = np.arange(60) % 3, np.arange(60) // 2
    states = generator.normal(size=(60, 8)) + np.eye(3, 8)[classes]
    centred = states - states.mean(0)
    x = np.c_[centred / np.linalg.norm(centred, axis=1, keepdims=True), np.ones(60)]
    expected = []
    for document in range(30):
        own = documents == document
        kept = x[~own]
        weights = np.linalg.solve(kept.T @ kept + profile.RIDGE * np.eye(9), kept.T @ np.eye(3)[classes[~own]])
        expected += (x[own] @ weights).argmax(1).tolist()
    assert told(states, classes, documents).tolist() == expected
    # A label that only the text's own document shows is not learned from it.
    twins = np.repeat(generator.normal(size=(30, 50)), 2, axis=0)
    labels = np.repeat(generator.integers(2, size=30), 2)
    assert (told(twins, labels, np.arange(60)) == labels).mean() > 0.9
    assert (told(twins, labels, documents) == labels).mean() < 0.75


def labelled_file(folder, n=48):
    words = {"plus": "price market profit", "minus": "river stone forest"}
    rows = [{"text": f"{words[label]} {i}", "label": label} for i in range(n // 2) for label in words]
    path = folder / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize(("kind", "lower"), [("tiny_llama", 90), ("tiny_bert", 91)])
def test_the_layer_that_serves_is_told_with_its_interval_and_the_guess(kind, lower, request, tmp_path):
    model = open_model(find_weights(str(request.getfixturevalue(kind))), device="cpu")
    labelled = read_labels(labelled_file(tmp_path))
    rows = probe_layers(model, labelled, "run")
    accuracy = {row.layer: row for row in rows if row.correlator == "label_accuracy"}
    assert list(accuracy) == list(range(model.n_layers + 1))
    assert accuracy[0].value == 1.0 and accuracy[0].n_points == 48  # words alone tell them
    # 48 of 48, by Wilson's error, widened for the layers: nobody knows that all will be right.
    told_text = served_text(rows)
    assert (
        f"Layer 0 serves your labels best: 100 % [{lower}, 100] of 48 texts told right, 50 % by guessing." in told_text
    )
    states = profile.mean_states(model, labelled.texts[:3])
    ids = torch.tensor([model.tokenizer(labelled.texts[2])["input_ids"]])
    with torch.no_grad():
        embedded = model.module.base_model(ids, output_hidden_states=True).hidden_states[0][0, 1:].mean(0)
    assert np.allclose(states[0, 2], embedded, atol=1e-5)


def found_of(layers):
    """Rows of (accuracy, error, behind the best, its error) by layer."""
    for layer, (right, error, behind, error_behind) in enumerate(layers):
        for name, value, its_error in (
            ("label_accuracy", right, error),
            ("label_behind_best", behind, error_behind),
            ("label_guess", 0.5, None),
        ):
            yield made(LayerCorrelatorRow, correlator=name, layer=layer, value=value, std_error=its_error, n_points=60)


def test_what_the_best_of_many_layers_has_by_luck_is_not_told():
    """Over 31 layers of noise the best is above the guess by two errors in every third file of labels."""
    others = [(0.52, 0.06, -0.13, 0.05)] * 30
    assert served_text(found_of([*others, (0.65, 0.06, 0.0, None)])).startswith(
        "No layer surely tells your labels better"
    )
    assert served_text(found_of([*others[:2], (0.65, 0.06, 0.0, None)])).startswith("Layer 2 serves your labels best")
    lucky = served_text(found_of([*[(0.80, 0.05, -0.09, 0.03)] * 24, (0.89, 0.04, 0.0, None)]))
    assert "Not told apart from it: layers 0–23." in lucky
    surely = served_text(found_of([*[(0.60, 0.06, -0.29, 0.05)] * 24, (0.89, 0.04, 0.0, None)]))
    assert surely.startswith("Layer 24 serves your labels best") and "Not told apart" not in surely


def test_where_labels_were_not_asked_for_nothing_is_said():
    assert served_text([]) == ""


@pytest.mark.parametrize(
    "content", ['{"text": "a"}', "not json", '{"text": "a", "label": 1}\n{"text": "b", "label": 2}']
)
def test_a_file_that_is_not_labelled_is_refused(content, tmp_path):
    (tmp_path / "bad.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(CorpusError):
        read_labels(tmp_path / "bad.jsonl")


def test_half_a_character_which_no_tokenizer_reads_is_refused(tmp_path):
    rows = [{"text": f"text {i} \ud800", "label": "ab"[i % 2]} for i in range(20)]
    (tmp_path / "half.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(CorpusError, match="half.jsonl: half a character"):
        read_labels(tmp_path / "half.jsonl")


def test_a_table_of_excel_in_another_encoding_is_told_how_to_be_saved(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes("text,label\n日本語の文、a\n".encode("cp932"))
    with pytest.raises(CorpusError, match="mine.csv is not UTF-8. Save it so"):
        read_labels(path)


def test_csv_and_documents_are_read(tmp_path):
    lines = ["text,label,document", *(f"text {i},{'ab'[i % 2]},{i // 2}" for i in range(60))]
    (tmp_path / "labels.csv").write_text("\n".join([*lines, "", ""]), encoding="utf-8")
    found = read_labels(tmp_path / "labels.csv")
    assert len(found.texts) == 60 and len(set(found.documents.tolist())) == 30 and found.guess == 0.5


@pytest.mark.parametrize("written", [json.dumps, lambda rows: "\n".join(map(json.dumps, rows))])
def test_a_json_file_holds_a_list_or_lines_as_data_sets_are_exported(written, tmp_path):
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(20)]
    (tmp_path / "labels.json").write_text(written(rows), encoding="utf-8")
    assert read_labels(tmp_path / "labels.json").texts == tuple(row["text"] for row in rows)


def test_a_text_that_is_there_twice_is_one_document(tmp_path):
    rows = [{"text": f"text {i // 2}", "label": "ab"[i // 2 % 2]} for i in range(60)]
    (tmp_path / "twice.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert np.array_equal(np.unique(read_labels(tmp_path / "twice.jsonl").documents, return_counts=True)[1], [2] * 30)


def test_a_label_of_one_document_is_refused_and_a_rare_one_of_many_rows_is_not(tmp_path):
    path = tmp_path / "rows.csv"
    rows = [f"text {i},{'ab'[i % 2]},{i // 2}" for i in range(60)]
    path.write_text("\n".join(["text,label,document", *rows, "one,c,90", "two,c,90"]), encoding="utf-8")
    with pytest.raises(CorpusError, match="texts 62, labels 3, documents 31"):
        read_labels(path)
    many = [f"text {i},{'ab'[i % 2]},{i // 2}" for i in range(4000)]
    path.write_text("\n".join(["text,label,document", *many, "one,c,c1", "two,c,c2"]), encoding="utf-8")
    assert len(read_labels(path).texts) == 1000
