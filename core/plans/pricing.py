"""What a change of a network costs on a text: loss, divergence and agreement, window by window, in as few passes as can be.

The whole network runs once over a batch; every variant then starts at the first block that it treats otherwise than a
pass that has run already, with the state which that one had there.
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
from core.measure.capture import give_back
from core.models.memory import LOSS_ROWS, largest_batch
from core.models.model import is_out_of_memory, too_large
from core.models.weight_streaming import run_together
from core.plans.variants import WHOLE, Network, States, Variant
from core.texts.sample import TokenWindows

CACHED_ROWS = 32
"""Rows of logits that a processor works on at once: with 50,000 tokens in the vocabulary they stay in its cache, which
takes about half the time that 128 do."""
STATE_BUDGET = 2**29
"""Bytes of states of one pass that may stay in memory for others to start from."""
Told = Callable[[float], None]
"""Hears how many passes of the whole network the work so far has been worth."""


@dataclass(frozen=True)
class Scores:
    """Sums over the targets of each window; arrays (n_sequences,)."""

    loss: np.ndarray
    """Negative log-likelihood of the targets, in nats."""
    divergence: np.ndarray
    """Of the next-token distributions from those of the whole network (Kullback-Leibler, whole first), in nats."""
    agreement: np.ndarray
    """Targets at which both networks' likeliest token is the same."""
    hits: np.ndarray
    """Targets that are the likeliest token."""
    n_targets: np.ndarray

    @property
    def loss_per_token(self) -> float:
        return float(self.loss.sum() / self.n_targets.sum())

    def at(self, windows: np.ndarray) -> Scores:
        """Of these windows, in this order; (n,) int64"""
        return Scores(*(getattr(self, name)[windows] for name in _SUMS))


@dataclass(frozen=True)
class Difference:
    """A mean over tokens (or questions) with its 95 percent interval over windows."""

    value: float
    std_error: float
    lower: float
    upper: float
    n: int
    """Windows, or questions."""


def ratio(sums: np.ndarray, counts: np.ndarray) -> Difference:
    """Mean per token of what windows add up to, with the error of a ratio over windows; t with n - 1 degrees."""
    n, total = len(sums), float(counts.sum())
    value = float(sums.sum()) / total
    if n < 2:
        return Difference(value, math.nan, math.nan, math.nan, n)
    rest = sums - value * counts
    error = math.sqrt(n / (n - 1) * float((rest**2).sum())) / total
    reach = float(stdtrit(n - 1, 0.975)) * error
    return Difference(value, error, value - reach, value + reach, n)


def loss_increase(before: Scores, after: Scores) -> Difference:
    """Nats per token that the change costs, paired window by window."""
    return ratio(after.loss - before.loss, before.n_targets)


@dataclass(frozen=True)
class PriceList:
    """The whole network and sets of its blocks, on the same windows."""

    whole: Scores
    of: Mapping[tuple[int, ...], Scores]
    """Set of blocks that are gone -> the network without them."""

    def increase(self, blocks: tuple[int, ...]) -> Difference:
        return loss_increase(self.whole, self.of[blocks])


def divergence(scores: Scores) -> Difference:
    return ratio(scores.divergence, scores.n_targets)


def agreement(scores: Scores) -> Difference:
    """Share of the targets at which both networks' likeliest token is the same."""
    return ratio(scores.agreement, scores.n_targets)


@dataclass
class _Reference:
    """What variants of one batch are compared with."""

    targets: Tensor
    """(n_batch, n_tokens) of what comes next; -100 where nothing is asked"""
    probabilities: Tensor | None = None
    """Of the whole network, at the targets; (n_targets, n_vocabulary)"""
    negative_entropy: Tensor | None = None
    """(n_targets,)"""
    likeliest: Tensor | None = None

    def forget(self) -> None:
        self.probabilities = None


