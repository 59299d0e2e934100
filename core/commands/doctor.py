"""The verb doctor: what this installation has, what would fail, and how to fix it."""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path

from rich.cells import cell_len

from core.commands.context import selected_warehouse
from core.errors import ResourceError, Sentence, sentences
from core.files import nearest_folder
from core.locale import worded
from core.terminal.output import heads, pad, say, say_json
from core.terminal.tables import table

LEAST_DISK = 2e9
"""Bytes: the demo models, hidden states of one measurement, and its results."""
LEAST_MEMORY = 1.5e9
"""Bytes: a demo model with its pass takes 0.9 GB."""


@dataclass(frozen=True)
class Problem:
    line: str
    """What would fail, and how to fix it."""
    is_basic: bool = False
    """Whether this prevents even measuring and storing a demo model."""
    is_damage: bool = False
    """Whether stored data is lost or wrong."""

    @property
    def is_serious(self) -> bool:
        return self.is_basic or self.is_damage


def doctor(options: argparse.Namespace) -> int:
    """Exit code 1 if the basic job (measure a demo model, store the result) would fail, or stored data is damaged."""
    if options.instrument:
        return check_measurement(options)
    facts: dict[str, str] = {}
    problems = [
        problem
        for examine in (_program, _machine, _stores, _integrity, _network, _optional)
        for problem in examine(facts, options)
    ]
    if options.json:
        say_json(facts | {"problems": [asdict(problem) for problem in problems]})
    else:
        width = max(cell_len(worded(name)) for name in facts)
        say(*(f"{pad(worded(name), width)}  {worded(value)}" for name, value in facts.items()))
        say("", Sentence("What would fail, and how to mend it") if problems else Sentence("Nothing would fail."))
        for problem in problems:
            say(f"  {'!' if problem.is_serious else '-'} {worded(problem.line)}")
    return 1 if any(problem.is_serious for problem in problems) else 0


