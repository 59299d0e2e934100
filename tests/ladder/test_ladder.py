"""The ladder itself is trained by hand: here a toy is trained for ten steps, and what all runs share is looked at."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import InputError, ModelError
from core.models.hub import find_weights
from core.pilots.pilot import read_pilot
from core.registry.protocols import PROTOCOLS
from core.runs import requests
from core.texts.corpora import BUILT_IN
from tests.conftest import ROOT
from tests.ladder import questions, run, scoring, shipping, text, training
from tests.ladder.__main__ import LOGS
from tests.ladder.recipes import BATCH, CHECKPOINTS, CONTEXT, Recipe, all_runs

pytestmark = pytest.mark.slow

TOY = Recipe("toy", width=32, repeated=0.2, shuffled=0.2, dropout=0.1, steps=10, checkpoints=(0, 10), warmup=2)


@pytest.fixture(scope="module")
def documents():
    return dict(list(text.training_documents().items())[:3])


@pytest.fixture(scope="module")
def asked():
    return questions.all_questions()


def of_each_task(asked, n):
    return [
        one for task in dict.fromkeys(one.task for one in asked) for one in [q for q in asked if q.task == task][:n]
    ]


class Stopped(Exception):
    pass


def test_a_run_that_was_stopped_ends_with_the_same_weights(documents, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVED_EVERY", 4)
    rows = text.windows(TOY, documents)
    assert rows.shape == (TOY.steps * BATCH, CONTEXT + 1)
    whole = training.train(TOY, rows, tmp_path / "whole")

    def stop(line):
        raise Stopped(line)

    with pytest.raises(Stopped, match="step 4"):
        training.train(TOY, rows, tmp_path / "stopped", stop)
    again = training.train(TOY, rows, tmp_path / "stopped")
    assert again["n_processes"] == 2 and again["loss"] == whole["loss"]
    ends = [training.weights_digest(tmp_path / name / TOY.folder_of(10)) for name in ("whole", "stopped")]
    assert ends[0] == ends[1]
    training.train(replace(TOY, order=1), text.windows(replace(TOY, order=1), documents), tmp_path / "other")
    assert training.weights_digest(tmp_path / "other" / TOY.folder_of(10)) != ends[0]


def test_a_finished_run_opens_as_a_model_and_is_not_trained_again(documents, asked, tmp_path, monkeypatch):
    monkeypatch.setattr(text, "training_documents", lambda: documents)
    monkeypatch.setattr(questions, "all_questions", lambda: of_each_task(asked, 5))
    short = {
        kind: {name: whole[:2000] for name, whole in list(text.held_out(kind).items())[:2]} for kind in text.HELD_OUT
    }
    monkeypatch.setattr(text, "held_out", short.__getitem__)
    said: list[str] = []
    assert run.finish(TOY, tmp_path, tmp_path / "logs", said.append)
    log = json.loads(run.log_of("toy", tmp_path / "logs").read_text(encoding="utf-8"))
    first, last = (checkpoint["bits_per_byte"]["code"]["value"] for checkpoint in log["checkpoints"])
    assert last < first and {task["n"] for task in log["tasks"].values()} == {5}

    folder = tmp_path / "toy" / TOY.folder_of(10)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    line = "import os\n\n\ndef main():\n    return os.getcwd()"
    ids = tokenizer(line)["input_ids"]
    assert ids == text.tokenizer()(line)["input_ids"] and tokenizer.decode(ids) == line
    loss = model.float()(torch.tensor([[0, *ids]]), labels=torch.tensor([[0, *ids]])).loss
    value = scoring.bits_per_byte(model, {"a": line, "b": line})["value"]
    assert value == pytest.approx(loss.item() * len(ids) / len(line) / torch.log(torch.tensor(2.0)).item(), rel=1e-5)

    n_said = len(said)
    assert run.finish(TOY, tmp_path, tmp_path / "logs", said.append) and len(said) == n_said

    shutil.rmtree(folder)
    run.remake(TOY, 10, tmp_path, tmp_path / "logs", said.append)
    assert folder.is_dir() and said[-1] == "toy: 2 checkpoints as in the log"
    log["checkpoints"][-1]["weights_sha256"] = "0" * 64
    run.log_of("toy", tmp_path / "logs").write_text(json.dumps(log), encoding="utf-8")
    with pytest.raises(InputError, match="not the weights of the log"):
        run.remake(TOY, 10, tmp_path, tmp_path / "logs", said.append)
    assert folder.is_dir()


def test_answers_are_the_likeliest_choices(asked):
    model = training.new_model(TOY).eval().requires_grad_(False)
    asked = of_each_task(asked, 3)
    answered = scoring.answers(model, asked).to_dicts()
    encode = text.tokenizer().backend_tokenizer.encode
    for question, answer in zip(asked, answered, strict=True):
        likelihoods = []
        for choice in question.choices:
            prompt, end = encode(question.prompt).ids, encode(choice).ids
            logs = model(torch.tensor([prompt + end])).logits[0].log_softmax(-1)
            likelihoods.append(sum(float(logs[len(prompt) + n - 1, one]) for n, one in enumerate(end)))
        assert answer["chosen"] == likelihoods.index(max(likelihoods))
        wrong = max(value for n, value in enumerate(likelihoods) if n != question.answer)
        assert answer["margin"] == pytest.approx(likelihoods[question.answer] - wrong, abs=1e-3)


def test_questions_are_true_to_the_text_and_fit_the_context(asked):
    assert Counter(question.task for question in asked) == dict.fromkeys(
        ("brackets", "copying", "identifier", "indentation"), 500
    )
    held_out = "\n".join(text.held_out("code").values())
    for question in asked:
        right = question.choices[question.answer]
        assert len(set(question.choices)) == len(question.choices)
        longest = max(question.choices, key=lambda choice: len(text.tokenizer().tokenize(choice)))
        assert len(text.tokenizer().tokenize(question.prompt) + text.tokenizer().tokenize(longest)) <= CONTEXT
        if question.task == "copying":
            assert question.prompt.split("\n")[0] == question.prompt.split("\n")[-1] + right
        else:
            assert question.prompt + right in held_out


def test_nothing_of_the_held_out_text_is_trained_on():
    trained = text.training_documents()
    known = {part.strip() for whole in trained.values() for part in whole.split("\n\n")}
    for kind in text.HELD_OUT:
        for name, whole in text.held_out(kind).items():
            assert name not in trained
            assert not known & {part.strip() for part in whole.split("\n\n") if len(part) >= text.SHARED}


def test_the_population_is_the_registered_one():
    runs = all_runs()
    assert Counter(one.width for one in runs.values()) == {128: 24, 64: 6, 192: 6}
    pilot = read_pilot(ROOT / "data" / "pilots" / "ladder.toml", PROTOCOLS, BUILT_IN)
    wanted = [f"local:{one.folder_of(CHECKPOINTS[-1])}" for one in runs.values() if one.width == 128]
    assert [model.reference for model in pilot.models] == wanted


def logs_of(bits: dict[str, float]) -> dict[str, dict]:
    """Logs of finished runs, as far as the choice of models looks at them."""
    return {name: {"checkpoints": [{"bits_per_byte": {"code": {"value": value}}}]} for name, value in bits.items()}


def test_the_best_and_the_worst_of_two_widths_are_shipped_and_no_replicate():
    runs = list(all_runs().values())
    bits = {one.name: 2.0 + n / 100 for n, one in enumerate(runs)}
    bits |= {"128-base-again-1": 1.0, "128-decay-0": 1.5, "192-decay-1": 9.0}
    found = shipping.chosen_models(logs_of(bits))
    along = [all_runs()[shipping.ALONG].folder_of(step) for step in CHECKPOINTS]
    assert list(found)[:8] == along
    assert set(found) - set(along) == {
        f"ladder-{name}-step1500" for name in ("128-base", "128-decay-0", "128-lr-1e-3-decay-1", "64-repeated-half")
    }
    few = logs_of({name: value for name, value in bits.items() if name.startswith("128-base")})
    assert set(shipping.chosen_models(few)) == {"ladder-128-base-step1500"}


def test_what_is_shipped_is_what_the_logs_say():
    """Every finished run with its log and answers; models with the weights that were scored, below 20 MB in all."""
    found = shipping.logged(LOGS)
    answers = pl.read_parquet(LOGS / shipping.ANSWERS)
    by_task = answers.group_by("repository", "revision", "benchmark").agg(pl.col("value").mean(), pl.len())
    for name, log in found.items():
        end = (f"local:{all_runs()[name].folder_of(CHECKPOINTS[-1])}", log["checkpoints"][-1]["weights_sha256"][:12])
        for task, told in log["tasks"].items():
            row = by_task.row(
                by_predicate=pl.struct("repository", "revision", "benchmark")
                == pl.struct(repository=pl.lit(end[0]), revision=pl.lit(end[1]), benchmark=pl.lit(f"ladder_{task}")),
                named=True,
            )
            assert (row["value"], row["len"]) == (pytest.approx(told["value"]), told["n"])
    models = sorted((LOGS / shipping.MODELS).iterdir())
    assert [one.name for one in models] == sorted(shipping.chosen_models(found))
    logged = {
        all_runs()[name].folder_of(at["step"]): at["weights_sha256"]
        for name, log in found.items()
        for at in log["checkpoints"]
    }
    assert all(training.weights_digest(one) == logged[one.name] for one in models)
    assert sum(file.stat().st_size for one in models for file in one.iterdir()) < 20e6


def test_a_shipped_model_is_opened_by_its_name_and_by_its_revision():
    name = requests.DEMO_LADDER_MODEL
    found = find_weights(name)
    assert (found.reference, found.revision) == (name, found.sha256[:12])
    assert find_weights(f"{name}@{found.revision}") == found
    with pytest.raises(ModelError, match="other weights than 0123"):
        find_weights(f"{name}@0123")
    with pytest.raises(ModelError, match="Name its path"):
        find_weights("local:mine")
