"""`workdim` with texts of a size that a test has time for; how they are cut and drawn stays."""

from __future__ import annotations

import sys
from typing import Any

from core.plans import candidates, healing, plan, setup
from core.texts import sample

SIZES: tuple[tuple[Any, str, Any], ...] = (
    (setup, "SEARCH_WINDOWS", 6),
    *((module, "RANDOM_WINDOWS", 4) for module in (setup, plan)),
    *((module, "OTHER_WINDOWS", 3) for module in (setup, plan)),
    *((module, "WINDOW_LENGTHS", (64,)) for module in (setup, plan)),
    (setup, "FIT_TOKENS", 512),
    (setup, "WINDOW_COUNTS", (8,)),
    (sample, "FEWEST_OF_PLAN", 8),
    (setup, "QUESTIONS", 6),
    (healing, "LEAST_TOKENS", 512),
    (candidates, "MOST_LAYERS", 2),
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
