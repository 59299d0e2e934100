"""Which runs a page is about: a pilot, filters, a search, a list; what is said of them before any number; the trash and its
way back."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import polars as pl
import streamlit as st

from core import wording
from core.analysis import ranking
from core.analysis.differences import comparability, with_controls
from core.analysis.ranking import own_runs
from core.errors import WorkdimError
from core.locale import _, spoken
from core.pilots.pilot import Pilot, RegisteredPilot, registered_pilot, shipped_pilot
from core.questions.ranking_question import pilot_registration
from core.registry.names import keys
from core.registry.protocols import CLAIMS
from core.store import parcels
from core.tables import PilotRow, Run, ids_of, records
from core.ui import inputs, language, reads, url_state
from core.ui.language import escape, show_error
from core.warehouse import reference
from core.warehouse.runs import restore_run
from core.wording import answers as answer_wording
from core.wording.labels import run_labels
from core.wording.runs import apart_text
from core.wording.scores import registered_benchmark_text

MAX_LISTED = 200
"""Runs that a list offers; the others are found by a search, which is faster than drawing them."""
SIZES = (0.0, 2e8, 1e9, 4e9, 1.5e10, float("inf"))
"""Ends of the ranges of parameters by which runs are filtered."""
N_SHOWN_FIRST = 4
"""Runs of a first look."""
_SEARCH_COLUMNS = ("name", "reference", "family", "kind", "corpus_name", "protocol", "dtype", "pass", "run_id")
Filter = tuple[str, str, str, str, list[str]]
"""Name in the address, column, label, kind of the values' names, and the values in order, where they have one."""
FILTERS = ("of", "on", "size", "checks", *CLAIMS, "family", "architecture", "tuning", "language", "tag")
"""Names in the address of what leaves out runs or models; several pages share some of them."""
MOST_TRASHED = 20
"""Runs of the trash that are drawn before all are asked for."""
_DELETED = "the runs that were just deleted, and their name"
_NOT_BACK = "why they could not be brought back"


def runs_or_stop() -> pl.DataFrame:
    """All runs, as `Lists.runs` holds them; ends the page where nothing was measured, with what to do."""
    runs = reads.lists().runs
    if not runs.is_empty():
        return runs
    if reads.has_reference():
        st.info(_("No measurements of your own yet. The switch at the side shows shipped profiles."))
    else:
        st.info(_("No measurements yet."))
        if inputs.may_write() and st.button(_("Add the shipped profiles"), icon=":material/library_add:"):
            reference.add_profiles(reads.warehouse(), logging.getLogger("workdim").warning, with_removed=True)
            st.rerun()
    inputs.show_link("measure", _("Measure a model here"), "science")
    st.caption(_("Or: `workdim demo --no-app` measures two models in minutes."))
    show_trash()
    url_state.stop()


def stop_if_none_chosen(runs: pl.DataFrame) -> None:
    if runs.is_empty():
        st.info(_("Choose at least one run above."))
        url_state.stop()


def choose_pilot(runs: pl.DataFrame) -> tuple[RegisteredPilot | None, pl.DataFrame]:
    """Return the chosen pilot and its runs with their control passes; None and all runs where no pilot is chosen.

    What the use class of the pilot forbids is shown before any number. The page stops where the pilot has no result yet.
    """
    rows = {row.pilot_id: row for row in records(reads.lists().pilots, PilotRow)}
    n_named = Counter(row.name for row in rows.values())
    names = {inputs.ALL: _("all runs")}
    for key, row in rows.items():  # an edited pilot has the name of the one that it was
        names[key] = f"{row.name} · {key[-8:]}" if n_named[row.name] > 1 else row.name
    chosen = inputs.choose_by_id(_("Pilot"), names, "pilot", width=480)
    if chosen == inputs.ALL:
        return None, runs
    registered = registered_pilot(rows[chosen])
    pilot = registered.pilot
    expected = _("Expected: {expectation}", expectation=escape(pilot.expectation_in(spoken())))
    conditions = _(
        "{use_class}. Benchmark ({registration}): {benchmark}.",
        use_class=wording.name("use_class", pilot.use_class),
        registration=answer_wording.registration_day_text(pilot_registration(registered, shipped_pilot())),
        benchmark=escape(registered_benchmark_text(pilot.benchmark)),
    )
    st.markdown(f"**{escape(pilot.question_in(spoken()))}**", help=f"{expected}  \n{conditions}")
    show_forbidden(pilot)
    pilot_runs = with_controls(runs.filter(pl.col("run_id").is_in(reads.pilot_run_ids(pilot.pilot_id))), runs)
    if pilot_runs.is_empty():
        st.info(_("This pilot has no result yet."))
        inputs.show_link("measure", _("Measure what is missing"), "science")
        url_state.stop()
    return registered, pilot_runs


