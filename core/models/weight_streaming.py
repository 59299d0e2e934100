"""Run networks whose weights do not fit into memory: a unit's weights are loaded only while it runs, once per pass.

A unit is a block, or a module outside the blocks that has weights of its own. All batches of a pass go through the
network together: each runs up to the next unit and waits there; the unit's weights are read; one batch after the other
goes through it; the weights are dropped. A batch is an ordinary forward pass that is only interrupted. So we need not
know what an architecture passes from block to block (masks, positions, the state of another stack), and the states
equal those of a network in memory bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.hooks import AlignDevicesHook, remove_hook_from_submodules
from greenlet import GreenletExit, getcurrent, greenlet
from torch import nn

from core.models.loading import read_network
from core.models.weights import Weights


@dataclass(frozen=True)
class Unit:
    """A part of a network that has no weights until it is about to run."""

    module: nn.Module
    load: Callable[[], None]
    drop: Callable[[], None]
    arrive: Callable[[Any], Callable[[], Any]] | None = None
    """If given, batches wait behind the module instead: it gets the output of each, and what it returns gives the output
    that goes on, once all batches are there."""
    within: nn.Module | None = None
    """The module of the unit around it, which stays loaded meanwhile."""


def run_together(
    units: Sequence[Unit],
    batches: Sequence[Callable[[], None]],
    entering: Callable[[int], None],
    units_done: Callable[[int], None],
) -> None:
    """Run all batches unit by unit, or one after the other if there are no units. A batch is a function.

    `entering` is called with the index of the batch that continues, `units_done` with the number of units that all
    batches have passed.

    All batches must reach the same units in the same order. If one raises, the others are ended, the weights are
    dropped, and the error is raised here.
    """
    hub = getcurrent()
    runners = [greenlet(batch, parent=hub) for batch in batches]

    def go_on(index: int) -> Unit | None:
        """Continue a batch; return the unit that it waits at next, or None if it has ended."""
        entering(index)
        return runners[index].switch()

    def wait_before(unit: Unit) -> Callable[..., None]:
        def hook(_module: nn.Module, _arguments: Any) -> None:
            hub.switch(unit)

        return hook

    def wait_behind(unit: Unit, arrive: Callable[[Any], Callable[[], Any]]) -> Callable[..., Any]:
        def hook(_module: nn.Module, _arguments: Any, output: Any) -> Any:
            finish = arrive(output)
            hub.switch(unit)
            return finish()

        return hook

    with ExitStack() as undo:
        undo.callback(_end, runners)
        for unit in units:
            hook = (
                unit.module.register_forward_hook(wait_behind(unit, unit.arrive))
                if unit.arrive
                else unit.module.register_forward_pre_hook(wait_before(unit), prepend=True)
            )
            undo.callback(hook.remove)
        loaded = list[Unit]()
        undo.callback(lambda: _drop(loaded))
        waiting = {index: first for index in range(len(runners)) if (first := go_on(index))}
        n_done = 0
        while waiting:
            unit = next(iter(waiting.values()))
            unit.load()
            loaded.append(unit)
            waiting = {i: after for i, needed in waiting.items() if (after := go_on(i) if needed is unit else needed)}
            following = next(iter(waiting.values()), None)
            while loaded and not (following and following.within is loaded[-1].module):
                loaded.pop().drop()
            n_done += 1
            units_done(n_done)


def _drop(units: Sequence[Unit]) -> None:
    for unit in reversed(units):
        unit.drop()


def _end(runners: Sequence[greenlet]) -> None:
    for runner in runners:
        if not runner.dead:
            runner.throw(GreenletExit)


def read_on_demand(
    weights: Weights, loader: Any, dtype: torch.dtype, device: torch.device, scratch: Path, **options: Any
) -> tuple[Any, Callable[[Sequence[nn.Module]], list[Unit]]]:
    """The network on the meta device, and a function that makes its units from its blocks.

    The network is checked like one that is loaded; `options` go to transformers. Weights are read from their
    safetensors files. Those that transformers converts (experts of a mixture) are written to `scratch` first.
    """
    module = read_network(weights, loader, dtype, device_map={"": "disk"}, offload_folder=str(scratch), **options)
    stored = {
        part: hook.weights_map
        for part in module.modules()
        if isinstance(hook := getattr(part, "_hf_hook", None), AlignDevicesHook) and hook.weights_map is not None
    }
    remove_hook_from_submodules(module)
    for part in module.modules():
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.device.type != "meta":
                part._buffers[name] = buffer.to(device)
    return module, lambda blocks: _units(module, blocks, stored, device)


def _units(module: nn.Module, blocks: Sequence[nn.Module], stored: dict[nn.Module, Any], device: torch.device):
    within = {id(part) for block in blocks for part in block.modules()}
    around = {id(part) for part in module.modules() if any(id(child) in within for child in part.modules())}
    places = {id(block): [part for part in block.modules() if part in stored] for block in blocks}
    units = []
    for part in module.modules():
        if id(part) in places:
            units.append(_unit(part, places[id(part)], stored, device))
        elif id(part) not in within and part in stored and _has_weights(part):
            unit = _unit(part, [part], stored, device)
            if id(part) in around:  # weights held by a module around the blocks are small, and stay loaded
                unit.load()
            else:
                units.append(unit)
    return units


def _has_weights(part: nn.Module) -> bool:
    return any(tensor is not None for tensor in part._parameters.values())


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
                            entries[name] = _there(stored[part][name], tensor, device)
        except BaseException:
            drop()
            raise

    return Unit(module, load, drop)


def _there(read: torch.Tensor, place: torch.Tensor, device: torch.device) -> torch.Tensor:
    value = read.to(device, place.dtype)
    return nn.Parameter(value, requires_grad=False) if isinstance(place, nn.Parameter) else value
