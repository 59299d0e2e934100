"""Pilots in the warehouse: registered once and never changed, their own scores, and which runs are their results.

A run belongs to a pilot through `pilot_runs`, because one run can serve several pilots, and through its own `pilot_id`,
which travels in its parcel, so that a warehouse made anew from parcels still knows what was measured for a pilot.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import duckdb

from core.errors import InputError
from core.pilots.registration import OwnTask, Pilot, PilotModel
from core.tables import ScoreRow, frame
from core.warehouse.inserting import insert
from core.warehouse.warehouse import Warehouse

_LICENCE = "user's own"


def register(warehouse: Warehouse, pilot: Pilot) -> bool:
    """Write down a pilot before it is measured; False where this very pilot is registered already.

    A registration is never changed. Own scores may be added later, each once; InputError for another value.
    """
    with warehouse.write(mirrored=("pilots", "scores")) as connection:
        known = connection.execute("SELECT 1 FROM pilots WHERE pilot_id = ?", [pilot.pilot_id]).fetchall()
        if not known:
            _insert(connection, pilot)
        _add_scores(connection, pilot)
    return not known


def add_runs(warehouse: Warehouse, pilot_id: str, run_ids: Sequence[str]) -> None:
    """Count these runs as results of a pilot, whoever they were measured for; doing it twice is no error."""
    with warehouse.write(mirrored=("pilot_runs",)) as connection:
        for run_id in run_ids:
            connection.execute("INSERT INTO pilot_runs VALUES (?, ?) ON CONFLICT DO NOTHING", [pilot_id, run_id])


def _insert(connection: duckdb.DuckDBPyConnection, pilot: Pilot) -> None:
    row = {
        "pilot_id": pilot.pilot_id,
        "name": pilot.name,
        "use_class": pilot.use_class,
        "models": [model.written for model in pilot.models],
        "corpora": [text.written for text in pilot.texts],
        "protocol": pilot.protocol,
        "seed": pilot.seed,
        "benchmark": pilot.benchmark.name,
        "metric": pilot.benchmark.metric,
        "config": pilot.config(),
        "note": pilot.note,
        "created_at": datetime.now(UTC).replace(tzinfo=None),
    }
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO pilots ({', '.join(row)}) VALUES ({marks})", list(row.values()))


def _add_scores(connection: duckdb.DuckDBPyConnection, pilot: Pilot) -> None:
    """The user's own scores, each beside what was registered of it before."""
    sql = "SELECT repository, revision, value, std_error, n_samples FROM scores WHERE source = ?"
    known = {tuple(row[:2]): tuple(row[2:]) for row in connection.execute(sql, [pilot.source]).fetchall()}
    rows = []
    for model in {(model.reference, model.revision): model for model in pilot.models}.values():
        if pilot.task is None or model.score is None:
            continue
        before = known.get((model.reference, model.revision))
        now = (model.score.value, model.score.std_error, model.score.n_samples)
        if before is None:
            rows.append(_score_row(pilot, pilot.task, model))
        elif before != now:
            raise InputError(
                f"The own score of {model.written} is registered as {_told(before)} in the pilot {pilot.pilot_id}, "
                f"and the file says {_told(now)}. A registered score is not changed: put it back, or give the pilot "
                "another name."
            )
    insert(connection, "scores", frame(rows, ScoreRow))


def _score_row(pilot: Pilot, task: OwnTask, model: PilotModel) -> ScoreRow:
    """`repository` is the reference that the warehouse has of any model, one of the hub or not."""
    score = model.score
    assert score is not None
    return ScoreRow(
        repository=model.reference,
        revision=model.revision,
        benchmark=task.name,
        metric=task.metric,
        filter="none",
        n_shot=None,
        suite=pilot.source,
        value=score.value,
        std_error=score.std_error,
        unit=task.unit,
        higher_is_better=task.higher_is_better,
        n_samples=score.n_samples,
        is_partial=False,
        is_group=False,
        source=pilot.source,
        licence=_LICENCE,
        as_of=None,
        flags="",
        file_sha256="",
    )


def _told(score: tuple[float, float | None, int | None]) -> str:
    value, std_error, n_samples = score
    error = "" if std_error is None else f" ± {std_error:g}"
    return f"{value:g}{error}" + ("" if n_samples is None else f" (n={n_samples})")
