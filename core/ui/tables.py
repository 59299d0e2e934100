"""Tables of a screen: numbers that can be sorted, each beside its interval, and the same rows as CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import streamlit as st
from rich.cells import cell_len

from core import exports, wording
from core.analysis.claims import compare_with_ten
from core.analysis.question import BY_TYPE
from core.figures import large_norms
from core.ui import inputs, language, url_state
from core.ui.reads import Selection
from core.wording.labels import marked, run_labels
from core.wording.verdicts import outcome_of, ratio_text, specification_name

TRACED = (
    "run_id",
    "name",
    "model_id",
    "corpus_id",
    "protocol_hash",
    "pass",
    "model_seed",
    "seed",
    "dtype",
    "code_version",
    "worst_check",
    "vetoed_by",
    "verdict_rise",
    "verdict_fall",
    "reasons_rise",
    "reasons_fall",
    "qualifiers",
)
OUTCOME_WIDTH = 125
OFFERED_WIDTH, MOST_WIDTH = 290, 420
"""Pixels of a column: what Streamlit gives at most by itself, and what is given to texts that need a little more; longer
ones are prose and are cut. Of Japanese letters it gives half of what they take."""
LEAST_WIDTH, MOST_WIDTH_OF_FIRST = 70, 330
"""Pixels of the first column, which stays in sight and is else cut where others are many: the most leaves room beside it in
a narrow window."""
LETTER, WIDE_LETTER = 6.4, 14
"""Pixels of a letter in a table, and of a Japanese one."""
VERDICT_WIDTH, VERDICT_HEIGHT = 290, 68
"""Pixels for two verdicts with their reasons, on three lines; Streamlit breaks lines only in rows above 64 pixels."""


def overview(runs: pl.DataFrame) -> pl.DataFrame:
    """One line per run for the home screen: what was measured, what came out, whether it can be trusted."""
    _ = language.translator()
    return pl.DataFrame(
        {
            _("Model"): _names(runs),
            _("Verdicts"): verdicts(runs),
            _("Text"): runs["corpus_name"],
            _("Largest inner dimension"): _with_intervals(runs, "inner_max"),
            _("Final, before the norm"): _with_intervals(runs, "final_dimension_pre_norm"),
            _("Final, after the norm"): _with_intervals(runs, "final_dimension_post_norm"),
            _("N (points)"): runs["n_points"],
            _("Checks"): _outcomes(runs),
            _("Protocol"): runs["protocol"],
            _("Measured"): [language.local_time(at, in_table=True) for at in runs["started_at"]],
            **_tags(runs),
        }
    )


def _tags(runs: pl.DataFrame) -> dict[str, list[str]]:
    """A column only where a run has one."""
    _ = language.translator()
    told = [" ".join(f"#{tag}" for tag in tags) for tags in runs["tags"]]
    return {_("Tags"): told} if any(told) else {}


def layers(rows: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Every number behind a figure of profiles: value, error, scale and sample size, layer by layer.

    `rows` are estimates or correlators; a column that they do not have, or that is empty, is not shown.
    """
    _ = language.translator()
    lang = language.current()
    labels = run_labels(runs, language.current())
    told = {
        _("Value"): significant(rows, "value", 4),
        _("Gaussian equivalent, over all n1"): equivalents(rows),
        _("Standard error"): significant(rows, "std_error", 2),
        _("95 % interval"): _intervals(rows, "") if "lower" in rows.columns else None,
        _("Mean neighbour distance"): significant(rows, "mean_distance", 3),
        _("N (points)"): rows["n_points"],
        _("Dropped"): rows["n_dropped"] if "n_dropped" in rows.columns else None,
    }
    return without_empty(
        {
            _("Model"): [labels[run_id] for run_id in rows["run_id"]],
            _("Layer"): rows["layer"],
            _("State"): [wording.name("state", state, lang) for state in rows["state"]],
            **{column: values for column, values in told.items() if values is not None},
        }
    )


