"""Pilots in the warehouse: registered once and never changed, with their own scores and the runs that are their results.

A run belongs to a pilot through `pilot_runs`, because a run can serve several pilots, and through its `pilot_id`, which is
stored in its parcel, so that a warehouse rebuilt from parcels still knows what was measured for a pilot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl

from core.errors import InputError, missing
from core.pilots.pilot import PRESENTATION_FIELDS, OwnTask, Pilot, PilotModel, pilot_from_config
from core.store import user_files
from core.tables import TABLES, PilotRow, PilotRunRow, ScoreRow, frame
from core.warehouse.warehouse import Warehouse

_KIND = "pilot"
_LICENCE = "user's own"


def register_pilot(warehouse: Warehouse, pilot: Pilot) -> bool:
    """Register a pilot before it is measured; False if it is registered already.

    A registration never changes. Own scores may be added later, each once; InputError for another value. Who decides, by
    when, and translations follow the pilot's file.
    """
    with warehouse.update(_KIND, pilot.pilot_id):
        now = datetime.now(UTC)
        known = user_files.read(warehouse.folder, _KIND, pilot.pilot_id)
        tables = known or _new_tables(pilot, now)
        scores = _new_scores(pilot, tables["scores"], now)
        updated = tables["pilots"].with_columns(config=pl.lit(_updated_config(pilot, tables["pilots"]["config"][0])))
        if known is None or scores.height or not updated.equals(tables["pilots"]):
            user_files.write(
                warehouse.folder,
                _KIND,
                pilot.pilot_id,
                tables | {"pilots": updated, "scores": pl.concat([tables["scores"], scores])},
            )
    return known is None


def add_runs(warehouse: Warehouse, pilot_id: str, run_ids: Sequence[str]) -> None:
    """Count these runs as results of a pilot, whatever they were measured for. Idempotent.

    Raises InputError for an unregistered pilot.
    """
    with warehouse.update(_KIND, pilot_id):
        tables = user_files.read(warehouse.folder, _KIND, pilot_id)
        if tables is None:
            raise InputError(missing("pilot", pilot_id, "pilot FILE.toml"))
        rows = frame([PilotRunRow(pilot_id, run_id) for run_id in run_ids], PilotRunRow)
        together = pl.concat([tables["pilot_runs"], rows]).unique(maintain_order=True)
        if together.height > tables["pilot_runs"].height:
            user_files.write(warehouse.folder, _KIND, pilot_id, tables | {"pilot_runs": together})


def _updated_config(pilot: Pilot, registered: str) -> str:
    """The registered config with the pilot's present presentation fields; the same string if nothing changed."""
    before = pilot_from_config(registered)
    now = replace(before, **{name: getattr(pilot, name) for name in PRESENTATION_FIELDS})
    return registered if now == before else now.config()


def _new_tables(pilot: Pilot, registered_at: datetime) -> dict[str, pl.DataFrame]:
    row = PilotRow(
        pilot_id=pilot.pilot_id,
        name=pilot.name,
        use_class=pilot.use_class,
        models=[model.written for model in pilot.models],
        corpora=[text.written for text in pilot.texts],
        protocol=pilot.protocol,
        seed=pilot.seed,
        benchmark=pilot.benchmark.name,
        metric=pilot.benchmark.metric,
        config=pilot.config(),
        note=pilot.note,
        created_at=registered_at,
    )
    rows = {"pilots": [row], "pilot_runs": [], "scores": []}
    return {table: TABLES[table].frame(of_table) for table, of_table in rows.items()}


def _new_scores(pilot: Pilot, registered: pl.DataFrame, registered_at: datetime) -> pl.DataFrame:
    """The user's own scores that are not registered yet. Raises InputError if a registered one was changed."""
    columns = ("repository", "revision", "value", "std_error", "n_samples")
    known = {tuple(row[:2]): tuple(row[2:]) for row in registered.select(columns).iter_rows()}
    rows = []
    for model in {(model.reference, model.revision): model for model in pilot.models}.values():
        if pilot.task is None or model.score is None:
            continue
        before = known.get((model.reference, model.revision))
        now = (model.score.value, model.score.std_error, model.score.n_samples)
        if before is None:
            rows.append(_score_row(pilot, pilot.task, model, registered_at))
        elif before != now:
            raise InputError(
                "{written} is registered with {before} in {pilot_id}; the file says {now}. Put it back, or rename the pilot.",
                written=model.written,
                before=_format_score(before),
                pilot_id=pilot.pilot_id,
                now=_format_score(now),
            )
    return frame(rows, ScoreRow)


def _score_row(pilot: Pilot, task: OwnTask, model: PilotModel, registered_at: datetime) -> ScoreRow:
    """`repository` is the model's reference, whether it is on the hub or not; `as_of` tells whether the score existed when
    the pilot was registered."""
    score = model.score
    assert score is not None
    return ScoreRow(
        repository=model.reference,
        revision=model.revision,
        benchmark=task.name,
        metric=task.metric,
        filter="none",
        suite=pilot.source,
        value=score.value,
        std_error=score.std_error,
        unit=task.unit,
        higher_is_better=task.higher_is_better,
        n_samples=score.n_samples,
        source=pilot.source,
        licence=_LICENCE,
        as_of=registered_at.isoformat(),
        file_sha256="",
    )


def _format_score(score: tuple[float, float | None, int | None]) -> str:
    value, std_error, n_samples = score
    error = "" if std_error is None else f" ± {std_error:g}"
    return f"{value:g}{error}" + ("" if n_samples is None else f" (n={n_samples})")
