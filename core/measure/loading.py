"""Read a model's files safely: safetensors or GGUF only, no remote code, no weight left to chance."""

from __future__ import annotations

import copy
import logging
import os
from contextlib import redirect_stderr
from functools import lru_cache
from typing import Any

# Before transformers is imported: everything below reads local files only.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["USE_HUB_KERNELS"] = "0"  # programs that it would fetch for some layers, where `kernels` is installed

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers.integrations.gguf import kernels as gguf_kernels

from core.errors import ModelError
from core.measure.headers import gguf_entries
from core.measure.tokenizer_files import require_tokenizer, tokenizer_problem
from core.measure.weights import Weights

gguf_kernels.is_kernels_available = lambda: False  # the loader of GGUF files fetches them whatever the setting above
logging.getLogger("accelerate").setLevel(logging.ERROR)  # it warns of weights on the disk, where we put them


def read_config(weights: Weights) -> Any:
    """The configuration; one that was saved with the encoder alone of an encoder-decoder says that it is an encoder."""
    config = copy.deepcopy(_stored_config(weights))
    if config.is_encoder_decoder and any(name.endswith("EncoderModel") for name in config.architectures or ()):
        config.is_encoder_decoder = False  # checkpoints before transformers 5 leave it at the pair's value
    return config


@lru_cache(maxsize=16)
def _stored_config(weights: Weights) -> Any:
    return _load(weights, transformers.AutoConfig, "configuration")


# A measurement with its control passes asks several times, and a GGUF file takes seconds to answer.
@lru_cache(maxsize=16)
def read_tokenizer(weights: Weights) -> Any:
    """It cuts long texts at their end, whatever its files say: a window is read from its beginning.

    Raises ModelError where it is missing, damaged, or needs a package that is not installed.
    """
    require_tokenizer(weights)
    tokenizer = _load(weights, transformers.AutoTokenizer, "tokenizer")
    tokenizer.truncation_side = "right"
    return tokenizer


def read_network(weights: Weights, loader: Any, dtype: torch.dtype, **placed: Any) -> Any:
    """The network with its weights, placed as asked; raises ModelError where one of them is missing."""
    module, info = _load(weights, loader, "weights", dtype=dtype, output_loading_info=True, **placed)
    _check_complete(weights, info)
    return module


def find_loader(config: Any, weights: Weights) -> tuple[str, Any]:
    """What the architecture is, whatever head this checkpoint was saved with, and the class that loads it."""
    if config.is_encoder_decoder:
        if type(config) not in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
            raise ModelError(f"{weights.name} ({config.model_type}) does not turn text into text; it is not measured.")
        return "encoder_decoder", transformers.AutoModelForSeq2SeqLM
    if type(config) in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING and (
        type(config) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
    ):
        return "encoder", transformers.AutoModelForTextEncoding
    is_causal = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    if type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING:  # encoders, which can be dressed up as causal models
        is_causal &= bool(getattr(config, "is_decoder", False))
    return ("decoder", transformers.AutoModelForCausalLM) if is_causal else ("encoder", transformers.AutoModel)


def _load(weights: Weights, loader: Any, what: str, **options: Any) -> Any:
    """Whatever the transformers class `loader` makes of these files, without running code that comes with them."""
    if weights.gguf_file:
        options["gguf_file"] = weights.gguf_file
        if what == "weights":
            # Not asked to, transformers leaves the weights of some architectures packed.
            options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    elif what == "weights":
        options["use_safetensors"] = True
    try:
        with _quiet():
            return loader.from_pretrained(
                str(weights.folder), trust_remote_code=False, local_files_only=True, **options
            )
    except Exception as error:  # transformers and its readers raise nearly everything here
        raise ModelError(_reason(weights, what, error)) from error


def _quiet():
    return redirect_stderr(open(os.devnull, "w", encoding="utf-8"))


def _reason(weights: Weights, what: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "custom code" in text or "trust_remote_code" in text:
        return (
            f"{weights.name} comes with Python code of its own, which Workdim never runs. Choose a model whose "
            "architecture transformers knows."
        )
    if "does not recognize this architecture" in text or "Unrecognized model" in text or "not supported" in text:
        return (
            f"The architecture of {weights.name} is not known to transformers {transformers.__version__}. "
            "Update transformers, or choose another model."
        )
    if what == "tokenizer" and not weights.gguf_file:
        return tokenizer_problem(weights, error)
    if isinstance(error, SafetensorError) or (weights.gguf_file and not isinstance(error, ImportError)):
        return f"The {what} of {weights.name} cannot be read ({text[:160]}): the file is damaged. Download it again."
    return f"The {what} of {weights.name} cannot be loaded: {text[:240]}"


def check_files(weights: Weights) -> None:
    """Headers first: a damaged or incomplete file is named before anything is loaded."""
    if weights.gguf_file:
        gguf_entries(weights.folder / weights.gguf_file)
        return
    for path in weights.files:
        try:
            with safe_open(path, framework="pt") as stream:
                stream.keys()
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path.name} of {weights.name} is damaged ({error}). Download it again.") from error


def _check_complete(weights: Weights, info: dict[str, Any]) -> None:
    """transformers fills missing weights at random and only warns; a pooling head is not on the measured path."""
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key)
    wrong = sorted(str(key) for key in info.get("mismatched_keys", ()))
    if missing or wrong:
        raise ModelError(
            f"The weights of {weights.name} are incomplete: {len(missing) + len(wrong)} tensors are missing or of the "
            f"wrong shape, first {(missing + wrong)[0]}. Download it again."
        )
