"""The section Provenance of the screen Profiles: how the runs were measured, in what they differ, and actions on them."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.analysis.differences import comparability, differences, without_incidental
from core.ui import inputs, language, tables
from core.ui.markdown import escape
from core.ui.profiles import run_actions
from core.ui.reads import Selection
from core.wording.labels import run_labels
from core.wording.provenance import ABSENT, Section, comparability_text, sections

MARK = "≠"
FIELD_WIDTH, MARK_WIDTH = 280, 30
"""Pixels."""


def show(selection: Selection) -> None:
    """Draw every stored field of the runs side by side, and the actions on them."""
    _ = language.translator()
    runs, records = selection.runs, selection.records.to_dicts()
    labels = run_labels(runs, language.current())
    differing = _differing_fields(records)
    only_differing = False
    if len(records) == 2:
        first, second = (runs.filter(run_id=run["run_id"]).row(0, named=True) for run in records)
        st.markdown(comparability_text(comparability(first, second), language.current()))
    run_actions.show(selection)
    if len(records) > 1:
        only_differing = inputs.choose_yes_no(_("Only what differs"), "differing", False)
        st.caption(_("{mark} marks a field in which the runs differ.").format(mark=MARK))
    record_sections = [sections(record, language.current()) for record in records]
    names = [labels[record["run_id"]] for record in records]  # labels are grouped by model
    titled_tables = [_table(parts, names, differing, only_differing) for parts in _side_by_side(record_sections)]
    for title, table in titled_tables:
        if not table.is_empty():
            st.markdown(f"**{escape(title)}**")
            # Wide enough for the longest name of a field; the mark beside it needs no room.
            widths = {table.columns[0]: FIELD_WIDTH, **({"": MARK_WIDTH} if "" in table.columns else {})}
            columns = {name: st.column_config.Column(pinned=True, width=width) for name, width in widths.items()}
            tables.show_plain(table, key=f"provenance {title}", column_config=columns, height="content")
    all_fields = pl.concat(
        [table.select(pl.lit(title).alias(_("Section")), pl.all()) for title, table in titled_tables]
    )
    tables.show_download(all_fields, "workdim_provenance.csv", _("Download this record (CSV)"))


def differing_table(records: list[dict], labels: dict[str, str]) -> pl.DataFrame:
    """The fields of all sections in which the runs differ."""
    record_sections = [sections(record, language.current()) for record in records]
    names = [labels[record["run_id"]] for record in records]
    differing = _differing_fields(records)
    differing_tables = [_table(parts, names, differing, True)[1] for parts in _side_by_side(record_sections)]
    return pl.concat([table for table in differing_tables if not table.is_empty()] or differing_tables[:1]).select(
        pl.exclude("")
    )


def _differing_fields(records: list[dict]) -> set[str]:
    """Fields in which any two of the runs differ, without times and ids."""
    first, *others = records
    return {difference.field for other in others for difference in without_incidental(differences(first, other))}


def _side_by_side(record_sections: list[list[Section]]) -> list[list[Section]]:
    """For each section those of all runs; a run without it has an empty one."""
    titles = {section.key: section.title for run_sections in record_sections for section in run_sections}
    by_key = [{section.key: section for section in run_sections} for run_sections in record_sections]
    return [
        [run_sections.get(key, Section(key, title, ())) for run_sections in by_key] for key, title in titles.items()
    ]


def _table(
    parts: list[Section], labels: list[str], differing: set[str], only_differing: bool
) -> tuple[str, pl.DataFrame]:
    """The title of a section, and its fields as a table with a column for each run."""
    _ = language.translator()
    names = {field.field: field.label for part in parts for field in part.fields}
    texts = [{field.field: field.text for field in part.fields} for part in parts]
    names_shown = [name for name in names if not only_differing or name in differing]
    marks = {"": [MARK if name in differing else "" for name in names_shown]} if len(parts) > 1 else {}
    columns = {
        label: [run_texts.get(name, ABSENT) for name in names_shown]
        for label, run_texts in zip(labels, texts, strict=True)
    }
    return parts[0].title, pl.DataFrame({_("Field"): [names[name] for name in names_shown], **marks, **columns})
