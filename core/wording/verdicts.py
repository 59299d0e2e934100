"""The wording of verdicts: each of the two claims with its verdict, its counts and, if it does not simply hold, why; of the
specifications behind them, the profile as it is, marks of controls and second opinions, what a control shows, and reasons.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from core.analysis.claims import MARGIN, ClaimCounts
from core.locale import N_, _, translated
from core.registry.checks import VERDICTS
from core.registry.protocols import CLAIMS, SPECIFICATIONS, Specification
from core.sources import Text, shown
from core.tables import (
    LayerCorrelatorRow,
    LayerEstimateRow,
    Run,
    RunClaimRow,
    RunControlRow,
    RunExtremumRow,
    RunSummaryRow,
)
from core.wording import labels
from core.wording.labels import detailed, grouped, listed, number, ranges, said_of, with_interval
from core.wording.scores import p_value_text

CLAIM_MARKS = {"rise": "↗", "fall": "↘"}
BADGES = N_(
    {
        ("invalid", "*"): "Not usable",
        ("holds", "holds"): "Rises, then falls",
        ("holds", "*"): "Rises inside",
        ("*", "holds"): "Falls towards the end",
        ("mostly_holds", "*"): "Mostly rises inside",
        ("*", "mostly_holds"): "Mostly falls towards the end",
        ("depends", "*"): "Depends on how it is measured",
        ("*", "depends"): "Depends on how it is measured",
        ("fails", "fails"): "Neither rises nor falls",
        ("fails", "*"): "Does not rise inside",
        ("*", "fails"): "Does not fall towards the end",
        ("untested", "*"): "Untested",
        ("*", "untested"): "Untested",
    }
)
"""Verdicts on rise and fall (* is any) -> a short name for the run. The first match counts; a run without a match is
`Unclear`.
"""
MARKS = {"yes": "●", "no": "○", "opposite": "▼", "cannot_tell": "?"}
"""Marks for the outcome of a specification in a picture, distinct without colour."""


# --- verdicts --------------------------------------------------------------------------------------------------


def claim_text(claim: str, run: RunSummaryRow, *, named: bool = True) -> str:
    """A claim, `named` or not, with its verdict, counts and reasons:
    `rises: depends, 5 of 8 methods yes, 3 reversed, median × 2.5 (changes without dominant directions)`.
    """
    parts = [verdict_name(getattr(run, f"verdict_{claim}")), counts_text(ClaimCounts.of(run, claim))]
    word = listed(filter(None, parts))
    reasons = [reason_text(key) for key in sorted_reasons(getattr(run, f"reasons_{claim}"))]
    verdict = detailed(word, reasons)
    return said_of(claim_name(claim), verdict) if named else verdict


def counts_text(counts: ClaimCounts | None) -> str:
    """`5 of 8 methods yes, 3 reversed, median × 2.5`; empty if nothing was counted."""
    if counts is None:
        return ""
    told = [_("{yes} of {n} methods yes", yes=counts.yes, n=counts.methods)]
    told += [_("{n} no", n=counts.no)] if counts.no else []
    told += [_("{n} reversed", n=counts.reversed)] if counts.reversed else []
    return listed([*told, _("median × {median}", median=number(counts.median_ratio))])


def joint_text(claim: str, run: RunSummaryRow) -> str:
    """The joint test of a claim: `rises: median of all methods above 1.1, p < 0.001; 8 methods count as 1.4`; empty without
    one."""
    counts = ClaimCounts.of(run, claim)
    if counts is None or counts.joint_p is None or counts.effective_methods is None:
        return ""
    return _(
        "{claim}: median of all methods above 1.1, {p}; {n} methods count as {effective}",
        claim=claim_name(claim),
        p=p_value_text(counts.joint_p),
        n=counts.methods,
        effective=shown(counts.effective_methods, ".1f"),
    )


def verdict_name(verdict: str | None) -> str:
    """The verdict alone. A reader is shown `claim_text`, which adds the claim, the counts and the reasons."""
    return _("not judged") if verdict is None else labels.name("claim_verdict", verdict)


def badge_text(run: RunSummaryRow) -> str:
    """A short name for the run, for cards and titles: `Rises, then falls` only if both claims hold."""
    verdicts = (run.verdict_rise, run.verdict_fall)
    for (rise, fall), words in BADGES.items():
        if rise in ("*", verdicts[0]) and fall in ("*", verdicts[1]):
            return translated(words)
    return translated(N_("not judged") if None in verdicts else N_("Unclear"))


def verdict_marks(run: RunSummaryRow) -> str:
    """Both claims as marks, the same in every language: `↗◐ ↘?`."""
    verdicts = [(claim, getattr(run, f"verdict_{claim}")) for claim in CLAIMS]
    return " ".join(
        f"{CLAIM_MARKS[claim]}{VERDICTS[verdict].mark if verdict in VERDICTS else '–'}" for claim, verdict in verdicts
    )


def verdict_legend_text() -> str:
    """What the marks mean: `↗ rises, ↘ falls: ✓ holds, ◕ mostly holds, ...`."""
    claims = listed(f"{CLAIM_MARKS[claim]} {claim_name(claim)}" for claim in CLAIMS)
    words = (f"{word.mark} {translated(word.name)}" for word in VERDICTS.values())
    return said_of(claims, [*words])


def verdict_text(run: RunSummaryRow) -> str:
    """Both claims, and what limits the run: `rises: holds; falls: untested (no control)`."""
    claims = [claim_text(claim, run) for claim in CLAIMS]
    already = {key for claim in CLAIMS for key in getattr(run, f"reasons_{claim}") or ()}
    return _("; ").join(filter(None, [*claims, _limits_text(run, already)]))


def outcome_text(run: Run) -> str:
    """The verdicts of a run on text; of another pass, which control it is; a dash if nothing was measured."""
    if run.n_points is None:
        return "–"
    if run.pass_ == "text":
        return verdict_text(run)
    return detailed(labels.pass_text(run.pass_, run.model_seed), _limits_text(run))


def _limits_text(run: RunSummaryRow, already: Iterable[str] = ()) -> str:
    """What limits the numbers of the run and is not already given as a reason."""
    keys = [key for key in sorted_reasons(run.qualifiers) if key not in set(already)]
    return listed(reason_text(key) for key in keys)


def claim_name(claim: str) -> str:
    return labels.name("claim", claim)


# --- specifications --------------------------------------------------------------------------------------------


def specification_of(row: RunClaimRow | LayerEstimateRow) -> Specification | None:
    """The declared specification of a row of run_claims or layer_estimates."""
    key = (row.cloud, row.transform, row.estimator, row.n1)
    return next((specification for specification in SPECIFICATIONS if specification.key == key), None)


def specification_name(row: RunClaimRow | LayerEstimateRow | Specification) -> str:
    """A specification: `d2, one per type, three leading components removed`. What all share (centred) is left out."""
    symbol = labels.estimator_symbol(row.estimator, row.n1, row.n2)
    parts = [symbol, labels.name("cloud", row.cloud)]
    if row.transform != "centred":
        parts.append(labels.name("transform", row.transform))
    return listed(parts)


def outcome_of(row: RunClaimRow) -> str | None:
    """The outcome of a row of run_claims; None if a core specification has no value."""
    return None if row.ratio is None else row.outcome


def claim_outcome_text(row: RunClaimRow) -> str:
    """The outcome of a row of run_claims in words; of a ratio that is above 1 and not surely above the margin, why it does
    not count: `too small to count (lower limit 1.095, needed 1.10)`."""
    outcome, needed = outcome_of(row), math.exp(MARGIN)
    if outcome is None:
        return "–"
    if outcome != "cannot_tell" or row.lower is None or not 1 < row.lower < needed:
        return labels.name("claim_outcome", outcome)
    lower = shown(math.floor(1000 * row.lower) / 1000, ".3f")  # rounded up it could read as the limit itself
    return _("too small to count (lower limit {lower}, needed {needed})", lower=lower, needed=shown(needed, ".2f"))


def outcome_legend_text() -> str:
    """What the marks of outcomes mean: `● yes, ○ no, ▼ reversed, ? unclear`."""
    parts = (f"{mark} {labels.name('claim_outcome', outcome)}" for outcome, mark in MARKS.items())
    return listed(parts)


def ratio_text(row: RunClaimRow | RunControlRow) -> str:
    """A ratio with its interval: `2.41 [2.10, 2.77]`."""
    return with_interval(row.ratio, row.lower, row.upper)


def marked_ratio_text(row: RunClaimRow) -> str:
    """The outcome of a row of run_claims as a mark, and its ratio with interval: `● 2.41 [2.10, 2.77]`."""
    return Text("{} {}").format(MARKS.get(outcome_of(row) or "", "–"), ratio_text(row))


# --- the profile as it is --------------------------------------------------------------------------------------


def shape_text(run: RunSummaryRow) -> str:
    """The working dimension with its interval, or `no inner peak; lowest at layer 2 (4.05)`."""
    if run.working_dimension is not None:
        return labels.interval_of(run, "working_dimension")
    if run.inner_max is None:
        return "–"
    if run.lowest_layer is None:
        return _("no inner peak")
    return _(
        "no inner peak; lowest at layer {layer} ({value})", layer=run.lowest_layer, value=number(run.lowest_dimension)
    )


def start_text(run: RunSummaryRow, estimates: Iterable[LayerEstimateRow]) -> str:
    """`d2 at the start 44.4 [40.0, 49.2] (error of sampling); other methods read 15.8 to 376 there`: the interval is
    that of one method, and no measure of how methods differ. Empty without other methods; `estimates` are of layer 0."""
    others = [
        row.value for row in estimates if (one := specification_of(row)) and one.axis and row.layer == 0 and row.value
    ]
    if not others or run.embedding_dimension is None:
        return ""
    return _(
        "d2 at the start {value} (sampling error); other methods {least} to {most}",
        value=labels.interval_of(run, "embedding_dimension"),
        least=number(min(others)),
        most=number(max(others)),
    )


def extrema_text(rows: Sequence[RunExtremumRow]) -> str:
    """The extrema of a profile: `start 103 at layer 0, valley 4.05 at layer 2, peak 57.8 at layer 13, ...`."""
    parts = [
        _(
            "{kind} {value} at layer {layer}",
            kind=labels.name("extremum", row.kind),
            value=number(row.value),
            layer=row.layer,
        )
        for row in sorted(rows, key=lambda row: row.layer)
    ]
    return listed(parts)


DOMINANT = 0.5
"""Share of the variance from which three coordinates or components are named: with half of it on three, the participation
ratio is at most 12, whatever the others do."""


def dominance_text(correlators: Iterable[LayerCorrelatorRow]) -> str:
    """Layers where three coordinates, or else three principal components, hold half of the variance; empty if none.

    `correlators` are rows of layer_correlators of one run:
    `three coordinates hold half of the variance or more (layers: 1–3, 9; at most 72 %, layer 2)`.
    """
    found: dict[str, dict[int, float]] = {}
    for row in correlators:
        value = row.value or 0.0
        if (row.cloud, row.state) == ("one_per_type", "residual") and value >= DOMINANT:
            found.setdefault(row.correlator, {})[row.layer] = value
    shares = found.get("top_coordinates_3") or found.get("top_components_3")
    if not shares:
        return ""
    what = _("three coordinates") if "top_coordinates_3" in found else _("three principal components")
    layer = max(shares, key=shares.__getitem__)
    values = {"layers": ranges(shares), "share": round(100 * shares[layer]), "layer": layer}
    return _(
        "{what} hold half of the variance or more (layers {layers}; {share} %, layer {layer})", what=what, **values
    )


def pace_text(value: float, error: float | None) -> str:
    """How the exponent of the displacement from layer to layer compares with a random walk, beyond two standard errors."""
    if error is None:
        return _("its error is not known")
    if value < 1 - 2 * error:
        return _("slower than a random walk")
    if value > 1 + 2 * error:
        return _("faster than a random walk")
    return _("not distinguishable from a random walk")


# --- chips -----------------------------------------------------------------------------------------------------


class Chip(NamedTuple):
    """The result of a control or a second opinion, as one mark."""

    mark: str
    """`✓` supports the profile, `✕` contradicts it, `?` cannot tell; `=` and `≠` for a change to the text."""
    name: str
    explanation: str
    """One sentence or more."""


_OF_OUTCOMES = (("shows_it", "✕"), ("not_usable", "?"), ("no_power", "?"), ("cannot_tell", "?"), ("differs", "≠"))
"""Outcome -> mark; the first outcome that occurs in any claim counts."""


def control_chips(rows: Sequence[RunControlRow], passes: Mapping[str, str]) -> list[Chip]:
    """One chip for each kind of control of a run.

    `rows` are of run_controls; `passes` maps a control's run id to its pass. A control without power gets a question
    mark, because it could not have shown anything.
    """
    chips = []
    for key, pass_rows in grouped((passes.get(row.control_run_id, ""), row) for row in rows).items():
        outcomes = {row.outcome for row in pass_rows if row.claim in CLAIMS} or {row.outcome for row in pass_rows}
        mark = next((mark for outcome, mark in _OF_OUTCOMES if outcome in outcomes), "=" if "same" in outcomes else "✓")
        explanation = _("; ").join(dict.fromkeys(control_text(row) for row in pass_rows))
        chips.append(Chip(mark, labels.name("pass", key), explanation))
    return chips


def opinion_chips(rows: Sequence[RunClaimRow]) -> list[Chip]:
    """One chip for each choice that the core varies: whether the claims come out as under the reference.

    `rows` are of run_claims of one run.
    """
    by_axis = grouped((one.axis, row) for row in rows if (one := specification_of(row)) and one.is_core)
    by_reference = {row.claim: outcome_of(row) for row in by_axis.pop("", [])}
    chips = []
    for axis, axis_rows in by_axis.items():
        pairs = [(by_reference.get(row.claim), outcome_of(row)) for row in axis_rows]
        is_other = any(a != b and not {a, b} & {None, "cannot_tell"} for a, b in pairs)
        mark = "✕" if is_other else "✓" if all(a == b for a, b in pairs) else "?"
        explanation = _("; ").join(_opinion_text(row) for row in axis_rows)
        chips.append(Chip(mark, labels.name("axis", axis), explanation))
    return chips


def _opinion_text(row: RunClaimRow) -> str:
    text = Text("{} {} {}").format(claim_name(row.claim), claim_outcome_text(row), ratio_text(row))
    return said_of(specification_name(row), text)


def ten_dimensions_text(against_ten: str) -> str:
    """How an interval lies to ten dimensions, a result of `analysis.claims.compare_with_ten`: `above ten`."""
    return {"in": _("holds ten"), "above": _("above ten"), "below": _("below ten")}.get(against_ten, "–")


# --- controls --------------------------------------------------------------------------------------------------


def control_text(row: RunControlRow) -> str:
    """What a control shows:
    `rises: 1.52 [1.31, 1.76] times the control (power 0.94, p = 0.05 with 19 networks): the text exceeds it`."""
    claim, outcome = (labels.name("claim", row.claim), labels.name("control_outcome", row.outcome))
    if row.ratio is None:
        return said_of(claim, outcome)
    details = [] if row.power is None else [_("power {power}", power=shown(row.power, ".2f"))]
    if row.n_seeds:
        details.append(_("{p} with {n} networks", p=p_value_text(row.p), n=shown(row.n_seeds)))
    ratio = detailed(_("{ratio} times the control", ratio=ratio_text(row)), details)
    return said_of(claim, said_of(ratio, outcome))


# --- reasons, and what limits the numbers of a run ---------------------------------------------------------------


REASONS: dict[str, tuple[str, str]] = N_(
    {
        "check_vetoed": ("vetoed by a check", "Do not use this run; its checks say what to change."),
        "too_few_layers": ("too few layers", "A model of one block has no inner layer."),
        "control_shows_it": ("a control shows it too", "It does not come from what the control lacks."),
        "axis_dominant_directions": (
            "changes without dominant directions",
            "It is about a few directions of large variance.",
        ),
        "axis_scale": ("changes with scaled coordinates", "A few large coordinates carry it."),
        "axis_norms": ("changes where norms count", "State the estimator: norms count in the participation ratio."),
        "axis_neighbours": ("changes by nearest neighbours", "State the estimator: GRIDE says otherwise."),
        "axis_words": (
            "changes when words are counted",
            "The answer changes when words are counted instead of tokens.",
        ),
        "axis_tokens": ("changes on all tokens", "It depends on how often a type counts."),
        "control_not_exceeded": ("not clearly above a control", "A control comes too close: measure more text."),
        "no_control": ("no control", "Nothing shows that training is needed: use protocol standard."),
        "control_no_power": ("its controls could not have shown it", "Their silence says nothing."),
        "control_not_usable": ("no usable control", "Vetoed controls count neither way: look at their checks."),
        "control_failed": ("a control failed", "Read the claim as untested."),
        "one_too_small": ("one method too small to count", "All others exceed 1.1: measure more text."),
        "within_error": ("a lower limit below 1.10", "An interval reaches both sides of 1.1: measure more text."),
        "cells_missing": ("specifications missing", "See the table of claims."),
    }
)
"""In display order, the most important first: what it is called, and what it means or what to do about it."""

QUALIFIERS: dict[str, tuple[str, str]] = N_(
    {
        "check_vetoed": REASONS["check_vetoed"],
        "few_types": ("few token types", "Values read low: compare equal numbers, or read more text."),
        "no_final_norm": ("no final norm", "Do not compare its final state with values after a norm."),
        "check_warned": ("a check gave a warning", "Look at it before relying on the second digit."),
    }
)
"""What limits the numbers of a run, regardless of any claim."""

_KNOWN = REASONS | QUALIFIERS


def reason_text(key: str) -> str:
    """Why a claim does not simply hold, or what limits a run. A key without words is returned as it is."""
    return translated(_KNOWN[key][0]) if key in _KNOWN else key


def reason_meaning(key: str) -> str:
    """What a reason means; empty if there is no explanation yet."""
    return translated(_KNOWN[key][1]) if key in _KNOWN else ""


def sorted_reasons(keys: Iterable[str] | None) -> list[str]:
    """Keys of reasons, the most important first; those without words come last, in the given order."""
    known = list(_KNOWN)
    return sorted(dict.fromkeys(keys or ()), key=lambda key: known.index(key) if key in known else len(known))


def run_reasons(run: RunSummaryRow) -> list[str]:
    """Keys of all remarks on a run: the reasons of its verdicts, and what limits its numbers."""
    key_lists = [run.reasons_rise, run.reasons_fall, run.qualifiers]
    return sorted_reasons(key for keys in key_lists for key in keys or ())
