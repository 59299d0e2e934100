"""Which runs are comparable, and which scores belong to them.

Runs are compared only within a group: same model kind, stack, tokenizer, corpus and protocol (or, across tokenizers,
the same words of the same text), and clouds of one size. No order within a group is called better. A score matches a
model by exact repository and revision; any weaker match is labelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from core.pilots.pilot import Pilot
from core.records import DAMAGED, EARLIER, LOCAL, SHIPPED
from core.tables import PILOT_SOURCE, SCORE_KEYS, SCORED_SOURCE

GROUP_KEYS = ("kind", "stack", "tokenizer_hash", "corpus_id", "protocol_hash")
WORD_KEYS = ("kind", "stack", "words_hash", "corpus_id", "protocol_hash")
"""Keys shared by runs that are compared on one point per word of the text."""
OWN_MATCHES = ("own", "exact", "revision_not_stated", "mapped")
"""Matches that are scores of the model itself. A score of its base model is shown but not tested: its weights differ."""
_SCORE_COLUMNS = (
    *("repository", "name_in_source", "revision", "source", "licence", "as_of", "flags", "is_partial", "is_group"),
    *("n_samples", "dtype", "chat_template", "file_sha256"),
)
"""Columns of a score that a scored run carries, prefixed with `score_`."""
CLAIM_COLUMNS = ("verdict_rise", "verdict_fall", "reasons_rise", "reasons_fall")
"""Columns of a summary that hold for all clouds of the run."""
N_TOLERANCE = 0.10
"""Clouds whose sizes differ by more than this share are not compared: a broader vocabulary reads higher."""


@dataclass(frozen=True)
class RankingGroup:
    """Runs that are comparable with each other, and with no others."""

    shared: Mapping[str, str]
    """What all have in common: the columns of `GROUP_KEYS` or, where they are compared on words, of `WORD_KEYS`."""
    rows: pl.DataFrame
    """Rows of the runs frame, by name."""

    @property
    def is_by_words(self) -> bool:
        """Whether a point is a word of the text, and not a token type."""
        return "words_hash" in self.shared

    @cached_property
    def n_points(self) -> tuple[int, int]:
        """Sizes of the smallest and largest cloud; (0, 0) without summaries."""
        sizes = self.rows["n_points"].drop_nulls()
        return (min(sizes.to_list()), max(sizes.to_list())) if len(sizes) else (0, 0)

    @property
    def first(self) -> dict[str, Any]:
        """The run of the first model; text, protocol and tokenizer are those of all."""
        return self.rows.row(0, named=True)

    @property
    def names(self) -> list[str]:
        """Names of the models, each once."""
        return self.rows["name"].unique(maintain_order=True).to_list()

    @property
    def dtypes(self) -> list[str]:
        """Number formats of the runs; more than one must be shown."""
        return sorted(self.rows["dtype"].unique().to_list())


def groups(runs: pl.DataFrame, keys: Sequence[str] = GROUP_KEYS, *, include_vetoed: bool = False) -> list[RankingGroup]:
    """The comparable groups among the runs on unchanged text, largest first; `keys` are what their runs have in common.

    Runs that a check vetoes are left out (`vetoed` returns them) unless `include_vetoed`.
    """
    text = runs.filter(pl.col("pass") == "text", pl.lit(include_vetoed) | ~is_vetoed())
    all_groups = [
        RankingGroup(dict(zip(keys, values, strict=True)), rows)
        for values, alike in text.sort("name", "run_id", nulls_last=True).group_by(keys, maintain_order=True)
        for rows in from_largest(alike, "n_points", lambda largest: (1 - N_TOLERANCE) * largest)
    ]
    return sorted(all_groups, key=lambda group: -group.rows.height)


def natural_sort_key() -> pl.Expr:
    """A natural sort key: numbers in names compare as numbers, so that model-9 comes before model-10."""
    padded = pl.col("name").str.to_lowercase().str.replace_all(r"(\d+)", "000000000000$1")
    return padded.str.replace_all(r"\d*(\d{12})", "$1")


def with_text_marks(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs, with the start of the text's hash added to `corpus_name` where different texts share a name."""
    mark = pl.col("corpus_id").str.split("@").list.last().str.head(6)
    shared = pl.col("corpus_id").n_unique().over("corpus_name") > 1
    marked = pl.format("{} #{}", pl.col("corpus_name"), mark)
    return runs.with_columns(corpus_name=pl.when(shared).then(marked).otherwise("corpus_name"))


