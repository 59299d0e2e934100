"""Is a dimension related to a score, and which model? One record, which the ranking page, the verb `rank` and a pilot's deck say.

First it is settled who is compared, by which score and who wrote down what was expected (`population`); nothing of a
number decides that but how many models have a score. Then the relation is told (`answer`). What was written down before
the scores existed is registered; whatever else is looked at is exploratory, and `Registration.exploratory` says why.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from core.analysis.ranking import (
    GROUP_KEYS,
    MAIN,
    WORD_KEYS,
    RankingGroup,
    across_tokenizers,
    benchmarks,
    groups,
    newest,
    on_benchmark,
    partial_scores,
    vetoed,
    with_scores,
    with_stack,
    without_other_pilots,
)
from core.analysis.ranks import rank_intervals
from core.analysis.relation import MARGIN, Relation, Specifications, relate_recipes, under_specifications
from core.errors import InputError, unknown_name
from core.pilots.pilot import Benchmark, Pilot, PilotModel
from core.pilots.registration import Registered
from core.registry.specifications import REFERENCE, SPECIFICATIONS, Specification
from core.tables import SCORE_KEYS

Sign = Literal["negative", "positive"]
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
OWN_MATCHES = ("own", "exact", "revision_not_stated", "mapped")
"""Scores of the model itself. A score of its base model is drawn, and tests nothing: other weights earned it."""
SHARED = 0.5
"""A pilot that names this share of a population's models looks at the same population."""


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


@dataclass(frozen=True)
class OtherGroup:
    """Models that cannot be compared with those shown, and what they would have to share with them."""

    group: RankingGroup
    n_models: int
    n_scored: int
    differs: tuple[str, ...]
    """`kind`, `stack`, `tokenizer_hash`, `corpus_id`, `protocol_hash`, `n_points`."""

    @property
    def can_be_measured(self) -> bool:
        """Whether a measurement would make them comparable: on the same text by the same protocol."""
        return set(self.differs) <= {"corpus_id", "protocol_hash", "n_points"} and self.differs != ("n_points",)

    @property
    def can_meet_on_words(self) -> bool:
        """Whether only the tokenizer, or the number of its types, stands between them."""
        return "tokenizer_hash" in self.differs and not {"kind", "stack"} & set(self.differs)


@dataclass(frozen=True)
class Population:
    """Who is compared by what: settled before any coefficient is looked at."""

    asked: Asked
    registration: Registration
    group: RankingGroup | None
    """The largest comparable group that has scores; its rows are the newest run of each model."""
    rows: pl.DataFrame
    """Its rows with the columns of `with_scores` for the benchmark asked about."""
    offered: pl.DataFrame
    """`ranking.benchmarks` of the group."""
    benchmark: dict[str, Any] | None
    """The row of `offered`; None where nothing has a score of what was asked."""
    others: tuple[OtherGroup, ...]
    vetoed: pl.DataFrame
    """Runs that would stand in the group, had no check vetoed them."""
    missing: tuple[str, ...] = ()
    """Models of the pilot without a run here, by label."""
    n_pilots: int = 0
    """Pilots that look at these models, the one asked about included."""
    n_partial: int = 0
    """Scores of partial runs that these models have."""

    @property
    def dimension(self) -> Dimension:
        return DIMENSIONS[self.asked.dimension]

    @property
    def pilot(self) -> Pilot | None:
        return self.registration.pilot

    def narrowed(self, run_ids: Collection[str]) -> Population:
        """The same question of fewer models, which nobody registered."""
        kept = self.rows.filter(pl.col("run_id").is_in(list(run_ids)))
        if kept.height == self.rows.height:
            return self
        return replace(self, rows=kept, registration=self.registration.marked("other_models"))

    def read_by(self, maxima: pl.DataFrame, one: Specification) -> Population:
        """The same question of the dimension under another specification: plain maxima over the inner layers."""
        own = of_specification(maxima, one).select(
            "run_id", inner_max="value", inner_max_lower="lower", inner_max_upper="upper", inner_max_layer="layer"
        )
        bare = self.rows.drop("inner_max", "inner_max_lower", "inner_max_upper", "inner_max_layer")
        rows = bare.join(own, on="run_id", how="left", maintain_order="left").select(self.rows.columns)
        return replace(self, rows=rows, registration=self.registration.marked("other_dimension"))

    def blocks_wanted(self) -> pl.DataFrame:
        """run_id, layer, state, cloud: which rows of layer_replicates (d2) hold the block values of the dimension."""
        layer = self.dimension.layer
        at = pl.lit(layer, pl.Int64) if isinstance(layer, int) else pl.col(layer).cast(pl.Int64)
        wanted = self.rows.select(
            "run_id", layer=at, state=pl.lit(self.dimension.state), cloud=pl.lit(self.asked.cloud)
        )
        return wanted.drop_nulls()


