"""What lies beside measurements: told with its size and its cost, and cleaned without touching anything else."""

import json

import pytest
from filelock import FileLock

from core.commands.main import main
from core.errors import InputError
from core.files import lock_path, try_lock
from core.runs import caches
from core.runs.jobs import GONE_PREFIX
from core.sql.sandbox import run_query
from core.store import parcels
from core.warehouse.runs import delete_runs, ingest_parcel
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_profile

pytestmark = pytest.mark.slow

RUN = "01900000-0000-7000-8000-000000000001"
KEPT = ("warehouse", "parcels", "texts", "backups", "hub")


@pytest.fixture
def warehouse(tmp_path, monkeypatch) -> Warehouse:
    """One of everything: models, a conversion, kept layers, a query's copy, a deleted run, a text, a backup."""
    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    warehouse = Warehouse(tmp_path / "home" / "w.duckdb")
    for number in (1, 2):
        folder = warehouse.parcels / f"{RUN[:-1]}{number}"
        parcels.write_parcel(folder, make_profile(folder.name))
        ingest_parcel(warehouse, folder)
    delete_runs(warehouse, [RUN])
    run_query(warehouse, "SELECT 1")
    for name in (
        "cache/pypi/some/1.0/model.safetensors",
        "cache/gguf/abc-F32-5.24.0/x.safetensors",
        "hub/models--a/blobs/b",
        "home/texts/abc/mine.txt",
        "home/w.duckdb.before-rebuild",
        "home/jobs/job/job.json",
        "home/jobs/job/kept-1/states.npy",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * 1000)
    return warehouse


def sizes(warehouse) -> dict[str, int]:
    return {one.name: one.n_bytes for one in caches.list_caches(warehouse)}


def test_everything_is_told_with_its_size(warehouse):
    found = sizes(warehouse)
    assert all(found.values()), found
    assert {found[name] for name in ("models", "gguf", "kept", "texts", "backups", "hub")} == {1000}


def test_cleaning_takes_what_can_be_made_anew_and_nothing_else(warehouse):
    before = sizes(warehouse)
    freed = dict(caches.clean_caches(warehouse, []))
    after = sizes(warehouse)
    assert {name: size for name, size in after.items() if size} == {name: before[name] for name in KEPT}
    assert freed == {name: size for name, size in before.items() if name not in KEPT}
    assert (warehouse.jobs / "job" / "job.json").is_file()
    assert warehouse.read("SELECT count(*) AS n FROM runs")["n"][0] == 1
    assert not list((warehouse.path.parent).rglob(".gone-*"))


def test_a_job_that_was_half_removed_goes_with_the_next_look(warehouse):
    left = warehouse.jobs / f"{GONE_PREFIX}job" / "kept-1"
    left.mkdir(parents=True)
    caches.recover_for_reader(warehouse)
    assert not left.parent.exists() and (warehouse.jobs / "job").is_dir()


def test_what_a_job_uses_is_left_alone(warehouse):
    with try_lock(lock_path(warehouse.jobs / "job")) as is_held:
        assert is_held
        before = sizes(warehouse)
        assert before["kept"] == 0  # of stopped jobs
        freed = dict(caches.clean_caches(warehouse, ["models", "gguf", "kept"]))
        assert freed == {"models": 0, "gguf": 0, "kept": 0}
        assert (warehouse.jobs / "job" / "kept-1" / "states.npy").is_file()
        assert sizes(warehouse) == before


def test_a_cache_that_lies_on_another_disk_is_cleaned_and_stays_there(warehouse, tmp_path):
    elsewhere = tmp_path / "other disk"
    place = caches.cache_folder() / "pypi"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    assert dict(caches.clean_caches(warehouse, ["models"]))["models"] >= 0
    assert place.is_symlink() and list(elsewhere.iterdir()) == []


def test_models_that_are_being_fetched_are_left_alone(warehouse, tmp_path):
    with FileLock(tmp_path / "cache" / "pypi.lock"):
        assert dict(caches.clean_caches(warehouse, ["models"])) == {"models": 0}
    waiting = tmp_path / "cache" / "pypi" / "split" / ".parts-1.0" / "part.whl"
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(b"x" * 500)
    assert dict(caches.clean_caches(warehouse, ["models"])) == {"models": 1500}


def test_a_conversion_that_is_being_made_is_left_alone(warehouse, tmp_path):
    lock = FileLock(tmp_path / "cache" / "gguf" / "abc-F32-5.24.lock")
    with lock:
        assert dict(caches.clean_caches(warehouse, ["gguf"])) == {"gguf": 0}
    assert dict(caches.clean_caches(warehouse, ["gguf"])) == {"gguf": 1000}


def test_only_caches_can_be_cleaned(warehouse):
    for name in (*KEPT, "nothing"):
        with pytest.raises(InputError, match=f"Unknown cache '{name}'"):
            caches.clean_caches(warehouse, [name])


def test_the_verb_asks_and_leaves_the_trash_unless_it_is_named(warehouse, capsys):
    where = ["--warehouse", str(warehouse.path)]
    assert main(["cache", *where]) == 0
    told = capsys.readouterr().out
    assert "resume` begins anew" in told and "parcels" in told and "can be cleaned" in told
    assert main(["cache", "--clean", *where]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert main(["cache", "--clean", "--dry-run", *where]) == 0
    assert "would be freed" in capsys.readouterr().out and sizes(warehouse)["models"] == 1000
    assert main(["cache", "--clean", "--yes", *where]) == 0
    assert sizes(warehouse)["models"] == 0 and sizes(warehouse)["trash"] > 0
    assert main(["cache", "--clean", "trash", "--yes", *where]) == 0
    assert sizes(warehouse)["trash"] == 0
    capsys.readouterr()
    assert main(["cache", "--json", *where]) == 0
    assert {one["name"] for one in json.loads(capsys.readouterr().out)} >= {"models", "hub"}


def test_models_in_folders_are_found_by_the_names_of_their_files(tmp_path, monkeypatch):
    beside, declared = tmp_path / "models", tmp_path / "ours"
    for folder, names in (("whole", ("config.json", "model.safetensors")), ("half", ("config.json",))):
        for name in names:
            (beside / folder).mkdir(parents=True, exist_ok=True)
            (beside / folder / name).touch()
    (declared / "deeper" / "still").mkdir(parents=True)
    (declared / "small.gguf").touch()
    (declared / "deeper" / "still" / "hidden.gguf").touch()
    monkeypatch.setenv("WORKDIM_MODELS", str(declared))
    found = caches.local_models(Warehouse(tmp_path / "w.duckdb"))
    assert found == [str(beside / "whole"), str(declared / "small.gguf")]
