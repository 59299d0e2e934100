"""What a screen may offer to choose from; no model library is loaded for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from core.models.packages import DEMO_WHEELS
from core.records import RunConfig
from core.registry.protocols import PROTOCOLS
from core.texts.corpora import BUILT_IN

DTYPES = ("float32", "bfloat16", "float16")


def texts() -> list[str]:
    return list(BUILT_IN)


def demo_models() -> list[str]:
    return [f"pypi:{name}" for name in DEMO_WHEELS]


def protocols() -> list[str]:
    return list(PROTOCOLS)


def requests(models: Sequence[str], **asked: Any) -> list[RunConfig]:
    """One request for each model, with the others as companions."""
    return side_by_side(RunConfig("", **asked), list(dict.fromkeys(models)))


def side_by_side(asked: RunConfig, models: Sequence[str]) -> list[RunConfig]:
    """One request for each model, with the others as companions, whether or not they are here."""
    return [
        replace(asked, model=model, companions=tuple(dict.fromkeys(other for other in models if other != model)))
        for model in models
    ]
