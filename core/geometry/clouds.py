"""Selects the tokens that form a point cloud, for the whole text and with each block of text left out.

One seeded permutation of the masked tokens determines the selection: `one_per_type` takes the first occurrence of each
token type, `all_tokens` takes the first tokens. Leaving a block out repeats the draw on the remaining tokens, so a type
that loses its token is represented by its next remaining occurrence. Filtering rows instead would lose types as well
and overestimate the jackknife error by 20 to 40 percent on real tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.geometry.neighbours import first_copies
from core.geometry.pairs import grouped


@dataclass(frozen=True)
class Cloud:
    """The union of the tokens of all member sets, and the member sets themselves."""

    name: str
    rows: np.ndarray
    """Positions in the table of masked tokens; (n_union,) int64."""
    members: np.ndarray
    """Member sets; (1 + n_blocks, n_union) bool. Row 0 is the whole cloud, row 1 + b the cloud without block b."""
    sequences: np.ndarray
    """Sequence of each union row; (n_union,) int64."""
    types: np.ndarray
    """Token type of each union row; (n_union,) int64."""

    @property
    def n_points(self) -> int:
        return int(self.members[0].sum())

    @cached_property
    def sequence_groups(self) -> list[np.ndarray]:
        """Union rows grouped by sequence, in the format of `pairs.grouped`."""
        return grouped(self.sequences)

    @cached_property
    def type_groups(self) -> list[np.ndarray]:
        return grouped(self.types)

    @cached_property
    def type_and_sequence_groups(self) -> list[np.ndarray]:
        return grouped(self.types * (int(self.sequences.max()) + 1) + self.sequences)


@dataclass(frozen=True)
class Tokens:
    """The masked tokens that clouds are drawn from; each array is (n_tokens,)."""

    types: np.ndarray
    sequences: np.ndarray
    blocks: np.ndarray
    n_blocks: int


def one_per_type(order: np.ndarray, tokens: Tokens, limit: int) -> Cloud:
    """The first token of each type in the permutation `order` (n_tokens,), for at most `limit` types."""
    return _assemble("one_per_type", _first_of_each(tokens.types, limit), order, tokens, np.arange(len(order)))


def one_per_word(order: np.ndarray, words: np.ndarray, rows: np.ndarray, tokens: Tokens, limit: int) -> Cloud:
    """One occurrence of each surface word, represented by the state of the last token that covers it.

    order (n_occurrences,) permutation; words (n_occurrences,) word ids; rows (n_occurrences,) masked token of each
    occurrence. Words that share a token share a point; d2 ignores pairs within a sequence.
    """
    return _assemble("one_per_word", _first_of_each(words, limit), order, tokens, rows)


def all_tokens(order: np.ndarray, tokens: Tokens, limit: int) -> Cloud:
    """The first `limit` tokens of the permutation `order`."""
    return _assemble("all_tokens", lambda items: items[:limit], order, tokens, np.arange(len(order)))


def last_token(last: np.ndarray, tokens: Tokens) -> Cloud:
    """The last token of each sequence; last (n_sequences,) holds their rows."""
    return _assemble("last_token", lambda items: items, np.arange(len(last)), tokens, last)


def _first_of_each(labels: np.ndarray, limit: int):
    def draw(items: np.ndarray) -> np.ndarray:
        _, first = np.unique(labels[items], return_index=True)
        return items[np.sort(first)[:limit]]

    return draw


def _assemble(name: str, draw, order: np.ndarray, tokens: Tokens, rows: np.ndarray) -> Cloud:
    """Builds the cloud; `order` lists items (tokens or word occurrences), and item i is the masked token `rows[i]`."""
    block = tokens.blocks[rows[order]]
    chosen = [draw(order)] + [draw(order[block != left_out]) for left_out in range(tokens.n_blocks)]
    items = np.unique(np.concatenate(chosen))
    members = np.stack([np.isin(items, picked, assume_unique=True) for picked in chosen])
    return Cloud(name, rows[items], members, tokens.sequences[rows[items]], tokens.types[rows[items]])


# --- blocks and halves of the text -----------------------------------------------------------------------------


def contiguous_blocks(documents: np.ndarray, n_blocks: int) -> np.ndarray:
    """Block number of each window, for windows in text order; (n_windows,) int64.

    Blocks are runs of consecutive windows of about equal size. With at least `n_blocks` documents, no block splits a
    document, because windows of one document are correlated.
    """
    documents = np.asarray(documents)
    n_windows = len(documents)
    starts = np.flatnonzero(np.r_[True, documents[1:] != documents[:-1]])
    if len(starts) < n_blocks:
        return np.arange(n_windows) * n_blocks // n_windows
    sizes = np.diff(np.r_[starts, n_windows])
    centres = (np.cumsum(sizes) - sizes / 2) / n_windows
    block_of_document = np.minimum((centres * n_blocks).astype(np.int64), n_blocks - 1)
    # Documents of very unequal length can leave a block empty: then assign equal numbers of documents instead.
    if len(np.unique(block_of_document)) < n_blocks:
        block_of_document = np.arange(len(starts)) * n_blocks // len(starts)
    return np.repeat(block_of_document, sizes)


def half_splits(n_sequences: int, n_splits: int, seed: int) -> np.ndarray:
    """Seeded random half-splits of the sequences; (n_splits, n_sequences) bool, True = half A."""
    generator = np.random.default_rng([seed, 2])
    halves = np.zeros((n_splits, n_sequences), dtype=bool)
    for half in halves:
        half[generator.permutation(n_sequences)[: n_sequences // 2]] = True
    return halves


# --- points on their own ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelledPoints:
    """A point cloud with labels: the input of an estimator's formula."""

    points: Tensor
    """(n_points, n_dims) fp32"""
    sequences: Tensor
    """(n_points,) int64 in 0..S-1; all different if the points are independent."""
    types: Tensor | None = None
    """(n_points,) int64; needed only by estimators that exclude pairs of one token type."""

    def where(self, keep: Tensor) -> LabelledPoints:
        return LabelledPoints(self.points[keep], self.sequences[keep], None if self.types is None else self.types[keep])

    def distinct(self) -> Tensor:
        """Mask of the points that are not exact copies of an earlier point; (n_points,) bool."""
        everything = torch.ones(1, len(self.points), dtype=torch.bool, device=self.points.device)
        return first_copies(self.points, everything)[0]


class Reading(NamedTuple):
    """Result of an estimator's formula on one cloud."""

    value: float
    """NaN if undefined."""
    scale: float = math.nan
    n_dropped: int = 0
    notes: str = ""
    terms: np.ndarray | None = None
    """Contribution of each point, for values proportional to 1 / mean of the terms with neighbours from other sequences
    only; (n_points,)"""
    rank: int = 0
    """Neighbour rank that goes with `terms`: see `neighbour_dimensions.sums_over_centres`."""
