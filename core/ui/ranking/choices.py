"""What the reader looks at in the ranking: which models, by which score and dimension, filtered and ordered how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis import ranking
from core.analysis.answer import Answer, specification_key
from core.analysis.population import Population, group_key
from core.analysis.question import BY_TYPE, BY_WORD, DIMENSIONS, REGISTERED_DIMENSION, RankingQuestion
from core.errors import Sentence
from core.locale import worded
from core.pilots.pilot import Pilot
from core.pilots.registration import RegisteredPilot
from core.registry.names import keys
from core.registry.specifications import CLAIMS, REFERENCE, SPECIFICATIONS, Specification
from core.ui import inputs, language, notices, reads, url_state
from core.ui.markdown import escape
from core.wording import answers as words
from core.wording.labels import run_labels
from core.wording.pilot_sentences import is_exploratory
from core.wording.verdicts import specification_name

ASKED, FREE = "asked", "all"
"""Instead of a group's key: the models of the answer; all that can be compared with them."""
SIZES = ((0, "< 0.1"), (10**8, "0.1–1"), (10**9, "1–10"), (10**10, "> 10"))
"""Least parameters of each size class, and its name in billions."""
NOT_INSTRUCT = "base"
_MOST_NAMED = 12


@dataclass(frozen=True)
class Look:
    """What the reader looks at."""

    answer: Answer
    """Of the models that pass the filters."""
    everyone: Answer
    """Of all models of the group, whose ranks stay what they are when rows are filtered out."""
    pinned: tuple[str, ...]
    order: str
    is_other: bool
    """Whether the choices ask another question than the one that the sentence on top answers."""

    @property
    def rows(self) -> pl.DataFrame:
        return self.answer.population.rows


def choose(first: Answer, pilot: RegisteredPilot | None) -> tuple[Look, list[str]]:
    """All choices of the page in one change of the address; what is looked at, and the columns of the table."""
    with url_state.together():
        above, below = (st.container(horizontal=True, vertical_alignment="bottom") for _row in range(2))
        with above:
            group = _choose_group(first)
            asked = RankingQuestion(pilot=pilot, group=_key(group), ignores_pilots=group == FREE)
            asked = replace(asked, cloud=_choose_cloud(), include_vetoed=_lift(first))
            asked = replace(asked, include_partial=_choose_partial(reads.population(asked).n_partial))
            asked = _with_score(asked, reads.population(asked), pilot or first.registration.registered_pilot)
        with below:
            asked = _with_dimension(asked)
            found = reads.population(asked)
            rows, one = _filtered(found)
            order = _choose_order(found)
            pinned = _pin(found)
            columns = _choose_columns()
    everyone = reads.answer(asked)
    if one != REFERENCE and found.group is not None:
        found = found.with_specification(reads.inner_maxima(found.rows["run_id"].to_list()), one)
        everyone = reads.told(found, is_of_summaries=False, is_brief=True)
    narrowed = found.narrowed(rows["run_id"])
    is_of_summaries = one == REFERENCE
    shown = (
        everyone
        if narrowed is found
        else reads.told(narrowed, everyone, is_of_summaries=is_of_summaries, is_brief=True)
    )
    is_other = words.sentence(shown, "en") != words.sentence(first, "en")
    return Look(shown, everyone, tuple(pinned), order, is_other), columns


def _key(group: str) -> str | None:
    return None if group in (ASKED, FREE) else group


def _choose_group(first: Answer) -> str:
    """The models of the answer, all that can be compared with them, or another group."""
    _ = language.translator()
    names = group_names(first.population)
    if first.group is not None and first.population.pilot is not None:
        names = {ASKED: names[ASKED], FREE: _("all that can be compared")} | names
    if len(names) < 2:
        return ASKED
    return inputs.choose_from_list(_("Compared models"), list(names), "group", ASKED, names.__getitem__, width=275)


def group_names(found: Population) -> dict[str, str]:
    """The groups that can be looked at, by their keys: `ASKED` is the one that was found; none where nothing can be
    compared."""
    _ = language.translator()
    lang = language.current()
    if found.group is None:
        return {}
    names = {ASKED: words.group_name(found.group, lang)}
    if found.pilot is not None:
        told = _("“{name}”, {n} models")
        names[ASKED] = told.format(name=found.pilot.name, n=found.rows["model_id"].n_unique())
    for one in found.others:
        told = _("{group} (models: {n})").format(group=words.group_name(one.group, lang), n=one.n_models)
        names[group_key(one.group)] = told
    return names


