"""Estimates of what measurements and layer plans will take, made here or in a process of their own.

Pages use the process, because an estimate loads the model libraries. It reads requests as JSON from standard input and
answers with estimates or with the refusal, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter

from core import errors
from core.errors import InputError, WorkdimError
from core.files import default_warehouse
from core.records import PlanConfig, PlanEstimate, Preflight, RunConfig
from core.runs.processes import ROOT, environment
from core.runs.requests import expand_request, job_config, run_config
from core.warehouse.warehouse import Warehouse

TIMEOUT = 300
"""Seconds: the first estimate on a machine measures its speed."""


def preflight_cards(configs: Sequence[RunConfig], warehouse: Warehouse) -> list[Preflight]:
    """One card for each measurement of the expanded requests."""
    from core.forecast.preflight_card import estimate

    return [estimate(part, warehouse) for config in configs for part in expand_request(config)]


def estimate_plan(config: PlanConfig) -> PlanEstimate:
    """What the plan will take, from config, tokenizer and text alone; downloads only small files of the hub.

    Raises InputError (and its kinds) for a plan that would be refused.
    """
    from core.forecast.cost import READ, start_seconds, token_seconds
    from core.forecast.speed import speed_of
    from core.models.model import read_blueprint
    from core.models.model_metadata import find_model
    from core.plans.setup import check_plan
    from core.plans.texts import require_halves
    from core.texts.corpora import open_corpus

    corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
    require_halves(corpus, config.seed)
    with find_model(config.model) as source:
        estimate = PlanEstimate(config.model, config.corpus, download_bytes=source.download_bytes, notes=source.notes)
        if source.weights is None:
            return estimate
        blueprint = read_blueprint(source.weights, config.dtype, config.device, None, source.has_tokenizer)
        setup = check_plan(config, corpus, blueprint)
        if not source.has_tokenizer:
            return estimate
        memory, n_searched, n_tokens = setup.memory, setup.search_windows.ids.size, sum(setup.costs().values())
        weight_bytes = setup.blueprint.weightless.row.weight_bytes
        readings = setup.count_weight_reads(memory.batch) if memory.on_demand else None
        estimate = replace(
            estimate, passes=n_tokens / n_searched, n_searched=n_searched, weight_bytes=weight_bytes, readings=readings
        )
        try:
            speed = speed_of(config.dtype, blueprint.device)
        except InputError:
            raise
        except WorkdimError as error:  # a machine that cannot be tested can still plan
            return replace(estimate, notes=(*estimate.notes, error.message))
        forward_seconds = n_tokens * token_seconds(speed, blueprint.shape, setup.n_blocks, setup.held_out.n_tokens)
        is_gguf = source.weights.gguf_file is not None
        load_seconds = start_seconds(speed, weight_bytes, is_gguf, blueprint.weightless.vocabulary_size)
        return replace(estimate, seconds=load_seconds + forward_seconds + (readings or 0) * weight_bytes * READ)


def preflight_cards_from_process(configs: Sequence[RunConfig], warehouse: Warehouse) -> list[Preflight]:
    """`preflight_cards` for a page, which must not load model libraries. Raises InputError for the same requests."""
    answer = _run_process("cards", [asdict(config) for config in configs], warehouse)
    try:
        cards = TypeAdapter(list[Preflight]).validate_python(errors.from_record(answer))
        return [_with_sentences(card, errors.from_record(record)) for card, record in zip(cards, answer, strict=True)]
    except (ValueError, KeyError, TypeError) as error:
        raise _no_estimate() from error


def _with_sentences(card: Preflight, record: dict[str, Any]) -> Preflight:
    """Restore the Sentences of a card, which type validation turned into plain strings."""
    return replace(
        card, comparison=record["comparison"], refusals=tuple(record["refusals"]), notes=tuple(record["notes"])
    )


def plan_estimate_from_process(config: PlanConfig, warehouse: Warehouse) -> PlanEstimate:
    """`estimate_plan` for a page. Raises InputError for the same requests."""
    record = errors.from_record(_run_process("plan", asdict(config), warehouse))
    return PlanEstimate(**record | {"notes": tuple(record["notes"])})


def _run_process(kind: str, request: Any, warehouse: Warehouse) -> Any:
    """The estimates of a process of its own, as JSON. Raises InputError if it refuses the request or takes too long."""
    try:
        completed = subprocess.run(
            [sys.executable, "-m", "core.runs.estimates", kind],
            cwd=ROOT,
            env=environment(warehouse),
            input=json.dumps(request),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            "There is no estimate after {patience} seconds: machine or network are busy.", patience=TIMEOUT
        ) from error
    try:
        answer = json.loads(completed.stdout)
        if "refused" in answer:
            raise InputError(errors.from_record(answer["refused"]))
        return answer["takes"]
    except (ValueError, KeyError, TypeError) as error:
        raise _no_estimate() from error


def _no_estimate() -> InputError:
    return InputError("No estimate came back.")


def main() -> None:
    """Answer the request on standard input: a layer plan, or a list of measurements."""
    kind, request = sys.argv[1], json.load(sys.stdin)
    output = sys.stdout
    sys.stdout = sys.stderr  # standard output is for the answer only, not for what libraries print
    try:
        if kind == "plan":
            takes = errors.to_record(asdict(estimate_plan(job_config("plan", request))))
        else:
            cards = preflight_cards([run_config(record) for record in request], Warehouse(default_warehouse()))
            takes = [errors.to_record(asdict(card)) for card in cards]
    except InputError as error:
        output.write(json.dumps({"refused": errors.to_record(error.message)}))
    else:
        output.write(json.dumps({"takes": takes}))


if __name__ == "__main__":
    main()
