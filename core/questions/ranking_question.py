"""A question about dimension and score: whether the expectation was registered beforehand, and of which models it is asked.

An expectation written down before the scores existed is registered. Everything else is exploratory, and
`Registration.exploratory` says why. Models and score are chosen before any coefficient is computed: values play no part in
the choice, only the number of models with a score does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from core.analysis.ranking import (
    OWN_MATCHES,
    RankingGroup,
    across_tokenizers,
    filter_benchmark,
    groups,
    list_benchmarks,
    newest_runs,
    own_runs,
    vetoed,
    with_scores,
    without_other_pilots,
    without_variants,
)
from core.analysis.relation import Sign
from core.analysis.units import FEWEST_TEST
from core.errors import InputError, unknown_name
from core.pilots.pilot import Pilot, PilotModel, RegisteredPilot
from core.registry.protocols import SPECIFICATIONS, Specification
from core.tables import SCORE_KEYS, Run, ids_of, records

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
    """`group_key` of the group to use instead of the largest one with scores."""
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
        stated, imported = _parse_time(as_of), import_times.get(file)
        if stated is None and imported is None:
            reasons.add("dates_not_known")
        if imported is not None and imported <= registered_at:  # it was here, whatever day is stated
            reasons.add("after_scores")
        elif stated is not None:
            is_moment = len(as_of) > 10
            if stated <= registered_at if is_moment else stated.date() < registered_at.date():
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
    named = matching.filter(pl.col("reference").is_in([model.reference for model in pilot.models]))
    columns = ("reference", "dtype", "requested_revision", "revision", "stack")
    is_of = [any(is_run_of(run, one) for one in pilot.models) for run in records(named.select(columns), Run)]
    return named.filter(pl.Series(is_of, dtype=pl.Boolean))


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


# --- the compared models -----------------------------------------------------------------------------------------

SHARED = 0.5
"""A pilot that names at least this share of a population's models counts as a test of the same population."""


@dataclass(frozen=True)
class OtherGroup:
    """A group that cannot be compared with the selected one, and the keys in which they differ."""

    group: RankingGroup
    n_scored: int
    differing_keys: tuple[str, ...]
    """`kind`, `stack`, `tokenizer_hash`, `corpus_id`, `protocol_hash`, `n_points`."""

    @property
    def can_be_measured(self) -> bool:
        """Whether measuring on the same text by the same protocol would make them comparable."""
        same_text = {"corpus_id", "protocol_hash", "n_points"}
        return set(self.differing_keys) <= same_text and self.differing_keys != ("n_points",)

    @property
    def can_meet_on_words(self) -> bool:
        """Whether they could be compared on one point per word: only tokenizer, text, protocol or size differ."""
        return "tokenizer_hash" in self.differing_keys and not {"kind", "stack"} & set(self.differing_keys)


