"""Which layer serves a user's own labels: a ridge classifier on the mean state of each text, layer by layer.

Each text is told by a classifier that learned from the other documents alone. Mean states as in arXiv 2502.02013, which finds inner
layers to serve many tasks better than the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from core.analysis.intervals import mean_difference, share_error
from core.geometry.clouds import none_if_nan
from core.measure.capture import require_known_tokens
from core.models.model import OpenModel
from core.models.stacks import each_state, run_stack
from core.tables import LayerCorrelatorRow
from core.texts.corpora import LabelledTexts

MOST_TOKENS = 256
"""Of a text; what is longer is cut."""
RIDGE = 1.0
"""Penalty, in squared lengths of a text's centred state, which are all one."""


def probe_layers(model: OpenModel, labelled: LabelledTexts, run_id: str) -> list[LayerCorrelatorRow]:
    """By layer the share of texts that are told right, how far that is behind the best layer, paired by document, and the share of the
    commonest label, which guessing has."""
    states = mean_states(model, labelled.texts)
    classes, documents = labelled.classes, labelled.documents
    right = [(told(layer, classes, documents) == classes).astype(float) for layer in states]
    best = right[int(np.argmax([one.mean() for one in right]))]
    rows = []
    for layer, one in enumerate(right):
        behind = mean_difference(one - best, np.ones(len(one)), documents)
        values = {
            "label_accuracy": (float(one.mean()), share_error(one, documents)),
            "label_behind_best": (behind.value, behind.std_error),
            "label_guess": (labelled.guess, float("nan")),
        }
        for name, (value, error) in values.items():
            row = LayerCorrelatorRow(run_id, layer, "residual", "labelled", name, value, none_if_nan(error), len(one))
            rows.append(row)
    return rows


@torch.inference_mode()
def mean_states(model: OpenModel, texts: tuple[str, ...]) -> np.ndarray:
    """Mean over the tokens of each text, the first left out where there are more; (n_layers + 1, n_texts, hidden_size) float32."""
    most = min(model.context or MOST_TOKENS, MOST_TOKENS)
    ids = [model.tokenizer(text, verbose=False)["input_ids"][:most] or [0] for text in texts]
    require_known_tokens(model, max(map(max, ids)))
    found = np.zeros((model.n_layers + 1, len(ids), model.hidden_size), dtype=np.float32)
    module = model.module.base_model if model.stack == "main" else model.module  # no head
    rows: list[int] = []

    def keep(index: int, state: Tensor) -> None:
        of_text = state[:, model.n_before :].float()
        found[index, rows] = of_text[:, min(1, of_text.shape[1] - 1) :].mean(1).cpu().numpy()

    with each_state(model.layers, keep):
        for rows in _batches(ids, model.batch):
            run_stack(module, model.stack, torch.tensor([ids[row] for row in rows], device=model.device))
    return found


def _batches(ids: list[list[int]], most: int) -> Iterator[list[int]]:
    """Texts of equal length, so that none is padded."""
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    for _length, same in groupby(order, key=lambda row: len(ids[row])):
        alike = list(same)
        yield from (alike[start : start + most] for start in range(0, len(alike), most))


def told(states: np.ndarray, classes: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """The class of each text by ridge regression on the texts of all other documents; (n_texts,)

    states (n_texts, hidden_size), centred and scaled to length one. Leaving a document out needs no fit of its own: with
    the fitted values HY, its errors are (I - H_dd)^-1 (Y - HY)_d.
    """
    centred = states.astype(np.float64) - states.mean(0)
    directions = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-30)
    products = directions @ directions.T + 1.0  # the constant, penalised alike
    n = len(products)
    hat = np.linalg.solve(products + RIDGE * np.eye(n), products)
    wanted = np.eye(classes.max() + 1)[classes]
    errors = wanted - hat @ wanted
    predicted = np.empty_like(wanted)
    for document in np.unique(documents):
        own = np.flatnonzero(documents == document)
        without = np.linalg.solve(np.eye(len(own)) - hat[np.ix_(own, own)], errors[own])
        predicted[own] = wanted[own] - without
    return predicted.argmax(1)
