"""Runs and layer plans: ingested or saved, annotated, deleted and restored; read back as they were measured, and found by
what they are of.

Each function that changes a parcel or a file does so inside `Warehouse.update`, so that the rows follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from core.errors import InputError, WarehouseError, missing
from core.ids import SHORT_ID, only_id
from core.records import LOCAL, SHIPPED, LayerPlan, Profile, RunConfig, from_json, without_places
from core.registry.protocols import CONTROLS, REFERENCE, SHARED, STANDARD_CONTROLS, Protocol
from core.store import parcels, user_files
from core.store.parcels import Annotations, is_parcel, read_header, read_parcel
from core.tables import LayerCorrelatorRow, PlanOutcomeRow, Sibling, ids_of, records
from core.warehouse import sync
from core.warehouse.connection import Readable, placeholders
from core.warehouse.sync import RUN
from core.warehouse.warehouse import Warehouse


def ingest_parcel(warehouse: Warehouse, parcel: Path) -> bool:
    """Insert one of the warehouse's parcels; False if its run is in the warehouse already."""
    run_id = parcel.name
    with warehouse.update(RUN, run_id) as connection:
        known = connection.execute("SELECT 1 FROM runs WHERE run_id = ?", [run_id]).fetchall()
    return not known


def annotate(warehouse: Warehouse, run_id: str, change: Callable[[Annotations], Annotations]) -> Annotations:
    """Change tags and note of a run, in its parcel and in the warehouse, and return the new ones.

    Raises InputError for an unknown run and for what `change` refuses; nothing is changed then.
    """
    parcel = require_parcel(warehouse, run_id)
    with warehouse.update(RUN, run_id) as connection:
        rows = connection.execute("SELECT tags, note FROM runs WHERE run_id = ?", [run_id]).fetchall()
        if not rows:
            raise _missing_run(run_id)
        annotations = change(parcels.annotations_from_row(*rows[0]))
        parcels.write_annotations(parcel, annotations)
    return annotations


def require_parcel(warehouse: Warehouse, run_id: str) -> Path:
    """The run's parcel. Raises InputError for an unknown run, WarehouseError for a parcel that is gone or damaged."""
    parcel = warehouse.parcels / run_id
    if not is_parcel(parcel):
        raise _without_parcel(warehouse, run_id)
    read_parcel(parcel)
    return parcel


def find_dependents(warehouse: Warehouse, run_ids: Sequence[str]) -> list[str]:
    """The other runs that were judged with one of these."""
    marks = placeholders(run_ids)
    uses = warehouse.read(
        "SELECT DISTINCT run_id FROM (SELECT run_id, unnest(control_run_ids) AS used FROM run_summaries) "
        f"WHERE used IN ({marks}) AND run_id NOT IN ({marks}) ORDER BY run_id",
        [*run_ids, *run_ids],
    )
    return ids_of(uses)


def delete_runs(warehouse: Warehouse, run_ids: Sequence[str]) -> None:
    """Move the parcels of these runs to the trash; their rows follow.

    Raises InputError, and deletes nothing, if another run was judged with one of them or a run is unknown.
    Raises ResourceError if one cannot be moved, and those after it stay; or if the rows cannot follow yet.
    """
    run_ids = list(dict.fromkeys(run_ids))
    if dependents := find_dependents(warehouse, run_ids):
        users = [user[:SHORT_ID] for user in dependents]
        raise InputError("Verdicts of other runs rest on it: {users}. Delete these too, or keep it.", users=users)
    for run_id in run_ids:
        if not is_parcel(warehouse.parcels / run_id):
            raise _without_parcel(warehouse, run_id)
    with warehouse.update(RUN, *run_ids):
        for run_id in run_ids:
            if not is_parcel(warehouse.parcels / run_id):  # another process has deleted it meanwhile
                raise _missing_run(run_id)
            parcels.move_to_trash(warehouse.folder, run_id)


def restore_run(warehouse: Warehouse, run_id: str) -> list[str]:
    """Restore a deleted run, with those control runs it was judged with that are in the trash, too.

    Returns the ids of all restored runs. Raises InputError for a run that is not in the trash, WarehouseError if
    its parcel contradicts the warehouse; it then stays in the trash.
    """
    folder = warehouse.folder
    if not is_parcel(folder.trash / run_id):
        raise InputError(missing("run", run_id, "runs list --deleted"))
    tables = read_parcel(folder.trash / run_id)
    control_ids = [control_id for ids in tables["run_summaries"]["control_run_ids"].drop_nulls() for control_id in ids]
    controls = [control_id for control_id in dict.fromkeys(control_ids) if is_parcel(folder.trash / control_id)]
    run_ids = [*controls, run_id]
    with warehouse.update(RUN, *run_ids) as connection:
        known = sync.known_content(connection)
        for restored_id in run_ids:
            sync.check_content(known, read_header(folder.trash / restored_id).rows)
        for restored_id in run_ids:
            parcels.restore_parcel(folder, restored_id)
    return run_ids


