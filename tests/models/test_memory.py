"""What a pass takes, and what follows from it: in memory, on demand, smaller batches, or no."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from core.errors import ResourceError
from core.measure.plan import open_setup
from core.measure.profile import open_network
from core.models import stacks
from core.models.hub import find_weights
from core.models.model import Blueprint, read_blueprint
from core.models.stacks import (
    SAFE_SHARE,
    Scan,
    available_bytes,
    batch_bytes,
    free_memory,
    plan_memory,
    shape_of,
    suspended_bytes,
)
from core.records import RunConfig
from tests.gguf_files import save_tiny_gguf
from tests.tiny import save_tiny_model

CPU = torch.device("cpu")
SHAPE = stacks.Shape(weights=10**9, largest_unit=10**8, element=4, width=10_000, hidden_size=1000, logits=30_000)
WINDOWS = (64, 256)


def plan(room):
    return plan_memory(SHAPE, *WINDOWS, room, "It")


@pytest.mark.parametrize(("settings", "n"), [({"num_experts_per_tok": 2}, 2), ({"top_k_experts": 8}, 8), ({}, None)])
def test_experts_of_a_token_are_counted_whatever_their_setting_is_called(settings, n):
    assert stacks.experts_per_token(SimpleNamespace(**settings)) == n


def test_weights_leave_the_memory_before_a_window_at_a_time_is_too_much():
    waiting = suspended_bytes(SHAPE, *WINDOWS)
    in_memory, on_demand = (
        [held + batch_bytes(SHAPE, batch, 256) for batch in (1, 2, 4)]
        for held in (SHAPE.weights, SHAPE.largest_unit + waiting)
    )
    assert in_memory[0] > on_demand[-1]
    assert plan(in_memory[2]) == stacks.MemoryPlan(False, 4, in_memory[2])  # logits allow no more than 4 windows
    assert plan(in_memory[2] - 1) == stacks.MemoryPlan(False, 2, in_memory[1])
    assert plan(in_memory[0] - 1) == stacks.MemoryPlan(True, 4, on_demand[2])
    assert plan(on_demand[0]) == stacks.MemoryPlan(True, 1, on_demand[0])
    with pytest.raises(ResourceError, match=re.escape(f"It needs {on_demand[0] / 1e9:.2f} GB")):
        plan(on_demand[0] - 1)


def test_what_is_drawn_outside_the_blocks_stays():
    shape = replace(SHAPE, outside=3 * 10**8)
    on_demand = plan_memory(shape, *WINDOWS, 10**9, "It")
    drawn = plan_memory(shape, *WINDOWS, on_demand.n_bytes + shape.outside, "It", is_drawn=True)
    assert drawn == replace(on_demand, n_bytes=on_demand.n_bytes + shape.outside)
    least = shape.largest_unit + suspended_bytes(shape, *WINDOWS) + batch_bytes(shape, 1, 256)
    assert plan_memory(shape, *WINDOWS, least, "It").on_demand
    with pytest.raises(ResourceError):
        plan_memory(shape, *WINDOWS, least, "It", is_drawn=True)


def test_weights_beyond_one_gpu_are_spread_over_all_before_they_are_streamed():
    whole = SHAPE.weights + stacks.batch_bytes(SHAPE, 1, WINDOWS[1])
    one = whole - 1
    alone = plan_memory(SHAPE, *WINDOWS, one, "It")
    assert alone.on_demand and not alone.spread
    both = plan_memory(SHAPE, *WINDOWS, one, "It", others=[one])
    assert not both.on_demand and len(both.spread) == 2
    assert sum(both.spread) >= SHAPE.weights and max(both.spread) < one
    assert plan_memory(SHAPE, *WINDOWS, one, "It", others=[0]).on_demand
    assert (
        stacks.available_bytes_elsewhere(torch.device("cuda:0"), None)
        == stacks.available_bytes_elsewhere(torch.device("cpu"), None)
        == []
    )


def test_weights_are_spread_only_where_whole_blocks_can_be_laid_so(tmp_path):
    folder = save_tiny_model(tmp_path / "deep", num_hidden_layers=60)
    blueprint = read_blueprint(find_weights(str(folder)), "float32", "cpu", None)
    shape = blueprint.shape
    of_pass = batch_bytes(shape, 1, 128)
    for share, spread in ((0.51, False), (0.95, True)):
        room = int(share * shape.weights) + of_pass
        assert plan_memory(shape, 1, 128, room, "It", [room]).spread
        plan = blueprint.plan_within(room, 1, 128, [room])
        assert (bool(plan.spread), plan.on_demand) == (spread, not spread)


def test_a_shape_counts_the_network(tiny_llama):
    blueprint = read_blueprint(find_weights(str(tiny_llama)), "bfloat16", "cpu", None)
    module = blueprint.on_meta()
    shape = shape_of(module, blueprint.blocks(module), 48, 2000)
    assert shape.weights == 2 * sum(p.numel() for p in module.parameters())
    assert shape.largest_unit == 2 * 2000 * 48  # the embedding
    assert shape.width == 48 + 24 + 24 + 48 + 96 + 96 + 48  # query, key, value, output; gate, up, down


@pytest.mark.parametrize(
    "family, heads, token_bytes, chunk",
    [
        ("llama", 0, 0, 1),
        ("bloom", 4, 0, 1),
        ("mamba", 0, 14 * 96 * 8, 1),  # 96 inner numbers with 8 states each
        ("mamba2", 0, 8 * (24 * 8 + 16 * 32), 32),  # 8 heads
    ],
)
def test_a_shape_counts_what_is_there_beside_the_products(tmp_path, family, heads, token_bytes, chunk):
    blueprint = read_blueprint(find_weights(str(save_tiny_model(tmp_path, family))), "float32", "cpu", None)
    shape = blueprint.shape
    assert (shape.heads, shape.scan) == (heads, Scan(token_bytes, chunk))


def test_scores_and_scans_are_part_of_a_batch():
    plain, n_tokens = batch_bytes(SHAPE, 2, 100), 2 * 100
    wide = 10**5  # so many heads that the block is more than the head with its logits
    more = [batch_bytes(replace(SHAPE, heads=wide + n), 2, 100) for n in (0, 1)]
    assert more[1] - more[0] == n_tokens * 100 * 16 and more[0] > plain
    scanned = [batch_bytes(replace(SHAPE, scan=Scan(10**6 + n, 64)), 2, 100) for n in (0, 1)]
    assert scanned[1] - scanned[0] == 2 * 128  # windows of two chunks


def test_what_the_process_holds_is_no_room():
    assert 2**20 < free_memory(CPU) <= psutil.virtual_memory().total
    ballast = np.ones(2**25)  # 268 MB
    before = available_bytes(CPU, 2**34)
    del ballast
    assert 2e8 < available_bytes(CPU, 2**34) - before < 4e8
    assert available_bytes(torch.device("cuda"), 2**34) == 2**34


@pytest.mark.parametrize("pass_", ["text", "random_init"])
def test_a_measurement_takes_weights_on_demand_where_memory_is_short(monkeypatch, tmp_path, caplog, pass_):
    folder = save_tiny_model(tmp_path / "deep", num_hidden_layers=60)  # or its windows would be the larger part
    config = RunConfig(str(folder), device="cpu", pass_=pass_)
    needed = read_blueprint(find_weights(str(folder)), "float32", "cpu", None).plan(32, 128, None).n_bytes
    for room, on_demand in ((1.01 * needed, False), (0.45 * needed, True)):
        monkeypatch.setattr(stacks, "free_memory", lambda device, room=room: int(room / SAFE_SHARE))
        assert bool(open_network(config, open_setup(config), tmp_path, lambda step: None).units) == on_demand
        assert ("weights are read block by block" in caplog.text) == on_demand


def test_a_gguf_file_that_does_not_fit_is_read_from_what_was_made_of_it(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path / "cache"))
    path = save_tiny_gguf(tmp_path / "tiny.gguf")
    config, steps = RunConfig(str(path), device="cpu"), []
    setup = open_setup(config)
    setup = replace(setup, blueprint=Short(**vars(setup.blueprint)))
    model = open_network(config, setup, tmp_path, steps.append)
    assert model.units and model.row.weight_format == "gguf" and {step.phase for step in steps} == {"convert"}


class Short(Blueprint):
    def plan(self, *_arguments):
        return stacks.MemoryPlan(on_demand=True, batch=1, n_bytes=1)
