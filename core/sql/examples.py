"""Example queries that analysts need: their titles, and the SQL to start from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.locale import N_, translated

_D2 = "estimator = 'd2' AND cloud = 'one_per_type'"
_NOT_VETOED = "run_id NOT IN (SELECT run_id FROM run_checks WHERE outcome = 'veto')"


@dataclass(frozen=True)
class Example:
    title: str
    note: str = ""
    """How to read it, where the title does not say it: the comment that its statement begins with."""
    sql: str = ""

    def statement(self) -> str:
        """The SQL beneath its comment, a line for each sentence."""
        note = translated(self.note or self.title)
        sentences = re.findall(r".+?(?:[.?](?:\s+|$)|。|$)", note)
        return "\n".join([*(f"-- {sentence.strip()}" for sentence in sentences), self.sql])


EXAMPLES = {
    "inner_dimensions": Example(
        N_("Largest inner dimensions, text by text"),
        N_("Compare heights only at equal corpus_id, protocol_hash and tokenizer_hash."),
        sql=f"""SELECT name, corpus_id, protocol, inner_max, inner_max_lower, inner_max_upper, inner_max_layer, n_layers,
    working_dimension, final_dimension_pre_norm, verdict_rise, verdict_fall, s.n_points, protocol_hash, tokenizer_hash, run_id
FROM run_summaries AS s
JOIN runs USING (run_id)
JOIN models USING (model_id)
WHERE {_D2} AND pass = 'text'
    AND {_NOT_VETOED}
ORDER BY corpus_id, protocol_hash, tokenizer_hash, inner_max DESC""",
    ),
    "claims": Example(
        N_("Claims that depend on the specification"),
        sql="""SELECT name, corpus_id, protocol, claim, count(*) FILTER (outcome = 'yes') AS n_yes,
    count(*) FILTER (outcome = 'no') AS n_no, count(*) FILTER (outcome = 'opposite') AS n_opposite,
    count(*) FILTER (outcome = 'cannot_tell') AS n_cannot_tell,
    list(c.estimator || ', ' || c.cloud || ', ' || c.transform) FILTER (is_core AND outcome <> 'yes') AS core_not_yes,
    run_id
FROM run_claims AS c JOIN runs USING (run_id) JOIN models USING (model_id)
WHERE pass = 'text'
GROUP BY ALL
ORDER BY name, corpus_id, claim DESC""",
    ),
    "extrema": Example(
        N_("Peaks and valleys"),
        sql="""SELECT name, corpus_id, protocol, run_extrema.kind, layer, n_layers, value, lower, upper, run_id
FROM run_extrema JOIN runs USING (run_id) JOIN models USING (model_id)
WHERE cloud = 'one_per_type' AND pass = 'text'
ORDER BY name, corpus_id, run_id, layer""",
    ),
    "ranks_disagree": Example(
        N_("Dimension and score disagree in rank"),
        N_("Left out: vetoed runs, partial scores, other revisions. Models on no hub take their base model's scores."),
        sql=f"""WITH measured AS (
    SELECT name, coalesce(repository, base_repository) AS repository, revision, kind, corpus_id, protocol_hash,
        tokenizer_hash, run_id, inner_max
    FROM run_summaries JOIN runs USING (run_id) JOIN models USING (model_id)
    WHERE {_D2} AND pass = 'text'
    AND {_NOT_VETOED}
    QUALIFY row_number() OVER (PARTITION BY model_id, corpus_id, protocol_hash ORDER BY started_at DESC) = 1
), published AS (
    SELECT coalesce(reference, repository) AS repository, revision AS of_revision, benchmark, metric, filter, n_shot,
        suite, replace(unit, 'fraction', 'percent') AS unit, if(unit = 'fraction', 100 * value, value) AS value
    FROM scores LEFT JOIN model_aliases ON alias = repository
    WHERE NOT is_partial AND higher_is_better IS DISTINCT FROM false
), scored AS (
    SELECT measured.*, benchmark, metric, filter, n_shot, suite, unit, avg(value) AS score
    FROM measured JOIN published USING (repository)
    WHERE of_revision IS NULL OR of_revision = revision
    GROUP BY ALL
)
SELECT name, benchmark, metric, n_shot, corpus_id, inner_max, score, unit,
    rank() OVER (alike ORDER BY inner_max DESC) AS rank_by_dimension,
    rank() OVER (alike ORDER BY score DESC) AS rank_by_score,
    count(*) OVER alike AS n_models
