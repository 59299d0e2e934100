"""A question about dimension and score, the data it is asked of, and whether the expectation was registered beforehand.

An expectation written down before the scores existed is registered. Everything else is exploratory, and
`Registration.exploratory` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from core.analysis.ranking import OWN_MATCHES
from core.analysis.relation import Sign
from core.errors import InputError, unknown_name
from core.pilots.pilot import Pilot, PilotModel, RegisteredPilot
from core.tables import SCORE_KEYS, Run, records

SIGNS = ("negative", "positive")


@dataclass(frozen=True)
class Dimension:
    """A number of a run that models are compared by."""

    column: str
    """Column of the run's summary; its interval is in `column`_lower and `column`_upper."""
    layer: str | int
    """The layer of its block values: a column of the run, or a fixed layer."""
    state: str = "residual"


DIMENSIONS = {
    "inner_max": Dimension("inner_max", "inner_max_layer"),
    "working": Dimension("working_dimension", "working_layer"),
    "final": Dimension("final_dimension_pre_norm", "n_layers"),
    "final_post_norm": Dimension("final_dimension_post_norm", "n_layers", "post_norm"),
    "embedding": Dimension("embedding_dimension", 0),
}
REGISTERED_DIMENSION = "inner_max"
"""The dimension that a pilot's expectation is about: every model has it."""
BY_TYPE, BY_WORD = "one_per_type", "one_per_word"


@dataclass(frozen=True)
class Evidence:
    """The data behind an answer: frames of the warehouse's named reads, and the pilots."""

    runs: pl.DataFrame
    """Runs on text, newest first: `queries.ranking`."""
    scores: pl.DataFrame
    """`queries.scores` of these models at least."""
    summaries: pl.DataFrame | None = None
    """Rows of run_summaries; needed for comparisons on one point per word."""
    pilots: tuple[RegisteredPilot, ...] = ()
    """Newest registration first."""
    shipped_pilot: Pilot | None = None
    """The pilot that ships with Workdim; it needs no registration."""
    import_times: Mapping[str, datetime] = field(default_factory=dict)
    """Hash of a score file -> when it was imported here (UTC)."""


@dataclass(frozen=True)
class RankingQuestion:
    """Which dimension and which score to relate. The default is the registered pair of the newest or the shipped pilot."""

    dimension: str = REGISTERED_DIMENSION
    benchmark: str | None = None
    metric: str | None = None
    score: tuple[Any, ...] | None = None
    """Values of SCORE_KEYS to select one exact score; None: any score of the benchmark and metric."""
    family: str | None = None
    pilot: RegisteredPilot | None = None
    """The pilot whose models and expectation apply; None: the newest with an expectation, else the shipped one, else none."""
    cloud: str = BY_TYPE
    group: str | None = None
    """`population.group_key` of the group to use instead of the largest one with scores."""
    ignores_pilots: bool = False
    """Use all comparable models, not only those that a pilot names."""
    only_own: bool = False
    """Use only models that were measured or imported here; shipped ones are none."""
    include_partial: bool = False
    """Include scores over part of a benchmark's questions."""
    include_vetoed: bool = False
    """Include runs that a check vetoes. A pilot's runs always are: it named its models beforehand."""

    def with_score(self, row: Mapping[str, Any]) -> RankingQuestion:
        """The same question about the score in a row of `ranking.list_benchmarks`."""
        score = tuple(row[key] for key in SCORE_KEYS)
        return replace(self, benchmark=row["benchmark"], metric=row["metric"], score=score)

    def __post_init__(self) -> None:
        if self.dimension not in DIMENSIONS:
            raise InputError(unknown_name("dimension", self.dimension, DIMENSIONS))


# --- registration of the expectation ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Registration:
    """The expected sign, where it comes from, and whether it was written down before the scores were known."""

    by: Literal["pilot", "shipped", "published"]
    sign: Sign
    pilot: Pilot | None = None
    at: datetime | None = None
    """When it was registered in the warehouse (UTC); None for shipped and published expectations."""
    exploratory: tuple[str, ...] = ()
    """Why the test is exploratory: `not_registered`, `no_sign`, `after_scores`, `dates_not_known`, `other_score`,
    `other_dimension`, `other_models`."""

    @property
    def is_registered(self) -> bool:
        return self.by != "published" and not self.exploratory

    @property
    def pilot_id(self) -> str | None:
        return self.pilot.pilot_id if self.pilot else None

    @property
    def stated_date(self) -> date | None:
        """The day that the pilot's author states. It decides nothing, unless the pilot came with Workdim on that day."""
        return self.pilot.benchmark.frozen if self.pilot else None

    @property
    def day(self) -> date | None:
        """The day of registration in Workdim; of the shipped pilot, the day that it came with Workdim."""
        return self.at.date() if self.at is not None else self.stated_date

    @property
    def stated(self) -> Registration | None:
        """The registration where a pilot states the expectation; None where it is the published one."""
        return None if self.pilot is None else self

    @property
    def registered_pilot(self) -> RegisteredPilot | None:
        """The pilot, for asking another question about its models."""
        if self.pilot is None:
            return None
        return RegisteredPilot(self.pilot.pilot_id, self.pilot, self.at or _midnight(self.stated_date))

    def mark_exploratory(self, *reasons: str) -> Registration:
        """With more reasons why it is exploratory; what nobody registered cannot be unlike it."""
        if self.by == "published":
            return self
        return replace(self, exploratory=tuple(dict.fromkeys([*self.exploratory, *reasons])))


