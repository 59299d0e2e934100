"""The one table of the ranking: drawn letter by letter, with reasons on hover.

A table of the browser, not of Streamlit: its cells cannot show a reason on hover, nor an interval as a bar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape as letters
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.answer import RankedModel
from core.analysis.question import BY_WORD, DIMENSIONS
from core.analysis.ranking import natural_sort_key
from core.analysis.ranks import NORMAL_95
from core.ui import language, pictures, tables, url_state
from core.ui.markdown import escape
from core.ui.pilot_filter import own_texts
from core.ui.ranking.choices import Look, column_names
from core.wording import answers as words
from core.wording.labels import run_labels
from core.wording.scores import is_made_here
from core.wording.verdicts import verdict_marks, verdict_marks_key, verdict_text

MOST_ROWS = 300
"""Rows drawn; the file to download holds all."""
_PICKING = st.components.v2.component(
    "ranking_picking",
    js="""export default ({ parentElement, setTriggerValue }) => {
        parentElement.hearing?.abort();  // of the time before
        parentElement.hearing = new AbortController();
        const take = event => {
            if (event.target.matches(".ranking [data-run]")) setTriggerValue("row", event.target.dataset.run);
        };
        document.addEventListener("change", take, { signal: parentElement.hearing.signal });
        return () => parentElement.hearing.abort();
    }""",
)
"""Draws nothing: it hears which rows of the table are marked."""
_STYLE = """<style>
.ranking {max-height: 42rem; overflow: auto; font-size: .82rem}
.ranking table {border-collapse: collapse; width: 100%}
.ranking th {position: sticky; top: 0; background: PAPER; text-align: left; font-weight: 600; z-index: 1;
  border-bottom: 2px solid MARK; vertical-align: bottom; line-height: 1.2; max-width: 7.5rem; word-break: auto-phrase;
  overflow-wrap: break-word}
.ranking th, .ranking td {padding: .28rem .6rem .28rem 0}
.ranking td {vertical-align: middle; white-space: nowrap}
.ranking td {border-bottom: 1px solid GRID}
.ranking td.number, .ranking th.number {text-align: right; font-variant-numeric: tabular-nums}
.ranking td.model, .ranking th.model {position: sticky; left: 0; background: PAPER}
.ranking th.model {z-index: 2}
.ranking label {cursor: pointer}
.ranking input {margin: 0 .4rem 0 0; vertical-align: -.1rem}
.ranking tr.pinned td {background: color-mix(in srgb, PINNED 14%, PAPER)}
.ranking .hint {cursor: help; text-decoration: underline dotted QUIET}
.ranking .bar {position: relative; display: inline-block; width: 7rem; height: .9rem; background: color-mix(in srgb, GRID 50%, PAPER)}
.ranking .reach, .ranking .dot {position: absolute; background: MARK}
.ranking .reach {top: .4rem; height: .12rem}
.ranking .dot {top: .22rem; width: .45rem; height: .45rem; margin-left: -.22rem; border-radius: 50%}
</style>"""
"""Words in capitals stand for colours of the reader's theme."""


def _style() -> str:
    theme = pictures.theme()
    colours = {
        "PAPER": theme.paper,
        "GRID": theme.grid,
        "QUIET": theme.quiet,
        "MARK": theme.curves[0],
        "PINNED": theme.curves[1],
    }
    return re.sub("|".join(colours), lambda found: colours[found[0]], _STYLE)


def show(look: Look, columns: Sequence[str], own_title: str = "") -> None:
    """Every model that passes the filters: its rank among all of the group, its dimension, and what was judged of it."""
    _ = language.translator()
    rows = ordered(look)
    if rows.is_empty():
        if look.answer.group is not None:
            st.info(_("No model passes these filters."))
        return
    _offer_comparison(look)
    st.html(_style() + table(look, rows.head(MOST_ROWS), columns, own_title))
    _PICKING(key=_PICKED, on_row_change=_take_pick)
    is_worded = look.everyone.population.asked.cloud == BY_WORD
    told = [
        _("Compared: one kind of model, one text and protocol, the same words, N within 10 %.")
        if is_worded
        else _("Compared: one kind of model, one tokenizer, text and protocol, N within 10 %."),
        _(
            "Ranks: 1 = largest dimension, best score; 95 % intervals that hold for all models of the group at once, "
            "whatever is filtered out. No order by dimension is better."
        ),
        _("In brackets and as bars: 95 % intervals; after ±: the standard error.")
        if set(columns) & {"end", "score"}
        else "",
        verdict_marks_key(language.current()) if "verdict" in columns else "",
        wording.veto_note(language.current()) if "veto" in rows["worst_check"] else "",
    ]
    if rows.height > MOST_ROWS:
        told.append(_("The first {n} of {total} models; the file holds all.").format(n=MOST_ROWS, total=rows.height))
    st.caption(escape(wording.sentences(told, language.current())))


