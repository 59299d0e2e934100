"""Windows: the same characters for every tokenizer, disjoint, and honest about texts that do not hold them."""

import copy
import itertools
import re

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

from core.errors import CorpusError
from core.registry.protocols import PROTOCOLS
from core.texts import sample, windows
from core.texts.corpora import CORPORA, open_corpus
from tests.tiny import train_tokenizer

QUICK = PROTOCOLS["quick"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(4000)


@pytest.mark.parametrize("name", ["python-docs", "python-source", "english-business"])
def test_a_sample_is_whole_windows_of_the_protocol(tokenizer, name):
    drawn = sample.draw_sample(open_corpus(name), tokenizer, QUICK, seed=0)
    assert drawn.ids.shape == (32, 128)
    assert sorted(set(drawn.blocks.tolist())) == list(range(16))
    assert 0 < drawn.tokens_per_character < 1
    assert drawn.copied_share <= 0.04 and len(set(drawn.passages.tolist())) >= 31


def of_windows(n_windows=32, n_tokens=128):
    return np.random.default_rng(0).integers(0, 2000, (n_windows, n_tokens))


def test_windows_with_the_same_rows_of_tokens_are_one_passage():
    """Half of the tokens in a row are enough, with one in twenty changed; the same tokens in another order are none."""
    ids, everywhere = of_windows(), np.ones((32, 128), dtype=bool)
    assert (windows.group_near_copies(ids, everywhere) == np.arange(32)).all()
    ids[9, 30:120] = ids[4, 20:110]
    ids[9, 30:120:20] = 2000
    ids[20, 64:] = ids[9, 64:]
    ids[11] = np.random.default_rng(1).permutation(ids[3])
    found = windows.group_near_copies(ids, everywhere)
    assert found[[4, 9, 20]].tolist() == [4, 4, 4] and len(set(found.tolist())) == 30
    assert (windows.group_near_copies(ids, np.arange(128) < np.full((32, 1), 30)) == np.arange(32)).all()
    blocks = windows.blocks_of_passages(np.arange(32), found, 16)
    assert blocks[9] == blocks[20] == blocks[4] == 2 and set(blocks.tolist()) == set(range(16))
    assert windows.blocks_of_passages(np.arange(7), np.arange(7), 16).tolist() == list(range(7))


def test_copies_are_counted_and_where_all_windows_share_a_text_they_stay_apart(tokenizer, tmp_path):
    text = CORPORA.joinpath("english-business.txt").read_text(encoding="utf-8")
    head, length = text[:420], 12_000
    copied = tmp_path / "copied.txt"
    copied.write_text("\n\n".join([text[:length]] * 6), encoding="utf-8")
    drawn = sample.draw_sample(open_corpus(str(copied)), tokenizer, QUICK, seed=0)
    assert 0.1 < drawn.copied_share == 1 - len(set(drawn.passages.tolist())) / 32
    assert drawn.n_blocks == len(set(drawn.blocks.tolist())) <= 16
    assert sample.shuffle_tokens(drawn, 0).passages.tolist() == drawn.passages.tolist()
    ids = of_windows()
    ids[:, :60] = tokenizer(head)["input_ids"][:60]
    found = windows.group_near_copies(ids, np.ones(ids.shape, dtype=bool))
    assert (found == 0).all()


def test_windows_depend_on_text_and_seed_and_never_overlap():
    corpus = open_corpus("python-docs")
    length = windows.characters_for_tokens("".join(corpus.pieces), 128)
    documents = windows.merge_pieces(corpus.pieces, length)
    first = windows.plan_windows(documents, 200, length, corpus.row.sha256, seed=0)
    assert first == windows.plan_windows(documents, 200, length, corpus.row.sha256, seed=0)
    assert first != windows.plan_windows(documents, 200, length, corpus.row.sha256, seed=1)
    assert len(first) == 200
    for a, b in itertools.pairwise(first):
        assert a.document < b.document or a.start + length - 40 <= b.start
    for window in first:
        assert 0 <= window.start <= len(documents[window.document]) - length + 40


def test_the_opening_token_is_named_and_can_be_left_out(tokenizer):
    """The same windows, and in each one token of text more where the opening token stood."""
    opened = copy.deepcopy(tokenizer)
    opened.add_special_tokens({"bos_token": "<s>"})
    opened.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", opened.bos_token_id)]
    )
    corpus = open_corpus("english-business")
    with_it = sample.draw_sample(corpus, opened, QUICK, seed=0)
    without = sample.draw_sample(corpus, opened, QUICK, seed=0, opened=False)
    assert (with_it.opening_token, without.opening_token) == ("<s>", None)
    assert with_it.windows == without.windows and (with_it.ids[:, 0] == opened.bos_token_id).all()
    np.testing.assert_array_equal(with_it.ids[:, 1:], without.ids[:, :-1])
    assert not without.special.any() and with_it.special[:, 0].all()
    assert sample.draw_sample(corpus, tokenizer, QUICK, seed=0).opening_token is None


