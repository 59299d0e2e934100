"""The files of a tokenizer: whether they are there, and what is missing where it cannot be read."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import transformers

from core.errors import Sentence
from core.files import read_json
from core.models.weights import Weights, damaged, not_measured

VOCABULARIES = ("tokenizer.json", "tekken.json", "vocab.*", "*.model", "*.spm", "*.tiktoken", "merges.txt", "bpe.codes")
DICTIONARIES = {"ipadic": "ipadic", "unidic": "unidic", "unidic_lite": "unidic-lite"}
"""MeCab's dictionaries: value of `mecab_dic` -> package."""
MODULES = {
    "unidic-lite": "unidic_lite",
    "SudachiPy": "sudachipy",
    "SudachiDict-core": "sudachidict_core",
    "mistral-common": "mistral_common",
    "protobuf": "google.protobuf",
}
"""Package -> module to import, if their names differ."""
NAMED = ("sentencepiece", "tiktoken", "sacremoses", "protobuf", "fugashi", "jieba", "nltk")
"""Packages that transformers' error messages mention by name."""


def require_tokenizer(weights: Weights) -> None:
    """Raises ModelError if the folder has no vocabulary: transformers would invent one for some architectures."""
    if not weights.gguf_file and not has_tokenizer(weights.folder):
        raise not_measured(
            weights.name,
            Sentence("no tokenizer.json, tokenizer.model or vocab.txt"),
            Sentence("Add one to its folder."),
        )


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a vocabulary, or the settings of a tokenizer that needs none."""
    if any(any(folder.glob(pattern)) for pattern in VOCABULARIES):
        return True
    known = getattr(transformers, str(_settings(folder).get("tokenizer_class")), None)
    return known is not None and not getattr(known, "vocab_files_names", True)  # a byte tokenizer


def tokenizer_problem(weights: Weights, error: Exception) -> Sentence:
    """One line that says why a tokenizer could not be read."""
    text = " ".join(str(error).split())
    missing = [package for package in _needed(weights.folder, text) if not _is_installed(package)]
    if missing:
        return Sentence(
            "The tokenizer of {weights} needs packages: pip install {packages}",
            weights=weights.name,
            packages=" ".join(missing),
        )
    for path in sorted(weights.folder.glob("*.json")):
        try:
            read_json(path)
        except (ValueError, OSError) as broken:
            return damaged(path.name, weights.name, broken).message
    return Sentence(
        "The tokenizer of {weights} cannot be read ({reason}). Download it again, or update transformers {version}.",
        weights=weights.name,
        reason=f"{type(error).__name__}: {text[:160]}",
        version=transformers.__version__,
    )


def _needed(folder: Path, text: str) -> list[str]:
    """Packages that this tokenizer may need beyond those of Workdim; those that its files name come first."""
    settings, needed = _settings(folder), list[str]()
    words = settings.get("word_tokenizer_type") if "Japanese" in str(settings.get("tokenizer_class")) else None
    if words == "mecab":
        dictionary = (settings.get("mecab_kwargs") or {}).get("mecab_dic", "unidic_lite")
        needed += ["fugashi", *filter(None, [DICTIONARIES.get(dictionary)])]
    elif words == "sudachi":
        needed += ["SudachiPy", "SudachiDict-core"]
    elif words == "jumanpp":
        needed += ["rhoknp"]
    if settings.get("subword_tokenizer_type") == "sentencepiece":
        needed += ["sentencepiece"]
    if not (folder / "tokenizer.json").is_file():
        models = [path for pattern in ("*.model", "*.spm", "*.tiktoken") for path in folder.glob(pattern)]
        needed += dict.fromkeys(package for path in models for package in _readers(path))
        needed += ["mistral-common"] * (folder / "tekken.json").is_file()
    needed += [name for name in NAMED if not needed and re.search(rf"\b{name}\b", text, re.IGNORECASE)]
    return list(dict.fromkeys(needed))


def _readers(path: Path) -> list[str]:
    """Packages that read this vocabulary. Lines of base64 and a number are tiktoken's; all else is SentencePiece."""
    with path.open("rb") as stream:
        is_tiktoken = re.match(rb"[A-Za-z0-9+/=]+ \d+\s", stream.read(200)) is not None
    return ["tiktoken"] if is_tiktoken else ["sentencepiece", "protobuf"]


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(MODULES.get(package, package)) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings = read_json(folder / "tokenizer_config.json")
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}
