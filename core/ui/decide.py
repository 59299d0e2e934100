"""Choosing a model: the criteria that the reader states, what they choose, what would change it, and what rules came to."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import polars as pl
import streamlit as st
from pydantic import ValidationError

from core import wording
from core.analysis import criteria as asking
from core.analysis import decision as deciding
from core.analysis import generality, ranking, rule_record
from core.analysis.asked import Asked
from core.analysis.criteria import PRECISIONS, Question, Setting
from core.analysis.decision import Decision
from core.analysis.generality import Order, OverTasks
from core.analysis.population import key_of
from core.errors import InputError, WorkdimError
from core.figures import decisions as figures
from core.pilots.pilot import USE_CLASSES
from core.pilots.registration import Registered
from core.pilots.rule import DIMENSIONS, Assumptions, Criterion, Quantity, Rule, SavedRule, TaskName, rule_of, to_toml
from core.tables import RuleChoiceRow
from core.ui import inputs, language, reads, tables, url_state
from core.ui.markdown import escape
from core.warehouse import rules
from core.wording import answers as answer_words
from core.wording import decisions as words
from core.wording.pilot_sentences import use_class_name

OWN = "own"
"""Instead of a rule's id: criteria stated on this page."""
ANY = "any"
"""Instead of a group's key: all models, whatever they were measured on; their dimensions do not compare."""
MOST_WEIGHT = 10
FIRST_WEIGHTS = {"score": 6, "parameters": 4}
SCALES = {"parameters": 1e6, "memory": 1e9}
"""What a threshold is typed in: millions, GB."""
ASSUMED_IN = {"tokens_per_month": 1e6}
"""Assumptions that are typed in other units: millions."""
MOST_CHOICES = 12
_TOLD = "decide told"


@dataclass(frozen=True)
class Look:
    """What the reader looks at."""

    on: Setting
    """The models to choose among."""
    asked: list[Question]
    task: Mapping[str, Any] | None
    """The benchmark by whose scores is chosen; None where by none."""
    decision: Decision | None
    error: str
    """Why nothing can be chosen; empty where there is a decision."""
    assumed: Assumptions
    use_class: str
    rule: SavedRule | None
    question: Asked
    """What the relation is told of, task by task."""

    @property
    def names(self) -> dict[str, str]:
        return dict(self.on.runs.select("run_id", "name").rows())


# --- what is asked ---------------------------------------------------------------------------------------------


def choose(pilot: Registered | None) -> Look:
    """All choices of the page in one change of the address."""
    with url_state.together():
        with st.container(horizontal=True, vertical_alignment="bottom"):
            question, runs, comparable = _choose_models(pilot)
            rule = _choose_rule()
            assumed = rule.rule.assumptions if rule else _assumptions()
            on = asking.setting(
                runs, reads.scores(), reads.speeds(runs["run_id"].to_list()), assumed, comparable=comparable
            )
            task = _choose_task(on, rule)
            on = on.narrowed(_choose_some(runs)["run_id"].to_list())
            use_class = rule.rule.use_class if rule else _choose_use_class(pilot)
        try:
            asked = (
                asking.questions(rule.rule.criteria, on, _named(task))
                if rule
                else _own_criteria(on, question, use_class)
            )
            task = task if rule else next((one.benchmark for one in asked if one.benchmark is not None), None)
            decision = deciding.decided(on, asked, task, use_class)
            return Look(on, asked, task, decision, "", assumed, use_class, rule, question)
        except InputError as error:
            asked = [] if rule else _stated(on, question)
            return Look(on, asked, task, None, str(error), assumed, use_class, rule, question)


def _choose_models(pilot: Registered | None) -> tuple[Asked, pl.DataFrame, bool]:
    """Which models are compared: those of the ranking at first. Returns also whether their dimensions compare."""
    _ = language.translator()
    reader = language.current()
    first = reads.population(Asked(pilot=pilot))
    names: dict[str, str] = {}
    if first.group is not None:
        of_pilot, n = first.pilot, first.group.rows["model_id"].n_unique()
        names[""] = (
            _("“{name}”, {n} models").format(name=of_pilot.name, n=n)
            if of_pilot
            else answer_words.group_name(first.group, reader)
        )
    for one in first.others:
        told = _("{group} (models: {n})")
        names[key_of(one.group)] = told.format(group=answer_words.group_name(one.group, reader), n=one.n_models)
    names[ANY] = _("all models; their dimensions do not compare")
    chosen = inputs.choose_from_list(
        _("Compared models"), list(names), "group", next(iter(names)), names.__getitem__, width=300
    )
    if chosen == ANY:
        newest = ranking.newest(reads.ranking()).unique("model_id", keep="first", maintain_order=True)
        return Asked(is_free=True), newest, False
    question = Asked(pilot=pilot, group=chosen or None)
    group = reads.population(question).group
    assert group is not None, "each of these names has a group"
    return question, group.rows.unique("model_id", keep="first", maintain_order=True), True


