"""One mask for all layers: the same tokens everywhere, or layers could not be compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.texts.sample import TokenSample


@dataclass(frozen=True)
class TokenMask:
    keep: np.ndarray
    """(n_sequences * n_tokens,) bool"""
    types: np.ndarray
    """Token id of each kept token; (n_kept,)"""
    sequences: np.ndarray
    """Sequence of each kept token; (n_kept,)"""
    n_dropped_position: int
    n_dropped_special: int
    n_dropped_norm: int
    max_norm_ratio: float
    """Largest norm over the layer median on the inner layers, before masking."""
    n_dropped_template: int = 0
    """Tokens of a chat template that are not special: role markers, separators, prompts of its own."""

    @property
    def kept_rows(self) -> np.ndarray:
        """Row of each sampled token in the table of kept ones, where it is kept; (n_sequences * n_tokens,)"""
        return np.cumsum(self.keep) - 1

    @property
    def n_types(self) -> int:
        return len(np.unique(self.types))

    @property
    def norm_dropped_share(self) -> float:
        """Share of otherwise usable tokens that the norm rule drops."""
        return self.n_dropped_norm / max(1, int(self.keep.sum()) + self.n_dropped_norm)


def mask_tokens(sample: TokenSample, norms: np.ndarray, n_layers: int, norm_factor: float) -> TokenMask:
    """Drop position 0, special ids, chat templates, and tokens with a norm above `norm_factor` x the layer median.

    norms (n_states, n_tokens), states 0..n_layers first. The norm rule looks at states 1..n_layers-1: attention
    sinks live there, up to 170 times the median, while the last state's norm is no longer about sinks. The median is
    that of all tokens but a template's, which are the same few in every window.
    """
    position = np.tile(np.arange(sample.ids.shape[1]) == 0, len(sample.ids))
    special = sample.special.flatten() & ~position
    template = sample.template.flatten() & ~position & ~special
    inner = norms[1:n_layers]
    if len(inner):
        medians = np.median(inner[:, ~sample.template.flatten()], axis=1, keepdims=True)
        ratios = (inner / np.maximum(medians, 1e-30)).max(0)
    else:
        ratios = np.zeros(norms.shape[1])
    large = (ratios > norm_factor) & ~position & ~special & ~template
    keep = ~(position | special | template | large)
    sequences = np.repeat(np.arange(len(sample.ids)), sample.ids.shape[1])
    return TokenMask(
        keep,
        sample.ids.flatten()[keep],
        sequences[keep],
        int(position.sum()),
        int(special.sum()),
        int(large.sum()),
        float(ratios.max()),
        int(template.sum()),
    )
