"""Short names that tell the runs of one picture apart, and say no more than that takes."""

from __future__ import annotations

import polars as pl

_TELLING = ("pass", "corpus_name", "protocol", "seed", "dtype")
LONGEST = 26


def short_id(run_id: str) -> str:
    """The end of a run's id, which is random; its beginning is the time and the same for runs of one minute."""
    return run_id[-6:]


def run_labels(runs: pl.DataFrame) -> dict[str, str]:
    """run_id -> the model's name, plus whatever differs between runs of that model, plus the id's end if all agree."""
    labels: dict[str, str] = {}
    for _, same in runs.group_by("name", maintain_order=True) if not runs.is_empty() else ():
        differing = [column for column in _TELLING if same[column].n_unique() > 1]
        for run in same.iter_rows(named=True):
            labels[run["run_id"]] = " · ".join([run["name"], *(_value(column, run[column]) for column in differing)])
    return {run_id: _unique(labels, run_id) for run_id in labels}


def shortened(name: str, longest: int = LONGEST) -> str:
    """A name that fits: the middle is left out, because both ends tell models apart (family, size)."""
    if len(name) <= longest:
        return name
    tail = (longest - 1) // 2
    return f"{name[: longest - 1 - tail]}…{name[-tail:]}"


def _value(column: str, value: object) -> str:
    return f"seed {value}" if column == "seed" else str(value)


def _unique(labels: dict[str, str], run_id: str) -> str:
    label = labels[run_id]
    twins = sum(other == label for other in labels.values())
    return f"{label} · {short_id(run_id)}" if twins > 1 else label
