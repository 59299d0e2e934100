"""Read a model's files safely (safetensors or GGUF only, no remote code, no randomly initialised weight), describe it, and
say which package its tokenizer lacks.

Quantised checkpoints, like GGUF files, are measured dequantised: as the network that the stored weights represent, in
the requested dtype. So memory, number of parameters and reading on demand are those of any other network, and no
kernel adds its own rounding. Methods that transformers cannot dequantise are refused by name before anything is read.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import inspect
import json
import logging
import math
import os
import re
from contextlib import redirect_stderr, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import gguf
import torch
import transformers
from safetensors import SafetensorError
from transformers.integrations.gguf import kernels as gguf_kernels
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING, AutoHfQuantizer
from transformers.quantizers.base import HfQuantizer
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from core.errors import ModelError, Sentence
from core.files import read_json
from core.limits import opening
from core.models.stacks import Stack, position_padding, stack_config
from core.models.weights import (
    THE_TOKENIZER,
    THE_WEIGHTS,
    Weights,
    damaged,
    forget_gguf,
    gguf_entries,
    gguf_reader,
    not_measured,
    safetensors_entries,
    stores_embedding_twice,
)
from core.tables import ModelRow

gguf_kernels.is_kernels_available = lambda: False  # the GGUF loader downloads kernels despite USE_HUB_KERNELS
# transformers parses a GGUF file for each of its parts, and a map of names for each module of the network.
gguf.GGUFReader = gguf_reader  # type: ignore[assignment, misc]
gguf.get_tensor_name_map = cache(gguf.get_tensor_name_map)
logging.getLogger("accelerate").setLevel(logging.ERROR)  # it warns about weights on disk, which we put there on purpose


def read_config(weights: Weights) -> Any:
    """The configuration; corrected to an encoder if only the encoder of an encoder-decoder was saved."""
    config = copy.deepcopy(_stored_config(weights))
    if config.is_encoder_decoder and any(name.endswith("EncoderModel") for name in config.architectures or ()):
        config.is_encoder_decoder = False  # checkpoints before transformers 5 still say True
    return config


@lru_cache(maxsize=16)
def _stored_config(weights: Weights) -> Any:
    with opening(weights.name):
        config = _load(weights, transformers.AutoConfig, Sentence("The configuration"))
    for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
        if part is not None:
            part.return_dict = True  # passes read named outputs, whatever those who trained it preferred
    if weights.gguf_file and getattr(config, "tie_word_embeddings", True) is False:
        config.tie_word_embeddings = stores_embedding_twice(weights.folder / weights.gguf_file)
    return config


# Cached: a measurement with its control passes calls it several times, and a GGUF file takes seconds.
@lru_cache(maxsize=16)
def read_tokenizer(weights: Weights) -> Any:
    """The tokenizer, set to cut long texts at their end whatever its files say: a window is read from its beginning.

    Raises ModelError if it is missing, damaged, or needs a package that is not installed.
    """
    if not weights.gguf_file and not has_tokenizer(weights.folder):  # transformers would invent a vocabulary
        raise not_measured(
            weights.name,
            Sentence("no tokenizer.json, tokenizer.model or vocab.txt"),
            Sentence("Add one to its folder."),
        )
    with opening(weights.name):
        tokenizer = _load(weights, transformers.AutoTokenizer, THE_TOKENIZER)
    if not len(tokenizer):
        raise damaged(THE_TOKENIZER, weights.name, Sentence("no vocabulary"))
    tokenizer.truncation_side = "right"
    if isinstance(tokenizer.model_max_length, str):  # in some files; windows are cut to their own length
        tokenizer.model_max_length = VERY_LARGE_INTEGER
    tokenizer.__class__ = _naming_panics(type(tokenizer), weights.name)
    return tokenizer


def _naming_panics(tokenizer_class: type, name: str) -> type:
    """The class with a call that raises ModelError where the tokenizers' library panics: on a regular expression that
    takes too long, for example. A panic is no Exception, so nobody else would catch it."""

    def encode(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return tokenizer_class.__call__(self, *arguments, **options)
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise damaged("tokenizer.json", name, " ".join(str(error).split())[:160]) from error

    return type(tokenizer_class.__name__, (tokenizer_class,), {"__call__": encode})


def read_network(weights: Weights, loader: Any, dtype: torch.dtype, **placed: Any) -> Any:
    """The network with its weights; `placed` are options for placing them. Raises ModelError if a weight is missing."""
    module, info = _load(weights, loader, THE_WEIGHTS, dtype=dtype, output_loading_info=True, **placed)
    forget_gguf()
    _check_complete(weights, info)
    return module


def find_loader(config: Any, weights: Weights) -> tuple[str, Any]:
    """The kind of the architecture, whatever head the checkpoint was saved with, and the class that loads it."""
    if config.is_encoder_decoder:
        if type(config) not in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
            raise not_measured(weights.name, Sentence("it does not turn text into text"))
        return "encoder_decoder", transformers.AutoModelForSeq2SeqLM
    if type(config) in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING and (
        type(config) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
    ):
        return "encoder", transformers.AutoModelForTextEncoding
    is_causal = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    if type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING:  # encoders, which can also be loaded as causal models
        is_causal &= bool(getattr(config, "is_decoder", False))
    return ("decoder", transformers.AutoModelForCausalLM) if is_causal else ("encoder", transformers.AutoModel)


def require_text(config: Any, loader: Any, weights: Weights) -> None:
    """Raises ModelError for a network that reads images, sounds or bytes of any kind in place of token ids."""
    known = loader._model_mapping.get(type(config), None)
    network = known[0] if isinstance(known, (list, tuple)) else known
    if network is not None and network.main_input_name != "input_ids":
        raise not_measured(weights.name, Sentence("it reads {input}, no text", input=network.main_input_name))


def _load(weights: Weights, loader: Any, what: str, **options: Any) -> Any:
    """Load the files with the transformers class `loader`, without running code that comes with them."""
    if weights.gguf_file:
        options["gguf_file"] = weights.gguf_file
        if what == THE_WEIGHTS:
            # By default transformers leaves the weights of some architectures packed.
            options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    elif what == THE_WEIGHTS:
        options["use_safetensors"] = True
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
            return loader.from_pretrained(
                str(weights.folder), trust_remote_code=False, local_files_only=True, **options
            )
    except Exception as error:  # transformers and its readers may raise almost anything here
        raise ModelError(_reason(weights, what, error)) from error


def _reason(weights: Weights, what: str, error: Exception) -> Sentence:
    text = " ".join(str(error).split())
    if "custom code" in text or "trust_remote_code" in text:
        return not_measured(weights.name, Sentence("it needs Python code of its own")).message
    if "does not recognize this architecture" in text or "Unrecognized model" in text or "not supported" in text:
        unknown = Sentence("transformers {version} does not know it", version=transformers.__version__)
        return not_measured(weights.name, unknown, Sentence("Update it, or choose another model.")).message
    if what == THE_TOKENIZER and not weights.gguf_file:
        return tokenizer_problem(weights, error)
    if isinstance(error, SafetensorError) or (weights.gguf_file and not isinstance(error, ImportError)):
        return damaged(Sentence("The file") if weights.gguf_file else what, weights.name, text[:160]).message
    return damaged(what, weights.name, text[:240]).message


_OF_MAIN_STACK = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "block_count")
LAYER_COUNTS = (*_OF_MAIN_STACK, "num_encoder_layers", "num_decoder_layers", "encoder_layers", "decoder_layers")
SIZES = (
    *_OF_MAIN_STACK,
    *("hidden_size", "d_model", "n_embd", "embedding_length", "vocab_size"),
    *("num_attention_heads", "num_heads", "n_heads", "n_head"),
)
"""Sizes that are at least 1 in every network, as configurations and GGUF files call them."""
INTEGERS = ("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64")
TRUTH = "BOOL"


def check_files(weights: Weights) -> None:
    """Check headers and sizes before loading; raises ModelError for damaged, incomplete or mismatched files.

    A configuration with more layers than its weights have tensors is refused here, because building its network would
    take all memory even without weights.
    """
    if weights.gguf_file:
        settings = gguf_entries(weights.folder / weights.gguf_file)
        prefix = f"{settings.get('general.architecture')}."
        _check_sizes(
            weights, {name.removeprefix(prefix): size for name, size in settings.items()}, settings["n_tensors"]
        )
        return
    try:
        settings = read_json(weights.folder / "config.json")
    except (ValueError, OSError) as error:
        raise damaged("config.json", weights.name, error) from error
    if not isinstance(settings, dict):
        raise damaged("config.json", weights.name, Sentence("no settings"))
    is_quantised = any("quantization_config" in part for part in (settings, settings.get("text_config") or {}))
    n_tensors = 0
    for path in weights.files:
        try:
            for name, dtype, _ in safetensors_entries(path):
                n_tensors += 1
                if name.endswith(".weight") and (dtype == TRUTH or (dtype in INTEGERS and not is_quantised)):
                    raise damaged(name, weights.name, Sentence("it holds {dtype}, no weights", dtype=dtype))
        except (SafetensorError, OSError) as error:
            raise damaged(path.name, weights.name, error) from error
    # For weights that are not downloaded yet, only the bytes are known; every layer has at least a vector.
    for part in (settings, *map(settings.get, ("text_config", "encoder", "decoder"))):
        if isinstance(part, dict):
            _check_sizes(weights, part, n_tensors or weights.n_bytes)


def _check_sizes(weights: Weights, settings: dict[str, Any], most_layers: int) -> None:
    # None of the one stack in the configuration of an encoder or decoder alone.
    for names, least, most in ((SIZES, 1, math.inf), (LAYER_COUNTS, 0, most_layers)):
        for name in names:
            if isinstance(size := settings.get(name), int) and not least <= size <= most:
                raise damaged("config.json", weights.name, f"{name} = {size}")


def _check_complete(weights: Weights, info: dict[str, Any]) -> None:
    """Raises ModelError for missing weights: transformers fills them at random and only warns.

    A pooling head may be missing, because it is not on the measured path.
    """
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key)
    wrong = sorted(str(key) for key in info.get("mismatched_keys", ()))
    if missing:
        raise damaged(THE_WEIGHTS, weights.name, Sentence("{missing} is missing", missing=missing[:3]))
    if wrong:
        raise damaged(
            THE_WEIGHTS, weights.name, Sentence("another shape than the configuration's: {names}", names=wrong[:3])
        )


def method_of(config: Any) -> str | None:
    """transformers' name of the quantisation method; None for plain weights."""
    settings = _quantisation_settings(config)
    if settings is None:
        return None
    bits = [f"bitsandbytes_{bits}" for bits in ("8bit", "4bit") if settings.get(f"load_in_{bits}")]
    return bits[0] if bits else str(settings.get("quant_method"))


