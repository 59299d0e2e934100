"""Layer profiles as plain data: the app draws them with plotly, files as SVG, decks as native charts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeVar

import polars as pl

from core import wording
from core.analysis.claims import LEVEL
from core.analysis.differences import LayerDifference
from core.analysis.intervals import quantile
from core.figures.chart import Span
from core.locale import _
from core.registry.protocols import REFERENCE, Protocol
from core.sources import Text
from core.tables import Run, RunExtremumRow, ids_of, records
from core.wording.labels import is_vetoed, run_labels
from core.wording.verdicts import claim_name

OfLayer = TypeVar("OfLayer", "Mark", LayerDifference)

PRIMARY = ("d2", "one_per_type")
"""Estimator and cloud of summaries and of the working band."""


GRIDE_RANK = 8
"""The default neighbour rank of GRIDE: at smaller ranks the neighbours are spelling variants of the same word."""


SURROGATE = "gaussian_surrogate"


@dataclass(frozen=True)
class Mark:
    """One value with its 95 percent interval; limits are None where no error is known."""

    layer: int
    depth: float
    value: float
    lower: float | None
    upper: float | None

    def x(self, same_depth: bool) -> float:
        """Its position along the layers: layer number, or relative depth for models of different depth."""
        return self.layer if same_depth else self.depth


@dataclass(frozen=True)
class Curve:
    """One quantity of one run over the layers of the residual stream."""

    run_id: str
    name: str
    marks: list[Mark]
    """Layer 0 (embedding output) to the last block, before the final norm."""
    post_norm: Mark | None
    """The final state after the norm, as the language-model head sees it; not part of the curve."""
    band: tuple[int, int] | None
    """First and last layer of the working band; None for other estimators and clouds."""
    is_vetoed: bool = False
    """A check vetoes the run; its name then carries a mark."""
    colour: int | None = None
    """Index into `figures.chart_figure.COLOURS`; None for that of its place among the curves of a picture."""

    @property
    def final(self) -> Mark | None:
        """The final state before the norm; None where it has no value."""
        return self.marks[-1] if self.marks and self.marks[-1].depth >= 1 else None

    @property
    def in_band(self) -> list[Mark]:
        if self.band is None:
            return []
        return [mark for mark in self.marks if self.band[0] <= mark.layer <= self.band[1]]


@dataclass(frozen=True)
class Reference:
    """A curve to compare with: the same quantity without training, without word order or without non-Gaussian shape."""

    kind: str
    """A control pass (`core.registry.protocols`), or `gaussian_surrogate`, Gaussian points of equal covariance."""
    of_run_id: str
    name: str
    model_seed: int | None
    """Of its random weights, if any."""
    marks: list[Mark]


@dataclass(frozen=True)
class ProfileData:
    """The layer profiles of several runs for one estimator, or one correlator, on one cloud."""

    quantity: str
    cloud: str
    n1: int | None
    curves: list[Curve]
    n_points: tuple[int, int]
    """Smallest and largest cloud among all values; (0, 0) without any."""
    same_depth: bool
    """True if all models have the same number of layers, so that layer numbers may be compared."""
    n2: int | None = None
    """Number of neighbours, where the estimator has no inner rank."""
    transform: str = "centred"
    is_equivalent: bool = False
    """True where each mark is the range of Gaussian equivalents over all n1 of GRIDE: only its ends are drawn."""
    references: list[Reference] = field(default_factory=list)
    is_log: bool = False
    """Whether the y axis is logarithmic."""
    is_correlator: bool = False

    @property
    def is_primary(self) -> bool:
        return (self.quantity, self.cloud, self.transform) == (*PRIMARY, "centred")

    @property
    def colours(self) -> dict[str, int]:
        """Run -> the colour of its curve."""
        return {curve.run_id: n if curve.colour is None else curve.colour for n, curve in enumerate(self.curves)}

    @property
    def cuts_controls(self) -> bool:
        """True where controls would flatten the curves on a linear axis, which then ends above the curves: random weights
        start at the hidden size."""
        values = [mark.value for curve in self.curves for mark in curve.marks]
        against = [mark.value for other in self.references if other.kind != SURROGATE for mark in other.marks]
        if self.is_log or self.is_correlator or not values or not against:
            return False
        return min(values + against) > 0 and max(against) > 2 * max(values)


def profile_points(
    estimates: pl.DataFrame,
    runs: pl.DataFrame,
    estimator: str,
    cloud: str,
    n1: int | None = None,
    n2: int | None = None,
    transform: str = "centred",
    is_equivalent: bool = False,
) -> ProfileData:
    """The curves of these runs in their order; runs without such estimates are left out."""
    if estimator == "gride" and n1 is None:
        n1 = GRIDE_RANK
    rows = select_estimates(estimates, estimator, cloud, n1, n2, transform)
    rows = rows.filter(pl.col("run_id").is_in(ids_of(runs)))
    if is_equivalent:
        limits = {"lower": pl.col("equivalent_lowest"), "upper": pl.col("equivalent_highest")}
        middle = (limits["lower"] * limits["upper"]).sqrt()  # position of the mark; it is never shown as a number
        rows = with_gaussian_equivalents(rows, estimates).with_columns(value=middle, **limits)
    rows = rows.filter(pl.col("value").is_finite())
    banded = (estimator, cloud) == PRIMARY and transform == "centred"
    curves = _curves(rows, runs, banded)
    depth = _same_depth(runs, curves)
    return ProfileData(estimator, cloud, n1, curves, cloud_sizes(rows), depth, n2, transform, is_equivalent)


def select_estimates(
    estimates: pl.DataFrame, estimator: str, cloud: str, n1: int | None, n2: int | None, transform: str
) -> pl.DataFrame:
    """The estimates of one kind; ranks that are None are not filtered by."""
    rows = estimates.filter(estimator=estimator, cloud=cloud, transform=transform)
    rows = rows if n1 is None else rows.filter(n1=n1)
    return rows if n2 is None else rows.filter(n2=n2)


def rows_of(data: ProfileData, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the quantity of a figure, among estimates or correlators."""
    if data.is_correlator:
        return rows.filter(correlator=data.quantity, cloud=data.cloud)
    return select_estimates(rows, data.quantity, data.cloud, data.n1, data.n2, data.transform)