def _choose_rule() -> SavedRule | None:
    _ = language.translator()
    saved = {one.rule_id: one for one in reads.saved_rules()}
    if not saved:
        return None
    names = {OWN: _("criteria stated here")} | {
        key: words.rule_name(one, language.current()) for key, one in saved.items()
    }
    chosen = inputs.choose_from_list(_("Rule"), list(names), "rule", OWN, names.__getitem__, width=230)
    return saved.get(chosen)


def _choose_task(on: Setting, rule: SavedRule | None) -> Mapping[str, Any] | None:
    """The task that a rule is applied to: at first the one that it was learned on."""
    _ = language.translator()
    if rule is None or not any(one.of == "score" and one.benchmark is None for one in rule.rule.criteria):
        return None
    offered = {asking.score_key(row): row for row in on.offered.to_dicts()}
    if not offered:
        return None
    learned = rule.rule.task
    first = next((key for key, row in offered.items() if learned and learned.is_met_by(row)), next(iter(offered)))
    chosen = inputs.choose_from_list(
        _("Task"),
        list(offered),
        "task",
        first,
        lambda key: words.task_name(offered[key], language.current()),
        width=230,
    )
    return offered[chosen]


def _named(task: Mapping[str, Any] | None) -> TaskName | None:
    return None if task is None else TaskName(task["benchmark"], task["metric"], task["filter"], task["n_shot"])


def _choose_some(runs: pl.DataFrame) -> pl.DataFrame:
    _ = language.translator()
    names = dict(runs.select("model_id", "name").rows())
    if len(names) < 3:
        return runs
    wanted = inputs.choose_many(
        _("Only these models"), list(names), "among", show=names.__getitem__, placeholder=_("all"), width=170
    )
    return runs.filter(pl.col("model_id").is_in(wanted)) if wanted else runs


def _choose_use_class(pilot: Registered | None) -> str:
    """That of the pilot, or what the reader says."""
    _ = language.translator()
    if pilot is not None:
        return pilot.pilot.use_class
    return inputs.choose_from_list(
        _("Use class"),
        list(USE_CLASSES),
        "use",
        "general",
        lambda key: use_class_name(key, language.current()),
        width=140,
    )


def _offered(on: Setting) -> dict[str, Question]:
    """All criteria that these models can be chosen by, by their key."""
    plain = [Criterion(of) for of in get_args(Quantity) if of != "score" and _is_known(on, of)]
    scores = [asking.question(Criterion("score"), on.scored, row) for row in on.offered.to_dicts()]
    return {one.key: one for one in [*scores, *(asking.question(one, on.scored, None) for one in plain)]}


def _is_known(on: Setting, of: str) -> bool:
    """Whether any of these models has it; losses on several texts do not compare."""
    costs = on.cost.values()
    if of == "bits_per_byte":
        return on.runs[of].count() > 0 and on.runs["corpus_id"].n_unique() == 1
    if of in ("speed", "price"):
        return any((one.tokens_per_second if of == "speed" else one.price) is not None for one in costs)
    return on.comparable and on.runs["inner_max"].count() > 0 if of in DIMENSIONS else True


def _first_criteria(on: Setting, question: Asked, offered: Mapping[str, Question]) -> list[str]:
    """The score that the ranking looks at, size where the models differ in it, and the dimension."""
    looked_at = reads.population(question).benchmark
    scores = [key for key, one in offered.items() if one.criterion.of == "score"]
    first = [asking.score_key(looked_at)] if looked_at and asking.score_key(looked_at) in scores else scores[:1]
    first = first or [key for key in ("bits_per_byte",) if key in offered]
    more = ["parameters"] if not first or on.runs["parameters"].n_unique() > 1 else []
    return [*first, *(key for key in (*more, "dimension") if key in offered)]