def test_scored_bytes_are_those_of_the_targets(tokenizer):
    drawn = sample.draw_sample(open_corpus("english-business"), tokenizer, QUICK, seed=0)
    by_decoding = sum(len(tokenizer.decode(row[1:]).encode()) for row in drawn.ids.tolist())
    assert drawn.n_bytes_scored == pytest.approx(by_decoding, abs=4 * len(drawn.ids))


def test_short_paragraphs_are_merged_and_no_text_is_lost():
    pieces = ["a" * 30, "b" * 50, "c" * 200, "d" * 10]
    documents = windows.merge_pieces(pieces, 70)
    assert [len(document) >= 70 for document in documents] == [True] * len(documents)
    assert "\n\n".join(documents) == "\n\n".join(pieces)


def test_a_text_that_is_too_short_says_what_is_needed_and_there(tokenizer, tmp_path):
    (tmp_path / "short.txt").write_text("A sentence about invoices and harbours. " * 40, encoding="utf-8")
    with pytest.raises(CorpusError, match="short is too short for quick: 1,599 of some 22,528 characters"):
        sample.draw_sample(open_corpus(str(tmp_path / "short.txt")), tokenizer, QUICK, seed=0)


def test_a_text_whose_pieces_or_tokens_give_too_few_windows_is_not_said_to_have_enough():
    with pytest.raises(CorpusError) as told:
        windows.require_windows(open_corpus("english-business"), QUICK, 30)
    has, needs = (int(n.replace(",", "")) for n in re.findall(r"\d+,[\d,]*\d", str(told.value)))
    assert has < needs < 2 * has


@pytest.fixture(scope="module")
def with_rules(tmp_path_factory):
    """A text whose every fourth piece ends in a rule of 900 dashes."""
    sentences = open_corpus("english-business").pieces
    pieces = [p + "\n" + "-" * 900 if i % 4 == 0 else p for i, p in enumerate(sentences[:400])]
    folder = tmp_path_factory.mktemp("rules")
    (folder / "some.txt").write_text("\n\n".join(pieces), encoding="utf-8")
    return open_corpus(str(folder / "some.txt"))


def test_windows_left_short_read_on_or_are_drawn_again_and_never_overlap(with_rules):
    tokenizer = train_on_rules()
    drawn = sample.draw_sample(with_rules, tokenizer, QUICK, seed=0)
    again = sample.draw_sample(with_rules, tokenizer, QUICK, seed=0)
    assert drawn.n_lengthened > 0 and drawn.n_redrawn > 0
    assert (drawn.ids == again.ids).all() and drawn.windows == again.windows
    assert (np.diff(drawn.documents) >= 0).all()
    length = windows.characters_for_tokens(with_rules.beginning, 128)
    documents, planned = windows.place_windows(with_rules, 32, length, 0)
    assert len(set(planned) - set(drawn.windows)) == drawn.n_redrawn
    starts = np.cumsum([0, *(len(d) + 2 for d in documents)])
    places = [int(starts[w.document]) + w.start for w in drawn.windows]
    ends = [place + int(offsets.max()) for place, offsets in zip(places, drawn.offsets, strict=True)]
    assert all(end <= following for end, following in zip(ends, places[1:], strict=False))


