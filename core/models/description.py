"""Describe a model without reading the values of its weights: one row of the table `models`."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from core.models.loading import method_of
from core.models.stacks import Stack, position_padding, stack_config
from core.models.weights import Weights
from core.tables import ModelRow

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
        weight_format="gguf" if weights.gguf_file else _safetensors(method),
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


def _safetensors(method: str | None) -> str:
    """Name of the format; `method` is the quantisation of the weights, None for plain weights."""
    return f"safetensors, {method} dequantised" if method else "safetensors"


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
    own, defaults = _network(config.to_dict()), _defaults(type(config))
    if defaults is not None:
        own = {key: value for key, value in own.items() if key in defaults and value != defaults[key]}
    content = own | {"model_type": config.model_type, "position_padding": position_padding}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _network(value: Any) -> Any:
    """Settings that define the network, nested ones too. Six digits: GGUF stores 1e-5 as 9.999999747e-06."""
    if isinstance(value, dict):
        return {key: _network(v) for key, v in value.items() if not _is_incidental(str(key))}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _is_incidental(key: str) -> bool:
    return key in NO_NETWORK_CHANGED or "drop" in key or "token_id" in key


def _defaults(config_class: type) -> dict[str, Any] | None:
    """Default settings of the architecture; None if its configuration cannot be built without arguments."""
    try:
        return _network(config_class().to_dict())
    except (TypeError, ValueError, AttributeError):
        return None
