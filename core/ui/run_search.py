"""Runs found among many: what the reader types, what of it is offered, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import streamlit as st

from core.ui import language, url_state
from core.ui.markdown import escape

OFFERED = 200
"""Runs that a list offers: more are slower to draw than to look for, and nobody reads them."""
_SEARCHED = ("name", "reference", "family", "kind", "corpus_name", "protocol", "dtype", "pass", "run_id")


def offer(runs: pl.DataFrame, keep: Sequence[str]) -> pl.DataFrame:
    """The runs to choose from: all of them where they are few, else the newest that the reader's words are met by.

    `runs` are rows of `queries.listing`, newest first. Those of `keep`, which a link or an earlier choice asks for,
    are offered whatever the words say.
    """
    if runs.height <= OFFERED:
        return runs
    _ = language.translator()
    words = st.text_input(
        _("Find runs"),
        key=url_state.key("find"),
        placeholder=_("Words of model, family, text, protocol, tag, date or run id: all of them must be met"),
        width=640,
    )
    found = matching(runs, words)
    _tell(found.height, runs.height, words)
    newest = found.head(OFFERED)
    kept = runs.filter(pl.col("run_id").is_in(list(keep))).join(newest, on="run_id", how="anti")
    return pl.concat([newest, kept])


def matching(runs: pl.DataFrame, words: str) -> pl.DataFrame:
    """The runs that every word is found in, whatever its case."""
    text = pl.concat_str(
        [*_SEARCHED, pl.col("tags").list.join(" "), pl.col("started_at").dt.strftime("%Y-%m-%d")],
        separator=" ",
        ignore_nulls=True,
    ).str.to_lowercase()
    met = [text.str.contains(word, literal=True) for word in words.lower().split()]
    return runs.filter(pl.all_horizontal(met)) if met else runs


def _tell(found: int, total: int, words: str) -> None:
    _ = language.translator()
    if not found:
        line = _("None of the {total} runs is met by “{words}”.")
    elif found > OFFERED:
        line = _("The newest {n} of {found} runs are listed. Type what you look for to find the others.")
    elif words.strip():
        line = _("{found} of {total} runs are listed.")
    else:
        return
    st.caption(line.format(n=OFFERED, found=f"{found:,}", total=f"{total:,}", words=escape(words.strip())))
