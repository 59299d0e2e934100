"""Which runs may be compared across tokenizers: those whose points are the same words of the same text.

Kind and tokenizer may differ within a group, which is what it is for; both must be said beside the numbers.
"""

from __future__ import annotations

import polars as pl

from core.analysis.ranking import RankingGroup

GROUP_KEYS = ("words_hash", "corpus_id", "protocol_hash")


def groups(runs: pl.DataFrame, order: str = "name") -> list[RankingGroup]:
    """The comparison groups among the runs on unchanged text whose words are known, largest first."""
    text = runs.filter(pl.col("pass") == "text", pl.col("words_hash").is_not_null())
    text = text.sort([order, "name", "run_id"], nulls_last=True)
    found = [_group(rows) for _, rows in text.group_by(GROUP_KEYS, maintain_order=True)] if text.height else []
    return sorted(found, key=lambda group: -group.rows.height)


def _group(rows: pl.DataFrame) -> RankingGroup:
    """Named by its first run where runs may differ."""
    first = rows.row(0, named=True)
    return RankingGroup(
        kind=first["kind"],
        tokenizer_hash=first["tokenizer_hash"],
        corpus_id=first["corpus_id"],
        protocol_hash=first["protocol_hash"],
        rows=rows,
    )
