"""What the pictures show, as plain data: the app draws it with plotly, the deck as native charts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.analysis.claims import LEVEL
from core.analysis.ranks import quantile
from core.figures.style import COLOURS, DASHES, LOG_TICKS, QUIET, TEXT, bars, empty, faded, frame, shown
from core.locale import translator
from core.registry.passes import CONTROLS
from core.wording.labels import run_labels

PRIMARY = ("d2", "one_per_type")
"""The estimator and cloud that working band and summaries belong to."""

GRIDE_RANK = 8
"""The neighbour rank that gride is read at: below it, spelling variants of one word are the neighbours."""

SURROGATE = "gaussian_surrogate"

USUAL_BLOCKS = 16
"""Blocks of the jackknife where a run's configuration does not say how many."""


@dataclass(frozen=True)
class Mark:
    """One value with its 95 percent interval; limits are None where no error is known."""

    layer: int
    depth: float
    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Curve:
    """One quantity of one run over the layers of the residual stream."""

    run_id: str
    name: str
    marks: list[Mark]
    """Layer 0 (embedding output) to the last block, before the final norm."""
    post_norm: Mark | None
    """The final state after the norm, as the language-model head sees it: never part of the curve."""
    band: tuple[int, int] | None
    """First and last layer of the working band; None for other estimators and clouds."""
    is_vetoed: bool = False
    """A check vetoes the run's numbers; its name carries the mark of that."""

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
    """What a curve is to be held against: the same quantity where training, word order or shape are taken away."""

    kind: str
    """A control pass (`core.registry.passes`), or `gaussian_surrogate`, Gaussian points of equal covariance."""
    of_run_id: str
    name: str
    model_seed: int | None
    """Where its weights depend on one."""
    marks: list[Mark]


@dataclass(frozen=True)
class ProfileData:
    """The layer profiles of several runs for one estimator on one cloud."""

    estimator: str
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
    """True where each mark is a range, over all n1 of GRIDE, of the dimension of the Gaussian cloud that it would read
    the same on: only its ends are drawn."""
    references: list[Reference] = field(default_factory=list)
    is_log: bool = False
    """Whether the reader asked for a logarithmic axis; it is linear otherwise."""

    @property
    def cuts_controls(self) -> bool:
        """True where controls would press the curves flat on a linear axis, which then ends above the curves."""
        controls = [reference for reference in self.references if reference.kind != SURROGATE]
        return not self.is_log and press_flat(self.curves, controls)

    @property
    def highest(self) -> float:
        """Of the curves with their intervals."""
        return highest(self.curves)


@dataclass(frozen=True)
class CorrelatorData:
    """The layer profiles of several runs for one correlator on one cloud."""

    correlator: str
    cloud: str
    curves: list[Curve]
    n_points: tuple[int, int]
    same_depth: bool
    references: list[Reference] = field(default_factory=list)


def highest(curves: Sequence[Curve]) -> float:
    """The largest value that curves reach with their intervals."""
    marks = [mark for curve in curves for mark in [*curve.marks, *([curve.post_norm] if curve.post_norm else [])]]
    return max((max(mark.value, mark.upper or mark.value) for mark in marks), default=0.0)


def press_flat(curves: Sequence[Curve], controls: Sequence[Curve | Reference]) -> bool:
    """True where a linear axis with these controls would press the curves flat: random weights start at the width."""
    values = [mark.value for curve in curves for mark in curve.marks]
    against = [mark.value for control in controls for mark in control.marks]
    return bool(values and against) and min(values + against) > 0 and max(against) > 2 * max(values)


