"""The dump says something, and the same thing twice."""

from pathlib import Path

import pytest

from tests.dump import pages, verbs
from tests.dump.texts import Folder
from tests.screens import filled_warehouse

pytestmark = pytest.mark.slow


def test_a_dump_is_not_empty_and_stable(tmp_path: Path) -> None:
    warehouse = filled_warehouse(tmp_path / "warehouse")
    written = []
    for at in (1, 2):
        out = tmp_path / str(at)
        verbs.dump(Folder(out, [tmp_path]), warehouse, ["within"])
        pages.dump(Folder(out, [tmp_path]), warehouse, ["choose"])
        written.append({path.relative_to(out): path.read_text("utf-8") for path in out.rglob("*.*")})
    assert written[0] == written[1] and len(written[0]) == 5
    assert all(len(text) > 500 for text in written[0].values())
    assert "> view.scores: Imported files" in written[0][Path("pages/choose.en.txt")]  # a section, found by itself