FROM scored
WINDOW alike AS (
    PARTITION BY kind, corpus_id, protocol_hash, tokenizer_hash, benchmark, metric, filter, n_shot, suite, unit)
QUALIFY rank_by_dimension <> rank_by_score
ORDER BY abs(rank_by_dimension - rank_by_score) DESC, benchmark, name""",
    ),
    "one_profile": Example(
        N_("The newest run, layer by layer"),
        N_("For another: AND run_id = '...' as the last condition."),
        sql=f"""SELECT layer, state, value AS d2, lower, upper, n_points, n_dropped
FROM layer_estimates
WHERE {_D2} AND transform = 'centred'
    AND run_id = (SELECT run_id FROM runs WHERE pass = 'text' ORDER BY started_at DESC, run_id DESC LIMIT 1)
ORDER BY layer, state DESC""",
    ),
    "repeats": Example(
        N_("What seeds and protocols change"),
        sql=f"""SELECT name, corpus_id, count(*) AS n_runs, list(DISTINCT protocol ORDER BY protocol) AS protocols,
    list(DISTINCT seed ORDER BY seed) AS seeds, min(inner_max) AS lowest, max(inner_max) AS highest,
    100 * (highest / lowest - 1) AS spread_percent,
    avg(50 * (inner_max_upper - inner_max_lower) / inner_max) AS half_interval_percent
FROM run_summaries JOIN runs USING (run_id) JOIN models USING (model_id)
WHERE {_D2} AND pass = 'text'
GROUP BY name, model_id, corpus_id
ORDER BY n_runs DESC, spread_percent DESC, name""",
    ),
    "controls": Example(
        N_("What controls say of the claims"),
        sql="""SELECT trained.name, runs.corpus_id, runs.protocol, control.pass AS control, control.model_seed, claim, ratio, lower,
    upper, power, outcome, run_controls.run_id, control_run_id
FROM run_controls
JOIN runs USING (run_id)
JOIN runs AS control ON control.run_id = control_run_id
JOIN models AS trained ON trained.model_id = runs.model_id
ORDER BY trained.name, runs.corpus_id, runs.protocol, control.pass, control.model_seed, claim DESC""",
    ),
    "checks_not_passed": Example(
        N_("Runs vetoed or warned, and why"),
        sql="""SELECT name, corpus_id, protocol, pass, outcome, check_name, count(*) AS n_layers,
    min(layer) AS first_layer, max(value) AS largest_value, any_value(threshold) AS threshold, run_id
FROM run_checks JOIN runs USING (run_id) JOIN models USING (model_id)
WHERE outcome <> 'pass'
GROUP BY ALL
ORDER BY outcome DESC, name, check_name""",
    ),
    "score_conflicts": Example(
        N_("Scores on which sources disagree"),
        sql="""SELECT coalesce(reference, repository) AS model, revision, benchmark, metric, filter, n_shot,
    replace(unit, 'fraction', 'percent') AS unit, count(*) AS n_rows, count(DISTINCT source) AS n_sources,
    min(if(scores.unit = 'fraction', 100 * value, value)) AS lowest,
    max(if(scores.unit = 'fraction', 100 * value, value)) AS highest, highest - lowest AS difference,
    list(DISTINCT suite ORDER BY suite) AS suites, list(DISTINCT source ORDER BY source) AS sources
FROM scores LEFT JOIN model_aliases ON alias = repository
WHERE NOT is_partial
GROUP BY ALL
HAVING difference > 0 AND n_sources > 1
ORDER BY difference DESC, model, benchmark
LIMIT 500""",
    ),
    "cost": Example(
        N_("Time and memory of each run"),
        sql="""SELECT name, corpus_id, protocol, pass, device, dtype, parameters, epoch(finished_at - started_at) AS seconds,
    n_tokens, n_tokens / nullif(epoch(finished_at - started_at), 0) AS tokens_per_second,
    peak_memory_bytes / 1e9 AS peak_memory_gb,
    CAST(json_extract(phase_seconds, '$.forward') AS DOUBLE) AS forward_seconds,
    CAST(json_extract(phase_seconds, '$.geometry') AS DOUBLE) AS geometry_seconds
FROM runs JOIN models USING (model_id)
ORDER BY seconds DESC""",
    ),
    "corpora": Example(
        N_("Texts compared"),
        sql=f"""SELECT corpora.name, language, domain, n_characters, count(DISTINCT model_id) AS n_models, count(*) AS n_runs,
    min(inner_max) AS lowest, median(inner_max) AS median, max(inner_max) AS highest,
    avg(run_summaries.bits_per_byte) AS bits_per_byte, avg(n_types) AS token_types
