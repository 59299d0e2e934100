"""Named protocols: everything that changes a measured value, fixed under one name."""

from __future__ import annotations

from core.errors import InputError, unknown_name
from core.records import Protocol

PROTOCOLS: dict[str, Protocol] = {
    "quick": Protocol("quick", version=1, n_sequences=32, n_tokens=128, max_types=800),
    "standard": Protocol("standard", version=1, n_sequences=64, n_tokens=256, max_types=2000),
}

MIN_TYPES = 300
"""Fewer token types than this do not make a cloud: d2 of a few hundred directions is mostly their choice."""


def find_protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise InputError(unknown_name("protocol", name, PROTOCOLS))
    return PROTOCOLS[name]
