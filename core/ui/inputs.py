"""Inputs whose choice is kept in the URL: one of several, several of many, and runs, found among many by words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import polars as pl
import streamlit as st

from core import wording
from core.analysis import ranking
from core.errors import Sentence
from core.files import is_read_only
from core.locale import worded
from core.records import SHIPPED
from core.registry.names import keys
from core.registry.specifications import CLAIMS
from core.ui import language, reads, url_state
from core.ui.markdown import escape
from core.wording.labels import run_labels

T = TypeVar("T")
Draws = TypeVar("Draws", bound=Callable[..., None])

ALL = "all"
MOST_RUNS = 6
"""Curves that one figure keeps apart: the palette has six colours."""
OFFERED = 200
"""Runs that a list offers: more are slower to draw than to look for, and nobody reads them."""
_SEARCHED = ("name", "reference", "family", "kind", "corpus_name", "protocol", "dtype", "pass", "run_id")


def may_write() -> bool:
    """False in an app that only shows: `workdim app --read-only`."""
    return not is_read_only()


def writing(draw: Draws) -> Draws:
    """A part of a screen that changes or starts something: it is not drawn where the app may only show. What is
    overlooked here is refused where it would be written."""

    @functools.wraps(draw)
    def drawn(*arguments: Any, **named: Any) -> None:
        if may_write():
            draw(*arguments, **named)

    return cast(Draws, drawn)


def choose(label: str, options: Sequence[T], name: str, default: T, show: Callable[[Any], str] = str, **more: Any) -> T:
    """One of a few options, all of them in sight."""
    url_state.settle_one(name, options, default)
    value = st.segmented_control(
        label,
        options,
        key=url_state.key(name),
        format_func=lambda option: escape(show(option)),  # its labels are Markdown, those of a list are not
        selection_mode="single",
        required=True,
        **more,
    )
    url_state.publish(name, value)
    return value


def choose_from_list(
    label: str, options: Sequence[T], name: str, default: T, show: Callable[[Any], str] = str, **more: Any
) -> T:
    """One of many options, behind a list."""
    url_state.settle_one(name, options, default)
    value = st.selectbox(label, options, key=url_state.key(name), format_func=show, **more)
    url_state.publish(name, value)
    return value


def choose_many(
    label: str,
    options: Sequence[T],
    name: str,
    default: Sequence[T] = (),
    show: Callable[[Any], str] = str,
    most: int | None = None,
    is_brief: bool = False,
    **more: Any,
) -> list[T]:
    """Several of many; of a link that asks for more than `most` the first ones are taken, and that is said. `is_brief`:
    the default needs no room in the address."""
    _ = language.translator()
    asked = len(url_state.settle_many(name, options, default, most))
    values = st.multiselect(label, options, key=url_state.key(name), format_func=show, max_selections=most, **more)
    if most is not None and asked > most:
        st.caption(_("The link asks for {asked}; the first {n} are shown.").format(asked=asked, n=most))
    url_state.publish(name, [] if is_brief and list(values) == list(default) else values)
    return values


def choose_some(label: str, options: Sequence[T], name: str, show: Callable[[Any], str]) -> list[T]:
    """Several of a few options, all of them in sight; at first none."""
    url_state.settle_many(name, options, ())
    values = st.pills(
        label, options, key=url_state.key(name), format_func=lambda option: escape(show(option)), selection_mode="multi"
    )
    url_state.publish(name, values)
    return values


def choose_yes_no(label: str, name: str, default: bool, **more: Any) -> bool:
    url_state.settle_one(name, [True, False], default)
    value = st.toggle(label, key=url_state.key(name), **more)
    url_state.publish(name, value)
    return value


def kept_number(
    name: str, default: float | None, lowest: float | None = None, highest: float | None = None
) -> float | None:
    """A number as it stands in the address, whether or not its input is drawn now (`draw_number`)."""
    value = url_state.settle_number(name, default, lowest, highest)
    url_state.publish(name, "" if value is None else value)
    return value


def draw_number(label: str, name: str, lowest: float | None = None, highest: float | None = None, **more: Any) -> None:
    """The input of a number that `kept_number` gave in this very run."""
    st.number_input(label, key=url_state.key(name), min_value=lowest, max_value=highest, value=None, **more)


def choose_passing(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs of a list that pass what the reader asks of their verdicts and checks; nothing is read before that is asked.

    `runs` are rows of `queries.run_list` or of more.
    """
    _ = language.translator()
    lang = language.current()
    filters = [("checks", "worst_check", _("Checks"), "outcome")]
    filters += [(key, f"verdict_{key}", wording.name("claim", key, lang), "claim_verdict") for key in CLAIMS]
    asked: dict[str, list[str]] = {}
    with st.popover(_("Filters"), icon=":material/filter_alt:"):
        for name, column, label, kind in filters:
            options = keys(kind) if kind == "claim_verdict" else [*reversed(keys(kind))]  # vetoes first
            show = functools.partial(wording.name, kind, language=lang)
            asked[column] = choose_some(label[:1].upper() + label[1:], options, name, show)
    wanted = [pl.col(column).is_in(values) for column, values in asked.items() if values]
    if not wanted:
        return runs
    passing = runs.join(reads.ranking().filter(*wanted), on="run_id", how="semi", maintain_order="left")
    n_texts = runs.filter(pl.col("pass") == "text").height
    if passing.is_empty():
        st.info(_("No run passes these filters."))
    else:
        told = Sentence(
            "{n} of {total} runs passes the filters.",
            "{n} of {total} runs pass the filters.",
            n=passing.height,
            total=n_texts,
        )
        st.caption(worded(told, language.current()))
    return passing


