"""What the five slides of measurements without a registered question say: they describe, and ask for a question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import replace
from typing import Any

import polars as pl

from core import wording
from core.analysis.differences import comparability
from core.analysis.ranking import is_vetoed, vetoed
from core.analysis.units import FEWEST_TEST
from core.deck.board import (
    N_CONTROLS,
    Board,
    Decision,
    Look,
    Option,
    Panel,
    Sure,
    check_table,
    controls_look,
    stop,
    sure_name,
    table_of_models,
    test_on_task,
)
from core.deck.deck_data import DeckData
from core.deck.layout import table_of
from core.deck.story import Statement, Visual
from core.figures.chart import told_drawn
from core.figures.decisions import rise_chart
from core.figures.layer_profiles import MOST_CURVES, dimension_chart, profile_chart, profile_gallery
from core.figures.scores import loss_chart
from core.locale import _
from core.questions.runs import Comparison
from core.records import SHIPPED
from core.registry.checks import VERDICTS
from core.registry.protocols import CLAIMS
from core.sources import Text, counted, derived
from core.tables import Run, ids_of, records
from core.tables.sourced import rows_of
from core.wording import runs as run_wording
from core.wording import slides as slide_wording
from core.wording.labels import layer_text, shortened_name
from core.wording.runs import comparability_text
from core.wording.verdicts import verdict_legend_text, verdict_marks

TABLES = ("run_summaries", "layer_estimates", "run_claims", "run_controls")
OPEN_CONTROLS = {"no_control", "control_no_power", "control_failed", "control_not_usable"}
"""Reasons of verdicts that a control with power would settle."""


def profile_board(data: DeckData) -> Board:
    runs = one_run_per_model(data)
    sound = _usable_runs(runs)
    if data.comparison is not None and sound.height == 2:
        return _comparison_board(data, data.comparison, sound)
    title, number, meaning, statements = _answer(data, runs, sound)
    found = comparability(*records(sound, Run)) if sound.height > 1 else None
    return Board(
        answer=Panel(
            title,
            (profiles(data, sound) if sound.height else None) or check_table(data.checks, data.text_runs),
            statements,
            say=(
                slide_wording.meaning_of("estimated dimension"),
                *_origin_lines(data),
                *([] if found is None or found.by_types else [comparability_text(found)]),
                _("Neither larger nor smaller is better: it says how words spread, not how well a model works."),
            ),
        ),
        number=number,
        meaning=meaning,
        sure=_verdict(sound),
        decision=_decision(data, sound),
        looks=tuple(_looks(data, sound)),
        evidence=_evidence(data, sound),
        compared=_compared(data, sound),
        tables=TABLES,
        judged=_("Marks: does the rise or the fall hold?"),
    )


def _comparison_board(data: DeckData, comparison: Comparison, sound: pl.DataFrame) -> Board:
    """Two models on one text: which reads it better, then at what size; their shapes, which decide nothing here, stand in the
    appendix."""
    best, other = comparison.by_loss
    loss, names = comparison.differences[0].loss, run_wording.model_labels(comparison)
    assert best.loss is not None and other.loss is not None
    interval = slide_wording.limits_text(best.loss.lower, best.loss.upper)
    return Board(
        answer=Panel(
            _(
                "{answer}: {bits} against {own} bits per byte",
                answer=run_wording.better_text(comparison),
                bits=wording.number(best.loss.value),
                own=wording.number(other.loss.value),
            ),
            loss_chart([(names[one.run.run_id], one.loss) for one in (best, other) if one.loss is not None]),
            (Statement(run_wording.difference_text(loss)),),
            say=(
                _("Bits per byte compare models of any tokenizer."),
                *run_wording.comparison_note_lines(comparison),
                *_origin_lines(data),
            ),
        ),
        number=wording.number(best.loss.value),
        meaning=_("bits per byte, lower is better {interval}", interval=interval).rstrip(),
        sure="holds" if loss.is_told_apart else "unclear",
        decision=Decision(_("One text shortlists; your own task decides"), (test_on_task(), _pilot(data), stop())),
        looks=tuple(_other_samples(data)),
        compared=_readers(comparison, sound),
        tables=(*TABLES, "runs", "models"),
    )


# --- which runs --------------------------------------------------------------------------------------------------


def n_models(runs: pl.DataFrame) -> int:
    return counted(runs["model_id"].n_unique(), "runs")


def one_run_per_model(data: DeckData) -> pl.DataFrame:
    """One run per model: of several, the newest that no check vetoes."""
    newest = data.text_runs.sort(is_vetoed(), "run_id", descending=[False, True], maintain_order=True)
    return newest.unique("model_id", keep="first", maintain_order=True).sort("name")


def _usable_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """Runs with a dimension that no check vetoes."""
    return runs.filter(~is_vetoed(), pl.col("inner_max").is_not_null())


def _drawn(data: DeckData, sound: pl.DataFrame) -> pl.DataFrame:
    """Of more than two models the most that compare by `comparability`: of one group and one number format."""
    if sound.height <= 2:
        return sound
    of_groups = (sound.filter(pl.col("run_id").is_in(ids_of(group.rows))) for group in data.groups)
    alike = (part for group in of_groups for part in group.partition_by("dtype", maintain_order=True))
    return max(alike, key=lambda part: part.height)


def _n_compared(data: DeckData, sound: pl.DataFrame) -> int:
    """How many of several models have dimensions that compare, one point per type; 0 where no two do."""
    if sound.height == 2:
        return counted(2 * comparability(*records(sound, Run)).by_types, "runs")
    n = _drawn(data, sound).height
    return counted(n if n > 1 else 0, "runs")


# --- the answer --------------------------------------------------------------------------------------------------


def _answer(data: DeckData, runs: pl.DataFrame, sound: pl.DataFrame) -> tuple[str, str, str, tuple[Statement, ...]]:
    """Title, number, what that is, and what stands below; of several models no range over what does not compare."""
    n = counted(sound.height, "runs")
    if sound.is_empty():
        total = counted(runs.height, "runs")
        title = _("{n} of {total} models have numbers that can be relied on", n=n, total=total)
        return title, Text("{} / {}").format(n, total), slide_wording.checks_text(runs), ()
    told = sorted(rows_of(sound, Run), key=lambda run: run.inner_max or 0.0)
    least, most = told[0], told[-1]
    labels = {"rise": _("Rises inside"), "fall": _("Falls towards the end")}
    verdicts = tuple(Statement(_verdicts_text(sound, claim), label) for claim, label in labels.items())
    low, high = (wording.rounded(run.inner_max) for run in (least, most))
    if len(told) == 1:
        title = _(
            "{name}: dimension {start} at the start, a peak of {top} inside, {end} at the end",
            name=shortened_name(most.name, 40),
            start=wording.rounded(most.embedding_dimension),
            top=high,
            end=wording.rounded(most.final_dimension_pre_norm),
        )
        meaning = _(
            "largest inner dimension {interval}, layer {layer}",
            interval=slide_wording.limits_text(most.inner_max_lower, most.inner_max_upper),
            layer=layer_text(most.inner_max_layer, most.n_layers),
        )
        return title, high, meaning, verdicts
    n_compared = _n_compared(data, sound)
    if n_compared == len(told):
        title = _(
            "{n} models, from {one} ({low}) to {other} ({high}): none is thereby better",
            n=n,
            one=shortened_name(least.name, 30),
            low=low,
            other=shortened_name(most.name, 30),
            high=high,
        )
        number = low if low == high else Text("{}–{}").format(low, high)
        return title, number, _("largest inner dimension, {n} models", n=n), verdicts
    title = _("On token types, {compared} of {n} models have dimensions that compare", compared=n_compared, n=n)
    return title, Text("{} / {}").format(n_compared, n), _("models whose dimensions compare"), verdicts


def _verdicts_text(runs: pl.DataFrame, claim: str) -> str:
    """`◐ depends` of one model; `✓ holds 3, ◐ depends 6` of several."""
    verdicts = Counter(key or "untested" for key in runs[f"verdict_{claim}"])
    if runs.height == 1:
        return sure_name(*verdicts)
    return _(", ").join(
        Text("{} {}").format(sure_name(sure), derived(verdicts[sure], "run_summaries", f"verdict_{claim}"))
        for sure in VERDICTS
        if sure in verdicts
    )


def _verdict(sound: pl.DataFrame) -> Sure:
    """Of the shape of all models together: it holds where it does in each of them."""
    found: set[Any] = {key or "untested" for claim in CLAIMS for key in sound[f"verdict_{claim}"]}
    return "untested" if not found else found.pop() if len(found) == 1 else "depends"


def _origin_lines(data: DeckData) -> Iterator[str]:
    """What ships with Workdim, and what is left out."""
    shipped = data.text_runs["tags"].list.contains(SHIPPED)
    if shipped.any():
        n, total = counted(int(shipped.sum()), "runs"), counted(data.text_runs.height, "runs")
        yield _("{n} of {total} profiles come with Workdim, measured elsewhere.", n=n, total=total)
    if data.left_out:
        names = slide_wording.short_names_text(data.left_out)
        yield _("Left out, as their protocols give no verdict: {names}.", names=names)


# --- pictures ----------------------------------------------------------------------------------------------------


def profiles(data: DeckData, sound: pl.DataFrame) -> Visual | None:
    """The curves on one scale, or a gallery of many, and of models that do not compare; vetoed ones are drawn grey beside few
    others."""
    drawn = _drawn(data, sound)
    is_one_scale = sound.height < 2 or _n_compared(data, sound) > 0
    if drawn.height > MOST_CURVES or not is_one_scale:
        gallery = profile_gallery(data.estimates, drawn if is_one_scale else sound, is_one_scale)
        return gallery and told_drawn(gallery, n_models(data.text_runs), "runs")
    left_out = vetoed(one_run_per_model(data)).head(MOST_CURVES - drawn.height)
    return profile_chart(data.estimates, pl.concat([drawn, left_out]))


def _evidence(data: DeckData, sound: pl.DataFrame) -> Panel | None:
    if sound.height > 1:
        if not _n_compared(data, sound):  # one axis would compare them
            return None
        chart = told_drawn(dimension_chart(_drawn(data, sound)), n_models(data.text_runs), "runs")
        return Panel(_("Where intervals overlap, models are not told apart"), chart)
    claims = data.claims.filter(pl.col("run_id").is_in(ids_of(sound)))
    rises = rise_chart(claims, _("the method of slide 1"))
    if rises is None:
        return None
    rise, n = _outcome_counts(claims, "rise")
    title = _("{rise} of {n} methods show the rise inside", rise=rise, n=n)
    return Panel(title, replace(rises, key=wording.joined_sentences((rises.key, _checks_sentence(data)))))


def _checks_sentence(data: DeckData) -> str:
    return _("{text}.", text=slide_wording.checks_text(data.text_runs))


def _outcome_counts(claims: pl.DataFrame, claim: str) -> tuple[int, int]:
    """By how many of the core methods a claim holds, and how many these are."""
    rows = claims.filter(claim=claim, is_core=True)
    yes, n = rows.filter(outcome="yes").height, rows.height
    return derived(yes, "run_claims", f"yes({claim})"), counted(n, "run_claims")


def _compared(data: DeckData, sound: pl.DataFrame) -> Panel | None:
    if sound.height < 2:
        return None
    n, n_compared = counted(sound.height, "runs"), _n_compared(data, sound)
    ordered = sound.sort("inner_max", "run_id", descending=[True, False]) if n_compared == n else sound
    return Panel(
        _("{n} models side by side, {compared} comparable", n=n, compared=n_compared),
        table_of_models(
            (
                _("Model"),
                _("Largest inner dimension"),
                _("After the last block"),
                _("Rise, fall"),
                _("Bits per byte, lower is better"),
            ),
            [
                (
                    shortened_name(run.name, 30),
                    wording.interval_of(run, "inner_max"),
                    wording.interval_of(run, "final_dimension_pre_norm"),
                    verdict_marks(run),
                    wording.number(run.bits_per_byte),
                )
                for run in rows_of(ordered, Run)
            ],
            "runs",
            _("{text}.", text=verdict_legend_text()),
            _checks_sentence(data),
        ),
    )


def _readers(comparison: Comparison, sound: pl.DataFrame) -> Panel:
    """Two models that have read one text: how well, with their dimensions on the points that compare, and how large they are."""
    cells = run_wording.comparison_columns(comparison)
    sizes = {run.run_id: run.parameters for run in rows_of(sound, Run)}
    told = {key: wording.number(None if size is None else size / 1e6) for key, size in sizes.items()}
    titles = (*cells, _("Parameters (millions)"))
    rows = [(*(cell(one) for cell in cells.values()), told[one.run.run_id]) for one in comparison.by_loss]
    what, shown = titles[-1], [told[one.run.run_id] for one in comparison.by_loss]
    if comparison.points:  # their dimensions compare, and their intervals stand beneath
        read = [one.dimension for one in comparison.by_loss]
        what, shown = titles[2], [wording.number(one.inner_max if one else None) for one in read]
    models = [Text("{} {}").format(row[0], value) for row, value in zip(rows, shown, strict=True)]
    return Panel(_("{what}: {models}", what=what, models=models), table_of(titles, rows))


# --- other ways of looking, and what comes next -------------------------------------------------------------------


def _looks(data: DeckData, sound: pl.DataFrame) -> Iterator[Look]:
    if sound.is_empty():
        return
    claims = data.claims.filter(pl.col("run_id").is_in(ids_of(sound)))
    for claim, label in (("rise", _("Rise by other methods")), ("fall", _("Fall by other methods"))):
        yield _methods(label, claims, claim, set(sound[f"verdict_{claim}"]))
    yield controls_look(data.outcomes_of_controls(sound["run_id"]), N_CONTROLS * n_models(sound), data.text_runs)
    yield from _other_samples(data)


def _methods(label: str, claims: pl.DataFrame, claim: str, verdicts: Set[str]) -> Look:
    """Of one model how many methods say so, where one that is too small to count does no harm, as in the verdict; of
    several, of how many models all methods say the same."""
    rows = claims.filter(claim=claim, is_core=True)
    yes, n = _outcome_counts(claims, claim)
    if not n:
        return Look(label, "untested", _("not computed"))
    kinds = rows.group_by("run_id").agg(pl.col("outcome").n_unique())["outcome"]
    if len(kinds) > 1:
        return _same_verdicts(label, int((kinds == 1).sum()), len(kinds), "run_claims")
    says_no = set(rows["outcome"]) & {"no", "opposite"}
    does_hold = yes == n or verdicts == {"mostly_holds"}
    sure: Sure = "holds" if does_hold else "unclear" if not says_no else "depends" if yes else "fails"
    return Look(label, sure, _("{yes} of {n} say so", yes=yes, n=n), agrees=True if sure == "fails" else None)


def _same_verdicts(name: str, same: int, n: int, table: str) -> Look:
    told = _(
        "same verdicts for {same} of {n} model",
        "same verdicts for {same} of {n} models",
        n=counted(n, table),
        same=derived(same, table, "same verdicts"),
    )
    return Look(name, "holds" if same == n else "depends", told)


def _other_samples(data: DeckData) -> Iterator[Look]:
    """Whether the verdicts of each model are the same on each text, and in each sample."""
    for name, column, table in ((_("Second text"), "corpus_id", "corpora"), (_("Second sample"), "seed", "runs")):
        by_model = data.text_runs.group_by("model_id", maintain_order=True).agg(
            pl.col(column).n_unique().alias("n"), *(pl.col(f"verdict_{claim}").n_unique() for claim in CLAIMS)
        )
        several = by_model.filter(pl.col("n") > 1)
        same = several.filter(*(pl.col(f"verdict_{claim}") == 1 for claim in CLAIMS)).height
        untried = Look(name, told=slide_wording.untried_text(n_models(data.text_runs), data.text_runs))
        yield untried if several.is_empty() else _same_verdicts(name, same, several.height, table)


def _decision(data: DeckData, sound: pl.DataFrame) -> Decision:
    """What is asked is what is recommended: numbers to rely on, then controls, then a question."""
    n, runs = n_models(data.text_runs), data.text_runs
    if sound.is_empty():
        again = Option(_("Measure again on more text"), _("numbers to rely on"), slide_wording.time_text(n, runs))
        return Decision(_("Nothing rests on numbers that a check vetoes"), (again, stop()))
    reasons = {key for claim in CLAIMS for key in sound[f"reasons_{claim}"].explode()}
    if reasons & OPEN_CONTROLS:  # of what a check vetoes no control tells anything
        n_passes = counted(N_CONTROLS * n_models(sound), "runs")
        time = slide_wording.time_text(n_passes, runs)
        controls = Option(_("Measure controls"), _("whether training makes the shape"), time)
        title = _("{n} control passes must still tell whether training makes the shape", n=n_passes)
        return Decision(title, (controls, _pilot(data), stop()))
    title = _("A question with a benchmark would decide; these numbers describe")
    return Decision(title, (_pilot(data), stop()))


def _pilot(data: DeckData) -> Option:
    """As many models as a test takes, those that were measured among them."""
    n = n_models(data.text_runs)
    what = _("Register a pilot: {n} models, one benchmark", n=max(n, FEWEST_TEST))
    time = slide_wording.time_text(FEWEST_TEST - n, data.text_runs) if n < FEWEST_TEST else _("scores only")
    return Option(what, _("related to scores or not"), time)
