"""What reaches the terminal: names of others cannot steer it, and what a file system refuses is one line."""

from __future__ import annotations

import errno
import io
import json
import logging
import re
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from rich.cells import cell_len

from core.commands import main as command_line
from core.commands.main import main
from core.errors import Sentence
from core.locale import in_language
from core.records import Progress, RunConfig
from core.terminal import progress
from core.terminal.output import WordedFormatter, escape_controls, guarded_output, one_line, pad, say, say_json, wrap
from core.terminal.progress import ProgressBar
from core.terminal.tables import jobs_table, table
from core.warehouse import queries, stored_scores
from core.warehouse.warehouse import Warehouse
from tests.conftest import ROOT, run_core
from tests.screens import filled_warehouse
from tests.warehouse.score_files import answers, score_file

pytestmark = pytest.mark.slow

EVIL = "evil\x1b[2J\x1b]0;title\x07\u202eknab\u2066x\u2069\x9b31m"
LINES = EVIL + "\nworkdim: all is well"


def is_clean(text: str) -> bool:
    return not any(letter in text for letter in "\x1b\x07\x9b\u202e\u2066\u2069")


def test_control_characters_are_spelled_and_other_scripts_stay():
    assert (
        is_clean(escape_controls(EVIL)) and "\\x1b[2J" in escape_controls(EVIL) and "\\u202e" in escape_controls(EVIL)
    )
    assert one_line("a\nb\tc") == "a\\nb\\tc"
    for text in ("モデル・計測", "é ü 模型", "מודל", "a\u200db"):
        assert escape_controls(text) == text
    assert json.loads(escape_controls(json.dumps({"a": EVIL + "\x7f"}, ensure_ascii=False))) == {"a": EVIL + "\x7f"}


