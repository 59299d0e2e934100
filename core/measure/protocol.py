"""Named protocols: everything that changes a measured value, fixed under one name.

Their thresholds were frozen on SmolLM2-135M alone; docs/accuracy.md lists them, and what was tried before.
"""

from __future__ import annotations

from core.errors import InputError, unknown_name
from core.records import Protocol

CONTROLS = ("random_init", "shuffled")

PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol("quick", version=2, n_sequences=32, n_tokens=128, max_types=800),
        Protocol("standard", version=2, n_sequences=64, n_tokens=256, max_types=2000, passes=CONTROLS),
        Protocol(
            "thorough",
            version=2,
            n_sequences=64,
            n_tokens=256,
            max_types=2000,
            n_surrogates=19,
            passes=CONTROLS,
            n_random_models=3,
            more_seeds=(1, 2),
            more_corpora=("python-source", "english-business"),
            more_estimators=("skdim_MLE", "skdim_TwoNN", "skdim_lPCA", "skdim_FisherS", "skdim_MOM", "skdim_TLE"),
        ),
        Protocol(
            "last-token",
            version=1,
            n_sequences=2048,
            n_tokens=20,
            max_types=2000,
            clouds=("last_token",),
            source="arXiv 2405.15471: GRIDE on the last token of many short sequences (there 5 x 10,000)",
        ),
        Protocol(
            "per-prompt",
            version=1,
            n_sequences=32,
            n_tokens=512,
            max_types=2000,
            clouds=("per_prompt",),
            passes=("shuffled",),
            n_surrogates=0,
            source="arXiv 2501.10573: GRIDE on all tokens of one prompt, averaged over prompts (there 2,244 x 1,024)",
        ),
    )
}


def find_protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise InputError(unknown_name("protocol", name, PROTOCOLS))
    return PROTOCOLS[name]
