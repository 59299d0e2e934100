"""Words: the same for every tokenizer, sensible in every script, and placed on tokens that really end them."""

import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from core.registry.protocols import PROTOCOLS
from core.texts import windows as text_words
from core.texts.corpora import CORPORA, open_corpus
from core.texts.sample import TokenSample, draw_sample
from core.texts.windows import characters_for_tokens, merge_pieces, word_spans
from tests.tiny import train_tokenizer

QUICK = PROTOCOLS["quick"]
JAPANESE = str(CORPORA / "japanese-business.txt")
ENGLISH = str(CORPORA / "english-business.txt")


def byte_level(n_types: int, text: str = JAPANESE) -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE without a pre-tokenizer's word limits: its tokens run across words, and split rare characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_types,
        special_tokens=["<s>", "</s>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train([text], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def unigram(n_types: int) -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=n_types, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train([JAPANESE], trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def word_piece(n_types: int) -> transformers.PreTrainedTokenizerFast:
    """As BERT has it: lower case, accents stripped, [CLS] and [SEP] added."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    special = ["[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train([ENGLISH], trainers.WordPieceTrainer(vocab_size=n_types, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.fixture(scope="module")
def japanese():
    return byte_level(8000), unigram(4000)


@pytest.fixture(scope="module")
def english():
    return train_tokenizer(4000), word_piece(3000)


def placed(sample: TokenSample) -> set[int]:
    return set(sample.words.words[sample.word_rows >= 0].tolist())


def pieces(text: str) -> list[str]:
    return [text[start:end] for start, end in word_spans(text)]


def place(text: str, tokenizer, n_tokens: int) -> dict[str, str]:
    """Each word of `text` that a token stands for, and that token's own text."""
    encoding = tokenizer(text, return_offsets_mapping=True, truncation=True, max_length=n_tokens)
    ids = np.full((1, n_tokens), -1)
    ids[0, : len(encoding["input_ids"])] = encoding["input_ids"]
    chosen = text_words.choose_words([text], [1000])
    rows = text_words.place_words(
        chosen, text_words.read_offsets(encoding, n_tokens)[None], np.isin(ids, tokenizer.all_special_ids)
    )
    return {
        text[start:end]: tokenizer.convert_ids_to_tokens(int(ids[0, row]))
        for start, end, row in zip(chosen.starts, chosen.ends, rows, strict=True)
        if row >= 0
    }


# --- segmenting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Don't re-use it: 3.14, 1,000 and foo_bar!", "Don't re use it 3.14 1,000 and foo_bar"),
        ("The state-of-the-art O’Neil, U.S.A.", "The state of the art O’Neil U.S.A"),
        ("我们在北京大学学习自然语言处理，中华人民共和国。", "我们 在 北京 大学 学习 自然 语言 处理 中华 人民 共和国"),
        ("四半期決算の説明会で、コストを削減する。", "四半期 決算 の 説明 会 で コスト を 削減 する"),
        ("クラウドの導入、ラインエネック", "クラウド の 導入 ラインエネック"),
        ("กรุงเทพมหานครเป็นเมืองหลวง", "กรุงเทพมหานคร เป็น เมือง หลวง"),
        ("— … 😀 👨‍👩‍👧 ()", ""),
        ("", ""),
    ],
)
def test_words_are_sensible_in_every_script(text, expected):
    assert pieces(text) == expected.split()


def test_offsets_are_characters_beyond_the_basic_plane_with_accents_and_lone_surrogates():
    text = "😀😀 cafe\u0301 𠮷野家 \ud83d end 𝒳1"
    assert pieces(text) == ["cafe\u0301", *pieces("𠮷野家"), "end", "𝒳1"]
    assert "".join(pieces("𠮷野家")) == "𠮷野家"


def test_a_long_text_is_segmented_in_no_time():
    text = (Path(JAPANESE).read_text(encoding="utf-8") * 4)[:100_000]
    start = time.process_time()
    assert len(word_spans(text)) > 30_000
    assert time.process_time() - start < 4


# --- choosing --------------------------------------------------------------------------------------------------


