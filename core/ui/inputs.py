"""Inputs whose choice is kept in the URL: one or several of some options, a number, runs.

The first parameter is the label, the third the name of the choice in the URL.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import polars as pl
import streamlit as st

from core import wording
from core.analysis import ranking
from core.analysis.ranking import own_runs
from core.files import is_read_only
from core.locale import _, in_language, spoken
from core.registry.names import keys
from core.registry.protocols import CLAIMS
from core.tables import Run, ids_of, records
from core.ui import language, reads, url_state
from core.ui.markdown import button_label, escape
from core.wording.labels import run_labels

T = TypeVar("T")
Options = Sequence[T] | Mapping[T, str]
"""What is chosen from, with names where they are not the options themselves."""
Drawing = TypeVar("Drawing", bound=Callable[..., None])

ALL = "all"
ANSWERED = "asked"
"""In place of the key of a group: the models of the answer that a page shows, or that leads to it."""
MAX_RUNS = 6
"""Runs that one figure can show: the palette has six colours."""
MAX_LISTED = 200
"""Runs that a list offers; the others are found by a search, which is faster than drawing them."""
SIZES = (0.0, 2e8, 1e9, 4e9, 1.5e10, float("inf"))
"""Ends of the ranges of parameters by which runs are filtered."""
N_SHOWN_FIRST = 4
"""Runs of a first look."""
MAX_MEGABYTES = 25
"""Size of a file that can be uploaded, as in .streamlit/config.toml; the command line takes larger ones."""
_MIME_TYPES = {
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "md": "text/markdown",
    "parquet": "application/vnd.apache.parquet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "svg": "image/svg+xml",
    "toml": "application/toml",
    "yaml": "application/yaml",
    "zip": "application/zip",
}
"""Types of files by their endings: those that the `mimetypes` of Python gives depend on the machine."""
_SEARCH_COLUMNS = ("name", "reference", "family", "kind", "corpus_name", "protocol", "dtype", "pass", "run_id")


def may_write() -> bool:
    """False in an app that only shows: `workdim app --read-only`."""
    return not is_read_only()


def hidden_when_read_only(draw: Drawing) -> Drawing:
    """Decorate a function that draws what changes or starts something: a read-only app does not draw it.

    The warehouse refuses to write there too, whatever is drawn.
    """

    @functools.wraps(draw)
    def drawn(*arguments: Any, **keywords: Any) -> None:
        if may_write():
            draw(*arguments, **keywords)

    return cast(Drawing, drawn)


def choose(label: str, options: Options[T], name: str, default: T | None = None, **more: Any) -> T:
    """Return one of a few options, all of them visible; the first by default."""
    url_state.restore_choice(name, list(options), next(iter(options)) if default is None else default)
    return _draw(st.segmented_control, label, options, name, required=True, **more)


def choose_section(
    name: str, sections: Mapping[str, tuple[str, Callable[..., None]]], label: str = ""
) -> Callable[..., None]:
    """Return the function that draws the chosen section of a page, the first by default.

    `sections` holds the title and the function of each section; `label` is read by screen readers only.
    """
    titles = {key: title for key, (title, _show) in sections.items()}
    return sections[choose(label or _("Section"), titles, name, label_visibility="collapsed")][1]


def choose_from_list(label: str, options: Options[T], name: str, default: T | None = None, **more: Any) -> T:
    """Return one of many options, from a drop-down list; the first by default."""
    url_state.restore_choice(name, list(options), next(iter(options)) if default is None else default)
    return _draw(st.selectbox, label, options, name, **more)


def choose_by_id(
    label: str, names: Mapping[str, str], name: str, default: str = "", above: Any = st, **more: Any
) -> str:
    """As `choose_from_list`, for ids, whose unique endings do in a link; drawn only where there are several.

    A link to what is not there is named in the container `above`.
    """
    warn_of_missing(label, list(names), name, above)
    default = default or next(iter(names), "")
    return choose_from_list(label, names, name, default, **more) if len(names) > 1 else default


def warn_of_missing(label: str, ids: Sequence[str], name: str, above: Any = st) -> None:
    """Say in the container `above` that a link names one that is not among the ids."""
    for asked in url_state.resolve_ids(name, ids, several=False):
        message = _("{what}: the link's {name} is not here.").format(what=label, name=escape(asked))
        above.warning(message, icon=":material/link_off:")


def choose_many(
    label: str,
    options: Options[T],
    name: str,
    default: Sequence[T] = (),
    max_selections: int | None = None,
    hides_default: bool = False,
    **more: Any,
) -> list[T]:
    """Return several of many options.

    Of a link with more than `max_selections` the first ones are taken, and a caption says so. `hides_default`: the
    default is not written into the address.
    """
    n_requested = len(url_state.restore_choices(name, list(options), default, max_selections))
    values = _draw(st.multiselect, label, options, name, max_selections=max_selections, **more)
    if max_selections is not None and n_requested > max_selections:
        st.caption(_("The link asks for {asked}; {n} are shown.").format(asked=n_requested, n=max_selections))
    if hides_default and list(values) == list(default):
        url_state.publish(name, [])
    return values


def _draw(widget: Callable[..., Any], label: str, options: Options[Any], name: str, **more: Any) -> Any:
    """Draw the widget of a choice that was restored, and publish what is chosen."""
    label_of = options.__getitem__ if isinstance(options, Mapping) else str
    is_of_buttons = widget in (st.segmented_control, st.pills)  # whose labels are Markdown; those of a list are not
    format_func = (lambda option: button_label(label_of(option))) if is_of_buttons else label_of
    value = widget(label, list(options), key=url_state.key(name), format_func=format_func, **more)
    url_state.publish(name, value)
    return value


def choose_yes_no(label: str, name: str, default: bool, **more: Any) -> bool:
    """Return the state of a switch."""
    url_state.restore_choice(name, [True, False], default)
    value = st.toggle(label, key=url_state.key(name), **more)
    url_state.publish(name, value)
    return value


def unfolded(label: str, key: str) -> Any | None:
    """Draw an expander; returns it once it is open. What is folded is not made: every click draws a page anew."""
    expander = st.expander(label, key=key, on_change="rerun")
    return expander if expander.open else None


def upload(label: str, types: Sequence[str], key: str, max_megabytes: int = MAX_MEGABYTES, **more: Any) -> Any:
    """Draw a file upload that says its limits in the reader's language."""
    limits = _("at most {n} MB: {types}").format(n=max_megabytes, types=_(", ").join(kind.upper() for kind in types))
    own = f".st-key-{re.sub(r'[^a-zA-Z0-9_-]', '-', key)}"
    language.replace_texts({f"{own} [data-testid=stFileUploaderDropzoneInstructions] span": limits})
    return st.file_uploader(label, type=list(types), key=key, max_upload_size=max_megabytes, **more)


