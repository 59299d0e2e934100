"""The cost of changing a network: loss, divergence and agreement per window, with as little computation as possible.

The whole network runs once over a batch. Each variant then starts at the first block where it differs from an earlier
pass, from that pass's hidden state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from core.errors import Sentence
from core.measure.capture import release_memory
from core.models.memory import LOSS_ROWS, largest_batch
from core.models.model import is_out_of_memory, too_large
from core.models.weight_streaming import run_together
from core.plans.variants import WHOLE, Network, States, Variant
from core.texts.sample import TokenWindows

CACHED_ROWS = 32
"""Rows of logits that a processor works on at once: with 50,000 tokens in the vocabulary they stay in its cache, which
takes about half the time that 128 do."""
STATE_BUDGET = 2**29
"""Bytes of hidden states of one pass that may stay in memory as starting points of others."""
ReportPasses = Callable[[float], None]
"""Receives the work done so far, in passes of the whole network."""


@dataclass(frozen=True)
class Scores:
    """Sums over the targets of each window; arrays (n_sequences,)."""

    loss: np.ndarray
    """Negative log-likelihood of the targets, in nats."""
    divergence: np.ndarray
    """Kullback-Leibler divergence of the next-token distribution from that of the whole network (whole first), in nats."""
    agreement: np.ndarray
    """Number of targets at which both networks predict the same token."""
    hits: np.ndarray
    """Number of targets that are the predicted token."""
    n_targets: np.ndarray

    @property
    def loss_per_token(self) -> float:
        return float(self.loss.sum() / self.n_targets.sum())

    def select(self, windows: np.ndarray) -> Scores:
        """The scores of some windows, in the given order; windows (n,) int64"""
        return Scores(*(getattr(self, name)[windows] for name in _SCORE_FIELDS))


@dataclass(frozen=True)
class Difference:
    """A mean over tokens (or questions) with its 95 percent interval over windows."""

    value: float
    std_error: float
    lower: float
    upper: float
    n: int
    """Windows, or questions."""


def ratio_difference(sums: np.ndarray, counts: np.ndarray) -> Difference:
    """Mean per token from the sums of windows, with the error of a ratio over windows; Student's t with n - 1 degrees."""
    n, total = len(sums), float(counts.sum())
    value = float(sums.sum()) / total
    if n < 2:
        return Difference(value, math.nan, math.nan, math.nan, n)
    rest = sums - value * counts
    error = math.sqrt(n / (n - 1) * float((rest**2).sum())) / total
    half_width = float(stdtrit(n - 1, 0.975)) * error
    return Difference(value, error, value - half_width, value + half_width, n)


def loss_increase(before: Scores, after: Scores) -> Difference:
    """Increase of the loss in nats per token, paired by window."""
    return ratio_difference(after.loss - before.loss, before.n_targets)


@dataclass(frozen=True)
class PriceList:
    """Scores of the whole network and of removed sets of blocks, on the same windows."""

    whole: Scores
    scores: Mapping[tuple[int, ...], Scores]
    """Removed blocks -> scores of the network without them."""

    def increase(self, blocks: tuple[int, ...]) -> Difference:
        return loss_increase(self.whole, self.scores[blocks])


def divergence(scores: Scores) -> Difference:
    return ratio_difference(scores.divergence, scores.n_targets)


def agreement(scores: Scores) -> Difference:
    """Share of the targets at which both networks predict the same token."""
    return ratio_difference(scores.agreement, scores.n_targets)


@dataclass
class _Reference:
    """Outputs of the whole network on one batch, for comparison with variants."""

    targets: Tensor
    """(n_batch, n_tokens) next tokens; -100 where the next token is no target"""
    probabilities: Tensor | None = None
    """Of the whole network at the targets; (n_targets, n_vocabulary)"""
    negative_entropy: Tensor | None = None
    """(n_targets,)"""
    likeliest: Tensor | None = None

    def forget(self) -> None:
        self.probabilities = None


