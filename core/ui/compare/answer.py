"""The runs of the page Compare held against one of them: the answer, differences by layer, results; how each was measured, in what they
differ, and the actions on them: tags and note, measuring again, deleting, export.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import (
    LayerDifference,
    comparability,
    differences,
    layer_differences,
    relative_difference,
    without_incidental,
)
from core.figures.layer_profiles import difference_chart
from core.figures.svg import Caption, chart_svg
from core.locale import _
from core.questions.ranking_question import BY_TYPE
from core.questions.runs import Comparison, Selection, compare
from core.store.parcels import RESERVED_TAGS
from core.tables import Run, ids_of, records
from core.ui import inputs, pictures, reads, run_choice, tables
from core.ui.language import as_lines, escape, show_notes
from core.warehouse import exchange
from core.warehouse.runs import annotate
from core.warehouse.warehouse import Warehouse
from core.wording import runs as run_wording
from core.wording.labels import percent, run_labels, with_interval
from core.wording.runs import ABSENT, comparability_text, field_position, fields, result_texts
from core.wording.verdicts import badge_text

SIZE_DIFFERENCE = (960, 300)
_ENDS = ("", "_lower", "_upper")


def choose_comparison(selection: Selection, place: Any) -> Comparison | None:
    """Return the chosen runs on a text held against one of them, which is chosen in a container; None of fewer than two."""
    texts = selection.judged
    if texts.height < 2:
        return None
    labels = run_labels(texts)
    with place:
        base = inputs.choose_from_list(_("Held against"), labels, "against", width=400)
    base_first = texts.sort(pl.col("run_id") != base, maintain_order=True)
    return compare(base_first, selection.windows, selection.summaries)


def show_answer(selection: Selection, comparison: Comparison | None) -> None:
    """Draw the answer: of several runs which reads the text best, of one its verdicts; and once what may not be compared."""
    if comparison is not None:
        notes = as_lines(run_wording.comparison_note_lines(comparison))
        st.markdown(f"#### {escape(run_wording.comparison_text(comparison))}", help=notes)
        if any(one.reasons for one in comparison.compares):
            show_notes(run_wording.not_compared_lines(comparison))
        return
    labels = run_labels(selection.judged)
    for run in records(selection.judged, Run):
        title = _("{name}: {title}", name=labels[run.run_id], title=badge_text(run))
        st.markdown(f"#### {escape(title)}", help=escape(wording.verdict_text(run)))
    run_choice.show_differing_conditions(selection.runs)


def show_results(selection: Selection, comparison: Comparison | None) -> None:
    """Draw what came out of each run and what differs in how it was measured."""
    if comparison is None:
        return
    labels = run_wording.model_labels(comparison)
    st.subheader(_("What came out"))
    table = _result_table(labels, comparison)
    tables.show(table, "compared", height="content")
    tables.show_download(table, "workdim_comparison.csv")
    st.subheader(_("What differs in how it was measured"))
    stored = selection.records.filter(pl.col("run_id").is_in(list(labels))).to_dicts()
    differing = record_table(stored, labels).filter(pl.col("") == MARK)
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

    def d2(run: Run, cloud: str) -> pl.DataFrame:
        """By layer, with the values without each block of text."""
        kept = {"run_id": run.run_id, "cloud": cloud, "estimator": "d2", "transform": "centred", "state": "residual"}
        rows = selection.estimates.filter(**kept).select("layer", "value", "lower", "upper")
        return rows.join(replicates.filter(**kept).select("layer", "blocks"), on="layer", how="left")

    differences: dict[str, list[LayerDifference]] = {}
    paired = []
    for run in others:
        cloud = comparison.points_with_first[run.run_id] if run.n_layers == base.n_layers else None
        rows, is_paired = layer_differences(d2(run, cloud), d2(base, cloud)) if cloud else ([], False)
        if rows:
            differences[labels[run.run_id]] = rows
            paired.append(is_paired)
    if not differences:
        return
    kind = _("paired") if all(paired) else _("unpaired")
    explanation = _("Bands: 95 %, {kind}, all layers at once; a difference excludes zero.", kind=kind)
    caption = Caption(_("Difference from {name}", name=labels[base.run_id]), explanation)
    colours = pictures.session_colours(list(labels))
    chart = difference_chart(differences, {label: colours[run_id] for run_id, label in labels.items()})
    pictures.plot_drawn(partial(chart_svg, chart, caption, pictures.theme()), SIZE_DIFFERENCE, "differences")


def _result_table(labels: dict[str, str], comparison: Comparison) -> pl.DataFrame:
    """The results of each run, a line each; of a run that compares with the base also the relative differences."""
    base = comparison.models[0]
    columns = {"": [_("Bits per byte"), *result_texts(base.run, is_brief=True)]}
    by_loss = {one.other.run.run_id: one.loss for one in comparison.differences if one.base is base}
    for model in comparison.models:
        run, results = model.run, result_texts(model.run, is_brief=True)
        columns[labels[run.run_id]] = [run_wording.loss_text(model.loss), *results.values()]
        if model is not base and comparison.points_with_first[run.run_id] == BY_TYPE:
            less = "–"
            if loss := by_loss.get(run.run_id):  # the base less the run
                ends = (None, None) if loss.lower is None or loss.upper is None else (-loss.upper, -loss.lower)
                less = with_interval(-loss.value, *ends)
            shares = [
                relative_difference(*([getattr(one, name + end) for end in _ENDS] for one in (run, base.run)))
                for name in ("inner_max", "working_dimension", "final_dimension_pre_norm", "final_dimension_post_norm")
            ]
            texts = ["–" if share is None else percent(*share) for share in shares]
            title = _("Difference: {name}", name=labels[run.run_id])
            columns[title] = [less, *texts, *[""] * (len(results) - len(texts))]
    return pl.DataFrame(columns)


# --- provenance ------------------------------------------------------------------------------------------------------

MARK = "≠"
FIELD_WIDTH, MARK_WIDTH = 280, 30
"""Pixels."""
_MESSAGE = "what was done with runs"
_ALL_THE_SAME = "measure all the same"


def show_provenance(selection: Selection) -> None:
    """Draw every stored field of the runs side by side, and the actions on them."""
    runs, stored = selection.runs, selection.records.to_dicts()
    labels = run_labels(runs)
    if len(stored) == 2:
        first, second = records(selection.records.select("run_id").join(runs, on="run_id", maintain_order="left"), Run)
        st.markdown(comparability_text(comparability(first, second)))
    _show_actions(selection)
    if len(stored) > 1:
        st.caption(_("{mark} marks a field in which the runs differ.", mark=MARK))
    table = record_table(stored, labels)
    # Wide enough for the longest name of a field; the mark beside it needs no room.
    widths = {_("Field"): FIELD_WIDTH, "": MARK_WIDTH}
    for (title,), part in table.group_by(_("Section"), maintain_order=True):
        st.markdown(f"**{escape(title)}**")
        columns = {name: st.column_config.Column(pinned=True, width=width) for name, width in widths.items()}
        tables.show_plain(part.drop(_("Section")), key=f"provenance {title}", column_config=columns, height="content")
    tables.show_download(table, "workdim_provenance.csv")


def record_table(stored: list[dict[str, Any]], labels: dict[str, str]) -> pl.DataFrame:
    """Every stored field of the runs: its section, its name, a mark where they differ, and the value of each run."""
    first, *others = stored
    differing = {difference.field for other in others for difference in without_incidental(differences(first, other))}
    rows: dict[str, list[str]] = {}
    for n, record in enumerate(stored):
        for field in fields(record):
            mark = MARK if field.field in differing else ""
            absent = [field.section, field.label, mark, *[ABSENT] * len(stored)]
            rows.setdefault(field.field, absent)[3 + n] = field.text
    names = [_("Section"), _("Field"), "", *(labels[record["run_id"]] for record in stored)]
    lines = [rows[field] for field in sorted(rows, key=field_position)]
    table = pl.DataFrame(lines, schema=dict.fromkeys(names, pl.String), orient="row")
    return table if others else table.drop("")


@inputs.hidden_when_read_only
def _show_actions(selection: Selection) -> None:
    """Draw the actions on one of the runs, and the export of all."""
    if message := st.session_state.pop(_MESSAGE, None):
        st.success(escape(message))
    with st.expander(_("Manage these runs"), icon=":material/label:"):
        run = run_choice.choose_one_run(selection.runs)
        _show_annotation_form(run)
        with inputs.row():
            measures_again = st.button(_("Measure again"), icon=":material/replay:", key="measure run again")
            with st.popover(_("Delete..."), icon=":material/delete:"):
                label = run_choice.run_label(run)
                st.markdown(
                    _("Move this run to the trash, from which it can be brought back: {name}", name=escape(label))
                )
                run_choice.show_delete_button([run.run_id], label)
            run_ids = ids_of(selection.with_controls)
            inputs.show_download(
                _("Export the chosen runs (zip)"),
                partial(_export_zip, reads.warehouse(), run_ids),
                "workdim_export.zip",
                "folder_zip",
            )
        if measures_again or st.session_state.get(_ALL_THE_SAME):
            _measure_again(records(selection.records.filter(run_id=run.run_id), Run)[0])
        st.caption(_("Tables (Parquet, CSV), a data dictionary and measurements with controls, for another Workdim."))


def _show_annotation_form(run: Run) -> None:
    run_id = run.run_id
    known = sorted({tag for tags in reads.lists().runs["tags"] for tag in tags} - {*RESERVED_TAGS})
    own_tags = [tag for tag in run.tags if tag not in RESERVED_TAGS]
    with st.form(f"annotations {run_id}"):
        tags = st.multiselect(
            _("Tags"),
            known,
            own_tags,
            key=f"tags {run_id}",
            accept_new_options=True,
            placeholder=_("Choose or type a tag"),
        )
        note = st.text_area(_("Note"), run.note or "", key=f"note {run_id}", height=80)
        is_saved = st.form_submit_button(_("Save"))
    if set(run.tags) & {*RESERVED_TAGS}:
        st.caption(_("Workdim ships this run; it keeps the tag {tag}.", tag=RESERVED_TAGS[0]))
    if is_saved:
        annotate(reads.warehouse(), run_id, lambda annotation: annotation.with_tags(tags).with_note(note))
        st.session_state[_MESSAGE] = _("Tags and note are saved.")
        st.rerun()


def _measure_again(record: Run) -> None:
    """Start the measurement at once where nothing has changed, else ask first."""
    from core.runs import jobs
    from core.runs.requests import rerun_request

    warehouse = reads.warehouse()
    request = rerun_request(warehouse, record)
    if request.changed:
        st.warning(as_lines([*request.changed, _("The new run will not compare with this one.")]))
        if not st.button(_("Measure all the same"), type="primary", key=_ALL_THE_SAME):
            return
    jobs.start_job(jobs.submit(request.config, warehouse, again=True), warehouse)
    st.switch_page("pages/measure.py")


def _export_zip(warehouse: Warehouse, run_ids: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return exchange.export_runs(warehouse, run_ids, Path(folder) / "export.zip").read_bytes()
