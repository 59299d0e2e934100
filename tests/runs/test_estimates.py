"""Cards from a process of their own: the same records, and an error that is told by its type."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from core.errors import InputError
from core.forecast.preflight_card import estimate
from core.records import PlanConfig, RunConfig
from core.runs.requests import estimate_plan, plan_estimate_from_process, preflight_cards_from_process
from core.warehouse.warehouse import Warehouse

pytestmark = pytest.mark.slow


def test_a_page_gets_the_records_that_the_command_line_prints(tiny_llama, tmp_path):
    warehouse = Warehouse(tmp_path / "workdim.duckdb")
    config = RunConfig(str(tiny_llama), "english-business", stack=None)
    gone = replace(config, model=str(tmp_path / "workdim: gone"))
    here, gone_here = (estimate(one, warehouse) for one in (config, gone))
    there, gone_there = preflight_cards_from_process([config, gone], warehouse)
    assert (there.model, there.n_layers, there.parameters) == (here.model, here.n_layers, here.parameters)
    assert [one.name for one in there.passes] == [one.name for one in here.passes] and not there.refusals
    assert gone_there.refusals == gone_here.refusals != ()


def test_a_page_gets_what_a_plan_will_take(tiny_llama, tmp_path, monkeypatch):
    warehouse = Warehouse(tmp_path / "workdim.duckdb")
    monkeypatch.chdir(tmp_path)  # paths are those of the folder where they are typed,
    (tmp_path / "core.py").touch()  # and nothing there is taken for a module
    config = PlanConfig(os.path.relpath(tiny_llama), "english-business", blocks=1)
    assert plan_estimate_from_process(config, warehouse).passes == estimate_plan(config, warehouse).passes
    with pytest.raises(InputError, match="at most 3 can go"):  # told by its type, as what a card refuses
        plan_estimate_from_process(replace(config, blocks=9), warehouse)
