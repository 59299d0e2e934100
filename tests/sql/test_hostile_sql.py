"""Whatever is typed: nothing outside is read or written, nothing stays behind, each refusal says why in one line."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from core import errors, exports
from core.errors import QueryError
from core.sql import sandbox
from core.warehouse.warehouse import Warehouse
from tests.conftest import run_core
from tests.screens import filled_warehouse
from tests.sql.hostile import DEEP, GREEDY, HARMLESS, REFUSED

pytestmark = pytest.mark.slow

CANARY = "canary-5b1f0c"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A warehouse in a folder of its own, and around it files that no query may see; byte for byte as before after
    all that was asked.
    """
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "data").mkdir()
    filled_warehouse(folder / "data")
    (folder / "canary.csv").write_text(f"word\n{CANARY}\n", encoding="utf-8")
    pl.DataFrame({"word": [CANARY]}).write_parquet(folder / "canary.parquet")
    before = contents(folder)
    yield folder
    assert contents(folder) == before


@pytest.fixture
def warehouse(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """Fails the test if anything around the warehouse has changed, or a process is left."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    before, running = stamps(folder), children()
    yield Warehouse(folder / "data" / "workdim.duckdb")
    assert stamps(folder) == before
    assert children() <= running
    copies = list(Warehouse(folder / "data" / "workdim.duckdb").query_copies.glob("*"))
    assert len(copies) <= 1 and all(copy.suffix == ".duckdb" for copy in copies)


def files(folder: Path) -> list[Path]:
    """Every file, the copies for queries aside."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and "query-copies" not in path.parts)


def stamps(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {str(path): path.stat() for path in files(folder)}
    return {name: (status.st_ino, status.st_mtime_ns, status.st_size) for name, status in found.items()}


def contents(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files(folder)}


def children() -> set[str]:
    """Processes of ours that are alive; none can be counted where there is no /proc."""
    lists = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {child for file in lists for child in file.read_text(encoding="utf-8").split()}


def filled(sql: str, folder: Path) -> str:
    return sql.replace("{folder}", folder.as_posix()).replace("{canary}", (folder / "canary.csv").as_posix())


def in_one_line(message: str) -> str:
    """A message as a person may see it."""
    assert message and "\n" not in message and len(message) < 1000
    assert CANARY not in message
    assert "Traceback" not in message and "query-copies" not in message
    return message


def matches(pattern: str, message: str) -> None:
    assert re.search(pattern, message), message


def rows_of(stream: bytes) -> str:
    frame = pl.read_ipc_stream(io.BytesIO(stream))
    return f"{frame.columns} {frame.rows()}"


def names(cases: list[tuple[str, str]]) -> list:
    return [pytest.param(sql, told, id=ascii(sql[:48])) for sql, told in cases]


def test_the_suite_is_large_enough():
    assert len({sql for sql, _ in [*REFUSED, *DEEP, *GREEDY, *HARMLESS]}) >= 90


def here(warehouse: Warehouse, sql: str) -> tuple[dict, bytes]:
    """As the worker answers, in this process: a process for each of all statements would take minutes."""
    request = {"path": str(warehouse.path), "wait": 10.0, "limit": 10, "seconds": 10.0, "memory_mb": 512, "sql": sql}
    line, _, rest = sandbox.answer(sandbox.Request(**request), pytest.fail).partition(b"\n")
    return json.loads(line), rest


@pytest.mark.parametrize(("sql", "told"), names(REFUSED))
def test_refused_in_one_line(warehouse: Warehouse, folder: Path, sql: str, told: str):
    if any("\ud800" <= letter <= "\udfff" for letter in sql):  # no worker is asked at all
        with pytest.raises(QueryError, match=told):
            sandbox.run_query(warehouse, sql)
        return
    answer, rest = here(warehouse, filled(sql, folder))
    assert "error" in answer, rows_of(rest)
    matches(told, in_one_line(str(errors.from_record(answer["error"]))))
    assert rest == b""


@pytest.mark.parametrize(("sql", "told"), names([*REFUSED[::90], *DEEP]))
def test_refused_by_a_process_of_its_own(warehouse: Warehouse, folder: Path, sql: str, told: str):
    with pytest.raises(QueryError) as caught:
        sandbox.run_query(warehouse, filled(sql, folder))
    matches(told, in_one_line(str(caught.value)))


@pytest.mark.parametrize(("sql", "told"), names(GREEDY))
def test_greed_is_stopped(warehouse: Warehouse, folder: Path, sql: str, told: str):
    """What may end at its time has half a second; what ends for another reason has as long as a busy machine takes for it."""
    with pytest.raises(QueryError) as caught:
        sandbox.run_query(warehouse, sql, seconds=0.5 if "exceeded" in told else 60.0)
    matches(told, in_one_line(str(caught.value)))


@pytest.mark.parametrize(("sql", "part"), names(HARMLESS))
def test_answered(warehouse: Warehouse, folder: Path, sql: str, part: str):
    answer, rest = here(warehouse, sql)
    assert "error" not in answer, answer
    frame = pl.read_ipc_stream(io.BytesIO(rest))
    said = exports.csv(frame).decode()
    assert part in said
    assert CANARY not in said and str(folder) not in said
    assert frame.height <= 10


@pytest.mark.parametrize(("sql", "part"), names(HARMLESS[2::12]))
def test_answered_by_a_process_of_its_own(warehouse: Warehouse, sql: str, part: str):
    assert part in exports.csv(sandbox.run_query(warehouse, sql, limit=10).frame).decode()


@pytest.mark.parametrize(("sql", "told"), names(REFUSED[3::90]))
def test_refused_by_the_command(warehouse: Warehouse, folder: Path, sql: str, told: str):
    done = run_core("sql", "--", filled(sql, folder), warehouse=warehouse.path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("workdim: ") and len(done.stderr.strip().splitlines()) == 1
    matches(told, in_one_line(done.stderr.strip()))