@dataclass(frozen=True)
class Population:
    """The compared models with their scores, and how they were selected."""

    asked: RankingQuestion
    registration: Registration
    group: RankingGroup | None
    """The largest comparable group that has scores, or the one asked for; its rows are the newest run of each model."""
    rows: pl.DataFrame
    """The group's rows with the columns of `with_scores` for the chosen benchmark."""
    offered: pl.DataFrame
    """`ranking.list_benchmarks` of the group."""
    vetoed: pl.DataFrame
    """Runs that belong to the group but are vetoed by a check."""
    benchmark: dict[str, Any] | None = None
    """The row of `offered`; None where nothing has a score of what was asked."""
    others: tuple[OtherGroup, ...] = ()
    missing: tuple[str, ...] = ()
    """Labels of the pilot's models without a run."""
    n_pilots: int = 0
    """Pilots about these models, the current one included."""
    n_partial: int = 0
    """Scores that these models have over part of a benchmark."""
    n_variants: int = 0
    """Shipped profiles of checkpoints and damaged models that were left out (`ranking.without_variants`)."""
    scored: pl.DataFrame | None = None
    """`ranking.with_scores` of these models: every score that they have."""
    n_further_choices: int = 1
    """Families, clouds or specifications among which the reader chose this one."""
    is_picked: bool = False
    """Whether the reader picked models out of those that can be compared."""

    @property
    def dimension(self) -> Dimension:
        return DIMENSIONS[self.asked.dimension]

    @property
    def pilot(self) -> Pilot | None:
        return self.registration.pilot

    @property
    def higher_is_better(self) -> bool | None:
        """Direction of the score: as registered, else as stated with the scores; None where unknown."""
        pilot = self.pilot
        if pilot is not None and self.benchmark is not None and pilot.benchmark.is_met_by(self.benchmark):
            return pilot.benchmark.higher_is_better
        directions = set(self.rows.filter(pl.col("score_match") != "none")["higher_is_better"])
        return directions.pop() if len(directions) == 1 else None

    @property
    def n_choices(self) -> int:
        """In how many other settings the reader can look at the same scores and dimensions, this one included."""
        n_groups = 1 + sum(other.n_scored >= FEWEST_TEST for other in self.others)
        return n_groups * self.n_further_choices

    def narrowed(self, run_ids: Collection[str]) -> Population:
        """The population restricted to some runs; marked exploratory, as nobody registered that choice."""
        rows = self.rows.filter(pl.col("run_id").is_in(list(run_ids)))
        if rows.height == self.rows.height:
            return self
        registration = self.registration.mark_exploratory("other_models")
        return replace(self, rows=rows, registration=registration, is_picked=True)

    def with_specification(self, maxima: pl.DataFrame, specification: Specification) -> Population:
        """The population with the dimension under another specification: plain maxima over the inner layers."""
        largest = filter_specification(maxima, specification).select(
            "run_id", inner_max="value", inner_max_lower="lower", inner_max_upper="upper", inner_max_layer="layer"
        )
        bare = self.rows.drop("inner_max", "inner_max_lower", "inner_max_upper", "inner_max_layer")
        rows = bare.join(largest, on="run_id", how="left", maintain_order="left").select(self.rows.columns)
        return replace(
            self,
            rows=rows,
            registration=self.registration.mark_exploratory("other_dimension"),
            n_further_choices=self.n_further_choices * len(SPECIFICATIONS),
        )

    def required_blocks(self) -> pl.DataFrame:
        """run_id, layer, state, cloud: the rows of layer_replicates (d2) with the block values of the dimension."""
        layer = self.dimension.layer
        layers = pl.lit(layer, pl.Int64) if isinstance(layer, int) else pl.col(layer).cast(pl.Int64)
        wanted = self.rows.select(
            "run_id", layer=layers, state=pl.lit(self.dimension.state), cloud=pl.lit(self.asked.cloud)
        )
        return wanted.drop_nulls()

    def required_score_blocks(self) -> pl.DataFrame:
        """run_id, file_sha256, repository, benchmark, metric, filter, score: keys of the scores' block values."""
        rows = self.rows.filter(pl.col("score_match").is_in(OWN_MATCHES))
        of_scores = {"file_sha256": "score_file_sha256", "repository": "score_name_in_source"}
        return rows.select("run_id", "benchmark", "metric", "filter", "score", **of_scores)