def own_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs that were measured or imported here."""
    return runs.filter(~pl.col("tags").list.contains(SHIPPED))


def newest_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """The newest run of each model, stack, text and protocol; `runs` must be sorted newest first."""
    alike = ["model_id", "stack", "corpus_id", "protocol_hash"]
    return runs.unique(alike, keep="first", maintain_order=True)


def newest_of_models(runs: pl.DataFrame) -> pl.DataFrame:
    """The newest run of each model and stack, whatever its text and protocol; `runs` must be sorted newest first."""
    return runs.unique(["model_id", "stack"], keep="first", maintain_order=True)


def on_one_text(runs: pl.DataFrame, by: str = "model_id") -> pl.DataFrame:
    """The runs on the first text that each model (or whatever `by` names) has read, by one protocol where they can, as losses
    compare on what was read alike alone; empty without such a text."""
    for alike in (("corpus_id", "protocol_hash"), ("corpus_id",)):
        shared = runs.filter(pl.col(by).n_unique().over(alike) == runs[by].n_unique())
        if shared.height:
            return shared.filter(pl.col(key) == shared[key][0] for key in alike)
    return runs.clear()


def without_variants(runs: pl.DataFrame) -> pl.DataFrame:
    """Without shipped profiles of checkpoints and damaged models: a hundred checkpoints of ten runs are ten models."""
    tags = pl.col("tags")
    is_none = tags.list.contains(SHIPPED) & (tags.list.contains(EARLIER) | tags.list.contains(DAMAGED))
    return runs.filter(~is_none)


def is_of_ladder() -> pl.Expr:
    """Whether a run is of one of the small models that Workdim trained and ships profiles of: they lie on no hub."""
    return pl.col("tags").list.contains(SHIPPED) & pl.col("model_id").str.starts_with(LOCAL)


def most_models(runs: pl.DataFrame) -> pl.DataFrame:
    """Combinations of text, protocol and tokenizer with their number of models, the most frequent first."""
    alike = ["corpus_id", "protocol_hash", "tokenizer_hash"]
    return runs.group_by(alike).agg(n_models=pl.col("model_id").n_unique()).sort("n_models", *alike, descending=True)


def vetoed(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs on unchanged text that `groups` leaves out by default; `vetoed_by` names the checks."""
    return runs.filter(pl.col("pass") == "text", is_vetoed())


def across_tokenizers(
    runs: pl.DataFrame, summaries: pl.DataFrame, *, include_vetoed: bool = False
) -> list[RankingGroup]:
    """Groups of runs that measured the same words of the same text, with their summaries on one point per word.

    `summaries` are rows of run_summaries. A group holds at least two models.
    """
    of_words = summaries.filter(cloud="one_per_word", estimator="d2").drop(CLAIM_COLUMNS)
    of_types = [column for column in of_words.columns if column != "run_id"]
    measured = runs.filter(pl.col("words_hash").is_not_null()).drop(of_types, strict=False)
    joined = measured.join(of_words, on="run_id", how="inner", maintain_order="left")
    all_groups = groups(joined, WORD_KEYS, include_vetoed=include_vetoed)
    return [group for group in all_groups if group.rows["model_id"].n_unique() > 1]


def from_largest(rows: pl.DataFrame, column: str, least: Callable[[Any], float]) -> list[pl.DataFrame]:
    """The rows in classes of similar size, largest first; those without a size come last. A class reaches from its largest,
    by this column, down to `least` of it."""
    classes, remaining = [], rows
    while (largest := remaining[column].max()) is not None:
        is_near = (pl.col(column) >= least(largest)).fill_null(False)
        classes.append(remaining.filter(is_near))
        remaining = remaining.filter(~is_near)
    return classes if remaining.is_empty() else [*classes, remaining]


def is_vetoed() -> pl.Expr:
    """Whether a check vetoes the run; a run without checks is not vetoed."""
    return pl.col("worst_check").eq_missing(pl.lit("veto"))


