"""What is read of a text: windows, which start at the same characters for every model, and the words in them.

Windows are disjoint, and placed by the characters of the text alone. Near copies among them are found, and count as one.
Words are the points of the cloud `one_per_word`, on which alone models with different tokenizers are compared: token types
differ between tokenizers, words of the text do not. They are chosen before the first forward pass; each occurrence is then
represented by the last token that covers it.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import charset_normalizer
import numpy as np
from icu4py.breakers import WordBreaker

from core.errors import CorpusError, ModelError, Sentence, sentences
from core.registry.protocols import PROTOCOLS, Protocol
from core.texts.corpora import BETWEEN, Corpus

# Characters reserved per token: generous for the script, so that windows are disjoint under any tokenizer.
RESERVED_PER_TOKEN = 5.5
RESERVED_PER_TOKEN_CJK = 2.2
TOKENS_PER_PAGE = 409
"""Of a page as people know it: 2,250 characters, or 900 of Chinese, Japanese or Korean."""
LOSSES_ALONE = Sentence("To compare losses alone: `workdim score MODEL MODEL --task FILE`.")
"""What is left where a text is too short or too foreign for dimensions: a .txt file is a task of texts."""
FEWEST_OF_PLAN, SHORTEST_OF_PLAN = 32, 64
"""Windows of each half of a text, and tokens of one, without which no layer plan is chosen and verified."""


@dataclass(frozen=True)
class Window:
    """The start of a window."""

    document: int
    start: int
    """Offset in characters within the document; for chat messages, index of the window in it."""


def characters_for_tokens(text_sample: str, n_tokens: int) -> int:
    """Number of characters reserved for a window, by the script of the text alone."""
    return math.ceil(n_tokens * (RESERVED_PER_TOKEN_CJK if is_wide(text_sample) else RESERVED_PER_TOKEN))


def count_pages(text_sample: str, n_characters: int) -> int:
    """About how many pages so many characters fill, by the script of the text."""
    return max(1, round(n_characters / characters_for_tokens(text_sample, TOKENS_PER_PAGE)))


def is_wide(text_sample: str) -> bool:
    """Whether the text is written in Chinese, Japanese or Korean, where a character is nearly a token."""
    characters = [c for c in text_sample[:20_000] if not c.isspace()]
    return sum("぀" <= c <= "鿿" or "가" <= c <= "힣" for c in characters) > 0.3 * len(characters)


def merge_pieces(pieces: list[str], length: int) -> list[str]:
    """Documents of at least `length` characters: short neighbouring pieces joined; a short rest joins the last."""
    return [BETWEEN.join(pieces[start:stop]) for start, stop in join_neighbours(list(map(len, pieces)), length)]


def join_neighbours(lengths: Sequence[int], min_length: int) -> list[tuple[int, int]]:
    """Bounds of runs of neighbours that are at least `min_length` long when joined; a short rest joins the last run."""
    runs, start, total = list[tuple[int, int]](), 0, 0
    for index, length in enumerate(lengths):
        total += length + (len(BETWEEN) if index > start else 0)
        if total >= min_length:
            runs.append((start, index + 1))
            start, total = index + 1, 0
    if runs and start < len(lengths):
        runs[-1] = (runs[-1][0], len(lengths))
    return runs


def place_windows(corpus: Corpus, n_windows: int, length: int, seed: int) -> tuple[list[str], list[Window]]:
    """Documents and their windows; pieces are merged into longer documents if one window each leaves too much unused."""
    documents, windows = list[str](), list[Window]()
    for windows_per_document in (1, 4):
        merged = merge_pieces(corpus.pieces, windows_per_document * length)
        planned = plan_windows(merged, n_windows, length, corpus.row.sha256, seed)
        if len(planned) > len(windows):
            documents, windows = merged, planned
        if len(windows) >= n_windows:
            break
    return documents, windows


def require_windows(corpus: Corpus, protocol: Protocol, n_windows: int) -> None:
    """Raises CorpusError for fewer windows than the protocol has: what the text has, what is needed, and what to do."""
    if n_windows >= protocol.n_sequences:
        return
    if corpus.conversations:  # which have room for windows where users speak, however many characters there are
        raise CorpusError(
            "{corpus} is too short for {protocol}: its conversations give {n_windows} of "
            "{n_sequences} windows of {n_tokens} tokens. Add conversations.",
            corpus=corpus.row.name,
            protocol=protocol.name,
            n_windows=n_windows,
            n_sequences=protocol.n_sequences,
            n_tokens=protocol.n_tokens,
        )
    needed = characters_for_tokens(corpus.beginning, protocol.n_tokens) * protocol.n_sequences
    # Where pieces or tokens give fewer windows: as much again for each as so far.
    if corpus.row.n_characters >= needed:
        needed = corpus.row.n_characters * protocol.n_sequences // max(1, n_windows)
    remedy = Sentence("Add text.")
    if smaller := _smaller_protocol(corpus, protocol):
        remedy = Sentence("Add text, or choose the protocol {name}.", name=smaller)
    elif protocol.name in PROTOCOLS:
        remedy = sentences(remedy, LOSSES_ALONE)
    raise CorpusError(
        "{corpus} is too short for {protocol}: {n_characters:,} of some {needed:,} characters (about {pages} pages). {remedy}",
        corpus=corpus.row.name,
        protocol=protocol.name,
        n_characters=corpus.row.n_characters,
        needed=needed,
        pages=count_pages(corpus.beginning, needed),
        remedy=remedy,
    )


def _smaller_protocol(corpus: Corpus, protocol: Protocol) -> str | None:
    """The first protocol of the same use that asks for less text and has room in this one."""
    if protocol.name not in PROTOCOLS or protocol.source:
        return None
    for name, other in PROTOCOLS.items():
        asks_less = other.n_sequences * other.n_tokens < protocol.n_sequences * protocol.n_tokens
        if asks_less and not other.source:
            length = characters_for_tokens(corpus.beginning, other.n_tokens)
            if len(place_windows(corpus, other.n_sequences, length, 0)[1]) >= other.n_sequences:
                return name
    return None


def plan_windows(documents: list[str], n_windows: int, length: int, corpus_hash: str, seed: int) -> list[Window]:
    """Disjoint windows of `length` characters, in the order of the text; the same for every model.

    With enough documents each window comes from a document of its own; otherwise they are distributed by room, and each
    document is cut into equal slots with one window at random in each. Returns fewer windows if there is no room.
    """
    generator = _generator(corpus_hash, seed)
    counts = _distribute_windows([len(document) // length for document in documents], n_windows, generator)
    windows = []
    for index in np.flatnonzero(counts):
        slot = len(documents[index]) // int(counts[index])
        for number in range(int(counts[index])):
            start = number * slot + int(generator.integers(0, slot - length + 1))
            windows.append(Window(int(index), _word_start(documents[index], start, number * slot)))
    return windows


def _generator(corpus_hash: str, *seed: int) -> np.random.Generator:
    return np.random.default_rng([int(corpus_hash[:8], 16), *seed])


def _distribute_windows(room: list[int], n_windows: int, generator: np.random.Generator) -> np.ndarray:
    """Number of windows per document: with enough documents one in each of some; otherwise one if there is room, then more
    where there is most room per window."""
    if len(room) >= n_windows:
        counts = np.zeros(len(room), dtype=np.int64)
        counts[generator.choice(len(room), n_windows, replace=False)] = 1
        return counts
    rooms = np.array(room, dtype=np.int64)
    counts = np.minimum(rooms, 1)
    while int(counts.sum()) < min(n_windows, int(rooms.sum())):
        counts[np.argmax(np.where(counts < rooms, rooms / (counts + 1), -1))] += 1
    return counts


def plan_chat_windows(room: list[int], n_windows: int, corpus_hash: str, seed: int) -> list[Window]:
    """Windows of chat messages, in the order of the text; the same for every model. `room`: windows in each document.

    With enough documents each window is the first of its document: chat models read conversations from the start.
    Otherwise they are distributed by room. Returns fewer windows if there is no room.
    """
    generator = _generator(corpus_hash, seed)
    counts = _distribute_windows(room, n_windows, generator)
    if len(room) >= n_windows:
        return [Window(int(index), 0) for index in np.flatnonzero(counts)]
    return [
        Window(index, int(number))
        for index, count in enumerate(counts.tolist())
        for number in np.sort(generator.choice(room[index], count, replace=False))
    ]


def spare_windows(
    documents: list[str], windows: list[Window], length: int, corpus_hash: str, seed: int
) -> list[Window]:
    """Further disjoint windows in the gaps between the planned `windows`, in the order in which they are used.

    The same for every model; how many are needed depends on its tokenizer.
    """
    planned = {index: list(of) for index, of in itertools.groupby(windows, lambda window: window.document)}
    spares = []
    for index, document in enumerate(documents):
        ends = (bound for window in planned.get(index, ()) for bound in (window.start, window.start + length))
        bounds = [0, *ends, len(document)]
        for gap_start, gap_end in zip(bounds[::2], bounds[1::2], strict=True):
            for slot in range(gap_start, gap_end - length + 1, length):
                spares.append(Window(index, _word_start(document, slot, gap_start)))
    return [spares[i] for i in _generator(corpus_hash, seed, 1).permutation(len(spares))]


def spare_chat_windows(room: list[int], windows: list[Window], corpus_hash: str, seed: int) -> list[Window]:
    """The windows of chat messages that are not planned, in the order in which they are used."""
    planned = set(windows)
    spares = [w for index, count in enumerate(room) for n in range(count) if (w := Window(index, n)) not in planned]
    return [spares[i] for i in _generator(corpus_hash, seed, 1).permutation(len(spares))]


def _word_start(document: str, start: int, floor: int) -> int:
    """The start of the word or line that contains `start`, not before `floor` and at most 40 characters back."""
    for position in range(start, max(floor, start - 40), -1):
        if document[position - 1].isspace() or document[position - 1] in "。、，．":
            return position
    return start


def window_text(documents: list[str], windows: list[Window], index: int, n_tokens: int) -> str:
    """Text from the start of a window, long enough for `n_tokens` tokens of any tokenizer, at most to the next window."""
    window, document = windows[index], documents[windows[index].document]
    next_window = windows[index + 1] if index + 1 < len(windows) else None
    stop = next_window.start if next_window and next_window.document == window.document else len(document)
    return document[window.start : min(stop, window.start + 40 * n_tokens)]


# --- near copies -------------------------------------------------------------------------------------------------

COPY_LENGTH = 8
"""Tokens in a row that count as copied where two windows have them. Prose, code and documentation of this project's own
share less than a seventh of such rows between any two windows, licence headers included; true copies more than 0.4."""
COPY_SHARE = 0.3
"""Share of the rows of the poorer window that makes two windows near copies."""
FEWEST_PASSAGES = 6
"""With fewer passages windows stay apart: there would be no interval, and the check vetoes the run."""


def group_near_copies(ids: np.ndarray, is_text: np.ndarray) -> np.ndarray:
    """The first window of which each one is a near copy, or of which a near copy is one; (n_windows,)

    Both arguments are (n_windows, n_tokens); rows of tokens with one that is not of the text do not count.
    """
    if ids.shape[1] < COPY_LENGTH:
        return np.arange(len(ids))
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    rows = np.lib.stride_tricks.sliding_window_view(ids, COPY_LENGTH, axis=1)
    windows, starts = np.nonzero(np.lib.stride_tricks.sliding_window_view(is_text, COPY_LENGTH, axis=1).all(-1))
    distinct, codes = np.unique(rows[windows, starts], axis=0, return_inverse=True)
    windows, codes = np.unique(np.stack([windows, codes.ravel()]), axis=1)
    holds = csr_matrix((np.ones(len(codes)), (windows, codes)), shape=(len(ids), len(distinct)))
    n_rows = np.maximum(np.bincount(windows, minlength=len(ids)), 1)
    is_copy = (holds @ holds.T).toarray() >= COPY_SHARE * np.minimum(n_rows[:, None], n_rows)
    groups = connected_components(is_copy)[1]
    return np.unique(groups, return_index=True)[1][groups]


def blocks_of_passages(documents: np.ndarray, passages: np.ndarray, n_blocks: int) -> np.ndarray:
    """The jackknife block of each window: near copies are in that of the first, and no block is empty; (n_windows,)"""
    from core.geometry.clouds import contiguous_blocks  # loads torch, which a screen that judges a text does not

    blocks = contiguous_blocks(documents, n_blocks)
    return np.unique(blocks[passages], return_inverse=True)[1]


# --- words -------------------------------------------------------------------------------------------------------

# Characters that a token is assumed to cover: few, so that nearly every tokenizer that suits the language covers all
# words. Of 32 windows of 128 tokens SmolLM2 loses no occurrence; MiniLM loses none in business English and one
# percent in Python documentation (rules of asterisks, a token each). Two small Japanese vocabularies: 0.0 and 0.2.
COVERED_PER_TOKEN = 2.5
COVERED_PER_TOKEN_CJK = 1.0
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
    return math.floor(n_tokens * (COVERED_PER_TOKEN_CJK if wide else COVERED_PER_TOKEN))


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
    spans, targets = (of[of[:, 0] >= 0] for of in (offsets, offsets[1:]))
    n_bytes = len(text[targets[0, 0] : targets[-1, 1]].encode("utf-8", "surrogatepass")) if len(targets) else 0
    return Encoded(ids, int(spans[-1, 1] - spans[0, 0]) if len(spans) else 1, n_bytes, offsets, template)


def special_tokens(encoded: Encoded, tokenizer: Any) -> np.ndarray:
    """Which tokens have a special id; (n_tokens,) bool, False beyond the end of a short window."""
    special = np.zeros(len(encoded.template), dtype=bool)
    special[: len(encoded.ids)] = np.isin(encoded.ids, np.array(tokenizer.all_special_ids, dtype=np.int64))
    return special


# --- what is said of a text before any model reads it --------------------------------------------------------------

JUDGED = 20_000
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


def judge(corpus: Corpus) -> Judgement:
    """What a text is, before any model is fetched."""
    sample = "\n".join(corpus.pieces)[:JUDGED]
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