@dataclass(frozen=True)
class RankedModel:
    """One model with its numbers and its place; None is: not known."""

    run_id: str
    model: str
    name: str
    dimension: float | None
    lower: float | None
    upper: float | None
    score: float | None
    score_std_error: float | None
    match: str
    """Whose score it is, as in `ranking.with_scores`."""
    rank_low: int | None
    rank_high: int | None
    """The model is surely among these places by dimension, 1 = largest; simultaneous 95 percent intervals."""
    score_rank_low: int | None
    score_rank_high: int | None
    """Likewise by score, 1 = best."""
    is_vetoed: bool


@dataclass(frozen=True)
class Answer:
    """What is said on the page, in the terminal and on the second slide."""

    population: Population
    relation: Relation
    word: str
    """One of `relation.ANSWERS`."""
    reasons: tuple[str, ...]
    """Why nobody can tell, as in `Relation.reasons`, and: `no_runs`, `no_direction`, `sources`, `base_scores`."""
    models: tuple[RankedModel, ...]
    """By dimension, largest first; those without one last."""
    n_base: int = 0
    """Models left out of the test because only their base model has a score."""
    n_contradicting: int = 0
    """Models whose sources tell different scores."""

    @property
    def registration(self) -> Registration:
        return self.population.registration

    @property
    def group(self) -> RankingGroup | None:
        return self.population.group


# --- who is compared -------------------------------------------------------------------------------------------


def population(evidence: Evidence, asked: Asked | None = None) -> Population:
    """The models that the question is about, the score that it asks for, and what was expected.

    Raises InputError for a benchmark, family or group that is not there.
    """
    asked = asked or Asked()
    registration = _registration(evidence, asked)
    pilot = registration.pilot
    if asked.benchmark is not None and pilot is not None and asked.pilot is None and not _asks_for(pilot, asked):
        free = population(evidence, replace(asked, is_free=True))
        if _share(free, pilot) < SHARED:  # the score was named, and not a pilot
            return free
    runs = newest(evidence.runs.filter(pl.col("pass") == "text"))
    if asked.family is not None:
        known = runs["family"].unique().sort().to_list()
        if asked.family not in known:
            raise InputError(unknown_name("family", asked.family, known))
    among = runs if pilot is None else members(runs, pilot)
    if asked.family is not None and (narrowed := among.filter(family=asked.family)).height < among.height:
        among, registration = narrowed, registration.marked("other_models")
    scores = without_other_pilots(evidence.scores, pilot or (asked.pilot.pilot if asked.pilot else None))
    lifted = asked.lifted or pilot is not None
    found = _grouped(among, evidence.summaries, asked.cloud, lifted)
    scored = with_scores(among, scores, partial=asked.partial)
    counts = _counts(found, scored)
    benchmark, registration = _benchmark(counts, asked, registration)
    group = _chosen(found, counts, benchmark, asked, pilot)
    if asked.dimension != REGISTERED_DIMENSION or asked.cloud != BY_TYPE:
        registration = registration.marked("other_dimension")
    if group is None:
        none = with_scores(among.clear(), scores)
        return Population(
            asked, registration, None, none, counts.clear(), None, (), vetoed(among), missing=_missing(pilot, among)
        )
    rows = _with_own(_with_benchmark(group.rows, scored, benchmark), scored, pilot)
    registration = _dated(registration, rows, evidence.imported)
    if pilot is not None:
        found = _grouped(runs, evidence.summaries, asked.cloud, lifted=False)
        counts = _counts(found, with_scores(runs, scores, partial=asked.partial))
    return Population(
        asked,
        registration,
        group,
        rows,
        _offered(counts, found, group),
        benchmark,
        _others(group, found, counts, benchmark),
        vetoed(among).clear() if lifted else _of_the_group(group, vetoed(among)),
        _missing(pilot, among),
        _n_pilots(evidence, group),
        _n_partial(scores, group),
    )


