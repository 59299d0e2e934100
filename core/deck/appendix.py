"""What stands behind the seven slides: method, values, specifications, checks, provenance, SQL, glossary, limits; and, where
somebody asks for them, slides of each run."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import polars as pl

from core import wording
from core.analysis.ranking import on_benchmark
from core.deck import evidence, layout
from core.deck.deck_data import DeckData
from core.deck.slide import check_table, clean, source_line, use_class
from core.deck.story import Column, Evidence, Heading, Row, Statement, StorySlide, Table
from core.locale import glossary, translator
from core.records import without_places
from core.registry.specifications import CLAIMS, SPECIFICATIONS
from core.wording import pilot_sentences, plans
from core.wording import slides as words
from core.wording.labels import control_name, is_vetoed, layer_text, name, run_labels, shortened
from core.wording.limits import limits
from core.wording.verdicts import (
    claim_name,
    marks_key,
    outcome_mark,
    outcome_of,
    ratio_text,
    specification_name,
    verdict_marks,
    verdict_marks_key,
)

SECTIONS = ("method", "values", "specifications", "checks", "provenance", "sql", "glossary", "limits")
"""Keys of the appendix's slides, in their order; `run` are the slides of each run."""
TERMS = (
    "estimated dimension",
    "d2",
    "layer profile",
    "working dimension",
    "final dimension",
    "one per type",
    "control",
    "specification",
    "robust",
    "depends on the specification",
    "cannot tell",
    "not controlled",
    "check: passed, veto",
    "95 % interval",
)
"""Of the glossary, those that a deck uses; their names in English are its keys."""
POINTS = 11
KEY_ROOM = 0.8
ALL_CHECKS = 16
COMMIT = re.compile(r"@([0-9a-f]{12})[0-9a-f]{28}$")
LIBRARIES = ("torch", "transformers", "numpy")


def appendix(data: DeckData, per_run: bool) -> Iterator[StorySlide]:
    yield _method(data)
    if data.runs.height:
        yield from _values(data)
        yield from _specifications(data)
        yield _checks(data)
        yield from _provenance(data)
        yield _sql(data)
    else:
        yield from _plan_provenance(data)
    yield from _glossary(data)
    yield from _limits(data)
    if per_run:
        yield from _runs(data)


