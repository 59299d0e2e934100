"""What is asked, what is known when it is asked, and whether an answer was written down before anybody could know.

What was written down before the scores existed is registered; whatever else is looked at is exploratory, and
`Registration.exploratory` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from core.analysis.ranking import MAIN, OWN_MATCHES
from core.analysis.relation import Sign
from core.errors import InputError, unknown_name
from core.pilots.pilot import Benchmark, Pilot, PilotModel
from core.pilots.registration import Registered
from core.tables import SCORE_KEYS

PUBLISHED: Sign = "negative"
"""What is published (arXiv 2503.22547): the smaller the dimension, the better the model."""


@dataclass(frozen=True)
class Dimension:
    """One number of a run that models are compared by."""

    column: str
    """Of a run's summary; its interval stands in `column`_lower and `column`_upper."""
    layer: str | int
    """Where its block values stand: a column of the run, or a layer."""
    state: str = "residual"


DIMENSIONS = {
    "inner_max": Dimension("inner_max", "inner_max_layer"),
    "working": Dimension("working_dimension", "working_layer"),
    "final": Dimension("final_dimension_pre_norm", "n_layers"),
    "final_post_norm": Dimension("final_dimension_post_norm", "n_layers", "post_norm"),
    "embedding": Dimension("embedding_dimension", 0),
}
REGISTERED_DIMENSION = "inner_max"
"""What a pilot's expectation is about: every model has it."""
BY_TYPE, BY_WORD = "one_per_type", "one_per_word"


@dataclass(frozen=True)
class Evidence:
    """What is known when a question is asked: frames of the warehouse's named reads, and the pilots."""

    runs: pl.DataFrame
    """Runs on text, newest first: `queries.ranking`."""
    scores: pl.DataFrame
    """`queries.scores` of these models at least."""
    summaries: pl.DataFrame | None = None
    """Rows of run_summaries, needed on one point per word."""
    pilots: tuple[Registered, ...] = ()
    """Newest registration first."""
    shipped: Pilot | None = None
    """The pilot that comes with Workdim, which nobody needs to register."""
    imported: Mapping[str, datetime] = field(default_factory=dict)
    """Hash of a file of scores -> when it was imported here (UTC)."""


@dataclass(frozen=True)
class Asked:
    """A question: all of it left out is the registered pair of the newest pilot, or of the one that is shipped."""

    dimension: str = REGISTERED_DIMENSION
    benchmark: str | None = None
    metric: str | None = None
    score: tuple[Any, ...] | None = None
    """The values of SCORE_KEYS, where the very score is meant and not any of its benchmark and metric."""
    family: str | None = None
    pilot: Registered | None = None
    """Whose question it is; None: the newest pilot with an expectation, else the shipped one, else nobody's."""
    cloud: str = BY_TYPE
    group: str | None = None
    """`key` of the group to look at, instead of the largest with scores."""
    is_free: bool = False
    """Whether all comparable models are looked at, and not those that a pilot names."""
    partial: bool = False
    """Whether scores of partial runs count."""
    lifted: bool = False
    """Whether runs that a check vetoes are compared. A pilot's always are: it named its models beforehand."""

    def of_score(self, row: Mapping[str, Any]) -> Asked:
        """The same question of the score of a row of `benchmarks`."""
        score = tuple(row[key] for key in SCORE_KEYS)
        return replace(self, benchmark=row["benchmark"], metric=row["metric"], score=score)

    def __post_init__(self) -> None:
        if self.dimension not in DIMENSIONS:
            raise InputError(unknown_name("dimension", self.dimension, DIMENSIONS))


# --- who expected what ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Registration:
    """Who expected what, and whether that was written down before anybody could know."""

    by: Literal["pilot", "shipped", "published"]
    sign: Sign
    pilot: Pilot | None = None
    pilot_id: str | None = None
    frozen: date | None = None
    """The day that its author states."""
    at: datetime | None = None
    """When the warehouse was told (UTC); None for what is shipped or published."""
    exploratory: tuple[str, ...] = ()
    """Why it is no test of what was registered: `not_registered`, `no_sign`, `after_scores`, `dates_not_known`,
    `other_score`, `other_dimension`, `other_models`."""

    @property
    def is_registered(self) -> bool:
        return self.by != "published" and not self.exploratory

    @property
    def registered(self) -> Registered | None:
        """The pilot, to ask another question about its models."""
        if self.pilot is None or self.pilot_id is None:
            return None
        return Registered(self.pilot_id, self.pilot, self.at or _midnight(self.frozen))

    def marked(self, *reasons: str) -> Registration:
        return replace(self, exploratory=tuple(dict.fromkeys([*self.exploratory, *reasons])))