def select_population(evidence: Evidence, question: RankingQuestion | None = None) -> Population:
    """Choose the models and the score that a question is about, and the expectation that applies.

    Raises InputError for an unknown benchmark or family.
    """
    question = question or RankingQuestion()
    if question.only_own:
        evidence = replace(evidence, runs=own_runs(evidence.runs))
    registration = find_registration(evidence, question)
    pilot = registration.pilot
    if (free := _free_of_pilot(evidence, question, pilot)) is not None:
        return free
    runs = newest_runs(evidence.runs.filter(pl.col("pass") == "text"))
    without_checkpoints = without_variants(runs)
    candidates = without_checkpoints if pilot is None else runs_of_pilot(runs, pilot)
    # In every family: what is not asked for is not missing.
    missing = missing_models(pilot, candidates) if pilot else []
    families = runs["family"].drop_nulls().unique().sort().to_list()
    candidates, registration = _of_family(question.family, families, candidates, registration)
    scores = without_other_pilots(evidence.scores, pilot or (question.pilot.pilot if question.pilot else None))
    include_vetoed = question.include_vetoed or pilot is not None
    all_groups = _find_groups(candidates, evidence.summaries, question.cloud, include_vetoed)
    scored = with_scores(candidates, scores, include_partial=question.include_partial)
    counts = _count_scores(all_groups, scored)
    benchmark, registration = _choose_benchmark(counts, scored, question, registration)
    group = _choose_group(all_groups, counts, benchmark, question, pilot)
    if (question.dimension, question.cloud) != (REGISTERED_DIMENSION, BY_TYPE):
        registration = registration.mark_exploratory("other_dimension")
    population = Population(
        question,
        registration,
        group,
        rows=with_scores(candidates.clear(), scores),
        offered=counts.clear(),
        vetoed=vetoed(candidates),
        missing=tuple(model.label for model in missing),
    )
    if group is None:
        return population
    rows = _with_own_score(_with_benchmark(group.rows, scored, benchmark), scored, pilot)
    if pilot is None:
        left_out = runs.join(without_checkpoints, on="run_id", how="anti")
    else:
        left_out = runs.clear()
        named = pl.col("run_id").is_in([*ids_of(candidates), *ids_of(without_checkpoints)])
        all_groups = _find_groups(runs.filter(named), evidence.summaries, question.cloud, include_vetoed=False)
        counts = _count_scores(all_groups, with_scores(runs, scores, include_partial=question.include_partial))
    return replace(
        population,
        registration=check_dates(population.registration, rows, evidence.import_times),
        rows=rows,
        offered=_benchmarks_of_group(counts, all_groups, group),
        benchmark=benchmark,
        others=_other_groups(group, all_groups, counts, benchmark),
        vetoed=population.vetoed.clear() if include_vetoed else _runs_like_group(group, population.vetoed),
        n_pilots=_count_pilots(evidence, group),
        n_partial=_count_partial_scores(scores, group),
        n_variants=_runs_like_group(group, left_out).height,
        scored=scored.filter(pl.col("run_id").is_in(ids_of(group.rows))),
        n_further_choices=(1 if question.cloud == BY_TYPE else 2) * (1 if question.family is None else len(families)),
    )


def _free_of_pilot(evidence: Evidence, question: RankingQuestion, pilot: Pilot | None) -> Population | None:
    """The population without the pilot that applies by itself, where the question names a score of other models."""
    if not question.benchmark or not pilot or question.pilot or _is_pilot_score(pilot, question):
        return None
    free = select_population(evidence, replace(question, ignores_pilots=True))
    scored = free.rows.filter(pl.col("score_match").is_in(OWN_MATCHES))
    is_shared = scored.height and runs_of_pilot(scored, pilot).height >= SHARED * scored.height
    return None if is_shared else free


def _of_family(
    family: str | None, families: Sequence[str], candidates: pl.DataFrame, registration: Registration
) -> tuple[pl.DataFrame, Registration]:
    """The candidates of the family that is asked for, if any: of a part of them nothing is registered."""
    if family is None:
        return candidates, registration
    if family not in families:
        raise InputError(unknown_name("family", family, families))
    of_family = candidates.filter(family=family)
    is_part = of_family.height < candidates.height
    return of_family, registration.mark_exploratory("other_models") if is_part else registration


def _is_pilot_score(pilot: Pilot, question: RankingQuestion) -> bool:
    return question.benchmark == pilot.benchmark.name and question.metric in (None, pilot.benchmark.metric)


def _count_partial_scores(scores: pl.DataFrame, group: RankingGroup) -> int:
    names = {name for column in ("repository", "reference") for name in group.rows[column].drop_nulls()}
    return scores.filter(pl.col("is_partial"), pl.col("repository").is_in(list(names))).height


def _count_pilots(evidence: Evidence, group: RankingGroup) -> int:
    """Pilots that name at least half of these models: each one is another chance of a false positive."""
    references = set(group.rows["reference"])
    pilots = [evidence.shipped_pilot, *(registered.pilot for registered in evidence.pilots)]
    by_id = {pilot.pilot_id: pilot for pilot in pilots if pilot is not None}
    named = [{model.reference for model in pilot.models} for pilot in by_id.values()]
    return sum(len(names & references) >= SHARED * len(references) for names in named)


def filter_specification(maxima: pl.DataFrame, specification: Specification) -> pl.DataFrame:
    rows = maxima.filter(
        cloud=specification.cloud, transform=specification.transform, estimator=specification.estimator
    )
    return rows.filter(pl.col("n1").eq_missing(pl.lit(specification.n1, pl.Int64)))


# --- the group --------------------------------------------------------------------------------------------------


