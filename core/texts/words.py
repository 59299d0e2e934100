"""Words as points: the cloud `one_per_word`, on which alone models with different tokenizers are compared.

Token types differ between tokenizers, words of the text do not. The words are chosen before the first forward pass; each
occurrence is then represented by the last token that covers it.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from icu4py.breakers import WordBreaker

from core.errors import ModelError, Sentence

# Characters that a token is assumed to cover: few, so that nearly every tokenizer that suits the language covers all
# words. Of 32 windows of 128 tokens SmolLM2 loses no occurrence; MiniLM loses none in business English and one
# percent in Python documentation (rules of asterisks, a token each). Two small Japanese vocabularies: 0.0 and 0.2.
CHARACTERS_PER_TOKEN = 2.5
CHARACTERS_PER_TOKEN_CJK = 1.0
LOOK_AHEAD = 64
"""Characters beyond the span that the word breaker sees, so that the last words are not cut."""


@dataclass(frozen=True)
class WordSet:
    """Occurrences of words in the order of the text: the same for every model that it was chosen for."""

    windows: np.ndarray
    """Sequence of each occurrence; (n_occurrences,) int64"""
    words: np.ndarray
    """Word of each occurrence, numbered by first appearance; (n_occurrences,) int64"""
    starts: np.ndarray
    """First character of each, from the start of the window; (n_occurrences,) int64"""
    ends: np.ndarray
    """One past the last character; (n_occurrences,) int64"""
    hash: str
    """Twelve hex digits over the words and their positions: equal for the same words of the same text."""

    @property
    def n_words(self) -> int:
        """Number of distinct words."""
        return int(self.words.max()) + 1 if len(self.words) else 0

    def order(self, seed: int, draw: int) -> np.ndarray:
        """The seeded permutation of the occurrences that decides draw number `draw`; (n_occurrences,) int64.

        Each word is represented by its first placed occurrence in this order: the same one for every tokenizer, unless
        a tokenizer has lost it and the next one takes its place.
        """
        return np.random.default_rng([seed, 3, draw]).permutation(len(self.words))


def word_span(n_tokens: int, wide: bool) -> int:
    """Number of characters of each window that words are taken from; `wide` for Chinese, Japanese and Korean."""
    return math.floor(n_tokens * (CHARACTERS_PER_TOKEN_CJK if wide else CHARACTERS_PER_TOKEN))


def choose_words(
    texts: Sequence[str], spans: Sequence[int], tokenized: Sequence[tuple[np.ndarray, np.ndarray]] = ()
) -> WordSet:
    """The words in the first `spans` characters of the windows `texts`.

    The first word of each window is left out: its only token may be the masked position 0, or its start cut off.
    `tokenized` holds the offsets and special tokens of each tokenizer to compare, as `place_words` takes them: an
    occurrence is kept only if all of them place it.
    """
    by_window = [_words_in(window, text, span) for window, (text, span) in enumerate(zip(texts, spans, strict=True))]
    occurrences = np.concatenate([*by_window, np.empty((0, 3), np.int64)])  # (n_occurrences, 3)
    words = _word_set(texts, occurrences)
    keep = np.ones(len(occurrences), dtype=bool)
    for offsets, special in tokenized:
        keep &= place_words(words, offsets, special) >= 0
    return words if keep.all() else _word_set(texts, occurrences[keep])


def place_words(words: WordSet, offsets: np.ndarray, special: np.ndarray) -> np.ndarray:
    """Row (sequence * n_tokens + position) of the token that represents each occurrence, or -1; (n_occurrences,) int64.

    It is the last token that covers the word: several byte tokens may share the last character, and a normaliser may
    have dropped an accent. A word has no token if it goes on beyond the sequence (the last token is never used, because
    the rest of a character may be missing), or if its token is special (such as unknown) or at the masked position 0. A
    token that covers several words represents each of them, so two words can be one point: leaving them out would lose
    20 to 30 percent of the occurrences in Japanese, different ones for each tokenizer.

    offsets (n_sequences, n_tokens, 2) as from `read_offsets`, special (n_sequences, n_tokens) bool.
    """
    rows = np.full(len(words.words), -1, dtype=np.int64)
    for window in np.unique(words.windows):
        in_window = np.flatnonzero(words.windows == window)
        position = _last_token(offsets[window], words.starts[in_window], words.ends[in_window])
        usable = (position > 0) & ~special[window][position]
        rows[in_window] = np.where(usable, window * offsets.shape[1] + position, -1)
    return rows


def _last_token(spans: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Position of the last token that covers each word of a sequence, or -1; (n_words,) int64."""
    with_offsets = np.flatnonzero(spans[:, 0] >= 0)
    if not len(with_offsets):
        return np.full(len(ends), -1, dtype=np.int64)
    reach = spans[with_offsets[-1], 0]
    covering = np.full(int(ends.max()), -1, dtype=np.int64)  # position of the last token on each character
    for position in with_offsets[:-1]:
        covering[spans[position, 0] : spans[position, 1]] = position
    covered = np.maximum.accumulate(np.where(covering >= 0, np.arange(len(covering)), -1))
    last_characters = covered[ends - 1]  # the last character of the word, or before it, that a token covers
    return np.where((ends <= reach) & (last_characters >= starts), covering[last_characters], -1)


def read_offsets(encoding: Any, n_tokens: int) -> np.ndarray:
    """First character and one past the last of each token of an encoded text; (n_tokens, 2) int32.

    -1 if a token covers no character (added special tokens) or is missing, and if no offsets were given.
    """
    table = np.full((n_tokens, 2), -1, dtype=np.int32)
    spans = np.array(encoding.get("offset_mapping") or [], dtype=np.int32).reshape(-1, 2)
    covers = spans[:, 1] > spans[:, 0]
    table[: len(spans)][covers] = spans[covers]
    return table


