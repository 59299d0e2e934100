"""Named protocols: everything that changes a measured value, fixed under one name.

Their thresholds were frozen on SmolLM2-135M alone; docs/accuracy.md lists them, and what was tried before.

Runs store a protocol and a request as JSON, and screens name their fields: `Setting` declares both. No postponed
annotations here: the declarations are read from them.
"""

import hashlib
import json
import typing
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Annotated

from core.errors import InputError, unknown_name
from core.registry.passes import CONTROLS


@dataclass(frozen=True)
class Setting:
    """What is said of a field, in `Annotated[int, Setting(_("windows asked for"))]`."""

    screen: str
    """Name on screen: the English message of the catalogues."""
    section: str = ""
    """Section of the record of a run, where it is not the usual one of such fields."""
    unit: str = ""
    changes_values: bool = True
    """Whether another setting gives other values, so that runs must share it to be compared."""


@cache
def settings(record_class: type) -> dict[str, Setting]:
    """Field -> what is declared of it. The class is declared without postponed annotations."""
    return {f.name: typing.get_args(f.type)[1] for f in fields(record_class)}


def _(message: str) -> str:
    """Marks a message for the catalogues; it is translated when a reader's language is known."""
    return message


@dataclass(frozen=True)
class Protocol:
    """Everything that changes a measured value, apart from the model, the text and the seed; and what else is run."""

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
    """`tokenizer`: a window opens as the tokenizer opens a text. Position 0 is read by the model and never measured."""
    norm_factor: Annotated[float, Setting(_("limit of the norm (times the layer's median)"))] = 3.0
    """Tokens with a norm above this multiple of the layer median are masked on all layers."""
    n_draws: Annotated[int, Setting(_("draws that d2 is averaged over"))] = 5
    """Permutations that d2 is averaged over; neighbour estimators use the first."""
    n_blocks: Annotated[int, Setting(_("blocks of the jackknife"))] = 16
    """Blocks of neighbouring windows for the delete-one jackknife."""
    n_half_splits: Annotated[int, Setting(_("half-splits"))] = 20
    """Half-splits of the sequences that choose the layer of the largest inner dimension."""
    n_surrogates: Annotated[int, Setting(_("Gaussian surrogates per layer"), changes_values=False)] = 2
    """Gaussian clouds of equal covariance that GRIDE is compared with at each layer."""
    clouds: Annotated[tuple[str, ...], Setting(_("clouds"))] = ("one_per_type", "one_per_word", "all_tokens")
    """Which clouds are measured; `one_per_type` must be among them for a verdict."""
    algorithm: Annotated[int, Setting(_("version of the algorithm"))] = 4
    """Raised whenever the code changes a value that this record does not describe."""
    passes: Annotated[tuple[str, ...], Setting(_("control passes"), changes_values=False)] = ()
    """Control passes that belong to it: keys of `core.registry.passes.CONTROLS`."""
    n_random_models: Annotated[int, Setting(_("random models"), changes_values=False)] = 2
    """Seeds of each control whose weights are drawn at random."""
    more_seeds: Annotated[tuple[int, ...], Setting(_("further seeds"), changes_values=False)] = ()
    """Further draws of the text that a whole measurement takes, each a run of its own."""
    more_corpora: Annotated[tuple[str, ...], Setting(_("further texts"), changes_values=False)] = ()
    """Further texts that a whole measurement takes."""
    more_estimators: Annotated[tuple[str, ...], Setting(_("further estimators"), changes_values=False)] = ()
    """Estimators of the registry that are run on `one_per_type` besides the usual ones."""
    source: Annotated[str, Setting(_("publication"), changes_values=False)] = ""
    """The publication whose statistic it reruns."""

    def hash(self, seed: int) -> str:
        """Twelve hex digits that two runs must share before their numbers are compared.

        What is run besides (control passes, surrogates, further texts and estimators) changes none of the values that
        are compared and is left out.
        """
        declared = settings(Protocol)
        content = {k: v for k, v in asdict(self).items() if declared[k].changes_values} | {"seed": seed}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol("quick", version=2, n_sequences=32, n_tokens=128, max_types=800),
        Protocol("standard", version=2, n_sequences=64, n_tokens=256, max_types=2000, passes=tuple(CONTROLS)),
        Protocol(
            "thorough",
            version=2,
            n_sequences=64,
            n_tokens=256,
            max_types=2000,
            n_surrogates=19,
            passes=tuple(CONTROLS),
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
TITLES = {
    "quick": _("quick: 32 windows of 128 tokens, no controls"),
    "standard": _("standard: 64 windows of 256 tokens, with controls"),
    "thorough": _("thorough: standard with more texts, samples and estimators"),
    "last-token": _("last token of many short windows, as in arXiv 2405.15471"),
    "per-prompt": _("all tokens of one prompt, averaged over prompts, as in arXiv 2501.10573"),
}
"""Protocol -> what it is called on screens: not in the record, which every run stores whole."""


PURPOSES = {
    "quick": _("A first look at shape and dimensions. Without controls, so that no verdict can be robust."),
    "standard": _("To rely on: with all controls, without which a shape may need no training."),
    "thorough": _("For a report: further samples, texts and estimators, each with all controls."),
    "last-token": _("To hold against what is published on the last token of many short texts."),
    "per-prompt": _("To hold against what is published on all tokens of a prompt."),
}
"""Protocol -> what it is for, in plain words."""


def n_tokens_read(protocol: Protocol) -> int:
    """Tokens that all passes of a whole measurement read, on all its texts and samples; what its time grows with."""
    passes = 1 + sum(CONTROLS[key].n_seeds(protocol.n_random_models) for key in protocol.passes)
    samples = 1 + len(protocol.more_seeds) + len(protocol.more_corpora)
    return protocol.n_sequences * protocol.n_tokens * passes * samples


def find_protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise InputError(unknown_name("protocol", name, PROTOCOLS))
    return PROTOCOLS[name]
