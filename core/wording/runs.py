"""The wording of what was measured: every field of a run with its name and value, section by section, what two runs differ
in, why groups of runs cannot be compared, how models compare on a text, what a report leaves open, and what measuring takes.

Names are declared with the fields: of columns in core.tables, of the request and the protocol in core.records.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from core import wording
from core.analysis import ranking
from core.analysis.differences import Comparability, TextLoss, comparability, differences, flatten, without_incidental
from core.analysis.ranking import RankingGroup
from core.locale import N_, _, translated
from core.questions.ranking_question import OtherGroup
from core.questions.runs import ComparedModel, Compares, Comparison
from core.records import Preflight, RunConfig
from core.registry.protocols import Protocol, settings
from core.sources import Text, counted, derived, shown, stated
from core.tables import TABLES, Run, ids_of, records
from core.wording.labels import (
    amount,
    distinct_short_names,
    distinguishing_names,
    duration,
    grouped,
    interval_of,
    kind_text,
    labels_of,
    listed,
    names_text,
    run_labels,
    said_of,
    shortened_name,
    with_interval,
    yes_or_no,
)
from core.wording.verdicts import badge_text, verdict_marks

TITLES = N_(
    {
        "run": "Run",
        "model": "Model",
        "text": "Text",
        "protocol": "Protocol",
        "tokens": "Tokens asked for, read and left out",
        "machine": "Machine, memory, time",
        "programs": "Programs",
        "request": "Request",
    }
)
"""Section -> its title, in display order."""
PREFIXES = {
    "config.protocol.": "protocol",
    "config.run.": "request",
    "config": "request",
    "execution": "machine",
    "phase_seconds": "machine",
    "library_versions": "programs",
}
"""Prefix -> section, for parts of JSON fields without a declared name: an installation may have unknown packages."""


def _declared() -> Iterator[tuple[str, str, str, str, str]]:
    """(section, field, name, kind of its values, unit) of every declared field of a run."""
    for table in (TABLES["models"], TABLES["corpora"], TABLES["runs"]):
        for column in table.columns:
            declared = column.declared
            section = declared.section or table.section
            if declared.screen:
                field = column.name if declared.key else table.prefix + column.name
                yield section, field, declared.screen, declared.values, declared.unit
            for part, name in declared.parts.items():
                yield section, f"{column.name}.{part}", name, "", ""
    for prefix, record in (("config.protocol.", Protocol), ("config.run.", RunConfig)):
        for name, setting in settings(record).items():
            yield setting.section or PREFIXES[prefix], prefix + name, setting.screen, "", setting.unit


_DECLARED = tuple(_declared())
_POSITIONS = {
    field: (list(TITLES).index(section), n)
    for n, (section, field, _name, _values, _unit) in enumerate(_DECLARED)
    if section in TITLES
}
"""Field -> its section and its place there. Fields that are not declared are placed by `PREFIXES`."""
NAMES = {field: name for _section, field, name, _values, _unit in _DECLARED}
KINDS = {field: values for _section, field, _name, values, _unit in _DECLARED if values}
"""Fields whose values have names in `wording.name`, and the kind of these names."""
BYTES = tuple(field for _section, field, _name, _values, unit in _DECLARED if unit == "bytes")
"""Fields that count bytes."""
CONDITIONS = N_(
    {
        "pass": "kind of pass",
        "kind": "kind of model",
        "stack": "part of the model",
        "tokenizer_hash": "tokenizer",
        "words_hash": "words",
        "corpus_id": "text",
        "protocol_hash": "protocol, seed or version",
        "dtype": "number format",
        "n_points": "number of points (N)",
    }
)
"""What must be equal in runs whose dimensions are compared."""
ABSENT = "–"


@dataclass(frozen=True)
class Field:
    section: str
    """Title of its section."""
    field: str
    """Name of the column, with the part of its JSON: `library_versions.torch`."""
    label: str
    text: str
    """The value with its unit; a dash if the run has none."""


def fields(record: Mapping[str, Any]) -> list[Field]:
    """Every field of a record (core.warehouse.runs), section by section; empty ones are shown as a dash."""
    values = flatten(record)
    return [
        Field(section_title(name), name, field_name(name), field_text(name, values[name]))
        for name in sorted(values, key=field_position)
    ]


def field_position(field: str) -> tuple[int, int]:
    """The sort key of a field: its section, then its position there. Fields without a name come last."""
    if field in _POSITIONS:
        return _POSITIONS[field]
    section = next((key for prefix, key in PREFIXES.items() if field.startswith(prefix)), "run")
    return list(TITLES).index(section), len(_DECLARED)


def section_title(field: str) -> str:
    """The title of the section of a field."""
    return translated(list(TITLES.values())[field_position(field)[0]])


def field_name(field: str) -> str:
    """The name of a field. Packages keep their own; a field without a name is shown as it is stored."""
    column, _dot, part = field.partition(".")
    if field in NAMES:
        return translated(NAMES[field])
    if column == "phase_seconds":
        return _("time: {phase}", phase=wording.phase_name(part))
    return part if column == "library_versions" and part else field


def field_text(field: str, value: Any) -> str:
    """The value of a field with its unit; a dash for None."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return yes_or_no(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return listed(map(str, value))
    if field in KINDS:
        return wording.name(KINDS[field], str(value))
    if field in BYTES and isinstance(value, int):
        return amount(value)
    if field.startswith("phase_seconds") and isinstance(value, (int, float)):
        return _("{seconds} s", seconds=shown(value, ".1f"))
    if isinstance(value, int):
        return str(value) if field.endswith("seed") else shown(value, ",")
    return shown(value, ".4g") if isinstance(value, float) else str(value)


