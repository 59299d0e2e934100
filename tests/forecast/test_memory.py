"""The memory that a pass will take: what is counted where."""

import numpy as np
import pytest

from core.forecast.preflight_card import Placed, baseline_bytes, footprint, geometry_bytes
from core.geometry.layer import CloudPlan
from core.models.stacks import MemoryPlan, Shape, batch_bytes, suspended_bytes
from core.registry.protocols import BLOCKS_DRAWN, DRAWN, PERMUTED, TRAINED
from tests.profiles import make_model

SHAPE = Shape(10**9, 10**8, 4, 10_000, 1000, 30_000, outside=3 * 10**8, multiplications=10**8)
BASE, WINDOWS = 3 * 10**8, (64, 256)
WHOLE, STREAMED = MemoryPlan(False, 4, 0), MemoryPlan(True, 4, 0)
RUNNING = batch_bytes(SHAPE, 4, 256)


def peak(plan, geometry=0, **placed):
    where = Placed(**(dict(is_mapped=False, weights=TRAINED, on_device=False) | placed))
    return footprint(BASE, SHAPE, plan, where, WINDOWS, geometry)


def test_mapped_weights_take_no_memory_of_ones_own():
    assert peak(WHOLE)[0] == BASE + SHAPE.weights + RUNNING
    assert peak(WHOLE, is_mapped=True)[0] == BASE + RUNNING
    assert peak(WHOLE, is_mapped=True, weights=DRAWN)[0] == BASE + SHAPE.weights + RUNNING
    # What is outside the blocks stays the file's.
    told = peak(WHOLE, is_mapped=True, weights=BLOCKS_DRAWN)[0]
    assert told == BASE + SHAPE.weights - SHAPE.outside + RUNNING


def test_a_control_of_several_draws_holds_one_changed_block_and_its_network_while_layers_are_measured():
    waiting = 2 * suspended_bytes(SHAPE, *WINDOWS)
    assert peak(WHOLE, is_mapped=True, weights=PERMUTED)[0] == BASE + SHAPE.largest_unit + waiting + RUNNING
    assert peak(WHOLE, 5 * 10**9, weights=PERMUTED)[0] == BASE + SHAPE.weights + SHAPE.largest_unit + 5 * 10**9


def test_streamed_weights_come_one_unit_at_a_time_and_batches_wait():
    waiting = suspended_bytes(SHAPE, *WINDOWS)
    assert peak(STREAMED)[0] == BASE + SHAPE.largest_unit + waiting + RUNNING
    assert peak(STREAMED, weights=DRAWN)[0] == BASE + SHAPE.largest_unit + SHAPE.outside + waiting + RUNNING


def test_the_larger_of_pass_and_geometry_counts_for_the_weights_are_gone_by_then():
    assert peak(WHOLE, geometry=5 * 10**9)[0] == BASE + 5 * 10**9


def test_a_vocabulary_that_a_gguf_file_brings_is_counted():
    gguf, other = (make_model(vocabulary_size=50_000, weight_format=of) for of in ("gguf", "safetensors"))
    assert baseline_bytes(gguf) - baseline_bytes(other) == 50_000 * 2700


def test_a_gpu_holds_weights_and_pass_that_have_come_through_main_memory():
    taken = peak(WHOLE, on_device=True)
    assert taken == (BASE + SHAPE.weights, SHAPE.weights + RUNNING)
    assert peak(WHOLE, on_device=True, is_mapped=True)[0] == BASE
    assert peak(WHOLE)[1] == 0


@pytest.mark.parametrize("n_layers", [2, 30])
def test_prompts_alone_keep_nothing_of_earlier_layers(n_layers):
    plan = CloudPlan([], [], [], np.zeros((0, 4), bool), prompts=(np.arange(512),), blocks=np.zeros(2048))
    assert geometry_bytes(plan, n_layers, 64, 2**30) == geometry_bytes(plan, 1, 64, 2**30) > 2048 * 64 * 4
