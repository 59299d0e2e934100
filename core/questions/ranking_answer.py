"""Is a dimension related to a score, and how do the models rank? One record for the page Choose, the verb `rank` and a
pilot's deck, about the models that `select_population` chose."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from core.analysis.claims import LEVEL
from core.analysis.intervals import BLOCK_FREEDOM, NORMAL_95, quantile, rank_intervals
from core.analysis.ranking import OWN_MATCHES, RankingGroup, is_vetoed, own_runs, score_key
from core.analysis.relation import Relation, SpecificationCurve, relate, relate_specifications
from core.analysis.resampling import search_pairs
from core.pilots.pilot import RegisteredPilot, registered_pilot, shipped_pilot
from core.questions.ranking_question import (
    BY_WORD,
    DIMENSIONS,
    Evidence,
    Population,
    RankingQuestion,
    Registration,
    filter_specification,
    group_key,
    is_run_of,
    select_population,
)
from core.questions.record import Fields, Rows, same
from core.questions.runs import named_texts, repositories
from core.records import SHIPPED
from core.registry.protocols import REFERENCE, SPECIFICATIONS, Specification
from core.tables import SCORE_KEYS, PilotRow, Run, ids_of, records
from core.warehouse import queries, stored_scores
from core.warehouse.connection import Readable
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class RankedModel:
    """One model with its values and the interval of its rank; None means unknown."""

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
    """Simultaneous 95 percent interval of the rank by dimension, 1 = largest."""
    score_rank_low: int | None
    score_rank_high: int | None
    """The same by score, 1 = best; one plain rank where no errors of scores are known (`RankedModels.has_score_errors`)."""
    is_vetoed: bool
    class_leader: str | None = None
    """Run of the model that leads its class by dimension: the models that cannot be distinguished from their first."""
    score_class_leader: str | None = None
    """The same by score."""

    @property
    def score_limits(self) -> tuple[float | None, float | None]:
        """95 percent limits of the score; None where its error is not known."""
        if self.score is None or not self.score_std_error:
            return None, None
        reach = NORMAL_95 * self.score_std_error
        return self.score - reach, self.score + reach


@dataclass(frozen=True)
class RankedModels:
    """Models with their ranks, and what differences could have shown."""

    models: tuple[RankedModel, ...] = ()
    """By dimension, largest first; those without one last."""
    detectable_ratio: float | None = None
    """The smallest true ratio of two dimensions that the median pair shows with a power of 80 percent, all pairs being
    looked at; None without known errors."""
    detectable_score: float | None = None
    """The same of scores: the smallest true difference."""
    has_score_errors: bool = True
    """Whether two scores have errors, by which they can be told apart. Without, their ranks are plain ones, not intervals
    that would all say that anything is possible."""
    like_best: tuple[str, ...] = ()
    """Run of the best model by score, and the runs of those that cannot be distinguished from it."""


@dataclass(frozen=True)
class Answer:
    """The answer for the page, the terminal and the first slide."""

    population: Population
    relation: Relation
    word: str
    """As `Relation.answer`."""
    reasons: tuple[str, ...]
    """Why nobody can tell, as in `Relation.reasons`, and: `no_runs`, `no_direction`, `sources`, `base_scores`."""
    ranked: RankedModels
    """All models, whether they are tested or not."""
    n_base: int = 0
    """Models left out of the test because only their base model has a score."""
    n_contradicting: int = 0
    """Models whose sources state different scores."""
    specifications: SpecificationCurve | None = None
    """The relation under every specification, where it was asked for."""

    @property
    def models(self) -> tuple[RankedModel, ...]:
        return self.ranked.models

    @property
    def registration(self) -> Registration:
        return self.population.registration

    @property
    def group(self) -> RankingGroup | None:
        return self.population.group


RECORD: Fields = {
    "answer": "word",
    "coefficient": "relation.rho",
    **same("lower", "upper", "p", "corrected_p", "n_looks", "n", of="relation"),
    "n_models": "relation.n_units",
    "registered": Rows(
        "registration.stated",
        {
            "pilot": "pilot.name",
            "pilot_id": "pilot_id",
            "benchmark": "pilot.benchmark.name",
            **same("metric", "sign", of="pilot.benchmark"),
            "on": "day",
            "dated_by_author": "stated_date",
            "before_the_scores": "is_registered",
        },
    ),
    "expectation": Rows("registration", same("by", "sign", "exploratory")),
    "reasons": "reasons",
    "dimension": "population.asked.dimension",
    **same("benchmark", "metric", of="population.benchmark"),
    "text": "group.first.corpus_name",
    "protocol": "group.first.protocol",
    "detectable": "relation.detectable",
    **same("detectable_ratio", "detectable_score", "has_score_errors", of="ranked"),
    **same("partial", "strata", "without_one", "without_family", of="relation"),
    "models": Rows(
        "models",
        {
            "model": "name",
            **same("dimension", "lower", "upper", "score", "score_std_error"),
            "score_match": "match",
            **same("rank_low", "rank_high", "score_rank_low", "score_rank_high", "class_leader", "score_class_leader"),
            "model_id": "model",
            "run_id": "run_id",
        },
    ),
    "others": Rows("population.others", {"models": "group.names", "n_scored": "n_scored", "differs": "differing_keys"}),
}
"""The answer as `rank --json` prints it; sentences are added there."""


def answer_question(
    population: Population,
    blocks: pl.DataFrame | None = None,
    score_blocks: pl.DataFrame | None = None,
    *,
    full_answer: Answer | None = None,
    is_brief: bool = False,
) -> Answer:
    """The relation over the models of a population, and the rank of each; `is_brief`: as of `relate`, for a sentence.

    `blocks`: run_id and blocks (a list: d2 without block 0, 1, ...) for `required_blocks`; `score_blocks`: the same for
    `required_score_blocks`. Without them, errors of different models count as independent. `full_answer`: an answer about
    a larger set of models, whose ranks are kept.
    """
    units = relation_units(population, blocks, score_blocks)
    if population.benchmark is not None and population.higher_is_better is None:
        relation = _relation_without_direction(population)
    else:
        relation = relate(units, population.registration.sign, is_brief=is_brief)
    contradicting = population.rows.filter(pl.col("score_lowest") != pl.col("score_highest")).height
    is_contradicted = contradicting and relation.answer != "cannot_tell" and _depends_on_source(population, relation)
    if not population.registration.is_registered:
        columns = {name: of.column for name, of in DIMENSIONS.items()}
        p_values, n_pairs = _search(population, population.rows.select("run_id", **columns))
        relation = relation.as_exploratory(p_values.get(population.asked.dimension), n_pairs)
    word, reasons = relation.answer, list(relation.reasons)
    n_base = population.rows.filter(score_match="base").height
    if population.group is None:
        reasons = ["no_runs"]
    elif "no_scores" in reasons and n_base:
        reasons = ["base_scores"]
    if is_contradicted:
        word, reasons = "cannot_tell", ["sources"]
    if full_answer is None:
        ranked = rank_models(population, blocks, score_blocks)
    else:
        run_ids = set(ids_of(population.rows))
        models = tuple(model for model in full_answer.models if model.run_id in run_ids)
        ranked = replace(full_answer.ranked, models=models)
    return Answer(population, relation, word, tuple(reasons), ranked, n_base, contradicting)


def _relation_without_direction(population: Population) -> Relation:
    """Without a known direction of the score models are only counted: no coefficient is computed."""
    has_score = pl.col("score_match").is_in(OWN_MATCHES)
    n = population.rows.filter(has_score, pl.col(population.dimension.column).is_not_null()).height
    without = population.rows.filter(~has_score)["run_id"]
    sign = population.registration.sign
    return Relation("cannot_tell", sign, n, reasons=("no_direction",), n_units=n, without_performance=tuple(without))


def _search(population: Population, dimensions: pl.DataFrame) -> tuple[dict[str, float], int]:
    """Of each column of `dimensions` (besides run_id) p of its relation to the score, corrected for all relations that can be
    looked at, and how many these are: every pair of a column and a score that these models have, in each setting of
    `Population.n_choices`. Each recipe counts once. Empty where models were picked by hand: the choices cannot be counted.
    """
    if population.scored is None or population.benchmark is None or population.is_picked:
        return {}, 1
    own = population.scored.filter(pl.col("score_match").is_in(OWN_MATCHES))
    own = own.filter(pl.col("unit").eq_missing(pl.col("unit").mode().sort().first().over(SCORE_KEYS)))
    key = pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in SCORE_KEYS], separator="~")
    scores = own.select("run_id", "score", key=key).pivot(
        "key", index="run_id", values="score", aggregate_function="first"
    )
    of_recipes = (
        dimensions.with_columns(pl.exclude("run_id").log(), recipe=pl.coalesce(_recipe_names(population), "run_id"))
        .join(scores, on="run_id", how="left")
        .drop("run_id")
        .group_by("recipe")
        .mean()
        .sort("recipe")  # so that random draws do not depend on the order of the models
    )
    names, keys = ([name for name in frame.columns if name != "run_id"] for frame in (dimensions, scores))
    if (asked := score_key(population.benchmark)) not in keys:
        return {}, 1
    x, y = (of_recipes.select(pl.col(part).cast(pl.Float64)).to_numpy().T for part in (names, keys))
    p_values = search_pairs(x, y)
    known = {name: float(p) for name, p in zip(names, p_values[:, keys.index(asked)], strict=True) if not math.isnan(p)}
    n_choices = population.n_choices
    return {name: min(1.0, p * n_choices) for name, p in known.items()}, int(np.isfinite(p_values).sum()) * n_choices


def _depends_on_source(population: Population, relation: Relation) -> bool:
    """Whether the answer changes with the lowest or the highest score that the sources state."""
    ends = (pl.coalesce(end, "score") for end in ("score_lowest", "score_highest"))
    at_ends = (replace(population, rows=population.rows.with_columns(score=end)) for end in ends)
    again = (relate(relation_units(at_end), population.registration.sign, is_brief=True) for at_end in at_ends)
    return any(one.answer != relation.answer for one in again)


def relation_units(
    population: Population, blocks: pl.DataFrame | None = None, score_blocks: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Input of `relate`: one row per model, with the score signed so that higher is better."""
    column = population.dimension.column
    direction = population.higher_is_better
    turn = -1.0 if direction is False else 1.0
    is_own = pl.col("score_match").is_in(OWN_MATCHES)
    performance = pl.when(is_own & pl.lit(direction is not None)).then(turn * pl.col("score"))
    return _with_blocks(population.rows, blocks, score_blocks).select(
        unit="run_id",
        dimension=pl.col(column).cast(pl.Float64),
        dimension_error=_log_error(column),
        performance=performance.cast(pl.Float64),
        performance_error=pl.when(is_own).then("score_std_error"),
        dimension_blocks="blocks",
        performance_blocks=pl.col("score_blocks") * turn,
        family="family",
        log_parameters=pl.when(pl.col("parameters") > 0).then(pl.col("parameters").log()),
        recipe=_recipe_names(population),
    )