def one_layer(layer: int, chosen: Selection) -> pl.DataFrame:
    """A line for each quantity of one layer, a column for each run: where it stands in the profile, every estimate with its
    interval, correlators, how far it is from the layer before, and its checks."""
    _ = language.translator()
    lang = language.current()
    labels = run_labels(chosen.runs, lang)
    lines: dict[str, dict[str, str]] = {}

    def tell(name: str, run_id: str, told: str) -> None:
        lines.setdefault(name, {})[run_id] = told

    for row in chosen.of_runs(chosen.extrema).filter(layer=layer, cloud=BY_TYPE).to_dicts():
        tell(_("In the profile"), row["run_id"], wording.name("extremum", row["kind"], lang))
    estimates, correlators = (
        chosen.of_runs(rows).filter(layer=layer).sort(pl.col("cloud") != BY_TYPE, maintain_order=True)
        for rows in (chosen.estimates, chosen.correlators)
    )
    for row in estimates.filter(transform="centred").to_dicts():
        scale = [f"n1={row['n1']}"] if row["n1"] else [f"k={row['n2']}"] if row["n2"] else []
        told = [wording.estimator_name(row["estimator"], lang), *scale, *_where(row)]
        tell(_(", ").join(told), row["run_id"], wording.with_interval(row["value"], row["lower"], row["upper"]))
    for row in correlators.to_dicts():
        told = [wording.name("correlator", row["correlator"], lang), *_where(row)]
        error = "" if row["std_error"] is None else f" ± {row['std_error']:.2g}"
        tell(_(", ").join(told), row["run_id"], wording.number(row["value"]) + error)
    for row in chosen.pairs.filter(layer_a=layer - 1, layer_b=layer).to_dicts():
        name = _("{measure}, from layer {layer}").format(
            measure=wording.name("pair", row["measure"], lang), layer=layer - 1
        )
        tell(name, row["run_id"], wording.number(row["value"]))
    for row in chosen.of_runs(chosen.checks).filter(layer=layer).to_dicts():
        outcome = wording.outcome_name(row["outcome"], lang)
        name = _("Check: {name}").format(name=wording.name("check", row["check_name"], lang))
        tell(name, row["run_id"], _("{outcome} ({value})").format(outcome=outcome, value=wording.number(row["value"])))
    columns = {label: [told.get(run_id, "–") for told in lines.values()] for run_id, label in labels.items()}
    return pl.DataFrame({_("Quantity"): list(lines), **columns})


def _where(row: Mapping[str, Any]) -> list[str]:
    """Points and state of a row, where they are not those of a first look."""
    lang = language.current()
    cloud = [] if row["cloud"] == BY_TYPE else [wording.name("cloud", row["cloud"], lang)]
    return cloud + ([] if row["state"] == "residual" else [wording.name("state", row["state"], lang)])


def equivalents(rows: pl.DataFrame) -> list[str | None] | None:
    """`5.9 – 55`: the range over the ranks of GRIDE, never one value (`profile_data.with_gaussian_equivalents`)."""
    if "equivalent_lowest" not in rows.columns:
        return None
    ends = zip(rows["equivalent_lowest"], rows["equivalent_highest"], strict=True)
    return [None if low is None else f"{wording.number(low)} – {wording.number(high)}" for low, high in ends]


def claims(rows: pl.DataFrame, runs: pl.DataFrame, estimates: pl.DataFrame) -> pl.DataFrame:
    """One line per run, specification and claim, the core first; beside each how the final dimension stands to ten."""
    _ = language.translator()
    lang = language.current()
    labels = run_labels(runs, lang)
    keys = ["run_id", "cloud", "transform", "estimator", "n1"]
    final = (
        estimates.join(runs.select("run_id", layer="n_layers"), on=["run_id", "layer"], how="semi")
        .filter(state="residual")
        .select(*keys, final="value", final_lower="lower", final_upper="upper")
    )
    rows = rows.filter(pl.col("run_id").is_in(list(labels)))
    found = rows.join(final, on=keys, how="left", nulls_equal=True, maintain_order="left").to_dicts()
    return without_empty(
        {
            _("Model"): [labels[row["run_id"]] for row in found],
            _("Specification"): [specification_name(row, lang) for row in found],
            _("Core"): [_("yes") if row["is_core"] else _("no") for row in found],
            _("Claim"): [wording.name("claim", row["claim"], lang) for row in found],
            _("Outcome"): [_claim_outcome(row) for row in found],
            _("Ratio"): [ratio_text(row) for row in found],
            _("Largest at layer"): [row["layer"] for row in found],
            _("Final dimension"): [wording.interval_of(row, "final") for row in found],
            _("Final dimension against ten"): [
                wording.ten_text(compare_with_ten(row["final_lower"], row["final_upper"]), lang) for row in found
            ],
        }
    )


