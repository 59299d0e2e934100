"""Networks read while they run: the states of networks in memory, each weight once per pass, one unit at a time."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.utils import offload

from core.errors import ModelError
from core.measure import plan
from core.models.hub import find_weights
from core.models.stacks import Unit, run_together
from tests.tiny import ENCODER_DECODERS, SIZES, open_model, save_tiny_model

pytestmark = pytest.mark.slow

ALL = [(family, None) for family in SIZES] + [(family, "decoder") for family in ENCODER_DECODERS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    return lambda family: root / family if (root / family).exists() else save_tiny_model(root / family, family)


def opened(folder, scratch, **options):
    return open_model(find_weights(str(folder)), device="cpu", scratch=scratch, **options)


def states_of(model, tmp_path, n_sequences=20):
    ids = np.random.default_rng(0).integers(3, 2000, (n_sequences, 24))
    sample = SimpleNamespace(ids=ids, template=np.zeros_like(ids, dtype=bool), n_bytes_scored=100)
    states = plan.capture(model, sample, tmp_path, lambda step: None)
    return np.array(states.states), states.bits_per_byte, states.has_post_norm


@pytest.mark.parametrize(
    "family, stack, dtype",
    [*((*one, "float32") for one in ALL), ("llama", None, "bfloat16"), ("mixtral", None, "bfloat16")],
)
def test_weights_on_demand_give_the_states_of_weights_in_memory_bit_for_bit(family, stack, dtype, folders, tmp_path):
    options = dict(stack=stack, dtype=dtype)
    expected = states_of(opened(folders(family), None, **options), tmp_path)
    model = opened(folders(family), tmp_path, **options)
    found = states_of(model, tmp_path)
    assert len(model.units) > 2 and len({block for block in model.layers} - {u.module for u in model.units}) == 0
    assert np.array_equal(found[0], expected[0]) and found[1:] == expected[1:]
    assert all(p.device.type == "meta" for unit in model.units for p in unit.module.parameters())


def test_each_weight_is_read_once_for_all_batches_of_a_pass(folders, tmp_path, monkeypatch):
    read, get = Counter(), offload.OffloadedWeightsLoader.__getitem__
    model = opened(folders("llama"), tmp_path)

    def count(self, key):
        read[key] += 1
        return get(self, key)

    monkeypatch.setattr(offload.OffloadedWeightsLoader, "__getitem__", count)
    states_of(replace(model, batch=2), tmp_path)  # ten batches
    names = dict(model.module.named_parameters())
    assert {name: read[name] for name in names} == dict.fromkeys(names, 1)


def test_only_one_unit_is_in_memory(folders, tmp_path):
    model = opened(folders("llama"), tmp_path)
    in_memory = lambda unit: any(p.device.type != "meta" for p in unit.module.parameters())  # noqa: E731
    held = []
    for unit in model.units:
        unit.module.register_forward_hook(lambda *_: held.append(sum(map(in_memory, model.units))))
    states_of(model, tmp_path)
    assert held == [1] * len(model.units) * 3  # of three batches


def test_a_pass_that_does_not_fit_starts_again_with_half_the_batch(folders, tmp_path, monkeypatch, caplog):
    expected = states_of(opened(folders("llama"), tmp_path), tmp_path)
    model, forward, sizes = opened(folders("llama"), tmp_path), plan.OpenModel.forward, []

    def short(self, ids, scored):
        sizes.append(len(ids))
        result = forward(self, ids, scored)
        if len(ids) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return result

    monkeypatch.setattr(plan.OpenModel, "forward", short)
    found = states_of(model, tmp_path)
    assert sizes == [8, 8, 4] + [4] * 5 and "batches of 4" in caplog.text
    assert np.allclose(found[0], expected[0], atol=1e-5) and found[1] == pytest.approx(expected[1])


def test_what_fails_in_one_batch_ends_all_and_leaves_no_weights(folders, tmp_path):
    model = opened(folders("llama"), tmp_path)
    model.layers[1].mlp.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        states_of(model, tmp_path)
    assert all(p.device.type == "meta" for p in model.module.parameters())
    assert not any(unit.module._forward_pre_hooks for unit in model.units)


def test_a_tensor_that_the_files_lack_is_named(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save_tiny_model(tmp_path / "llama")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"weights of llama cannot be used \(model\.layers\.1\.mlp\.up_proj\.weight is"
    ):
        opened(folder, tmp_path)


def test_batches_take_turns_at_every_unit():
    parts = [torch.nn.Identity() for _ in range(3)]
    told = []
    units = [
        Unit(part, lambda n=n: told.append(("load", n)), lambda n=n: told.append(("drop", n)))
        for n, part in enumerate(parts)
    ]

    def batch(name):
        for n, part in enumerate(parts):
            part(torch.zeros(1))
            told.append((name, n))

    run_together(units, [lambda: batch("a"), lambda: batch("b")], lambda index: None, told.append)
    assert told == [x for n in range(3) for x in (("load", n), ("a", n), ("b", n), ("drop", n), n + 1)]
