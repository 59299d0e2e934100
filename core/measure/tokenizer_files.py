"""Why a tokenizer cannot be read: no files, a package that is missing, files that are damaged."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import transformers

from core.errors import ModelError
from core.measure.weights import Weights

VOCABULARIES = ("tokenizer.json", "tekken.json", "vocab.*", "*.model", "*.spm", "*.tiktoken", "merges.txt", "bpe.codes")
DICTIONARIES = {"ipadic": "ipadic", "unidic": "unidic", "unidic_lite": "unidic-lite"}
"""Of MeCab: the value of `mecab_dic`, and the package with it."""
MODULES = {
    "unidic-lite": "unidic_lite",
    "SudachiPy": "sudachipy",
    "SudachiDict-core": "sudachidict_core",
    "mistral-common": "mistral_common",
    "protobuf": "google.protobuf",
}
"""What is imported of packages that are called otherwise."""
NAMED = ("sentencepiece", "tiktoken", "sacremoses", "protobuf", "fugashi", "jieba", "nltk")
"""Packages that transformers asks for by name in a sentence."""


def require_tokenizer(weights: Weights) -> None:
    """Raises ModelError where the folder has no vocabulary: transformers would make one up for some architectures."""
    if not weights.gguf_file and not has_tokenizer(weights.folder):
        raise ModelError(
            f"{weights.name} holds no tokenizer (tokenizer.json, tokenizer.model or vocab.txt). Add the files of its "
            "repository to the folder."
        )


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a vocabulary, or settings of a tokenizer that needs none."""
    if any(any(folder.glob(pattern)) for pattern in VOCABULARIES):
        return True
    known = getattr(transformers, str(_settings(folder).get("tokenizer_class")), None)
    return known is not None and not getattr(known, "vocab_files_names", True)  # of bytes


def tokenizer_problem(weights: Weights, error: Exception) -> str:
    """One line about a tokenizer that could not be read."""
    text = " ".join(str(error).split())
    missing = [package for package in _needed(weights.folder, text) if not _is_installed(package)]
    if missing:
        return (
            f"The tokenizer of {weights.name} needs {' and '.join(missing)}, not installed here: "
            f"pip install {' '.join(missing)}"
        )
    for path in sorted(weights.folder.glob("*.json")):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as broken:
            return f"{path.name} of {weights.name} is damaged ({broken}). Download it again."
    return (
        f"The tokenizer of {weights.name} cannot be read ({type(error).__name__}: {text[:160]}): its files are "
        f"damaged, incomplete, or newer than transformers {transformers.__version__}. Download it again, or update "
        "transformers."
    )


def _needed(folder: Path, text: str) -> list[str]:
    """Packages that this tokenizer may need beyond those of Workdim, those that its files say first."""
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
    """A vocabulary of tiktoken is lines of base64 and a number; all others of these names are SentencePiece."""
    with path.open("rb") as stream:
        is_tiktoken = re.match(rb"[A-Za-z0-9+/=]+ \d+\s", stream.read(200)) is not None
    return ["tiktoken"] if is_tiktoken else ["sentencepiece", "protobuf"]


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(MODULES.get(package, package)) is not None
    except ModuleNotFoundError:  # the package around it
        return False


def _settings(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
