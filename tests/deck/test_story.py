"""What each case says, word for word, and what holds for every story: a decision in seven slides, nothing claimed too much."""

import json
import re
from dataclasses import asdict, replace

import polars as pl
import pytest

from core.analysis.ranking import default_benchmark, with_scores
from core.deck import layout, pilot_slides
from core.deck.appendix import SECTIONS, sql_strings
from core.deck.deck_data import deck_data, plan_data
from core.deck.numbers import numbers_of, texts_of
from core.deck.report import build_story
from core.deck.story import CORE_SLIDES, Table
from core.errors import InputError
from core.figures.chart import Chart, Gallery
from core.figures.scores import relation_chart
from core.locale import in_language
from core.pilots.entries import PilotModel
from core.questions.ranking_question import missing_models
from core.records import LayerPlan, PlanConfig
from core.registry.verdicts import VERDICTS
from core.sql.gate import check_statement
from core.tables import TABLES, LayerCorrelatorRow, RunSummaryRow, columns
from core.warehouse import queries
from core.warehouse.warehouse import Warehouse
from core.wording import answers as answer_wording
from core.wording.verdicts import MARKS
from tests import answers, frames
from tests.deck import cases
from tests.deck.cases import CASES, LANGUAGES, ONE, TWO, data_of, many, of_models, of_pilot, story_of
from tests.frames import Model, score
from tests.plans.made import layer_plan

pytestmark = pytest.mark.slow

EVERY = [(case, language) for case in CASES for language in LANGUAGES]


