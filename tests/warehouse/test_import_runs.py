"""Measurements from one warehouse to another: what goes out comes in the same, and nothing else comes in."""

import hashlib
import io
import json
import os
import shutil
import zipfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from core.commands.main import main
from core.errors import InputError, ResourceError, WarehouseError
from core.exports import excel_csv
from core.locale import in_language
from core.store import parcels, user_files
from core.store.parcels import RUN_FILE
from core.tables import LONG_TABLES, TABLES
from core.warehouse import exchange as import_module
from core.warehouse import queries
from core.warehouse.exchange import ImportResult, column_dictionary, export_runs, import_runs
from core.warehouse.runs import annotate, delete_runs, ingest_parcel
from core.warehouse.warehouse import Warehouse
from tests.measuring import prepared
from tests.profiles import make_controls, make_corpus, make_model, make_profile
from tests.warehouse.conftest import copied, put_beside

pytestmark = pytest.mark.slow

RUN = "01900000-0000-7000-8000-000000000001"
OTHER = "01900000-0000-7000-8000-000000000002"
ALL_TABLES = ("models", "corpora", "runs", *LONG_TABLES)


@pytest.fixture(scope="module")
def _ours(new_warehouse) -> Warehouse:
    """Two runs, one of which is tagged and noted, and a name that a spreadsheet would run."""
    hostile = make_model("made-up/other@1", name="=cmd|' /C calc'!A0", repository="made-up/other")
    warehouse = new_warehouse("ours")
    for profile in (make_profile(RUN), make_profile(OTHER, model=hostile, corpus=make_corpus("other-0123456789ab"))):
        ingest_parcel(warehouse, put_beside(warehouse, profile))
    annotate(warehouse, OTHER, lambda said: said.with_tag("候補").with_note("@see\n<script>alert(1)</script>"))
    return warehouse


@pytest.fixture
def ours(_ours, warehouse) -> Warehouse:
    return copied(_ours, warehouse)


@pytest.fixture
def theirs(tmp_path) -> Warehouse:
    return prepared(tmp_path / "theirs" / "workdim.duckdb")


