"""The deck as PowerPoint would open it: native charts with the right numbers, honest titles, tagged languages."""

import re
from dataclasses import replace
from datetime import date
from io import BytesIO

import polars as pl
import pytest
from pptx import Presentation
from pptx.oxml.ns import qn
from pptx.util import Inches

from core import wording
from core.deck.build import deck
from core.deck.build import titles as planned_titles
from core.deck.deck_data import deck_data
from core.deck.text_and_tables import Column, Heading, lines_needed, pages, row_height, text_height
from core.deck.theme import PALETTE, STATEMENT_BOX
from core.errors import InputError
from core.figures.layer_profiles import profile_figure, profile_points
from core.registry.specifications import CLAIMS, SPECIFICATIONS
from core.tables import RunSummaryRow, columns
from core.warehouse import queries
from core.warehouse.warehouse import Warehouse
from core.wording.verdicts import specification_name
from tests import frames
from tests.frames import Model, score

DECODER = Model("SmolLM2-135M-Instruct", n_layers=30, base_repository="o/base", base_relation="instruction-tuned")
ENCODER = Model(
    "all-MiniLM-L6-v2",
    kind="encoder",
    tokenizer_hash="tok2",
    n_layers=6,
    embedding=191.0,
    peak=127.0,
    final=97.0,
    final_post_norm=None,
    rise="no",
    reasons_rise=(),
    qualifiers=("no_final_norm",),
    has_peak=False,
)
LONG = "DeepSeek-R1-Distill-Qwen-1.5B-Instruct-GPTQ-Int4-AWQ"
SIX = [
    Model(f"{LONG}-{i}", revision="0e9e39f249a16976918f6564b8830bc894c89659", n_layers=28 + i % 3, peak=80.0 + 5 * i)
    for i in range(6)
]


def opened(*models, language="en", scores=(), **frames_of):
    data = deck_data(frames.of_runs(*models, scored=scores, **frames_of), language, made_on=date(2026, 11, 25))
    return Presentation(BytesIO(deck(data)))


def texts(slide) -> str:
    return "\n".join(run.text or "" for run in slide._element.iter(qn("a:t")))


def titles(presentation) -> list[str]:
    return [slide.shapes.title.text_frame.text for slide in presentation.slides]


def charts(presentation) -> list:
    return [shape.chart for slide in presentation.slides for shape in slide.shapes if shape.has_chart]


def rows_of(presentation) -> list[list[str]]:
    tables = [shape.table for slide in presentation.slides for shape in slide.shapes if shape.has_table]
    return [[cell.text_frame.text for cell in row.cells] for table in tables for row in table.rows]


@pytest.fixture(scope="module", params=["en", "ja"])
def both(request):
    return request.param, opened(DECODER, ENCODER, language=request.param, scores=[score("o/base", 43.9)])


def test_the_slides_in_their_order():
    assert titles(opened(DECODER, ENCODER)) == [
        "SmolLM2-135M-Instruct and all-MiniLM-L6-v2: estimated dimension (d2, N=800), layer by layer",
        "SmolLM2-135M-Instruct: estimated dimension (d2, N=800) is 44 at the embedding, "
        "at most 106 inside, 22 at the end",
        "all-MiniLM-L6-v2: estimated dimension (d2, N=800) is 191 at the embedding, at most 127 inside, 97 at the end",
        "SmolLM2-135M-Instruct: rises inside: depends on the specification; falls towards the end: not controlled",
        "all-MiniLM-L6-v2: rises inside: does not hold; falls towards the end: not controlled",
        "Largest inner and final dimension by comparison group, estimated (d2, N=800)",
        "Method and provenance",
        "What this deck cannot decide",
    ]


def test_charts_are_native_and_hold_the_curves(both):
    _, presentation = both
    first, second = charts(presentation)
    series = list(first.plots[0].series)
    assert list(series[0].values) == pytest.approx(DECODER.values())
    assert [float(x) for x in series[0]._element.xpath("c:xVal//c:v/text()")] == list(range(31))
    lower, upper, band, final, post_norm = series[1:]
    assert list(lower.values) == pytest.approx([0.93 * value for value in DECODER.values()])
    assert list(upper.values) == pytest.approx([1.07 * value for value in DECODER.values()])
    assert len(list(band.values)) == 3
    assert (list(final.values), list(post_norm.values)) == ([21.7], [18.0])
    assert first.part.chart_workbook.xlsx_part is not None
    assert list(second.plots[0].series[0].values) == pytest.approx(ENCODER.values())
    assert first.value_axis.axis_title.text_frame.text.replace("、", ", ").count("N=800") == 1


