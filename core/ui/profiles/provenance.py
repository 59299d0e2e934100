"""The section Provenance of the screen Profiles: how the runs were measured, in what they differ, and the actions
on them: tags and note, measuring again, deleting, export.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from core.analysis.differences import comparability, differences, without_incidental
from core.errors import WorkdimError
from core.locale import _, worded
from core.questions.selection import Selection
from core.records import SHORT_ID
from core.store.annotation import RESERVED_TAGS
from core.ui import inputs, reads, tables, url_state
from core.ui.markdown import escape
from core.warehouse import export_runs
from core.warehouse.runs import annotate
from core.warehouse.warehouse import Warehouse
from core.wording.labels import run_labels
from core.wording.provenance import ABSENT, Section, comparability_text, sections

MARK = "≠"
FIELD_WIDTH, MARK_WIDTH = 280, 30
"""Pixels."""
_MESSAGE = "what was done with runs"
_PENDING_ACTION = "what is to be done with which run"
_DELETED = "the run that was just deleted, and its name"
_NOT_BACK = "why it could not be brought back"


def show(selection: Selection) -> None:
    """Draw every stored field of the runs side by side, and the actions on them."""
    runs, records = selection.runs, selection.records.to_dicts()
    labels = run_labels(runs)
    differing = _differing_fields(records)
    only_differing = False
    if len(records) == 2:
        first, second = (runs.filter(run_id=run["run_id"]).row(0, named=True) for run in records)
        st.markdown(comparability_text(comparability(first, second)))
    _show_actions(selection)
    if len(records) > 1:
        only_differing = inputs.choose_yes_no(_("Only what differs"), "differing", False)
        st.caption(_("{mark} marks a field in which the runs differ.").format(mark=MARK))
    record_sections = [sections(record) for record in records]
    names = [labels[record["run_id"]] for record in records]  # labels are grouped by model
    titled_tables = [_table(parts, names, differing, only_differing) for parts in _side_by_side(record_sections)]
    for title, table in titled_tables:
        if not table.is_empty():
            st.markdown(f"**{escape(title)}**")
            # Wide enough for the longest name of a field; the mark beside it needs no room.
            widths = {table.columns[0]: FIELD_WIDTH, **({"": MARK_WIDTH} if "" in table.columns else {})}
            columns = {name: st.column_config.Column(pinned=True, width=width) for name, width in widths.items()}
            tables.show_plain(table, key=f"provenance {title}", column_config=columns, height="content")
    all_fields = pl.concat(
        [table.select(pl.lit(title).alias(_("Section")), pl.all()) for title, table in titled_tables]
    )
    tables.show_download(all_fields, "workdim_provenance.csv", _("Download this record (CSV)"))


@inputs.hidden_when_read_only
def show_deletion() -> None:
    """Draw that a run was deleted just now, with Undo, until another is chosen. Drawn before the choice of runs.

    Nothing stands chosen after it: where other runs took its place, a second click would delete one of them.
    """
    if problem := st.session_state.pop(_NOT_BACK, None):
        st.error(escape(problem), icon=":material/error:")
    deleted = st.session_state.get(_DELETED)
    if deleted is None:
        return
    run_id, label = deleted
    chosen = st.session_state.get(url_state.key("runs"), [])
    if chosen and run_id not in chosen:
        del st.session_state[_DELETED]
        return
    st.session_state[url_state.key("runs")] = []
    with st.container(horizontal=True, vertical_alignment="center"):
        st.success(_("In the trash: {name}").format(name=escape(label)), icon=":material/delete:")
        st.button(_("Undo"), icon=":material/undo:", key="undelete run", on_click=_undelete, args=(run_id,))


def _undelete(run_id: str) -> None:
    """Called before the page is drawn again, so that the run is among those that can be chosen."""
    from core.warehouse.runs import restore_run

    st.session_state.pop(_DELETED, None)
    try:
        restore_run(reads.warehouse(), run_id)
    except WorkdimError as error:
        st.session_state[_NOT_BACK] = worded(error)
        return
    st.session_state[url_state.key("runs")] = [run_id]


def differing_table(records: list[dict], labels: dict[str, str]) -> pl.DataFrame:
    """The fields of all sections in which the runs differ."""
    record_sections = [sections(record) for record in records]
    names = [labels[record["run_id"]] for record in records]
    differing = _differing_fields(records)
    differing_tables = [_table(parts, names, differing, True)[1] for parts in _side_by_side(record_sections)]
    return pl.concat([table for table in differing_tables if not table.is_empty()] or differing_tables[:1]).select(
        pl.exclude("")
    )


def _differing_fields(records: list[dict]) -> set[str]:
    """Fields in which any two of the runs differ, without times and ids."""
    first, *others = records
    return {difference.field for other in others for difference in without_incidental(differences(first, other))}


def _side_by_side(record_sections: list[list[Section]]) -> list[list[Section]]:
    """For each section those of all runs; a run without it has an empty one."""
    titles = {section.key: section.title for run_sections in record_sections for section in run_sections}
    by_key = [{section.key: section for section in run_sections} for run_sections in record_sections]
    return [
        [run_sections.get(key, Section(key, title, ())) for run_sections in by_key] for key, title in titles.items()
    ]


def _table(
    parts: list[Section], labels: list[str], differing: set[str], only_differing: bool
) -> tuple[str, pl.DataFrame]:
    """The title of a section, and its fields as a table with a column for each run."""
    names = {field.field: field.label for part in parts for field in part.fields}
    texts = [{field.field: field.text for field in part.fields} for part in parts]
    names_shown = [name for name in names if not only_differing or name in differing]
    marks = {"": [MARK if name in differing else "" for name in names_shown]} if len(parts) > 1 else {}
    columns = {
        label: [run_texts.get(name, ABSENT) for name in names_shown]
        for label, run_texts in zip(labels, texts, strict=True)
    }
    shown = {_("Field"): [names[name] for name in names_shown], **marks, **columns}
    return parts[0].title, pl.DataFrame(shown, schema=dict.fromkeys(shown, pl.String))  # also where nothing differs


# --- actions -----------------------------------------------------------------------------------------------------------


@inputs.hidden_when_read_only
def _show_actions(selection: Selection) -> None:
    """Draw the actions on one of the runs, and the export of all."""
    if message := st.session_state.pop(_MESSAGE, None):
        st.success(escape(message))
    with st.expander(_("Care of these runs"), icon=":material/label:"):
        run = inputs.choose_one_run(selection.runs)
        _show_annotation_form(run)
        with st.container(horizontal=True):
            if st.button(_("Measure again"), icon=":material/replay:", key="measure run again"):
                st.session_state[_PENDING_ACTION] = "again", run["run_id"]
            if st.button(_("Delete"), icon=":material/delete:", key="delete run"):
                st.session_state[_PENDING_ACTION] = "delete", run["run_id"]
            run_ids = selection.with_controls["run_id"].to_list()
            inputs.show_download(
                _("Export the chosen runs (zip)"),
                partial(_export_zip, reads.warehouse(), run_ids),
                "workdim_export.zip",
                "folder_zip",
            )
        st.caption(
            _(
                "The export holds the tables as Parquet and CSV, a data dictionary, and the measurements with their "
                "control runs, for another Workdim to take in."
            )
        )
    # A dialog is drawn anew with the page: its question stays until it is answered.
    if st.session_state.get(_PENDING_ACTION) == ("again", run["run_id"]):
        _measure_again(selection.records.filter(run_id=run["run_id"]).row(0, named=True))
    elif st.session_state.get(_PENDING_ACTION) == ("delete", run["run_id"]):
        _show_delete_question(run["run_id"], inputs.run_label(run))


def _show_annotation_form(run: dict[str, Any]) -> None:
    run_id = run["run_id"]
    known = sorted({tag for tags in reads.lists().runs["tags"] for tag in tags} - {*RESERVED_TAGS})
    own_tags = [tag for tag in run["tags"] if tag not in RESERVED_TAGS]
    with st.form(f"annotations {run_id}"):
        tags = st.multiselect(
            _("Tags"),
            known,
            own_tags,
            key=f"tags {run_id}",
            accept_new_options=True,
            placeholder=_("Choose or type a tag"),
        )
        note = st.text_area(_("Note"), run["note"] or "", key=f"note {run_id}", height=80)
        is_saved = st.form_submit_button(_("Save"))
    if set(run["tags"]) & {*RESERVED_TAGS}:
        st.caption(
            _("This run is one of those that Workdim ships; it keeps the tag {tag}.").format(tag=RESERVED_TAGS[0])
        )
    if is_saved:
        annotate(reads.warehouse(), run_id, lambda annotation: annotation.with_tags(tags).with_note(note))
        _finish(_("Tags and note are saved."))


def _measure_again(record: dict[str, Any]) -> None:
    """Start the measurement at once where nothing has changed, else ask first."""
    from core.runs.stored_runs import rerun_request

    try:
        request = rerun_request(reads.warehouse(), record)
    except WorkdimError:
        _close_question()
        raise
    if not request.changed:
        _submit(request.config)
    _show_question(
        _("Measure again"),
        [*map(escape, request.changed), _("The new run will not compare with this one.")],
        _("Measure all the same"),
        lambda: _submit(request.config),
    )


def _submit(config: Any) -> None:
    from core.runs import processes
    from core.runs.jobs import submit

    _close_question()
    warehouse = reads.warehouse()
    processes.start_job(submit(config, warehouse, again=True), warehouse)
    st.switch_page("pages/pilot.py")


def _show_delete_question(run_id: str, label: str) -> None:
    lines = [
        _("Move this run to the trash: {name}").format(name=escape(label)),
        _("It can be brought back, here or with `{command}`, until the trash is emptied.").format(
            command=reads.warehouse().command(f"runs undelete {run_id[:SHORT_ID]}")
        ),
    ]

    def move() -> None:
        from core.runs.stored_runs import delete_stored_runs

        delete_stored_runs(reads.warehouse(), [run_id])
        st.session_state[_DELETED] = run_id, label
        _close_question()
        st.rerun()

    _show_question(_("Delete"), lines, _("Move to the trash"), move)


def _show_question(title: str, lines: list[str], label: str, action: Callable[[], None]) -> None:
    """Draw a dialog with lines of Markdown and a button for the action; it shows errors itself, as it runs apart from the
    page."""

    def draw() -> None:
        for line in lines:
            st.markdown(line)
        if st.button(label, type="primary", key="confirmed"):
            try:
                action()
            except WorkdimError as error:
                st.error(escape(str(error)), icon=":material/error:")

    st.dialog(title, on_dismiss=_close_question)(draw)()


def _close_question() -> None:
    st.session_state.pop(_PENDING_ACTION, None)


def _finish(message: str) -> None:
    """Close the question and draw the page anew with a message."""
    _close_question()
    st.session_state[_MESSAGE] = message
    st.rerun()


def _export_zip(warehouse: Warehouse, run_ids: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return export_runs.export_runs(warehouse, run_ids, Path(folder) / "export.zip").path.read_bytes()