def profile_points(
    estimates: pl.DataFrame,
    runs: pl.DataFrame,
    estimator: str,
    cloud: str,
    n1: int | None = None,
    n2: int | None = None,
    transform: str = "centred",
    is_equivalent: bool = False,
    language: str = "en",
) -> ProfileData:
    """The curves of the chosen runs, in the order of `runs`; runs without such estimates are left out.

    `language` is that of the curves' names.
    """
    if estimator == "gride" and n1 is None:
        n1 = GRIDE_RANK
    rows = estimates_of(estimates, estimator, cloud, n1, n2, transform)
    rows = rows.filter(pl.col("run_id").is_in(runs["run_id"].to_list()))
    if is_equivalent:
        ends = {"lower": pl.col("equivalent_lowest"), "upper": pl.col("equivalent_highest")}
        middle = (ends["lower"] * ends["upper"]).sqrt()  # places the mark; nobody is told it
        rows = with_equivalents(rows, estimates).with_columns(value=middle, **ends)
    rows = rows.filter(pl.col("value").is_finite())
    banded = (estimator, cloud) == PRIMARY and transform == "centred"
    curves = _curves(rows, runs, banded, language)
    depth = _same_depth(runs, curves)
    return ProfileData(estimator, cloud, n1, curves, _sizes(rows), depth, n2, transform, is_equivalent)


def estimates_of(
    estimates: pl.DataFrame, estimator: str, cloud: str, n1: int | None, n2: int | None, transform: str
) -> pl.DataFrame:
    """The rows that one picture of profiles shows; a rank that is None is not asked for."""
    rows = estimates.filter(estimator=estimator, cloud=cloud, transform=transform)
    rows = rows if n1 is None else rows.filter(n1=n1)
    return rows if n2 is None else rows.filter(n2=n2)


def with_equivalents(rows: pl.DataFrame, estimates: pl.DataFrame) -> pl.DataFrame:
    """Rows of GRIDE with `equivalent_lowest` and `equivalent_highest`: the range of the Gaussian equivalents over all n1
    at the same layer, because one rank alone would look like a measurement; other rows come back as they are."""
    if rows.is_empty() or set(rows["estimator"]) != {"gride"}:
        return rows
    at = ["run_id", "cloud", "transform", "layer", "state"]
    known = estimates.filter(pl.col("gaussian_equivalent").is_finite(), estimator="gride")
    ranges = known.group_by(at).agg(
        equivalent_lowest=pl.col("gaussian_equivalent").min(), equivalent_highest=pl.col("gaussian_equivalent").max()
    )
    return rows.join(ranges, on=at, how="left", maintain_order="left")


def correlator_points(
    correlators: pl.DataFrame, runs: pl.DataFrame, correlator: str, cloud: str, language: str = "en"
) -> CorrelatorData:
    """As `profile_points`; the interval is the value with `t_95` standard errors of its run on each side."""
    reach = [t_95(blocks_of(config)) for config in runs["config"]]
    rows = correlators.filter(
        pl.col("run_id").is_in(runs["run_id"].to_list())
        & (pl.col("correlator") == correlator)
        & (pl.col("cloud") == cloud)
        & pl.col("value").is_finite()
    )
    of_run = pl.DataFrame({"run_id": runs["run_id"], "t": pl.Series(reach, dtype=pl.Float64)})
    rows = rows.join(of_run, on="run_id", maintain_order="left").with_columns(
        lower=pl.col("value") - pl.col("t") * pl.col("std_error"),
        upper=pl.col("value") + pl.col("t") * pl.col("std_error"),
    )
    curves = _curves(rows, runs, banded=False, language=language)
    return CorrelatorData(correlator, cloud, curves, _sizes(rows), _same_depth(runs, curves))


def control_references(
    data: ProfileData | CorrelatorData, rows_of_controls: pl.DataFrame, controls: pl.DataFrame, runs: pl.DataFrame
) -> list[Reference]:
    """The control passes of the runs drawn, read as the picture `data` is.

    `rows_of_controls` are estimates or correlators of the control runs, `controls` comes from
    `analysis.controls.control_links`.
    """
    if isinstance(data, CorrelatorData):
        rows = rows_of_controls.filter(correlator=data.correlator, cloud=data.cloud)
    else:
        asked = (data.estimator, data.cloud, data.n1, data.n2, data.transform)
        rows = estimates_of(rows_of_controls, *asked)
    of_run = {run["run_id"]: run for run in runs.iter_rows(named=True)}
    drawn = [curve.run_id for curve in data.curves]
    found = [
        _reference(rows, control["run_id"], control["pass"], of_run[control["text_run_id"]], control["model_seed"])
        for control in controls.iter_rows(named=True)
        if control["text_run_id"] in drawn
    ]
    return [reference for reference in found if reference.marks]


