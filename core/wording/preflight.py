"""What a measurement will take, in the same words on the card of a screen and in the lines of the terminal."""

from __future__ import annotations

from core.locale import _
from core.records import Preflight
from core.wording.labels import kind_text
from core.wording.numbers import amount, duration


def cost_facts(card: Preflight) -> dict[str, str]:
    """Time, memory, disk and size by their names; without what is not needed."""
    time = _("Time") if card.download_bytes == 0 else _("Time after the download")
    facts = {
        time: "" if card.refusals else duration(card.seconds),
        _("Memory"): amount(card.memory_bytes),
        _("Memory of the GPU"): amount(card.gpu_memory_bytes) if card.gpu_memory_bytes else "",
        _("To download"): amount(card.download_bytes),
        _("Disk meanwhile"): amount(card.scratch_bytes),
        _("Layers"): str(card.n_layers or ""),
        _("Parameters"): f"{card.parameters:,}" if card.parameters else "",
        _("Tokens to read"): f"{card.n_tokens:,}" if card.n_tokens and not card.refusals else "",
    }
    return {name: text for name, text in facts.items() if text}


def network_text(card: Preflight) -> str:
    """`LlamaModel, decoder, safetensors, float32, measured in float32, licence: apache-2.0`."""
    described = (
        card.architecture,
        kind_text(card.kind, card.stack or "main") if card.kind else None,
        card.stored_format,
        card.stored_dtype,
        _("measured in {dtype}").format(dtype=card.dtype),
        _("licence: {name}").format(name=card.licence or _("unknown")),
        _("weights read block by block") if card.streamed else None,
    )
    return _(", ").join(filter(None, described))
