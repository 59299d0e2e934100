"""What measurements and layer plans will take, before they are made: here, or in a process of their own that may load the
model libraries.

That process reads the requests as JSON from standard input, and answers with what they take, or with what refuses them,
as JSON: nobody has to read a sentence to know what happened.
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
from core.files import default_path
from core.records import PlanConfig, PlanEstimate, Preflight, RunConfig
from core.runs import planning
from core.runs.processes import ROOT, environment
from core.runs.requests import config_of, parts_of, request_of
from core.warehouse.warehouse import Warehouse

PATIENCE = 300
"""Seconds for the cards: the first on a machine measures its speed."""


def cards(configs: Sequence[RunConfig], warehouse: Warehouse) -> list[Preflight]:
    """One card for each measurement that the requests stand for."""
    from core.forecast.preflight_card import estimate

    return [estimate(part, warehouse) for asked in configs for part in parts_of(asked)]


def cards_from_process(configs: Sequence[RunConfig], warehouse: Warehouse) -> list[Preflight]:
    """The same, for a page, which loads no model library. Raises InputError for what `cards` refuses."""
    answer = _from_process("cards", [asdict(config) for config in configs], warehouse)
    try:
        cards = TypeAdapter(list[Preflight]).validate_python(errors.read(answer))
        return [_with_sentences(card, errors.read(told)) for card, told in zip(cards, answer, strict=True)]
    except (ValueError, KeyError, TypeError) as error:
        raise _nothing_came() from error


def plan_from_process(config: PlanConfig, warehouse: Warehouse) -> PlanEstimate:
    """As `core.runs.planning.estimate`, for a page. Raises InputError for what that refuses."""
    told = errors.read(_from_process("plan", asdict(config), warehouse))
    return PlanEstimate(**told | {"notes": tuple(told["notes"])})


def _nothing_came() -> InputError:
    return InputError("No estimate came back.")


def _from_process(kind: str, asked: Any, warehouse: Warehouse) -> Any:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "core.runs.estimates", kind],
            cwd=ROOT,
            env=environment(warehouse),
            input=json.dumps(asked),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            "There is no estimate after {patience} seconds: machine or network are busy.", patience=PATIENCE
        ) from error
    try:
        answer = json.loads(done.stdout)
        if "refused" in answer:
            raise InputError(errors.read(answer["refused"]))
        return answer["takes"]
    except (ValueError, KeyError, TypeError) as error:
        raise _nothing_came() from error


def _with_sentences(card: Preflight, told: dict[str, Any]) -> Preflight:
    """With what is said in words as it came: the check of types makes plain texts of it."""
    return replace(card, comparison=told["comparison"], refusals=tuple(told["refusals"]), notes=tuple(told["notes"]))


def main() -> None:
    kind, asked = sys.argv[1], json.load(sys.stdin)
    answer = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is not the answer
    try:
        if kind == "plan":
            takes = errors.recorded(asdict(planning.estimate(request_of("plan", asked))))
        else:
            found = cards([config_of(one) for one in asked], Warehouse(default_path()))
            takes = [errors.recorded(asdict(card)) for card in found]
    except InputError as error:
        answer.write(json.dumps({"refused": errors.recorded(error.message)}))
    else:
        answer.write(json.dumps({"takes": takes}))


if __name__ == "__main__":
    main()
