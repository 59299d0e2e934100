"""The table of the screen Ranking, as HTML: Streamlit's table shows neither reasons on hover nor intervals as bars."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape as letters
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.ranking import natural_sort_key
from core.analysis.ranks import NORMAL_95
from core.locale import _
from core.pilots.pilot import Pilot
from core.questions.ranking_answer import RankedModel
from core.questions.ranking_question import BY_WORD, DIMENSIONS
from core.ui import language, pictures, tables, url_state
from core.ui.markdown import escape
from core.ui.ranking.choices import RankingView, column_names
from core.wording import answers as answer_wording
from core.wording.labels import run_labels
from core.wording.scores import is_made_here, rank_lines
from core.wording.verdicts import verdict_legend_text, verdict_marks, verdict_text

MAX_ROWS = 300
"""Rows drawn; the download holds all."""
_ROW_MARKS = st.components.v2.component(
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
"""Draws nothing; reports which rows of the table are marked."""
_STYLE = """<style>
.ranking {max-height: 90vh; overflow: auto; border: 1px solid GRID; border-radius: .5rem; font-size: .82rem}
.ranking table {border-collapse: collapse; width: 100%}
.ranking th {position: sticky; top: 0; background: PAPER; text-align: left; font-weight: 600; z-index: 1;
  border-bottom: 2px solid MARK; vertical-align: bottom; line-height: 1.2; max-width: 7.5rem; word-break: auto-phrase;
  overflow-wrap: break-word}
.ranking th, .ranking td {padding: .28rem .6rem .28rem 0}
.ranking td.model, .ranking th.model, .ranking tr > :first-child {padding-left: .6rem}
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
"""Words in capitals are replaced by colours of the reader's theme."""


def _style() -> str:
    theme = pictures.theme()
    colours = {
        "PAPER": theme.paper,
        "GRID": theme.grid,
        "QUIET": theme.quiet,
        "MARK": theme.curves[0],
        "PINNED": theme.curves[1],
    }
    return re.sub("|".join(colours), lambda word: colours[word[0]], _STYLE)


def show(view: RankingView, columns: Sequence[str], pilot: Pilot | None) -> None:
    """Draw the models that pass the filters: rank among all of the group, dimension, verdicts, score.

    `pilot` names the task of own scores.
    """
    rows = _sorted_rows(view)
    if rows.is_empty():
        if view.answer.group is not None:
            st.info(_("No model passes these filters."))
        return
    if len(view.pinned) < 2:
        st.caption(_("Mark two runs or more at the left to compare them."))
    tables.show_comparison_link(view.pinned)
    st.html(_style() + _table_html(view, rows.head(MAX_ROWS), columns, pilot))
    _ROW_MARKS(key=_MARKED, on_row_change=_toggle_pinned)
    is_by_word = view.full_answer.population.asked.cloud == BY_WORD
    notes = [
        _("Compared: one kind of model, one text and protocol, the same words, N within 10 %.")
        if is_by_word
        else _("Compared: one kind of model, one tokenizer, text and protocol, N within 10 %."),
        _(
            "Ranks: 1 = largest dimension, best score; 95 % intervals that hold for all models of the group at once, "
            "whatever is filtered out. No order by dimension is better."
        ),
        *rank_lines(view.full_answer),
        _("In brackets and as bars: 95 % intervals; after ±: the standard error.")
        if set(columns) & {"end", "score"}
        else "",
        verdict_legend_text() if "verdict" in columns else "",
        wording.veto_mark_text() if "veto" in rows["worst_check"] else "",
    ]
    if rows.height > MAX_ROWS:
        notes.append(_("The first {n} of {total} models; the file holds all.").format(n=MAX_ROWS, total=rows.height))
    st.caption(escape(wording.joined_sentences(notes)))


_MARKED = "ranking picked"


def _toggle_pinned() -> None:
    """Pin the row that was marked, or release it where it was pinned."""
    run_id, pinned = st.session_state[_MARKED]["row"], st.session_state.get(url_state.key("pins"), [])
    pins = [pin for pin in pinned if pin != run_id] if run_id in pinned else [*pinned, run_id]
    st.session_state[url_state.key("pins")] = pins


