"""Is a dimension related to a score, and how do the models rank? One record for the ranking page, the verb `rank` and a
pilot's deck, about the models that `select_population` chose."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from core.analysis.asked import Registration, is_run_of
from core.analysis.claims import LEVEL
from core.analysis.many import Specifications, under_specifications
from core.analysis.population import Population, of_specification
from core.analysis.ranking import OWN_MATCHES, RankingGroup
from core.analysis.ranks import BLOCK_FREEDOM, quantile, rank_intervals
from core.analysis.relation import MARGIN, Relation, relate
from core.registry.specifications import REFERENCE, SPECIFICATIONS, Specification


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
    """The same by score, 1 = best."""
    is_vetoed: bool


@dataclass(frozen=True)
class Answer:
    """The answer for the page, the terminal and the second slide."""

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
    """Models whose sources state different scores."""

    @property
    def registration(self) -> Registration:
        return self.population.registration

    @property
    def group(self) -> RankingGroup | None:
        return self.population.group


def answer(
    found: Population,
    blocks: pl.DataFrame | None = None,
    score_blocks: pl.DataFrame | None = None,
    seed: int = 0,
    *,
    among: Answer | None = None,
) -> Answer:
    """The relation over the models of a population, and the rank of each.

    `blocks`: run_id and blocks (a list: d2 without block 0, 1, ...) for `required_blocks`; `score_blocks`: the same for
    `required_score_blocks`. Without them, errors of different models count as independent. `full_answer`: an answer about
    a larger set of models, whose ranks are kept.
    """
    units = units_of(found, blocks, score_blocks)
    if found.benchmark is not None and found.higher_is_better is None:
        relation = _undirected(found)
    else:
        relation = relate(units, found.registration.sign, seed=seed)
    word, reasons = relation.answer, list(relation.reasons)
    n_base = found.rows.filter(score_match="base").height
    if found.group is None:
        reasons = ["no_runs"]
    elif "no_scores" in reasons and n_base:
        reasons = ["base_scores"]
    contradicting = _contradicting(found)
    if contradicting and word != "cannot_tell" and _moves(found, relation, seed):
        word, reasons = "cannot_tell", ["sources"]
    if among is None:
        models = ranked(found, blocks, score_blocks)
    else:
        own = set(found.rows["run_id"])
        models = tuple(one for one in among.models if one.run_id in own)
    return Answer(found, relation, word, tuple(reasons), models, n_base, contradicting)


def _undirected(found: Population) -> Relation:
    """Without a known direction of the score models are only counted: no coefficient is computed."""
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


def _contradicting(found: Population) -> int:
    return found.rows.filter(pl.col("score_lowest") != pl.col("score_highest")).height


def _moves(found: Population, relation: Relation, seed: int) -> bool:
    """Whether the answer changes with the lowest or the highest score that the sources state."""
    for end in ("score_lowest", "score_highest"):
        at_end = replace(found, rows=found.rows.with_columns(score=pl.coalesce(end, "score")))
        again = relate(units_of(at_end), found.registration.sign, seed=seed, is_brief=True)
        if again.answer != relation.answer:
            return True
    return False


def units_of(
    found: Population, blocks: pl.DataFrame | None = None, score_blocks: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Input of `relate`: one row per model, with the score signed so that higher is better."""
    column = found.dimension.column
    direction = found.higher_is_better
    turn = {True: 1.0, False: -1.0}.get(direction) if direction is not None else None
    is_own = pl.col("score_match").is_in(OWN_MATCHES)
    performance = pl.when(is_own).then(turn * pl.col("score")) if turn else pl.lit(None, pl.Float64)
    return _with_blocks(found.rows, blocks, score_blocks).select(
        unit="run_id",
        dimension=pl.col(column).cast(pl.Float64),
        dimension_error=_log_error(column),
        performance=performance.cast(pl.Float64),
        performance_error=pl.when(is_own).then("score_std_error"),
        dimension_blocks="blocks",
        performance_blocks=pl.col("score_blocks") * (turn or 1.0),
        family="family",
        log_parameters=pl.when(pl.col("parameters") > 0).then(pl.col("parameters").log()),
        recipe=_recipes(found),
    )


def _with_blocks(rows: pl.DataFrame, blocks: pl.DataFrame | None, score_blocks: pl.DataFrame | None) -> pl.DataFrame:
    """Add `blocks` (log dimensions) and `score_blocks`; null where unknown."""
    told = rows
    for name, one in (("blocks", blocks), ("score_blocks", score_blocks)):
        if one is None:
            told = told.with_columns(pl.lit(None, pl.List(pl.Float64)).alias(name))
        else:
            told = told.join(
                one.select("run_id", pl.col("blocks").alias(name)), on="run_id", how="left", maintain_order="left"
            )
    is_positive = pl.col("blocks").list.eval(pl.element() > 0).list.all()
    return told.with_columns(blocks=pl.when(is_positive).then(pl.col("blocks").list.eval(pl.element().log())))


def _log_error(column: str) -> pl.Expr:
    """Standard error of the logarithm, from the ends of the 95 percent interval."""
    return (pl.col(f"{column}_upper") / pl.col(f"{column}_lower")).log() / (2 * quantile(1 - LEVEL / 2, BLOCK_FREEDOM))


def _recipes(found: Population) -> pl.Series:
    """The recipe of each row, named by its first model in the pilot; None where a model counts alone."""
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


# --- ranks ------------------------------------------------------------------------------------------------------


def ranked(
    found: Population, blocks: pl.DataFrame | None = None, score_blocks: pl.DataFrame | None = None
) -> tuple[RankedModel, ...]:
    """Every model with the intervals of its ranks by dimension and by score; largest dimension first."""
    column = found.dimension.column
    rows = _with_blocks(found.rows, blocks, score_blocks).with_columns(
        value=pl.col(column).cast(pl.Float64).log(), error=_log_error(column)
    )
    by_dimension = _places(rows.select("value", "error", "blocks", unit="run_id"))
    is_own = pl.col("score_match").is_in(OWN_MATCHES)
    scores = rows.filter(is_own).select(value="score", error="score_std_error", blocks="score_blocks", unit="run_id")
    by_score = _places(scores, largest_first=found.higher_is_better is not False)
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


def _places(units: pl.DataFrame, *, largest_first: bool = True) -> dict[str, tuple[int, int]]:
    found = rank_intervals(units, largest_first=largest_first).units
    return {unit: (low, high) for unit, low, high in found.select("unit", "rank_low", "rank_high").iter_rows()}


# --- other specifications ---------------------------------------------------------------------------------------


def under(found: Population, maxima: pl.DataFrame, seed: int = 0) -> Specifications | None:
    """The relation under every specification, by each model's largest value over the inner layers.

    `maxima`: rows of `queries.inner_maxima`. Values are plain maxima, in the reference too, so that only the
    specification differs. None without a group.
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


def specification_key(one: Specification) -> str:
    return " ".join(str(part) for part in (one.estimator, one.cloud, one.transform, one.n1) if part is not None)
