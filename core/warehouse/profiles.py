"""One run read back as the profile that was stored, and the control runs that belong to a measurement."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from core.records import Profile
from core.tables import TABLES
from core.warehouse.parcel_format import PROFILE_FIELDS
from core.warehouse.store import Warehouse

# Every architecture shares its random controls; shuffled text needs the model's own weights.
_CONTROLS = """
    SELECT runs.run_id
    FROM runs JOIN models USING (model_id)
    WHERE runs.pass = $pass AND runs.corpus_id = $corpus_id AND runs.protocol_hash = $protocol_hash
        AND runs.dtype = $dtype AND models.tokenizer_hash = $tokenizer_hash
        AND runs.chat_template_hash IS NOT DISTINCT FROM $chat_template_hash
        AND models.configuration_hash = $configuration_hash AND coalesce(runs.stack, 'main') = $stack
        AND ($pass = 'random_init' OR runs.model_id = $model_id)
        AND ($pass <> 'random_init' OR runs.model_seed = $model_seed)
    ORDER BY runs.started_at DESC LIMIT 1
"""


# Whether a protocol hash is that of the same protocol with its own seed, only the protocol can tell.
_DRAWS = """
    SELECT run_id, seed, protocol_hash FROM runs
    WHERE pass = 'text' AND model_id = $model_id AND corpus_id = $corpus_id AND dtype = $dtype
        AND coalesce(stack, 'main') = $stack
    ORDER BY started_at, run_id
"""


def read_profile(warehouse: Warehouse, run_id: str) -> Profile:
    """The profile of a run, token results left out; KeyError where the warehouse has no such run."""
    run = _rows(warehouse, "runs", "run_id = ?", run_id)
    if not run:
        raise KeyError(run_id)
    many: dict[str, Any] = {
        field: _rows(warehouse, table, "run_id = ?", run_id) for table, field in PROFILE_FIELDS.items()
    }
    return Profile(
        model=_rows(warehouse, "models", "model_id = ?", run[0].model_id)[0],
        corpus=_rows(warehouse, "corpora", "corpus_id = ?", run[0].corpus_id)[0],
        run=run[0],
        **many,
    )


def find_control(warehouse: Warehouse, **same: Any) -> str | None:
    """The newest control run that agrees in everything named by `_CONTROLS`, or None."""
    found = warehouse.read(_CONTROLS, same)
    return found["run_id"][0] if found.height else None


def draws(warehouse: Warehouse, **same: Any) -> list[tuple[str, int, str]]:
    """run_id, seed and protocol_hash of the runs of one model on one text, the first measured first."""
    return warehouse.read(_DRAWS, same).rows()


def _rows(warehouse: Warehouse, table: str, condition: str, value: str) -> list[Any]:
    row_class = TABLES[table]
    names = [f.name for f in fields(row_class)]
    frame = warehouse.read(f"SELECT * FROM {table} WHERE {condition}", [value])
    return [row_class(**dict(zip(names, row, strict=True))) for row in frame.iter_rows()]
