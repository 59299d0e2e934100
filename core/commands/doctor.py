"""The verb doctor: what this installation has, what would fail with it, and how to mend that."""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from core.commands.context import chosen_warehouse
from core.errors import ResourceError
from core.terminal.output import say, say_json

LEAST_DISK = 2e9
"""Bytes: the demo models, hidden states of one measurement, and its results."""
LEAST_MEMORY = 1.5e9
"""Bytes: a demo model with its pass takes 0.9 GB."""


@dataclass(frozen=True)
class Problem:
    line: str
    """What would fail, and how to mend it."""
    is_basic: bool = False
    """Whether even a demo model could not be measured and stored."""
    is_damage: bool = False
    """Whether something that was stored is lost or wrong."""

    @property
    def is_serious(self) -> bool:
        return self.is_basic or self.is_damage


def doctor(options: argparse.Namespace) -> int:
    """Exit code 1 where the basic job would fail (measure a demo model and store the result) or a store is damaged."""
    if options.instrument:
        return check_again(options)
    facts: dict[str, str] = {}
    problems = [
        problem
        for look in (_program, _machine, _stores, _integrity, _network, _optional)
        for problem in look(facts, options)
    ]
    if options.json:
        say_json(facts | {"problems": [asdict(problem) for problem in problems]})
    else:
        width = max(map(len, facts))
        say(*(f"{name:<{width}}  {value}" for name, value in facts.items()))
        say("", "What would fail, and how to mend it" if problems else "Nothing would fail.")
        for problem in problems:
            say(f"  {'!' if problem.is_serious else '-'} {problem.line}")
    return 1 if any(problem.is_serious for problem in problems) else 0


