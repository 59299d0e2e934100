"""Estimates of what measurements and layer plans will take: here, or in a process of their own that loads the model
libraries.

That process reads requests as JSON from standard input and answers with estimates or with the refusal, as JSON.
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
from core.errors import InputError
from core.files import default_warehouse
from core.records import PlanConfig, PlanEstimate, Preflight, RunConfig
from core.runs import planning
from core.runs.processes import ROOT, environment
from core.runs.requests import expand_request, job_config, run_config
from core.warehouse.warehouse import Warehouse

TIMEOUT = 300
"""Seconds: the first estimate on a machine measures its speed."""


def preflight_cards(configs: Sequence[RunConfig], warehouse: Warehouse) -> list[Preflight]:
    """One card for each measurement of the expanded requests."""
    from core.forecast.preflight_card import estimate

    return [estimate(part, warehouse) for asked in configs for part in expand_request(asked)]


def preflight_cards_from_process(configs: Sequence[RunConfig], warehouse: Warehouse) -> list[Preflight]:
    """`preflight_cards` for a page, which must not load model libraries. Raises InputError for the same requests."""
    answer = _run_process("cards", [asdict(config) for config in configs], warehouse)
    try:
        cards = TypeAdapter(list[Preflight]).validate_python(errors.from_record(answer))
        return [_with_sentences(card, errors.from_record(told)) for card, told in zip(cards, answer, strict=True)]
    except (ValueError, KeyError, TypeError) as error:
        raise _no_estimate() from error


def plan_estimate_from_process(config: PlanConfig, warehouse: Warehouse) -> PlanEstimate:
    """`core.runs.planning.estimate_plan` for a page. Raises InputError for the same requests."""
    record = errors.from_record(_run_process("plan", asdict(config), warehouse))
    return PlanEstimate(**record | {"notes": tuple(record["notes"])})


def _no_estimate() -> InputError:
    return InputError("No estimate came back.")


def _run_process(kind: str, asked: Any, warehouse: Warehouse) -> Any:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "core.runs.estimates", kind],
            cwd=ROOT,
            env=environment(warehouse),
            input=json.dumps(asked),
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
        answer = json.loads(done.stdout)
        if "refused" in answer:
            raise InputError(errors.from_record(answer["refused"]))
        return answer["takes"]
    except (ValueError, KeyError, TypeError) as error:
        raise _no_estimate() from error


def _with_sentences(card: Preflight, record: dict[str, Any]) -> Preflight:
    """Restore the Sentences of a card, which type validation turned into plain strings."""
    return replace(
        card, comparison=record["comparison"], refusals=tuple(record["refusals"]), notes=tuple(record["notes"])
    )


def main() -> None:
    kind, asked = sys.argv[1], json.load(sys.stdin)
    answer = sys.stdout
    sys.stdout = sys.stderr  # standard output is for the answer only, not for what libraries print
    try:
        if kind == "plan":
            takes = errors.to_record(asdict(planning.estimate_plan(job_config("plan", asked))))
        else:
            found = preflight_cards([run_config(one) for one in asked], Warehouse(default_warehouse()))
            takes = [errors.to_record(asdict(card)) for card in found]
    except InputError as error:
        answer.write(json.dumps({"refused": errors.to_record(error.message)}))
    else:
        answer.write(json.dumps({"takes": takes}))


if __name__ == "__main__":
    main()