def _with_blocks(rows: pl.DataFrame, blocks: pl.DataFrame | None, score_blocks: pl.DataFrame | None) -> pl.DataFrame:
    """Add `blocks` (log dimensions) and `score_blocks`; null where unknown."""
    joined, unknown = rows, pl.DataFrame(schema={"run_id": pl.String, "blocks": pl.List(pl.Float64)})
    for name, frame in (("blocks", blocks), ("score_blocks", score_blocks)):
        of_runs = (unknown if frame is None else frame).select("run_id", pl.col("blocks").alias(name))
        joined = joined.join(of_runs, on="run_id", how="left", maintain_order="left")
    is_positive = pl.col("blocks").list.eval(pl.element() > 0).list.all()
    return joined.with_columns(blocks=pl.when(is_positive).then(pl.col("blocks").list.eval(pl.element().log())))


def _log_error(column: str) -> pl.Expr:
    """Standard error of the logarithm, from the ends of the 95 percent interval."""
    return (pl.col(f"{column}_upper") / pl.col(f"{column}_lower")).log() / (2 * quantile(1 - LEVEL / 2, BLOCK_FREEDOM))


def _recipe_names(population: Population) -> pl.Series:
    """The recipe of each row, named by the run of its first model in the pilot; None where a model counts alone."""
    pilot = population.pilot
    names: list[str | None] = [None] * population.rows.height
    if pilot is not None and pilot.replicates:
        rows = records(population.rows, Run)
        by_written = {model.written: model for model in pilot.models}
        for recipe in pilot.replicates:
            members = [n for written in recipe for n, row in enumerate(rows) if is_run_of(row, by_written[written])]
            for member in members:
                names[member] = rows[members[0]].run_id
    return pl.Series(names, dtype=pl.String)