def _choose_cloud() -> str:
    """Offered only where words were measured."""
    _ = language.translator()
    if not reads.ranking()["words_hash"].count():
        return BY_TYPE
    ways = {BY_TYPE: _("one per type"), BY_WORD: _("one per word")}
    help_ = _("On words, models with different tokenizers can be compared, if they were measured together.")
    label = _("Points")
    return inputs.choose_from_list(label, list(ways), "points", BY_TYPE, ways.__getitem__, help=help_, width=200)


def _lift(first: Answer) -> bool:
    """Runs that a check vetoes are left out unless the reader, told which and why, takes them in all the same."""
    _ = language.translator()
    told = notices.vetoes_told(first.population.vetoed.head(_MOST_NAMED))
    if not told:
        return False
    help_ = _("Vetoed by a check: {runs}. Their numbers may describe the sample and not the model.")
    label = _("With vetoed runs ‡ ({n})").format(n=first.population.vetoed.height)
    return inputs.choose_yes_no(label, "vetoed", default=False, help=help_.format(runs=escape(_("; ").join(told))))


def _choose_partial(n: int) -> bool:
    """Whether scores of partial runs are looked at too; the switch is there only where there are some."""
    _ = language.translator()
    if not n:
        return False
    help_ = _("A run over part of a benchmark's questions has a larger error, and its score is not that of the whole.")
    return inputs.choose_yes_no(_("Partial runs too ({n})").format(n=n), "partial", False, help=help_)


def _with_score(asked: RankingQuestion, found: Population, pilot: RegisteredPilot | None) -> RankingQuestion:
    """Benchmark, metric and shots in one choice: at first those of the answer, else the user's own, else what most
    models have."""
    _ = language.translator()
    if found.offered.is_empty():
        return asked
    rows = {ranking.score_key(row): row for row in found.offered.iter_rows(named=True)}
    mine = ranking.score_key(found.benchmark) if found.benchmark else next(iter(rows))
    alike = Counter(key.rpartition("~")[0] for key in rows)

    def label(key: str) -> str:
        return score_label(rows[key], found.pilot, with_suite=alike[key.rpartition("~")[0]] > 1)

    chosen = inputs.choose_from_list(_("Score"), list(rows), "score", mine, label, width=440)
    if found.benchmark is not None and chosen == ranking.score_key(found.benchmark):
        return asked
    return replace(asked, pilot=pilot).with_score(rows[chosen])


def score_label(row: dict[str, Any], pilot: Pilot | None = None, *, with_suite: bool = False) -> str:
    _ = language.translator()
    name = wording.benchmark_name(row["benchmark"], row["metric"], row["n_shot"], language.current(), row["filter"])
    told = _(", ").join([name, row["suite"]]) if with_suite else name
    label = _("{name} (models: {n})").format(name=told, n=row["n_models"])
    if pilot is None:
        return label
    mark = _("not pre-registered (exploratory)") if is_exploratory(row, pilot) else _("pre-registered")
    return f"{label} – {mark}"


def _with_dimension(asked: RankingQuestion) -> RankingQuestion:
    _ = language.translator()
    names = {key: words.dimension_name(key, language.current()) for key in DIMENSIONS}
    chosen = inputs.choose_from_list(
        _("Dimension"), list(names), "dimension", "inner_max", names.__getitem__, width=190
    )
    return replace(asked, dimension=chosen)


def _filtered(found: Population) -> tuple[pl.DataFrame, Specification]:
    """The models that the reader lets through, and how the dimension is read; a filter that could filter nothing is not
    drawn."""
    _ = language.translator()
    rows = with_traits(found.rows)
    filters: tuple[tuple[str, str, str, Callable[[Any], str]], ...] = (
        ("family", "family", _("Model family"), str),
        ("architecture", "architecture", _("Architecture"), str),
        ("size", "size", _("Parameters (billions)"), str),
        ("tuning", "tuning", _("Base or instruct"), _tuning_name),
        ("language", "corpus_language", _("Language of the text"), lambda key: _named("language", key)),
        *((claim, f"verdict_{claim}", _named("claim", claim).capitalize(), _verdict_name) for claim in CLAIMS),
        ("checks", "worst_check", _("Checks"), lambda key: _named("outcome", key)),
    )
    with st.popover(_("Filters"), icon=":material/filter_alt:"):
        for name, column, label, show in filters:
            there = rows[column].drop_nulls().unique().to_list()
            if len(there) > 1:
                wanted = inputs.choose_many(label, _in_order(column, there), name, show=show, placeholder=_("all"))
                rows = rows.filter(pl.col(column).is_in(wanted)) if wanted else rows
        tags = sorted({tag for tags in rows["tags"] for tag in tags})
        if tags:
            wanted = inputs.choose_many(_("Tag"), tags, "tag", placeholder=_("all"))
            rows = rows.filter(pl.col("tags").list.set_intersection(wanted).list.len() > 0) if wanted else rows
        one = _choose_specification(found)
    if rows.height < found.rows.height:
        passing = Sentence(
            "{n} of {total} models passes the filters.",
            "{n} of {total} models pass the filters.",
            n=rows.height,
            total=found.rows.height,
        )
        st.caption(worded(passing, language.current()))
    return rows, one


