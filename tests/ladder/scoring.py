"""What a checkpoint can do: held-out bits per byte, and the log-likelihood of each choice of each question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

from tests.ladder import text
from tests.ladder.questions import Question
from tests.ladder.recipes import CONTEXT

BATCH = 32


def bits_per_byte(model: LlamaForCausalLM, files: dict[str, str]) -> dict[str, Any]:
    """Bits of all tokens over bytes of all files, lower is better.

    Each file follows the end token and is read in windows of `CONTEXT` tokens that know nothing of one another. The
    standard error is that of a ratio over the files.
    """
    nats, sizes = [], []
    for name in sorted(files):
        ids = [text.tokenizer().eos_token_id, *text.tokenizer().backend_tokenizer.encode(files[name]).ids]
        nats.append(_nats(model, ids))
        sizes.append(len(files[name].encode()))
    bits, n_bytes = np.array(nats) / math.log(2), np.array(sizes)
    value = bits.sum() / n_bytes.sum()
    n = len(sizes)
    error = math.sqrt(n / (n - 1) * ((bits - value * n_bytes) ** 2).sum()) / n_bytes.sum()
    by_file = [round(float(one), 5) for one in bits / n_bytes]
    return {"value": float(value), "std_error": float(error), "by_file": by_file}


@torch.inference_mode()
def _nats(model: LlamaForCausalLM, ids: Sequence[int]) -> float:
    """Of all tokens but the first."""
    inputs, targets = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
    whole = len(inputs) // CONTEXT * CONTEXT
    ends = [min(start + BATCH * CONTEXT, whole) for start in range(0, whole, BATCH * CONTEXT)]
    parts = [
        (inputs[start:end].view(-1, CONTEXT), targets[start:end].view(-1, CONTEXT))
        for start, end in pairwise([0, *ends])
    ]
    if whole < len(inputs):
        parts.append((inputs[None, whole:], targets[None, whole:]))
    losses = [
        cross_entropy(model(read).logits.flatten(0, 1), wanted.flatten(), reduction="sum") for read, wanted in parts
    ]
    return float(sum(losses))


@torch.inference_mode()
def answers(model: LlamaForCausalLM, questions: Sequence[Question]) -> pl.DataFrame:
    """One row for each question: what was chosen by the log-likelihood of the whole choice, and per byte of it.

    Columns: task, question (its number within the task), answer, chosen, chosen_per_byte, margin (nats by which the
    right choice is above the best wrong one), distance (tokens).
    """
    encode = text.tokenizer().backend_tokenizer.encode
    sequences, starts = [], []
    for question in questions:
        prompt = encode(question.prompt).ids
        for choice in question.choices:
            sequences.append(prompt + encode(choice).ids)
            starts.append(len(prompt))
    order = sorted(range(len(sequences)), key=lambda n: len(sequences[n]))
    likelihood = np.zeros(len(sequences))
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        longest = len(sequences[batch[-1]])
        ids = torch.tensor([sequences[n] + [0] * (longest - len(sequences[n])) for n in batch])
        logs = -cross_entropy(model(ids[:, :-1]).logits.transpose(1, 2), ids[:, 1:], reduction="none")
        for row, n in zip(logs, batch, strict=True):
            likelihood[n] = float(row[starts[n] - 1 : len(sequences[n]) - 1].sum())
    rows, first, numbers = [], 0, dict.fromkeys((question.task for question in questions), 0)
    for question in questions:
        logs = likelihood[first : first + len(question.choices)]
        first += len(question.choices)
        wrong = np.delete(logs, question.answer).max()
        rows.append(
            {
                "task": question.task,
                "question": numbers[question.task],
                "answer": question.answer,
                "chosen": int(logs.argmax()),
                "chosen_per_byte": int((logs / [len(choice.encode()) for choice in question.choices]).argmax()),
                "margin": float(logs[question.answer] - wrong),
                "distance": question.distance,
            }
        )
        numbers[question.task] += 1
    small = {"question": pl.Int16, "answer": pl.Int8, "chosen": pl.Int8, "chosen_per_byte": pl.Int8}
    return pl.DataFrame(rows).cast({**small, "margin": pl.Float32, "distance": pl.Int16, "task": pl.Categorical})


def accuracies(answered: pl.DataFrame) -> dict[str, Any]:
    """Task -> shares of right answers, with the standard error of the first."""
    shares = answered.group_by("task", maintain_order=True).agg(
        value=(pl.col("chosen") == pl.col("answer")).mean(),
        per_byte=(pl.col("chosen_per_byte") == pl.col("answer")).mean(),
        n=pl.len(),
    )
    return {
        row["task"]: {
            "value": row["value"],
            "std_error": math.sqrt(row["value"] * (1 - row["value"]) / row["n"]),
            "value_per_byte": row["per_byte"],
            "n": row["n"],
        }
        for row in shares.with_columns(pl.col("task").cast(pl.String)).to_dicts()
    }
