"""The cost of changing a network: loss, divergence and agreement per window, with as little computation as possible.

The whole network runs once over a batch. Each variant then starts at the first block where it differs from an earlier
pass, from that pass's hidden state.

What rounding costs, beside removing, is told by the weight matrices of all blocks rounded to 8 bits while a text is read:
symmetric about zero, a scale for each output, to the nearest; embedding, head and norms stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from core.analysis.intervals import Difference, mean_difference, windows_to_units
from core.models.stacks import LOSS_ROWS, halved, largest_batch, run_together, within_memory
from core.plans.variants import WHOLE, Network, States, Variant, output_axis, product
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
class PriceList:
    """Scores of the whole network and of removed sets of blocks, on the same windows."""

    whole: Scores
    scores: Mapping[tuple[int, ...], Scores]
    """Removed blocks -> scores of the network without them."""

    def increase(self, blocks: tuple[int, ...]) -> Difference:
        return loss_increase(self.whole, self.scores[blocks])


def divergence(scores: Scores) -> Difference:
    """Kullback-Leibler divergence from the whole network, in nats per token."""
    return scores.mean(scores.divergence)


def agreement(scores: Scores) -> Difference:
    """Share of the targets at which both networks predict the same token."""
    return scores.mean(scores.agreement)


@dataclass
class _Reference:
    """Outputs of the whole network on one batch, for comparison with variants."""

    targets: Tensor
    """(n_batch, n_tokens) next tokens; -100 where the next token is no target"""
    units: np.ndarray
    """(n_batch,)"""
    probabilities: Tensor | None = None
    """Of the whole network at the targets; (n_targets, n_vocabulary)"""
    negative_entropy: Tensor | None = None
    """(n_targets,)"""
    likeliest: Tensor | None = None
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
        self.head_share = head_share(network)

    def scores(
        self, variants: Sequence[Variant], report: ReportPasses = lambda done: None, trunk: Variant | None = None
    ) -> list[Scores]:
        """Scores of the whole network, then of each variant.

        `trunk` is a variant whose first blocks the others share: it runs once for all of them and is not scored.
        """
        done, start, n = 0.0, 0, len(self.windows.ids)

        def advance(n_passes: float) -> None:
            nonlocal done
            done += n_passes
            report(done)

        with torch.inference_mode(), self.network.hooked():
            if self.network.model.units:
                return self._streamed(variants, report)  # with streamed weights a trunk saves nothing
            batches: list[list[Scores]] = []
            while start < n:
                stop, before = min(start + self.batch, n), done
                work = partial(self._batch_scores, start, stop, variants, trunk, advance)
                if batch_scores := within_memory(self.network.model.device, work):
                    batches.append(batch_scores)
                    start = stop
                else:
                    done = before
                    model = self.network.model
                    self.batch = halved(self.batch, model.row.model_id, self.windows.ids.shape[1], model.device)
                    self._whole.clear()
            return [concatenate(of_batches) for of_batches in zip(*batches, strict=True)]

    @property
    def _block_share(self) -> float:
        """Share of a pass per block."""
        return (1 - self.head_share) / self.network.n_blocks

    def _count_blocks(self, variant: Variant, start: int) -> int:
        """Number of blocks that a variant runs from `start` on."""
        return sum(block not in variant.blocks for block in range(start, self.network.n_blocks))

    def _origin(self, variant: Variant, trunk: Variant | None) -> tuple[int, bool]:
        """The first block to run, and whether the state before it comes from the trunk or from the whole network."""
        n_blocks = self.network.n_blocks
        whole_start = variant.parts_from(WHOLE, n_blocks)
        trunk_start = -1 if trunk is None else variant.parts_from(trunk, n_blocks)
        return (trunk_start, True) if trunk_start > whole_start else (whole_start, False)

    def _ids(self, start: int, stop: int) -> Tensor:
        return torch.from_numpy(self.windows.ids[start:stop]).to(self.network.model.device)

    def _reference(self, start: int, stop: int) -> _Reference:
        """The targets of some windows; the first scores fill in the rest."""
        ids = torch.from_numpy(self.windows.ids[start:stop])
        scored = torch.from_numpy(self.windows.scored[start:stop])
        targets = torch.full_like(ids, -100)
        targets[:, :-1] = ids[:, 1:].where(scored[:, 1:], -100)
        return _Reference(targets.to(self.network.model.device), self._units[start:stop])

    def _batch_scores(
        self, start: int, stop: int, variants: Sequence[Variant], trunk: Variant | None, advance: ReportPasses
    ) -> list[Scores]:
        """Scores of the whole network and of each variant on some windows."""
        network, n_blocks = self.network, self.network.n_blocks
        ids, reference = self._ids(start, stop), self._reference(start, stop)
        origins = [self._origin(variant, trunk) for variant in variants]
        share = (stop - start) / len(self.windows.ids)

        def add_passes(n_run: int, n_heads: int = 1) -> None:
            advance(share * (n_run * self._block_share + n_heads * self.head_share))

        baseline_states = self._whole.get(start)
        if baseline_states is None:
            layers = {first_block for first_block, from_trunk in origins if not from_trunk}
            if trunk is not None:
                layers.add(trunk.parts_from(WHOLE, n_blocks))
            baseline_states = States(frozenset(range(n_blocks + 1)) if self._keeps else frozenset(layers))
            logits = network.logits(ids, keep=baseline_states)
            if self._keeps:
                self._whole[start] = baseline_states
            add_passes(n_blocks)
        else:
            logits = network.logits(ids, start=n_blocks, before=baseline_states)
            add_passes(0)
        scores = [_score_logits(logits, reference)]
        del logits
        trunk_states = States(frozenset(first_block for first_block, from_trunk in origins if from_trunk))
        if trunk is not None and trunk_states.requested:
            trunk_start = trunk.parts_from(WHOLE, n_blocks)
            network.states_only(ids, trunk, trunk_states, start=trunk_start, before=baseline_states)
            add_passes(self._count_blocks(trunk, trunk_start), n_heads=0)
        for variant, (first_block, from_trunk) in zip(variants, origins, strict=True):
            logits = network.logits(
                ids, variant, start=first_block, before=trunk_states if from_trunk else baseline_states
            )
            scores.append(_score_logits(logits, reference))
            del logits
            add_passes(self._count_blocks(variant, first_block))
        return scores

    def _streamed(self, variants: Sequence[Variant], report: ReportPasses) -> list[Scores]:
        """Scores where weights are streamed: as many variants as fit into memory share one reading of the weights."""
        scores: list[Scores] = []
        size = variants_at_once(self.windows.ids.size, self.network.model.hidden_size)
        groups = [variants[i : i + size] for i in range(0, len(variants), size)] or [variants]
        for number, group in enumerate(groups):

            def report_part(done: float, number: int = number) -> None:
                report((number + done) / len(groups))

            group_scores = self._stream_group(group, report_part)
            scores += group_scores if not scores else group_scores[1:]
        return scores

    def _stream_group(self, variants: Sequence[Variant], report: ReportPasses) -> list[Scores]:
        """Scores of all batches and variants of one group, run together."""
        network = self.network
        origins = [self._origin(variant, None)[0] for variant in variants]
        batches = [(i, min(i + self.batch, len(self.windows.ids))) for i in range(0, len(self.windows.ids), self.batch)]
        table: list[list[Scores | None]] = [[None] * (len(variants) + 1) for _ in batches]
        runs: list[Callable[[], None]] = []
        for number, (start, stop) in enumerate(batches):
            ids, reference = self._ids(start, stop), self._reference(start, stop)
            baseline_states = States(frozenset(origins))

            def run(number: int, index: int, ids: Tensor, reference: _Reference, baseline_states: States) -> None:
                if index == 0:
                    logits = network.logits(ids, keep=baseline_states)
                else:
                    logits = network.logits(ids, variants[index - 1], start=origins[index - 1], before=baseline_states)
                table[number][index] = _score_logits(logits, reference)
                if index == len(variants):
                    reference.probabilities = None  # frees memory

            runs += [partial(run, number, index, ids, reference, baseline_states) for index in range(len(variants) + 1)]
        units = network.model.units
        run_together(units, runs, units_done=lambda done: report(done / max(len(units), 1)))
        return [concatenate([row[i] for row in table if row[i] is not None]) for i in range(len(variants) + 1)]  # type: ignore[misc]


def variants_at_once(n_tokens: int, hidden_size: int) -> int:
    """Number of variants that run together with streamed weights: each holds three states per token."""
    return max(1, int(STATE_BUDGET * 4 // (3 * n_tokens * hidden_size * 4)) - 1)


def head_share(network: Network) -> float:
    """Share of a pass's multiplications in the output head."""
    blocks = sum(p.numel() for block in network.blocks for p in block.parameters() if p.dim() > 1)
    head = network.model.n_logits * network.model.hidden_size
    return head / (head + blocks)


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
    is_whole = reference.probabilities is None
    if is_whole:
        reference.probabilities = torch.empty((n_targets, rows.shape[1]), dtype=torch.float32, device=rows.device)
        reference.negative_entropy = torch.empty(n_targets, dtype=float_dtype, device=rows.device)
        reference.likeliest = torch.empty(n_targets, dtype=torch.int64, device=rows.device)
    probabilities, negative_entropy, likeliest = (
        reference.probabilities,
        reference.negative_entropy,
        reference.likeliest,
    )
    assert probabilities is not None and negative_entropy is not None and likeliest is not None
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
            probabilities[chunk] = log_probabilities.exp()
            negative_entropy[chunk] = torch.linalg.vecdot(probabilities[chunk], log_probabilities).to(float_dtype)
            likeliest[chunk] = best[chunk]
            divergences[chunk] = 0.0
        else:
            # sum p (log p - log q) with log q = z - log sum exp z saves two products over a softmax of q.
            expected = torch.linalg.vecdot(probabilities[chunk], chunk_logits)
            divergences[chunk] = negative_entropy[chunk] + (normaliser - expected).to(float_dtype)
    sequence = torch.arange(len(targets), device=targets.device)[:, None].expand_as(targets)[is_target]

    def summed(values: Tensor) -> np.ndarray:
        sums = torch.zeros(len(targets), dtype=float_dtype, device=targets.device)
        return sums.index_add_(0, sequence, values.to(float_dtype)).cpu().double().numpy()

    ones = torch.ones(n_targets, dtype=float_dtype, device=rows.device)
    n_same, n_hit = summed(best == likeliest), summed(best == target_ids)
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
