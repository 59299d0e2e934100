"""The passes of a measurement: the model on the text, and its controls. One record for each value of `runs.pass`.

A control removes something (the order of the tokens, the training of the weights) and measures what is left. A control
can be shared by all models for which its weights are the same: random weights depend on the configuration only.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import N_ as _

TRAINED, DRAWN, BLOCKS_DRAWN, PERMUTED = "trained", "drawn", "blocks_drawn", "permuted"


@dataclass(frozen=True)
class Pass:
    key: str
    """Value stored in `runs.pass`."""
    name: str
    """Name on screens and slides: the English message of the catalogues."""
    phase: str = ""
    """Name in progress reports; empty for the text itself."""
    meaning: str = ""
    """What it is and what it can show; shown beside figures that draw it with `dash`."""
    dash: str = ""
    """Plotly dash style of its line in figures."""
    weights: str = TRAINED
    """`trained`: the model's weights; `drawn`: all drawn by the architecture's initialiser; `blocks_drawn`: only those
    of the blocks drawn; `permuted`: the entries of each matrix in the blocks in random order."""
    has_words: bool = True
    """Whether its input consists of words, which clouds of one point per word need."""
    has_windows: bool = True
    """Whether its windows are measured one by one, for dimension and loss within one model."""
    has_several: bool = False
    """Whether a protocol runs it with `Protocol.n_random_models` seeds, otherwise with one."""

    @property
    def is_control(self) -> bool:
        """Whether it is a control of a run on text; true for all passes but the text itself."""
        return self.key != "text"

    @property
    def core_only(self) -> bool:
        """Whether it measures what verdicts compare and nothing else: the core specifications, and what its checks
        need. A control decides about a claim; it has no local dimensions, surrogates, distributions or pairs of layers.
        """
        return self.is_control

    @property
    def has_effect(self) -> bool:
        """Whether it measures the effect of a property of the text; other controls test untrained weights."""
        return self.is_control and self.weights == TRAINED

    @property
    def is_drawn(self) -> bool:
        """Whether it needs no trained weights, so that all models of one configuration share it."""
        return self.weights == DRAWN

    @property
    def keeps_embedding(self) -> bool:
        """Whether it uses the trained embedding."""
        return not self.is_drawn

    @property
    def has_model_seed(self) -> bool:
        """Whether its weights depend on a seed, `runs.model_seed`."""
        return self.weights != TRAINED

    def n_seeds(self, n_random_models: int) -> int:
        return n_random_models if self.has_several else 1


PASSES: dict[str, Pass] = {
    one.key: one
    for one in (
        Pass("text", _("text")),
        Pass(
            "shuffled",
            _("shuffled text"),
            _("control: shuffled text"),
            _(
                "Shuffled text (dashed): the tokens of each window in random order. What they show too is about "
                "vocabulary and weights, and no evidence of semantics."
            ),
            dash="dash",
            has_words=False,
        ),
        Pass(
            "without_bos",
            _("text without its opening token"),
            _("the text without its opening token"),
            _(
                "Text without its opening token (short dots and dashes): the same windows as a tokenizer without BOS would "
                "give them. What differs hangs on that token."
            ),
            dash="2px,2px,8px,2px",
            has_windows=False,
        ),
        Pass(
            "random_init",
            _("random weights"),
            _("control: random weights"),
            _(
                "Random weights (dotted): the same architecture untrained. What they show too need not come from training."
            ),
            dash="dot",
            has_windows=False,
            weights=DRAWN,
            has_several=True,
        ),
        Pass(
            "random_blocks",
            _("random blocks, trained embedding"),
            _("control: random blocks, trained embedding"),
            _(
                "Random blocks (long dashes): the trained embedding under untrained blocks. What they show too need not "
                "come from the training of the blocks."
            ),
            dash="longdash",
            has_windows=False,
            weights=BLOCKS_DRAWN,
            has_several=True,
        ),
        Pass(
            "permuted_weights",
            _("permuted weights, trained embedding"),
            _("control: permuted weights, trained embedding"),
            _(
                "Permuted weights (long dashes and dots): the trained embedding, and in the blocks the entries of each "
                "matrix in random order. What they show too needs the sizes of the weights only, not where they stand."
            ),
            dash="longdashdot",
            has_windows=False,
            weights=PERMUTED,
        ),
    )
}
"""In order of measurement (where the text comes last) and of listing (text first)."""

CONTROLS: dict[str, Pass] = {key: one for key, one in PASSES.items() if one.is_control}
SHARED = tuple(key for key, one in CONTROLS.items() if one.is_drawn)
"""Controls shared by all models of one configuration; the others belong to one model."""