def registration_of(evidence: Evidence, asked: Asked) -> Registration:
    shipped = evidence.shipped
    if asked.is_free or asked.group is not None:
        return _nobodys()
    if asked.pilot is not None:
        return _of_pilot(asked.pilot, shipped)
    for one in evidence.pilots:
        if one.pilot.benchmark.sign in ("negative", "positive") and members(evidence.runs, one.pilot).height:
            return _of_pilot(one, shipped)
    return _of_shipped(shipped) if shipped is not None and members(evidence.runs, shipped).height else _nobodys()


def _of_pilot(registered: Registered, shipped: Pilot | None) -> Registration:
    """The pilot that is shipped was written down with Workdim, whenever somebody tells a warehouse of it."""
    if shipped is not None and registered.pilot_id == shipped.pilot_id:
        return _of_shipped(shipped)
    pilot = registered.pilot
    frozen = pilot.benchmark.frozen
    found = Registration("pilot", _sign(pilot.benchmark), pilot, registered.pilot_id, frozen, registered.at)
    return found if pilot.benchmark.sign in ("negative", "positive") else found.marked("no_sign")


def _of_shipped(pilot: Pilot) -> Registration:
    return Registration("shipped", _sign(pilot.benchmark), pilot, pilot.pilot_id, pilot.benchmark.frozen)


def _nobodys() -> Registration:
    return Registration("published", PUBLISHED, exploratory=("not_registered",))


def _sign(benchmark: Benchmark) -> Sign:
    return "positive" if benchmark.sign == "positive" else "negative"


def dated(registration: Registration, rows: pl.DataFrame, imported: Mapping[str, datetime]) -> Registration:
    """Whether the scores came after the expectation was written down; where nobody knows, it counts as not."""
    if registration.by == "published":
        return registration
    written = registration.at or _midnight(registration.frozen)
    reasons: set[str] = set()
    used = rows.filter(pl.col("score_match").is_in(OWN_MATCHES)).select("score_as_of", "score_file_sha256").unique()
    for as_of, file in used.iter_rows():
        came = _moment(as_of) or imported.get(file)
        if came is None:
            reasons.add("dates_not_known")
        elif came <= written if as_of and len(as_of) > 10 else came.date() < written.date():
            reasons.add("after_scores")
    return registration.marked(*sorted(reasons))


def _midnight(day: date | None) -> datetime:
    return datetime.combine(day or date.max, datetime.min.time())


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment and moment.tzinfo else moment


# --- the models of a pilot --------------------------------------------------------------------------------------


def members(runs: pl.DataFrame, pilot: Pilot) -> pl.DataFrame:
    """The runs of the models, texts, protocol and seed that a pilot names."""
    texts = {name for text in pilot.texts for name in (text.written, Path(text.written).stem)}
    asked = runs.filter(
        _without_mark("corpus_name").is_in(sorted(texts)),
        pl.col("protocol") == pilot.protocol,
        pl.col("seed") == pilot.seed,
    )
    by_reference: dict[str, list[PilotModel]] = {}
    for model in pilot.models:
        by_reference.setdefault(model.reference, []).append(model)
    columns = ("reference", "dtype", "requested_revision", "revision", "stack")
    is_of = [
        any(is_run_of(run, model) for model in by_reference.get(run["reference"], ()))
        for run in asked.select(columns).to_dicts()
    ]
    return asked.filter(pl.Series(is_of, dtype=pl.Boolean))


def _without_mark(column: str) -> pl.Expr:
    """A text's name without what tells it from others of its name (`labels.with_text_marks`)."""
    return pl.col(column).str.replace(r" #[0-9a-f]{6}$", "")


def is_run_of(run: Mapping[str, Any], model: PilotModel) -> bool:
    """Whether a run is of the model as a pilot names it: reference, number format, revision and stack."""
    same = (run["reference"], run["dtype"]) == (model.reference, model.dtype)
    asked = run["requested_revision"]
    revised = asked is None if model.revision is None else model.revision in (asked, run["revision"])
    return same and revised and (model.stack is None or (run["stack"] or MAIN) == model.stack)


def missing_models(pilot: Pilot, runs: pl.DataFrame) -> list[PilotModel]:
    """Models of the pilot that none of these runs has measured."""
    rows = runs.to_dicts()
    return [model for model in pilot.models if not any(is_run_of(row, model) for row in rows)]
