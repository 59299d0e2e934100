"""Estimates for a screen, from a process of their own: records in, records or an error out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from core.errors import WorkdimError
from core.records import RunConfig
from core.runs import estimates
from core.warehouse.warehouse import Warehouse


def test_a_request_that_is_refused_comes_back_as_its_card(tmp_path: Path) -> None:
    (card,) = estimates.estimate_apart([RunConfig("/no/such/model")], Warehouse(tmp_path / "workdim.duckdb"))
    assert card.model == "/no/such/model" and "There is no model" in card.refusals[0]


def test_a_process_that_ends_without_an_answer_is_a_named_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *given, **named: subprocess.CompletedProcess(given, -9, b""))
    with pytest.raises(WorkdimError, match="code -9"):
        estimates.estimate_apart([RunConfig("x")], Warehouse(tmp_path / "workdim.duckdb"))
