"""The choices of the page Choose: which models, by group, score, dimension and filters; by which rule or criteria, for which use, at
which assumptions of cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import polars.selectors as cs
import streamlit as st

from core import wording
from core.analysis import criteria as criteria_analysis
from core.analysis import decision as decision_analysis
from core.analysis import ranking
from core.analysis.criteria import ChoiceContext, ResolvedCriterion
from core.analysis.decision import Decision
from core.analysis.ranking import RankingGroup, own_runs
from core.errors import InputError
from core.locale import _, worded
from core.pilots.pilot import USE_CLASSES, RegisteredPilot
from core.pilots.saved import Assumptions, Direction, SavedRule, TaskName
from core.questions import choice as choice_question
from core.questions.choice import PilotChoice, all_models
from core.questions.ranking_answer import Answer, specification_key
from core.questions.ranking_question import (
    BY_TYPE,
    BY_WORD,
    DIMENSIONS,
    REGISTERED_DIMENSION,
    Population,
    RankingQuestion,
    group_key,
)
from core.registry.protocols import REFERENCE, SPECIFICATIONS, Specification
from core.tables import ids_of
from core.ui import inputs, reads, run_choice, url_state
from core.ui.inputs import ANSWERED
from core.ui.language import escape
from core.wording import answers as answer_wording
from core.wording import decisions as decision_wording
from core.wording import runs as run_wording
from core.wording.scores import row_benchmark_name
from core.wording.verdicts import specification_name

STATED = "own"
"""In place of the id of a rule: the criteria stated on this page."""
MAX_WEIGHT = 10
THRESHOLD_UNITS = {"parameters": 1e6, "memory": 1e9}
"""Units in which thresholds are typed: millions, GB."""
ASSUMPTION_UNITS = {"tokens_per_month": 1e6}
"""Units in which assumptions are typed: millions."""


@dataclass(frozen=True)
class DecisionView:
    """What the choices of the reader select."""

    context: ChoiceContext
    """The models to choose among, with their costs and scores."""
    criteria: list[ResolvedCriterion]
    task: Mapping[str, Any] | None
    """The benchmark whose scores are a criterion; None without one."""
    answer: PilotChoice | None
    message: str
    """Why nothing can be chosen; empty where there is an answer."""
    assumptions: Assumptions
    use_class: str
    rule: SavedRule | None
    """The saved rule that is applied; None for criteria stated on the page."""
    ranked: RankingView
    """What is known of dimension and score; its question is asked for each task."""

    @property
    def decision(self) -> Decision | None:
        """None also where the use class refuses what was weighed: then no place, weight or mean of it is shown."""
        return self.answer.choice.decision if self.answer and self.answer.choice and not self.is_refused else None

    @property
    def is_refused(self) -> bool:
        """Whether the use class forbids to choose by what these models have."""
        return self.answer is not None and self.answer.refusal is not None

    @property
    def n_points(self) -> tuple[int, int]:
        """The fewest and the most points of the models' clouds; zeros where none is known."""
        known = self.context.runs["n_points"].drop_nulls()
        return (0, 0) if known.is_empty() else (int(known.min()), int(known.max()))  # type: ignore[arg-type]


