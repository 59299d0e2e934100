"""What people do with a stored run: measure it again from its own record, or move it to the trash."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.models.hub import local_weights
from core.records import SHORT_ID, RunConfig
from core.registry.protocols import PROTOCOLS
from core.runs.jobs import all_jobs
from core.runs.requests import config_of
from core.texts.corpora import open_corpus
from core.warehouse.runs import delete_runs
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Repetition:
    config: RunConfig
    changed: tuple[str, ...]
    """One line for each thing that is not as it was: the new run will then not agree with the old one."""


def repetition(record: Mapping[str, Any]) -> Repetition:
    """What is to be asked for, and what has changed since; `record` is a row of `core.warehouse.profiles`.

    Raises InputError for a control pass and for a record that this version cannot repeat, and what the model and the
    text raise that are not there any more.
    """
    if record["pass"] != "text":
        raise InputError(
            "Run {run} is a control pass. Measure the run that it belongs to: {parent}.",
            run=record["run_id"][:SHORT_ID],
            parent=[one[:SHORT_ID] for one in (record["parent_run_id"],) if one],
        )
    config = _request(record)
    pinned = replace(config, model=_pinned(config.model, record))
    return Repetition(pinned, tuple(_changed(pinned, record)))


def _request(record: Mapping[str, Any]) -> RunConfig:
    try:
        return config_of(json.loads(record["config"])["run"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "The record of run {run} is of another version of Workdim ({version}) and cannot be repeated as it "
            "stands. Measure with `workdim measure`; `runs show` tells what was asked.",
            run=record["run_id"][:SHORT_ID],
            version=record["code_version"],
        ) from error


def _pinned(model: str, record: Mapping[str, Any]) -> str:
    """The model at the revision that was measured; a folder or a file of this disk has none but its content."""
    is_local = not model.startswith("pypi:") and (Path(model).is_absolute() or Path(model).exists())
    return model if is_local else f"{record['reference']}@{record['revision']}"


def _changed(config: RunConfig, record: Mapping[str, Any]) -> Iterator[str]:
    local = None if config.model.startswith("pypi:") else local_weights(config.model)
    if local is not None and local.sha256 != record["weights_sha256"]:
        yield f"The weights in {config.model} have changed since: they are another model now."
    sha256 = open_corpus(config.corpus, config.column, config.encoding, config.chat).row.sha256
    if sha256 != record["corpus_sha256"]:
        yield (
            f"The text {config.corpus} has changed since (its hash was {record['corpus_sha256'][:12]} and is "
            f"{sha256[:12]}): it is another text now."
        )
    protocol = PROTOCOLS.get(config.protocol)
    if protocol is None:
        raise InputError(
            "The protocol {protocol} of run {run} is no longer there.",
            protocol=config.protocol,
            run=record["run_id"][:SHORT_ID],
        )
    if protocol.hash(config.seed) != record["protocol_hash"]:
        yield (
            f"The protocol {config.protocol} has changed since (its hash was {record['protocol_hash']} and is "
            f"{protocol.hash(config.seed)})."
        )


_UNDER_WAY = ("queued", "running")


def delete(warehouse: Warehouse, run_ids: Sequence[str]) -> None:
    """As `trash.delete`; raises InputError, too, for a control pass while a job is at work."""
    marks = ", ".join("?" * len(run_ids)) or "NULL"
    controls = warehouse.read(f"SELECT run_id FROM runs WHERE pass <> 'text' AND run_id IN ({marks})", list(run_ids))
    alive = [one.job for one in all_jobs(warehouse) if one.state in _UNDER_WAY] if controls.height else []
    if alive:
        raise InputError(
            "{run} is a control pass, and the measurement of {model} that is under way may be judged with it. "
            "Wait for its end, or cancel it.",
            run=controls["run_id"][0][:SHORT_ID],
            model=alive[0].config.model,
        )
    delete_runs(warehouse, run_ids)