def conditions_text(keys: Iterable[str]) -> str:
    """The names of conditions in which runs differ: `tokenizer, text`."""
    return listed(translated(CONDITIONS[key]) for key in keys)


def comparability_text(found: Comparability | Compares) -> str:
    """Whether dimensions of runs may be compared and, if not, why, with the way out."""
    if found.points == "one_per_type":
        return _(
            "Their dimensions may be compared: same text, protocol, tokenizer and kind of model, and N within 10 %."
        )
    return wording.joined_sentences((apart_text(found), *(() if found.points else ways_out(found.reasons))))


def apart_text(found: Comparability | Compares) -> str:
    """Why dimensions do not compare on one point per type, and whether they do on one per word; empty where they compare."""
    if found.points == "one_per_type":
        return ""
    template = (
        _("Their dimensions compare on one point per word alone, because they differ in: {what}.")
        if found.points
        else _("Their dimensions may not be compared, because they differ in: {what}.")
    )
    return template.format(what=conditions_text(found.reasons))


@dataclass(frozen=True)
class Line:
    """One field or one result of two runs."""

    section: str
    """Title of the field's section; empty for results."""
    label: str
    one: str
    other: str


def differing_lines(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Line]:
    """The fields in which two runs differ, but for those that differ between any two runs."""
    differing = without_incidental(differences(one, other))
    return [
        Line(
            section_title(difference.field),
            field_name(difference.field),
            field_text(difference.field, difference.one),
            field_text(difference.field, difference.other),
        )
        for difference in sorted(differing, key=lambda difference: field_position(difference.field))
    ]


def result_lines(one: Run, other: Run) -> list[Line]:
    """The results of two runs."""
    others = result_texts(other)
    return [Line("", label, text, others[label]) for label, text in result_texts(one).items()]


def result_texts(run: Run, *, is_brief: bool = False) -> dict[str, str]:
    """The results of a run by their names: dimensions with intervals, N, verdicts and checks.

    `is_brief` shows verdicts as marks and a short name, without their reasons.
    """
    verdicts = f"{verdict_marks(run)} {badge_text(run)}" if is_brief else wording.outcome_text(run)
    return {
        _("Largest inner dimension"): wording.interval_of(run, "inner_max"),
        _("Working dimension"): wording.shape_text(run),
        _("Final, before the norm"): wording.interval_of(run, "final_dimension_pre_norm"),
        _("Final, after the norm"): wording.interval_of(run, "final_dimension_post_norm"),
        _("N (points)"): ABSENT if run.n_points is None else shown(run.n_points, ","),
        _("Verdicts"): verdicts,
        _("Checks"): checks_text(run),
    }


