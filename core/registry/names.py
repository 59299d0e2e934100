"""English names of all stored values: one name for each (kind, key).

The English name is the message of the catalogues; `core.wording.labels` translates it. Names of estimators,
correlators, checks, protocols and passes come from their own records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import N_ as _
from core.registry.checks import CHECKS, VERDICTS
from core.registry.estimators import CORRELATORS, ESTIMATORS, PAIR_MEASURES, QUANTITIES
from core.registry.protocols import PASSES, TITLES

NOT_STATED = "not stated"
"""Placeholder for a metric, filter, suite, unit or licence that the source does not name."""

_OF_RECORDS: dict[str, Mapping[str, Any]] = {
    "estimator": ESTIMATORS,
    "correlator": CORRELATORS,
    "pair": PAIR_MEASURES,
    "quantity": QUANTITIES,
    "check": CHECKS,
    "pass": PASSES,
}
_OTHERS: dict[str, dict[str, str]] = _(
    {
        "protocol": TITLES,
        "transform": {
            "centred": "centred",
            "abtt1": "leading component removed",
            "abtt3": "three leading components removed",
            "zscore": "coordinates scaled to one variance",
            "gaussian_surrogate": "Gaussian points",
        },
        "cloud": {
            "one_per_type": "one per type",
            "one_per_word": "one per word",
            "all_tokens": "all tokens",
            "last_token": "last token",
            "per_prompt": "per prompt",
            "unmasked": "tokens before masking",
            "predicted": "predicted tokens",
            "labelled": "own labelled texts",
        },
        "outcome": {"pass": "passed", "warn": "warning", "veto": "veto"},
        "claim": {"rise": "rises", "fall": "falls", "inner_max": "largest inner dimension", "final": "final dimension"},
        "claim_outcome": {"yes": "yes", "no": "no", "opposite": "reversed", "cannot_tell": "unclear"},
        "claim_verdict": {key: word.name for key, word in VERDICTS.items()},
        "control_outcome": {
            "exceeded": "the text exceeds it",
            "shows_it": "the control shows it too",
            "cannot_tell": "cannot tell",
            "no_power": "could not have shown it",
            "not_usable": "not usable",
            "same": "the same within 10 percent",
            "differs": "differs",
        },
        "axis": {
            "words": "words instead of token types",
            "tokens": "all tokens instead of one per type",
            "dominant_directions": "dominant directions removed",
            "scale": "coordinates scaled to one variance",
            "norms": "norms counted",
            "neighbours": "nearest neighbours",
        },
        "extremum": {"start": "start", "peak": "peak", "valley": "valley", "end": "end"},
        "kind": {"decoder": "decoder", "encoder": "encoder", "encoder_decoder": "encoder-decoder"},
        "stack": {"main": "its only blocks", "encoder": "its encoder", "decoder": "its decoder"},
        "state": {"residual": "residual stream", "post_norm": "after the final norm"},
        "phase": {
            "queued": "waiting for its turn",
            "load": "loading",
            "convert": "converting the GGUF file",
            "forward": "reading text",
            "geometry": "measuring layers",
            "layers": "comparing layers",
            "seeds": "drawing networks",
            "score": "scoring",
            "calibrate": "measuring Gaussian points",
            "plan": "layer plan",
            "choose": "choosing blocks",
            "verify": "verifying on held-out text",
            "heal": "repair",
            "save": "weighing and saving",
            "directions": "projecting layers",
        },
        "run_status": {"finished": "finished"},
        "plan_rule": {
            "own": "your own choice",
            "greedy": "removed one by one, measured anew",
            "exchange": "removed one by one, then exchanged",
            "influence": "lowest block influence",
            "last_angle": "smallest angle of the last token",
            "angle": "smallest angle of all tokens",
            "contiguous": "contiguous blocks",
            "path": "steps of the search",
            "single": "one alone",
            "rounding": "rounded to 8 bits",
            "stretch": "contiguous stretch",
            "random": "random set",
            "projection": "projected onto principal components",
            "projection_of_all": "projected, with large-norm tokens",
            "projection_d2": "projected onto d2 directions",
            "random_subspace": "projected onto a random subspace",
            "joint_projection": "all layers projected at once",
        },
        "plan_text": {
            "selection": "text that chose",
            "held_out": "held-out text",
            "typos": "text with typing errors",
            "other_domain": "text of another domain",
            "other_language": "text in another language",
            "copying": "copying words",
            "brackets": "closing brackets",
            "digit_sums": "sums of digits",
            "task": "your own task",
            "weights": "weights",
        },
        "plan_measure": {
            "loss": "loss per token",
            "above_plan": "loss above the plan",
            "divergence": "divergence of predictions (KL)",
            "agreement": "same likeliest token",
            "influence": "block influence",
            "angle": "angle of all tokens over pi",
            "last_angle": "angle of the last token over pi",
            "exact_match": "exact answers",
            "accuracy": "right answers",
            "bytes_float32": "bytes in float32",
            "bytes_bfloat16": "bytes in bfloat16",
            "bytes_int8": "bytes in int8",
            "bytes_int4": "bytes in int4",
        },
        "language": {"en": "English", "ja": "Japanese", "code": "code"},
        "domain": {
            "user's own": "own text",
            "chat messages": "chat messages",
            "technical reference": "technical reference",
            "source code": "source code",
            "business and general knowledge": "business and general knowledge",
        },
        "use_class": {"general": "general", "scarce_data": "scarce data", "safety_critical": "safety-critical"},
        "criterion": {
            "score": "score",
            "bits_per_byte": "bits per byte",
            "parameters": "parameters",
            "memory": "memory",
            "speed": "reading speed",
            "price": "cost per month",
            "dimension": "largest inner dimension",
            "final_dimension": "final dimension",
        },
        "metric": {
            "bits_per_byte": "bits per byte",
            "text_bits_per_byte": "bits per byte, mean of the texts",
            "answer_bits_per_byte": "bits per byte of the right answer",
        },
        "unit": {"percent": "percent", "fraction": "fraction", "bits_per_byte": "bits per byte"},
        "rule_outcome": {"right": "right", "wrong": "wrong"},
        "relation": {
            "base": "base model itself",
            "instruction-tuned, then quantised to GGUF Q4_1": "instruction-tuned, then quantised to GGUF Q4_1",
            "quantised to GGUF Q4_K_M": "quantised to GGUF Q4_K_M",
            "fine-tuned for sentence similarity": "fine-tuned for sentence similarity",
            "instruct": "instruction-tuned",
            "instruction-tuned": "instruction-tuned",
            "fine-tuned": "fine-tuned",
            "quantised": "quantised",
            NOT_STATED: "not stated",
        },
    }
)
NAMES: dict[tuple[str, str], str] = {
    (kind, key): record.name for kind, records in _OF_RECORDS.items() for key, record in records.items() if record.name
} | {(kind, key): name for kind, names in _OTHERS.items() for key, name in names.items()}


def keys(kind: str) -> list[str]:
    """All named keys of a kind, in order of declaration."""
    return [key for of_kind, key in NAMES if of_kind == kind]
