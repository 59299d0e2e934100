"""The appendix of a deck: method, values, specifications, checks, provenance, SQL, glossary, limits, and on request a slide
for each run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

import polars as pl

from core import wording
from core.analysis.ranking import default_benchmark
from core.analysis.relation import MARGIN
from core.analysis.units import FEWEST_TEST
from core.deck import appendix_values
from core.deck.deck_data import DeckData
from core.deck.slide import reference_slide, reference_slides
from core.deck.story import Column, Row, Statement, StorySlide
from core.locale import _, glossary
from core.records import without_places
from core.sources import Text, counted, shown
from core.tables.sourced import rows_of
from core.wording import plans as plan_wording
from core.wording.labels import name, shortened_name
from core.wording.limits import limits
from core.wording.numbers import day

SECTIONS = ("method", "values", "specifications", "checks", "provenance", "sql", "glossary", "limits", "run")
"""Keys of the appendix's slides in their order; those of one section have it before a hyphen."""
TERMS = (
    "estimated dimension",
    "d2",
    "layer profile",
    "working dimension",
    "final dimension",
    "one per type",
    "control",
    "specification",
    "holds",
    "depends",
    "unclear",
    "untested",
    "check: passed, veto",
    "95 % interval",
)
"""Terms of the glossary that a deck uses, by their English names."""
COMMIT = re.compile(r"@([0-9a-f]{12})[0-9a-f]{28}$")
LIBRARIES = ("torch", "transformers", "numpy")


def appendix(data: DeckData, per_run: bool) -> Iterator[StorySlide]:
    yield _method(data)
    if data.runs.height:
        yield from appendix_values.values(data)
        yield from appendix_values.specifications(data)
        yield appendix_values.checks(data)
        yield from _provenance(data)
        yield _sql(data)
    else:
        yield from _plan_provenance(data)
    yield from _glossary(data)
    yield from _limits(data)
    if per_run:
        yield from appendix_values.each_run(data)


# --- method and words ------------------------------------------------------------------------------------------


def _method(data: DeckData) -> StorySlide:
    statements = [
        Statement(
            _(
                "A text is cut into windows and read by the model. Of every layer the hidden states are taken, one point for "
                "each token type, after one mask for all layers: position 0, special tokens, and norms far above the layer's "
                "median are left out."
            ),
            _("What is measured"),
        ),
        Statement(
            _(
                "{definition} Intervals are a jackknife over blocks of neighbouring windows, Student's t, on the logarithm."
            ).format(definition=wording.own_definition_text()),
            _("Estimated dimension"),
        ),
        Statement(
            _(
                "Two claims: the dimension rises inside; it falls towards the end. Holds: the ratio exceeds 1.1 beyond its "
                "error under every core specification, and beyond a control that could have shown it. Depends: it does under "
                "one and not under another."
            ),
            _("Verdicts"),
        ),
        Statement(
            _(
                "Spearman's rho over models, a permutation test, a bootstrap interval. Related: p of at most 0.05 from {n} "
                "models on, where it was registered before the scores. What nobody registered is a hint at most, with p corrected "
                "for all that can be looked at. Not related: the 90 % interval lies within ±{margin}. Else nobody can tell."
            ).format(n=FEWEST_TEST, margin=MARGIN),
            _("Relation to scores"),
        ),
    ]
    if data.plan is not None:
        statements[2:] = [
            Statement(
                _(
                    "Blocks are left out of the running network. One half of the text chooses them, the other half prices "
                    "them: the rise of the loss, paired window by window, with a 95 % interval. It is held against random "
                    "sets of as many blocks."
                ),
                _("Layer plan"),
            )
        ]
    return reference_slide(data, "method", _("How the numbers are made"), statements)