class Pricer:
    """Scores variants of a network on fixed windows; caches the states of the whole network."""

    def __init__(self, network: Network, windows: TokenWindows, keep: bool = True) -> None:
        """With `keep`, the states of the whole network stay in memory for later calls, if they fit `STATE_BUDGET`."""
        self.network, self.windows = network, windows
        model, (n_sequences, n_tokens) = network.model, windows.ids.shape
        self.batch = min(model.batch, largest_batch(model.n_logits, n_tokens))
        of_layer = n_sequences * n_tokens * model.hidden_size * 4
        self._keeps = keep and not model.units and of_layer * (network.n_blocks + 1) <= STATE_BUDGET
        self._whole: dict[int, States] = {}
        self.head_share = head_share(network)

    def scores(
        self, variants: Sequence[Variant], report: ReportPasses = lambda done: None, trunk: Variant | None = None
    ) -> list[Scores]:
        """Scores of the whole network, then of each variant.

        `trunk` is a variant whose first blocks the others share: it runs once for all of them and is not scored.
        """
        with torch.inference_mode(), self.network.hooked():
            if self.network.model.units:
                return self._streamed(variants, report)  # with streamed weights a trunk saves nothing
            parts: list[list[Scores]] = []
            start, done, n = 0, 0.0, len(self.windows.ids)
            while start < n:
                end = min(start + self.batch, n)
                part = self._try_batch(start, end, variants, trunk, partial(_report_after, report, done))
                if part is None:
                    self._halve()
                    continue
                parts.append(part)
                start, done = end, done + self.cost(variants, trunk) * (end - start) / n
            return [concatenate([part[i] for part in parts]) for i in range(len(variants) + 1)]

    def cost(self, variants: Sequence[Variant], trunk: Variant | None = None) -> float:
        """Cost of the first call of `scores`, in passes of the whole network."""
        n_run = self.network.n_blocks
        if trunk is not None:
            n_run += self._count_blocks(trunk, trunk.parts_from(WHOLE, self.network.n_blocks))
        n_run += sum(self._count_blocks(variant, self._origin(variant, trunk)[0]) for variant in variants)
        return n_run * self._block_share + (len(variants) + 1) * self.head_share

    @property
    def _block_share(self) -> float:
        """Share of a pass per block."""
        return (1 - self.head_share) / self.network.n_blocks

    def _count_blocks(self, variant: Variant, start: int) -> int:
        """Number of blocks that a variant runs from `start` on."""
        return sum(block not in variant.blocks for block in range(start, self.network.n_blocks))

    def _origin(self, variant: Variant, trunk: Variant | None) -> tuple[int, bool]:
        """The first block to run, and whether the state before it comes from the trunk or from the whole network."""
        n = self.network.n_blocks
        from_whole = variant.parts_from(WHOLE, n)
        from_trunk = -1 if trunk is None else variant.parts_from(trunk, n)
        return (from_trunk, True) if from_trunk > from_whole else (from_whole, False)

    def _try_batch(self, start: int, end: int, *others: Any) -> list[Scores] | None:
        """Scores of some windows; None if memory runs out."""
        try:
            return self._batch_scores(start, end, *others)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _halve(self) -> None:
        if self.batch == 1:
            what = Sentence("A single window of {model}", model=self.network.model.row.model_id)
            raise too_large(what, self.network.model.device)
        self.batch //= 2
        self._whole.clear()
        release_memory(self.network.model.device)

    def _ids(self, start: int, end: int) -> Tensor:
        return torch.from_numpy(self.windows.ids[start:end]).to(self.network.model.device)

    def _reference(self, start: int, end: int) -> _Reference:
        ids = torch.from_numpy(self.windows.ids[start:end])
        scored = torch.from_numpy(self.windows.scored[start:end])
        targets = torch.full_like(ids, -100)
        targets[:, :-1] = ids[:, 1:].where(scored[:, 1:], -100)
        return _Reference(targets.to(self.network.model.device))

    def _batch_scores(
        self, start: int, end: int, variants: Sequence[Variant], trunk: Variant | None, report: ReportPasses
    ) -> list[Scores]:
        network, n = self.network, self.network.n_blocks
        ids, reference = self._ids(start, end), self._reference(start, end)
        origins = [self._origin(variant, trunk) for variant in variants]
        spent, share = 0.0, (end - start) / len(self.windows.ids)

        def spend(n_run: int, heads: int = 1) -> None:
            nonlocal spent
            spent += share * (n_run * self._block_share + heads * self.head_share)
            report(spent)

        whole = self._whole.get(start)
        if whole is None:
            wanted = {begin for begin, of_trunk in origins if not of_trunk}
            if trunk is not None:
                wanted.add(trunk.parts_from(WHOLE, n))
            whole = States(frozenset(range(n + 1)) if self._keeps else frozenset(wanted))
            logits = network.logits(ids, keep=whole)
            if self._keeps:
                self._whole[start] = whole
            spend(n)
        else:
            logits = network.logits(ids, start=n, before=whole)
            spend(0)
        found = [_score_logits(logits, reference)]
        del logits
        branch = States(frozenset(begin for begin, of_trunk in origins if of_trunk))
        if trunk is not None and branch.requested:
            first = trunk.parts_from(WHOLE, n)
            network.states_only(ids, trunk, start=first, before=whole, keep=branch)
            spend(self._count_blocks(trunk, first), heads=0)
        for variant, (begin, of_trunk) in zip(variants, origins, strict=True):
            logits = network.logits(ids, variant, start=begin, before=branch if of_trunk else whole)
            found.append(_score_logits(logits, reference))
            del logits
            spend(self._count_blocks(variant, begin))
        return found

    def _streamed(self, variants: Sequence[Variant], report: ReportPasses) -> list[Scores]:
        """All batches of as many variants as fit into memory run together, so that each group reads the weights once."""
        found: list[Scores] = []
        size = variants_at_once(self.windows.ids.size, self.network.model.hidden_size)
        groups = [variants[i : i + size] for i in range(0, len(variants), size)] or [variants]
        for number, group in enumerate(groups):
            group_scores = self._stream_group(group, partial(_report_group, report, number, len(groups)))
            found += group_scores if not found else group_scores[1:]
        return found

    def _stream_group(self, variants: Sequence[Variant], report: ReportPasses) -> list[Scores]:
        network = self.network
        origins = [self._origin(variant, None)[0] for variant in variants]
        bounds = [(i, min(i + self.batch, len(self.windows.ids))) for i in range(0, len(self.windows.ids), self.batch)]
        table: list[list[Scores | None]] = [[None] * (len(variants) + 1) for _ in bounds]
        runs: list[Callable[[], None]] = []
        for number, (start, end) in enumerate(bounds):
            ids, reference = self._ids(start, end), self._reference(start, end)
            whole = States(frozenset(origins))

            def run(number: int, index: int, ids: Tensor, reference: _Reference, whole: States) -> None:
                if index == 0:
                    logits = network.logits(ids, keep=whole)
                else:
                    logits = network.logits(ids, variants[index - 1], start=origins[index - 1], before=whole)
                table[number][index] = _score_logits(logits, reference)
                if index == len(variants):
                    reference.forget()

            runs += [partial(run, number, index, ids, reference, whole) for index in range(len(variants) + 1)]
        units = network.model.units
        run_together(units, runs, lambda index: None, lambda done: report(done / max(len(units), 1)))
        return [concatenate([row[i] for row in table if row[i] is not None]) for i in range(len(variants) + 1)]  # type: ignore[misc]