def with_gaussian_equivalents(rows: pl.DataFrame, estimates: pl.DataFrame) -> pl.DataFrame:
    """Rows of GRIDE with `equivalent_lowest` and `equivalent_highest`: the range of Gaussian equivalents over all n1 at the
    same layer, because the value of one rank would look like a measurement. Other rows are returned unchanged."""
    if rows.is_empty() or set(rows["estimator"]) != {"gride"}:
        return rows
    keys = ["run_id", "cloud", "transform", "layer", "state"]
    with_equivalent = estimates.filter(pl.col("gaussian_equivalent").is_finite(), estimator="gride")
    ranges = with_equivalent.group_by(keys).agg(
        equivalent_lowest=pl.col("gaussian_equivalent").min(), equivalent_highest=pl.col("gaussian_equivalent").max()
    )
    return rows.join(ranges, on=keys, how="left", maintain_order="left")


def correlator_points(correlators: pl.DataFrame, runs: pl.DataFrame, correlator: str, cloud: str) -> ProfileData:
    """Like `profile_points`; intervals are the value ± `t_95` standard errors."""
    reach = [t_95(of_protocol(config, "n_blocks")) for config in runs["config"]]
    is_known = pl.col("run_id").is_in(ids_of(runs)) & pl.col("value").is_finite()
    rows = correlators.filter(is_known, correlator=correlator, cloud=cloud)
    of_run = pl.DataFrame({"run_id": runs["run_id"], "t": pl.Series(reach, dtype=pl.Float64)})
    rows = rows.join(of_run, on="run_id", maintain_order="left").with_columns(
        lower=pl.col("value") - pl.col("t") * pl.col("std_error"),
        upper=pl.col("value") + pl.col("t") * pl.col("std_error"),
    )
    curves = _curves(rows, runs, banded=False)
    sizes, depth = cloud_sizes(rows), _same_depth(runs, curves)
    return ProfileData(correlator, cloud, None, curves, sizes, depth, is_correlator=True)