def test_a_tokenizer_that_leaves_no_window_short_reads_the_planned_ones(tokenizer, with_rules):
    drawn = sample.draw_sample(with_rules, tokenizer, QUICK, seed=0)  # each dash is a token
    planned = windows.place_windows(with_rules, 32, windows.characters_for_tokens(with_rules.beginning, 128), 0)[1]
    assert drawn.windows == tuple(planned) and (drawn.n_lengthened, drawn.n_redrawn) == (0, 0)


def test_a_tokenizer_that_falls_to_bytes_is_told_so_with_the_counts(tmp_path):
    with pytest.raises(
        CorpusError,
        match=r"japanese-business gives 75 token types; a cloud needs 300\. Choose a more varied text, or a model",
    ):
        sample.draw_sample(open_corpus("japanese-business"), train_tokenizer(400), QUICK, seed=0)


@pytest.mark.parametrize("line", ["The ship left the harbour at noon. ", "契約書に署名してください。"])
def test_a_text_that_repeats_itself_is_told_so_with_the_counts(tokenizer, line, tmp_path):
    (tmp_path / "same.txt").write_text("\n\n".join([line * 60] * 80), encoding="utf-8")
    with pytest.raises(
        CorpusError, match=r"same gives \d+ token types; a cloud needs 300\. Choose a more varied text,"
    ):
        sample.draw_sample(open_corpus(str(tmp_path / "same.txt")), tokenizer, QUICK, seed=0)


def test_japanese_windows_are_reserved_by_script():
    japanese = windows.characters_for_tokens("".join(open_corpus("japanese-business").pieces), 128)
    assert japanese < windows.characters_for_tokens("".join(open_corpus("english-business").pieces), 128)
    assert japanese == 282  # 2.2 characters a token


def test_a_sample_knows_the_characters_of_its_tokens(tokenizer):
    corpus = open_corpus("english-business")
    drawn = sample.draw_sample(corpus, tokenizer, QUICK, seed=0)
    documents = windows.merge_pieces(corpus.pieces, windows.characters_for_tokens(corpus.beginning, 128))
    assert drawn.offsets.shape == (32, 128, 2) and drawn.offsets.dtype == np.int32
    assert len(drawn.windows) == 32
    assert [window.document for window in drawn.windows] == drawn.documents.tolist()
    for window, ids, offsets in zip(drawn.windows, drawn.ids, drawn.offsets, strict=True):
        text = documents[window.document][window.start :]
        assert text.startswith(tokenizer.decode(ids))
        assert tokenizer.decode(ids[5:9]).strip() == text[offsets[5, 0] : offsets[8, 1]].strip()


def test_companions_change_the_words_and_nothing_else(tokenizer):
    corpus = open_corpus("python-docs")
    alone = sample.draw_sample(corpus, tokenizer, QUICK, seed=0)
    compared = sample.draw_sample(corpus, tokenizer, QUICK, seed=0, companions=[train_tokenizer(500)])
    assert (alone.ids == compared.ids).all() and alone.windows == compared.windows
    assert len(compared.words.words) < len(alone.words.words)
    assert (compared.word_rows >= 0).all()
    assert alone.words.hash != compared.words.hash


def test_too_few_words_are_no_error(tokenizer, tmp_path):
    signs = "!?;:()[]{}<>=+-*/%&|^~#@$"
    rng = np.random.default_rng(0)
    lines = ["".join(rng.choice(list(signs), 30)) + " market " for _ in range(2500)]
    (tmp_path / "signs.txt").write_text("\n".join(lines), encoding="utf-8")
    signs_tokenizer = train_on(tmp_path / "signs.txt")
    drawn = sample.draw_sample(open_corpus(str(tmp_path / "signs.txt")), signs_tokenizer, QUICK, seed=0)
    assert drawn.words.n_words == 1


def train_on(path):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.train([str(path)], trainers.BpeTrainer(vocab_size=2000, show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=trained)


def train_on_rules():
    """A tokenizer that takes a rule for one token."""
    from tokenizers import Regex, normalizers

    trained = train_on(CORPORA / "english-business.txt")
    trained.backend_tokenizer.normalizer = normalizers.Replace(Regex("-{20,}"), "-")
    return trained