def _n_partial(scores: pl.DataFrame, group: RankingGroup) -> int:
    names = {name for column in ("repository", "reference") for name in group.rows[column].drop_nulls()}
    return partial_scores(scores).filter(pl.col("repository").is_in(list(names))).height


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


def _registration(evidence: Evidence, asked: Asked) -> Registration:
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


def _share(free: Population, pilot: Pilot) -> float:
    """Which share of the models that have the score is the pilot's."""
    scored = free.rows.filter(pl.col("score_match").is_in(OWN_MATCHES))
    return members(scored, pilot).height / scored.height if scored.height else 0.0


def _asks_for(pilot: Pilot, asked: Asked) -> bool:
    return asked.benchmark == pilot.benchmark.name and asked.metric in (None, pilot.benchmark.metric)


def _grouped(runs: pl.DataFrame, summaries: pl.DataFrame | None, cloud: str, lifted: bool) -> list[RankingGroup]:
    if cloud == BY_TYPE:
        return groups(runs, lifted=lifted)
    if summaries is None:
        raise InputError("A comparison on words needs the summaries of the runs.")
    return across_tokenizers(runs.with_columns(inner_max_by_type="inner_max"), summaries, lifted=lifted)


def key_of(group: RankingGroup) -> str:
    """A short name of the group for an address: what its runs share."""
    parts = (group.kind, group.stack, group.tokenizer_hash or group.words_hash, group.corpus_id, group.protocol_hash)
    return "~".join([*parts, str(group.n_points[1])])


def _counts(found: Sequence[RankingGroup], scored: pl.DataFrame) -> pl.DataFrame:
    """Rows of `benchmarks` for each group, with `group`, its number: `n_models` have a score of their own there, `n_any`
    one of their own or of their base model."""
    numbered = [group.rows.select("run_id", group=pl.lit(n, pl.Int64)) for n, group in enumerate(found)]
    of_runs = pl.concat(numbered) if numbered else pl.DataFrame(schema={"run_id": pl.String, "group": pl.Int64})
    joined = scored.join(of_runs, on="run_id")
    keys = [*SCORE_KEYS, "group"]
    own = benchmarks(joined.filter(pl.col("score_match").is_in(OWN_MATCHES)), "group").select(*keys, "n_models")
    every = benchmarks(joined, "group").rename({"n_models": "n_any"})
    counted = every.join(own, on=keys, how="left", nulls_equal=True, maintain_order="left")
    order = ["is_own", "n_models", "n_any", "has_direction"]
    return counted.with_columns(pl.col("n_models").fill_null(0)).sort(order, descending=True, maintain_order=True)


def _n_scored(number: int, counts: pl.DataFrame, benchmark: Mapping[str, Any] | None) -> int:
    if benchmark is None:
        return 0
    return int(on_benchmark(counts, dict(benchmark)).filter(group=number)["n_models"].sum())


def _chosen(
    found: Sequence[RankingGroup],
    counts: pl.DataFrame,
    benchmark: Mapping[str, Any] | None,
    asked: Asked,
    pilot: Pilot | None,
) -> RankingGroup | None:
    """The group with most models that have the score; then the largest; then that of the text which a pilot names first."""
    if asked.group is not None:
        chosen = next((group for group in found if key_of(group) == asked.group), None)
        if chosen is not None:
            return chosen
    texts = [text.written for text in pilot.texts] if pilot else []

    def size(numbered: tuple[int, RankingGroup]) -> tuple[int, int, int]:
        number, group = numbered
        name = group.rows["corpus_name"][0]
        return _n_scored(number, counts, benchmark), group.rows.height, -texts.index(name) if name in texts else -99

    return max(enumerate(found), key=size, default=(0, None))[1]


