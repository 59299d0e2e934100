"""The wording of dimension and loss within one model: their relation over its windows, and the loss that each layer reads."""

from __future__ import annotations

import math
from collections.abc import Iterable

from core.analysis.intervals import reach_of_many
from core.analysis.relation import MARGIN, Relation, WindowRelation
from core.locale import _
from core.sources import Text, shown
from core.tables import LayerCorrelatorRow, Run
from core.wording.answers import coefficient_text, relation_text, sample_size_reasons
from core.wording.numbers import number, ranges
from core.wording.scores import p_value_text


def answer_word(relation: Relation) -> str:
    """The answer in a word. The expectation is a published one, and never registered."""
    words = {"hint": _("a hint"), "not_related": _("not related"), "cannot_tell": _("cannot tell")}
    return words[relation.answer]


def place_text(windows: WindowRelation) -> str:
    """Where the dimension was measured: `inner layer 5`, `after the last block`."""
    return (
        _("after the last block") if windows.place == "final" else _("inner layer {layer}").format(layer=windows.layer)
    )


def answer_text(windows: WindowRelation, run: Run) -> str:
    """The whole answer for one model on one text."""
    relation = windows.relation
    if relation.answer == "hint" and (relation.rho or 0.0) < 0:
        claim = _(
            "A hint, not registered beforehand: where a window uses more directions ({place}), {model} tends to predict it "
            "better"
        )
    elif relation.answer == "hint":
        claim = _(
            "A hint, not registered beforehand: where a window uses more directions ({place}), {model} tends to predict it "
            "worse"
        )
    elif relation.answer == "not_related":
        claim = _("Not related within ±{margin}: directions of a window ({place}) and how well {model} predicts it")
    else:
        claim = _("Cannot tell: directions of a window ({place}) and how well {model} predicts it")
    template = _("{claim}: {numbers} documents of {windows} windows; text {text}, protocol {protocol}.")
    return template.format(
        claim=claim.format(place=place_text(windows), model=run.name, margin=shown(MARGIN, "g")),
        numbers=relation_text(relation),
        windows=relation.n_units,
        text=run.corpus_name,
        protocol=run.protocol,
    )


def note_lines(windows: WindowRelation) -> list[str]:
    """Why no answer is possible, rho given the types, and the control."""
    return [*_undecided_lines(windows.relation), _given_types_text(windows), *_control_lines(windows)]


def expectation_text() -> str:
    """What is expected by whom."""
    return _(
        "Exploratory. Published: the larger the dimension of a text, the larger its loss (arXiv 2501.10573; its estimators "
        "disagree: 0.51, 0.13, -0.46)."
    )


def _undecided_lines(relation: Relation) -> list[str]:
    lines = {
        "no_scores": _("None of these windows has a loss."),
        "no_dimensions": _("None of these windows has this dimension."),
        "search": _("Not registered, and p, corrected for all looks, is above 0.05."),
        **sample_size_reasons(relation),
    }
    return [lines[key] for key in relation.reasons if key in lines]


def _given_types_text(windows: WindowRelation) -> str:
    given = windows.given_types
    if given.r is None:
        return _("Given the token types of a window: no coefficient.")
    template = _("Given the token types of a window: r {r}, {p}.")
    return template.format(r=coefficient_text(given.r, given.lower, given.upper), p=p_value_text(given.p))


def _control_lines(windows: WindowRelation) -> list[str]:
    if windows.shuffled is None:
        return [_("Without a control of shuffled tokens: --controls measures it.")]
    template = _("Control with shuffled tokens: {word}; {numbers}.")
    lines = [template.format(word=answer_word(windows.shuffled), numbers=relation_text(windows.shuffled))]
    if windows.difference is not None:
        template = _("Text less shuffled tokens: {difference}.")
        lines.append(template.format(difference=coefficient_text(*windows.difference)))
    return lines


def readable_text(rows: Iterable[LayerCorrelatorRow], layer: int | None) -> str:
    """What the head reads of the next token where the dimension is largest, and at the end; empty where nobody measured it.

    `rows` are `readable_loss` of one run by layer, `layer` that of the largest inner dimension.
    """
    losses = {row.layer: _loss_text(row) for row in rows}
    if layer not in losses:
        return ""
    line = _("Readable loss, in nats: {inner} where the dimension is largest (layer {layer}), {final} at the end.")
    return line.format(inner=losses[layer], layer=shown(layer), final=losses[max(losses)])


def _loss_text(row: LayerCorrelatorRow) -> str:
    error = "" if row.std_error is None else Text(" ± {}").format(shown(row.std_error, ".2g"))
    return number(row.value) + error


def readable_limits() -> str:
    """What loss readable at a layer is, and is not."""
    return _(
        "Read by the model's own norm and head, as if it were the last layer; ± over documents. Early layers can read badly "
        "because they are written in other coordinates, not because they know less, above all where embedding and head share "
        "weights."
    )


def served_text(rows: Iterable[LayerCorrelatorRow]) -> str:
    """Which layer serves the reader's own labels best; empty where none were given.

    `rows` are correlators of one run (`core.measure.label_probe`).
    """
    by_name: dict[str, dict[int, tuple[float, float, int]]] = {}
    for row in rows:
        if row.value is not None:
            by_name.setdefault(row.correlator, {})[row.layer] = (row.value, row.std_error or 0.0, row.n_points)
    found = by_name.get("label_accuracy")
    if not found:
        return ""
    best = max(found, key=lambda layer: found[layer][0])
    (right, error, n_texts), (guess, *_error) = found[best], by_name["label_guess"][best]
    reach = reach_of_many(len(found)) * error  # the best was looked for among all
    lower, upper = (shown(100 * min(max(end, 0.0), 1.0), ".0f") for end in (right - reach, right + reach))
    if right - reach <= guess:
        line = _(
            "No layer surely tells your labels better than guessing: at most {share} % [{lower}, {upper}] of {n} texts, against {guess} %."
        )
    else:
        line = _(
            "Layer {layer} serves your labels best: {share} % [{lower}, {upper}] of {n} texts told right, {guess} % by guessing."
        )
    told = line.format(
        layer=shown(best),
        share=shown(100 * right, ".0f"),
        lower=lower,
        upper=upper,
        n=shown(n_texts),
        guess=shown(100 * guess, ".0f"),
    )
    behind = by_name["label_behind_best"]
    of_pairs = reach_of_many(math.comb(len(behind), 2))  # any two could have been the best and another
    equal = [n for n, (value, error, _n) in behind.items() if n != best and value + of_pairs * error >= 0]
    if not equal or right - reach <= guess:
        return told
    more = _("Not told apart from it: layers {layers}.").format(layers=_(", ").join(ranges(equal)))
    return _("{first} {second}").format(first=told, second=more)


def served_limits() -> str:
    """How layers are held against labels."""
    return _(
        "Ridge classifier on each text's mean state, told by the other documents alone; 95 % intervals over documents, widened "
        "for the number of layers. The best layer reads a little high."
    )
