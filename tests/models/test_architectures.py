"""Every architecture, tiny and random: captured states are the blocks' own, whatever the architecture calls them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from core.errors import InputError, ModelError
from core.measure.plan import capture
from core.models.hub import find_weights
from core.models.model import OpenModel
from tests import tiny
from tests.tiny import DECODERS, ENCODER_DECODERS, ENCODERS, open_model, save_tiny_model

FINAL_NORMS = {
    "gpt2": "ln_f",
    "gptj": "ln_f",
    "bloom": "ln_f",
    "falcon": "ln_f",
    "mamba": "norm_f",
    "mamba2": "norm_f",
    "phi": "final_layernorm",
    "gpt_neox": "final_layer_norm",
    "opt": "decoder.final_layer_norm",
    "modernbert": "final_norm",
}
"""Under the base model; `norm` where not named, none for the other encoders."""


def tokens(n_sequences: int = 10, n_tokens: int = 24):
    """All that a forward pass reads of a token sample."""
    ids = np.random.default_rng(0).integers(3, 2000, (n_sequences, n_tokens))
    return SimpleNamespace(ids=ids, template=np.zeros_like(ids, dtype=bool), n_bytes_scored=100)


def opened(tmp_path, family: str, stack: str | None = None, dtype: str = "float32", **changes) -> OpenModel:
    folder = save_tiny_model(tmp_path / family, family, **changes)
    return open_model(find_weights(str(folder)), dtype=dtype, device="cpu", stack=stack)


def captured(model: OpenModel, tmp_path):
    """Every layer's states as (n_sequences, n_tokens, hidden_size), and the labels."""
    sample = tokens()
    found = capture(model, sample, tmp_path, lambda step: None)
    assert np.isfinite(found.states).all()
    assert found.norms == pytest.approx(np.linalg.norm(found.states, axis=2), rel=1e-5)
    shape = (len(found.states), *sample.ids.shape, model.hidden_size)
    states = torch.from_numpy(np.array(found.states)).reshape(shape)
    return torch.from_numpy(sample.ids), states, found


def assert_close(found, expected, where):
    assert torch.allclose(found, expected, atol=1e-5, rtol=1e-5), where


@pytest.mark.parametrize("family", DECODERS + ENCODERS)
def test_layer_0_enters_the_first_block_and_layer_i_leaves_block_i(family, tmp_path):
    model, kind = opened(tmp_path, family), "decoder" if family in DECODERS else "encoder"
    assert (model.row.kind, model.is_causal, model.stack) == (kind, kind == "decoder", "main")
    ids, states, found = captured(model, tmp_path)
    body = model.module.base_model
    with torch.inference_mode():
        output = body(ids, output_hidden_states=True)
    n = model.n_layers
    if family in ("mamba", "mamba2"):  # no embedding entry: out_0 .. out_L-1, and the last again after its norm
        assert_close(states[0], body.embeddings(ids), 0)
        theirs = [None, *output.hidden_states[:n]]
    else:
        theirs = [*output.hidden_states[:n]]
    for layer, expected in enumerate(theirs):
        if expected is not None:
            assert_close(states[layer], expected, layer)
    if family in ENCODERS and family != "modernbert":
        assert not found.has_post_norm
        assert_close(states[n], output.last_hidden_state, n)
        return
    assert found.labels[-2:] == [(n, "residual"), (n, "post_norm")]
    norm = body.get_submodule(FINAL_NORMS.get(family, "norm"))
    assert_close(states[-1], output.last_hidden_state, "post_norm")
    with torch.inference_mode():
        assert_close(norm(states[n]), states[-1], n)
    assert not torch.allclose(states[n], states[-1])


def test_gemma_scales_its_embeddings_before_the_first_block(tmp_path):
    model = opened(tmp_path, "gemma3_text")
    ids, states, _ = captured(model, tmp_path)
    assert_close(states[0], model.module.model.embed_tokens.weight[ids] * 48**0.5, 0)


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_model_that_projects_in_and_out_is_measured_between(norm_first, tmp_path):
    model = opened(tmp_path, "opt", word_embed_proj_dim=32, do_layer_norm_before=norm_first)
    ids, states, found = captured(model, tmp_path)
    body = model.module.model.decoder
    with torch.inference_mode():
        narrow = body.embed_tokens(ids)
        expected = body.project_in(narrow) + body.embed_positions(torch.ones_like(ids))
        assert_close(states[0], expected, 0)
        assert narrow.shape[-1] == 32 and found.has_post_norm == norm_first
        if norm_first:
            assert_close(states[-1], body.final_layer_norm(states[-2]), "post_norm")


def test_positions_that_start_behind_the_padding_id_shorten_the_context(tmp_path):
    model = opened(tmp_path, "roberta", max_position_embeddings=26, pad_token_id=1)
    assert model.context == 24
    captured(model, tmp_path)


