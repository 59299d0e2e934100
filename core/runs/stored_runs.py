"""Measure a stored run again from its record, or delete it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from core.errors import InputError, Sentence
from core.files import read_json_or_none
from core.ids import SHORT_ID
from core.records import RunConfig, from_json
from core.registry.protocols import PROTOCOLS
from core.runs.jobs import list_jobs
from core.runs.requests import with_labels_hash
from core.store.parcels import PLACES_FILE
from core.tables import Run, ids_of
from core.texts.corpora import open_corpus
from core.warehouse import queries
from core.warehouse.runs import delete_runs
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Rerun:
    """A request to measure a stored run again."""

    config: RunConfig
    changed: tuple[str, ...]
    """One line for each change since: the new run will then differ from the old one."""


def rerun_request(warehouse: Warehouse, record: Run) -> Rerun:
    """The request that measures a run again, and what has changed since; `record` is a row of `queries.run_records`.

    Folders and files are those of this machine, if it was measured here: a record has their names alone.

    Raises InputError for a control pass, for a record of another version, and if the model, the text or the labelled
    texts are gone.
    """
    if record.pass_ != "text":
        raise InputError(
            "Run {run} is a control pass. Measure the run that it belongs to: {parent}.",
            run=record.run_id[:SHORT_ID],
            parent=[record.parent_run_id[:SHORT_ID]] if record.parent_run_id else [],
        )
    try:
        stored = json.loads(record.config)["run"]
        places = read_json_or_none(warehouse.parcels / record.run_id / PLACES_FILE) or {}
        config = from_json(RunConfig, stored | places)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "Run {run} is of Workdim {version} and cannot be repeated. Measure anew; `workdim runs show {run}` tells what was asked.",
            run=record.run_id[:SHORT_ID],
            version=record.code_version,
        ) from error
    pinned = with_labels_hash(replace(config, model=_pinned_model(config.model, record)))
    changed = [*_changes(pinned, record)]
    if pinned.labels_sha256 != config.labels_sha256:
        changed.append(Sentence("The labelled texts in {file} have changed since.", file=str(pinned.labels)))
    return Rerun(pinned, tuple(changed))


def _pinned_model(model: str, record: Run) -> str:
    """The model at the revision that was measured; a local folder or file has no revision."""
    is_local = not model.startswith("pypi:") and (Path(model).is_absolute() or Path(model).exists())
    return model if is_local else f"{record.reference}@{record.revision}"


def _changes(config: RunConfig, record: Run) -> Iterator[str]:
    """One line for each of weights, text and protocol that has changed since."""
    from core.models.hub import local_weights  # torch: only where a run is measured again

    local = None if config.model.startswith("pypi:") else local_weights(config.model)
    if local is not None and local.sha256 != record.weights_sha256:
        yield Sentence("The weights in {model} have changed since: they are another model now.", model=config.model)
    sha256 = open_corpus(config.corpus, config.column, config.encoding, config.chat).row.sha256
    if sha256 != record.corpus_sha256:
        yield Sentence(
            "The text {text} has changed since: its hash was {before}, now {now}.",
            text=config.corpus,
            before=record.corpus_sha256[:12],
            now=sha256[:12],
        )
    protocol = PROTOCOLS.get(config.protocol)
    if protocol is None:
        raise InputError(
            "The protocol {protocol} of run {run} is no longer there.",
            protocol=config.protocol,
            run=record.run_id[:SHORT_ID],
        )
    if protocol.hash(config.seed) != record.protocol_hash:
        yield Sentence(
            "The protocol {protocol} has changed since (its hash was {before} and is {now}).",
            protocol=config.protocol,
            before=record.protocol_hash,
            now=protocol.hash(config.seed),
        )


def delete_stored_runs(warehouse: Warehouse, run_ids: Sequence[str]) -> None:
    """As `delete_runs`; also raises InputError for a control pass while a job is running."""
    controls = queries.run_records(warehouse, run_ids).filter(pl.col("pass") != "text")
    active = (status for status in list_jobs(warehouse) if status.state in ("queued", "running"))
    if controls.height and (status := next(active, None)):
        raise InputError(
            "{run} is a control that the running job of {model} may need. Wait, or cancel it.",
            run=ids_of(controls)[0][:SHORT_ID],
            model=status.job.config.model,
        )
    delete_runs(warehouse, run_ids)
