"""One run read back as the profile that was stored, and the control runs that belong to a measurement."""

from __future__ import annotations

from typing import Any

from core.records import PROFILE_TABLES, Profile
from core.store.parcels import is_parcel, read_parcel
from core.warehouse.warehouse import Warehouse

_OF_RUN = ("runs", *PROFILE_TABLES)

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


# The profiles that Workdim ships were measured elsewhere: they are no reason not to measure here.
_SAME = """
    SELECT run_id, config FROM runs JOIN models USING (model_id)
    WHERE pass = 'text' AND model_id = $model_id AND corpus_id = $corpus_id AND protocol_hash = $protocol_hash
        AND dtype = $dtype AND coalesce(stack, 'main') = $stack AND NOT list_contains(tags, 'reference')
        AND models.configuration_hash = $configuration_hash AND models.tokenizer_hash = $tokenizer_hash
    ORDER BY started_at DESC, run_id DESC
"""


def read_profile(warehouse: Warehouse, run_id: str) -> Profile:
    """The profile of a run, token results left out; KeyError where the warehouse has no such run."""
    tables = {table: warehouse.read(f"SELECT * FROM {table} WHERE run_id = ?", [run_id]) for table in _OF_RUN}
    if tables["runs"].is_empty():
        raise KeyError(run_id)
    model_id = tables["runs"]["model_id"][0]
    corpus_id = tables["runs"]["corpus_id"][0]
    tables["models"] = warehouse.read("SELECT * FROM models WHERE model_id = ?", [model_id])
    tables["corpora"] = warehouse.read("SELECT * FROM corpora WHERE corpus_id = ?", [corpus_id])
    return Profile.from_frames(tables)


def read_finished(warehouse: Warehouse, run_id: str) -> Profile:
    """As `read_profile`, from the run's parcel where that is there: it can be read while the warehouse is locked."""
    folder = warehouse.parcels / run_id
    return Profile.from_frames(read_parcel(folder)) if is_parcel(folder) else read_profile(warehouse, run_id)


def find_control(warehouse: Warehouse, **same: Any) -> str | None:
    """The newest control run that agrees in everything named by `_CONTROLS`, or None."""
    found = warehouse.read(_CONTROLS, same)
    return found["run_id"][0] if found.height else None


def draws(warehouse: Warehouse, **same: Any) -> list[tuple[str, int, str]]:
    """run_id, seed and protocol_hash of the runs of one model on one text, the first measured first."""
    return warehouse.read(_DRAWS, same).rows()


def find_same(warehouse: Warehouse, **same: Any) -> list[tuple[str, str]]:
    """run_id and config of the runs of one model, text, protocol and dtype, the newest first."""
    names = ("model_id", "corpus_id", "protocol_hash", "dtype", "stack", "configuration_hash", "tokenizer_hash")
    return warehouse.read(_SAME, {name: same[name] for name in names}).rows()
