"""`workdim` with texts of a size that a test has time for; how they are cut and drawn stays."""

from __future__ import annotations

import sys
from typing import Any

from core.plans import directions, healing, texts

SIZES: tuple[tuple[Any, str, Any], ...] = (
    (texts, "SEARCH_WINDOWS", 6),
    (texts, "RANDOM_WINDOWS", 4),
    (texts, "OTHER_WINDOWS", 3),
    (texts, "FIT_TOKENS", 512),
    (texts, "WINDOW_COUNTS", (8,)),
    (texts, "WINDOW_LENGTHS", (64,)),
    (texts, "QUESTIONS", 6),
    (healing, "LEAST_TOKENS", 512),
    (directions, "MOST_LAYERS", 2),
)


def use() -> None:
    for module, name, value in SIZES:
        setattr(module, name, value)


def work(*sent):
    """The work of a worker of a Ray cluster, which gets this function by its name."""
    from tests.runs import small

    use()
    return small.work(*sent)


if __name__ == "__main__":
    from core.commands.main import main

    use()
    sys.exit(main())
