"""The surface words of a text, in every script, by ICU's dictionary word breaks (Unicode Standard Annex 29)."""

from __future__ import annotations

import itertools
import re

import numpy as np
from icu4py.breakers import WordBreaker

KATAKANA = re.compile("[\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f]+")
SURROGATE = re.compile("[\ud800-\udfff]")


def word_spans(text: str) -> np.ndarray:
    """Start and end of each word in characters; (n_words, 2) int32.

    A word is a run that holds a letter or a digit; spaces, punctuation and emoji are none. Offsets are counted from
    the pieces: the ones that icu4py reports are UTF-16 units, which differ beyond the basic plane.
    """
    pieces = WordBreaker(SURROGATE.sub("\ufffd", text), "root")  # a lone surrogate has no UTF-8 form
    spans, position = [], 0
    for is_katakana, run in itertools.groupby(pieces, lambda piece: KATAKANA.fullmatch(piece) is not None):
        # Rule WB13 of the annex: no break between katakana. The dictionary cuts loan words it does not know.
        for piece in ["".join(run)] if is_katakana else run:
            if any(character.isalnum() for character in piece):
                spans.append((position, position + len(piece)))
            position += len(piece)
    return np.array(spans, dtype=np.int32).reshape(-1, 2)
