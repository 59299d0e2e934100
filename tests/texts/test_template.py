"""Rendering by a chat template: contents are found where they stand, the day is always the same, liars are refused."""

from datetime import datetime

import pytest

from core.errors import CorpusError, ModelError
from core.texts.corpora import Message
from core.texts.sample import read_template, render, template_hash
from tests.chats import CHATML, DATED, TEMPLATES, chat_tokenizer

CHAT = [
    Message("user", "user"),
    Message("assistant", "a"),
    Message("user", "[INST] {{ x }}\n\n<a> & 'b'"),
    Message("assistant", "assistant\n  東京 🙂"),
]


def rendered(template, messages):
    tokenizer = chat_tokenizer(template)
    return render(messages, read_template(tokenizer, "m"), tokenizer, "m", "conversation 3 of c")


@pytest.mark.parametrize("style", TEMPLATES)
def test_contents_are_found_even_where_the_template_writes_the_same_words(style):
    found, starts = rendered(TEMPLATES[style], CHAT)
    shown = [found[start : start + len(m.content)] for start, m in zip(starts, CHAT, strict=True)]
    assert shown == [message.content for message in CHAT]
    assert (
        found
        == chat_tokenizer(TEMPLATES[style]).apply_chat_template(
            [{"role": m.role, "content": m.content} for m in CHAT], tokenize=False
        )
        or style == "dated"
    )
    before = [found[:start] for start in starts]
    if style == "chatml":
        assert [text.count("<|start|>") for text in before] == [2, 3, 4, 5]
    if style == "instructions":
        assert before[2].endswith("</s>[INST] ")


def test_a_system_message_within_the_users_turn_is_found_too():
    found, starts = rendered(TEMPLATES["instructions"], [Message("system", "Be brief."), *CHAT[:2]])
    assert found.startswith("<s>[INST] Be brief.\n\nuser [/INST] a</s>")
    assert starts == [10, 21, 34]


def test_the_day_is_pinned_and_nothing_else_of_the_template_changes():
    assert "Today Date: 26 Jul 2024\n\n" in rendered(DATED, CHAT)[0]
    odd = "\n  {% if true %}{{ strftime_now('%A %d %B') }}{% endif %}\n x {{ messages[0].content }}"
    tokenizer = chat_tokenizer(odd)
    unpinned = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    now = f"{datetime.now():%A %d %B}"
    assert unpinned.replace(now, "Friday 26 July") == rendered(odd, [Message("user", "hi")])[0]
    short = "{{ strftime_now('%-d/%-m/%y %H:%M %Y-%m-%d') }}{{ messages[0].content }}"
    assert rendered(short, [Message("user", "hi")])[0] == "26/7/24 12:00 2024-07-26hi"


def test_templates_are_told_apart_by_their_hash():
    hashes = {template_hash(read_template(chat_tokenizer(template), "m")) for template in TEMPLATES.values()}
    assert len(hashes) == len(TEMPLATES) and all(len(digest) == 12 for digest in hashes)


@pytest.mark.parametrize(
    ("style", "messages", "told"),
    [
        ("alternating", [Message("system", "Be brief."), *CHAT], "System role not supported"),
        ("alternating", [CHAT[0], CHAT[0]], "Conversation roles must alternate"),
        ("alternating", CHAT[1:], "Conversation roles must alternate"),
    ],
)
def test_what_a_template_refuses_is_said_with_the_conversation(style, messages, told):
    with pytest.raises(CorpusError, match=f"of m cannot be used: conversation 3 of c: {told}.*--chat plain"):
        rendered(TEMPLATES[style], messages)


@pytest.mark.parametrize(
    "template",
    [
        CHATML.replace("message.content", "(message.content | upper)"),
        CHATML.replace("message.content", "(message.content | tojson)"),
        CHATML.replace("message.content", "message.content.split('<a>')[-1]"),
        CHATML.replace("message.content", "message.content[:20]"),
        CHATML.replace("in messages %}", "in messages | reverse %}"),
        CHATML.replace("in messages %}", "in messages[1:] %}"),
        CHATML.replace("message.content", "message.content + message.content"),
        CHATML.replace("'\n' + message.content", "(message.content | length | string)"),
        CHATML.replace("<|end|>", "' ~ range(99999) | random ~ '"),
    ],
)
def test_a_template_that_changes_contents_is_refused_by_name(template):
    assert template != CHATML
    with pytest.raises(
        CorpusError, match="cannot be used: it changes messages, or the text between them, of conversation 3 of c"
    ):
        rendered(template, CHAT)


def test_a_broken_template_is_one_line():
    with pytest.raises(CorpusError, match="The chat template of m cannot be used: conversation 3 of c: 'str object'"):
        rendered("{{ messages[0].content.nothing.more }}", CHAT)


def test_models_that_cannot_show_messages_are_told_the_way_out(monkeypatch):
    with pytest.raises(ModelError, match="there is none for this chat"):
        read_template(chat_tokenizer(None), "m")
    several = chat_tokenizer({"tool_use": CHATML, "rag": CHATML})
    with pytest.raises(ModelError, match="there is none for this chat.*--chat plain"):
        read_template(several, "m")
    tokenizer = chat_tokenizer(CHATML)
    monkeypatch.setattr(type(tokenizer), "is_fast", False)
    with pytest.raises(ModelError, match="its tokenizer gives no positions.*--chat plain"):
        read_template(tokenizer, "m")