def check_quantisation(config: Any, name: str) -> None:
    """Raises ModelError if the weights of the model called `name` cannot be dequantised on this machine."""
    method = method_of(config)
    if method is None:
        return

    def unusable(reason: str) -> ModelError:
        return ModelError(
            "{name} is quantised with {method} ({reason}). Measure its unquantised repository, or a GGUF of it.",
            name=name,
            method=method,
            reason=reason,
        )

    quantizer: Any = AUTO_QUANTIZER_MAPPING.get(method, HfQuantizer)
    if is_loaded_whole(config) and quantizer._dequantize is HfQuantizer._dequantize:
        raise unusable(Sentence("unknown to transformers"))
    try:
        quantizer = AutoHfQuantizer.from_config(_dense(config), pre_quantized=True)
        quantizer.validate_environment(device_map=None, weights_only=True)
    except Exception as error:  # each method raises its own errors for missing packages
        raise unusable(" ".join(str(error).split())[:200].rstrip(".")) from error


def loading_options(config: Any) -> dict[str, Any]:
    """Options of `from_pretrained`: the configuration as it was corrected, set to dequantise while loading if it can."""
    config = copy.deepcopy(config)
    if method_of(config) is not None and not is_loaded_whole(config):
        config.quantization_config = _dense(config)
    return {"config": config}


