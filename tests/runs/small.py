"""`python -m core` with one protocol more, which a tiny model is measured by in a second; jobs use the same command."""

from __future__ import annotations

import sys
from dataclasses import replace

from core.cli import main
from core.measure.protocol import PROTOCOLS
from core.runs import local

SMALL = replace(
    PROTOCOLS["quick"], name="small", n_sequences=16, n_tokens=96, n_draws=2, n_surrogates=1, n_random_models=1
)

if __name__ == "__main__":
    PROTOCOLS["small"] = SMALL
    local.COMMAND = (sys.executable, "-m", "tests.runs.small")
    sys.exit(main())
