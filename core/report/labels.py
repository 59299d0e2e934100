"""Short names that tell the runs of one picture apart, and say no more than that takes."""

from __future__ import annotations

import polars as pl

from core.analysis.ranking import RankingGroup
from core.locale import translator
from core.report import wording

_TELLING = ("pass", "corpus_name", "protocol", "seed", "dtype")
LONGEST = 26


def short_id(run_id: str) -> str:
    """The end of a run's id, which is random; its beginning is the time and the same for runs of one minute."""
    return run_id[-6:]


def with_text_marks(runs: pl.DataFrame) -> pl.DataFrame:
    """The same runs; where different texts share a name, `corpus_name` ends in the start of the text's hash."""
    mark = pl.col("corpus_id").str.split("@").list.last().str.head(6)
    shared = pl.col("corpus_id").n_unique().over("corpus_name") > 1
    marked = pl.format("{} #{}", pl.col("corpus_name"), mark)
    return runs.with_columns(corpus_name=pl.when(shared).then(marked).otherwise("corpus_name"))


def group_title(group: RankingGroup, language: str) -> str:
    """What the runs of a comparison group share."""
    _ = translator(language)
    run = group.rows.row(0, named=True)
    kind = wording.kind_name(group.kind, language)
    return _("{kind}, {text}, protocol {protocol}, tokenizer {tokenizer}").format(
        kind=kind[:1].upper() + kind[1:],
        text=run["corpus_name"],
        protocol=f"{run['protocol']} ({group.protocol_hash[:6]})",
        tokenizer=group.tokenizer_hash[:6],
    )


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
