"""How much of what is drawn at random is tried: all of it with `pytest --thorough`, a portion of it otherwise.

Call these when a test module is loaded or later; `tests/conftest.py` sets `everything` from the option before that.
"""

from __future__ import annotations

import math

everything = False


def kills(n_all: int) -> int:
    """A sixth of `n_all` random kills, at least two: one early and one late."""
    return n_all if everything else max(2, math.ceil(n_all / 6))


def mutations(n_all: int) -> int:
    """A tenth of `n_all` random changes to a file, at least one."""
    return n_all if everything else math.ceil(n_all / 10)
