"""Published claims about dimension and performance: one record each, for comparison with the user's own answer.

Taken from abstracts and introductions, or second hand (see `seen`); no number was checked against the papers' data.
"""

from __future__ import annotations

from dataclasses import dataclass
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