PUBLISHED = Registration("published", "negative", exploratory=("not_registered",))
"""The published expectation (arXiv 2503.22547): the smaller the dimension, the better the model."""


def find_registration(evidence: Evidence, question: RankingQuestion) -> Registration:
    """The expectation of the pilot that was asked for, else of the newest that has one and models here, else the published."""
    shipped = evidence.shipped_pilot
    if question.ignores_pilots or question.group is not None:
        return PUBLISHED
    if question.pilot is not None:
        return pilot_registration(question.pilot, shipped)
    for registered in evidence.pilots:
        if registered.pilot.benchmark.sign in SIGNS and runs_of_pilot(evidence.runs, registered.pilot).height:
            return pilot_registration(registered, shipped)
    if shipped is not None and runs_of_pilot(evidence.runs, shipped).height:
        return _registration(shipped)
    return PUBLISHED


def pilot_registration(registered: RegisteredPilot, shipped: Pilot | None) -> Registration:
    """The shipped pilot counts as registered with Workdim itself, whenever it is added to a warehouse."""
    if shipped is not None and registered.pilot_id == shipped.pilot_id:
        return _registration(shipped)
    return _registration(registered.pilot, registered.at)


def _registration(pilot: Pilot, at: datetime | None = None) -> Registration:
    exploratory = () if pilot.benchmark.sign in SIGNS else ("no_sign",)
    sign: Sign = "positive" if pilot.benchmark.sign == "positive" else "negative"
    return Registration("pilot" if at else "shipped", sign, pilot, at, exploratory)


def check_dates(registration: Registration, rows: pl.DataFrame, import_times: Mapping[str, datetime]) -> Registration:
    """Mark a registration exploratory unless all its scores are known to be younger than the expectation."""
    if registration.by == "published":
        return registration
    registered_at = registration.at or _midnight(registration.stated_date)
    reasons: set[str] = set()
    used = rows.filter(pl.col("score_match").is_in(OWN_MATCHES)).select("score_as_of", "score_file_sha256").unique()
    for as_of, file in used.iter_rows():
        score_time = _parse_time(as_of) or import_times.get(file)
        if score_time is None:
            reasons.add("dates_not_known")
        elif score_time <= registered_at if as_of and len(as_of) > 10 else score_time.date() < registered_at.date():
            reasons.add("after_scores")
    return registration.mark_exploratory(*sorted(reasons))


def _midnight(day: date | None) -> datetime:
    return datetime.combine(day or date.max, datetime.min.time())


def _parse_time(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment and moment.tzinfo else moment


# --- the models of a pilot --------------------------------------------------------------------------------------


def runs_of_pilot(runs: pl.DataFrame, pilot: Pilot) -> pl.DataFrame:
    """The runs of a pilot's models, on its texts, with its protocol and seed."""
    texts = {name for text in pilot.texts for name in (text.written, Path(text.written).stem)}
    matching = runs.filter(
        pl.col("corpus_name").str.replace(r" #[0-9a-f]{6}$", "").is_in(sorted(texts)),  # of `ranking.with_text_marks`
        pl.col("protocol") == pilot.protocol,
        pl.col("seed") == pilot.seed,
    )
    by_reference: dict[str, list[PilotModel]] = {}
    for model in pilot.models:
        by_reference.setdefault(model.reference, []).append(model)
    columns = ("reference", "dtype", "requested_revision", "revision", "stack")
    is_of = [
        any(is_run_of(run, model) for model in by_reference.get(run.reference, ()))
        for run in records(matching.select(columns), Run)
    ]
    return matching.filter(pl.Series(is_of, dtype=pl.Boolean))


def is_run_of(run: Run, model: PilotModel) -> bool:
    """Whether a run measured the pilot's model: same reference, number format, revision and stack."""
    same = (run.reference, run.dtype) == (model.reference, model.dtype)
    requested = run.requested_revision
    is_revision = requested is None if model.revision is None else model.revision in (requested, run.revision)
    return same and is_revision and (model.stack is None or run.stack == model.stack)


def missing_models(pilot: Pilot, runs: pl.DataFrame) -> list[PilotModel]:
    """Models of the pilot without any of these runs."""
    rows = records(runs, Run)
    return [model for model in pilot.models if not any(is_run_of(row, model) for row in rows)]
