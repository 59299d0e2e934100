"""The section Compare of the screen Profiles: curves, differences from one of the runs, results and conditions."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from core.analysis.differences import LayerDifference, comparability, layer_differences, relative_difference
from core.figures import profile_data
from core.figures.chart_svg import chart_svg
from core.figures.layer_profiles import difference_chart, profile_caption, profile_svg
from core.figures.profile_data import extrema_of
from core.figures.svg import Caption
from core.locale import _
from core.questions.selection import Selection
from core.ui import inputs, pictures, reads, tables
from core.ui.markdown import escape
from core.ui.profiles import provenance
from core.wording.labels import run_labels
from core.wording.numbers import percent
from core.wording.provenance import comparability_text, result_texts

MIN_RUNS = 2
SIZE, SIZE_DIFFERENCE = (960, 400), (960, 300)
_ENDS = ("", "_lower", "_upper")


def show(selection: Selection) -> None:
    """Draw the runs on a text against one of them: curves, differences by layer, results, conditions."""
    texts = selection.runs.filter(pl.col("pass") == "text", pl.col("n_points").is_not_null())
    if texts.height < MIN_RUNS:
        st.info(_("Choose two runs or more on a text to compare them."))
        return
    labels = run_labels(texts)
    top = st.container()
    ids = list(labels)
    base_id = inputs.choose_from_list(_("Held against"), labels, "against", width=400)
    base = texts.filter(run_id=base_id).row(0, named=True)
    others = texts.filter(pl.col("run_id") != base_id).to_dicts()
    with top:
        _show_curves(selection, texts)
        _show_differences(selection, base, others, labels)
    names_by_sentence: dict[str, list[str]] = {}
    for run in others:
        names_by_sentence.setdefault(comparability_text(comparability(run, base)), []).append(labels[run["run_id"]])
    for sentence, names in names_by_sentence.items():
        st.caption(escape(_("{names}: {what}").format(names=_(", ").join(names), what=sentence)))
    st.subheader(_("What came out"))
    table = _result_table(base, others, labels)
    tables.show(table, "compared", height="content")
    tables.show_download(table, "workdim_comparison.csv", _("Download this comparison (CSV)"))
    st.subheader(_("What differs in how it was measured"))
    records = selection.records.filter(pl.col("run_id").is_in(ids)).to_dicts()
    differing = provenance.record_table(records, labels).filter(pl.col("") == provenance.MARK)
    if differing.is_empty():
        st.caption(_("Nothing but the model."))
        return
    tables.show(differing.drop(_("Section"), ""), "conditions", height="content")


def _show_curves(selection: Selection, texts: pl.DataFrame) -> None:
    data = profile_data.profile_points(selection.of_runs(selection.estimates), texts, *profile_data.PRIMARY)
    if not data.curves:
        return
    caption, extrema = profile_caption(texts, data), extrema_of(selection.extrema, data.cloud)
    svg = profile_svg(data, caption, extrema, pictures.theme(), size=SIZE, most_together=inputs.MAX_RUNS)
    st.image(svg, width="stretch", alt=caption.title)


def _show_differences(
    selection: Selection, base: dict[str, Any], others: list[dict[str, Any]], labels: dict[str, str]
) -> None:
    """Draw the differences layer by layer of the runs that compare with the base and have as many layers."""
    replicates = reads.rows("layer_replicates", [base["run_id"], *(run["run_id"] for run in others)])
    differences: dict[str, list[LayerDifference]] = {}
    paired = []
    for run in others:
        compared = comparability(run, base)
        if not (compared.by_types or compared.by_words) or run["n_layers"] != base["n_layers"]:
            continue
        cloud = "one_per_type" if compared.by_types else "one_per_word"
        rows, is_paired = layer_differences(
            *(_d2_profile(selection, replicates, one["run_id"], cloud) for one in (run, base))
        )
        if rows:
            differences[labels[run["run_id"]]] = rows
            paired.append(is_paired)
    if not differences:
        st.caption(_("No difference layer by layer: their heights do not compare, or their layers are not as many."))
        return
    explanation = (
        _("Bands: 95 %, blocks of text paired, for all layers at once. A band that leaves out zero is a difference.")
        if all(paired)
        else _(
            "Bands: 95 % for all layers at once, errors taken as independent. A band that leaves out zero is a difference."
        )
    )
    caption = Caption(_("Difference from {name}").format(name=labels[base["run_id"]]), explanation)
    chart = difference_chart(differences, list(labels.values()))
    st.image(chart_svg(chart, caption, pictures.theme(), SIZE_DIFFERENCE), width="stretch", alt=caption.title)


def _d2_profile(selection: Selection, replicates: pl.DataFrame, run_id: str, cloud: str) -> pl.DataFrame:
    """The estimates of d2 by layer, with the values without each block of text."""
    d2 = {"run_id": run_id, "cloud": cloud, "estimator": "d2", "transform": "centred", "state": "residual"}
    blocks = replicates.filter(**d2).select("layer", "blocks")
    rows = selection.estimates.filter(**d2).select("layer", "value", "lower", "upper")
    return rows.join(blocks, on="layer", how="left")


def _result_table(base: dict[str, Any], others: list[dict[str, Any]], labels: dict[str, str]) -> pl.DataFrame:
    """The results of each run, a line each; of a run that compares with the base also the relative differences."""
    results = result_texts(base, is_brief=True)
    columns = {"": list(results), labels[base["run_id"]]: list(results.values())}
    numbers = ("inner_max", "working_dimension", "final_dimension_pre_norm", "final_dimension_post_norm")
    for run in others:
        columns[labels[run["run_id"]]] = list(result_texts(run, is_brief=True).values())
        if comparability(run, base).by_types:
            shares = [
                relative_difference([run[f"{name}{end}"] for end in _ENDS], [base[f"{name}{end}"] for end in _ENDS])
                for name in numbers
            ]
            texts = ["–" if share is None else percent(*share) for share in shares]
            title = _("Difference: {name}").format(name=labels[run["run_id"]])
            columns[title] = [*texts, *[""] * (len(results) - len(texts))]
    return pl.DataFrame(columns)
