"""The schema, as named, ordered steps. A step that has been released is history: add a new one, never edit it.

Ingest cost decides the indexes. Only the small tables have a primary key; the layer tables have none, because an
index slows the bulk insert of a run, and because one run's rows lie together anyway (run ids are time-ordered), which
lets DuckDB skip all other row groups by their minimum and maximum.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from core.errors import WarehouseError
from core.warehouse.comments import COMMENTS

Connection = duckdb.DuckDBPyConnection


class NewerSchema(WarehouseError):
    """The file has steps that this version does not know."""


class OtherProgram(WarehouseError):
    """The file is of DuckDB and not of Workdim."""


def create_runs(connection: Connection) -> None:
    """What was measured: models, corpora, runs."""
    connection.execute("""
        CREATE TABLE models (
            model_id VARCHAR PRIMARY KEY, reference VARCHAR NOT NULL, name VARCHAR NOT NULL, repository VARCHAR,
            revision VARCHAR NOT NULL, base_repository VARCHAR, base_relation VARCHAR, kind VARCHAR NOT NULL,
            architecture VARCHAR NOT NULL, family VARCHAR NOT NULL, parameters BIGINT NOT NULL,
            hidden_size BIGINT NOT NULL, n_layers BIGINT NOT NULL, vocabulary_size BIGINT NOT NULL,
            tokenizer_hash VARCHAR NOT NULL, weight_format VARCHAR NOT NULL, weight_bytes BIGINT NOT NULL,
            weights_sha256 VARCHAR NOT NULL, licence VARCHAR);
        CREATE TABLE corpora (
            corpus_id VARCHAR PRIMARY KEY, name VARCHAR NOT NULL, language VARCHAR NOT NULL, domain VARCHAR NOT NULL,
            licence VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, n_documents BIGINT NOT NULL,
            n_characters BIGINT NOT NULL, source VARCHAR NOT NULL);
        CREATE TABLE runs (
            run_id VARCHAR PRIMARY KEY, parent_run_id VARCHAR, pass VARCHAR NOT NULL, seed BIGINT NOT NULL,
            model_id VARCHAR NOT NULL, corpus_id VARCHAR NOT NULL, pilot_id VARCHAR, protocol VARCHAR NOT NULL,
            protocol_hash VARCHAR NOT NULL, status VARCHAR NOT NULL, tags VARCHAR[] NOT NULL, note VARCHAR,
            started_at TIMESTAMP NOT NULL, finished_at TIMESTAMP NOT NULL, dtype VARCHAR NOT NULL,
            device VARCHAR NOT NULL, code_version VARCHAR NOT NULL, library_versions VARCHAR NOT NULL,
            config VARCHAR NOT NULL, n_sequences BIGINT NOT NULL, n_tokens BIGINT NOT NULL,
            n_tokens_used BIGINT NOT NULL, n_types BIGINT NOT NULL, n_dropped_position BIGINT NOT NULL,
            n_dropped_special BIGINT NOT NULL, n_dropped_norm BIGINT NOT NULL, max_norm_ratio DOUBLE,
            n_bytes_scored BIGINT, peak_memory_bytes BIGINT NOT NULL, phase_seconds VARCHAR NOT NULL);
    """)


def create_layer_tables(connection: Connection) -> None:
    """What was found, layer by layer, as long rows."""
    connection.execute("""
        CREATE TABLE layer_estimates (
            run_id VARCHAR NOT NULL, layer BIGINT NOT NULL, state VARCHAR NOT NULL, stack VARCHAR NOT NULL,
            cloud VARCHAR NOT NULL, estimator VARCHAR NOT NULL, n1 BIGINT, n2 BIGINT, transform VARCHAR NOT NULL,
            mean_distance DOUBLE, value DOUBLE, std_error DOUBLE, lower DOUBLE, upper DOUBLE,
            gaussian_equivalent DOUBLE, n_points BIGINT NOT NULL, n_dropped BIGINT NOT NULL);
        CREATE TABLE layer_correlators (
            run_id VARCHAR NOT NULL, layer BIGINT NOT NULL, state VARCHAR NOT NULL, cloud VARCHAR NOT NULL,
            correlator VARCHAR NOT NULL, value DOUBLE, std_error DOUBLE, n_points BIGINT NOT NULL);
        CREATE TABLE layer_pairs (
            run_id VARCHAR NOT NULL, measure VARCHAR NOT NULL, cloud VARCHAR NOT NULL, k BIGINT,
            layer_a BIGINT NOT NULL, layer_b BIGINT NOT NULL, value DOUBLE, std_error DOUBLE,
            n_points BIGINT NOT NULL);
        CREATE TABLE layer_replicates (
            run_id VARCHAR NOT NULL, layer BIGINT NOT NULL, state VARCHAR NOT NULL, cloud VARCHAR NOT NULL,
            estimator VARCHAR NOT NULL, n1 BIGINT, blocks DOUBLE[] NOT NULL, halves DOUBLE[] NOT NULL);
        CREATE TABLE layer_distributions (
            run_id VARCHAR NOT NULL, layer BIGINT NOT NULL, quantity VARCHAR NOT NULL, bin_lower DOUBLE NOT NULL,
            bin_upper DOUBLE NOT NULL, count BIGINT NOT NULL);
        CREATE TABLE run_checks (
            run_id VARCHAR NOT NULL, check_name VARCHAR NOT NULL, layer BIGINT, value DOUBLE, threshold DOUBLE,
            outcome VARCHAR NOT NULL);
        CREATE TABLE run_summaries (
            run_id VARCHAR NOT NULL, estimator VARCHAR NOT NULL, cloud VARCHAR NOT NULL,
            working_dimension DOUBLE, working_dimension_lower DOUBLE, working_dimension_upper DOUBLE,
            working_layer BIGINT, working_layer_first BIGINT, working_layer_last BIGINT, relative_depth DOUBLE,
            embedding_dimension DOUBLE, embedding_dimension_lower DOUBLE, embedding_dimension_upper DOUBLE,
            final_dimension_pre_norm DOUBLE, final_dimension_pre_norm_lower DOUBLE,
            final_dimension_pre_norm_upper DOUBLE, final_dimension_post_norm DOUBLE,
            final_dimension_post_norm_lower DOUBLE, final_dimension_post_norm_upper DOUBLE,
            expansion_ratio DOUBLE, expansion_ratio_lower DOUBLE, expansion_ratio_upper DOUBLE,
            contraction_ratio DOUBLE, contraction_ratio_lower DOUBLE, contraction_ratio_upper DOUBLE,
            contraction_ratio_post_norm DOUBLE, verdict VARCHAR NOT NULL, qualifiers VARCHAR[] NOT NULL,
            bits_per_byte DOUBLE, n_points BIGINT NOT NULL);
    """)


def create_scores(connection: Connection) -> None:
    """Published benchmark results, one row per model, benchmark, metric, filter, shots and source."""
    connection.execute("""
        CREATE TABLE scores (
            repository VARCHAR NOT NULL, revision VARCHAR, benchmark VARCHAR NOT NULL, metric VARCHAR NOT NULL,
            filter VARCHAR NOT NULL, n_shot BIGINT, suite VARCHAR NOT NULL, value DOUBLE NOT NULL, std_error DOUBLE,
            unit VARCHAR NOT NULL, higher_is_better BOOLEAN, n_samples BIGINT, is_partial BOOLEAN NOT NULL,
            is_group BOOLEAN NOT NULL, source VARCHAR NOT NULL, licence VARCHAR NOT NULL, as_of VARCHAR,
            flags VARCHAR NOT NULL, file_sha256 VARCHAR NOT NULL);
    """)


def create_pilots_and_plans(connection: Connection) -> None:
    """What was intended: pilots before measuring, layer plans after it, and what came of them."""
    connection.execute("""
        CREATE TABLE pilots (
            pilot_id VARCHAR PRIMARY KEY, name VARCHAR NOT NULL, use_class VARCHAR NOT NULL, models VARCHAR[] NOT NULL,
            corpora VARCHAR[] NOT NULL, protocol VARCHAR NOT NULL, seed BIGINT NOT NULL, benchmark VARCHAR,
            metric VARCHAR, config VARCHAR NOT NULL, note VARCHAR, created_at TIMESTAMP NOT NULL);
        CREATE TABLE plans (
            plan_id VARCHAR PRIMARY KEY, run_id VARCHAR NOT NULL, model_id VARCHAR NOT NULL, kind VARCHAR NOT NULL,
            blocks BIGINT[] NOT NULL, budget_nats DOUBLE, predicted_nats DOUBLE, config VARCHAR NOT NULL, note VARCHAR,
            created_at TIMESTAMP NOT NULL);
        CREATE TABLE plan_outcomes (
            plan_id VARCHAR NOT NULL, measure VARCHAR NOT NULL, corpus_id VARCHAR, value_before DOUBLE,
            value_after DOUBLE, std_error DOUBLE, n_points BIGINT, created_at TIMESTAMP NOT NULL);
    """)


def add_controls_and_words(connection: Connection) -> None:
    """What controls, other tokenizers and encoder-decoders need; earlier runs have NULL there."""
    for table, column, kind in (
        ("models", "configuration_hash", "VARCHAR"),
        ("runs", "stack", "VARCHAR"),
        ("runs", "model_seed", "BIGINT"),
        ("runs", "words_hash", "VARCHAR"),
        ("runs", "n_words", "BIGINT"),
        ("runs", "n_words_lost", "BIGINT"),
        ("runs", "bits_per_byte", "DOUBLE"),
        ("layer_estimates", "notes", "VARCHAR"),
        ("layer_estimates", "gaussian_equivalent_lower", "DOUBLE"),
        ("layer_estimates", "gaussian_equivalent_upper", "DOUBLE"),
        ("run_checks", "std_error", "DOUBLE"),
        ("run_summaries", "control_run_ids", "VARCHAR[]"),
        ("run_summaries", "contraction_ratio_abtt3", "DOUBLE"),
        ("run_summaries", "expansion_ratio_gride_8", "DOUBLE"),
        ("run_summaries", "contraction_ratio_gride_8", "DOUBLE"),
    ):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


def add_chat_templates(connection: Connection) -> None:
    """What runs on chat messages say about the template; NULL for plain text and in earlier runs."""
    connection.execute("ALTER TABLE runs ADD COLUMN n_dropped_template BIGINT")
    connection.execute("ALTER TABLE runs ADD COLUMN chat_template_hash VARCHAR")


def add_pilot_runs(connection: Connection) -> None:
    """Which runs are results of which pilots: one run can serve several."""
    connection.execute("""
        CREATE TABLE pilot_runs (
            pilot_id VARCHAR NOT NULL, run_id VARCHAR NOT NULL, PRIMARY KEY (pilot_id, run_id));
    """)


def add_execution(connection: Connection) -> None:
    """How a run found room in the memory; NULL in earlier runs."""
    connection.execute("ALTER TABLE runs ADD COLUMN execution VARCHAR")


def add_score_imports(connection: Connection) -> None:
    """What scores of many files need: where each came from, who is meant by a name, single answers; saved queries."""
    for column, kind in (
        ("dtype", "VARCHAR"),
        ("chat_template", "BOOLEAN"),
        ("task_version", "VARCHAR"),
        ("source_row", "VARCHAR"),
    ):
        connection.execute(f"ALTER TABLE scores ADD COLUMN {column} {kind}")
    connection.execute("""
        CREATE TABLE score_files (
            file_sha256 VARCHAR PRIMARY KEY, file_name VARCHAR NOT NULL, format VARCHAR NOT NULL,
            n_taken BIGINT NOT NULL, n_skipped BIGINT NOT NULL, imported_at TIMESTAMP NOT NULL);
        CREATE TABLE score_samples (
            file_sha256 VARCHAR NOT NULL, repository VARCHAR NOT NULL, revision VARCHAR, benchmark VARCHAR NOT NULL,
            metric VARCHAR NOT NULL, filter VARCHAR NOT NULL, doc_hash VARCHAR NOT NULL, doc_id BIGINT,
            value DOUBLE NOT NULL);
        CREATE TABLE model_aliases (
            alias VARCHAR PRIMARY KEY, reference VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL);
        CREATE TABLE saved_queries (
            name VARCHAR PRIMARY KEY, sql VARCHAR NOT NULL, note VARCHAR, created_at TIMESTAMP NOT NULL);
    """)


MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    1: create_runs,
    2: create_layer_tables,
    3: create_scores,
    4: create_pilots_and_plans,
    5: add_controls_and_words,
    6: add_chat_templates,
    7: add_pilot_runs,
    8: add_execution,
    9: add_score_imports,
}


def pending(connection: Connection) -> list[int]:
    """The steps that this file still lacks; an error where the file is newer than this program, or is not ours."""
    applied = _applied(connection)
    unknown = sorted(applied - MIGRATIONS.keys())
    if unknown:
        raise NewerSchema(
            f"was written by a newer Workdim (schema step {unknown[-1]}; this one knows {max(MIGRATIONS)}). "
            "Update Workdim, or choose another file with --warehouse."
        )
    return sorted(MIGRATIONS.keys() - applied)


def apply(connection: Connection, steps: list[int]) -> None:
    """Run the steps and record each; the caller holds the transaction, so all of it happens or nothing."""
    connection.execute("""
        CREATE TABLE IF NOT EXISTS schema_migrations (
            version BIGINT PRIMARY KEY, name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)
    """)
    for version in steps:
        step = MIGRATIONS[version]
        step(connection)
        connection.execute(
            "INSERT INTO schema_migrations VALUES (?, ?, now() AT TIME ZONE 'UTC')", [version, step.__name__]
        )
    for table, (comment, columns) in COMMENTS.items():
        connection.execute(f"COMMENT ON TABLE {table} IS {_quoted(comment)}")
        for column, text in columns.items():
            connection.execute(f"COMMENT ON COLUMN {table}.{column} IS {_quoted(text)}")


def _applied(connection: Connection) -> set[int]:
    try:
        return {row[0] for row in connection.execute("SELECT version FROM schema_migrations").fetchall()}
    except duckdb.CatalogException:
        tables = [row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables() LIMIT 3").fetchall()]
    if tables:
        raise OtherProgram(
            f"is a DuckDB file of another program (it holds {', '.join(tables)}). Choose another file with --warehouse."
        )
    return set()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
