"""Tags and notes: in the warehouse and in the parcel, so that nothing that is made anew forgets them."""

import json

import pytest

from core.errors import InputError, WarehouseError
from core.store import parcels
from core.store.parcels import Annotations, read_parcel
from core.warehouse.runs import annotate, ingest_parcel
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_profile

RUN = "01900000-0000-7000-8000-000000000001"


@pytest.fixture
def run(warehouse, add_parcel):
    ingest_parcel(warehouse, add_parcel(make_profile(RUN)))
    return RUN


def of(warehouse):
    return warehouse.read("SELECT tags, note FROM runs WHERE run_id = ?", [RUN]).row(0)


def test_tags_and_note_survive_the_making_anew(warehouse, run):
    annotate(
        warehouse,
        run,
        lambda said: said.with_tag("候補 1").with_tag("b").with_note("  看よ: =1+1\n<b>second line</b> "),
    )
    kept = of(warehouse)
    assert kept == (["候補 1", "b"], "看よ: =1+1\n<b>second line</b>")
    before = json.loads((warehouse.parcels / run / "run.json").read_text(encoding="utf-8"))
    assert before["run"]["tags"] == []  # what was measured stays as it was written
    warehouse.rebuild()
    assert of(warehouse) == kept
    annotate(warehouse, run, lambda said: said.without_tag("b").with_note(""))
    assert of(warehouse) == (["候補 1"], None)


NO_TAGS = ("", " ", "a,b", "a\nb", "a\tb", "a\x00b", "\u202egnirts", "x" * 41, "reference", " Reference ", "\ud800")


def test_what_is_no_tag(warehouse, run):
    for tag in NO_TAGS:
        with pytest.raises(InputError, match="tag"):
            Annotations().with_tag(tag)
    with pytest.raises(InputError, match="tag"):
        annotate(warehouse, run, lambda said: said.with_tag(" "))
    assert of(warehouse) == ([], None) and parcels.read_annotations(warehouse.parcels / run) is None


def test_notes_have_limits():
    with pytest.raises(InputError, match="at most 10,000"):
        Annotations().with_note("x" * 10_001)
    with pytest.raises(InputError, match="control"):
        Annotations().with_note("a\x1b[31m")


def test_workdims_own_tag_stays_whatever_people_say(warehouse, add_parcel):
    ingest_parcel(warehouse, add_parcel(make_profile(RUN, tags=["reference"])))
    annotate(warehouse, RUN, lambda said: said.with_tag("mine"))
    assert of(warehouse)[0] == ["reference", "mine"]
    with pytest.raises(InputError, match="Workdim's own"):
        annotate(warehouse, RUN, lambda said: said.without_tag("reference"))
    annotate(warehouse, RUN, lambda said: said.without_tag("mine"))
    warehouse.rebuild()
    assert of(warehouse)[0] == ["reference"]


def test_a_tag_that_is_not_there_is_named(warehouse, run):
    annotate(warehouse, run, lambda said: said.with_tag("one"))
    with pytest.raises(InputError, match="no tag 'two'. It has: one"):
        annotate(warehouse, run, lambda said: said.without_tag("two"))


def test_what_is_broken_off_after_the_file_was_written_is_followed(warehouse, run, monkeypatch):
    """The file is the truth from then on."""
    from core.warehouse import runs as warehouse_runs

    real = parcels.write_annotations

    def told(parcel, said):
        real(parcel, said)
        raise KeyboardInterrupt

    monkeypatch.setattr(warehouse_runs.parcels, "write_annotations", told)
    with pytest.raises(KeyboardInterrupt):
        annotate(warehouse, run, lambda said: said.with_tag("kept"))
    assert of(warehouse)[0] == ["kept"]  # the rows follow whatever the file holds
    assert parcels.read_annotations(warehouse.parcels / run).tags == ("kept",)


NO_ANNOTATIONS = ("", "[]", '{"tags": "a"}', '{"tags": ["a,b"]}', '{"tags": [], "note": 1}', '{"tags": ["reference"]}')


def test_a_file_that_is_none_of_ours_is_damage_and_named(warehouse, run):
    for content in NO_ANNOTATIONS:
        (warehouse.parcels / run / parcels.ANNOTATIONS_FILE).write_text(content, encoding="utf-8")
        with pytest.raises(WarehouseError, match=r"damaged"):
            read_parcel(warehouse.parcels / run)


def test_two_teams_notes_are_kept_with_a_mark_and_once():
    ours = Annotations(("a", "b"), "ours")
    both = ours.merged_with(Annotations(("b", "c"), "theirs"))
    assert both == Annotations(("a", "b", "c"), "ours\n[imported] theirs")
    assert both.merged_with(Annotations(("b", "c"), "theirs")) == both
    assert Annotations().merged_with(ours) == ours


def test_an_unknown_run_is_named(warehouse: Warehouse):
    with pytest.raises(InputError, match="There is no run nothing"):
        annotate(warehouse, "nothing", lambda said: said)
