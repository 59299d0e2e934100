"""GGUF files of random weights, written as llama.cpp writes them, with the tokenizer of tests/tiny.py inside."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers

from tests.tiny import SIZES, train_tokenizer

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "gpt2": gguf.MODEL_ARCH.GPT2,
    "qwen3_moe": gguf.MODEL_ARCH.QWEN3MOE,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
}
# 768: transformers does not read the width of experts from a file, and takes this one.
MIXTURE = SIZES["qwen3"] | dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=768)


def save_tiny_gguf(
    path: Path,
    family: str = "llama",
    seed: int = 0,
    tied: bool = False,
    quantised: bool = True,
    stored_twice: bool = False,
) -> Path:
    """A file of one architecture; matrices of a width that blocks divide are stored as Q8_0. Returns its path.

    A tied embedding that is `stored_twice` is the output matrix as well.
    """
    tokenizer = train_tokenizer()
    sizes = SIZES.get(family, MIXTURE) | {"vocab_size": len(tokenizer), "tie_word_embeddings": tied}
    if family != "gpt2":
        sizes |= {"hidden_size": 64, "head_dim": 16}
    config = transformers.AutoConfig.for_model(family, **sizes)
    torch.manual_seed(seed)
    module = transformers.AutoModelForCausalLM.from_config(config)
    architecture = ARCHITECTURES[family]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    _write_settings(writer, config)
    _write_tokenizer(writer, tokenizer)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    for name, tensor in module.state_dict().items():
        if tied and not stored_twice and name == "lm_head.weight":
            continue
        for stored, values in _stored(names, name, tensor.numpy(), config):
            writer.add_tensor(stored, *_packed(values, quantised))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_settings(writer: gguf.GGUFWriter, config) -> None:
    writer.add_context_length(512)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(1e-5)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_key_length(config.head_dim)
    if config.model_type == "gemma3_text":
        writer.add_sliding_window(config.sliding_window)
    if config.model_type == "qwen3_moe":
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)


def _write_tokenizer(writer: gguf.GGUFWriter, tokenizer) -> None:
    inside = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in inside["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)


def _stored(names: gguf.TensorNameMap, name: str, values: np.ndarray, config) -> list[tuple[str, np.ndarray]]:
    """Names and values as in the file: rotary halves interleaved (llama), transposed (gpt2), experts apart, norms plus
    one (gemma3)."""
    if config.model_type == "qwen3_moe" and "experts.gate_up_proj" in name:
        block = f"blk.{name.split('.')[2]}"
        gate, up = np.split(values, 2, axis=1)
        return [(f"{block}.ffn_gate_exps.weight", gate), (f"{block}.ffn_up_exps.weight", up)]
    if config.model_type == "qwen3_moe" and "experts.down_proj" in name:
        return [(f"blk.{name.split('.')[2]}.ffn_down_exps.weight", values)]
    stem, _, suffix = name.rpartition(".")
    if config.model_type == "llama" and ("q_proj" in name or "k_proj" in name):
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        values = values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
    if config.model_type == "gpt2" and suffix == "weight" and any(p in name for p in ("c_attn", "c_proj", "c_fc")):
        values = values.T
    if config.model_type == "gemma3_text" and "norm" in name:
        values = values + 1
    return [(f"{names.get_name(stem)}.{suffix}", np.ascontiguousarray(values))]


def _packed(values: np.ndarray, quantised: bool):
    if not quantised or values.ndim < 2 or values.shape[-1] % 32:
        return (np.ascontiguousarray(values),)
    kind = gguf.GGMLQuantizationType.Q8_0
    return gguf.quantize(np.ascontiguousarray(values), kind), None, kind
