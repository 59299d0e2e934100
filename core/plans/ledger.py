"""How far a plan is: the steps that are finished, on disk, and their share of the work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import Sentence
from core.measure.checkpoint import Checkpoint
from core.measure.provenance import decisive
from core.models.model import Blueprint
from core.plans import directions
from core.plans.candidates import Similarity, Step
from core.plans.healing import Healing
from core.plans.pricing import Difference, Scores, Told
from core.plans.saving import Footprint
from core.plans.texts import HeldOut
from core.records import PlanConfig, Progress, ProgressCallback
from core.texts.corpora import Corpus

_log = logging.getLogger("workdim")
STEP_RECORDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (Difference, Footprint, Healing, directions.NeededDirections, Scores, Similarity, Step)
}
"""What the results of steps are made of, as they stand on disk."""


class Ledger:
    """Makes each step once, whatever process comes to it, and tells how much of the work is done.

    Work is counted in tokens that pass through the whole network.
    """

    def __init__(self, kept: Checkpoint, costs: dict[str, float], progress: ProgressCallback) -> None:
        self._kept, self._left, self._progress, self._done = kept, costs, progress, 0.0

    def step(self, phase: str, name: str, n_tokens: int, make: Callable[[Told], Any]) -> Any:
        """From disk, or made now with its progress told. `n_tokens`: what one pass is, of those that `make` tells."""
        found = self._kept.step(name, STEP_RECORDS)
        if found is not None:
            self.skip(name)
            return found
        with self.stage(phase, name, n_tokens) as told:
            made = make(told)
            self._kept.save_step(name, made)
        return made

    @contextmanager
    def stage(self, phase: str, name: str, n_tokens: int) -> Iterator[Told]:
        """As a step, of which nothing is kept."""
        cost = self._left.pop(name, 0.0)
        total = round(self._done + cost + sum(self._left.values()))

        def told(passes: float) -> None:
            self._progress(Progress(phase, round(self._done + min(cost, passes * n_tokens)), total))

        told(0.0)
        yield told
        self._done += cost

    def skip(self, *names: str) -> None:
        """Stages that an earlier process has done, or that are not needed after all."""
        for name in names:
            self._left.pop(name, None)


def open_checkpoint(
    config: PlanConfig, corpus: Corpus, blueprint: Blueprint, held: HeldOut, scratch: Path
) -> Checkpoint:
    """What an earlier process has left of this plan; what is of another model, text or version goes."""
    asked = asdict(config) | {"save_model": None, "memory_budget": None}
    kept = Checkpoint(scratch, [asked, *decisive(blueprint, corpus), held.selection.ids.tolist()])
    if kept.was_emptied:
        _log.warning(
            Sentence(
                "The model, the text or Workdim has changed since {model} was planned as far as this: it is planned anew.",
                model=blueprint.weights.name,
            )
        )
    return kept
