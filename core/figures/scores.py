"""Figures of scores: against dimension over models and over windows of one text, two models on the same questions, and the
preview of an import."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from core import wording
from core.analysis.differences import PairedComparison, QuestionSet, TextLoss
from core.analysis.relation import MARGIN
from core.figures.chart import (
    Axis,
    Chart,
    Guide,
    Mark,
    Point,
    interval_chart,
    kinds_series,
    mark_key,
    round_axis,
    row_chart,
    scatter_chart,
    x_ends,
    y_ends,
)
from core.figures.profile_data import t_95
from core.figures.svg import LIGHT, Caption, Theme, chart_svg
from core.locale import _
from core.questions.ranking_answer import Answer
from core.registry.names import NOT_STATED
from core.registry.protocols import WINDOW_STRETCHES
from core.sources import Text, shown
from core.tables import Run, ids_of
from core.wording.answers import benchmark_name, coefficient_text, dimension_name, relation_text
from core.wording.labels import distinguishing_names, number, run_labels, shortened_name


def dimension_axis(answer: Answer) -> str:
    """`Largest inner dimension, estimated (d2, one per type, N=800)`."""
    asked, group = answer.population.asked, answer.group
    name = dimension_name(asked.dimension)
    return _(
        "{dimension}, estimated (d2, {cloud}, N={n})",
        dimension=name[:1].upper() + name[1:],
        cloud=wording.name("cloud", asked.cloud),
        n=wording.size_range(group.n_points if group else (0, 0)),
    )


def score_axis(answer: Answer) -> str:
    """`arc_easy (acc, 0-shot) [%]`, without the unit where the metric is called like it; says when lower is better."""
    population = answer.population
    units = population.rows["unit"].drop_nulls().to_list()
    unit = "%" if units[:1] == ["percent"] else wording.unit_name(units[0] if units else "")
    is_new = unit and unit != wording.metric_name(population.benchmark["metric"] if population.benchmark else "")
    name = benchmark_name(answer)
    title = f"{name} [{unit}]" if is_new else name
    return (
        _("{title} (lower is better, and stands higher)", title=title)
        if population.higher_is_better is False
        else title
    )


LONGEST_NAME = 26


def relation_chart(answer: Answer) -> Chart | None:
    """Dimension against score, one point per model with both intervals; None where no model has both numbers.

    Names that are placed first: those of the best model and of the one that moves the answer most.
    """
    rows = answer.population.rows
    labels = run_labels(rows)
    names = dict(zip(labels, distinguishing_names(list(labels.values())), strict=True))
    partial = set(ids_of(rows.filter(pl.col("score_is_partial").fill_null(False))))
    first = {model.run_id for model in answer.models if model.score_rank_low == 1}
    if answer.relation.without_one:
        first.add(answer.relation.without_one.moves_most)
    kinds: dict[str, tuple[str, Mark, int | None]] = {  # as in `ranking.with_scores`, and vetoed
        "own": (_("your own score"), "square", 0),
        "exact": (_("score of this model"), "circle", 0),
        "revision_not_stated": (_("this model, revision not stated"), "plus", 0),
        "mapped": (_("score under a name that an alias maps to this model"), "dash", 0),
        "base": (_("scores of base models, which test nothing"), "triangle", 1),
        "vetoed": (_("vetoed by a check"), "diamond", None),
    }
    drawn: list[tuple[str, Point]] = []
    for model in reversed(answer.models):
        if model.dimension is None or model.score is None:
            continue
        name = names[model.run_id]
        if model.run_id in partial:
            name = _("{name} (partial run)", name=name)
        point = Point(
            model.dimension,
            model.score,
            *model.score_limits,
            model.lower,
            model.upper,
            shortened_name(name, LONGEST_NAME),
            is_first=model.run_id in first,
        )
        drawn.append(("vetoed" if model.is_vetoed else model.match, point))
    if not drawn:
        return None
    series = kinds_series(kinds, drawn)
    across, up = zip(*((point.x, point.y) for _kind, point in drawn), strict=True)
    alternative = _(
        "{n} models: dimension {low} to {high}, score {worst} to {best}; {numbers}.",
        n=len(drawn),
        low=number(min(across)),
        high=number(max(across)),
        worst=number(min(up)),
        best=number(max(up)),
        numbers=relation_text(answer.relation),
    )
    key = [_("Bars: 95 % intervals."), *([mark_key(series)] if len(series) > 1 else [])]
    x = round_axis(dimension_axis(answer), x_ends(series))
    y = round_axis(score_axis(answer), y_ends(series))
    y = replace(y, is_reversed=answer.population.higher_is_better is False)
    return Chart(x, y, tuple(series), alternative, key=wording.joined_sentences(key))


def coefficient_chart(answer: Answer) -> Chart | None:
    """Spearman's rho over all models, and how far it moves: given size, within families and sizes,
    without one model or family, by errors of measurement. None without a coefficient."""
    relation = answer.relation
    if relation.rho is None:
        return None
    partial, strata = relation.partial, relation.strata
    rows = [
        (_("all models"), relation.rho, relation.lower, relation.upper),
        (_("models of equal size"), partial.r, partial.lower, partial.upper),
        (_("within families and sizes"), strata.rho, None, None),
    ]
    moving = {_("without one model"): relation.without_one, _("without one family"): relation.without_family}
    rows += [(name, relation.rho, effect.lowest, effect.highest) for name, effect in moving.items() if effect]
    if relation.error_lower is not None:
        rows.append((_("errors of measurement"), relation.rho, relation.error_lower, relation.error_upper))
    points = [
        Point(rho, 0, left=low, right=high, name=name, told=_told(rho, low, high))
        for name, rho, low, high in rows
        if rho is not None
    ]
    guides = [
        Guide("0", 0.0),
        Guide(Text("−{:g}").format(MARGIN), -MARGIN),
        Guide(Text("+{:g}").format(MARGIN), MARGIN),
    ]
    title = _("Rank correlation; right of 0: larger dimension, better score")
    key = _(
        "Bars: 95 % intervals; where one is left out, the range. Not related: within ±{margin}.",
        margin=shown(MARGIN, "g"),
    )
    return row_chart(Axis(title, -1, 1, 0.5, 1), points, guides=guides, key=key)


def _told(rho: float, low: float | None, high: float | None) -> str:
    """The coefficient with its range, where it has one."""
    is_still = coefficient_text(low) == coefficient_text(high)
    return coefficient_text(rho) if is_still else coefficient_text(rho, low, high)


def loss_chart(losses: Sequence[tuple[str, TextLoss]]) -> Chart:
    """Bits per byte of models with their intervals, the best on top."""
    points = (Point(loss.value, 0, left=loss.lower, right=loss.upper, name=name) for name, loss in losses)
    return row_chart(_("Bits per byte (right is better)"), points, is_reversed=True)


def benchmark_label(key: QuestionSet) -> str:
    """`arc_easy, acc`, and the filter if there is one."""
    parts = [
        key.benchmark,
        wording.metric_name(key.metric),
        key.filter if key.filter not in ("none", NOT_STATED) else "",
    ]
    return ", ".join(part for part in parts if part)


def paired_chart(model_a: str, model_b: str, comparisons: Sequence[tuple[QuestionSet, PairedComparison]]) -> Chart:
    """One line per benchmark; filled where the models can be told apart, open where they cannot.

    `comparisons` come from `analysis.differences.compare_all_answers`.
    """
    kinds: dict[bool, tuple[str, Mark, int | None]] = {
        True: (_("told apart"), "circle", 0),
        False: (_("cannot be told apart"), "open", None),
    }
    drawn = []
    for place, (key, compared) in enumerate(comparisons):
        name = benchmark_label(key)
        note = f"{name}: {number(compared.difference)} (n={compared.n_common:,})"
        ends = (None, None, compared.lower, compared.upper)
        drawn.append((compared.is_told_apart, Point(compared.difference, place, *ends, name, note=note)))
    # Without owner or folders, so that two names fit below a narrow figure.
    a, b = (model.rsplit("/", 1)[-1] for model in (model_a, model_b))
    title = _("{a} minus {b}:\ndifference of means, 95 % interval", a=a, b=b)
    return interval_chart(kinds_series(kinds, drawn), title, [Guide("", 0.0)], beside=[0.0])


def with_kind(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a preview with `kind`: skipped; else conflict or duplicate; else mapped or taken."""
    is_skipped = pl.col("fate") == "skipped"
    return rows.with_columns(kind=pl.when(is_skipped).then("fate").otherwise(pl.coalesce("known", "fate")))