def empty_trash(warehouse: Warehouse) -> int:
    """Remove the content of the trash for good; returns the number of runs."""
    if not warehouse.folder.trash.exists():
        return 0
    with warehouse.update(RUN):  # first applies whatever a killed process left
        return parcels.clear_trash(warehouse.folder)


def _without_parcel(warehouse: Warehouse, run_id: str) -> InputError | WarehouseError:
    if warehouse.read("SELECT 1 FROM runs WHERE run_id = ?", [run_id]).is_empty():
        return _missing_run(run_id)
    return WarehouseError(
        "The parcel of run {run} is gone. Restore it (`workdim restore FILE`), or rebuild without it "
        "(`workdim ingest --rebuild`).",
        run=run_id[:SHORT_ID],
    )


def _missing_run(run_id: str) -> InputError:
    return InputError(missing("run", run_id, "runs"))


# --- reading back ------------------------------------------------------------------------------------------------


def read_profile(warehouse: Warehouse, run_id: str) -> Profile:
    """A run as it was measured, from its parcel: the long tables of the DuckDB file have fewer digits, and verdicts are
    computed from this. Token results are left out.

    Raises KeyError if the warehouse has no such run, WarehouseError if its parcel is gone or damaged.
    """
    parcel = warehouse.parcels / run_id
    if is_parcel(parcel):
        return Profile.from_frames(read_parcel(parcel))
    error = _without_parcel(warehouse, run_id)
    raise KeyError(run_id) if isinstance(error, InputError) else error


@dataclass(frozen=True)
class ControlPass:
    """A control pass of a measurement, and the id of its existing run if the warehouse has one."""

    name: str
    run_id: str | None


def control_passes(
    config: RunConfig, protocol: Protocol, identity: Mapping[str, Any], has_bos: bool, warehouse: Warehouse | None
) -> list[ControlPass]:
    """Control passes of the protocol or the request, plus others that the warehouse has (None: no warehouse).

    `identity` holds what runs share that compare (`core.measure.plan.Identity`). `without_bos` is skipped if the text opens
    without a BOS token.
    """
    controls, wanted = [], {*protocol.passes, *(STANDARD_CONTROLS if config.controls else ())}
    for name, control in CONTROLS.items():
        if name == "without_bos" and not has_bos:
            continue
        if control.judges and REFERENCE.cloud not in protocol.clouds:
            continue
        model_seed = config.seed if control.has_model_seed else None
        n_seeds = protocol.n_control_seeds if control.judges else 0
        run_id = (
            _find_control(warehouse, n_seeds, **identity, model_seed=model_seed, **{"pass": name})
            if warehouse
            else None
        )
        if run_id or name in wanted:
            controls.append(ControlPass(name, run_id))
    return controls


def _find_control(warehouse: Warehouse, n_seeds: int, **same: Any) -> str | None:
    """The newest control run that agrees in everything that is named below, of at least `n_seeds` draws, or None."""
    sql = """
        SELECT runs.run_id
        FROM runs JOIN models USING (model_id)
        WHERE runs.pass = $pass AND runs.corpus_id = $corpus_id AND runs.protocol_hash = $protocol_hash
            AND runs.dtype = $dtype AND models.tokenizer_hash = $tokenizer_hash
            AND runs.chat_template_hash IS NOT DISTINCT FROM $chat_template_hash
            AND models.configuration_hash = $configuration_hash AND runs.stack = $stack
            AND ($is_shared OR runs.model_id = $model_id)
            AND runs.model_seed IS NOT DISTINCT FROM $model_seed
            AND (SELECT count(DISTINCT model_seed) FROM layer_seeds WHERE run_id = runs.run_id) >= $n_seeds
        ORDER BY runs.started_at DESC LIMIT 1
    """
    rows = warehouse.read(sql, same | {"is_shared": same["pass"] in SHARED, "n_seeds": n_seeds})
    return ids_of(rows)[0] if rows.height else None


def seeds_of_runs(warehouse: Warehouse, **same: Any) -> list[tuple[str, int, str]]:
    """run_id, seed and protocol_hash of the runs of one model on one text, oldest first."""
    # Only the protocol can tell whether a hash is its own with another seed.
    sql = """
        SELECT run_id, seed, protocol_hash FROM runs
        WHERE pass = 'text' AND model_id = $model_id AND corpus_id = $corpus_id AND dtype = $dtype
            AND stack = $stack
        ORDER BY started_at, run_id
    """
    return warehouse.read(sql, same).rows()


