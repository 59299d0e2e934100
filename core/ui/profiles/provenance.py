"""Provenance: where the numbers of the chosen runs come from, in what two of them differ, and the care of them."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.analysis.differences import comparability, differences, without_incidental
from core.ui import inputs, language, tables
from core.ui.markdown import escape
from core.ui.profiles import run_actions
from core.ui.reads import Selection
from core.wording.labels import run_labels
from core.wording.provenance import ABSENT, Section, comparison, sections

MARK = "≠"
FIELD_WIDTH, MARK_WIDTH = 280, 30
"""Pixels."""


def show(chosen: Selection) -> None:
    _ = language.translator()
    runs, records = chosen.runs, chosen.records.to_dicts()
    labels = run_labels(runs, language.current())
    differing = _differing(records)
    only = False
    if len(records) == 2:
        one, other = (runs.filter(run_id=run["run_id"]).row(0, named=True) for run in records)
        st.markdown(comparison(comparability(one, other), language.current()))
    run_actions.show(chosen)
    if len(records) > 1:
        only = inputs.choose_yes_no(_("Only what differs"), "differing", False)
        st.caption(_("{mark} marks a field in which the runs differ.").format(mark=MARK))
    told = [sections(record, language.current()) for record in records]
    names = [labels[record["run_id"]] for record in records]  # labels are grouped by model
    shown = [_table(parts, names, differing, only) for parts in _side_by_side(told)]
    for title, table in shown:
        if not table.is_empty():
            st.markdown(f"**{escape(title)}**")
            # Wide enough for the longest name of a field; the mark beside it needs no room.
            widths = {table.columns[0]: FIELD_WIDTH, **({"": MARK_WIDTH} if "" in table.columns else {})}
            columns = {name: st.column_config.Column(pinned=True, width=width) for name, width in widths.items()}
            st.dataframe(table, key=f"provenance {title}", hide_index=True, column_config=columns, height="content")
    _download(shown)


def differing_table(records: list[dict], labels: dict[str, str]) -> pl.DataFrame:
    """Only the fields in which the runs differ, of all sections."""
    told = [sections(record, language.current()) for record in records]
    names = [labels[record["run_id"]] for record in records]
    differing = _differing(records)
    found = [_table(parts, names, differing, True)[1] for parts in _side_by_side(told)]
    return pl.concat([table for table in found if not table.is_empty()] or found[:1]).select(pl.exclude(""))


def _differing(records: list[dict]) -> set[str]:
    """Fields that any two of the runs have differently, times and ids left out."""
    first, *others = records
    return {found.field for other in others for found in without_incidental(differences(first, other))}


def _side_by_side(told: list[list[Section]]) -> list[list[Section]]:
    """Section by section, one of each run; a run without a section has an empty one."""
    titles = {section.key: section.title for one in told for section in one}
    found = [{section.key: section for section in one} for one in told]
    return [[one.get(key, Section(key, title, ())) for one in found] for key, title in titles.items()]


def _table(parts: list[Section], labels: list[str], differing: set[str], only: bool) -> tuple[str, pl.DataFrame]:
    _ = language.translator()
    names = {field.field: field.label for part in parts for field in part.fields}
    texts = [{field.field: field.text for field in part.fields} for part in parts]
    kept = [name for name in names if not only or name in differing]
    marks = {"": [MARK if name in differing else "" for name in kept]} if len(parts) > 1 else {}
    columns = {label: [told.get(name, ABSENT) for name in kept] for label, told in zip(labels, texts, strict=True)}
    return parts[0].title, pl.DataFrame({_("Field"): [names[name] for name in kept], **marks, **columns})


def _download(shown: list[tuple[str, pl.DataFrame]]) -> None:
    _ = language.translator()
    whole = pl.concat([table.select(pl.lit(title).alias(_("Section")), pl.all()) for title, table in shown])
    tables.show_download(whole, "workdim_provenance.csv", _("Download this record (CSV)"))