def test_half_precision_is_kept_in_single(tmp_path):
    model = opened(tmp_path, "llama", dtype="bfloat16")
    _, states, _ = captured(model, tmp_path)
    assert states.dtype == torch.float32 and torch.equal(states, states.bfloat16().float())


@pytest.mark.parametrize("family", ENCODER_DECODERS)
def test_the_encoder_is_what_is_measured_unless_the_decoder_is_asked_for(family, tmp_path):
    model = opened(tmp_path, family)
    ids, states, found = captured(model, tmp_path)
    assert (model.row.kind, model.stack, model.n_layers, model.is_causal) == ("encoder_decoder", "encoder", 3, False)
    with torch.inference_mode():
        output = model.module.get_encoder()(ids, output_hidden_states=True)
    for layer in range(3):
        assert_close(states[layer], output.hidden_states[layer], layer)
    assert found.has_post_norm == (family == "t5") and found.bits_per_byte is None
    assert_close(states[-1], output.last_hidden_state, "last")


@pytest.mark.parametrize("family", ENCODER_DECODERS)
def test_a_decoder_reads_the_window_behind_its_start_token_and_its_encoder_the_same(family, tmp_path):
    model = opened(tmp_path, family, stack="decoder")
    ids, states, found = captured(model, tmp_path)
    assert (model.row.kind, model.stack, model.n_layers) == ("encoder_decoder", "decoder", 2)
    start = torch.full((len(ids), 1), model.module.config.decoder_start_token_id)
    with torch.inference_mode():
        output = model.module(input_ids=ids, decoder_input_ids=torch.cat([start, ids], 1), output_hidden_states=True)
    for layer in range(2):
        assert_close(states[layer], output.decoder_hidden_states[layer][:, 1:], layer)
    assert_close(states[-1], output.decoder_hidden_states[-1][:, 1:], "last")
    assert found.has_post_norm == (family == "t5") and found.bits_per_byte is None


def test_a_decoders_context_has_room_for_its_start_token(tmp_path):
    assert opened(tmp_path, "bart", max_position_embeddings=64).context == 64
    assert opened(tmp_path, "bart", "decoder", max_position_embeddings=64).context == 63


def test_a_stack_of_a_model_that_has_one_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"llama has one stack of blocks: leave --stack out\."):
        opened(tmp_path, "llama", stack="decoder")
    with pytest.raises(InputError, match="Unknown stack 'middle'. Available: decoder, encoder."):
        opened(tmp_path, "t5", stack="middle")


def test_a_decoder_without_a_start_token_says_so(tmp_path):
    model = opened(tmp_path, "t5", stack="decoder")
    model.module.config.decoder_start_token_id = None
    with pytest.raises(ModelError, match=r"t5 cannot be measured: config\.json has no decoder_start_token_id\. Add it"):
        captured(model, tmp_path)


@pytest.mark.parametrize("as_saved", [True, False])
def test_an_encoder_that_was_saved_without_its_decoder_is_an_encoder(as_saved, tmp_path):
    folder = save_tiny_model(tmp_path / "t5", "t5")
    config = transformers.AutoConfig.from_pretrained(folder)
    transformers.T5EncoderModel(config).save_pretrained(folder)
    path = folder / "config.json"
    written = json.loads(path.read_text(encoding="utf-8")) | {"is_encoder_decoder": as_saved}
    path.write_text(json.dumps(written), encoding="utf-8")
    model = open_model(find_weights(str(folder)), device="cpu")
    _, _, found = captured(model, tmp_path)
    assert (model.row.kind, model.stack, model.n_layers, found.has_post_norm) == ("encoder", "main", 3, True)
    with pytest.raises(InputError, match="has one stack of blocks"):
        open_model(find_weights(str(folder)), device="cpu", stack="decoder")


@pytest.mark.parametrize(
    "family, changes",
    [
        ("albert", {"embedding_size": 24}),  # one block, run again and again
        ("xlm", {"emb_dim": 48, "n_layers": 3, "n_heads": 4}),  # a list of attentions, one of feed-forwards, ...
    ],
)
def test_an_architecture_without_one_list_of_blocks_is_refused(family, changes, tmp_path, monkeypatch):
    widths = dict(hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4)
    monkeypatch.setitem(tiny.SIZES, family, changes if family == "xlm" else widths | changes)
    monkeypatch.setattr(tiny, "ENCODERS", (family,))
    with pytest.raises(ModelError, match=f"{family} cannot be measured: no list of 3 layers"):
        opened(tmp_path, family)


def test_tokens_in_another_order_are_found_out(tmp_path, monkeypatch):
    monkeypatch.setitem(tiny.SIZES, "xlnet", dict(d_model=48, n_layer=3, n_head=4, d_inner=96))
    with pytest.raises(ModelError, match=r"local:xlnet.* cannot be measured: layer 0 gives \(24, 8, 48\)"):
        captured(opened(tmp_path, "xlnet"), tmp_path)
