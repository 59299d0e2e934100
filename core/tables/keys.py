"""What tells the rows of a table apart. Where no index holds that, the ingest and the integrity check do."""

from __future__ import annotations

KEYS: dict[str, tuple[str, ...]] = {
    "layer_estimates": ("run_id", "layer", "state", "stack", "cloud", "estimator", "n1", "n2", "transform"),
    "layer_correlators": ("run_id", "layer", "state", "cloud", "correlator"),
    "layer_pairs": ("run_id", "measure", "cloud", "k", "layer_a", "layer_b"),
    "layer_replicates": ("run_id", "layer", "state", "cloud", "estimator", "n1"),
    "layer_distributions": ("run_id", "layer", "quantity", "bin_lower"),
    "run_checks": ("run_id", "check_name", "layer"),
    "run_summaries": ("run_id", "estimator", "cloud"),
}
LAYER_COLUMNS: dict[str, tuple[str, ...]] = {
    "layer_estimates": ("layer",),
    "layer_correlators": ("layer",),
    "layer_pairs": ("layer_a", "layer_b"),
    "layer_replicates": ("layer",),
    "layer_distributions": ("layer",),
    "run_checks": ("layer",),
    "run_summaries": ("working_layer", "working_layer_first", "working_layer_last"),
}
"""Columns that number layers: 0 to n_layers of the model."""