def choose_view(pilot: RegisteredPilot | None, *, relates: bool = False) -> DecisionView:
    """Draw all choices of the page; returns what they select, with the answer that the use class leaves of it. `relates`: as of
    `choose_ranking`."""
    with url_state.batched():
        above = st.container()
        with inputs.row():
            in_sight = inputs.row(width="content")
            use = st.container(width="content")
            by = st.popover(_("Criteria"), icon=":material/balance:")
            settings = st.popover(_("Settings"), icon=":material/tune:")
        with in_sight:
            ranked = choose_ranking(pilot, above, settings, relates=relates)
        saved = {one.rule_id: one for one in reads.lists().rules}
        names = {key: decision_wording.rule_name(one) for key, one in saved.items()}
        with by:
            names = {STATED: _("criteria stated here")} | names
            rule = saved.get(inputs.choose_by_id(_("Rule"), names, "rule", above=above, width=210))
        assumptions = rule.rule.assumptions if rule else _read_assumptions()
        context = _whole_context(ranked.question if ranked.group_answer else None, assumptions)
        # The rows as they are asked for: a specification has changed their dimension.
        context = replace(context.restrict_to(ids_of(ranked.runs)), runs=ranked.runs)
        with by:
            task = _choose_task(context, rule)
        with in_sight:
            subset = choice_question.one_run_each(_choose_subset(ranked.runs))
        with use:
            if decided := rule.rule if rule else pilot.pilot if pilot else None:
                use_class = decided.use_class
            else:
                names = wording.names("use_class", USE_CLASSES)
                use_class = inputs.choose_from_list(_("Use class"), names, "use", width=120)
        run_ids = ids_of(subset)
        context = context.restrict_to(run_ids).with_windows(reads.rows("run_windows", run_ids))
        with by:
            criteria = [] if rule else _choose_criteria(context, ranked.question, use_class)
    answer, message = None, ""
    try:
        if rule:
            found = choice_question.choose_by_rule(context, rule.rule, task_name(task))
            answer = choice_question.judged(found, use_class)
        else:
            asked = reads.population(ranked.question).benchmark if ranked.question.benchmark else None
            answer = choice_question.choose_pilot(context, criteria, use_class, asked=asked)
    except InputError as error:
        message = worded(error)
    if answer and answer.choice:
        task, criteria = answer.choice.task, list(answer.choice.decision.criteria)
    else:
        task = task or choice_question.task_of(criteria)
    return DecisionView(context, criteria, task, answer, message, assumptions, use_class, rule, ranked)


@reads.cached(8)
def _whole_context(question: RankingQuestion | None, assumptions: Assumptions) -> ChoiceContext:
    """All models that a question compares, whatever filters leave of them; without a question all models, which do not compare."""
    group = None if question is None else reads.population(question).group
    runs = choice_question.all_models(reads.evidence()) if group is None else group.rows
    scores, speeds = reads.evidence().scores, reads.speeds(ids_of(runs))
    return criteria_analysis.choice_context(runs, scores, speeds, assumptions, comparable=group is not None)


def _choose_task(context: ChoiceContext, rule: SavedRule | None) -> Mapping[str, Any] | None:
    """Return the task that a rule is applied to: by default the one that it was made for."""
    if rule is None or not any(
        criterion.of == "score" and criterion.benchmark is None for criterion in rule.rule.criteria
    ):
        return None
    offered = {criteria_analysis.score_key(row): row for row in context.benchmarks.to_dicts()}
    if not offered:
        return None
    learned = rule.rule.task
    default = next((key for key, row in offered.items() if learned and learned.is_met_by(row)), None)
    names = {key: decision_wording.task_name(row) for key, row in offered.items()}
    return offered[inputs.choose_from_list(_("Task"), names, "task", default, width=230)]


def task_name(task: Mapping[str, Any] | None) -> TaskName | None:
    """The task of a row of benchmarks, as rules store it."""
    return None if task is None else TaskName(task["benchmark"], task["metric"], task["filter"], task["n_shot"])


def _choose_subset(runs: pl.DataFrame) -> pl.DataFrame:
    """Return some of the models, or all."""
    names = dict(runs.sort(ranking.natural_sort_key()).select("model_id", "name").rows())
    if len(names) < 3:
        return runs
    chosen = inputs.choose_many(_("Only these models"), names, "among", placeholder=_("all"), width=230)
    return runs.filter(pl.col("model_id").is_in(chosen)) if chosen else runs


