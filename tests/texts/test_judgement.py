"""What is said of a text before a model reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import CorpusError
from core.runs.requests import judged_text
from core.texts.windows import Judgement


def judged(path: Path, pieces: list[str]) -> Judgement:
    path.write_text("\n\n".join(pieces), encoding="utf-8")
    return judged_text({"corpus": str(path)}, "quick", 0)


def test_words_language_and_copies_are_told(tmp_path: Path) -> None:
    names = [f"{one}{two}" for one in "abcdefghi" for two in "klmnopqrst"]
    own = [
        " ".join(f"The {one} customers of the shop asked {name} for 3 labels." for one in names[:8]) for name in names
    ]
    found = judged(tmp_path / "own.txt", own)
    assert found.language == "English" and found.repeated == 0 and not found.is_repetitive
    assert found.n_words == pytest.approx(sum(len(piece.split()) for piece in own), rel=0.1)
    copies = judged(tmp_path / "copies.txt", [*own[:60], *(piece.upper().replace("3", "7") for piece in own[:30])])
    assert 0.25 < copies.repeated < 0.4 and copies.is_repetitive
    japanese = judged_text({"corpus": "japanese-business"}, "quick", 0)
    assert japanese.language == "Japanese" and japanese.is_wide and not found.is_wide
    one_line = judged(tmp_path / "invoices.txt", ["The invoice was paid on time. " * 1_000])
    assert one_line.repeated > 0.9 and one_line.is_repetitive


def test_a_text_that_is_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match="quick: 10 of some 22,528 characters .about 10 pages.*`workdim score MODEL MODEL --task"
    ):
        judged(tmp_path / "short.txt", ["Only this."])
    path = tmp_path / "some.txt"
    path.write_text("\n\n".join(f"Customer {n} asked for new labels. " * 60 for n in range(30)), encoding="utf-8")
    assert judged_text({"corpus": str(path)}, "quick", 0).n_words > 5_000
    with pytest.raises(
        CorpusError, match=r"of some 90,112 characters \(about 40 pages\)\. .*choose the protocol quick\."
    ):
        judged_text({"corpus": str(path)}, "standard", 0)
