"""`workdim sql`: statements, kept queries, examples and the schema, in every format."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from core.commands.sql import _table
from core.warehouse.warehouse import Warehouse
from tests.conftest import ROOT, run_core
from tests.screens import filled_warehouse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_warehouse(tmp_path_factory.mktemp("sql"))


def sql(path: Path, *arguments: str) -> str:
    done = run_core("sql", *arguments, warehouse=path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(path: Path, *arguments: str) -> str:
    done = run_core("sql", *arguments, warehouse=path)
    assert done.returncode == 2 and done.stdout == "", done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def test_a_query_is_kept_listed_run_replaced_and_forgotten(path: Path):
    sql(path, "--save", "first", "SELECT 1 AS one", "--note", "a remark")
    assert json.loads(sql(path, "--list", "--format", "json")) == [
        {"name": "first", "note": "a remark", "sql": "SELECT 1 AS one"}
    ]
    assert sql(path, "--saved", "first", "--format", "csv") == "one\n1\n"
    assert "Choose another name, or replace it with --replace" in refused(path, "--save", "first", "SELECT 2")
    sql(path, "--save", "first", "SELECT 2 AS two", "--replace")
    assert sql(path, "--saved", "first", "--format", "csv") == "two\n2\n"
    for wrong, why in [
        ("SELEC 1", "SELEC"),
        ("DROP TABLE runs", "DROP is refused"),
        ("SELECT 1; SELECT 2", "statement, not 2"),
    ]:
        assert why in refused(path, "--save", "second", wrong)
    sql(path, "--delete", "first")
    assert "Unknown saved query" in refused(path, "--saved", "first")


def test_no_text_goes_under_the_name_of_a_workbook(path: Path, tmp_path: Path):
    assert "--format excel --out FILE.csv" in refused(path, "SELECT 1", "--out", str(tmp_path / "cost.xlsx"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["", "."])
def test_a_folder_is_no_file_to_write_to(path: Path, out: str):
    assert ". is a folder. Name a file with --out." in refused(path, "SELECT 1 AS a", "--out", out)


def test_the_meaning_of_a_table_is_shown_whole(path: Path):
    assert "…" not in sql(path, "--schema") + sql(path, "--schema", "scores")


def test_examples_are_listed_and_run(path: Path, tmp_path: Path):
    listed = json.loads(sql(path, "--examples", "--format", "json"))
    assert len(listed) >= 12 and all(one["question"] and one["sql"] for one in listed)
    file = tmp_path / "cost.parquet"
    assert "7 rows" in sql(path, "--example", "cost", "--out", str(file))
    assert pl.read_parquet(file)["seconds"].to_list() == [70.0] * 7
    assert "Did you mean cost" in refused(path, "--example", "costs")


def test_the_schema_is_told_table_by_table(path: Path):
    assert "Measurements: one model, one text, one protocol." in sql(path, "--schema")
    assert "NULL where undefined." in sql(path, "--schema", "layer_estimates")
    assert "Did you mean runs" in refused(path, "--schema", "runz")


def test_a_table_fits_the_terminal_and_loses_no_word_in_a_file():
    frame = pl.DataFrame(
        {"name": ["one"], "question": ["How many directions does a layer use, and how sure is it? " * 2]}
    )
    lines = _table(frame, 60).decode().splitlines()
    assert max(map(len, lines)) <= 60 and "sure" in "".join(lines)
    whole = " ".join(re.sub("[┌┬┐╞═╪╡└┴┘│┆─]", " ", _table(frame, 200).decode()).split())
    assert whole == f"name question one {frame['question'][0].strip()}"


def test_a_statement_comes_from_standard_input_as_utf_8(path: Path):
    def piped(content: bytes) -> subprocess.CompletedProcess:
        environment = os.environ | {"WORKDIM_WAREHOUSE": str(path), "PYTHONIOENCODING": "ascii"}
        return subprocess.run(
            [sys.executable, "-m", "core", "sql", "-", "--format", "csv"],
            cwd=ROOT,
            env=environment,
            input=content,
            capture_output=True,
            timeout=120,
        )

    assert piped("\ufeffSELECT '次元' AS 名\n".encode()).stdout.decode() == "名\n次元\n"
    done = piped("SELECT '次元'".encode("cp932"))
    assert done.returncode == 2 and b"not UTF-8" in done.stderr


@pytest.mark.parametrize(
    ("form", "expected"),
    [("csv", "a,=b\n1,=x\n"), ("excel", '\ufeff"a","\'=b"\n1,"\'=x"\n'), ("json", '[\n {\n  "a": 1,\n')],
)
def test_each_format_of_text(path: Path, form: str, expected: str):
    assert sql(path, "SELECT 1 AS a, '=x' AS \"=b\"", "--format", form).startswith(expected)


def test_parquet_goes_through_a_pipe(path: Path):
    environment = os.environ | {"WORKDIM_WAREHOUSE": str(path)}
    done = subprocess.run(
        [sys.executable, "-m", "core", "sql", "SELECT 1 AS a", "--format", "parquet"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=120,
    )
    assert pl.read_parquet(io.BytesIO(done.stdout))["a"].to_list() == [1]


def test_a_table_moves_no_cursor_and_turns_no_line(path: Path):
    said = sql(path, "SELECT chr(27) || '[2Jx' AS a, 'b' || chr(8238) || 'c' AS \"d\x07\"")
    assert r"\x1b[2Jx" in said and r"b\u202ec" in said and r"d\x07" in said
    assert not {"\x1b", "\u202e", "\x07"} & set(said)


def test_limits_are_the_users_and_a_cut_is_told(path: Path):
    done = run_core("sql", "SELECT i FROM range(50) t(i)", "--limit", "3", "--format", "csv", warehouse=path)
    assert done.stdout == "i\n0\n1\n2\n" and "Only the first 3 rows" in done.stderr
    assert "exceeded 0.3 s" in refused(path, "SELECT sleep_ms(60000)", "--seconds", "0.3")
    assert "Ask for 1 to 1,000,000 rows, not 0." in refused(path, "SELECT 1", "--limit", "0")


@pytest.mark.parametrize(
    "arguments",
    [[], ["SELECT 1", "--list"], ["SELECT 1", "--saved", "x"], ["--save", "x"], ["SELECT 1", "--schema", "runs"]],
)
def test_what_does_not_go_together_is_said(path: Path, arguments: list[str]):
    assert "Give one statement" in refused(path, *arguments)


def test_an_output_that_cannot_be_written_is_one_line(path: Path, tmp_path: Path):
    assert "cannot be written" in refused(path, "SELECT 1", "--out", str(tmp_path / "gone" / "x.csv"))
    assert list(tmp_path.iterdir()) == []
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "is a folder" in refused(path, "SELECT 1", "--out", str(folder))
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the children of a process are read from /proc")
def test_ctrl_c_stops_the_query_and_its_process(path: Path):
    command = [sys.executable, "-m", "core", "sql", "SELECT sleep_ms(60000)", "--seconds", "60"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"WORKDIM_WAREHOUSE": str(path)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not listed.exists() or not listed.read_text(encoding="utf-8").split():
        assert process.poll() is None
        time.sleep(0.02)
    worker = int(listed.read_text(encoding="utf-8").split()[0])
    own, theirs = (Path(f"/proc/{one}/cmdline") for one in (process.pid, worker))
    while theirs.read_bytes() == own.read_bytes():  # forked, and not yet what it is to be
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert b"stopped" in process.communicate(timeout=30)[1]
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        for _ in range(250):  # the process is gone as soon as the system has taken it in
            os.kill(worker, 0)
            time.sleep(0.02)
    assert len(list(Warehouse(path).query_copies.glob("*"))) <= 1