def checks_text(run: Run) -> str:
    """The worst outcome of the checks of a run; of a veto, also the checks."""
    outcome = wording.outcome_name(run.worst_check)
    names = wording.names("check", run.vetoed_by or []).values()
    return said_of(outcome, [*names]) if names else outcome


# --- groups ----------------------------------------------------------------------------------------------------


LONGEST_TEXT = 20
"""Letters of the text in the name of a group in a list."""


def group_name(group: RankingGroup) -> str:
    """What the runs share, as names: `decoder, english-business, quick`; a hash would mean nothing to a reader."""
    return listed(_group_parts(group))


def group_names(groups: Sequence[RankingGroup]) -> list[str]:
    """Names for a list, which shows their beginnings: the text first, without its middle if it is long, and before names that
    are alike the first model."""
    parts = [_group_parts(group) for group in groups]
    texts = distinct_short_names(
        [text for _kind, text, *_more in parts], lambda name: shortened_name(name, LONGEST_TEXT)
    )
    names = [listed([text, kind, *more]) for text, (kind, _whole, *more) in zip(texts, parts, strict=True)]
    models = distinct_short_names([one.rows["name"][0] for one in groups], lambda name: shortened_name(name, 16))
    return [
        _("{model} …: {group}", model=model, group=name) if names.count(name) > 1 else name
        for model, name in zip(models, names, strict=True)
    ]


def _group_parts(group: RankingGroup) -> list[str]:
    kind, stack, *read = group.rows.select("kind", "stack", "corpus_name", "protocol").row(0)
    size = [Text("N={}").format(wording.size_range(group.n_points))] if group.n_points[1] else []
    return [kind_text(kind, stack), *read, *size]


def group_models_text(group: RankingGroup) -> str:
    """The first models of a group by name; the others are counted."""
    return names_text(group.rows["name"].unique(maintain_order=True).to_list(), most=1)


def group_advice_text(other: OtherGroup) -> str:
    """Why a group cannot be compared with the one shown, and what would change that."""
    difference = _("Another {what}.", what=conditions_text(other.differing_keys))
    return wording.joined_sentences([difference, *ways_out(other.differing_keys)])


def why_apart_lines(runs: pl.DataFrame) -> list[str]:
    """The ways out, then all that keeps the dimensions of these runs apart; none where nothing does."""
    found = comparability(*records(runs, Run))
    vetoed = ranking.vetoed(runs)
    lines = [] if found.points else ways_out(found.reasons)
    lines += filter(None, [apart_text(found)])
    if not vetoed.is_empty():
        names = names_text(vetoed["name"].unique(maintain_order=True).to_list())
        lines.append(_("Vetoed by a check: {names}. See Compare, Checks.", names=names))
    return lines


def ways_out(differing: Collection[str]) -> list[str]:
    """What makes models comparable that differ in these conditions."""
    if {"kind", "stack"} & set(differing):
        return [_("Decoders and encoders are never ranked together: Compare shows their shapes.")]
    lines = []
    if "words_hash" in differing:
        lines.append(_("Measured together, they compare on words."))
    elif "tokenizer_hash" in differing:
        lines.append(_("On one point per word they compare if measured together."))
    elif {"corpus_id", "protocol_hash"} & set(differing):
        lines.append(_("They compare if measured together."))
    if "n_points" in differing:
        lines.append(_("N differs by more than 10 %: use a longer text."))
    return lines


# --- models compared on a text -----------------------------------------------------------------------------------


def model_labels(comparison: Comparison) -> dict[str, str]:
    """run_id -> the name of the model, with what tells several runs of it apart."""
    return labels_of([model.run for model in comparison.models])