def show_forbidden(pilot: Pilot | None) -> None:
    """Draw what the use class of a pilot forbids, where it forbids something."""
    warnings = {
        "scarce_data": _("**Scarce data.** Too few examples to check a choice: never choose by dimension alone."),
        "safety_critical": _(
            "**Safety-critical.** Wrong answers do harm: test the task and its failures; never choose by "
            "dimension alone."
        ),
    }
    if pilot and pilot.use_class in warnings:
        st.warning(warnings[pilot.use_class], icon=":material/front_hand:")


# --- runs -------------------------------------------------------------------------------------------------------------


def choose_filtered_runs(runs: pl.DataFrame, words: str = "") -> tuple[pl.DataFrame, bool]:
    """Draw the filters by model, text, size, verdict and check; return the runs that pass them, and whether any is on.

    `runs` has the columns of `queries.run_list` at least. Verdicts and checks are read only where such a filter is set. Those
    that pass contain all `words` too, which narrow nothing that a filter offers: else it would go while somebody types.
    """
    described = [("of", "name", _("Model"), "", []), ("on", "corpus_name", _("Text"), "", []), *judged_filters()]
    with st.popover(_("Filters"), icon=":material/filter_alt:"):
        passing, judged, told = choose_filters(runs, described)
    if judged:
        of_evidence = reads.evidence().runs.filter(*judged)
        passing = passing.join(of_evidence, on="run_id", how="semi")
    runs = matching_runs(runs, words)
    passing = runs.join(passing, on="run_id", how="semi", maintain_order="left")
    n_passing, n_texts = (some.filter(pl.col("pass") == "text").height for some in (passing, runs))
    show_filters(told, n_passing, n_texts)
    return passing, bool(told)


def choose_filters(rows: pl.DataFrame, filters: Sequence[Filter]) -> tuple[pl.DataFrame, list[pl.Expr], list[str]]:
    """Draw a filter by size and by each of some columns, unless it has one option alone; return the rows that pass, the
    conditions on columns that they do not have, and what is filtered by."""
    sizes = choose_sizes(rows)
    rows, told = rows.filter(*sizes), [_("Parameters")] if sizes else []
    others: list[pl.Expr] = []
    for name, column, label, kind, order in filters:
        is_known = column in rows.columns
        found = set(rows[column].drop_nulls()) if is_known else set(order)
        values = [value for value in order if value in found] + sorted(found - {*order})
        names = wording.names(kind, values)
        if len(values) > 1 and (chosen := inputs.choose_many(label, names, name, placeholder=_("all"))):
            condition = pl.col(column).is_in(chosen)
            rows, others = (rows.filter(condition), others) if is_known else (rows, [*others, condition])
            told.append(label)
    return rows, others, told


def judged_filters() -> list[Filter]:
    """The filters by what checks and verdicts say."""
    verdicts = [*keys("claim_verdict")]
    claims = [
        (key, f"verdict_{key}", wording.name("claim", key).capitalize(), "claim_verdict", verdicts) for key in CLAIMS
    ]
    return [("checks", "worst_check", _("Checks"), "outcome", [*reversed(keys("outcome"))]), *claims]  # vetoes first


def show_filters(told: Sequence[str], n: int, total: int) -> None:
    """Draw which filters are on, perhaps since another page, how many are left, and the click that clears them."""

    def clear() -> None:
        for name in FILTERS:
            st.session_state[url_state.key(name)] = []

    if told:
        with inputs.row("center"):
            text = _("Filtered by {filters}: {n} of {total} shown.", filters=told, n=n, total=total)
            st.caption(escape(text), width="content")
            st.button(_("Clear"), icon=":material/filter_alt_off:", key="clear filters", on_click=clear)


def choose_sizes(runs: pl.DataFrame) -> list[pl.Expr]:
    """Draw the filter by the ranges of parameters that occur, where these are several; returns its condition, if any."""
    within = [pl.col("parameters").is_between(*ends, closed="left") for ends in itertools.pairwise(SIZES)]
    names = (f"{low / 1e9:g} – {high / 1e9:g}".replace("inf", "∞") for low, high in itertools.pairwise(SIZES))
    offered = {at: name for at, name in enumerate(names) if runs.filter(within[at]).height}
    label = _("Parameters (billions)")
    if len(offered) > 1 and (chosen := inputs.choose_many(label, offered, "size", placeholder=_("all"))):
        return [pl.any_horizontal(within[at] for at in chosen)]
    return []


