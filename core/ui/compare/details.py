"""Details of the page Compare: checks, distributions, dimension and loss, large-norm tokens, layers against layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import polars as pl
import streamlit as st

from core import wording
from core.figures import within_layers
from core.figures.scores import WINDOWS_SIZE, windows_svg
from core.locale import _, translated
from core.questions.runs import Selection, answer_of_windows
from core.registry.estimators import PAIR_MEASURES, QUANTITIES
from core.tables import Run, RunControlRow, ids_of, records
from core.ui import inputs, pictures, run_choice, tables
from core.ui.language import as_lines, escape
from core.ui.tables import rounded, without_empty
from core.wording import answers as answer_wording
from core.wording.labels import run_labels
from core.wording.verdicts import pace_text


def show_checks(selection: Selection) -> None:
    """Draw the outcomes of the checks, what each check means, and what controls and verdicts rest on."""
    runs, checks = selection.runs, selection.of_runs(selection.checks)
    if checks.is_empty():
        st.info(_("No check was made on these runs."))
        return
    each_layer = inputs.choose_yes_no(_("Every layer"), "each_layer", False)
    table = check_table(checks, runs, each_layer=each_layer)
    tables.show(table, "checks", height="content" if table.height < 40 else 600)
    st.caption(_("Worst first. Warnings limit a number; vetoed runs are not usable. Shift 0.095 = 10 %."))
    tables.show_rows_download(checks, runs, "checks")

    names = checks.sort(_severity(), "check_name")["check_name"].unique(maintain_order=True)  # the worst outcome first
    meanings = [(wording.name("check", name), [wording.check_meaning(name)]) for name in names]
    controls = _told_by_control(selection)
    texts = runs.filter(pl.col("pass") == "text")  # a control pass has no verdict
    reasons = dict.fromkeys(key for run in records(texts, Run) for key in wording.run_reasons(run))
    limits = [(wording.reason_text(key), [wording.reason_meaning(key)]) for key in reasons]
    for title, items in (
        (_("Where a check fails"), meanings),
        (_("What the controls show"), controls),
        (_("What the verdicts rest on"), limits),
    ):
        if items:
            st.subheader(title)
            st.markdown("\n".join(f"- **{escape(name)}**  \n  {as_lines(text)}" for name, text in items))


def _told_by_control(selection: Selection) -> list[tuple[str, list[str]]]:
    """Each control by its name, which says model and text too, and what it shows of each claim; of one that several runs share
    also the run."""
    labels = run_labels(selection.with_controls)
    told: dict[tuple[str, str], list[str]] = {}
    for row in records(selection.against_controls, RunControlRow):
        told.setdefault((row.control_run_id, row.run_id), []).append(wording.control_text(row))
    owners = Counter(control for control, _run in told)
    return [
        (_(", ").join(labels.get(one, one) for one in (control, run)[: 1 if owners[control] == 1 else 2]), lines)
        for (control, run), lines in told.items()
    ]


_SEVERITY = {"veto": 0, "warn": 1, "pass": 2}


def check_table(checks: pl.DataFrame, runs: pl.DataFrame, *, each_layer: bool) -> pl.DataFrame:
    """One line per run, check and layer, the worst first; without `each_layer` only the worst layer of each check."""
    rows = (
        checks.join(runs.select("run_id", "name"), on="run_id", how="inner", maintain_order="right")
        .with_columns(
            severity=_severity(), n_layers=pl.col("layer").drop_nulls().n_unique().over("run_id", "check_name")
        )
        .sort("severity", pl.col("value").abs(), descending=[False, True], nulls_last=True)
    )
    if not each_layer:
        worst = rows.unique(["run_id", "check_name"], keep="first", maintain_order=True)
        rows = worst.sort("severity", "check_name", "name", maintain_order=True)
    labels = run_labels(runs)
    outcomes = [
        _("for information") if threshold is None and outcome == "pass" else wording.outcome_name(outcome)
        for outcome, threshold in rows.select("outcome", "threshold").rows()
    ]
    columns = {
        _("Model"): [labels[run_id] for run_id in ids_of(rows)],
        _("Check"): [wording.name("check", name) for name in rows["check_name"]],
        _("Outcome"): outcomes,
        _("Value"): rows["value"].round_sig_figs(3),
        _("± (paired)"): rounded(rows, "std_error", 2),
        _("Limit"): rows["threshold"].round_sig_figs(3),
        _("Layer") if each_layer else _("Worst layer"): rows["layer"],
        _("Layers"): None if each_layer else rows["n_layers"].replace(0, None),
    }
    return without_empty(columns)


def _severity() -> pl.Expr:
    """The rank of an outcome, the worst first; a check without a limit cannot fail and comes last."""
    for_information = pl.col("threshold").is_null() & (pl.col("outcome") == "pass")
    severity = pl.col("outcome").replace_strict(_SEVERITY, default=0)
    return pl.when(for_information).then(len(_SEVERITY)).otherwise(severity)


# --- what a mean hides -----------------------------------------------------------------------------------------------


def show_distributions(selection: Selection) -> None:
    """Draw the distribution of a quantity over tokens, layer by layer, of one run."""
    runs, distributions = selection.runs, selection.distributions
    quantities = [name for name in QUANTITIES if name in set(distributions["quantity"])]
    if not quantities:
        run_choice.show_missing(runs, _("This protocol measures none; quick, standard and thorough do."))
        return
    run, quantity = _choose_run_and_quantity(runs, quantities, "quantity", "quantity")
    pictures.plot(within_layers.distribution_figure(distributions, run.run_id, quantity), "distribution")
    outermost = _("Outermost bins count what lies beyond.")
    st.caption(wording.joined_sentences((translated(QUANTITIES[quantity].meaning), outermost)))
    rows = distributions.filter(run_id=run.run_id, quantity=quantity)
    tables.show_rows_download(rows, runs, "distributions")


def _choose_run_and_quantity(
    runs: pl.DataFrame, quantities: Sequence[str], parameter: str, kind: str
) -> tuple[Run, str]:
    """Return one run, and one of its quantities, which are names of a kind (`core.registry.names`); `parameter` is the name
    of the choice in the URL."""
    with inputs.row():
        run = run_choice.choose_one_run(runs)
        names = wording.names(kind, quantities)
        return run, inputs.choose_from_list(_("Quantity"), names, parameter, width=480)


def show_large_norms(selection: Selection) -> None:
    """Draw how many tokens were left out for their norm, and the norms layer by layer."""
    runs = selection.runs
    limits = _(" or ").join(f"{limit:g}" for limit in within_layers.mask_limits(runs))
    st.markdown(
        _("Attention sinks, tokens with norms above {limit} times the layer's median, are left out.", limit=limits)
    )
    tables.show(masked_token_table(runs), "masked")
    charts = within_layers.large_norm_charts(selection.of_runs(selection.correlators), runs)
    if not charts:
        st.info(_("Most shipped profiles leave this out: measure the model."))
        return
    for n, chart in enumerate(charts):
        pictures.plot(chart, f"large norms {n}", 290)
    st.caption(_("Read before masking, which looks at inner layers only."))


def masked_token_table(runs: pl.DataFrame) -> pl.DataFrame:
    """One line per run: how many tokens were read, and why some were left out."""
    labels = run_labels(runs)
    return pl.DataFrame(
        {
            _("Model"): [labels[run_id] for run_id in ids_of(runs)],
            _("Tokens read"): runs["n_tokens"],
            _("Left out for their norm"): runs["n_dropped_norm"],
            _("Share (%)"): (100 * runs["n_dropped_norm"] / runs["n_tokens"]).round(2),
            _("Largest norm / median"): runs["max_norm_ratio"].round_sig_figs(3),
            _("Limit / median"): [within_layers.mask_limit(config) for config in runs["config"]],
            _("Left out as first of a window"): runs["n_dropped_position"],
            _("Special tokens"): runs["n_dropped_special"],
            _("Chat template"): runs["n_dropped_template"],
            _("Tokens kept"): runs["n_tokens_used"],
        }
    )


def show_windows(selection: Selection) -> None:
    """Draw dimension against loss, window by window, of one run: the sentence, the figure, the choices."""
    runs = selection.runs
    top = st.container()
    with inputs.row():
        run = run_choice.choose_one_run(runs)
        found = answer_of_windows(run, selection.with_controls, selection.windows)
        if found.lacks == "loss":
            st.info(_("This model predicts no next token: no loss."))
            return
        if found.lacks == "windows":
            run_choice.show_missing(
                runs.filter(run_id=run.run_id), _("This protocol's windows are too short for dimensions.")
            )
            return
        names = {"inner": _("Largest inner dimension"), "final": _("After the last block")}
        place, windows = inputs.choose(_("Layer"), names, "place"), found.windows
        passes = {"text": _("As it stands"), "shuffled": _("Tokens shuffled")}
        if found.shuffled is not None and inputs.choose(_("Text"), passes, "read") == "shuffled":
            windows = found.shuffled
    relation = found.relation(place)
    with top:
        st.markdown(
            f"#### {pictures.ICONS[relation.relation.answer]} {escape(answer_wording.windows_text(relation, run))}"
        )
        drawn = records(selection.with_controls.filter(run_id=windows["run_id"][0]), Run)[0]
        draw = partial(windows_svg, windows, drawn, place, pictures.theme())
        pictures.plot_drawn(draw, WINDOWS_SIZE, "windows picture")
    st.caption(as_lines([*answer_wording.windows_note_lines(relation), answer_wording.windows_expectation_text()]))
    tables.show_rows_download(selection.windows, selection.with_controls, "windows")


# --- layers against layers -------------------------------------------------------------------------------------------


def show_pairs(selection: Selection) -> None:
    """Draw a measure between all pairs of layers of one run, and from each layer to the next."""
    runs, pairs = selection.runs, selection.pairs
    measures = [name for name in within_layers.DRAWN if name in set(pairs["measure"])]
    if not measures:
        run_choice.show_missing(runs, _("This protocol measures none; quick, standard and thorough do."))
        return
    run, measure = _choose_run_and_quantity(runs, measures, "measure", "pair")
    rows = pairs.filter(run_id=run.run_id, measure=measure)
    pictures.plot(within_layers.pair_figure(pairs, run.run_id, measure), "pairs")
    sizes = rows.select("k", "n_points").drop_nulls().iter_rows()
    chance = next((k / (n_points - 1) for k, n_points in sizes if n_points > 1), None)
    st.caption(translated(PAIR_MEASURES[measure].meaning).format(chance=wording.number(chance)))
    pictures.plot(within_layers.successive_chart(pairs, run.run_id, measure), "along")
    flow = _("Dimensions kept, gone and new at each block. Below zero: directions only became more or less equal.")
    bars = _("From each layer to the next, ± two standard errors.")
    grey = _("Grey: tokens of one layer permuted.") if rows["null_value"].count() else ""
    st.caption(wording.joined_sentences((flow if measure in within_layers.FLOW_MEASURES else "", bars, grey)))
    # The exponent says what to compare it with, and names no cause.
    if exponent := within_layers.displacement_exponent(pairs, run.run_id):
        value = wording.with_error(exponent.value, exponent.std_error)
        pace = pace_text(exponent.value or 0.0, exponent.std_error)
        text = _("**Displacement exponent {value}** (layers {first} to {last}): {pace}. Bounded directions lower it.")
        st.markdown(text.format(value=value, first=exponent.layer_a, last=exponent.layer_b, pace=pace))
    tables.show_rows_download(rows, runs, "layer_pairs")
