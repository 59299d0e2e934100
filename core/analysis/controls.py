"""Which control runs belong to which run on text: the one rule for screens, slides and the command line.

A control belongs to the run that it was made for, to those that were judged with it, and to every run that would be
judged with it if it were measured now, by the rule of `warehouse.profiles.find_control`: random weights depend on
configuration, tokenizer, chat template, text and protocol only, shuffled text on the model's own weights too.
"""

from __future__ import annotations

import polars as pl

from core.analysis.ranking import MAIN

_SHARED = ("configuration_hash", "tokenizer_hash", "corpus_id", "protocol_hash", "dtype")


def controls_of(run: dict, runs: pl.DataFrame) -> pl.DataFrame:
    """The control runs of one run on text among `runs`: shuffled text first, then random weights by their seed."""
    judged_with = run.get("control_run_ids") or []
    belongs = pl.col("run_id").is_in(judged_with) | pl.col("parent_run_id").eq_missing(pl.lit(run["run_id"]))
    if run.get("configuration_hash"):  # unknown in runs of an earlier version
        alike = [pl.col(name) == run[name] for name in _SHARED]
        alike.append(pl.col("chat_template_hash").eq_missing(pl.lit(run["chat_template_hash"])))
        same_stack = pl.col("stack").fill_null(MAIN) == (run["stack"] or MAIN)
        its_weights = (pl.col("pass") == "random_init") | (pl.col("model_id") == run["model_id"])
        belongs |= pl.all_horizontal(same_stack, its_weights, *alike)
    found = runs.filter(pl.col("pass") != "text", belongs)
    return found.sort([pl.col("pass") != "shuffled", "model_seed", "run_id"], nulls_last=True)


def control_links(texts: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """text_run_id, and run_id, pass, seed and model_seed of every control among `runs` of the runs on text."""
    columns = ["run_id", "pass", "seed", "model_seed"]
    found = [
        controls_of(run, runs).select(pl.lit(run["run_id"]).alias("text_run_id"), *columns)
        for run in texts.filter(pl.col("pass") == "text").iter_rows(named=True)
    ]
    return pl.concat(found) if found else runs.clear().select(pl.lit("").alias("text_run_id"), *columns)


def control_ids(chosen: pl.DataFrame, runs: pl.DataFrame) -> list[str]:
    """The control runs, of `runs`, of those of the chosen ones that are on text; none that is chosen itself."""
    found = control_links(chosen, runs)["run_id"].unique(maintain_order=True).to_list()
    return [run_id for run_id in found if run_id not in set(chosen["run_id"])]


def with_controls(chosen: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """The chosen runs and, after them, the controls among `runs` of those on text."""
    texts = chosen.filter(pl.col("pass") == "text")
    found = [controls_of(run, runs) for run in texts.iter_rows(named=True)]
    return pl.concat([chosen, *found]).unique("run_id", keep="first", maintain_order=True)
