"""What a deck cannot decide follows from what its runs lack."""

from dataclasses import replace

import polars as pl

from core.analysis.ranking import across_tokenizers
from core.locale import in_language
from core.wording.runs import limits
from tests import frames
from tests.frames import Model


def reasons(*models: Model, language: str = "en") -> str:
    runs = frames.runs(*models)
    words = across_tokenizers(runs, frames.summaries(*models), include_vetoed=True)
    text, controls = runs.filter(pl.col("pass") == "text"), frames.against_controls(*models)
    return in_language(language, lambda: "\n".join(reason for _question, reason in limits(text, controls, words)))


def test_one_sample_says_nothing_of_other_sizes_or_causes():
    said = reasons(Model("a"), Model("b"))
    assert "Not shown: nothing was changed" in said and "N=800" in said and "Only 32 windows" in said
    assert "tokenizer" not in said and "format" not in said


def test_runs_are_named_by_what_tells_them_apart_and_many_are_counted():
    lacking = {"qualifiers": ("no_final_norm",), "final_post_norm": None}
    one = reasons(Model("a"), Model("a", corpus="python-source", **lacking))
    assert "No. Without a final norm: a · python-source." in one
    models = [Model(f"ladder-128-layer-group-{n}-of-the-same-long-name-step1500", **lacking) for n in range(4)]
    assert "No. Without a final norm: 0, 1, 2 more." in reasons(*models)


def test_relations_are_translated_as_far_as_they_are_known():
    models = (Model("a", base_relation="fine-tuned for sentence similarity"), Model("b", base_relation="merged"))
    assert "a：文の類似度向けにファインチューニング、b：merged" in reasons(*models, language="ja")


def test_formats_norms_and_relations_are_named():
    other = Model("e", kind="encoder", dtype="bfloat16", qualifiers=("no_final_norm",), final_post_norm=None)
    said = reasons(Model("a", base_relation="quantised"), other)
    assert "bfloat16, float32" in said and "No. Without a final norm: e." in said and "a: quantised" in said


TEXT = Model("a", run_id="t", control_run_ids=("s", "r"))
SHUFFLED = Model("a", run_id="s", pass_="shuffled")
RANDOM = Model("a", run_id="r", pass_="random_init", model_seed=0, dtype="bfloat16", n_points=400)


def test_shuffled_text_answers_its_question_and_controls_are_no_runs_of_their_own():
    said = reasons(TEXT, SHUFFLED, RANDOM)
    assert "No evidence: shuffled tokens give the same within 10 % (a)" in said
    assert "bfloat16" not in said and "N=800." in said
    without = replace(TEXT, control_run_ids=("r",))
    assert "Untested for a: no shuffled tokens" in reasons(without, SHUFFLED, RANDOM)


def test_tokenizers_meet_on_words_or_not_at_all():
    other = Model("b", tokenizer_hash="tok2")
    assert "Only on one point per word" in reasons(Model("a"), other)
    for words in ("w2", None):
        assert "tokenizers, and no two runs share kind, protocol, words and N" in reasons(
            Model("a"), replace(other, words_hash=words)
        )
    for change in ({"kind": "encoder"}, {"protocol_hash": "000000000000"}):
        assert "tokenizers, and no two runs share kind, protocol, words and N" in reasons(
            Model("a"), replace(other, **change)
        )
    some = reasons(Model("a"), other, Model("c", tokenizer_hash="tok3", kind="encoder"))
    assert "Only some (a, b), on one point per word" in some
