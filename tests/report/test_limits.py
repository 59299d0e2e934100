"""What a deck cannot decide follows from what its runs lack."""

from core.analysis.ranking import with_scores
from core.report.limits import limits
from tests.report import frames
from tests.report.frames import Model, score


def reasons(*models, scores=(), checks=()) -> str:
    runs = frames.runs(*models)
    found = limits(runs, frames.checks(*checks), with_scores(runs, frames.scores(*scores)), "en")
    return "\n".join(limit.reason for limit in found)


def test_one_text_one_seed_no_control_no_score():
    said = reasons(Model("a"), Model("b"))
    assert "One text only (python-docs)" in said
    assert "One seed per model" in said
    assert "No random control for a, b" in said
    assert "no published score for any" in said
    assert "no causal relation" in said
    assert "N=800" in said
    assert "No more than 32 windows" in said


def test_what_is_there_is_not_missed():
    corpora = ("python-docs", "python-source")
    models = [Model("a", corpus=corpus, seed=seed, qualifiers=()) for corpus in corpora for seed in (0, 1)]
    said = reasons(*models)
    assert "One text only" not in said
    assert "One seed" not in said
    assert "random control" not in said


def test_scores_of_base_models_are_no_evidence():
    assert "belong to base models" in reasons(Model("a", base_repository="o/b"), scores=[score("o/b", 1.0)])
    exact = score("o/a", 1.0, "r1")
    assert "Only 1 of these models" in reasons(Model("a", repository="o/a"), scores=[exact])


def test_scores_without_a_revision_are_not_counted_as_a_models_own():
    models = [Model(f"m{i}", repository=f"o/m{i}") for i in range(12)]
    said = reasons(*models, scores=[score(f"o/m{i}", 1.0) for i in range(12)])
    assert "those of 12 models name none" in said


def test_relations_are_translated_as_far_as_they_are_known():
    runs = frames.runs(
        Model("a", base_relation="fine-tuned for sentence similarity"), Model("b", base_relation="merged")
    )
    found = limits(runs, frames.checks(), with_scores(runs, frames.scores()), "ja")
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