def _words_in(window: int, text: str, n_characters: int) -> np.ndarray:
    """Window, start and end of the words within the first `n_characters` characters, without the first; (n, 3) int64."""
    spans = word_spans(text[: n_characters + LOOK_AHEAD])
    spans = spans[spans[:, 1] <= n_characters][1:]
    return np.column_stack([np.full(len(spans), window), spans]).astype(np.int64)


def _word_set(texts: Sequence[str], occurrences: np.ndarray) -> WordSet:
    numbers: dict[str, int] = {}
    digest = hashlib.sha256()
    words = np.empty(len(occurrences), dtype=np.int64)
    for index, (window, start, stop) in enumerate(occurrences.tolist()):
        word = texts[window][start:stop]
        words[index] = numbers.setdefault(word, len(numbers))
        digest.update(f"{window} {start} {stop} {word}\n".encode("utf-8", "surrogatepass"))
    return WordSet(occurrences[:, 0], words, occurrences[:, 1], occurrences[:, 2], digest.hexdigest()[:12])


KATAKANA = re.compile("[\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f]+")
SURROGATE = re.compile("[\ud800-\udfff]")


def word_spans(text: str) -> np.ndarray:
    """Start and end of each word in characters; (n_words, 2) int32.

    A word is a segment with a letter or a digit (Unicode Standard Annex 29); spaces, punctuation and emoji are none.
    Offsets are counted here, because icu4py reports UTF-16 units, which differ beyond the basic plane.
    """
    segments = WordBreaker(SURROGATE.sub("\ufffd", text), "root")  # a lone surrogate has no UTF-8 form
    spans, position = [], 0
    for is_katakana, run in itertools.groupby(segments, lambda segment: KATAKANA.fullmatch(segment) is not None):
        # Rule WB13 of the annex: no break between katakana. The dictionary cuts loan words it does not know.
        for segment in ["".join(run)] if is_katakana else run:
            if any(character.isalnum() for character in segment):
                spans.append((position, position + len(segment)))
            position += len(segment)
    return np.array(spans, dtype=np.int32).reshape(-1, 2)


@dataclass(frozen=True)
class Encoded:
    """One window, cut to the tokens of the protocol; shorter if its text has fewer."""

    ids: list[int]
    n_characters: int
    """Number of characters of the text that the tokens cover."""
    n_bytes: int
    """Number of UTF-8 bytes of the text that the tokens from the second on cover."""
    offsets: np.ndarray
    """Offsets of each token in the text, as from `read_offsets`; (n_tokens, 2) int32"""
    template: np.ndarray
    """Tokens that a chat template adds around the text; (n_tokens,) bool"""


def opening_token(tokenizer: Any) -> str | None:
    """The token (BOS) that a tokenizer puts before a text, or None; an encoder's [CLS] does not count."""
    bos = tokenizer.bos_token_id
    if bos is None or bos == tokenizer.cls_token_id:
        return None
    return str(tokenizer.bos_token) if tokenizer("a", verbose=False)["input_ids"][0] == bos else None


def unknown_token(tokenizer: Any) -> int | None:
    """The unknown token that a tokenizer can produce; byte-level ones cannot, and name BOS or EOS in its place."""
    unknown = tokenizer.unk_token_id
    return None if unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id) else unknown


def encode_text(text: str, tokenizer: Any, n_tokens: int, opened: bool = True, model: str = "this model") -> Encoded:
    """The first tokens of a text, with the special tokens that the tokenizer adds if `opened`.

    Raises ModelError if those alone are more than `n_tokens`; `model` is the name of the tokenizer's model in errors.
    """
    encoding = tokenizer(
        text,
        add_special_tokens=opened,
        truncation=True,
        max_length=n_tokens,
        return_offsets_mapping=tokenizer.is_fast,
        verbose=False,
    )
    ids = list(encoding["input_ids"])
    if len(ids) > n_tokens:  # it cuts the text to make room, and never what it adds
        raise ModelError(
            "{model} cannot be measured: {reason}. {remedy}",
            model=model,
            remedy=Sentence("Choose another model."),
            reason=Sentence(
                "its tokenizer adds {n_added} tokens to {n_tokens}",
                n_added=tokenizer.num_special_tokens_to_add(),
                n_tokens=n_tokens,
            ),
        )
    offsets, template = read_offsets(encoding, n_tokens), np.zeros(n_tokens, dtype=bool)
    if not tokenizer.is_fast:
        covered = tokenizer.decode(ids, skip_special_tokens=True)
        target = tokenizer.decode(ids[1:], skip_special_tokens=True)
        return Encoded(ids, max(len(covered), 1), len(target.encode()), offsets, template)
    spans = [span for span in encoding["offset_mapping"] if span[1] > span[0]]
    targets = [span for span in encoding["offset_mapping"][1:] if span[1] > span[0]]
    n_bytes = len(text[targets[0][0] : targets[-1][1]].encode("utf-8", "surrogatepass")) if targets else 0
    return Encoded(ids, (spans[-1][1] - spans[0][0]) if spans else 1, n_bytes, offsets, template)


def special_tokens(encoded: Encoded, tokenizer: Any) -> np.ndarray:
    """Which tokens have a special id; (n_tokens,) bool, False beyond the end of a short window."""
    special = np.zeros(len(encoded.template), dtype=bool)
    special[: len(encoded.ids)] = np.isin(encoded.ids, np.array(tokenizer.all_special_ids, dtype=np.int64))
    return special