def dequantised(module: Any, config: Any, dtype: torch.dtype) -> Any:
    """The network with plain weights; dequantises it if it could only be loaded quantised."""
    return module.dequantize(dtype=dtype) if is_loaded_whole(config) else module


def is_loaded_whole(config: Any) -> bool:
    """Whether all quantised weights must be in memory before they can be dequantised, so none can be read on demand."""
    method = method_of(config)
    settings_class = AUTO_QUANTIZATION_CONFIG_MAPPING.get(str(method))
    is_dense_at_once = settings_class is not None and "dequantize" in inspect.signature(settings_class).parameters
    return method is not None and not is_dense_at_once


def _quantisation_settings(config: Any) -> dict[str, Any] | None:
    own = getattr(config, "quantization_config", None)
    settings = own or getattr(config.get_text_config(), "quantization_config", None)
    return settings if settings is None or isinstance(settings, dict) else settings.to_dict()


def _dense(config: Any) -> dict[str, Any]:
    settings = _quantisation_settings(config) or {}
    return settings if is_loaded_whole(config) else settings | {"dequantize": True}


# --- the row of a model ----------------------------------------------------------------------------------------


NO_NETWORK_CHANGED = frozenset(
    {
        *("_name_or_path", "name_or_path", "architectures", "auto_map", "dtype", "torch_dtype"),
        *("transformers_version", "tokenizer_class", "id2label", "label2id", "num_labels", "problem_type"),
        *("finetuning_task", "return_dict", "task_specific_params", "output_attentions", "output_hidden_states"),
        *("output_router_logits", "use_cache", "gradient_checkpointing", "pretraining_tp", "quantization_config"),
        *("chunk_size_feed_forward", "prefix"),
    }
)
"""Configuration keys about names, files, training or return values: they do not change the network.

So do keys that contain `drop` (dropout is off in a measurement) or `token_id` (the use of an embedding row).
"""