def _choose_criteria(context: ChoiceContext, question: RankingQuestion, use_class: str) -> list[ResolvedCriterion]:
    """Return the criteria with weights and thresholds: at first the score of the ranking; where no source states its better end,
    the pilot may. Models that do not compare have no ranking: the verb `choose` begins with the same."""
    benchmark: Mapping[str, Any] | None = None
    direction: Direction | None = None
    if context.comparable:
        population = reads.population(question)
        benchmark, known = population.benchmark, population.higher_is_better
        direction = None if known is None else "higher" if known else "lower"
    available, default = choice_question.offer_criteria(context, benchmark, direction, use_class)
    names = {key: decision_wording.criterion_name(criterion) for key, criterion in available.items()}
    help_ = _("At first: the score in sight; else the loss on a common text; else all scores alike.")
    keys = inputs.choose_many(_("Criteria"), names, "by", default, help=help_)
    chosen = [available[key] for key in keys]
    n = criteria_analysis.count_related_models(context, choice_question.task_of(chosen))
    for i, criterion in enumerate(chosen):
        muted_reason = decision_analysis.muted_reason(criterion, n, use_class, context.comparable)
        chosen[i] = _choose_weight(criterion, muted_reason)
    return [_choose_threshold(criterion) for criterion in chosen]


def _choose_weight(criterion: ResolvedCriterion, muted_reason: str | None) -> ResolvedCriterion:
    name = f"w.{criterion.key}"
    url_state.restore_choice(
        name, range(MAX_WEIGHT + 1), choice_question.DEFAULT_WEIGHTS.get(criterion.criterion.of, 2)
    )
    reason = decision_analysis.reason_key(criterion, muted_reason) if muted_reason else None
    value = st.slider(
        escape(decision_wording.criterion_name(criterion)),
        0,
        MAX_WEIGHT,
        key=url_state.key(name),
        disabled=muted_reason is not None,
        help=decision_wording.reason_text(reason) if reason else None,
        width=220,
    )
    url_state.publish(name, value)
    return replace(criterion, criterion=replace(criterion.criterion, weight=float(value)))


def _choose_threshold(criterion: ResolvedCriterion) -> ResolvedCriterion:
    """Return the criterion with its limit: a minimum where higher values are better, a maximum where lower ones are."""
    quantity, name = criterion.criterion.of, f"t.{criterion.key}"
    units = {"parameters": _("millions"), "memory": "GB"}
    template = _("{criterion}, at least") if criterion.higher_is_better else _("{criterion}, at most")
    label = template.format(criterion=decision_wording.criterion_name(criterion))
    limit = inputs.read_number(name, None)
    label = f"{label} [{units[quantity]}]" if quantity in units else label
    inputs.show_number_input(escape(label), name, placeholder=_("no threshold"))
    limit = None if limit is None else limit * THRESHOLD_UNITS.get(quantity, 1.0)
    low, high = (limit, None) if criterion.higher_is_better else (None, limit)
    return replace(criterion, criterion=replace(criterion.criterion, at_least=low, at_most=high))


def _read_assumptions() -> Assumptions:
    """The assumptions of the address; numbers outside their limits are replaced by the defaults."""
    defaults = Assumptions()
    values: dict[str, Any] = {}
    for name in NUMBER_LIMITS:
        default, unit = getattr(defaults, name), ASSUMPTION_UNITS.get(name, 1.0)
        value = inputs.read_number(f"a.{name}", None if default is None else default / unit, *NUMBER_LIMITS[name])
        if value is not None:
            values[name] = round(value * unit) if isinstance(default, int) else float(value)
    currency = url_state.restore_text("a.currency", defaults.currency).strip()
    url_state.publish("a.currency", currency)
    return Assumptions(**values, currency=currency or defaults.currency, speeds=read_speeds())


NUMBER_LIMITS: dict[str, tuple[float | None, float | None]] = {
    "bits": (0.5, 64.0),
    "context_tokens": (1.0, 2.0**40),
    "requests": (1.0, 1e6),
    "cache_bits": (0.5, 64.0),
    "cache_share": (0.001, 1.0),
    "overhead": (0.0, 10.0),
    "tokens_per_month": (0.001, 2.0**30),
    "utilisation": (0.001, 1.0),
    "price_per_hour": (0.0, 1e9),
}
"""Assumptions that are numbers, with their limits, in the order of their inputs."""