def _slide(
    data: DeckData,
    key: str,
    title: str,
    statements: Sequence[Statement] = (),
    shown: Evidence | None = None,
    tables: Sequence[str] = (),
    run_ids: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> StorySlide:
    """A page to look things up on: nothing is said, and its notes hold the sources alone."""
    return clean(
        StorySlide(
            key,
            layout.cut(title, layout.TEXT_WIDTH, layout.TITLE_SIZES[-1]),
            tuple(statements),
            shown,
            source_line(data, tables, run_ids),
            use_class(data) if words.is_on_every_slide(data.pilot) else "",
            (),
            tuple([", ".join(tables), *sources] if tables else sources),
            tuple(run_ids),
        )
    )


def _paged(
    data: DeckData,
    key: str,
    title: str,
    columns: tuple[Column, ...],
    rows: Sequence[Row],
    alternative: str,
    key_line: str = "",
    tables: Sequence[str] = (),
    run_ids: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> Iterator[StorySlide]:
    """`title (1/2)`, `title (2/2)`: a number only where there are several; the pages are as even as they can be."""
    filled = layout.pages(rows, columns, POINTS, layout.BODY_HEIGHT - (KEY_ROOM if key_line else 0.0))
    for number, page in enumerate(filled, start=1):
        numbered = title if len(filled) == 1 else f"{title} ({number}/{len(filled)})"
        table = Table(columns, tuple(page), alternative, key_line)
        at = key if number == 1 else f"{key}-{number}"
        yield _slide(data, at, numbered, (), table, tables, run_ids, sources)


# --- method and words ------------------------------------------------------------------------------------------


def _method(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    told = [
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
            ).format(definition=wording.own_definition(data.language)),
            _("Estimated dimension"),
        ),
        Statement(
            _(
                "Two claims: the dimension rises inside; it falls towards the end. Robust: the ratio exceeds 1.1 beyond its "
                "error under every core specification, and beyond a control that could have shown it. Depends: it does under "
                "one and not under another."
            ),
            _("Verdicts"),
        ),
        Statement(
            _(
                "Spearman's rho over models, a permutation test, a bootstrap interval. Related: p of at most 0.05 from {n} "
                "models on. Not related: the 90 % interval lies within ±{margin}. Else nobody can tell."
            ).format(n=10, margin="0.5"),
            _("Relation to scores"),
        ),
    ]
    if data.plan is not None:
        told[2:] = [
            Statement(
                _(
                    "Blocks are left out of the running network. One half of the text chooses them, the other half prices "
                    "them: the rise of the loss, paired window by window, with a 95 % interval. It is held against random "
                    "sets of as many blocks."
                ),
                _("Layer plan"),
            )
        ]
    return _slide(data, "method", _("How the numbers are made"), told)


def _glossary(data: DeckData) -> Iterator[StorySlide]:
    _ = translator(data.language)
    known = {term.en: (term.name(data.language), term.meaning(data.language)) for term in glossary()}
    rows: list[Row] = [known[term] for term in TERMS if term in known]
    rows += [
        (_("power"), _("How likely a control would have shown the claim, had it the same shape. Below 80 % its silence says nothing.")),
        (_("registered"), _("Written down before the scores existed; everything else is exploratory.")),
        (_("rho"), _("Rank correlation: 1 or −1 where the orders by dimension and by score agree or are reversed, 0 where they are unrelated.")),
        (_("nats per token"), _("Unit of the loss: how badly the next token is predicted. 0.05 nats are about 5 % more perplexity.")),
    ]  # fmt: skip
    yield from _paged(
        data,
        "glossary",
        _("What {n} words mean").format(n=len(rows)),
        (Column(_("Word"), 0.24), Column(_("Meaning"), 0.76)),
        rows,
        _("Table of words and their meanings."),
    )


def _limits(data: DeckData) -> Iterator[StorySlide]:
    _ = translator(data.language)
    columns = (Column(_("Question"), 0.31), Column(_("Why it stays open"), 0.69))
    alternative = _("Table of open questions and the reasons why these runs do not answer them.")
    if data.plan is not None and not data.runs.height:
        remarks = plans.remarks(data.plan.plan, data.language)
        rows: list[Row] = [(_("What limits this plan?"), line) for line in remarks]
        rows.append(
            (_("Would another text give the same price?"), _("One text only: others were read as harder tests alone."))
        )
    else:
        pilot = data.pilot.pilot if data.pilot else None
        found = limits(
            data.runs, data.checks, data.against_controls, data.scored, data.words, data.language, pilot, data.answer
        )
        rows = [(limit.question, limit.reason) for limit in found]
    yield from _paged(
        data, "limits", _("What this deck cannot decide: {n} questions").format(n=len(rows)), columns, rows, alternative
    )


# --- numbers ---------------------------------------------------------------------------------------------------


def _values(data: DeckData) -> Iterator[StorySlide]:
    """All dimensions, group by group; never one list across groups."""
    _ = translator(data.language)
    chosen = pilot_sentences.shown_first(data.scored, data.pilot.pilot if data.pilot else None)
    across = [group for group in data.words if group.rows["tokenizer_hash"].n_unique() > 1]
    groups = [*data.groups, *across]
    rows: list[Row] = []
    for group in groups:
        if len(groups) > 1:
            run = group.rows.row(0, named=True)
            rows.append(
                Heading(
                    (
                        _("Across tokenizers, one point per word: {kind}, text {text}, protocol {protocol}, N={size}")
                        if group.words_hash
                        else _("{kind}, text {text}, protocol {protocol}, N={size}")
                    ).format(
                        kind=name("kind", group.kind, data.language),
                        text=run["corpus_name"],
                        protocol=run["protocol"],
                        size=wording.size_range(group.n_points),
                    )
                )
            )
        labels = run_labels(group.rows, data.language)
        rows += [_value_row(data, run, labels[run["run_id"]], chosen) for run in group.rows.iter_rows(named=True)]
    columns = (
        Column(_("Model"), 0.25),
        Column(_("Largest inner dimension"), 0.13, is_number=True),
        Column(_("At layer"), 0.1, is_number=True),
        Column(_("Final, before the norm"), 0.13, is_number=True),
        Column(_("Final, after the norm"), 0.13, is_number=True),
        Column(_("Verdicts"), 0.07),
        Column(_score_title(data, chosen), 0.19, is_number=True),
    )
    key = [
        _("In brackets: 95 % intervals."),
        f"{verdict_marks_key(data.language)}{_('. ')}",
        *_match_key(data),
        _("Within a group the order is that of the names; no order is better."),
    ]
    if any(map(is_vetoed, data.texts.iter_rows(named=True))):
        key.append(wording.veto_note(data.language))
    yield from _paged(
        data,
        "values",
        _("All values of {n} measurements (d2, N={size})").format(
            n=data.texts.height, size=wording.size_range(data.n_points)
        ),
        columns,
        rows,
        _("Table of largest inner and final dimensions with 95 % intervals, by comparison group."),
        wording.sentences(key, data.language),
        ("run_summaries", "scores"),
        data.texts["run_id"].to_list(),
        [f"{run['name']}: {run['run_id']}" for run in data.texts.iter_rows(named=True)],
    )


def _value_row(data: DeckData, run: dict, label: str, chosen: dict | None) -> tuple[str, ...]:
    _ = translator(data.language)
    after = run["final_dimension_post_norm"]
    return (
        shortened(label, 36),
        wording.interval_of(run, "inner_max"),
        layer_text(run["inner_max_layer"], run["n_layers"], data.language),
        wording.interval_of(run, "final_dimension_pre_norm"),
        _("no final norm") if after is None else wording.interval_of(run, "final_dimension_post_norm"),
        verdict_marks(run),
        _score(data, run["run_id"], chosen),
    )


def _score_title(data: DeckData, chosen: dict | None) -> str:
    _ = translator(data.language)
    if chosen is None:
        return _("Score")
    title = wording.benchmark_name(
        chosen["benchmark"], chosen["metric"], chosen["n_shot"], data.language, chosen["filter"]
    )
    if data.pilot is None:
        return title
    is_exploratory = pilot_sentences.is_exploratory(chosen, data.pilot.pilot)
    return f"{title}: {_('not pre-registered (exploratory)') if is_exploratory else _('pre-registered')}"


def _score(data: DeckData, run_id: str, chosen: dict | None) -> str:
    """The score with what it really belongs to, then that of the user's own task where the column has another."""
    _ = translator(data.language)
    if chosen is None:
        return "–"
    own = on_benchmark(data.scored, chosen).filter(run_id=run_id).filter(pl.col("score_match") != "none")
    told = [_value(row) for row in own.iter_rows(named=True)]
    task = data.pilot.pilot.task if data.pilot else None
    if task is not None and chosen["benchmark"] != task.name:
        found = data.scored.filter(run_id=run_id, score_match="own", benchmark=task.name)
        told += [f"{task.name}: {_value(row)}" for row in found.head(1).iter_rows(named=True)]
    return _("; ").join(dict.fromkeys(told)) or "–"


MATCH_MARKS = {"revision_not_stated": "†", "mapped": "*", "base": "°"}
"""What stands behind a score that is not surely of the very model."""


def _value(row: dict) -> str:
    error = "" if row["score_std_error"] is None else f" ± {row['score_std_error']:.2g}"
    mark = MATCH_MARKS.get(row["score_match"], "")
    return f"{wording.number(row['score'])}{error}{f' {mark}' if mark else ''}"


def _match_key(data: DeckData) -> list[str]:
    _ = translator(data.language)
    words_of = {
        "revision_not_stated": _("† revision not stated"),
        "mapped": _("* by an alias"),
        "base": _("° of the base model, which tests nothing"),
    }
    found = set(data.scored["score_match"])
    told = [text for match, text in words_of.items() if match in found]
    return [_("Scores: {marks}.").format(marks=_(", ").join(told))] if told else []


def _specifications(data: DeckData) -> Iterator[StorySlide]:
    """Under which specifications each claim holds: of one run with its ratios, of several how often."""
    _ = translator(data.language)
    texts = data.texts
    own = data.claims.filter(pl.col("run_id").is_in(texts["run_id"].to_list()))
    if own.is_empty():
        return
    n = own["run_id"].n_unique()
    rows: list[Row] = []
    for is_core in (True, False):
        part = [one for one in SPECIFICATIONS if one.is_core == is_core]
        cells: list[Row] = [cell for one in part if (cell := _specification_row(own, one, n, data.language))]
        if cells:
            rows.append(Heading(_("core: a verdict rests on these") if is_core else _("besides the core")))
            rows += cells
    columns = (Column(_("Specification"), 0.46), *(Column(claim_name(c, data.language), 0.27) for c in CLAIMS))
    key = (
        _(
            "Ratio of the largest inner dimension to that at layer 0 (rises) or after the last block (falls), 95 % limits."
        )
        if n == 1
        else _("How many of {n} measurements come out so.").format(n=n)
    )
    yield from _paged(
        data,
        "specifications",
        _("{k} specifications: under which the claims hold").format(
            k=sum(not isinstance(row, Heading) for row in rows)
        ),
        columns,
        rows,
        _("Table of specifications with what the claims come to under each."),
        wording.sentences((f"{marks_key(data.language)}{_('. ')}", key), data.language),
        ("run_claims",),
        own["run_id"].unique(maintain_order=True).to_list(),
    )


def _specification_row(own: pl.DataFrame, one, n: int, language: str) -> tuple[str, ...] | None:
    _ = translator(language)
    of_one = own.filter(
        pl.col("n1").eq_missing(pl.lit(one.n1, pl.Int64)),
        cloud=one.cloud,
        transform=one.transform,
        estimator=one.estimator,
    )
    if of_one.is_empty():
        return None
    cells = []
    for claim in CLAIMS:
        found = of_one.filter(claim=claim)
        if n == 1 and found.height:
            row = found.row(0, named=True)
            cells.append(f"{outcome_mark(outcome_of(row))} {ratio_text(row)}")
            continue
        counts = Counter(outcome_mark(outcome_of(row)) for row in found.iter_rows(named=True))
        cells.append("   ".join(f"{mark} {count}" for mark, count in counts.most_common()) or "–")
    return (specification_name(of_one.row(0, named=True), language), *cells)


def _checks(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    own = data.checks.filter(pl.col("run_id").is_in(data.texts["run_id"].to_list()))
    table = check_table(own, data.texts, data.language, most=ALL_CHECKS)
    title = _("Quality checks of {n} measurements").format(n=data.texts.height)
    return _slide(data, "checks", title, (), table, ("run_checks",), data.texts["run_id"].to_list())


# --- provenance ------------------------------------------------------------------------------------------------


def _provenance(data: DeckData) -> Iterator[StorySlide]:
    _ = translator(data.language)
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
            shortened(COMMIT.sub(r"@\1", run["model_id"]), 30),
            shortened(run["corpus_id"], 22),
            run["run_id"],
            name("pass", run["pass"], data.language),
            "–" if run["n_points"] is None else f"{run['n_points']:,}",
            str(run["seed"]),
            f"{run['dtype']}, {run['device']}",
            run["started_at"].date().isoformat(),
        )
        for run in data.runs.iter_rows(named=True)
    ]
    protocols = data.runs.select("protocol", "protocol_hash").unique(maintain_order=True).rows()
    key = _("Protocols: {protocols}. Workdim {code}; {libraries}.").format(
        protocols=_(", ").join(f"{protocol} {hash_}" for protocol, hash_ in protocols[:4]),
        code=", ".join(sorted(set(data.runs["code_version"]))[:3]),
        libraries=_versions(data.runs),
    )
    yield from _paged(
        data,
        "provenance",
        _("Provenance of {n} runs, controls included").format(n=data.runs.height),
        columns,
        rows,
        _("Table of the runs with model revision, text, sample size, seed, number format and date."),
        key,
        ("runs", "models", "corpora"),
        data.runs["run_id"].to_list(),
        [f"{run['model_id']}, {run['run_id']}, {run['corpus_id']}" for run in data.runs.iter_rows(named=True)],
    )


