"""What is done with the chosen runs: tags and note, measuring again, the export, and the trash."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import WorkdimError
from core.records import SHORT_ID
from core.store.annotation import RESERVED_TAGS
from core.ui import inputs, language, reads
from core.ui.markdown import escape
from core.ui.reads import Selection
from core.warehouse import export_runs
from core.warehouse.runs import annotate
from core.warehouse.warehouse import Warehouse

_SAID = "what was done with runs"
_ASKED = "what is to be done with which run"


@inputs.hidden_when_read_only
def show(chosen: Selection) -> None:
    """The care of one of the runs, and the export of all."""
    _ = language.translator()
    if said := st.session_state.pop(_SAID, None):
        st.success(escape(said))
    with st.expander(_("Care of these runs"), icon=":material/label:"):
        run = inputs.choose_one_run(chosen.runs)
        _annotations(run)
        with st.container(horizontal=True):
            if st.button(_("Measure again"), icon=":material/replay:", key="measure run again"):
                st.session_state[_ASKED] = "again", run["run_id"]
            if st.button(_("Delete"), icon=":material/delete:", key="delete run"):
                st.session_state[_ASKED] = "delete", run["run_id"]
            taken = chosen.with_controls["run_id"].to_list()
            st.download_button(
                _("Export the chosen runs (zip)"),
                partial(_zipped, reads.warehouse(), taken),
                "workdim_export.zip",
                "application/zip",
                on_click="ignore",
                icon=":material/folder_zip:",
            )
        st.caption(
            _(
                "The export holds the tables as Parquet and CSV, a data dictionary, and the measurements with their "
                "control runs, for another Workdim to take in."
            )
        )
    # The question stays until it is answered: a dialog is drawn anew with the page.
    if st.session_state.get(_ASKED) == ("again", run["run_id"]):
        _measure_again(chosen.records.filter(run_id=run["run_id"]).row(0, named=True))
    elif st.session_state.get(_ASKED) == ("delete", run["run_id"]):
        _delete(run["run_id"], inputs.run_label(run))


def _annotations(run: dict[str, Any]) -> None:
    _ = language.translator()
    run_id = run["run_id"]
    known = sorted({tag for tags in reads.lists().runs["tags"] for tag in tags} - {*RESERVED_TAGS})
    own = [tag for tag in run["tags"] if tag not in RESERVED_TAGS]
    with st.form(f"annotations {run_id}"):
        tags = st.multiselect(
            _("Tags"), known, own, key=f"tags {run_id}", accept_new_options=True, placeholder=_("Choose or type a tag")
        )
        note = st.text_area(_("Note"), run["note"] or "", key=f"note {run_id}", height=80)
        wants = st.form_submit_button(_("Save"))
    if set(run["tags"]) & {*RESERVED_TAGS}:
        st.caption(
            _("This run is one of those that Workdim ships; it keeps the tag {tag}.").format(tag=RESERVED_TAGS[0])
        )
    if wants:
        annotate(reads.warehouse(), run_id, lambda said: said.with_tags(tags).with_note(note))
        _done(_("Tags and note are saved."))


def _measure_again(record: dict[str, Any]) -> None:
    """At once where all is as it was; else the reader is asked."""
    from core.runs.stored_runs import rerun_request

    _ = language.translator()
    try:
        asked = rerun_request(record)
    except WorkdimError:
        _forget()
        raise
    if not asked.changed:
        _submit(asked.config)
    _ask(
        _("Measure again"),
        [*map(escape, asked.changed), _("The new run will not compare with this one.")],
        _("Measure all the same"),
        lambda: _submit(asked.config),
    )


def _submit(config: Any) -> None:
    from core.runs import processes
    from core.runs.jobs import submit

    _forget()
    warehouse = reads.warehouse()
    processes.start_job(submit(config, warehouse, again=True), warehouse)
    st.switch_page("pages/pilot.py")


def _delete(run_id: str, label: str) -> None:
    _ = language.translator()
    lines = [
        _("Move this run to the trash: {name}").format(name=escape(label)),
        _("It can be brought back with `workdim runs undelete {run}` until the trash is emptied.").format(
            run=run_id[:SHORT_ID]
        ),
    ]

    def move() -> None:
        from core.runs.stored_runs import delete_stored_runs

        delete_stored_runs(reads.warehouse(), [run_id])
        _done(_("The run is in the trash."))

    _ask(_("Delete"), lines, _("Move to the trash"), move)


def _ask(title: str, lines: list[str], label: str, do: Callable[[], None]) -> None:
    """A question over the page, in lines of Markdown; a dialog runs apart from it, so that errors are told within."""

    def draw() -> None:
        for line in lines:
            st.markdown(line)
        if st.button(label, type="primary", key="confirmed"):
            try:
                do()
            except WorkdimError as error:
                st.error(escape(str(error)), icon=":material/error:")

    st.dialog(title, on_dismiss=_forget)(draw)()


def _forget() -> None:
    st.session_state.pop(_ASKED, None)


def _done(line: str) -> None:
    """Said on the page as it then is."""
    _forget()
    st.session_state[_SAID] = line
    st.rerun()


def _zipped(warehouse: Warehouse, run_ids: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return export_runs.export_as_zip(warehouse, run_ids, Path(folder))