def variants_at_once(n_tokens: int, hidden_size: int) -> int:
    """How many variants run together with streamed weights: each holds three states per token."""
    return max(1, int(STATE_BUDGET * 4 // (3 * n_tokens * hidden_size * 4)) - 1)


def _report_after(report: ReportPasses, before: float, done: float) -> None:
    report(before + done)


def _report_group(report: ReportPasses, number: int, n_groups: int, done: float) -> None:
    report((number + done) / n_groups)


def head_share(network: Network) -> float:
    """Share of a pass's multiplications in the output head."""
    blocks = sum(p.numel() for block in network.blocks for p in block.parameters() if p.dim() > 1)
    head = network.model.n_logits * network.model.hidden_size
    return head / (head + blocks)


_SCORE_FIELDS = ("loss", "divergence", "agreement", "hits", "n_targets")


def concatenate(parts: Sequence[Scores]) -> Scores:
    """The scores of the windows of all parts, in order."""
    return Scores(*(np.concatenate([getattr(part, name) for part in parts]) for name in _SCORE_FIELDS))


def _score_logits(logits: Tensor, reference: _Reference) -> Scores:
    """Scores of logits (n_batch, n_tokens, n_vocabulary). The first call for a reference must be the whole network."""
    targets = reference.targets
    is_target = targets >= 0
    rows, places = (
        logits.flatten(0, 1),
        is_target.flatten().nonzero()[:, 0],
    )  # (n_positions, n_vocabulary), (n_targets,)
    wanted, n_targets = targets[is_target], len(places)
    wide = torch.float32 if rows.device.type == "mps" else torch.float64  # Apple's GPU has no double precision
    is_whole = reference.probabilities is None
    if is_whole:
        reference.probabilities = torch.empty((n_targets, rows.shape[1]), dtype=torch.float32, device=rows.device)
        reference.negative_entropy = torch.empty(n_targets, dtype=wide, device=rows.device)
        reference.likeliest = torch.empty(n_targets, dtype=torch.int64, device=rows.device)
    probabilities, negative_entropy, likeliest = (
        reference.probabilities,
        reference.negative_entropy,
        reference.likeliest,
    )
    assert probabilities is not None and negative_entropy is not None and likeliest is not None
    loss, divergences = (torch.empty(n_targets, dtype=wide, device=rows.device) for _ in range(2))
    best = torch.empty(n_targets, dtype=torch.int64, device=rows.device)
    n_rows = CACHED_ROWS if rows.device.type == "cpu" else LOSS_ROWS
    for begin in range(0, n_targets, n_rows):
        part = slice(begin, begin + n_rows)
        chunk = rows[places[part]].float()
        total = torch.logsumexp(chunk, dim=-1)
        best[part] = chunk.argmax(-1)
        loss[part] = (total - chunk.gather(1, wanted[part, None])[:, 0]).to(wide)
        if is_whole:
            log_probabilities = chunk - total[:, None]
            probabilities[part] = log_probabilities.exp()
            negative_entropy[part] = torch.linalg.vecdot(probabilities[part], log_probabilities).to(wide)
            likeliest[part] = best[part]
            divergences[part] = 0.0
        else:
            # sum p (log p - log q) with log q = z - log sum exp z saves two products over a softmax of q.
            expected = torch.linalg.vecdot(probabilities[part], chunk)
            divergences[part] = negative_entropy[part] + (total - expected).to(wide)
    sequence = torch.arange(len(targets), device=targets.device)[:, None].expand_as(targets)[is_target]

    def summed(values: Tensor) -> np.ndarray:
        into = torch.zeros(len(targets), dtype=wide, device=targets.device)
        return into.index_add_(0, sequence, values.to(wide)).cpu().double().numpy()

    ones = torch.ones(n_targets, dtype=wide, device=rows.device)
    return Scores(summed(loss), summed(divergences), summed(best == likeliest), summed(best == wanted), summed(ones))
