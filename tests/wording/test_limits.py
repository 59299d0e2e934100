"""What a deck cannot decide follows from what its runs lack."""

from dataclasses import replace

import pytest

from core.analysis.ranking import across_tokenizers, with_scores
from core.locale import in_language
from core.wording.limits import limits
from tests import frames
from tests.frames import Model, score


def reasons(*models, scores=(), checks=()) -> str:
    runs = frames.runs(*models)
    words = across_tokenizers(runs, frames.summaries(*models), include_vetoed=True)
    found = limits(
        runs, frames.checks(*checks), frames.against_controls(*models), with_scores(runs, frames.scores(*scores)), words
    )
    return "\n".join(limit.reason for limit in found)


ROBUST: dict = {"rise": "holds", "fall": "holds", "reasons_rise": (), "reasons_fall": ()}


def test_one_text_one_seed_no_control_no_score():
    said = reasons(Model("a"), Model("b"))
    assert "One text only (python-docs)" in said
    assert "One seed per model" in said
    assert "Not known for a, b: no control that could have shown it was measured." in said
    assert "Not for a, b: at least one of the two claims depends on the method." in said
    assert "no published score for any" in said
    assert "no causal relation" in said
    assert "N=800" in said
    assert "No more than 32 windows" in said


def test_what_is_there_is_not_missed():
    corpora = ("python-docs", "python-source")
    models = [Model("a", corpus=corpus, seed=seed, **ROBUST) for corpus in corpora for seed in (0, 1)]
    said = reasons(*models)
    assert "One text only" not in said
    assert "One seed" not in said
    assert "Not known for a: no control" not in said and "depends on the method" not in said


def test_a_model_with_a_control_on_one_text_alone_is_named_with_the_other():
    said = reasons(Model("a", **ROBUST), Model("a", corpus="python-source"), Model("b"))
    assert "Not known for a (python-source, quick), b: no control" in said


def test_models_whose_names_look_alike_when_shortened_are_all_counted():
    models = [Model(f"ladder-128-layer-group-{n}-of-the-same-long-name-step1500") for n in range(4)]
    assert "Not for 4 of 4 models: at least one of the two claims" in reasons(*models)
    first, second = models[:2]
    assert "Not for 2 of 2 models: at least" in reasons(first, second)


def test_scores_of_base_models_are_no_evidence():
    assert "belong to base models" in reasons(Model("a", base_repository="o/b"), scores=[score("o/b", 1.0)])
    exact = score("o/a", 1.0, "r1")
    assert "published score of their own: 1;" in reasons(Model("a", repository="o/a"), scores=[exact])


def test_scores_without_a_revision_are_not_counted_as_a_models_own():
    models = [Model(f"m{i}", repository=f"o/m{i}") for i in range(12)]
    said = reasons(*models, scores=[score(f"o/m{i}", 1.0) for i in range(12)])
    assert "No score names the revision that it belongs to (models: 12)" in said


def test_relations_are_translated_as_far_as_they_are_known():
    runs = frames.runs(
        Model("a", base_relation="fine-tuned for sentence similarity"), Model("b", base_relation="merged")
    )
    found = in_language(
        "ja", limits, runs, frames.checks(), frames.against_controls(), with_scores(runs, frames.scores()), []
    )
    assert any("a：文の類似度向けにファインチューニング、b：merged" in limit.reason for limit in found)


def test_groups_formats_norms_and_relations_are_named():
    said = reasons(
        Model("a", base_relation="quantised"),
        Model("e", kind="encoder", dtype="bfloat16", qualifiers=("no_final_norm",), final_post_norm=None),
    )
    assert "2 groups" in said
    assert "bfloat16, float32" in said
    assert "No final norm in e" in said
    assert "a: quantised" in said


def test_bad_checks_are_told():
    a = Model("a")
    assert "Share of duplicate points: veto (runs: 1)" in reasons(a, checks=[(a, "duplicates", "veto")])
    assert "reserve" not in reasons(a, checks=[(a, "duplicates", "pass")])


TEXT = Model("a", run_id="t", control_run_ids=("s", "r"), **ROBUST)
SHUFFLED = Model("a", run_id="s", pass_="shuffled")
RANDOM = Model("a", run_id="r", pass_="random_init", model_seed=0)


def test_controls_answer_their_questions():
    said = reasons(TEXT, SHUFFLED, RANDOM)
    assert "come from training" not in said
    assert "No evidence of it: with shuffled tokens a dimension is the same within 10 % (a)" in said
    without = replace(TEXT, control_run_ids=("r",))
    assert "Not known for a: judged without a run on shuffled tokens" in reasons(without, SHUFFLED, RANDOM)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("control_shows_it", "Not shown for a: a control shows it as well."),
        ("control_not_exceeded", "Left open for a: the text is not clearly above a control."),
        ("control_no_power", "Left open for a: the controls could not have shown it."),
        ("control_not_usable", "Left open for a: no control is usable."),
        ("control_failed", "Left open for a: no control is usable."),
        ("no_control", "Not known for a: no control that could have shown it was measured."),
    ],
)
def test_a_control_that_decides_nothing_leaves_its_question_open(reason, said):
    assert said in reasons(replace(TEXT, reasons_fall=(reason,)), SHUFFLED, RANDOM)


def test_controls_are_no_runs_of_their_own():
    """A control that fails its checks, or a second text pass that it is not, changes nothing."""
    controls = [replace(SHUFFLED, seed=1), replace(RANDOM, dtype="bfloat16", corpus="python-source", n_points=400)]
    said = reasons(TEXT, *controls, checks=[(RANDOM, "sequence_share", "veto")])
    assert "One seed per model" in said and "One text only (python-docs)" in said and "N=800 and" in said
    assert "bfloat16" not in said and "reserve" not in said and "marked" not in said


def test_vetoes_are_told_apart_from_warnings():
    a, b = Model("a", worst_check="veto"), Model("b", worst_check="warn")
    said = reasons(a, b, checks=[(a, "sequence_share", "veto"), (b, "duplicates", "warn")])
    assert "Not a (marked ‡): Share of variance between windows: veto (runs: 1)." in said
    assert "Not without reserve. Share of duplicate points: warning (runs: 1)." in said


def test_tokenizers_meet_on_words_or_not_at_all():
    assert "tokenizer" not in reasons(Model("a"), Model("b"))
    other = Model("b", tokenizer_hash="tok2")
    assert "Only on one point per word" in reasons(Model("a"), other)
    for words in ("w2", None):
        assert "no two of these runs share" in reasons(Model("a"), replace(other, words_hash=words))
    for change in ({"kind": "encoder"}, {"protocol_hash": "000000000000"}):
        assert "no two of these runs share" in reasons(Model("a"), replace(other, **change))
    some = reasons(Model("a"), other, Model("c", tokenizer_hash="tok3", kind="encoder"))
    assert "Only some (a, b), on one point per word" in some
