"""The push on one layer's dimension, on clouds of known dimension and on a toy."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.stats
import torch

from tests.ladder import dose, dose_answer, seeds, training
from tests.ladder.dose import Arm, Dose, Placebo, mean_squared_cosine, translation
from tests.ladder.recipes import BATCH, CONTEXT, VOCABULARY, Recipe

pytestmark = pytest.mark.slow

TOY = Recipe("toy", width=32, steps=16, checkpoints=(16,), warmup=2)


def test_the_penalty_reads_the_dimension_and_a_translation_leaves_it() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.zeros(600, 32, dtype=torch.float64)
    states[:, :10] = torch.randn(600, 10, generator=generator, dtype=torch.float64)
    sequences = torch.arange(600) // 30
    assert 1 / float(mean_squared_cosine(states, sequences)) == pytest.approx(10, rel=0.05)
    pushed = (states + 2.0).requires_grad_()
    across, along = (
        torch.autograd.grad(of(pushed), pushed)[0] for of in (lambda x: mean_squared_cosine(x, sequences), translation)
    )
    assert float((across * along).sum()) == pytest.approx(0, abs=1e-12 * float(across.norm() * along.norm()))
    assert float(translation(states + 4.0)) > float(translation(states + 2.0))


def test_a_dose_moves_the_dimension_and_its_placebo_pushes_as_much_and_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVED_EVERY", 8)
    rows = np.random.default_rng(1).zipf(1.3, size=(TOY.steps * BATCH, CONTEXT + 1)) % VOCABULARY
    seen: dict[str, float] = {}
    dosed = Dose(8.0, seed=0)
    pushes: dict[str, training.Push | None] = {"free": None, "dose": dosed}
    for name in ("free", "dose", "placebo"):
        push = pushes[name] if name in pushes else Placebo(dosed.sizes, seed=0, begin=0)
        training.train(TOY, rows, tmp_path / name, push=push)
        model = training.load(tmp_path / name / TOY.folder_of(16))
        ids = torch.from_numpy(rows[:BATCH, :-1].astype(np.int64))
        with torch.no_grad():
            states = model(ids, output_hidden_states=True).hidden_states[dose.LAYER].flatten(0, 1)
        places, sequences = dose.one_of_each_type(ids, 0, 99)
        seen[name] = 1 / float(mean_squared_cosine(states[places], sequences))
    assert len(dosed.sizes) == TOY.steps and all(one > 0 for one in dosed.sizes)
    assert seen["dose"] < seen["free"] / 2  # towards its target, which it passes while rates are high
    assert abs(np.log(seen["placebo"] / seen["free"])) < abs(np.log(seen["dose"] / seen["free"])) / 2

    class Stopped(Exception):
        pass

    def stop(line: str) -> None:
        if "step 8" in line:
            raise Stopped

    with pytest.raises(Stopped):
        training.train(TOY, rows, tmp_path / "stopped", stop, push=Dose(8.0, seed=0))
    again = Dose(8.0, seed=0)
    training.train(TOY, rows, tmp_path / "stopped", push=again)
    assert again.sizes == dosed.sizes
    digests = {training.weights_digest(tmp_path / name / TOY.folder_of(16)) for name in ("dose", "stopped")}
    assert len(digests) == 1


def test_a_placebo_has_the_size_of_its_dose_and_turns_with_the_seed() -> None:
    model = training.new_model(TOY)
    ids = torch.randint(VOCABULARY, (BATCH, CONTEXT), generator=torch.Generator().manual_seed(0))
    pushed = {}
    for seed in (0, 1):
        push = Placebo([0.5], seed, (1.0, 0.001), begin=0)  # beyond what the toy has, on both sides
        push.watch(model)
        model(ids)
        pushed[seed] = push.gradients(model, ids, 0)
        assert dose.size(pushed[seed]) == pytest.approx(0.5, rel=1e-5)
    pairs = zip(pushed[0], pushed[1], strict=True)
    moved = [(one, other) for one, other in pairs if one is not None and other is not None]
    along = sum(float((one * other).sum()) for one, other in moved)
    assert moved and along < -0.1  # other tokens are looked at in another seed


def test_a_dose_pushes_no_harder_than_the_language_loss_may() -> None:
    model = training.new_model(TOY)
    ids = torch.randint(VOCABULARY, (BATCH, CONTEXT), generator=torch.Generator().manual_seed(0))
    push = Dose(2.0, seed=0)
    push.watch(model)
    model(ids)
    assert dose.size(push.gradients(model, ids, 0)) == pytest.approx(dose.LARGEST, rel=1e-5) == push.sizes[0]


def test_blocks_are_complete_in_random_order_and_a_placebo_follows_its_dose() -> None:
    every = list(dose.arms())
    assert Counter((one.kind, one.target) for one in every) == {
        ("free", None): 12,
        **{(kind, target): 12 for kind in ("dose", "placebo") for target in (28, 70)},
        **{("dose", target): 4 for target in (15, 95)},
    }
    for one in every:
        assert one.kind != "placebo" or every.index(one.dosed) < every.index(one)
    first = [dose.block(seed)[0].kind for seed in range(12)]
    assert len(set(first)) > 1 and len({dose.config_hash(one) for one in every}) == len(every)
    assert dose.config_hash(Arm("dose", 28, 0)) != dose.config_hash(replace(Arm("dose", 28, 0), target=70))


def rows(effects: dict[int, float], n: int = 12, spread: float = 0.0125) -> list[dict[str, Any]]:
    """Runs whose loss a dose changes by so much, of seeds that differ by so much."""
    draw = np.random.default_rng(5)
    told = []
    for seed in range(n):
        arms: list[tuple[str, int | None, float, float]] = [("free", None, 38.0, 0.0)]
        arms += [("placebo", target, 38.0, 0.0) for target in effects]
        arms += [("dose", target, float(target), effect) for target, effect in effects.items()]
        for arm, target, d2, effect in arms:
            bits = 1.52 + effect + spread * draw.normal()
            told.append({"arm": arm, "target": target, "seed": seed, "d2_layer": d2, "bits_per_byte": bits})
    return told


@pytest.mark.parametrize(
    ("effects", "words", "word"),
    [
        ({28: 0.04, 70: 0.04}, ["higher loss"] * 2, "a middle is best"),
        ({28: 0.04, 70: -0.04}, ["higher loss", "lower loss"], "larger is better"),
        ({28: -0.04, 70: 0.04}, ["lower loss", "higher loss"], "smaller is better"),
        ({28: 0.0, 70: 0.0}, ["no effect"] * 2, "neither"),
        ({28: -0.04, 70: -0.04}, ["lower loss"] * 2, "cannot tell"),
    ],
)
def test_the_words_of_the_registration(effects: dict[int, float], words: list[str], word: str) -> None:
    told = rows(effects)
    assert [one.word for one in dose_answer.effects(told)] == words and dose_answer.answer(told) == word


def recomputed(told: list[dict[str, Any]]) -> str:
    """The registered word once more, by nothing of what is tested."""
    value = {(row["arm"], row["target"], row["seed"]): (row["bits_per_byte"], row["d2_layer"]) for row in told}
    found: dict[str, dict[int, tuple[float, float, float, int]]] = {"placebo": {}, "free": {}}
    for target in (28, 70):
        seeds = []
        for seed in {row["seed"] for row in told}:
            (bits, d2), (bits_placebo, d2_placebo) = value["dose", target, seed], value["placebo", target, seed]
            bits_free, d2_free = value["free", None, seed]
            is_as_asked = abs(d2 - target) <= 0.15 * target and abs(d2_placebo - d2_free) <= 0.1 * d2_free
            if is_as_asked and np.isfinite([bits, bits_placebo, bits_free]).all():
                seeds.append(seed)
        for other, of in (("placebo", target), ("free", None)):
            less = np.array([value["dose", target, seed][0] - value[other, of, seed][0] for seed in seeds])
            flipped = np.array(list(product((1, -1), repeat=len(less)))) @ less
            p = np.mean(np.abs(flipped) >= abs(less.sum()) - 1e-9)
            reach = scipy.stats.sem(less) * scipy.stats.t(len(less) - 1).isf(0.05)
            found[other][target] = (less.mean(), reach, p, len(less))
    words = {}
    for target in (28, 70):
        both = set()
        for of_target in found.values():
            mean, reach, p, n = of_target[target]
            other_p = of_target[98 - target][2]
            holm = min(2 * p, 1) if p <= other_p else max(p, min(2 * other_p, 1))
            is_none, is_told = abs(mean) + reach < 0.02, holm <= 0.05
            both.add(
                "none" if is_none and n >= 8 else ("lower", "higher")[int(mean > 0)] if is_told and n >= 8 else "?"
            )
        words[target] = both.pop() if len(both) == 1 else "?"
    table = {
        ("lower", "higher"): "smaller is better", ("lower", "none"): "smaller is better", ("none", "none"): "neither",
        ("higher", "lower"): "larger is better", ("none", "lower"): "larger is better", ("higher", "higher"): "a middle is best",
    }  # fmt: skip
    return table.get((words[28], words[70]), "cannot tell")


def test_the_word_is_that_of_an_independent_computation() -> None:
    effects = [{28: low, 70: high} for low in (-0.04, -0.012, 0.0, 0.04) for high in (-0.04, 0.0, 0.02, 0.04)]
    every = [*map(rows, effects), rows(effects[0], n=7)]
    if dose_answer.PARQUET.exists():
        every.append(pl.read_parquet(dose_answer.PARQUET).to_dicts())
    said = [dose_answer.answer(told) for told in every]
    assert said == [recomputed(told) for told in every] and len(set(said)) == 5


def test_what_only_a_harmful_placebo_makes_is_no_answer() -> None:
    told = rows({28: 0.0, 70: 0.0})
    for row in told:
        if row["arm"] == "placebo":
            row["bits_per_byte"] += 0.06
    assert [one.word for one in dose_answer.effects(told)] == ["lower loss"] * 2
    assert [one.word for one in dose_answer.effects(told, "free")] == ["no effect"] * 2
    assert dose_answer.answer(told) == "cannot tell"


def test_a_run_without_a_finite_loss_is_left_out_with_its_pair_and_named() -> None:
    told = rows({28: 0.0, 70: 0.0})
    for row in told:
        if row["seed"] == 2 and (row["arm"], row["target"]) == ("dose", 28):
            row |= {"d2_layer": math.nan, "bits_per_byte": math.nan}
        if row["seed"] == 5 and (row["arm"], row["target"]) == ("placebo", 70):
            row["bits_per_byte"] = math.nan
    low, high = dose_answer.effects(told)
    assert (low.n, low.left_out, high.n, high.left_out) == (11, (2,), 11, (5,))
    assert dose_answer.answer(told) == "neither"


def test_the_manipulation_is_looked_at_with_methods_of_different_scales() -> None:
    """GRIDE at the nearest neighbours would be TwoNN a second time."""
    values = {"d2": {None: 30.0}, "participation_ratio": {None: 20.0}, "two_nn": {1: 9.0}, "gride": {1: 9.0, 8: 14.0}}
    estimates = [
        SimpleNamespace(
            layer=layer, state="residual", cloud="one_per_type", transform="centred", estimator=estimator, n1=n1,
            value=value + layer, lower=value, upper=None,
        )
        for layer in range(7)
        for estimator, scales in values.items()
        for n1, value in scales.items()
    ]  # fmt: skip
    summary = SimpleNamespace(cloud="one_per_type", estimator="d2", inner_max=36.0)
    read = dose.dimensions(SimpleNamespace(estimates=estimates, summaries=[summary]))  # type: ignore[arg-type]
    assert (read["d2_before"], read["d2_layer"], read["d2_after"], read["inner_max"]) == (32.0, 33.0, 34.0, 36.0)
    assert (read["gride"], read["two_nn"], read["participation_ratio"]) == (17.0, 12.0, 23.0)
    assert np.isnan(read["d2_layer_upper"]) and read.keys() == dose.UNMEASURED.keys()


def test_what_several_processes_finish_is_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (dose, seeds):
        monkeypatch.setattr(module, "OUT", tmp_path)
    file, starts = tmp_path / "seeds.csv", [seeds.Start("128-lr-6e-3", seed, 30.5 + seed, 1.5, "ab") for seed in (1, 2)]
    for one in (*starts, starts[0]):
        seeds.keep(one, file)
    assert seeds.starts(file) == starts
    told, arms = tmp_path / "dose.csv", [Arm("free", None, 3), Arm("dose", 28, 3)]
    assert not dose.is_known(arms[0], told)
    for arm in arms:
        others = {one.name: 1.0 for one in fields(dose.Result)[3:]}
        dose.add(dose.Result(arm.kind, arm.target, arm.seed, **others), told)  # type: ignore[arg-type]
    assert all(dose.is_known(arm, told) for arm in arms) and not dose.is_known(Arm("placebo", 28, 3), told)
    assert dose_answer.read(told).select("arm", "target", "seed").rows() == [("dose", 28, 3), ("free", None, 3)]


def test_nothing_is_counted_before_the_registration_is_whole_and_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "dose.md"
    monkeypatch.setattr(dose, "REGISTRATION", page)
    page.write_text("**Open**: lambda", encoding="utf-8")
    with pytest.raises(RuntimeError, match="leaves something open"):
        dose.registered()
    page.write_text("lambda = 1", encoding="utf-8")
    with pytest.raises(RuntimeError, match="is not committed"):
        dose.registered()


def test_pairs_count_only_where_the_push_did_what_it_should() -> None:
    told = rows({28: 0.0, 70: 0.0})
    for row in told:
        if row["seed"] == 3 and row["arm"] == "placebo":
            row["d2_layer"] = 50.0
        if row["seed"] == 4 and (row["arm"], row["target"]) == ("dose", 70):
            row["d2_layer"] = 50.0
    low, high = dose_answer.effects(told)
    assert (low.n, low.left_out, high.n, high.left_out) == (11, (3,), 10, (3, 4))
    assert dose_answer.sign_flips([1.0, 1.0, 1.0]) == 0.25


def test_a_dose_whose_folder_was_lost_is_trained_again_for_its_placebo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Arm] = []

    def train(arm: Arm, out: Path, push: Dose) -> None:
        trained.append(arm)
        (out / arm.name).mkdir()
        (out / arm.name / dose.SIZES).write_text(f"[{push.target}]", encoding="utf-8")

    monkeypatch.setattr(dose, "_train", train)
    dosed = Arm("placebo", 28, 3).dosed
    assert dose._sizes(dosed, tmp_path) == dose._sizes(dosed, tmp_path) == [28] and trained == [Arm("dose", 28, 3)]