def show_download(
    label: str, content: str | bytes | Callable[[], str | bytes], file_name: str, icon: str = "download", **more: Any
) -> None:
    """Draw a button that downloads a file; a function makes its content on the click, in a thread of its own."""
    if callable(content):
        content = functools.partial(in_language, spoken(), content)
    mime = _MIME_TYPES[file_name.rpartition(".")[2]]
    st.download_button(label, content, file_name, mime, on_click="ignore", icon=f":material/{icon}:", **more)


def show_link(page: str, label: str, icon: str, **params: str) -> None:
    """Draw a link to a page, with choices of its address."""
    st.page_link(f"pages/{page}.py", label=label, icon=f":material/{icon}:", query_params=params or None)


def read_number(
    name: str, default: float | None, minimum: float | None = None, maximum: float | None = None
) -> float | None:
    """Return the number of the address, whether or not its input is drawn now (`show_number_input`)."""
    value = url_state.restore_number(name, default, minimum, maximum)
    url_state.publish(name, "" if value is None else value)
    return value


def show_number_input(
    label: str, name: str, minimum: float | None = None, maximum: float | None = None, **more: Any
) -> None:
    """Draw the input of a number that `read_number` has returned in this run of the page."""
    st.number_input(label, key=url_state.key(name), min_value=minimum, max_value=maximum, value=None, **more)