def with_traits(rows: pl.DataFrame) -> pl.DataFrame:
    """With `size`, a class of parameters, and `tuning`, what a model was made by from its base model."""
    size = pl.lit(SIZES[0][1])
    for least, name in SIZES[1:]:
        size = pl.when(pl.col("parameters") >= least).then(pl.lit(name)).otherwise(size)
    known = pl.when(pl.col("parameters") > 0).then(size)
    return rows.with_columns(size=known, tuning=pl.col("base_relation").fill_null(NOT_INSTRUCT))


def _in_order(column: str, there: Sequence[Any]) -> list[Any]:
    orders = {"size": [name for _least, name in SIZES], "worst_check": ["veto", "warn", "pass"]}
    order = keys("claim_verdict") if column.startswith("verdict_") else orders.get(column, [])
    return sorted(there, key=lambda one: (order.index(one) if one in order else len(order), str(one)))


def _named(kind: str, key: str) -> str:
    return wording.name(kind, key, language.current())


def _tuning_name(key: str) -> str:
    _ = language.translator()
    return _("base model itself") if key == NOT_INSTRUCT else _named("relation", key)


def _verdict_name(key: str) -> str:
    return _named("claim_verdict", key)


def _choose_specification(found: Population) -> Specification:
    """How the largest inner dimension is read: at first as the protocol does."""
    _ = language.translator()
    if found.group is None or found.asked.dimension != REGISTERED_DIMENSION or found.group.words_hash:
        return REFERENCE
    by_key = {specification_key(one): one for one in SPECIFICATIONS}
    chosen = inputs.choose_from_list(
        _("Specification of the largest inner dimension"),
        list(by_key),
        "specification",
        specification_key(REFERENCE),
        lambda key: specification_name(vars(by_key[key]), language.current()),
    )
    return by_key[chosen]


def _choose_order(found: Population) -> str:
    """By name at first where a pilot's use class forbids to read an order as a recommendation."""
    _ = language.translator()
    orders = {
        "rank": _("dimension"),
        "name": _("name"),
        "score": _("score"),
        "final_dimension_pre_norm": _("final dimension"),
        "parameters": _("parameters"),
    }
    is_cautious = found.pilot is not None and found.pilot.is_cautious
    default = "name" if is_cautious else "rank"
    return inputs.choose_from_list(_("Sort by"), list(orders), "sort", default, orders.__getitem__, width=160)


def _pin(found: Population) -> list[str]:
    """Models that stay on top of the table and stand out in the picture."""
    _ = language.translator()
    labels = run_labels(found.rows, language.current())
    if len(labels) < 2:
        return []
    return inputs.choose_many(
        _("Pinned"), list(labels), "pins", show=labels.__getitem__, placeholder=_("no model"), width=220
    )


DEFAULT_COLUMNS = ("rank", "interval", "end", "verdict", "score", "score_rank", "parameters", "licence", "tags")


def column_names() -> dict[str, str]:
    """Of the table, in its order; model and dimension are always there."""
    _ = language.translator()
    return {
        "rank": _("Rank by dimension"),
        "interval": _("Interval"),
        "end": _("Final dimension"),
        "verdict": _("Verdicts"),
        "score": _("Score"),
        "score_rank": _("Rank by score"),
        "parameters": _("Parameters (millions)"),
        "licence": _("Licence"),
        "tags": _("Tags"),
        "family": _("Family"),
        "architecture": _("Architecture"),
        "checks": _("Checks"),
        "points": _("N (points)"),
        "text": _("Text"),
        "measured": _("Measured"),
        "shift": _("Against one per type"),
    }


def _choose_columns() -> list[str]:
    _ = language.translator()
    names = column_names()
    with st.popover(_("Columns"), icon=":material/view_column:"):
        return inputs.choose_many(
            _("Columns"), list(names), "columns", DEFAULT_COLUMNS, names.__getitem__, is_brief=True
        )
