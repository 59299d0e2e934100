"""Is dimension related to loss within one model, window by window of a text? For the verb `within` and the section Windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from core.analysis.differences import control_ids
from core.analysis.relation import WindowRelation, relate_windows, shuffled_windows
from core.questions.selection import named_texts
from core.tables import Run, records
from core.warehouse import queries
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class WindowsAnswer:
    """The windows of one run, with those of its newest control with shuffled tokens."""

    run: Run
    windows: pl.DataFrame
    """Rows of run_windows."""
    shuffled: pl.DataFrame | None

    @property
    def lacks(self) -> Literal["loss", "windows"] | None:
        """Why there is no relation: only decoders have a loss, and not every protocol keeps windows."""
        if self.run.kind != "decoder":
            return "loss"
        return "windows" if self.windows.is_empty() else None

    def relation(self, place: str) -> WindowRelation:
        """The relation at one of `windows.PLACES`."""
        return relate_windows(self.windows, place, self.shuffled)


def answer_of_windows(run: Run, runs: pl.DataFrame, windows: pl.DataFrame) -> WindowsAnswer:
    """`windows` are rows of run_windows of the run and of its controls, which stand in `runs`."""
    return WindowsAnswer(run, windows.filter(run_id=run.run_id), shuffled_windows(run, runs, windows))


def ask(warehouse: Warehouse, run_id: str) -> WindowsAnswer:
    with warehouse.open() as opened:
        listed = queries.run_list(opened)
        chosen = listed.filter(run_id=run_id)
        ids = [run_id, *control_ids(chosen, listed)]
        runs, windows = named_texts(opened, queries.runs(opened, ids)), queries.rows(opened, "run_windows", ids)
    (run,) = records(runs.filter(run_id=run_id), Run)
    return answer_of_windows(run, runs, windows)