def type_words(label: str, width: int = 320) -> str:
    """Return the words of a search among runs."""
    url_state.restore_text("find", "")
    help_ = _("Words of model, text, protocol, tag, date; all must match")
    words = st.text_input(label, key=url_state.key("find"), icon=":material/search:", help=help_, width=width).strip()
    url_state.publish("find", words)
    return words


def choose_runs(runs: pl.DataFrame, max_runs: int = inputs.MAX_RUNS) -> reads.Selection:
    """Return all that is stored of the runs chosen, in the order of choice; at first `runs_shown_first`.

    `runs` are rows of `queries.run_list`, newest first. Offered are all where they are few, else the newest that match a search;
    and those of a link or an earlier choice.
    """
    if unknown := url_state.resolve_ids("runs", ids_of(runs), several=True):
        st.warning(escape(_("The link's runs are not here: {names}.", names=unknown)), icon=":material/link_off:")
    row = inputs.row()
    with row.container(width="content"):
        filtered, _is_filtered = choose_filtered_runs(runs)
    shown_first = runs_shown_first(filtered if not filtered.is_empty() else runs)
    always_listed = runs.filter(pl.col("run_id").is_in([*url_state.requested("runs"), *shown_first]))
    listed = filtered
    if runs.height > MAX_LISTED:
        # As filters count them: controls are found with their runs.
        n_texts = filtered.filter(pl.col("pass") == "text").height
        with row:
            words = type_words(_("Find runs ({n})", n=f"{n_texts:,}"), width=200)
        listed = matching_runs(filtered, words).head(MAX_LISTED)
    listed = pl.concat([listed, always_listed.join(listed, on="run_id", how="anti")])
    labels = {run.run_id: run_label(run) for run in records(listed, Run)}
    with row:
        chosen = inputs.choose_many(
            _("Runs to show (at most {n})", n=max_runs),
            labels,
            "runs",
            shown_first,
            max_selections=max_runs,
            placeholder=_("Type a model, a text or a date"),
            select_all=False,
        )
    return reads.selection(chosen)


def matching_runs(runs: pl.DataFrame, words: str) -> pl.DataFrame:
    """The runs that contain every word, in upper or lower case."""
    if not words:
        return runs
    days = pl.Series([f"{language.in_zone(time):%Y-%m-%d}" for time in runs["started_at"]], dtype=pl.String)
    return inputs.matching_rows(runs, words, *_SEARCH_COLUMNS, pl.col("tags").list.join(" "), pl.lit(days))


def choose_one_run(runs: pl.DataFrame) -> Run:
    """Return the run for a figure that shows only one: the first by default; drawn only where there are several."""
    labels = run_labels(runs)
    run_id = inputs.choose_from_list(_("Run"), labels, "run", width=400) if len(labels) > 1 else next(iter(labels))
    return records(runs.filter(run_id=run_id), Run)[0]


def run_label(run: Run) -> str:
    """A run in a list: model, text, protocol, pass, time and tags."""
    pass_name = "" if run.pass_ == "text" else wording.control_name(run.pass_, run.model_seed)
    tags = " ".join(f"#{tag}" for tag in run.tags)  # typing one finds its runs
    time = language.local_time(run.started_at, in_table=True)
    return " · ".join(filter(None, (run.name, run.corpus_name, run.protocol, pass_name, time, tags)))


def runs_shown_first(runs: pl.DataFrame) -> list[str]:
    """The newest run of each model measured here, on the text and protocol of the newest of them.

    Where these are of one model only, the newest runs of the others are on any text; where there is no other, shipped
    profiles on the same text stand beside it. Where nothing was measured here, shipped profiles of published models,
    not those of the models that Workdim trained. The runs may differ in text, kind and tokenizer: a first look shows
    shapes; only the ranking compares heights.
    """
    texts = reads.own_first(ranking.without_variants(runs.filter(pl.col("pass") == "text")))
    if texts.is_empty():
        return ids_of(runs.head(1))
    own = own_runs(texts)
    if own.is_empty():
        by_others = texts.filter(~ranking.is_of_ladder())
        texts = texts if by_others.is_empty() else by_others
        first = ranking.most_models(texts)
    else:
        first = own
    on_one_text = texts.join(first.head(1), on=["corpus_id", "protocol_hash"], how="semi", maintain_order="left")
    by_preference = (own_runs(on_one_text), own, on_one_text)
    shown = next((some for some in by_preference if some["model_id"].n_unique() > 1), on_one_text)
    return ids_of(ranking.newest_of_models(shown).head(N_SHOWN_FIRST))


# --- said before any number -------------------------------------------------------------------------------------------


