"""The cost of changing a network: loss, divergence and agreement per window, with as little computation as possible.

The whole network runs once over a batch. Each variant then starts at the first block where it differs from an earlier
pass, from that pass's hidden state.

What rounding costs, beside removing, is told by the weight matrices of all blocks rounded to 8 bits while a text is read:
symmetric about zero, a scale for each output, to the nearest; embedding, head and norms stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from core.analysis.intervals import Difference, mean_difference, windows_to_units
from core.models.stacks import LOSS_ROWS, halved, largest_batch, run_together, within_memory
from core.plans.variants import WHOLE, Network, States, Variant, output_axis, product, without_blocks
from core.texts.sample import TokenWindows

CACHED_ROWS = 32
"""Rows of logits that a processor works on at once: with 50,000 tokens in the vocabulary they stay in its cache, which
takes about half the time that 128 do."""
STATE_BUDGET = 2**29
"""Bytes of hidden states of one pass that may stay in memory as starting points of others."""
Blocks = tuple[int, ...]
ReportShare = Callable[[float], None]
"""Receives the share of a step's work that is done."""


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
    units: np.ndarray
    """The unit of each window, which counts as independent: its document, or the block of neighbours it is in."""

    def mean(self, sums: np.ndarray) -> Difference:
        """The mean per token of sums over windows, (n_sequences,)"""
        return mean_difference(sums, self.n_targets, self.units)

    @property
    def loss_per_token(self) -> float:
        return float(self.loss.sum()) / float(self.n_targets.sum())

    def select(self, windows: np.ndarray) -> Scores:
        """The scores of some windows, in the given order; windows (n,) int64"""
        return Scores(*(getattr(self, name)[windows] for name in Scores.__dataclass_fields__))


def loss_increase(baseline: Scores, changed: Scores) -> Difference:
    """Increase of the loss in nats per token, paired by window; its error is that over documents."""
    return baseline.mean(changed.loss - baseline.loss)


@dataclass(frozen=True)
class Price:
    """What it costs to remove a set of blocks, on fixed windows."""

    blocks: Blocks
    whole: Scores
    """Of the whole network."""
    scores: Scores
    """Of the network without the blocks, or otherwise changed."""

    @property
    def increase(self) -> Difference:
        return loss_increase(self.whole, self.scores)

    @property
    def divergence(self) -> Difference:
        """Kullback-Leibler divergence from the whole network, in nats per token."""
        return self.scores.mean(self.scores.divergence)


Prices = Mapping[Blocks, Price]


def price_sets(
    pricer: Pricer,
    sets: Sequence[Collection[int]],
    report: ReportShare = lambda done: None,
    shared: Collection[int] = (),
) -> list[Price]:
    """Price sets of removed blocks; `shared` are removed in most of them, so that their common part runs once."""
    trunk = without_blocks(shared) if shared else None
    whole, *each = pricer.scores([without_blocks(blocks) for blocks in sets], report, trunk)
    return [Price(tuple(sorted(blocks)), whole, scores) for blocks, scores in zip(sets, each, strict=True)]


@dataclass
class _Reference:
    """Outputs of the whole network on one batch, for comparison with variants."""

    targets: Tensor
    """(n_batch, n_tokens) next tokens; -100 where the next token is no target"""
    units: np.ndarray
    """(n_batch,)"""
    probabilities: Tensor = field(init=False)
    """Of the whole network at the targets; (n_targets, n_vocabulary)"""
    negative_entropy: Tensor = field(init=False)
    """(n_targets,)"""
    likeliest: Tensor = field(init=False)
    """(n_targets,) tokens that the whole network predicts"""


