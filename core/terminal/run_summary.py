"""The answer of one measurement in about ten lines of at most 80 columns, and what comes next.

Dimensions with their intervals, both verdicts, controls, checks, loss and cost; run_details has the numbers behind it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from core import wording
from core.figures.profile_data import PRIMARY
from core.locale import _
from core.records import Profile
from core.registry.specifications import CLAIMS
from core.tables import RunRow, RunSummaryRow
from core.terminal.output import LABEL, WIDTH, join, pad, wrap
from core.wording.numbers import number
from core.wording.verdicts import claim_name, others_at_start


def answer_lines(profile: Profile) -> list[str]:
    """The answer, in about ten lines."""
    return [
        *wrap(_headline(profile), WIDTH, "  ", "  "),
        *_interval_lines(profile),
        *_verdict_lines(profile),
        *_controls_in_short(profile),
        *_checks_in_short(profile),
        *_loss_lines(profile),
        *_cost_lines(profile),
    ]


def next_lines(profile: Profile) -> Iterator[str]:
    """Verbs that go on from a run that was just measured."""
    run = profile.run.run_id
    yield from labelled(_("details"), f"`workdim runs show {run}`")
    if profile.run.pass_ == "text":
        yield from labelled(_("next"), f"`workdim compare {run} OTHER_RUN`")
        yield from labelled("", "`workdim app`")
        if profile.model.kind == "decoder":
            yield from labelled("", f"`workdim plan {profile.model.model_id}`")


def labelled(label: str, text: str) -> Iterator[str]:
    if text:
        yield from wrap(f"  {pad(label, LABEL)}{text}", WIDTH, " " * (LABEL + 2))


def summary_of(profile: Profile, estimator: str, cloud: str) -> RunSummaryRow | None:
    return next((row for row in profile.summaries if (row.estimator, row.cloud) == (estimator, cloud)), None)


def interval_text(summary: RunSummaryRow, name: str) -> str:
    return wording.interval_of(vars(summary), name, _("not defined"))


def control_name(run: RunRow) -> str:
    return wording.control_name(run.pass_, run.model_seed)


def _headline(profile: Profile) -> str:
    """`SmolLM2 on python-docs: d2 is 44.4 at the start, 106 at most and 21.8 at the end`."""
    run, summary = profile.run, summary_of(profile, *PRIMARY)
    text = profile.corpus.name
    if run.pass_ != "text":
        text = _("{text} ({control})").format(text=text, control=control_name(run))
    if summary is None:
        return _("{model} on {text}, {protocol}").format(model=profile.model.name, text=text, protocol=run.protocol)
    return _("{model} on {text}: d2 is {start} at the start, {peak} at most and {end} at the end").format(
        model=profile.model.name,
        text=text,
        start=number(summary.embedding_dimension),
        peak=number(summary.inner_max),
        end=number(summary.final_dimension_pre_norm),
    )


def _interval_lines(profile: Profile) -> Iterator[str]:
    summary = summary_of(profile, *PRIMARY)
    if summary is None:
        return
    ends = ("embedding_dimension", "inner_max", "final_dimension_pre_norm")
    start, peak, end = (interval_text(summary, name) for name in ends)
    line = _("{start}, {peak}, {end} (95 %)")
    yield from labelled(_("intervals"), line.format(start=start, peak=peak, end=end))
    if others := others_at_start(map(vars, profile.estimates)):
        line = _("of sampling; other methods at the start: {least} to {most}")
        yield from labelled("", line.format(least=number(min(others)), most=number(max(others))))


def _verdict_lines(profile: Profile) -> Iterator[str]:
    """The verdicts of a run on text; a control has none."""
    summary = summary_of(profile, *PRIMARY)
    if summary is None or profile.run.pass_ != "text":
        return
    for label, claim in zip((_("verdicts"), ""), CLAIMS, strict=True):
        yield from labelled(label, wording.claim_text(claim, vars(summary)))
    limits = [wording.reason_text(key) for key in summary.qualifiers]
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
    yield from labelled(_("controls"), _("; ").join(told) or _("none were measured; --controls measures them"))


def _checks_in_short(profile: Profile) -> Iterator[str]:
    bad = Counter(row.outcome for row in profile.checks if row.outcome != "pass")
    passed = sum(row.outcome == "pass" and row.threshold is not None for row in profile.checks)
    line = _("{n} of {of} with a limit passed").format(n=passed, of=passed + bad.total())
    yield from labelled(_("checks"), join([line, *(f"{wording.name('outcome', key)} {n}" for key, n in bad.items())]))


def _loss_lines(profile: Profile) -> Iterator[str]:
    run = profile.run
    if run.bits_per_byte is not None:
        line = _("{value:.3f} bits per byte over {n:,} bytes")
        yield from labelled(_("loss"), line.format(value=run.bits_per_byte, n=run.n_bytes_scored or 0))


def _cost_lines(profile: Profile) -> Iterator[str]:
    run = profile.run
    seconds: dict[str, Any] = json.loads(run.phase_seconds or "{}")
    cost = _("{seconds:.0f} s, peak memory {memory:.2f} GB")
    yield from labelled(_("cost"), cost.format(seconds=sum(seconds.values()), memory=run.peak_memory_bytes / 1e9))