def _program(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    from core.measure.provenance import code_version, library_versions
    from core.models.machine import unmet_requirements
    from core.warehouse.reference import shipped_run_ids

    facts["Workdim"] = code_version()
    facts["Python"] = Sentence("{version} at {place}", version=platform.python_version(), place=sys.executable)
    facts[Sentence("system")] = platform.platform()
    facts |= library_versions()
    facts[Sentence("reference profiles")] = str(len(shipped_run_ids()))
    unmet = unmet_requirements()
    if unmet:
        yield Problem(Sentence("{unmet}. Run: `python -m pip install -r requirements.txt`", unmet=unmet), is_basic=True)


def _machine(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    import psutil

    from core.models.machine import devices

    memory = psutil.virtual_memory()
    facts[Sentence("devices")] = reduce(lambda a, b: Sentence("{first}; {second}", first=a, second=b), devices())
    free, whole = memory.available / 1e9, memory.total / 1e9
    facts[Sentence("memory")] = Sentence("{free:.1f} of {whole:.1f} GB free", free=free, whole=whole)
    if memory.available < LEAST_MEMORY:
        line = Sentence(
            "Only {free:.1f} GB of memory is free and a demo model takes {least:g}: close other programs, or measure with "
            "--memory-budget.",
            free=free,
            least=LEAST_MEMORY / 1e9,
        )
        yield Problem(line, is_basic=True)


def _stores(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    from core.models.machine import folder_bytes
    from core.models.packages import cache_folder
    from core.warehouse.integrity import LOCK_WAIT, check_health

    warehouse, cache = replace(selected_warehouse(options), wait=LOCK_WAIT), cache_folder()
    health = check_health(warehouse)
    facts[Sentence("warehouse")] = _with_remark(warehouse.path, _health_text(health))
    if health.problem:
        yield Problem(health.problem, is_basic=True)
    if health.n_waiting:
        yield Problem(
            Sentence(
                "{n} finished measurement waits beside the warehouse. Run: `workdim ingest`",
                "{n} finished measurements wait beside the warehouse. Run: `workdim ingest`",
                n=health.n_waiting,
            )
        )
    for line in health.damaged:
        yield Problem(sentences(line, Sentence("Move it away, or measure again.")), is_damage=True)
    facts[Sentence("cache")] = _with_remark(cache, f"{folder_bytes(cache) / 1e9:.2f} GB")
    places = (
        (Sentence("free disk, warehouse"), warehouse.path.parent, "--warehouse"),
        (Sentence("free disk, cache"), cache, "WORKDIM_CACHE"),
    )
    for name, folder, option in places:
        existing = nearest_folder(folder)
        free = shutil.disk_usage(existing).free
        facts[name] = f"{free / 1e9:.1f} GB"
        if free < LEAST_DISK:
            line = Sentence(
                "Only {free:.1f} GB of disk is free in {folder}, and {least:g} are needed. Free some, or choose another "
                "place with {option}.",
                free=free / 1e9,
                folder=folder,
                least=LEAST_DISK / 1e9,
                option=option,
            )
            yield Problem(line, is_basic=True)
        if not _is_writable(existing):
            yield Problem(
                Sentence("{what} may not be written here: check its permissions.", what=existing), is_basic=True
            )


def _with_remark(place: object, remark: str) -> Sentence:
    return Sentence("{place} ({remark})", place=place, remark=remark)


def _integrity(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    """Check stored data without changing it, on a copy so that no other process has to wait."""
    from core.models.machine import folder_bytes
    from core.terminal.progress import counting_bar
    from core.warehouse.integrity import LOCK_WAIT, check_health, check_integrity

    warehouse = replace(selected_warehouse(options), wait=LOCK_WAIT)
    trash = warehouse.folder.trash
    if trash.is_dir():
        facts[Sentence("trash")] = _with_remark(trash, f"{folder_bytes(trash) / 1e6:.1f} MB")
    health = check_health(warehouse)
    if health.problem is not None or not health.is_there:  # reported already
        return
    with counting_bar(Sentence("checking parcels")) as progress:
        examined = check_integrity(warehouse, options.thorough, progress)
    state = Sentence("damaged") if examined.is_damaged else Sentence("sound")
    read = Sentence(
        "{rows:,} rows and {n:,} parcel read",
        "{rows:,} rows and {n:,} parcels read",
        rows=examined.n_rows,
        n=examined.n_parcels,
    )
    facts[Sentence("integrity")] = _with_remark(state, read)
    for finding in examined.findings:
        yield Problem(finding.line, is_damage=finding.is_damage)


def _network(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    from huggingface_hub import constants, get_token

    from core.models.machine import folder_bytes, missing_demo_models, why_no_hub
    from core.models.network import route
    from core.models.packages import package_index

    try:
        hub_route = route()
    except ResourceError as error:  # missing certificates, or an invalid address
        facts["hub"] = Sentence("cannot be asked")
        yield Problem(Sentence("Models of the hub would fail. {reason}", reason=error))
    else:
        reason = why_no_hub()
        facts["hub"] = _with_remark(hub_route.endpoint, _reachability(reason))
        facts[Sentence("hub mirror")] = (
            hub_route.endpoint if hub_route.is_mirror else Sentence("none ({where})", where="HF_ENDPOINT")
        )
        facts[Sentence("hub proxy")] = hub_route.proxy or Sentence("none ({where})", where="HTTPS_PROXY")
        facts[Sentence("hub certificates")] = hub_route.certificate or Sentence("the system's own (SSL_CERT_FILE)")
        facts[Sentence("hub offline")] = hub_route.offline or Sentence("no ({how})", how="HF_HUB_OFFLINE")
        log_in = Sentence("{one}, or {other}", one="hf auth login", other="HF_TOKEN")
        facts[Sentence("hub log-in")] = Sentence("yes") if get_token() else Sentence("no ({how})", how=log_in)
        if reason:
            line = Sentence(
                "Models of the hub that are not in its cache would fail: {reason} Connect, set HTTPS_PROXY, HF_ENDPOINT or "
                "SSL_CERT_FILE as your network wants, or measure local folders, .gguf files and pypi: models.",
                reason=reason,
            )
            yield Problem(line)
    hub_cache = Path(constants.HF_HUB_CACHE)
    facts[Sentence("hub cache")] = _with_remark(hub_cache, f"{folder_bytes(hub_cache) / 1e9:.2f} GB")
    address, reason = package_index()
    facts[Sentence("package index")] = _with_remark(address, _reachability(reason))
    missing = missing_demo_models()
    state = Sentence("to be fetched: {models}", models=missing) if missing else Sentence("in the cache")
    facts[Sentence("demo models")] = state
    if reason:
        what = (
            Sentence("{models} cannot be fetched.", models=missing)
            if missing
            else Sentence("Other pypi: models would fail.")
        )
        remedy = Sentence("Connect, or set up pip's index or proxy.")
        yield Problem(sentences(what, reason, remedy), is_basic=bool(missing))


def _reachability(reason: str | None) -> Sentence:
    return Sentence("not reached") if reason else Sentence("answers")


def _optional(facts: dict[str, str], options: argparse.Namespace) -> Iterator[Problem]:
    """Packages that only some models need: a missing one is a fact, not a problem."""
    from core.models.machine import QUANTISER_PACKAGES, TOKENIZER_PACKAGES, installed

    kinds = (
        (Sentence("tokenizer packages"), Sentence("tokenizer packages, not installed"), TOKENIZER_PACKAGES),
        (Sentence("dequantisers"), Sentence("dequantisers, not installed"), QUANTISER_PACKAGES),
    )
    for name, name_of_absent, packages in kinds:
        versions = installed(packages)
        present = [f"{package} {version}" for package, version in versions.items() if version]
        absent = [package for package, version in versions.items() if not version]
        facts[name] = ", ".join(present) or Sentence("none")
        if absent:
            facts[name_of_absent] = ", ".join(absent)
    ray = installed(("ray",))["ray"]
    facts["Ray"] = ray or Sentence("not installed (only --engine ray needs it)")
    yield from ()


def _health_text(health) -> Sentence:
    if health.problem:
        return Sentence("cannot be used")
    counts = Sentence("{n} waiting, {damaged} damaged", n=health.n_waiting, damaged=len(health.damaged))
    if health.is_there:
        return Sentence("opens, {n} run, {counts}", "opens, {n} runs, {counts}", n=health.n_runs, counts=counts)
    there = Sentence("not there yet")
    return Sentence("{first}, {then}", first=there, then=counts) if health.n_waiting or health.damaged else there


def _is_writable(folder: Path) -> bool:
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_measurement(options: argparse.Namespace) -> int:
    """Exit code 1 if the shipped profile is not reproduced."""
    from core.runs.reference_check import MODEL, check_instrument
    from core.terminal.progress import ProgressBar

    with ProgressBar(MODEL) as bar:
        result = check_instrument(bar.report)
    rows = result.values.to_dicts()
    if options.json:
        say_json({"is_right": result.is_within_tolerance, "n_missing": result.n_missing, "values": rows})
        return 0 if result.is_within_tolerance else 1
    head = heads("quantity", "values", "largest deviation", "tolerance", "where")
    lines = [
        (
            row["quantity"],
            row["n_values"],
            f"{row['largest_deviation']:.3%}",
            f"{row['tolerance']:.1%}",
            sentences(
                Sentence("layer {layer}, {cloud}", layer=row["layer"], cloud=row["cloud"]),
                "" if row["within"] else Sentence("OUTSIDE"),
            ),
        )
        for row in rows
    ]
    say(*table(head, lines))
    if result.n_missing:
        say(
            Sentence(
                "{n} value of the reference was not measured.",
                "{n} values of the reference were not measured.",
                n=result.n_missing,
            )
        )
    say(
        Sentence("This installation measures what the shipped profile says, within its tolerances.")
        if result.is_within_tolerance
        else Sentence(
            "This installation does NOT measure what the shipped profile says: do not compare its numbers with those of "
            "others."
        )
    )
    return 0 if result.is_within_tolerance else 1
