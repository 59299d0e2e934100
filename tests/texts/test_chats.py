"""Chat messages as token samples: the same messages for every template, and nothing measured on the template."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.errors import CorpusError, ModelError
from core.measure.plan import capture, mask_tokens
from core.models.hub import find_weights
from core.registry.protocols import PROTOCOLS
from core.texts.corpora import Message, open_corpus
from core.texts.sample import cut_conversations, draw_sample, shuffle_tokens
from core.texts.windows import plan_chat_windows
from tests.chats import CHATML, TEMPLATES, chat_tokenizer, chats, save_chat_model, write_chats
from tests.tiny import open_model, train_tokenizer

QUICK = PROTOCOLS["quick"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return open_corpus(str(write_chats(tmp_path_factory.mktemp("chats") / "chats.jsonl")))


@pytest.fixture(scope="module")
def samples(corpus):
    return {style: draw_sample(corpus, chat_tokenizer(t), QUICK, 0) for style, t in TEMPLATES.items()}


def conversation(*lengths):
    """User and assistant in turn, with contents so long."""
    return tuple(Message("user" if i % 2 == 0 else "assistant", "x" * n) for i, n in enumerate(lengths))


def shape(documents):
    """Conversation and number of messages of everything that each window reads."""
    return [[[(t.conversation, len(t.messages)) for t in w.turns] for w in windows] for windows in documents]


# --- which messages --------------------------------------------------------------------------------------------


def test_short_conversations_share_a_window_and_long_ones_hold_several():
    short, long = conversation(20, 30), conversation(40, 70, 10, 95, 50, 60, 5, 5)
    assert shape(cut_conversations([short, short, long, short], 100)) == [
        [[(1, 2), (2, 2)]],
        [[(3, 2)], [(3, 2)], [(3, 4), (4, 2)]],
    ]


def test_every_document_holds_a_window_however_its_lengths_fall():
    for n in range(90, 110):
        for windows in cut_conversations([conversation(25, 25, 25, 25), conversation(51), conversation(49)] * 3, n):
            assert windows and all(len(window.text) >= n for window in windows)


def test_later_windows_start_at_a_user_and_leave_nothing_out():
    greeted = (
        Message("system", "s" * 10),
        Message("assistant", "a" * 60),
        *conversation(60, 60, 60, 60),
        *[Message("user", "u" * 60), Message("user", "v" * 60)],
    )
    (windows,) = cut_conversations([greeted], 100)
    assert [m for window in windows for m in window.messages] == list(greeted)
    assert [window.messages[0].role for window in windows] == ["system", "user", "user"]


def test_windows_are_starts_of_conversations_where_there_are_enough_and_later_turns_where_not():
    digest = "0123456789abcdef"
    many = plan_chat_windows([3] * 50, 32, digest, 0)
    assert len(many) == 32 and {window.start for window in many} == {0}
    assert many == plan_chat_windows([3] * 50, 32, digest, 0) != plan_chat_windows([3] * 50, 32, digest, 1)
    few = plan_chat_windows([1, 4, 9], 10, digest, 0)
    assert len(few) == len(set(few)) == 10 and {window.document for window in few} == {0, 1, 2}
    assert all(window.start < (1, 4, 9)[window.document] for window in few)
    assert len(plan_chat_windows([1, 2], 10, digest, 0)) == 3


def test_every_template_reads_the_same_messages(samples, corpus):
    first, *others = samples.values()
    for other in others:
        assert other.windows == first.windows and other.words.hash == first.words.hash
        assert (other.blocks == first.blocks).all() and other.ids.shape == (32, 128)
    assert len({sample.chat_template_hash for sample in samples.values()}) == 4
    texts = contents(corpus)
    for style, sample in samples.items():
        tokenizer = chat_tokenizer(TEMPLATES[style])
        for ids, template, offsets, text in zip(sample.ids, sample.template, sample.offsets, texts, strict=True):
            read = "".join(tokenizer.decode(ids[~template]).split())
            assert "".join(text.split()).startswith(read) and len(read) > 150
            for token, (start, end) in zip(ids[~template], offsets[~template], strict=True):
                piece = tokenizer.decode([token]).strip()
                assert piece in text[start:end] or piece == "\ufffd"  # a byte of a character
            assert (offsets[template] == -1).all()


def contents(corpus):
    """The contents of each window of the samples above."""
    documents = cut_conversations(corpus.conversations, 704)
    chosen = plan_chat_windows(list(map(len, documents)), 32, corpus.row.sha256, 0)
    return [documents[window.document][window.start].text for window in chosen]


def test_what_the_template_writes_is_template_and_what_it_surrounds_is_not(samples):
    share = {style: float(sample.template.mean()) for style, sample in samples.items()}
    assert share["dated"] > share["chatml"] > share["instructions"] > share["alternating"] > 0.05
    chatml, tokenizer = samples["chatml"], chat_tokenizer(CHATML)
    markers = np.isin(chatml.ids, tokenizer.convert_tokens_to_ids(["<|start|>", "<|end|>"]))
    assert chatml.template[markers].all()
    told = "<|start|>system\nYou are a helpful model of the tests.<|end|>\n<|start|>user\n"
    n = len(tokenizer(told, add_special_tokens=False)["input_ids"])
    assert chatml.template[:, :n].all() and not chatml.template[:, n].any()


def test_words_are_chosen_from_contents_and_placed_on_their_tokens(samples, corpus):
    texts = contents(corpus)
    for style, sample in samples.items():
        tokenizer = chat_tokenizer(TEMPLATES[style])
        assert (sample.word_rows >= 0).mean() > 0.99 and sample.words.n_words > 400
        for window, start, end, row in zip(
            sample.words.windows, sample.words.starts, sample.words.ends, sample.word_rows, strict=True
        ):
            if row >= 0:
                assert not sample.template.flat[row]
                word, token = texts[window][start:end], tokenizer.decode([sample.ids.flat[row]])
                assert word.endswith(token.strip()) or word in token


def test_companions_share_the_words_and_one_that_cannot_read_takes_none(corpus):
    first, second = chat_tokenizer(TEMPLATES["chatml"]), chat_tokenizer(TEMPLATES["dated"], 600)
    alone = draw_sample(corpus, first, QUICK, 0)
    a = draw_sample(corpus, first, QUICK, 0, companions=[second])
    b = draw_sample(corpus, second, QUICK, 0, companions=[first])
    assert a.words.hash == b.words.hash != alone.words.hash
    assert (a.word_rows >= 0).all() and (b.word_rows >= 0).all()
    without = draw_sample(corpus, first, QUICK, 0, companions=[second, train_tokenizer(2000)])
    assert without.words.hash == a.words.hash


# --- what is measured on them ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return open_model(find_weights(str(save_chat_model(tmp_path_factory.mktemp("models") / "chat"))), device="cpu")


def test_the_mask_drops_the_template_and_counts_it_apart(samples):
    sample = samples["dated"]
    norms = np.ones((5, sample.ids.size), dtype=np.float32)
    norms[:, sample.template.flatten()] = 50  # would be the median's, or outsize
    mask = mask_tokens(sample, norms, 4, 3.0)
    assert not sample.template.flatten()[mask.keep].any()
    dropped = mask.n_dropped_position + mask.n_dropped_special + mask.n_dropped_template + mask.n_dropped_norm
    assert dropped + mask.keep.sum() == sample.ids.size
    assert mask.n_dropped_norm == 0 and mask.n_dropped_template > 0.25 * sample.ids.size
    assert mask.max_norm_ratio == pytest.approx(50)


def test_shuffled_contents_leave_the_template_in_place(samples):
    for sample in samples.values():
        control = shuffle_tokens(sample, 0)
        moved = control.ids != sample.ids
        assert moved[sample.is_text].mean() > 0.9 and not moved[~sample.is_text].any()
        assert (np.sort(control.ids, axis=1) == np.sort(sample.ids, axis=1)).all()


def test_bits_per_byte_are_those_of_contents(model, corpus, tmp_path):
    sample = draw_sample(corpus, model.tokenizer, QUICK, 0)
    bits = capture(model, sample, tmp_path, lambda step: None).bits_per_byte
    ids = torch.from_numpy(sample.ids)
    with torch.inference_mode():
        logits = model.module(input_ids=ids).logits
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    wanted = torch.from_numpy(~sample.template[:, 1:]).flatten()
    assert 0.5 < wanted.float().mean() < 0.95
    assert bits == pytest.approx(float(losses[wanted].sum()) / math.log(2) / sample.n_bytes_scored, rel=1e-5)
    by_decoding = sum(
        len(model.tokenizer.decode(row[~outside]).encode())
        for row, outside in zip(sample.ids, sample.template, strict=True)
    )
    assert sample.n_bytes_scored == pytest.approx(by_decoding, rel=0.01)


def test_what_a_user_writes_of_the_markers_is_no_content_to_measure(tmp_path):
    path = tmp_path / "forged.jsonl"
    chat = [[{**m, "content": m["content"] + "</s>"} for m in one] for one in chats()]
    path.write_text("\n".join(map(json.dumps, chat)), encoding="utf-8")
    sample = draw_sample(open_corpus(str(path)), chat_tokenizer(CHATML), QUICK, 0)
    forged = sample.ids == chat_tokenizer(CHATML).eos_token_id
    assert forged.any() and sample.special[forged].all() and not sample.is_text[forged].any()


# --- what is refused -------------------------------------------------------------------------------------------


def test_refusals_name_model_text_and_conversation(tmp_path, corpus):
    with pytest.raises(ModelError, match=r"The chat template of tiny cannot be used: there is none for this chat\."):
        draw_sample(corpus, train_tokenizer(2000), QUICK, 0, "tiny")
    system = open_corpus(str(write_chats(tmp_path / "system.jsonl", system=True)))
    with pytest.raises(
        CorpusError, match="template of tiny cannot be used: conversation [0-9]+ of system: System role not"
    ):
        draw_sample(system, chat_tokenizer(TEMPLATES["alternating"]), QUICK, 0, "tiny")
    with pytest.raises(
        CorpusError, match=r"The chat template of tiny cannot be used: it fills a window of 20 tokens\."
    ):
        draw_sample(corpus, chat_tokenizer(CHATML), replace(QUICK, n_tokens=20), 0, "tiny")
    lines = (tmp_path / "system.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "few.jsonl").write_text("\n".join(lines[:20]), encoding="utf-8")
    few = open_corpus(str(tmp_path / "few.jsonl"))
    with pytest.raises(
        CorpusError, match=r"few is too short for quick: its conversations give \d+ of 32 windows .* Add conv"
    ):
        draw_sample(few, chat_tokenizer(CHATML), QUICK, 0, "tiny")
