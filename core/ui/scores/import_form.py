"""Files of scores, handed over in the browser: read here, shown value by value, and stored when the reader says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st

from core.errors import InputError
from core.figures import scores
from core.scores.parsed_score import ScoreFile
from core.scores.reader import BENCHMARK, MODEL, read_scores, template
from core.ui import inputs, language, pictures, reads
from core.ui.markdown import escape
from core.ui.scores import score_tables
from core.warehouse import score_imports
from core.warehouse.score_imports import ImportPreview
from core.wording import score_files

TYPES = ["json", "jsonl", "csv", "tsv", "txt", "parquet", "yaml", "yml"]
MANY_FILES = 5
"""Beyond which what is said of each does not stand before the picture of all."""
_READ, _PREVIEWS, _ROUND, _DONE = "scores read", "scores previews", "scores round", "scores done"


def show() -> None:
    _ = language.translator()
    st.markdown(
        _(
            "Scores from lm-evaluation-harness (results and samples files), exports of the Open LLM Leaderboard, evaluation "
            "results of a model repository (.eval_results), or a table of your own. Nothing is stored before you have seen what will become of each value."
        ),
        help=_(
            "`workdim score MODEL --task FILE.jsonl` lets a model answer a task of your own, and stores its scores here."
        ),
    )
    _tell_done()
    files = inputs.upload(
        _("Files of scores"),
        TYPES,
        f"scores files {st.session_state.setdefault(_ROUND, 0)}",
        accept_multiple_files=True,
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        model = st.text_input(
            _("Model of files that name none"),
            key="scores model",
            width=300,
            placeholder="owner/name",
            help=_("Samples files of a harness do not say which model answered."),
        )
        benchmark = st.text_input(
            _("Benchmark of files that name none"),
            key="scores benchmark",
            width=300,
            help=_("Samples files of a harness before version 0.4.3 do not tell it by their names."),
        )
        st.download_button(
            _("Template for a table (CSV)"),
            template(),
            "workdim_scores.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/download:",
        )
    st.caption(_("Larger files, and whole folders of results, are taken in a terminal:"))
    st.code("workdim scores import FOLDER", language=None)
    if not files:
        st.info(_("No file is chosen. Files that are stored already are under Imported files."))
        return
    previews = _previews(files, {MODEL: model.strip(), BENCHMARK: benchmark.strip()})
    if previews:
        _show(previews)


def _previews(files: Sequence[Any], stated: dict[str, str]) -> list[ImportPreview]:
    """What each file would bring; those that cannot be read say why. Each is read once in a session."""
    _ = language.translator()
    known: dict[tuple, ScoreFile | str] = st.session_state.get(_READ, {})
    seen: dict[tuple, ImportPreview | str] = st.session_state.get(_PREVIEWS, {})
    seen = {key: found for key, found in seen.items() if isinstance(found, ImportPreview)}  # a lock may be gone by now
    read, previews, version = {}, {}, reads.warehouse().version()
    with st.empty():
        for n, file in enumerate(files):
            key = (file.file_id, *stated.values())
            if key not in known:
                line = _("Reading {name}: {n} of {total} files")
                line = line.format(name=escape(file.name), n=n + 1, total=len(files))
                st.progress(n / len(files), text=line)
            read[key] = known[key] if key in known else _read(file, stated)
            previews[*key, version] = seen[*key, version] if (*key, version) in seen else _preview(read[key])
        st.write("")
    st.session_state[_READ], st.session_state[_PREVIEWS] = read, previews
    for failed in (found for found in previews.values() if isinstance(found, str)):
        st.error(escape(failed), icon=":material/error:")
    return [found for found in previews.values() if isinstance(found, ImportPreview)]


def _read(file: Any, stated: dict[str, str]) -> ScoreFile | str:
    try:
        return read_scores(file.name, file.getvalue(), {key: name for key, name in stated.items() if name})
    except InputError as error:
        return str(error)


def _preview(file: ScoreFile | str) -> ImportPreview | str:
    if isinstance(file, str):
        return file
    try:
        return score_imports.preview_import(reads.warehouse(), file)
    except InputError as error:
        return str(error)


def _show(previews: list[ImportPreview]) -> None:
    _ = language.translator()
    lang = language.current()
    st.subheader(_("What will become of each value"))
    with st.expander(_("About each file")) if len(previews) > MANY_FILES else st.container():
        for preview in previews:
            _tell_file(preview)
    kinds = [(preview.file.name, scores.with_kind(preview.rows)) for preview in previews]
    if any(rows.height for _name, rows in kinds):
        figure = scores.import_figure(scores.import_points(kinds), lang)
        pictures.plot(figure, "scores bars")
        _values(previews)
    new = [preview for preview in previews if _is_new(preview)]
    label = _("Store {n} files").format(n=len(new)) if len(new) != 1 else _("Store this file")
    if st.button(label, type="primary", icon=":material/save:", key="scores store", disabled=not new):
        _store(new)
    _names(previews)


def _is_new(preview: ImportPreview) -> bool:
    has_values = preview.rows.filter(pl.col("fate") != "skipped").height > 0
    return preview.imported_at is None and (has_values or len(preview.file.samples) > 0)


def _tell_file(preview: ImportPreview) -> None:
    _ = language.translator()
    lang, file = language.current(), preview.file
    told = _("{name}: {format}; values: {values}, single answers: {answers}.").format(
        name=f"**{escape(file.name)}**",
        format=score_files.format_name(file.format, lang),
        values=f"{preview.rows.height:,}",
        answers=f"{len(file.samples):,}",
    )
    st.markdown(" ".join([told, *map(escape, score_files.file_remark_lines(file, lang))]))
    if preview.imported_at is not None:
        line = _("This very file was stored on {date}; it will not be stored twice.")
        st.info(line.format(date=language.local_time(preview.imported_at)), icon=":material/done_all:")
    for reason in score_files.remark_groups(file.rows, lang, skipped=True):
        line = _("{n} × {reason} (for example {places})")
        st.caption(
            line.format(n=f"{reason.count:,}", reason=escape(reason.words), places=escape("; ".join(reason.places)))
        )


def _values(previews: list[ImportPreview]) -> None:
    """The values of one kind, or all of them, of all files together."""
    _ = language.translator()
    kinds = {"all": _("all"), **{kind: score_files.kind_name(kind, language.current()) for kind in score_files.KINDS}}
    kind = inputs.choose(_("Values"), list(kinds), "kind", "all", kinds.__getitem__)
    table, n_all = score_tables.values(previews, None if kind == "all" else kind)
    score_tables.show(table, "scores values")
    if table.height < n_all:
        st.caption(_("The first {n} of {total} values are shown.").format(n=f"{table.height:,}", total=f"{n_all:,}"))


def _names(previews: list[ImportPreview]) -> None:
    _ = language.translator()
    names = pl.concat([preview.names for preview in previews])
    if names.is_empty():
        return
    unmet = names.filter(~pl.col("is_measured"))
    st.subheader(_("Models that the files name"))
    line = _(
        "Measured here: {n} of {total}. Scores of the others are stored too, and count once the model is measured "
        "or its name is mapped under Names of models."
    )
    st.markdown(line.format(n=names.height - unmet.height, total=names.height))
    score_tables.show(score_tables.names(names.sort("is_measured", descending=True)), "scores names")


def _store(previews: list[ImportPreview]) -> None:
    """Each file whole or not at all; what could not be stored stays in the uploader's place as a line."""
    done, failed = [], []
    for preview in previews:
        try:
            done.append(score_imports.store_import(reads.warehouse(), preview.file))
        except InputError as error:
            failed.append(str(error))
    st.session_state[_DONE] = (done, failed)
    st.session_state[_ROUND] += 1  # an uploader of another key is an empty one
    st.rerun()


def _tell_done() -> None:
    _ = language.translator()
    done, failed = st.session_state.pop(_DONE, ([], []))
    for one in done:
        line = _("Stored from {name}: {n} scores, {answers} single answers; skipped: {skipped}.").format(
            name=escape(one.name), n=f"{one.n_taken:,}", answers=f"{one.n_samples:,}", skipped=f"{one.n_skipped:,}"
        )
        st.success(line, icon=":material/check:")
    for line in failed:
        st.error(escape(line), icon=":material/error:")
