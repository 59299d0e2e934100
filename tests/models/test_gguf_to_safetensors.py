"""A GGUF file read block by block: the states of the file in memory, from a folder that is whole or not there."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open

from core.errors import ModelError, ResourceError
from core.measure.plan import capture
from core.models import model as models
from core.models import weights
from core.models.hub import find_weights
from core.models.model import load_network, read_blueprint
from core.models.random_weights import draw_network, load_with_random_blocks
from tests.gguf_files import save_tiny_gguf
from tests.tiny import open_model

pytestmark = pytest.mark.slow


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gguf"


def open_streamed(path, tmp_path, dtype="float32", **options):
    return open_model(find_weights(str(path)), dtype, "cpu", scratch=tmp_path, **options)


def states_of(model, tmp_path):
    ids = np.random.default_rng(0).integers(3, 2000, (10, 24))
    sample = SimpleNamespace(ids=ids, template=np.zeros_like(ids, dtype=bool), n_bytes_scored=100)
    states = capture(model, sample, tmp_path, lambda step: None)
    return np.array(states.states), states.bits_per_byte


@pytest.mark.parametrize(
    "family, tied, dtype",
    [
        ("llama", False, "bfloat16"),
        ("llama", True, "float32"),
        ("gpt2", True, "float32"),
        ("qwen3_moe", False, "bfloat16"),
        ("gemma3_text", True, "float32"),
    ],
)
def test_states_are_those_of_the_file_in_memory_bit_for_bit(family, tied, dtype, cache, tmp_path):
    path = save_tiny_gguf(tmp_path / "tiny.gguf", family, tied=tied)
    whole = open_model(find_weights(str(path)), dtype, "cpu")
    expected = states_of(whole, tmp_path)
    streamed = open_streamed(path, tmp_path, dtype)
    assert streamed.units and streamed.row == whole.row and streamed.row.weight_format == "gguf"
    found = states_of(streamed, tmp_path)
    assert np.array_equal(found[0], expected[0]) and found[1] == expected[1]


def test_a_file_is_converted_once_for_each_dtype_and_content(cache, tmp_path):
    path = save_tiny_gguf(tmp_path / "tiny.gguf")
    steps = []
    open_streamed(path, tmp_path, progress=steps.append)
    assert steps[-1].phase == "convert" and steps[-1].done == steps[-1].total > 10
    open_streamed(path, tmp_path, progress=lambda step: pytest.fail("converted again"))
    open_streamed(path, tmp_path, "bfloat16")
    save_tiny_gguf(path, seed=1)
    open_streamed(path, tmp_path)
    folders = sorted(folder.name for folder in cache.iterdir() if folder.is_dir())
    assert len(folders) == 3 and sum("-BF16-" in name for name in folders) == 1
    assert not any(name.startswith(".") for name in folders)


def test_what_is_written_are_files_that_anybody_can_read(cache, tmp_path):
    model = open_streamed(save_tiny_gguf(tmp_path / "tiny.gguf"), tmp_path)
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    names = json.loads((folder / models.INDEX).read_text(encoding="utf-8"))["weight_map"]
    assert len(set(names.values())) == len(names) and set(names) == set(model.module.state_dict())
    for name, file in names.items():
        with safe_open(folder / file, framework="pt") as stream:
            assert stream.get_tensor(name).shape == model.module.state_dict()[name].shape


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_conversion_leaves_nothing_that_is_read(failure, cache, tmp_path):
    path = save_tiny_gguf(tmp_path / "tiny.gguf")

    def stop(step):
        if step.done > 5:
            raise failure

    with pytest.raises((KeyboardInterrupt, ResourceError)) as caught:
        open_streamed(path, tmp_path, progress=stop)
    assert isinstance(failure, KeyboardInterrupt) or "No space left on device. Free some" in str(caught.value)
    assert not any(path.is_dir() for path in cache.iterdir())


def test_what_a_killed_process_left_is_not_read(cache, tmp_path):
    path = save_tiny_gguf(tmp_path / "tiny.gguf")
    expected = states_of(open_streamed(path, tmp_path), tmp_path)
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    part = folder.with_name(f".{folder.name}")
    shutil.move(folder, part)
    (part / models.INDEX).unlink()
    (part / "left.safetensors").write_bytes(b"half")
    assert np.array_equal(states_of(open_streamed(path, tmp_path), tmp_path)[0], expected[0])
    assert not part.exists() and not (folder / "left.safetensors").exists()


def test_room_on_the_disk_is_asked_for_first(cache, tmp_path, monkeypatch):
    path = save_tiny_gguf(tmp_path / "tiny.gguf")
    monkeypatch.setattr(models.shutil, "disk_usage", lambda place: SimpleNamespace(free=10**6))
    with pytest.raises(ResourceError, match=r"needs .* MB; .* is free\. .*WORKDIM_CACHE"):
        open_streamed(path, tmp_path)
    assert not any(path.is_dir() for path in cache.iterdir())


def test_a_truncated_file_is_damaged(cache, tmp_path):
    path = save_tiny_gguf(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelError, match=r"file of tiny cannot be used .*Download it again"):
        open_streamed(path, tmp_path)


def test_an_architecture_that_can_only_be_read_whole_is_said(cache, tmp_path, monkeypatch):
    path = save_tiny_gguf(tmp_path / "tiny.gguf")
    monkeypatch.setattr("core.models.model.is_gguf_arch_supported", lambda name: name == "llama")
    with pytest.raises(ResourceError, match=r"tiny \(llama\) must be loaded whole, .*Raise --memory-budget"):
        open_streamed(path, tmp_path)


def test_the_random_control_needs_no_conversion(cache, tmp_path):
    path = save_tiny_gguf(tmp_path / "tiny.gguf")
    control = draw_network(read_blueprint(find_weights(str(path)), "float32", "cpu", None), 0, on_demand=True)
    assert control.units and not cache.exists()
    assert np.isfinite(states_of(control, tmp_path)[0]).all()


def test_a_control_with_the_trained_embedding_is_made_of_the_file_and_of_what_is_converted(cache, tmp_path):
    blueprint = read_blueprint(find_weights(str(save_tiny_gguf(tmp_path / "tiny.gguf"))), "float32", "cpu", None)
    whole, streamed = (
        states_of(load_with_random_blocks(blueprint, 3, scratch=place), tmp_path)[0] for place in (None, tmp_path)
    )
    assert np.array_equal(whole, streamed)
    assert not np.array_equal(whole, states_of(load_network(blueprint), tmp_path)[0])


def test_weights_are_asked_for_dequantised_whatever_the_architecture(cache, tmp_path, monkeypatch, caplog):
    """Left packed, those of some architectures would be computed with by kernels that are fetched for it."""
    from transformers import GgufConfig

    asked = []
    made = GgufConfig.__init__

    def noted(config, *arguments, **options):
        made(config, *arguments, **options)
        asked.append(config.dequantize)

    monkeypatch.setattr(GgufConfig, "__init__", noted)
    model = open_model(find_weights(str(save_tiny_gguf(tmp_path / "tiny.gguf"))), "bfloat16", "cpu")
    assert asked and all(asked)
    assert {str(p.dtype) for p in model.module.parameters()} == {"torch.bfloat16"} and not caplog.records


def test_a_tied_embedding_that_is_stored_twice_is_counted_and_read_once(cache, tmp_path):
    once = open_model(find_weights(str(save_tiny_gguf(tmp_path / "once.gguf", "qwen2", tied=True))), device="cpu")
    path = save_tiny_gguf(tmp_path / "twice.gguf", "qwen2", tied=True, stored_twice=True)
    blueprint = read_blueprint(find_weights(str(path)), "float32", "cpu", None)
    whole, streamed = load_network(blueprint), open_streamed(path, tmp_path)
    rows = [blueprint.weightless.row, whole.row, streamed.row]
    assert {row.parameters for row in rows} == {once.row.parameters}
    expected = states_of(once, tmp_path)
    for model in (whole, streamed):
        found = states_of(model, tmp_path)
        assert np.array_equal(found[0], expected[0]) and found[1] == expected[1]


def test_an_output_matrix_of_its_own_stays_one_and_the_header_is_parsed_once(cache, tmp_path, monkeypatch):
    parsed, reader = [], weights._PlainReader
    monkeypatch.setattr(weights, "_PlainReader", lambda path: parsed.append(path) or reader(path))
    path = save_tiny_gguf(tmp_path / "own.gguf", "qwen2", tied=False)
    model = open_model(find_weights(str(path)), device="cpu")
    assert parsed == [str(path)]
    assert model.module.lm_head.weight is not model.module.model.embed_tokens.weight
