"""The draws of a control that judges: its trained weights are read once, then each draw takes one forward pass and d2.

The first draw is measured as any pass is, and gives the rows that a run has; what claims are held against are all draws
(`layer_seeds`). Each is kept when it is finished, so that a job that was stopped goes on with the next.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.geometry.clouds import LayerResult, none_if_nan
from core.geometry.layer import one_thread_on
from core.measure.capture import HiddenStates, capture
from core.measure.checkpoint import Checkpoint, Clock
from core.measure.checks import layers_of_claims, window_pairs, window_shifts
from core.measure.layers import LayerMeasurer
from core.measure.plan import Setup, mask_tokens, plan_layers, usable_words
from core.models.matched_blocks import seeded_control
from core.models.model import OpenModel
from core.records import Progress, RunConfig
from core.registry.protocols import PASSES, REFERENCE
from core.tables import LayerSeedRow
from core.texts.sample import TokenSample


@dataclass(frozen=True)
class SeedMeasurer:
    """Measures the draws of one control."""

    config: RunConfig
    run_id: str
    setup: Setup
    sample: TokenSample
    checkpoint: Checkpoint
    scratch: Path
    clock: Clock
    layers: LayerMeasurer

    def measure(self, opened: OpenModel | None) -> tuple[OpenModel | None, list[LayerSeedRow]]:
        """The network with its first draw, which is still to be measured, and the rows of all others.

        `opened` has its trained weights; it is None where the first draw was run already, which is the last to be."""
        first, n_seeds = self.config.model_seed, self.setup.protocol.n_control_seeds
        steps = [f"seed-{first + number}" for number in range(1, n_seeds)]
        folder = self.scratch / "seeds"
        if opened:
            folder.mkdir(exist_ok=True)
            self._report(0)
            control = seeded_control(opened, PASSES[self.config.pass_].weights, self.sample.ids)
            ratios = self.checkpoint.step("ratios", {})
            if ratios is None:
                self._run(control.trained(), folder, 0)
                ratios = control.ratios
                self.checkpoint.save_step("ratios", ratios, self.clock.resources())
            for number, step in enumerate(steps, 1):
                if not self.checkpoint.has_step(step):
                    rows = self._measure_seed(control.drawn(first + number, ratios), first + number, folder, number)
                    self.checkpoint.save_step(step, rows, self.clock.resources())
            shutil.rmtree(folder)
            opened = control.drawn(first, ratios)
        stored = (self.checkpoint.step(step, {"LayerSeedRow": LayerSeedRow}) for step in steps)
        return opened, [row for rows in stored for row in rows]

    def _report(self, number: int) -> None:
        self.clock.report(Progress("seeds", number, self.setup.protocol.n_control_seeds))

    def _run(self, model: OpenModel, folder: Path, number: int) -> HiddenStates:
        return capture(model, self.sample, folder, lambda _step: self._report(number))

    def _measure_seed(self, model: OpenModel, seed: int, folder: Path, number: int) -> list[LayerSeedRow]:
        states = self._run(model, folder, number)
        protocol, config = self.setup.protocol, self.config
        mask = mask_tokens(self.sample, states.norms, states.n_layers, protocol.norm_factor)
        words = usable_words(self.sample, mask)
        plan = plan_layers(self.sample, mask, words, protocol, config.seed, pass_=config.pass_)
        residual = range(states.n_layers + 1)
        with one_thread_on(model.device):
            found = dict(self.layers.measure(states, mask, plan, residual))
            layers = [found[index] for index in residual]
            pairs = window_pairs(mask, plan, protocol, config.seed)
            shifts = {
                layer: float(np.mean(window_shifts(states.points(layer, mask.keep), mask.passages, pairs)[:, 0]))
                for layer in layers_of_claims(layers, states.n_layers)
            }
        return seed_rows(self.run_id, seed, layers, states.n_layers, shifts)


def seed_rows(
    run_id: str, seed: int, layers: Sequence[LayerResult], n_layers: int, shifts: Mapping[int, float]
) -> list[LayerSeedRow]:
    """The rows of a draw: of its layers, the residual ones first, and the change of log d2 with windows at some of them."""
    return [
        LayerSeedRow(
            run_id,
            seed,
            layer,
            none_if_nan(one.estimate.value),
            none_if_nan(one.estimate.lower),
            none_if_nan(one.estimate.upper),
            none_if_nan(shifts[layer]) if layer in shifts else None,
            list(one.blocks),
            list(one.halves),
        )
        for layer, result in enumerate(layers[: n_layers + 1])
        for one in result.estimates
        if (one.cloud, one.transform, one.estimator, one.n1) == REFERENCE.key
    ]