def choose_runs(runs: pl.DataFrame, most: int = MOST_RUNS) -> reads.Selection:
    """The runs to show, in the order they were chosen; at first the newest on one text.

    `runs` are rows of `queries.run_list`; what comes back is all that is known of those chosen.
    """
    _ = language.translator()
    if unknown := url_state.resolve("runs", runs["run_id"].to_list()):
        line = _("The link asks for runs that are not here: {names}.")
        st.warning(line.format(names=escape(_(", ").join(unknown))), icon=":material/link_off:")
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row.container(width="content"):
        passing = choose_passing(runs)
    newest = newest_on_one_text(passing if not passing.is_empty() else runs)
    keep = runs.filter(pl.col("run_id").is_in([*url_state.wanted("runs"), *newest]))
    offered = _offer(passing, keep)
    labels = {row["run_id"]: run_label(row) for row in offered.iter_rows(named=True)}
    with row:
        chosen = choose_many(
            _("Runs to show (at most {n})").format(n=most),
            list(labels),
            "runs",
            newest,
            labels.__getitem__,
            most=most,
            placeholder=_("Type a model, a text or a date"),
            select_all=False,
        )
    return reads.selection(chosen)


def _offer(runs: pl.DataFrame, keep: pl.DataFrame) -> pl.DataFrame:
    """The runs to choose from: all of them where they are few, else the newest that the reader's words are met by.

    `runs` are rows of `queries.run_list`, newest first. Those of `keep`, which a link or an earlier choice asks for,
    are offered whatever the words say.
    """
    if runs.height <= OFFERED:
        return pl.concat([runs, keep.join(runs, on="run_id", how="anti")])
    _ = language.translator()
    words = st.text_input(
        _("Find runs"),
        key=url_state.key("find"),
        placeholder=_("Words of model, family, text, protocol, tag, date or run id: all of them must be met"),
        width=640,
    )
    found = matching(runs, words)
    _tell_found(found.height, runs.height, words)
    newest = found.head(OFFERED)
    return pl.concat([newest, keep.join(newest, on="run_id", how="anti")])