class Pricer:
    """Scores variants of a network on fixed windows; caches the states of the whole network."""

    def __init__(self, network: Network, windows: TokenWindows, keep: bool = True) -> None:
        """With `keep`, the states of the whole network stay in memory for later calls, if they fit `STATE_BUDGET`."""
        self.network, self.windows, self._units = network, windows, windows_to_units(windows.documents)
        model, (n_sequences, n_tokens) = network.model, windows.ids.shape
        self.batch = min(model.batch, largest_batch(model.n_logits, n_tokens))
        layer_bytes = n_sequences * n_tokens * model.hidden_size * 4
        self._keeps = keep and not model.units and layer_bytes * (network.n_blocks + 1) <= STATE_BUDGET
        self._whole: dict[int, States] = {}

    def scores(
        self, variants: Sequence[Variant], report: ReportShare = lambda done: None, trunk: Variant | None = None
    ) -> list[Scores]:
        """Scores of the whole network, then of each variant.

        `trunk` is a variant whose first blocks the others share: it runs once for all of them and is not scored.
        """
        start, n, model = 0, len(self.windows.ids), self.network.model
        with torch.inference_mode(), self.network.hooked():
            if model.units:
                return self._streamed(variants, report)  # with streamed weights a trunk saves nothing
            batches: list[list[Scores]] = []
            while start < n:
                stop = min(start + self.batch, n)
                work = partial(self._batch_scores, start, stop, variants, trunk, report)
                if batch_scores := within_memory(model.device, work):
                    batches.append(batch_scores)
                    start = stop
                else:
                    self.batch = halved(self.batch, model.row.model_id, self.windows.ids.shape[1], model.device)
                    self._whole.clear()
            return [concatenate(of_batches) for of_batches in zip(*batches, strict=True)]

    def _origin(self, variant: Variant, trunk: Variant | None) -> tuple[int, bool]:
        """The first block to run, and whether the state before it comes from the trunk or from the whole network."""
        first_blocks = [variant.parts_from(other, self.network.n_blocks) for other in (WHOLE, trunk) if other]
        return max(first_blocks), first_blocks[-1] > first_blocks[0]

    def _part(self, start: int, stop: int) -> tuple[Tensor, _Reference]:
        """The token ids of some windows, and their targets; the first scores fill in the rest."""
        ids = torch.from_numpy(self.windows.ids[start:stop])
        scored = torch.from_numpy(self.windows.scored[start:stop])
        targets = torch.full_like(ids, -100)
        targets[:, :-1] = ids[:, 1:].where(scored[:, 1:], -100)
        device = self.network.model.device
        return ids.to(device), _Reference(targets.to(device), self._units[start:stop])

    def _batch_scores(
        self, start: int, stop: int, variants: Sequence[Variant], trunk: Variant | None, report: ReportShare
    ) -> list[Scores]:
        """Scores of the whole network and of each variant on some windows."""
        network, n_blocks = self.network, self.network.n_blocks
        ids, reference = self._part(start, stop)
        origins = [self._origin(variant, trunk) for variant in variants]
        fork = n_blocks if trunk is None else trunk.parts_from(WHOLE, n_blocks)
        of_whole = self._whole.get(start)
        if of_whole is None:
            layers = range(n_blocks + 1) if self._keeps else [fork, *(first for first, _ in origins)]
            of_whole = States(frozenset(layers))
            scores = [_score_logits(network.logits(ids, keep=of_whole), reference)]
            if self._keeps:
                self._whole[start] = of_whole
        else:
            scores = [_score_logits(network.logits(ids, start=n_blocks, before=of_whole), reference)]
        of_trunk = States(frozenset(first for first, is_of_trunk in origins if is_of_trunk))
        if trunk and of_trunk.requested:
            network.states_only(ids, trunk, of_trunk, start=fork, before=of_whole)
        work = np.cumsum([n_blocks + 1, *(n_blocks + 1 - first for first, _ in origins)])  # the head as one block
        for variant, (first, is_of_trunk) in zip(variants, origins, strict=True):
            report((start + (stop - start) * float(work[len(scores) - 1] / work[-1])) / len(self.windows.ids))
            before = of_trunk if is_of_trunk else of_whole
            scores.append(_score_logits(network.logits(ids, variant, start=first, before=before), reference))
        report(stop / len(self.windows.ids))
        return scores

    def _streamed(self, variants: Sequence[Variant], report: ReportShare) -> list[Scores]:
        """Scores where weights are streamed: as many variants as fit into memory share one reading of the weights."""
        scores: list[Scores] = []
        size = variants_at_once(self.windows.ids.size, self.network.model.hidden_size)
        groups = [variants[i : i + size] for i in range(0, len(variants), size)] or [variants]
        for number, group in enumerate(groups):
            found = self._stream_group(group, of_part(report, number, len(groups)))
            scores += found[1:] if scores else found
        return scores

    def _stream_group(self, variants: Sequence[Variant], report: ReportShare) -> list[Scores]:
        """Scores of all batches and variants of one group, run together."""
        network, units, n = self.network, self.network.model.units, len(self.windows.ids)
        origins = [self._origin(variant, None)[0] for variant in variants]
        found: dict[tuple[int, int], Scores] = {}

        def run(index: int, start: int, ids: Tensor, reference: _Reference, of_whole: States) -> None:
            if index == 0:
                logits = network.logits(ids, keep=of_whole)
            else:
                logits = network.logits(ids, variants[index - 1], start=origins[index - 1], before=of_whole)
            found[index, start] = _score_logits(logits, reference)
            if index == len(variants):
                del reference.probabilities  # frees memory

        runs: list[Callable[[], None]] = []
        for start in range(0, n, self.batch):
            given = (start, *self._part(start, start + self.batch), States(frozenset(origins)))
            runs += [partial(run, index, *given) for index in range(len(variants) + 1)]
        run_together(units, runs, units_done=lambda done: report(done / len(units)))
        starts = range(0, n, self.batch)
        return [concatenate([found[index, start] for start in starts]) for index in range(len(variants) + 1)]


