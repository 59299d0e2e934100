"""Every page draws, with an empty and with a filled warehouse, in both languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages.test_pages import opened, texts
from tests.screens import PAGES, empty_warehouse, filled_warehouse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_warehouse(tmp_path_factory.mktemp("filled"))


WITH_HINT = ("start.py", "compare.py", "choose.py", "share.py")
"""Pages that say how one begins where there are no runs; the page to measure on has buttons that add models instead."""


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("content", ["empty", "filled"])
@pytest.mark.parametrize("page", PAGES)
def test_page_draws(
    page: str, content: str, language: str, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = filled if content == "filled" else empty_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(warehouse))
    app = opened(page, lang=language)
    assert not app.exception
    assert not app.error
    (title,) = app.title
    assert title.value
    if language == "en" and page in WITH_HINT:
        assert ("workdim demo" in texts(app).replace("\\", "")) == (content == "empty")
    if page == "measure.py":
        assert any("local:ladder-128-base-step1500" in one.options for one in app.button_group)
