"""Open one model: its description, its network, loaded or read on demand, and how a forward pass of its stack runs.

A GGUF file that is too big for the memory is converted to safetensors in the cache, which can be read block by block. The
folder is written under a temporary name and renamed when it is complete, so that a folder under its final name is always a
whole conversion. Its name consists of the hash of the GGUF file, the dtype, and the version of transformers,
which does the conversion. If a process is killed, the next one removes its unfinished folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from accelerate import infer_auto_device_map
from accelerate.hooks import AlignDevicesHook, remove_hook_from_submodules
from filelock import FileLock
from gguf import GGUFReader, ReaderTensor, dequantize
from torch import Tensor, nn
from transformers.integrations.gguf.utils import is_gguf_arch_supported
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
    load_gguf_checkpoint,
    read_field,
)

from core.errors import InputError, ModelError, Sentence, unknown_name
from core.files import free_some, require_room, writing
from core.limits import opening
from core.models.loading import (
    check_files,
    check_quantisation,
    dequantised,
    describe,
    find_loader,
    is_loaded_whole,
    loading_options,
    method_of,
    read_config,
    read_network,
    read_tokenizer,
    require_text,
)
from core.models.packages import cache_folder
from core.models.stacks import (
    LOSS_ROWS,
    MAX_BATCH,
    MemoryPlan,
    Shape,
    Stack,
    Unit,
    all_stacks,
    available_bytes,
    available_bytes_elsewhere,
    choose_stack,
    experts_per_token,
    final_state,
    find_stack,
    longest_text,
    plan_memory,
    run_stack,
    shape_of,
    stack_config,
    too_large,
)
from core.models.weights import INDEX, Weights, damaged, hash_files, not_measured, whole_only
from core.records import DEVICES, DTYPES, Progress, ProgressCallback
from core.registry.protocols import CHANGED, DRAWN, TRAINED
from core.tables import ModelRow

TORCH_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPES}


@dataclass(frozen=True)
class OpenModel:
    row: ModelRow
    module: Any
    tokenizer: Any
    layers: nn.ModuleList
    """Blocks of the measured stack."""
    is_causal: bool
    """Whether the text pass has a loss. Only a decoder has one: an encoder-decoder reads the text that it predicts."""
    device: torch.device
    dtype: str
    stack: str = "main"
    """`main`, or `encoder` or `decoder` of an encoder-decoder."""
    owner: Any = None
    """The module that runs `layers` and the final norm."""
    units: tuple[Unit, ...] = ()
    """Parts whose weights are in memory only while they run; empty if all weights are in memory."""
    batch: int = MAX_BATCH
    """Windows per forward pass, unless their logits take too much memory."""

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
    def n_logits(self) -> int:
        """Logits per token of a pass; 0 if the pass runs no head."""
        return self.vocabulary_size if self.is_causal else 0

    @property
    def n_before(self) -> int:
        """Number of states before those of the text: a teacher-forced decoder reads its start token first."""
        return 1 if self.stack == "decoder" else 0

    @property
    def context(self) -> int | None:
        """Largest number of text tokens; None if the architecture sets no limit."""
        return longest_text(self.module, self.module.config, self.stack)

    def forward(self, ids: Tensor, scored: Tensor) -> tuple[Tensor, Tensor | None]:
        """Last hidden state (n_batch, n_tokens, hidden_size) and the loss of each target in nats, (n_batch, n_tokens).

        The loss is on the CPU. It is NaN for tokens that are not targets, and None if the model does not predict the
        next token. ids (n_batch, n_tokens); scored, same shape, marks the targets: tokens of a chat template are not.

        A causal model runs as a whole, so that what it does to its logits (scaling, soft caps) counts in the loss.
        """
        nats = None
        with final_state(Stack(self.stack, self.owner, self.layers), self.hidden_size) as final:
            if self.is_causal:
                nats = _losses(self.module(input_ids=ids, use_cache=False).logits, ids, scored)
            else:
                run_stack(self.module, self.stack, ids)
        if final.tensor is None:
            raise not_measured(self.row.model_id, Sentence("its last block gives no hidden state"))
        return final.tensor[:, self.n_before :], nats

    def log_probabilities(self, ids: Tensor, rows: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
        """Log-probability in nats of each target after the text up to a position; (n_targets,). Causal models only.

        ids (n_batch, n_tokens); rows, positions and targets (n_targets,): the target follows ids[row, : position + 1].
        """
        logits = self.module(input_ids=ids, use_cache=False).logits  # (n_batch, n_tokens, n_vocabulary)
        parts = zip(rows.split(LOSS_ROWS), positions.split(LOSS_ROWS), targets.split(LOSS_ROWS), strict=True)
        log_probabilities = [logits[r, p].float().log_softmax(-1).gather(1, t[:, None])[:, 0] for r, p, t in parts]
        return torch.cat(log_probabilities).double().cpu()


def _losses(logits: Tensor, ids: Tensor, scored: Tensor) -> Tensor:
    """Loss of each target, as `forward` returns it; logits (n_batch, n_tokens, n_vocabulary).

    Computed in slices: a softmax of all logits would double the largest tensor of the pass.
    """
    slices = zip(logits.flatten(0, 1).split(LOSS_ROWS), ids.roll(-1, 1).flatten().split(LOSS_ROWS), strict=True)
    nats = [nn.functional.cross_entropy(rows.float(), wanted, reduction="none") for rows, wanted in slices]
    of_next = torch.cat(nats).reshape(ids.shape)
    losses = torch.full_like(of_next, torch.nan)
    losses[:, 1:] = of_next[:, :-1].where(scored[:, 1:], torch.nan)
    return losses.cpu()


def choose_device(name: str) -> torch.device:
    if not re.fullmatch(DEVICES, name):
        raise InputError(unknown_name("device", name, ("auto", "cpu", "cuda", "cuda:0", "mps")))
    # States and geometry are compared across devices: TF32 would round their products to ten bits.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            "The device '{name}' is not usable here: {reason}. Try cpu.", name=name, reason=str(error).splitlines()[0]
        ) from error
    return device


@dataclass(frozen=True)
class Blueprint:
    """Everything of a model except its weights."""

    weights: Weights
    config: Any
    tokenizer: Any
    loader: Any
    """The transformers class that builds or loads the network."""
    kind: str
    """`decoder`, `encoder` or `encoder_decoder`."""
    stack: str
    dtype: str
    device: torch.device

    def opened(self, module: Any, units: Sequence[Unit] = ()) -> OpenModel:
        """Wrap a network that this blueprint describes as an open model."""
        stack = find_stack(module, self.config, self.stack, self.weights.name)
        row = describe(self.weights, self.config, module, self.tokenizer, stack, self.kind)
        return OpenModel(
            row,
            module,
            self.tokenizer,
            stack.blocks,
            self.kind == "decoder",
            self.device,
            self.dtype,
            self.stack,
            stack.owner,
            tuple(units),
        )

    def on_meta(self) -> Any:
        """Build the network on the meta device, without memory for its weights.

        Raises ModelError if the configuration describes no valid network.
        """
        try:
            with opening(self.weights.name), torch.device("meta"):
                return self.loader.from_config(self.config, dtype=TORCH_DTYPES[self.dtype])
        except MemoryError:
            raise
        except Exception as error:  # code of the architecture, which may raise anything
            reason = " ".join(str(error).split())[:160].rstrip(".")
            raise damaged("config.json", self.weights.name, f"{type(error).__name__}: {reason}") from error

    @cached_property
    def outline(self) -> Any:
        """The network of `on_meta`, built once. Read only: do not change it."""
        return self.on_meta()

    @cached_property
    def weightless(self) -> OpenModel:
        """The model before its weights are read. Its metadata already equals that of the loaded model."""
        with opening(self.weights.name):
            return self.opened(self.outline)

    @cached_property
    def shape(self) -> Shape:
        """The sizes that decide how much memory a pass takes."""
        own = stack_config(self.config, self.stack).get_text_config()
        stacks = all_stacks(self.outline, self.config, self.weights.name)
        running = [block for stack in stacks if self.stack in (stack.name, "decoder") for block in stack.blocks]
        logits = own.vocab_size if self.kind == "decoder" else 0
        experts = experts_per_token(own)
        is_eager = self.outline.config._attn_implementation == "eager"  # transformers' choice without a kernel
        heads = getattr(own, "num_attention_heads", 0) if is_eager else 0
        return shape_of(self.outline, self.blocks(self.outline), own.hidden_size, logits, running, experts, heads)

    def require_streamable(self) -> None:
        """Raises ResourceError for weights that cannot be read block by block. Called when they do not fit at once."""
        if is_loaded_whole(self.config):
            raise whole_only(self.weights.name, method_of(self.config))

    def streamed(self, progress: ProgressCallback) -> Weights:
        """The weights as safetensors files, which can be read block by block."""
        self.require_streamable()
        if not self.weights.gguf_file:
            return self.weights
        return as_safetensors(self.weights, self.outline, TORCH_DTYPES[self.dtype], progress)

    def plan(self, n_windows: int, n_tokens: int, budget: int | None, weights: str = TRAINED) -> MemoryPlan:
        """Plan a pass of `n_windows` windows within `budget` bytes; raises ResourceError if it cannot fit.

        weights: how the pass gets its weights (`core.registry.protocols`).
        """
        return self.plan_within(
            available_bytes(self.device, budget),
            n_windows,
            n_tokens,
            available_bytes_elsewhere(self.device, budget),
            weights,
        )

    def plan_within(
        self, room: int, n_windows: int, n_tokens: int, others: Sequence[int] = (), weights: str = TRAINED
    ) -> MemoryPlan:
        """Plan a pass within `room` bytes beyond what the process already holds; `others` are those of further GPUs."""
        others = others if weights == TRAINED else ()  # drawing and permuting weights use one device only
        plan = plan_memory(
            self.shape, n_windows, n_tokens, room, self.weights.name, others, weights == DRAWN, weights in CHANGED
        )
        if plan.spread and not self._can_spread(plan.spread):
            return self.plan_within(room, n_windows, n_tokens, weights=weights)
        return plan

    def _can_spread(self, rooms: Sequence[int]) -> bool:
        """Whether accelerate can place all blocks, each as a whole, within these bytes per GPU; it keeps some free."""
        module = self.on_meta()
        module.tie_weights()
        unsplit_classes = list(module._no_split_modules or ())
        placed = infer_auto_device_map(
            module, max_memory=dict(enumerate(rooms)), no_split_module_classes=unsplit_classes
        )
        return not {"cpu", "disk"} & set(placed.values())

    def blocks(self, module: Any) -> list[nn.Module]:
        """Blocks of all stacks."""
        return [block for stack in all_stacks(module, self.config, self.weights.name) for block in stack.blocks]


def read_blueprint(
    weights: Weights, dtype: str, device: str, stack: str | None, with_tokenizer: bool = True
) -> Blueprint:
    """Read and check configuration and tokenizer, but not the weights. Raises InputError or ModelError.

    Without its tokenizer, a model that is not on this disk can be described but not measured.
    """
    if dtype not in DTYPES:
        raise InputError(unknown_name("dtype", dtype, DTYPES))
    target = choose_device(device)
    check_files(weights)
    config = read_config(weights)
    chosen = choose_stack(config, stack, weights.name)
    own = stack_config(config, chosen)
    if own.get_text_config() is not own:
        raise not_measured(weights.name, Sentence("it reads more than text"))
    kind, loader = find_loader(config, weights)
    require_text(config, loader, weights)
    check_quantisation(config, weights.name)
    tokenizer = read_tokenizer(weights) if with_tokenizer else None
    return Blueprint(weights, config, tokenizer, loader, kind, chosen, dtype, target)


def load_network(
    blueprint: Blueprint,
    scratch: Path | None = None,
    progress: ProgressCallback = lambda step: None,
    spread: Sequence[int] = (),
) -> OpenModel:
    """Load the model with its weights; raises ModelError with one clear line for anything that must not be measured.

    With `scratch`, the weights are read on demand from their safetensors files; a GGUF file is first converted to
    safetensors in the cache. `scratch` is an existing folder for weights that must be converted. `spread` gives the
    bytes of weights that each GPU may take.
    """
    weights, dtype = blueprint.weights, TORCH_DTYPES[blueprint.dtype]
    if scratch:
        return _load_on_demand(blueprint, scratch, progress)
    options = loading_options(blueprint.config) | _placement(blueprint, spread)
    try:
        module = read_network(weights, blueprint.loader, dtype, **options)
        module = dequantised(module, blueprint.config, dtype).eval()
        if not spread:  # if spread, each block is on the GPU of its weights; inputs and logits stay on the first
            module.to(blueprint.device)
    except (ModelError, torch.OutOfMemoryError) as error:
        if not isinstance(error.__cause__ or error, torch.OutOfMemoryError):
            raise
        raise too_large(weights.name, blueprint.device) from error
    return blueprint.opened(module)


def _placement(blueprint: Blueprint, spread: Sequence[int]) -> dict[str, Any]:
    """Options that place each weight while transformers reads it; empty if all go to main memory first."""
    if spread:
        return {"device_map": "auto", "max_memory": dict(enumerate(spread))}
    is_plain = not blueprint.weights.gguf_file and method_of(blueprint.config) is None
    # Otherwise a GPU's weights would also have to fit into main memory, which the memory plan does not count.
    return {"device_map": {"": blueprint.device}} if blueprint.device.type == "cuda" and is_plain else {}


def _load_on_demand(blueprint: Blueprint, scratch: Path, progress: ProgressCallback) -> OpenModel:
    """The model on the meta device, with units that read its weights from their safetensors files.

    The network is checked like one that is loaded. Weights that transformers converts (experts of a mixture) are written to
    `scratch` first.
    """
    module = read_network(
        blueprint.streamed(progress),
        blueprint.loader,
        TORCH_DTYPES[blueprint.dtype],
        device_map={"": "disk"},
        offload_folder=str(scratch),
        **loading_options(blueprint.config),
    )
    stored = {
        part: hook.weights_map
        for part in module.modules()
        if isinstance(hook := getattr(part, "_hf_hook", None), AlignDevicesHook) and hook.weights_map is not None
    }
    remove_hook_from_submodules(module)
    for part in module.modules():
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.device.type != "meta":
                part._buffers[name] = buffer.to(blueprint.device)
    return blueprint.opened(module.eval(), _units(module, blueprint.blocks(module), stored, blueprint.device))


def _units(module: nn.Module, blocks: Sequence[nn.Module], stored: dict[nn.Module, Any], device: torch.device):
    within = {id(part) for block in blocks for part in block.modules()}
    around = {id(part) for part in module.modules() if any(id(child) in within for child in part.modules())}
    places = {id(block): [part for part in block.modules() if part in stored] for block in blocks}
    units = []
    for part in module.modules():
        if id(part) in places:
            units.append(_unit(part, places[id(part)], stored, device))
        elif id(part) not in within and part in stored and any(of is not None for of in part._parameters.values()):
            unit = _unit(part, [part], stored, device)
            if id(part) in around:  # weights held by a module around the blocks are small, and stay loaded
                unit.load()
            else:
                units.append(unit)
    return units


def _unit(module: nn.Module, parts: Sequence[nn.Module], stored: dict[nn.Module, Any], device: torch.device) -> Unit:
    before: list[tuple[dict[str, Any], str, Any]] = []

    def drop() -> None:
        for entries, name, tensor in before:
            entries[name] = tensor
        before.clear()

    def load() -> None:
        try:
            for part in parts:
                for entries in cast("tuple[dict[str, Any], ...]", (part._parameters, part._buffers)):
                    for name, tensor in entries.items():
                        if tensor is not None and tensor.device.type == "meta":
                            before.append((entries, name, tensor))
                            value = stored[part][name].to(device, tensor.dtype)
                            is_parameter = isinstance(tensor, nn.Parameter)
                            entries[name] = nn.Parameter(value, requires_grad=False) if is_parameter else value
        except BaseException:
            drop()
            raise

    return Unit(module, load, drop)


# --- a GGUF file as safetensors --------------------------------------------------------------------------------------

DTYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


def as_safetensors(weights: Weights, module: Any, dtype: torch.dtype, progress: ProgressCallback) -> Weights:
    """The same weights as safetensors in a folder of the cache; converts them if they are not there yet.

    `module` is the network, which may be on the meta device. At most one tensor is in memory at a time. Raises
    ResourceError if the disk has no room or the architecture must be read whole, ModelError for a damaged file.
    """
    folder = (
        cache_folder() / "gguf" / f"{hash_files(weights.files)[:32]}-{DTYPE_NAMES[dtype]}-{transformers.__version__}"
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / INDEX).is_file():
            _convert(weights, module, dtype, folder, progress)
    return Weights(folder, None, weights.reference, weights.revision, weights.name)


def _convert(weights: Weights, module: Any, dtype: torch.dtype, folder: Path, progress: ProgressCallback) -> None:
    n_bytes = sum(p.numel() for p in module.parameters()) * dtype.itemsize
    require_room(n_bytes * 1.02, folder.parent, free_some("WORKDIM_CACHE"))
    part = folder.with_name(f".{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        with writing(folder.parent, free_some("WORKDIM_CACHE")):
            _write(weights, module, dtype, part, progress)
            os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(weights: Weights, module: Any, dtype: torch.dtype, part: Path, progress: ProgressCallback) -> None:
    """Write a file for each tensor, as only one is in memory, and the index that names them."""
    files: dict[str, str] = {}
    try:
        reader = GGUFReader(weights.files[0])
        architecture = str(read_field(reader, "general.architecture")[0])
        if is_gguf_arch_supported(architecture):  # by a newer loader, which converts tensors inside the network
            raise whole_only(weights.name, architecture)
        n_tensors = len(reader.tensors)
        for number, name, tensor in _read_gguf(reader, weights.files[0], architecture, module, dtype):
            progress(Progress("convert", number, n_tensors))
            files[name] = f"model-{len(files):05d}.safetensors"
            _write_tensor(part / files[name], name, tensor)
    except (ValueError, NotImplementedError, IndexError, KeyError) as error:  # what readers raise for a damaged file
        reason = " ".join(str(error).split())[:160]
        raise damaged(str(weights.gguf_file), weights.name, reason) from error
    module.config.save_pretrained(part)
    index = json.dumps({"metadata": {}, "weight_map": files}, indent=1)
    (part / INDEX).write_text(index, encoding="utf-8")
    progress(Progress("convert", n_tensors, n_tensors))


def _write_tensor(file: Path, name: str, tensor: torch.Tensor) -> None:
    """Write a safetensors file of one tensor, whose values are not copied for it."""
    values = tensor.contiguous().flatten().view(torch.uint8).numpy().data
    entry = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [0, len(values)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, name: entry}).encode()
    header += b" " * (-len(header) % 8)  # values begin at a multiple of eight bytes
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.write(values)
        stream.flush()
        os.fsync(stream.fileno())


ROWS = 1024
"""Rows of a matrix that are dequantised at once."""


def _read_gguf(
    reader: GGUFReader, path: Path, architecture: str, module: Any, dtype: torch.dtype
) -> Iterator[tuple[int, str, torch.Tensor]]:
    """Number of each tensor of a GGUF file, the name that transformers gives it and its values, one at a time; tensors not
    in `module` are left out.

    transformers itself dequantises a whole file before it places a tensor. Its rules for each architecture (names, rows
    that llama.cpp reorders, stacked experts) are used here, so that the weights are the same bit for bit. If the file stores
    experts separately, those of one block are held until they are complete.
    """
    settings = load_gguf_checkpoint(str(path))["config"]
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=settings)
    names = get_gguf_hf_weights_map(module, processor)
    expected = Counter(names.values())
    tied = set(module.all_tied_weights_keys)  # a tied embedding may be stored twice, and is one matrix
    stacked: dict[str, torch.Tensor] = {}
    for number, tensor in enumerate(reader.tensors):
        processed = processor.process(
            weights=_dequantised(tensor),
            name=tensor.name,
            tensor_key_mapping=names,
            parsed_parameters={"tensors": stacked},
        )
        if processed.name in names and names[processed.name] not in tied:
            values = np.require(processed.weights, requirements=("C", "W"))
            yield number, names[processed.name], torch.from_numpy(values).to(dtype)
        expected[names.get(tensor.name) or names.get(tensor.name.removesuffix(".weight"), "")] -= 1
        for name in [name for name in stacked if expected[name] <= 0]:
            yield number, name, stacked.pop(name).to(dtype)


def _dequantised(tensor: ReaderTensor) -> np.ndarray:
    """Dequantise a tensor in slices: for some types, the formulas need ten temporary arrays as large as their input."""
    values = np.empty(tuple(map(int, reversed(tensor.shape))), dtype=np.float32)
    for start in range(0, len(values), ROWS):
        values[start : start + ROWS] = dequantize(tensor.data[start : start + ROWS], tensor.tensor_type)
    return values