def test_a_name_is_one_cell_of_a_table():
    lines = table(("name", "n"), [(LINES, 1), ("other", 2)])
    assert len(lines) == 3 and is_clean("".join(lines))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Standard output as a terminal of that many columns."""

    def opened(columns: int, **environment: str) -> Terminal:
        for name, value in {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "24", **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdout", Terminal())
        return sys.stdout

    monkeypatch.delenv("NO_COLOR", raising=False)
    return opened


RUNS = [("01a218ca-3a0e-7271", "HuggingFaceTB/SmolLM2-135M-Instruct", "12.3 [11.1, 13.5]", "短い名前のモデル")] * 2


def test_a_table_fits_the_terminal_and_80_columns_of_a_file(terminal, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert max(map(cell_len, table(("run", "model", "largest inner", "tags"), RUNS))) <= 80
    terminal(120)
    whole = table(("run", "model", "largest inner", "tags"), RUNS)
    assert RUNS[0][1] in whole[1] and RUNS[0][3] in whole[1]
    for columns in (100, 75, 60, 45):
        terminal(columns)
        lines = table(("run", "model", "largest inner", "tags"), RUNS, ("tags",))
        assert all(cell_len(line) <= columns for line in lines[:3])
        told = [line for line in lines if line.startswith("No room for ") and "tags" in line]
        assert bool(told) == (columns <= 60) and (RUNS[0][2] in lines[1] or columns <= 45)
    assert "…" in lines[1] and RUNS[0][0] in lines[1]


def test_the_head_of_numbers_is_cut_before_a_column_goes(terminal):
    terminal(60)
    lines = table(
        ("model", "largest inner dimension, one per type", "n"), [("SmolLM2-135M-Instruct", "106 [102, 109]", "800")]
    )
    assert len(lines) == 2 and "106 [102, 109]  " in lines[1] and lines[1].endswith("800") and "…" in lines[0]


@pytest.mark.parametrize("same", ["comparison.of.two.runs.on.one.text", "of.01900000-0000-7000-8000-000000000001"])
def test_a_long_text_does_not_drive_out_what_stands_beside_it(terminal, same):
    terminal(80)
    rows = [(f"{same}.{middle}.as.read.in.the.table.of.the.runs", "1.10", "changed") for middle in ("lower", "upper")]
    lines = table(("source", "number", "now"), rows)
    assert len(lines) == 3 and all("1.10" in line and line.endswith("changed") for line in lines[1:])


def test_jobs_tell_their_results_and_reasons_whole(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    job_id, reason = "01a22f72-be87-72b8-bf6c-899439f9c430", "needs 12.0 GB of memory and 8.0 GB are free"
    jobs = [
        SimpleNamespace(
            job=SimpleNamespace(job_id=job_id, config=RunConfig("HuggingFaceTB/SmolLM2-135M-Instruct")),
            state=state,
            reason=reason,
            result={"run_id": job_id},
            progress=None,
            progress_record={"seconds_left": 340.0},
        )
        for state in ("running", "interrupted", "failed", "finished")
    ]
    for language in ("en", "ja"):
        in_language(language, lambda: say(*jobs_table(jobs)))
        lines = capsys.readouterr().out.splitlines()
        assert max(map(cell_len, lines)) <= 80
        assert any(line.count(job_id[:18]) == 2 for line in lines) and f"{job_id[:18]}  {reason}" in lines
        assert any(line.endswith(f"`workdim jobs resume {job_id[:18]}`") for line in lines)


def test_names_of_one_family_stay_distinct_where_they_are_cut(terminal):
    terminal(40)
    rows = [("1", f"ladder-128-{word}-step1500", "30 ± 1") for word in ("base", "lr-6e-3", "dropout-10")]
    lines = table(("rank", "model", "largest inner dimension"), rows)
    assert ["base" in lines[1], "lr-6e-3" in lines[2], "dropout-10" in lines[3]] == [True] * 3


def test_colour_is_for_terminals_that_want_it(terminal):
    shown = terminal(80)
    with guarded_output():
        say(*table(("state",), [("failed",), (EVIL,)]), "`workdim runs` lists them.")
    told = shown.getvalue()
    assert (
        "\x1b[33mfailed" in told and "\x1b[1mstate" in told and "\x1b[36m`workdim runs`" in told and "\\x1b[2J" in told
    )
    shown = terminal(80, NO_COLOR="1")
    say("failed")
    assert shown.getvalue() == "failed\n"


def test_json_has_one_form_of_times_and_nested_objects(capsys):
    at = datetime(2026, 11, 26, 19, 40, 46, 123456)
    content = {
        "started_at": at,
        "submitted_at": at.replace(tzinfo=UTC).timestamp(),
        "deleted_at": f"{at.isoformat()}+00:00",
    }
    say_json(content | {"config": '{"run": {"seed": 1}}', "value": float("nan"), "note": "{}", "rows": [{"at": None}]})
    told = json.loads(capsys.readouterr().out)
    assert [told[name] for name in content] == ["2026-11-26T19:40:46Z"] * 3
    assert told["config"]["run"]["seed"] == 1 and told["value"] is None and told["note"] == "{}"


def test_the_bar_shows_all_phases_together_and_the_time_left(monkeypatch):
    drawn = Terminal()
    monkeypatch.setattr(progress, "progress_stream", lambda: drawn)
    monkeypatch.setenv("COLUMNS", "100")
    job = SimpleNamespace(job_id="a", config=SimpleNamespace(model="model"))
    with ProgressBar() as bar:
        bar.follow(SimpleNamespace(job=job, progress=Progress("load", 0, 1), progress_record={}))
        bar.follow(
            SimpleNamespace(
                job=job, progress=Progress("geometry", 3, 4), progress_record={"share": 0.4, "seconds_left": 75}
            )
        )
    assert " 40% measuring layers" in drawn.getvalue() and "75 s left" in drawn.getvalue()
    with ProgressBar(n=2) as bar:
        bar.ended()
        bar.follow(
            SimpleNamespace(
                job=job, progress=Progress("geometry", 3, 4), progress_record={"share": 0.4, "seconds_left": 75}
            )
        )
    assert " 70% measuring layers" in drawn.getvalue()


def test_without_a_terminal_it_is_said_once_that_a_job_waits_beside_another_at_work(monkeypatch):
    monkeypatch.setattr(progress, "progress_stream", lambda: told)
    told = io.StringIO()
    job, other = (SimpleNamespace(job_id=name, config=SimpleNamespace(model=name)) for name in ("model", "other"))
    with ProgressBar() as bar:
        for step in (Progress("queued", 0, 2), Progress("queued", 0, 1), Progress("load", 0, 1)):
            bar.follow(SimpleNamespace(job=job, progress=step, progress_record={}))
            bar.follow(SimpleNamespace(job=other, progress=Progress("geometry", 0, 1), progress_record={}))
    assert told.getvalue() == "model: waiting for its turn\n"


def test_whatever_a_verb_prints_is_filtered(capsys):
    with guarded_output():
        print(EVIL)
        print(EVIL, file=sys.stderr)
        sys.stdout.writelines([EVIL])
    said = capsys.readouterr()
    assert is_clean(said.out) and is_clean(said.err) and "evil" in said.out and "evil" in said.err


def test_an_imported_name_does_not_steer_the_terminal(tmp_path):
    path = filled_warehouse(tmp_path)
    file = tmp_path / f"scores{EVIL}.csv"
    file.write_text(f'model,benchmark,metric,value\n"{LINES}","{LINES}",acc,0.5\n', encoding="utf-8")
    for arguments in (
        ["scores", "import", str(file)],
        ["scores", "list"],
        ["scores", "alias", LINES, "o/x"],
        ["scores", "alias"],
        ["scores", "alias", "--json"],
        ["scores", "compare", LINES, "b", "--benchmark", LINES],
        ["runs", "show", LINES],
        ["runs", "--model", LINES],
        ["sql", f"SELECT '{EVIL}' AS \"{EVIL}\""],
        ["measure", LINES],
        ["pilot", LINES + ".toml"],
        ["jobs", "cancel", LINES],
        ["runs", "--tag", LINES],
        [LINES],
        ["runs", LINES],
        ["runs", "--show", LINES],
        ["measure", "x", LINES.replace("evil", "--evil")],
    ):
        done = run_core(*arguments, warehouse=path)
        said = done.stdout + done.stderr
        assert is_clean(said) and "workdim: all is well" not in said.splitlines(), arguments


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (OSError(errno.EIO, "Input/output error", "/mnt/w"), "/mnt/w cannot be read or written: Input/output error"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000), "File name too long"),
        (PermissionError(errno.EACCES, "Permission denied", "/mnt/w"), "/mnt/w may not be read or written here"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/mnt/w"), "Not a directory"),
        (
            shutil.Error([("/a", "/mnt/w", "[Errno 28] No space left on device")] * 9),
            "/mnt/w cannot be written: [Errno 28]",
        ),
        (OSError("nobody knows"), "nobody knows"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OSError) else None,
)
def test_what_a_file_system_refuses_is_one_line(error, told, monkeypatch, capsys):
    def refuse(options):
        raise error

    monkeypatch.setattr(command_line, "build_parser", _Parser)
    monkeypatch.setattr(command_line, "import_module", lambda name: SimpleNamespace(refuse=refuse))
    assert main([]) == 2
    said = capsys.readouterr().err
    assert told in said and said.startswith("workdim: ") and said.count("\n") == 1 and len(said) < 300


class _Parser:
    function, warehouse = "verb.refuse", None

    def parse_args(self, arguments):
        return self


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_output_to_a_full_disk_is_one_line(tmp_path):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "core", "jobs", "--warehouse", str(tmp_path / "w.duckdb")],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=120,
        )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "The disk is full" in done.stderr


def test_a_long_path_is_one_line(tmp_path, capsys):
    for arguments in (["scores", "import", "x" * 5000], ["import", "x" * 5000], ["measure", "/" + "x" * 5000]):
        assert main([*arguments, "--warehouse", str(tmp_path / "w.duckdb")]) == 2, arguments
        said = capsys.readouterr()
        assert len(said.err.strip().splitlines()) == 1 and said.err.startswith("workdim: ")


def test_a_folder_with_one_unusable_file_is_taken(tmp_path, capsys):
    path, folder = filled_warehouse(tmp_path), tmp_path / "out"
    folder.mkdir()
    results = {"results": {"piqa": {"acc,none": 0.7}}, "versions": {"piqa": 1}, "config": {"model": "hf"}}
    (folder / "results_good.json").write_text(json.dumps(results | {"model_name": "o/x"}), encoding="utf-8")
    (folder / "results_bad.json").write_text('{"results": ', encoding="utf-8")
    assert main(["scores", "import", str(folder), "--warehouse", str(path)]) == 0
    said = capsys.readouterr().err
    assert "results_bad.json" in said
    assert main(["scores", "import", str(folder / "results_bad.json"), "--warehouse", str(path)]) == 2
    (folder / "results_good.json").unlink()
    assert main(["scores", "import", str(folder), "--warehouse", str(path)]) == 2


def test_heads_that_would_become_equal_lose_what_they_have_in_common(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    head = ["model", "score in ladder_code (acc) 50 %", "score in ladder_prose (acc) 50 %"]
    first, *_rows = table(head, [["one", "79.2 [75.6, 82.8]", "1.49 [1.36, 1.63]"]])
    assert "code" in first and "prose" in first and "No room" not in first


def test_models_are_compared_by_the_names_that_runs_prints(tmp_path, capsys):
    path = filled_warehouse(tmp_path)
    runs = queries.runs(Warehouse(path)).filter(pl.col("repository").is_not_null())
    measured = runs.row(0, named=True)
    for number, model in enumerate((measured["repository"], "o/other")):
        given = {f"q{n}": (n + number) % 2 for n in range(10)}
        stored_scores.store_import(Warehouse(path), score_file(samples=answers(model, given), name=model))
    for key in ("name", "model_id", "reference", "repository"):
        arguments = ["scores", "compare", measured[key], "o/other", "--benchmark", "arc_easy"]
        assert main([*arguments, "--warehouse", str(path)]) == 0, (key, capsys.readouterr().err)
        assert measured["repository"] in capsys.readouterr().out
    twice = ["scores", "compare", measured["name"], measured["repository"], "--benchmark", "arc_easy"]
    assert main([*twice, "--warehouse", str(path)]) == 2
    assert "are one model" in capsys.readouterr().err or measured["name"] == measured["repository"]


def test_japanese_is_wrapped_and_padded_by_columns():
    text = "中間の最大は「106」（層5）、モデルSmolLM2-135M-Instructの値です。"
    lines = wrap(text, 30, "    ", "  ")
    assert "".join(line.strip() for line in lines) == text and len(lines) > 2
    assert all(cell_len(line) <= 30 for line in lines)
    assert not any(line.strip()[0] in "、。）」" or line[-1] in "（「" for line in lines)
    assert cell_len(pad("層", 6)) == cell_len(pad("layer", 6)) == 6
    english = "two words, and more of them with-hyphens (12.3 [11, 12]) for a line " * 3
    assert wrap(english, 30, "    ") == textwrap.wrap(
        english, 30, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    assert wrap("restore it (`workdim restore FILE`).", 20) == ["restore it", "(`workdim restore FILE`)."]
    assert wrap("intervals of 95 % each", 15) == ["intervals of", "95 % each"], "a number keeps its sign"


def test_the_terminal_speaks_the_language_of_its_variables_and_programs_read_english(tmp_path, monkeypatch, capsys):
    path = str(filled_warehouse(tmp_path))
    monkeypatch.delenv("WORKDIM_LANGUAGE")
    monkeypatch.setenv("LANGUAGE", "")
    monkeypatch.setenv("LC_ALL", "ja_JP.UTF-8")

    def said(*arguments: str) -> str:
        assert main([*arguments, "--warehouse", path]) == 0
        return capsys.readouterr().out

    english = re.compile(r"\b(?:the|model|layer|verdicts|of|no|run)\b")
    run_id = json.loads(said("runs", "--json"))[0]["run_id"]
    for arguments in (
        ["runs"],
        ["jobs"],
        ["cache"],
        ["runs", "show", run_id],
        ["rank"],
        ["sql", "--schema"],
        ["sql", "--schema", "scores"],
        ["sql", "--examples"],
    ):
        told = said(*arguments)
        assert re.search("[ぁ-ん]", told) and not english.search(re.sub("`[^`]*`|\\S*[/_.=-]\\S*", "", told)), arguments
    for_programs = (("rank", "--json"), ("runs", "show", run_id, "--json"), ("sql", "--schema", "--format", "json"))
    records = {arguments: said(*arguments) for arguments in for_programs}
    monkeypatch.setenv("WORKDIM_LANGUAGE", "en")
    assert records == {arguments: said(*arguments) for arguments in records}
    assert "verdicts" in said("runs")


def test_a_warning_of_the_log_speaks_the_language_of_the_terminal():
    def line(message: object, *parts: object) -> str:
        record = logging.LogRecord("workdim", logging.WARNING, __file__, 1, message, parts, None)
        return WordedFormatter("workdim: %(message)s").format(record)

    short = Sentence("Memory is short: now in batches of {n}.", n=8)
    assert line(short) == "workdim: Memory is short: now in batches of 8."
    assert in_language("ja", line, short) == "workdim: メモリが足りないため、8個ずつ処理します。"
    assert line("of %s", "others") == "workdim: of others"
