"""Which control runs belong to which run on text: those that its verdict was judged with, and those made for it."""

from __future__ import annotations

import polars as pl


def controls_of(run: dict, runs: pl.DataFrame) -> pl.DataFrame:
    """The control runs of one run on text among `runs`: shuffled text first, then random weights by their seed."""
    judged_with = run.get("control_run_ids") or []
    belongs = pl.col("run_id").is_in(judged_with) | pl.col("parent_run_id").eq_missing(pl.lit(run["run_id"]))
    found = runs.filter(pl.col("pass") != "text", belongs)
    return found.sort([pl.col("pass") != "shuffled", "model_seed", "run_id"], nulls_last=True)


def with_controls(chosen: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """The chosen runs and, after them, the controls among `runs` of those on text."""
    texts = chosen.filter(pl.col("pass") == "text")
    found = [controls_of(run, runs) for run in texts.iter_rows(named=True)]
    return pl.concat([chosen, *found]).unique("run_id", keep="first", maintain_order=True)