def _glossary(data: DeckData) -> Iterator[StorySlide]:
    terms = {term.en: (term.name(data.language), term.meaning(data.language)) for term in glossary()}
    rows: list[Row] = [terms[term] for term in TERMS]
    rows += [
        (_("power"), _("How likely a control would have shown the claim, had it the same shape. Below 50 % its silence says nothing.")),
        (_("registered"), _("Written down before the scores existed; everything else is exploratory.")),
        (_("rho"), _("Rank correlation: 1 or −1 where the orders by dimension and by score agree or are reversed, 0 where they are unrelated.")),
        (_("nats per token"), _("Unit of the loss: how badly the next token is predicted. 0.05 nats are about 5 % more perplexity.")),
    ]  # fmt: skip
    yield from reference_slides(
        data,
        "glossary",
        _("What {n} words mean").format(n=counted(len(rows), "glossary")),
        (Column(_("Word"), 0.24), Column(_("Meaning"), 0.76)),
        rows,
        _("Table of words and their meanings."),
    )


def _limits(data: DeckData) -> Iterator[StorySlide]:
    columns = (Column(_("Question"), 0.31), Column(_("Why it stays open"), 0.69))
    alternative = _("Table of open questions and the reasons why these runs do not answer them.")
    if data.plan is not None and not data.runs.height:
        rows: list[Row] = [(_("What limits this plan?"), line) for line in plan_wording.note_lines(data.plan.plan)]
        same, alone = (
            _("Would another text give the same price?"),
            _("One text only: others were read as harder tests alone."),
        )
        rows.append((same, alone))
    else:
        open_questions = limits(
            data.runs, data.checks, data.against_controls, data.scored, data.word_groups, data.pilot, data.answer
        )
        rows = [(limit.question, limit.reason) for limit in open_questions]
    title = _(
        "What this deck cannot decide: {n} question",
        "What this deck cannot decide: {n} questions",
        n=counted(len(rows), "limits"),
    )
    yield from reference_slides(data, "limits", title, columns, rows, alternative)


# --- provenance ------------------------------------------------------------------------------------------------


def _provenance(data: DeckData) -> Iterator[StorySlide]:
    columns = (
        Column(_("Model and revision"), 0.22),
        Column(_("Text and hash"), 0.16),
        Column(_("Run"), 0.25),
        Column(_("Pass"), 0.1),
        Column(_("N"), 0.05, is_number=True),
        Column(_("Seed"), 0.05, is_number=True),
        Column(_("Format, device"), 0.09),
        Column(_("Day"), 0.08),
    )
    rows = [
        (
            shortened_name(COMMIT.sub(r"@\1", run["model_id"]), 30),
            shortened_name(run["corpus_id"], 22),
            run["run_id"],
            name("pass", run["pass"]),
            "–" if run["n_points"] is None else shown(run["n_points"], ","),
            str(run["seed"]),
            f"{run['dtype']}, {run['device']}",
            run["started_at"].date().isoformat(),
        )
        for run in rows_of(data.runs)
    ]
    protocols = data.runs.select("protocol", "protocol_hash").unique(maintain_order=True).rows()
    key = _("Protocols: {protocols}. Workdim {code}; {libraries}.").format(
        protocols=_(", ").join(f"{protocol} {hash_}" for protocol, hash_ in protocols[:4]),
        code=", ".join(sorted(set(data.runs["code_version"]))[:3]),
        libraries=_versions(data.runs),
    )
    yield from reference_slides(
        data,
        "provenance",
        _("Provenance of {n} run", "Provenance of {n} runs, controls included", n=counted(data.runs.height, "runs")),
        columns,
        rows,
        _("Table of the runs with model revision, text, sample size, seed, number format and date."),
        key,
        tables=("runs", "models", "corpora"),
        runs=data.runs,
        sources=[f"{run['model_id']}, {run['run_id']}, {run['corpus_id']}" for run in rows_of(data.runs)],
    )