FROM corpora JOIN runs USING (corpus_id) JOIN run_summaries USING (run_id)
WHERE {_D2} AND pass = 'text'
GROUP BY ALL
ORDER BY corpora.name""",
    ),
    "lowest_overlap": Example(
        N_("Layers where neighbours change most"),
        sql="""SELECT name, corpus_id, layer_a, layer_b, k, value AS neighbour_overlap, std_error, layer_pairs.n_points, run_id
FROM layer_pairs JOIN runs USING (run_id) JOIN models USING (model_id)
WHERE measure = 'neighbour_overlap' AND layer_b = layer_a + 1 AND pass = 'text'
QUALIFY row_number() OVER (PARTITION BY run_id, k ORDER BY value) <= 3
ORDER BY name, corpus_id, run_id, k, neighbour_overlap""",
    ),
    "words_against_types": Example(
        N_("Words against token types"),
        sql="""SELECT name, corpus_id, protocol, by_type.inner_max AS by_type, by_word.inner_max AS by_word,
    100 * (by_word.inner_max / by_type.inner_max - 1) AS shift_percent,
    by_type.n_points AS n_types, by_word.n_points AS n_words
FROM run_summaries AS by_type
JOIN run_summaries AS by_word ON by_word.run_id = by_type.run_id AND by_word.estimator = by_type.estimator
    AND by_word.cloud = 'one_per_word'
JOIN runs ON runs.run_id = by_type.run_id
JOIN models USING (model_id)
WHERE by_type.estimator = 'd2' AND by_type.cloud = 'one_per_type' AND pass = 'text'
ORDER BY corpus_id, name""",
    ),
    "estimators": Example(
        N_("All estimators at the largest dimension"),
        sql="""SELECT name, corpus_id, layer, e.estimator, n1, n2, value, lower, upper, gaussian_equivalent, e.n_points, e.n_dropped
FROM layer_estimates AS e
JOIN runs USING (run_id)
JOIN models USING (model_id)
JOIN run_summaries AS s ON s.run_id = e.run_id AND s.estimator = 'd2' AND s.cloud = e.cloud
WHERE e.cloud = 'one_per_type' AND transform = 'centred' AND state = 'residual' AND layer = inner_max_layer
    AND pass = 'text'
ORDER BY name, corpus_id, e.run_id, e.estimator, n1, n2""",
    ),
    "dimension_and_score": Example(
        N_("Dimension beside published scores"),
        sql=f"""SELECT name, benchmark, metric, n_shot, inner_max, inner_max_lower, inner_max_upper,
    value AS score, scores.std_error AS score_std_error, unit,
    CASE WHEN meant IS DISTINCT FROM models.repository AND meant <> models.reference THEN 'base model'
        WHEN scores.revision IS NULL THEN 'revision not stated'
        WHEN scores.revision = models.revision THEN 'this revision' ELSE 'another revision' END AS score_of,
    source, corpus_id, protocol
FROM run_summaries JOIN runs USING (run_id) JOIN models USING (model_id)
JOIN (SELECT scores.*, coalesce(reference, repository) AS meant
    FROM scores LEFT JOIN model_aliases ON alias = repository WHERE NOT is_partial) AS scores
    ON meant IN (models.repository, models.reference, models.base_repository)
WHERE {_D2} AND pass = 'text'
    AND {_NOT_VETOED}
ORDER BY benchmark, metric, n_shot, corpus_id, name""",
    ),
    "plan_rules": Example(
        N_("Layer plans: loss of each rule's choice"),
        sql="""SELECT name, plans.plan_id, outcomes.rule, outcomes.blocks, outcomes.is_chosen, difference AS loss_increase,
    outcomes.lower, outcomes.upper, difference - min(difference) OVER (PARTITION BY plans.plan_id) AS above_cheapest,
    random_10th, is_recommended
FROM plans JOIN plan_outcomes AS outcomes USING (plan_id)
WHERE unit = 'block' AND text = 'held_out' AND measure = 'loss' AND NOT outcomes.is_healed
    AND outcomes.rule NOT IN ('path', 'random', 'single')
ORDER BY plans.plan_id DESC, difference""",
    ),
    "schema": Example(
        N_("All tables and columns"),
        sql="""SELECT table_name, column_name, data_type, comment
FROM duckdb_columns()
WHERE schema_name = 'main' AND NOT internal
ORDER BY table_name, column_index""",
    ),
}
"""In the order shown."""
