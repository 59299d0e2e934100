"""What measurements will take, worked out in a process of its own: a screen loads no model library.

Records go in and out. The command line works in its own process, by `forecast.preflight_card.estimate`.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence

from core.errors import InputError, ResourceError, WorkdimError
from core.records import Preflight, RunConfig
from core.runs.processes import ROOT, environment
from core.warehouse.warehouse import Warehouse

PATIENCE = 300
"""Seconds: the first estimate on a machine measures its speed."""


def estimate_apart(configs: Sequence[RunConfig], warehouse: Warehouse) -> list[Preflight]:
    """One card for each measurement that the requests stand for. Raises what `estimate` raises there."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "core.runs.estimates"],
            cwd=ROOT,
            env=environment(warehouse),
            input=pickle.dumps((list(configs), warehouse)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ResourceError(f"There is no estimate after {PATIENCE} seconds: machine or network are busy.") from error
    if done.returncode:
        raise WorkdimError(f"The process that estimates ended with code {done.returncode}, perhaps for want of memory.")
    answer = pickle.loads(done.stdout)
    if isinstance(answer, WorkdimError):
        raise answer
    return answer


def _answer(configs: Sequence[RunConfig], warehouse: Warehouse) -> list[Preflight] | WorkdimError:
    from core.forecast.preflight_card import estimate
    from core.runs.execution import parts_of

    try:
        return [estimate(part, warehouse) for config in configs for part in parts_of(config)]
    except InputError as error:
        return InputError(str(error))
    except WorkdimError as error:
        return WorkdimError(str(error))


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what libraries print is no part of the answer
        out.write(pickle.dumps(_answer(*pickle.load(sys.stdin.buffer))))
