"""Names, numbers and sentences that screens, slides and the terminal share, so that all use the same words.

What a function returns shows in its name: `..._name` a name, `..._text` a phrase, number or sentence, `..._lines` a list
of sentences, `..._mark` a sign. Functions used in many places are collected here: `from core import wording`.
"""

from __future__ import annotations

from core.locale import _
from core.registry.protocols import CONTROLS
from core.sources import Text
from core.wording.labels import (
    check_meaning,
    control_name,
    detailed,
    estimator_name,
    estimator_symbol,
    interval_of,
    is_vetoed,
    joined_sentences,
    listed,
    name,
    names,
    number,
    pass_text,
    rounded,
    share_text,
    size_range,
    with_error,
    with_interval,
)
from core.wording.scores import (
    benchmark_name,
    metric_name,
    score_note_lines,
    score_settings_text,
    stated_text,
    unit_name,
)
from core.wording.verdicts import (
    claim_text,
    control_text,
    dominance_text,
    extrema_text,
    outcome_text,
    reason_meaning,
    reason_text,
    run_reasons,
    shape_text,
    ten_dimensions_text,
    verdict_text,
)


def outcome_name(outcome: str | None) -> str:
    return _("no check was made") if outcome is None else name("outcome", outcome)


def text_name(corpus: str, spoken: str, domain: str) -> str:
    """A text with its language and domain: `python-docs (English, technical reference)`. An unknown language is left out."""
    details = [] if spoken == "unknown" else [name("language", spoken)]
    details.append(name("domain", domain))
    return detailed(corpus, details)


def layer_axis(same_depth: bool) -> str:
    return (
        _("Layer (0 = embedding output)") if same_depth else _("Relative depth (0 = embedding output, 1 = last block)")
    )


def dimension_axis(
    estimator: str, cloud: str, n_points: tuple[int, int] | None = None, n1: int | None = None, n2: int | None = None
) -> str:
    """The label of an axis of dimensions, with what they depend on: `Estimated dimension (d2, one per type, N=800)`."""
    inside = [estimator_symbol(estimator, n1, n2), *_points_named(cloud, n_points)]
    return _("Estimated dimension ({details})", details=inside)


def estimate_label(quantity: str, n_points: tuple[int, int] | None = None) -> str:
    """A dimension of a run summary with what it depends on: `largest inner dimension (d2, one per type, N=800)`."""
    return detailed(quantity, [estimator_symbol("d2"), *_points_named("one_per_type", n_points)])


def correlator_axis(correlator: str, cloud: str, n_points: tuple[int, int]) -> str:
    """The label of an axis of a correlator, with what it depends on: `Mean cosine of token pairs (one per type, N=800)`."""
    return detailed(name("correlator", correlator), _points_named(cloud, n_points))


def _points_named(cloud: str, n_points: tuple[int, int] | None) -> list[str]:
    size = [Text("N={}").format(size_range(n_points))] if n_points and n_points[1] else []
    return [name("cloud", cloud), *size]


def scatter_caution_text() -> str:
    """The line under every picture of dimension against score."""
    return _(
        "Numbers side by side only: arXiv 2602.20433, mainly on the unembedding matrix, found no reliable prediction."
    )


def own_definition_text() -> str:
    return _("d2 is our definition: one over the mean squared cosine of token pairs.")


def veto_mark_text() -> str:
    """The meaning of the mark beside a name."""
    return _("‡ Vetoed by a check: do not rely on it.")


def phase_name(phase: str) -> str:
    """A phase of a measurement or of its control: `random_init: geometry` -> `control: random weights, measuring layers`."""
    parts = phase.split(": ")
    return listed(pass_text(part) if part in CONTROLS else name("phase", part) for part in parts)