@pytest.mark.parametrize("case", CASES)
def test_every_case_says_what_was_read_aloud(case):
    """Where this is to change: look at the slides, then `python -m tests.deck.cases`."""
    assert cases.told(case) == (cases.GOLDEN / f"{case}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(("case", "language"), EVERY)
def test_every_story_is_seven_slides_that_can_be_told(case, language):
    story = story_of(case, language)
    assert (
        story.case == ("no_pilot" if "model" in case else case) == data_of(case, language).case
        and len(story.slides) == CORE_SLIDES
    )
    assert len({slide.key for slide in story}) == len(list(story))
    for slide in story.slides:
        assert re.search(r"\d", slide.title) or slide.key in ("question", "answer") or slide.is_placeholder, slide.title
        assert layout.lines_needed(slide.title, 0.96 * layout.TEXT_WIDTH, 24) <= 2
        assert slide.source.startswith("Workdim") and slide.sources
        assert slide.use_class
        assert slide.statements or slide.visual is not None
        if slide.visual is not None:
            assert 15 <= len(slide.visual.alternative) <= 700


def test_notes_say_what_the_slide_does_not():
    for case, language in EVERY:
        for slide in story_of(case, language).slides:
            assert not {statement.text for statement in slide.statements} & set(slide.speech), (case, slide.key)
            assert slide.title not in slide.speech, (case, slide.key)


@pytest.mark.parametrize("case", CASES)
def test_japanese_titles_end_in_a_noun_and_days_are_written_out(case):
    for slide in story_of(case, "ja").slides:
        assert not re.search(r"(です|ます|する|した|いる|。)$", slide.title), slide.title
        assert not re.search(r"\d{4}-\d\d-\d\d", slide.title + slide.source)


def test_the_second_slide_of_a_pilot_is_the_sentence_of_the_ranking_page():
    for case in ("cannot_tell", "related_other_way", "incomplete"):
        for language in LANGUAGES:
            answer = data_of(case, language).answer
            first = story_of(case, language).slides[1].statements[0]
            assert first.text == in_language(language, answer_wording.answer_text, answer)
    labels = [statement.label for statement in story_of("cannot_tell", "ja").slides[1].statements]
    assert labels == ["結論", "根拠", "対応"]


def test_slides_of_each_run_come_only_where_somebody_asks():
    data = of_models(ONE, TWO)
    assert {slide.key.split("-")[0] for slide in build_story(data).appendix} <= set(SECTIONS)
    assert [s.key for s in build_story(data, per_run=True).appendix if s.key.startswith("run")] == ["run", "run-2"]
    assert "sql" not in [slide.key for slide in story_of("one_model", "en").without_sections("sql", "limits").appendix]


def test_queries_of_the_appendix_are_sql_of_any_number_of_runs():
    for models in ([ONE, TWO], many(40)):
        (slide,) = [slide for slide in build_story(of_models(*models)).appendix if slide.key == "sql"]
        for one in slide.statements:
            check_statement(one.text)
        assert slide.title == f"{len(slide.statements)} queries give the same numbers"
    assert "'it''s'" in sql_strings(["it's"]) and sql_strings(["abcdef"], 2) == "'ef'"


def test_a_plan_says_what_was_asked_for_and_not_where_it_lay():
    asked = PlanConfig(
        "/home/smith/llm", "/home/smith/notes.txt", task="/home/smith/q.csv", save_model="C:\\smith\\out"
    )
    plan = layer_plan()
    plan = replace(plan, plan=replace(plan.plan, config=json.dumps(asdict(replace(asked, verify=True)))))
    (slide,) = [one for one in build_story(plan_data(plan, cases.DAY)).appendix if one.key == "provenance"]
    told = slide.visual.rows[-1][1]
    assert told == (
        "model llm, corpus notes.txt, budget 0.0488, budget_unit nats, task q.csv, verify, save_model out, encoding utf-8, "
        "chat template, seed 0, dtype float32, device auto"
    )


def test_no_page_of_the_appendix_holds_one_row():
    for story in (story_of("not_related", "ja"), build_story(of_models(*many(40)))):
        pages = [slide for slide in story.appendix if isinstance(slide.visual, Table) and "-" in slide.key]
        assert pages and all(len(slide.visual.rows) > 1 for slide in pages)


def test_nothing_is_claimed_from_a_vetoed_run():
    vetoed = replace(ONE, worst_check="veto", rise="holds", fall="holds", peak=999.0)
    story = build_story(of_models(vetoed, TWO))
    shown = "\n".join(slide.title + "".join(one.text for one in slide.statements) for slide in story.slides)
    assert "999" not in shown and "1 vetoed" in shown
    curves = [one for slide in story.slides if isinstance(slide.visual, Chart) for one in slide.visual.series]
    assert [one.colour for one in curves if "‡" in one.name] == [None]
    only = build_story(of_models(vetoed))
    assert only.slides[1].title.startswith("0 of 1") and only.slides[2].is_placeholder


def test_of_many_models_those_that_a_check_vetoes_are_counted_and_not_drawn():
    models = [replace(one, worst_check="veto") if at < 3 else one for at, one in enumerate(many(10))]
    story = build_story(of_models(*models))
    assert "Usable: 7 of 10 models; drawn: 7" in dict(row[:2] for row in story.slides[0].visual.rows)["Quality"]
    shown = story.slides[2].visual
    assert story.slides[2].title.startswith("7 models") and len(shown.charts) == 7
    assert shown.key.startswith("Drawn: 7 of 10 models")


def test_a_gallery_holds_the_ends_and_the_best_by_score_on_one_scale():
    small = story_of("not_related", "en").slides[4].visual
    assert isinstance(small, Gallery) and len(small.charts) == 12 and "12 of 40" in small.key
    assert len({(chart.y.low, chart.y.high, chart.x.high) for chart in small.charts}) == 1
    names = [chart.series[0].name for chart in small.charts]
    best = data_of("not_related", "en").best_by_score.name
    assert {"m00", "m39", best} <= set(names) and names == sorted(names, reverse=True)


def test_a_score_that_is_better_when_low_says_so_at_its_axis():
    low = replace(answers.BENCHMARK, higher_is_better=False)
    chart = build_story(of_pilot(12, answers.unrelated(12), "en", benchmark=low)).slides[2].visual
    assert chart.y.title.endswith("(lower is better)")
    assert "lower" not in story_of("cannot_tell", "en").slides[2].visual.y.title


def test_the_largest_change_is_the_largest_ratio_in_either_direction():
    models = [replace(ONE, peak=106.0), replace(TWO, embedding=10.0, peak=127.0, final=3.0)]
    slide = build_story(of_models(*models)).slides[3]
    assert slide.title.startswith("Largest change by ratio: all-MiniLM-L6-v2")


def test_the_largest_direction_is_that_of_the_components_and_not_what_few_tokens_hold():
    shares = {("top_components_1", 2): 0.61, ("top_components_1", 9): 0.2, ("variance_top_1", 9): 0.97}
    rows = [
        LayerCorrelatorRow(ONE.id, layer, "residual", "one_per_type", name, value, 0.01, 800)
        for (name, layer), value in shares.items()
    ]
    slide = build_story(of_models(ONE, correlators=TABLES["layer_correlators"].frame(rows))).slides[3]
    assert slide.visual.rows[0][-1] == "61% at layer 2"


def test_a_rise_is_told_as_a_fact_only_where_it_is_robust():
    sure = build_story(of_models(replace(ONE, rise="holds", fall="holds"), language="ja"))
    assert "途中で増え、最後に減る" in sure.slides[1].statements[0].text and "増え" in sure.slides[1].title
    unsure = build_story(of_models(ONE, language="ja"))
    assert "増え" not in unsure.slides[1].title
    assert "最大となる層：30層中の第9層" in "".join(one.text for one in unsure.slides[1].statements)


def test_of_two_models_that_do_not_compare_no_title_puts_them_on_one_scale():
    for language in LANGUAGES:
        slide = next(slide for slide in story_of("two_models", language).slides if slide.key == "profiles")
        assert {"en": "2 models that do not compare", "ja": "比較できない2モデル"}[language] in slide.title
        assert "may not be compared" in slide.statements[0].text or language == "ja"
    twins = build_story(of_models(ONE, replace(ONE, name="twin", peak=90.0)))
    assert "2 models on one scale" in next(slide.title for slide in twins.slides if slide.key == "profiles")


@pytest.mark.parametrize("language", LANGUAGES)
def test_adopting_is_recommended_only_where_nothing_that_could_reverse_it_is_untested(language, monkeypatch):
    def asked(data):
        return in_language(language, pilot_slides.adopt_slide, data).statements[0].text

    data = data_of("related_as_registered", language)
    first = {
        "untested": {
            "en": "Measure first what could reverse it: a second text,",
            "ja": "まず、結果を覆しうる未検証の項目",
        },
        "size": {"en": "Extend to 24 models of other sizes", "ja": "規模の異なる24モデルへ広げる"},
        "tested": {"en": "Adopt it for shortlists", "ja": "候補の絞り込みに採用する"},
    }
    assert asked(data).startswith(first["untested"][language])
    monkeypatch.setattr(pilot_slides, "_missing_variations", lambda _data: [])
    assert asked(data).startswith(first["size"][language])
    partial = replace(data.answer.relation.partial, r=-0.8, lower=-0.9, upper=-0.6)
    known = replace(data.answer, relation=replace(data.answer.relation, partial=partial))
    assert asked(replace(data, answer=known)).startswith(first["tested"][language])
    pilot = replace(data.pilot, use_class="scarce_data")
    cautious = {"en": "Take it up as a question: test it", "ja": "検証すべき問いとして採り上げる"}
    assert asked(replace(data, answer=known, pilot=pilot)).startswith(cautious[language])


def test_a_mark_means_one_thing_in_a_deck():
    of_verdicts = {word.mark for word in VERDICTS.values()}
    shared = set(MARKS.values()) & of_verdicts
    assert shared == {"?"} and MARKS["cannot_tell"] == VERDICTS["unclear"].mark == "?"
    chart = relation_chart(answer_of_base_scores())
    legend = re.findall(r"(\S) scores? of", chart.key)
    assert "▲" in legend and not {"○", *of_verdicts} & set(legend)


def answer_of_base_scores():
    """An answer with scores of the models and of a base model."""
    answer = data_of("related_as_registered", "en").answer
    first, *others = answer.models
    return replace(answer, ranked=replace(answer.ranked, models=(replace(first, match="base"), *others)))


def test_without_controls_the_slide_says_what_measuring_them_takes():
    slide = build_story(of_models(ONE)).slides[4]
    assert slide.is_placeholder and slide.title == "Not measured: controls, about 7 min"


def test_controls_without_power_show_nothing():
    text = Model("m", run_id="t", reasons_fall=("control_no_power",), control_run_ids=("r0",))
    control = Model("m", run_id="r0", parent_run_id="t", pass_="random_init", model_seed=0)
    slide = build_story(of_models(text, control)).slides[4]
    assert slide.title.startswith("0 of 1 comparisons")
    assert slide.visual.rows == (("random weights", "could not have shown it: 1 (power 10%)", "–"),)


def test_a_control_that_could_have_shown_a_shape_counts_as_that_whatever_it_showed():
    text = Model("m", run_id="t", control_run_ids=("r0",))
    data = of_models(text, Model("m", run_id="r0", parent_run_id="t", pass_="random_init", model_seed=0))
    undecided = data.against_controls.with_columns(outcome=pl.lit("cannot_tell"), power=pl.lit(0.98))
    no_power_at_all = data.against_controls.with_columns(power=pl.lit(None, pl.Float64), outcome=pl.lit("same"))
    both = pl.concat([undecided, no_power_at_all])
    slide = build_story(replace(data, against_controls=both)).slides[4]
    assert slide.title.startswith("1 of 1 comparisons"), "what the order of words does is no question of power"
    assert "cannot tell: 1" in slide.visual.rows[0][1] and "(power 98%)" in slide.visual.rows[0][1]


@pytest.mark.parametrize(("vetoes", "why"), [(("sequence_share",), "vetoed by "), ((), "no value in some layer")])
def test_a_control_that_cannot_be_used_says_why(vetoes, why):
    text = Model("m", run_id="t", reasons_fall=("control_vetoed",), control_run_ids=("r0",))
    control = Model("m", run_id="r0", parent_run_id="t", pass_="random_init", model_seed=0)
    data = of_models(text, control, checks=frames.checks(*((control, check, "veto") for check in vetoes)))
    unusable = data.against_controls.with_columns(outcome=pl.lit("not_usable"))
    table = build_story(replace(data, against_controls=unusable)).slides[4].visual
    assert table.rows[0][1] == "not usable: 1" and f"Not usable: {why}" in table.key
    japanese = build_story(replace(data, against_controls=unusable, language="ja")).slides[4].visual
    assert "使用不可の理由" in japanese.key and "。 " not in japanese.key


def test_a_report_of_shipped_profiles_says_so():
    shipped = frames.runs(ONE).with_columns(tags=pl.lit(["reference"]))
    assert "come with Workdim" in dict(build_story(of_models(ONE, runs=shipped)).slides[0].visual.rows)["Origin"]
    assert "Origin" not in dict(story_of("one_model", "en").slides[0].visual.rows)


@pytest.mark.parametrize(("use_class", "said"), [("general", "shortlist"), ("scarce_data", "test")])
def test_the_use_class_says_what_a_relation_allows(use_class, said):
    story = build_story(of_pilot(24, answers.falling(), "en", use_class=use_class))
    assert said in story.slides[5].statements[0].text
    cautious = use_class != "general"
    for slide in story:
        assert ("never supports a recommendation" in slide.use_class) == cautious


def test_a_verified_plan_is_what_can_be_saved_all_the_same():
    data = data_of("cannot_tell", "en")
    of_a_model = layer_plan(model_id=data.text_runs["model_id"][0])
    assert "3 of 8 blocks" in build_story(replace(data, plans=(of_a_model,))).slides[5].title
    fewer = build_story(
        replace(data, plans=(layer_plan(model_id=data.text_runs["model_id"][0], budget=0.015),))
    ).slides[5]
    assert [block.number for block in fewer.visual.blocks if block.is_removed] == [3]
    assert not any("Parameters" in one.text for one in fewer.statements)
    unverified = layer_plan(model_id=data.text_runs["model_id"][0], is_verified=False)
    assert build_story(replace(data, plans=(unverified,))).slides[5].is_placeholder


@pytest.mark.parametrize(
    ("changes", "title", "asked"),
    [
        (
            {},
            "model: 3 of 8 blocks can go: text 3% harder to predict (+0.031 nats",
            "try the model without 3 of its blocks",
        ),
        ({"budget": 0.001}, "model: None of the sets that were tried is within 0.001", "keep all 8 blocks"),
        (
            {"is_recommended": False, "reasons": ["no_better_than_random"]},
            "model: Not recommended, as one in ten random sets costs less",
            "look for another set",
        ),
        (
            {"is_recommended": False, "reasons": ["falls_copying"]},
            "model: Not recommended, as copying words falls from 90% to 80%",
            "train the smaller model",
        ),
        ({"budget": 0.001, "config": '{"remove": [3, 4, 6]}'}, "model: This set is not within", "keep all 8 blocks"),
        ({"budget": 0.015}, "model: 1 of 8 blocks can go: text 0.8% harder", "try the model without 1 of its blocks"),
        ({"is_verified": False, "is_recommended": False}, "model: Not verified: without blocks 3", "verify the plan"),
    ],
)
def test_a_plan_asks_for_what_its_price_allows(changes, title, asked):
    story = build_story(plan_data(layer_plan(**changes), cases.DAY))
    assert story.slides[1].title.startswith(title) and asked in story.slides[6].title


def test_a_healed_plan_is_held_against_published_choices_as_it_was_before_healing():
    """Healed it costs less than all; before it, one of the two published choices was cheaper. A rule of ours is none."""
    made = layer_plan(is_healed=True, loss_increase=0.01, lower=0.008, upper=0.012)
    own = next(row for row in made.outcomes if row.rule == "greedy" and row.text == "held_out")
    rest = [replace(row, difference=0.02) if row.rule == "influence" else row for row in made.outcomes]
    ours = replace(own, rule="exchange", is_chosen=False)
    told = build_story(plan_data(LayerPlan(made.plan, [*rest, ours]), cases.DAY)).slides[3]
    assert told.title == "Our choice costs +0.031 nats; 1 of 2 published choices costs less, all before repair"
    assert told.statements[0].text.startswith("ours, repaired: +0.010")


def test_a_pilot_without_scores_or_models_is_incomplete():
    none = build_story(of_pilot(12, [None] * 12, "en"))
    assert none.case == "incomplete" and "scores for 12 of 12 models" in none.slides[5].title
    few = build_story(of_pilot(12, answers.unrelated(10), "en"))
    assert few.case == "incomplete" and few.slides[2].title.startswith("10 of 12 models count so far; not measured: 2")


def test_the_best_by_scores_without_errors_has_a_plain_rank():
    for std_error, told in ((0.5, ", rank "), (None, "by a plain rank: no error known.")):
        slides = build_story(of_pilot(24, answers.falling(), "en", std_error=std_error)).slides
        best = [one.text for slide in slides for one in slide.statements if "Best by score: " in one.text]
        assert best and told in best[0]


def test_own_scores_and_whose_a_score_is_stand_in_the_appendix():
    scores = frames.scores(score("o/base", 43.9))
    story = build_story(of_models(ONE, TWO, scores=scores))
    (values,) = (slide for slide in story.appendix if slide.key == "values")
    cells = [row[-1] for row in values.visual.rows if isinstance(row, tuple)]
    assert "43.9 °" in cells and "–" in cells and "° of the base model" in values.visual.key


# --- what is refused, and what is left out ---------------------------------------------------------------------


def without_summary(runs: pl.DataFrame) -> pl.DataFrame:
    """As a protocol of the literature leaves them: no one per type, and so no dimensions and no verdict."""
    names = [
        name for name in columns(RunSummaryRow) if name in runs.columns and name not in ("run_id", "bits_per_byte")
    ]
    return runs.with_columns(pl.lit(None).cast(runs[column].dtype).alias(column) for column in names)


def test_a_run_without_a_verdict_is_left_out_and_named():
    other = Model("last-token-run", protocol_hash="000000000000")
    runs = pl.concat([frames.runs(ONE), without_summary(frames.runs(other))])
    story = build_story(of_models(ONE, other, runs=runs))
    assert any("last-token-run" in row[1] for row in story.slides[0].visual.rows)
    assert story.slides[1:] == story_of("one_model", "en").slides[1:]


def test_what_holds_no_run_on_text_with_a_verdict_is_no_deck():
    with pytest.raises(InputError, match="at least one run with a verdict"):
        of_models(ONE, runs=without_summary(frames.runs(ONE)))
    with pytest.raises(InputError, match="at least one run on unchanged text"):
        of_models(Model("a", pass_="random_init"))


def test_a_run_that_reached_no_dimension_tells_so():
    runs = without_summary(frames.runs(ONE)).with_columns(n_points=0, qualifiers=pl.lit(["few_types"]))
    assert build_story(of_models(ONE, runs=runs)).slides[1].title.startswith("0 of 1 models have numbers")


def test_our_frames_have_the_columns_of_the_warehouse(tmp_path):
    stored = queries.runs(Warehouse(tmp_path / "w.duckdb"))
    assert set(frames.runs(ONE).columns) <= set(stored.columns)
    with pytest.raises(InputError):
        of_models(runs=stored)


def test_the_registered_benchmark_is_shown_first_else_the_one_that_most_models_have():
    pilot = replace(answers.pilot(1), benchmark=replace(answers.BENCHMARK, name="piqa"))
    runs = frames.runs(Model("big", repository="o/big"), Model("plain", repository="o/plain"))
    scores = [score("o/big", 43.9, "r1"), score("o/plain", 41.0), score("o/plain", 44.0, benchmark="piqa")]
    scored = with_scores(runs, frames.scores(*scores))
    assert default_benchmark(scored, pilot)["benchmark"] == "piqa"
    assert default_benchmark(scored, None)["benchmark"] == "arc_easy"


def test_a_model_counts_as_measured_by_its_revision_stack_and_format():
    pilot = replace(answers.pilot(1), models=(PilotModel("hub:a@s1", stack="encoder", dtype="bfloat16"),))
    runs = frames.runs(Model("a", requested_revision="s1", dtype="bfloat16"))
    assert [model.label for model in missing_models(pilot, runs)] == ["a@s1 · encoder · bfloat16"]
    assert not missing_models(replace(pilot, models=(replace(pilot.models[0], stack=None),)), runs)
    assert missing_models(replace(pilot, models=(replace(pilot.models[0], written="hub:a", stack=None),)), runs)


def test_of_two_models_on_one_text_the_deck_tells_first_which_reads_it_better():
    windows = pl.DataFrame(
        [
            {"run_id": run_id, "sequence": n, "document": n, "bits": (bits + 0.1 * (n % 3)) * 100, "n_bytes": 100}
            for run_id, bits in (("r-one", 1.8), ("r-two", 2.9))
            for n in range(12)
        ]
    )
    read = frames.of_runs(Model("one", run_id="r-one"), Model("two", run_id="r-two"))
    data = in_language("en", deck_data, replace(read, windows=windows), made_on=cases.DAY)
    story = in_language("en", build_story, data)
    answer = next(slide for slide in story.slides if slide.key == "answer")
    assert answer.title.startswith("On python-docs one needs 1.90 [") and "two 3.00 [" in answer.title
    assert any("1.10 [1.10, 1.10], is more than chance" in text for _place, text in texts_of(answer))
    assert [one.text for one in numbers_of(story, "r") if one.source_table is None] == []