def read_speeds() -> dict[str, float]:
    """The speeds of the address, each `reference~tokens per second`."""
    speeds = {}
    for text in url_state.requested("speeds"):
        name, _sign, value = text.rpartition("~")
        with suppress(ValueError):
            if name.strip() and 0 < float(value) < 1e12:
                speeds[name] = float(value)
    keep_speeds(speeds)
    return speeds


def keep_speeds(speeds: Mapping[str, float]) -> None:
    kept = [f"{name}~{value:g}" for name, value in speeds.items() if value]
    st.session_state[url_state.key("speeds")] = kept
    url_state.publish("speeds", kept)


# --- models ----------------------------------------------------------------------------------------------------------

COMPARABLE = "all"
"""In place of the key of a group: all models that can be compared with those of the page's answer."""
ANY = "any"
"""In place of the key of a group, all models, whatever they were measured on."""
OWN = "own"
"""The models measured here, whatever on."""
NOT_INSTRUCT = "base"
_MAX_NAMED = 12


@dataclass(frozen=True)
class RankingView:
    """The models that the choices of the reader select, with what is known of dimension and score."""

    pilot: RegisteredPilot | None
    """The pilot that limits the page."""
    question: RankingQuestion
    """What is asked of these models; a decision asks it for each task."""
    runs: pl.DataFrame
    """A run of each model that passes the filters, or several where they were measured on several texts."""
    answer: Answer | None = None
    """About these models; None where they are chosen from whatever they were measured on, and their dimensions do not compare."""
    group_answer: Answer | None = None
    """About all models of their group, as filters do not change ranks; None where nothing can be compared."""


def choose_ranking(pilot: RegisteredPilot | None, above: Any, settings: Any, *, relates: bool) -> RankingView:
    """Draw group and score, and in the container `settings` the other choices; returns what they select.

    What the link says wrongly is drawn `above`. `relates`: the page asks whether dimension and score go together, and so for a
    score of one's own models too, which else are chosen by what they share.
    """
    with settings:
        cloud = choose_cloud()
    grouped = reads.population(RankingQuestion(pilot=pilot, cloud=cloud))
    runs = all_models(reads.evidence())
    own = own_runs(runs)
    group = choose_group(names_to_choose(grouped, own if pilot is None else own.clear()), above)
    runs = own if group == OWN else runs
    if group == OWN and relates:
        question = own_question(cloud)
        question = _choose_score(question, reads.population(question), None)
        answer = reads.answer(question)
        return RankingView(pilot, question, with_runs_of(answer.population, own), answer)
    if group in (ANY, OWN) and grouped.group is not None:
        return RankingView(pilot, RankingQuestion(ignores_pilots=True), runs)
    key = None if group in (ANSWERED, COMPARABLE, OWN) else group
    question = RankingQuestion(pilot=pilot, cloud=cloud, group=key, ignores_pilots=group == COMPARABLE)
    with settings:
        question = replace(question, include_vetoed=_choose_vetoed(grouped))
        if n := reads.population(question).n_partial:
            help_ = _("Part of a benchmark is not the whole's score.")
            partial = inputs.choose_yes_no(_("Partial runs too ({n})", n=n), "partial", False, help=help_)
            question = replace(question, include_partial=partial)
    question = _choose_score(question, reads.population(question), pilot or grouped.registration.registered_pilot)
    if group == ANSWERED and question != grouped.asked and grouped.group and grouped.pilot is None:
        # Named, it stays the one compared, whatever is asked of it; a pilot names its models itself.
        question = replace(question, group=group_key(grouped.group))
    with settings:
        names = {key: answer_wording.dimension_name(key) for key in DIMENSIONS}
        dimension = inputs.choose_from_list(_("Dimension"), names, "dimension", REGISTERED_DIMENSION, width=190)
        question = replace(question, dimension=dimension)
        population = reads.population(question)
        filters: list[run_choice.Filter] = [
            ("family", "family", _("Model family"), "", []),
            ("architecture", "architecture", _("Architecture"), "", []),
            ("tuning", "tuning", _("Base or instruct"), "relation", []),
            ("language", "corpus_language", _("Language of the text"), "language", []),
            *run_choice.judged_filters(),
        ]
        rows = population.rows.with_columns(tuning=pl.col("base_relation").fill_null(NOT_INSTRUCT))
        rows, _others, told = run_choice.choose_filters(rows, filters)
        tags = sorted({tag for tags in rows["tags"] for tag in tags})
        if tags and (chosen := inputs.choose_many(_("Tag"), tags, "tag", placeholder=_("all"))):
            rows = rows.filter(pl.col("tags").list.set_intersection(chosen).list.len() > 0)
            told.append(_("Tag"))
        specification = _choose_specification(population)
    with above:
        run_choice.show_filters(told, rows.height, population.rows.height)
    if is_reference := specification == REFERENCE:
        full_answer = reads.answer(question)
    else:
        maxima = reads.inner_maxima(ids_of(population.rows))
        population = population.with_specification(maxima, specification)
        full_answer = reads.answer_about(population, is_of_summaries=False, is_brief=True)
    filtered, answer = population.narrowed(rows["run_id"]), full_answer
    if filtered is not population:
        answer = reads.answer_about(filtered, full_answer, is_of_summaries=is_reference, is_brief=True)
    if population.group is not None:
        runs = population.group.rows.filter(pl.col("run_id").is_in(ids_of(rows)))
    return RankingView(pilot, question, runs, answer, full_answer if population.group is not None else None)