# --- ranks ------------------------------------------------------------------------------------------------------


def rank_models(
    population: Population, blocks: pl.DataFrame | None = None, score_blocks: pl.DataFrame | None = None
) -> RankedModels:
    """Every model with the intervals of its ranks by dimension and by score; largest dimension first."""
    column = population.dimension.column
    rows = _with_blocks(population.rows, blocks, score_blocks).with_columns(
        value=pl.col(column).cast(pl.Float64).log(), error=_log_error(column)
    )
    by_dimension = rank_intervals(rows.select("value", "error", "blocks", unit="run_id"))
    is_known = population.higher_is_better is not None  # else nobody knows which end is the best
    is_ranked = pl.col("score_match").is_in(OWN_MATCHES) & is_known
    scores = rows.filter(is_ranked).select(value="score", error="score_std_error", blocks="score_blocks", unit="run_id")
    by_score = rank_intervals(scores, largest_first=population.higher_is_better is not False)
    has_score_errors = by_score.detectable is not None or by_score.units.height < 2
    score_places = by_score.units
    if not has_score_errors:  # a place by value alone, equal values sharing one; nobody leads a class
        nobody = pl.lit(None, pl.String)
        score_places = score_places.with_columns(rank_low="rank", rank_high="rank", class_leader=nobody)
    places = ("rank_low", "rank_high", "class_leader")
    models = (
        rows.select(
            *("run_id", "name", "score", "score_std_error"),
            model="model_id",
            dimension=column,
            lower=f"{column}_lower",
            upper=f"{column}_upper",
            match="score_match",
            is_vetoed=is_vetoed(),
        )
        .join(by_dimension.units.select(*places, run_id="unit"), on="run_id", how="left", maintain_order="left")
        .join(score_places.select(pl.col(places).name.prefix("score_"), run_id="unit"), on="run_id", how="left")
        .sort(pl.col("dimension").is_null(), -pl.col("dimension").fill_null(0), "name", maintain_order=True)
    )
    ratio = None if by_dimension.detectable is None else math.exp(by_dimension.detectable)
    ranked = tuple(RankedModel(**row) for row in models.iter_rows(named=True))
    return RankedModels(ranked, ratio, by_score.detectable, has_score_errors, by_score.like_first)