def with_scores(runs: pl.DataFrame, scores: pl.DataFrame, *, include_partial: bool = False) -> pl.DataFrame:
    """Every run once per benchmark (SCORE_KEYS) with a score, or once with `score_match` = none.

    Adds SCORE_KEYS, `score`, `score_std_error`, `score_scale` (what both were multiplied by), `unit`,
    `higher_is_better`, `score_repository`, `score_name_in_source`, `score_source`, `score_licence`, `score_as_of`,
    `score_flags`, `score_is_partial`, `score_is_group`, `score_n_samples`, `score_dtype`, `score_chat_template`,
    `score_file_sha256` and `score_match`: own (stated by the user in a pilot, or made here, for this reference as it
    was asked for, or for these weights by another of their names), exact (repository and revision, by its commit or by
    the name that the model was asked for by), revision_not_stated (the score names no revision), mapped (an alias says
    that these weights are meant, which are not of the hub, so that its revision cannot be compared), base (a score of
    the base model that names no revision: which revision the model grew from is not known), none. On each benchmark the
    first of these counts.

    Where several scores match equally well, one of the run's own dtype counts before one of an unknown dtype and that
    before any other, and among those the newest by date: `score_sources` says how many sources tell that score,
    `score_lowest` and `score_highest` what they say, and `score_variants` in how many settings of dtype and chat
    template there are scores. Scores over part of a benchmark's questions are left out unless `include_partial`, and count
    after those of whole ones.
    """
    offered = _prepare_scores(scores if include_partial else scores.filter(~pl.col("is_partial")))
    is_own = pl.any_horizontal(
        pl.col("score_source").str.starts_with(source) for source in (PILOT_SOURCE, SCORED_SOURCE)
    )
    is_named = pl.col("score_revision").is_not_null()
    named, unnamed = offered.filter(~is_own, is_named), offered.filter(~is_own, ~is_named)
    own_named, own_unnamed = offered.filter(is_own, is_named), offered.filter(is_own, ~is_named)
    as_it_stands = runs.filter(pl.col("requested_revision").is_null())
    called, called_as_it_stands = _with_both_names(runs), _with_both_names(as_it_stands)
    off_the_hub = runs.filter(pl.col("repository").ne_missing(pl.col("reference")))
    by_alias = offered.filter(pl.col("score_name_in_source") != pl.col("score_repository"))
    by_name, by_call = {"reference": "score_name_in_source"}, {"called": "score_repository"}
    by_revision = {"revision": "score_revision"}, {"requested_revision": "score_revision"}
    candidates = [
        # An alias of a reference takes no score from the reference itself.
        *(("own", runs, own_named, by_name | how) for how in by_revision[::-1]),
        ("own", as_it_stands, own_unnamed, by_name),
        *(("own", called, own_named, by_call | how) for how in by_revision),
        ("own", called_as_it_stands, own_unnamed, by_call),
        *(("exact", called, named, by_call | how) for how in by_revision),
        ("revision_not_stated", called, unnamed, by_call),
        ("mapped", off_the_hub, by_alias, {"reference": "score_repository"}),
        ("base", runs, unnamed, {"base_repository": "score_repository"}),
    ]
    joined = [
        of_runs.join(of, left_on=list(by), right_on=list(by.values()), coalesce=False, maintain_order="left_right")
        .drop("called", strict=False)
        .with_columns(score_match=pl.lit(match), _place=pl.lit(place))
        for place, (match, of_runs, of, by) in enumerate(candidates)
    ]
    matched = _best_scores(pl.concat(joined), runs)
    without = runs.join(matched, on="run_id", how="anti").with_columns(score_match=pl.lit("none"))
    return pl.concat([matched, without], how="diagonal").drop("score_revision")


def without_other_pilots(scores: pl.DataFrame, pilot: Pilot | None) -> pl.DataFrame:
    """Published scores, and of the users' own scores only those of this pilot: the use class of a pilot limits where its
    scores may be shown."""
    is_own = pl.col("source").str.starts_with(PILOT_SOURCE)
    return scores.filter(~is_own if pilot is None else ~is_own | (pl.col("source") == pilot.source))


