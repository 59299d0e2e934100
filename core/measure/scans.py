"""What the scan of a state-space block has in memory: a state per token, which no product with a weight tells of.

Counted is the scan of transformers itself, in float32 whatever the dtype; the kernels that it takes where they are
installed need less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Scan:
    token_bytes: int = 0
    """Bytes per token; 0 where no block scans."""
    chunk: int = 1
    """Windows are filled up to a multiple of so many tokens."""


NO_SCAN = Scan()


def scan_of(blocks: Sequence[nn.Module]) -> Scan:
    """The largest among these blocks, which may be on the meta device."""
    found = [_scan(part) for block in blocks for part in block.modules() if hasattr(part, "A_log")]
    return max(found, key=lambda scan: scan.token_bytes, default=NO_SCAN)


def _scan(mixer: nn.Module) -> Scan:
    """Factors are what real passes of several widths took, in float32 numbers: 3.5 states; 6 states and 4 scores."""
    matrix: nn.Parameter = mixer.A_log  # type: ignore[assignment]
    if matrix.dim() > 1:  # Mamba: a matrix (n_inner, n_states), and so much for every token
        return Scan(14 * matrix.numel())
    n_states, chunk = (getattr(mixer, name, None) for name in ("ssm_state_size", "chunk_size"))
    if not (n_states and chunk):
        return NO_SCAN
    return Scan(matrix.numel() * (24 * n_states + 16 * chunk), chunk)  # Mamba-2: per head, and scores within a chunk