def describe(weights: Weights, config: Any, module: Any, tokenizer: Any, stack: Stack, kind: str) -> ModelRow:
    """The row of a model; `module` may be on the meta device, so that a random control gets the real model's row."""
    own, method = stack_config(config, stack.name).get_text_config(), method_of(config)
    return ModelRow(
        # The stacks of an encoder-decoder differ in depth and are never compared: each counts as a separate model.
        model_id=f"{weights.reference}@{weights.revision}" + ("" if stack.name == "main" else f"#{stack.name}"),
        reference=weights.reference,
        name=weights.name,
        repository=weights.repository,
        revision=weights.revision,
        base_repository=weights.base_repository,
        base_relation=weights.base_relation,
        kind=kind,
        architecture=type(module.base_model).__name__,
        family=config.model_type,
        parameters=sum(p.numel() for p in module.parameters()),
        hidden_size=own.hidden_size,
        n_layers=len(stack.blocks),
        vocabulary_size=own.vocab_size,
        # Without a tokenizer the row is only shown before the download, and not stored.
        tokenizer_hash="" if tokenizer is None else tokenizer_hash(tokenizer),
        weight_format="gguf"
        if weights.gguf_file
        else f"safetensors, {method} dequantised"
        if method
        else "safetensors",
        weight_bytes=weights.n_bytes,
        weights_sha256=weights.sha256,
        licence=weights.licence,
        configuration_hash=configuration_hash(config, position_padding(module)),
        key_value_size=key_value_size(own),
    )


def key_value_size(own: Any) -> int | None:
    """How many numbers a block caches as the key of a token, and the same count as its value.

    None if the configuration does not say: networks without attention, or with a compressed cache.
    """
    heads = getattr(own, "num_attention_heads", None)
    sharing = getattr(own, "num_key_value_heads", None) or heads
    if not isinstance(heads, int) or not isinstance(sharing, int) or getattr(own, "kv_lora_rank", None):
        return None
    width = getattr(own, "head_dim", None) or own.hidden_size // heads
    return sharing * width if isinstance(width, int) else None


