"""The specifications under which every claim about a profile is judged, fixed before anything is measured.

A claim that holds under only one choice of cloud, transform and estimator is a statement about that choice (multiverse
analysis; Steegen et al. 2016). The core consists of the reference and specifications that each change one choice; a
verdict rests on the core alone. docs/method.md gives the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass

CLAIMS = ("rise", "fall")
"""`rise`: the dimension rises inside the network; `fall`: it falls towards its end."""


@dataclass(frozen=True)
class Specification:
    """One way to compute a profile: a cloud, a transform of its points, an estimator and its scale."""

    cloud: str
    transform: str
    estimator: str
    n1: int | None = None
    n2: int | None = None
    axis: str = ""
    """The choice that differs from the reference, a key of the kind `axis`; empty for the reference itself."""
    is_core: bool = False
    """Whether a verdict rests on it."""

    @property
    def key(self) -> tuple[str, str, str, int | None]:
        """Identifies its estimates: cloud, transform, estimator, n1."""
        return self.cloud, self.transform, self.estimator, self.n1


REFERENCE = Specification("one_per_type", "centred", "d2", is_core=True)

SPECIFICATIONS: tuple[Specification, ...] = (
    REFERENCE,
    Specification("one_per_word", "centred", "d2", axis="words", is_core=True),
    Specification("all_tokens", "centred", "d2_typed", axis="tokens", is_core=True),
    Specification("one_per_type", "abtt1", "d2", axis="dominant_directions", is_core=True),
    Specification("one_per_type", "abtt3", "d2", axis="dominant_directions", is_core=True),
    Specification("one_per_type", "zscore", "d2", axis="scale", is_core=True),
    Specification("one_per_type", "centred", "participation_ratio", axis="norms", is_core=True),
    Specification("one_per_type", "centred", "gride_between", 8, 16, axis="neighbours", is_core=True),
    # Shown but not judged. Reasons: grows with N; other scales; repeats GRIDE; biased upwards where types are excluded.
    Specification("one_per_type", "centred", "effective_rank", axis="norms"),
    Specification("one_per_type", "centred", "gride_between", 2, 4, axis="neighbours"),
    Specification("one_per_type", "centred", "gride_between", 4, 8, axis="neighbours"),
    Specification("one_per_type", "centred", "gride_between", 16, 32, axis="neighbours"),
    Specification("one_per_type", "centred", "mle_between", None, 20, axis="neighbours"),
    Specification("one_per_word", "abtt3", "d2", axis="dominant_directions"),
    Specification("one_per_word", "zscore", "d2", axis="scale"),
    Specification("one_per_word", "centred", "participation_ratio", axis="norms"),
    Specification("one_per_word", "centred", "gride_between", 8, 16, axis="neighbours"),
    Specification("all_tokens", "centred", "gride_typed", 8, 16, axis="neighbours"),
)


CORE_CLOUDS = tuple(dict.fromkeys(s.cloud for s in SPECIFICATIONS if s.is_core))
"""Clouds on which verdicts rest."""