def test_companions_of_different_tokenizers_measure_the_same_words(japanese):
    corpus, (first, second) = open_corpus("japanese-business"), japanese
    a = draw_sample(corpus, first, QUICK, seed=0, companions=[second])
    b = draw_sample(corpus, second, QUICK, seed=0, companions=[first])
    assert a.windows == b.windows
    assert a.words.hash == b.words.hash
    assert (a.words.starts == b.words.starts).all() and (a.words.words == b.words.words).all()
    assert (a.word_rows >= 0).all() and (b.word_rows >= 0).all()
    assert (a.word_rows != b.word_rows).any()
    assert a.words.n_words > 600


def test_from_the_text_alone_tokenizers_share_the_words_and_lose_few(japanese):
    corpus = open_corpus("japanese-business")
    a, b = (draw_sample(corpus, tokenizer, QUICK, seed=0) for tokenizer in japanese)
    assert a.words.hash == b.words.hash
    for sample in (a, b):
        assert (sample.word_rows < 0).mean() < 0.01
        assert len(placed(sample)) > 0.99 * sample.words.n_words


def test_a_companion_that_reaches_less_far_narrows_the_words_for_all(japanese):
    corpus, (first, second) = open_corpus("japanese-business"), japanese
    bytes_only = byte_level(500)
    alone = draw_sample(corpus, first, QUICK, seed=0)
    narrow = draw_sample(corpus, first, QUICK, seed=0, companions=[second, bytes_only])
    assert len(narrow.word_rows) < 0.8 * len(alone.word_rows)
    assert narrow.words.hash == draw_sample(corpus, second, QUICK, 0, companions=[bytes_only, first]).words.hash
    assert (narrow.ids == alone.ids).all()


def test_the_hash_tells_text_and_windows_apart_and_not_tokenizers(english):
    sample = draw_sample(open_corpus("english-business"), english[0], QUICK, seed=0)
    hashes = {
        sample.words.hash,
        draw_sample(open_corpus("english-business"), english[0], QUICK, seed=1).words.hash,
        draw_sample(open_corpus("python-docs"), english[0], QUICK, seed=0).words.hash,
    }
    assert len(hashes) == 3
    assert all(len(hash) == 12 and int(hash, 16) >= 0 for hash in hashes)
    assert sample.words.hash == draw_sample(open_corpus("english-business"), english[1], QUICK, seed=0).words.hash
    texts = ["one two three", "one two four"]
    assert text_words.choose_words(texts, [50, 50]).hash != text_words.choose_words(texts[::-1], [50, 50]).hash


def test_the_seeded_order_is_the_same_for_every_tokenizer_and_another_for_every_draw(english):
    a, b = (draw_sample(open_corpus("english-business"), tokenizer, QUICK, seed=0).words for tokenizer in english)
    assert (a.order(0, 0) == b.order(0, 0)).all()
    assert (np.sort(a.order(0, 0)) == np.arange(len(a.words))).all()
    assert (a.order(0, 0) != a.order(0, 1)).any() and (a.order(0, 0) != a.order(1, 0)).any()


def test_words_come_from_a_fixed_span_of_each_window_without_its_first_word():
    text = "Alpha beta Beta gamma-delta epsilon"
    chosen = text_words.choose_words([text, text], [text_words.word_span(9, wide=False)] * 2)
    assert text_words.word_span(9, wide=False) == 22
    assert [text[a:b] for a, b in zip(chosen.starts, chosen.ends, strict=True)] == ["beta", "Beta", "gamma"] * 2
    assert chosen.words.tolist() == [0, 1, 2] * 2
    assert chosen.windows.tolist() == [0] * 3 + [1] * 3
    assert chosen.n_words == 3
    assert text_words.word_span(128, wide=True) == 128


def test_a_text_without_words_has_an_empty_set():
    chosen = text_words.choose_words(["!!! ...", "—"], [20, 20])
    assert chosen.n_words == 0
    assert text_words.place_words(chosen, np.full((2, 8, 2), -1), np.zeros((2, 8), bool)).shape == (0,)
    assert chosen.order(0, 0).shape == (0,)


