"""Pilots in the warehouse: written once, never changed, and every result is found, whoever it was measured for."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from core.errors import InputError
from core.pilots.pilot import (
    Benchmark,
    OwnScore,
    OwnTask,
    Pilot,
    PilotModel,
    PilotText,
    pilot_requests,
    registered_pilot,
)
from core.tables import PilotRow, records
from core.warehouse import people, queries
from core.warehouse.runs import ingest_parcel
from tests.profiles import make_model, make_profile

RUN_IDS = [f"01900000-0000-7000-8000-0000000000{n:02d}" for n in range(1, 7)]
MADE_UP = PilotModel("pypi:made-up")
OTHER = PilotModel("o/other@step1")
PILOT = Pilot(
    "Tickets",
    "Which one?",
    "general",
    (MADE_UP, OTHER),
    (PilotText("made-up"),),
    Benchmark("arc_easy", "acc", "Nothing.", date(2026, 1, 1), True),
    task=OwnTask("tickets answered right", "percent", True),
)


def with_score(pilot: Pilot, value: float | None, n: int = 0) -> Pilot:
    models = list(pilot.models)
    models[n] = replace(models[n], score=None if value is None else OwnScore(value, 1.5, 200))
    return replace(pilot, models=tuple(models))


def of_request(pilot: Pilot, **changes) -> str:
    config = pilot_requests(pilot)[0]
    run = {"model": config.model, "companions": list(config.companions), "controls": config.controls} | changes
    return json.dumps({"run": run})


def test_a_pilot_is_registered_once_and_read_back(warehouse):
    assert people.register_pilot(warehouse, PILOT)
    first = queries.pilots(warehouse)
    assert not people.register_pilot(warehouse, replace(PILOT, device="cpu"))
    assert queries.pilots(warehouse).equals(first)
    (row,) = records(first, PilotRow)
    assert registered_pilot(row).pilot == PILOT and row.pilot_id == PILOT.pilot_id
    assert (row.models, row.corpora, row.benchmark) == (["pypi:made-up", "o/other@step1"], ["made-up"], "arc_easy")


def test_who_decides_may_be_told_later_and_nothing_else_changes(warehouse):
    people.register_pilot(warehouse, PILOT)
    assert not people.register_pilot(warehouse, replace(PILOT, decided_by="Head of support", device="cpu"))
    (row,) = records(queries.pilots(warehouse), PilotRow)
    assert registered_pilot(row).pilot == replace(PILOT, decided_by="Head of support")


def test_an_edited_pilot_is_another_one_and_the_first_stays(warehouse):
    people.register_pilot(warehouse, PILOT)
    edited = replace(PILOT, benchmark=replace(PILOT.benchmark, expectation="Something."))
    assert people.register_pilot(warehouse, edited)
    assert set(queries.pilots(warehouse)["pilot_id"]) == {PILOT.pilot_id, edited.pilot_id}


def test_own_scores_may_follow_but_never_change(warehouse):
    people.register_pilot(warehouse, with_score(PILOT, 61.0))
    people.register_pilot(warehouse, with_score(with_score(PILOT, 61.0), 55.0, n=1))
    people.register_pilot(warehouse, PILOT)
    scores = queries.scores(warehouse, ["pypi:made-up", "o/other"])
    assert scores.select("repository", "revision", "value", "std_error", "n_samples", "source").rows() == [
        ("o/other", "step1", 55.0, 1.5, 200, f"pilot:{PILOT.pilot_id}"),
        ("pypi:made-up", None, 61.0, 1.5, 200, f"pilot:{PILOT.pilot_id}"),
    ]
    told = r"registered with value = 61\.0, std_error = 1\.5, n_samples = 200 in .*file says value = 62\.0"
    with pytest.raises(InputError, match=told):
        people.register_pilot(warehouse, with_score(PILOT, 62.0))
    assert queries.scores(warehouse, ["pypi:made-up"])["value"].to_list() == [61.0]


def test_a_pilot_whose_scores_are_refused_leaves_nothing(warehouse, monkeypatch):
    def refuse(*_):
        raise InputError("refused")

    monkeypatch.setattr(people, "_new_scores", refuse)
    with pytest.raises(InputError):
        people.register_pilot(warehouse, PILOT)
    assert queries.pilots(warehouse).is_empty()


def test_results_are_those_measured_for_it_and_those_counted_as_its_own(warehouse, add_parcel):
    people.register_pilot(warehouse, PILOT)
    measured = make_profile(RUN_IDS[0], pilot_id=PILOT.pilot_id)
    earlier = make_profile(RUN_IDS[1])
    control = make_profile(RUN_IDS[2], pass_="shuffled", pilot_id=PILOT.pilot_id)
    for profile in (measured, earlier, control, make_profile(RUN_IDS[3])):
        ingest_parcel(warehouse, add_parcel(profile))
    people.add_runs(warehouse, PILOT.pilot_id, RUN_IDS[:2])
    people.add_runs(warehouse, PILOT.pilot_id, RUN_IDS[:2])
    another = replace(PILOT, name="another")
    people.register_pilot(warehouse, another)
    people.add_runs(warehouse, another.pilot_id, [RUN_IDS[1], "not-measured-yet"])
    with pytest.raises(InputError, match="There is no pilot unknown"):
        people.add_runs(warehouse, "unknown", [RUN_IDS[1]])
    assert queries.pilot_run_ids(warehouse, PILOT.pilot_id) == [RUN_IDS[1], RUN_IDS[0]]
    assert queries.pilot_run_ids(warehouse, another.pilot_id) == [RUN_IDS[1]]
    assert queries.pilots(warehouse)["n_runs"].to_list() == [1, 2]
    before = queries.pilots(warehouse)
    warehouse.rebuild()
    assert queries.pilots(warehouse).equals(before)
    assert queries.pilot_run_ids(warehouse, PILOT.pilot_id) == [RUN_IDS[1], RUN_IDS[0]]


def test_the_revision_that_was_asked_for_stands_beside_the_one_it_meant(warehouse, add_parcel):
    hub = make_model("o/other@0a1b2c", repository="o/other")
    for run_id, model, asked in (
        (RUN_IDS[0], hub, "o/other@step1"),
        (RUN_IDS[1], hub, "o/other"),
        (RUN_IDS[2], make_model("local:x@1"), "/home/me@work/x"),
        (RUN_IDS[3], make_model("pypi:p@1.0"), "pypi:p==1.0"),
    ):
        config = json.dumps({"run": {"model": asked}})
        ingest_parcel(warehouse, add_parcel(make_profile(run_id, model=model, config=config)))
    runs = queries.runs(warehouse)
    assert dict(runs.select("run_id", "requested_revision").rows()) == {
        RUN_IDS[0]: "step1",
        RUN_IDS[1]: None,
        RUN_IDS[2]: None,
        RUN_IDS[3]: "1.0",
    }
