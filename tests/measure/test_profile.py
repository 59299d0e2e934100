"""The flow: which tokens are drawn, and what happens where a layer does not fit into the memory of its device."""

import numpy as np
import pytest
import torch

from core.errors import CorpusError
from core.geometry.layer import CloudPlan
from core.measure import layers, plan
from core.measure.plan import TokenMask, open_setup
from core.pilots.pilot import parse_pilot
from core.plans.setup import open_plan
from core.records import PlanConfig, RunConfig
from core.registry.protocols import PROTOCOLS
from core.runs.requests import plan_request, run_pilot, with_readable_companions
from core.texts.corpora import BUILT_IN
from core.warehouse.warehouse import Warehouse
from tests.conftest import answer_here

PLAN = CloudPlan([], [], [], np.zeros((0, 2), dtype=bool))
LAYER = object()
POINTS = torch.ones(3, 2)


def failing(error, *devices):
    def measure(points, plan):
        if points.device.type in devices:
            raise error
        return LAYER

    return measure


def test_a_layer_that_does_not_fit_on_its_device_is_measured_on_the_cpu(monkeypatch, caplog):
    monkeypatch.setattr(layers, "measure_layer", failing(torch.OutOfMemoryError("out of memory"), "meta"))
    assert layers.measure_layer_on(POINTS, torch.device("meta"), PLAN) is LAYER
    assert "Memory of meta is short: measuring on the CPU." in caplog.text


def test_points_stay_where_they_fit(monkeypatch, caplog):
    monkeypatch.setattr(layers, "measure_layer", failing(torch.OutOfMemoryError("out of memory"), "cpu"))
    assert layers.measure_layer_on(POINTS, torch.device("meta"), PLAN) is LAYER
    assert not caplog.records


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out of memory"), RuntimeError("size mismatch")])
def test_there_is_no_way_round_the_cpu(monkeypatch, error):
    monkeypatch.setattr(layers, "measure_layer", failing(error, "cpu"))
    with pytest.raises(type(error)):
        layers.measure_layer_on(POINTS, torch.device("cpu"), PLAN)


def test_a_token_that_is_masked_in_one_run_alone_moves_no_other():
    def order(keep):
        mask = TokenMask(keep, *(np.zeros(keep.sum(), dtype=int) for _ in range(3)), 0, 0, 0, 1.0)
        return np.flatnonzero(keep)[plan.token_order(mask, seed=3, draw=1)].tolist()

    everything, fewer = np.ones(50, dtype=bool), np.arange(50) != 17
    assert order(fewer) == [token for token in order(everything) if token != 17]
    assert sorted(order(fewer)) == np.flatnonzero(fewer).tolist()


def test_a_text_that_is_too_short_for_any_model_is_told_before_one_is_fetched(tmp_path, monkeypatch):
    text = tmp_path / "short.txt"
    text.write_text("A text of few words.\n\n" * 40, encoding="utf-8")

    def fetched(reference):
        pytest.fail(f"{reference} was fetched")

    for module in ("core.measure.plan", "core.plans.setup", "core.measure.score"):
        monkeypatch.setattr(f"{module}.find_weights", fetched)
    monkeypatch.setattr("core.runs.requests._run_process", answer_here)
    warehouse = Warehouse(tmp_path / "w.duckdb")
    models = ["pypi:no-such-model", "pypi:no-other-model"]
    asked = RunConfig(models[0], str(text))
    with pytest.raises(CorpusError, match="short is too short for quick"):
        open_setup(asked)
    with pytest.raises(CorpusError, match="short is too short for quick"):
        with_readable_companions(asked, models, warehouse)
    for ask in (open_plan, plan_request):
        with pytest.raises(CorpusError, match="Half of the text is held out .* short is too short for layer plan"):
            ask(PlanConfig(models[0], str(text)))
    file = f'name = "p"\nquestion = "q?"\nuse_class = "general"\nmodels = {models}\ntexts = ["{text}"]\n'
    file += '[benchmark]\nname = "b"\nmetric = "acc"\ndirection = "higher"\nexpectation = "e"\nsign = "none"\nfrozen = 2026-11-25\n'
    pilot = parse_pilot(file, tmp_path, PROTOCOLS, BUILT_IN)
    with pytest.raises(CorpusError, match="short is too short for quick"):
        list(run_pilot(pilot, warehouse, None, lambda status: None))