def _sorted_rows(view: RankingView) -> pl.DataFrame:
    """The rows in the order chosen: pinned ones first, then vetoed ones; `rank` is by dimension, largest first."""
    places = {model.run_id: place for place, model in enumerate(view.full_answer.models)}
    rows = view.rows.with_columns(
        rank=pl.col("run_id").replace_strict(places, default=len(places), return_dtype=pl.Int64),
        is_pinned=pl.col("run_id").is_in(list(view.pinned)),
    )
    descending = view.order == "score" and rows["higher_is_better"].drop_nulls().any()
    order = natural_sort_key() if view.order == "name" else pl.col(view.order)
    is_vetoed = pl.col("worst_check") == "veto"
    by = [pl.col("is_pinned"), is_vetoed, order, natural_sort_key(), pl.col("run_id")]
    return rows.sort(by, descending=[True, True, descending, False, False], nulls_last=True)


def _table_html(view: RankingView, rows: pl.DataFrame, columns: Sequence[str], pilot: Pilot | None) -> str:
    """The table as HTML; every text of a file or a person goes through `html.escape`."""
    models = {model.run_id: model for model in view.full_answer.models}
    labels = run_labels(rows)
    value_range = _value_range([models[run_id] for run_id in rows["run_id"]])
    has_own = "own_score" in rows.columns
    dimension = answer_wording.dimension_name(view.full_answer.population.asked.dimension)
    names = column_names() | {"score": answer_wording.benchmark_name(view.full_answer)}
    tags_differ = rows["tags"].n_unique() > 1  # a tag of all models distinguishes none
    chosen = [key for key in names if key in columns and (key != "tags" or tags_differ)]
    keys = [*(["rank"] if "rank" in chosen else []), "model", "dimension", *(key for key in chosen if key != "rank")]
    titles = names | {"model": _("Model"), "dimension": dimension[:1].upper() + dimension[1:]}
    if not view.full_answer.ranked.has_score_errors:
        titles["score_rank"] = _("Rank by score (no error known)")
    if has_own:
        titles["own"] = _own_score_title(pilot)
        keys.insert(keys.index("dimension"), "own")
    head = "".join(f'<th class="{_CLASSES.get(key, "")}">{letters(titles[key])}</th>' for key in keys)
    body = ""
    for row in rows.iter_rows(named=True):
        checked, row_class = (" checked", ' class="pinned"') if row["is_pinned"] else ("", "")
        box = f'<input type="checkbox" data-run="{letters(row["run_id"])}"{checked}>'
        cells = {
            "model": f"<label>{box}{letters(labels[row['run_id']])}</label>",
            "own": _number_with_error(row["own_score"], row["own_score_std_error"]) if has_own else "",
            **_cell_contents(row, models[row["run_id"]], value_range),
        }
        line = "".join(f'<td class="{_CLASSES.get(key, "")}">{cells[key]}</td>' for key in keys)
        body += f"<tr{row_class}>{line}</tr>"
    return f'<div class="ranking" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


_CLASSES = {"model": "model"} | dict.fromkeys(("dimension", "parameters", "points"), "number")
"""CSS classes of columns."""


def _cell_contents(row: Mapping[str, Any], model: RankedModel, value_range: tuple[float, float]) -> dict[str, str]:
    vetoes = [wording.name("check", key) for key in row["vetoed_by"] or []]
    return {
        "rank": rank_text(model.rank_low, model.rank_high),
        "dimension": wording.number(model.dimension),
        "interval": _bar_html(model, value_range),
        "end": wording.interval_of(row, "final_dimension_pre_norm"),
        "verdict": _with_hint(verdict_marks(row), verdict_text(row)),
        "score": _score_cell(row),
        "score_rank": rank_text(model.score_rank_low, model.score_rank_high),
        "parameters": f"{row['parameters'] / 1e6:,.1f}".removesuffix(".0") if row["parameters"] else "–",
        "licence": letters(row["licence"] or "–"),
        "tags": letters(" ".join(f"#{tag}" for tag in row["tags"])),
        "family": letters(row["family"]),
        "architecture": letters(row["architecture"]),
        "checks": _with_hint(wording.outcome_name(row["worst_check"]), _(", ").join(vetoes)),
        "points": f"{row['n_points']:,}" if row["n_points"] else "–",
        "text": letters(row["corpus_name"]),
        "measured": letters(language.local_time(row["started_at"], in_table=True)),
        "shift": _shift_cell(row),
    }


def _shift_cell(row: Mapping[str, Any]) -> str:
    """`+5.0% (106)`: the relative difference of one per word from one per type, and the value of the latter."""
    by_type, by_word = row.get("inner_max_by_type"), row["inner_max"]
    if by_type is None or by_word is None:
        return "–"
    return f"{by_word / by_type - 1:+.1%} ({wording.number(by_type)})"


