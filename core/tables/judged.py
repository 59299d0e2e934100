"""Rows of results derived from a run's measurements: checks, claims, extrema, what controls show, and the summary."""

# No postponed annotations here: see core.tables.columns.
from dataclasses import dataclass
from typing import Annotated

from core.tables.columns import Column
from core.tables.measured import LAYER, Cloud, EstimatorName, InnerRank, RunId, TransformName

Interval = Annotated[float | None, "95 % interval."]
_Band = Annotated[float | None, "95 % interval, for all layers at once."]


@dataclass(frozen=True)
class RunCheckRow:
    run_id: RunId
    check_name: Annotated[str, Column(values="check", key=True)]
    layer: Annotated[int | None, Column("NULL for the whole run.", key=True, is_layer=True)]
    value: Annotated[float | None, ""]
    threshold: Annotated[float | None, "What it was held against."]
    outcome: Annotated[str, Column(values="outcome")]
    std_error: Annotated[float | None, "Where a check compares two estimates."] = None


_CLAIM = "rise: higher inside than at layer 0; fall: lower at the end."


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
    seed: Annotated[int, ""]
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
    claim: Annotated[str, Column(_CLAIM, values="claim", key=True)]
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
    lowest_dimension: Annotated[float | None, ""]
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
    n_points: Annotated[int, ""]
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