# --- other specifications ---------------------------------------------------------------------------------------


def relate_by_specification(population: Population, maxima: pl.DataFrame) -> SpecificationCurve | None:
    """The relation under every specification, by each model's largest value over the inner layers.

    `maxima`: rows of `queries.inner_maxima`. Values are plain maxima, in the reference too, so that only the
    specification differs. None without a group.
    """
    frames = specification_units(population, maxima)
    primary = specification_key(REFERENCE)
    if population.group is None or primary not in frames:
        return None
    curve = relate_specifications(frames, primary, population.registration.sign)
    if population.registration.is_registered:
        return curve
    dimensions = population.rows.select("run_id", **{name: frame["dimension"] for name, frame in frames.items()})
    return curve.as_exploratory(*_search(population, dimensions))


def specification_units(population: Population, maxima: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Input of `relate` under each specification that any model was measured under, by `specification_key`."""
    units = relation_units(population).drop("dimension", "dimension_error")
    frames = {}
    for specification in SPECIFICATIONS:
        largest = filter_specification(maxima, specification)
        joined = units.join(
            largest.select(unit="run_id", dimension="value"), on="unit", how="left", maintain_order="left"
        )
        if joined["dimension"].count():
            frames[specification_key(specification)] = joined
    return frames


def specification_key(specification: Specification) -> str:
    parts = (specification.estimator, specification.cloud, specification.transform, specification.n1)
    return " ".join(str(part) for part in parts if part is not None)


# --- asking ------------------------------------------------------------------------------------------------------


def load_evidence(warehouse: Readable, *, with_reference: bool = True) -> Evidence:
    """The runs on text with their scores, and the pilots; without `with_reference` no profile that ships with Workdim."""
    runs = queries.ranking(warehouse)
    runs = named_texts(warehouse, runs if with_reference else own_runs(runs))
    return Evidence(
        runs=runs,
        scores=queries.scores(warehouse, repositories(runs)),
        pilots=tuple(registered_pilot(row) for row in records(queries.pilots(warehouse), PilotRow)),
        shipped_pilot=shipped_pilot(),
        import_times=queries.import_times(warehouse),
    )


def with_summaries(warehouse: Readable, evidence: Evidence) -> Evidence:
    """What a question on one point per word needs besides."""
    return replace(evidence, summaries=queries.rows(warehouse, "run_summaries", ids_of(evidence.runs)))


def load_blocks(warehouse: Readable, population: Population) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The values of each model's dimension and score without each block of text and of questions, as `answer_question`
    takes them."""
    return (
        queries.jackknife_blocks(warehouse, population.required_blocks()),
        stored_scores.score_blocks(warehouse, population.required_score_blocks()),
    )


def ask_for_report(warehouse: Warehouse, pilot: RegisteredPilot | None, runs: pl.DataFrame) -> tuple[Answer, ...]:
    """What a report of these runs answers: the question of its pilot, or that of the profiles that ship with Workdim where
    it is of nothing else; then the same question on each other text that these models have read. Empty without a question.
    """
    is_shipped = runs.height > 0 and runs["tags"].list.contains(SHIPPED).all()
    if pilot is None and not is_shipped:
        return ()
    question = RankingQuestion(pilot=pilot)
    answer = ask(warehouse, question, with_specifications=True)
    if pilot is None:
        answered = set(ids_of(answer.population.rows))
        if answer.registration.by != "shipped" or not answered or answered - set(ids_of(runs)):
            return ()
    others = [
        replace(question, group=group_key(other.group))
        for other in answer.population.others
        if {"corpus_id"} <= set(other.differing_keys) <= {"corpus_id", "n_points"}
        and set(other.group.rows["model_id"]) & set(answer.population.rows["model_id"])
    ]
    return (answer, *(ask(warehouse, other) for other in others))


def ask(warehouse: Warehouse, question: RankingQuestion, *, with_specifications: bool = False) -> Answer:
    """The answer to one question, computed while the warehouse is closed; on request under every specification too, which
    takes several times as long. Raises InputError for an unknown benchmark or family."""
    with warehouse.open() as opened:
        evidence = load_evidence(opened)
        if question.cloud == BY_WORD:
            evidence = with_summaries(opened, evidence)
    population = select_population(evidence, question)
    with warehouse.open() as opened:
        blocks = load_blocks(opened, population)
        maxima = queries.inner_maxima(opened, ids_of(population.rows)) if with_specifications else None
    answer = answer_question(population, *blocks)
    return answer if maxima is None else replace(answer, specifications=relate_by_specification(population, maxima))
