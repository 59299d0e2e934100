"""Scores of tasks: against single passes in plain transformers, one text at a time, and formulas written out."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from core.errors import ModelError, ResourceError
from core.measure import score as scoring
from core.measure.score import TaskScores, identity, metrics_of_choices, metrics_of_texts, open_scored, score_task
from core.models import stacks
from core.models.model import OpenModel, load_network
from core.records import ScoreConfig
from core.texts import tasks
from core.texts.tasks import Question, Task, Text
from tests.conftest import ROOT
from tests.gguf_files import save_tiny_gguf
from tests.tiny import save_tiny_model, train_tokenizer

pytestmark = pytest.mark.slow

QUESTIONS = (
    Question("The company reported that its", (" revenue", " revenue grew by a tenth in the third quarter", " was"), 1),
    Question("Customers who", (" wait", " leave early and do not come back"), 0),
    Question("", ("A sentence alone.", "Another sentence that is longer."), 1),
    Question("Answer with a letter.\nThe first is\nAnswer:", (" A", " B", " C", " D"), 2),
    Question("日本の首都は", ("東京です", "京都です"), 0),
)
TASK = Task("mine", QUESTIONS)
PROSE = (ROOT / "data" / "corpora" / "english-business.txt").read_text(encoding="utf-8")


def config(folder: Path, **asked: Any) -> ScoreConfig:
    return ScoreConfig(str(folder), "mine.jsonl", "", **{"device": "cpu"} | asked)


def scored(folder: Path, task: Task, scratch: Path, **asked: Any) -> TaskScores:
    one = config(folder, **asked)
    return score_task(one, task, open_scored(one), scratch, lambda step: None)


def by_metric(found: TaskScores) -> dict[str, float]:
    return {row.metric: row.value for row in found.scores}


def likelihoods(folder: Path, task: Task, scratch: Path, **asked: Any) -> np.ndarray:
    """Nats of every choice of every question, in a row."""
    one = config(folder, **asked)
    blueprint = open_scored(one)
    sequences = [one for row in scoring.tokenized_rows(task, blueprint) for one in row.sequences]
    checkpoint = scoring.Checkpoint(scratch, "key")
    return scoring._log_likelihoods(one, blueprint, sequences, checkpoint, scratch, lambda step: None)


def plainly(module: Any, before: list[int], after: list[int]) -> float:
    """Nats of the tokens `after` behind those `before`: one text, one pass, one token at a time."""
    ids = torch.tensor([[*before, *after]])
    with torch.inference_mode():
        logs = torch.log_softmax(module(ids).logits[0].double(), dim=-1)
    return sum(float(logs[len(before) + i - 1, token]) for i, token in enumerate(after))


def encode(text: str) -> list[int]:
    return train_tokenizer()(text, add_special_tokens=False)["input_ids"]


def of_task(folder: Path, questions: tuple[Question, ...]) -> list[list[float]]:
    """By plain passes; the tiny tokenizer opens no text, so that an empty prompt is given its BOS."""
    module = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    bos = train_tokenizer().bos_token_id
    return [
        [plainly(module, encode(one.prompt) or [bos], encode(choice)) for choice in one.choices] for one in questions
    ]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "mamba2"])
def test_each_choice_has_the_likelihood_of_a_plain_pass(tmp_path, family):
    """Choices and prompts are cut alike with and without each other here, so that the tokens of both are known."""
    folder = save_tiny_model(tmp_path / family, family)
    assert all(encode(one.prompt + c) == encode(one.prompt) + encode(c) for one in QUESTIONS for c in one.choices)
    expected = [nats for question in of_task(folder, QUESTIONS) for nats in question]
    np.testing.assert_allclose(likelihoods(folder, TASK, tmp_path / "kept"), expected, rtol=1e-4)


def test_rows_say_what_was_scored_and_how(tiny_llama, tmp_path):
    found = scored(tiny_llama, TASK, tmp_path / "kept")
    expected = of_task(tiny_llama, QUESTIONS)
    right = [nats.index(max(nats)) == one.answer for nats, one in zip(expected, QUESTIONS, strict=True)]
    per_byte = [
        [n / len(c.encode()) for n, c in zip(nats, one.choices, strict=True)]
        for nats, one in zip(expected, QUESTIONS, strict=True)
    ]
    right_normed = [nats.index(max(nats)) == one.answer for nats, one in zip(per_byte, QUESTIONS, strict=True)]
    bits = [-nats[one.answer] / math.log(2) for nats, one in zip(per_byte, QUESTIONS, strict=True)]
    for row, values in zip(found.scores, (right, right_normed, bits), strict=True):
        assert row.value == pytest.approx(statistics.fmean(values), rel=1e-4)
        assert row.std_error == pytest.approx(statistics.stdev(values) / math.sqrt(5), rel=1e-3)
    assert [(row.metric, row.unit, row.higher_is_better) for row in found.scores] == [
        ("acc", "fraction", True),
        ("acc_norm", "fraction", True),
        ("answer_bits_per_byte", "bits_per_byte", False),
    ]
    first = found.scores[0]
    blueprint = open_scored(config(tiny_llama))
    assert (first.repository, first.revision) == ("local:tiny-llama", blueprint.weights.revision)
    assert (first.benchmark, first.n_samples, first.is_partial, first.flags) == ("mine", 5, False, "")
    assert first.source.startswith("scored here: Workdim ") and first.source.endswith(
        f", float32, task {TASK.sha256[:12]}"
    )
    assert (first.suite, first.dtype) == (f"workdim+{TASK.sha256[:8]}", "float32")
    assert first.file_sha256 == identity(blueprint, TASK)
    answers = [(row.metric, row.doc_hash, row.value) for row in found.samples]
    assert answers[:5] == [("acc", h, float(r)) for h, r in zip(TASK.hashes, right, strict=True)]
    assert len(answers) == 15 and not found.n_left_out


def test_a_file_is_of_its_model_its_number_format_and_its_questions(tiny_llama, tmp_path):
    blueprint = open_scored(config(tiny_llama))
    other = save_tiny_model(tmp_path / "tiny-llama", seed=1)
    others = [
        identity(blueprint, Task("mine", QUESTIONS[1:])),
        identity(open_scored(config(tiny_llama, dtype="bfloat16")), TASK),
        identity(open_scored(config(other)), TASK),
    ]
    assert len({identity(blueprint, TASK), *others}) == 4
    assert identity(blueprint, Task("renamed", QUESTIONS)) == identity(blueprint, TASK)


def test_weights_that_come_block_by_block_score_alike(tmp_path, monkeypatch, caplog):
    folder = save_tiny_model(tmp_path / "deep", num_hidden_layers=40)
    starts = range(0, 3_600, 300)
    task = Task("many", tuple(Question(PROSE[n : n + 100], (PROSE[n + 100 : n + 110], " no"), 0) for n in starts))
    whole = likelihoods(folder, task, tmp_path / "whole")
    blueprint = open_scored(config(folder))
    inputs = scoring._distinct_inputs([one for row in scoring.tokenized_rows(task, blueprint) for one in row.sequences])
    of_some = blueprint.plan_within(blueprint.shape.weights, len(inputs) // 5, len(inputs[0].ids)).n_bytes
    assert of_some < blueprint.shape.weights
    monkeypatch.setattr(stacks, "free_memory", lambda device: int(1.01 * of_some / stacks.SAFE_SHARE))
    plan, limits = scoring._plan_batches(blueprint, inputs, None)
    assert plan.on_demand and 1 < limits.n_together < len(inputs)  # the weights come more than once
    np.testing.assert_allclose(likelihoods(folder, task, tmp_path / "streamed"), whole, rtol=1e-5)
    assert "read block by block" in caplog.text
    monkeypatch.setattr(stacks, "free_memory", lambda device: 2**16)
    with pytest.raises(ResourceError, match=r"deep needs 0\.00 GB of memory; 0\.00 GB is allowed\. Free some, raise"):
        likelihoods(folder, task, tmp_path / "none")


def test_a_gguf_file_is_scored(tmp_path):
    """Its tokenizer opens every text with BOS: prompt and choice are read behind it."""
    file = save_tiny_gguf(tmp_path / "tiny.gguf", quantised=False)
    one = config(file)
    blueprint = open_scored(one)
    module = load_network(blueprint).module
    bos = [blueprint.tokenizer.bos_token_id] if tasks._opening_tokens(blueprint.tokenizer) else []
    question = QUESTIONS[0]
    expected = [plainly(module, bos + encode(question.prompt), encode(choice)) for choice in question.choices]
    found = likelihoods(file, Task("mine", (question,)), tmp_path / "kept")
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_choices_differ_by_what_the_whole_texts_differ_by_where_a_token_reaches_over_the_prompts_end(
    tiny_llama, tmp_path
):
    question = Question("The company reported reve", ("nue", "rence", "x"), 0)
    joined = [encode(question.prompt + choice) for choice in question.choices]
    assert any(whole[: len(encode(question.prompt))] != encode(question.prompt) for whole in joined)
    module = transformers.AutoModelForCausalLM.from_pretrained(tiny_llama, dtype="float32").eval()
    whole = np.array([plainly(module, ids[:1], ids[1:]) for ids in joined])
    found = likelihoods(tiny_llama, Task("mine", (question,)), tmp_path / "kept")
    np.testing.assert_allclose(found - found[0], whole - whole[0], rtol=1e-4)
    assert (found > whole).all()  # what the prompt alone says is not part of it


def test_a_long_text_is_read_in_windows_and_every_token_is_scored_once(tiny_llama, tmp_path, monkeypatch):
    for module in (tasks, scoring):
        monkeypatch.setattr(module, "WINDOW", 32)
    texts = tuple(Text(text) for text in (PROSE[:400], PROSE[1000:1040], PROSE[3000:3900]))
    task = Task("prose", texts=texts)
    module = transformers.AutoModelForCausalLM.from_pretrained(tiny_llama, dtype="float32").eval()
    nats = []
    for text in texts:
        ids = [train_tokenizer().bos_token_id, *encode(text.text)]
        ends = [33]
        while ends[-1] < len(ids):
            ends.append(ends[-1] + 16)
        parts = []
        for n, end in enumerate(ends):
            first, end = 1 if n == 0 else ends[n - 1], min(end, len(ids))
            parts.append(plainly(module, ids[max(0, end - 33) : first], ids[first:end]))
        nats.append(sum(parts))
    found = scored(tiny_llama, task, tmp_path / "kept")
    sizes = [len(text.text.encode()) for text in texts]
    by_text = [-n / math.log(2) / size for n, size in zip(nats, sizes, strict=True)]
    assert by_metric(found) == {
        "bits_per_byte": pytest.approx(-sum(nats) / math.log(2) / sum(sizes), rel=1e-5),
        "text_bits_per_byte": pytest.approx(statistics.fmean(by_text), rel=1e-5),
    }
    assert [row.value for row in found.samples] == pytest.approx(by_text, rel=1e-5)
    assert {row.metric for row in found.samples} == {"text_bits_per_byte"}
    assert found.scores[0].suite.endswith("+32") and found.scores[0].higher_is_better is False
    short = scored(tiny_llama, Task("prose", texts=texts[1:2]), tmp_path / "short")
    assert "+32" not in short.scores[0].suite and short.scores[0].std_error is None


def test_a_prompt_that_is_too_long_loses_its_beginning_and_a_choice_that_is_leaves_its_question_out(tmp_path):
    folder = save_tiny_model(tmp_path / "short", max_position_embeddings=32)
    long = Question(PROSE[:600], (" it", " they were not there"), 0)
    too_long = Question("Which?", (" this", " " + PROSE[:600]), 0)
    task = Task("mine", (QUESTIONS[0], long, too_long))
    found = scored(folder, task, tmp_path / "kept")
    assert found.n_left_out == 1
    first = found.scores[0]
    assert (first.n_samples, first.is_partial) == (2, True)
    assert first.flags == "prompts_cut_at_their_left:1;questions_left_out:1"
    assert [row.doc_id for row in found.samples if row.metric == "acc"] == [0, 1]
    module = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    longest = max(len(encode(choice)) for choice in long.choices)
    kept = encode(long.prompt)[-(32 + 1 - longest) :]  # the last token is not read, only expected
    expected = [plainly(module, kept, encode(choice)) for choice in long.choices]
    np.testing.assert_allclose(likelihoods(folder, Task("m", (long,)), tmp_path / "one"), expected, rtol=1e-4)
    with pytest.raises(ModelError, match=r"short reads 32 tokens, too few for mine\. Score another model\."):
        scored(folder, Task("mine", (too_long,)), tmp_path / "none")


def test_choices_of_one_token_take_one_pass_together(tiny_llama, tmp_path, monkeypatch):
    read = []
    plain = OpenModel.log_probabilities

    def watched(self, ids, rows, positions, targets):
        read.append((ids.shape[0], len(targets)))
        return plain(self, ids, rows, positions, targets)

    monkeypatch.setattr(OpenModel, "log_probabilities", watched)
    likelihoods(tiny_llama, Task("letters", QUESTIONS[3:4]), tmp_path / "kept")
    assert read == [(1, 4)]


def test_where_memory_is_short_batches_are_halved_and_nothing_else_changes(tiny_llama, tmp_path, monkeypatch, caplog):
    expected = likelihoods(tiny_llama, TASK, tmp_path / "whole")
    plain = OpenModel.log_probabilities

    def short(self, ids, *places):
        if len(ids) > 2:
            raise torch.OutOfMemoryError("no room")
        return plain(self, ids, *places)

    monkeypatch.setattr(OpenModel, "log_probabilities", short)
    np.testing.assert_allclose(likelihoods(tiny_llama, TASK, tmp_path / "short"), expected, rtol=1e-5)
    assert "now in batches of" in caplog.text
    monkeypatch.setattr(OpenModel, "log_probabilities", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(ResourceError, match="A single text of"):
        likelihoods(tiny_llama, TASK, tmp_path / "none")


def test_what_was_answered_is_not_asked_again(tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "BATCHES_PER_CHECKPOINT", 1)
    monkeypatch.setattr(
        scoring, "_plan_batches", lambda *_: (stacks.MemoryPlan(False, 1, 1), scoring._BatchLimits(1, None))
    )
    expected = likelihoods(tiny_llama, TASK, tmp_path / "whole")
    answers, asked = scoring._score_batches, list[Any]()

    def killed(model, sequences, batches, report):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(batches)
        return answers(model, sequences, batches, report)

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "_score_batches", killed)
        with pytest.raises(KeyboardInterrupt):
            likelihoods(tiny_llama, TASK, tmp_path / "kept")
    steps = list[Any]()
    one = config(tiny_llama)
    blueprint = open_scored(one)
    sequences = [one for row in scoring.tokenized_rows(TASK, blueprint) for one in row.sequences]
    kept = scoring.Checkpoint(tmp_path / "kept", "key")
    n_done = sum(len(member.ids) for batches in asked for batch in batches for member in batch)
    found = scoring._log_likelihoods(one, blueprint, sequences, kept, tmp_path / "kept", steps.append)
    np.testing.assert_array_equal(found, expected)
    assert next(step.done for step in steps if step.phase == "score") == n_done > 0
    assert steps[-1].done == steps[-1].total
    monkeypatch.setattr(scoring, "load_network", None)  # all is there: no weights are read
    again = scoring._log_likelihoods(one, blueprint, sequences, kept, tmp_path / "kept", steps.append)
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_model_that_gives_no_numbers_is_refused(tmp_path, dtype):
    folder = save_tiny_model(tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    way_out = (
        r"weights of local:broken.* cannot be used \(infinite or missing values: 13 of"
        if dtype == "float32"
        else r"local:broken.* gives infinite or missing values in float16 \(13 of 13 texts\)\."
    )
    with pytest.raises(ModelError, match=way_out):
        scored(folder, TASK, tmp_path / "kept", dtype=dtype)


@pytest.mark.parametrize(
    ("family", "told"),
    [
        ("bert", r"bert is no decoder, and only these are scored\."),
        ("t5", r"t5 is no decoder, and only these are scored\."),
    ],
)
def test_what_gives_no_probability_to_what_follows_is_refused(tmp_path, family, told):
    with pytest.raises(ModelError, match=told):
        open_scored(config(save_tiny_model(tmp_path / family, family)))


def test_a_tokenizer_that_has_nothing_to_begin_with_needs_prompts(tmp_path):
    folder = save_tiny_model(tmp_path / "bare")
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    for name in ("bos_token", "eos_token"):
        settings.pop(name)
    file.write_text(json.dumps(settings), encoding="utf-8")
    assert scored(folder, Task("mine", QUESTIONS[:2]), tmp_path / "kept").scores
    with pytest.raises(ModelError, match=r"bare has no token to begin a text with\. Give every question of mine a"):
        scored(folder, TASK, tmp_path / "other")


def test_a_tie_is_no_choice_and_not_one_right_has_an_error_all_the_same():
    question = Question("q", ("aa", "bb", "cccc"), 0)
    plain, normed, bits = metrics_of_choices(
        [question] * 2, [np.array([-2.0, -2.0, -9.0]), np.array([-2.0, -3.0, -3.9])]
    )
    assert [list(one.values) for one in (plain, normed)] == [[0.0, 1.0], [0.0, 0.0]]
    assert bits.value == pytest.approx(1 / math.log(2))
    assert plain.std_error == pytest.approx(0.5)
    assert normed.std_error == pytest.approx(0.3355, abs=1e-3), "two wrong of two: Wilson's interval reaches 66 %"


def test_the_error_of_bits_per_byte_is_that_of_a_ratio():
    """Against the jackknife over texts, which knows no formula."""
    rng = np.random.default_rng(0)
    texts = [Text("x" * int(n)) for n in rng.integers(50, 2000, 200)]
    sizes = np.array([len(text.text) for text in texts])
    nats = -sizes * rng.normal(1.0, 0.2, 200) * math.log(2)
    together, mean = metrics_of_texts(texts, [np.array([half, half]) / 2 for half in nats])
    without = (nats.sum() - nats) / -(sizes.sum() - sizes) / math.log(2)
    jackknife = math.sqrt(199 / 200 * ((without - without.mean()) ** 2).sum())
    assert together.std_error == pytest.approx(jackknife, rel=0.02)
    assert mean.std_error == pytest.approx((-nats / sizes / math.log(2)).std(ddof=1) / math.sqrt(200))
