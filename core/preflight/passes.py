"""Which control passes belong to a measurement, and which of them the warehouse has already."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from core.measure.identity import Identity
from core.records import RunConfig
from core.registry.protocols import CONTROLS, Protocol
from core.warehouse.profiles import find_control
from core.warehouse.store import Warehouse


@dataclass(frozen=True)
class ControlPass:
    """A control pass that belongs to a measurement, and the run that stands for it where the warehouse has one."""

    name: str
    label: str
    seed: int
    position: int
    """Among all control passes that the protocol knows, wanted or not."""
    run_id: str | None


def control_passes(
    config: RunConfig, protocol: Protocol, same: Identity, warehouse: Warehouse | None
) -> list[ControlPass]:
    """Those of the protocol or of the request, and whatever else the warehouse has; None has nothing."""
    possible = [(name, n) for name in CONTROLS for n in range(protocol.n_random_models if name == "random_init" else 1)]
    found = []
    for position, (name, number) in enumerate(possible):
        seed = config.seed + number
        as_asked = asdict(same) | {"pass": name, "model_seed": seed}
        run_id = find_control(warehouse, **as_asked) if warehouse else None
        if run_id or config.controls or name in protocol.passes:
            label = f"{name} {number + 1}" if name == "random_init" else name
            found.append(ControlPass(name, label, seed, position, run_id))
    return found