WINDOWS_SIZE = (960, 460)


def windows_svg(
    windows: pl.DataFrame, run: Run, place: str, theme: Theme = LIGHT, size: tuple[float, float] = WINDOWS_SIZE
) -> str:
    """Dimension against loss, a dot for each window with both 95 percent intervals; `place`: `inner` or `final`.

    `windows` are the rows of run_windows of the run.
    """
    t = t_95(WINDOW_STRETCHES)
    columns = ("loss", "loss_std_error", f"{place}_d2", f"{place}_d2_std_error")
    points = []
    for loss, error, value, spread in windows.drop_nulls(columns).select(columns).iter_rows():
        reach = math.exp(t * spread / value)
        across, up = (value / reach, value * reach), (loss - t * error, loss + t * error)
        points.append(Point(value, loss, *up, *across))
    passed = "" if run.pass_ == "text" else wording.control_name(run.pass_, run.model_seed)
    titles = [run.name, _("dimension and loss of windows"), passed]
    caption = Caption(
        _(", ").join(filter(None, titles)),
        _(
            "Text {text}, protocol {protocol}, {n} windows. Bars: 95 % intervals.",
            text=run.corpus_name,
            protocol=run.protocol,
            n=len(points),
        ),
        _("Workdim, run {run}", run=run.run_id[:8]),
    )
    axes = {
        "inner": _("Directions that a window uses (d2, inner maximum)"),
        "final": _("Directions that a window uses (d2, after the last block)"),
    }
    chart = scatter_chart({"": points}, axes[place], _("Loss (nats per token)"), caption.title)
    return chart_svg(chart, caption, theme, size)
