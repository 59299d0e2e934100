"""What everything that a measurement gives is called, in every language: the names of core.registry, translated.

A key that has no name yet is shown as it is.
"""

from __future__ import annotations

import re

from core.locale import translator
from core.registry.checks import CHECKS
from core.registry.estimators import ESTIMATORS
from core.registry.names import NAMES


def _(message: str) -> str:
    """Marks a message for the catalogues; it is translated when a reader's language is known."""
    return message


def name(kind: str, key: str, language: str) -> str:
    """The name of `key` among things of its `kind`: estimator, cloud, transform, check, pass, ..."""
    message = NAMES.get((kind, key))
    return key if message is None else translator(language)(message)


def control_name(pass_: str, model_seed: int | None, language: str) -> str:
    """`random weights, seed 1`: a pass with the seed of its weights where it has one."""
    told = name("pass", pass_, language)
    if pass_ != "random_init" or model_seed is None:
        return told
    return translator(language)(_("{name}, seed {seed}")).format(name=told, seed=model_seed)


def estimator_name(estimator: str, language: str, n1: int | None = None, n2: int | None = None) -> str:
    """What the estimator is called in a list of choices; n2 is the number of neighbours where there is no n1."""
    foreign = _of_skdim(estimator)
    if foreign is not None:
        return translator(language)(_("{method} (scikit-dimension)")).format(method=foreign)
    estimator, n1, n2 = _of_registry(estimator, n1, n2)
    told = name("estimator", estimator, language)
    if estimator == "gride" and n1 is not None:
        return f"{told} (n1={n1})" if n2 is None else f"{told} (n1={n1}, n2={n2})"
    return f"{told} (k={n2})" if estimator == "local_d2" and n2 is not None else told


def estimator_symbol(estimator: str, n1: int | None = None, n2: int | None = None) -> str:
    """The short form for titles and axes: the same in both languages."""
    foreign = _of_skdim(estimator)
    if foreign is not None:
        return f"{foreign} skdim"
    estimator, n1, n2 = _of_registry(estimator, n1, n2)
    symbol = ESTIMATORS[estimator].symbol if estimator in ESTIMATORS else estimator
    if estimator == "gride" and n1 is not None:
        return f"{symbol} n1={n1}"
    if estimator == "mle":
        return f"{symbol} k={n2 or 20}"
    return f"{symbol} k={n2}" if estimator == "local_d2" and n2 is not None else symbol


def _of_skdim(estimator: str) -> str | None:
    """How scikit-dimension writes its own estimators: proper names, the same in every language."""
    if not estimator.startswith("skdim_"):
        return None
    return ESTIMATORS[estimator].symbol if estimator in ESTIMATORS else estimator.removeprefix("skdim_")


def _of_registry(estimator: str, n1: int | None, n2: int | None) -> tuple[str, int | None, int | None]:
    """The registry of estimators writes `gride_8` for GRIDE at ranks 8 and 16, `local_d2_50` for local d2 at k=50."""
    found = re.fullmatch(r"(gride|local_d2)_(\d+)", estimator)
    if not found:
        return estimator, n1, n2
    scale = int(found[2])
    return ("gride", scale, 2 * scale) if found[1] == "gride" else ("local_d2", None, scale)


def check_meaning(check: str, language: str) -> str:
    """What a check guards against, and what to do; empty for a check that nobody has explained yet."""
    found = CHECKS.get(check)
    return translator(language)(found.meaning) if found and found.meaning else ""