def test_error_bars_reach_the_ends_of_the_interval():
    chart = charts(opened(DECODER))[0]
    bars = chart.plots[0].series[5]._element.find(qn("c:errBars"))
    plus = bars.find(qn("c:plus")).findall(f".//{qn('c:v')}")
    assert [float(value.text) for value in plus] == pytest.approx([0.07 * 18.0], rel=1e-4)


def test_the_final_dimension_stands_beside_the_working_one(both):
    _, presentation = both
    for slide in presentation.slides:
        said = texts(slide)
        if "106 [98.6, 113]" in said:
            assert "21.7 [20.2, 23.2]" in said
    row = next(row for row in rows_of(presentation) if row[1] == "106 [98.6, 113]")
    assert row[3:5] == ["21.7 [20.2, 23.2]", "18.0 [16.7, 19.3]"]


def test_nothing_is_praised_and_no_verdict_stands_plain(both):
    language, presentation = both
    said = "\n".join(texts(slide) for slide in presentation.slides)
    assert "lower is better" not in said.lower()
    assert "because" not in said.lower()
    word, control = VERDICT[language]
    row = next(row for row in rows_of(presentation) if row[0] == DECODER.name)
    assert row[5].startswith(word) and control in row[5]


VERDICT = {"en": ("rises: depends", "dominant directions"), "ja": ("上昇：測り方による", "主要な方向")}
FULL = {"en": "depends on the specification", "ja": "測り方により異なる"}


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("n_models", [1, 3, 5])
def test_no_verdict_stands_without_its_reason_in_statements(language, n_models):
    presentation = opened(*(Model(f"m{i}") for i in range(n_models)), language=language)
    said = texts(presentation.slides[1])
    assert FULL[language] in said or VERDICT[language][0] in said
    assert VERDICT[language][1] in said
    assert "found" not in "\n".join(texts(slide) for slide in presentation.slides)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("n_models", [1, 2, 4])
def test_claims_have_a_slide_with_every_core_specification(language, n_models):
    models = [Model(f"m{i}") for i in range(n_models)]
    presentation = opened(*models, language=language)
    tables = [shape.table for slide in presentation.slides for shape in slide.shapes if shape.has_table]
    marked = [[cell.text for row in table.rows for cell in list(row.cells)[1:]] for table in tables]
    cells = [text for table in marked for text in table if text.startswith(("●", "▼"))]
    core = [one for one in SPECIFICATIONS if one.is_core]
    assert len(cells) == n_models * len(core) * len(CLAIMS)
    n_removed = sum(one.transform == "abtt3" for one in core)
    assert sum(text.startswith("▼ 0.600 [0.500, 0.700]") for text in cells) == n_models * n_removed


def test_the_slide_of_claims_is_left_out_where_none_are_stored():
    without = opened(DECODER, claims=frames.claims())
    assert len(without.slides) == len(opened(DECODER).slides) - 1
    notes = "\n".join(slide.notes_slide.notes_text_frame.text for slide in opened(DECODER).slides)
    assert all(specification_name(vars(one), "en") in notes for one in SPECIFICATIONS if not one.is_core)


ALLOWED = {
    "d",
    "N",
    "t",
    "Workdim",
    "arXiv",
    "GGUF",
    "log",
    "python",
    "docs",
    "typed",
    "between",
    "gride",
    "n",
    "PR",
    "GRIDE",
    "torch",
    "transformers",
    "numpy",
    "acc",
    "arc",
    "easy",
    "shot",
    "cpu",
    "float",
    "hub",
    "abc",
    "def",
    "tok",
    "quick",
    "reference",
    "E",
}
"""Names and symbols; everything else in Latin letters is an English word that nobody translated."""


