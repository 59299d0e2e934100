"""What the deck's charts of layer profiles say: axes, series, and the key of their marks below."""

from __future__ import annotations

from core.locale import translator
from core.report import wording
from core.report.deck_charts import MOST_BANDS, ChartWords
from core.report.deck_theme import CHART_BOX
from core.report.points import ProfileData

BELOW_CHART = (CHART_BOX[0] + 0.1, CHART_BOX[1] + CHART_BOX[3] + 0.02, CHART_BOX[2], 0.3)


def chart_words(data: ProfileData, language: str, is_log: bool = False) -> ChartWords:
    """Axis titles and series names; a logarithmic axis says that it is one."""
    _ = translator(language)
    dimension = wording.dimension_axis(data.estimator, data.cloud, language, data.n_points)
    return ChartWords(
        x_title=wording.layer_axis(data.same_depth, language),
        y_title=_("{axis}, logarithmic").format(axis=dimension) if is_log else dimension,
        lower=_("lower 95 % limit"),
        upper=_("upper 95 % limit"),
        band=_("working band"),
        final=_("final state, before the norm"),
        post_norm=_("final state, after the norm"),
        alternative=_("Line chart of the estimated dimension (d2) over the layers of {names}.").format(
            names=_(", ").join(curve.name for curve in data.curves)
        ),
    )


def mark_key(data: ProfileData, language: str) -> str:
    """What the marks mean: said once, below the chart."""
    _ = translator(language)
    marks = [_("● working band"), _("◆ final state, before the norm")]
    if any(curve.post_norm for curve in data.curves):
        marks.append(_("▲ final state, after the norm"))
    limits = _("thin lines and bars: 95 % intervals") if len(data.curves) <= MOST_BANDS else _("bars: 95 % intervals")
    return "    ".join([*marks, limits])
