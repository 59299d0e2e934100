"""The wording of a comparison of models on a text: which reads it best, their shape, and what may be compared."""

from __future__ import annotations

from collections.abc import Sequence

from core import wording
from core.analysis.differences import Comparability, TextLoss
from core.locale import _
from core.questions.runs import ComparedModel, Compares, Comparison
from core.wording.labels import labels_of, shortened_name
from core.wording.numbers import interval_of, with_interval
from core.wording.provenance import comparability_text, conditions_text


def labels(comparison: Comparison) -> dict[str, str]:
    """run_id -> the name of the model, with what tells several runs of it apart."""
    return labels_of([model.run for model in comparison.models])


def answer_text(comparison: Comparison) -> str:
    """Which model reads the text best; of models without a loss, how many dimensions they use."""
    if not comparison.differences:
        return _shape_text(comparison)
    names = labels(comparison)
    ordered = comparison.by_loss
    told = [f"{names[one.run.run_id]} {loss_text(one.loss)}" for one in ordered]
    template = _("On {text}, bits per byte (lower is better): {models}.")
    losses = template.format(text=ordered[0].run.corpus_name, models=_(", ").join(told))
    if len(ordered) > 2:
        return losses
    better = _("{text}.").format(text=better_text(comparison))
    return wording.joined_sentences((better, losses, difference_text(comparison.differences[0].loss)))


def better_text(comparison: Comparison) -> str:
    """`SmolLM2 reads python-docs better than ladder`, of two models with a loss."""
    best, other = comparison.by_loss
    names = labels(comparison)
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
        return wording.joined_sentences((lead, _("Heights do not compare either; the layer of the peak does.")))
    names = labels(comparison)
    told = _(", ").join(f"{names[one.run.run_id]} {dimension_text(one)}" for one in comparison.models)
    return wording.joined_sentences((lead, _("Largest inner dimension: {models}.").format(models=told)))


def left_out_lines(comparison: Comparison) -> list[str]:
    """Of which models the loss is not held against the others', and why; of none, what the answer is then."""
    names = labels(comparison)
    without = [names[model.run.run_id] for model in comparison.models if model.loss is None]
    lines = []
    if len(without) == len(names):
        lines.append(_("Encoders have no loss: only their shapes compare."))
    elif without:
        template = _("{names}: encoders have no loss, only their shapes compare.")
        lines.append(template.format(names=_(", ").join(without)))
    by_reason: dict[tuple[str, ...], list[str]] = {}
    for one in comparison.compares:
        if one.what == "bits_per_byte" and not one.may and one.base.loss and one.other.loss:
            by_reason.setdefault(one.reasons, []).append(names[one.other.run.run_id])
    if by_reason and not comparison.differences:
        reasons = dict.fromkeys(key for reasons in by_reason for key in reasons)
        return [
            *lines,
            _("Their losses do not compare, because they differ in: {what}.").format(what=conditions_text(reasons)),
        ]
    template = _("Losses of {names} do not compare, because they differ in: {what}.")
    return lines + [
        template.format(names=_(", ").join(others), what=conditions_text(reasons))
        for reasons, others in by_reason.items()
    ]


def dimension_text(model: ComparedModel) -> str:
    """The largest inner dimension on the points of the comparison, with its interval."""
    return "–" if model.dimension is None else interval_of(model.dimension, "inner_max")


def note_lines(comparison: Comparison) -> list[str]:
    """What the intervals rest on, and what may be compared, each once."""
    names = labels(comparison)
    lines = []
    if len(comparison.differences) > 1:
        first = names[comparison.differences[0].base.run.run_id]
        told = [
            f"{names[one.other.run.run_id]} {with_interval(one.loss.value, one.loss.lower, one.loss.upper)}"
            for one in comparison.differences
        ]
        lines.append(_("{name} less each other: {differences}.").format(name=first, differences=_(", ").join(told)))
    lines += interval_lines(comparison)
    if len({model.run.tokenizer_hash for model in comparison.by_loss}) > 1:
        lines.append(_("Windows begin alike; longer tokens reach a little further."))
    return [*lines, *not_compared_lines(comparison)]


def interval_lines(comparison: Comparison) -> list[str]:
    """What the intervals rest on; nothing where there are none."""
    units = {one.loss.unit: one.loss.n for one in comparison.differences if one.loss.n}
    texts = {
        "document": _("95 % intervals over {n} documents, paired."),
        "block": _("95 % intervals over {n} blocks of windows, paired; they say less of other texts."),
    }
    return [texts[unit].format(n=n) for unit, n in units.items()]


def not_compared_lines(comparison: Comparison) -> list[str]:
    """What is to be known before two numbers are held against each other, beside the answer."""
    left_out = left_out_lines(comparison) if comparison.differences else []  # else the answer begins with them
    return [*left_out, *compares_lines(comparison)]


def brief_text(comparison: Comparison) -> str:
    """`not_compared_lines` in one line without reasons; empty where all compare, and where the answer says so itself."""
    by_loss, names = {one.run.run_id for one in comparison.by_loss}, labels(comparison)
    left_out = [name for run_id, name in names.items() if run_id not in by_loss] if comparison.differences else []
    told = [_("Not compared by loss: {names}.").format(names=_(", ").join(left_out))] if left_out else []
    if comparison.points == "one_per_word":
        told.append(_("Dimensions compare on words only."))
    elif comparison.points is None and comparison.differences:
        told.append(_("Not all dimensions compare; shapes do."))
    return wording.joined_sentences((*told, _("Why: under Verdicts and numbers."))) if told else ""


def compares_lines(comparison: Comparison) -> list[str]:
    """Whether dimensions may be compared with the first model's, those of one reason together."""
    names = labels(comparison)
    by_sentence: dict[str, list[str]] = {}
    for one in comparison.compares:
        if one.what == "dimension":
            by_sentence.setdefault(_dimensions_text(one), []).append(names[one.other.run.run_id])
    first = names[comparison.models[0].run.run_id]
    if len(comparison.models) == 2:
        return list(by_sentence)
    template = _("{first} and {names}: {what}")
    return [template.format(first=first, names=_(", ").join(others), what=what) for what, others in by_sentence.items()]


def _dimensions_text(one: Compares) -> str:
    by_types, by_words = one.points == "one_per_type", one.points == "one_per_word"
    return comparability_text(Comparability(by_types, by_words, one.reasons))


def heads(comparison: Comparison) -> Sequence[str]:
    """The heads of `table_rows`."""
    points = wording.name("cloud", comparison.points or "one_per_type")
    return (
        _("Model"),
        _("Bits per byte"),
        _("Largest inner dimension, {points}").format(points=points),
        _("N (points)"),
    )


def table_rows(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """A line for each model, in the order of comparison."""
    names = labels(comparison)
    return [
        (
            names[model.run.run_id],
            loss_text(model.loss),
            dimension_text(model),
            "–" if model.dimension is None else f"{model.dimension.n_points:,}",
        )
        for model in comparison.models
    ]
