"""Model files that were made wrong or in bad faith: each is one named line, before it takes time or memory."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from core.errors import CorpusError, ModelError
from core.measure.profile import measure_profile
from core.models.hub import find_weights, local_weights
from core.models.loading import read_tokenizer, tokenizer_hash
from core.models.model import read_blueprint
from core.models.weights import as_unread, named_shards
from core.records import RunConfig
from core.texts.windows import encode_text
from tests.tiny import open_model, save_tiny_model, train_tokenizer

NESTED = "[" * 100_000 + "]" * 100_000


def with_settings(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return folder


def blueprint_of(folder):
    return read_blueprint(find_weights(str(folder)), "float32", "cpu", None)


@pytest.mark.parametrize("n_layers", [10**7, 10**12])
def test_layers_that_the_weights_do_not_have_are_refused_before_they_are_built(n_layers, tmp_path):
    folder = with_settings(save_tiny_model(tmp_path / "tiny"), num_hidden_layers=n_layers)
    with pytest.raises(ModelError, match=rf"config.json of tiny cannot be used \(num_hidden_layers = {n_layers}"):
        blueprint_of(folder)
    not_read = as_unread(local_weights(str(folder)))  # as of a model that is still on the hub
    with pytest.raises(ModelError, match="config.json of tiny cannot be used"):
        read_blueprint(not_read, "float32", "cpu", None, with_tokenizer=False)


@pytest.mark.parametrize(
    "name, size", [("num_attention_heads", 0), ("num_hidden_layers", 0), ("num_hidden_layers", -1), ("vocab_size", 0)]
)
def test_a_configuration_without_heads_layers_or_vocabulary_is_named(name, size, tmp_path):
    folder = with_settings(save_tiny_model(tmp_path / "tiny"), **{name: size})
    with pytest.raises(ModelError, match=rf"config.json of tiny cannot be used \({name} = {size}\)"):
        blueprint_of(folder)


def test_an_encoder_alone_may_state_no_layers_of_a_decoder(tmp_path):
    folder = with_settings(save_tiny_model(tmp_path / "tiny"), num_decoder_layers=0)
    assert blueprint_of(folder).weights.folder == folder


def test_a_configuration_that_makes_no_network_is_named(tmp_path):
    folder = with_settings(save_tiny_model(tmp_path / "tiny"), hidden_act="no such function")
    with pytest.raises(
        ModelError, match=r"config\.json of tiny cannot be used \(KeyError: 'no such function'\)\. Download it"
    ):
        _ = blueprint_of(folder).weightless


def test_weights_that_are_all_zero_are_named(tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    tensors = {name: torch.zeros_like(tensor) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"weights of local:tiny.* cannot be used \(layer 0 is the same for"):
        measure_profile(RunConfig(str(folder), device="cpu"), "run", tmp_path / "scratch", lambda step: None)


def test_an_empty_vocabulary_is_named(tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told["model"] |= {"vocab": {}, "merges": []}
    told["added_tokens"], told["post_processor"] = [], None
    path.write_text(json.dumps(told), encoding="utf-8")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(
        (ModelError, CorpusError), match=r"tokenizer of tiny cannot be used \(no vocabulary\)\. Download it again\."
    ):
        read_tokenizer(find_weights(str(folder)))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int8])
def test_whole_numbers_among_the_weights_are_named(dtype, tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name] = (100 * tensors[name]).to(dtype)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"up_proj.weight of tiny cannot be used \(it holds I\d+"):
        open_model(find_weights(str(folder)), device="cpu")


def test_json_that_is_nested_beyond_reading_is_damaged(tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    for name in ("tokenizer_config.json", "tokenizer.json"):
        (folder / name).write_text(NESTED, encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"tokenizer(_config)?\.json of tiny cannot be used \(it is nested too deeply\)"
    ):
        read_tokenizer(find_weights(str(folder)))
    (folder / "config.json").write_text(NESTED, encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json of tiny cannot be used \(it is nested too deeply\)"):
        blueprint_of(folder)
    (folder / "model.safetensors.index.json").write_text(NESTED, encoding="utf-8")
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json of tiny cannot be used \(it is nested too"):
        named_shards(folder / "model.safetensors.index.json", "tiny")


@pytest.mark.parametrize("reference", ["x" * 5000, "/" + "y" * 5000, "a/" + "z" * 5000, "pypi:" + "p" * 5000])
def test_a_reference_of_thousands_of_characters_is_one_short_line(reference):
    with pytest.raises(ModelError) as refused:
        find_weights(reference)
    assert len(str(refused.value)) < 400 and "\n" not in str(refused.value)


def measure(folder, place):
    return measure_profile(RunConfig(str(folder), device="cpu"), "run", place / "scratch", lambda step: None)


def test_a_configuration_that_asks_for_tuples_is_measured_as_any_other(tmp_path):
    plain = save_tiny_model(tmp_path / "plain")
    tuples = with_settings(save_tiny_model(tmp_path / "tuples"), return_dict=False)
    ids, scored = torch.arange(3, 35)[None], torch.ones(1, 32, dtype=torch.bool)
    (state, nats), (expected, losses) = (
        open_model(find_weights(str(folder)), device="cpu").forward(ids, scored) for folder in (tuples, plain)
    )
    assert torch.equal(state, expected) and torch.equal(nats[:, 1:], losses[:, 1:])


def test_truth_values_among_the_weights_are_named(tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name] = tensors[name] > 0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"up_proj.weight of tiny cannot be used \(it holds BOOL"):
        blueprint_of(folder)


def test_a_limit_of_the_tokenizer_that_is_written_as_text_stops_nothing(tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    path = folder / "tokenizer_config.json"
    told = json.loads(path.read_text(encoding="utf-8")) | {"model_max_length": "512"}
    path.write_text(json.dumps(told), encoding="utf-8")
    tokenizer = read_tokenizer(find_weights(str(folder)))
    assert len(encode_text("four words of text " * 400, tokenizer, 64).ids) == 64
    assert tokenizer_hash(tokenizer) == tokenizer_hash(train_tokenizer())


def with_tokenizer_parts(folder, **changes):
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return read_tokenizer(find_weights(str(folder)))


def test_a_regular_expression_that_a_tokenizer_gives_up_on_is_named(tmp_path):
    """The tokenizer's library panics on it, which Python does not count among its ordinary errors."""
    never = {"type": "Split", "pattern": {"Regex": "(a|aa)+(?!b)$(?=c)"}, "behavior": "Isolated", "invert": False}
    with pytest.raises(ModelError, match=r"tokenizer\.json of tiny cannot be used \(Onig: Regex search error:"):
        tokenizer = with_tokenizer_parts(save_tiny_model(tmp_path / "tiny"), pre_tokenizer=never)
        encode_text("a" * 40 + "!", tokenizer, 16)