def _benchmark(
    counts: pl.DataFrame, asked: Asked, registration: Registration
) -> tuple[dict[str, Any] | None, Registration]:
    """The score that the question is about: the one named, else the registered one, else the user's own, else what most
    models of one group have."""
    pilot = registration.pilot
    if asked.benchmark is None:
        if pilot is None:
            return _first(counts), registration
        met = [pilot.benchmark.is_met_by(row) for row in counts.iter_rows(named=True)]
        return _first(counts.filter(pl.Series(met, dtype=pl.Boolean))), registration
    is_registered = pilot is not None and _asks_for(pilot, asked)
    named = counts.filter(benchmark=asked.benchmark)
    known = counts["benchmark"].unique().sort().to_list()
    if named.is_empty() and not is_registered:
        if not known:
            raise InputError(
                "No model that can be compared has a score of '{benchmark}', or any other score.",
                benchmark=asked.benchmark,
            )
        raise InputError(unknown_name("benchmark", asked.benchmark, known))
    if asked.metric is not None and not named.is_empty():
        metrics = named["metric"].unique().sort().to_list()
        named = named.filter(metric=asked.metric)
        if named.is_empty():
            raise InputError(unknown_name("metric", asked.metric, metrics))
    if asked.score is not None:
        named = on_benchmark(named, dict(zip(SCORE_KEYS, asked.score, strict=True)))
    if is_registered and pilot is not None:
        met = [pilot.benchmark.is_met_by(row) for row in named.iter_rows(named=True)]
        return _first(named.filter(pl.Series(met, dtype=pl.Boolean))), registration
    return _first(named), registration if pilot is None else registration.marked("other_score")


def _first(counts: pl.DataFrame) -> dict[str, Any] | None:
    """`counts` stand in the order in which they are offered."""
    return counts.row(0, named=True) if counts.height else None


def _offered(counts: pl.DataFrame, found: Sequence[RankingGroup], group: RankingGroup) -> pl.DataFrame:
    """The scores that models of the group, or of the larger one that it is part of, have."""
    first = group.rows["run_id"][0]
    number = next((n for n, one in enumerate(found) if first in one.rows["run_id"]), -1)
    return counts.filter(group=number)


def _of_the_group(group: RankingGroup, runs: pl.DataFrame) -> pl.DataFrame:
    keys = WORD_KEYS if group.words_hash else GROUP_KEYS
    return with_stack(runs).filter(pl.all_horizontal(pl.col(key) == getattr(group, key) for key in keys))


