"""What the slides are made from, gathered once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from core.analysis.ranking import RankingGroup, groups, with_scores
from core.errors import InputError
from core.locale import translator

FOOTER_RUNS = 2
"""So many full run ids fit in a footer; more are counted, and listed on the provenance slide."""


@dataclass(frozen=True)
class Material:
    runs: pl.DataFrame
    """The chosen runs, in the order of their names."""
    estimates: pl.DataFrame
    correlators: pl.DataFrame
    checks: pl.DataFrame
    scored: pl.DataFrame
    """`ranking.with_scores` of the runs."""
    groups: list[RankingGroup]
    language: str
    made_on: date

    @property
    def footer(self) -> str:
        """Run ids and date: every slide can be traced on its own."""
        _ = translator(self.language)
        ids = self.runs["run_id"].to_list()
        if len(ids) <= FOOTER_RUNS:
            runs = _("Runs {ids}").format(ids=", ".join(ids))
        else:
            runs = _("{count} runs, listed under method and provenance").format(count=len(ids))
        return f"Workdim · {runs} · {self.made_on.isoformat()}"

    @property
    def n_points(self) -> tuple[int, int]:
        """Smallest and largest cloud of all groups."""
        sizes = [size for group in self.groups for size in group.n_points if size]
        return (min(sizes), max(sizes)) if sizes else (0, 0)


def gathered(
    runs: pl.DataFrame,
    estimates: pl.DataFrame,
    correlators: pl.DataFrame,
    checks: pl.DataFrame,
    scores: pl.DataFrame,
    language: str,
    made_on: date,
) -> Material:
    found = groups(runs)
    if not found:
        raise InputError("A deck needs at least one run on unchanged text; none was chosen. Choose runs and try again.")
    ordered = runs.sort("name", "run_id")
    scored = with_scores(ordered, scores)
    return Material(ordered, estimates, correlators, checks, scored, found, language, made_on)
