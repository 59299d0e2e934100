"""Quantised checkpoints: dequantised where transformers can do it here, refused by name where it cannot."""

import importlib.util
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import ModelError, ResourceError
from core.models.hub import find_weights
from core.models.model import read_blueprint
from core.models.random_weights import draw_network
from tests.tiny import open_model, save_tiny_model

BLOCK = 8


def quantised_as(folder, **settings):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def fp8(tmp_path_factory):
    """A folder with matrices of 8-bit floats and a scale per block of 8 x 8, and the values that they stand for."""
    folder = save_tiny_model(tmp_path_factory.mktemp("models") / "fp8")
    stored, meant = {}, {}
    for name, values in load_file(folder / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            stored[name] = meant[name] = values
            continue
        blocks = values.unflatten(0, (-1, BLOCK)).unflatten(2, (-1, BLOCK))  # (n, 8, m, 8)
        scale = blocks.abs().amax((1, 3)) / 448
        small = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
        stored[name], stored[f"{name}_scale_inv"] = small.reshape(values.shape), scale
        meant[name] = (small.float() * scale[:, None, :, None]).reshape(values.shape)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    quantised_as(folder, quant_method="fp8", activation_scheme="dynamic", weight_block_size=[BLOCK, BLOCK])
    return folder, meant


def test_fp8_is_measured_as_the_values_that_it_stands_for(fp8):
    folder, meant = fp8
    model = open_model(find_weights(str(folder)), device="cpu")
    found = dict(model.module.named_parameters())
    assert set(found) == set(meant)
    for name, values in found.items():
        assert values.dtype == torch.float32 and torch.allclose(values, meant[name], rtol=1e-6, atol=0), name


def test_plan_and_number_of_parameters_are_those_of_plain_weights(fp8, tmp_path):
    plain = save_tiny_model(tmp_path / "plain")
    rows, plans = [], []
    for folder in (fp8[0], plain):
        plans.append(read_blueprint(find_weights(str(folder)), "float32", "cpu", None).plan(32, 128, None))
        rows.append(open_model(find_weights(str(folder)), device="cpu").row)
    assert plans[0] == plans[1]
    assert rows[0].parameters == rows[1].parameters and rows[0].configuration_hash == rows[1].configuration_hash
    assert [row.weight_format for row in rows] == ["safetensors, fp8 dequantised", "safetensors"]
    assert draw_network(read_blueprint(find_weights(str(fp8[0])), "float32", "cpu", None), 0).row == rows[0]


def test_fp8_on_demand_gives_the_states_of_fp8_in_memory(fp8, tmp_path):
    from tests.models.test_weight_streaming import states_of

    expected = states_of(open_model(find_weights(str(fp8[0])), device="cpu"), tmp_path)
    streamed = open_model(find_weights(str(fp8[0])), device="cpu", scratch=tmp_path)
    assert streamed.units and (states_of(streamed, tmp_path)[0] == expected[0]).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        {"quant_method": "awq", "bits": 4},
        {"quant_method": "of-tomorrow"},
        {"bits": 4},
    ],
)
def test_what_cannot_be_dequantised_is_refused_by_name_before_weights_are_read(settings, tmp_path, monkeypatch):
    folder = quantised_as(save_tiny_model(tmp_path / "small"), **settings)
    monkeypatch.setattr("core.models.model.read_tokenizer", lambda weights: pytest.fail("read on"))
    name = settings.get("quant_method")
    with pytest.raises(ModelError, match=f"small is quantised with {name}.*Measure its unquantised repository"):
        open_model(find_weights(str(folder)), device="cpu")


@pytest.mark.parametrize(
    "package, settings",
    [
        ("bitsandbytes", {"quant_method": "bitsandbytes", "load_in_4bit": True}),
        ("compressed_tensors", {"quant_method": "compressed-tensors", "config_groups": {}, "format": "dense"}),
    ],
)
def test_a_package_that_is_missing_is_named(package, settings, tmp_path):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    folder = quantised_as(save_tiny_model(tmp_path / "small"), **settings)
    with pytest.raises(ModelError, match=f"pip install.*{package.replace('_', '.')}.*Measure its unquantised"):
        open_model(find_weights(str(folder)), device="cpu")


def test_what_is_loaded_whole_and_does_not_fit_says_so(tmp_path, monkeypatch):
    settings = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    folder = quantised_as(save_tiny_model(tmp_path / "small"), **settings)
    monkeypatch.setattr("core.models.model.check_quantisation", lambda config, name: None)  # as if installed
    with pytest.raises(
        ResourceError, match=r"small \(bitsandbytes_8bit\) must be loaded whole, and exceeds the memory"
    ):
        open_model(find_weights(str(folder)), device="cpu", scratch=tmp_path)