# --- placing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, tokenizers", [("japanese-business", "japanese"), ("python-docs", "english")])
def test_the_token_of_a_word_is_the_one_that_completes_it(name, tokenizers, request):
    """Decoding up to it gives the text up to the word's end, and decoding up to the token before does not."""
    corpus = open_corpus(name)
    for tokenizer in request.getfixturevalue(tokenizers):
        sample = draw_sample(corpus, tokenizer, QUICK, seed=0)
        texts = window_texts(sample, corpus)
        checked = 0
        for row, window, end in list(zip(sample.word_rows, sample.words.windows, sample.words.ends, strict=True))[::3]:
            sequence, position = divmod(int(row), QUICK.n_tokens)
            ids = sample.ids[window, : position + 1]
            if row < 0 or (sample.special[window, 1:position]).any():  # what an unknown token decodes to is not text
                continue
            assert sequence == window
            target = bare(texts[window][:end])
            assert bare(tokenizer.decode(ids, skip_special_tokens=True)).startswith(target)
            assert not bare(tokenizer.decode(ids[:-1], skip_special_tokens=True)).startswith(target)
            checked += 1
        assert checked > 100


def window_texts(sample: TokenSample, corpus) -> list[str]:
    documents = merge_pieces(corpus.pieces, characters_for_tokens(corpus.beginning, QUICK.n_tokens))
    return [documents[window.document][window.start :][:2000] for window in sample.windows]


def bare(text: str) -> str:
    """What every normaliser leaves: compatibility forms, accents, case and spaces gone."""
    letters = unicodedata.normalize("NFKD", text).lower()
    return "".join(letter for letter in letters if not letter.isspace() and not unicodedata.combining(letter))


def test_a_character_split_into_bytes_belongs_to_its_last_byte(japanese):
    text = "これは 鱧 です"
    encoding = japanese[0](text, return_offsets_mapping=True)
    covering = [i for i, (start, end) in enumerate(encoding["offset_mapping"]) if start <= text.index("鱧") < end]
    assert len(covering) > 1
    chosen = text_words.choose_words([text], [100])
    rows = text_words.place_words(chosen, text_words.read_offsets(encoding, 40)[None], np.zeros((1, 40), bool))
    assert rows[chosen.starts.tolist().index(text.index("鱧"))] == covering[-1]


def test_a_word_piece_word_is_its_last_piece_and_lost_accents_belong_to_it(english):
    found = place("The cafe\u0301 unquestionably Zürich's end of it", english[1], 60)
    assert found["unquestionably"].startswith("##")
    assert "cafe\u0301" in found and found["cafe\u0301"].lstrip("#")[-1] == "e"
    assert "The" not in found and "[SEP]" not in found.values()


def test_neither_unknown_tokens_nor_the_last_token_of_a_window_stand_for_a_word(english, japanese):
    assert set(place("The market 𓀀 grew", english[1], 40)) == {"market"}  # grew ends in the last token
    assert set(place("一 鱧 の 市場 の", japanese[1], 40)) == {"の", "市場"}


def test_position_zero_stands_for_no_word_and_a_shared_token_for_both():
    chosen = text_words.choose_words(["a b c d e"], [100])
    offsets = np.array([[[0, 3], [3, 7], [7, 9], [-1, -1]]], dtype=np.int32)
    assert chosen.starts.tolist() == [2, 4, 6, 8]
    assert text_words.place_words(chosen, offsets, np.zeros((1, 4), bool)).tolist() == [-1, 1, 1, -1]
    special = np.array([[False, True, False, False]])
    assert text_words.place_words(chosen, offsets, special).tolist() == [-1, -1, -1, -1]


def test_a_tokenizer_without_offsets_has_no_words_and_takes_none_from_others(japanese):
    slow = transformers.CanineTokenizer()
    assert not slow.is_fast
    corpus = open_corpus("japanese-business")
    sample = draw_sample(corpus, slow, QUICK, seed=0)
    assert (sample.word_rows == -1).all() and (sample.offsets == -1).all()
    assert sample.words.n_words > 600
    with_slow = draw_sample(corpus, japanese[0], QUICK, seed=0, companions=[slow, japanese[1]])
    assert with_slow.words.hash == draw_sample(corpus, japanese[0], QUICK, 0, companions=[japanese[1]]).words.hash