@pytest.mark.parametrize("n_models", [1, 3, 5])
def test_a_japanese_deck_holds_no_english_words(n_models):
    models = [replace(DECODER, name=f"M{i}", base_relation="quantised", worst_check="warn") for i in range(n_models)]
    made = [*models, replace(ENCODER, name="M9", base_relation="not stated")]
    presentation = opened(*made, language="ja", scores=[score("o/base", 43.9, metric="not stated")])
    for slide in presentation.slides:
        said = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4,12}){4}|[-@][0-9a-f]{12}|hub:\S+|o/\S*base|M\d", "", texts(slide))
        assert not set(re.findall(r"[A-Za-z]+", said)) - ALLOWED


def test_a_base_models_score_is_shown_only_as_that():
    rows = rows_of(opened(DECODER, ENCODER, scores=[score("o/base", 43.9)]))
    shown = {row[0]: row[6].replace("\u200b", "") for row in rows if len(row) == 7}
    assert shown[DECODER.name] == "43.9 (base model o/base)"
    assert shown[ENCODER.name] == "no published score for this model"


def test_every_run_speaks_its_language(both):
    language, presentation = both
    tag = {"en": "en-US", "ja": "ja-JP"}[language]
    parts = [slide._element for slide in presentation.slides]
    parts += [slide.notes_slide._element for slide in presentation.slides]
    parts += [chart._chartSpace for chart in charts(presentation)]
    for part in parts:
        for run in part.iter(qn("a:r")):
            assert run.find(qn("a:rPr")).get("lang") == tag
            assert (run.find(qn("a:rPr")).find(qn("a:ea")) is not None) == (language == "ja")


def test_japanese_titles():
    said = titles(opened(DECODER, language="ja"))
    assert "推定次元（d2、N=800）" in said[1]
    assert said[-1] == "この資料では判断できないこと"


def test_every_slide_can_be_traced(both):
    _, presentation = both
    for number, slide in enumerate(presentation.slides, start=1):
        shown = {2: [DECODER], 3: [ENCODER], 4: [DECODER], 5: [ENCODER]}.get(number, [DECODER, ENCODER])
        assert [model.id in texts(slide) for model in (DECODER, ENCODER)] == [
            model in shown for model in (DECODER, ENCODER)
        ]
        notes = slide.notes_slide.notes_text_frame.text
        assert DECODER.id in notes or ENCODER.id in notes
        assert slide._element.xpath('.//a:fld[@type="slidenum"]'), number
        for shape in slide.shapes:
            if shape.has_chart or shape.has_table:
                assert next(shape._element.iter(qn("p:cNvPr"))).get("descr")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_six_models_with_long_names_stay_on_their_slides(language):
    presentation = opened(*SIX, ENCODER, language=language)
    assert len(charts(presentation)) == 2
    floor = Inches(7.0)
    for slide in presentation.slides:
        for shape in slide.shapes:
            if shape.has_table:
                assert shape.top + sum(row.height for row in shape.table.rows) < floor
    in_tables = [row[0] for row in rows_of(presentation) if len(row) == 7 and row[1].startswith(("8", "9", "10"))]
    assert len(in_tables) >= 5


def test_from_three_runs_on_a_slide_names_its_runs_by_their_ends():
    footers = [texts(slide).splitlines() for slide in opened(*SIX, ENCODER).slides]
    for lines, shown in ((footers[1], SIX), (footers[2], [ENCODER])):
        (footer,) = [line for line in lines if line.startswith("Workdim · Runs")]
        assert [model.id[-6:] in footer for model in [*SIX, ENCODER]] == [model in shown for model in [*SIX, ENCODER]]


def test_the_working_dimension_never_stands_without_what_it_is(both):
    language, presentation = both
    for slide in presentation.slides:
        said = texts(slide)
        if "106 [98.6, 113]" in said:
            assert wording.own_definition(language) in said


def test_two_runs_of_one_model_are_not_two_models():
    title = titles(opened(Model("a"), Model("a", seed=1)))[1]
    assert title.startswith("2 runs: largest inner dimension")
    assert titles(opened(Model("a"), Model("b")))[1].startswith("2 models: ")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_control_characters_in_names_stop_no_deck(language):
    broken = Model("bad\x01na\x0bme\ud7ff\ufffe", corpus="te\x02xt", base_relation="tuned\x03")
    presentation = opened(broken, Model("b"), language=language, scores=[score("x\x04", 1.0)])
    assert any("badname" in title for title in titles(presentation))