def test_a_tokenizer_that_puts_more_before_a_text_than_a_window_holds_is_named(tmp_path):
    before = [{"SpecialToken": {"id": "<s>", "type_id": 0}}] * 300
    added = {
        "type": "TemplateProcessing",
        "single": [*before, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
    }
    folder = save_tiny_model(tmp_path / "tiny")
    with_tokenizer_parts(folder, post_processor=added)
    with pytest.raises(ModelError, match=r"tiny cannot be measured: its tokenizer adds 300 tokens to 128\. Choose"):
        measure(folder, tmp_path)


def test_an_embedding_whose_rows_are_all_equal_is_named(tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"][:] = 0.5
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"weights of local:tiny.* cannot be used \(layer 0 is the same for"):
        measure(folder, tmp_path)


@pytest.mark.parametrize(
    "family, sizes",
    [
        ("vit", dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)),
        ("perceiver", dict(num_latents=8, d_latents=32, d_model=32, num_blocks=1, num_self_attends_per_block=2)),
        ("wav2vec2", dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)),
    ],
)
def test_a_model_that_reads_no_text_is_refused_by_name(family, sizes, tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    transformers.AutoConfig.for_model(family, **sizes).save_pretrained(folder)
    with pytest.raises(ModelError, match="tiny cannot be measured: it reads .*, no text"):
        blueprint_of(folder)
