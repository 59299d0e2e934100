"""Rows of results derived from a run's measurements: checks, claims, extrema, what controls show, and the summary."""

# No postponed annotations here: see core.tables.columns.
from dataclasses import dataclass
from typing import Annotated

from core.tables.columns import Column
from core.tables.measured import LAYER, N_POINTS, Cloud, EstimatorName, InnerRank, RunId, TransformName, listed

_Lower = Annotated[float | None, "Lower end of its 95 percent interval."]
_Upper = Annotated[float | None, "Upper end of its 95 percent interval."]
_SameUpper = Annotated[float | None, "Upper end of the same interval."]


@dataclass(frozen=True)
class RunCheckRow:
    run_id: RunId
    check_name: Annotated[str, Column(f"{listed('check')}.", values="check", key=True)]
    layer: Annotated[int | None, Column("Layer that was checked; NULL for the whole run.", key=True, is_layer=True)]
    value: Annotated[float | None, "What was found."]
    threshold: Annotated[float | None, "What it was held against."]
    outcome: Annotated[str, Column("pass, warn or veto.", values="outcome")]
    std_error: Annotated[float | None, "Paired error of value, where a check compares two estimates."] = None


_CLAIM = "rise: higher inside than at layer 0; fall: lower at the end than inside."


@dataclass(frozen=True)
class RunClaimRow:
    """One claim under one specification."""

    run_id: RunId
    claim: Annotated[str, Column(_CLAIM, values="claim", key=True)]
    cloud: Cloud
    estimator: EstimatorName
    transform: TransformName
    n1: InnerRank
    n2: Annotated[int | None, Column("Rank of the outer neighbour.", key=True)]
    seed: Annotated[int, "Seed of the run's draws."]
    is_core: Annotated[bool, "Whether the verdict rests on this specification."]
    ratio: Annotated[float | None, "Largest inner dimension over layer 0 (rise) or the end (fall)."]
    lower: Annotated[float | None, "Lower end of its 95 % interval, for all inner layers at once."]
    upper: _SameUpper
    outcome: Annotated[
        str, Column("yes (above 1.1), opposite (below 1/1.1), no, or cannot_tell.", values="claim_outcome")
    ]
    outcome_holm: Annotated[str | None, "The same, corrected for all core specifications (Holm); else NULL."]
    layer: Annotated[int | None, Column("Layer of the largest inner dimension.", is_layer=True)]


@dataclass(frozen=True)
class RunExtremumRow:
    """A local extremum of the d2 profile that stands out from its simultaneous band, or an end of the profile."""

    run_id: RunId
    cloud: Cloud
    kind: Annotated[str, Column("start, peak, valley or end.", values="extremum", key=True)]
    layer: Annotated[int, Column(LAYER, key=True, is_layer=True)]
    value: Annotated[float | None, "d2 there."]
    lower: Annotated[float | None, "Lower end of its 95 % interval, for all layers at once."]
    upper: _SameUpper


@dataclass(frozen=True)
class RunControlRow:
    """What one control run shows about one statement of the run that it controls (d2, one per type, centred)."""

    run_id: Annotated[str, Column("The run on text (runs.run_id).", key=True)]
    control_run_id: Annotated[str, Column("The control run (runs.run_id).", key=True)]
    claim: Annotated[
        str, Column(f"{_CLAIM} For shuffled and without_bos also inner_max and final.", values="claim", key=True)
    ]
    ratio: Annotated[
        float | None, "The text's ratio over the control's median; of inner_max and final, dimension over dimension."
    ]
    lower: Annotated[float | None, "Lower end of its 95 % interval, paired by blocks."]
    upper: _SameUpper
    power: Annotated[float | None, "Probability that a draw would have shown the text's ratio; NULL for effects."]
    outcome: Annotated[
        str,
        Column(
            "exceeded, shows_it, cannot_tell, no_power or not_usable; of effects same (within 10 %), "
            "differs, cannot_tell or not_usable.",
            values="control_outcome",
        ),
    ]
    n_seeds: Annotated[int | None, "Number of draws compared; NULL for effects."] = None
    p: Annotated[
        float | None, "Share of networks, the text's included, with at least the text's ratio; NULL for effects."
    ] = None


