"""A saved model in a fresh process, healed weights, recipes, and what the smaller network takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.errors import InputError, ModelError, ResourceError
from core.models.hub import find_weights
from core.plans import healing
from core.plans.healing import (
    Healing,
    check_reproduction,
    delete_blocks,
    fit_healing,
    fit_scales,
    footprints,
    merge_into_weights,
    save_network,
    why_no_healing,
    why_no_mergekit,
    why_no_scales,
)
from core.plans.pricing import Pricer
from core.plans.variants import MLP, Network, States, without_blocks
from core.texts.sample import TokenWindows
from tests.plans.test_skipping import CASES, FIVE, opened
from tests.tiny import open_model, save_tiny_model

pytestmark = pytest.mark.slow

FRESH = """
import json, sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
ids = torch.tensor(json.load(open(sys.argv[2])))
with torch.inference_mode():
    print(json.dumps([float(model(input_ids=ids, labels=ids).loss), model.config.num_hidden_layers]))
"""


def windows_of(n_sequences=8, n_tokens=24, seed=0):
    ids = np.random.default_rng(seed).integers(3, 2000, (n_sequences, n_tokens))
    scored = np.ones(ids.shape, dtype=bool)
    scored[:, 0] = False
    return TokenWindows(ids, scored, np.arange(n_sequences))


def a_matrix():
    return np.eye(48, dtype=np.float32) + np.random.default_rng(0).normal(0, 0.3, (48, 48)).astype(np.float32)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "gpt_neox"])
def test_merged_weights_give_what_the_healed_variant_gives(family, tmp_path):
    model = opened(tmp_path, family)
    network, windows = Network(model), windows_of()
    ids = torch.from_numpy(windows.ids)
    assert network.find_sublayers(ids[:1])
    healing = Healing({0: a_matrix()}, 0)
    new = delete_blocks(model, {1}, merge_into_weights(network, healing, {1}))
    with torch.inference_mode(), network.hooked():
        expected = network.logits(ids, healing.variant({1}, network))
        unhealed = network.logits(ids, without_blocks({1}))
        assert torch.allclose(new(input_ids=ids, use_cache=False).logits, expected, atol=1e-5)
        assert not torch.allclose(unhealed, expected, atol=1e-3)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@torch.inference_mode()
def test_in_half_precision_what_is_priced_are_the_rounded_weights_that_are_saved(family, tmp_path):
    folder = save_tiny_model(tmp_path / family, family)
    model = open_model(find_weights(str(folder)), dtype="bfloat16", device="cpu")
    network, windows = Network(model), windows_of()
    assert network.find_sublayers(torch.from_numpy(windows.ids[:1]))
    healing = Healing({0: 4 * a_matrix()}, 0)
    new = delete_blocks(model, {1}, merge_into_weights(network, healing, {1}))
    priced = Pricer(network, windows).scores([healing.variant({1}, network)])[1]
    smaller = Network(
        replace(model, module=new, layers=new.get_decoder().layers if family == "llama" else new.transformer.h)
    )
    assert priced.loss == pytest.approx(Pricer(smaller, windows).scores([])[0].loss, rel=1e-6)


def test_a_saved_model_has_the_verified_loss_in_a_fresh_process(tmp_path):
    """Gemma 3: mixed attention, a list for each block in its configuration, embeddings that are its head as well."""
    model = opened(tmp_path, "gemma3_text", **CASES["gemma3_text"])
    network, windows, removed = Network(model), windows_of(), {1, 2}
    expected = Pricer(network, windows).scores([without_blocks(removed)])[1].loss_per_token
    new = delete_blocks(model, removed)
    folder = tmp_path / "smaller"
    save_network(new, model.tokenizer, folder, "A card.\n", "plan-1")
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps(windows.ids.tolist()))
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(folder), str(ids)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    loss, n_blocks = json.loads(done.stdout)
    assert n_blocks == model.n_layers - 2 and loss == pytest.approx(expected, abs=1e-4)
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".md", ".jinja"}
    assert check_reproduction(folder, "cpu", "float32", windows, expected, tmp_path) == pytest.approx(
        expected, abs=1e-5
    )
    with pytest.raises(ModelError, match="nats per token, not"):
        check_reproduction(folder, "cpu", "float32", windows, expected + 0.01, tmp_path)
    with pytest.raises(InputError, match="not empty"):
        save_network(new, model.tokenizer, folder, "", "plan-1")


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    model = opened(tmp_path, "llama")
    monkeypatch.setattr(healing.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(
        ResourceError, match=r"smaller needs 1\.2 MB; 0\.0 MB is free\. Free some space, or choose another"
    ):
        save_network(model.module, model.tokenizer, tmp_path / "smaller", "", "plan-1")
    assert not (tmp_path / "smaller").exists()


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "opt", "phi", "bloom"])
def test_what_one_matrix_can_heal_is_healed(family, tmp_path):
    """The block behind the gap's last kept one adds a matrix product of what its MLP adds: a fit finds it."""
    model = opened(tmp_path, family, **(FIVE if family == "llama" else {}))
    network, windows = Network(model), windows_of(120, 70)
    ids = torch.from_numpy(windows.ids[:1])
    assert network.find_sublayers(ids)
    assert why_no_healing(network, {1}, ids, windows.ids.size) is None
    truth = torch.eye(48) + 0.5 * torch.randn(48, 48, generator=torch.Generator().manual_seed(0)) / 48**0.5
    block = model.layers[1]

    def instead(*arguments, **keywords):
        """As if block 1 turned what the MLP of block 0 has added."""
        state = arguments[0] if arguments else keywords["hidden_states"]
        turned = state + (seen[-1].reshape(state.shape) @ (truth - torch.eye(48)))
        return (turned, None) if family == "bloom" else turned

    seen: list[torch.Tensor] = []
    hook = network.sublayers["mlp", 0].register_forward_hook(lambda _m, _a, output: seen.append(output))
    block.forward = instead
    healing = fit_healing(network, windows, {1})
    cut, healed = Pricer(network, windows_of(seed=1)).scores([without_blocks({1}), healing.variant({1}, network)])[1:]
    hook.remove()
    assert healing.matrices[0] == pytest.approx(truth.numpy(), abs=0.02)
    assert healed.divergence.sum() < 0.01 * cut.divergence.sum()


