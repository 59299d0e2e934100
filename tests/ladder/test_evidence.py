"""docs/evidence.md is what the shipped data give today, in both languages."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests import evidence

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.slow
def test_the_evidence_is_that_of_the_shipped_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["evidence", "--out", str(tmp_path)])
    evidence.main()
    for name in ("evidence.md", "evidence.ja.md"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (DOCS / name).read_text(encoding="utf-8"), (
            "run `python -m tests.evidence` and commit what it writes"
        )
    pictures = sorted((tmp_path / "figures").glob("*.svg"))
    assert pictures and len(pictures) % 2 == 0
    for picture in pictures:
        ElementTree.fromstring(picture.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("value", "told"), [(None, "–"), (0.0004, "< 0.001"), (0.0421, "0.042")])
def test_p_values_are_short(value: float | None, told: str):
    assert evidence._p(value) == told
