"""Open one model safely: safetensors or GGUF only, no remote code, no weight left to chance."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

# Before transformers is imported: everything below reads local files only.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from core.errors import InputError, ModelError, ResourceError, unknown_name
from core.measure.weights import Weights, hash_files
from core.tables import ModelRow

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Encoders that transformers can also dress up as causal models: their own architecture decides.
ENCODER_TYPES = ("bert", "roberta", "distilbert", "modernbert", "electra", "deberta", "albert", "xlm-roberta", "mpnet")


@dataclass(frozen=True)
class OpenModel:
    row: ModelRow
    module: Any
    tokenizer: Any
    layers: nn.ModuleList
    is_causal: bool
    device: torch.device
    dtype: str

    @property
    def n_layers(self) -> int:
        return self.row.n_layers

    @property
    def hidden_size(self) -> int:
        return self.row.hidden_size

    @property
    def vocabulary_size(self) -> int:
        return self.row.vocabulary_size

    @property
    def context(self) -> int | None:
        """Largest number of positions, where the architecture has one."""
        return getattr(self.module.config.get_text_config(), "max_position_embeddings", None)

    def forward(self, ids: Tensor) -> tuple[Tensor, float]:
        """Last hidden state (n_batch, n_tokens, hidden_size) and the summed loss of targets 1..T-1, in nats.

        A causal model runs whole, so that whatever it does to its logits (scaling, soft caps) counts in the loss.
        """
        if not self.is_causal:
            return self.module(input_ids=ids).last_hidden_state, 0.0
        last: list[Tensor] = []
        hook = self.module.get_decoder().register_forward_hook(lambda _m, _a, output: last.append(output[0]))
        try:
            logits = self.module(input_ids=ids, use_cache=False).logits
        finally:
            hook.remove()
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="sum")
        return last[0], float(loss)


def choose_device(name: str) -> torch.device:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise InputError(f"Unknown device '{name}'. Available: auto, cpu, cuda, cuda:0 and so on, mps.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"The device '{name}' is not usable here: {str(error).splitlines()[0]}. Try cpu.") from error
    return device


def open_model(weights: Weights, dtype: str = "float32", device: str = "auto") -> OpenModel:
    """Load tokenizer and weights; raises ModelError with one clear line for anything that must not be measured."""
    if dtype not in DTYPES:
        raise InputError(unknown_name("dtype", dtype, DTYPES))
    target = choose_device(device)
    _check_files(weights)
    config = _load(weights, transformers.AutoConfig, "configuration")
    if config.is_encoder_decoder:
        raise ModelError(f"{weights.name} is an encoder-decoder ({config.model_type}), which is not measured yet.")
    if config.get_text_config() is not config:
        raise ModelError(f"{weights.name} reads more than text ({config.model_type}), which is not measured yet.")
    is_causal = _is_causal(config)
    tokenizer = _load(weights, transformers.AutoTokenizer, "tokenizer")
    loader = transformers.AutoModelForCausalLM if is_causal else transformers.AutoModel
    module, info = _load(weights, loader, "weights", dtype=DTYPES[dtype], output_loading_info=True)
    _check_complete(weights, info)
    try:
        module.eval().to(target)
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"{weights.name} does not fit on {target}. Try --dtype bfloat16 or --device cpu."
        ) from error
    layers = _layer_list(module, config, weights)
    return OpenModel(_describe(weights, config, module, tokenizer, layers, is_causal), module, tokenizer, layers,
                     is_causal, target, dtype)  # fmt: skip


def _load(weights: Weights, loader: Any, what: str, **options: Any) -> Any:
    if weights.gguf_file:
        options["gguf_file"] = weights.gguf_file
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
    from contextlib import redirect_stderr

    return redirect_stderr(open(os.devnull, "w", encoding="utf-8"))


def _reason(weights: Weights, what: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "custom code" in text or "trust_remote_code" in text:
        return (f"{weights.name} comes with Python code of its own, which Workdim never runs. Choose a model whose "
                "architecture transformers knows.")  # fmt: skip
    if "does not recognize this architecture" in text or "Unrecognized model" in text or "not supported" in text:
        return (f"The architecture of {weights.name} is not known to transformers {transformers.__version__}. "
                "Update transformers, or choose another model.")  # fmt: skip
    if isinstance(error, SafetensorError) or (weights.gguf_file and not isinstance(error, ImportError)):
        return f"The {what} of {weights.name} cannot be read ({text[:160]}): the file is damaged. Download it again."
    return f"The {what} of {weights.name} cannot be loaded: {text[:240]}"


def _check_files(weights: Weights) -> None:
    """Headers first: a damaged or incomplete file is named before anything is loaded."""
    if weights.gguf_file:
        with _opened(weights.folder / weights.gguf_file) as stream:
            if stream.read(4) != b"GGUF":
                raise ModelError(f"{weights.gguf_file} is not a GGUF file, or is damaged. Download it again.")
        return
    for path in weights.files:
        try:
            with safe_open(path, framework="pt") as stream:
                stream.keys()
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path.name} of {weights.name} is damaged ({error}). Download it again.") from error


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error


def _is_causal(config: Any) -> bool:
    """Whether the architecture is a decoder, whatever head this checkpoint was saved with."""
    if config.model_type in ENCODER_TYPES:
        return bool(getattr(config, "is_decoder", False))
    return type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING


def _check_complete(weights: Weights, info: dict[str, Any]) -> None:
    """transformers fills missing weights at random and only warns; a pooling head is not on the measured path."""
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key)
    wrong = sorted(str(key) for key in info.get("mismatched_keys", ()))
    if missing or wrong:
        raise ModelError(
            f"The weights of {weights.name} are incomplete: {len(missing) + len(wrong)} tensors are missing or of the "
            f"wrong shape, first {(missing + wrong)[0]}. Download it again."
        )


def _layer_list(module: Any, config: Any, weights: Weights) -> nn.ModuleList:
    n = config.get_text_config().num_hidden_layers
    lists = [m for _, m in module.base_model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == n]
    if not lists:
        raise ModelError(f"{weights.name} ({config.model_type}) has no list of {n} layers that could be measured.")
    return lists[0]


def _describe(weights: Weights, config: Any, module: Any, tokenizer: Any, layers: nn.ModuleList,
              is_causal: bool) -> ModelRow:  # fmt: skip
    text_config = config.get_text_config()
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items()), ensure_ascii=True)
    return ModelRow(
        model_id=f"{weights.reference}@{weights.revision}",
        reference=weights.reference,
        name=weights.name,
        repository=weights.repository,
        revision=weights.revision,
        base_repository=weights.base_repository,
        base_relation=weights.base_relation,
        kind="decoder" if is_causal else "encoder",
        architecture=type(module.base_model).__name__,
        family=config.model_type,
        parameters=sum(p.numel() for p in module.parameters()),
        hidden_size=text_config.hidden_size,
        n_layers=len(layers),
        vocabulary_size=text_config.vocab_size,
        tokenizer_hash=hashlib.sha256(vocabulary.encode()).hexdigest()[:12],
        weight_format="gguf" if weights.gguf_file else "safetensors",
        weight_bytes=sum(path.stat().st_size for path in weights.files),
        weights_sha256=hash_files(weights.files),
        licence=weights.licence,
    )
