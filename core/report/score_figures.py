"""The scatter of dimension against published score."""

from __future__ import annotations

import plotly.graph_objects as go

from core.locale import translator
from core.report import wording
from core.report.figure_style import COLOURS, bars, empty, frame, shown
from core.report.score_points import RankingData


def ranking_figure(data: RankingData, language: str) -> go.Figure:
    """Dimension against score within one group. Scores of a base model are open markers."""
    _ = translator(language)
    names = {
        "working": _("Working dimension, estimated (d2, {cloud}, N={n})"),
        "final_pre_norm": _("Final dimension before the norm, estimated (d2, {cloud}, N={n})"),
        "final_post_norm": _("Final dimension after the norm, estimated (d2, {cloud}, N={n})"),
    }
    score = wording.benchmark_name(data.benchmark, data.metric, data.n_shot, language, data.filter)
    unit = {"percent": "%"}.get(data.unit, data.unit)
    details = {"cloud": wording.cloud_name(data.cloud, language), "n": wording.size_range(data.n_points)}
    figure = frame(names[data.dimension].format(**details), f"{score} [{unit}]" if unit else score)
    if not data.points:
        return empty(figure, _("No run of this group has this score."))
    for match, name, symbol in (
        ("own", _("own score of the user"), "square"),
        ("exact", _("score of this model"), "circle"),
        ("revision_not_stated", _("score of this model, revision not stated"), "circle-dot"),
        ("mapped", _("score under a name that an alias maps to this model"), "diamond"),
        ("base", _("score of the base model"), "circle-open"),
    ):
        points = [point for point in data.points if point.match == match]
        if not points:
            continue
        figure.add_scatter(
            x=[point.dimension for point in points],
            y=[point.score for point in points],
            mode="markers+text",
            text=[shown(point.name) for point in points],
            textposition="top center",
            name=name,
            marker={"size": 11, "symbol": symbol, "color": COLOURS[0], "line": {"width": 2, "color": COLOURS[0]}},
            error_x=bars(
                [None if point.upper is None else point.upper - point.dimension for point in points],
                [None if point.lower is None else point.dimension - point.lower for point in points],
            ),
            error_y={"type": "data", "array": [point.score_std_error or 0 for point in points], "thickness": 1},
        )
    return figure
