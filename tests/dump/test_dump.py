"""The dump says something, and the same thing twice; what verbs say fits a terminal."""

from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.conftest import run_core
from tests.dump import pages, verbs
from tests.dump.texts import LANGUAGES, Folder
from tests.screens import RUN_IDS, filled_warehouse, worked_with

ANSWERS = f"""
plan --list
plan --show 0199-healed
runs list
runs show {RUN_IDS[0]}
runs diff {RUN_IDS[0]} {RUN_IDS[1]}
runs diff {RUN_IDS[0]} {RUN_IDS[3]}
compare {RUN_IDS[0]} {RUN_IDS[3]}
choose
rank
within {RUN_IDS[0]}
rules list
scores list
sql --schema
sql --schema runs
sql --examples
jobs
""".strip().splitlines()

pytestmark = pytest.mark.slow


def test_a_dump_is_not_empty_and_stable(tmp_path: Path) -> None:
    warehouse = filled_warehouse(tmp_path / "warehouse")
    written = []
    for at in (1, 2):
        out = tmp_path / str(at)
        verbs.dump(Folder(out, [tmp_path]), warehouse, ["within"])
        written.append({path.relative_to(out): path.read_text("utf-8") for path in out.rglob("*.*")})
    assert written[0] == written[1] and len(written[0]) == 3
    pages.dump(Folder(tmp_path, [tmp_path]), warehouse, ["choose"])
    page = (tmp_path / "pages/choose.en.txt").read_text("utf-8")
    assert "> view.scores: Imported files" in page  # a section, found by itself
    assert all(len(text) > 500 for text in (page, *written[0].values()))


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worked_with(tmp_path_factory.mktemp("worked"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_verbs_say_fits_a_file_of_80_columns(worked: Path, language: str) -> None:
    for asked in ANSWERS:
        done = run_core(*asked.split(), warehouse=worked, WORKDIM_LANGUAGE=language, COLUMNS="80")
        lines = done.stdout.splitlines()
        assert done.returncode == 0 and lines, (asked, done.stderr)
        wide = [line for line in lines if cell_len(line) > 80 and not line.lstrip().startswith("`")]
        assert wide == [], asked  # a command stays whole, to be copied
        assert len(lines) <= 60 or asked.startswith(("rank", "sql", "plan --show", "runs diff")), asked
