"""What the name of a metric tells: which end is the better one, and whether values are shares."""

from __future__ import annotations

import pytest

from core.registry.published import find_metric, higher_is_better


@pytest.mark.parametrize(
    "name",
    [
        *("acc", "acc_norm", "Accuracy", "Exact Match", "exact_match", "f1", "mcc", "bleu", "BLEU", "chrf", "chrF++"),
        *(
            "rouge1",
            "rougeLsum",
            "ROUGE-L",
            "pass@1",
            "pass@10",
            "prompt_level_strict_acc",
            "acc, ranked classification",
        ),
    ],
)
def test_higher_is_better(name):
    assert higher_is_better(name) is True


@pytest.mark.parametrize(
    "name", ["perplexity", "word_perplexity", "bits_per_byte", "TER", "brier", "brier_score", "wer", "WER (%)"]
)
def test_lower_is_better(name):
    assert higher_is_better(name) is False


@pytest.mark.parametrize("name", ["", "raw", "not stated", "taste", "f1_loss", "exact error", "peace", "counter"])
def test_other_names_tell_nothing(name):
    assert higher_is_better(name) is None


def test_shares_are_told_from_metrics_with_a_unit_of_their_own():
    assert [find_metric(name).is_share for name in ("acc", "rouge2", "brier", "bleu", "wer", "perplexity")] == [
        *(True, True, True),
        *(False, False, False),
    ]
