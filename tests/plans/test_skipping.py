"""Leaving out is deleting: on every decoder, against a network that never had the blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from core.errors import ModelError
from core.models.hub import find_weights
from core.plans.healing import delete_blocks, require_same, shorten_config
from core.plans.variants import ATTENTION, MLP, Network, States, Variant, without_blocks
from core.records import stretches
from tests.tiny import DECODERS, ENCODERS, open_model, save_tiny_model

MIXED: dict[str, Any] = dict(
    layer_types=["sliding_attention", "full_attention"] * 2 + ["sliding_attention"], sliding_window=8
)
FIVE: dict[str, Any] = dict(num_hidden_layers=5)
CASES: dict[str, dict[str, Any]] = {
    **{family: {} for family in DECODERS},
    "gemma3_text": FIVE | MIXED,
    "qwen2": FIVE | dict(use_sliding_window=True, sliding_window=8, max_window_layers=3),
    "gpt2": dict(n_layer=5),
}


def opened(tmp_path, family, **changes):
    return open_model(find_weights(str(save_tiny_model(tmp_path / family, family, **changes))), device="cpu")


def some_ids(n_sequences=3, n_tokens=24):
    return torch.from_numpy(np.random.default_rng(0).integers(3, 2000, (n_sequences, n_tokens)))


def relative(one, other):
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("family", CASES)
@torch.inference_mode()
def test_leaving_blocks_out_is_deleting_them(family, tmp_path):
    model = opened(tmp_path, family, **CASES[family])
    network, ids = Network(model), some_ids()
    own = model.module(input_ids=ids, use_cache=False).logits
    for removed in ({1}, {0, 2}):
        new = delete_blocks(model, removed)
        assert new.config.num_hidden_layers == model.n_layers - len(removed)
        assert require_same(model, network, new, removed, ids) < 1e-5
        with network.hooked():
            assert relative(network.logits(ids, without_blocks(removed)), own) > 1e-3
            assert torch.equal(network.logits(ids), own)
    assert torch.equal(model.module(input_ids=ids, use_cache=False).logits, own)


def test_a_pass_that_begins_at_a_block_is_the_whole_pass(tmp_path):
    model = opened(tmp_path, "gemma3_text", **CASES["gemma3_text"])
    network, ids = Network(model), some_ids()
    with torch.inference_mode(), network.hooked():
        keep = States(frozenset(range(6)))
        network.logits(ids, without_blocks({0}), keep=keep)
        for removed in ({0, 2}, {0, 4}, {0, 1}):
            start = without_blocks(removed).parts_from(without_blocks({0}), 5)
            assert start == max(removed)
            expected = network.logits(ids, without_blocks(removed))
            assert torch.equal(network.logits(ids, without_blocks(removed), start=start, before=keep), expected)


@pytest.mark.parametrize("family", [f for f in DECODERS if not f.startswith("mamba")])
@torch.inference_mode()
def test_an_attention_or_an_mlp_alone_is_left_out(family, tmp_path):
    """Against matrices of zeros in the place of what gives its output."""
    model = opened(tmp_path, family, **CASES[family])
    network, ids = Network(model), some_ids()
    assert network.find_sublayers(ids)
    one = frozenset({1})
    for kind, variant in ((ATTENTION, Variant(attention=one)), (MLP, Variant(mlp=one))):
        with network.hooked():
            found = network.logits(ids, variant)
        part = network.sublayers[kind, 1]
        kept = [p.clone() for p in part.parameters()]
        for parameter in part.parameters():
            parameter.zero_()
        expected = model.module(input_ids=ids, use_cache=False).logits
        for parameter, value in zip(part.parameters(), kept, strict=True):
            parameter.copy_(value)
        assert relative(found, expected) < 1e-5
        assert relative(found, model.module(input_ids=ids, use_cache=False).logits) > 1e-4


def test_an_attention_named_after_experts_is_no_mlp(tmp_path):
    """As Qwen3MoeAttention is: what follows it is the mixture."""
    model = opened(tmp_path, "mixtral")
    for block in model.layers:
        block.self_attn.__class__ = type("MixtralMoeAttention", (type(block.self_attn),), {})
    network = Network(model)
    assert network.find_sublayers(some_ids())
    assert network.sublayers[MLP, 0] is model.layers[0].mlp
    assert network.why_no_healing(some_ids(), [0]) == "mixture"


def test_a_state_space_block_has_no_attention_to_leave_out(tmp_path):
    assert not Network(opened(tmp_path, "mamba")).find_sublayers(some_ids())


def test_what_goes_by_the_number_of_a_block_is_planned_and_not_saved(tmp_path):
    model = opened(tmp_path, "gpt2", n_layer=5, scale_attn_by_inverse_layer_idx=True)
    new = delete_blocks(model, {1})
    with pytest.raises(ModelError, match="cannot be saved without blocks"):
        require_same(model, Network(model), new, {1}, some_ids())


@pytest.mark.parametrize("family", ENCODERS[:1])
def test_an_encoder_is_told_what_can_be_measured_instead(family, tmp_path):
    with pytest.raises(
        ModelError, match=r"bert is no decoder: it has no loss per token\. `workdim measure` shows what"
    ):
        Network(opened(tmp_path, family))


def test_blocks_that_share_weights_are_refused(tmp_path):
    model = opened(tmp_path, "llama")
    model.layers[2].mlp = model.layers[1].mlp
    with pytest.raises(ModelError, match="Blocks 1 and 2 .* share weights"):
        Network(model)


def test_settings_for_each_block_are_cut_with_the_blocks(tmp_path):
    config = opened(tmp_path, "gemma3_text", **CASES["gemma3_text"]).module.config
    new = shorten_config(config, 5, {1, 2})
    assert new.layer_types == ["sliding_attention", "full_attention", "sliding_attention"]
    assert (new.num_hidden_layers, new.sliding_window, len(config.layer_types)) == (3, 8, 5)
    config = opened(tmp_path, "deepseek_v3", first_k_dense_replace=2, num_hidden_layers=4).module.config
    assert shorten_config(config, 4, {0}).first_k_dense_replace == 1


@pytest.mark.parametrize(
    "blocks, expected", [([], []), ([3], [(3, 4)]), ([5, 3, 4], [(3, 6)]), ([1, 2, 5], [(1, 3), (5, 6)])]
)
def test_stretches_are_half_open(blocks, expected):
    assert stretches(blocks) == expected
