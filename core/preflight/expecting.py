"""How long each phase of a measurement will take, in the order in which they come."""

from __future__ import annotations

from core.preflight.card import estimate
from core.records import RunConfig
from core.warehouse.warehouse import Warehouse


def expected_seconds(config: RunConfig, warehouse: Warehouse) -> dict[str, float]:
    """Phase, as progress names it -> seconds; empty where that cannot be known. Control passes come first."""
    passes = estimate(config, warehouse).passes
    ordered = [one for one in passes if one.name != "text"] + [one for one in passes if one.name == "text"]
    return {
        phase if one.name == "text" else f"{one.label}: {phase}": seconds
        for one in ordered
        for phase, seconds in one.seconds.items()
        if phase != "store"
    }