def test_where_a_norm_stands_between_the_lost_magnitude_is_given_back_and_saved(tmp_path):
    """Gemma 3: after the gap states are as long as they were, and the norms of later blocks carry it into the weights."""
    model = opened(tmp_path, "gemma3_text", **CASES["gemma3_text"])
    network, windows, removed = Network(model), windows_of(), {1, 2}
    ids = torch.from_numpy(windows.ids)
    assert network.find_sublayers(ids[:1])
    with torch.no_grad():
        for block in model.layers:
            block.post_feedforward_layernorm.weight.fill_(2.0)
    healing = fit_scales(network, windows, removed)
    variant, before, after = healing.variant(removed, network), States(frozenset({3})), States(frozenset({3}))
    new = delete_blocks(model, removed, merge_into_weights(network, healing, removed))
    with torch.inference_mode(), network.hooked():
        network.logits(ids, keep=before)
        expected = network.logits(ids, variant, keep=after)
        lengths = [states.states[3][:, 1:].norm(dim=-1) for states in (before, after)]
        assert set(healing.scales) == {1} and healing.scales[1] > 1.1
        assert (lengths[0] / lengths[1]).mean() == pytest.approx(1, abs=1e-3)
        assert torch.allclose(new(input_ids=ids, use_cache=False).logits, expected, atol=1e-4)
        assert not torch.allclose(network.logits(ids, without_blocks(removed)), expected, atol=1e-2)


def test_healing_is_refused_with_the_reason(tmp_path):
    gemma, windows = Network(opened(tmp_path, "gemma3_text", **CASES["gemma3_text"])), windows_of()
    ids = torch.from_numpy(windows.ids[:1])
    gemma.find_sublayers(ids)
    assert why_no_healing(gemma, {2}, ids, 10_000) == "norm_between"
    assert why_no_scales(gemma, ids) is None
    norms = dict(gemma.behind)
    gemma.behind |= {(MLP, block): layer.input_layernorm for block, layer in enumerate(gemma.blocks)}
    assert why_no_scales(gemma, ids) == "norm_between", "these norms do not carry what the MLP adds"
    gemma.behind = {key: norm for key, norm in norms.items() if key != (MLP, 4)}
    assert why_no_scales(gemma, ids) == "norm_between"
    assert why_no_healing(gemma, {0}, ids, 10_000) == "first_block"
    assert why_no_healing(gemma, {2}, ids, windows.ids.size) == "short_text"
    mixture = Network(opened(tmp_path, "mixtral"))
    mixture.find_sublayers(ids)
    assert why_no_healing(mixture, {2}, ids, 10_000) == "mixture"
    states = Network(opened(tmp_path, "mamba"))
    assert why_no_healing(states, {2}, ids, 10_000) == "no_stream"


def test_a_matrix_that_helps_nowhere_changes_nothing(tmp_path):
    """Without anything to learn, the penalty keeps the identity: an exact identity block goes."""
    model = opened(tmp_path, "llama")
    network, windows = Network(model), windows_of(40, 24)
    network.find_sublayers(torch.from_numpy(windows.ids[:1]))
    for parameter in model.layers[2].parameters():
        if parameter.dim() > 1:
            parameter.data.zero_()
    healing = fit_healing(network, windows, {2})
    assert healing.matrices[1] == pytest.approx(np.eye(48), abs=1e-5)


def test_the_smaller_network_is_timed_and_counted(tmp_path):
    model = opened(tmp_path, "llama")
    new = delete_blocks(model, {1, 2})
    prompt = healing.timing_prompt(model, windows_of())
    before, after = footprints([model.module, new], prompt)
    # 2 key-value heads of 12 numbers, keys and values, in 4 bytes, for each of 4 blocks
    assert (before.kv_bytes, after.kv_bytes) == (2 * 12 * 2 * 4 * 4, 2 * 12 * 2 * 4 * 2)
    assert before.prefill_seconds > 0
    # Both are differences of two timings, and a busy machine may hide one of them.
    assert before.generation_seconds + after.generation_seconds > 0


def test_a_recipe_is_refused_where_blocks_differ(tmp_path):
    model = opened(tmp_path, "llama")
    weights = find_weights(str(tmp_path / "llama"))
    assert why_no_mergekit(model.module.config, weights, 4, False) is None
    assert why_no_mergekit(model.module.config, weights, 4, True) == "healed"
    gemma = opened(tmp_path, "gemma3_text", **CASES["gemma3_text"])
    mixed = find_weights(str(tmp_path / "gemma3_text"))
    assert why_no_mergekit(gemma.module.config, mixed, 5, False) == "configuration"
