"""Which control belongs to which run."""

import polars as pl

from core.analysis.differences import controls_of, with_controls
from core.tables import Run, records
from tests import frames
from tests.frames import Model

TEXT = Model("m", run_id="t", control_run_ids=("r1", "r0"))
OTHER = Model("m", run_id="t2", seed=1)
RUNS = frames.runs(
    TEXT,
    OTHER,
    Model("m", run_id="r1", pass_="random_init", model_seed=1),
    Model("m", run_id="r0", pass_="random_init", model_seed=0),
    Model("m", run_id="s", pass_="shuffled", parent_run_id="t"),
    Model("m", run_id="s2", pass_="shuffled", parent_run_id="t2"),
    Model("m", run_id="lost", pass_="shuffled"),
)


def row(run_id: str) -> Run:
    return records(RUNS.filter(run_id=run_id), Run)[0]


def test_those_judged_with_and_those_made_for_it_shuffled_text_first():
    assert controls_of(row("t"), RUNS)["run_id"].to_list() == ["s", "r0", "r1"]
    assert controls_of(row("t2"), RUNS)["run_id"].to_list() == ["s2"]


def test_a_control_belongs_to_every_run_that_would_be_judged_with_it():
    """As `control_passes` picks one: shuffled text for the same weights, random weights for the same configuration."""
    alike = frames.runs(
        Model("m", run_id="first"),
        Model("m", run_id="second"),
        Model("tuned", run_id="tuned"),
        Model("m", run_id="other", corpus="other"),
        Model("m", run_id="chat"),
        Model("m", run_id="s", pass_="shuffled", parent_run_id="second"),
        Model("m", run_id="r", pass_="random_init", model_seed=0, parent_run_id="second"),
    ).with_columns(
        configuration_hash=pl.lit("c"),
        chat_template_hash=pl.when(pl.col("run_id") == "chat").then(pl.lit("another text is read")),
    )
    found = {run.run_id: controls_of(run, alike)["run_id"].to_list() for run in records(alike.head(5), Run)}
    assert found == {"first": ["s", "r"], "second": ["s", "r"], "tuned": ["r"], "other": [], "chat": []}


def test_a_choice_of_runs_is_followed_by_its_controls_once():
    chosen = RUNS.filter(run_id="t")
    assert with_controls(chosen, RUNS)["run_id"].to_list() == ["t", "s", "r0", "r1"]
    assert with_controls(RUNS, RUNS)["run_id"].to_list() == RUNS["run_id"].to_list()
    assert with_controls(RUNS.filter(run_id="lost"), RUNS)["run_id"].to_list() == ["lost"]