def _versions(runs: pl.DataFrame) -> str:
    """`torch 2.13.0, numpy 2.3.1, 2.4.0`: all versions that occur."""
    all_versions = [json.loads(text or "{}") for text in runs["library_versions"].unique()]
    versions = (
        (library, sorted({str(recorded[library]) for recorded in all_versions if library in recorded}))
        for library in LIBRARIES
    )
    return ", ".join(f"{library} {', '.join(found)}" for library, found in versions if found) or "–"


def _plan_provenance(data: DeckData) -> Iterator[StorySlide]:
    assert data.plan is not None
    plan = data.plan.plan
    rows: list[Row] = [
        (_("Plan"), plan.plan_id),
        (_("Model"), plan.model_id),
        (_("Hash of the weights"), plan.weights_sha256),
        (_("Text and hash"), plan.corpus_id),
        (_("Windows"), Text("{} + {}; {}").format(plan.n_selection, plan.n_verification or 0, plan.n_tokens)),
        (_("Seed"), str(plan.seed)),
        (_("Format, device"), f"{plan.dtype}, {plan.device}; {day(plan.created_at.date())}"),
        (_("Program"), f"Workdim {plan.code_version}"),
        (_("Asked for"), shortened_name(_options_text(plan.config), 400)),
    ]
    yield from reference_slides(
        data,
        "provenance",
        _("Provenance of 1 layer plan"),
        (Column(_("What"), 0.24), Column(_("Value"), 0.76)),
        rows,
        _("Table of what the layer plan was made from."),
        tables=("plans",),
    )


def _options_text(config: str) -> str:
    """`budget 0.05, budget_unit nats, verify, seed 0`: the options that were set, with only the last part of paths."""
    options = without_places(json.loads(config))
    set_options = {
        key: value for key, value in options.items() if value is not None and value is not False and value != []
    }
    return ", ".join(
        key if value is True else f"{key} {'+'.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in set_options.items()
    )


def _sql(data: DeckData) -> StorySlide:
    """Queries that give the same numbers from the warehouse, each one SELECT, as `workdim sql` takes it."""
    if data.pilot is not None:
        condition = f"run_id IN (SELECT run_id FROM pilot_runs WHERE pilot_id = '{data.pilot.pilot_id}')"
    else:
        ids = data.text_runs["run_id"].to_list()
        # Of many runs only the random ends of their ids: forty whole ids would fill the slide.
        condition = (
            f"run_id IN ({sql_strings(ids)})" if len(ids) <= 3 else f"right(run_id, 8) IN ({sql_strings(ids, 8)})"
        )
    queries = [
        (
            _("Dimensions and verdicts"),
            "SELECT run_id, inner_max, inner_max_layer, final_dimension_pre_norm, verdict_rise, verdict_fall "
            f"FROM run_summaries WHERE estimator = 'd2' AND cloud = 'one_per_type' AND {condition}",
        ),
        (
            _("Profiles"),
            "SELECT layer, value, lower, upper FROM layer_estimates WHERE estimator = 'd2' AND cloud = 'one_per_type' "
            f"AND transform = 'centred' AND state = 'residual' AND {condition} ORDER BY run_id, layer",
        ),
        (_("Checks"), f"SELECT * FROM run_checks WHERE {condition}"),
        (_("Controls"), f"SELECT * FROM run_controls WHERE {condition}"),
    ]
    benchmark = default_benchmark(data.scored, data.pilot)
    if benchmark is not None:
        queries.append(
            (
                _("Scores"),
                "SELECT repository, revision, value, std_error, source FROM scores "
                f"WHERE benchmark = {sql_strings([benchmark['benchmark']])} AND metric = {sql_strings([benchmark['metric']])}",
            )
        )
    return reference_slide(
        data,
        "sql",
        _("{n} queries give the same numbers").format(n=counted(len(queries), "queries")),
        [Statement(query, label) for label, query in queries],
    )


def sql_strings(texts: Sequence[str], of_end: int = 0) -> str:
    """Texts as SQL literals; with `of_end` only so many of their last characters."""
    return ", ".join("'" + text[-of_end:].replace("'", "''") + "'" for text in texts)