def comparison_text(comparison: Comparison) -> str:
    """Which model reads the text best; of models without a loss, how many dimensions they use."""
    if not comparison.differences:
        return _shape_text(comparison)
    names = model_labels(comparison)
    ordered = comparison.by_loss
    told = [f"{names[one.run.run_id]} {loss_text(one.loss)}" for one in ordered]
    text = ordered[0].run.corpus_name
    losses = _("On {text}, bits per byte (lower is better): {models}.", text=text, models=told)
    if len(ordered) > 2:
        return losses
    better = _("{text}.", text=better_text(comparison))
    return wording.joined_sentences((better, losses, difference_text(comparison.differences[0].loss)))


def better_text(comparison: Comparison) -> str:
    """`SmolLM2 reads python-docs better than ladder`, of two models with a loss."""
    best, other = comparison.by_loss
    names = model_labels(comparison)
    told = {"model": names[best.run.run_id], "other": names[other.run.run_id], "text": best.run.corpus_name}
    template = (
        _("{model} reads {text} better than {other}")
        if comparison.differences[0].loss.is_told_apart
        else _("{model} and {other} read {text} alike, as far as can be told")
    )
    return template.format(**{key: shortened_name(name, 40) for key, name in told.items()})


def difference_text(loss: TextLoss) -> str:
    """How far two losses are apart, the larger less the smaller, and whether that is more than chance."""
    if loss.lower is None or loss.upper is None:
        return _("How sure is not known: losses of single windows are missing.")
    sign = 1.0 if loss.value >= 0 else -1.0
    ends = sorted((sign * loss.lower, sign * loss.upper))
    template = (
        _("The difference, {difference}, is more than chance.")
        if loss.is_told_apart
        else _("The difference, {difference}, may be chance.")
    )
    return template.format(difference=with_interval(sign * loss.value, *ends))


def loss_text(loss: TextLoss | None) -> str:
    """Bits per byte with their interval; a dash for a model without a loss."""
    return "–" if loss is None else with_interval(loss.value, loss.lower, loss.upper)


def _shape_text(comparison: Comparison) -> str:
    lead = wording.joined_sentences(left_out_lines(comparison))
    if comparison.points is None:
        return wording.joined_sentences((lead, _("Peak dimensions do not compare either; their layers do.")))
    names = model_labels(comparison)
    told = [f"{names[one.run.run_id]} {dimension_text(one)}" for one in comparison.models]
    return wording.joined_sentences((lead, _("Largest inner dimension: {models}.", models=told)))


def left_out_lines(comparison: Comparison) -> list[str]:
    """Of which models the loss is not held against the others', and why."""
    names = model_labels(comparison)
    without = [names[model.run.run_id] for model in comparison.models if model.loss is None]
    lines = [_("Encoders have no loss: {names}.", names=without)] if without else []
    by_reason = grouped(
        (one.reasons, names[one.other.run.run_id])
        for one in comparison.compares
        if one.what == "bits_per_byte" and not one.may and one.base.loss and one.other.loss
    )
    return lines + [
        _(
            "Losses of {names} do not compare, because they differ in: {what}.",
            names=others,
            what=conditions_text(reasons),
        )
        for reasons, others in by_reason.items()
    ]


def dimension_text(model: ComparedModel) -> str:
    """The largest inner dimension on the points of the comparison, with its interval."""
    return "–" if model.dimension is None else interval_of(model.dimension, "inner_max")


INTERVALS = N_(
    {
        "document": "95 % intervals over {n} documents, paired.",
        "block": "95 % intervals over {n} blocks of windows, paired; they say less of other texts.",
    }
)
"""What intervals of a loss rest on."""


def comparison_note_lines(comparison: Comparison) -> list[str]:
    """What the intervals rest on, and what may be compared, each once."""
    names = model_labels(comparison)
    lines = []
    if len(comparison.differences) > 1:
        first = names[comparison.differences[0].base.run.run_id]
        told = [
            f"{names[one.other.run.run_id]} {with_interval(one.loss.value, one.loss.lower, one.loss.upper)}"
            for one in comparison.differences
        ]
        lines.append(_("{name} less each other: {differences}.", name=first, differences=told))
    units = {one.loss.unit: one.loss.n for one in comparison.differences if one.loss.n}
    lines += [translated(INTERVALS[unit]).format(n=n) for unit, n in units.items()]
    if len({model.run.tokenizer_hash for model in comparison.by_loss}) > 1:
        lines.append(_("Windows begin alike; longer tokens reach a little further."))
    return [*lines, *not_compared_lines(comparison)]


