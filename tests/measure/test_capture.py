"""Captured states against transformers' own, layer by layer; bits per byte against a loss computed by hand."""

import math

import numpy as np
import pytest
import torch

from core.errors import ModelError, ResourceError
from core.measure.plan import capture, mask_tokens
from core.models.hub import find_weights
from core.models.model import OpenModel
from core.models.stacks import is_out_of_memory
from core.registry.protocols import PROTOCOLS
from core.texts.corpora import open_corpus
from core.texts.sample import draw_sample
from tests.tiny import open_model, save_tiny_model


def captured(folder, tmp_path):
    model = open_model(find_weights(str(folder)), device="cpu")
    sample = draw_sample(open_corpus("english-business"), model.tokenizer, PROTOCOLS["quick"], seed=0)
    return model, sample, capture(model, sample, tmp_path, lambda step: None)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "opt"])
def test_states_are_those_of_the_model_and_the_last_is_kept_before_and_after_its_norm(family, tmp_path):
    model, sample, states = captured(save_tiny_model(tmp_path / family, family), tmp_path)
    with torch.inference_mode():
        output = model.module.base_model(torch.from_numpy(sample.ids[:3]), output_hidden_states=True)
    n = 3 * sample.ids.shape[1]
    for layer in range(model.n_layers):
        expected = output.hidden_states[layer].flatten(0, 1)
        assert states.states[layer][:n] == pytest.approx(expected.numpy(), abs=1e-5), layer
    assert states.labels[-2:] == [(model.n_layers, "residual"), (model.n_layers, "post_norm")]
    assert states.states[-1][:n] == pytest.approx(output.last_hidden_state.flatten(0, 1).numpy(), abs=1e-5)
    assert not np.allclose(states.states[-1], states.states[-2])


def test_a_state_space_model_has_an_embedding_layer_too(tmp_path):
    model, _, states = captured(save_tiny_model(tmp_path / "mamba", "mamba"), tmp_path)
    assert len(states.labels) == model.n_layers + 2
    assert (states.norms > 0).all()


def test_an_encoder_has_no_final_norm(tiny_bert, tmp_path):
    model, _, states = captured(tiny_bert, tmp_path)
    assert not states.has_post_norm
    assert states.labels == [(layer, "residual") for layer in range(model.n_layers + 1)]
    assert states.bits_per_byte is None


def test_bits_per_byte_is_the_loss_over_the_bytes(tiny_llama, tmp_path):
    model, sample, states = captured(tiny_llama, tmp_path)
    nats = 0.0
    with torch.inference_mode():
        for row in torch.from_numpy(sample.ids):
            logits = model.module(row[None]).logits[0].double().log_softmax(-1)
            nats -= float(logits[:-1].gather(1, row[1:, None]).sum())
    assert states.bits_per_byte == pytest.approx(nats / math.log(2) / sample.n_bytes_scored, rel=1e-5)


@pytest.mark.parametrize(
    "dtype, value, told",
    [
        ("bfloat16", math.inf, "infinite or missing values in bfloat16 .layer 2.*float32"),
        ("float32", math.nan, "missing values: layer 2"),
    ],
)
def test_states_that_are_not_finite_name_the_layer_the_dtype_and_the_way_out(dtype, value, told, tmp_path, tiny_llama):
    model = open_model(find_weights(str(tiny_llama)), dtype, "cpu")
    sample = draw_sample(open_corpus("english-business"), model.tokenizer, PROTOCOLS["quick"], seed=0)
    model.layers[1].mlp.down_proj.weight.data[0] = value
    with pytest.raises(ModelError, match=told):
        capture(model, sample, tmp_path, lambda step: None)


def test_a_context_shorter_than_the_windows_is_said(tmp_path):
    folder = save_tiny_model(tmp_path / "short", "gpt2", n_positions=64)
    with pytest.raises(ModelError, match=r"local:short.* reads at most 64 tokens; windows have 128\. Choose"):
        captured(folder, tmp_path)


def test_a_block_that_is_never_run_is_found_out(tiny_llama, tmp_path):
    model = open_model(find_weights(str(tiny_llama)), device="cpu")
    sample = draw_sample(open_corpus("english-business"), model.tokenizer, PROTOCOLS["quick"], seed=0)
    inner = model.module.base_model
    inner.layers = torch.nn.ModuleList([*inner.layers[:2], *inner.layers[3:]])
    with pytest.raises(ModelError, match=r"local:tiny-llama.* cannot be measured: layer 3 gives 0 / \d+ states\."):
        capture(model, sample, tmp_path, lambda step: None)


def short_of_memory(monkeypatch, largest, error):
    """Forward passes of more than `largest` windows fail, at the very end: whatever they left must not count."""
    forward, sizes = OpenModel.forward, []

    def failing(self, ids, scored):
        sizes.append(len(ids))
        found = forward(self, ids, scored)
        if len(ids) > largest:
            raise error
        return found

    monkeypatch.setattr(OpenModel, "forward", failing)
    return sizes


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


def test_a_batch_that_does_not_fit_is_halved(tiny_llama, tmp_path, monkeypatch, caplog):
    assert all(map(is_out_of_memory, OUT_OF_MEMORY))
    _, _, expected = captured(tiny_llama, tmp_path)
    expected = (np.array(expected.states), expected.bits_per_byte)
    sizes = short_of_memory(monkeypatch, 2, OUT_OF_MEMORY[1])
    _, _, states = captured(tiny_llama, tmp_path)
    assert sizes == [8, 4] + 16 * [2]
    assert np.allclose(states.states, expected[0], atol=1e-5)
    assert states.bits_per_byte == pytest.approx(expected[1], rel=1e-5)
    assert [record.getMessage() for record in caplog.records if record.name == "workdim"] == [
        f"Memory is short: now in batches of {n}." for n in (4, 2)
    ]


def test_a_single_window_that_does_not_fit_says_what_to_do(tiny_llama, tmp_path, monkeypatch):
    sizes = short_of_memory(monkeypatch, 0, OUT_OF_MEMORY[0])
    with pytest.raises(ResourceError, match=r"A single text of 128 tokens in local:tiny-llama.* Try --dtype bfloat16"):
        captured(tiny_llama, tmp_path)
    assert sizes == [8, 4, 2, 1]


def test_other_failures_of_a_pass_are_not_taken_for_a_lack_of_memory(tiny_llama, tmp_path, monkeypatch):
    short_of_memory(monkeypatch, 2, RuntimeError("size mismatch"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        captured(tiny_llama, tmp_path)


def test_a_disk_without_room_is_said_before_the_pass(tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(
        ResourceError, match="needs .* MB; 0.0 MB is free. Free some space, or choose another disk with --warehouse"
    ):
        captured(tiny_llama, tmp_path)


def test_the_mask_drops_first_positions_special_ids_and_sinks(tiny_llama, tmp_path):
    _, sample, states = captured(tiny_llama, tmp_path)
    norms = states.norms.copy()
    norms[2, [5, 700]] *= 100
    norms[-2, 9] *= 100  # the last residual state is not part of the rule
    mask = mask_tokens(sample, norms, states.n_layers, 3.0)
    assert mask.n_dropped_position == 32 and mask.n_dropped_norm == 2
    assert not mask.keep[[0, 5, 128, 700]].any() and mask.keep[9]
    assert mask.max_norm_ratio > 50