def test_titles_are_known_before_the_deck_is_drawn():
    models = [*SIX, ENCODER]
    told = planned_titles(deck_data(frames.of_runs(*models), "en"))
    assert told == titles(opened(*models))


def test_nothing_drawn_is_lightened():
    """Lighter lines and marks do not stand out on a projector."""
    for chart in charts(opened(DECODER, ENCODER)):
        for series in chart.plots[0].series:
            assert not list(series._element.iter(qn("a:lumOff"), qn("a:alpha")))


def test_footers_are_no_paler_than_other_small_letters():
    presentation = opened(DECODER)
    for holder in (presentation.slide_master, *presentation.slide_layouts):
        assert not list(holder._element.iter(qn("a:tint")))


def test_a_curve_has_the_colour_that_it_has_in_the_app():
    models = [Model("a", n_layers=6), Model("b", n_layers=30)]
    app = {
        trace.name: trace.line.color
        for trace in profile_figure(
            profile_points(frames.estimates(*models), frames.runs(*models), "d2", "one_per_type"), "en"
        ).data
        if trace.mode == "lines" and trace.fill is None
    }
    for series in charts(opened(*models))[0].plots[0].series:
        if series.name in app:
            accent = series.format.line.color.theme_color.name.replace("_", "").lower()
            assert f"#{PALETTE[accent]}" == app[series.name]


def test_the_final_states_differ_in_shape():
    final, post_norm = list(charts(opened(DECODER))[0].plots[0].series)[4:6]
    assert final.marker.style != post_norm.marker.style


def test_letters_are_as_large_as_the_slide_allows(both):
    _, presentation = both
    method = presentation.slides[6]
    sizes = [
        run.font.size.pt
        for shape in method.shapes
        if shape.has_text_frame
        for paragraph in shape.text_frame.paragraphs
        for run in paragraph.runs
        if run.font.size
    ]
    assert min(sizes) >= 12


def test_japanese_headers_do_not_break_inside_a_bracket():
    header = next(row for row in rows_of(opened(DECODER, language="ja")) if row[0] == "モデル")
    assert header[3:5] == ["最終次元\n（正規化前）", "最終次元\n（正規化後）"]


def test_deeper_models_are_written_first():
    """LibreOffice drops every series that stands before a longer one."""
    lengths = [len(list(series.values)) for series in charts(opened(*SIX))[0].plots[0].series]
    curves = [length for length in lengths if length > 5]
    assert curves == sorted(curves, reverse=True)


def test_more_runs_than_colours_go_on_a_second_chart():
    many = [Model(f"m{i}", seed=i) for i in range(8)]
    assert len(charts(opened(*many))) == 2


def without_summary(runs: pl.DataFrame) -> pl.DataFrame:
    """As a protocol of the literature leaves them: no one per type, and so no dimensions and no verdict."""
    summary = [
        name for name in columns(RunSummaryRow) if name in runs.columns and name not in ("run_id", "bits_per_byte")
    ]
    return runs.with_columns(pl.lit(None).cast(runs[column].dtype).alias(column) for column in summary)


@pytest.mark.parametrize(("language", "said"), [("en", "Left out, having no verdicts"), ("ja", "判定がないため除外")])
def test_a_run_without_a_verdict_is_left_out_and_named(language, said):
    other = Model("last-token-run", protocol_hash="000000000000")
    runs = pl.concat([frames.runs(DECODER), without_summary(frames.runs(other))])
    presentation = opened(DECODER, other, runs=runs, language=language)
    first, *others = [texts(slide) for slide in presentation.slides]
    assert said in first and other.name in first
    assert not [page for page in others if other.name in page or "N=0" in page or "N=–" in page]
    assert titles(presentation)[1:] == titles(opened(DECODER, language=language))[1:]


def test_runs_without_a_verdict_are_no_deck():
    with pytest.raises(InputError, match="at least one run with a verdict"):
        opened(DECODER, runs=without_summary(frames.runs(DECODER)))