def of_part(report: ReportShare, number: int, n_parts: int) -> ReportShare:
    """Reports the share of one part, the first being number 0, as a share of all parts."""
    return lambda done: report((number + done) / n_parts)


def variants_at_once(n_tokens: int, hidden_size: int) -> int:
    """Number of variants that run together with streamed weights: each holds three states per token."""
    return max(1, int(STATE_BUDGET * 4 // (3 * n_tokens * hidden_size * 4)) - 1)


def concatenate(parts: Sequence[Scores]) -> Scores:
    """The scores of the windows of all parts, in order."""
    return Scores(*(np.concatenate([getattr(part, name) for part in parts]) for name in Scores.__dataclass_fields__))


def _score_logits(logits: Tensor, reference: _Reference) -> Scores:
    """Scores of logits (n_batch, n_tokens, n_vocabulary). The first call for a reference must be the whole network."""
    targets = reference.targets
    is_target = targets >= 0
    rows = logits.flatten(0, 1)  # (n_positions, n_vocabulary)
    target_rows = is_target.flatten().nonzero()[:, 0]  # (n_targets,)
    target_ids, n_targets = targets[is_target], len(target_rows)
    float_dtype = torch.float32 if rows.device.type == "mps" else torch.float64  # Apple's GPU has no double precision
    is_whole = not hasattr(reference, "probabilities")
    if is_whole:
        reference.probabilities = torch.empty((n_targets, rows.shape[1]), dtype=torch.float32, device=rows.device)
        reference.negative_entropy = torch.empty(n_targets, dtype=float_dtype, device=rows.device)
        reference.likeliest = torch.empty(n_targets, dtype=torch.int64, device=rows.device)
    loss, divergences = (torch.empty(n_targets, dtype=float_dtype, device=rows.device) for _ in range(2))
    best = torch.empty(n_targets, dtype=torch.int64, device=rows.device)
    n_rows = CACHED_ROWS if rows.device.type == "cpu" else LOSS_ROWS
    spare = torch.empty((min(n_rows, n_targets), rows.shape[1]), dtype=torch.float32, device=rows.device)
    for chunk, chunk_logits in _chunks(rows, target_rows, n_rows):
        normaliser = log_sum_exp(chunk_logits, spare)
        best[chunk] = chunk_logits.argmax(-1)
        loss[chunk] = (normaliser - chunk_logits.gather(1, target_ids[chunk, None])[:, 0]).to(float_dtype)
        if is_whole:
            log_probabilities = chunk_logits - normaliser[:, None]
            reference.probabilities[chunk] = log_probabilities.exp()
            reference.negative_entropy[chunk] = torch.linalg.vecdot(
                reference.probabilities[chunk], log_probabilities
            ).to(float_dtype)
            reference.likeliest[chunk] = best[chunk]
            divergences[chunk] = 0.0
        else:
            # sum p (log p - log q) with log q = z - log sum exp z saves two products over a softmax of q.
            expected = torch.linalg.vecdot(reference.probabilities[chunk], chunk_logits)
            divergences[chunk] = reference.negative_entropy[chunk] + (normaliser - expected).to(float_dtype)
    sequence = torch.arange(len(targets), device=targets.device)[:, None].expand_as(targets)[is_target]

    def summed(values: Tensor) -> np.ndarray:
        sums = torch.zeros(len(targets), dtype=float_dtype, device=targets.device)
        return sums.index_add_(0, sequence, values.to(float_dtype)).cpu().double().numpy()

    ones = torch.ones(n_targets, dtype=float_dtype, device=rows.device)
    n_same, n_hit = summed(best == reference.likeliest), summed(best == target_ids)
    return Scores(summed(loss), summed(divergences), n_same, n_hit, summed(ones), reference.units)


def _chunks(rows: Tensor, wanted: Tensor, n_rows: int) -> Iterator[tuple[slice, Tensor]]:
    """Parts of the wanted rows, `n_rows` at a time, in single precision; not copied where they lie side by side."""
    for start in range(0, len(wanted), n_rows):
        chunk = slice(start, start + n_rows)
        part = wanted[chunk]
        first, last = int(part[0]), int(part[-1])
        is_together = last - first == len(part) - 1
        yield chunk, (rows[first : last + 1] if is_together else rows[part]).float()


def log_sum_exp(logits: Tensor, spare: Tensor) -> Tensor:
    """torch.logsumexp over the last dimension, bit for bit, with its exponentials in `spare`: asking the system for
    memory for every few rows takes longer than the sums. logits (n_rows, n_vocabulary), spare has as many rows or more"""
    largest = logits.amax(-1, keepdim=True)
    largest.masked_fill_(largest.isinf(), 0)
    exponentials = torch.sub(logits, largest, out=spare[: len(logits)]).exp_()
    return exponentials.sum(-1).log_().add_(largest[:, 0])


# --- rounded weights -------------------------------------------------------------------------------------------------

LEVELS = 2**7 - 1
"""Of each sign, with 8 bits."""


def block_matrices(network: Network) -> list[nn.Module]:
    """The products with a matrix in all blocks; none where weights are streamed, or are those of experts."""
    modules = [module for block in network.blocks for module in block.modules()]
    is_mixture = any(p.dim() > 2 for module in modules for p in module.parameters(recurse=False))
    if network.model.units or is_mixture:
        return []
    return [module for module in modules if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"]


def bytes_saved(modules: Sequence[nn.Module]) -> float:
    """Against two bytes a weight: one of them, less two for the scale of each output."""
    weights: list[Tensor] = [module.weight for module in modules]  # type: ignore[misc]
    outputs = [weight.shape[output_axis(module)] for weight, module in zip(weights, modules, strict=True)]
    return float(sum(weight.numel() for weight in weights) - 2 * sum(outputs))


@contextmanager
def rounded_weights(modules: Sequence[nn.Module]) -> Iterator[None]:
    """The products are made with rounded weights meanwhile; the weights themselves are not touched, nor held twice."""
    with ExitStack() as undo:
        for module in modules:
            undo.callback(module.register_forward_hook(_product).remove)
        yield


def _product(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    weight = rounded(module.weight, output_axis(module))  # type: ignore[arg-type]
    return product(module, arguments[0], weight, module.bias)  # type: ignore[arg-type]


def rounded(weight: Tensor, axis: int) -> Tensor:
    """A matrix rounded to 8 bits, with a scale for each entry of the axis of its outputs."""
    scale = weight.abs().amax(1 - axis, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny) / LEVELS
    return (weight / scale).round() * scale