class Pricer:
    """Prices variants of a network on the same windows again and again; what the whole network does is kept."""

    def __init__(self, network: Network, windows: TokenWindows, keep: bool = True) -> None:
        """With `keep`, the layers of the whole network stay in memory where they are few, for later calls."""
        self.network, self.windows = network, windows
        model, (n_sequences, n_tokens) = network.model, windows.ids.shape
        self.batch = min(model.batch, largest_batch(model.n_logits, n_tokens))
        of_layer = n_sequences * n_tokens * model.hidden_size * 4
        self._keeps = keep and not model.units and of_layer * (network.n_blocks + 1) <= STATE_BUDGET
        self._whole: dict[int, States] = {}
        self.head_share = head_share(network)

    def scores(
        self, variants: Sequence[Variant], told: Told = lambda done: None, trunk: Variant | None = None
    ) -> list[Scores]:
        """Of the whole network first, then of each variant.

        `trunk` is a variant that the others share their first blocks with: it runs once for all of them, unpriced.
        """
        with torch.inference_mode(), self.network.hooked():
            if self.network.model.units:
                return self._streamed(variants, told)  # a trunk would wait as long as the others do
            parts: list[list[Scores]] = []
            start, done, n = 0, 0.0, len(self.windows.ids)
            while start < n:
                end = min(start + self.batch, n)
                part = self._where_it_fits(start, end, variants, trunk, partial(_after, told, done))
                if part is None:
                    self._halve()
                    continue
                parts.append(part)
                start, done = end, done + self.cost(variants, trunk) * (end - start) / n
            return [joined([part[i] for part in parts]) for i in range(len(variants) + 1)]

    def cost(self, variants: Sequence[Variant], trunk: Variant | None = None) -> float:
        """Passes of the whole network that `scores` is worth, the first time."""
        n_run = self.network.n_blocks
        if trunk is not None:
            n_run += self._n_run(trunk, trunk.parts_from(WHOLE, self.network.n_blocks))
        n_run += sum(self._n_run(variant, self._origin(variant, trunk)[0]) for variant in variants)
        return n_run * self._of_block + (len(variants) + 1) * self.head_share

    @property
    def _of_block(self) -> float:
        """Share of a pass that a block takes."""
        return (1 - self.head_share) / self.network.n_blocks

    def _n_run(self, variant: Variant, start: int) -> int:
        """Blocks that a variant runs from `start` on."""
        return sum(block not in variant.blocks for block in range(start, self.network.n_blocks))

    def _origin(self, variant: Variant, trunk: Variant | None) -> tuple[int, bool]:
        """The first block that it must run, and whether the trunk, not the whole network, has the state before it."""
        n = self.network.n_blocks
        from_whole = variant.parts_from(WHOLE, n)
        from_trunk = -1 if trunk is None else variant.parts_from(trunk, n)
        return (from_trunk, True) if from_trunk > from_whole else (from_whole, False)

    def _where_it_fits(self, start: int, end: int, *others: Any) -> list[Scores] | None:
        """None where the memory is too short for so many windows."""
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
        give_back(self.network.model.device)

    def _ids(self, start: int, end: int) -> Tensor:
        return torch.from_numpy(self.windows.ids[start:end]).to(self.network.model.device)

    def _reference(self, start: int, end: int) -> _Reference:
        ids = torch.from_numpy(self.windows.ids[start:end])
        scored = torch.from_numpy(self.windows.scored[start:end])
        targets = torch.full_like(ids, -100)
        targets[:, :-1] = ids[:, 1:].where(scored[:, 1:], -100)
        return _Reference(targets.to(self.network.model.device))

    def _batch_scores(
        self, start: int, end: int, variants: Sequence[Variant], trunk: Variant | None, told: Told
    ) -> list[Scores]:
        network, n = self.network, self.network.n_blocks
        ids, reference = self._ids(start, end), self._reference(start, end)
        origins = [self._origin(variant, trunk) for variant in variants]
        spent, share = 0.0, (end - start) / len(self.windows.ids)

        def spend(n_run: int, heads: int = 1) -> None:
            nonlocal spent
            spent += share * (n_run * self._of_block + heads * self.head_share)
            told(spent)

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
        found = [_scored(logits, reference)]
        del logits
        branch = States(frozenset(begin for begin, of_trunk in origins if of_trunk))
        if trunk is not None and branch.wanted:
            first = trunk.parts_from(WHOLE, n)
            network.states_only(ids, trunk, start=first, before=whole, keep=branch)
            spend(self._n_run(trunk, first), heads=0)
        for variant, (begin, of_trunk) in zip(variants, origins, strict=True):
            logits = network.logits(ids, variant, start=begin, before=branch if of_trunk else whole)
            found.append(_scored(logits, reference))
            del logits
            spend(self._n_run(variant, begin))
        return found

    def _streamed(self, variants: Sequence[Variant], told: Told) -> list[Scores]:
        """All batches of all variants together, so that the weights are read once for as many as fit into the memory."""
        found: list[Scores] = []
        size = variants_at_once(self.windows.ids.size, self.network.model.hidden_size)
        groups = [variants[i : i + size] for i in range(0, len(variants), size)] or [variants]
        for number, group in enumerate(groups):
            at_once = self._stream_group(group, partial(_share, told, number, len(groups)))
            found += at_once if not found else at_once[1:]
        return found

    def _stream_group(self, variants: Sequence[Variant], told: Told) -> list[Scores]:
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
                table[number][index] = _scored(logits, reference)
                if index == len(variants):
                    reference.forget()

            runs += [partial(run, number, index, ids, reference, whole) for index in range(len(variants) + 1)]
        units = network.model.units
        run_together(units, runs, lambda index: None, lambda done: told(done / max(len(units), 1)))
        return [joined([row[i] for row in table if row[i] is not None]) for i in range(len(variants) + 1)]  # type: ignore[misc]