def _own_criteria(on: Setting, question: Asked, use_class: str) -> list[Question]:
    """The criteria that the reader states, each with its weight, and behind a click its threshold."""
    _ = language.translator()
    offered, reader = _offered(on), language.current()
    chosen = inputs.choose_many(
        _("Criteria"),
        list(offered),
        "by",
        _first_criteria(on, question, offered),
        lambda key: words.criterion_name(offered[key], reader),
        is_brief=True,
    )
    task = next((offered[key].benchmark for key in chosen if offered[key].benchmark is not None), None)
    n = asking.n_related(on, task)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        for key in chosen:
            _ask_weight(offered[key], deciding.muted(offered[key].criterion.of, n, use_class, on.comparable))
        if chosen:
            with st.popover(_("Thresholds"), icon=":material/horizontal_rule:"):
                for key in chosen:
                    _ask_threshold(offered[key])
    return _stated(on, question)


def _ask_weight(one: Question, muted: str | None) -> None:
    _ = language.translator()
    name = f"w.{one.key}"
    url_state.settle_one(name, range(MOST_WEIGHT + 1), _first_weight(one))
    reader = language.current()
    value = st.slider(
        escape(words.criterion_name(one, reader)),
        0,
        MOST_WEIGHT,
        key=url_state.key(name),
        disabled=muted is not None,
        help=words.reason(f"dimension_{muted}", reader) if muted else None,
        width=220,
    )
    url_state.publish(name, value)


def _first_weight(one: Question) -> int:
    of = one.criterion.of
    return 0 if of in DIMENSIONS else FIRST_WEIGHTS.get("score" if of == "bits_per_byte" else of, 2)


def _ask_threshold(one: Question) -> None:
    """The end that matters: at least of what is wanted high, at most of what is wanted low."""
    _ = language.translator()
    reader, of = language.current(), one.criterion.of
    units = {"parameters": _("millions"), "memory": "GB"}
    told = _("{criterion}, at least") if one.higher_is_better else _("{criterion}, at most")
    label = told.format(criterion=words.criterion_name(one, reader))
    inputs.kept_number(f"t.{one.key}", None)
    inputs.draw_number(
        escape(f"{label} [{units[of]}]" if of in units else label), f"t.{one.key}", placeholder=_("no threshold")
    )


def _stated(on: Setting, question: Asked) -> list[Question]:
    """The criteria as they stand in the address."""
    offered = _offered(on)
    found = []
    for key in url_state.wanted("by", _first_criteria(on, question, offered)):
        if key not in offered:
            continue
        one = offered[key]
        weight = st.session_state.get(url_state.key(f"w.{key}"), _first_weight(one))
        limit = st.session_state.get(url_state.key(f"t.{key}"))
        limit = None if limit is None else float(limit) * SCALES.get(one.criterion.of, 1.0)
        low, high = (limit, None) if one.higher_is_better else (None, limit)
        found.append(replace(one, criterion=replace(one.criterion, weight=float(weight), at_least=low, at_most=high)))
    return found


def _assumptions() -> Assumptions:
    """As they stand in the address; what is no sensible number is as it would be anyway."""
    plain = Assumptions()
    told: dict[str, Any] = {}
    for name in _NUMBERS:
        default, by = getattr(plain, name), ASSUMED_IN.get(name, 1.0)
        value = inputs.kept_number(f"a.{name}", None if default is None else default / by, *_NUMBERS[name])
        if value is not None:
            told[name] = round(value * by) if isinstance(default, int) else float(value)
    currency = url_state.settle_text("a.currency", plain.currency).strip()
    url_state.publish("a.currency", currency)
    speeds = _speeds()
    url_state.publish("speeds", [f"{name}~{value:g}" for name, value in speeds.items()])
    try:
        return Assumptions(**told, currency=currency or plain.currency, speeds=speeds)
    except ValidationError:
        return replace(plain, speeds=speeds)


