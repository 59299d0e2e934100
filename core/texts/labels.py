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
    labels = [str(row["label"]) for row in rows]
    # Without a document of its own, a text that is there twice would be learned from its copy.
    documents = [str(row["text"] if row.get("document") is None else row["document"]) for row in rows]
    in_documents = Counter(label for label, _document in {*zip(labels, documents, strict=True)})
    if len(set(documents)) < FEWEST or len(in_documents) < 2 or min(in_documents.values()) < 2:
        raise CorpusError(
            "{path} has: texts {n_texts}, labels {n_labels}, documents {n_documents}. Give {fewest} documents or more, each label in "
            "two of them.",
            path=path.name,
            n_texts=len(rows),
            n_labels=len(in_documents),
            n_documents=len(set(documents)),
            fewest=FEWEST,
        )
    drawn = np.sort(np.random.default_rng(0).permutation(len(rows))[:MOST])
    return LabelledTexts(
        tuple(rows[at]["text"] for at in drawn),
        _numbers([labels[at] for at in drawn]),
        _numbers([documents[at] for at in drawn]),
    )


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