def show_missing(runs: pl.DataFrame, of_literature: str) -> None:
    """Say why these runs hold no rows of a kind: their protocol measures none (`of_literature`), or they are shipped
    without."""
    protocols = runs.filter(pl.col("n_points").is_null())["protocol"].unique(maintain_order=True)
    if protocols.is_empty():
        st.info(_("Most shipped profiles leave this out: measure the model."))
        return
    named = _("Protocol: {name}.", name=wording.names("protocol", protocols).values())
    st.info(escape(wording.joined_sentences((of_literature, named))))


def show_vetoes(runs: pl.DataFrame) -> None:
    """Draw `veto_notice`, before any number."""
    if told := veto_notice(runs):
        st.warning(escape(told), icon=":material/gpp_bad:")


def veto_notice(runs: pl.DataFrame) -> str:
    """Which runs are vetoed, by which checks, and what these say is to be done; empty where none is."""
    texts = veto_texts(runs)
    if not texts:
        return ""
    told = _("Vetoed by a check, not reliable: {runs}.", runs=texts)
    found = runs.filter(ranking.is_vetoed())["vetoed_by"].explode().drop_nulls().unique(maintain_order=True)
    return wording.joined_sentences((told, *map(wording.check_meaning, found)))


def veto_texts(runs: pl.DataFrame) -> list[str]:
    """`SmolLM2-135M (Share of unknown tokens)` for each run that a check vetoes."""
    labels = run_labels(runs)
    return [
        _("{name} ({checks})", name=labels[run_id], checks=wording.names("check", checks).values())
        for run_id, checks in runs.filter(ranking.is_vetoed()).select("run_id", "vetoed_by").rows()
    ]


def show_differing_conditions(runs: pl.DataFrame) -> None:
    """Draw why dimensions do not compare: a note and no warning, as to look at such runs together is a proper use."""
    if told := apart_text(comparability(*records(runs, Run))):
        st.info(told, icon=":material/balance:")


# --- the trash --------------------------------------------------------------------------------------------------------


@inputs.hidden_when_read_only
def show_undo() -> None:
    """Draw once that runs were deleted just now, with Undo. Drawn before the choice of runs.

    Where a chosen run was deleted nothing stands chosen after it: where other runs took their place, a second click would delete
    one of them.
    """
    if problem := st.session_state.pop(_NOT_BACK, None):
        show_error(problem)
    run_ids, label = st.session_state.pop(_DELETED, ((), ""))
    if set(run_ids) & set(st.session_state.get(url_state.key("runs"), [])):
        url_state.set_value("runs", [])
    if run_ids:
        with inputs.row("center"):
            st.success(_("In the trash: {name}", name=escape(label)), icon=":material/delete:")
            st.button(_("Undo"), icon=":material/undo:", key="undelete run", on_click=_undelete, args=(run_ids,))


def _undelete(run_ids: Sequence[str]) -> None:
    """Called before the page is drawn again, so that the runs are among those that can be chosen."""
    try:
        for run_id in run_ids:
            restore_run(reads.warehouse(), run_id)
        st.session_state[url_state.key("runs")] = list(run_ids)
    except WorkdimError as error:
        st.session_state[_NOT_BACK] = error


@inputs.hidden_when_read_only
def show_trash() -> None:
    """Draw the runs that lie in the trash, the last deleted first, each with its way back; nothing where it is empty."""
    folder = reads.warehouse().folder
    if not parcels.trashed_ids(folder) or not st.toggle(_("Show the trash"), key="trash shown"):
        return
    runs = [run for run in parcels.list_trashed(folder) if run.pass_ in ("", "text")]
    shows_all = len(runs) > MOST_TRASHED and st.toggle(_("All {n}", n=f"{len(runs):,}"), key="trash whole")
    for run in sorted(runs, key=lambda run: run.deleted_at, reverse=True)[: None if shows_all else MOST_TRASHED]:
        deleted_at = language.local_time(datetime.fromisoformat(run.deleted_at))
        told = filter(None, (run.model_id or run.run_id, run.corpus_id, run.protocol, deleted_at))
        with inputs.row("center"):
            st.markdown(escape(" · ".join(told)))
            key = f"undelete {run.run_id}"
            st.button(_("Bring back"), icon=":material/undo:", key=key, on_click=_undelete, args=([run.run_id],))


@inputs.hidden_when_read_only
def show_delete_button(run_ids: Sequence[str], label: str) -> None:
    """Draw the button that moves runs to the trash; `label` is what they are called then."""
    if st.button(_("Move to the trash"), icon=":material/delete:", key="delete run"):
        from core.runs.caches import delete_stored_runs

        delete_stored_runs(reads.warehouse(), run_ids)
        st.session_state[_DELETED] = list(run_ids), label
        st.rerun()
