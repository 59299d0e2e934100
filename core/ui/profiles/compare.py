"""Two runs and more held against one of them: only what differs, curves over each other, differences with intervals."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from core.analysis.differences import (
    Comparability,
    LayerDifference,
    comparability,
    layer_differences,
    relative_difference,
)
from core.figures import profile_data
from core.figures.profile_data import extrema_of
from core.figures.svg import Caption
from core.figures.svg_profiles import difference_svg, profile_caption, profile_svg
from core.ui import inputs, language, pictures, reads, tables
from core.ui.markdown import escape
from core.ui.profiles import provenance
from core.ui.reads import Selection
from core.wording.labels import run_labels
from core.wording.numbers import percent
from core.wording.provenance import comparison, results

FEWEST = 2
SIZE, SIZE_DIFFERENCE = (960, 400), (960, 300)
_ENDS = ("", "_lower", "_upper")


def show(chosen: Selection) -> None:
    _ = language.translator()
    texts = chosen.runs.filter(pl.col("pass") == "text", pl.col("n_points").is_not_null())
    if texts.height < FEWEST:
        st.info(_("Choose two runs or more on a text to compare them."))
        return
    labels = run_labels(texts, language.current())
    first = st.container()
    ids = list(labels)
    against = inputs.choose_from_list(_("Held against"), ids, "against", ids[0], labels.__getitem__, width=400)
    base = texts.filter(run_id=against).row(0, named=True)
    others = texts.filter(pl.col("run_id") != against).to_dicts()
    found = {run["run_id"]: comparability(run, base) for run in others}
    with first:
        _draw_curves(chosen, texts)
        _draw_differences(chosen, base, others, found, labels)
    said: dict[str, list[str]] = {}
    for run in others:
        said.setdefault(comparison(found[run["run_id"]], language.current()), []).append(labels[run["run_id"]])
    for sentence, names in said.items():
        st.caption(escape(_("{names}: {what}").format(names=_(", ").join(names), what=sentence)))
    st.subheader(_("What came out"))
    table = result_table(base, others, found, labels)
    tables.show(table, "compared", height="content")
    tables.show_download(table, "workdim_comparison.csv", _("Download this comparison (CSV)"))
    st.subheader(_("What differs in how it was measured"))
    _show_conditions(chosen.records.filter(pl.col("run_id").is_in(ids)), labels)


def _draw_curves(chosen: Selection, texts: pl.DataFrame) -> None:
    lang = language.current()
    data = profile_data.profile_points(chosen.of_runs(chosen.estimates), texts, *profile_data.PRIMARY, language=lang)
    if not data.curves:
        return
    caption, turns = profile_caption(texts, data, lang), extrema_of(chosen.extrema, data.cloud)
    drawn = profile_svg(data, caption, turns, lang, pictures.theme(), size=SIZE, most_together=inputs.MAX_RUNS)
    st.image(drawn, width="stretch", alt=caption.title)


def _draw_differences(
    chosen: Selection,
    base: dict[str, Any],
    others: list[dict[str, Any]],
    found: dict[str, Comparability],
    labels: dict[str, str],
) -> None:
    """Of those whose heights may be compared and whose layers are as many."""
    _ = language.translator()
    replicates = reads.replicates([base["run_id"], *(run["run_id"] for run in others)])
    drawn: dict[str, list[LayerDifference]] = {}
    paired = []
    for run in others:
        cloud = _cloud(found[run["run_id"]])
        if cloud is None or run["n_layers"] != base["n_layers"]:
            continue
        rows, is_paired = layer_differences(*(_profile(chosen, replicates, one, cloud) for one in (run, base)))
        if rows:
            drawn[labels[run["run_id"]]] = rows
            paired.append(is_paired)
    if not drawn:
        st.caption(_("No difference layer by layer: their heights do not compare, or their layers are not as many."))
        return
    how = (
        _("Bands: 95 %, blocks of text paired, for all layers at once. A band that leaves out zero is a difference.")
        if all(paired)
        else _(
            "Bands: 95 % for all layers at once, errors taken as independent. A band that leaves out zero is a difference."
        )
    )
    caption = Caption(_("Difference from {name}").format(name=labels[base["run_id"]]), how)
    st.image(
        difference_svg(drawn, caption, language.current(), pictures.theme(), SIZE_DIFFERENCE, list(labels.values())),
        width="stretch",
        alt=caption.title,
    )


def _cloud(found: Comparability) -> str | None:
    return "one_per_type" if found.by_types else "one_per_word" if found.by_words else None


def _profile(chosen: Selection, replicates: pl.DataFrame, run: dict[str, Any], cloud: str) -> pl.DataFrame:
    """layer, value, lower, upper and blocks of d2."""
    asked = {"run_id": run["run_id"], "cloud": cloud, "estimator": "d2", "transform": "centred", "state": "residual"}
    blocks = replicates.filter(**asked).select("layer", "blocks")
    rows = chosen.estimates.filter(**asked).select("layer", "value", "lower", "upper")
    return rows.join(blocks, on="layer", how="left")


def result_table(
    base: dict[str, Any], others: list[dict[str, Any]], found: dict[str, Comparability], labels: dict[str, str]
) -> pl.DataFrame:
    """What came out, a line for each result; beside each run that may be compared by how much it differs."""
    _ = language.translator()
    lang = language.current()
    lines = [results(run, base, lang, is_brief=True) for run in others]
    columns = {"": [line.label for line in lines[0]], labels[base["run_id"]]: [line.other for line in lines[0]]}
    numbers = ("inner_max", "working_dimension", "final_dimension_pre_norm", "final_dimension_post_norm")
    for run, own in zip(others, lines, strict=True):
        columns[labels[run["run_id"]]] = [line.one for line in own]
        if found[run["run_id"]].by_types:
            shares = [
                relative_difference([run[f"{name}{end}"] for end in _ENDS], [base[f"{name}{end}"] for end in _ENDS])
                for name in numbers
            ]
            told = ["–" if share is None else percent(*share) for share in shares]
            head = _("Difference: {name}").format(name=labels[run["run_id"]])
            columns[head] = [*told, *[""] * (len(own) - len(told))]
    return pl.DataFrame(columns)


def _show_conditions(records: pl.DataFrame, labels: dict[str, str]) -> None:
    _ = language.translator()
    table = provenance.differing_table(records.to_dicts(), labels)
    if table.is_empty():
        st.caption(_("Nothing but the model."))
        return
    tables.show(table, "conditions", height="content")
