"""The scores of the page Choose: all of them, files imported and contradictions between them, which model a name means, the import of
files, and two models held against each other question by question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import compare_all_answers
from core.errors import InputError, WarehouseError
from core.figures import scores as score_figures
from core.figures.scores import benchmark_label, paired_chart
from core.locale import _, worded
from core.scores.reader import read_scores
from core.scores.score_rows import BENCHMARK, MODEL, metrics_without_direction, with_directions
from core.scores.table import csv_template
from core.ui import inputs, language, pictures, reads, tables, url_state
from core.ui.choose.choices import ranking_params
from core.ui.language import button_label, escape, show_error, show_notes
from core.warehouse import stored_scores
from core.warehouse.aliases import set_aliases
from core.warehouse.stored_scores import ImportPreview
from core.wording import scores as score_wording
from core.wording.scores import comparison_outcome_text, multiple_comparisons_text, newest_file_text, p_number_text

_NAMES_ROUND = "scores names round"
MAX_ROWS = 1_000
"""Scores drawn; the file holds all that were found."""


def show_all() -> None:
    """Draw every score of the warehouse, searched by words."""
    rows = reads.all_scores()
    words = st.text_input(_("Find"), key=url_state.key("words"), placeholder=_("model, benchmark, source"), width=320)
    rows = inputs.matching_rows(rows, words, "repository", "name_in_source", "benchmark", "metric", "source")
    st.caption(_("Scores: {n}, the first {shown} drawn.", n=f"{rows.height:,}", shown=min(MAX_ROWS, rows.height)))
    drawn = rows.head(MAX_ROWS)
    table = {
        _("Model"): drawn["repository"],
        _("Benchmark"): drawn["benchmark"],
        _("Metric"): tables.named(drawn["metric"], wording.metric_name),
        _("Score"): drawn["value"].round_sig_figs(4),
        _("Standard error"): tables.rounded(drawn, "std_error", 2),
        _("Unit"): tables.named(drawn["unit"], wording.unit_name),
        **condition_columns(drawn),
        _("Source"): drawn["source"],
        _("As of"): drawn["as_of"],
    }
    tables.show(table, "scores all")
    tables.show_download(rows, "workdim_scores.csv")


def condition_columns(rows: pl.DataFrame) -> dict[str, Any]:
    """The columns of a table of scores that say under which conditions they were reached."""
    return {
        _("Shots"): rows["n_shot"],
        _("Filter"): tables.named(rows["filter"], wording.stated_text),
        _("Suite"): tables.named(rows["suite"], wording.stated_text),
        _("Revision"): rows["revision"],
    }


def show_files() -> None:
    """Draw the imported files, and the removal of one."""
    files = reads.score_files()
    st.markdown(_("Scores in the warehouse: {n}, shipped ones included.", n=f"{reads.counts()['scores']:,}"))
    if files.is_empty():
        st.info(_("No file was imported yet."))
        return
    table = {
        _("File"): files["file_name"],
        _("Kind of file"): [score_wording.format_name(name) for name in files["format"]],
        _("Scores"): files["n_taken"],
        _("Of partial runs"): files["n_partial"],
        _("Skipped"): files["n_skipped"],
        _("Single answers"): files["n_samples"],
        _("Models"): files["n_models"],
        _("Imported"): [language.local_time(time, in_table=True) for time in files["imported_at"]],
        "SHA-256": files["file_sha256"].str.head(12),
    }
    tables.show(table, "scores imported")
    _show_removal(files)


@inputs.hidden_when_read_only
def _show_removal(files: pl.DataFrame) -> None:
    labels = {
        sha: f"{name} · {language.local_time(at)} · {sha[:12]}"
        for sha, name, at in files.select("file_sha256", "file_name", "imported_at").rows()
    }
    with inputs.row():
        chosen = st.selectbox(
            _("File to remove"), list(labels), key="scores to remove", width=480, format_func=labels.__getitem__
        )
        with st.popover(_("Remove"), icon=":material/delete:"):
            st.markdown(_("All its scores and answers are removed; the file itself stays."))
            if st.button(_("Remove it"), type="primary", key="scores remove"):
                stored_scores.remove_import(reads.warehouse(), chosen)
                st.rerun()


def show_conflicts() -> None:
    """Draw the scores on which two sources contradict each other."""
    rows = reads.score_conflicts()
    if rows.is_empty():
        st.info(_("No two sources contradict each other."))
        return
    st.markdown(
        _(
            "Values of one model, benchmark and setting that differ beyond rounding: {n}. Rankings "
            "show newest and range.",
            n=rows.height,
        )
    )
    variants = rows.select("dtype", "chat_template").rows()
    table = {
        _("Model"): rows["repository"],
        _("Benchmark"): rows["benchmark"],
        _("Metric"): tables.named(rows["metric"], wording.metric_name),
        _("Lowest"): rows["lowest"].round_sig_figs(4),
        _("Highest"): rows["highest"].round_sig_figs(4),
        _("Values"): rows["n_values"],
        _("Value and source"): rows["told"].list.join(" | "),
        **condition_columns(rows),
        _("Settings"): [wording.score_settings_text(dtype, template) for dtype, template in variants],
    }
    tables.show(table, "scores conflicts")


# --- names of models ---------------------------------------------------------------------------------------------------


def show_names() -> None:
    """Draw suggestions for names that no measured model has, and the table of names with their models."""
    st.markdown(_("A score belongs to the model its file names. Where names differ, say which."))
    _show_suggestions()
    _show_name_table()


def _show_suggestions() -> None:
    """Draw names that resemble a measured model; only ticked ones are mapped."""
    unmatched = reads.unmatched_names()
    if unmatched.is_empty():
        return
    st.subheader(_("Suggestions"))
    name, model, take = _("Name in the file"), _("Model that may be meant"), _("Map")
    takes_all = st.checkbox(_("Tick all"), key="scores tick all")
    table = unmatched.select(
        pl.lit(takes_all).alias(take),
        pl.col("name").alias(name),
        pl.col("suggestions").list.first().alias(model),
        pl.col("n_scores").alias(_("Scores")),
        pl.col("n_samples").alias(_("Single answers")),
    )
    others = [column for column in table.columns if column not in (take, model)]
    edited = st.data_editor(
        table, key=_editor_key("all suggested" if takes_all else "suggested"), hide_index=True, disabled=others
    )
    if st.button(_("Map those that are ticked"), key="scores map", icon=":material/link:"):
        ticked = edited.filter(pl.col(take))
        _save(dict(ticked.select(name, model).rows()), [])


def _show_name_table() -> None:
    st.subheader(_("Names and the models that they mean"))
    aliases = reads.aliases()
    name, model = _("Name in the file"), _("Model that is meant")
    table = aliases.select(
        pl.col("alias").alias(name),
        pl.col("reference").alias(model),
        _known().alias(_("Known")),
        pl.col("n_scores").alias(_("Scores")),
    )
    edited = st.data_editor(
        table, key=_editor_key("table"), hide_index=True, num_rows="dynamic", disabled=[_("Known"), _("Scores")]
    )
    st.caption(_("A hub repository (owner/name) or a reference as measured."))
    if st.button(_("Save the changes"), key="scores save names", icon=":material/save:"):
        rows = [(alias or "", reference or "") for alias, reference in edited.select(name, model).rows()]
        rows = [(alias.strip(), reference) for alias, reference in rows if alias.strip() or reference.strip()]
        references = dict(rows)
        if len(references) < len(rows):
            show_error(_("A name is there twice; each means one model."))
            return
        _save(references, [alias for alias in aliases["alias"] if alias not in references])


def _known() -> pl.Expr:
    """Whether a model is measured here, in words."""
    return pl.when("is_measured").then(pl.lit(_("measured here"))).otherwise(pl.lit(_("not measured here")))


def _save(references: dict[str, str], removed: list[str]) -> None:
    set_aliases(reads.warehouse(), references, removed)
    st.session_state[_NAMES_ROUND] += 1  # edits that are stored are no edits any more
    st.rerun()


def _editor_key(name: str) -> str:
    return f"scores names {name} {st.session_state.setdefault(_NAMES_ROUND, 0)}"


# --- import ----------------------------------------------------------------------------------------------------------

TYPES = ["json", "jsonl", "csv", "tsv", "txt", "parquet", "yaml", "yml"]
MAX_UNFOLDED = 5
"""With more files, the remarks on each stand in an expander."""
MAX_PREVIEWED = 2_000
"""Values drawn; more are counted."""
MAX_LINKS = 3
"""Benchmarks whose ranking is linked after storing."""
_READ, _UPLOAD_ROUND, _DONE = "scores read", "scores round", "scores done"


def show_import() -> None:
    """Draw the uploader, and what will become of each value of the files."""
    st.markdown(
        _(
            "Scores of lm-evaluation-harness (results, samples), the Open LLM Leaderboard, model "
            "repositories (.eval_results), or a table."
        ),
        help=_("`workdim score MODEL --task FILE.jsonl` scores a model on your own task."),
    )
    _show_stored()
    files = inputs.upload(
        _("Files of scores"),
        TYPES,
        f"scores files {st.session_state.setdefault(_UPLOAD_ROUND, 0)}",
        accept_multiple_files=True,
    )
    with inputs.row():
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
        inputs.show_download(_("Template for a table (CSV)"), csv_template(), "workdim_scores.csv")
    st.caption(_("Take larger files and folders in a terminal:"))
    st.code("workdim scores import FOLDER", language=None)
    if previews := _read_previews(files, {MODEL: model.strip(), BENCHMARK: benchmark.strip()}):
        _show_previews(previews)


def _read_previews(files: Sequence[Any], stated: dict[str, str]) -> list[ImportPreview]:
    """What each file would add; draws why a file cannot be read. Each is read once in a session for each version of the
    warehouse, anew where that could not be opened."""
    stated = {key: name for key, name in stated.items() if name}
    before: dict[Any, ImportPreview | InputError] = st.session_state.get(_READ, {})
    kept: dict[Any, ImportPreview | InputError] = {}
    version = reads.warehouse().version()
    with st.empty():
        for n, file in enumerate(files):
            key = (file.file_id, version, *stated.items())
            if key not in before:
                message = _("Reading {name}: {n} of {total} files", name=escape(file.name), n=n + 1, total=len(files))
                st.progress(n / len(files), text=message)
                try:
                    scores = read_scores(file.name, file.getvalue(), stated)
                    before[key] = stored_scores.preview_import(reads.warehouse(), scores)
                except InputError as error:
                    before[key] = error
            kept[key] = before[key]
        st.write("")
    st.session_state[_READ] = {key: one for key, one in kept.items() if not isinstance(one, WarehouseError)}
    for refused in (one for one in kept.values() if isinstance(one, InputError)):
        show_error(refused)
    return [one for one in kept.values() if not isinstance(one, InputError)]


def _show_previews(previews: list[ImportPreview]) -> None:
    st.subheader(_("What happens to each value"))
    with st.expander(_("About each file")) if len(previews) > MAX_UNFOLDED else st.container():
        for preview in previews:
            _show_file_text(preview)
    directions = _ask_directions(previews)
    _show_names(previews)
    new_files = [preview for preview in previews if _is_new(preview)]
    label = _("Store {n} file", "Store {n} files", n=len(new_files))
    if st.button(label, type="primary", icon=":material/save:", key="scores store", disabled=not new_files):
        _store(new_files, directions)
    if n := sum(preview.rows.height for preview in previews):
        table = pl.concat(map(_score_rows, previews), how="vertical_relaxed").head(MAX_PREVIEWED)
        tables.show(table.to_dict(), "scores values")
        st.caption(_("{n} of {total} values are shown.", n=f"{table.height:,}", total=f"{n:,}"))


def _is_new(preview: ImportPreview) -> bool:
    has_values = preview.rows.filter(pl.col("fate") != "skipped").height > 0
    return preview.imported_at is None and (has_values or len(preview.file.samples) > 0)


def _show_file_text(preview: ImportPreview) -> None:
    file, format_ = preview.file, score_wording.format_name(preview.file.format)
    template = _("{format}; values: {values:,}, single answers: {answers:,}.")
    text = template.format(format=format_, values=preview.rows.height, answers=len(file.samples))
    told = escape(wording.joined_sentences([text, *score_wording.file_remark_lines(file)]))
    st.markdown(f"**{escape(file.name)}** {told}")
    if preview.imported_at is not None:
        stored_at = language.local_time(preview.imported_at)
        st.info(_("This file was stored on {date}.", date=stored_at), icon=":material/done_all:")
    show_notes(score_wording.remark_lines(file.rows, skipped=True))


def _show_names(previews: list[ImportPreview]) -> None:
    """Draw which models the files name, and what other names may mean."""
    names = pl.concat([preview.names for preview in previews])
    if names.is_empty():
        return
    st.subheader(_("Models that the files name"))
    texts = [_("Measured here: {measured}.", measured=score_wording.measured_text(names))]
    aliases = {name for preview in previews for name in preview.aliases}
    if aliases:
        texts.append(_("Storing adds {n} aliases; remove them under Names of models.", n=f"{len(aliases):,}"))
    if not names["is_measured"].all():
        texts.append(_("Other scores count once their model is measured, or named under Names of models."))
    st.markdown(wording.joined_sentences(texts))
    names = names.sort("is_measured", descending=True)
    table = {
        _("Name in the file"): names["name"],
        _("Model that is meant"): names["reference"],
        _("Known"): names.select(_known()).to_series(),
        _("May be meant"): [_(", ").join(suggestions) or None for suggestions in names["suggestions"]],
        _("Scores"): names["n_scores"],
        _("Single answers"): names["n_samples"],
    }
    tables.show(table, "scores names")


def _ask_directions(previews: list[ImportPreview]) -> dict[str, bool]:
    """Ask which end is the better one where nobody knows; what is `directed` -> whether higher is."""
    unknown = dict.fromkeys(
        metric for preview in previews if _is_new(preview) for metric in metrics_without_direction(preview.file)
    )
    if not unknown:
        return {}
    st.subheader(_("Is higher or lower better?"))
    st.caption(_("Rankings need this to use the score; a column higher_is_better can state it."))
    ends = {True: _("higher is better"), False: _("lower is better")}
    asked = {
        metric: st.segmented_control(
            button_label(wording.metric_name(metric)),
            list(ends),
            format_func=ends.__getitem__,
            key=f"scores direction {metric}",
        )
        for metric in unknown
    }
    return {metric: end for metric, end in asked.items() if end is not None}


def _store(previews: list[ImportPreview], directions: dict[str, bool]) -> None:
    """Store each file whole or not at all; the next run of the page shows what was stored and what failed."""
    stored, failed = [], []
    for preview in previews:
        try:
            file = stored_scores.store_import(
                reads.warehouse(), with_directions(preview.file, directions), dict(preview.aliases)
            )
            after = stored_scores.preview_import(reads.warehouse(), preview.file)
            stored.append((file, stored_scores.scored_here(after)))
        except InputError as error:
            failed.append(error)
    st.session_state[_DONE] = (stored, failed)
    st.session_state[_UPLOAD_ROUND] += 1  # an uploader of another key is an empty one
    st.rerun()


def _show_stored() -> None:
    stored, failed = st.session_state.pop(_DONE, ([], []))
    for file, scored in stored:
        counts = {"scores": file.n_taken, "answers": file.n_samples, "skipped": file.n_skipped}
        told = _("Stored from {name} – scores: {scores:,}, single answers: {answers:,}, skipped: {skipped:,}.")
        st.success(told.format(name=escape(file.name), **counts), icon=":material/check:")
        if file.n_taken and not scored:
            st.warning(_("None of this file's models is measured here: no ranking shows them."), icon=":material/info:")
    links = dict.fromkeys(one for _file, scored in stored for one in scored)
    for benchmark, metric in list(links)[:MAX_LINKS]:
        params = ranking_params(benchmark, metric)
        if params is not None:
            name = wording.benchmark_name(benchmark, metric, None)
            label = _("Open the ranking with {benchmark}", benchmark=escape(name))
            inputs.show_link("choose", label, "leaderboard", **params, choose="ranking")
    for error in failed:
        show_error(error)


def _score_rows(preview: ImportPreview) -> pl.DataFrame:
    """What each value of a file is and what will be done with it, with all columns; of the first that can be drawn."""
    rows = score_figures.with_kind(preview.rows.head(MAX_PREVIEWED))
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


# --- two models, question by question --------------------------------------------------------------------------------

N_BENCHMARKS, MAX_BENCHMARKS = 12, 60
"""Benchmarks, such as the parts of a large one, that are drawn by default, and at most."""


def show_pairs() -> None:
    """Draw the differences of two chosen models on each benchmark."""
    answer_sets = reads.answer_sets()
    models = answer_sets["model"].unique().sort().to_list()
    if len(models) < 2:
        st.info(
            _(
                "Needed are single answers of two models: import the samples files that lm-evaluation-harness "
                "writes with --log_samples."
            )
        )
        return
    left, right = st.columns(2)
    with left:
        first = inputs.choose_from_list(_("First model"), models, "first")
    others = [model for model in models if model != first]
    with right:
        second = inputs.choose_from_list(_("Second model"), others, "second")
    comparisons = compare_all_answers(reads.answers(first), reads.answers(second))
    if not comparisons:
        st.info(_("These models share no question of one benchmark and metric."))
        return
    benchmarks = sorted({key.benchmark for key, _one in comparisons})
    if len(benchmarks) > 1:
        chosen = inputs.choose_many(
            _("Benchmarks"), benchmarks, "benchmarks", benchmarks[:N_BENCHMARKS], max_selections=MAX_BENCHMARKS
        )
        comparisons = [(key, comparison) for key, comparison in comparisons if key.benchmark in chosen]
        if not comparisons:
            st.info(_("Choose at least one benchmark above."))
            return
    chart = paired_chart(first, second, comparisons)
    pictures.plot(chart, "scores pairs", 170 + 36 * len(comparisons))
    results = [result for _key, result in comparisons]
    frame = pl.DataFrame([vars(result) for result in results], infer_schema_length=None)
    table = {
        _("Benchmark"): [benchmark_label(key) for key, _one in comparisons],
        _("Result"): list(map(comparison_outcome_text, results)),
        _("Difference"): [wording.with_interval(one.difference, one.lower, one.upper) for one in results],
        _("Common questions"): frame["n_common"],
        _("Mean of the first"): frame["mean_a"].round(4),
        _("Mean of the second"): frame["mean_b"].round(4),
        _("Standard error"): tables.rounded(frame, "std_error", 2),
        _("Only the first is right"): frame["only_a_right"],
        _("Only the second is right"): frame["only_b_right"],
        _("p (exact)"): list(map(p_number_text, frame["p_value"])),
        _("Detectable difference"): list(map(wording.number, frame["detectable"])),
        _("Only asked of the first"): frame["n_only_a"],
        _("Only asked of the second"): frame["n_only_b"],
    }
    tables.show(table, "scores differences")
    notes = [
        _(
            "First less second model, in the metric's unit, question by question. The detectable difference "
            "is the smallest true one shown with 80 % probability."
        ),
        _("These files state no shots or chat template: compare equal settings."),
    ]
    if len(comparisons) > 1:
        notes.append(multiple_comparisons_text(len(comparisons)))
    in_several_files = answer_sets.filter(answer_sets["model"].is_in([first, second]) & (answer_sets["n_files"] > 1))
    if not in_several_files.is_empty():
        notes.append(newest_file_text(in_several_files["benchmark"].unique().sort().to_list()))
    show_notes(notes)
