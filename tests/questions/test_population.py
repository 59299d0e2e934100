"""Who is compared, by what, and who expected it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import polars as pl
import pytest

from core.errors import InputError
from core.questions.ranking_answer import answer_question
from core.questions.ranking_question import RankingQuestion, group_key, select_population
from core.wording import answers as answer_wording
from tests import answers, frames
from tests.answers import evidence, falling, models, pilot, registered, scores, unrelated
from tests.frames import Model

PILOT = registered(pilot())


def said(*given, asked: RankingQuestion | None = None, **more):
    return answer_question(select_population(evidence(*given, **more), asked))


def test_the_newest_pilot_with_an_expectation_and_runs_is_asked_about_and_the_shipped_one_stands_in():
    silent = registered(pilot(benchmark=replace(answers.BENCHMARK, sign="none")), datetime(2026, 11, 23))
    elsewhere = registered(pilot(name="Gone", models=(answers.PilotModel("hub:gone"),)), datetime(2026, 11, 23))
    found = select_population(evidence(models(), scores(falling()), elsewhere, silent, PILOT))
    assert found.registration.pilot_id == PILOT.pilot_id and found.n_pilots == 2
    shipped = select_population(evidence(models(), scores(falling()), shipped_pilot=pilot()))
    assert (shipped.registration.by, shipped.registration.at) == ("shipped", None)
    assert select_population(evidence(models(), scores(falling()), silent)).registration.by == "published"
    assert select_population(
        evidence(models(), scores(falling())), RankingQuestion(pilot=silent)
    ).registration.exploratory == ("no_sign",)


def test_the_shipped_pilot_stays_what_it_is_when_somebody_registers_it_later():
    late = registered(pilot(), datetime(2026, 11, 30))
    found = select_population(evidence(models(), scores(falling()), late, shipped_pilot=pilot()))
    assert found.registration.by == "shipped" and found.registration.is_registered


def test_a_vetoed_run_counts_where_it_was_named_beforehand_and_nowhere_else():
    runs = [*models(23), Model("m23", peak=96.0, worst_check="veto")]
    assert said(runs, scores(falling()), PILOT).relation.n == 24
    free = select_population(evidence(runs, scores(falling())))
    assert free.rows.height == 23 and free.vetoed["name"].to_list() == ["m23"]
    assert select_population(evidence(runs, scores(falling())), RankingQuestion(include_vetoed=True)).rows.height == 24


def test_only_what_was_measured_here_is_asked_about_where_the_reader_wants_that():
    known = evidence(models(), scores(falling()), PILOT)
    tags = pl.Series([[] if name in ("m21", "m22") else ["reference"] for name in known.runs["name"]])
    known = replace(known, runs=known.runs.with_columns(tags=tags))
    found = answer_question(select_population(known, RankingQuestion(ignores_pilots=True, only_own=True)))
    assert found.population.rows["name"].sort().to_list() == ["m21", "m22"] and found.word == "cannot_tell"
    assert "n = 2, at least 5 needed" in answer_wording.answer_text(found)


def test_checkpoints_on_the_way_and_damaged_networks_that_ship_are_no_models_unless_a_pilot_names_them():
    marks = {"m21": ["reference", "earlier checkpoint"], "m22": ["reference", "damaged"], "m23": ["damaged"]}
    known = evidence(models(), scores(falling()))
    tags = pl.Series([marks.get(name, ["reference"]) for name in known.runs["name"]], dtype=pl.List(pl.String))
    known = replace(known, runs=known.runs.with_columns(tags=tags))
    free = select_population(known)
    assert (free.rows.height, free.n_variants) == (22, 2) and "m23" in free.rows["name"], (
        "nobody's own run is set aside"
    )
    assert answer_wording.note_lines(answer_question(free))[-1].startswith(
        "Not counted: earlier checkpoints, damaged networks (2)"
    )
    named = select_population(replace(known, pilots=(PILOT,)))
    assert (named.rows.height, named.n_variants) == (24, 0) and named.offered["n_models"].to_list() == [24]


def test_another_score_than_the_registered_one_is_exploratory():
    other = scores(falling(), benchmark="piqa")
    both = pl.concat([scores(unrelated()), other])
    named = select_population(evidence(models(), both, PILOT), RankingQuestion(benchmark="piqa"))
    assert named.benchmark["benchmark"] == "piqa" and named.registration.exploratory == ("other_score",)
    few = registered(pilot(10))
    asked_of_all = select_population(evidence(models(), both, few), RankingQuestion(benchmark="piqa"))
    assert asked_of_all.rows.height == 24 and asked_of_all.registration.by == "published"
    of_pilot = select_population(evidence(models(), both, PILOT), RankingQuestion(benchmark="piqa", pilot=PILOT))
    assert of_pilot.registration.exploratory == ("other_score",)
    again = select_population(evidence(models(), both, PILOT), RankingQuestion(benchmark="tickets", metric="acc"))
    assert again.registration.is_registered


def test_unknown_names_are_told_with_those_that_are_near():
    given = evidence(models(), scores(falling()))
    for asked, told in (
        (RankingQuestion(benchmark="ticket"), "Unknown benchmark 'ticket'. Did you mean tickets"),
        (RankingQuestion(benchmark="tickets", metric="f1"), "Unknown metric 'f1'"),
        (RankingQuestion(family="lama"), "Unknown family 'lama'. Did you mean llama"),
    ):
        with pytest.raises(InputError, match=told):
            select_population(given, asked)
    with pytest.raises(InputError, match="Unknown dimension 'peak'"):
        RankingQuestion("peak")
    only_vetoed = [Model("m00", peak=96.0, worst_check="veto"), *models(23)[2:]]
    with pytest.raises(InputError, match="A check vetoes every model with a score of 'tickets': m00. "):
        select_population(evidence(only_vetoed, scores([1.0])), RankingQuestion(benchmark="tickets"))
    with pytest.raises(InputError, match="No comparable model has a score of '"):
        select_population(evidence(models(), scores([])), RankingQuestion(benchmark="tickets"))


def test_the_users_own_score_is_shown_first_and_not_the_alphabet():
    own = scores(falling(6), benchmark="zz_own", source="pilot:other-00000000")
    published = scores(falling(), benchmark="arc")
    mine = registered(pilot(benchmark=replace(answers.BENCHMARK, name="never", sign=None)))
    source = own.with_columns(source=pl.lit(mine.pilot.source))
    offered = select_population(
        evidence(models(), pl.concat([source, published]), mine), RankingQuestion(pilot=mine)
    ).offered
    assert offered["benchmark"].to_list() == ["zz_own", "arc"]


def test_the_group_with_most_scores_is_compared_and_the_others_say_what_they_differ_in():
    large = models(20, tokenizer_hash="tok2", corpus="english-business")
    scored = [Model(f"s{at:02d}", peak=40.0 + at) for at in range(12)]
    short = Model("n", peak=40.0, n_points=400)
    encoder = Model("e", kind="encoder")
    rows = frames.scores(*(frames.score(f"hub:s{at:02d}", 50.0 - at, benchmark="tickets") for at in range(12)))
    found = select_population(evidence([*large, *scored, short, encoder], rows))
    assert found.rows.height == 12 and set(found.rows["name"].str.head(1)) == {"s"}
    told = {
        one.group.rows["name"][0]: (one.differing_keys, one.can_be_measured, one.can_meet_on_words)
        for one in found.others
    }
    assert told["m00"] == (("tokenizer_hash", "corpus_id"), False, True)
    assert told["n"] == (("n_points",), False, False)
    assert told["e"] == (("kind",), False, False)
    assert found.others[0].group.rows.height == 20


def test_a_group_of_the_readers_choice_is_nobodys_expectation():
    everyone = [*models(), Model("x", corpus="other")]
    first = select_population(evidence(everyone, scores(falling()), PILOT))
    found = select_population(
        evidence(everyone, scores(falling()), PILOT), RankingQuestion(group=group_key(first.others[0].group))
    )
    assert found.rows["name"].to_list() == ["x"] and found.registration.by == "published"


def test_a_group_that_is_not_there_is_no_other_one():
    everyone = [*models(), Model("x", corpus="other")]
    first = select_population(evidence(everyone, scores(falling()), PILOT))
    key = group_key(first.others[0].group)
    gone = select_population(evidence(models(), scores(falling()), PILOT), RankingQuestion(group=key))
    assert gone.group is None and gone.rows.is_empty()
    size = int(key.rpartition("~")[2])
    more = [*everyone, Model("y", corpus="other", n_points=size + 1)]
    found = select_population(evidence(more, scores(falling()), PILOT), RankingQuestion(group=key))
    assert found.rows["name"].to_list() == ["x", "y"], "named by the largest cloud that it had"


def test_fewer_models_than_were_registered_are_exploratory():
    found = select_population(evidence(models(), scores(falling()), PILOT))
    assert found.narrowed(found.rows["run_id"]) is found
    half = found.narrowed(found.rows["run_id"].to_list()[:12])
    assert half.registration.exploratory == ("other_models",) and answer_question(half).relation.n == 12
