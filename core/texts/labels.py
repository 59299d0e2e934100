"""A user's own labelled texts, which layers are probed with: JSON lines or CSV with a text and its label in each row."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from core.errors import CorpusError
from core.texts.corpora import decode, json_lines

MOST = 1000
"""Texts that are read; of more, as many by a fixed draw."""
FEWEST = 20
"""Least number of documents: fewer tell no layers apart."""


@dataclass(frozen=True)
class LabelledTexts:
    texts: tuple[str, ...]
    classes: np.ndarray
    """(n_texts,) number of each text's label"""
    documents: np.ndarray
    """(n_texts,) document of each text, which is never probed with what was learned from it"""

    @property
    def sha256(self) -> str:
        content = [self.texts, self.classes.tolist(), self.documents.tolist()]
        return hashlib.sha256(json.dumps(content).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def guess(self) -> float:
        """Share of the commonest label."""
        return float(np.bincount(self.classes).max() / len(self.classes))


def read_labels(path: Path) -> LabelledTexts:
    """Rows with `text`, `label` and, if several rows are of one document, `document`. Raises CorpusError."""
    content = _decoded(path)
    rows: list[dict[str, Any]]
    if path.suffix.lower() == ".csv":
        try:
            rows = pl.read_csv(io.StringIO(content), infer_schema=False).to_dicts()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise _not_labelled(path) from error
    else:
        rows = [record for _number, record in json_lines(path, content)]
    if not all(
        isinstance(row.get("text"), str) and row["text"].strip() and row.get("label") is not None for row in rows
    ):
        raise _not_labelled(path)
    if len(rows) > MOST:
        rows = [rows[at] for at in np.sort(np.random.default_rng(0).permutation(len(rows))[:MOST])]
    labels = [str(row["label"]) for row in rows]
    documents = [
        str(row["document"]) if row.get("document") is not None else f"row {at}" for at, row in enumerate(rows)
    ]
    if len(set(documents)) < FEWEST or min(Counter(labels).values(), default=0) < 2 or len(set(labels)) < 2:
        raise CorpusError(
            "{path} has {n_texts} texts of {n_labels} labels. Give {fewest} documents or more, and each label twice.",
            path=path.name,
            n_texts=len(rows),
            n_labels=len(set(labels)),
            fewest=FEWEST,
        )
    return LabelledTexts(tuple(row["text"] for row in rows), _numbers(labels), _numbers(documents))


def _decoded(path: Path) -> str:
    try:
        return decode(path, "utf-8")
    except CorpusError as error:
        if not isinstance(error.__cause__, UnicodeError):
            raise
        raise CorpusError("{path} is not UTF-8. Save it so: Excel calls it CSV UTF-8.", path=path.name) from error


def _numbers(names: list[str]) -> np.ndarray:
    return np.unique(names, return_inverse=True)[1]


def _not_labelled(path: Path) -> CorpusError:
    return CorpusError(
        "{path} is no file of labelled texts. Each row needs `text` and `label`, as JSON lines or CSV.", path=path.name
    )