def find_same_run(
    warehouse: Warehouse,
    config: RunConfig,
    protocol: Protocol,
    identity: Mapping[str, Any],
    shares_words: Callable[[str | None], bool],
) -> str | None:
    """The newest run of this model and text that has all that is requested, beside whatever models it was measured.

    `identity` as in `control_passes`; `shares_words` tells by the hash of a run's words whether the request has the same.
    """
    request = from_json(RunConfig, without_places(asdict(config)))
    for run_id, stored_config, words_hash in _runs_of(warehouse, identity):
        with suppress(ValueError, KeyError, TypeError, InputError):  # of another version, with other fields
            stored = json.loads(stored_config)
            run, of_run = from_json(RunConfig, stored["run"]), from_json(Protocol, stored["protocol"])
            # It compares with those that are to be measured beside it: on token types, or on the same words.
            has_words = "one_per_word" not in protocol.clouds or {*run.companions} == {*request.companions}
            if _covers(run, request) and _protocol_covers(of_run, protocol) and (has_words or shares_words(words_hash)):
                return run_id
    return None


def _runs_of(warehouse: Warehouse, same: Mapping[str, Any]) -> list[tuple[str, str, str | None]]:
    """run_id, config and words_hash of the runs of one model, text, protocol and dtype, newest first."""
    names = ("model_id", "corpus_id", "protocol_hash", "dtype", "stack", "configuration_hash", "tokenizer_hash")
    # Shipped profiles were measured elsewhere: they are no reason not to measure here.
    sql = """
        SELECT run_id, config, words_hash FROM runs JOIN models USING (model_id)
        WHERE pass = 'text' AND model_id = $model_id AND corpus_id = $corpus_id AND protocol_hash = $protocol_hash
            AND dtype = $dtype AND stack = $stack AND NOT list_contains(tags, 'reference')
            AND models.configuration_hash = $configuration_hash AND models.tokenizer_hash = $tokenizer_hash
        ORDER BY started_at DESC, run_id DESC
    """
    return warehouse.read(sql, {name: same[name] for name in names}).rows()


def _covers(run: RunConfig, request: RunConfig) -> bool:
    """Whether a run has all that is requested, whatever its words."""
    return (
        {*run.estimators} >= {*request.estimators}
        and run.keep_tokens >= request.keep_tokens
        and run.controls >= request.controls
        and request.labels_sha256 in (None, run.labels_sha256)
    )


def _protocol_covers(run: Protocol, request: Protocol) -> bool:
    """Whether a protocol of the same hash has all the passes and estimators requested, which the hash leaves out."""
    return (
        run.n_surrogates >= request.n_surrogates
        and run.n_control_seeds >= request.n_control_seeds
        and {*run.passes} >= {*request.passes}
        and {*run.more_estimators} >= {*request.more_estimators}
    )


def runs_to_share(warehouse: Warehouse, config: RunConfig) -> list[str]:
    """Runs that a measurement can reuse: random models on its text by its protocol, and runs of its own model on it."""
    stored = without_places(asdict(config))  # as a run holds its request
    names = {key: stored[key] for key in ("protocol", "corpus", "model")}
    sql = """
        SELECT run_id FROM runs
        WHERE protocol = $protocol AND json_extract_string(config, '$.run.corpus') = $corpus
            AND (list_contains($passes, pass) OR json_extract_string(config, '$.run.model') = $model)
    """
    return ids_of(warehouse.read(sql, names | {"passes": list(SHARED)}))


class StoredCost(NamedTuple):
    """The shape of a model that was measured, and what a pass on text took of it."""

    reference: str
    parameters: int
    n_layers: int
    hidden_size: int
    weight_format: str
    protocol: str
    device: str
    phase_seconds: str
    is_own: bool
    """Measured here, and not on another machine under unknown load."""
    processor_seconds: float | None


def stored_costs(warehouse: Readable) -> list[StoredCost]:
    """What an estimate is made from before a model is read, the newest first."""
    rows = warehouse.read(
        f"""SELECT models.reference, models.parameters, models.n_layers, models.hidden_size, models.weight_format,
                runs.protocol, runs.device, runs.phase_seconds, NOT list_contains(runs.tags, '{SHIPPED}'),
                TRY_CAST(json_extract_string(runs.execution, '$.processor_seconds') AS DOUBLE)
            FROM runs JOIN models USING (model_id) WHERE runs.pass = 'text' AND models.parameters > 0
            ORDER BY runs.started_at DESC"""
    )
    return [StoredCost(*row) for row in rows.iter_rows()]


# --- layer plans, each a file of people's own ------------------------------------------------------------------------

_PLAN = "plan"