def surrogate_references(data: ProfileData, estimates: pl.DataFrame, runs: pl.DataFrame) -> list[Reference]:
    """What the estimator reads on Gaussian points of equal covariance; the distance to it is what is not Gaussian."""
    rows = estimates_of(estimates, data.estimator, data.cloud, data.n1, data.n2, SURROGATE)
    drawn = {curve.run_id for curve in data.curves}
    found = [
        _reference(rows, run["run_id"], SURROGATE, run, None)
        for run in runs.iter_rows(named=True)
        if run["run_id"] in drawn
    ]
    return [reference for reference in found if reference.marks]


def _reference(rows: pl.DataFrame, run_id: str, kind: str, run: dict, model_seed: int | None) -> Reference:
    own = rows.filter(pl.col("value").is_finite(), run_id=run_id, state="residual").sort("layer")
    no_limits = own.with_columns(lower=pl.lit(None), upper=pl.lit(None))
    marks = [_mark(row, run["n_layers"]) for row in no_limits.iter_rows(named=True)]
    return Reference(kind, run["run_id"], run["name"], model_seed, marks)


def with_gaps(marks: list[Mark]) -> list[Mark | None]:
    """None where a layer has no value, so that no line is drawn across it."""
    spaced: list[Mark | None] = []
    for mark in marks:
        if spaced and spaced[-1] and mark.layer > spaced[-1].layer + 1:
            spaced.append(None)
        spaced.append(mark)
    return spaced


def t_95(n_blocks: int) -> float:
    """Student's t, 97.5 percent, for a jackknife over `n_blocks` blocks."""
    return quantile(1 - LEVEL / 2, max(n_blocks - 1, 1))


def blocks_of(config: str | None) -> int:
    """How many blocks a run's jackknife had, from its configuration."""
    try:
        return int(json.loads(config or "{}")["protocol"]["n_blocks"])
    except (ValueError, KeyError, TypeError):
        return USUAL_BLOCKS


def _curves(rows: pl.DataFrame, runs: pl.DataFrame, banded: bool, language: str) -> list[Curve]:
    labels = run_labels(runs, language)
    curves = []
    for run in runs.iter_rows(named=True):
        own = rows.filter(pl.col("run_id") == run["run_id"]).sort("layer")
        marks = [_mark(row, run["n_layers"]) for row in own.filter(pl.col("state") == "residual").to_dicts()]
        after = [_mark(row, run["n_layers"]) for row in own.filter(pl.col("state") == "post_norm").to_dicts()]
        band = _band(run) if banded else None
        if marks:
            after_norm, is_vetoed = after[-1] if after else None, run["worst_check"] == "veto"
            curves.append(Curve(run["run_id"], labels[run["run_id"]], marks, after_norm, band, is_vetoed))
    return curves


def _mark(row: dict, n_layers: int) -> Mark:
    return Mark(row["layer"], row["layer"] / max(n_layers, 1), row["value"], row["lower"], row["upper"])


def _band(run: dict) -> tuple[int, int] | None:
    first, last = run["working_layer_first"], run["working_layer_last"]
    return None if first is None or last is None else (first, last)


def _sizes(rows: pl.DataFrame) -> tuple[int, int]:
    sizes = rows["n_points"].drop_nulls().to_list()
    return (min(sizes), max(sizes)) if sizes else (0, 0)


def _same_depth(runs: pl.DataFrame, curves: list[Curve]) -> bool:
    shown = [curve.run_id for curve in curves]
    return runs.filter(pl.col("run_id").is_in(shown))["n_layers"].n_unique() <= 1 if shown else True


REFERENCE_DASHES = {key: one.dash for key, one in CONTROLS.items()} | {SURROGATE: "dashdot"}
FEW_LAYERS = 12
"""Up to so many, each layer has its tick: plotly would put some at halves."""


def layer_figure(data: ProfileData | CorrelatorData, language: str) -> go.Figure:
    return correlator_figure(data, language) if isinstance(data, CorrelatorData) else profile_figure(data, language)


