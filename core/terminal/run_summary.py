"""The answer of one measurement and what comes next, together in some ten lines of at most 80 columns.

Dimensions with their intervals, both verdicts, controls, checks, loss and cost; run_details has the numbers behind it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from core import wording
from core.figures.profile_data import PRIMARY
from core.ids import SHORT_ID
from core.locale import _
from core.records import Profile
from core.registry.protocols import CLAIMS
from core.tables import RunRow, RunSummaryRow
from core.terminal.output import LABEL, WIDTH, join, pad, wrap
from core.wording.answers import served_text
from core.wording.verdicts import claim_name


def answer_lines(profile: Profile) -> list[str]:
    return [
        *wrap(_headline(profile), WIDTH, "  ", "  "),
        *_verdict_lines(profile),
        *_controls_in_short(profile),
        *_checks_in_short(profile),
        *labelled(_("own labels"), served_text(profile.correlators)),
        *_cost_lines(profile),
    ]


def next_lines(profile: Profile) -> Iterator[str]:
    """Verbs that go on from a run that was just measured."""
    yield from labelled(_("next"), join([f"`workdim runs show {profile.run.run_id[:SHORT_ID]}`", "`workdim app`"]))


def labelled(label: str, text: str) -> Iterator[str]:
    if text:
        yield from wrap(f"  {pad(label, LABEL)}{text}", WIDTH, " " * (LABEL + 2))


def summary_of(profile: Profile, estimator: str, cloud: str) -> RunSummaryRow | None:
    return next((row for row in profile.summaries if (row.estimator, row.cloud) == (estimator, cloud)), None)


def interval_text(summary: RunSummaryRow, name: str) -> str:
    return wording.interval_of(summary, name, _("not defined"))


def control_name(run: RunRow) -> str:
    return wording.control_name(run.pass_, run.model_seed)


def _headline(profile: Profile) -> str:
    """`SmolLM2 on python-docs: d2 44.4 [42.1, 46.7] at the start, 106 [99.8, 112] at most, 21.8 [20.1, 23.5] at the end (95 %,
    sampling)`.
    """
    run, summary = profile.run, summary_of(profile, *PRIMARY)
    text = profile.corpus.name
    if run.pass_ != "text":
        text = _("{text} ({control})").format(text=text, control=control_name(run))
    if summary is None:
        return _("{model} on {text}, {protocol}").format(model=profile.model.name, text=text, protocol=run.protocol)
    line = _("{model} on {text}: d2 {start} at the start, {peak} at most, {end} at the end (95 %, sampling)")
    ends = ("embedding_dimension", "inner_max", "final_dimension_pre_norm")
    start, peak, end = (interval_text(summary, name) for name in ends)
    return line.format(model=profile.model.name, text=text, start=start, peak=peak, end=end)


def _verdict_lines(profile: Profile) -> Iterator[str]:
    """The verdicts of a run on text; a control has none."""
    summary = summary_of(profile, *PRIMARY)
    if summary is None or profile.run.pass_ != "text":
        return
    for claim in CLAIMS:
        yield from labelled(claim_name(claim), wording.claim_text(claim, summary, named=False))
    told = {*summary.reasons_rise, *summary.reasons_fall, "check_warned"}  # checks have a line of their own
    limits = [wording.reason_text(key) for key in summary.qualifiers if key not in told]
    yield from labelled(_("limits"), _("; ").join(limits))


def _controls_in_short(profile: Profile) -> Iterator[str]:
    """How many controls showed what, for each claim; a control and a run without claims have none."""
    if profile.run.pass_ != "text" or not profile.claims:
        return
    told = []
    for claim in CLAIMS:
        counted = Counter(row.outcome for row in profile.controls if row.claim == claim and row.power is not None)
        outcomes = join(
            wording.name("control_outcome", outcome) + (f" × {n}" if n > 1 else "") for outcome, n in counted.items()
        )
        if outcomes:
            told.append(_("{claim}: {verdict}").format(claim=claim_name(claim), verdict=outcomes))
    yield from labelled(_("controls"), _("; ").join(told))


def _checks_in_short(profile: Profile) -> Iterator[str]:
    bad = Counter(row.outcome for row in profile.checks if row.outcome != "pass")
    passed = sum(row.outcome == "pass" and row.threshold is not None for row in profile.checks)
    line = _("{n} of {of} with a limit passed").format(n=passed, of=passed + bad.total())
    yield from labelled(_("checks"), join([line, *(f"{wording.name('outcome', key)} {n}" for key, n in bad.items())]))


def _cost_lines(profile: Profile) -> Iterator[str]:
    """The loss of a model that has one, and what it took."""
    run = profile.run
    seconds: dict[str, Any] = json.loads(run.phase_seconds or "{}")
    cost = _("{seconds:.0f} s, memory {memory:.2f} GB")
    cost = cost.format(seconds=sum(seconds.values()), memory=run.peak_memory_bytes / 1e9)
    if run.bits_per_byte is None:
        yield from labelled(_("cost"), cost)
    else:
        line = _("{value:.3f} bits per byte over {n:,} bytes; {cost}")
        yield from labelled(_("loss, cost"), line.format(value=run.bits_per_byte, n=run.n_bytes_scored or 0, cost=cost))