def choose_filtered_runs(runs: pl.DataFrame) -> tuple[pl.DataFrame, bool]:
    """Draw the filters by model, text, size, date, verdict and check; return the runs that pass them, and whether any is on.

    `runs` has the columns of `queries.run_list` at least. Verdicts and checks are read only where such a filter is set.
    """
    conditions: list[pl.Expr] = []
    told: list[str] = []
    with st.popover(_("Filters"), icon=":material/filter_alt:"):
        passing = runs.filter(*_choose_described(runs, told))
        for name, column, label, kind, options in judged_filters():
            if values := _choose_pills(label, wording.names(kind, options), name):
                conditions.append(pl.col(column).is_in(values))
                told.append(label)
    if conditions:
        passing = passing.join(
            reads.evidence().runs.filter(*conditions), on="run_id", how="semi", maintain_order="left"
        )
    n_passing, n_texts = (some.filter(pl.col("pass") == "text").height for some in (passing, runs))
    show_filters(told, n_passing, n_texts)
    return passing, bool(told)


def judged_filters() -> list[tuple[str, str, str, str, list[str]]]:
    """The filters by what checks and verdicts say: name, column, label, kind of the values' names, the values in order."""
    verdicts = [*keys("claim_verdict")]
    claims = [
        (key, f"verdict_{key}", wording.name("claim", key).capitalize(), "claim_verdict", verdicts) for key in CLAIMS
    ]
    return [("checks", "worst_check", _("Checks"), "outcome", [*reversed(keys("outcome"))]), *claims]  # vetoes first


FILTERS = ("of", "on", "size", "since", "checks", *CLAIMS, "family", "architecture", "tuning", "language", "tag")
"""Names in the address of what leaves out runs or models; several pages share some of them."""


def show_filters(told: Sequence[str], n: int, total: int) -> None:
    """Draw which filters are on, perhaps since another page, how many are left, and the click that clears them."""

    def clear() -> None:
        for name in FILTERS:
            st.session_state[url_state.key(name)] = 0 if name == "since" else []

    if told:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            message = _("Filtered by {filters}: {n} of {total} shown.")
            st.caption(escape(message.format(filters=_(", ").join(told), n=n, total=total)), width="content")
            st.button(_("Clear"), icon=":material/filter_alt_off:", key="clear filters", on_click=clear)


def _choose_described(runs: pl.DataFrame, told: list[str]) -> list[pl.Expr]:
    """Draw the filters by what a run is of; return the conditions, and add what is filtered by to `told`."""
    conditions = []
    for name, column, label in (("of", "name", _("Model")), ("on", "corpus_name", _("Text"))):
        if values := choose_many(label, sorted(runs[column].unique()), name, placeholder=_("all")):
            conditions.append(pl.col(column).is_in(values))
            told.append(label)
    if sizes := choose_sizes(runs):
        conditions += sizes
        told.append(_("Parameters"))
    days = {0: _("at any time")} | {n: _("in the last {n} days").format(n=n) for n in (1, 7, 30, 365)}
    if n := choose_from_list(_("Measured"), days, "since"):
        conditions.append(pl.col("started_at") >= datetime.now(UTC).replace(tzinfo=None) - timedelta(days=n))
        told.append(_("Measured"))
    return conditions


def choose_sizes(runs: pl.DataFrame) -> list[pl.Expr]:
    """Draw the filter by the ranges of parameters that occur, where these are several; returns its condition, if any."""
    below, between, above = _("below {n} billion"), _("{n} to {end} billion"), _("above {n} billion")
    ends = [f"{n / 1e9:g}" for n in SIZES]
    names = [below.format(n=ends[1])]
    names += [between.format(n=n, end=end) for n, end in itertools.pairwise(ends[1:-1])]
    names.append(above.format(n=ends[-2]))
    within = [pl.col("parameters").is_between(*limits, closed="left") for limits in itertools.pairwise(SIZES)]
    offered = {at: name for at, name in enumerate(names) if runs.filter(within[at]).height}
    chosen = _choose_pills(_("Parameters"), offered, "size") if len(offered) > 1 else []
    return [pl.any_horizontal(within[at] for at in chosen)] if chosen else []


