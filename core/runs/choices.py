"""What a screen may offer to choose from; no model library is loaded for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.measure.corpora import BUILT_IN
from core.measure.packages import DEMO_WHEELS
from core.measure.protocol import PROTOCOLS
from core.records import RunConfig

DTYPES = ("float32", "bfloat16", "float16")


def texts() -> list[str]:
    return list(BUILT_IN)


def demo_models() -> list[str]:
    return [f"pypi:{name}" for name in DEMO_WHEELS]


def protocols() -> list[str]:
    return list(PROTOCOLS)


def requests(models: Sequence[str], **asked: Any) -> list[RunConfig]:
    """One request for each model, with the others as companions."""
    named = list(dict.fromkeys(models))
    return [RunConfig(one, companions=tuple(other for other in named if other != one), **asked) for one in named]