def _versions(runs: pl.DataFrame) -> str:
    """`torch 2.13.0`, or all versions that occur."""
    read = [json.loads(text or "{}") for text in runs["library_versions"].unique()]
    told = []
    for library in LIBRARIES:
        versions = sorted({str(found[library]) for found in read if library in found})
        if versions:
            told.append(f"{library} {', '.join(versions)}")
    return ", ".join(told) or "–"


def _plan_provenance(data: DeckData) -> Iterator[StorySlide]:
    _ = translator(data.language)
    assert data.plan is not None
    plan = data.plan.plan
    rows: list[Row] = [
        (_("Plan"), plan.plan_id),
        (_("Model"), plan.model_id),
        (_("Hash of the weights"), plan.weights_sha256),
        (_("Text and hash"), plan.corpus_id),
        (_("Windows"), f"{plan.n_selection} + {plan.n_verification or 0}; {plan.n_tokens}"),
        (_("Seed"), str(plan.seed)),
        (_("Format, device"), f"{plan.dtype}, {plan.device}; {words.day(plan.created_at.date(), data.language)}"),
        (_("Program"), f"Workdim {plan.code_version}"),
        (_("Asked for"), shortened(_asked(plan.config), 400)),
    ]
    yield from _paged(
        data,
        "provenance",
        _("Provenance of 1 layer plan"),
        (Column(_("What"), 0.24), Column(_("Value"), 0.76)),
        rows,
        _("Table of what the layer plan was made from."),
        "",
        ("plans",),
    )


