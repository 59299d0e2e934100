"""Tables of the section Profile: the numbers of all layers, all quantities of one layer, and the claims."""

from __future__ import annotations

import polars as pl

from core import wording
from core.locale import _
from core.questions.ranking_question import BY_TYPE
from core.questions.runs import Selection
from core.tables import (
    LayerCorrelatorRow,
    LayerEstimateRow,
    LayerPairRow,
    RunCheckRow,
    RunClaimRow,
    RunExtremumRow,
    ids_of,
    records,
)
from core.ui.tables import rounded, without_empty
from core.wording.labels import run_labels
from core.wording.verdicts import marked_ratio_text, specification_name


def layer_table(rows: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """The numbers of a figure of profiles, one line per run and layer: value, error, scale and sample size.

    `rows` are estimates or correlators; a column that they do not have, or that is empty, is left out.
    """
    labels = run_labels(runs)
    return without_empty(
        {
            _("Model"): [labels[run_id] for run_id in ids_of(rows)],
            _("Layer"): rows["layer"],
            _("State"): [wording.name("state", state) for state in rows["state"]],
            _("Value"): rounded(rows, "value", 4),
            # Always a range over the ranks of GRIDE: one value would look like a measurement.
            _("Gaussian equivalent, over all n1"): _range_texts(rows, "equivalent_lowest", "equivalent_highest"),
            _("Standard error"): rounded(rows, "std_error", 2),
            _("95 % interval"): _range_texts(rows, "lower", "upper"),
            _("Mean neighbour distance"): rounded(rows, "mean_distance", 3),
            _("N (points)"): rows["n_points"],
            _("Dropped"): rows["n_dropped"] if "n_dropped" in rows.columns else None,
        }
    )


def one_layer_table(layer: int, selection: Selection) -> pl.DataFrame:
    """The quantities of one layer, a column per run: its place in the profile, estimates with intervals, correlators, the
    distance to the layer before, and checks."""
    labels = run_labels(selection.runs)
    lines: dict[str, dict[str, str]] = {}

    def add(title: str, run_id: str, text: str) -> None:
        lines.setdefault(title, {})[run_id] = text

    for extremum in records(selection.of_runs(selection.extrema).filter(layer=layer, cloud=BY_TYPE), RunExtremumRow):
        add(_("In the profile"), extremum.run_id, wording.name("extremum", extremum.kind))
    estimates, correlators = (
        selection.of_runs(rows).filter(layer=layer).sort(pl.col("cloud") != BY_TYPE, maintain_order=True)
        for rows in (selection.estimates, selection.correlators)
    )
    for estimate in records(estimates.filter(transform="centred"), LayerEstimateRow):
        scale = [f"n1={estimate.n1}"] if estimate.n1 else [f"k={estimate.n2}"] if estimate.n2 else []
        name = [wording.estimator_name(estimate.estimator), *scale, *_cloud_and_state(estimate)]
        add(_(", ").join(name), estimate.run_id, wording.with_interval(estimate.value, estimate.lower, estimate.upper))
    for correlator in records(correlators, LayerCorrelatorRow):
        name = [wording.name("correlator", correlator.correlator), *_cloud_and_state(correlator)]
        error = "" if correlator.std_error is None else f" ± {correlator.std_error:.2g}"
        add(_(", ").join(name), correlator.run_id, wording.number(correlator.value) + error)
    for pair in records(selection.pairs.filter(layer_a=layer - 1, layer_b=layer), LayerPairRow):
        measure = wording.name("pair", pair.measure)
        title = _("{measure}, from layer {layer}").format(measure=measure, layer=layer - 1)
        add(title, pair.run_id, wording.number(pair.value))
    for check in records(selection.of_runs(selection.checks).filter(layer=layer), RunCheckRow):
        outcome = wording.outcome_name(check.outcome)
        title = _("Check: {name}").format(name=wording.name("check", check.check_name))
        add(title, check.run_id, _("{outcome} ({value})").format(outcome=outcome, value=wording.number(check.value)))
    columns = {label: [texts.get(run_id, "–") for texts in lines.values()] for run_id, label in labels.items()}
    return pl.DataFrame({_("Quantity"): list(lines), **columns})


def _cloud_and_state(row: LayerEstimateRow | LayerCorrelatorRow) -> list[str]:
    """The cloud and the state of a row, where they are not one per type and residual."""
    cloud = [] if row.cloud == BY_TYPE else [wording.name("cloud", row.cloud)]
    return cloud + ([] if row.state == "residual" else [wording.name("state", row.state)])


def _range_texts(rows: pl.DataFrame, low: str, high: str) -> list[str | None] | None:
    """`5.9 – 55` for each row, by its columns of the two ends; None where the rows do not have them."""
    if low not in rows.columns:
        return None
    ends = rows.select(low, high).rows()
    return [None if start is None else f"{wording.number(start)} – {wording.number(end)}" for start, end in ends]


def claim_table(rows: pl.DataFrame, runs: pl.DataFrame, estimates: pl.DataFrame) -> pl.DataFrame:
    """One line per specification and claim, the core first, and one for its final dimension where it was measured; a column
    per run with outcome and ratio."""
    labels = run_labels(runs)
    keys = ["run_id", "cloud", "transform", "estimator", "n1"]
    finals = (
        estimates.join(runs.select("run_id", layer="n_layers"), on=["run_id", "layer"], how="semi")
        .filter(state="residual")
        .drop_nulls("value")
        .select(*keys, "value", "lower", "upper")
    )
    ends = {row[: len(keys)]: row[len(keys) :] for row in finals.iter_rows()}
    claims = rows.filter(pl.col("run_id").is_in(list(labels))).sort(pl.col("is_core").not_(), maintain_order=True)
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in records(claims, RunClaimRow):
        named = specification_name(row), _("yes") if row.is_core else ""
        lines.setdefault((*named, wording.name("claim", row.claim)), {})[row.run_id] = marked_ratio_text(row)
        final = ends.get(tuple(getattr(row, key) for key in keys))
        if row.claim == "fall" and final is not None:  # from start to peak, to the end
            lines.setdefault((*named, _("Final dimension")), {})[row.run_id] = wording.with_interval(*final)
    heads = _("Specification"), _("Core"), _("Claim")
    return pl.DataFrame(
        {head: [line[at] for line in lines] for at, head in enumerate(heads)}
        | {label: [texts.get(run_id, "–") for texts in lines.values()] for run_id, label in labels.items()}
    )
