"""Workdim measures over how many dimensions the vectors of a language model spread, layer by layer.

    from core import estimate, measure_model, open_warehouse

docs/command-line.md shows what they do. They are loaded when they are first used: importing `core` loads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.api import estimate, measure_model, open_warehouse

__all__ = ["estimate", "measure_model", "open_warehouse"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'core' has no attribute '{name}'. Its public names are {', '.join(__all__)}.")
    from importlib import import_module

    value = getattr(import_module("core.api"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
