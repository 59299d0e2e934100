"""The section Provenance of the page Compare: how the runs were measured, in what they differ, and the actions
on them: tags and note, measuring again, deleting, export.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from core.analysis.differences import comparability, differences, without_incidental
from core.locale import _
from core.questions.runs import Selection
from core.store.parcels import RESERVED_TAGS
from core.tables import Run, ids_of, records
from core.ui import inputs, reads, tables, trash
from core.ui.markdown import escape
from core.warehouse import exchange
from core.warehouse.runs import annotate
from core.warehouse.warehouse import Warehouse
from core.wording.labels import run_labels
from core.wording.runs import ABSENT, comparability_text, field_position, fields

MARK = "≠"
FIELD_WIDTH, MARK_WIDTH = 280, 30
"""Pixels."""
_MESSAGE = "what was done with runs"
_ALL_THE_SAME = "measure all the same"


def show(selection: Selection) -> None:
    """Draw every stored field of the runs side by side, and the actions on them."""
    runs, stored = selection.runs, selection.records.to_dicts()
    labels = run_labels(runs)
    only_differing = False
    if len(stored) == 2:
        first, second = records(selection.records.select("run_id").join(runs, on="run_id", maintain_order="left"), Run)
        st.markdown(comparability_text(comparability(first, second)))
    _show_actions(selection)
    if len(stored) > 1:
        only_differing = inputs.choose_yes_no(_("Only what differs"), "differing", False)
        st.caption(_("{mark} marks a field in which the runs differ.").format(mark=MARK))
    table = record_table(stored, labels)
    table = table.filter(pl.col("") == MARK) if only_differing else table
    # Wide enough for the longest name of a field; the mark beside it needs no room.
    widths = {_("Field"): FIELD_WIDTH, "": MARK_WIDTH}
    for (title,), part in table.group_by(_("Section"), maintain_order=True):
        st.markdown(f"**{escape(title)}**")
        columns = {name: st.column_config.Column(pinned=True, width=width) for name, width in widths.items()}
        tables.show_plain(part.drop(_("Section")), key=f"provenance {title}", column_config=columns, height="content")
    tables.show_download(table, "workdim_provenance.csv", _("Download this record (CSV)"))


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


# --- actions -----------------------------------------------------------------------------------------------------------


@inputs.hidden_when_read_only
def _show_actions(selection: Selection) -> None:
    """Draw the actions on one of the runs, and the export of all."""
    if message := st.session_state.pop(_MESSAGE, None):
        st.success(escape(message))
    with st.expander(_("Manage these runs"), icon=":material/label:"):
        run = inputs.choose_one_run(selection.runs)
        _show_annotation_form(run)
        with st.container(horizontal=True):
            measures_again = st.button(_("Measure again"), icon=":material/replay:", key="measure run again")
            with st.popover(_("Delete..."), icon=":material/delete:"):
                _show_delete_button(run.run_id, inputs.run_label(run))
            run_ids = ids_of(selection.with_controls)
            inputs.show_download(
                _("Export the chosen runs (zip)"),
                partial(_export_zip, reads.warehouse(), run_ids),
                "workdim_export.zip",
                "folder_zip",
            )
        if measures_again or st.session_state.get(_ALL_THE_SAME):
            _measure_again(records(selection.records.filter(run_id=run.run_id), Run)[0])
        st.caption(
            _(
                "Tables as Parquet and CSV, a data dictionary, and measurements with control runs, for another Workdim "
                "to take in."
            )
        )


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
        st.caption(
            _("This run is one of those that Workdim ships; it keeps the tag {tag}.").format(tag=RESERVED_TAGS[0])
        )
    if is_saved:
        annotate(reads.warehouse(), run_id, lambda annotation: annotation.with_tags(tags).with_note(note))
        st.session_state[_MESSAGE] = _("Tags and note are saved.")
        st.rerun()


def _measure_again(record: Run) -> None:
    """Start the measurement at once where nothing has changed, else ask first."""
    from core.runs import processes
    from core.runs.jobs import submit
    from core.runs.stored_runs import rerun_request

    warehouse = reads.warehouse()
    request = rerun_request(warehouse, record)
    if request.changed:
        lines = [*map(escape, request.changed), _("The new run will not compare with this one.")]
        st.warning("  \n".join(lines))
        if not st.button(_("Measure all the same"), type="primary", key=_ALL_THE_SAME):
            return
    processes.start_job(submit(request.config, warehouse, again=True), warehouse)
    st.switch_page("pages/measure.py")


def _show_delete_button(run_id: str, label: str) -> None:
    st.markdown(_("Move this run to the trash: {name}").format(name=escape(label)))
    st.markdown(_("It can be brought back until the trash is emptied."))
    trash.show_delete_button([run_id], label)


def _export_zip(warehouse: Warehouse, run_ids: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return exchange.export_runs(warehouse, run_ids, Path(folder) / "export.zip").path.read_bytes()