def control_references(
    data: ProfileData,
    rows_of_controls: pl.DataFrame,
    controls: pl.DataFrame,
    runs: pl.DataFrame,
    seeds: pl.DataFrame | None = None,
) -> list[Reference]:
    """The quantity of `data` for the control passes of its runs.

    `rows_of_controls` are estimates or correlators of the control runs, `controls` comes from
    `analysis.differences.control_links`. A control of several draws gives one reference for each, from `seeds`, its rows of
    layer_seeds, where the figure shows what those hold; else that of its first.
    """
    rows = rows_of(data, rows_of_controls)
    has_draws = seeds is not None and (data.cloud, data.transform, data.quantity) == REFERENCE.key[:3]
    draws = {} if seeds is None or not has_draws else seeds.partition_by("run_id", "model_seed", as_dict=True)
    of_run = {run.run_id: run for run in records(runs, Run)}
    drawn_ids = [curve.run_id for curve in data.curves]
    references = []
    columns = ("run_id", "text_run_id", "pass", "model_seed")
    for run_id, text_run_id, kind, first_seed in controls.select(columns).iter_rows():
        if text_run_id not in drawn_ids:
            continue
        about = (kind, of_run[text_run_id])
        own = [(seed, of.with_columns(state=pl.lit("residual"))) for (run, seed), of in draws.items() if run == run_id]
        references += [_reference(of, run_id, *about, seed) for seed, of in own or [(first_seed, rows)]]
    return [reference for reference in references if reference.marks]


def surrogate_references(data: ProfileData, estimates: pl.DataFrame, runs: pl.DataFrame) -> list[Reference]:
    """Estimates on Gaussian points of equal covariance: the distance to them is what is not Gaussian."""
    rows = select_estimates(estimates, data.quantity, data.cloud, data.n1, data.n2, SURROGATE)
    drawn_ids = {curve.run_id for curve in data.curves}
    references = [
        _reference(rows, run.run_id, SURROGATE, run, None) for run in records(runs, Run) if run.run_id in drawn_ids
    ]
    return [reference for reference in references if reference.marks]


def _reference(rows: pl.DataFrame, run_id: str, kind: str, run: Run, model_seed: int | None) -> Reference:
    of_run = rows.filter(pl.col("value").is_finite(), run_id=run_id, state="residual").sort("layer")
    marks = _marks(of_run.with_columns(lower=pl.lit(None), upper=pl.lit(None)), run)
    return Reference(kind, run.run_id, run.name, model_seed, marks)


def unbroken(marks: Sequence[OfLayer]) -> list[list[OfLayer]]:
    """What is of layers in pieces of successive layers, so that no line is drawn across a missing one."""
    pieces = groupby(enumerate(marks), lambda place: place[1].layer - place[0])
    return [[mark for _place, mark in piece] for _offset, piece in pieces]


def range_of_seeds(references: Sequence[Reference]) -> list[Mark]:
    """For each layer the mean over references that differ in their seed alone; limits are the smallest and largest value."""
    marks = sorted((mark for reference in references for mark in reference.marks), key=attrgetter("layer"))
    ranges = []
    for _layer, group in groupby(marks, attrgetter("layer")):
        first, *others = group
        values = [first.value, *(mark.value for mark in others)]
        ranges.append(replace(first, value=sum(values) / len(values), lower=min(values), upper=max(values)))
    return ranges


def t_95(n_blocks: int) -> float:
    """Student's t, 97.5 percent, for a jackknife over `n_blocks` blocks."""
    return quantile(1 - LEVEL / 2, max(n_blocks - 1, 1))


def of_protocol(config: str | None, field: str) -> Any:
    """A number of a run's protocol, from its configuration; where that does not state it, as `Protocol` has it."""
    default = getattr(Protocol, field)
    try:
        return type(default)(json.loads(config or "{}")["protocol"][field])
    except (ValueError, KeyError, TypeError):
        return default


def _curves(rows: pl.DataFrame, runs: pl.DataFrame, banded: bool) -> list[Curve]:
    labels = run_labels(runs)
    curves = []
    for run in records(runs, Run):
        of_run = rows.filter(pl.col("run_id") == run.run_id).sort("layer")
        marks = _marks(of_run.filter(pl.col("state") == "residual"), run)
        after = _marks(of_run.filter(pl.col("state") == "post_norm"), run)
        first, last = run.working_layer_first, run.working_layer_last
        band = None if not banded or first is None or last is None else (first, last)
        if marks:
            after_norm = after[-1] if after else None
            curves.append(Curve(run.run_id, labels[run.run_id], marks, after_norm, band, is_vetoed(run)))
    return curves


