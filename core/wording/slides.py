"""The wording of slides for decision makers: names, checks, shapes, what a use class allows, durations, layer plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from core import wording
from core.locale import _
from core.pilots.pilot import Pilot
from core.sources import counted, derived
from core.wording.labels import VETO_MARK, marked_name, name, names_text, shortened_name
from core.wording.numbers import day, duration

MAX_NAMES = 4


def short_names_text(names: Sequence[str], most: int = MAX_NAMES, longest: int = 30) -> str:
    """The first names, shortened, and how many more there are; a dash if there are none."""
    return names_text([shortened_name(name, longest) for name in names], most) or "–"


def use_class_text(pilot: Pilot | None) -> str:
    """The line on every slide: what kind of choice this is, and whether a dimension may support it."""
    if pilot is None:
        return _("No question was registered: numbers side by side, and no recommendation.")
    cautions = {
        "scarce_data": _(
            "Scarce data: a dimension never supports a recommendation by itself; decide on evidence from the task."
        ),
        "safety_critical": _(
            "Safety-critical use: a dimension never supports a recommendation by itself; "
            "decide on tests of the task and of its failures."
        ),
    }
    general = _("General use: a choice whose results can be checked and which can be taken back.")
    return cautions.get(pilot.use_class, general)


def dimension_text() -> str:
    """What "dimension" means, for readers who read nothing else about it."""
    return _("over how many directions a model’s token vectors spread, read by one method (d2)")


def rho_sign_text() -> str:
    """What the sign of rho means, whether a higher or a lower score is the better one."""
    return _("rho > 0: a larger dimension goes with a better score")


def decider_text(pilot: Pilot | None) -> str:
    """Who decides and by when: `Head of support; by when: 15 December 2026`."""
    who, when = (pilot.decided_by, pilot.decide_by) if pilot else (None, None)
    not_named = _("not named yet")
    return _("{who}; by when: {day}").format(who=who or not_named, day=day(when) if when else not_named)


def plan_scope_text() -> str:
    """The line on every slide about a layer plan: what its price holds for."""
    return _("A layer plan: its price holds for this model and this text; test the smaller model on your own task.")


def permitted_use_text(pilot: Pilot | None) -> str:
    """What a relation of dimension and score may be used for in this use class."""
    if pilot is None or not pilot.is_cautious:
        return _("General use: a shortlist by dimension is allowed, and is then tested on the task itself.")
    return _("This use class: the relation is a question to test, and no reason to choose a model.")


def checks_text(runs: pl.DataFrame) -> str:
    """`Quality checks: all passed`, or how many gave a warning and which were vetoed."""
    vetoed = runs.filter(worst_check="veto")["name"].unique(maintain_order=True).to_list()
    warned = counted(runs.filter(worst_check="warn")["name"].n_unique(), "runs")
    if vetoed:
        template = _("Quality checks: {n} vetoed ({names}), whose numbers do not count")
        return template.format(
            n=counted(len(vetoed), "runs"), names=short_names_text([marked_name(name, True) for name in vetoed])
        )
    if warned:
        return _("Quality checks: none vetoed, {n} with a warning").format(n=warned)
    return _("Quality checks: all passed")


def shape_text(run: dict) -> str:
    """The verdicts on a run, and its dimension at the start, at most and at the end:
    `SmolLM2: rise inside depends, fall at the end untested; 44 → 106 → 21.7`.

    A run that a check vetoes says so instead.
    """
    values = {
        "name": shortened_name(run["name"], 30),
        "start": wording.number(run["embedding_dimension"]),
        "top": wording.number(run["inner_max"]),
        "end": wording.number(run["final_dimension_pre_norm"]),
    }
    if run["worst_check"] == "veto":
        return _("{name} {mark}: not usable, a check vetoes it").format(mark=VETO_MARK, **values)
    if run["verdict_rise"] == run["verdict_fall"] == "holds":
        return _("{name}: rises inside and falls at the end; {start} → {top} → {end}").format(**values)
    return _("{name}: rise inside {rise}, fall at the end {fall}; {start} → {top} → {end}").format(
        rise=wording.verdict_name(run["verdict_rise"]), fall=wording.verdict_name(run["verdict_fall"]), **values
    )


def time_text(n: int, runs: pl.DataFrame) -> str:
    """The time for `n` measurements like these runs, by their median: `about 12 min`."""
    seconds: Any = (runs["finished_at"] - runs["started_at"]).dt.total_seconds().median()
    if seconds is None:
        return _("time not known")
    return _("about {time}").format(time=duration(derived(n * seconds, "runs", "seconds")))


def outcome_counts_text(outcomes: Iterable[str]) -> str:
    """How often controls came out so: `exceeded: 3, could not have shown it: 2`."""
    return _(", ").join(
        _("{qualifier}: {count}").format(
            qualifier=name("control_outcome", outcome), count=derived(count, "run_controls", outcome)
        )
        for outcome, count in Counter(outcomes).most_common()
    )
