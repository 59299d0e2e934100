"""What can be said of a text before any model reads it: how long it is, in which language, and how much of it repeats."""

from __future__ import annotations

import re
from dataclasses import dataclass

import charset_normalizer

from core.records import RunConfig
from core.texts.sample import open_text
from core.texts.windows import is_wide
from core.texts.words import word_spans

SAMPLE = 20_000
"""Characters that words are counted in and the language is told from."""
MOST_REPEATED = 0.2
"""Share of a text in repeated pieces above which it is said to be repetitive: the same states would be counted anew."""
_NOT_TOLD_APART = re.compile(r"[\W\d_]+")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True)
class Judgement:
    n_words: int
    """Counted in a sample, and carried over to the whole."""
    language: str
    """In English, `Unknown` where the sample does not tell."""
    repeated: float
    """Share of the characters in pieces that are those of an earlier one, word for word, or in such sentences of one piece:
    exact and near copies, which differ in case, numbers or punctuation alone."""
    is_wide: bool
    """Written in Chinese, Japanese or Korean, which a tokenizer made for another language may not read."""

    @property
    def is_repetitive(self) -> bool:
        return self.repeated > MOST_REPEATED


def judge(config: RunConfig) -> Judgement:
    """What the text of a request is, before any model is fetched. Raises CorpusError for one that cannot be measured on."""
    _protocol, corpus = open_text(config)
    sample = "\n".join(corpus.pieces)[:SAMPLE]
    best = charset_normalizer.from_bytes(sample.encode("utf-8", "replace")).best()
    words = len(word_spans(sample)) * corpus.row.n_characters / max(1, len(sample))
    language = best.language if best else "Unknown"
    return Judgement(round(words), language, _repeated(corpus.pieces), is_wide(corpus.beginning))


def _repeated(pieces: list[str]) -> float:
    known: set[str] = set()
    n_repeated = 0
    for piece in pieces:
        is_copy = _words(piece) in known
        known.add(_words(piece))
        n_repeated += len(piece) if is_copy else _repeated_inside(piece)
    return n_repeated / max(1, sum(map(len, pieces)))


def _repeated_inside(piece: str) -> int:
    """Characters in sentences that stand earlier in the same piece."""
    known: set[str] = set()
    n_repeated = 0
    for sentence in _SENTENCE_ENDS.split(piece):
        n_repeated += len(sentence) * (_words(sentence) in known)
        known |= {_words(sentence)} - {""}  # rules and brackets alone repeat nothing
    return n_repeated


def _words(text: str) -> str:
    return _NOT_TOLD_APART.sub(" ", text).casefold().strip()
