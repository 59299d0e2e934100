"""Controls whose blocks write as much as the trained ones: which matrices are drawn, and how far the updates go."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import ModelError
from core.measure.plan import capture
from core.models.hub import find_weights
from core.models.model import load_network, read_blueprint
from core.models.random_weights import (
    Place,
    _drawn_part,
    find_updates,
    median_ratio,
    require_plain_stream,
    rotate_updates,
    seeded_control,
    without_head,
)
from tests.tiny import SIZES, save_tiny_model

pytestmark = pytest.mark.slow

IDS = np.random.default_rng(0).integers(3, 2000, (8, 24))
SAMPLE = SimpleNamespace(ids=IDS, template=np.zeros_like(IDS, dtype=bool), n_bytes_scored=100)
NONE = ("deepseek_v3", "mamba", "mamba2")
"""One mixer a block, or keys and values that come from one matrix."""
NORMED = ("bert", "roberta", "distilbert", "electra", "bart")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")

    def load(family, dtype="float32", scratch=None):
        folder = (
            root / family if (root / family).exists() else _with_trained_entries(save_tiny_model(root / family, family))
        )
        return load_network(read_blueprint(find_weights(str(folder)), dtype, "cpu", None), scratch)

    return load


def _with_trained_entries(folder):
    """An initialiser gives every matrix of a network one spread; training does not."""
    file = folder / "model.safetensors"
    weights = {name: tensor * (1 + len(name) % 3) for name, tensor in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def states_of(model, folder):
    return np.array(capture(model, SAMPLE, folder, lambda step: None).states)


def state_of(output):
    return (output[0] if isinstance(output, tuple) else output).clone()  # Falcon adds to it in place


def measured_ratios(model, states, folder):
    """The sizes of a stream's own updates, by hooks of one's own over one batch of all windows."""
    found, entered = [], []
    for block in model.layers:
        block.register_forward_pre_hook(
            lambda _m, a, k: entered.append(a[0] if a else k["hidden_states"]), with_kwargs=True
        )
        for path in find_updates(without_head(model), IDS).paths:
            block.get_submodule(path).register_forward_hook(
                lambda _m, _a, out: found.append((entered[-1], state_of(out)))
            )
    del entered[:], found[:]
    states_of(replace(without_head(model), batch=len(IDS)), folder)
    sizes = ((s.norm(dim=-1), u.reshape(s.shape).norm(dim=-1)) for s, u in found)
    return [median_ratio(state, update) for state, update in sizes]


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "falcon", "mixtral", "bert", "t5"])
def test_every_update_of_a_draw_is_as_large_as_the_trained_one_whatever_the_batches(family, opened, tmp_path):
    control = seeded_control(opened(family), "matched", IDS)
    trained = states_of(control.trained(), tmp_path)
    ratios = control.ratios
    assert ratios == pytest.approx(measured_ratios(opened(family), trained, tmp_path), rel=1e-4)
    first = states_of(control.drawn(1, ratios), tmp_path)
    sizes = [update.ratio * update._scale for update in control.updates]
    assert sizes == pytest.approx(ratios, rel=1e-6)
    in_parts = states_of(replace(control.drawn(1, ratios), batch=3), tmp_path)
    assert np.allclose(first, in_parts, atol=1e-4 * np.abs(first).max())
    assert np.array_equal(first[0], trained[0]) and not np.allclose(first[1], trained[1], rtol=0.01)
    other = states_of(control.drawn(2, ratios), tmp_path)
    assert not np.allclose(other[1], first[1], rtol=0.01)
    assert np.array_equal(states_of(control.drawn(1, ratios), tmp_path), first)  # nothing is left of another draw
    norms = [np.median(np.linalg.norm(states[1:-1], axis=2), axis=1) for states in (trained, first)]
    assert np.abs(np.log(norms[0] / norms[1])).max() < 0.5


@pytest.mark.parametrize("family", SIZES)
def test_an_architecture_has_the_control_or_is_refused_in_one_line(family, opened):
    if family in NONE:
        with pytest.raises(ModelError, match="not available for this architecture"):
            seeded_control(opened(family), "matched", IDS)
        return
    model = opened(family)
    assert len(seeded_control(model, "matched", IDS).updates) == 2 * len(model.layers)
    if family in NORMED:
        with pytest.raises(ModelError, match="not available"):
            require_plain_stream(without_head(model), IDS)
    else:
        require_plain_stream(without_head(model), IDS)


def loaded_block(control, seed):
    """The parameters of the first block as they are while it runs, by name."""
    (unit,) = [
        u for u in control.drawn(seed, [1.0] * len(control.updates)).units if u.module is control.model.layers[0]
    ]
    unit.load()
    found = {name: p.detach().clone() for name, p in control.model.layers[0].named_parameters()}
    unit.drop()
    return found


@pytest.mark.parametrize(
    "family, kept",
    [
        ("llama", ("q_proj", "k_proj", "norm")),
        ("qwen2", ("q_proj", "k_proj", "norm", "bias")),
        ("mixtral", ("q_proj", "k_proj", "norm", "mlp.gate.")),
        ("bert", ("query", "key", "LayerNorm", "bias")),
        ("t5", ("SelfAttention.q", "SelfAttention.k", "layer_norm", "relative_attention_bias")),
    ],
)
def test_attention_patterns_norms_and_vectors_stay_and_what_is_written_is_drawn(family, kept, opened):
    control = seeded_control(opened(family), "matched", IDS)
    trained = dict(control.model.layers[0].named_parameters())
    for name, found in loaded_block(control, 1).items():
        assert torch.equal(found, trained[name]) == any(word in name for word in kept), name
        assert float(found.square().mean()) == pytest.approx(float(trained[name].detach().square().mean()), rel=0.2), (
            name
        )


@pytest.mark.parametrize("family, first", [("gpt2", 96), ("phi3", 72)])
def test_of_a_fused_matrix_the_values_alone_are_drawn(family, first, opened):
    if family == "phi3":
        from core.models.random_weights import _drawn, _value_rows_of_groups

        config = SimpleNamespace(hidden_size=48, num_attention_heads=4, num_key_value_heads=2)
        weight = torch.randn(96, 48)
        moved = (_drawn(weight, _value_rows_of_groups, config, 0) != weight).any(1)
    else:
        control = seeded_control(opened(family), "matched", IDS)
        name = "attn.c_attn.weight"
        moved = (loaded_block(control, 1)[name] != dict(control.model.layers[0].named_parameters())[name]).any(0)
    assert not moved[:first].any() and moved[first:].all()


@pytest.mark.parametrize("name, n_rows", [("c_attn", 72), ("Wqkv", 96), ("qkv_proj", 144), ("query_key_value", 100)])
def test_a_fused_matrix_in_another_order_is_refused(name, n_rows):
    """GPTBigCode has rows where GPT-2 has columns, DBRX fewer keys than queries, CodeGen its heads in groups."""
    model = SimpleNamespace(module=SimpleNamespace(config=SimpleNamespace(hidden_size=48, num_attention_heads=4)))
    with pytest.raises(ModelError, match="not available"):
        _drawn_part(Place(f"h.0.attn.{name}.weight", {}, "weight", torch.zeros(n_rows, 48)), model)


def test_permuted_matrices_keep_their_entries_and_experts_their_own(opened):
    control = seeded_control(opened("mixtral"), "permuted", IDS)
    trained = dict(control.model.layers[0].named_parameters())
    for name, found in loaded_block(control, 1).items():
        per_matrix = found.flatten(1) if found.dim() == 3 else found.flatten()
        before = trained[name].flatten(1) if found.dim() == 3 else trained[name].flatten()
        assert torch.equal(per_matrix.sort().values, before.sort().values), name
        assert torch.equal(found, trained[name]) == (found.dim() == 1), name


@pytest.mark.parametrize("weights", ["matched", "permuted"])
def test_a_draw_is_the_same_loaded_and_streamed(weights, opened, tmp_path):
    for name in ("a", "b", "scratch"):
        (tmp_path / name).mkdir()
    whole, streamed = opened("llama"), opened("llama", scratch=tmp_path / "scratch")
    found = []
    for model, folder in ((whole, "a"), (streamed, "b")):
        control = seeded_control(model, weights, IDS)
        states_of(control.trained(), tmp_path / folder)
        found.append(states_of(control.drawn(5, control.ratios), tmp_path / folder))
    assert np.array_equal(*found)
    assert all(p.device.type == "meta" for p in streamed.layers[0].parameters())


def test_tokens_of_position_0_and_sinks_do_not_count():
    states, updates = torch.ones(4, 5), torch.full((4, 5), 0.5)
    updates[:, 0], states[1, 2:4], updates[1, 2:4] = 100.0, 9.0, 900.0
    assert median_ratio(states, updates) == 0.5


def test_turned_updates_keep_their_sizes_and_angles_within_a_block():
    generator = np.random.default_rng(0)
    trained = np.cumsum(generator.normal(size=(4, 20, 16)), axis=0).astype(np.float32)
    turned = trained.copy()
    rotate_updates(turned, 3, seed=1)
    assert np.array_equal(turned[0], trained[0])
    for layer in (1, 2, 3):
        ours, theirs = (states[layer] - states[layer - 1] for states in (turned, trained))
        assert np.allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-3) and not np.allclose(ours, theirs, atol=0.1)