def _claim_outcome(row: dict[str, Any]) -> str:
    outcome = outcome_of(row)
    return "–" if outcome is None else wording.name("claim_outcome", outcome, language.current())


def masked_tokens(runs: pl.DataFrame) -> pl.DataFrame:
    """How many tokens were read and why some were left out, run by run."""
    _ = language.translator()
    labels = run_labels(runs, language.current())
    return pl.DataFrame(
        {
            _("Model"): [labels[run_id] for run_id in runs["run_id"]],
            _("Tokens read"): runs["n_tokens"],
            _("Left out for their norm"): runs["n_dropped_norm"],
            _("Share (%)"): (100 * runs["n_dropped_norm"] / runs["n_tokens"]).round(2),
            _("Largest norm / median"): runs["max_norm_ratio"].round_sig_figs(3),
            _("Limit / median"): [large_norms.mask_limit(config) for config in runs["config"]],
            _("Left out as first of a window"): runs["n_dropped_position"],
            _("Special tokens"): runs["n_dropped_special"],
            _("Chat template"): runs["n_dropped_template"],
            _("Tokens kept"): runs["n_tokens_used"],
        }
    )


def verdicts(runs: pl.DataFrame) -> list[str]:
    """Of runs on text; a control pass has none, and says which it is."""
    lang = language.current()
    return [wording.outcome_short(run, lang) for run in runs.iter_rows(named=True)]


def _names(runs: pl.DataFrame) -> list[str]:
    """The column that never leaves the window, so a veto is said there too."""
    rows = runs.select("name", "worst_check").rows()
    return [marked(name, worst == "veto") for name, worst in rows]


def _outcomes(runs: pl.DataFrame) -> list[str]:
    """The worst outcome; a veto with the checks that it comes from."""
    _ = language.translator()
    lang = language.current()
    told = []
    for worst, vetoed_by in runs.select("worst_check", "vetoed_by").rows():
        names = [wording.name("check", name, lang) for name in vetoed_by or []]
        outcome = wording.outcome_name(worst, lang)
        told.append(_("{outcome}: {checks}").format(outcome=outcome, checks=_(", ").join(names)) if names else outcome)
    return told


def significant(rows: pl.DataFrame, column: str, digits: int) -> pl.Series | None:
    return rows[column].round_sig_figs(digits) if column in rows.columns else None


def show(table: pl.DataFrame, key: str, **more: Any) -> Any:
    """A table whose first column stays in sight when a narrow window scrolls sideways.

    A verdict is read with its reasons: its rows are high enough for the whole text.
    """
    _ = language.translator()
    verdict = _("Verdicts")
    columns = column_widths(table)
    outcome = _("Outcome")
    if outcome in table.columns:
        columns[outcome] = st.column_config.Column(width=OUTCOME_WIDTH)
    if verdict in table.columns:
        columns[verdict] = st.column_config.Column(width=VERDICT_WIDTH)
        more = {"row_height": VERDICT_HEIGHT} | more
    return st.dataframe(table, key=key, hide_index=True, column_config=columns, placeholder="–", **more)


def column_widths(table: pl.DataFrame) -> dict[str, Any]:
    """Columns as wide as their longest text, as far as that is reasonable; the first one stays in sight."""
    widths = {name: _text_width(table[name]) for name in table.columns if table[name].dtype == pl.String}
    least = LEAST_WIDTH if language.current() == "ja" else OFFERED_WIDTH
    columns = {
        name: st.column_config.Column(width=width) for name, width in widths.items() if least < width <= MOST_WIDTH
    }
    first = table.columns[0]
    of_first = max(LEAST_WIDTH, min(MOST_WIDTH_OF_FIRST, widths[first])) if first in widths else None
    return columns | {first: st.column_config.Column(pinned=True, width=of_first)}


