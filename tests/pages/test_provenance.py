"""The section on provenance: records side by side, and the care of runs in place."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.runs import jobs
from core.store import parcels
from core.ui.compare.answer import _export_zip
from core.warehouse import queries
from core.warehouse.runs import annotate, empty_trash
from core.warehouse.warehouse import Warehouse
from tests.pages.test_pages import opened, texts
from tests.screens import RUN_IDS, filled_warehouse

pytestmark = pytest.mark.slow


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    path = filled_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    return Warehouse(path)


def provenance(*run_ids: str, **asked: str) -> AppTest:
    app = opened("compare.py", section="provenance", runs=",".join(run_ids), **asked)
    assert not app.exception and not app.error
    return app


def cells(app: AppTest) -> dict[str, list]:
    """Field -> what the tables say of it: its mark, and the text of each run."""
    return {row[0]: list(row[1:]) for table in app.dataframe for row in table.value.itertuples(index=False)}


def button(app: AppTest, label: str):
    return next(one for one in app.button if one.label == label)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_all_that_is_stored_is_shown_in_words(filled: Warehouse, language: str) -> None:
    app = provenance(RUN_IDS[0], lang=language)
    told = cells(app)
    name = {"en": "hash of the weight files (SHA-256)", "ja": "重みファイルのハッシュ（SHA-256）"}[language]
    assert told[name] == ["0" * 64]
    assert told[{"en": "peak memory", "ja": "最大メモリ"}[language]] == ["1.50 GB"]
    assert told["torch"] == ["2.13.0"] and len(app.dataframe) == 8


def test_two_runs_stand_side_by_side_and_what_differs_is_marked(filled: Warehouse) -> None:
    app = provenance(RUN_IDS[0], RUN_IDS[2])
    told = cells(app)
    assert told["kind"] == ["≠", "decoder", "encoder"] and told["number format"] == ["", "float32", "float32"]
    started = filled.read("SELECT started_at FROM runs WHERE run_id = ?", [RUN_IDS[0]]).item()
    assert told["started (UTC)"][:2] == ["", f"{started:%Y-%m-%d %H:%M:%S}"]  # differs between any two runs
    assert "may not be compared, because they differ in: kind of model, tokenizer" in texts(app)
    assert "may be compared: same text" in texts(provenance(RUN_IDS[0], RUN_IDS[1]))


def test_each_record_stands_under_the_name_of_its_run(filled: Warehouse) -> None:
    """Also where two runs of one model do not follow each other."""
    chosen = [RUN_IDS[0], RUN_IDS[2], RUN_IDS[3]]
    app = provenance(*chosen)
    table = next(one.value for one in app.dataframe if "run" in list(one.value.iloc[:, 0]))
    own = table[table.iloc[:, 0] == "run"].iloc[0]
    assert list(own.iloc[2:]) == chosen
    names = dict(filled.read("SELECT run_id, name FROM runs JOIN models USING (model_id)").rows())
    for title, run_id in zip(list(table.columns)[2:], chosen, strict=True):
        assert title.startswith(names[run_id])


def test_tags_and_note_are_edited_in_place(filled: Warehouse) -> None:
    app = provenance(RUN_IDS[0])
    app.multiselect(key=f"tags {RUN_IDS[0]}").set_value(["候補", "b"])
    app.text_area(key=f"note {RUN_IDS[0]}").set_value("look at *this*")
    button(app, "Save").click().run()
    assert not app.exception and "Tags and note are saved." in [one.value for one in app.success]
    assert parcels.read_annotations(filled.parcels / RUN_IDS[0]) == parcels.Annotations(("候補", "b"), "look at *this*")
    assert cells(app)["tags"] == ["候補, b"]
    app.multiselect(key=f"tags {RUN_IDS[0]}").set_value(["b", "a,b"])
    button(app, "Save").click().run()
    assert "is no tag" in app.error[0].value
    assert parcels.read_annotations(filled.parcels / RUN_IDS[0]).tags == ("候補", "b")


def test_a_run_is_deleted_only_when_confirmed(filled: Warehouse) -> None:
    app = provenance(RUN_IDS[1])
    assert not app.exception and "from which it can be brought back: made-up-small" in texts(app).replace("\\", "")
    assert not parcels.list_trashed(filled.folder)
    app.button(key="delete run").click().run()
    assert not app.exception
    assert [one.run_id for one in parcels.list_trashed(filled.folder)] == [RUN_IDS[1]]
    assert RUN_IDS[1] not in queries.runs(filled)["run_id"].to_list()


def test_after_a_deletion_nothing_is_chosen_and_undo_brings_it_back(filled: Warehouse) -> None:
    app = provenance(RUN_IDS[1])
    app.button(key="delete run").click().run()
    assert app.multiselect(key="view.runs").value == [] and not [b for b in app.button if b.key == "delete run"]
    assert "made-up-small" in app.success[0].value.replace("\\", "")
    app.button(key="undelete run").click().run()
    assert (
        not app.exception
        and not parcels.list_trashed(filled.folder)
        and RUN_IDS[1] in queries.runs(filled)["run_id"].to_list()
    )
    assert app.multiselect(key="view.runs").value == [RUN_IDS[1]] and not app.success


def test_an_undo_that_cannot_be_done_says_why(filled: Warehouse) -> None:
    app = provenance(RUN_IDS[1])
    app.button(key="delete run").click().run()
    empty_trash(filled)
    app.button(key="undelete run").click().run()
    assert not app.exception and "no run" in app.error[0].value


def test_undo_goes_when_another_run_is_chosen(filled: Warehouse) -> None:
    app = provenance(RUN_IDS[1])
    app.button(key="delete run").click().run()
    app.multiselect(key="view.runs").set_value([RUN_IDS[0]]).run()
    assert not app.success and app.multiselect(key="view.runs").value == [RUN_IDS[0]]


def test_a_run_is_measured_again_as_a_job(filled: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.records import RunConfig
    from core.runs import requests

    started = []
    monkeypatch.setattr(jobs, "start_job", lambda job, warehouse: started.append(job))
    asked = requests.Rerun(RunConfig("made-up/big@1"), ("The text has changed since.",))
    monkeypatch.setattr(requests, "rerun_request", lambda warehouse, record: asked)
    app = provenance(RUN_IDS[0])
    app.button(key="measure run again").click().run()
    assert "The text has changed since." in app.warning[0].value.replace("\\", "") and not started
    app.button(key="measure all the same").click().run()
    assert not app.exception and [job.config.model for job in started] == ["made-up/big@1"]
    assert started[0].again and [one.job.job_id for one in jobs.list_jobs(filled)] == [started[0].job_id]


def test_a_record_that_cannot_be_repeated_says_so(filled: Warehouse) -> None:
    app = provenance(RUN_IDS[0])
    app.button(key="measure run again").click().run()
    assert not app.exception and "and cannot be repeated" in app.error[0].value


def test_the_export_is_made_on_the_click(filled: Warehouse) -> None:
    content = _export_zip(filled, [RUN_IDS[0]])
    names = zipfile.ZipFile(BytesIO(content)).namelist()
    assert f"parcels/{RUN_IDS[0]}/run.json" in names and "tables/layer_estimates.csv" in names


def test_hostile_notes_and_names_are_letters(filled: Warehouse) -> None:
    """The browser test looks at the same; here: nothing of it goes through Markdown as markup."""
    annotate(
        filled,
        RUN_IDS[0],
        lambda said: said.with_tag("<b>x</b>").with_note("<script>alert(1)</script> :material/home:"),
    )
    app = provenance(RUN_IDS[0])
    assert "<script>" not in texts(app) and cells(app)["note"] == ["<script>alert(1)</script> :material/home:"]
