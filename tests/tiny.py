"""Random-initialised models of a few layers with a real tokenizer: everything a model folder has, in a second."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from core.models.model import OpenModel, load_network, read_blueprint
from core.models.weights import Weights

ROOT = Path(__file__).resolve().parents[1]
_WIDTHS = dict(hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4)
_GROUPED = _WIDTHS | dict(num_key_value_heads=2)
SIZES = {
    "llama": _GROUPED | dict(num_hidden_layers=4),
    "qwen2": _GROUPED,
    "qwen3": _GROUPED | dict(head_dim=12),
    "gemma3_text": _GROUPED | dict(head_dim=12),
    "mistral": _GROUPED,
    "mixtral": _GROUPED | dict(num_local_experts=4),
    "deepseek_v3": _WIDTHS
    | dict(
        num_key_value_heads=4,
        moe_intermediate_size=32,
        n_routed_experts=8,
        n_group=2,
        topk_group=1,
        num_experts_per_tok=2,
        first_k_dense_replace=1,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_nope_head_dim=8,
        qk_rope_head_dim=8,
        v_head_dim=12,
    ),
    "phi": _WIDTHS,
    "gpt2": dict(n_embd=48, n_layer=3, n_head=4),
    "gptj": dict(n_embd=48, n_layer=3, n_head=4, rotary_dim=4),
    "gpt_neox": _WIDTHS,
    "opt": dict(hidden_size=48, ffn_dim=96, num_hidden_layers=3, num_attention_heads=4, word_embed_proj_dim=48),
    "bloom": dict(hidden_size=48, n_layer=3, n_head=4),
    "falcon": dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=4),
    "mamba": dict(hidden_size=48, num_hidden_layers=3, state_size=8),
    "mamba2": dict(
        hidden_size=48, num_hidden_layers=3, state_size=8, head_dim=12, num_heads=8, n_groups=2, chunk_size=32
    ),
    "bert": _WIDTHS,
    "roberta": _WIDTHS,
    "distilbert": dict(dim=48, hidden_dim=96, n_layers=3, n_heads=4),
    "electra": _WIDTHS | dict(embedding_size=24),
    "modernbert": _WIDTHS | dict(pad_token_id=0, bos_token_id=0, eos_token_id=1, cls_token_id=0, sep_token_id=1),
    "t5": dict(d_model=48, d_kv=12, d_ff=96, num_layers=3, num_decoder_layers=2, num_heads=4, decoder_start_token_id=0),
    "bart": dict(
        d_model=48,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=96,
        decoder_ffn_dim=96,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=1,
    ),
}
ENCODERS = ("bert", "roberta", "distilbert", "electra", "modernbert")
ENCODER_DECODERS = ("t5", "bart")
DECODERS = tuple(family for family in SIZES if family not in ENCODERS + ENCODER_DECODERS)


@functools.cache
def train_tokenizer(n_types: int = 2000) -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the project's own English text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_types,
        special_tokens=["<s>", "</s>", "<unk>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train([str(ROOT / "data" / "corpora" / "english-business.txt")], trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def save_tiny_model(folder: Path, family: str = "llama", n_types: int = 2000, seed: int = 0, **changes) -> Path:
    """A model folder with config, safetensors weights and tokenizer; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(n_types)
    config = transformers.AutoConfig.for_model(family, **SIZES[family] | {"vocab_size": len(tokenizer)} | changes)
    torch.manual_seed(seed)
    _loader(family).from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _loader(family: str) -> type:
    if family in ENCODER_DECODERS:
        return transformers.AutoModelForSeq2SeqLM
    return transformers.AutoModel if family in ENCODERS else transformers.AutoModelForCausalLM


def open_model(
    weights: Weights, dtype: str = "float32", device: str = "auto", stack: str | None = None, **options: Any
) -> OpenModel:
    """Open a model from its weights in one call; `options` are those of `load_network`."""
    return load_network(read_blueprint(weights, dtype, device, stack), **options)
