"""Task files: what a good one becomes, and the one line that each mistake is told as."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.texts import tasks
from core.texts.tasks import Question, Task, read_task

GOOD = {"prompt": "The sky is", "choices": [" blue", " square"], "answer": 0}
OTHER = GOOD | {"prompt": "Grass is"}


@pytest.fixture
def read(tmp_path: Path):
    def read(*rows: Any) -> Task:
        file = tmp_path / "my.task.jsonl"
        lines = (row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
        file.write_bytes(b"\n".join(lines))
        return read_task(file)

    return read


def test_a_task_is_its_questions_however_its_file_is_written(read):
    task = read(GOOD, OTHER)
    assert task.name == "my.task" and task.rows == task.questions and not task.texts
    assert task.questions[0] == Question("The sky is", (" blue", " square"), 0)
    swapped = dict(reversed(GOOD.items()))
    same = read(b"\xef\xbb\xbf" + json.dumps(swapped).encode() + b"\r", b"  ", OTHER, b"")
    assert same.sha256 == task.sha256 and same.hashes == task.hashes
    for changed in ({"prompt": "The sky  is"}, {"answer": 1}, {"choices": [" square", " blue"]}):
        other = read(GOOD | changed, OTHER)
        assert other.sha256 != task.sha256 and other.hashes[0] != task.hashes[0] and other.hashes[1] == task.hashes[1]


def test_a_task_may_be_of_texts(read, tmp_path):
    task = read({"text": " 一つ目"}, {"text": "two"})
    assert [row.text for row in task.texts] == [" 一つ目", "two"] and task.rows == task.texts
    plain = tmp_path / "own.txt"
    plain.write_text("\ufeff一つ目\n\ntwo\nlines\n\n一つ目\n", encoding="utf-8")
    assert [row.text for row in read_task(plain).texts] == ["一つ目", "two\nlines"]
    plain.write_text("\n".join(map(json.dumps, (GOOD, OTHER))), encoding="utf-8")
    assert read_task(plain).rows == read(GOOD, OTHER).rows, "JSON lines are no text, whatever their file is called"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "my.task.jsonl is empty. Write one JSON question"),
        ([b"\n \n"], "is empty"),
        (
            [GOOD, {"prompt": "p", "choices": [" a", " b"]}],
            r"my\.task\.jsonl, line 2: answer is missing; it must be a whole number, 0 or",
        ),
        ([GOOD | {"answer": None}], r"my\.task\.jsonl, line 1: answer must be a whole number, 0 or more, not"),
        ([GOOD | {"answer": "B"}], "not 'B'"),
        ([GOOD | {"answer": True}], "not True"),
        ([GOOD | {"answer": -1}], "not -1"),
        ([GOOD | {"answer": 2}], r"my\.task\.jsonl, line 1: answer 2 of choices 0 to 1\. Correct the file\."),
        ([GOOD | {"choices": [" a"]}], r"my\.task\.jsonl, line 1: a question has two choices or more, all different,"),
        (
            [GOOD | {"choices": [" a", ""]}],
            r"my\.task\.jsonl, line 1: a question has two choices or more, all different,",
        ),
        (
            [GOOD | {"choices": [" a", " a"]}],
            r"my\.task\.jsonl, line 1: a question has two choices or more, all different,",
        ),
        ([GOOD | {"choices": [" a", 3]}], r"choices\[1\] must be a text"),
        ([GOOD | {"choices": "ab"}], "choices must be a list of texts, not 'ab'"),
        ([GOOD, OTHER, GOOD], "line 3: the same as line 1"),
        ([GOOD, GOOD | {"answer": 1}], "line 2: the same as line 1"),
        ([GOOD, GOOD | {"choices": [" square", " blue"]}], "line 2: the same as line 1"),
        ([{"text": "a"}, {"text": "a"}], "line 2: the same as line 1"),
        ([GOOD, {"text": "a"}], "line 2: texts and questions are mixed"),
        ([{"text": "a"}, GOOD], "line 2: texts and questions are mixed"),
        ([{"text": ""}], r"my\.task\.jsonl, line 1: text must be a text, not empty, not ''\."),
        ([GOOD | {"promt": "x"}], "Unknown key 'promt'. Did you mean prompt"),
        ([b"[1]"], "must be a table with prompt, choices, answer, group, not a list"),
        ([b"prompt,choices"], r"my\.task\.jsonl, line 1: no JSON: Expecting value: line 1 column 1 \(char 0\)\."),
        ([b'{"answer": 0, "answer": 1}'], r"my\.task\.jsonl, line 1: one key twice\. Correct the file\."),
        ([b'{"text": "\\ud800"}'], "half a character"),
        ([b"[" * 100_000], r"my\.task\.jsonl, line 1: no JSON: maximum recursion depth exceeded while"),
        ([b'{"text": "\xff"}'], r"my\.task\.jsonl is not UTF-8\. Save it as UTF-8\."),
    ],
)
def test_whatever_is_wrong_is_one_line_that_names_its_place(read, rows, told):
    with pytest.raises(InputError, match=told) as error:
        read(*rows)
    assert "\n" not in str(error.value) and "my.task.jsonl" in str(error.value)


def test_files_that_are_missing_or_too_large_are_told(tmp_path, read, monkeypatch):
    with pytest.raises(InputError, match="There is no task file"):
        read_task(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="is no regular file but a folder"):
        read_task(tmp_path)
    monkeypatch.setattr(tasks, "MOST_ROWS", 1)
    with pytest.raises(InputError, match=r"my\.task\.jsonl has 2 lines; at most 1 are read\. Take a part\."):
        read(GOOD, OTHER)
    monkeypatch.setattr(tasks, "MAX_BYTES", 10)
    with pytest.raises(InputError, match=r"my\.task\.jsonl has 1 MiB; at most 0 are read\. Take a part\."):
        read(GOOD)


def test_a_group_changes_the_errors_and_neither_question_nor_its_hash():
    rows = [
        Question("a", ("x", "y"), 0, "passage"),
        Question("b", ("x", "y"), 0),
        Question("c", ("x", "y"), 0, "passage"),
    ]
    task, alone = Task("t", tuple(rows)), Task("t", tuple(replace(row, group=None) for row in rows))
    assert task.groups.tolist() == [0, 1, 0] and alone.groups.tolist() == [0, 1, 2]
    assert task.hashes == alone.hashes and task.sha256 != alone.sha256
    assert task.group_ids[0] == task.group_ids[2] != "passage" and task.group_ids[1] is None
    empty = Task("t", tuple(replace(row, group="") for row in rows))
    assert empty.groups.tolist() == [0, 1, 2] and empty.group_ids == [None] * 3 and empty.sha256 == alone.sha256
