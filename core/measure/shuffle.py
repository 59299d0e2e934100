"""The shuffled control: the same tokens of every sequence in another order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.measure.sample import TokenSample


def shuffled(sample: TokenSample, seed: int) -> TokenSample:
    """Tokens of each sequence in a seeded order; position 0, special tokens and chat templates stay in their places.

    What is left of a profile then comes from the vocabulary and the weights, not from what the text says. Words have no
    places any more, so there is no cloud of them.
    """
    generator = np.random.default_rng([seed, 6])
    ids = sample.ids.copy()
    for row, is_text in zip(ids, sample.is_text, strict=True):
        movable = np.flatnonzero(is_text)
        movable = movable[movable > 0]
        row[movable] = row[generator.permutation(movable)]
    return replace(sample, ids=ids, word_rows=np.full(len(sample.word_rows), -1))