def names_to_choose(grouped: Population, own: pl.DataFrame) -> dict[str, str]:
    """The labels of what can be chosen by key: the groups, all models, and `own`, the runs of the reader's models where they are
    several. These stand first, and so are what the page opens with, unless half of the group that it else would be is of them."""
    names = group_names(grouped)
    if names and grouped.pilot is not None:
        names = {ANSWERED: names[ANSWERED], COMPARABLE: _("all that can be compared")} | names
    if names:
        names |= {ANY: _("all models; their dimensions do not compare")}
    if (n := own["model_id"].n_unique()) < 2:
        return names
    mine = {OWN: _("my models ({n})", n=n)}
    is_own = 2 * own_runs(grouped.rows).height >= grouped.rows.height > 0
    return names | mine if is_own else mine | names


def choose_group(names: Mapping[str, str], above: Any) -> str:
    """Return one of the groups of `names`; what the address or the last choice asks for in vain is drawn `above`."""
    default = next(iter(names), ANSWERED)
    asked = url_state.asked("group")
    if asked is not None and asked not in (ANSWERED, COMPARABLE, ANY, OWN, *names):
        told = _("The models asked for are not among these. Shown: {group}.", group=names.get(default, "–"))
        above.warning(escape(told), icon=":material/link_off:")
    return inputs.choose_from_list(_("Compared models"), names, "group", width=300) if len(names) > 1 else default


def offered_groups(population: Population) -> dict[str, RankingGroup]:
    """The groups to choose from by key, the group of the population first as `ANSWERED`; none where nothing can be compared."""
    if population.group is None:
        return {}
    return {ANSWERED: population.group} | {group_key(other.group): other.group for other in population.others}


def own_question(cloud: str) -> RankingQuestion:
    """How dimension and score go together among the models that were measured here: on words where more of them compare so
    than on the points `cloud`."""
    clouds = (cloud, BY_WORD) if reads.evidence().runs["words_hash"].count() else (cloud,)
    questions = [RankingQuestion(cloud=one, ignores_pilots=True, only_own=True) for one in clouds]
    return max(questions, key=lambda one: reads.population(one).rows["model_id"].n_unique())


def with_runs_of(population: Population, runs: pl.DataFrame) -> pl.DataFrame:
    """Runs of models, of those of a population only the run that its answer is about, as measured on its points: the table and
    the figure beside it show one number. Where these are words, no dimension on types stands in a column with them."""
    if population.group is None:
        return runs
    related = population.group.rows.join(runs, on="run_id", how="semi")
    others = runs.join(related, on="model_id", how="anti")
    if population.group.is_by_words:
        others = others.drop(cs.matches("^(inner_max|working|final)_")).rename({"inner_max": "inner_max_by_type"})
    return pl.concat([related, others], how="diagonal")