def profile_figure(data: ProfileData, language: str) -> go.Figure:
    """Dimension over the layers, with 95 percent bands, the working band, the final state before and after the norm."""
    _ = translator(language)
    figure = frame(wording.layer_axis(data.same_depth, language), _profile_axis(data, language))
    if not data.curves:
        return empty(figure, _("No estimates of this kind in the chosen runs."))
    if data.is_equivalent:
        _draw_ranges(figure, data.curves, data.same_depth, language)
    else:
        _draw_all(figure, data.curves, data.references, data.same_depth, language)
    if data.is_log:
        figure.update_yaxes(type="log", tickvals=LOG_TICKS)
    elif data.cuts_controls:
        figure.update_yaxes(range=[0, 1.15 * data.highest])
    else:
        figure.update_yaxes(rangemode="tozero")
    return figure


def correlator_figure(data: CorrelatorData, language: str) -> go.Figure:
    """One correlator over the layers."""
    _ = translator(language)
    figure = frame(
        wording.layer_axis(data.same_depth, language),
        wording.correlator_axis(data.correlator, data.cloud, language, data.n_points),
    )
    if not data.curves:
        return empty(figure, _("No correlators of this kind in the chosen runs."))
    _draw_all(figure, data.curves, data.references, data.same_depth, language)
    return figure


def _profile_axis(data: ProfileData, language: str) -> str:
    """What the values depend on; on a second line what was done to them and whether the axis is logarithmic."""
    _ = translator(language)
    n1 = None if data.is_equivalent else data.n1
    title = wording.dimension_axis(data.estimator, data.cloud, language, data.n_points, n1, data.n2)
    told = [
        _("Gaussian equivalent, over all n1") if data.is_equivalent else "",
        _("log scale") if data.is_log else "",
        _("controls run off the axis") if data.cuts_controls else "",
    ]
    if data.transform != "centred":
        told.append(wording.name("transform", data.transform, language))
    second = _(", ").join(part for part in told if part)
    return f"{title}<br>{second}" if second else title


def _draw_all(
    figure: go.Figure, curves: list[Curve], references: list[Reference], same_depth: bool, language: str
) -> None:
    colours = {curve.run_id: COLOURS[index % len(COLOURS)] for index, curve in enumerate(curves)}
    for reference in references:
        _draw_reference(figure, reference, colours[reference.of_run_id], same_depth, language)
    for index, curve in enumerate(curves):
        _draw_curve(figure, curve, index, same_depth, language)
    _draw_keys(figure, curves, references, language)
    if same_depth and max(mark.layer for curve in curves for mark in curve.marks) <= FEW_LAYERS:
        figure.update_xaxes(dtick=1)


def _draw_reference(figure: go.Figure, reference: Reference, colour: str, same_depth: bool, language: str) -> None:
    """Thin, in the colour of its run, and hidden with it."""
    name = shown(f"{reference.name} · {reference_name(reference.kind, language, reference.model_seed)}")
    line = {"color": colour, "dash": REFERENCE_DASHES[reference.kind], "width": 1.3}
    pen = _Pen(figure, name, reference.of_run_id, same_depth, language)
    pen.draw(reference.marks, mode="lines", line=line, opacity=0.9, showlegend=False)


def reference_name(kind: str, language: str, model_seed: int | None = None) -> str:
    """`random weights, seed 1`, `shuffled text`, `Gaussian points of equal covariance`."""
    if kind == SURROGATE:
        return wording.name("transform", kind, language)
    return wording.control_name(kind, model_seed, language)


def _draw_ranges(figure: go.Figure, curves: list[Curve], same_depth: bool, language: str) -> None:
    """Of Gaussian equivalents: both ends and what lies between, no middle."""
    for index, curve in enumerate(curves):
        colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
        _shade(figure, curve, colour, same_depth)
        pen = _Pen(figure, shown(curve.name), curve.run_id, same_depth, language, is_range=True)
        for end in ("lower", "upper"):
            ends = [replace(mark, value=getattr(mark, end)) for mark in curve.marks]
            line = {"color": colour, "dash": dash, "width": 1.5}
            pen.draw(ends, mode="lines", line=line, showlegend=end == "upper")