def _find_groups(
    runs: pl.DataFrame, summaries: pl.DataFrame | None, cloud: str, include_vetoed: bool
) -> list[RankingGroup]:
    if cloud == BY_TYPE:
        return groups(runs, include_vetoed=include_vetoed)
    assert summaries is not None, "whoever asks on words reads them"
    return across_tokenizers(runs.with_columns(inner_max_by_type="inner_max"), summaries, include_vetoed=include_vetoed)


def group_key(group: RankingGroup) -> str:
    """A key of the group for URLs: the values that its runs share."""
    return "~".join([*map(str, group.shared.values()), str(group.n_points[1])])


def find_group(all_groups: Iterable[RankingGroup], key: str) -> RankingGroup | None:
    """The group of a key; with a run more it is the same one while the sizes that it was named by lie in it."""
    conditions, _separator, size = key.rpartition("~")
    same = (group for group in all_groups if group_key(group).rpartition("~")[0] == conditions)
    n_points = int(size) if size.isdecimal() else -1
    return next((group for group in same if group.n_points[0] <= n_points <= group.n_points[1]), None)


def _choose_group(
    all_groups: Sequence[RankingGroup],
    counts: pl.DataFrame,
    benchmark: Mapping[str, Any] | None,
    question: RankingQuestion,
    pilot: Pilot | None,
) -> RankingGroup | None:
    """The group asked for, or None where it is not there; else the one with the most scored models, on ties the largest,
    then the one on the text that the pilot names first."""
    if question.group is not None:
        return find_group(all_groups, question.group)
    texts = [text.written for text in pilot.texts] if pilot else []
    names = [group.rows["corpus_name"][0] for group in all_groups]
    sizes = [
        (n_scored, group.rows.height, -texts.index(name) if name in texts else -99)
        for group, name, n_scored in zip(
            all_groups, names, _n_models_scored(all_groups, counts, benchmark), strict=True
        )
    ]
    return all_groups[sizes.index(max(sizes))] if sizes else None


def _runs_like_group(group: RankingGroup, runs: pl.DataFrame) -> pl.DataFrame:
    return runs.filter(pl.col(key) == value for key, value in group.shared.items())


def _other_groups(
    group: RankingGroup, all_groups: Sequence[RankingGroup], counts: pl.DataFrame, benchmark: Mapping[str, Any] | None
) -> tuple[OtherGroup, ...]:
    """The other groups, those with the most scored models first."""
    shown = set(ids_of(group.rows))
    other_groups = [
        OtherGroup(other, n_scored, _differing_keys(group, other))
        for other, n_scored in zip(all_groups, _n_models_scored(all_groups, counts, benchmark), strict=True)
        if shown.isdisjoint(ids_of(other.rows))  # else it is this group plus models that the pilot does not name
    ]
    return tuple(sorted(other_groups, key=lambda one: (-one.n_scored, -one.group.rows["model_id"].n_unique())))


def _differing_keys(group: RankingGroup, other: RankingGroup) -> tuple[str, ...]:
    differing = [key for key, value in group.shared.items() if other.shared[key] != value]
    return tuple(differing) or (("n_points",) if group.n_points != other.n_points else ())


# --- the score --------------------------------------------------------------------------------------------------


def _count_scores(all_groups: Sequence[RankingGroup], scored: pl.DataFrame) -> pl.DataFrame:
    """Rows of `list_benchmarks` per group, with its number `group`: `n_models` have a score of their own, `n_any` one of
    their own or of their base model."""
    numbered = [group.rows.select("run_id", group=pl.lit(n, pl.Int64)) for n, group in enumerate(all_groups)]
    of_runs = pl.concat(numbered) if numbered else pl.DataFrame(schema={"run_id": pl.String, "group": pl.Int64})
    joined = scored.join(of_runs, on="run_id")
    keys = [*SCORE_KEYS, "group"]
    own = list_benchmarks(joined.filter(pl.col("score_match").is_in(OWN_MATCHES)), "group").select(*keys, "n_models")
    every = list_benchmarks(joined, "group").rename({"n_models": "n_any"})
    counted = every.join(own, on=keys, how="left", nulls_equal=True, maintain_order="left")
    order = ["is_own", "n_models", "n_any", "has_direction"]
    return counted.with_columns(pl.col("n_models").fill_null(0)).sort(order, descending=True, maintain_order=True)


