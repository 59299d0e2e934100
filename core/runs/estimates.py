"""What is read of models before anything is measured: what measurements and plans will take, and whose tokenizer is readable.

It is read in a process of its own, under limits (core/limits.py): files of others decide what that takes, and pages must
not load the model libraries. The process reads a request as JSON from standard input and answers with estimates or with
the refusal, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from core import errors
from core.errors import CorpusError, InputError, ResourceError, Sentence
from core.files import default_warehouse, read_json_or_none
from core.forecast.times import expected_seconds as expected_seconds
from core.limits import anonymous_memory, free_bytes, limit_memory, watched
from core.records import PassEstimate, PlanConfig, PlanEstimate, Preflight, RunConfig, from_json
from core.runs.processes import environment
from core.runs.requests import with_companions
from core.texts.sample import open_text
from core.warehouse.warehouse import Warehouse

COMMAND = (sys.executable, "-P", "-m", "core.runs.estimates")
"""It reads a request as it was typed, in the folder where it was typed; with -P no file of that folder is imported."""
TIMEOUT = 300
"""Seconds that reading configuration, tokenizer and text may take."""


class Stopped(ResourceError):
    """The process exceeded its limits, and was stopped."""


def preflight_cards(configs: Sequence[RunConfig], warehouse: Warehouse) -> list[Preflight]:
    """One card for each measurement, in this process, without limits."""
    from core.forecast.preflight_card import estimate

    return [estimate(config, warehouse) for config in configs]


def estimate_plan(config: PlanConfig, warehouse: Warehouse) -> PlanEstimate:
    """What the plan will take, from config, tokenizer and text alone; downloads only small files of the hub.

    Raises InputError (and its kinds) for a plan that would be refused.
    """
    from core.forecast.times import known_costs, outline_of, pace_of, plan_seconds
    from core.models.hub import find_model
    from core.models.model import read_blueprint
    from core.plans.setup import check_plan, require_halves
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
        pace = pace_of(known_costs(warehouse), str(blueprint.device))
        if pace is None:
            return estimate
        return replace(
            estimate, seconds=plan_seconds(outline_of(blueprint.weightless.row), n_tokens, readings or 0, pace)
        )


def preflight_cards_from_process(
    configs: Sequence[RunConfig], warehouse: Warehouse, cpus: int | None = None
) -> list[Preflight]:
    """`preflight_cards` in a process of its own. Where that was stopped, its card says so, as any refusal.

    `cpus`: those of a job that runs elsewhere; by default as many as one here has. Raises InputError for the same requests.
    """
    try:
        answer = _run_process("cards", [asdict(config) for config in configs], warehouse, cpus)
    except Stopped as error:
        if len(configs) > 1:  # one of them is the cause: each by itself
            return [card for config in configs for card in preflight_cards_from_process([config], warehouse, cpus)]
        (config,) = configs
        known = config.model, config.corpus, config.protocol, config.seed, config.dtype
        return [Preflight(*known, refusals=(error.message,))]
    try:
        return _cards(answer)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("No estimate came back.") from error


def _cards(answer: Any) -> list[Preflight]:
    records = errors.from_record(answer)
    passes = [tuple(PassEstimate(**one) for one in record["passes"]) for record in records]
    return [from_json(Preflight, record | {"passes": one}) for record, one in zip(records, passes, strict=True)]


def plan_estimate_from_process(config: PlanConfig, warehouse: Warehouse) -> PlanEstimate:
    """`estimate_plan` in a process of its own. Raises InputError for the same requests."""
    return from_json(PlanEstimate, errors.from_record(_run_process("plan", asdict(config), warehouse)))


def with_readable_companions(config: RunConfig, models: Sequence[str], warehouse: Warehouse) -> list[RunConfig]:
    """As `with_companions`, but a model whose tokenizer cannot be read is no companion; its own request fails later.

    Raises InputError for a text that no model can be measured on, before models are fetched for their tokenizers.
    """
    if len(set(models)) < 2:
        return with_companions(config, models)
    readable = readable_models(list(dict.fromkeys(models)), [config], warehouse)
    return [
        replace(request, companions=tuple(name for name in request.companions if name in readable))
        for request in with_companions(config, models)
    ]


def readable_models(models: list[str], texts: Sequence[RunConfig], warehouse: Warehouse) -> list[str]:
    """The models whose tokenizer can be read, which are downloaded for it, if any; `texts` are the requests with each text once.

    Raises InputError if none of the texts can be measured on, before any model is fetched.
    """
    try:
        return _run_process("readable", {"models": models, "texts": [asdict(text) for text in texts]}, warehouse)
    except Stopped:
        return [one for model in models for one in readable_models([model], texts, warehouse)] if models[1:] else []


def _run_process(kind: str, request: Any, warehouse: Warehouse, cpus: int | None = None) -> Any:
    """The answer of a process of its own, as JSON. Raises InputError if it refuses the request or takes too long, Stopped
    if it exceeded its limits."""
    is_download = kind == "readable"  # which takes its time and shows its progress
    with tempfile.TemporaryDirectory(prefix="workdim-") as folder:
        reason_file = Path(folder) / "reason.json"
        try:
            completed = subprocess.run(
                [*COMMAND, kind, str(reason_file)],
                env=environment(warehouse) | ({"OMP_NUM_THREADS": str(cpus)} if cpus else {}),
                input=json.dumps(request),
                stdout=subprocess.PIPE,
                stderr=None if is_download else subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                timeout=None if is_download else TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(
                "There is no estimate after {patience} seconds: machine or network are busy.", patience=TIMEOUT
            ) from error
        stopped = read_json_or_none(reason_file)
    if stopped:
        raise Stopped(errors.from_record(stopped["told"]))
    try:
        answer = json.loads(completed.stdout)
        if "refused" in answer:
            raise InputError(errors.from_record(answer["refused"]))
        return answer["takes"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("No estimate came back.") from error


def main() -> None:
    """Answer the request on standard input: a layer plan, a list of measurements, or one of models."""
    kind, reason_file, request = sys.argv[1], Path(sys.argv[2]), json.load(sys.stdin)
    output = sys.stdout
    sys.stdout = sys.stderr  # standard output is for the answer only, not for what libraries print
    room = free_bytes()
    reason = Sentence(
        "The estimate exceeded the free {size:.2f} GB of memory and was stopped. Close programs, or choose a smaller model.",
        size=room / 1e9,
    )
    try:
        with watched(reason_file), limit_memory(anonymous_memory() + room, reason):
            takes = answer(kind, request)
    except InputError as error:
        output.write(json.dumps({"refused": errors.to_record(error.message)}))
    else:
        output.write(json.dumps({"takes": takes}))


def answer(kind: str, request: Any) -> Any:
    if kind == "plan":
        return errors.to_record(asdict(estimate_plan(from_json(PlanConfig, request), Warehouse(default_warehouse()))))
    if kind == "cards":
        configs = [from_json(RunConfig, record) for record in request]
        return [errors.to_record(asdict(card)) for card in preflight_cards(configs, Warehouse(default_warehouse()))]
    refusals = list[CorpusError]()
    for text in request["texts"]:
        try:
            open_text(from_json(RunConfig, text))
            break
        except CorpusError as error:
            refusals.append(error)
    else:
        raise refusals[0]
    if not request["models"]:
        return []
    from core.measure.plan import with_readable_tokenizer

    return with_readable_tokenizer(request["models"])


if __name__ == "__main__":
    main()
