"""What others publish: claims about dimension and performance, and standard metrics of benchmarks.

Claims are for comparison with the user's own answer. Taken from abstracts and introductions, or second hand (see `seen`); no number was checked against the papers' data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from core.errors import N_ as _


@dataclass(frozen=True)
class Published:
    source: str
    n: str
    """Number of models or runs, if stated."""
    direction: Literal["negative", "positive", "none", "other"]
    """Direction of the relation of dimension and performance; `other`: the claim is about something else."""
    said: str
    confound: str
    """Possible confounder or limitation."""
    seen: Literal["opening", "second hand"]


CLAIMS = (
    Published(
        "arXiv 2503.22547",
        _("not stated"),
        "negative",
        _("A smaller working dimension goes with better performance; the final dimension grows with size."),
        _("One architecture and size; correlator unknown."),
        "second hand",
    ),
    Published(
        "arXiv 2602.20433",
        _("108 models of one kind"),
        "other",
        _(
            "No measure of the unembedding matrix predicts performance reliably; the best models often have a "
            "high rank."
        ),
        _("Batch size, weight decay, size, training tokens; no inner layers."),
        "opening",
    ),
    Published(
        "arXiv 2509.23024",
        _("two families, along training"),
        "negative",
        _("Collapse, expansion, then compression with the gains."),
        _("Training time: all that changes steadily."),
        "opening",
    ),
    Published(
        "arXiv 2405.15471", "5", "other", _("The earlier the peak, the better the model."), _("Five models."), "opening"
    ),
    Published(
        "arXiv 2511.20315",
        "28",
        "other",
        _("Dimension rises, then falls, in all."),
        _("One format of questions, the last token only."),
        "opening",
    ),
    Published(
        "Diff-eRank (NeurIPS 2024)",
        _("several families"),
        "positive",
        _("Training lowers the effective rank, more in larger models."),
        _("Size itself."),
        "second hand",
    ),
    Published(
        "arXiv 2605.17084",
        "10",
        "other",
        _("Values depend on the scale; spectral measures miss it."),
        _("Width."),
        "opening",
    ),
    Published(
        "arXiv 2506.01034",
        _("within training"),
        "negative",
        _("A falling local dimension comes before gains in performance."),
        _("Task and fine-tuning."),
        "opening",
    ),
    Published(
        "arXiv 2604.20276",
        _("synthetic data and networks"),
        "none",
        _("Common estimators do not follow the true dimension."),
        _("About the estimators, not the relation."),
        "opening",
    ),
    Published(
        "arXiv 2509.26560",
        _("a method"),
        "other",
        _("The participation ratio of few points is biased; a correction."),
        _("About measuring, not models."),
        "opening",
    ),
)


# --- metrics: which end is the better one, and in what unit values come ----------------------------------------------


@dataclass(frozen=True)
class Metric:
    """A metric, known by a word in its name: `acc` is also in `acc_norm` and `prompt_level_strict_acc`."""

    word: str
    """A pattern of the word, in small letters."""
    higher_is_better: bool | None
    is_share: bool = False
    """Whether values lie between 0 and 1 (mcc: -1 and 1) or are percentages of that; else the unit is the metric's own."""


METRICS = (
    # What is lower where it is better comes first: `token_perplexity_acc` is no metric, `brier_score` is.
    Metric("perplexity|ppl|bits_per_byte|bpb|ter|wer|cer", False),
    Metric("brier|brier_score", False, is_share=True),
    Metric("acc|accuracy|em|exact|exact_match|f1|mc1|mc2|mcc|precision|recall|pass", True, is_share=True),
    Metric("rouge[12lsum]*", True, is_share=True),
    Metric(r"bleu|chrf\+*", True),
    Metric("likelihood_diff", None, is_share=True),
)
_NOT_THE_METRIC = re.compile(r"(^|_)(error|loss)(_|$)")
"""Words that turn the metric around: `f1_loss`."""


@lru_cache(maxsize=4096)
def find_metric(name: str) -> Metric | None:
    """The standard metric of this name, written in any case: `acc_norm`, `Exact Match`, `ROUGE-L`, `acc, ranked`."""
    plain = re.sub(r"[\s-]+", "_", re.split(r"[,(]", name.strip().casefold())[0].strip())
    if _NOT_THE_METRIC.search(plain):
        return None
    for metric in METRICS:
        end = "(_|@|$)" if metric.higher_is_better is not False else "$"
        if re.search(rf"(^|_)({metric.word}){end}", plain):
            return metric
    return None


def higher_is_better(name: str) -> bool | None:
    """Whether a higher value is the better one; None where the name does not tell."""
    metric = find_metric(name)
    return metric.higher_is_better if metric else None
