"""The answer: one of four words with its numbers, whatever is missing."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, datetime

import polars as pl
import pytest

from core.locale import in_language
from core.questions.ranking_answer import answer_question, relation_units
from core.questions.ranking_question import RankingQuestion, runs_of_pilot, select_population
from core.terminal.tables import model_table
from core.wording import answers as answer_wording
from core.wording.scores import rank_lines
from tests import answers, frames
from tests.answers import evidence, falling, models, pilot, registered, scores, unrelated
from tests.frames import Model

pytestmark = pytest.mark.slow

PILOT = registered(pilot())


def said(*given, asked: RankingQuestion | None = None, **more):
    return answer_question(select_population(evidence(*given, **more), asked))


def expected(*given, **more):
    """The expectation that applies, without an answer."""
    return select_population(evidence(*given, **more)).registration


def test_a_registered_expectation_that_holds_is_related_as_registered():
    found = said(models(), scores(falling()), PILOT)
    assert found.word == "related_as_registered" and found.registration.is_registered
    assert found.relation.n == 24 and found.relation.rho < -0.9 and found.relation.p < 0.001
    assert [one.name for one in found.models] == [f"m{at:02d}" for at in reversed(range(24))]
    assert found.models[0].rank_low == 1 and found.models[-1].rank_high == 24
    assert found.models[-1].score_rank_low == 1, "m00 has the best score and the smallest dimension"


def test_what_goes_the_other_way_and_what_shows_nothing_are_told_as_that():
    other = said(models(), scores([-value for value in falling()]), PILOT)
    assert other.word == "related_other_way" and other.relation.rho > 0.9
    assert said(models(), scores(unrelated()), PILOT).word in ("cannot_tell", "not_related")


def test_a_score_of_which_less_is_better_is_turned():
    lower = registered(pilot(benchmark=replace(answers.BENCHMARK, higher_is_better=False)))
    bits = scores(list(range(24)), higher_is_better=False)
    found = said(models(), bits, lower)
    assert found.word == "related_as_registered", "the larger the dimension, the more bits: the worse"
    assert found.models[-1].score_rank_low == 1


def test_without_a_pilot_the_published_expectation_is_looked_at_and_called_exploratory():
    found = said(models(), scores(falling()))
    assert found.registration.by == "published" and found.registration.sign == "negative"
    assert found.registration.exploratory == ("not_registered",) and not found.registration.is_registered
    assert found.word == found.relation.answer == "hint" and found.relation.corrected_p <= 0.05
    told = answer_wording.answer_text(found)
    assert told.startswith("A hint: models with a smaller largest inner dimension tend to score")
    assert "registered, before" not in told and "(corrected for 2 looks: p < 0.001)" in told
    turned = said(models(), scores(falling()[::-1]))
    assert turned.word == "hint" and "models with a larger" in answer_wording.claim_text(turned)


def varied(n: int = 24, seed: int = 3) -> list[Model]:
    """Models whose dimensions differ at every place, and are related to nothing."""
    draw = random.Random(seed)
    sizes = [{key: draw.uniform(20, 90) for key in ("embedding", "final", "final_post_norm")} for _at in range(n)]
    return [replace(model, peak=90 + draw.uniform(1, 40), **of) for model, of in zip(models(n), sizes, strict=True)]


def test_of_twenty_tables_of_random_scores_none_is_told_as_registered_and_few_as_a_hint():
    draw = random.Random(2)
    tables = {f"t{at:02d}": [draw.random() for _model in range(24)] for at in range(20)}
    known = evidence(varied(), pl.concat([scores(values, benchmark=name) for name, values in tables.items()]))
    asked = [select_population(known, RankingQuestion(benchmark=name)) for name in tables]
    found = [
        answer_question(replace(one, asked=replace(one.asked, dimension=dimension)), is_brief=True)
        for one in asked
        for dimension in ("inner_max", "final", "embedding")
    ]
    assert sum(one.relation.p <= 0.05 for one in found) >= 2, "by its own p each of these would be related"
    assert {one.word for one in found} <= {"cannot_tell", "not_related", "hint"}
    assert sum(one.word == "hint" for one in found) <= 3
    picked = next(one for one in found if one.relation.p <= 0.05)
    assert picked.relation.n_looks == 100 and picked.relation.corrected_p > 0.05 and picked.reasons == ("search",)
    assert "corrected for all looks" in answer_wording.undecided_lines(picked)[0]


def test_models_that_were_picked_by_hand_and_further_choices_are_no_better_than_what_was_looked_at():
    whole = select_population(evidence(models(), scores(falling())))
    half = answer_question(whole.narrowed(whole.rows["run_id"].to_list()[:12]))
    assert (half.word, half.reasons, half.relation.corrected_p) == ("cannot_tell", ("picked",), None)
    assert half.relation.without_one.changes is None, "nobody knows what another choice would have shown"
    known = evidence(models(), scores(falling()))
    families = pl.Series([("llama", "qwen")[at % 2] for at in range(known.runs.height)])
    known = replace(known, runs=known.runs.with_columns(family=families))
    one = answer_question(select_population(known, RankingQuestion(family="llama")))
    assert (one.word, one.relation.n, one.relation.n_looks) == ("hint", 12, 4), "each of two families could be chosen"


def test_of_what_nobody_registered_no_part_is_called_unlike_the_registered_one():
    found = select_population(evidence(models(), scores(falling())), RankingQuestion("final", family="llama"))
    told = answer_wording.exploratory_text(found.registration)
    assert told == "Exploratory: not registered for these models."


def test_a_pilot_that_was_registered_after_its_scores_is_exploratory():
    late = registered(pilot(), datetime(2026, 11, 25, 8, 0))
    assert expected(models(), scores(falling()), late).exploratory == ("after_scores",)
    of_the_day = registered(pilot(), datetime(2026, 11, 24, 23, 0))
    assert expected(models(), scores(falling()), of_the_day).is_registered
    undated = scores(falling(), as_of=None)
    assert expected(models(), undated, PILOT).exploratory == ("dates_not_known",)
    known = {"00": datetime(2026, 11, 22)}
    assert expected(models(), undated, PILOT, import_times=known).is_registered
    assert not expected(models(), undated, late, import_times=known).is_registered
    that_morning = {"00": datetime(2026, 11, 24, 9, 0)}
    for dated in (undated, scores(falling())):
        assert expected(models(), dated, of_the_day, import_times=that_morning).exploratory == ("after_scores",)


def test_only_the_day_of_registration_counts_and_what_an_author_dates_decides_nothing():
    early = pilot(benchmark=replace(answers.BENCHMARK, frozen=date(2020, 1, 1)))
    late = said(models(), scores(falling()), registered(early, datetime(2026, 11, 29, 8, 0)))
    assert late.registration.exploratory == ("after_scores",) and late.word == "hint"
    assert "2020" not in answer_wording.answer_text(late)
    in_time = said(models(), scores(falling()), registered(early))
    assert "registered 20 November 2026, before the scores" in answer_wording.answer_text(in_time)
    assert answer_wording.expectation_text(in_time.registration).startswith(
        "Expectation (“Tickets”, registered in Workdim on 20 November 2026, dated 1 January 2020 by its author): "
    )
    same = expected(models(), scores(falling()), PILOT)
    assert answer_wording.registration_day_text(same) == "registered in Workdim on 20 November 2026"


def test_a_score_stated_with_its_pilot_was_there_when_it_was_registered():
    own = {"source": PILOT.pilot.source, "as_of": "2026-11-20T12:00:00+00:00"}
    assert expected(models(), scores(falling(), **own), PILOT).exploratory == ("after_scores",)
    later = own | {"as_of": "2026-11-20T12:00:01+00:00"}
    assert expected(models(), scores(falling(), **later), PILOT).is_registered


def test_only_the_models_that_were_named_are_counted_and_those_without_a_run_are_told():
    named = registered(pilot(10, models=tuple(answers.PilotModel(f"hub:m{at:02d}") for at in (*range(9), 99))))
    found = said(models(), scores(falling()), named)
    assert found.relation.n == 9 and found.population.missing == ("m99",)
    assert found.population.others == (), "other models of the very group are no group that cannot be compared"
    everyone = select_population(evidence(models(), scores(falling()), named), RankingQuestion(ignores_pilots=True))
    assert everyone.rows.height == 24 and everyone.registration.by == "published"


def test_replicates_of_one_recipe_count_once():
    """Six replicates of the base recipe carry a relation that the recipes do not show."""
    recipes = [f"hub:m{at:02d}" for at in (0, *range(18, 24))]
    twice = registered(pilot(replicates=(tuple(recipes),)))
    rising = [60.0 + at for at in range(18)]
    order = [9, 2, 14, 5, 17, 0, 11, 7, 3, 16, 1, 12, 8, 15, 4, 10, 6, 13]
    shown = [*(rising[at] for at in order), *(30.0 - at for at in range(6))]
    assert said(models(), scores(shown), PILOT).word == "related_as_registered"
    found = said(models(), scores(shown), twice)
    assert found.word == "not_related" and (found.relation.n, found.relation.n_units) == (18, 24)
    assert "24 models of 18 recipes: each recipe counts once, by its mean." in answer_wording.note_lines(found)
    agreed = said(models(), scores(falling()), twice)
    assert agreed.word == "related_as_registered" and agreed.relation.n == 18
    assert agreed.relation.without_one.moves_most in set(agreed.population.rows["run_id"]), "a name that has a label"


def test_the_ladder_counts_its_base_recipe_once():
    ladder = answers.ladder()
    assert len(ladder.models) == 24 and sum(map(len, ladder.replicates)) == 7
    runs = frames.runs(*models(24)).with_columns(
        reference=pl.Series([model.reference for model in ladder.models]), corpus_name=pl.lit("ladder-code")
    )
    assert runs_of_pilot(runs, ladder).height == 24
    rows = [answers.ladder_score(model.reference, 1.5 + 0.01 * at) for at, model in enumerate(ladder.models)]
    found = answer_question(
        select_population(replace(evidence(models(), frames.scores(*rows)), runs=runs, shipped_pilot=ladder))
    )
    assert found.word == "related_as_registered" and found.registration.by == "shipped"
    assert (found.relation.n, found.relation.n_units) == (18, 24)


# --- bad input -------------------------------------------------------------------------------------------------


def test_without_scores_nobody_can_tell_and_every_model_stands_there_with_its_rank():
    found = said(models(), scores([]), PILOT)
    assert (found.word, found.reasons, found.relation.rho) == ("cannot_tell", ("no_scores",), None)
    assert len(found.models) == 24 and found.models[0].rank_low == 1 and found.models[0].score is None


def test_no_run_one_run_and_a_few_runs():
    none = said([], scores([]))
    assert (none.word, none.reasons, none.models, none.group) == ("cannot_tell", ("no_runs",), (), None)
    one = said(models(1), scores([50.0]))
    assert (one.word, one.relation.n, one.relation.rho) == ("cannot_tell", 1, None)
    few = said(models(7), scores(falling(7)))
    assert (few.word, few.reasons) == ("cannot_tell", ("stage",))


def test_scores_that_are_all_equal_tell_nothing():
    found = said(models(), scores([50.0] * 24), PILOT)
    assert (found.word, found.reasons, found.relation.rho) == ("cannot_tell", ("one_value",), None)


def test_a_model_without_which_all_are_equal_is_not_told_by_the_id_of_its_run():
    found = said(models(8), scores([50.0] * 7 + [60.0]))
    assert found.relation.without_one and found.relation.without_one.not_judged
    assert not any("Too few models are left" in line for line in answer_wording.influence_lines(found))


def test_what_so_many_models_could_show_is_told_once():
    for values, reasons in ((unrelated(12), ("interval_too_wide",)), (falling(), ())):
        found = said(models(len(values)), scores(values))
        lines = [*answer_wording.note_lines(found), *answer_wording.detail_lines(found)]
        assert found.reasons == reasons and sum("|rho| of" in line for line in lines) == 1


def test_sizes_within_one_stratum_still_have_a_coefficient_given_size():
    bare = frames.runs(*models())
    for sizes, n_given in ((pl.int_range(bare.height) * 1000 + 100_000, 1), (pl.lit(100_000, pl.Int64), 0)):
        runs = bare.with_columns(parameters=sizes, family=pl.lit("one"))
        found = answer_question(select_population(replace(evidence(models(), scores(falling()), PILOT), runs=runs)))
        assert found.relation.strata.reason == "one_stratum"
        assert sum("Given" in line for line in answer_wording.detail_lines(found)) == n_given


def test_missing_parameters_leave_only_the_partial_coefficient_out():
    bare = frames.runs(*models()).with_columns(parameters=pl.lit(0, pl.Int64), family=pl.lit(None, pl.String))
    found = answer_question(select_population(replace(evidence(models(), scores(falling()), PILOT), runs=bare)))
    assert found.word == "related_as_registered" and found.relation.partial.r is None
    assert found.relation.partial.reason is not None


def test_sources_that_contradict_each_other_are_told_and_decide_nothing_together():
    newest = scores(falling())
    other = scores(list(reversed(falling())), as_of="2026-11-23", source="z")
    found = said(models(), pl.concat([newest, other]), PILOT)
    assert (found.word, found.reasons) == ("cannot_tell", ("sources",)) and found.n_contradicting > 20
    nearly = scores([value + 0.1 for value in falling()], as_of="2026-11-23", source="z")
    same = said(models(), pl.concat([newest, nearly]), PILOT)
    assert same.word == "related_as_registered" and same.n_contradicting == 24


def test_a_score_of_a_base_model_tests_nothing():
    based = [Model(f"m{at:02d}", peak=50.0 + 2 * at, base_repository=f"hub:b{at:02d}") for at in range(24)]
    rows = frames.scores(*(frames.score(f"hub:b{at:02d}", value) for at, value in enumerate(falling())))
    found = said(based, rows)
    assert (found.word, found.reasons, found.n_base) == ("cannot_tell", ("base_scores",), 24)
    mixed = pl.concat([rows, frames.scores(frames.score("hub:m00", 10.0))])
    found = said(based, mixed)
    assert (found.relation.n, found.n_base) == (1, 23)


def test_a_metric_whose_direction_nobody_states_tells_nothing():
    unknown = scores(falling()).with_columns(higher_is_better=pl.lit(None, pl.Boolean))
    found = said(models(), unknown)
    assert (found.word, found.reasons, found.relation.rho) == ("cannot_tell", ("no_direction",), None)
    assert {one.score_rank_low for one in found.models} == {None} and found.models[0].score is not None
    assert said(models(), unknown, PILOT).word == "related_as_registered", "a pilot says which score is the better one"


def test_models_without_this_dimension_are_left_out_and_named():
    flat = [*models(20), *(Model(f"m{at:02d}", peak=50.0 + 2 * at, has_peak=False) for at in range(20, 24))]
    found = said(flat, scores(falling()), PILOT, asked=RankingQuestion("working"))
    assert found.relation.n == 20 and len(found.relation.without_dimension) == 4
    assert "other_dimension" in found.registration.exploratory
    assert [one.dimension for one in found.models[-4:]] == [None] * 4


# --- what is asked ---------------------------------------------------------------------------------------------


def test_a_registered_score_that_nobody_has_is_answered_all_the_same():
    found = said(models(), scores(falling(), benchmark="piqa"), PILOT)
    assert (found.word, found.reasons) == ("cannot_tell", ("no_scores",))
    assert found.population.offered["benchmark"].to_list() == ["piqa"]


def test_block_values_narrow_the_intervals_of_ranks():
    found = select_population(evidence(models(12), scores(falling(12))))
    wanted = found.required_blocks()
    assert wanted.row(0) == (found.rows["run_id"][0], 3, "residual", "one_per_type")
    blocks = found.rows.select(
        "run_id", blocks=pl.concat_list(pl.col("inner_max") * (1 + 0.0005 * at) for at in range(16))
    )
    narrow, wide = answer_question(found, blocks).models, answer_question(found).models
    assert all((one.rank_low, one.rank_high) == (at, at) for at, one in enumerate(narrow, start=1))
    assert wide[5].rank_high - wide[5].rank_low > 3
    wanted = found.required_score_blocks()
    assert wanted.row(0, named=True)["run_id"] in set(found.rows["run_id"]) and wanted.height == 12
    hard = [0.1 * (at % 5) for at in range(16)]
    of_scores = found.rows.select("run_id", blocks=pl.concat_list(pl.col("score") + one for one in hard))
    paired = answer_question(found, blocks, of_scores)
    assert paired.relation.errors_paired == ("dimension", "performance")
    assert max(one.score_rank_high - one.score_rank_low for one in paired.models) == 1, "two by two they are equal"
    assert max(one.score_rank_high - one.score_rank_low for one in answer_question(found, blocks).models) > 1
    few = answer_question(
        found.narrowed([one.run_id for one in paired.models[4:]]), blocks, of_scores, full_answer=paired
    )
    assert few.models == paired.models[4:] and few.relation.n == 8
    assert few.ranked == replace(paired.ranked, models=few.models)


def test_what_cannot_be_distinguished_from_the_best_and_which_difference_would_show_is_told():
    found = said(models(), scores(falling()), PILOT)
    best = max(found.models, key=lambda one: one.score)
    alike = found.ranked.like_best
    assert 1 < len(alike) < 24 and alike[0] == best.run_id
    assert {one.run_id for one in found.models if one.score_rank_low == 1} <= set(alike)
    lines = rank_lines(found)
    assert lines[0] == f"{len(alike) - 1} models may be as good as the best by score, {best.name}."
    assert (
        found.ranked.detectable_ratio > 1.2
        and f"ratio of dimensions of {found.ranked.detectable_ratio:.2f}" in lines[1]
    )
    assert found.ranked.detectable_score > 2 and "difference of" in lines[1]
    bare = said(models(), scores(falling(), std_error=None), PILOT)
    assert bare.ranked.detectable_score is None and len(rank_lines(bare)) == 2
    assert rank_lines(bare)[0].startswith("The scores state no errors")
    places = sorted(model.score_rank_low for model in bare.models)
    assert places[:3] == [1, 2, 3] and places[-1] == 24, "plain ranks, where each could have any"
    assert all(model.score_rank_high == model.score_rank_low for model in bare.models)
    assert not bare.ranked.has_score_errors and found.ranked.has_score_errors
    assert {model.score_class_leader for model in bare.models} == {None}
    assert model_table(bare)[0].endswith("rank by score")
    assert in_language("ja", rank_lines, said([], scores([]))) == []


def test_units_carry_what_a_referee_asks_for():
    units = relation_units(select_population(evidence(models(), scores(falling()))))
    assert units["log_parameters"].null_count() == 0 and units["family"].unique().to_list() == ["llama"]
    assert units["dimension_error"][0] == pytest.approx(0.033, abs=0.002) and units["performance_error"][0] == 0.5
