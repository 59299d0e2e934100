"""Chat messages in files: every common shape is known, and a bad conversation is named by its number."""

import json

import polars as pl
import pytest

from core.errors import CorpusError
from core.texts.corpora import Message, open_corpus

CHAT = [{"role": "user", "content": " Which dock? "}, {"role": "assistant", "content": "Dock nine."}]
SHARED = [{"from": "human", "value": "Which dock?"}, {"from": "gpt", "value": "Dock nine."}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "Which "}, {"type": "text", "text": "dock?"}]}, CHAT[1]]
READ = (Message("user", "Which dock?"), Message("assistant", "Dock nine."))


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def tables(path):
    """A .jsonl, a .json and a .parquet file of one conversation twice, in every shape that each can hold."""
    for row in ({"messages": CHAT}, {"conversations": SHARED}, {"dialog": PARTS}, CHAT):
        yield written(path / "c.jsonl", "\n".join([json.dumps(row)] * 2))
        yield written(path / "c.json", [row, row])
    for row in ({"messages": CHAT}, {"conversations": SHARED}):
        pl.DataFrame([{"id": 1, **row}, {"id": 2, **row}]).write_parquet(path / "c.parquet")
        yield str(path / "c.parquet")


def test_messages_are_known_by_their_shape(tmp_path):
    for name in tables(tmp_path):
        corpus = open_corpus(name)
        assert corpus.conversations == (READ, READ), name
        assert (corpus.row.n_documents, corpus.row.domain, corpus.row.source) == (2, "chat messages", "file")


def test_the_same_messages_are_one_corpus_in_every_shape_and_another_with_another_role(tmp_path):
    first = open_corpus(written(tmp_path / "c.jsonl", {"messages": CHAT})).row
    again = open_corpus(written(tmp_path / "c.json", [{"conversations": SHARED}])).row
    turned = [{**message, "role": "user"} for message in CHAT]
    other = open_corpus(written(tmp_path / "c.jsonl", {"messages": turned})).row
    assert again == first and other.corpus_id != first.corpus_id


def test_plain_contents_are_a_text_of_another_name(tmp_path):
    name = written(tmp_path / "c.jsonl", {"messages": CHAT})
    plain, chat = open_corpus(name, chat="plain"), open_corpus(name)
    assert plain.pieces == ["Which dock?\n\nDock nine."] and not plain.conversations
    assert plain.row.name == "c (plain)" and plain.row.sha256 != chat.row.sha256
    text = open_corpus(written(tmp_path / "t.jsonl", {"text": "Which dock?\n\nDock nine."}))
    assert text.row.sha256 == plain.row.sha256 != chat.row.sha256
    with pytest.raises(CorpusError, match=r"t\.jsonl holds no chat messages\. Leave out --chat plain\."):
        open_corpus(str(tmp_path / "t.jsonl"), chat="plain")
    with pytest.raises(CorpusError, match=r"python-docs holds no chat messages\. Leave out --chat plain\."):
        open_corpus("python-docs", chat="plain")


def test_the_column_is_named_or_obvious(tmp_path):
    pairs = {"prompt": "p", "chosen": CHAT, "rejected": SHARED}
    name = written(tmp_path / "pairs.jsonl", pairs)
    with pytest.raises(
        CorpusError, match=r"Which column of pairs\.jsonl\? It has prompt, chosen, rejected\. Name one with"
    ):
        open_corpus(name)
    assert open_corpus(name, "chosen").conversations == (READ,)
    assert open_corpus(name, "prompt").pieces == ["p"]
    assert open_corpus(written(tmp_path / "m.jsonl", pairs | {"messages": CHAT})).conversations == (READ,)
    both = written(tmp_path / "both.jsonl", {"text": "a rendering", "messages": CHAT})
    with pytest.raises(
        CorpusError, match=r"Which column of both\.jsonl\? It has text, messages\. Name one with --column\."
    ):
        open_corpus(both)
    assert open_corpus(both, "text").pieces == ["a rendering"]
    table = written(tmp_path / "t.json", [pairs])
    with pytest.raises(CorpusError, match=r"Unknown column of t\.json 'choosen'\. Did you mean chosen\? Available:"):
        open_corpus(table, "choosen")
    with pytest.raises(CorpusError, match=r"t\.json holds no conversations\. Save plain texts as \.jsonl"):
        open_corpus(written(tmp_path / "t.json", [{"text": "a"}]))


def test_what_no_template_is_given_is_no_reason_to_refuse_a_file(tmp_path):
    beside = {"toxic": False, "turn": 0, "id": "a1", "weight": 1.0, "name": "bob", "tool_calls": None}
    name = written(tmp_path / "c.jsonl", {"messages": [message | beside for message in CHAT]})
    assert open_corpus(name).conversations == (READ,)


def test_a_line_separator_within_a_message_ends_no_line(tmp_path):
    chat = [{"role": "user", "content": "one\u2028two\x85three"}]
    name = written(tmp_path / "c.jsonl", json.dumps({"messages": chat}, ensure_ascii=False))
    assert open_corpus(name).conversations[0][0].content == "one\u2028two\x85three"


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([], r"Conversation 2 of c\.jsonl: no messages\. Correct the file\."),
        (None, r"Conversation 2 of c\.jsonl: no messages\. Correct the file\."),
        (
            [CHAT[0], {"role": "assistant", "content": " \n"}],
            r"Conversation 2 of c\.jsonl, message 2: an empty message\. Correct the file\.",
        ),
        (
            [{"role": "user", "content": None}],
            r"Conversation 2 of c\.jsonl, message 1: an empty message\. Correct the file\.",
        ),
        ([{"content": "a"}], r"Conversation 2 of c\.jsonl, message 1: no role and content, or from and"),
        (["hello"], r"Conversation 2 of c\.jsonl, message 1: no role and content, or from and"),
        (
            [{"role": "tool", "content": "a"}],
            r"Unknown role in Conversation 2 of c\.jsonl, message 1 'tool'\. Available: .*, user\.$",
        ),
        (
            [{**CHAT[0], "tool_calls": [{"id": 1}], "name": None}],
            r"Conversation 2 of c\.jsonl, message 1: tool_calls beside role, content is not measured\. Correct",
        ),
        (
            [CHAT[0], CHAT[1] | {"reasoning_content": "Hm.", "id": 1}],
            r"Conversation 2 of c\.jsonl, message 2: reasoning_content beside role, content",
        ),
        (
            [{"role": "user", "content": [{"type": "image"}]}],
            r"Conversation 2 of c\.jsonl, message 1: more than text\. Correct the file\.",
        ),
        (
            [{"role": "user", "content": "\ud83d"}],
            r"Conversation 2 of c\.jsonl, message 1: half a character\. Correct the file\.",
        ),
    ],
)
def test_a_bad_conversation_is_named_by_its_number(tmp_path, messages, told):
    lines = [json.dumps({"messages": chat}) for chat in (CHAT, messages)]
    with pytest.raises(CorpusError, match=told):
        open_corpus(written(tmp_path / "c.jsonl", "\n".join(lines)))
