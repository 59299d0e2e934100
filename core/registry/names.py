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
_OTHERS: dict[str, dict[str, str]] = {
    "protocol": TITLES,
    "transform": {
        "centred": _("centred"),
        "abtt1": _("leading component removed"),
        "abtt3": _("three leading components removed"),
        "zscore": _("coordinates scaled to one variance"),
        "gaussian_surrogate": _("Gaussian points"),
    },
    "cloud": {
        "one_per_type": _("one per type"),
        "one_per_word": _("one per word"),
        "all_tokens": _("all tokens"),
        "last_token": _("last token"),
        "per_prompt": _("per prompt"),
        "unmasked": _("tokens before masking"),
        "predicted": _("predicted tokens"),
        "labelled": _("own labelled texts"),
    },
    "outcome": {"pass": _("passed"), "warn": _("warning"), "veto": _("veto")},
    "claim": {
        "rise": _("rises"),
        "fall": _("falls"),
        "inner_max": _("largest inner dimension"),
        "final": _("final dimension"),
    },
    "claim_outcome": {"yes": _("yes"), "no": _("no"), "opposite": _("reversed"), "cannot_tell": _("unclear")},
    "claim_verdict": {key: word.name for key, word in VERDICTS.items()},
    "control_outcome": {
        "exceeded": _("the text exceeds it"),
        "shows_it": _("the control shows it too"),
        "cannot_tell": _("cannot tell"),
        "no_power": _("could not have shown it"),
        "not_usable": _("not usable"),
        "same": _("the same within 10 percent"),
        "differs": _("differs"),
    },
    "axis": {
        "words": _("words instead of token types"),
        "tokens": _("all tokens instead of one per type"),
        "dominant_directions": _("dominant directions removed"),
        "scale": _("coordinates scaled to one variance"),
        "norms": _("norms counted"),
        "neighbours": _("nearest neighbours"),
    },
    "extremum": {"start": _("start"), "peak": _("peak"), "valley": _("valley"), "end": _("end")},
    "kind": {"decoder": _("decoder"), "encoder": _("encoder"), "encoder_decoder": _("encoder-decoder")},
    "stack": {"main": _("its only blocks"), "encoder": _("its encoder"), "decoder": _("its decoder")},
    "state": {"residual": _("residual stream"), "post_norm": _("after the final norm")},
    "phase": {
        "queued": _("waiting for its turn"),
        "load": _("loading"),
        "convert": _("converting the GGUF file"),
        "forward": _("reading text"),
        "geometry": _("measuring layers"),
        "layers": _("comparing layers"),
        "seeds": _("drawing networks"),
        "score": _("scoring"),
        "calibrate": _("measuring Gaussian points"),
        "plan": _("layer plan"),
        "choose": _("choosing blocks"),
        "verify": _("verifying on held-out text"),
        "heal": _("repair"),
        "save": _("weighing and saving"),
        "directions": _("projecting layers"),
    },
    "run_status": {"finished": _("finished")},
    "plan_rule": {
        "own": _("your own choice"),
        "greedy": _("removed one by one, measured anew"),
        "exchange": _("removed one by one, then exchanged"),
        "influence": _("lowest block influence"),
        "last_angle": _("smallest angle of the last token"),
        "angle": _("smallest angle of all tokens"),
        "contiguous": _("contiguous blocks"),
        "path": _("steps of the search"),
        "single": _("one alone"),
        "rounding": _("rounded to 8 bits"),
        "stretch": _("contiguous stretch"),
        "random": _("random set"),
        "projection": _("projected onto principal components"),
        "projection_of_all": _("projected, with large-norm tokens"),
        "projection_d2": _("projected onto d2 directions"),
        "random_subspace": _("projected onto a random subspace"),
        "joint_projection": _("all layers projected at once"),
    },
    "plan_text": {
        "selection": _("text that chose"),
        "held_out": _("held-out text"),
        "typos": _("text with typing errors"),
        "other_domain": _("text of another domain"),
        "other_language": _("text in another language"),
        "copying": _("copying words"),
        "brackets": _("closing brackets"),
        "digit_sums": _("sums of digits"),
        "task": _("your own task"),
        "weights": _("weights"),
    },
    "plan_measure": {
        "loss": _("loss per token"),
        "above_plan": _("loss above the plan"),
        "divergence": _("divergence of predictions (KL)"),
        "agreement": _("same likeliest token"),
        "influence": _("block influence"),
        "angle": _("angle of all tokens over pi"),
        "last_angle": _("angle of the last token over pi"),
        "exact_match": _("exact answers"),
        "accuracy": _("right answers"),
        "bytes_float32": _("bytes in float32"),
        "bytes_bfloat16": _("bytes in bfloat16"),
        "bytes_int8": _("bytes in int8"),
        "bytes_int4": _("bytes in int4"),
    },
    "language": {"en": _("English"), "ja": _("Japanese"), "code": _("code")},
    "domain": {
        "user's own": _("own text"),
        "chat messages": _("chat messages"),
        "technical reference": _("technical reference"),
        "source code": _("source code"),
        "business and general knowledge": _("business and general knowledge"),
    },
    "use_class": {"general": _("general"), "scarce_data": _("scarce data"), "safety_critical": _("safety-critical")},
    "criterion": {
        "score": _("score"),
        "bits_per_byte": _("bits per byte"),
        "parameters": _("parameters"),
        "memory": _("memory"),
        "speed": _("reading speed"),
        "price": _("cost per month"),
        "dimension": _("largest inner dimension"),
        "final_dimension": _("final dimension"),
    },
    "metric": {
        "bits_per_byte": _("bits per byte"),
        "text_bits_per_byte": _("bits per byte, mean of the texts"),
        "answer_bits_per_byte": _("bits per byte of the right answer"),
    },
    "unit": {"percent": _("percent"), "fraction": _("fraction"), "bits_per_byte": _("bits per byte")},
    "rule_outcome": {"right": _("right"), "wrong": _("wrong")},
    "relation": {
        "base": _("base model itself"),
        "instruction-tuned, then quantised to GGUF Q4_1": _("instruction-tuned, then quantised to GGUF Q4_1"),
        "quantised to GGUF Q4_K_M": _("quantised to GGUF Q4_K_M"),
        "fine-tuned for sentence similarity": _("fine-tuned for sentence similarity"),
        "instruct": _("instruction-tuned"),
        "instruction-tuned": _("instruction-tuned"),
        "fine-tuned": _("fine-tuned"),
        "quantised": _("quantised"),
        NOT_STATED: _("not stated"),
    },
}
NAMES: dict[tuple[str, str], str] = {
    (kind, key): record.name for kind, records in _OF_RECORDS.items() for key, record in records.items() if record.name
} | {(kind, key): name for kind, names in _OTHERS.items() for key, name in names.items()}


def keys(kind: str) -> list[str]:
    """All named keys of a kind, in order of declaration."""
    return [key for of_kind, key in NAMES if of_kind == kind]
