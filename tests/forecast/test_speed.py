"""The self-test of the machine: made once, kept, made again where what it depends on has changed."""

import time

import pytest
import torch

from core.errors import WorkdimError
from core.forecast import speed
from core.forecast.speed import Speed, speed_of

CPU = torch.device("cpu")
FOUND = Speed(1e-11, 1e-9, 1e-9, 1e-8, 1.0, 3.0, 3 * 10**8)


def test_a_machine_is_tested_once_for_each_dtype(monkeypatch, tmp_path):
    tested = []
    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(speed, "_run_self_test", lambda dtype, device: (tested.append(dtype), FOUND)[1])
    assert [speed_of(dtype, CPU) for dtype in ("float32", "float32", "bfloat16", "float32")] == [FOUND] * 4
    assert tested == ["float32", "bfloat16"]
    monkeypatch.setattr(torch, "__version__", "0.0")
    speed_of("float32", CPU)
    assert tested == ["float32", "bfloat16", "float32"]
    (tmp_path / "cache" / "speed.json").write_text("{", encoding="utf-8")
    speed_of("float32", CPU)
    assert len(tested) == 4


def test_the_self_test_finds_positive_speeds():
    found = speed.self_test("bfloat16", CPU, 1.0)
    assert all(value > 0 for value in vars(found).values())
    assert found.multiplication < found.number < found.draw * 100


def test_a_clock_with_long_steps_gives_the_same(monkeypatch):
    fine = time.process_time
    expected = speed._time_per_call(lambda: sum(range(20_000)), CPU)
    monkeypatch.setattr(time, "process_time", lambda: fine() // 0.015625 * 0.015625)
    assert 0.4 * expected < speed._time_per_call(lambda: sum(range(20_000)), CPU) < 2.5 * expected


def test_a_self_test_that_does_not_end_is_ended(monkeypatch):
    monkeypatch.setattr(speed, "TIMEOUT", 0.05)
    with pytest.raises(WorkdimError, match="self-test of this machine has not ended within 0.05 seconds"):
        speed._run_self_test("float32", CPU)