def save_plan(warehouse: Warehouse, *plans: LayerPlan) -> str:
    """Write the file of each plan and sync their rows, as `Warehouse.save` does."""
    return warehouse.save(_PLAN, {plan.plan.plan_id: plan.frames() for plan in plans})


def has_plan(warehouse: Warehouse, plan_id: str) -> bool:
    return user_files.exists(warehouse.folder, _PLAN, plan_id)


def load_plan(warehouse: Warehouse, plan_id: str) -> LayerPlan | None:
    """A plan from its file; None if there is none. Raises WarehouseError for a damaged file."""
    tables = user_files.read(warehouse.folder, _PLAN, plan_id)
    return LayerPlan.from_frames(tables) if tables else None


def list_plans(warehouse: Readable) -> pl.DataFrame:
    """Rows of plans, those made here before shipped ones, newest first; `asked` is the model as requested."""
    return warehouse.read(
        "SELECT *, json_extract_string(config, '$.model') AS asked FROM plans "
        f"ORDER BY note IS NOT DISTINCT FROM '{SHIPPED}', plan_id DESC"
    )


def block_outcomes(warehouse: Readable) -> list[PlanOutcomeRow]:
    """Outcomes of whole blocks in all verified plans: loss on selection and held-out text, and influence."""
    rows = warehouse.read(
        "SELECT plan_outcomes.* FROM plan_outcomes JOIN plans USING (plan_id) WHERE is_verified AND unit = 'block' "
        "AND text IN ('selection', 'held_out') AND measure IN ('loss', 'influence')"
    )
    return records(rows, PlanOutcomeRow)


def cheapest_verified_plan(warehouse: Readable, with_reference: bool = True) -> LayerPlan | None:
    """The verified plan with the smallest increase of loss; plans made here come first, then those within their budget.

    With `with_reference`, shipped plans too, of models that were not trained for Workdim. Read from the rows, so that a
    file that is damaged or gone does not take a screen with it.
    """
    is_own = f"(note IS DISTINCT FROM '{SHIPPED}')"
    is_shown = f"({is_own} OR NOT starts_with(reference, '{LOCAL}'))" if with_reference else is_own
    rows = warehouse.read(
        f"FROM plans WHERE is_verified AND {is_shown} ORDER BY {is_own} DESC, is_recommended DESC, loss_increase, plan_id LIMIT 1"
    )
    if rows.is_empty():
        return None
    outcomes = warehouse.read("FROM plan_outcomes WHERE plan_id = ?", [rows["plan_id"][0]])
    return LayerPlan.from_frames({"plans": rows, "plan_outcomes": outcomes})


def smaller_sibling(warehouse: Readable, model_id: str, corpus_id: str) -> Sibling | None:
    """The smaller model of the same family that predicts a text best. None where not both were measured on that text."""
    rows = warehouse.read(
        """
        WITH readings AS (
            SELECT model_id, name, family, parameters, protocol_hash, min(bits_per_byte) AS bits FROM runs
            JOIN models USING (model_id) WHERE corpus_id = $text AND pass = 'text' AND bits_per_byte IS NOT NULL GROUP BY ALL)
        SELECT small.name, small.parameters, small.bits AS bits_per_byte, own.bits AS own_bits_per_byte
        FROM readings AS own JOIN readings AS small USING (family, protocol_hash)
        WHERE own.model_id = $model AND small.parameters < own.parameters ORDER BY small.bits, small.name LIMIT 1
        """,
        {"text": corpus_id, "model": model_id},
    )
    return next(iter(records(rows, Sibling)), None)


def readable_losses(warehouse: Readable, model_id: str, corpus_id: str) -> list[LayerCorrelatorRow]:
    """Layer, value, std_error and n_points of what the head reads of the next token at each layer, by the newest run of the model on
    a text that has it."""
    rows = warehouse.read(
        """
        SELECT layer, value, std_error, n_points FROM layer_correlators JOIN runs USING (run_id)
        WHERE correlator = 'readable_loss' AND model_id = $model AND corpus_id = $text AND pass = 'text'
        QUALIFY run_id = max(run_id) OVER () ORDER BY layer
        """,
        {"text": corpus_id, "model": model_id},
    )
    return records(rows, LayerCorrelatorRow)


def find_plan(warehouse: Warehouse, start: str) -> LayerPlan:
    """The plan whose id begins or ends with `start`, from its file. Raises InputError if none or several do."""
    plan_id = only_id(list_plans(warehouse)["plan_id"], start, "plan", "plan --list")
    layer_plan = load_plan(warehouse, plan_id)
    if layer_plan is None:
        raise WarehouseError("The file of plan {plan} is gone: restore a backup.", plan=plan_id[:SHORT_ID])
    return layer_plan