def not_compared_lines(comparison: Comparison) -> list[str]:
    """What is to be known before two numbers are held against each other, beside the answer: whether dimensions may be compared
    with the first model's, those of one reason together."""
    lines = left_out_lines(comparison) if comparison.differences else []  # else the answer begins with them
    first, *_others = names = model_labels(comparison)
    dimensions = [one for one in comparison.compares if one.what == "dimension"]
    by_sentence = grouped((comparability_text(one), names[one.other.run.run_id]) for one in dimensions)
    return lines + [
        _("{first} and {names}: {what}", first=names[first], names=others, what=what)
        for what, others in by_sentence.items()
    ]


def comparison_columns(comparison: Comparison) -> dict[str, Callable[[ComparedModel], str]]:
    """The table of the models compared: head -> the cell of a model."""
    names = model_labels(comparison)
    points = wording.name("cloud", comparison.points or "one_per_type")
    return {
        _("Model"): lambda model: names[model.run.run_id],
        _("Bits per byte"): lambda model: loss_text(model.loss),
        _("Largest inner dimension, {points}", points=points): dimension_text,
        _("N (points)"): lambda model: "–" if model.dimension is None else shown(model.dimension.n_points, ","),
    }


# --- what a report of measurements leaves open, and says nowhere else --------------------------------------------

Limit = tuple[str, str]
"""A question that a reader will ask, and why these runs do not answer it."""
ENOUGH_WINDOWS = stated(64, "ENOUGH_WINDOWS")
"""With fewer windows of text, the final dimension of some models depends on their number."""
MOST_NAMES = 2


def limits(text: pl.DataFrame, against_controls: pl.DataFrame, words: Sequence[RankingGroup]) -> Iterator[Limit]:
    """The open questions of these runs on text, each with a verdict.

    `against_controls` are rows of run_controls, `words` is `ranking.across_tokenizers` of the same runs. What the slides
    themselves hold against the answer (other texts, samples and methods, controls, checks, scores) is not told again.
    """
    yield (_("Does a dimension make a model good or bad?"), _("Not shown: nothing was changed and measured again."))
    yield from _shuffled_text(text, against_controls)
    yield from _sample(text)
    yield from _tokenizers(text, words)
    yield from _models(text)
    yield (
        _("Is this the quantity of the source paper?"),
        _("Not known: d2 is ours, not compared with arXiv 2503.22547."),
    )


def _shuffled_text(text: pl.DataFrame, against_controls: pl.DataFrame) -> Iterator[Limit]:
    """What shuffled text says about the two dimensions themselves."""
    own = against_controls.filter(pl.col("claim").is_in(["inner_max", "final"]))
    same, differs, unclear = (set(ids_of(own.filter(outcome=one))) for one in ("same", "differs", "cannot_tell"))
    cases = (
        (same - differs, _("No evidence: shuffled tokens give the same within 10 % ({names}).")),
        (unclear - same - differs, _("Unclear for {names}: the interval is too wide.")),
        (set(ids_of(text)) - same - differs - unclear, _("Untested for {names}: no shuffled tokens.")),
    )
    told = [template.format(names=_names(run_ids, text)) for run_ids, template in cases if run_ids & set(ids_of(text))]
    if told:
        yield _("Is the shape about what the text says?"), wording.joined_sentences(told)


