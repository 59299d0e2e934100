"""The doctor finds nothing wrong after anything that a user may do with a warehouse, one after the other."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.commands import main
from core.models import packages
from core.runs import installation
from core.scores.table import csv_template
from core.store import parcels
from core.warehouse import people
from core.warehouse.integrity import check_integrity
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_controls, make_corpus, make_model, make_profile
from tests.warehouse.test_pilots import PILOT

pytestmark = pytest.mark.slow

RUN, OTHER, LATE, THEIRS = (f"01900000-0000-7000-8000-0000000000a{n}" for n in range(4))


@pytest.fixture
def core(monkeypatch, capsys):
    """`workdim ...` on a warehouse, which must succeed; what it says."""
    monkeypatch.setattr(installation, "why_no_hub", lambda: None)
    monkeypatch.setattr(packages, "package_index", lambda: ("https://index.example", None))

    def do(warehouse: Warehouse, *arguments: object) -> str:
        assert main.main([*map(str, arguments), "--warehouse", str(warehouse.path)]) == 0, capsys.readouterr()
        return capsys.readouterr().out

    return do


def assert_sound(warehouse: Warehouse) -> None:
    """The doctor, who takes longer than all verbs between two of its looks, has nothing to find."""
    examined = check_integrity(warehouse, thorough=True)
    assert not examined.is_damaged and examined.n_rows, examined


def add(warehouse: Warehouse, *profiles) -> None:
    """Finished measurements, which the next verb takes in."""
    for profile in profiles:
        parcels.write_parcel(warehouse.jobs / profile.run.run_id, profile)
        parcels.publish_parcel(warehouse.folder, warehouse.jobs / profile.run.run_id)


def measured(run_id: str, name: str):
    """A run that was judged with its controls, and these."""
    text = make_corpus(f"{name}-0123456789ab")
    run = make_profile(run_id, model=make_model(f"made-up/{name}@1", n_layers=2), corpus=text)
    controls = make_controls(run, 51)
    ids = [control.run.run_id for control in controls]
    return [*controls, replace(run, summaries=[replace(row, control_run_ids=ids) for row in run.summaries])]


def test_nothing_is_wrong_after_anything_that_may_be_done(core, tmp_path):
    here, there = Warehouse(tmp_path / "here" / "w.duckdb"), Warehouse(tmp_path / "there" / "w.duckdb")
    add(here, *measured(RUN, "first"), make_profile(OTHER, model=make_model("made-up/other@1", n_layers=2)))
    core(here, "ingest")
    people.register_pilot(here, PILOT)
    people.add_runs(here, PILOT.pilot_id, [OTHER])

    core(here, "runs", "tag", RUN, "short list", "候補")
    core(here, "runs", "note", OTHER, "seen by us")
    core(here, "runs", "delete", OTHER, "--yes")
    assert_sound(here)
    core(here, "ingest", "--rebuild")
    assert OTHER not in core(here, "runs", "--json")
    core(here, "runs", "undelete", OTHER)
    assert OTHER in core(here, "runs", "--pilot", PILOT.name, "--json")
    assert_sound(here)

    scores = tmp_path / "scores.csv"
    scores.write_bytes(csv_template())
    core(here, "scores", "import", scores, "--yes")
    (file,) = json.loads(core(here, "scores", "list", "--json"))
    core(here, "scores", "alias", "a name", "made-up/first")
    core(here, "sql", "SELECT count(*) FROM runs", "--save", "how many")
    core(here, "scores", "remove", file["file_sha256"])
    core(here, "scores", "import", scores, "--yes")
    assert_sound(here)

    backup = tmp_path / "backup.zip"
    core(here, "backup", "--out", backup)
    add(here, *measured(LATE, "late")[-1:])
    core(here, "runs", "tag", RUN, "later")
    core(here, "scores", "alias", "--remove", "a name")
    core(here, "restore", backup, "--yes")
    assert_sound(here)
    everything = core(here, "runs", "--json")
    assert "later" in everything and LATE in everything and "a name" in core(here, "scores", "alias")
    core(here, "ingest", "--rebuild")
    assert core(here, "runs", "--json") == everything

    core(here, "export", "--out", tmp_path / "export.zip")
    add(there, make_profile(THEIRS, model=make_model("made-up/theirs@1", n_layers=2)))
    core(there, "import", tmp_path / "export.zip")
    assert_sound(there)
    assert "later" in core(there, "runs", "--json") and THEIRS in core(there, "runs", "--json")
    core(there, "runs", "delete", THEIRS, "--yes")
    core(there, "cache", "--clean", "trash", "--yes")
    core(there, "cache", "--clean", "copies", "--yes")
    here.path.unlink()
    core(here, "ingest")
    assert core(here, "runs", "--json") == everything
    assert "how many" in core(here, "sql", "--list") and "a name" in core(here, "scores", "alias")
    for warehouse in (here, there):
        facts = json.loads(core(warehouse, "doctor", "--thorough", "--json"))
        assert not [problem["line"] for problem in facts["problems"] if problem["is_damage"]]
        assert facts["integrity"].startswith("sound")
