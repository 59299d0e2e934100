"""Text files that were made wrong or in bad faith: each is one named line, before it takes memory."""

import resource

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import CorpusError
from core.texts.corpora import MAX_UNPACKED_BYTES, MAX_VALUES, open_corpus

pytestmark = pytest.mark.slow

NESTED = "[" * 100_000 + "]" * 100_000
CHAT = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def test_a_small_file_of_millions_of_rows_is_refused_by_its_footer(tmp_path):
    path = tmp_path / "rows.parquet"
    texts = pa.DictionaryArray.from_arrays(pa.array([0]).take(pa.array([0] * (MAX_VALUES + 1))), pa.array(["a text"]))
    pq.write_table(pa.table({"text": texts.cast(pa.string())}), path)
    assert path.stat().st_size < 20_000
    with pytest.raises(
        CorpusError, match=r"rows\.parquet has 1,000,001 texts; at most 1,000,000 are read\. Take a part\."
    ):
        open_corpus(str(path))


def test_a_conversation_of_millions_of_messages_is_refused_by_its_footer(tmp_path):
    path = tmp_path / "chat.parquet"
    messages = [{"role": "user", "content": "a"}] * (MAX_VALUES + 1)
    pq.write_table(pa.table({"messages": pa.array([messages], type=CHAT)}), path)
    with pytest.raises(
        CorpusError, match=r"chat\.parquet has 1,000,001 texts; at most 1,000,000 are read\. Take a part\."
    ):
        open_corpus(str(path))


def test_long_texts_that_are_written_once_for_many_rows_are_refused(tmp_path):
    path = tmp_path / "long.parquet"
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 30_000), pa.array(["a text " * 20_000]))
    pq.write_table(pa.table({"text": texts}).replace_schema_metadata(None), path, store_schema=False)
    assert path.stat().st_size < 200_000
    with pytest.raises(CorpusError, match=r"long\.parquet has 4,200 MB; at most 268 are read\. Take a part\."):
        open_corpus(str(path))


@pytest.mark.parametrize("as_chat", [False, True])
def test_what_unpacks_to_gigabytes_is_refused_before_it_is_read(as_chat, tmp_path, monkeypatch):
    path = tmp_path / "packed.parquet"
    value = "a" * (MAX_UNPACKED_BYTES + 1)
    column = pa.array([[{"role": "user", "content": value}]], type=CHAT) if as_chat else pa.array([value])
    pq.write_table(
        pa.table({"messages" if as_chat else "text": column}), path, compression="zstd", use_dictionary=False
    )
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(pl, "read_parquet", None)
    with pytest.raises(CorpusError, match=r"packed\.parquet has 269 MB; at most 268 are read\. Take a part\."):
        open_corpus(str(path))


def test_other_columns_of_a_table_are_neither_counted_nor_read(tmp_path, monkeypatch):
    path, read = tmp_path / "wide.parquet", []
    pq.write_table(pa.table({"text": ["a text"], "more": ["a" * (MAX_UNPACKED_BYTES + 1)]}), path)
    reader = pl.read_parquet
    monkeypatch.setattr(pl, "read_parquet", lambda path, columns: read.append(columns) or reader(path, columns=columns))
    assert open_corpus(str(path), column="text").pieces == ["a text"] and read == [["text"]]


def test_a_line_that_is_nested_by_hundreds_takes_no_memory(tmp_path):
    path = tmp_path / "nested.jsonl"
    path.write_text('{"text": "a text", "more": ' + '{"a":' * 900 + "1" + "}" * 900 + "}\n", encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert open_corpus(str(path)).pieces == ["a text"]
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 2**29


def test_lines_may_differ_in_all_but_the_column_that_is_read(tmp_path):
    path = tmp_path / "mixed.jsonl"
    rows = [
        '{"text": "one", "n": [1]}',
        '{"text": 2, "n": "two"}',
        '{"n": null}',
        '{"text": null}',
        '{"text": "three"}',
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    assert open_corpus(str(path)).pieces == ["one", "2", "three"]
    with pytest.raises(CorpusError, match=r"Unknown column of mixed\.jsonl 'n'\. Available: text\."):
        open_corpus(str(path), column="n")


def test_a_column_that_is_null_in_every_line_is_no_column(tmp_path):
    path = tmp_path / "nulls.jsonl"
    path.write_text('{"text": null, "body": "one"}\n{"text": null, "body": "two"}', encoding="utf-8")
    assert open_corpus(str(path)).pieces == ["one", "two"]
    path.write_text('{"n": 1}', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"Unknown column of nulls\.jsonl 'n'"):
        open_corpus(str(path), column="n")


@pytest.mark.parametrize(
    "line, told",
    [
        ("[1]", "line 2 is no JSON object"),
        ('{"text": "\\ud800"}', r"lines\.jsonl, line 2: half a character\. Correct the file\."),
    ],
)
def test_a_line_that_holds_no_text_is_named_by_its_number(line, told, tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"text": "one"}\n' + line, encoding="utf-8")
    with pytest.raises(CorpusError, match=told):
        open_corpus(str(path))


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_json_that_is_nested_beyond_reading_is_named(suffix, tmp_path):
    path = tmp_path / f"deep{suffix}"
    path.write_text('{"messages": 1, "role": ' + NESTED + "}", encoding="utf-8")
    with pytest.raises(CorpusError, match=f"deep{suffix} cannot be read as {suffix[1:]}"):
        open_corpus(str(path))


def test_half_a_character_that_an_encoding_makes_is_named(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(rb"A text with \ud800 in it.")
    with pytest.raises(CorpusError, match=r"text\.txt is not unicode_escape, or damaged\. Try --encoding utf-8\."):
        open_corpus(str(path), encoding="unicode_escape")


def test_a_name_of_thousands_of_characters_is_one_short_line():
    for name in ("x" * 5000, "x" * 5000 + ".txt"):
        with pytest.raises(CorpusError) as refused:
            open_corpus(name)
        assert len(str(refused.value)) < 400