def matching(runs: pl.DataFrame, words: str) -> pl.DataFrame:
    """The runs that every word is found in, whatever its case."""
    text = pl.concat_str(
        [*_SEARCHED, pl.col("tags").list.join(" "), pl.col("started_at").dt.strftime("%Y-%m-%d")],
        separator=" ",
        ignore_nulls=True,
    ).str.to_lowercase()
    met = [text.str.contains(word, literal=True) for word in words.lower().split()]
    return runs.filter(pl.all_horizontal(met)) if met else runs


def _tell_found(found: int, total: int, words: str) -> None:
    if not found:
        line = Sentence("None of the {total:,} runs is met by “{words}”.", total=total, words=escape(words.strip()))
    elif found > OFFERED:
        line = Sentence(
            "The newest {n} of {found:,} runs are listed. Type what you look for to find the others.",
            n=OFFERED,
            found=found,
        )
    elif words.strip():
        line = Sentence(
            "{n:,} of {total:,} runs is listed.", "{n:,} of {total:,} runs are listed.", n=found, total=total
        )
    else:
        return
    st.caption(worded(line, language.current()))


def choose_pilot(pilots: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """One of the rows of `queries.pilots`, or None for all runs; drawn only where there are pilots."""
    _ = language.translator()
    rows = {row["pilot_id"]: row for row in pilots}
    if unknown := [asked for asked in url_state.wanted("pilot") if asked not in (ALL, *rows)]:
        line = _("The link asks for a pilot that is not here: {names}.")
        st.warning(line.format(names=escape(_(", ").join(unknown))), icon=":material/link_off:")
    if not pilots:
        return None
    chosen = choose_from_list(
        _("Pilot"),
        [ALL, *rows],
        "pilot",
        ALL,
        lambda key: _("all runs, of no pilot in particular") if key == ALL else _pilot_label(rows[key], pilots),
        width=480,
    )
    return rows.get(chosen)


def _pilot_label(row: Mapping[str, Any], pilots: Sequence[Mapping[str, Any]]) -> str:
    """The name, and the end of the id where an edited pilot kept it."""
    twins = sum(other["name"] == row["name"] for other in pilots)
    return f"{row['name']} · {row['pilot_id'][-8:]}" if twins > 1 else row["name"]


def choose_one_run(runs: pl.DataFrame) -> dict[str, Any]:
    """The run of a picture that has room for one: the first at first; without a choice nothing is drawn."""
    _ = language.translator()
    labels = run_labels(runs, language.current())
    ids = list(labels)
    run_id = ids[0]
    if len(ids) > 1:
        run_id = choose_from_list(_("Run"), ids, "run", ids[0], labels.__getitem__, width=400)
    return runs.filter(run_id=run_id).row(0, named=True)


def run_label(run: dict[str, Any]) -> str:
    kind = "" if run["pass"] == "text" else wording.control_name(run["pass"], run["model_seed"], language.current())
    tags = " ".join(f"#{tag}" for tag in run["tags"])  # typing one finds its runs
    parts = [
        run["name"],
        run["corpus_name"],
        run["protocol"],
        kind,
        language.local_time(run["started_at"], in_table=True),
        tags,
    ]
    return " · ".join(part for part in parts if part)


def newest_on_one_text(runs: pl.DataFrame, n: int = 4) -> list[str]:
    """The newest run of each model that read the same text by the same protocol as the newest of all; before anything
    was measured here, those that others made among the models that Workdim ships profiles of.

    They may differ in kind and tokenizer: a first look shows shapes; only the ranking compares heights.
    """
    texts = reads.own_first(ranking.without_variants(runs.filter(pl.col("pass") == "text")))
    if texts.is_empty():
        return runs["run_id"].head(1).to_list()
    first = texts.row(0, named=True)
    if SHIPPED in first["tags"]:
        by_others = texts.filter(~ranking.is_of_ladder())
        texts = texts if by_others.is_empty() else by_others
        first = ranking.most_models(texts).row(0, named=True)
    alike = texts.filter(corpus_id=first["corpus_id"], protocol_hash=first["protocol_hash"])
    return ranking.newest_runs(alike)["run_id"].head(n).to_list()