def variants_at_once(n_tokens: int, hidden_size: int) -> int:
    """How many variants wait together while weights are read block by block: each holds three states a token."""
    return max(1, int(STATE_BUDGET * 4 // (3 * n_tokens * hidden_size * 4)) - 1)


def _after(told: Told, before: float, done: float) -> None:
    told(before + done)


def _share(told: Told, number: int, n_groups: int, done: float) -> None:
    told((number + done) / n_groups)


def head_share(network: Network) -> float:
    """Share of the multiplications of a pass that its head takes."""
    blocks = sum(p.numel() for block in network.blocks for p in block.parameters() if p.dim() > 1)
    head = network.model.n_logits * network.model.hidden_size
    return head / (head + blocks)


_SUMS = ("loss", "divergence", "agreement", "hits", "n_targets")


def joined(parts: Sequence[Scores]) -> Scores:
    """Of the windows of all parts, in their order."""
    return Scores(*(np.concatenate([getattr(part, name) for part in parts]) for name in _SUMS))


def _scored(logits: Tensor, reference: _Reference) -> Scores:
    """logits (n_batch, n_tokens, n_vocabulary). The first logits of a reference are those of the whole network."""
    targets = reference.targets
    asked = targets >= 0
    rows, places = logits.flatten(0, 1), asked.flatten().nonzero()[:, 0]  # (n_positions, n_vocabulary), (n_targets,)
    wanted, n_targets = targets[asked], len(places)
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
    loss, apart = (torch.empty(n_targets, dtype=wide, device=rows.device) for _ in range(2))
    best = torch.empty(n_targets, dtype=torch.int64, device=rows.device)
    n_rows = CACHED_ROWS if rows.device.type == "cpu" else LOSS_ROWS
    for begin in range(0, n_targets, n_rows):
        part = slice(begin, begin + n_rows)
        these = rows[places[part]].float()
        total = torch.logsumexp(these, dim=-1)
        best[part] = these.argmax(-1)
        loss[part] = (total - these.gather(1, wanted[part, None])[:, 0]).to(wide)
        if is_whole:
            log_probabilities = these - total[:, None]
            probabilities[part] = log_probabilities.exp()
            negative_entropy[part] = torch.linalg.vecdot(probabilities[part], log_probabilities).to(wide)
            likeliest[part] = best[part]
            apart[part] = 0.0
        else:
            # sum p (log p - log q), where log q = z - log sum exp z: two products less than with a softmax of q.
            expected = torch.linalg.vecdot(probabilities[part], these)
            apart[part] = negative_entropy[part] + (total - expected).to(wide)
    sequence = torch.arange(len(targets), device=targets.device)[:, None].expand_as(targets)[asked]

    def summed(values: Tensor) -> np.ndarray:
        into = torch.zeros(len(targets), dtype=wide, device=targets.device)
        return into.index_add_(0, sequence, values.to(wide)).cpu().double().numpy()

    ones = torch.ones(n_targets, dtype=wide, device=rows.device)
    return Scores(summed(loss), summed(apart), summed(best == likeliest), summed(best == wanted), summed(ones))
