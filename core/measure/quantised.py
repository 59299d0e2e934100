"""Checkpoints with a `quantization_config`: measured dequantised, as GGUF files are, or refused by name.

What is measured is the network that the stored weights stand for, in the dtype that is asked for. So memory, number of
parameters and weights on demand are those of any other network, and no kernel's own rounding comes in. Methods that
transformers cannot turn into plain weights are refused before anything is read.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING, AutoHfQuantizer
from transformers.quantizers.base import HfQuantizer

from core.errors import ModelError

WAY_OUT = "measure the repository that it was quantised from, or a GGUF of it."


def method_of(config: Any) -> str | None:
    """transformers' name of the quantisation, None for plain weights."""
    settings = _settings(config)
    if settings is None:
        return None
    bits = [f"bitsandbytes_{bits}" for bits in ("8bit", "4bit") if settings.get(f"load_in_{bits}")]
    return bits[0] if bits else str(settings.get("quant_method"))


def check_quantisation(config: Any, name: str) -> None:
    """Raises ModelError where the weights of the model called `name` cannot be dequantised on this machine."""
    method = method_of(config)
    if method is None:
        return
    if not _while_loading(method) and not _after_loading(method):
        raise ModelError(
            f"{name} is quantised with {method}. Quantised models are measured dequantised, and transformers cannot "
            f"dequantise this one. To measure it, {WAY_OUT}"
        )
    try:
        quantizer = AutoHfQuantizer.from_config(_dense(config), pre_quantized=True)
        quantizer.validate_environment(device_map=None, weights_only=True)
    except Exception as error:  # each method says in its own way what it lacks
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ModelError(
            f"{name} is quantised with {method} and cannot be dequantised here: {reason}. Install what is missing, or "
            f"{WAY_OUT}"
        ) from error


def loading_options(config: Any) -> dict[str, Any]:
    """What `from_pretrained` is told so that plain weights come out, where it can be told."""
    method = method_of(config)
    if method is None or not _while_loading(method):
        return {}
    config = copy.deepcopy(config)
    config.quantization_config = _dense(config)
    return {"config": config}


def dequantised(module: Any, config: Any, dtype: torch.dtype) -> Any:
    """The network with plain weights, where it could only be loaded quantised."""
    return module.dequantize(dtype=dtype) if is_loaded_whole(config) else module


def is_loaded_whole(config: Any) -> bool:
    """Whether all weights must be in memory, quantised, before they can be dequantised: none can come on demand."""
    method = method_of(config)
    return method is not None and not _while_loading(method)


def _while_loading(method: str) -> bool:
    settings_class = AUTO_QUANTIZATION_CONFIG_MAPPING.get(method)
    return settings_class is not None and "dequantize" in inspect.signature(settings_class).parameters


def _after_loading(method: str) -> bool:
    quantizer: Any = AUTO_QUANTIZER_MAPPING.get(method)
    return quantizer is not None and quantizer._dequantize is not HfQuantizer._dequantize


def _settings(config: Any) -> dict[str, Any] | None:
    own = getattr(config, "quantization_config", None)
    found = own or getattr(config.get_text_config(), "quantization_config", None)
    return found if found is None or isinstance(found, dict) else found.to_dict()


def _dense(config: Any) -> dict[str, Any]:
    settings = _settings(config) or {}
    return settings | {"dequantize": True} if _while_loading(str(method_of(config))) else settings
