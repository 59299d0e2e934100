"""Where things lie: the project's own data, and the user's warehouse."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DATA = PROJECT / "data"
REFERENCE = DATA / "reference"
"""What belongs to this version: published scores, reference profiles, calibration tables."""


def default_path() -> Path:
    """The warehouse file: WORKDIM_WAREHOUSE, or data/local/workdim.duckdb in the project."""
    chosen = os.environ.get("WORKDIM_WAREHOUSE")
    return Path(chosen) if chosen else DATA / "local" / "workdim.duckdb"