def _prepare_scores(scores: pl.DataFrame) -> pl.DataFrame:
    """Scores with column names that do not collide with those of runs, and fractions as percentages."""
    is_stated = pl.col("source").str.starts_with(PILOT_SOURCE)  # a pilot's scores keep their unit
    is_fraction = (pl.col("unit") == "fraction") & ~is_stated
    to_percent = pl.when(is_fraction).then(100.0).otherwise(1.0)
    return scores.sort("source").select(
        *SCORE_KEYS,
        to_percent.alias("score_scale"),
        (to_percent * pl.col("value")).alias("score"),
        (to_percent * pl.col("std_error")).alias("score_std_error"),
        pl.when(is_fraction).then(pl.lit("percent")).otherwise("unit").alias("unit"),
        "higher_is_better",
        *(pl.col(name).alias(f"score_{name}") for name in _SCORE_COLUMNS),
    )


def _with_both_names(runs: pl.DataFrame) -> pl.DataFrame:
    """Each run once per name that scores may use, in `called`: its hub repository and, if different, its reference."""
    by_repository = runs.with_columns(called="repository")
    other = runs.filter(pl.col("repository").ne_missing(pl.col("reference"))).with_columns(called="reference")
    return pl.concat([by_repository, other])


def _best_scores(joined: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """One row per run and benchmark, of the first `_place` where they meet; `joined` has all their meetings."""
    one_score, variant = ["run_id", *SCORE_KEYS], ["score_dtype", "score_chat_template"]
    is_own_dtype = pl.when(pl.col("score_dtype") == pl.col("dtype")).then(0)
    order = ["_place", "_order", "score_is_partial", "_strangeness", "score_as_of", "score_source"]
    newest_first = [name == "score_as_of" for name in order]
    ranked = (
        joined.filter(pl.col("_place") == pl.col("_place").min().over(one_score))
        .join(runs.select("run_id").with_row_index("_order"), on="run_id", maintain_order="left")
        .with_columns(_strangeness=is_own_dtype.when(pl.col("score_dtype").is_null()).then(1).otherwise(2))
        .sort(order, descending=newest_first, nulls_last=True, maintain_order=True)
    )
    settings = (*variant, "score_is_partial", "unit")
    same_setting = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).first().over(one_score)) for name in settings)
    counted = ranked.with_columns(score_variants=pl.struct(variant).n_unique().over(one_score)).filter(same_setting)
    with_sources = counted.with_columns(
        score_sources=pl.col("score_source").n_unique().over(one_score),
        score_lowest=pl.col("score").min().over(one_score),
        score_highest=pl.col("score").max().over(one_score),
    )
    return with_sources.unique(one_score, keep="first", maintain_order=True).drop("_place", "_order", "_strangeness")


def list_benchmarks(scored: pl.DataFrame, *within: str) -> pl.DataFrame:
    """The distinct SCORE_KEYS with their number of models (per group of the columns `within`): the user's own first, then
    by number of models, those with a stated direction before others, means over several benchmarks last."""
    return (
        scored.filter(pl.col("score_match") != "none")
        .group_by([*SCORE_KEYS, *within])
        .agg(
            n_models=pl.col("model_id").n_unique(),
            is_group=pl.col("score_is_group").any(),
            is_own=(pl.col("score_match") == "own").any(),
            has_direction=pl.col("higher_is_better").is_not_null().all(),
        )
        .sort(
            ["is_own", "n_models", "has_direction", "is_group", *SCORE_KEYS, *within],
            descending=[True, True, True] + [False] * (1 + len(SCORE_KEYS) + len(within)),
        )
    )


def default_benchmark(scored: pl.DataFrame, pilot: Pilot | None) -> dict[str, Any] | None:
    """The benchmark to show first: the pre-registered one if there are scores, else the one that most models have."""
    offered = list_benchmarks(scored).to_dicts()
    registered = (row for row in offered if pilot and pilot.benchmark.is_met_by(row))
    return next(registered, offered[0] if offered else None)


def score_key(benchmark: Mapping[str, object]) -> str:
    """A key for the score in a row, as used in URLs."""
    return "~".join("" if benchmark[key] is None else str(benchmark[key]) for key in SCORE_KEYS)


def filter_benchmark(scored: pl.DataFrame, benchmark: dict[str, object]) -> pl.DataFrame:
    """The rows with the same SCORE_KEYS as `benchmark`, a row of `list_benchmarks`."""
    return scored.filter(pl.all_horizontal(pl.col(key).eq_missing(pl.lit(benchmark[key])) for key in SCORE_KEYS))
