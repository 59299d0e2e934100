"""Among which runs a choice is made."""

from __future__ import annotations

import polars as pl

from core.questions.choice import all_models, one_run_each
from core.questions.ranking_question import Evidence
from core.records import DAMAGED, EARLIER, SHIPPED
from tests import frames


def test_among_all_models_a_checkpoint_on_the_way_and_a_ruin_are_none() -> None:
    tags = {"a": [], "b": [SHIPPED], "early": [SHIPPED, EARLIER], "ruin": [SHIPPED, DAMAGED]}
    runs = frames.runs(*map(frames.Model, tags)).with_columns(tags=pl.Series(list(tags.values()), dtype=pl.List(str)))
    assert all_models(Evidence(runs, frames.scores()))["name"].sort().to_list() == ["a", "b"]


def test_each_model_is_taken_on_the_newest_text_that_all_have_read() -> None:
    read = [("a", "new"), ("a", "old"), ("b", "old")]  # newest first
    runs = pl.DataFrame({"model_id": [m for m, _ in read], "corpus_id": [c for _, c in read]})
    assert one_run_each(runs)["corpus_id"].to_list() == ["old", "old"]
    assert one_run_each(runs[[0, 2]]).rows() == [("a", "new"), ("b", "old")]
