"""Sentences that must never say more than was measured."""

import pytest

from core import wording
from core.analysis.differences import comparability
from core.analysis.ranking import groups
from core.locale import in_language, translated
from core.records import Preflight
from core.registry.published import CLAIMS
from core.tables import Run, ScoredRun, records
from core.wording.labels import share_text
from core.wording.runs import apart_text, comparability_text, cost_facts, group_names, why_apart_lines
from tests.frames import Model, made, runs


def test_numbers_have_three_digits_and_a_share_is_in_percent_that_people_read():
    shown = {None: "–", 0.0: "0", 0.664: "0.664", 0.0412: "0.0412", 0.00345: "0.00345", 0.9996: "1.00"}
    shown |= {-0.0412: "-0.0412", 1.2e-6: "1.20e-06", 2.414: "2.41", 9.996: "10.0", 99.97: "100", 1234.4: "1234"}
    assert {value: wording.number(value) for value in shown} == shown
    told = {0.404: "40 %", 0.0042: "0.4 %", 0.00002: "0.002 %", 2e-7: "0 %", -0.003: "-0.3 %"}
    assert {share: share_text(share) for share in told} == told


@pytest.mark.parametrize(("n_bytes", "time"), [(0, "Time"), (10**9, "Time after the download"), (None, None)])
def test_the_time_of_a_measurement_says_that_a_download_comes_before_it(n_bytes, time):
    card = Preflight("hf/x", "python-docs", "quick", 0, "float32", where="hub", download_bytes=n_bytes, seconds=33.0)
    assert cost_facts(card)[time or "Time after the download"] == "33 s"


def test_intervals_need_both_ends():
    assert wording.with_interval(106.0, 98.9, 113.1) == "106 [99, 113]"
    assert wording.with_interval(-10.0, -12.0, -8.0) == "-10.0 [-12.0, -8.0]", "equal digits within the bracket"
    assert wording.with_interval(5.0, 0.02, 150.0) == "5.00 [0.0200, 150]", "but never an end without a digit"
    assert wording.with_interval(106.0, None, 113.1) == "106"
    assert wording.with_interval(None, None, None) == "–"


def test_words_of_ours_in_the_data_are_translated():
    assert in_language("ja", wording.name, "relation", "quantised") == "量子化"
    assert in_language("ja", wording.name, "relation", "merged by hand") == "merged by hand"
    assert (in_language("ja", wording.stated_text, "not stated"), wording.stated_text(None)) == (
        "記載なし",
        "not stated",
    )
    assert in_language("ja", wording.stated_text, "flexible-extract") == "flexible-extract"
    assert in_language("ja", wording.benchmark_name, "arc_easy", "not stated", 5) == "arc_easy（5-shot）"
    assert wording.benchmark_name("Helpdesk exam", "not stated", None) == "Helpdesk exam"
    assert wording.benchmark_name("gsm8k", "em", 5, "strict-match") == "gsm8k (em, strict-match, 5-shot)"
    assert wording.benchmark_name("gsm8k", "em", 5, "none") == "gsm8k (em, 5-shot)"


def test_estimators_name_their_rank_or_number_of_neighbours():
    assert wording.estimator_name("gride_8").endswith("(n1=8, n2=16)")
    assert in_language("ja", wording.estimator_name, "local_d2_50") == "局所d2：近傍の二次相関子次元 (k=50)"
    assert in_language("ja", wording.estimator_symbol, "local_d2", n2=50) == "d2(k) k=50"
    assert wording.estimator_symbol("mle", n2=20) == "MLE k=20"
    assert in_language("ja", wording.estimator_symbol, "gride_between", n1=8) == "ウィンドウ間GRIDE n1=8"
    assert wording.estimator_name("skdim_TwoNN") == "TwoNN (scikit-dimension)"
    assert wording.dimension_axis("gride", "one_per_type", None, 8) == "Estimated dimension (GRIDE n1=8, one per type)"


def test_japanese_sentences_follow_each_other_without_a_space():
    assert wording.joined_sentences(("One.", "", "Two.")) == "One. Two."
    assert in_language("ja", wording.joined_sentences, ("一。", "二。")) == "一。二。"