_Methods = Annotated[int | None, "Core specifications with a result on this claim."]
_Yes = Annotated[int | None, "How many of them say yes."]
_No = Annotated[int | None, "How many of them: ratio not above 1.1."]
_Reversed = Annotated[int | None, "How many of them: ratio below 1/1.1."]
_MedianRatio = Annotated[float | None, "Median of their ratios."]
_JointP = Annotated[float | None, "One-sided p that this median exceeds 1.1; NULL without block values."]
_EffectiveMethods = Annotated[float | None, "How many different curves they amount to; 1 if all alike."]


@dataclass(frozen=True)
class RunSummaryRow:
    run_id: RunId
    estimator: EstimatorName
    cloud: Cloud
    inner_max: Annotated[
        float | None, "Largest dimension of inner layers 1 to L-1: chosen on half of the windows, read on the other."
    ]
    inner_max_lower: _Lower
    inner_max_upper: _Upper
    inner_max_layer: Annotated[int | None, Column("Layer of the largest inner dimension.", is_layer=True)]
    lowest_layer: Annotated[int | None, Column("Layer of the smallest dimension, ends included.", is_layer=True)]
    lowest_dimension: Annotated[float | None, "Estimated dimension there."]
    working_dimension: Annotated[float | None, "inner_max where it exceeds both ends by 10 %; else NULL."]
    working_dimension_lower: _Lower
    working_dimension_upper: _Upper
    working_layer: Annotated[int | None, Column("Lower median of the working band.", is_layer=True)]
    working_layer_first: Annotated[int | None, Column("First layer of the working band.", is_layer=True)]
    working_layer_last: Annotated[int | None, Column("Last layer of the working band.", is_layer=True)]
    relative_depth: Annotated[float | None, "inner_max_layer / n_layers, 0 to 1."]
    embedding_dimension: Annotated[float | None, "Estimated dimension at layer 0."]
    embedding_dimension_lower: _Lower
    embedding_dimension_upper: _Upper
    final_dimension_pre_norm: Annotated[float | None, "Estimated dimension after the last block, before the norm."]
    final_dimension_pre_norm_lower: _Lower
    final_dimension_pre_norm_upper: _Upper
    final_dimension_post_norm: Annotated[float | None, "The same after the final norm; NULL without one."]
    final_dimension_post_norm_lower: _Lower
    final_dimension_post_norm_upper: _Upper
    expansion_ratio: Annotated[float | None, "inner_max / embedding_dimension."]
    expansion_ratio_lower: _Lower
    expansion_ratio_upper: _Upper
    contraction_ratio: Annotated[float | None, "inner_max / final_dimension_pre_norm."]
    contraction_ratio_lower: _Lower
    contraction_ratio_upper: _Upper
    contraction_ratio_post_norm: Annotated[float | None, "inner_max / final_dimension_post_norm."]
    verdict_rise: Annotated[
        str | None,
        Column(
            "It rises inside: holds, mostly_holds, depends, fails, unclear, invalid or untested.",
            values="claim_verdict",
        ),
    ]
    verdict_fall: Annotated[str | None, Column("It falls towards the end: likewise.", values="claim_verdict")]
    reasons_rise: Annotated[list[str], "Why verdict_rise is not simply holds."]
    reasons_fall: Annotated[list[str], "Why verdict_fall is not simply holds."]
    qualifiers: Annotated[list[str], "What limits all numbers: few_types, no_final_norm, check_warned, check_vetoed."]
    bits_per_byte: Annotated[
        float | None, Column("The model's loss on this text; NULL for encoders.", unit="bits per byte")
    ]
    n_points: Annotated[int, Column(N_POINTS)]
    control_run_ids: Annotated[list[str] | None, "Controls that the verdicts were judged with; NULL without."] = None
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