def _asked(config: str) -> str:
    """`budget 0.05, budget_unit nats, verify, seed 0`: what was chosen, and of places their last name alone."""
    asked = without_places(json.loads(config))
    chosen = {key: value for key, value in asked.items() if value is not None and value is not False and value != []}
    return ", ".join(
        key if value is True else f"{key} {'+'.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in chosen.items()
    )


def _sql(data: DeckData) -> StorySlide:
    """How anybody reads the same numbers in the warehouse."""
    _ = translator(data.language)
    if data.pilot is not None:
        which = f"run_id IN (SELECT run_id FROM pilot_runs WHERE pilot_id = '{data.pilot.pilot_id}')"
    else:
        ids = data.texts["run_id"].to_list()
        # Of many runs the ends of their ids, which are random: the whole ids of forty fill the slide.
        which = f"run_id IN ({_quoted(ids)})" if len(ids) <= 3 else f"right(run_id, 8) IN ({_quoted(ids, 8)})"
    told = [
        (
            _("Dimensions and verdicts"),
            "SELECT run_id, inner_max, inner_max_layer, final_dimension_pre_norm, verdict_rise, verdict_fall "
            f"FROM run_summaries WHERE estimator = 'd2' AND cloud = 'one_per_type' AND {which}",
        ),
        (
            _("Profiles"),
            "SELECT layer, value, lower, upper FROM layer_estimates WHERE estimator = 'd2' AND cloud = 'one_per_type' "
            f"AND transform = 'centred' AND state = 'residual' AND {which} ORDER BY run_id, layer",
        ),
        (
            _("Checks and controls"),
            f"SELECT * FROM run_checks WHERE {which};  SELECT * FROM run_controls WHERE {which}",
        ),
    ]
    chosen = pilot_sentences.shown_first(data.scored, data.pilot.pilot if data.pilot else None)
    if chosen is not None:
        told.append(
            (
                _("Scores"),
                "SELECT repository, revision, value, std_error, source FROM scores "
                f"WHERE benchmark = {_quoted([chosen['benchmark']])} AND metric = {_quoted([chosen['metric']])}",
            )
        )
    return _slide(
        data,
        "sql",
        _("{n} queries give the same numbers").format(n=len(told)),
        [Statement(query, label) for label, query in told],
    )


