"""Tables on a screen: drawing one, comparing the runs of its marked rows, and downloading it as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import polars as pl
import streamlit as st
from rich.cells import cell_len

from core import exports
from core.locale import _
from core.ui import inputs, url_state

Row = TypeVar("Row")
PROVENANCE = (
    *("run_id", "name", "model_id", "corpus_id", "protocol_hash", "pass", "model_seed", "seed", "dtype"),
    *("code_version", "worst_check", "vetoed_by", "verdict_rise", "verdict_fall", "reasons_rise", "reasons_fall"),
    *("qualifiers",),
)
"""Columns of a run that stand before the rows of a downloaded table."""
MIN_WIDTH, MAX_WIDTH, MAX_FIRST_WIDTH = 70, 420, 330
"""Pixels of a column of text, which Streamlit would cut among numbers, and to whose Japanese letters it gives half of what they
take; longer texts are prose and are cut. The first column stays visible, and leaves room beside it in a narrow window."""
LETTER_WIDTH = 7.2
"""Pixels of a letter in the title of a table, the widest; a Japanese one has twice as many."""


def show(table: pl.DataFrame | Mapping[str, Any], key: str, **more: Any) -> Any:
    """Draw a table whose first column stays visible when a narrow window scrolls sideways; of one that is given by its columns,
    those that hold something."""
    table = table if isinstance(table, pl.DataFrame) else without_empty(table)
    return show_plain(table, key=key, column_config=column_widths(table), placeholder="–", **more)


def show_plain(table: pl.DataFrame, **more: Any) -> Any:
    """Draw a table with Streamlit's own widths.

    As Arrow and not lazily: Streamlit loads pandas for any other table, and to find out whether one is too long to be sent
    at once.
    """
    return st.dataframe(table.to_arrow(compat_level=pl.CompatLevel.oldest()), hide_index=True, lazy=False, **more)


def column_widths(table: pl.DataFrame, max_first: int = MAX_FIRST_WIDTH) -> dict[str, Any]:
    """Columns of text as wide as their longest one, within limits; the first, of at most `max_first` pixels, stays visible."""
    first = table.columns[0]
    widths = {
        name: max(MIN_WIDTH, min(max_first if name == first else MAX_WIDTH, _text_width(table[name])))
        for name in table.columns
        if table[name].dtype == pl.String
    }
    columns = {name: st.column_config.Column(width=width) for name, width in widths.items()}
    return columns | {first: st.column_config.Column(pinned=True, width=widths.get(first))}


def _text_width(column: pl.Series) -> int:
    """Pixels of the longest text of a column, its title included."""
    return 24 + round(LETTER_WIDTH * max(map(cell_len, (column.name, *column.drop_nulls().unique()))))


# --- comparing runs --------------------------------------------------------------------------------------------


def show_comparison_button(run_ids: Sequence[str], **more: Any) -> None:
    """Draw a button that opens these runs, as many as one figure can show."""
    label = _("Compare ({n})", n=len(run_ids)) if len(run_ids) > 1 else _("Open the profile")
    if st.button(label, key="compare runs", icon=":material/compare_arrows:", **more):
        runs = url_state.join_values(run_ids[: inputs.MAX_RUNS])
        st.switch_page("pages/compare.py", query_params={"runs": runs, "section": "profile"})


# --- downloads -------------------------------------------------------------------------------------------------


def show_download(table: pl.DataFrame | Callable[[], pl.DataFrame], file_name: str, label: str = "") -> None:
    """Draw a button that downloads a table as CSV: all digits, readable by Excel, with nothing that Excel would run.

    It is written on the click; a function makes the table then, where that is slow.
    """
    label = label or _("Download (CSV)")
    inputs.show_download(label, lambda: exports.excel_csv(table() if callable(table) else table), file_name)


def show_rows_download(rows: pl.DataFrame, runs: pl.DataFrame, name: str) -> None:
    """Draw a button that downloads rows of any table, each after the provenance and verdicts of its run."""
    table = runs.select(PROVENANCE).join(rows, on="run_id", how="inner", maintain_order="left_right")
    show_download(table, f"workdim_{name}.csv")


# --- columns ---------------------------------------------------------------------------------------------------


def of(rows: Iterable[Row], columns: Mapping[str, Callable[[Row], Any]]) -> pl.DataFrame:
    """A table with a line for each row; each column is made from the row."""
    rows = list(rows)
    return pl.DataFrame({title: [cell(row) for row in rows] for title, cell in columns.items()})


def without_empty(columns: Mapping[str, Any]) -> pl.DataFrame:
    """A table without the columns that hold nothing; None stands for one that there is not."""
    table = pl.DataFrame({name: values for name, values in columns.items() if values is not None})
    return table.select(column for column in table if column.is_empty() or column.null_count() < table.height)


def rounded(rows: pl.DataFrame, column: str, digits: int = 3) -> pl.Series | None:
    """A column to some significant digits; None where the rows do not have it."""
    return rows[column].cast(pl.Float64).round_sig_figs(digits) if column in rows.columns else None


def named(column: pl.Series, name: Callable[[str], str]) -> list[str | None]:
    """The names of a column's values in the reader's language, as `wording.stated_text` or `wording.metric_name` gives them."""
    return [None if text is None else name(text) for text in column]
