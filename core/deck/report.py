"""A report: from a recipe and the data read for it to a story, its numbers with their sources, and files.

The story has at most five slides, described by the `Board` of the case that the data are in, and on request an appendix.
Nothing is claimed from what a check vetoed, from what no control confirms, or from a control without power.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import compress

import polars as pl

from core import wording
from core.analysis.ranking import default_benchmark, filter_benchmark
from core.analysis.relation import MARGIN
from core.analysis.units import FEWEST_TEST
from core.deck import html
from core.deck.board import check_table, five_slides, make_slide, table_slides
from core.deck.choice_board import choice_board
from core.deck.deck_data import DeckData, deck_data, plan_data
from core.deck.embedded_sources import embed_sources
from core.deck.pilot_board import pilot_board
from core.deck.plan_board import plan_board
from core.deck.powerpoint import draw_deck
from core.deck.profile_board import profile_board, profiles
from core.deck.story import Heading, Origin, Row, Statement, Story, StorySlide, numbers_of, texts_of
from core.deck.template import Template
from core.locale import N_, _, glossary, speaking, translated
from core.pilots.saved import Recipe
from core.questions.choice import ReportedRuns
from core.records import LayerPlan, without_places
from core.sources import Text, counted, derived, shown
from core.tables import RecipeNumberRow, Run, ScoredRun, ids_of
from core.tables.sourced import rows_of
from core.wording import plans as plan_wording
from core.wording.labels import day, is_vetoed, layer_text, run_labels, shortened_name, with_error
from core.wording.runs import group_name, limits
from core.wording.scores import row_benchmark_name
from core.wording.verdicts import verdict_legend_text, verdict_marks


@dataclass(frozen=True)
class Report:
    """The content of a report, not yet drawn."""

    recipe: Recipe
    story: Story
    numbers: tuple[RecipeNumberRow, ...]

    def powerpoint(self, version: str, warehouse_id: str, template: Template | None = None) -> bytes:
        """The deck as .pptx, with its recipe, its numbers and their sources embedded."""
        origin = Origin(self.recipe, version, warehouse_id)
        return draw_deck(self.story, template, lambda deck: embed_sources(deck, self.story, self.numbers, origin))

    def page(self, version: str, warehouse_id: str, bundle: str = "") -> bytes:
        """The same story as one HTML file; `bundle` is the name of the file with the rows behind it."""
        return html.render_html(self.story, Origin(self.recipe, version, warehouse_id), bundle)


def report_of(found: LayerPlan | ReportedRuns, recipe: Recipe, made_on: date | None = None) -> Report:
    """The report of a recipe; `found` is what was read for it."""
    with speaking(recipe.language):
        data = plan_data(found, made_on) if isinstance(found, LayerPlan) else deck_data(found, made_on)
    who, when = recipe.decided_by or data.decided_by, recipe.day or data.decide_by
    story = build_story(replace(data, decided_by=who, decide_by=when), recipe.appendix)
    return Report(recipe, story, tuple(numbers_of(story, recipe.recipe_id)))


def build_story(data: DeckData, with_appendix: bool = False) -> Story:
    with speaking(data.language):
        slides = tuple(_slides(data))
        more = tuple(appendix(data, slides)) if with_appendix else ()
        return Story(data.language, data.made_on, slides[0].title, slides, more)


def _slides(data: DeckData) -> Iterable[StorySlide]:
    if data.plan is not None:
        return five_slides(data, plan_board(data), None)
    if data.choice is not None:
        return five_slides(data, choice_board(data), data.text_runs)
    if data.answer is not None:
        return five_slides(data, pilot_board(data), data.answer.population.rows)
    return five_slides(data, profile_board(data), data.text_runs)


# --- the appendix: method in half a page, values, checks, provenance, queries, the words that it uses, limits ------

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
    "mostly holds",
    "depends",
    "fails",
    "unclear",
    "untested",
    "not usable",
    "veto",
    "95 % interval",
    "registered",
    "hint",
    "rank",
    "rule",
    "layer plan",
    "loss",
    "repair",
)
"""Terms of the glossary that a deck may use, by their English names."""
LIBRARIES = ("torch", "transformers", "numpy")


def appendix(data: DeckData, slides: Sequence[StorySlide]) -> Iterator[StorySlide]:
    """Pages behind `slides`, in smaller letters; those of one section have its key before a hyphen."""
    yield _method(data)
    if data.plan is None:
        if data.comparison is not None:  # whose core slides tell readers apart by their loss
            yield make_slide("profiles", _("Profiles"), (), profiles(data, data.text_runs), ("layer_estimates",))
        yield from _values(data)
        title = _("Quality checks of measurements: {n}", n=counted(data.text_runs.height, "runs"))
        table = check_table(data.checks, data.text_runs)
        yield make_slide("checks", title, (), table, ("run_checks",), data.text_runs)
        yield from _provenance(data)
    else:
        yield from _plan_provenance(data)
    yield _sql(data)
    yield from _glossary(data, slides)
    yield from _limits(data)


# --- method and words ------------------------------------------------------------------------------------------


def _method(data: DeckData) -> StorySlide:
    """In half a page; what verdicts mean stands among the words."""
    statements = [
        Statement(
            _(
                "A model reads the text in windows. Each layer gives one point for each token type, without position 0, special "
                "tokens and norms far above the layer's median."
            ),
            _("What is measured"),
        ),
        Statement(
            _(
                "{definition} Intervals: a jackknife over neighbouring windows.",
                definition=wording.own_definition_text(),
            ),
            _("Estimated dimension"),
        ),
    ]
    if data.plan is None:
        told = _(
            "Spearman's rho over models, with a bootstrap interval. Related: p of at most 0.05 from {n} models on, registered "
            "before the scores; without that a hint, p corrected for all looks, rho's interval without 0. Not related: the 90 % interval lies within ±{margin}."
        )
        statements.append(Statement(told.format(n=FEWEST_TEST, margin=MARGIN), _("Relation to scores")))
    else:
        told = _(
            "One half of the text chooses the blocks, the other measures the rise of the loss, "
            "against random sets of as many."
        )
        statements.append(Statement(told, _("Layer plan")))
    return make_slide("method", _("How the numbers are made"), statements)


def _glossary(data: DeckData, slides: Sequence[StorySlide]) -> Iterator[StorySlide]:
    """The words that stand on these slides, with their meanings."""
    said = " ".join(text for slide in slides for _place, text in texts_of(slide)).lower()
    terms = {term.en: (term.name(data.language), term.meaning(data.language)) for term in glossary()}
    used = [terms[term] for term in TERMS if terms[term][0].lower() in said]
    if used:
        yield from table_slides(
            "glossary", _("What {n} words mean", n=counted(len(used), "glossary")), (_("Word"), _("Meaning")), used
        )


def _limits(data: DeckData) -> Iterator[StorySlide]:
    titles = (_("Question"), _("Why it is unclear"))
    if data.plan is not None:
        rows: list[Row] = [(_("What limits this plan?"), line) for line in plan_wording.note_lines(data.plan.plan)]
    else:
        rows = list(limits(data.text_runs, data.against_controls, data.word_groups))
    if not rows:
        return
    yield from table_slides("limits", _("What this deck cannot decide"), titles, rows)


# --- provenance ------------------------------------------------------------------------------------------------


def _provenance(data: DeckData) -> Iterator[StorySlide]:
    """The runs on text with their whole names; the notes have the controls as well."""
    rows = [
        (
            run.model_id,
            run.corpus_id,
            run.run_id,
            "–" if run.n_points is None else shown(run.n_points, ","),
            f"{run.dtype}, {run.device}",
        )
        for run in rows_of(data.text_runs, Run)
    ]
    protocols = data.runs.select("protocol", "protocol_hash").unique(maintain_order=True).rows()
    key = _(
        "Protocols: {protocols}. Workdim {code}; {libraries}.",
        protocols=[f"{protocol} {hash_}" for protocol, hash_ in protocols[:4]],
        code=sorted(set(data.runs["code_version"]))[:3],
        libraries=_versions(data.runs),
    )
    yield from table_slides(
        "provenance",
        _("Provenance"),
        (_("Model and revision"), _("Text and hash"), _("Run"), _("N"), _("Format, device")),
        rows,
        key,
        tables=("runs", "models", "corpora"),
        runs=data.runs,
        sources=[
            f"{run.model_id}, {run.run_id}, {run.corpus_id}, {run.pass_}, {run.started_at.date()}"
            for run in rows_of(data.runs, Run)
        ],
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
    n_verified = derived(0, "plans", "n_verification") if plan.n_verification is None else plan.n_verification
    rows: list[Row] = [
        (_("Plan"), plan.plan_id),
        (_("Model"), plan.model_id),
        (_("Hash of the weights"), plan.weights_sha256),
        (_("Text and hash"), plan.corpus_id),
        (_("Windows"), Text("{} + {}; {}").format(plan.n_selection, n_verified, plan.n_tokens)),
        (_("Seed"), str(plan.seed)),
        (_("Format, device"), f"{plan.dtype}, {plan.device}; {day(plan.created_at.date())}"),
        (_("Program"), f"Workdim {plan.code_version}"),
        (_("Asked for"), shortened_name(_options_text(plan.config), 400)),
    ]
    yield from table_slides("provenance", _("Provenance"), (_("What"), _("Value")), rows, tables=("plans",))


def _options_text(config: str) -> str:
    """`budget 0.05, budget_unit nats, verify True, seed 0`: the options that were set, with only the last part of paths."""
    options = without_places(json.loads(config))
    is_set = (value is not None and value is not False and value != [] for value in options.values())
    return ", ".join(f"{key} {value}" for key, value in compress(options.items(), is_set))


def _sql(data: DeckData) -> StorySlide:
    """Queries that give the same numbers from the warehouse, each one SELECT, as `workdim sql` takes it."""
    if data.plan is not None:
        queries = {"": f"plan_outcomes WHERE plan_id = {sql_strings([data.plan.plan.plan_id])}"}
    else:
        condition = f"right(run_id, 8) IN ({sql_strings([run_id[-8:] for run_id in ids_of(data.text_runs)])})"
        if data.pilot_id is not None:
            condition = f"run_id IN (SELECT run_id FROM pilot_runs WHERE pilot_id = '{data.pilot_id}')"
        of_d2 = f"estimator = 'd2' AND cloud = 'one_per_type' AND {condition}"
        of_profile = "transform = 'centred' AND state = 'residual'"
        queries = {
            _("Dimensions and verdicts"): f"run_summaries WHERE {of_d2}",
            _("Profiles"): f"layer_estimates WHERE {of_profile} AND {of_d2} ORDER BY run_id, layer",
            _("Checks"): f"run_checks WHERE {condition}",
            _("Controls"): f"run_controls WHERE {condition}",
        }
        if benchmark := default_benchmark(data.scored, data.pilot):
            named = (f"{column} = {sql_strings([benchmark[column]])}" for column in ("benchmark", "metric"))
            queries[_("Scores")] = f"scores WHERE {' AND '.join(named)}"
    statements = [Statement(f"SELECT * FROM {query}", label) for label, query in queries.items()]
    return make_slide("sql", _("Queries that give the same numbers"), statements)


def sql_strings(texts: Sequence[str]) -> str:
    """Texts as SQL literals."""
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)


# --- values -------------------------------------------------------------------------------------------------------

MATCHES = {
    "revision_not_stated": N_("† revision not stated"),
    "mapped": N_("* by an alias"),
    "base": N_("° of the base model, which tests nothing"),
}
"""What is said of scores that may belong to another revision or model; its first letter stands behind them."""


def _values(data: DeckData) -> Iterator[StorySlide]:
    """All dimensions, by comparison group, with the scores of one benchmark."""
    score_title, scores = _("Score"), dict[str, dict[str, None]]()
    if benchmark := default_benchmark(data.scored, data.pilot):
        score_title = row_benchmark_name(benchmark)
        if data.pilot is not None:
            standing = _("registered") if data.pilot.benchmark.is_met_by(benchmark) else _("exploratory")
            score_title = _("{name}: {relation}", name=score_title, relation=standing)
        of_benchmark = filter_benchmark(data.scored, benchmark).filter(pl.col("score_match") != "none")
        for row in rows_of(of_benchmark, ScoredRun):
            mark = MATCHES.get(row.score_match, "")[:1]
            told = Text("{} {}").format(with_error(row.score, row.score_std_error), mark).rstrip()
            scores.setdefault(row.run_id, {})[told] = None
    across = [group for group in data.word_groups if group.rows["tokenizer_hash"].n_unique() > 1]
    groups = [*data.groups, *across]
    rows: list[Row] = []
    for group in groups:
        if len(groups) > 1:
            heading = _("Across tokenizers, one point per word: {group}") if group.is_by_words else "{group}"
            rows.append(Heading(Text(heading).format(group=group_name(group))))
        labels = run_labels(group.rows)
        rows += [
            (
                labels[run.run_id],
                wording.interval_of(run, "inner_max"),
                layer_text(run.inner_max_layer, run.n_layers),
                wording.interval_of(run, "final_dimension_pre_norm"),
                wording.interval_of(run, "final_dimension_post_norm", _("no final norm")),
                verdict_marks(run),
                _("; ").join(scores.get(run.run_id, ["–"])),
            )
            for run in rows_of(group.rows, Run)
        ]
    titles = (
        _("Model"),
        _("Largest inner dimension"),
        _("At layer"),
        _("Final, before the norm"),
        _("Final, after the norm"),
        _("Verdicts"),
        score_title,
    )
    key = [_("In brackets: 95 % intervals."), _("{text}.", text=verdict_legend_text())]
    matches = set(data.scored["score_match"])
    if marks := [translated(told) for match, told in MATCHES.items() if match in matches]:
        key.append(_("Scores: {marks}.", marks=marks))
    if any(map(is_vetoed, rows_of(data.text_runs, Run))):
        key.append(wording.veto_mark_text())
    title = _("All values (d2, N={size})", size=wording.size_range(data.n_points))
    told_below, tables = wording.joined_sentences(key), ("run_summaries", "scores")
    yield from table_slides("values", title, titles, rows, told_below, tables=tables, runs=data.text_runs)