def content(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    with warehouse.open() as opened:
        tables = {table: opened.read(f"SELECT * FROM {table}") for table in ALL_TABLES}
    for table, rows in tables.items():
        tables[table] = rows.sort([name for name, kind in rows.schema.items() if not kind.is_nested()])
    return tables


def same(one: Warehouse, other: Warehouse) -> bool:
    ours, theirs = content(one), content(other)
    return all(ours[table].equals(theirs[table]) for table in ALL_TABLES)


def states(done: ImportResult) -> dict[str, str]:
    return {one.run_id: one.state for one in done.arrivals}


def unpacked(file: Path) -> Path:
    """Where somebody has unpacked an export."""
    with zipfile.ZipFile(file) as packed:
        packed.extractall(file.with_suffix(""))
    return file.with_suffix("")


@pytest.mark.parametrize("name", ["export", "export.zip"])
def test_what_goes_out_comes_in_the_same(ours, theirs, tmp_path, name):
    exported = export_runs(ours, [RUN, OTHER], tmp_path / "export.zip")
    assert exported == tmp_path / "export.zip" and unpacked(exported).is_dir()
    with pytest.raises(InputError, match="is there already"):
        export_runs(ours, [RUN], tmp_path / "export.zip")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    done = import_runs(theirs, [tmp_path / name])
    assert states(done) == {RUN: "new", OTHER: "new"} and not done.n_left_out
    assert same(ours, theirs)
    assert parcels.read_annotations(theirs.parcels / OTHER).tags == ("候補",)
    theirs.rebuild()
    assert same(ours, theirs)
    assert set(states(import_runs(theirs, [tmp_path / name])).values()) == {"known"}
    assert not [path for path in theirs.path.parent.iterdir() if path.name.startswith(".")]


def test_of_a_folder_that_was_zipped_by_hand_the_folder_is_asked_for(theirs, tmp_path):
    with zipfile.ZipFile(tmp_path / "by_hand.zip", "w") as packed:
        packed.writestr(f"study/parcels/{RUN}/run.json", "{}")
    (told,) = import_runs(theirs, [tmp_path / "by_hand.zip"]).arrivals
    assert told.state == "damaged" and "name the folder" in told.reason


def test_a_run_comes_where_the_rest_of_its_parcel_lies(ours, theirs, tmp_path):
    export_runs(ours, [RUN], tmp_path / "export.zip")
    (theirs.parcels / RUN).mkdir(parents=True)
    (theirs.parcels / RUN / "run_checks.parquet").write_bytes(b"half")
    assert states(import_runs(theirs, [tmp_path / "export.zip"])) == {RUN: "new"}
    assert (theirs.path.parent / "trash" / f"{RUN}.damaged" / "run_checks.parquet").read_bytes() == b"half"


def test_an_export_can_be_read_without_workdim(ours, tmp_path):
    folder = unpacked(export_runs(ours, [OTHER], tmp_path / "export.zip", selection={"tag": "候補"}))
    for table in ALL_TABLES:
        stored = ours.read(f"SELECT * FROM {table}")
        own = {"models": "model_id", "corpora": "corpus_id"}.get(table, "run_id")
        expected = stored.filter(
            pl.col(own).is_in(ours.read(f"SELECT {own} FROM runs WHERE run_id = ?", [OTHER])[own].to_list())
        )
        assert pl.read_parquet(folder / "tables" / f"{table}.parquet").height == expected.height
        assert expected.height or table in ("run_controls", "layer_seeds")  # this run has none
        assert (folder / "tables" / f"{table}.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    model = pl.read_csv(folder / "tables" / "models.csv").row(0, named=True)
    assert model["name"].startswith("'=cmd")
    assert pl.read_csv(folder / "tables" / "runs.csv")["note"][0].startswith("'@see")
    told = pl.read_csv(folder / "dictionary.csv")
    named = set(told.select("table", "column").rows())
    for file in (folder / "tables").glob("*.parquet"):
        assert {(file.stem, column) for column in pl.read_parquet(file).columns} <= named
    assert "working_dimension" in (folder / "dictionary.md").read_text(encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["asked"] == {"tag": "候補"} and manifest["runs"] == [OTHER]
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"manifest.json"}
    assert files == set(manifest["files"])
    for name, of in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == of["sha256"]


def test_the_dictionary_explains_every_column():
    told = column_dictionary(list(TABLES))
    meanings = dict(zip(zip(told["table"], told["column"], strict=True), told["meaning"], strict=True))
    assert told.height > 150 and all(
        meanings["run_summaries", one] for one in ("yes_rise", "reasons_fall", "inner_max")
    )
    assert told["meaning"].str.len_chars().gt(0).mean() > 0.6  # others say it with their names: run_id, std_error
    assert told.filter(table="layer_replicates", column="blocks")["type"][0] == "list of numbers"
    in_japanese = in_language("ja", column_dictionary, list(TABLES))
    alike = told.filter((in_japanese["meaning"] == told["meaning"]) & (told["meaning"] != ""))
    assert alike["column"].to_list() == ["status"]  # its one stored value
    assert in_japanese.drop("meaning", "type").equals(told.drop("meaning", "type"))


def test_csv_holds_lists_and_neutralises_formulas():
    frame = pl.DataFrame({"text": ["=1", "+1", "-1", "@a", "\tb", "a=1"], "numbers": [[0.5, 1.0]] * 6})
    back = pl.read_csv(io.BytesIO(excel_csv(frame)))
    assert back["text"].to_list() == ["'=1", "'+1", "'-1", "'@a", "'\tb", "a=1"]
    assert back["numbers"][0] == "[0.5, 1.0]"


def test_nothing_is_overwritten_and_nothing_half_written(ours, tmp_path):
    with pytest.raises(InputError, match=r"no \.zip file"):
        export_runs(ours, [RUN], tmp_path / "folder")
    with pytest.raises(InputError, match="No run is chosen"):
        export_runs(ours, [], tmp_path / "none.zip")
    with pytest.raises(InputError, match="There is no run nothing"):
        export_runs(ours, [RUN, "nothing"], tmp_path / "half.zip")
    assert not [path for path in tmp_path.iterdir() if "half" in path.name or "none" in path.name]


@pytest.mark.parametrize("given", ["parcel", "renamed", "parcels", "folder of parcels"])
def test_parcels_come_in_from_wherever_they_lie(ours, theirs, tmp_path, given):
    source = ours.parcels / RUN
    if given == "renamed":
        source = shutil.copytree(source, tmp_path / "from my colleague")
    elif given == "parcels":
        source = ours.path.parent
    elif given == "folder of parcels":
        source = ours.parcels
    expected = {RUN: "new", OTHER: "new"} if "parcels" in given else {RUN: "new"}
    assert states(import_runs(theirs, [source])) == expected


def test_a_dry_run_changes_nothing_at_all(ours, theirs, tmp_path):
    theirs.path.unlink()
    before = sorted(theirs.path.parent.iterdir())
    assert states(import_runs(theirs, [ours.parcels], dry_run=True)) == {RUN: "new", OTHER: "new"}
    assert sorted(theirs.path.parent.iterdir()) == before


def test_tags_are_united_and_both_notes_kept(ours, theirs, tmp_path):
    import_runs(theirs, [ours.parcels])
    annotate(ours, OTHER, lambda said: said.with_tag("a").with_note("ours"))
    annotate(theirs, OTHER, lambda said: said.with_tag("b").with_note("theirs"))
    done = import_runs(theirs, [ours.parcels])
    assert states(done) == {RUN: "known", OTHER: "annotated"}
    tags, note = theirs.read("SELECT tags, note FROM runs WHERE run_id = ?", [OTHER]).row(0)
    assert tags == ["候補", "b", "a"] and note == "theirs\n[imported] ours"
    assert states(import_runs(theirs, [ours.parcels])) == {RUN: "known", OTHER: "known"}


def test_conflicts_are_reported_and_left_out(ours, theirs, add_parcel, tmp_path):
    """One id with another result; one model with other weights; one text with another content; a third is fine."""
    third, fourth, fine = (OTHER[:-1] + digit for digit in "346")
    other = Warehouse(tmp_path / "other" / "w.duckdb")
    changed = {
        RUN: make_profile(RUN, peak=77.0),
        third: make_profile(third, model=make_model("made-up/other@1", weights_sha256="1" * 64)),
        fourth: make_profile(fourth, corpus=make_corpus("other-0123456789ab", sha256="f" * 64)),
        fine: make_profile(fine),
    }
    for run_id, profile in changed.items():
        parcels.write_parcel(other.parcels / run_id, profile)
    before = content(ours)["layer_estimates"].filter(run_id=RUN)
    done = import_runs(ours, [other.parcels])
    assert states(done) == {RUN: "conflict", third: "conflict", fourth: "conflict", fine: "new"}
    reasons = " ".join(one.reason for one in done.arrivals)
    assert (
        "they differ in layer_estimates" in reasons
        and "made-up/other@1 is in the warehouse with other content" in reasons
    )
    assert content(ours)["layer_estimates"].filter(run_id=RUN).equals(before)
    assert not ours.pending_changes().run_ids


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_parcel_that_is_gone_or_damaged_comes_back_by_an_import(ours, theirs, is_damaged):
    import_runs(theirs, [ours.parcels])
    if is_damaged:
        (theirs.parcels / RUN / "run_checks.parquet").write_bytes(b"ruined")
    else:
        shutil.rmtree(theirs.parcels / RUN)
    with pytest.raises(
        WarehouseError, match="damaged" if is_damaged else r"or rebuild without it \(`workdim ingest --rebuild`"
    ):
        annotate(theirs, RUN, lambda said: said.with_tag("x"))
    assert states(import_runs(theirs, [ours.parcels]))[RUN] == "new"
    assert states(import_runs(theirs, [ours.parcels]))[RUN] == "known"


def test_a_run_that_was_deleted_comes_back_by_an_import(ours):
    copy = ours.path.parent / "copy"
    shutil.copytree(ours.parcels, copy)
    delete_runs(ours, [RUN])
    assert states(import_runs(ours, [copy])) == {RUN: "new", OTHER: "known"}
    assert RUN in queries.runs(ours)["run_id"].to_list() and not ours.pending_changes()


# --- hostile and broken ----------------------------------------------------------------------------------------


def edited(parcel: Path, change) -> None:
    told = json.loads((parcel / RUN_FILE).read_text(encoding="utf-8"))
    told = change(told) or told
    (parcel / RUN_FILE).write_text(json.dumps(told), encoding="utf-8")


def rehashed(parcel: Path, table: str, content: bytes) -> None:
    """Another file under a hash that fits: somebody who means it."""
    (parcel / f"{table}.parquet").write_bytes(content)
    edited(parcel, lambda told: told["files"].update({table: hashlib.sha256(content).hexdigest()}))


def as_parquet(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content)
    return content.getvalue()


BREAKS = {
    "truncated run.json": lambda p: (p / RUN_FILE).write_bytes((p / RUN_FILE).read_bytes()[:500]),
    "empty run.json": lambda p: (p / RUN_FILE).write_bytes(b""),
    "a list": lambda p: (p / RUN_FILE).write_text("[1, 2]", encoding="utf-8"),
    "nested beyond reason": lambda p: (p / RUN_FILE).write_text("[" * 200_000, encoding="utf-8"),
    "a row that is a text": lambda p: edited(p, lambda told: told.update(model="x")),
    "no files": lambda p: edited(p, lambda told: told.update(files=None)),
    "wrong type": lambda p: edited(p, lambda told: told["run"].update(seed="zero")),
    "number beyond 64 bits": lambda p: edited(p, lambda told: told["run"].update(seed=2**70)),
    "a newer format": lambda p: edited(p, lambda told: told.update(format=99)),
    "a format below any": lambda p: edited(p, lambda told: told.update(format=-1)),
    "more blocks than numbers": lambda p: edited(p, lambda told: told["model"].update(n_layers=2**62)),
    "fifty thousand tags": lambda p: edited(p, lambda told: told["run"].update(tags=[f"t{n}" for n in range(50_000)])),
    "a tag of ours": lambda p: edited(p, lambda told: told["run"].update(tags=["reference"])),
    "annotations with a tag of ours": lambda p: (p / parcels.ANNOTATIONS_FILE).write_text(
        '{"tags": ["reference"], "note": null}', encoding="utf-8"
    ),
    "annotations nested beyond reason": lambda p: (p / parcels.ANNOTATIONS_FILE).write_text(
        "[" * 200_000, encoding="utf-8"
    ),
    "a number that single precision has not": lambda p: rehashed(
        p, "layer_pairs", as_parquet(pl.read_parquet(p / "layer_pairs.parquet").with_columns(value=pl.lit(1e300)))
    ),
    "format that is none": lambda p: edited(p, lambda told: told.update(format="3")),
    "a column more": lambda p: edited(p, lambda told: told["run"].update(surprise=1)),
    "a missing value": lambda p: edited(p, lambda told: told["model"].update(name=None)),
    "a path for an id": lambda p: edited(p, lambda told: told["run"].update(run_id="../../../etc")),
    "ten megabytes of name": lambda p: edited(p, lambda told: told["model"].update(name="x" * 10**7)),
    "altered table": lambda p: (p / "run_checks.parquet").write_bytes(b"PAR1" + b"\0" * 100),
    "missing table": lambda p: (p / "run_checks.parquet").unlink(),
    "a table that is no table": lambda p: rehashed(p, "run_checks", b"PAR1" + b"\xff" * 200 + b"PAR1"),
    "a table of other columns": lambda p: rehashed(p, "run_checks", as_parquet(pl.DataFrame({"a": [1]}))),
    "rows of another run": lambda p: rehashed(
        p, "run_checks", as_parquet(pl.read_parquet(p / "run_checks.parquet").with_columns(run_id=pl.lit(OTHER)))
    ),
    "altered tokens": lambda p: edited(p, lambda told: told["files"].update(tokens="0" * 64)),
    "annotations of nobody": lambda p: (p / parcels.ANNOTATIONS_FILE).write_text(
        '{"tags": ["\\u0000"]}', encoding="utf-8"
    ),
    "a link": lambda p: ((p / "run_checks.parquet").unlink(), (p / "run_checks.parquet").symlink_to("/etc/passwd")),
}


def test_of_a_zip_file_the_damaged_parcel_is_named(theirs, tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as packed:
        packed.writestr(f"parcels/{RUN}/run.json", "{")
        packed.writestr(f"parcels/{OTHER}/annotations.json", "{}")
    told = {one.run_id: one.reason for one in import_runs(theirs, [tmp_path / "two.zip"]).arrivals}
    assert f"two.zip, parcels/{RUN}/run.json is damaged (" in told[RUN]
    assert f"parcels/{OTHER}/run.json is damaged (run.json is missing)" in told[OTHER]


def test_broken_parcels_are_told_and_do_not_stop_the_others(ours, theirs, tmp_path):
    places = {how: tmp_path / f"broken {number}" / RUN for number, how in enumerate(BREAKS)}
    for how, parcel in places.items():
        shutil.copytree(ours.parcels / RUN, parcel)
        BREAKS[how](parcel)
    shutil.copytree(ours.parcels / OTHER, tmp_path / "whole" / OTHER)
    done = import_runs(theirs, [*(parcel.parent for parcel in places.values()), tmp_path / "whole"])
    *broken, whole = done.arrivals
    told = {how: one for how, one in zip(places, broken, strict=True)}
    assert [how for how, one in told.items() if one.state != "damaged"] == [] and whole.state == "new", done
    for how, one in told.items():
        assert len(one.reason.splitlines()) == 1 and len(one.reason) < 400 and ".incoming" not in one.reason, how
    assert queries.runs(theirs)["run_id"].to_list() == [OTHER]
    assert [path.name for path in theirs.parcels.iterdir()] == [OTHER]
    assert not list(theirs.path.parent.glob(".incoming*"))


def test_undefined_numbers_are_null_and_names_with_markup_are_names(ours, theirs, tmp_path):
    shutil.copytree(ours.parcels / RUN, tmp_path / RUN)
    edited(tmp_path / RUN, lambda told: told["run"].update(max_norm_ratio=float("nan")))
    edited(tmp_path / RUN, lambda told: told["model"].update(name="<img src=x onerror=alert(1)>"))
    assert states(import_runs(theirs, [tmp_path / RUN])) == {RUN: "new"}
    assert queries.runs(theirs)["name"][0] == "<img src=x onerror=alert(1)>"


def test_a_manifest_that_does_not_fit_is_told(ours, theirs, tmp_path):
    folder = unpacked(export_runs(ours, [RUN, OTHER], tmp_path / "export.zip"))
    edited(folder / "parcels" / RUN, lambda told: told["run"].update(note="forged"))
    done = import_runs(theirs, [folder])
    assert states(done) == {RUN: "damaged", OTHER: "new"}
    assert "manifest" in done.arrivals[0].reason
    shutil.rmtree(folder / "parcels" / RUN)
    assert states(import_runs(theirs, [folder])) == {RUN: "damaged", OTHER: "known"}
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    assert states(import_runs(theirs, [folder])) == {"": "damaged"}


def test_a_folder_that_may_only_be_read_is_one_clear_line(ours, tmp_path, monkeypatch):
    """Root may write anywhere, so that the refusal of the system is made up."""

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    before = content(ours)
    monkeypatch.setattr("tempfile.TemporaryDirectory", read_only)
    for attempt in (lambda: import_runs(ours, [ours.parcels]), lambda: export_runs(ours, [RUN], tmp_path / "out.zip")):
        with pytest.raises(ResourceError, match="Read-only file system") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert all(content(ours)[table].equals(before[table]) for table in before)


def test_a_damaged_export_brings_nothing(ours, theirs, tmp_path):
    whole = bytearray(export_runs(ours, [RUN], tmp_path / "whole.zip").read_bytes())
    whole[whole.index(b"PAR1") + 200] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(bytes(whole))
    assert "damaged" in {one.state for one in import_runs(theirs, [tmp_path / "bad.zip"]).arrivals}
    assert not theirs.parcels.exists()


def test_a_locked_warehouse_leaves_new_runs_waiting(ours, theirs, python, monkeypatch):
    theirs.prepare()
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    impatient = replace(theirs, wait=0.3)
    here = import_module._Known(impatient)
    monkeypatch.setattr(import_module, "_Known", lambda warehouse: here)
    holder = python(code, theirs.path)
    assert holder.stdout.readline().strip() == "held"
    (found,) = import_runs(impatient, [ours.parcels / RUN]).arrivals
    assert found.state == "waits" and "has held the warehouse" in found.reason
    holder.kill()
    holder.communicate()
    assert theirs.apply_pending() == [RUN]


# --- scores ----------------------------------------------------------------------------------------------------


def with_scores(warehouse: Warehouse, sha256: str = "a" * 64) -> None:
    like = {
        "benchmark": "arc",
        "metric": "acc",
        "filter": "",
        "suite": "lm-eval",
        "value": 0.5,
        "unit": "fraction",
        "is_partial": False,
        "is_group": False,
        "source": "r.json",
        "licence": "own",
        "flags": "",
        "file_sha256": sha256,
    }
    rows = [like | {"repository": repository} for repository in ("made-up/other", "somebody/else")]
    file = {
        "file_sha256": sha256,
        "file_name": "r.json",
        "format": "lm_eval",
        "n_taken": 2,
        "n_skipped": 0,
        "imported_at": datetime(2026, 1, 1),
    }
    tables = {
        "score_files": pl.DataFrame([file], schema=TABLES["score_files"].schema),
        "scores": pl.DataFrame(rows, schema=TABLES["scores"].schema),
        "score_samples": TABLES["score_samples"].frame([]),
    }
    with warehouse.update("scores", sha256):
        user_files.write(warehouse.folder, "scores", sha256, tables)


def test_scores_come_as_the_files_that_they_came_in(ours, theirs, tmp_path):
    with_scores(ours)
    export_runs(ours, [OTHER], tmp_path / "export.zip")
    before = theirs.read("SELECT count(*) AS n FROM scores")["n"][0]
    assert import_runs(theirs, [tmp_path / "export.zip"], dry_run=True).n_scores == 2
    assert import_runs(theirs, [tmp_path / "export.zip"]).n_scores == 2
    assert theirs.read("SELECT count(*) AS n FROM scores")["n"][0] == before + 2
    assert theirs.read("SELECT file_name FROM score_files")["file_name"].to_list() == ["r.json"]
    assert import_runs(theirs, [tmp_path / "export.zip"]).n_scores == 0
    assert user_files.list_ids(theirs.folder, "scores") == ["a" * 64]


def test_altered_scores_are_left_out_and_the_runs_come(ours, theirs, tmp_path):
    with_scores(ours)
    folder = unpacked(export_runs(ours, [OTHER], tmp_path / "export.zip"))
    file = folder / "people" / "scores" / ("a" * 64) / "scores.parquet"
    pl.read_parquet(file).with_columns(value=pl.lit(99.0)).write_parquet(file)
    done = import_runs(theirs, [folder])
    assert states(done) == {OTHER: "new"} and done.n_scores == 0
    assert "not as the manifest has it" in done.remarks[0] and done.n_left_out


# --- the verbs -------------------------------------------------------------------------------------------------


def test_export_and_import_as_verbs(ours, theirs, tmp_path, capsys, add_parcel):
    controls = make_controls(make_profile(RUN), 51)
    for control in controls:
        ingest_parcel(ours, add_parcel(control))
    out = tmp_path / "export.zip"
    here, there = ["--warehouse", str(ours.path)], ["--warehouse", str(theirs.path)]
    assert main(["export", "--out", str(out), "--run", RUN, *here]) == 0
    assert "4 runs, control runs included" in capsys.readouterr().out
    assert main(["export", "--out", str(tmp_path / "tagged.zip"), "--tag", "候補", "--format", "csv", *here]) == 0
    assert unpacked(tmp_path / "tagged.zip") and not list((tmp_path / "tagged" / "tables").glob("*.parquet"))
    capsys.readouterr()
    theirs.path.unlink()
    assert main(["import", str(out), "--dry-run", *there]) == 0
    assert "Runs: 4 new" in capsys.readouterr().out and not theirs.path.exists()
    assert main(["import", str(out), str(tmp_path / "tagged"), *there]) == 0
    assert "Runs: 5 new, 0 known, 0 left out. Scores: 0." in capsys.readouterr().out
    (tmp_path / "tagged" / "parcels" / OTHER / RUN_FILE).write_text("{", encoding="utf-8")
    assert main(["import", str(tmp_path / "tagged"), "--json", *there]) == 2
    assert json.loads(capsys.readouterr().out)["arrivals"][0]["state"] == "damaged"
    assert main(["import", str(tmp_path / "nowhere"), *there]) == 2
    assert main(["export", "--out", str(tmp_path / "x.zip"), "--tag", "none", *here]) == 2
    assert os.listdir(theirs.parcels)


@pytest.mark.parametrize("said", [{"tags": ["a,b"]}, {"tags": ["Reference"]}, {"note": "x" * 10_001}])
def test_tags_and_notes_that_could_not_be_written_here_do_not_come_in(ours, theirs, tmp_path, said):
    parcel = tmp_path / "arrived" / RUN
    shutil.copytree(ours.parcels / RUN, parcel)
    (parcel / "annotations.json").unlink(missing_ok=True)
    edited(parcel, lambda told: told["run"].update(said))
    assert set(states(import_runs(theirs, [parcel])).values()) == {"damaged"}
    assert theirs.read("SELECT count(*) AS n FROM runs")["n"][0] == 0
