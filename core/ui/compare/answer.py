"""The runs of the page Compare held against one of them: the answer, differences by layer, results and conditions."""

from __future__ import annotations

from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import LayerDifference, TextLoss, comparability, layer_differences, relative_difference
from core.figures.chart_svg import chart_svg
from core.figures.layer_profiles import difference_chart
from core.figures.svg import Caption
from core.locale import _
from core.questions.ranking_question import BY_TYPE
from core.questions.runs import Comparison, Selection, compare
from core.tables import Run, ids_of, records
from core.ui import inputs, notices, pictures, reads, tables, url_state
from core.ui.compare import provenance
from core.ui.markdown import escape
from core.wording import runs as run_wording
from core.wording.labels import percent, run_labels, with_interval
from core.wording.runs import result_texts
from core.wording.verdicts import badge_text

SIZE_DIFFERENCE = (960, 300)
_ENDS = ("", "_lower", "_upper")


def choose_comparison(selection: Selection, place: Any) -> Comparison | None:
    """Return the chosen runs on a text held against one of them, which is chosen in a container; None of fewer than two."""
    texts = selection.judged
    if texts.height < 2:
        return None
    labels = run_labels(texts)
    of_baseline = ids_of(texts.filter(model_id=url_state.asked("base") or ""))
    with place:
        base = inputs.choose_from_list(_("Held against"), labels, "against", [*of_baseline, *labels][0], width=400)
    if base != next(iter(labels)) or url_state.asked("base"):  # the model in use on the page Choose, too
        url_state.set_value("base", texts.filter(run_id=base)["model_id"][0])
    base_first = texts.sort(pl.col("run_id") != base, maintain_order=True)
    return compare(base_first, selection.windows, selection.summaries)


def show_answer(selection: Selection, comparison: Comparison | None) -> None:
    """Draw the answer: of several runs which reads the text best, of one its verdicts; and once what may not be compared."""
    if comparison is None:
        labels = run_labels(selection.judged)
        for run in records(selection.judged, Run):
            title = _("{name}: {title}").format(name=labels[run.run_id], title=badge_text(run))
            st.markdown(f"#### {escape(title)}", help=escape(wording.verdict_text(run)))
        notices.show_differing_conditions(selection.runs)
        return
    notes = "  \n".join(map(escape, run_wording.comparison_note_lines(comparison)))
    st.markdown(f"#### {escape(run_wording.comparison_text(comparison))}", help=notes)
    if told := run_wording.brief_text(comparison):
        st.caption(escape(told))


def show_results(selection: Selection, comparison: Comparison | None) -> None:
    """Draw what came out of each run and what differs in how it was measured."""
    if comparison is None:
        return
    base, *others = [model.run for model in comparison.models]
    labels = run_wording.model_labels(comparison)
    st.subheader(_("What came out"))
    table = _result_table(base, others, labels, comparison)
    tables.show(table, "compared", height="content")
    tables.show_download(table, "workdim_comparison.csv", _("Download this comparison (CSV)"))
    st.subheader(_("What differs in how it was measured"))
    if comparison.points != BY_TYPE:
        st.caption("  \n".join(map(escape, run_wording.not_compared_lines(comparison))))
    stored = selection.records.filter(pl.col("run_id").is_in(list(labels))).to_dicts()
    differing = provenance.record_table(stored, labels).filter(pl.col("") == provenance.MARK)
    if differing.is_empty():
        st.caption(_("Nothing but the model."))
        return
    tables.show(differing.drop(_("Section"), ""), "conditions", height="content")


def show_differences(selection: Selection, comparison: Comparison | None) -> None:
    """Draw the differences layer by layer of the runs that compare with the base and have as many layers."""
    if comparison is None:
        return
    base, *others = [model.run for model in comparison.models]
    labels = run_wording.model_labels(comparison)
    replicates = reads.rows("layer_replicates", [base.run_id, *(run.run_id for run in others)])
    differences: dict[str, list[LayerDifference]] = {}
    paired = []
    for run in others:
        compared = comparability(run, base)
        if not (compared.by_types or compared.by_words) or run.n_layers != base.n_layers:
            continue
        cloud = "one_per_type" if compared.by_types else "one_per_word"
        rows, is_paired = layer_differences(
            *(_d2_profile(selection, replicates, one.run_id, cloud) for one in (run, base))
        )
        if rows:
            differences[labels[run.run_id]] = rows
            paired.append(is_paired)
    if not differences:
        return
    explanation = (
        _("Bands: 95 %, paired, all layers at once; a difference excludes zero.")
        if all(paired)
        else _("Bands: 95 %, unpaired, all layers at once; a difference excludes zero.")
    )
    caption = Caption(_("Difference from {name}").format(name=labels[base.run_id]), explanation)
    colours = pictures.session_colours(list(labels))
    chart = difference_chart(differences, {label: colours[run_id] for run_id, label in labels.items()})
    pictures.plot_drawn(partial(chart_svg, chart, caption, pictures.theme()), SIZE_DIFFERENCE, "differences")


def _d2_profile(selection: Selection, replicates: pl.DataFrame, run_id: str, cloud: str) -> pl.DataFrame:
    """The estimates of d2 by layer, with the values without each block of text."""
    d2 = {"run_id": run_id, "cloud": cloud, "estimator": "d2", "transform": "centred", "state": "residual"}
    blocks = replicates.filter(**d2).select("layer", "blocks")
    rows = selection.estimates.filter(**d2).select("layer", "value", "lower", "upper")
    return rows.join(blocks, on="layer", how="left")


def _result_table(base: Run, others: list[Run], labels: dict[str, str], comparison: Comparison) -> pl.DataFrame:
    """The results of each run, a line each; of a run that compares with the base also the relative differences."""
    losses = [run_wording.loss_text(model.loss) for model in comparison.models]
    results = result_texts(base, is_brief=True)
    columns = {"": [_("Bits per byte"), *results], labels[base.run_id]: [losses[0], *results.values()]}
    numbers = ("inner_max", "working_dimension", "final_dimension_pre_norm", "final_dimension_post_norm")
    by_loss = {one.other.run.run_id: one.loss for one in comparison.differences if one.base is comparison.models[0]}
    for run, loss in zip(others, losses[1:], strict=True):
        columns[labels[run.run_id]] = [loss, *result_texts(run, is_brief=True).values()]
        if comparability(run, base).by_types:
            shares = [
                relative_difference(*([getattr(one, name + end) for end in _ENDS] for one in (run, base)))
                for name in numbers
            ]
            texts = ["–" if share is None else percent(*share) for share in shares]
            title = _("Difference: {name}").format(name=labels[run.run_id])
            columns[title] = [_less_text(by_loss.get(run.run_id)), *texts, *[""] * (len(results) - len(texts))]
    return pl.DataFrame(columns)


def _less_text(base_less_run: TextLoss | None) -> str:
    """The bits per byte of a run less those of the base, with their interval."""
    if base_less_run is None:
        return "–"
    lower, upper = base_less_run.lower, base_less_run.upper
    ends = (None, None) if lower is None or upper is None else (-upper, -lower)
    return with_interval(-base_less_run.value, *ends)
