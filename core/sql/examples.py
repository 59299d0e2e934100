"""Questions that an analyst really asks: their titles, and the SQL to start from."""

from __future__ import annotations

from core.registry.passes import SHARED

_D2 = "estimator = 'd2' AND cloud = 'one_per_type'"
_SHARED = ", ".join(f"'{key}'" for key in SHARED)
_NOT_VETOED = "run_id NOT IN (SELECT run_id FROM run_checks WHERE outcome = 'veto')"


def _(message: str) -> str:
    """Marks a message for the catalogues; it is translated when a reader's language is known."""
    return message


TITLES = {
    "working_dimensions": _("Working dimension of all models, text by text, with intervals"),
    "ranks_disagree": _("Models whose dimension and score disagree in rank"),
    "one_profile": _("Profile of the newest run, layer by layer"),
    "repeats": _("How much seeds and protocols move the working dimension"),
    "controls": _("Trained models against their controls"),
    "checks_not_passed": _("Runs that were vetoed or warned, and why"),
    "score_conflicts": _("Scores on which sources disagree"),
    "cost": _("Time and memory of each run"),
    "corpora": _("Texts compared"),
    "lowest_overlap": _("Layers where neighbours change most"),
    "words_against_types": _("One point per word against one per token type"),
    "estimators": _("All estimators at the working layer"),
    "dimension_and_score": _("Dimension beside published scores"),
    "schema": _("All tables and columns with their meaning"),
}