def test_a_readers_own_text_is_named_without_a_language_that_nobody_stated():
    own = ("notes", "unknown", "user's own")
    assert wording.text_name(*own) == "notes (own text)"
    assert in_language("ja", wording.text_name, *own) == "notes（手元のテキスト）"
    assert wording.text_name("docs", "en", "technical reference") == "docs (English, technical reference)"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, []),
        ({"score_is_partial": True, "score_n_samples": 1200}, ["partial run, 1,200 questions"]),
        ({"score_sources": 2}, ["the same in 2 sources"]),
        ({"score_sources": 2, "score_lowest": 41.0}, ["41.0 to 43.9 in 2 sources"]),
        ({"score_dtype": "float16", "score_chat_template": True}, ["float16, chat template"]),
        ({"score_variants": 2}, ["not stated"]),
        ({"unit": "elo"}, ["unit: elo"]),
    ],
)
def test_what_limits_a_score_stands_beside_it(more, said):
    row = {
        "score": 43.9,
        "score_lowest": 43.9,
        "score_highest": 43.9,
        "score_sources": 1,
        "score_variants": 1,
        "score_is_partial": False,
        "score_n_samples": None,
        "score_dtype": None,
        "score_chat_template": None,
        "dtype": "float32",
        "unit": "percent",
    }
    assert wording.score_note_lines(made(ScoredRun, **row | more)) == said


def test_what_is_quoted_against_the_claim_is_quoted_for_what_it_measured():
    """arXiv 2602.20433 is mainly about the unembedding matrix, about final states in an extension, and about no inner layer."""
    (claim,) = (claim for claim in CLAIMS if "2602.20433" in claim.source)
    assert claim.direction == "other" and "no inner layers" in claim.confound
    for language, matrix in (("en", "unembedding matrix"), ("ja", "出力埋め込み行列")):
        assert matrix in in_language(language, wording.scatter_caution_text) and matrix in in_language(
            language, translated, claim.said
        )


@pytest.mark.parametrize(
    ("other", "reasons", "ways"),
    [
        ({}, "", ()),
        ({"kind": "encoder", "n_points": 600}, "kind of model, number of points (N)", ("never ranked together",)),
        ({"tokenizer_hash": "tok2"}, "tokenizer", ("on one point per word alone",)),
        ({"tokenizer_hash": "tok2", "words_hash": "w2"}, "tokenizer, words", ("easured together",)),
        ({"corpus": "own", "tokenizer_hash": "tok2"}, "text, tokenizer", ("easured together",)),
        (
            {"protocol_hash": "other", "n_points": 600},
            "protocol, seed or version, number of points (N)",
            ("easured together", "a longer text"),
        ),
        ({"worst_check": "veto"}, "", ("Vetoed by a check: b.",)),
    ],
)
def test_all_that_keeps_models_apart_is_told_with_its_way_out(other, reasons, ways):
    said = " ".join(why_apart_lines(runs(Model("a"), Model("b", **other))))
    assert all(way in said for way in ways) and bool(said) == bool(ways)
    assert f"differ in: {reasons}" in said if reasons else "differ" not in said


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"tokenizer_hash": "tok2", "n_points": 10},
        {"n_points": 10},
        {"tokenizer_hash": "tok2", "words_hash": "w2"},
        {"kind": "encoder"},
    ],
)
def test_several_runs_are_said_to_compare_as_two_of_them_are(other):
    rows = records(runs(Model("a"), Model("b", **other)), Run)
    two, three = comparability(*rows), comparability(*rows, rows[0])
    assert two == three
    assert not apart_text(two) if two.by_types else comparability_text(two).startswith(apart_text(two))
    for language, on_words in (("en", "on one point per word alone"), ("ja", "異なり語単位だけ")):
        assert (on_words in in_language(language, apart_text, two)) == (two.by_words and not two.by_types)


def test_the_name_of_a_group_begins_with_its_text_and_where_names_are_alike_with_a_model():
    made = groups(runs(Model("a"), Model("b", corpus="own"), Model("c", corpus="own", kind="encoder")))
    assert group_names(made) == [
        "python-docs, decoder, quick, N=800",
        "own, decoder, quick, N=800",
        "own, encoder, quick, N=800",
    ]
    long = "a-model-of-a-long-name-"
    same_kind = groups(
        runs(Model("a"), Model(f"{long}b", corpus="own"), Model(f"{long}c", corpus="own", tokenizer_hash="tok2"))
    )
    assert group_names(same_kind) == [
        "python-docs, decoder, quick, N=800",
        "a-model-…-name-b …: own, decoder, quick, N=800",
        "a-model-…-name-c …: own, decoder, quick, N=800",
    ]