_PICKED = "ranking picked"


def _take_pick() -> None:
    """A row that was marked is pinned, one that was pinned is let go."""
    run_id, kept = st.session_state[_PICKED]["row"], st.session_state.get(url_state.key("pins"), [])
    pins = [one for one in kept if one != run_id] if run_id in kept else [*kept, run_id]
    st.session_state[url_state.key("pins")] = pins


def _offer_comparison(look: Look) -> None:
    """Of the models that were marked, which stay on top of the table and stand out in the picture."""
    _ = language.translator()
    if len(look.pinned) < 2:
        st.caption(_("Mark two runs or more at the left to compare them."))
        return
    tables.link_comparison(look.pinned)


def ordered(look: Look) -> pl.DataFrame:
    """The rows in the order chosen, the pinned ones first, then vetoed ones; `rank` is by dimension, largest first."""
    places = {one.run_id: at for at, one in enumerate(look.everyone.models)}
    rows = look.rows.with_columns(
        rank=pl.col("run_id").replace_strict(places, default=len(places), return_dtype=pl.Int64),
        is_pinned=pl.col("run_id").is_in(list(look.pinned)),
    )
    is_down = look.order == "score" and rows["higher_is_better"].drop_nulls().any()
    order = natural_sort_key() if look.order == "name" else pl.col(look.order)
    is_vetoed = pl.col("worst_check") == "veto"
    by = [pl.col("is_pinned"), is_vetoed, order, natural_sort_key(), pl.col("run_id")]
    return rows.sort(by, descending=[True, True, is_down, False, False], nulls_last=True)


def table(look: Look, rows: pl.DataFrame, columns: Sequence[str], own_title: str = "") -> str:
    """As HTML; every text of a file or a person goes through `html.escape`."""
    _ = language.translator()
    lang = language.current()
    models = {one.run_id: one for one in look.everyone.models}
    labels = run_labels(rows, lang)
    ends = _ends([models[run_id] for run_id in rows["run_id"]])
    own = dict(zip(rows["run_id"], own_texts(rows), strict=True)) if "own_score" in rows.columns else {}
    dimension = words.dimension_name(look.everyone.population.asked.dimension, lang)
    names = column_names() | {"score": words.benchmark(look.everyone, lang)}
    are_tags_telling = rows["tags"].n_unique() > 1  # what all models share says nothing of any
    chosen = [key for key in names if key in columns and (key != "tags" or are_tags_telling)]
    head = [*(["rank"] if "rank" in chosen else []), "model", "dimension", *(key for key in chosen if key != "rank")]
    titles = names | {"model": _("Model"), "dimension": dimension[:1].upper() + dimension[1:], "own": own_title}
    if own:
        head.insert(head.index("dimension"), "own")
    lines = [f"<tr>{''.join(_head(key, titles[key]) for key in head)}</tr>"]
    for row in rows.iter_rows(named=True):
        one = models[row["run_id"]]
        cells = {
            "model": _marked(row["run_id"], labels[row["run_id"]], row["is_pinned"]),
            "own": letters(own.get(row["run_id"], "")),
            **_cells(row, one, ends),
        }
        kind = ' class="pinned"' if row["is_pinned"] else ""
        lines.append(f"<tr{kind}>{''.join(_cell(key, cells[key]) for key in head)}</tr>")
    return f'<div class="ranking" tabindex="0"><table><thead>{lines[0]}</thead><tbody>{"".join(lines[1:])}</tbody></table></div>'


def _marked(run_id: str, name: str, is_pinned: bool) -> str:
    """The name as the label of a box to tick."""
    checked = " checked" if is_pinned else ""
    return f'<label><input type="checkbox" data-run="{letters(run_id)}"{checked}>{letters(name)}</label>'


_KINDS = {"model": "model"} | dict.fromkeys(("dimension", "parameters", "points"), "number")
"""Of columns: what their cells look like."""


def _head(key: str, title: str) -> str:
    return f'<th class="{_KINDS.get(key, "")}">{letters(title)}</th>'


def _cell(key: str, content: str) -> str:
    return f'<td class="{_KINDS.get(key, "")}">{content}</td>'


def _cells(row: Mapping[str, Any], one: RankedModel, ends: tuple[float, float]) -> dict[str, str]:
    _ = language.translator()
    lang = language.current()
    vetoes = [wording.name("check", key, lang) for key in row["vetoed_by"] or []]
    return {
        "rank": places(one.rank_low, one.rank_high),
        "dimension": wording.number(one.dimension),
        "interval": bar(one, ends),
        "end": wording.interval_of(row, "final_dimension_pre_norm"),
        "verdict": _hint(verdict_marks(row), verdict_text(row, lang)),
        "score": _score(row),
        "score_rank": places(one.score_rank_low, one.score_rank_high),
        "parameters": f"{row['parameters'] / 1e6:,.1f}".removesuffix(".0") if row["parameters"] else "–",
        "licence": letters(row["licence"] or "–"),
        "tags": letters(" ".join(f"#{tag}" for tag in row["tags"])),
        "family": letters(row["family"]),
        "architecture": letters(row["architecture"]),
        "checks": _hint(wording.outcome_name(row["worst_check"], lang), _(", ").join(vetoes)),
        "points": f"{row['n_points']:,}" if row["n_points"] else "–",
        "text": letters(row["corpus_name"]),
        "measured": letters(language.local_time(row["started_at"], in_table=True)),
        "shift": _shift(row),
    }


