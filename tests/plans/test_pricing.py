"""Prices against losses worked out by hand from whole passes; and how few passes they take."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from core.models.hub import find_weights
from core.models.model import load_network, read_blueprint
from core.plans import pricing
from core.plans.candidates import (
    Candidate,
    Choice,
    choose_simplest,
    cost_order,
    list_exchanges,
    measure_similarity,
    next_step,
    random_sets,
)
from core.plans.pricing import Price, Pricer, Scores, price_sets
from core.plans.variants import Network, Projection, Variant, without_blocks
from core.texts.sample import TokenWindows
from tests.tiny import open_model, save_tiny_model


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = save_tiny_model(tmp_path_factory.mktemp("models") / "llama", "llama", num_hidden_layers=6)
    # Random weights of a usual size change next to nothing; larger ones make blocks matter.
    model = open_model(find_weights(str(folder)), device="cpu")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.layers.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return Network(model)


def some_windows(n_sequences=5, n_tokens=20):
    generator = np.random.default_rng(3)
    ids = generator.integers(3, 2000, (n_sequences, n_tokens))
    scored = generator.random(ids.shape) < 0.8
    scored[:, 0] = False
    return TokenWindows(ids, scored, np.arange(n_sequences))


@torch.inference_mode()
def by_hand(network, windows, variant):
    """(loss, divergence, agreement) summed over the targets of each window, in double precision."""
    ids = torch.from_numpy(windows.ids)
    with network.hooked():
        whole, changed = (network.logits(ids, v).double().log_softmax(-1)[:, :-1] for v in (Variant(), variant))
    wanted, asked = ids[:, 1:], torch.from_numpy(windows.scored[:, 1:])
    loss = -changed.gather(2, wanted[..., None])[..., 0]
    apart = (whole.exp() * (whole - changed)).sum(-1)
    same = whole.argmax(-1) == changed.argmax(-1)
    return [(of * asked).sum(1).double().numpy() for of in (loss, apart, same)]


def check(network, windows, scores, variant):
    loss, apart, same = by_hand(network, windows, variant)
    assert scores.loss == pytest.approx(loss, rel=1e-5)
    assert scores.divergence == pytest.approx(apart, rel=1e-3, abs=1e-4)
    assert scores.agreement.tolist() == same.tolist()
    assert scores.n_targets.tolist() == windows.scored[:, 1:].sum(1).tolist()


@pytest.mark.parametrize("batch", [8, 2])
def test_scores_are_those_of_whole_passes(network, batch, monkeypatch):
    monkeypatch.setattr(pricing, "largest_batch", lambda logits, n_tokens: batch)
    windows, trunk = some_windows(), without_blocks({1})
    basis = torch.linalg.qr(torch.randn(48, 10, generator=torch.Generator().manual_seed(0)))[0]
    projection = Projection(torch.zeros(48), basis)
    variants = [
        without_blocks({1, 4}),
        without_blocks({0}),
        without_blocks({5}),
        Variant(projected={3: projection}),
        Variant(projected={6: projection}),
        Variant(),
    ]
    pricer = Pricer(network, windows)
    for _ in range(2):  # the second time from states that are kept
        for of_trunk in (None, trunk):
            for scores, variant in zip(pricer.scores(variants, trunk=of_trunk), [Variant(), *variants], strict=True):
                check(network, windows, scores, variant)


def test_sums_of_exponentials_are_those_of_torch_bit_for_bit():
    logits = torch.randn(5, 3000, generator=torch.Generator().manual_seed(0)) * 9
    logits[1, 3:], logits[2] = -math.inf, -math.inf
    logits[3, 7] = math.inf
    spare = torch.full((8, 3000), math.nan)
    assert torch.equal(pricing.log_sum_exp(logits, spare), torch.logsumexp(logits, -1))


def test_streamed_weights_give_the_same_scores_in_one_reading(network, tmp_path, monkeypatch):
    network.model.module.save_pretrained(tmp_path / "saved")
    network.model.tokenizer.save_pretrained(tmp_path / "saved")
    blueprint = read_blueprint(find_weights(str(tmp_path / "saved")), "float32", "cpu", None)
    model = load_network(blueprint, scratch=tmp_path)
    assert model.units
    streamed, windows = Network(model), some_windows()
    variants = [without_blocks({block}) for block in range(6)]
    readings: list[float] = []
    found = Pricer(streamed, windows).scores(variants, readings.append)
    assert len(readings) == len(model.units) and readings[-1] == 1.0
    for one, other in zip(found, Pricer(network, windows).scores(variants), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-6)
        assert one.divergence == pytest.approx(other.divergence, abs=1e-4)
    near = measure_similarity(streamed, windows).influence
    assert [one.value for one in near] == pytest.approx(
        [one.value for one in measure_similarity(network, windows).influence]
    )


def test_memory_that_is_short_halves_the_batch(network, monkeypatch):
    windows, run = some_windows(), Network.logits

    def short(self, ids, *others, **more):
        if len(ids) > 2:
            raise MemoryError
        return run(self, ids, *others, **more)

    expected = Pricer(network, windows).scores([without_blocks({2})])
    monkeypatch.setattr(Network, "logits", short)
    found = Pricer(network, windows).scores([without_blocks({2})])
    assert found[1].loss == pytest.approx(expected[1].loss)


def test_single_skips_begin_where_they_differ(network):
    """Blocks that are run: a triangle, not a square."""
    ran, n = [], network.n_blocks
    counting = [block.mlp.register_forward_hook(lambda *_: ran.append(1)) for block in network.blocks]
    shares: list[float] = []
    prices = price_sets(Pricer(network, some_windows()), [[block] for block in range(n)], shares.append)
    assert len(ran) == n + n * (n - 1) // 2
    assert shares == sorted(shares) and shares[-1] == 1 and 0.2 < shares[0] < 0.3 and len({*shares}) == n + 1
    for hook in counting:
        hook.remove()
    assert len(prices) == n and prices[0].whole.divergence.tolist() == [0] * 5


def test_an_increase_is_paired(network):
    """Windows differ much more from each other than what a block costs in them."""
    (price,) = price_sets(Pricer(network, some_windows(16)), [{4}])
    assert price.increase.std_error < price.scores.mean(price.scores.loss).std_error
    assert price.divergence.lower > 0


def test_the_search_finds_what_trying_all_finds(network):
    pricer = Pricer(network, some_windows(8))
    sets = random_sets(6, 2, 0)
    assert len(sets) == 15  # all that there are
    every = price_sets(pricer, sets)
    pool = list(range(6))
    alone = [price.divergence.value for price in price_sets(pricer, [[block] for block in pool])]
    step = next_step(pricer, (), pool)
    step = next_step(pricer, step.blocks, pool)
    for _ in range(6):
        others = list_exchanges(step.blocks, pool, alone)
        assert len({*others}) == len(others) and all(len({*one} & {*step.blocks}) == 1 for one in others)
        assert sum(alone[block] for block in others[0]) <= sum(alone[block] for block in others[-1])
        step = min([step, *price_sets(pricer, others, shared=step.blocks)], key=cost_order)
    assert step.blocks == min(every, key=cost_order).blocks


def test_random_sets_are_different_and_never_the_set_itself():
    drawn = random_sets(30, 4, 0, (1, 2, 3, 4))
    assert len({*drawn}) == 20 and (1, 2, 3, 4) not in drawn and all(len(one) == 4 for one in drawn)
    assert len(random_sets(4, 1, 0, (2,))) == 3


def test_of_equals_the_simplest_is_taken():
    candidates = [Candidate("greedy", (1, 4)), Candidate("influence", (2, 5)), Candidate("contiguous", (2, 3))]
    counts, generator = np.full(16, 10.0), np.random.default_rng(0)
    base = generator.normal(10, 3, 16)
    near = base + generator.normal(0, 0.3, 16)
    none = np.zeros(16)

    def chosen(whole: np.ndarray, *losses: np.ndarray, apart: np.ndarray = none) -> Choice:
        """Of the three candidates with these losses; only the first predicts as the whole network does."""
        scores = [
            Scores(loss, divergence, none, none, counts, np.arange(16))
            for loss, divergence in zip((whole, *losses), (none, none, apart, apart), strict=True)
        ]
        return choose_simplest(
            candidates,
            {one.blocks: Price(one.blocks, scores[0], of) for one, of in zip(candidates, scores[1:], strict=True)},
        )

    choice = chosen(base - 1, base, base + 5, near)
    assert (choice.chosen.rule, choice.equal) == ("contiguous", {(1, 4), (2, 3)})
    assert chosen(base - 1, base, base + 5, base + 1).chosen is candidates[0]
    better_by_chance = chosen(base, base, base - 1, base - 1, apart=base)
    assert better_by_chance.chosen is candidates[0]
