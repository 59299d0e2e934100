"""The verb runs: what a person does with measurements after they were made."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from core.commands.main import main
from core.records import RunConfig
from core.store import parcels
from core.tables import Run
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import Warehouse
from tests.conftest import ROOT, run_core
from tests.frames import made
from tests.profiles import make_controls, make_corpus, make_model, make_profile

pytestmark = pytest.mark.slow

RUN = "01900000-0000-7000-8000-000000000001"
OTHER = "01900000-0000-7000-8000-000000000002"


@pytest.fixture
def path(tmp_path):
    """Two runs that differ in model, seed and a library, and a control of the first."""
    warehouse = Warehouse(tmp_path / "w.duckdb")
    first = make_profile(RUN, model=make_model("made-up/first@1"), library_versions='{"torch": "2.13.0", "numpy": "2"}')
    control = make_controls(first, 51)[0]
    first = replace(first, summaries=[replace(s, control_run_ids=[control.run.run_id]) for s in first.summaries])
    other = make_profile(
        OTHER,
        model=make_model("made-up/other@1"),
        seed=3,
        protocol_hash="other",
        library_versions='{"torch": "2.14.0", "numpy": "2"}',
    )
    for profile in (control, first, other):
        folder = warehouse.parcels / profile.run.run_id
        parcels.write_parcel(folder, profile)
        ingest_parcel(warehouse, folder)
    return warehouse.path


@pytest.fixture
def said(path, capsys):
    """Runs `workdim runs ...` and gives its exit code, its output and its errors."""

    def say(*arguments: str, expects: int = 0) -> str:
        assert main(["runs", *arguments, "--warehouse", str(path)]) == expects
        told = capsys.readouterr()
        return told.err if expects else told.out

    return say


def ids(text: str) -> list[str]:
    return [row["run_id"] for row in json.loads(text)]


def test_runs_are_listed_by_model_tag_pilot_and_number(said):
    assert len(ids(said("--json"))) == 3
    assert ids(said("--model", "OTHER", "--json")) == [OTHER]
    assert ids(said("--limit", "1", "--json")) == ids(said("--json"))[:1]
    said("tag", OTHER, "short list", "two")
    assert ids(said("--tag", "short list", "--json")) == [OTHER]
    assert "short list, two" in said("--model", "made-up/other")
    assert "None of 3 runs is like that." in said("--model", "nothing")
    assert "Unknown tag 'shortlist'. Did you mean short list?" in said("--tag", "shortlist", expects=2)
    assert "pilot" in said("--pilot", "x", expects=2)


def test_tag_and_note_are_shown_and_taken_away(said):
    assert "tags: a, b" in said("tag", RUN, "a", "b")
    assert "note: seen by us" in said("note", RUN, "seen by us")
    told = said("show", RUN, "--all")
    assert "a, b" in told and "seen by us" in told
    assert "tags: b" in said("untag", RUN, "a")
    assert "note: none" in said("note", RUN, "")
    assert "Workdim's own" in said("tag", RUN, "reference", expects=2)
    assert "has no tag 'a'" in said("untag", RUN, "a", expects=2)


def test_show_tells_every_field_in_words_with_units(said):
    told = said("show", RUN, "--all")
    for line in (
        "model reference",
        "revision that was measured",
        "hash of the weight files",
        "architecture",
        "number format",
        "device",
        "torch",
        "Workdim's version",
        "hash of the protocol",
        "hash of the text",
        "characters",
        "seed of the draws",
        "tokens read",
        "tokens used",
        "left out for their norm",
        "time: ",
        "peak memory",
    ):
        assert line in told, line
    assert "1.50 GB" in told and "4,096" in told
    stored = json.loads(said("show", RUN, "--json"))
    assert (
        {0, 4} < {row["layer"] for row in stored["estimates"]}
        and stored["correlators"]
        and stored["started_at"].endswith("Z")
    )
    assert stored["library_versions"]["torch"] == "2.13.0" and isinstance(stored["config"], dict)
    assert stored["weights_sha256"] == "0" * 64 and stored["corpus_n_characters"] == 100_000


def test_two_runs_are_told_apart_field_by_field(said):
    told = said("diff", RUN, OTHER)
    assert told.startswith("Their dimensions may not be compared, because they differ in: protocol, seed or version.")
    assert "seed of the draws" in told and "2.13.0" in told and "2.14.0" in told
    assert "numpy" not in told and "fields that agree" in told.splitlines()[-1]
    assert "started (UTC)" not in told
    found = json.loads(said("diff", RUN, OTHER, "--json"))
    assert {"field": "library_versions.torch", "one": "2.13.0", "other": "2.14.0"} in found["differences"]
    assert found["comparability"] == {"by_types": False, "by_words": False, "reasons": ["protocol_hash"]}
    assert found["results"]["N (points)"] == ["800", "800"]
    assert json.loads(said("diff", RUN, RUN, "--json"))["differences"] == [] and "agree" in said("diff", RUN, RUN)


def test_delete_asks_restores_and_empties(said, path, monkeypatch):
    assert "Nobody can be asked here: add --yes" in said("delete", OTHER, expects=2)
    assert "Move 1 run to the trash" in said("delete", OTHER, expects=2)
    done = " ".join(said("delete", OTHER, "--yes").split())
    assert f"Moved to the trash: 1 run. `workdim runs undelete {OTHER} --warehouse {path}` brings {OTHER} back." in done
    assert f"`workdim runs list --deleted --warehouse {path}`" in said("show", OTHER, expects=2)
    assert OTHER not in said("--json") and OTHER[:18] in said("list", "--deleted")
    assert ids(said("--deleted", "--json")) == [OTHER]
    assert f"Run {OTHER} is back" in said("undelete", OTHER)
    assert "The trash is empty." in said("list", "--deleted")
    typed = iter(["n\n", "", "y\n"])  # the second is the end of the input
    terminal = SimpleNamespace(isatty=lambda: True, readline=lambda: next(typed))
    monkeypatch.setattr("sys.stdin", terminal)
    assert "Nothing was deleted." in said("delete", OTHER)
    assert "Nothing was deleted." in said("delete", OTHER)
    said("delete", OTHER)
    assert main(["cache", "--clean", "trash", "--yes", "--warehouse", str(path)]) == 0
    assert not parcels.list_trashed(Warehouse(path).folder)


def test_a_control_is_not_deleted_under_its_run(said, path):
    control = next(row["run_id"] for row in json.loads(said("--json")) if row["pass"] == "shuffled")
    assert f"rest on it: {RUN[:18]}" in said("delete", control, "--yes", expects=2)
    assert "Moved to the trash: 2 runs." in said("delete", control, RUN, "--yes")
    assert "its control runs: 1." in said("undelete", RUN)


def test_a_run_is_found_by_the_ending_that_slides_show(said):
    for part in (f"…{RUN[-6:]}", RUN[-6:], RUN):
        assert json.loads(said("show", part, "--json"))["run_id"] == RUN
    assert "There is no run" in said("show", RUN[-3:], expects=2)  # too short for an ending


def test_an_ambiguous_start_is_named(said, path):
    assert "Several begin or end with '0190'" in said("show", "0190", expects=2)
    assert "There is no run x: see `workdim runs --warehouse " in said("delete", "x", "--yes", expects=2)
    assert said("undelete", RUN, expects=2).strip().endswith(f"`workdim runs list --deleted --warehouse {path}`.")


def test_what_does_not_go_together_is_refused_by_the_parser(path):
    assert "no whole number" in run_core("runs", "--limit", "0", warehouse=path).stderr


def test_a_run_is_measured_again_from_its_own_record(tiny_llama, small_protocol, tmp_path, capsys):
    path, text = tmp_path / "w.duckdb", tmp_path / "own.txt"
    text.write_text((ROOT / "data/corpora/english-business.txt").read_text(encoding="utf-8"), encoding="utf-8")
    where = ["--warehouse", str(path)]
    asked = ["--text", str(text), "--seed", "5", "--dtype", "bfloat16", "--protocol", small_protocol]
    done = run_core("measure", str(tiny_llama), *asked, warehouse=path)
    assert done.returncode == 0, done.stderr
    (first,) = json.loads(run_core("runs", "--json", warehouse=path).stdout)
    done = run_core("runs", "again", first["run_id"][-40:], warehouse=path)
    assert done.returncode == 0, done.stderr
    second, _ = json.loads(run_core("runs", "--json", warehouse=path).stdout)
    same = ("model_id", "corpus_id", "protocol_hash", "seed", "dtype", "working_dimension", "n_types")
    assert [second[name] for name in same] == [first[name] for name in same]
    assert main(["runs", "diff", first["run_id"], second["run_id"], *where]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Their dimensions may be compared")
    text.write_text(text.read_text(encoding="utf-8") + "\n\nOne more paragraph.", encoding="utf-8")
    done = run_core("runs", "again", first["run_id"], warehouse=path)
    assert done.returncode == 2 and "has changed since" in done.stderr and "add --yes" in done.stderr
    text.unlink()
    assert "There is no file" in run_core("runs", "again", first["run_id"], warehouse=path).stderr


def record(**changes):
    asked = asdict(RunConfig("made-up/first", companions=("a", "b")))
    row = {
        "run_id": RUN,
        "pass": "text",
        "parent_run_id": None,
        "reference": "made-up/first",
        "revision": "abc",
        "config": json.dumps({"run": asked}),
        "code_version": "0.1",
        "weights_sha256": "0",
        "protocol_hash": "x",
        "corpus_sha256": "y",
    }
    return made(Run, **row | changes)


def test_a_model_is_asked_for_at_the_revision_that_was_measured(tmp_path):
    from core.runs.requests import rerun_request

    found = rerun_request(Warehouse(tmp_path / "w.duckdb"), record())
    assert found.config.model == "made-up/first@abc" and found.config.companions == ("a", "b")
    assert [line.split()[1] for line in found.changed] == ["text", "protocol"]


def test_labelled_texts_that_have_changed_are_told_and_read_as_they_are_now(tmp_path):
    from core.runs.requests import rerun_request
    from core.texts.corpora import read_labels

    file = tmp_path / "labels.csv"
    file.write_text("text,label\n" + "\n".join(f"text {i},{'ab'[i % 2]}" for i in range(40)), encoding="utf-8")
    asked = asdict(RunConfig("made-up/first", labels=str(file), labels_sha256="of earlier texts"))
    found = rerun_request(Warehouse(tmp_path / "w.duckdb"), record(config=json.dumps({"run": asked})))
    assert found.config.labels_sha256 == read_labels(file).sha256
    assert "labels.csv has changed" in found.changed[-1]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"pass": "shuffled", "parent_run_id": OTHER}, "is a control pass"),
        ({"config": "{}"}, "and cannot be repeated"),
        ({"config": '{"run": {"model": "x", "surprise": 1}}'}, "and cannot be repeated"),
        ({"config": '{"run": {"model": "x", "seed": "1"}}'}, "and cannot be repeated"),
    ],
)
def test_records_that_cannot_be_repeated_say_why(changes, line, tmp_path):
    from core.errors import InputError
    from core.runs.requests import rerun_request

    with pytest.raises(InputError, match=line):
        rerun_request(Warehouse(tmp_path / "w.duckdb"), record(**changes))


def test_every_stored_field_has_its_place_and_its_name():
    """A new column that nobody has named would stand among the fields of the run under its raw name."""
    from core.registry.protocols import Protocol
    from core.tables import CorpusRow, ModelRow, RunRow, columns, frame
    from core.wording.runs import NAMES, fields

    inside = {"library_versions", "config", "phase_seconds", "execution"}
    texts = {f"corpus_{name}" for name in columns(CorpusRow) if name != "corpus_id"} | {"corpus_id"}
    assert {*columns(RunRow), *columns(ModelRow), *texts} - inside <= NAMES.keys()
    asked = {f"config.run.{name}" for name in asdict(RunConfig(""))}
    protocol = {f"config.protocol.{name}" for name in asdict(Protocol("", 1, 1, 1, 1))}
    assert asked | protocol <= NAMES.keys()
    profile = make_profile(RUN, config='{"old": 1}', corpus=make_corpus())
    row = frame([profile.run], RunRow).row(0, named=True)
    told = {field.field: field.section for field in fields(row)}
    assert told["config.old"] == "Request" and told["library_versions.torch"] == "Programs"


def test_a_control_is_not_deleted_while_a_measurement_may_be_judged_with_it(path, said):
    from core.runs.jobs import hold_job, submit

    said("delete", RUN, "--yes")
    (control,) = (row["run_id"] for row in json.loads(said("--json")) if row["pass"] == "shuffled")
    job = submit(RunConfig("made-up/first"), Warehouse(path))
    with hold_job(job):
        assert "is a control that the running job of" in said("delete", control, "--yes", expects=2)
        said("delete", OTHER, "--yes")
    said("delete", control, "--yes")
