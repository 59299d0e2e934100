"""The wording of what can be read at a single layer: the next token, by the model's own head, and labels of the reader's own.

`rows` are correlators of one run (`core.measure.profile`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from core.analysis.intervals import reach_of_many
from core.locale import _
from core.sources import shown
from core.tables import LayerCorrelatorRow
from core.wording.labels import joined_sentences, ranges, with_error


def readable_text(rows: Sequence[LayerCorrelatorRow], layer: int | None) -> str:
    """What the head reads of the next token where the dimension is largest, and at the end; empty where nobody measured it.

    `rows` are `readable_loss` of one run by layer, `layer` that of the largest inner dimension.
    """
    if any(row.value is None for row in rows):
        return not_readable_text()
    losses = {row.layer: with_error(row.value, row.std_error) for row in rows}
    if layer not in losses:
        return ""
    line = _("Readable loss, in nats: {inner} where the dimension is largest (layer {layer}), {final} at the end.")
    return line.format(inner=losses[layer], layer=shown(layer), final=losses[max(losses)])


def not_readable_text() -> str:
    """What stands in place of a loss that cannot be read at inner layers."""
    return _("Readable loss is left out: read at the last layer, it is not the model's own.")


def readable_limits() -> str:
    """What loss readable at a layer is, and is not."""
    return _(
        "Read by the model's own norm and head; ± over documents. Early layers can read badly by "
        "their coordinates, not by their content, above all with tied weights."
    )


def served_text(rows: Iterable[LayerCorrelatorRow]) -> str:
    """Which layer serves the reader's own labels best; empty where none were given."""
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
    is_any_better = right - reach > guess
    if not is_any_better:
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
    if not equal or not is_any_better:
        return told
    return joined_sentences((told, _("Not told apart from it: layers {layers}.", layers=ranges(equal))))


def served_limits() -> str:
    """How layers are held against labels."""
    return _(
        "Ridge classifier on mean states, cross-validated by document; 95 % intervals over documents,"
        " corrected for all layers. The best layer reads a little high."
    )