def test_a_run_that_reached_no_dimension_still_gets_its_curve():
    runs = without_summary(frames.runs(DECODER)).with_columns(n_points=0, qualifiers=pl.lit(["few_types"]))
    presentation = opened(DECODER, runs=runs)
    assert len(charts(presentation)) == 1
    assert titles(presentation)[1].startswith("Layer profiles without a summary")


def test_controls_alone_are_no_deck():
    with pytest.raises(InputError, match="at least one run on unchanged text"):
        opened(Model("a", pass_="random_init"))


def test_our_frames_have_the_columns_of_the_warehouse(tmp_path):
    stored = queries.runs(Warehouse(tmp_path / "w.duckdb"))
    assert set(frames.runs(DECODER).columns) <= set(stored.columns)
    with pytest.raises(InputError):
        opened(runs=stored)


def test_wide_letters_take_more_room():
    assert lines_needed("abcd" * 10, 2.0, 12) == 2
    assert lines_needed("作業次元" * 10, 2.0, 12) == 4


def test_words_are_not_broken_to_fill_a_line():
    """Six words of four fifths of a line take six lines, though their letters would fill five."""
    assert lines_needed(" ".join(["a" * 16] * 6), 20 * 0.5 * 12 / 72, 12) == 6
    assert lines_needed("nearest-neighbour", 0.9, 12) == 2


def test_a_value_with_its_interval_takes_one_line():
    column = [Column("x", 1.4)]
    assert row_height(("106 [98.6, 113]",), column, 12) == row_height(("106",), column, 12)


def test_a_page_repeats_the_heading_it_is_under():
    columns = [Column("a", 2.0), Column("b", 2.0)]
    filled = pages([Heading("first"), *[("x", "y")] * 10], columns, 12, 1.5)
    assert len(filled) > 1
    assert all(page[0] == Heading("first") for page in filled)
    assert sum(len(page) - 1 for page in filled) == 10


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_profile_and_run_names_its_text_and_all_texts_are_listed(language):
    models = [Model("a", corpus=f"text-{number}") for number in range(12)]
    presentation = opened(*models, language=language)
    drawn = [slide for slide in presentation.slides if any(shape.has_chart for shape in slide.shapes)]
    said = ["\n".join(shape.text_frame.text for shape in slide.shapes if shape.has_text_frame) for slide in drawn]
    assert [sum(f"{model.corpus} " in page.replace("（", " (") for page in said) for model in models] == [1] * 12
    everything = "\n".join(texts(slide) for slide in presentation.slides)
    assert all(f"{model.corpus}@0123456789ab" in everything for model in models)
    in_runs = {row[1] for row in rows_of(presentation) if len(row) == 8}
    assert {model.corpus for model in models} <= in_runs


TEXT = Model("m", run_id="t", reasons_fall=("control_no_power",), control_run_ids=("r0", "r1", "s"))
SHUFFLED = Model("m", run_id="s", pass_="shuffled", peak=95.0)
RANDOM = [
    Model(
        "m",
        run_id=f"r{seed}",
        parent_run_id="t",
        pass_="random_init",
        model_seed=seed,
        embedding=576.0,
        peak=500.0,
        final=8.6,
        rise="not_usable",
        fall="not_usable",
        qualifiers=("check_vetoed",),
        worst_check="veto",
    )
    for seed in (0, 1)
]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_controls_have_a_slide_with_their_curves_and_verdicts(language):
    presentation = opened(TEXT, SHUFFLED, *RANDOM, language=language)
    slide = presentation.slides[2]
    title = slide.shapes.title.text_frame.text
    assert title == {"en": "m: its controls could not have shown it", "ja": "m：対照には示す力がない"}[language]
    (chart,) = [shape.chart for shape in slide.shapes if shape.has_chart]
    names = [series.name for series in chart.plots[0].series if len(list(series.values)) == 11]
    curves = [name for name in names if "95" not in name]
    assert (
        curves
        == {
            "en": ["text", "shuffled text", "random weights, seed 0 ‡"],
            "ja": ["テキスト", "トークン順を混ぜたテキスト", "ランダム重み、シード0 ‡"],
        }[language]
    )
    said = texts(slide)
    assert {"en": "the same within 10 percent", "ja": "10%以内で同じ"}[language] in said
    assert {"en": "could not have shown it", "ja": "対照には示す力がない"}[language] in said.split("\n", 1)[1]
    assert wording.veto_note(language) in said
    assert {"t", "s", "r0", "r1"} <= {
        line.split(": ")[-1] for line in slide.notes_slide.notes_text_frame.text.split("\n")
    }


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("n_seeds", [1, 2, 3, 5])
def test_what_controls_say_fits_beside_their_chart(language, n_seeds):
    randoms = [replace(RANDOM[0], run_id=f"r{seed}", model_seed=seed) for seed in range(n_seeds)]
    slide = opened(TEXT, SHUFFLED, *randoms, language=language).slides[2]
    frame = slide.placeholders[2].text_frame
    points = frame.paragraphs[0].runs[0].font.size.pt
    assert len(frame.paragraphs) >= n_seeds + 3
    assert text_height([p.text for p in frame.paragraphs], STATEMENT_BOX[2], points) <= STATEMENT_BOX[3]


