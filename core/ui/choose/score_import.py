"""The section Import of the page Choose: files of scores are read, shown value by value, and then stored on a click."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.errors import InputError
from core.figures import scores as score_figures
from core.figures.chart_figure import bars_figure
from core.locale import _, worded
from core.scores.plain_csv import template
from core.scores.reader import read_scores
from core.scores.score_input import BENCHMARK, MODEL
from core.scores.score_rows import metrics_without_direction, with_directions
from core.ui import inputs, language, pictures, reads, tables
from core.ui.choose.models import ranking_params
from core.ui.choose.scores import condition_columns
from core.ui.markdown import button_label, escape
from core.warehouse import stored_scores
from core.warehouse.stored_scores import ImportPreview
from core.wording import scores as score_wording

TYPES = ["json", "jsonl", "csv", "tsv", "txt", "parquet", "yaml", "yml"]
MAX_UNFOLDED = 5
"""With more files, the remarks on each stand in an expander."""
MAX_ROWS = 2_000
"""Values drawn; more are counted."""
MAX_ASKED = 12
"""Metrics of unknown direction that are asked for at most."""
MAX_LINKS = 3
"""Benchmarks whose ranking is linked after storing."""
_READ, _ROUND, _DONE = "scores read", "scores round", "scores done"


def show() -> None:
    """Draw the uploader, and what will become of each value of the files."""
    st.markdown(
        _(
            "Scores of lm-evaluation-harness (results, samples), the Open LLM Leaderboard, model repositories "
            "(.eval_results), or a table. You see each value before it is stored."
        ),
        help=_("`workdim score MODEL --task FILE.jsonl` scores a model on your own task."),
    )
    _show_stored()
    files = inputs.upload(
        _("Files of scores"),
        TYPES,
        f"scores files {st.session_state.setdefault(_ROUND, 0)}",
        accept_multiple_files=True,
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        model = st.text_input(
            _("Model for files that name none"),
            key="scores model",
            width=300,
            placeholder="owner/name",
            help=_("Samples files do not say which model answered."),
        )
        benchmark = st.text_input(
            _("Benchmark of files that name none"),
            key="scores benchmark",
            width=300,
            help=_("Old samples files do not name it."),
        )
        inputs.show_download(_("Template for a table (CSV)"), template(), "workdim_scores.csv")
    st.caption(_("Take larger files and folders in a terminal:"))
    st.code("workdim scores import FOLDER", language=None)
    if not files:
        st.info(_("No file is chosen. Stored ones are under Imported files."))
        return
    previews = _read_previews(files, {MODEL: model.strip(), BENCHMARK: benchmark.strip()})
    if previews:
        _show_previews(previews)


def _read_previews(files: Sequence[Any], stated: dict[str, str]) -> list[ImportPreview]:
    """What each file would add; draws why a file cannot be read. Each is read once in a session, and previewed once for
    each version of the warehouse."""
    stated = {key: name for key, name in stated.items() if name}
    before: dict[Any, Any] = st.session_state.get(_READ, {})
    kept: dict[Any, Any] = {}
    previews, errors, version = [], [], reads.warehouse().version()
    with st.empty():
        for n, file in enumerate(files):
            key = (file.file_id, *stated.items())
            if key not in before:
                message = _("Reading {name}: {n} of {total} files")
                message = message.format(name=escape(file.name), n=n + 1, total=len(files))
                st.progress(n / len(files), text=message)
            try:
                if isinstance(before.get(key), InputError):
                    raise before[key]
                kept[key] = before.get(key) or read_scores(file.name, file.getvalue(), stated)
                kept[key, version] = before.get((key, version)) or stored_scores.preview_import(
                    reads.warehouse(), kept[key]
                )
                previews.append(kept[key, version])
            except InputError as error:
                kept.setdefault(key, error)
                errors.append(str(error))
        st.write("")
    st.session_state[_READ] = kept
    for message in errors:
        st.error(escape(message), icon=":material/error:")
    return previews


def _show_previews(previews: list[ImportPreview]) -> None:
    st.subheader(_("What happens to each value"))
    with st.expander(_("About each file")) if len(previews) > MAX_UNFOLDED else st.container():
        for preview in previews:
            _show_file_text(preview)
    directions = _ask_directions(previews)
    likely = _show_names(previews)
    new_files = [preview for preview in previews if _is_new(preview)]
    label = _("Store {n} files").format(n=len(new_files)) if len(new_files) != 1 else _("Store this file")
    if st.button(label, type="primary", icon=":material/save:", key="scores store", disabled=not new_files):
        _store(new_files, likely, directions)
    kinds = [(preview.file.name, score_figures.with_kind(preview.rows)) for preview in previews]
    if any(rows.height for _name, rows in kinds):
        if len(kinds) > 1:
            pictures.plot(bars_figure(score_figures.import_bars(kinds), 34), "scores bars")
        _show_values(previews)


def _is_new(preview: ImportPreview) -> bool:
    has_values = preview.rows.filter(pl.col("fate") != "skipped").height > 0
    return preview.imported_at is None and (has_values or len(preview.file.samples) > 0)


def _show_file_text(preview: ImportPreview) -> None:
    file = preview.file
    text = _("{name}: {format}; values: {values}, single answers: {answers}.").format(
        name=f"**{escape(file.name)}**",
        format=score_wording.format_name(file.format),
        values=f"{preview.rows.height:,}",
        answers=f"{len(file.samples):,}",
    )
    st.markdown(" ".join([text, *map(escape, score_wording.file_remark_lines(file))]))
    if preview.imported_at is not None:
        message = _("This file was stored on {date}, and is not stored twice.")
        st.info(message.format(date=language.local_time(preview.imported_at)), icon=":material/done_all:")
    for line in score_wording.remark_lines(file.rows, skipped=True):
        st.caption(escape(line))


def _show_values(previews: list[ImportPreview]) -> None:
    """Draw the first `MAX_ROWS` values of all files, or those of one kind."""
    kinds = {"all": _("all"), **{kind: score_wording.kind_name(kind) for kind in score_wording.KINDS}}
    kind = inputs.choose(_("Values"), kinds, "kind")
    parts: list[pl.DataFrame] = []
    n_values = 0
    for preview in previews:
        rows = score_figures.with_kind(preview.rows)
        rows = rows if kind == "all" else rows.filter(kind=kind)
        n_values += rows.height
        parts.append(_score_rows(preview, rows.head(MAX_ROWS - sum(map(len, parts)))))
    table = tables.without_empty(pl.concat(parts, how="vertical_relaxed"))
    tables.show(table, "scores values")
    if table.height < n_values:
        st.caption(_("The first {n} of {total} values are shown.").format(n=f"{table.height:,}", total=f"{n_values:,}"))


def _show_names(previews: list[ImportPreview]) -> dict[str, str]:
    """Draw which models the files name; returns the likeliest models of the other names, if the reader takes them all."""
    names = pl.concat([preview.names for preview in previews])
    if names.is_empty():
        return {}
    st.subheader(_("Models that the files name"))
    texts = [_("Measured here: {measured}.").format(measured=score_wording.measured_text(names))]
    aliases = {name for preview in previews for name in preview.aliases}
    if aliases:
        message = _("Storing adds {n} names as aliases of these models; remove them under Names of models.")
        texts.append(message.format(n=f"{len(aliases):,}"))
    if not names["is_measured"].all():
        texts.append(
            _("Other scores are stored, and count once their model is measured, or named under Names of models.")
        )
    st.markdown(" ".join(texts))
    names = names.sort("is_measured", descending=True)
    labels = {True: _("measured here"), False: _("not measured here")}
    table = {
        _("Name in the file"): names["name"],
        _("Model that is meant"): names["reference"],
        _("Known"): [labels[is_measured] for is_measured in names["is_measured"]],
        _("May be meant"): [_(", ").join(suggestions) or None for suggestions in names["suggestions"]],
        _("Scores"): names["n_scores"],
        _("Single answers"): names["n_samples"],
    }
    tables.show(tables.without_empty(table), "scores names")
    near = names.filter(~pl.col("is_measured"), pl.col("suggestions").list.len() > 0)
    likely = dict(near.select("name", pl.col("suggestions").list.first()).rows())
    label = _("Take what the table suggests (names: {n})").format(n=f"{len(likely):,}")
    return likely if likely and st.checkbox(label, key="scores map likely") else {}


def _ask_directions(previews: list[ImportPreview]) -> dict[str, bool]:
    """Ask which end is the better one where nobody knows; what is `directed` -> whether higher is."""
    unknown = dict.fromkeys(
        metric for preview in previews if _is_new(preview) for metric in metrics_without_direction(preview.file)
    )
    if not unknown:
        return {}
    st.subheader(_("Is higher or lower better?"))
    st.caption(_("Rankings need this to use the score. A column higher_is_better can state it too."))
    ends = {True: _("higher is better"), False: _("lower is better")}
    asked = {
        metric: st.segmented_control(
            button_label(wording.metric_name(metric)),
            list(ends),
            format_func=ends.__getitem__,
            key=f"scores direction {metric}",
        )
        for metric in list(unknown)[:MAX_ASKED]
    }
    return {metric: end for metric, end in asked.items() if end is not None}


def _store(previews: list[ImportPreview], likely: dict[str, str], directions: dict[str, bool]) -> None:
    """Store each file whole or not at all; the next run of the page shows what was stored and what failed."""
    stored, failed = [], []
    for preview in previews:
        named = set(preview.names["name"])
        aliases = dict(preview.aliases) | {name: model for name, model in likely.items() if name in named}
        try:
            file = stored_scores.store_import(reads.warehouse(), with_directions(preview.file, directions), aliases)
            after = stored_scores.preview_import(reads.warehouse(), preview.file)
            stored.append((file, stored_scores.scored_here(after)))
        except InputError as error:
            failed.append(str(error))
    st.session_state[_DONE] = (stored, failed)
    st.session_state[_ROUND] += 1  # an uploader of another key is an empty one
    st.rerun()


def _show_stored() -> None:
    stored, failed = st.session_state.pop(_DONE, ([], []))
    for file, scored in stored:
        message = _("Stored from {name} – scores: {n}, single answers: {answers}, skipped: {skipped}.").format(
            name=escape(file.name), n=f"{file.n_taken:,}", answers=f"{file.n_samples:,}", skipped=f"{file.n_skipped:,}"
        )
        st.success(message, icon=":material/check:")
        if file.n_taken and not scored:
            st.warning(_("None of this file's models is measured here: no ranking shows them."), icon=":material/info:")
    links = dict.fromkeys(one for _file, scored in stored for one in scored)
    for benchmark, metric in list(links)[:MAX_LINKS]:
        params = ranking_params(benchmark, metric)
        if params is not None:
            name = wording.benchmark_name(benchmark, metric, None)
            label = _("Open the ranking with {benchmark}").format(benchmark=escape(name))
            inputs.show_link("choose", label, "leaderboard", **params, choose="ranking")
    for message in failed:
        st.error(escape(message), icon=":material/error:")


def _score_rows(preview: ImportPreview, rows: pl.DataFrame) -> pl.DataFrame:
    """What each value of a file is and what will be done with it, with all columns."""
    parsed = [preview.file.rows[number] for number in rows["number"]]
    known = rows.select("known", "known_from", "known_value").rows()
    meant = rows.select("model", "reference").rows()
    columns = {
        _("Model"): rows["model"],
        _("What will be done"): [score_wording.kind_name(kind) for kind in rows["kind"]],
        _("Benchmark"): rows["benchmark"],
        _("Metric"): tables.named(rows["metric"], wording.metric_name),
        _("Score"): rows["value"],
        _("Unit"): tables.named(rows["unit"], wording.unit_name),
        _("Reason or conversion"): [score_wording.row_remarks_text(row) or None for row in parsed],
        _("In the warehouse already"): [score_wording.known_score_text(*one) or None for one in known],
        _("Model that is meant"): [other if other != name else None for name, other in meant],
        _("Partial run"): [True if partial else None for partial in rows["is_partial"]],
        **condition_columns(rows),
        _("Where in the file"): [worded(row.at) for row in parsed],
        _("File"): [preview.file.name] * rows.height,
    }
    return pl.DataFrame(columns)
