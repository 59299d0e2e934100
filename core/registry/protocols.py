"""What is fixed before anything is measured: passes, the specifications of claims, and named protocols.

Runs store a protocol and a request as JSON, and screens show their fields: `Setting` declares both. This file does not
postpone annotations, because the declarations are read from them.
"""

import hashlib
import json
import math
import typing
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Annotated

from core.errors import N_ as _
from core.errors import InputError, unknown_name

# --- passes: the model on the text, and its controls -----------------------------------------------------------------

# One record for each value of `runs.pass`. A control removes something (the order of the tokens, the training of the weights)
# and measures what is left. It can be shared by all models for which its weights are the same: random weights depend on the
# configuration only.

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
    the blocks; of `core.models.random_weights`: `matched`, `permuted`, and `rotated`, whose weights are trained."""
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


# --- the specifications under which every claim is judged ------------------------------------------------------------

# A claim that holds under only one choice of cloud, transform and estimator is a statement about that choice (multiverse
# analysis; Steegen et al. 2016). The core consists of the reference and specifications that each change one choice; a
# verdict rests on the core alone. docs/method.md gives the reasons.

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


# --- protocols -------------------------------------------------------------------------------------------------------


# Each fixes everything that changes a measured value. Their thresholds were frozen on SmolLM2-135M alone; docs/accuracy.md
# lists them and earlier choices.


@dataclass(frozen=True)
class Setting:
    """Metadata of a field, used as `Annotated[int, Setting(_("windows asked for"))]`."""

    screen: str
    """Name on screen: the English message of the catalogues."""
    section: str = ""
    """Section of the run record, if not the default section of such fields."""
    unit: str = ""
    changes_values: bool = True
    """Whether the setting changes measured values, so that runs must share it to be compared."""


@cache
def settings(record_class: type) -> dict[str, Setting]:
    """Field -> its `Setting`. The class must be declared without postponed annotations."""
    return {f.name: typing.get_args(f.type)[1] for f in fields(record_class)}


@dataclass(frozen=True)
class Protocol:
    """Everything that changes a measured value, except model, text and seed, and the additional measurements to run."""

    name: Annotated[str, Setting(_("name at the time"), changes_values=False)]
    version: Annotated[int, Setting(_("version"), changes_values=False)]
    n_sequences: Annotated[int, Setting(_("windows asked for"), section="tokens")]
    """Disjoint windows of text."""
    n_tokens: Annotated[int, Setting(_("tokens asked for per window"), section="tokens")]
    """Tokens per window, special tokens included."""
    max_types: Annotated[int, Setting(_("largest cloud, one per type (points)"))]
    """Largest `one_per_type` cloud."""
    max_tokens: Annotated[int, Setting(_("largest cloud, all tokens (points)"))] = 4096
    """Largest `all_tokens` cloud."""
    bos: Annotated[str, Setting(_("opening token of a window"), section="tokens")] = "tokenizer"
    """`tokenizer`: a window opens as the tokenizer opens a text. Position 0 is read by the model but never measured."""
    norm_factor: Annotated[float, Setting(_("limit of the norm (times the layer's median)"))] = 3.0
    """Tokens with a norm above this multiple of the layer's median are masked at all layers."""
    n_draws: Annotated[int, Setting(_("draws that d2 is averaged over"))] = 5
    """Permutations over which d2 is averaged; neighbour estimators use the first."""
    n_blocks: Annotated[int, Setting(_("blocks of the jackknife"))] = 16
    """Blocks of consecutive windows for the delete-one jackknife."""
    n_half_splits: Annotated[int, Setting(_("half-splits"))] = 20
    """Half-splits of the sequences, used to select the layer of the largest inner dimension."""
    n_surrogates: Annotated[int, Setting(_("Gaussian surrogates per layer"), changes_values=False)] = 2
    """Gaussian surrogates of equal covariance per layer, for comparison with GRIDE."""
    clouds: Annotated[tuple[str, ...], Setting(_("clouds"))] = ("one_per_type", "one_per_word", "all_tokens")
    """Clouds to measure; a verdict requires `one_per_type`."""
    core_only: Annotated[tuple[str, ...], Setting(_("clouds for verdicts alone"), changes_values=False)] = ()
    """Clouds of which the core specifications alone are measured; where there are any, no wide local d2 either."""
    algorithm: Annotated[int, Setting(_("version of the algorithm"))] = 4
    """Incremented whenever a code change affects values in a way this record does not describe."""
    n_readable: Annotated[int, Setting(_("tokens whose loss is read at each layer"), changes_values=False)] = 512
    """Tokens whose loss the head reads at each layer; 0 where that would take more than a tenth of the run. For SmolLM2 in `quick` it
    takes as long as the forward pass (15.7 and 16.8 processor seconds), a fifth of the run."""
    passes: Annotated[tuple[str, ...], Setting(_("control passes"), changes_values=False)] = ()
    """Control passes of the protocol: keys of `core.registry.protocols.CONTROLS`."""
    n_control_seeds: Annotated[int, Setting(_("networks drawn for each control"), changes_values=False)] = 19
    """Number of draws of each control that claims are held against: 19 allow a one-sided p of .05, 39 one of .025."""
    more_seeds: Annotated[tuple[int, ...], Setting(_("further seeds"), changes_values=False)] = ()
    """Seeds of further draws of the text in a whole measurement, each a separate run."""
    more_corpora: Annotated[tuple[str, ...], Setting(_("further texts"), changes_values=False)] = ()
    """Further texts in a whole measurement."""
    more_estimators: Annotated[tuple[str, ...], Setting(_("further estimators"), changes_values=False)] = ()
    """Estimators to run on `one_per_type` in addition to the usual ones."""
    source: Annotated[str, Setting(_("publication"), changes_values=False)] = ""
    """Publication whose statistic the protocol reproduces."""

    def hash(self, seed: int) -> str:
        """Hash of twelve hex digits; only runs with equal hashes are comparable.

        Additional measurements (control passes, surrogates, further texts and estimators) do not affect the compared
        values and are not hashed.
        """
        declared = settings(Protocol)
        content = {k: v for k, v in asdict(self).items() if declared[k].changes_values} | {"seed": seed}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