def test_random_weights_do_not_press_the_text_flat():
    high, low = opened(TEXT, SHUFFLED, *RANDOM), opened(TEXT, SHUFFLED)
    for presentation, is_log in ((high, True), (low, False)):
        (chart,) = [shape.chart for shape in presentation.slides[2].shapes if shape.has_chart]
        scaling = chart.value_axis._element.find(qn("c:scaling"))
        assert (scaling[0].tag == qn("c:logBase")) == is_log
        assert ("logarithmic" in chart.value_axis.axis_title.text_frame.text) == is_log
        assert chart.value_axis.minimum_scale == (1.0 if is_log else 0)


def test_without_controls_there_is_no_such_slide_and_the_method_says_so():
    presentation = opened(TEXT)
    assert len(charts(presentation)) == 1
    assert any("No control runs" in texts(slide) for slide in presentation.slides)
    assert any("Controls on the same text" in texts(slide) for slide in opened(TEXT, SHUFFLED, *RANDOM).slides)


def test_controls_are_no_models_of_the_comparison():
    presentation = opened(TEXT, SHUFFLED, *RANDOM)
    first = [row[0] for row in rows_of(presentation) if len(row) == 7]
    assert first.count("m") == 1
    assert titles(presentation)[0].startswith("m: ")


def test_a_title_names_no_control_where_no_verdict_does():
    title = titles(opened(replace(TEXT, reasons_fall=()), SHUFFLED))[2]
    assert title == "m: estimated dimension (d2, N=800) of the text and of its controls"


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("others", [[], [Model("b", tokenizer_hash="tok2")], [Model(f"b{i}") for i in range(5)]])
def test_a_veto_is_marked_wherever_the_number_stands(language, others):
    bad = Model("bad", peak=333.0, worst_check="veto", qualifiers=("check_vetoed",))
    presentation = opened(bad, *others, language=language)
    for slide in presentation.slides:
        said = texts(slide)
        if "333" in said:
            assert "bad ‡" in said, said
            assert wording.veto_note(language) in said
    rows = [row for row in rows_of(presentation) if row[0] == "bad ‡"]
    assert rows and {"en": "vetoed", "ja": "不合格"}[language] in rows[0][5]
    names = [series.name for chart in charts(presentation) for series in chart.plots[0].series]
    assert "bad ‡" in names


def test_a_vetoed_number_is_in_no_span_of_a_title():
    title = titles(opened(Model("a", peak=90.0), Model("b", peak=100.0), Model("bad", peak=333.0, worst_check="veto")))
    assert title[1].startswith("2 models: largest inner dimension 90 to 100,")


def test_models_with_different_tokenizers_stand_in_a_group_of_words():
    models = [Model("a"), Model("b", tokenizer_hash="tok2")]
    rows = rows_of(opened(*models, with_words=True))
    (start,) = [number for number, row in enumerate(rows) if row[0].startswith("Across tokenizers")]
    assert "N=760" in rows[start][0]
    assert [row[1].split()[0] for row in rows[start + 1 : start + 3]] == ["117", "117"]
    assert not [row for row in rows_of(opened(*models)) if row[0].startswith("Across")]
