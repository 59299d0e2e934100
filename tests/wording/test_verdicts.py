"""A verdict is never told without what supports or limits it, and never says more than was measured."""

import itertools

import pytest

from core import wording
from core.wording.verdicts import OF_RANDOM_WEIGHTS, QUALIFIERS, ordered


@pytest.mark.parametrize(
    ("qualifiers", "english", "japanese"),
    [
        (["no_random_init"], "not controlled against random weights", "ランダム重みとの対照なし"),
        (["random_init_differs"], "random weights do not show it", "ランダム重みでは現れない"),
        (["random_init_same"], "random weights show it too", "ランダム重みでも同じ形"),
        (["random_init_unclear"], "random weights leave it open", "ランダム重みの対照からは判断できず"),
        (["random_init_failed"], "random weights could not be measured", "ランダム重みは測定できず"),
        ([], "controls not stated", "対照の記載なし"),
        (["no_final_norm"], "controls not stated; no final norm", "対照の記載なし、最終正規化なし"),
        (None, "controls not stated", "対照の記載なし"),
    ],
)
def test_found_is_never_plain(qualifiers, english, japanese):
    assert wording.verdict_short("found", qualifiers, "en") == f"found ({english})"
    assert wording.verdict_short("found", qualifiers, "ja") == f"確認（{japanese}）"
    assert wording.verdict_text("found", qualifiers, "en").startswith(f"expansion-contraction: found ({english}")
    assert wording.verdict_text("found", qualifiers, "ja").startswith(f"拡張–収縮：確認（{japanese}")


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("others", list(itertools.combinations(QUALIFIERS, 2)))
def test_whatever_else_is_said_a_found_verdict_tells_of_its_control(others, language):
    word = wording.verdict_word("found", language)
    told = wording.verdict_text("found", others, language)
    assert not told.endswith(word)
    controls = [wording.qualifier_text(key, language, brief=False) for key in OF_RANDOM_WEIGHTS]
    assert any(text in told for text in [*controls, *wording.limits_of(None, language)])


@pytest.mark.parametrize(
    ("verdict", "english", "japanese"),
    [("not_found", "not found", "確認されず"), ("undecided", "undecided", "判定不能"), (None, "undecided", "判定不能")],
)
def test_other_verdicts_need_no_control(verdict, english, japanese):
    assert wording.verdict_text(verdict, [], "en") == f"expansion-contraction: {english}"
    assert wording.verdict_text(verdict, [], "ja") == f"拡張–収縮：{japanese}"


def test_no_control_is_said_to_show_what_was_not_found():
    qualifiers = [
        "random_init_differs",
        "random_init_unclear",
        "shuffled_same",
        "shuffled_unclear",
        "shuffled_differs",
        "no_final_norm",
    ]
    assert wording.verdict_short("not_found", qualifiers, "en") == "not found (no final norm)"
    assert "shuffled text shows it too" in wording.verdict_short("undecided", qualifiers, "en")


def test_what_can_overturn_a_verdict_is_said_first():
    said = wording.verdict_short("found", ["check_warned", "few_types", "no_random_init", "check_vetoed"], "en")
    assert said == (
        "found (a check vetoed it; not controlled against random weights; few token types; a check gave a warning)"
    )
    assert ordered(["new_key", "few_types", "few_types"]) == ["few_types", "new_key"]


def test_shuffled_text_with_the_same_shape_is_no_evidence_of_semantics():
    said = wording.verdict_text("found", ["random_init_differs", "shuffled_same"], "en")
    assert "no evidence of semantics" in said and "vocabulary and weights" in said
    assert "意味の処理を示す証拠ではない" in wording.verdict_text("found", ["shuffled_same"], "ja")


@pytest.mark.parametrize(
    ("qualifier", "english", "japanese"),
    [
        ("shuffled_differs", "shuffled text does not show it", "トークン順を混ぜると現れない"),
        ("shuffled_failed", "shuffled text could not be measured", "トークン順を混ぜた測定はできず"),
        ("shuffled_unclear", "shuffled text leaves it open", "トークン順を混ぜた対照からは判断できず"),
    ],
)
def test_a_found_verdict_tells_what_its_shuffled_control_came_to(qualifier, english, japanese):
    told = ["random_init_differs", qualifier]
    assert wording.verdict_short("found", told, "en") == f"found (random weights do not show it; {english})"
    assert wording.verdict_short("found", told, "ja") == f"確認（ランダム重みでは現れない、{japanese}）"


def test_that_no_shuffled_text_was_measured_is_left_to_the_detailed_places():
    assert wording.verdict_text("found", ["random_init_differs", "no_shuffled"], "en").endswith(
        "found (random weights do not show it)"
    )
    assert "protocol standard" in wording.qualifier_meaning("no_shuffled", "en")


@pytest.mark.parametrize(
    ("changes", "english", "japanese"),
    [
        ({}, "found (not controlled against random weights)", "確認（ランダム重みとの対照なし）"),
        ({"verdict": None}, "–", "–"),
        (
            {"pass": "shuffled"},
            "control, shuffled text: shows the shape",
            "対照（トークン順を混ぜたテキスト）：拡張–収縮あり",
        ),
        (
            {"pass": "random_init", "model_seed": 1, "qualifiers": ["check_vetoed"]},
            "control, random weights, seed 1: shows the shape (a check vetoed it)",
            "対照（ランダム重み、シード1）：拡張–収縮あり（検査で不可）",
        ),
    ],
)
def test_a_control_pass_has_no_verdict(changes, english, japanese):
    run = {"pass": "text", "model_seed": None, "verdict": "found", "qualifiers": ["no_random_init"]} | changes
    assert (wording.outcome_short(run, "en"), wording.outcome_short(run, "ja")) == (english, japanese)
    if run["pass"] != "text":
        assert wording.outcome_text(run, "en") == english


def test_unknown_keys_are_shown_as_they_are():
    assert wording.qualifier_text("new_key", "ja") == "new_key"
    assert wording.name("cloud", "new_key", "ja") == "new_key"
    assert wording.check_meaning("new_key", "ja") == ""