def _choose_pills(label: str, names: Mapping[T, str], name: str) -> list[T]:
    url_state.restore_choices(name, list(names), ())
    return _draw(st.pills, label, names, name, selection_mode="multi")


def type_words(label: str, width: int = 320) -> str:
    """Return the words of a search among runs."""
    url_state.restore_text("find", "")
    help_ = _("Words of model, text, protocol, tag, date; all must match")
    words = st.text_input(label, key=url_state.key("find"), icon=":material/search:", help=help_, width=width).strip()
    url_state.publish("find", words)
    return words


def choose_runs(runs: pl.DataFrame, max_runs: int = MAX_RUNS) -> reads.Selection:
    """Return all that is stored of the runs chosen, in the order of choice; at first `runs_shown_first`.

    `runs` are rows of `queries.run_list`.
    """
    if unknown := url_state.resolve_ids("runs", ids_of(runs), several=True):
        message = _("The link's runs are not here: {names}.")
        st.warning(message.format(names=escape(_(", ").join(unknown))), icon=":material/link_off:")
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row.container(width="content"):
        filtered, _is_filtered = choose_filtered_runs(runs)
    shown_first = runs_shown_first(filtered if not filtered.is_empty() else runs)
    always_listed = runs.filter(pl.col("run_id").is_in([*url_state.requested("runs"), *shown_first]))
    with row:
        listed = _choose_listed_runs(filtered, always_listed, has_search=runs.height > MAX_LISTED)
    labels = {run.run_id: run_label(run) for run in records(listed, Run)}
    with row:
        chosen = choose_many(
            _("Runs to show (at most {n})").format(n=max_runs),
            labels,
            "runs",
            shown_first,
            max_selections=max_runs,
            placeholder=_("Type a model, a text or a date"),
            select_all=False,
        )
    return reads.selection(chosen)


def _choose_listed_runs(runs: pl.DataFrame, always_listed: pl.DataFrame, *, has_search: bool) -> pl.DataFrame:
    """Return the runs to choose from: all where they are few, else the newest that match a search, whatever a filter leaves.

    `runs` are rows of `queries.run_list`, newest first. Those of `always_listed`, from a link or an earlier choice, are
    offered whether or not they match.
    """
    if not has_search:
        return pl.concat([runs, always_listed.join(runs, on="run_id", how="anti")])
    n_texts = runs.filter(pl.col("pass") == "text").height  # as filters count them: controls are found with their runs
    matches = matching_runs(runs, type_words(_("Find runs ({n})").format(n=f"{n_texts:,}"), width=200))
    newest = matches.head(MAX_LISTED)
    return pl.concat([newest, always_listed.join(newest, on="run_id", how="anti")])


def matching_runs(runs: pl.DataFrame, words: str) -> pl.DataFrame:
    """The runs that contain every word, in upper or lower case."""
    if not words:
        return runs
    days = pl.Series([f"{language.in_zone(time):%Y-%m-%d}" for time in runs["started_at"]], dtype=pl.String)
    return matching_rows(runs, words, *_SEARCH_COLUMNS, pl.col("tags").list.join(" "), pl.lit(days))


def matching_rows(rows: pl.DataFrame, words: str, *columns: str | pl.Expr) -> pl.DataFrame:
    """The rows that contain every word in one of the columns, in upper or lower case."""
    text = pl.concat_str(columns, separator=" ", ignore_nulls=True).str.to_lowercase()
    return rows.filter(*(text.str.contains(word, literal=True) for word in words.lower().split()))


def choose_one_run(runs: pl.DataFrame) -> Run:
    """Return the run for a figure that shows only one: the first by default; drawn only where there are several."""
    labels = run_labels(runs)
    run_id = choose_from_list(_("Run"), labels, "run", width=400) if len(labels) > 1 else next(iter(labels))
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
