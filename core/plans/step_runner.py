"""Run each step of a plan once, store its result on disk and report progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.analysis.groups import Difference
from core.errors import Sentence
from core.measure.checkpoint import Checkpoint, result_key
from core.plans import directions
from core.plans.candidates import Similarity, Step
from core.plans.healing import Healing
from core.plans.pricing import ReportPasses, Scores
from core.plans.saving import Footprint
from core.plans.setup import PlanSetup
from core.records import Progress, ProgressCallback

_log = logging.getLogger("workdim")
STEP_RECORDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (Difference, Footprint, Healing, directions.NeededDirections, Scores, Similarity, Step)
}
"""Record classes that step results on disk may contain."""


class StepRunner:
    """Runs each step once, across restarts of the process, and reports progress.

    Work is counted in tokens that pass through the whole network.
    """

    def __init__(self, checkpoint: Checkpoint, costs: dict[str, float], progress: ProgressCallback) -> None:
        """`costs`: expected tokens of each step, by name."""
        self._checkpoint, self._remaining_costs, self._progress, self._done = checkpoint, costs, progress, 0.0

    def run(self, phase: str, name: str, n_tokens: int, compute: Callable[[ReportPasses], Any]) -> Any:
        """The result of a step, from disk or from `compute`, which reports passes of `n_tokens` tokens each."""
        stored = self._checkpoint.step(name, STEP_RECORDS)
        if stored is not None:
            self.skip(name)
            return stored
        with self.track(phase, name, n_tokens) as report:
            result = compute(report)
            self._checkpoint.save_step(name, result)
        return result

    def is_done(self, name: str) -> bool:
        """Whether the result of a step is stored."""
        return self._checkpoint.has_step(name)

    @contextmanager
    def track(self, phase: str, name: str, n_tokens: int) -> Iterator[ReportPasses]:
        """Report the progress of work whose result is not stored."""
        cost = self._remaining_costs.pop(name, 0.0)
        total = round(self._done + cost + sum(self._remaining_costs.values()))

        def report(passes: float) -> None:
            self._progress(Progress(phase, round(self._done + min(cost, passes * n_tokens)), total))

        report(0.0)
        yield report
        self._done += cost

    def skip(self, *names: str) -> None:
        """Drop the cost of steps that are already done, or not needed."""
        for name in names:
            self._remaining_costs.pop(name, None)


def open_checkpoint(setup: PlanSetup, scratch: Path) -> Checkpoint:
    """The checkpoint of this plan; emptied if it belongs to another model, text or version."""
    blueprint, ids = setup.blueprint, setup.held_out.selection.ids
    request = asdict(setup.config) | {"save_model": None, "memory_budget": None}
    checkpoint = Checkpoint(scratch, [request, *result_key(blueprint, setup.corpus), ids.tolist()])
    if checkpoint.was_emptied:
        _log.warning(
            Sentence(
                "The model, the text or Workdim has changed: {model} is planned from the start.",
                model=blueprint.weights.name,
            )
        )
    return checkpoint