def _program(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    from core.measure.provenance import code_version, library_versions
    from core.models.machine import unmet_requirements
    from core.warehouse.reference import references

    facts["Workdim"] = code_version()
    facts["Python"] = f"{platform.python_version()} at {sys.executable}"
    facts["system"] = platform.platform()
    facts |= library_versions()
    facts["reference profiles"] = str(len(references()))
    unmet = unmet_requirements()
    if unmet:
        yield Problem(f"{'; '.join(unmet)}. Run: python -m pip install -r requirements.txt", is_basic=True)


def _machine(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    import psutil

    from core.models.machine import devices

    memory = psutil.virtual_memory()
    facts["devices"] = "; ".join(devices())
    facts["memory"] = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    if memory.available < LEAST_MEMORY:
        yield Problem(
            f"Only {memory.available / 1e9:.1f} GB of memory is free and a demo model takes {LEAST_MEMORY / 1e9:g}: "
            "close other programs, or measure with --memory-budget.",
            is_basic=True,
        )


def _stores(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    from core.models.machine import folder_bytes
    from core.models.packages import cache_folder
    from core.warehouse.integrity import PATIENCE, look_at

    warehouse, cache = replace(chosen_warehouse(options), wait=PATIENCE), cache_folder()
    health = look_at(warehouse)
    facts["warehouse"] = f"{warehouse.path} ({_words(health)})"
    if health.problem:
        yield Problem(health.problem, is_basic=True)
    if health.n_waiting:
        yield Problem(f"{health.n_waiting} finished measurements wait beside the warehouse. Run: workdim ingest")
    for line in health.damaged:
        yield Problem(f"{line} Move it away, or measure again.", is_damage=True)
    facts["cache"] = f"{cache} ({folder_bytes(cache) / 1e9:.2f} GB)"
    for name, folder in (("warehouse", warehouse.path.parent), ("cache", cache)):
        there = _nearest(folder)
        free = shutil.disk_usage(there).free
        facts[f"free disk, {name}"] = f"{free / 1e9:.1f} GB"
        if free < LEAST_DISK:
            yield Problem(
                f"Only {free / 1e9:.1f} GB of disk is free for the {name} in {folder}, and {LEAST_DISK / 1e9:g} are "
                f"needed. Free some, or choose another ({'--warehouse' if name == 'warehouse' else 'WORKDIM_CACHE'}).",
                is_basic=True,
            )
        if not _is_writable(there):
            yield Problem(f"{there} may not be written here: check its permissions.", is_basic=True)


def _integrity(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    """What is stored, looked at without changing it: on a copy, so that nobody waits for it."""
    from core.models.machine import folder_bytes
    from core.terminal.progress import bar
    from core.warehouse.integrity import PATIENCE, examine, look_at

    warehouse = replace(chosen_warehouse(options), wait=PATIENCE)
    trash = warehouse.folder.trash
    if trash.is_dir():
        facts["trash"] = f"{trash} ({folder_bytes(trash) / 1e6:.1f} MB)"
    health = look_at(warehouse)
    if health.problem is not None or not health.is_there:  # said already
        return
    with bar("checking parcels") as progress:
        examined = examine(warehouse, options.thorough, progress)
    facts["integrity"] = "damaged" if examined.is_damaged else "sound"
    facts["integrity"] += f" ({examined.n_rows:,} rows and {examined.n_parcels:,} parcels read)"
    for finding in examined.findings:
        yield Problem(finding.line, is_damage=finding.is_damage)


def _network(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    from huggingface_hub import constants, get_token

    from core.models.machine import folder_bytes, missing_demo_models, why_no_hub
    from core.models.network import route
    from core.models.packages import package_index

    try:
        way = route()
    except ResourceError as error:  # certificates that are not there, an address that is none
        facts["hub"] = "cannot be asked"
        yield Problem(f"Models of the hub would fail. {error}")
    else:
        reason = why_no_hub()
        facts["hub"] = f"{way.endpoint} ({'not reached' if reason else 'answers'})"
        facts["hub mirror"] = way.endpoint if way.is_mirror else "none (HF_ENDPOINT)"
        facts["hub proxy"] = way.proxy or "none (HTTPS_PROXY)"
        facts["hub certificates"] = way.certificate or "the system's own (SSL_CERT_FILE)"
        facts["hub offline"] = way.offline or "no (HF_HUB_OFFLINE)"
        facts["hub log-in"] = "yes" if get_token() else "no (hf auth login, or HF_TOKEN)"
        if reason:
            yield Problem(
                f"Models of the hub that are not in its cache would fail: {reason} Connect, set HTTPS_PROXY, "
                "HF_ENDPOINT or SSL_CERT_FILE as your network wants, or measure local folders, .gguf files and pypi: "
                "models."
            )
    facts["hub cache"] = f"{constants.HF_HUB_CACHE} ({folder_bytes(Path(constants.HF_HUB_CACHE)) / 1e9:.2f} GB)"
    address, reason = package_index()
    facts["package index"] = f"{address} ({'not reached' if reason else 'answers'})"
    missing = missing_demo_models()
    facts["demo models"] = f"to be fetched: {', '.join(missing)}" if missing else "in the cache"
    if reason:
        what = f"{', '.join(missing)} cannot be fetched" if missing else "Other pypi: models would fail"
        yield Problem(f"{what}. {reason} Connect, or set up pip's index or proxy.", is_basic=bool(missing))


def _optional(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    """Packages that only some models ask for: their absence is a fact and no problem."""
    from core.models.machine import QUANTISER_PACKAGES, TOKENIZER_PACKAGES, installed

    for name, packages in (("tokenizer packages", TOKENIZER_PACKAGES), ("dequantisers", QUANTISER_PACKAGES)):
        found = installed(packages)
        there = [f"{package} {version}" for package, version in found.items() if version]
        absent = [package for package, version in found.items() if not version]
        facts[name] = ", ".join(there) or "none"
        if absent:
            facts[f"{name}, not installed"] = ", ".join(absent)
    ray = installed(("ray",))["ray"]
    facts["Ray"] = ray or "not installed (only --engine ray needs it)"
    yield from ()


def _words(health) -> str:
    if health.problem:
        return "cannot be used"
    waiting = f", {health.n_waiting} waiting, {len(health.damaged)} damaged"
    if not health.is_there:
        return f"not there yet{waiting if health.n_waiting or health.damaged else ''}"
    return f"opens, {health.n_runs} runs{waiting}"


def _nearest(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def _is_writable(folder: Path) -> bool:
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_again(options: argparse.Namespace) -> int:
    """Exit code 1 where the shipped profile is not measured again."""
    from core.runs.reference_check import MODEL, check_instrument
    from core.terminal.progress import ProgressBar

    with ProgressBar(MODEL) as bar:
        found = check_instrument(bar.report)
    rows = found.values.to_dicts()
    if options.json:
        say_json({"is_right": found.is_right, "n_missing": found.n_missing, "values": rows})
        return 0 if found.is_right else 1
    say(f"{'quantity':<32}{'values':>7}{'largest deviation':>20}{'tolerance':>11}   where")
    for row in rows:
        mark = "" if row["within"] else "  OUTSIDE"
        say(
            f"{row['quantity']:<32}{row['n_values']:>7}{row['largest_deviation']:>19.3%} {row['tolerance']:>10.1%}"
            f"   layer {row['layer']}, {row['cloud']}{mark}"
        )
    if found.n_missing:
        say(f"{found.n_missing} values of the reference were not measured.")
    say(
        "This installation measures what the shipped profile says, within its tolerances."
        if found.is_right
        else "This installation does NOT measure what the shipped profile says: do not compare its numbers with "
        "those of others."
    )
    return 0 if found.is_right else 1