def _with_benchmark(rows: pl.DataFrame, scored: pl.DataFrame, benchmark: Mapping[str, Any] | None) -> pl.DataFrame:
    """Each row with its score; one axis has one unit, so that scores in another one are none here."""
    added = [column for column in scored.columns if column not in rows.columns]
    if benchmark is None:
        return rows.with_columns(pl.lit(None, scored.schema[c]).alias(c) for c in added).with_columns(
            score_match=pl.lit("none")
        )
    found = on_benchmark(scored, dict(benchmark)).select("run_id", *added)
    found = found.filter(pl.col("unit") == pl.col("unit").mode().sort().first())
    joined = rows.join(found, on="run_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("score_match").fill_null("none"))


def _with_own(rows: pl.DataFrame, scored: pl.DataFrame, pilot: Pilot | None) -> pl.DataFrame:
    """With `own_score` and its error, as the user stated them; unchanged where the pilot has no task of its own."""
    if pilot is None or pilot.task is None:
        return rows
    own = scored.filter(score_match="own", benchmark=pilot.task.name, score_source=pilot.source)
    own = own.select("run_id", own_score="score", own_score_std_error="score_std_error").unique("run_id")
    return rows.join(own, on="run_id", how="left", maintain_order="left")


def _dated(registration: Registration, rows: pl.DataFrame, imported: Mapping[str, datetime]) -> Registration:
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


def _missing(pilot: Pilot | None, runs: pl.DataFrame) -> tuple[str, ...]:
    return tuple(model.label for model in missing_models(pilot, runs)) if pilot else ()


def missing_models(pilot: Pilot, runs: pl.DataFrame) -> list[PilotModel]:
    """Models of the pilot that none of these runs has measured."""
    rows = runs.to_dicts()
    return [model for model in pilot.models if not any(is_run_of(row, model) for row in rows)]


def _n_pilots(evidence: Evidence, group: RankingGroup) -> int:
    """Pilots whose models are these, by half at least: each more is one more chance to find something."""
    references = set(group.rows["reference"])
    pilots = {one.pilot_id: one.pilot for one in evidence.pilots}
    if evidence.shipped is not None:
        pilots.setdefault(evidence.shipped.pilot_id, evidence.shipped)
    named = [{model.reference for model in pilot.models} for pilot in pilots.values()]
    return sum(len(names & references) >= SHARED * len(references) for names in named)


def _others(
    group: RankingGroup, found: Sequence[RankingGroup], counts: pl.DataFrame, benchmark: Mapping[str, Any] | None
) -> tuple[OtherGroup, ...]:
    """The groups beside the one that is shown, those with most scores first."""
    shown = set(group.rows["run_id"])
    told = [
        OtherGroup(
            other, other.rows["model_id"].n_unique(), _n_scored(number, counts, benchmark), _differs(group, other)
        )
        for number, other in enumerate(found)
        if shown.isdisjoint(other.rows["run_id"])  # else it is this group, with models that a pilot did not name
    ]
    return tuple(sorted(told, key=lambda one: (-one.n_scored, -one.n_models)))


def _differs(group: RankingGroup, other: RankingGroup) -> tuple[str, ...]:
    keys = ("kind", "stack", "words_hash" if group.words_hash else "tokenizer_hash", "corpus_id", "protocol_hash")
    differing = [key for key in keys if getattr(group, key) != getattr(other, key)]
    return tuple(differing) or (("n_points",) if group.n_points != other.n_points else ())


# --- what is said ----------------------------------------------------------------------------------------------


def answer(found: Population, blocks: pl.DataFrame | None = None, seed: int = 0) -> Answer:
    """The relation over the models of a population, and the place of each.

    `blocks`: run_id and blocks (a list: d2 without block 0, 1, ...) of `blocks_wanted`; without them ranks rest on standard
    errors alone.
    """
    units = units_of(found)
    if found.benchmark is not None and _direction(found) is None:
        relation = _undirected(found)
    else:
        relation = relate_recipes(units, found.registration.sign, seed=seed)
    word, reasons = relation.answer, list(relation.reasons)
    n_base = found.rows.filter(score_match="base").height
    if found.group is None:
        reasons = ["no_runs"]
    elif "no_scores" in reasons and n_base:
        reasons = ["base_scores"]
    contradicting = _contradicting(found)
    if contradicting and word != "cannot_tell" and _moves(found, relation, seed):
        word, reasons = "cannot_tell", ["sources"]
    return Answer(found, relation, word, tuple(reasons), ranked(found, blocks), n_base, contradicting)


def _undirected(found: Population) -> Relation:
    """Nobody says which score is the better one: models are counted, and nothing is told."""
    has_score = pl.col("score_match").is_in(OWN_MATCHES)
    n = found.rows.filter(has_score, pl.col(found.dimension.column).is_not_null()).height
    without = found.rows.filter(~has_score)["run_id"]
    return Relation(
        "cannot_tell",
        found.registration.sign,
        MARGIN,
        n,
        "picture",
        reasons=("no_direction",),
        without_performance=tuple(without),
    )


def units_of(found: Population) -> pl.DataFrame:
    """What `relate_recipes` counts: a row for each model, its score turned so that higher is better."""
    column = found.dimension.column
    direction = _direction(found)
    turn = {True: 1.0, False: -1.0}.get(direction) if direction is not None else None
    is_own = pl.col("score_match").is_in(OWN_MATCHES)
    performance = pl.when(is_own).then(turn * pl.col("score")) if turn else pl.lit(None, pl.Float64)
    return found.rows.select(
        unit="run_id",
        dimension=pl.col(column).cast(pl.Float64),
        dimension_error=_log_error(column),
        performance=performance.cast(pl.Float64),
        performance_error=pl.when(is_own).then("score_std_error"),
        family="family",
        log_parameters=pl.when(pl.col("parameters") > 0).then(pl.col("parameters").log()),
        recipe=_recipes(found),
    )


T_95 = 2.1314
"""Student's t of 95 percent intervals with 15 degrees of freedom: their half width in standard errors."""


def _log_error(column: str) -> pl.Expr:
    """Standard error of the logarithm, from the ends of the 95 percent interval."""
    return (pl.col(f"{column}_upper") / pl.col(f"{column}_lower")).log() / (2 * T_95)


def _direction(found: Population) -> bool | None:
    """Whether a higher score is the better one: as registered, else as the scores say; None where nobody says."""
    pilot = found.pilot
    if pilot is not None and found.benchmark is not None and pilot.benchmark.is_met_by(found.benchmark):
        return pilot.benchmark.higher_is_better
    said = set(found.rows.filter(pl.col("score_match") != "none")["higher_is_better"])
    return said.pop() if len(said) == 1 else None


def _recipes(found: Population) -> pl.Series:
    """Of each row the first model of the recipe that a pilot counts it to; None where it counts alone."""
    pilot = found.pilot
    told: list[str | None] = [None] * found.rows.height
    if pilot is not None and pilot.replicates:
        rows = found.rows.to_dicts()
        by_written = {model.written: model for model in pilot.models}
        for recipe in pilot.replicates:
            for at, row in enumerate(rows):
                if any(is_run_of(row, by_written[written]) for written in recipe):
                    told[at] = f"recipe {recipe[0]}"
    return pl.Series(told, dtype=pl.String)


def _contradicting(found: Population) -> int:
    return found.rows.filter(pl.col("score_lowest") != pl.col("score_highest")).height


def _moves(found: Population, relation: Relation, seed: int) -> bool:
    """Whether the answer is another one by the lowest, or the highest, that the sources say."""
    for end in ("score_lowest", "score_highest"):
        at_end = replace(found, rows=found.rows.with_columns(score=pl.coalesce(end, "score")))
        if relate_recipes(units_of(at_end), relation.sign, seed=seed).answer != relation.answer:  # type: ignore[arg-type]
            return True
    return False


def ranked(found: Population, blocks: pl.DataFrame | None = None) -> tuple[RankedModel, ...]:
    """Every model with the interval of its rank among all of these, by dimension and by score; largest dimension first."""
    column = found.dimension.column
    of_run = dict(blocks.select("run_id", "blocks").iter_rows()) if blocks is not None else {}
    rows = found.rows.with_columns(
        value=pl.col(column).cast(pl.Float64).log(),
        error=_log_error(column),
        blocks=pl.Series([_logs(of_run.get(run_id)) for run_id in found.rows["run_id"]], dtype=pl.List(pl.Float64)),
    )
    by_dimension = _places(rows.select("value", "error", "blocks", unit="run_id"))
    is_own = pl.col("score_match").is_in(OWN_MATCHES)
    scores = rows.filter(is_own).select(value="score", error="score_std_error", unit="run_id")
    by_score = _places(scores, largest_first=_direction(found) is not False)
    models = []
    for row in rows.iter_rows(named=True):
        low, high = by_dimension.get(row["run_id"], (None, None))
        score_low, score_high = by_score.get(row["run_id"], (None, None))
        models.append(
            RankedModel(
                run_id=row["run_id"],
                model=row["model_id"],
                name=row["name"],
                dimension=row[column],
                lower=row[f"{column}_lower"],
                upper=row[f"{column}_upper"],
                score=row["score"],
                score_std_error=row["score_std_error"],
                match=row["score_match"],
                rank_low=low,
                rank_high=high,
                score_rank_low=score_low,
                score_rank_high=score_high,
                is_vetoed=row["worst_check"] == "veto",
            )
        )
    return tuple(sorted(models, key=lambda one: (one.dimension is None, -(one.dimension or 0), one.name)))


def _logs(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None or any(not v or v <= 0 for v in values) else [math.log(v) for v in values]


def _places(units: pl.DataFrame, *, largest_first: bool = True) -> dict[str, tuple[int, int]]:
    found = rank_intervals(units, largest_first=largest_first).units
    return {unit: (low, high) for unit, low, high in found.select("unit", "rank_low", "rank_high").iter_rows()}


def under(found: Population, maxima: pl.DataFrame, seed: int = 0) -> Specifications | None:
    """The relation under every specification of the grid: each model's largest value over the inner layers.

    `maxima`: rows of `queries.inner_maxima`. Values are plain maxima, in the
    reference too, so that only the specification differs. None without a group.
    """
    if found.group is None:
        return None
    units = units_of(found).drop("dimension", "dimension_error")
    frames = {}
    for one in SPECIFICATIONS:
        own = of_specification(maxima, one)
        joined = units.join(own.select(unit="run_id", dimension="value"), on="unit", how="left", maintain_order="left")
        if joined["dimension"].count():
            frames[specification_key(one)] = joined
    primary = specification_key(REFERENCE)
    return under_specifications(frames, primary, found.registration.sign, seed=seed) if primary in frames else None


def of_specification(maxima: pl.DataFrame, one: Specification) -> pl.DataFrame:
    own = maxima.filter(cloud=one.cloud, transform=one.transform, estimator=one.estimator)
    return own.filter(pl.col("n1").eq_missing(pl.lit(one.n1, pl.Int64)))


def specification_key(one: Specification) -> str:
    return " ".join(str(part) for part in (one.estimator, one.cloud, one.transform, one.n1) if part is not None)
