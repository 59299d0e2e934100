"""Large-norm tokens: what the mask leaves out, because a few such tokens would decide every mean."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.report import large_norm_figures
from core.ui import language, reads, tables


def show(runs: pl.DataFrame) -> None:
    _ = language.translator()
    limits = _(" or ").join(f"{limit:g}" for limit in large_norm_figures.limits_of(runs))
    st.markdown(
        _(
            "Some tokens, often the first of a window, carry norms many times those of all others (attention sinks). "
            "Those above {limit} times the layer's median are left out on all layers."
        ).format(limit=limits)
    )
    tables.show(tables.masked_tokens(runs), "masked")
    correlators = reads.correlators(runs["run_id"].to_list())
    data = large_norm_figures.large_norm_points(correlators, runs, language.current())
    if data.is_empty:
        st.info(_("These runs hold no norms by layer: they came with a later version. Measure them again."))
        return
    st.plotly_chart(large_norm_figures.large_norm_figure(data, language.current()), key="large norms", theme=None)
    st.caption(
        _(
            "Read from all tokens before masking. The mask looks at the layers between the embedding and the last one: "
            "only there do large norms speak of sinks."
        )
    )