PROBE = (
    "The tokenizer's habits, 1,234.50 times: don't re-use  two spaces, URLs (https://example.org/a_b?c=1), CamelCase,\n"
    '\tTabs, "quotes", naïve façade, Straße, 東京都は日本の首都です。カタカナとひらがな、漢字。中文文本也一样。'
    "한국어 문장. Ещё пример. 🙂 x**2 != y[0]"
)
"""Text that distinguishes tokenizers with the same vocabulary: by merges, normaliser, pre-tokeniser, special tokens."""


def tokenizer_hash(tokenizer: Any) -> str:
    """Twelve hex digits over vocabulary, special ids and the ids of a probe text: equal if texts are split alike."""
    content = [
        sorted(tokenizer.get_vocab().items()),
        sorted(tokenizer.all_special_ids),
        list(tokenizer(PROBE, verbose=False)["input_ids"]),
    ]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()[:12]


def configuration_hash(config: Any, position_padding: int | None = None) -> str:
    """Twelve hex digits over everything that defines the network and its initialiser, and nothing else.

    Only keys that the architecture knows, with values other than its defaults, count: files spell out more or fewer
    defaults and carry notes of other programs. The initialiser's settings count because models with the same hash
    share a random control.
    """
    own = _network(config.to_dict())
    with suppress(TypeError, ValueError, AttributeError):  # it may not be built without arguments
        defaults = _network(type(config)().to_dict())
        own = {key: value for key, value in own.items() if key in defaults and value != defaults[key]}
    content = own | {"model_type": config.model_type, "position_padding": position_padding}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _network(value: Any) -> Any:
    """Settings that define the network, nested ones too. Six digits: GGUF stores 1e-5 as 9.999999747e-06."""
    if isinstance(value, dict):
        return {
            key: _network(v)
            for key, v in value.items()
            if key not in NO_NETWORK_CHANGED and "drop" not in str(key) and "token_id" not in str(key)
        }
    return float(f"{value:.6g}") if isinstance(value, float) else value


# --- the files of a tokenizer ----------------------------------------------------------------------------------------

VOCABULARIES = ("tokenizer.json", "tekken.json", "vocab.*", "*.model", "*.spm", "*.tiktoken", "merges.txt", "bpe.codes")
NAMED = ("sentencepiece", "tiktoken", "sacremoses", "protobuf", "fugashi", "jieba", "nltk", "mistral-common")
"""Packages that transformers' error messages mention by name."""


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
    """Packages that this tokenizer may need beyond those of Workdim: what its files name, else what transformers does."""
    settings = _settings(folder)
    dictionary = (settings.get("mecab_kwargs") or {}).get("mecab_dic") or "unidic_lite"
    of_words = {
        "mecab": ["fugashi", dictionary.replace("_", "-")],
        "sudachi": ["SudachiPy", "SudachiDict-core"],
        "jumanpp": ["rhoknp"],
    }
    needed = list(of_words.get(settings.get("word_tokenizer_type", ""), ()))
    if not (folder / "tokenizer.json").is_file():
        models = [path for pattern in ("*.model", "*.spm", "*.tiktoken") for path in folder.glob(pattern)]
        needed += dict.fromkeys(package for path in models for package in _readers(path))
    return needed or [name for name in NAMED if re.search(rf"\b{name}\b", text, re.IGNORECASE)]


def _readers(path: Path) -> list[str]:
    """Packages that read this vocabulary. Lines of base64 and a number are tiktoken's; all else is SentencePiece."""
    with path.open("rb") as stream:
        is_tiktoken = re.match(rb"[A-Za-z0-9+/=]+ \d+\s", stream.read(200)) is not None
    return ["tiktoken"] if is_tiktoken else ["sentencepiece", "protobuf"]


def _is_installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings = read_json(folder / "tokenizer_config.json")
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}