def ranking_params(benchmark: str, metric: str) -> dict[str, str] | None:
    """The address of this page with a score, in the group in which most models have it; None where no group has it."""
    try:
        population = reads.population(RankingQuestion(benchmark=benchmark, metric=metric))
    except InputError:  # of models that are hidden, for example
        return None
    if population.benchmark is None or population.group is None:
        return None
    score = ranking.score_key(population.benchmark)
    return {"pilot": inputs.ALL, "score": score, "group": group_key(population.group)}


def group_names(population: Population) -> dict[str, str]:
    """The labels of `offered_groups`."""
    groups = offered_groups(population)
    told = zip(groups.items(), run_wording.group_names(list(groups.values())), strict=True)
    names: dict[str, str] = {}
    n = pl.col("model_id").n_unique()
    for (key, group), name in told:
        names[key] = _("{group} (models: {n})", group=name, n=group.rows.select(n).item())
    if population.pilot is not None and ANSWERED in names:
        names[ANSWERED] = _("“{name}” (models: {n})", name=population.pilot.name, n=population.rows.select(n).item())
    return names


def choose_cloud() -> str:
    """Return the cloud; drawn only where words were measured."""
    if not reads.evidence().runs["words_hash"].count():
        return BY_TYPE
    ways = {BY_TYPE: _("one per type"), BY_WORD: _("one per word")}
    help_ = _("Words compare across tokenizers, if models were measured together.")
    return inputs.choose_from_list(_("Points"), ways, "points", help=help_, width=200)


def _choose_vetoed(grouped: Population) -> bool:
    """Return whether runs vetoed by a check are included; the help of the switch names them with their checks."""
    vetoes = run_choice.veto_texts(grouped.vetoed.head(_MAX_NAMED))
    if not vetoes:
        return False
    label = _("With vetoed runs ‡ ({n})", n=grouped.vetoed.height)
    help_ = escape(_("Vetoed by a check, not reliable: {runs}.", runs=vetoes))
    return inputs.choose_yes_no(label, "vetoed", default=False, help=help_)


def _choose_score(question: RankingQuestion, population: Population, pilot: RegisteredPilot | None) -> RankingQuestion:
    """Return the question about a chosen score (benchmark, metric, filter, shots).

    The default is the score of the answer, else an own score, else the one that most models have.
    """
    if population.offered.is_empty():
        return question
    rows = {ranking.score_key(row): row for row in population.offered.iter_rows(named=True)}
    default = ranking.score_key(population.benchmark) if population.benchmark else next(iter(rows))
    labels = {}
    for (key, row), name in zip(rows.items(), score_names(list(rows.values())), strict=True):
        labels[key] = _("{name} (models: {n})", name=name, n=row["n_models"])
        if population.pilot is not None:
            mark = _("registered") if population.pilot.benchmark.is_met_by(row) else _("exploratory")
            labels[key] += f" – {mark}"
    chosen = inputs.choose_from_list(_("Score"), labels, "score", default, width=376)
    if population.benchmark is not None and chosen == ranking.score_key(population.benchmark):
        return question
    return replace(question, pilot=pilot).with_score(rows[chosen])


def score_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of benchmarks, with the suites of those that share one."""
    names = list(map(row_benchmark_name, rows))
    return [
        _(", ").join([name, row["suite"]]) if names.count(name) > 1 else name
        for name, row in zip(names, rows, strict=True)
    ]


def _choose_specification(population: Population) -> Specification:
    """Return the specification of the largest inner dimension; the default is that of the protocol."""
    if population.group is None or population.asked.dimension != REGISTERED_DIMENSION or population.group.is_by_words:
        return REFERENCE
    by_key = {specification_key(specification): specification for specification in SPECIFICATIONS}
    names = {key: specification_name(one) for key, one in by_key.items()}
    label = _("Specification")
    return by_key[inputs.choose_from_list(label, names, "specification", specification_key(REFERENCE))]
