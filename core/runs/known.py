"""What the warehouse has for a measurement before it is made: its control passes, an earlier draw, the run itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from core.records import Profile, RunConfig
from core.registry.protocols import Protocol
from core.runs.jobs import Job
from core.warehouse.profiles import draws, find_same, read_profile
from core.warehouse.store import Warehouse


@dataclass(frozen=True)
class Control:
    """One control pass of a measurement."""

    name: str
    label: str
    seed: int
    run_id: str
    known: Profile | None
    """None where the warehouse does not have it."""


def look_up(job: Job, warehouse: Warehouse) -> tuple[list[Control], Profile | None, Profile | None]:
    """All that the warehouse has for this measurement.

    Its control passes; the first run on another draw of the text; and this very run, where it shall not be measured
    again. Raises EstimateError for further estimators that cannot be asked for.

    Asked before the first pass: a warehouse that is locked between two passes must not end hours of measuring. Listed
    are the passes of the protocol, and whatever else the warehouse has.
    """
    from core.measure.identity import identify
    from core.preflight.passes import control_passes
    from core.registry.estimators import require_on_request
    from core.registry.protocols import find_protocol

    config = job.config
    protocol = find_protocol(config.protocol)
    require_on_request(config.estimators, protocol.name, protocol.clouds)
    identity = identify(config)
    same = asdict(identity)
    planned = [
        Control(
            one.name,
            one.label,
            one.seed,
            job.control_ids[one.position],
            read_profile(warehouse, one.run_id) if one.run_id else None,
        )
        for one in control_passes(config, protocol, identity, warehouse)
    ]
    again = None if job.again else _same_run(config, protocol, same, warehouse)
    of_text = {name: same[name] for name in ("model_id", "corpus_id", "dtype", "stack")}
    runs = [(run_id, seed) for run_id, seed, digest in draws(warehouse, **of_text) if digest == protocol.hash(seed)]
    first, first_seed = runs[0] if runs else (None, None)
    # Measured again, the first draw is still the first.
    return planned, read_profile(warehouse, first) if first and first_seed != config.seed else None, again


def _same_run(config: RunConfig, protocol: Protocol, same: dict[str, str], warehouse: Warehouse) -> Profile | None:
    """The newest run of this model and text that holds all that is asked for."""
    for run_id, stored in find_same(warehouse, **same):
        told = json.loads(stored)
        if _covers(told["run"], asdict(config)) and _protocol_covers(told["protocol"], asdict(protocol)):
            return read_profile(warehouse, run_id)
    return None


def _covers(run: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether a run was asked for no less; words depend on the companions."""
    return (
        {*run["companions"]} == {*asked["companions"]}
        and {*run["estimators"]} >= {*asked["estimators"]}
        and run["keep_tokens"] >= asked["keep_tokens"]
        and run["controls"] >= asked["controls"]
    )


def _protocol_covers(run: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether a protocol of the same hash runs no less besides what is compared."""
    numbers = ("n_surrogates", "n_random_models")
    return all(run[name] >= asked[name] for name in numbers) and all(
        {*run[name]} >= {*asked[name]} for name in ("passes", "more_estimators")
    )