EXAMPLES: dict[str, str] = {
    "working_dimensions": f"""
-- Compare heights only where corpus_id, protocol_hash and tokenizer_hash are equal.
SELECT name, corpus_id, protocol, working_dimension, working_dimension_lower, working_dimension_upper,
    working_layer, n_layers, final_dimension_pre_norm, verdict, s.n_points, protocol_hash, tokenizer_hash, run_id
FROM run_summaries AS s
JOIN runs USING (run_id)
JOIN models USING (model_id)
WHERE {_D2} AND pass = 'text'
    AND {_NOT_VETOED}
ORDER BY corpus_id, protocol_hash, tokenizer_hash, working_dimension DESC""",
    "ranks_disagree": f"""
-- Within one text, protocol, tokenizer and kind of model; runs that a check vetoes, partial scores and scores of
-- another revision left out. A model that is on no hub is joined with the scores of its base model.
WITH measured AS (
    SELECT name, coalesce(repository, base_repository) AS repository, revision, kind, corpus_id, protocol_hash,
        tokenizer_hash, run_id, working_dimension
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
SELECT name, benchmark, metric, n_shot, corpus_id, working_dimension, score, unit,
    rank() OVER (alike ORDER BY working_dimension DESC) AS rank_by_dimension,
    rank() OVER (alike ORDER BY score DESC) AS rank_by_score,
    count(*) OVER alike AS n_models
FROM scored
WINDOW alike AS (
    PARTITION BY kind, corpus_id, protocol_hash, tokenizer_hash, benchmark, metric, filter, n_shot, suite, unit)
QUALIFY rank_by_dimension <> rank_by_score
ORDER BY abs(rank_by_dimension - rank_by_score) DESC, benchmark, name""",
    "one_profile": f"""
-- The newest run on text, layer by layer. Another one: AND run_id = '...' instead of the last condition.
SELECT layer, state, value AS d2, lower, upper, n_points, n_dropped
FROM layer_estimates
WHERE {_D2} AND transform = 'centred'
    AND run_id = (SELECT run_id FROM runs WHERE pass = 'text' ORDER BY started_at DESC, run_id DESC LIMIT 1)
ORDER BY layer, state DESC""",
    "repeats": f"""
-- By how much other seeds and protocols move the working dimension of one model on one text.
SELECT name, corpus_id, count(*) AS n_runs, list(DISTINCT protocol ORDER BY protocol) AS protocols,
    list(DISTINCT seed ORDER BY seed) AS seeds, min(working_dimension) AS lowest, max(working_dimension) AS highest,
    100 * (highest / lowest - 1) AS spread_percent,
    avg(50 * (working_dimension_upper - working_dimension_lower) / working_dimension) AS half_interval_percent
FROM run_summaries JOIN runs USING (run_id) JOIN models USING (model_id)
WHERE {_D2} AND pass = 'text'
GROUP BY name, model_id, corpus_id
ORDER BY n_runs DESC, spread_percent DESC, name""",
    "controls": f"""
-- Trained model against its control passes, those of every model of its configuration included.
SELECT trained.name, runs.corpus_id, runs.protocol, control.pass AS control, control.model_seed,
    t.working_dimension AS trained_working, c.working_dimension AS control_working,
    t.expansion_ratio AS trained_expansion, c.expansion_ratio AS control_expansion,
    t.verdict AS trained_verdict, c.verdict AS control_shows
FROM runs
JOIN models AS trained USING (model_id)
JOIN run_summaries AS t ON t.run_id = runs.run_id AND t.estimator = 'd2' AND t.cloud = 'one_per_type'
JOIN runs AS control ON control.pass <> 'text' AND control.corpus_id = runs.corpus_id
    AND control.protocol_hash = runs.protocol_hash
JOIN models AS other ON other.model_id = control.model_id
    AND (control.model_id = runs.model_id
        OR control.pass IN ({_SHARED}) AND other.configuration_hash = trained.configuration_hash)
JOIN run_summaries AS c ON c.run_id = control.run_id AND c.estimator = 'd2' AND c.cloud = 'one_per_type'
WHERE runs.pass = 'text'
ORDER BY trained.name, runs.corpus_id, runs.protocol, control.pass, control.model_seed""",
    "checks_not_passed": """
-- What each run was vetoed or warned for, and by how much it missed.
SELECT name, corpus_id, protocol, pass, outcome, check_name, count(*) AS n_layers,
    min(layer) AS first_layer, max(value) AS largest_value, any_value(threshold) AS threshold, run_id
FROM run_checks JOIN runs USING (run_id) JOIN models USING (model_id)
WHERE outcome <> 'pass'
GROUP BY ALL
ORDER BY outcome DESC, name, check_name""",
    "score_conflicts": """
-- One model, benchmark, metric and number of shots, and sources that do not agree; also where they used different
-- suites, which may be why.
SELECT coalesce(reference, repository) AS model, revision, benchmark, metric, filter, n_shot,
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
    "cost": """
-- Time and memory of each run; the phases are a JSON object of seconds.
SELECT name, corpus_id, protocol, pass, device, dtype, parameters, epoch(finished_at - started_at) AS seconds,
    n_tokens, n_tokens / nullif(epoch(finished_at - started_at), 0) AS tokens_per_second,
    peak_memory_bytes / 1e9 AS peak_memory_gb,
    CAST(json_extract(phase_seconds, '$.states') AS DOUBLE) AS states_seconds,
    CAST(json_extract(phase_seconds, '$.geometry') AS DOUBLE) AS geometry_seconds
FROM runs JOIN models USING (model_id)
ORDER BY seconds DESC""",
    "corpora": f"""
-- Texts side by side: how large, what was measured on them, and between which values the working dimension lies.
SELECT corpora.name, language, domain, n_characters, count(DISTINCT model_id) AS n_models, count(*) AS n_runs,
    min(working_dimension) AS lowest, median(working_dimension) AS median, max(working_dimension) AS highest,
    avg(run_summaries.bits_per_byte) AS bits_per_byte, avg(n_types) AS token_types
FROM corpora JOIN runs USING (corpus_id) JOIN run_summaries USING (run_id)
WHERE {_D2} AND pass = 'text'
GROUP BY ALL
ORDER BY corpora.name""",
    "lowest_overlap": """
-- Where a block rearranges its tokens most: the smallest share of common neighbours of two successive layers.
SELECT name, corpus_id, layer_a, layer_b, k, value AS neighbour_overlap, std_error, layer_pairs.n_points, run_id
FROM layer_pairs JOIN runs USING (run_id) JOIN models USING (model_id)
WHERE measure = 'neighbour_overlap' AND layer_b = layer_a + 1 AND pass = 'text'
QUALIFY row_number() OVER (PARTITION BY run_id, k ORDER BY value) <= 3
ORDER BY name, corpus_id, run_id, k, neighbour_overlap""",
    "words_against_types": """
-- Does it matter whether a point stands for a token type or for a word? Words compare across tokenizers.
SELECT name, corpus_id, protocol, by_type.working_dimension AS by_type, by_word.working_dimension AS by_word,
    100 * (by_word.working_dimension / by_type.working_dimension - 1) AS shift_percent,
    by_type.n_points AS n_types, by_word.n_points AS n_words
FROM run_summaries AS by_type
JOIN run_summaries AS by_word ON by_word.run_id = by_type.run_id AND by_word.estimator = by_type.estimator
    AND by_word.cloud = 'one_per_word'
JOIN runs ON runs.run_id = by_type.run_id
JOIN models USING (model_id)
WHERE by_type.estimator = 'd2' AND by_type.cloud = 'one_per_type' AND pass = 'text'
ORDER BY corpus_id, name""",
    "estimators": """
-- All estimators at the working layer of each run, and what isotropic Gaussian points would have to be to read so.
SELECT name, corpus_id, layer, e.estimator, n1, n2, value, lower, upper, gaussian_equivalent, e.n_points, e.n_dropped
FROM layer_estimates AS e
JOIN runs USING (run_id)
JOIN models USING (model_id)
JOIN run_summaries AS s ON s.run_id = e.run_id AND s.estimator = 'd2' AND s.cloud = e.cloud
WHERE e.cloud = 'one_per_type' AND transform = 'centred' AND state = 'residual' AND layer = working_layer
    AND pass = 'text'
ORDER BY name, corpus_id, e.run_id, e.estimator, n1, n2""",
    "dimension_and_score": f"""
-- Dimension beside published scores, and whose score each is.
SELECT name, benchmark, metric, n_shot, working_dimension, working_dimension_lower, working_dimension_upper,
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
    "schema": """
-- Every column of every table, its type and what it means.
SELECT table_name, column_name, data_type, comment
FROM duckdb_columns()
WHERE schema_name = 'main' AND NOT internal
ORDER BY table_name, column_index""",
}
"""Name -> statement, in the order in which they are offered."""

EXAMPLES = {name: sql.strip() for name, sql in EXAMPLES.items()}
