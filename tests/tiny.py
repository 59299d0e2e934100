"""Random-initialised models of a few layers with a real tokenizer: everything a model folder has, in a second."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parents[1]
SIZES = {
    "llama": dict(hidden_size=48, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4,
                  num_key_value_heads=2),
    "bert": dict(hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4),
    "gpt2": dict(n_embd=48, n_layer=3, n_head=4),
    "gpt_neox": dict(hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4),
    "opt": dict(hidden_size=48, ffn_dim=96, num_hidden_layers=3, num_attention_heads=4, word_embed_proj_dim=48),
    "mamba": dict(hidden_size=48, num_hidden_layers=3, state_size=8),
}  # fmt: skip


def train_tokenizer(n_types: int = 2000) -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the project's own English text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=n_types, special_tokens=["<s>", "</s>", "<unk>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
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
    loader = transformers.AutoModel if family == "bert" else transformers.AutoModelForCausalLM
    loader.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