def rank_text(low: int | None, high: int | None) -> str:
    """`2–5`, `3`, or a dash."""
    if low is None or high is None:
        return "–"
    return str(low) if low == high else f"{low}–{high}"


def _with_hint(text: str, hint: str) -> str:
    if not hint or hint == "–":
        return letters(text)
    return f'<span class="hint" title="{letters(hint)}">{letters(text)}</span>'


def _score_cell(row: Mapping[str, Any]) -> str:
    """A score with its error; on hover whose score it is, and remarks."""
    if row["score"] is None:
        return "–"
    owners = {
        "own": _("this model, scored here") if is_made_here(row) else _("this model, own score"),
        "exact": _("this model"),
        "revision_not_stated": _("this model, revision not stated"),
        "mapped": _("this model, by an alias of {name}").format(name=row["score_name_in_source"]),
        "base": _("base model {name}").format(name=(row["score_repository"] or "").split("/")[-1]),
    }
    base = f" ({_('base model')})" if row["score_match"] == "base" else ""
    remarks = wording.score_note_lines(dict(row))
    hint = [owners[row["score_match"]], *remarks, row["score_source"] or ""]
    score = _number_with_error(row["score"], row["score_std_error"])
    return _with_hint(score + base, _("; ").join(part for part in hint if part))


def _number_with_error(value: float | None, error: float | None) -> str:
    """`61.5 ± 1.9`, or a dash."""
    if value is None:
        return "–"
    return wording.number(value) + ("" if error is None else f" ± {error:.2g}")


def _value_range(models: Sequence[RankedModel]) -> tuple[float, float]:
    ends = [value for model in models for value in (model.dimension, model.lower, model.upper) if value is not None]
    values = [value for value in ends if math.isfinite(value)]
    return (min(values), max(values)) if values else (0.0, 1.0)


def _bar_html(model: RankedModel, value_range: tuple[float, float]) -> str:
    """An interval as a bar on the range of all intervals of the table, the value as a dot; numbers on hover. One without an
    end reaches to the edge."""
    if model.dimension is None:
        return "–"
    low, high = value_range

    def position(value: float) -> float:
        return round(100 * (min(high, max(low, value)) - low) / (high - low), 1) if high > low else 50.0

    lower, upper = (model.dimension if end is None or math.isnan(end) else end for end in (model.lower, model.upper))
    text = letters(wording.with_interval(model.dimension, model.lower, model.upper))
    reach = f'<span class="reach" style="left:{position(lower)}%;width:{round(position(upper) - position(lower), 1)}%"></span>'
    dot = f'<span class="dot" style="left:{position(model.dimension)}%"></span>'
    return f'<span class="bar" role="img" aria-label="{text}" title="{text}">{reach}{dot}</span>'


def show_download(view: RankingView) -> None:
    """Draw a button that downloads every row with its ranks and the answer."""
    if view.rows.is_empty():
        return
    tables.show_download(lambda: _download_table(view), "workdim_ranking.csv", _("Download the table (CSV)"))


_RANKS = ("rank_low", "rank_high", "score_rank_low", "score_rank_high", "class_leader", "score_class_leader")


def _download_table(view: RankingView) -> pl.DataFrame:
    """The rows of the table with all columns, ranks, limits of the score, and the answer."""
    relation = view.answer.relation
    rows = _sorted_rows(view)
    dimension = DIMENSIONS[view.full_answer.population.asked.dimension].column
    others = [column for column in rows.columns if column not in ("name", "rank", "is_pinned", dimension)]
    ranks = pl.DataFrame([vars(model) for model in view.full_answer.models], infer_schema_length=None)
    return rows.join(ranks.select("run_id", *_RANKS), on="run_id", how="left", maintain_order="left").select(
        "name",
        *others,
        *_RANKS[:2],
        pl.col(dimension).alias("dimension"),
        *_RANKS[2:],
        score_lower=pl.col("score") - NORMAL_95 * pl.col("score_std_error"),
        score_upper=pl.col("score") + NORMAL_95 * pl.col("score_std_error"),
        answer=pl.lit(view.answer.word),
        rho=pl.lit(relation.rho, pl.Float64),
        p=pl.lit(relation.p, pl.Float64),
        n=pl.lit(relation.n),
    )


def _own_score_title(pilot: Pilot | None) -> str:
    """The title of the column of own scores."""
    if pilot is None or pilot.task is None:
        return ""
    unit = "%" if pilot.task.unit == "percent" else wording.unit_name(pilot.task.unit)
    return _("Own: {task} [{unit}]").format(task=pilot.task.name, unit=unit)
