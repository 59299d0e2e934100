"""Limits of memory and time: a process that exceeds its own is ended, and its reason is told, in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from core.commands.jobs import report_end
from core.errors import Sentence, from_record
from core.limits import limit_memory
from core.locale import in_language, worded
from core.records import RunConfig
from core.runs import jobs, requests
from core.runs.jobs import job_status, submit
from tests.conftest import ROOT, run_core
from tests.models.test_hostile_models import with_settings
from tests.tiny import save_tiny_model

pytestmark = pytest.mark.slow
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="the memory of processes is read from /proc")

BEGIN = """
import re, sys, time
from pathlib import Path
from core import limits
from core.errors import Sentence
with limits.watched(Path(sys.argv[1])):
"""


def run_watched(body: str, tmp_path) -> tuple[int, str]:
    """Exit code and reason of a process that does this while it is watched."""
    file = tmp_path / "reason.json"
    script = BEGIN + "".join(f"    {line}\n" for line in body.strip().splitlines()) + "    print('at its end')"
    done = subprocess.run([sys.executable, "-c", script, str(file)], cwd=ROOT, capture_output=True, timeout=120)
    assert (done.returncode == 0) == (b"at its end" in done.stdout), done.stderr
    if not file.exists():
        return done.returncode, ""
    return done.returncode, from_record(json.loads(file.read_text(encoding="utf-8"))["told"])


TAKE = "taken = bytearray(300 * 2**20); time.sleep(0.5)"
STAY = TAKE.replace("0.5", "30")
"""For as long as the watching process may need to begin on a busy machine."""


@needs_proc
def test_a_process_is_ended_where_it_takes_more_memory_than_it_said(tmp_path):
    limit = "with limits.limit_memory(limits.anonymous_memory() + 2e8, Sentence('{model} is too large.', model='m')):"
    assert run_watched(f"{limit}\n    {STAY}", tmp_path) == (-9, "m is too large.")


@needs_proc
def test_what_its_workers_take_counts_as_well(tmp_path):
    """The worker outlives it, and would hold open what its end is waited for on."""
    limit = "with limits.limit_memory(limits.anonymous_memory() + 2e8, Sentence('too large')):"
    start = (
        "import subprocess; quiet = subprocess.DEVNULL; "
        f"subprocess.run([sys.executable, '-c', {f'import time; {STAY}'!r}], stdout=quiet, stderr=quiet)"
    )
    assert run_watched(f"{limit}\n    {start}", tmp_path) == (-9, "too large")


@needs_proc
def test_a_limit_holds_only_as_long_as_it_was_set_for(tmp_path):
    limit = "with limits.limit_memory(limits.anonymous_memory() + 2e8, Sentence('too large')):"
    assert run_watched(f"{limit}\n    time.sleep(0.5)\n{TAKE}", tmp_path) == (0, "")


@needs_proc
def test_opening_ends_after_its_time_within_code_that_nothing_in_its_process_interrupts(tmp_path):
    body = "limits.OPENING_SECONDS = 1\nwith limits.opening('m'):\n    re.match('(a+)+$', 40 * 'a' + 'b')"
    code, reason = run_watched(body, tmp_path)
    assert code == -9 and reason.startswith("Opening m took over 1 seconds and was stopped")


@needs_proc
def test_of_two_limits_the_one_that_is_exceeded_counts(tmp_path):
    within = "with limits.limit_memory(limits.anonymous_memory() + 2e8, Sentence('outer')), limits.opening('m'):"
    assert run_watched(f"{within}\n    {STAY}", tmp_path) == (-9, "outer")


def test_a_process_that_is_not_watched_has_no_limits():
    with limit_memory(1, Sentence("This process would have been ended.")):
        pass


SMALL = "from core import limits; limits.OPENING_BYTES = 2**29; "
TOLD = "Opening labels took over 0.54 GB of memory and was stopped"


@pytest.fixture
def labels(tmp_path):
    """A model of a few kilobytes whose configuration takes gigabytes."""
    return with_settings(save_tiny_model(tmp_path / "labels"), num_labels=10**8)


@needs_proc
def test_an_estimate_that_is_stopped_is_a_refusal_and_the_others_are_told(labels, tiny_llama, warehouse, monkeypatch):
    begin = SMALL + "from core.runs import requests; requests.main()"
    monkeypatch.setattr(requests, "COMMAND", (sys.executable, "-c", begin))
    config = RunConfig(str(tiny_llama), "english-business")
    cards = requests.preflight_cards_from_process([replace(config, model=str(labels)), config], warehouse)
    assert [card.model for card in cards] == [str(labels), str(tiny_llama)]
    assert [len(card.refusals) for card in cards] == [1, 0] and cards[0].refusals[0].startswith(TOLD)
    assert requests.readable_models([str(labels)], [config], warehouse) == []  # so it is no companion of the other


@needs_proc
def test_a_job_that_is_stopped_says_why_in_the_readers_language(labels, warehouse, monkeypatch, capsys):
    begin = SMALL + "import sys; from core.commands.main import main; sys.exit(main())"
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", begin))
    job = submit(RunConfig(str(labels), "english-business"), warehouse)
    (status,) = jobs.run_jobs([job], warehouse, 1, lambda status: None)
    assert (status.state, status.exit_code) == ("failed", 2) and status.reason.startswith(TOLD)
    assert in_language("ja", worded, status.reason).startswith(
        "labels を開くのに0.54 GBを超えるメモリを使ったため、中止しました。"
    )
    (told,) = json.loads(run_core("jobs", "--json", warehouse=warehouse.path).stdout)
    assert told["state"] == "failed" and told["reason"] == status.reason
    assert report_end(job_status(job), warehouse) == 2 and "0.54 GB" in capsys.readouterr().err