def _text_width(texts: pl.Series) -> int:
    """Pixels that the longest text of a column takes in a table, its head included."""
    told = [texts.name, *texts.drop_nulls().unique()]
    wide = [cell_len(text) - len(text) for text in told]
    return 24 + round(max(LETTER * (len(text) - n) + WIDE_LETTER * n for text, n in zip(told, wide, strict=True)))


def offer_comparison(runs: pl.DataFrame, selected: Any, key: str) -> None:
    """What can be done with the rows of a list that the reader marked; `runs` are the rows in the order shown."""
    _ = language.translator()
    rows = [row for row in selected["selection"]["rows"] if row < runs.height]
    ids = runs["run_id"].gather(rows).to_list()[: inputs.MOST_RUNS] if rows else []
    if not ids:
        st.caption(_("Mark two runs or more at the left to compare them."))
        return
    label, section = (_("Compare these runs"), "compare") if len(ids) > 1 else (_("Open the profile"), "profile")
    if st.button(label, key=f"compare {key}", icon=":material/compare_arrows:"):
        asked = {"runs": url_state.joined(ids), "section": section}
        st.switch_page("pages/profiles.py", query_params=asked)


def link_comparison(run_ids: Sequence[str]) -> None:
    """Of runs that are chosen already; nothing where there is nothing to compare."""
    if len(run_ids) < 2:
        return
    _ = language.translator()
    st.page_link(
        "pages/profiles.py",
        label=_("Compare these runs"),
        icon=":material/compare_arrows:",
        query_params={"runs": url_state.joined(run_ids[: inputs.MOST_RUNS]), "section": "compare"},
    )


def traced(rows: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Rows of any table for a file that leaves the app: first what each row's run is and what its numbers are worth."""
    return runs.select(TRACED).join(rows, on="run_id", how="inner", maintain_order="left_right")


def download(frame: pl.DataFrame, file_name: str, label: str) -> None:
    """All columns at full precision, as a CSV that Excel reads and that runs nothing there."""
    content = exports.excel_csv(frame)
    st.download_button(label, content, file_name, "text/csv", on_click="ignore", icon=":material/download:")


def download_later(make: Callable[[], pl.DataFrame], file_name: str, label: str) -> None:
    """As `download`, of a table that is made on the click."""
    st.download_button(
        label, lambda: exports.excel_csv(make()), file_name, "text/csv", on_click="ignore", icon=":material/download:"
    )


def without_empty(columns: dict[str, Any]) -> pl.DataFrame:
    """A table without the columns that hold nothing for these rows."""
    table = pl.DataFrame(columns)
    return table.select(column for column in table if column.is_empty() or column.null_count() < table.height)


def _with_intervals(runs: pl.DataFrame, column: str) -> list[str]:
    return [wording.with_interval(*row) for row in runs.select(column, f"{column}_lower", f"{column}_upper").rows()]


def _intervals(frame: pl.DataFrame, prefix: str) -> list[str]:
    ends = zip(frame[f"{prefix}lower"], frame[f"{prefix}upper"], strict=True)
    return ["–" if low is None else f"{wording.number(low)} – {wording.number(high)}" for low, high in ends]


def show_latest(runs: pl.DataFrame, shown: pl.DataFrame) -> None:
    """The newest runs, on text only: a control pass says nothing without the run that it belongs to."""
    _ = language.translator()
    texts = runs.filter(pl.col("pass") == "text")
    shown = shown.sort(pl.col("worst_check") != "veto", maintain_order=True)
    offer_comparison(shown, show(overview(shown), "latest", on_select="rerun", selection_mode="multi-row"), "latest")
    if texts.height > shown.height:
        st.caption(_("The newest {n} of {total} runs.").format(n=shown.height, total=texts.height))
    if texts.height < runs.height:
        n = runs.height - texts.height
        st.caption(_("Control passes not listed here: {n}. Profiles draw them with their runs.").format(n=n))
    if "veto" in shown["worst_check"]:
        st.caption(wording.veto_note(language.current()))