def _shift(row: Mapping[str, Any]) -> str:
    """`+5.0% (106)`: by how much one per word reads otherwise than one per type, whose value stands in brackets."""
    by_type, by_word = row.get("inner_max_by_type"), row["inner_max"]
    if by_type is None or by_word is None:
        return "–"
    return f"{by_word / by_type - 1:+.1%} ({wording.number(by_type)})"


def places(low: int | None, high: int | None) -> str:
    """`2–5`, `3`, or a dash."""
    if low is None or high is None:
        return "–"
    return str(low) if low == high else f"{low}–{high}"


def _hint(text: str, hint: str) -> str:
    if not hint or hint == "–":
        return letters(text)
    return f'<span class="hint" title="{letters(hint)}">{letters(text)}</span>'


def _score(row: Mapping[str, Any]) -> str:
    """The value with its error; whose it is, and what limits it, on hover."""
    _ = language.translator()
    lang = language.current()
    if row["score"] is None:
        return "–"
    error = "" if row["score_std_error"] is None else f" ± {row['score_std_error']:.2g}"
    owners = {
        "own": _("this model, scored here") if is_made_here(row) else _("this model, own score"),
        "exact": _("this model"),
        "revision_not_stated": _("this model, revision not stated"),
        "mapped": _("this model, by an alias of {name}").format(name=row["score_name_in_source"]),
        "base": _("base model {name}").format(name=(row["score_repository"] or "").split("/")[-1]),
    }
    base = f" ({_('base model')})" if row["score_match"] == "base" else ""
    remarks = wording.score_remarks(dict(row), lang)
    told = [owners[row["score_match"]], *remarks, row["score_source"] or ""]
    return _hint(f"{wording.number(row['score'])}{error}{base}", _("; ").join(part for part in told if part))


def _ends(models: Sequence[RankedModel]) -> tuple[float, float]:
    known = [value for one in models for value in (one.dimension, one.lower, one.upper) if value is not None]
    return (min(known), max(known)) if known else (0.0, 1.0)


def bar(one: RankedModel, ends: tuple[float, float]) -> str:
    """The interval between the smallest and the largest limit of the table, the value as a dot; its numbers on hover."""
    if one.dimension is None:
        return "–"
    low, high = ends

    def at(value: float) -> float:
        return round(100 * (value - low) / (high - low), 1) if high > low else 50.0

    lower, upper = (one.dimension if end is None else end for end in (one.lower, one.upper))
    told = letters(wording.with_interval(one.dimension, one.lower, one.upper))
    reach = f'<span class="reach" style="left:{at(lower)}%;width:{round(at(upper) - at(lower), 1)}%"></span>'
    dot = f'<span class="dot" style="left:{at(one.dimension)}%"></span>'
    return f'<span class="bar" role="img" aria-label="{told}" title="{told}">{reach}{dot}</span>'


def download(look: Look) -> None:
    """Every row with its ranks, the answer beside it."""
    if look.rows.is_empty():
        return
    _ = language.translator()
    tables.download_later(lambda: exported(look), "workdim_ranking.csv", _("Download the table (CSV)"))


def exported(look: Look) -> pl.DataFrame:
    models = {one.run_id: one for one in look.everyone.models}
    relation = look.answer.relation
    rows = ordered(look).drop("rank")
    kept = [models[run_id] for run_id in rows["run_id"]]
    dimension = DIMENSIONS[look.everyone.population.asked.dimension].column
    others = [column for column in rows.columns if column not in ("name", "is_pinned", dimension)]
    return rows.select(
        "name",
        *others,
        pl.Series("rank_low", [one.rank_low for one in kept], pl.Int64),
        pl.Series("rank_high", [one.rank_high for one in kept], pl.Int64),
        dimension=pl.col(dimension),
        score_rank_low=pl.Series([one.score_rank_low for one in kept], dtype=pl.Int64),
        score_rank_high=pl.Series([one.score_rank_high for one in kept], dtype=pl.Int64),
        score_lower=pl.col("score") - NORMAL_95 * pl.col("score_std_error"),
        score_upper=pl.col("score") + NORMAL_95 * pl.col("score_std_error"),
        answer=pl.lit(look.answer.word),
        rho=pl.lit(relation.rho, pl.Float64),
        p=pl.lit(relation.p, pl.Float64),
        n=pl.lit(relation.n),
    )