def _sample(text: pl.DataFrame) -> Iterator[Limit]:
    sizes = text["n_points"].drop_nulls().to_list()
    size = wording.size_range((min(sizes), max(sizes))) if sizes else "–"
    yield (
        _("Is this the dimension of the whole vocabulary?"),
        _("d2 rises with N: all values belong to N={size}.", size=size),
    )
    fewest = text["n_sequences"].min()
    if isinstance(fewest, int) and fewest < ENOUGH_WINDOWS:
        counts = {"count": derived(fewest, "runs", "n_sequences"), "needed": ENOUGH_WINDOWS}
        yield _("Is the text long enough?"), _("Only {count} windows in some runs; {needed} are advised.", **counts)


def _tokenizers(text: pl.DataFrame, words: Sequence[RankingGroup]) -> Iterator[Limit]:
    """Values on token types belong to one tokenizer; runs of several compare on one point per word, if at all."""
    count = counted(text["tokenizer_hash"].n_unique(), "models")
    if count < 2:
        return
    groups = [set(ids_of(group.rows)) for group in words if group.rows["tokenizer_hash"].n_unique() > 1]
    comparable = set().union(*groups)
    reason = _("Only some ({names}), on one point per word.")
    if not comparable:
        reason = _("{count} tokenizers, and no two runs share kind, protocol, words and N.")
    elif len(groups) == 1 and comparable == set(ids_of(text)):
        reason = _("Only on one point per word.")
    question = _("Can models with different tokenizers be compared?")
    yield question, reason.format(count=count, names=_names(comparable, text))


def _models(text: pl.DataFrame) -> Iterator[Limit]:
    """Weights that are not a base model's, models without a final norm, and formats that differ."""
    relations = [
        said_of(shortened_name(run.name), wording.name("relation", run.base_relation))
        for run in records(text.unique("model_id", maintain_order=True), Run)
        if run.base_relation is not None
    ]
    if relations:
        told = _(
            "The weights measured are not the base model's ({relations}).", relations=names_text(relations, MOST_NAMES)
        )
        yield _("Do the numbers hold for the base models?"), told
    bare = text.filter(pl.col("qualifiers").list.contains("no_final_norm").fill_null(False))
    if bare.height:
        names = _names(set(ids_of(bare)), text)
        yield _("Are the final states of all models alike?"), _("No. Without a final norm: {names}.", names=names)
    dtypes = sorted(text["dtype"].unique().to_list())
    if len(dtypes) > 1:
        told = _("Number formats differ ({dtypes}); the effect was not measured.", dtypes=dtypes)
        yield _("Does the number format matter?"), told


def _names(run_ids: set[str], text: pl.DataFrame) -> str:
    """The runs by what tells them apart: the first, and how many more."""
    labels = run_labels(text)
    short = map(shortened_name, distinguishing_names(list(labels.values())))
    return names_text([label for run_id, label in zip(labels, short, strict=True) if run_id in run_ids], MOST_NAMES)


# --- what a measurement will take --------------------------------------------------------------------------------


def cost_facts(card: Preflight) -> dict[str, str]:
    """Time, memory, disk and size by their names; without what is not needed."""
    time = _("Time") if card.download_bytes == 0 else _("Time after the download")
    facts = {
        time: "" if card.refusals else duration(card.seconds),
        _("Memory"): amount(card.memory_bytes),
        _("Memory of the GPU"): amount(card.gpu_memory_bytes) if card.gpu_memory_bytes else "",
        _("To download"): amount(card.download_bytes),
        _("Disk meanwhile"): amount(card.scratch_bytes),
        _("Layers"): str(card.n_layers or ""),
        _("Parameters"): f"{card.parameters:,}" if card.parameters else "",
        _("Tokens to read"): f"{card.n_tokens:,}" if card.n_tokens and not card.refusals else "",
    }
    return {name: text for name, text in facts.items() if text}


def network_text(card: Preflight) -> str:
    """`LlamaModel, decoder, safetensors, float32, measured in float32, licence: apache-2.0`."""
    described = (
        card.architecture,
        kind_text(card.kind, card.stack or "main") if card.kind else None,
        card.stored_format,
        card.stored_dtype,
        _("measured in {dtype}", dtype=card.dtype),
        _("licence: {name}", name=card.licence or _("unknown")),
        _("weights read block by block") if card.streamed else None,
    )
    return listed(filter(None, described))