_NUMBERS: dict[str, tuple[float | None, float | None]] = {
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
"""Assumptions that are numbers, with the ends between which they lie, in the order in which they are asked for."""


def _speeds() -> dict[str, float]:
    """Own figures, `reference~tokens per second` each."""
    found = {}
    for text in url_state.wanted("speeds"):
        name, _sign, value = text.rpartition("~")
        try:
            speed = float(value)
        except ValueError:
            continue
        if name and 0 < speed < 1e12:
            found[name] = speed
    st.session_state[url_state.key("speeds")] = [f"{name}~{value:g}" for name, value in found.items()]
    return found


# --- what is said ----------------------------------------------------------------------------------------------


def say(look: Look) -> None:
    """The sentence first, and what limits it."""
    _ = language.translator()
    reader = language.current()
    if look.decision is None:
        st.info(escape(look.error), icon=":material/help:")
        return
    icon = ":material/check_circle:" if look.decision.chosen else ":material/block:"
    st.markdown(f"#### {icon} {escape(words.answer(look.decision, reader, look.assumed.bits))}")
    other = words.other_task(look.rule.rule, look.task, reader) if look.rule else None
    for line in [*([other] if other else []), *words.remarks(look.decision, reader), *_relation(look, look.decision)]:
        st.caption(escape(line))
    if look.rule:
        st.caption(escape(words.rule_text(look.rule.rule, reader)))


def _relation(look: Look, decision: Decision) -> list[str]:
    """What is known of the dimension and the score, where the dimension is asked for and may weigh."""
    if look.task is None or not any(
        one.question.criterion.of in DIMENSIONS and not one.muted for one in decision.weighed
    ):
        return []
    found = reads.answer(look.question.of_score(look.task))
    return [answer_words.sentence(found, language.current())]


def show_choice(look: Look) -> None:
    """The front, then what each weight would change, then the numbers."""
    _ = language.translator()
    reader, decision = language.current(), look.decision
    if decision is None:
        return
    if decision.chosen:
        _draw_front(look, decision)
        bars = figures.weight_bars(decision, reader, look.assumed.bits)
        if bars:
            st.subheader(_("What a change of weight would choose"))
            st.plotly_chart(figures.weight_figure(bars, reader), key="weights", theme=None)
        st.subheader(_("The models, by their weighted mean"))
        rows = matrix(look, decision)
        tables.show(rows, "matrix")
        st.caption(words.normalisation(reader))
        tables.download(_traced(rows, decision), "workdim_decision.csv", _("Download (CSV)"))
    if decision.left_out:
        told = [words.left_out(one, decision, reader, look.assumed) for one in decision.left_out]
        with st.expander(_("Left out: {n} models").format(n=len(told)), expanded=decision.chosen is None):
            st.markdown("\n".join(f"- {escape(line)}" for line in told))


def _draw_front(look: Look, decision: Decision) -> None:
    """Two criteria at a time; which ones is asked where there are more."""
    _ = language.translator()
    reader = language.current()
    names = {k: words.criterion_name(one.question, reader, look.assumed.bits) for k, one in enumerate(decision.weighed)}
    if len(names) < 2:
        return
    y, x = sorted(names, key=lambda k: (deciding.is_alike(decision, k), -decision.weighed[k].share, k))[:2]
    if len(names) > 2:
        with url_state.together(), st.container(horizontal=True):
            y = inputs.choose_from_list(_("Upwards"), list(names), "up", y, names.__getitem__, width=320)
            others = [k for k in names if k != y]
            x = inputs.choose_from_list(
                _("To the right"), others, "right", x if x != y else others[0], names.__getitem__, width=320
            )
    data = figures.front_points(decision, x, y, reader)
    st.plotly_chart(figures.front_figure(data, reader, look.assumed), key="front", theme=None)
    if data.has_others:
        st.caption(_("Whether a model is on the front is judged over all criteria that weigh, not over the two drawn."))


def matrix(look: Look, decision: Decision) -> pl.DataFrame:
    """One line for each model that can be chosen, the choice first."""
    _ = language.translator()
    reader = language.current()
    columns: dict[str, list[Any]] = {
        _("Model"): [one.name for one in decision.candidates],
        _("Weighted mean"): [round(total, 3) for total in decision.totals],
    }
    for k, one in enumerate(decision.weighed):
        name = words.criterion_name(one.question, reader, look.assumed.bits)
        title = _("{criterion}, weight {share}").format(criterion=name, share=words.share(one.share, reader))
        columns[title] = [_cell(look, decision, row, k) for row in range(len(decision.candidates))]
    columns[_("Among all")] = [words.standing(one, decision, reader) for one in decision.standings]
    return pl.DataFrame(columns)


def _cell(look: Look, decision: Decision, row: int, k: int) -> str:
    """`61.5 [58.2, 64.8] → 0.72`: the value, and what it counts."""
    weighed = decision.weighed[k]
    of = weighed.question.criterion.of
    told = words.reading(of, decision.candidates[row].readings[k], language.current(), look.assumed)
    utility = decision.utilities[row][k]
    return f"{told} → {utility:.2f}" if utility is not None and weighed.share else told


def _traced(rows: pl.DataFrame, decision: Decision) -> pl.DataFrame:
    ids = pl.DataFrame(
        {
            "run_id": [one.run_id for one in decision.candidates],
            "model_id": [one.model_id for one in decision.candidates],
        }
    )
    return pl.concat([ids, rows], how="horizontal")


# --- cost ------------------------------------------------------------------------------------------------------


def show_cost(look: Look) -> None:
    """Memory and price of each model, then every assumption that they rest on."""
    _ = language.translator()
    reader, assumed = language.current(), look.assumed
    bars = figures.cost_bars(look.on.runs, look.on.cost, assumed)
    st.plotly_chart(figures.cost_figure(bars, reader, assumed), key="memory", theme=None)
    price = figures.price_figure(bars, reader, assumed)
    if price is not None:
        st.plotly_chart(price, key="price", theme=None)
    else:
        st.caption(_("No price is told: it needs the price per hour of the machine, and a speed of each model on it."))
    if len(look.on.cost) > len(bars):
        st.caption(_("Drawn: the {n} smallest of {total} models.").format(n=len(bars), total=len(look.on.cost)))
    base = _choose_baseline(look)
    if look.rule:
        st.caption(_("The assumptions are those of the rule."))
    else:
        _ask_assumptions(assumed)
    _show_costs(look, base)
    st.caption(words.cost_note(reader))


def _choose_baseline(look: Look) -> str | None:
    """The model that prices are held against: the one in use today."""
    _ = language.translator()
    priced = [run_id for run_id, one in look.on.cost.items() if one.price is not None]
    if len(priced) < 2:
        return None
    models = {row["model_id"]: row for row in look.on.runs.filter(pl.col("run_id").is_in(priced)).iter_rows(named=True)}
    chosen = inputs.choose_from_list(
        _("Against the model in use"),
        ["", *models],
        "base",
        "",
        lambda key: models[key]["name"] if key else _("none"),
        width=320,
    )
    return models[chosen]["run_id"] if chosen else None


def _ask_assumptions(assumed: Assumptions) -> None:
    _ = language.translator()
    reader = language.current()
    st.subheader(_("Assumptions"))
    with st.container(horizontal=True):
        for name, (low, high) in _NUMBERS.items():
            whole = isinstance(getattr(assumed, name), int) and name not in ASSUMED_IN
            inputs.draw_number(
                words.assumption_name(name, reader), f"a.{name}", low, high, format="%.0f" if whole else "%g", width=210
            )
        st.text_input(
            words.assumption_name("currency", reader), key=url_state.key("a.currency"), max_chars=8, width=120
        )


def _show_costs(look: Look, base: str | None) -> None:
    """The table, in which own speeds are typed."""
    _ = language.translator()
    reader, runs = language.current(), look.on.runs.sort("parameters", "name")
    cost = [look.on.cost[run_id] for run_id in runs["run_id"]]
    own = _("Own speed [tokens/s]")
    of_base = look.on.cost[base].price if base else None
    price = {_("Price per month"): [words.value("price", one.price, reader, look.assumed) for one in cost]}
    saving = {_("Less than in use"): [_saving(of_base, one.price, look.assumed) for one in cost]}
    rows = pl.DataFrame(
        {
            _("Model"): runs["name"],
            own: pl.Series([look.assumed.speeds.get(one) for one in runs["reference"]], dtype=pl.Float64),
            **(price if look.assumed.price_per_hour is not None else {}),
            **(saving if of_base is not None else {}),
            _("Hours per month"): pl.Series(
                [None if one.hours is None else round(one.hours, 1) for one in cost], dtype=pl.Float64
            ),
            _("Machines"): pl.Series([one.machines for one in cost], dtype=pl.Int64),
            _("Speed"): [words.value("speed", one.tokens_per_second, reader) for one in cost],
            _("Where from"): [words.speed_source(one, reader) for one in cost],
            _("Memory in all"): [words.value("memory", one.memory_bytes, reader) for one in cost],
            _("Key-value cache"): [words.cache(one, reader) for one in cost],
            _("Parameters"): [words.value("parameters", n, reader) for n in runs["parameters"]],
            **{
                _("Weights at {bits} bits").format(bits=bits): [
                    words.value("memory", one.weight_bytes[k], reader) for one in cost
                ]
                for k, bits in enumerate(PRECISIONS)
            },
        }
    )
    references = runs["reference"].to_list()
    st.data_editor(
        rows,
        key="decide speeds",
        hide_index=True,
        placeholder="–",
        disabled=True if look.rule else [name for name in rows.columns if name != own],
        column_config={
            _("Model"): st.column_config.Column(pinned=True),
            own: st.column_config.NumberColumn(min_value=0.0),
        },
        on_change=_take_speeds,
        args=(references, own),
    )


def _saving(base: float | None, price: float | None, assumed: Assumptions) -> str:
    return "–" if price is None or base is None else words.value("price", base - price, language.current(), assumed)


def _take_speeds(references: list[str], column: str) -> None:
    """What was typed into the table goes to the address, from which everything is computed."""
    speeds = dict(text.rpartition("~")[::2] for text in st.session_state.get(url_state.key("speeds"), []))
    for row, edits in st.session_state["decide speeds"]["edited_rows"].items():
        if column in edits:
            speeds.pop(references[int(row)], None)
            if edits[column]:
                speeds[references[int(row)]] = f"{edits[column]:g}"
    st.session_state[url_state.key("speeds")] = [f"{name}~{value}" for name, value in speeds.items()]


# --- elsewhere -------------------------------------------------------------------------------------------------


def show_tasks(look: Look) -> None:
    """The relation and the choice of each task, and those of all together."""
    _ = language.translator()
    reader = language.current()
    found = _over_tasks(look)
    if not found.tasks:
        st.info(_("None of these models has a score. Import scores, or score the models on a task of your own."))
        st.page_link("pages/scores.py", label=_("Import scores"), icon=":material/scoreboard:")
        return
    if not look.on.comparable:
        st.caption(_("These models' dimensions do not compare: only what is chosen by each task is told."))
    else:
        st.plotly_chart(figures.task_figure(figures.task_lines(found, reader), reader), key="tasks", theme=None)
        for line in words.pooled(found.pooled, reader) if found.pooled else []:
            st.caption(escape(line))
    tables.show(task_table(look, found), "task table")
    st.caption(
        _(
            "What a task chooses: these criteria with the score of that task in the place of every score, without thresholds of scores."
        )
    )


def _over_tasks(look: Look) -> OverTasks:
    tasks = generality.tasks_of(look.on.offered)
    answers = [reads.answer(look.question.of_score(row)) for row in tasks]
    return generality.over_tasks(answers, look.on, look.asked, look.use_class)


def task_table(look: Look, found: OverTasks) -> pl.DataFrame:
    _ = language.translator()
    reader = language.current()
    drawn = found.pooled.tasks if found.pooled else {}
    rows: list[tuple[str, ...]] = []
    for one in found.tasks:
        relation, pooled = one.answer.relation, drawn.get(one.key)
        rows.append(
            (
                words.task_name(one.benchmark, reader),
                str(relation.n),
                answer_words.word(one.answer, reader) if look.on.comparable else "–",
                answer_words.coefficient(relation.rho, relation.lower, relation.upper),
                answer_words.coefficient(pooled.rho, pooled.lower, pooled.upper) if pooled else "–",
                _chosen(one.decision),
            )
        )
    if found.decision or (found.pooled and found.pooled.n_tasks > 1):
        mean = found.pooled
        rho = answer_words.coefficient(mean.rho, mean.lower, mean.upper) if mean else "–"
        rows.append((_("all tasks together"), "", "", rho, "", _chosen(found.decision)))
    titles = [
        _("Task"),
        _("Models"),
        _("Dimension and score"),
        _("Spearman's rho"),
        _("Drawn towards the others"),
        _("The criteria choose"),
    ]
    table = pl.DataFrame(rows, schema=titles, orient="row")
    return table if look.on.comparable else table.drop(titles[2:5])


def _chosen(decision: Decision | None) -> str:
    return decision.chosen.name if decision and decision.chosen else "–"


def show_elsewhere(look: Look) -> None:
    """Whether order and shape hold on other texts, and the order by scores on other tasks."""
    _ = language.translator()
    reader = language.current()
    runs = reads.ranking().filter(pl.col("model_id").is_in(look.on.runs["model_id"].to_list()))
    st.subheader(_("Models on several texts"))
    order = generality.order_of_texts(runs)
    if order is None:
        st.info(
            _(
                "No two of these models were measured on two texts by one protocol: whether their order holds is not known."
            )
        )
    else:
        texts = dict(runs.select("corpus_id", pl.struct("corpus_name", "corpus_language", "corpus_domain")).rows())
        titles = [
            wording.text_name(one["corpus_name"], one["corpus_language"], one["corpus_domain"], reader)
            for one in (texts[key] for key in order.columns)
        ]
        _draw_order(order, titles, dict(runs.select("run_id", "name").rows()), "texts", _chosen(look.decision))
        st.caption(escape(words.concordance(order, reader, over_texts=True)))
    for one in generality.agreements(runs):
        if one.n_models or one.n_undecided:
            st.caption(escape(words.agreement(one, reader)))
    st.subheader(_("Models on several tasks"))
    of_tasks = _over_tasks(look).order
    if of_tasks is None:
        st.info(_("Fewer than two tasks have scores of most of these models: whether their order holds is not known."))
        return
    by_key = {asking.score_key(row): words.task_name(row, reader) for row in look.on.offered.to_dicts()}
    _draw_order(
        of_tasks,
        [by_key.get(key, key.split("~")[1]) for key in of_tasks.columns],
        look.names,
        "by tasks",
        _chosen(look.decision),
    )
    st.caption(escape(words.concordance(of_tasks, reader, over_texts=False)))


def _draw_order(order: Order, titles: list[str], names: Mapping[str, str], key: str, chosen: str) -> None:
    _ = language.translator()
    data = figures.order_points(order, titles, {run_id: names.get(run_id, run_id) for run_id in order.run_ids}, chosen)
    title = _("Place (1 = largest)") if key == "texts" else _("Place (1 = best)")
    st.plotly_chart(figures.order_figure(data, title), key=f"order {key}", theme=None)


# --- rules -----------------------------------------------------------------------------------------------------


def show_rules(look: Look) -> None:
    """Rules that were saved, how often each was right, and what can be done with the one that is chosen."""
    _ = language.translator()
    saved = reads.saved_rules()
    if told := st.session_state.pop(_TOLD, None):
        st.error(escape(told), icon=":material/error:")
    if saved:
        tables.show(rule_table(saved, look), "rules")
    else:
        st.info(
            _(
                "No rule is saved yet. A rule keeps criteria, weights, thresholds and use class, and what came of each choice."
            )
        )
    if look.rule:
        _act(look, look.rule)
    else:
        _offer_saving(look)
    _offer_upload()


def rule_table(saved: list[SavedRule], look: Look) -> pl.DataFrame:
    _ = language.translator()
    reader = language.current()
    return pl.DataFrame(
        {
            _("Rule"): [words.rule_name(one, reader) for one in saved],
            _("Was right"): [words.record(rule_record.record(one.choices), reader) for one in saved],
            _("Learned on"): [words.task_name(one.rule.task, reader) for one in saved],
            _("Criteria"): [words.rule_text(one.rule, reader) for one in saved],
            _("Use class"): [use_class_name(one.rule.use_class, reader) for one in saved],
            _("Saved"): [language.local_time(one.at) for one in saved],
        }
    )


def _act(look: Look, saved: SavedRule) -> None:
    _ = language.translator()
    reader = language.current()
    with st.container(horizontal=True, vertical_alignment="center"):
        if look.decision:
            st.button(
                _("Apply and keep the choice"),
                type="primary",
                icon=":material/gavel:",
                on_click=_apply,
                args=(look, saved, look.decision),
            )
        st.download_button(
            _("Download as TOML"),
            to_toml(saved.rule),
            f"{saved.rule_id}.toml",
            "application/toml",
            on_click="ignore",
            icon=":material/download:",
        )
        with st.popover(_("Delete..."), icon=":material/delete:"):
            st.markdown(
                _("Forget {rule} with all its choices?").format(rule=f"**{escape(words.rule_name(saved, reader))}**")
            )
            st.button(
                _("Delete"),
                key="rule delete",
                on_click=_change,
                args=(lambda: rules.delete(reads.warehouse(), saved.rule_id),),
            )
    if not saved.choices:
        return
    st.subheader(_("What it chose"))
    for task in dict.fromkeys(one.task for one in saved.choices if one.task):
        told = words.record(rule_record.record(saved.choices, task), reader)
        st.caption(escape(_("On {task}: {told}.").format(task=task, told=told)))
    for one in saved.choices[:MOST_CHOICES]:
        _show_choice(saved, one)
    if len(saved.choices) > MOST_CHOICES:
        st.caption(_("The newest {n} of {total} choices.").format(n=MOST_CHOICES, total=len(saved.choices)))


def _show_choice(saved: SavedRule, one: RuleChoiceRow) -> None:
    """One choice with its reasons; its outcome, or what asks for it."""
    _ = language.translator()
    reader = language.current()
    with st.container(border=True):
        when = _("{day}, task {task}").format(day=language.local_time(one.chosen_at), task=one.task or _("none"))
        st.markdown(f"**{escape(words.choice_text(one, reader))}** · {escape(when)}")
        for line in filter(None, (words.reason(key, reader, one.share_first) for key in one.reasons)):
            st.caption(escape(line))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if one.outcome:
                name = wording.name("rule_outcome", one.outcome, reader)
                told = _("Outcome: {outcome}.").format(outcome=name)
                st.markdown(escape(f"{told} {one.outcome_note or ''}".strip()))
                _outcome_button(_("Take back"), saved, one, None)
            else:
                st.text_input(_("What it is known from"), key=f"note {one.choice_id}", width=320)
                _outcome_button(_("It was right"), saved, one, "right")
                _outcome_button(_("It was wrong"), saved, one, "wrong")


def _outcome_button(label: str, saved: SavedRule, one: RuleChoiceRow, outcome: str | None) -> None:
    def write() -> None:
        note = st.session_state.get(f"note {one.choice_id}")
        rules.write_outcome(reads.warehouse(), saved.rule_id, one.choice_id, outcome, note)

    st.button(label, key=f"{outcome} {one.choice_id}", on_click=_change, args=(write,))


def _change(act: Callable[[], Any]) -> None:
    """Before the page is drawn again, so that it shows what was changed; what cannot be done is told there."""
    try:
        act()
    except WorkdimError as error:
        st.session_state[_TOLD] = str(error)


def _apply(look: Look, saved: SavedRule, decision: Decision) -> None:
    choice = rule_record.choice(saved.rule, decision, look.task, secrets.token_hex(6), datetime.now(UTC))
    _change(lambda: rules.keep_choice(reads.warehouse(), choice))


def _offer_saving(look: Look) -> None:
    """The criteria as they are stated, as a rule of this name."""
    _ = language.translator()
    if look.decision is None:
        return
    st.subheader(_("Save the criteria stated here"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(_("Name of the rule"), key="rule name", max_chars=rules.MAX_NAME, width=320)
        note = st.text_input(_("Note"), key="rule note", width=320)
        st.button(
            _("Save as a rule"),
            icon=":material/save:",
            disabled=not name.strip(),
            on_click=_save,
            args=(look, name.strip(), note.strip() or None),
        )


def _save(look: Look, name: str, note: str | None) -> None:
    def act() -> None:
        kept = rules.save(reads.warehouse(), as_rule(look, name, note))
        st.session_state[url_state.key("rule")] = kept.rule_id

    _change(act)


def as_rule(look: Look, name: str, note: str | None = None) -> Rule:
    """What is stated on the page. The first score is that of the task at hand; further ones name their benchmark."""
    criteria = []
    for one in look.asked:
        is_task = one.benchmark is not None and one.benchmark is look.task
        named = None if one.benchmark is None or is_task else _named(one.benchmark)
        criteria.append(replace(one.criterion, benchmark=named))
    return Rule(name, look.use_class, tuple(criteria), _named(look.task), look.assumed, note)


def _offer_upload() -> None:
    _ = language.translator()
    with st.expander(_("Save a rule from a TOML file")):
        file = st.file_uploader(_("Rule file"), type="toml", key="rule file", label_visibility="collapsed")
        if file is not None and st.button(_("Save it"), key="rule take"):
            try:
                kept = rules.save(reads.warehouse(), rule_of(file.getvalue().decode("utf-8-sig"), Path(file.name)))
            except UnicodeDecodeError:
                st.error(_("The file is not UTF-8. Save it as UTF-8 and try again."), icon=":material/error:")
            except WorkdimError as error:
                st.error(escape(str(error)), icon=":material/error:")
            else:
                st.success(escape(words.rule_name(kept, language.current())), icon=":material/check:")
