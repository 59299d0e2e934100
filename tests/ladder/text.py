"""What the family reads: Python's standard library and documentation, some files of it held out, and its own tokenizer.

The held-out files are the built-in corpora `ladder-code` and `ladder-prose`, as Python 3.11 has them. Nothing of them
is trained on: files of these names are left out, and every paragraph that another file shares with them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
import re
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from core.texts.corpora import CORPORA
from tests.ladder.recipes import BATCH, CONTEXT, VOCABULARY, Recipe

TOKENIZER = Path(__file__).resolve().parents[2] / "data" / "reference" / "ladder" / "tokenizer.json"
END = "<|end|>"
HELD_OUT = {"code": 240_000, "prose": 120_000}
"""Characters that are held out, at least."""
NOT_TRAINED_ON = ("test", "tests", "idle_test", "site-packages", "encodings", "pydoc_data", "__pycache__")
"""Folders of the standard library: tests, tables, and the documentation, which is read as prose."""
SHARED = 60
"""Characters of a paragraph from which on it may not stand in a held-out file as well."""


def held_out(kind: str) -> dict[str, str]:
    """File or topic -> its text, of `code` or `prose`."""
    lines = (CORPORA / f"ladder-{kind}.jsonl").read_text(encoding="utf-8").splitlines()
    return {piece["file"]: piece["text"] for piece in map(json.loads, lines)}


def choose_held_out() -> None:
    """Writes the two corpora anew: the files of moderate length whose names' hashes come first."""
    for kind, texts in {"code": _library(), "prose": _topics()}.items():
        chosen: dict[str, str] = {}
        for name in sorted(texts, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
            if sum(map(len, chosen.values())) < HELD_OUT[kind] and 1500 <= len(texts[name]) <= 40_000:
                chosen[name] = texts[name]
        lines = [json.dumps({"file": name, "text": text}, ensure_ascii=False) for name, text in sorted(chosen.items())]
        (CORPORA / f"ladder-{kind}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _library() -> dict[str, str]:
    folder = Path(sysconfig.get_path("stdlib"))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    kept = (name for name in names if not set(name.split("/")) & set(NOT_TRAINED_ON) and "_sysconfigdata" not in name)
    return {name: (folder / name).read_text(encoding="utf-8", errors="replace").strip() for name in kept}


def _topics() -> dict[str, str]:
    return {f"topics/{name}": text.strip() for name, text in topics.items()}


def _paragraphs(text: str) -> list[str]:
    return [part.rstrip() for part in re.split(r"\n\s*\n", text)]


def training_documents() -> dict[str, str]:
    """File or topic -> what is trained on."""
    kept_out = held_out("code") | held_out("prose")
    known = {part.strip() for text in kept_out.values() for part in _paragraphs(text) if len(part) >= SHARED}
    documents = {}
    for name, text in sorted((_library() | _topics()).items()):
        if name not in kept_out:
            documents[name] = "\n\n".join(part for part in _paragraphs(text) if part.strip() not in known)
    return {name: text for name, text in documents.items() if text.strip()}


def train_tokenizer(documents: Iterable[str]) -> Tokenizer:
    """A byte-level BPE of `VOCABULARY` types."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


@functools.cache
def tokenizer() -> PreTrainedTokenizerFast:
    """The family's, which is shipped."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(TOKENIZER)), eos_token=END, model_max_length=CONTEXT
    )


def changed(text: str, recipe: Recipe, generator: random.Random) -> str:
    """The text of one file with its share of repeated or shuffled lines."""
    lines = text.split("\n")
    if recipe.repeated:
        for n in range(1, len(lines)):
            if generator.random() < recipe.repeated:
                lines[n] = lines[n - 1]
    if recipe.shuffled:
        places = [n for n in range(len(lines)) if generator.random() < recipe.shuffled]
        for place, line in zip(places, generator.sample([lines[n] for n in places], len(places)), strict=True):
            lines[place] = line
    return "\n".join(lines)


def windows(recipe: Recipe, documents: dict[str, str]) -> np.ndarray:
    """(steps * BATCH, CONTEXT + 1) int16: token ids of each window and the token after it, in training order.

    Files are joined with the end token in an order that all runs share; no window is read again before all were read.
    """
    generator = random.Random(recipe.order)
    texts = [changed(documents[name], recipe, generator) for name in sorted(documents)]
    encoded = tokenizer().backend_tokenizer.encode_batch(texts)
    end = tokenizer().eos_token_id
    stream = np.concatenate([np.array([end, *one.ids], dtype=np.int16) for one in encoded])
    starts = np.arange(0, len(stream) - CONTEXT - 1, CONTEXT)
    np.random.default_rng(recipe.order).shuffle(starts)
    starts = np.resize(starts, recipe.steps * BATCH)
    return stream[starts[:, None] + np.arange(CONTEXT + 1)]


def digest(texts: dict[str, str]) -> str:
    """SHA-256 of names and texts."""
    content = "\0".join(f"{name}\0{texts[name]}" for name in sorted(texts))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