def _shade(figure: go.Figure, curve: Curve, colour: str, same_depth: bool) -> None:
    """Between the lower and the upper limits of a curve."""
    banded = [mark for mark in curve.marks if mark.lower is not None and mark.upper is not None]
    if not banded:
        return
    x = [_x(mark, same_depth) for mark in banded]
    figure.add_scatter(
        x=x + x[::-1],
        y=[mark.upper for mark in banded] + [mark.lower for mark in reversed(banded)],
        fill="toself",
        fillcolor=faded(colour),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=curve.run_id,
        name=shown(curve.name),
    )


def _draw_curve(figure: go.Figure, curve: Curve, index: int, same_depth: bool, language: str) -> None:
    name = shown(curve.name)
    pen = _Pen(figure, name, curve.run_id, same_depth, language)
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
    _shade(figure, curve, colour, same_depth)
    pen.draw(curve.marks, mode="lines", line={"color": colour, "dash": dash, "width": 2.5}, showlegend=True)
    pen.mark(curve.in_band, "circle", colour)
    pen.mark([curve.final] if curve.final else [], "diamond", colour, with_error=True)
    pen.mark([curve.post_norm] if curve.post_norm else [], "triangle-up-open", colour, with_error=True)


@dataclass(frozen=True)
class _Pen:
    """Draws values of one curve, each with its layer and interval under the pointer; a missing layer is a gap."""

    figure: go.Figure
    name: str
    group: str
    """What is shown and hidden together."""
    same_depth: bool
    language: str
    is_range: bool = False
    """Only the limits are told, no value between them."""

    def mark(self, marks: list[Mark], symbol: str, colour: str, with_error: bool = False) -> None:
        if not marks:
            return
        size = 6 if symbol == "circle" else 11
        more = {"error_y": _interval_bars(marks) | {"color": colour}} if with_error else {}
        marker = {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2, "color": colour}}
        self.draw(marks, mode="markers", marker=marker, showlegend=False, **more)

    def draw(self, marks: list[Mark], **style: Any) -> None:
        _ = translator(self.language)
        spaced = with_gaps(marks)
        told = [
            mark and _("Layer {layer}: {value}").format(layer=mark.layer, value=self._told(mark)) for mark in spaced
        ]
        self.figure.add_scatter(
            x=[mark and _x(mark, self.same_depth) for mark in spaced],
            y=[mark and mark.value for mark in spaced],
            customdata=told,
            hovertemplate="%{fullData.name}<br>%{customdata}<extra></extra>",
            name=self.name,
            legendgroup=self.group,
            **style,
        )

    def _told(self, mark: Mark) -> str:
        if self.is_range:
            return f"{wording.number(mark.lower)} – {wording.number(mark.upper)}"
        return wording.with_interval(mark.value, mark.lower, mark.upper)


def _interval_bars(marks: list[Mark]) -> dict:
    return bars(
        [None if mark.upper is None else mark.upper - mark.value for mark in marks],
        [None if mark.lower is None else mark.value - mark.lower for mark in marks],
    )


def _draw_keys(figure: go.Figure, curves: list[Curve], references: list[Reference], language: str) -> None:
    """Legend entries for marks and references, in a neutral colour: they mean the same on every curve."""
    _ = translator(language)
    keys = (
        (any(curve.in_band for curve in curves), _("working band"), "circle"),
        (True, _("final state, before the norm"), "diamond"),
        (any(curve.post_norm for curve in curves), _("final state, after the norm"), "triangle-up-open"),
    )
    for is_there, name, symbol in keys:
        if is_there:
            marker = {"symbol": symbol, "size": 9, "color": TEXT, "line": {"width": 2, "color": TEXT}}
            figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=name, hoverinfo="skip")
    for kind in dict.fromkeys(reference.kind for reference in references):
        line = {"color": QUIET, "dash": REFERENCE_DASHES[kind], "width": 1.3}
        name = reference_name(kind, language)
        figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name=name, hoverinfo="skip")


def _x(mark: Mark, same_depth: bool) -> float:
    return mark.layer if same_depth else mark.depth
