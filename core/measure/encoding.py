"""What a tokenizer makes of one window of plain text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.measure.words import read_offsets


@dataclass(frozen=True)
class Encoded:
    """One window, cut to the tokens of the protocol; shorter where its text has fewer."""

    ids: list[int]
    n_characters: int
    """Characters of the text that the tokens cover."""
    n_bytes: int
    """UTF-8 bytes of the text that the tokens from the second on cover."""
    offsets: np.ndarray
    """Of each token in the text, as `read_offsets` gives them; (n_tokens, 2) int32"""
    template: np.ndarray
    """Tokens that a chat template has written around the text; (n_tokens,) bool"""


def encode_text(text: str, tokenizer: Any, n_tokens: int) -> Encoded:
    encoding = tokenizer(
        text, truncation=True, max_length=n_tokens, return_offsets_mapping=tokenizer.is_fast, verbose=False
    )
    ids = list(encoding["input_ids"])
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