def _n_models_scored(
    all_groups: Sequence[RankingGroup], counts: pl.DataFrame, benchmark: Mapping[str, Any] | None
) -> list[int]:
    """Of each group how many of its models have a score of the benchmark."""
    rows = counts.clear() if benchmark is None else filter_benchmark(counts, dict(benchmark))
    return [int(rows.filter(group=number)["n_models"].sum()) for number in range(len(all_groups))]


def _choose_benchmark(
    counts: pl.DataFrame, scored: pl.DataFrame, question: RankingQuestion, registration: Registration
) -> tuple[dict[str, Any] | None, Registration]:
    """The score to relate: the one asked for, else the registered one, else the user's own, else the one that most models
    of a group have."""
    pilot = registration.pilot
    if question.benchmark is None:
        return _first_row(counts, pilot), registration
    is_registered = pilot is not None and _is_pilot_score(pilot, question)
    candidates = counts.filter(benchmark=question.benchmark)
    if candidates.is_empty() and not is_registered:
        of_benchmark = scored.filter(benchmark=question.benchmark)
        of_vetoed = vetoed(of_benchmark)
        is_left_out = pilot is None and not question.include_vetoed
        if is_left_out and 0 < of_vetoed.height == of_benchmark.height:
            raise InputError(
                "A check vetoes every model with a score of '{benchmark}': {names}. `workdim rank --vetoed` shows them.",
                benchmark=question.benchmark,
                names=of_vetoed["name"].unique(maintain_order=True).to_list(),
            )
        if known := counts["benchmark"].unique().sort().to_list():
            raise InputError(unknown_name("benchmark", question.benchmark, known))
        raise InputError("No comparable model has a score of '{benchmark}' or another.", benchmark=question.benchmark)
    if question.metric is not None and not candidates.is_empty():
        metrics = candidates["metric"].unique().sort().to_list()
        candidates = candidates.filter(metric=question.metric)
        if candidates.is_empty():
            raise InputError(unknown_name("metric", question.metric, metrics))
    if question.score is not None:
        candidates = filter_benchmark(candidates, dict(zip(SCORE_KEYS, question.score, strict=True)))
    if is_registered:
        return _first_row(candidates, pilot), registration
    return _first_row(candidates), registration if pilot is None else registration.mark_exploratory("other_score")


def _first_row(counts: pl.DataFrame, pilot: Pilot | None = None) -> dict[str, Any] | None:
    """The preferred benchmark, or the pilot's: `counts` are sorted by preference."""
    rows = counts.iter_rows(named=True)
    return next((row for row in rows if pilot is None or pilot.benchmark.is_met_by(row)), None)


def _benchmarks_of_group(counts: pl.DataFrame, all_groups: Sequence[RankingGroup], group: RankingGroup) -> pl.DataFrame:
    """The benchmarks of the group, or of the larger group that contains it."""
    shown = set(ids_of(group.rows))  # some of which a check may veto
    number = next((n for n, other in enumerate(all_groups) if not shown.isdisjoint(ids_of(other.rows))), -1)
    return counts.filter(group=number)


def _with_benchmark(rows: pl.DataFrame, scored: pl.DataFrame, benchmark: Mapping[str, Any] | None) -> pl.DataFrame:
    """Each row with its score. Scores in another unit than the most common one are dropped: one axis has one unit."""
    added = [column for column in scored.columns if column not in rows.columns]
    of_benchmark = scored.clear() if benchmark is None else filter_benchmark(scored, dict(benchmark))
    of_benchmark = of_benchmark.select("run_id", *added)
    of_benchmark = of_benchmark.filter(pl.col("unit") == pl.col("unit").mode().sort().first())
    joined = rows.join(of_benchmark, on="run_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("score_match").fill_null("none"))


def _with_own_score(rows: pl.DataFrame, scored: pl.DataFrame, pilot: Pilot | None) -> pl.DataFrame:
    """Add `own_score` and its error as the user stated them; unchanged where the pilot has no task of its own."""
    if pilot is None or pilot.task is None:
        return rows
    own_scores = scored.filter(score_match="own", benchmark=pilot.task.name, score_source=pilot.source)
    own_scores = own_scores.select("run_id", own_score="score", own_score_std_error="score_std_error").unique("run_id")
    return rows.join(own_scores, on="run_id", how="left", maintain_order="left")
