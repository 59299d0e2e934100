"""The passes of a measurement: the model on the text, and its controls. One record for each value of `runs.pass`.

A control removes something (the order of the tokens, the training of the weights) and measures what is left. A control
can be shared by all models for which its weights are the same: random weights depend on the configuration only.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import N_ as _

TRAINED, DRAWN, BLOCKS_DRAWN = "trained", "drawn", "blocks_drawn"
MATCHED, PERMUTED, ROTATED = "matched", "permuted", "rotated"
CHANGED = (MATCHED, PERMUTED)
"""Weights that are changed block by block while a pass runs."""


@dataclass(frozen=True)
class Pass:
    key: str
    """Value stored in `runs.pass`."""
    name: str
    """Name on screens and slides, short enough for the end of its line: the English message of the catalogues."""
    meaning: str = ""
    """What it is and what it can show; shown beside figures that draw it."""
    dash: str = ""
    """Plotly dash style of its line in figures."""
    weights: str = TRAINED
    """`trained`: the model's weights; `drawn`: all drawn by the architecture's initialiser; `blocks_drawn`: only those of
    the blocks; of `core.models.matched_blocks`: `matched`, `permuted`, and `rotated`, whose weights are trained."""
    has_words: bool = True
    """Whether its input consists of words, which clouds of one point per word need."""
    has_windows: bool = True
    """Whether its windows are measured one by one, for dimension and loss within one model."""
    judges: bool = False
    """Whether claims are held against it: what it shows too needs nothing that it lacks. It is run with as many draws as
    the protocol says (`Protocol.n_control_seeds`), and only d2 is measured, of one token per type. Other controls are
    effects that are shown, of one draw."""

    @property
    def is_control(self) -> bool:
        """Whether it is a control of a run on text; true for all passes but the text itself."""
        return self.key != "text"

    @property
    def has_effect(self) -> bool:
        """Whether it is shown as an effect (of the order of tokens, of untrained weights) and judges no claim."""
        return self.is_control and not self.judges

    @property
    def is_drawn(self) -> bool:
        """Whether it needs no trained weights, so that all models of one configuration share it."""
        return self.weights == DRAWN

    @property
    def has_model_seed(self) -> bool:
        """Whether its weights depend on a seed, `runs.model_seed`."""
        return self.weights != TRAINED


PASSES: dict[str, Pass] = {
    one.key: one
    for one in (
        Pass("text", _("text")),
        Pass(
            "shuffled",
            _("shuffled text"),
            _("Shuffled text: tokens in random order. What it shows too is no evidence of semantics."),
            dash="dash",
            has_words=False,
        ),
        Pass(
            "without_bos",
            _("no opening token"),
            _("No opening token: what differs hangs on it."),
            dash="2px,2px,8px,2px",
            has_windows=False,
        ),
        Pass(
            "random_init",
            _("random weights"),
            _("Random weights: untrained. They judge no claim, as blocks write other amounts."),
            dash="dot",
            has_windows=False,
            weights=DRAWN,
        ),
        Pass(
            "random_blocks",
            _("random blocks"),
            _("Random blocks: on the trained embedding. They judge no claim, as they write other amounts."),
            dash="longdash",
            has_windows=False,
            weights=BLOCKS_DRAWN,
        ),
        Pass(
            "matched_blocks",
            _("drawn blocks"),
            _("Drawn blocks: they write into random directions. What they show too needs no trained directions."),
            dash="longdashdot",
            has_words=False,
            has_windows=False,
            weights=MATCHED,
            judges=True,
        ),
        Pass(
            "permuted_weights",
            _("permuted weights"),
            _(
                "Permuted weights: entries of each matrix in random order. What they show too needs only sizes of weights."
            ),
            dash="8px,2px,2px,2px,2px,2px",
            has_words=False,
            has_windows=False,
            weights=PERMUTED,
            judges=True,
        ),
        Pass(
            "rotated_updates",
            _("turned updates"),
            _("Turned updates: each rotated at random. What they show too needs no layers working together."),
            dash="12px,3px,3px,3px",
            has_words=False,
            has_windows=False,
            weights=ROTATED,
        ),
    )
}
"""In order of measurement (where the text comes last) and of listing (text first)."""

CONTROLS: dict[str, Pass] = {key: one for key, one in PASSES.items() if one.is_control}
SHARED = tuple(key for key, one in CONTROLS.items() if one.is_drawn)
"""Controls shared by all models of one configuration; the others belong to one model."""
