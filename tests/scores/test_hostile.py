"""Broken, strange and malicious files: each gets one clear line, or its good rows with a reason for each other one."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile

import polars as pl
import pytest

from core.errors import InputError
from core.scores.reader import read_scores
from core.scores.score_rows import BENCHMARK, MAX_BYTES, MAX_JSON, MODEL
from core.scores.table import MAX_LINES
from tests.scores.files import codes, genuine, read_json, read_text, results, skipped, taken, with_values

pytestmark = pytest.mark.slow

STATED = {MODEL: "org/m", BENCHMARK: "task"}
RESULTS = genuine("0.4.13/whole/*/results_*.json").read_bytes()
SAMPLES = genuine("0.4.13/whole/*/samples_word_choice_a_*.jsonl").read_bytes()
CSV = b"model,benchmark,value\norg/a,arc,0.5\n"
LONG = "x" * 10_000_000
DEEP = 200_000


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


def parquet(n: int = 3) -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"model": ["a"] * n, "benchmark": ["b"] * n, "value": [1.0] * n}).write_parquet(file)
    return file.getvalue()


REFUSED = {
    "nothing": (b"", "is empty"),
    "spaces only": (b" \n\t\r\n", "is empty"),
    "byte order mark only": (b"\xef\xbb\xbf", "is empty"),
    "byte order mark of UTF-16 only": (b"\xff\xfe", "is empty"),
    "words": (b"hello", "is no score file that is known"),
    "HTML page": (b"<!DOCTYPE html><html><body>404</body></html>", "is no score file that is known"),
    "pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
        "is no score file that is known",
    ),
    "NUL bytes": (b"model,benchmark,value\na\x00,b,1\n", "UTF-8, CP932 text, or holds NUL bytes"),
    "NUL in UTF-16": ("model,benchmark,value\na\0,b,1\n".encode("utf-16"), "cannot be read as UTF-16"),
    "no encoding": (b"model,benchmark,value\n\x81\x20,b,1\n", "cannot be read as UTF-8, CP932"),
    "half a character of UTF-16": ("a,b\n".encode("utf-16") + b"\x00", "cannot be read as UTF-16"),
    "Excel workbook": (archive(), "a ZIP archive or Excel workbook: unpack it or save it as CSV"),
    "old Excel workbook": (b"\xd0\xcf\x11\xe0" + b"\0" * 100, "old Excel workbook"),
    "gzip": (b"\x1f\x8b\x08" + b"\0" * 100, "gzip: unpack it"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "PDF: save the table"),
    "Parquet cut": (parquet()[:-20], "damaged or cut"),
    "Parquet of four letters": (b"PAR1", "damaged or cut"),
    "Parquet with too many rows": (parquet(MAX_LINES + 1), "has 100,001 rows"),
    "JSON cut": (RESULTS[:3000], "is incomplete JSON"),
    "JSON with text after it": (RESULTS + b"}", "is incomplete JSON"),
    "empty object": (b"{}", "is no score file that is known"),
    "empty list": (b"[]", "is no score file that is known"),
    "configuration of a model": (
        b'{"architectures": ["LlamaForCausalLM"], "hidden_size": 48}',
        "is no score file that is known",
    ),
    "results as a list": (b'{"results": [], "versions": {}}', "is no score file that is known"),
    "results empty": (json.dumps(results(results={}, groups={})).encode(), "holds no scores"),
    "results twice": (
        b'{"results": {"a": {}}, "results": {"b": {}}, "versions": {}}',
        "is no score file that is known",
    ),
    "nested too deep": (b"[" * DEEP, "nested too deep"),
    "number of 5,000 digits": (
        b'{"results": {"a": {"acc,none": ' + b"9" * 5000 + b"}}}",
        "is JSON nested too deep or with too long a number",
    ),
    "JSON above the limit": (
        b'{"results": "' + b"x" * MAX_JSON * 2**20 + b'"}',
        r"has 65 MiB of JSON; up to 64 are read\. Leave out single answers \(samples\), or use",
    ),
    "samples cut": (SAMPLES[:-50], "Line 12 of .* is incomplete JSON"),
    "samples with a foreign line": (SAMPLES + b'{"a": 1}\n', "no question at entry 13"),
    "samples nested too deep": (SAMPLES + b"[" * DEEP + b"\n", "Line 13 of .* nested too deep"),
    "samples with a line of 17 MB": (SAMPLES + b'{"doc_id": "' + b"x" * 17 * 2**20 + b'"}\n', "no question has"),
    "samples of another kind": (
        b'{"prompt": "a"}\n{"prompt": "b"}\n',
        "is incomplete JSON|is no score file that is known",
    ),
    "quote not closed": (b'model,benchmark,value\n"org/a,arc,0.5\n' + CSV * 10, "quotation mark is not closed"),
    "quote not closed in a long file": (b'model,benchmark,value\n"a,b,1\n' + b"a,b,1\n" * 30_000, "131,072 characters"),
    "text after a quote": (
        b'model,benchmark,value\n"org/a"x,arc,0.5\n',
        "its quotation marks, line ends or characters are not those",
    ),
    "cell of 10 MB": (b"model,benchmark,value\n" + LONG.encode() + b",arc,0.5\n", "exceeds 1,048,576 characters"),
    "cell of 200 kB": (b"model,benchmark,value\n" + b"x" * 200_000 + b",a,1\n", "exceeds 131,072"),
    "header of 10 MB": (LONG.encode() + b",benchmark,value\n", "exceeds 1,048,576"),
    "5,000 columns": (b",".join(b"c%d" % i for i in range(5000)) + b"\n1\n", "5,000 columns"),
    "too many lines": (b"model,benchmark,value\n" + b"a,b,1\n" * MAX_LINES, "has 100,001 lines"),
    "separators only": (
        b",,,\n,,,\n",
        "Name its columns as `workdim scores template` does, or write a row for each model",
    ),
    "a table of something else": (b"date,temperature\n2024-01-01,5\n", "lacks model, benchmark"),
    "name of model is no text": (json.dumps(results(model_name=["org/x"], config={})).encode(), "names no model"),
    "name of model has controls": (
        json.dumps(results(model_name="org/\x07x")).encode(),
        "names no model that can be stored",
    ),
    "name of model is 10 MB": (
        json.dumps(results(model_name=LONG)).encode(),
        "names no model that can be stored ..xxxx",
    ),
    "name of model is half a surrogate": (
        b'{"results":{"a":{"b,c":1}},"model_name":"\\ud800"}',
        "names no model that can be stored",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_understood_gets_one_clear_line(name):
    content, why = REFUSED[name]
    with pytest.raises(InputError, match=why) as told:
        read_scores("folder/<b>file</b>\n.dat", content, STATED if name.startswith("samples") else None)
    message = str(told.value)
    assert "\n" not in message and len(message) < 500 and "Traceback" not in message


TAKEN = {
    "UTF-8 with byte order mark": b"\xef\xbb\xbf" + CSV,
    "UTF-16 from a spreadsheet": CSV.decode().replace(",", "\t").encode("utf-16"),
    "UTF-16 big end first": CSV.decode().encode("utf-16-be"),
    "semicolons": CSV.replace(b",", b";"),
    "tabs": CSV.replace(b",", b"\t"),
    "old line ends": CSV.replace(b"\n", b"\r"),
    "blank lines around": b"\n\n" + CSV + b"\n\n",
    "quotes around everything": b'"model","benchmark","value"\n"org/a","arc","0.5"\n',
    "quotes with line ends": b'model,benchmark,value,source\norg/a,arc,0.5,"two\nlines"\n',
    "JSON with byte order mark": b"\xef\xbb\xbf" + RESULTS,
    "JSON in UTF-16": RESULTS.decode().encode("utf-16"),
    "JSON after blank lines": b"\n\n  " + RESULTS,
    "JSON on one line": json.dumps(json.loads(RESULTS)).encode(),
    "Parquet": parquet(1),
}


@pytest.mark.parametrize("content", TAKEN.values(), ids=TAKEN)
def test_what_only_looks_different_is_read(content):
    assert taken(read_scores("x", content))


WRONG_TYPES = {
    "n-shot a list": {"n-shot": [1]},
    "n-shot a text": {"n-shot": "5"},
    "n-samples a number": {"n-samples": 7},
    "counts as texts": {"n-samples": {"arc_easy": {"original": "ten", "effective": [1]}}},
    "higher_is_better a text": {"higher_is_better": "yes"},
    "versions a list": {"versions": [1, 2]},
    "version an object": {"versions": {"arc_easy": {"a": 1}}},
    "configs null": {"configs": None},
    "config of a task a list": {"configs": {"arc_easy": []}},
    "groups a text": {"groups": "none"},
    "group a number": {"groups": {"g": 5}},
    "subtasks a text": {"group_subtasks": {"arc_easy": "abc"}},
    "subtasks of numbers": {"group_subtasks": {"arc_easy": [1, None, []]}},
    "config a list": {"config": []},
    "config a text": {"config": "pretrained=x"},
    "model_args a number": {"config": {"model_args": 5}},
    "dtype an object": {"config": {"model_dtype": {"a": 1}}},
    "sha a number of 400 digits": {"config": {"model_sha": 10**399}},
    "limit an object": {"config": {"limit": {}}},
    "generation settings a list": {"config": {"gen_kwargs": [1]}},
    "date an object": {"date": {}},
    "date beyond time": {"date": 1e300},
    "date negative": {"date": -1e9},
    "chat template an object": {"chat_template": {"a": "b"}},
    "instruction a number": {"system_instruction": 5},
    "samples inside": {"samples": {"arc_easy": [{"doc": 1}]}},
}


@pytest.mark.parametrize("changed", WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_wrong_types_around_a_score_leave_the_score(changed):
    found = read_json(results(**changed))
    assert taken(found)[0].value == 0.5


@pytest.mark.parametrize("task", [5, "x", None, [], [1], True, 0.5])
def test_wrong_types_where_a_task_should_be(task):
    found = read_json(results(results={"odd": task, "good": {"acc,none": 0.5}}))
    assert skipped(found) == {"results / odd": "not_a_task"} and len(taken(found)) == 1


MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "'; DROP TABLE scores; --",
    "=cmd|' /C calc'!A0",
    "{{7*7}}",
    "../../etc/passwd",
    "%s%n",
    "{detail}",
    "𝕬𝖗𝖈",
    "日本語",
    "a b",
]


@pytest.mark.parametrize("name", MARKUP)
def test_markup_in_names_is_text_everywhere(name):
    found = read_json(results(results={name: {f"{name},{name}": 0.5}}, model_name=name))
    score = taken(found)[0]
    assert score.repository == name and score.filter == name.strip()


@pytest.mark.parametrize("bad", ["a\x00b", "a\nb", "\x1b[31mred", "a\u202eb", "\ud800", "a\u2028b", "\u200b", LONG])
def test_names_that_cannot_be_shown_are_refused_as_names(bad):
    found = read_json(results(results={bad: {"acc,none": 0.5}, "good": {"acc,none": 0.5, f"{bad},none": 0.1}}))
    assert len(taken(found)) == 1 and len(skipped(found)) == 2
    assert all(len(row.at) < 300 and row.at.isprintable() and row.benchmark.isprintable() for row in found.rows)
    assert all(len(row.skipped.detail) <= 80 for row in found.rows if row.skipped)


def test_text_of_10_mb_is_cut_in_remarks():
    found = read_json(with_values(acc__none=LONG, f1__none=0.5))
    why = next(row.skipped for row in found.rows if row.skipped)
    assert why.code == "not_a_number" and len(why.detail) == 80 and why.detail.endswith("…")


def test_everything_stored_can_be_written_as_utf_8():
    data = results(versions={"arc_easy": "\ud800"}, chat_template="\ud800", system_instruction="\ud800")
    data["config"] |= {"model_sha": "\udfff", "model_dtype": "\ud83d"}
    found = read_json(data, name="\ud800.json")
    repr(found).encode("utf-8")
    assert taken(found)[0].revision is None and codes(found.rows[0]) == ["left_out"]


def test_more_values_than_a_file_may_have(monkeypatch):
    monkeypatch.setattr("core.scores.score_rows.MAX_VALUES", 1000)
    with pytest.raises(InputError, match="has 1,001 values; up to 1,000 are read. Split it"):
        read_json(results(results={f"t{i}": {"acc,none": 0.5} for i in range(1001)}))
    header = "model,benchmark,metric,value\n"
    with pytest.raises(InputError, match="has 1,001 values"):
        read_text(header + "".join(f"m{i},arc,acc,1\n" for i in range(1001)))
    assert len(taken(read_text(header + "".join(f"m{i},arc,acc,1\n" for i in range(1000))))) == 1000


def test_keys_and_metrics_without_end_end():
    twice = b'{"results": {"a": {"acc,none": 0.5}}, "model_name": "m", "x": {' + b'"k":1,"k":2,' * 50_000 + b'"z": 1}}'
    assert 0 < codes(read_scores("r.json", twice)).count("key_twice") <= 20
    metrics = {f"m{i}": "x" for i in range(1001)}
    with pytest.raises(InputError, match="has 1,001 metrics"):
        read_scores("s.jsonl", json.dumps({"doc_id": 1, "resps": [], **metrics}).encode(), STATED)


def test_answers_without_end_end(monkeypatch):
    monkeypatch.setattr("core.scores.lm_eval.MAX_SAMPLES", 100)
    for entry in (b'{"doc_id": 1, "resps": [], "acc": 1}\n', b'{"doc_id": 1, "resps": []}\n'):
        with pytest.raises(InputError, match="has 101 answers; up to 100 are read"):
            read_scores("s.jsonl", entry * 101, STATED)


BIG = {
    "short lines": lambda n: b"model,benchmark,value\n" + b"organisation/model,benchmark,0.5\n" * (n // 33),
    "one line": lambda n: b"model,benchmark,value\n" + b"x" * n,
    "commas": lambda n: b"model,benchmark,value\n" + b"," * n,
    "quoted line ends": lambda n: b'model,benchmark,value\n"' + b"\n" * n,
    "quoted cells over many lines": lambda n: b"model,benchmark,value\n" + b'"\n",' * (n // 4),
    "samples": lambda n: b'{"doc_id": 1, "resps": [], "acc": 1, "x": "' + b"y" * n,
    "spaces": lambda n: b" " * n,
    "separators in the header": lambda n: b"a," * (n // 2),
}


@pytest.mark.parametrize("make", BIG.values(), ids=BIG)
def test_50_mb_end_in_a_clear_line_and_within_memory(make):
    content = make(50 * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as told:
            read_scores("big", content, STATED)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "\n" not in str(told.value) and len(str(told.value)) < 300
    assert peak < 10 * len(content)


def test_a_larger_file_is_not_begun():
    with pytest.raises(InputError, match="has 257 MB; up to 256 are read"):
        read_scores("huge.csv", b"model,benchmark,value\n" + b"x" * MAX_BYTES)


@pytest.mark.parametrize(
    "value, n", [("x" * 20_000, 1), ("x" * 500, 100)], ids=["packed", "written once for many rows"]
)
def test_a_parquet_table_that_unpacks_beyond_the_limit_is_refused(value, n, monkeypatch):
    file = io.BytesIO()
    pl.DataFrame({"model": [value] * n, "benchmark": ["b"] * n, "value": [1.0] * n}).write_parquet(file)
    monkeypatch.setattr("core.scores.table.MAX_BYTES", 10_000)
    with pytest.raises(InputError, match="scores.parquet has 1 MB when it is unpacked; up to 0 are read"):
        read_scores("scores.parquet", file.getvalue())