def _quoted(texts: Sequence[str], of_end: int = 0) -> str:
    """Texts, or so many letters of their ends, as SQL writes them."""
    return ", ".join("'" + text[-of_end:].replace("'", "''") + "'" for text in texts)


# --- each run --------------------------------------------------------------------------------------------------


def _runs(data: DeckData) -> Iterator[StorySlide]:
    """Profile and specifications of each run on text, and what its controls say."""
    _ = translator(data.language)
    labels = run_labels(data.texts, data.language)
    for number, run in enumerate(data.texts.iter_rows(named=True), start=1):
        rows = data.texts.filter(run_id=run["run_id"])
        chart = evidence.profiles(data.estimates, rows, data.language)
        label = shortened(labels[run["run_id"]], 60)
        told = [
            Statement(wording.verdict_text(run, data.language), _("Verdicts")),
            Statement(
                _("Embedding {embedding}; largest {inner}, at layer {layer}; after the last block {final}.").format(
                    embedding=wording.interval_of(run, "embedding_dimension"),
                    inner=wording.interval_of(run, "inner_max"),
                    layer=layer_text(run["inner_max_layer"], run["n_layers"], data.language),
                    final=wording.interval_of(run, "final_dimension_pre_norm"),
                ),
                _("Values"),
            ),
            Statement(words.checks(rows, data.language)),
        ]
        told += [Statement(line) for line in _control_lines(data, run)]
        title = _("{name}: largest inner dimension {value}").format(
            name=label, value=wording.interval_of(run, "inner_max")
        )
        at = "run" if number == 1 else f"run-{number}"
        yield _slide(
            data, at, title, told, chart, ("layer_estimates", "run_summaries", "run_controls"), [run["run_id"]]
        )


def _control_lines(data: DeckData, run: dict) -> list[str]:
    _ = translator(data.language)
    controls = {row["run_id"]: row for row in data.controls_of(run).iter_rows(named=True)}
    told = []
    for row in data.against_controls.filter(run_id=run["run_id"]).iter_rows(named=True):
        control = controls.get(row["control_run_id"])
        if control is not None:
            named = control_name(control["pass"], control["model_seed"], data.language)
            told.append(_("{claim}: {verdict}").format(claim=named, verdict=wording.control_text(row, data.language)))
    return told