STANDARD_CONTROLS = ("shuffled", "without_bos", "random_init", "random_blocks", "matched_blocks")
"""Those of `standard`, which a request can add to any protocol."""

PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol(
            "quick",
            version=2,
            n_sequences=32,
            n_tokens=128,
            max_types=800,
            core_only=("one_per_word", "all_tokens"),
            n_readable=0,
        ),
        Protocol("standard", version=2, n_sequences=64, n_tokens=256, max_types=2000, passes=STANDARD_CONTROLS),
        Protocol(
            "thorough",
            version=2,
            n_sequences=64,
            n_tokens=256,
            max_types=2000,
            n_surrogates=19,
            passes=tuple(CONTROLS),
            n_control_seeds=39,
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
TITLES = {
    "quick": _("quick: 32 windows of 128 tokens, no controls"),
    "standard": _("standard: 64 windows of 256 tokens, with controls"),
    "thorough": _("thorough: standard with more texts, samples and estimators"),
    "last-token": _("last token of many short windows (arXiv 2405.15471)"),
    "per-prompt": _("all tokens of a prompt, averaged over prompts (arXiv 2501.10573)"),
}
"""Protocol -> its title on screens; kept out of the record, which every run stores in full."""


PURPOSES = {
    "quick": _("A first look. Without controls no claim can hold."),
    "standard": _("With controls, which tell whether a shape needs training."),
    "thorough": _("For a report: more samples, texts and estimators."),
}
"""Protocol -> its purpose, in plain words; the titles of the others say it."""


def core_only_clouds(protocol: Protocol, pass_: str) -> tuple[str, ...]:
    """Clouds of which a pass measures what verdicts compare and nothing else: the core specifications, and what its checks
    need. A control decides about a claim; it has no local dimensions, surrogates, distributions or pairs of layers."""
    return CORE_CLOUDS if PASSES[pass_].is_control else protocol.core_only


WINDOW_STRETCHES = 8
"""Jackknife blocks of neighbouring tokens within one window."""
DRAW = 0.25
"""What a draw of a control that judges takes of a pass on the text: its forward pass, and d2 alone (SmolLM2: 18 of 72 processor
seconds)."""


def n_control_passes(protocol: Protocol) -> int:
    """How many passes on the text take as long as the controls of one text and sample."""
    controls = [CONTROLS[key] for key in protocol.passes]
    return math.ceil(sum(DRAW * protocol.n_control_seeds if one.judges else 1 for one in controls))


def find_protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise InputError(unknown_name("protocol", name, PROTOCOLS))
    return PROTOCOLS[name]