def _marks(rows: pl.DataFrame, run: Run) -> list[Mark]:
    found = rows.select("layer", "value", "lower", "upper").iter_rows()
    return [Mark(layer, layer / max(run.n_layers, 1), *values) for layer, *values in found]


def cloud_sizes(rows: pl.DataFrame) -> tuple[int, int]:
    """Smallest and largest `n_points`; (0, 0) without any."""
    sizes = rows["n_points"].drop_nulls()
    return (int(sizes.min()), int(sizes.max())) if len(sizes) else (0, 0)  # type: ignore[arg-type]


def _same_depth(runs: pl.DataFrame, curves: list[Curve]) -> bool:
    drawn_ids = [curve.run_id for curve in curves]
    return runs.filter(pl.col("run_id").is_in(drawn_ids))["n_layers"].n_unique() <= 1 if drawn_ids else True


def value_axis(data: ProfileData) -> str:
    """Title of the axis of values: what was estimated, on which cloud, with its size; on a second line what else to know."""
    if data.is_correlator:
        title = wording.correlator_axis(data.quantity, data.cloud, data.n_points)
    else:
        n1 = None if data.is_equivalent else data.n1
        title = wording.dimension_axis(data.quantity, data.cloud, data.n_points, n1, data.n2)
    notes = [
        _("Gaussian equivalent, over all n1") if data.is_equivalent else "",
        _("log scale") if data.is_log else "",
        _("controls run off the axis") if data.cuts_controls else "",
        wording.name("transform", data.transform) if data.transform != "centred" else "",
    ]
    return Text("\n").join(filter(None, [title, _(", ").join(filter(None, notes))]))


def reference_name(kind: str, model_seed: int | None = None) -> str:
    """`random weights, seed 1`, `shuffled text`, `Gaussian points`."""
    if kind == SURROGATE:
        return wording.name("transform", kind)
    return wording.control_name(kind, model_seed)


# --- peaks, valleys and phases ----------------------------------------------------------------------------------


def claim_phases(run: Run, extrema: Sequence[RunExtremumRow]) -> list[Span]:
    """The ranges where the dimension rises and falls, each only if that claim holds."""
    peak = next((extremum for extremum in main_extrema(extrema, run.run_id) if extremum.kind == "peak"), None)
    if peak is None:
        return []
    before = [extremum.layer for extremum in extrema if extremum.kind == "valley" and extremum.layer < peak.layer]
    spans = {"rise": (max(before, default=0), peak.layer), "fall": (peak.layer, run.n_layers)}
    return [
        Span(claim_name(claim), *span) for claim, span in spans.items() if getattr(run, f"verdict_{claim}") == "holds"
    ]


def extrema_of(extrema: pl.DataFrame, cloud: str) -> list[RunExtremumRow]:
    """The rows of run_extrema on one cloud, each with a value."""
    return records(extrema.filter(pl.col("value").is_not_null(), cloud=cloud), RunExtremumRow)


def main_extrema(extrema: Sequence[RunExtremumRow], run_id: str) -> list[RunExtremumRow]:
    """The highest peak and the lowest valley of a run."""
    own = sorted((extremum for extremum in extrema if extremum.run_id == run_id), key=height)
    peaks, valleys = ([one for one in own if one.kind == kind] for kind in ("peak", "valley"))
    return [*peaks[-1:], *valleys[:1]]


def height(extremum: RunExtremumRow) -> float:
    return extremum.value or 0.0


def curve_text(curve: Curve, name: str) -> str:
    """`SmolLM2: 44 at the embedding, 106 at layer 9, 21.7 after the last block`."""
    inner = curve.marks[1:-1] or curve.marks
    top = max(inner, key=lambda mark: mark.value)
    return _(
        "{name}: {start} at the embedding, at most {top} inside (layer {layer}), {end} after the last block",
        name=name,
        start=wording.number(curve.marks[0].value),
        top=wording.number(top.value),
        layer=top.layer,
        end=wording.number(curve.marks[-1].value),
    )
