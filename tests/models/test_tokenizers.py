"""Tokenizers that cannot be read: which package is missing, which file is damaged, or that there is none."""

import importlib.util
import json
import re

import pytest

from core.errors import ModelError
from core.measure.profile import measure_profile
from core.models.hub import find_weights
from core.models.loading import read_tokenizer
from core.records import RunConfig
from core.texts.windows import encode_text
from tests.tiny import open_model, save_tiny_model, train_tokenizer

TYPES = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n日本\n".encode()
SENTENCEPIECE = b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02"
JAPANESE = {"tokenizer_class": "BertJapaneseTokenizer", "subword_tokenizer_type": "wordpiece"}


def only_with(folder, files, settings=None):
    """A model folder whose tokenizer consists of these files alone."""
    save_tiny_model(folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return find_weights(str(folder))


@pytest.mark.parametrize(
    "packages, modules, files, settings",
    [
        ("sentencepiece", ["sentencepiece"], {"tokenizer.model": SENTENCEPIECE}, {"tokenizer_class": "LlamaTokenizer"}),
        ("tiktoken", ["tiktoken"], {"tokenizer.model": b"IQ== 0\nIg== 1\n"}, None),
        (
            "fugashi unidic-lite",
            ["fugashi", "unidic_lite"],
            {"vocab.txt": TYPES},
            JAPANESE | {"word_tokenizer_type": "mecab"},
        ),
        (
            "fugashi ipadic",
            ["fugashi", "ipadic"],
            {"vocab.txt": TYPES},
            JAPANESE | {"word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_dic": "ipadic"}},
        ),
        (
            "fugashi unidic",
            ["fugashi", "unidic"],
            {"vocab.txt": TYPES},
            JAPANESE | {"word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_dic": "unidic"}},
        ),
        (
            "SudachiPy SudachiDict-core",
            ["sudachipy", "sudachidict_core"],
            {"vocab.txt": TYPES},
            JAPANESE | {"word_tokenizer_type": "sudachi"},
        ),
        ("rhoknp", ["rhoknp"], {"vocab.txt": TYPES}, JAPANESE | {"word_tokenizer_type": "jumanpp"}),
        (
            "sacremoses",
            ["sacremoses"],
            {"vocab.json": b'{"a": 0}', "merges.txt": b"#version\n"},
            {"tokenizer_class": "XLMTokenizer"},
        ),
    ],
)
def test_the_package_that_is_missing_is_named(packages, modules, files, settings, tmp_path):
    if any(importlib.util.find_spec(module) for module in modules):
        pytest.skip(f"{packages} is installed, in part at least")
    weights = only_with(tmp_path / "tiny", files, settings)
    with pytest.raises(ModelError, match=f"^The tokenizer of tiny needs .*: pip install {re.escape(packages)}$"):
        read_tokenizer(weights)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_tokenizer_that_is_not_there_is_not_made_up(family, tmp_path):
    folder = save_tiny_model(tmp_path / "tiny", family)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(
        ModelError, match=r"tiny cannot be measured: no tokenizer\.json, tokenizer\.model or vocab\.txt\. Add one"
    ):
        open_model(find_weights(str(folder)), device="cpu")


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "tokenizer.json",
            b'{"model": {"vocab"',
            r"tokenizer\.json of tiny cannot be used \(Expecting ':' delimiter: line 1",
        ),
        (
            "tokenizer_config.json",
            b'{"tokenizer_class": ',
            r"tokenizer_config\.json of tiny cannot be used \(Expecting value: line 1",
        ),
        (
            "tokenizer.json",
            b'{"version": "1.0"}',
            r"The tokenizer of tiny cannot be read \(KeyError: 'added_tokens'\)\. Download",
        ),
    ],
)
def test_a_damaged_file_is_named(name, content, message, tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_tokenizer(find_weights(str(folder)))


def test_a_window_is_read_from_its_beginning_whichever_side_the_tokenizer_would_cut(tmp_path):
    folder = save_tiny_model(tmp_path / "left")
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"truncation_side": "left"}), encoding="utf-8")
    text = "The first sentence of a window counts. The last of a text that is too long does not."
    left, right = (
        encode_text(text, each, 8) for each in (read_tokenizer(find_weights(str(folder))), train_tokenizer())
    )
    assert left.ids == right.ids and left.offsets[0].tolist() == right.offsets[0].tolist()


def test_a_tokenizer_bigger_than_the_vocabulary_is_found_out_before_the_weights_are_read(tmp_path, monkeypatch):
    folder = save_tiny_model(tmp_path / "tiny")
    train_tokenizer(5000).save_pretrained(folder)
    monkeypatch.setattr("core.measure.profile.open_network", lambda *asked: pytest.fail("weights were read"))
    with pytest.raises(
        ModelError, match=r"tokenizer of local:tiny.* cannot be used \(it gives token 4998, .* 2000\)\."
    ):
        measure_profile(RunConfig(str(folder), "english-business", device="cpu"), "run", tmp_path, lambda step: None)
