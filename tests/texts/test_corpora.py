"""Texts: the built-in ones, the user's files in their encodings, and what is said of bad ones."""

import polars as pl
import pytest

from core.errors import CorpusError
from core.texts.corpora import BUILT_IN, open_corpus

JAPANESE = "会議は午後三時に始まる。\n\n資料は前日までに配布すること。"


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_corpora_open_with_their_provenance(name):
    corpus = open_corpus(name)
    assert corpus.row.corpus_id == f"{name}@{corpus.row.sha256[:12]}"
    assert corpus.row.language and corpus.row.domain and corpus.row.licence
    assert corpus.row.n_characters > 15_000
    assert open_corpus(name).row == corpus.row


def test_the_written_corpora_hold_no_repeated_sentence():
    for name, stop in [("english-business", ". "), ("japanese-business", "。")]:
        sentences = [s.strip() for piece in open_corpus(name).pieces for s in piece.split(stop) if len(s) > 20]
        assert len(sentences) == len(set(sentences))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16", "euc_jp"])
def test_a_text_file_opens_in_its_encoding(tmp_path, encoding):
    path = tmp_path / "text.txt"
    path.write_bytes(JAPANESE.encode(encoding))
    asked = "utf-8" if encoding == "utf-8-sig" else encoding
    assert open_corpus(str(path), encoding=asked).pieces == JAPANESE.split("\n\n")
    assert open_corpus(str(path.rename(tmp_path / "text.md")), encoding=asked).pieces == JAPANESE.split("\n\n")


@pytest.mark.parametrize(
    ("written", "asked", "offered"),
    [("cp932", "utf-8", "cp932"), ("utf-16", "utf-8", "utf-16"), ("utf-8", "ascii", "utf-8")],
)
def test_another_encoding_than_named_is_refused_and_the_likely_one_offered(tmp_path, written, asked, offered):
    path = tmp_path / "text.txt"
    path.write_bytes((JAPANESE * 20).encode(written))
    with pytest.raises(CorpusError, match=f"text.txt is not {asked}.*--encoding {offered}"):
        open_corpus(str(path), encoding=asked)


def test_the_column_of_a_table_is_named_or_obvious(tmp_path):
    frame = pl.DataFrame({"id": [1, 2], "body": ["first row", "second row"], "title": ["a", "b"]})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_csv(tmp_path / "t.csv")
    frame.select("id", "body").write_ndjson(tmp_path / "t.jsonl")
    for name in ("t.parquet", "t.csv"):
        with pytest.raises(CorpusError, match="It has id, body, title.*--column"):
            open_corpus(str(tmp_path / name))
        assert open_corpus(str(tmp_path / name), "body").pieces == ["first row", "second row"]
    assert open_corpus(str(tmp_path / "t.jsonl")).pieces == ["first row", "second row"]
    pl.DataFrame({"text": [[1, 2]], "id": ["a name"]}).write_parquet(tmp_path / "ids.parquet")
    with pytest.raises(CorpusError, match=r"Which column of ids\.parquet\? It has text, id\."):
        open_corpus(str(tmp_path / "ids.parquet"))
    with pytest.raises(
        CorpusError, match=r"Unknown column of t\.csv 'bodi'\. Did you mean body\? Available: body, id,"
    ):
        open_corpus(str(tmp_path / "t.csv"), "bodi")
    for empty in ("text,id\n", "text,id\n,1\n,2\n"):  # the column that is meant is not passed over for another one
        (tmp_path / "empty.csv").write_text(empty, encoding="utf-8")
        with pytest.raises(CorpusError, match="empty holds no text"):
            open_corpus(str(tmp_path / "empty.csv"))


def test_bad_requests_name_what_is_there(tmp_path):
    with pytest.raises(CorpusError, match=r"Unknown text 'python-doc'\. Did you mean python-docs, python-source\?"):
        open_corpus("python-doc")
    with pytest.raises(CorpusError, match="There is no file"):
        open_corpus(str(tmp_path / "absent.txt"))
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"empty\.txt holds no text\. Choose another file or column\."):
        open_corpus(str(tmp_path / "empty.txt"))
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"text": ', encoding="utf-8")
    with pytest.raises(CorpusError, match="broken.jsonl cannot be read as jsonl"):
        open_corpus(str(tmp_path / "broken.jsonl"))
    (tmp_path / "x.docx").write_bytes(b"PK")
    with pytest.raises(
        CorpusError, match=r"x\.docx is no \.txt, \.md, \.jsonl, \.json, \.csv, \.parquet file\. Name one, or"
    ):
        open_corpus(str(tmp_path / "x.docx"))
