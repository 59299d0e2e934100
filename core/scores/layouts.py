"""Define which columns of a leaderboard's table are scores, what they measure and how to read them.

Suites, benchmarks and metrics are named as in our reference scores, so that the same number from two places is
recognised as one. `raw` and `normalised` values of Open LLM Leaderboard v2 are two metrics: normalising subtracts
chance, for BBH and MUSR by subtask, so neither can be computed from the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

LEADERBOARD_V1 = "open_llm_leaderboard_v1"
LEADERBOARD_V2 = "open_llm_leaderboard_v2"
MEAN = "mean of benchmarks"


@dataclass(frozen=True)
class ScoreColumn:
    """A column of scores and what it measures."""

    name: str
    benchmark: str
    metric: str
    n_shot: int | None = None
    factor: float = 1.0
    """100 if the table has fractions and the suite is in percent."""
    unit: str = "percent"
    is_group: bool = False
    interval: str | None = None
    """Column with a 95 percent interval such as `+4/-3`."""
    count: str | None = None
    """Column with the number of answers behind the score."""
    suite: str | None = None
    """Set if it differs from the table's; such a score belongs to the model's name, not to one revision and dtype."""
    named: str = ""
    """Column with the model's name in that other suite."""


@dataclass(frozen=True)
class Layout:
    """A leaderboard's table: which columns hold what."""

    format: str
    suite: str
    known_by: frozenset[str]
    """Columns that a table must have to match this layout."""
    scores: tuple[ScoreColumn, ...]
    model: tuple[str, ...]
    """Columns with the model's name: the first one that is present and not blank is used."""
    sha: str | None = None
    dtype: str | None = None
    chat_template: str | None = None
    day: str | None = None
    row_id: tuple[str, ...] = ()
    """Column, or several columns together, that identify one of several rows of a model."""
    flags: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    """Column -> the flag, and the column's value for which the flag is set."""
    weights: str | None = None
    """Column that separates adapters and deltas, which are not complete models, from whole models."""
    remarks: tuple[str, ...] = ()


def _with_arena(layout: Layout, name_column: str) -> Layout:
    """The same table with columns of LMArena, joined by name by the author of the file."""
    arena = ScoreColumn(
        "arena_score",
        "lmarena",
        "arena_score",
        unit="elo",
        interval="95_pct_ci",
        count="votes",
        suite="lmarena_text",
        named=name_column,
    )
    known_by = layout.known_by | {"arena_score", name_column}
    return replace(layout, format="leaderboard_merged_csv", known_by=known_by, scores=(*layout.scores, arena))


_SHOTS_V2 = {"ifeval": 0, "bbh": 3, "math_lvl_5": 4, "gpqa": 0, "musr": 0, "mmlu_pro": 5}


def _of_v2(names: Mapping[str, tuple[str, str]], mean: str) -> tuple[ScoreColumn, ...]:
    """The score columns. `names`: benchmark -> its raw column (0 to 1) and its normalised one (0 to 100)."""
    columns = []
    for benchmark, (raw, normalised) in names.items():
        columns.append(ScoreColumn(raw, benchmark, "raw", _SHOTS_V2[benchmark], factor=100.0))
        columns.append(ScoreColumn(normalised, benchmark, "normalised", _SHOTS_V2[benchmark]))
    return (*columns, ScoreColumn(mean, "average", MEAN, is_group=True))


_FORMATTED = {name: name.removesuffix("_lvl_5") for name in _SHOTS_V2}
V2_FORMATTED = Layout(
    format="leaderboard_v2_csv",
    suite=LEADERBOARD_V2,
    known_by=frozenset({"model_name", "model_average_score", "evaluations_ifeval_value"}),
    scores=_of_v2(
        {
            benchmark: (f"evaluations_{key}_value", f"evaluations_{key}_normalized_score")
            for benchmark, key in _FORMATTED.items()
        },
        "model_average_score",
    ),
    model=("model_name",),
    sha="model_sha",
    dtype="model_precision",
    weights="model_weight_type",
    chat_template="model_has_chat_template",
    day="metadata_submission_date",
    row_id=("id",),
    flags={
        # The export fills this column from "Available on the hub": it says the opposite of its name.
        "features_is_not_available_on_hub": ("not_on_hub", False),
        "features_is_merged": ("merged", True),
        "features_is_moe": ("moe", True),
        "features_is_flagged": ("flagged", True),
        "features_is_official_provider": ("official_provider", True),
        "features_is_highlighted_by_maintainer": ("official_provider", True),
    },
    remarks=("availability_inverted",),
)
V2_EARLY = Layout(
    format="leaderboard_v2_csv",
    suite=LEADERBOARD_V2,
    known_by=frozenset({"fullname", "average", "ifeval", "ifeval_raw", "bbh_raw"}),
    scores=_of_v2(
        {
            **{name: (f"{name}_raw", name) for name in ("ifeval", "bbh", "math_lvl_5", "gpqa", "musr")},
            "mmlu_pro": ("mmlupro_raw", "mmlupro"),
        },
        "average",
    ),
    model=("fullname", "model"),
    sha="model_sha",
    dtype="precision",
    weights="weight_type",
    chat_template="chat_template",
    day="submission_date",
    row_id=("fullname", "precision", "model_sha", "chat_template"),
    flags={
        "available_on_the_hub": ("not_on_hub", False),
        "not_merged": ("merged", False),
        # TRUE on nearly all rows and FALSE on Mixtral: the opposite of their names, as in v1.
        "flagged": ("flagged", False),
        "moe": ("moe", False),
        "maintainers_highlight": ("official_provider", True),
        "official_providers": ("official_provider", True),
    },
    remarks=("flags_inverted", "rounded_to_two_digits"),
)
_TITLES = {
    "ifeval": "IFEval",
    "bbh": "BBH",
    "math_lvl_5": "MATH Lvl 5",
    "gpqa": "GPQA",
    "musr": "MUSR",
    "mmlu_pro": "MMLU-PRO",
}
CONTENTS = Layout(
    format="leaderboard_contents",
    suite=LEADERBOARD_V2,
    known_by=frozenset({"eval_name", "fullname", "IFEval", "IFEval Raw"}),
    scores=_of_v2({benchmark: (f"{title} Raw", title) for benchmark, title in _TITLES.items()}, "Average ⬆️"),
    model=("fullname", "Model"),
    sha="Model sha",
    dtype="Precision",
    weights="Weight type",
    chat_template="Chat Template",
    day="Submission Date",
    row_id=("eval_name",),
    flags={
        "Available on the hub": ("not_on_hub", False),
        "Merged": ("merged", True),
        "MoE": ("moe", True),
        "Flagged": ("flagged", True),
        "Official Providers": ("official_provider", True),
    },
)
V1 = Layout(
    format="leaderboard_v1_csv",
    suite=LEADERBOARD_V1,
    known_by=frozenset({"fullname", "average", "arc", "hellaswag", "truthfulqa"}),
    scores=(
        ScoreColumn("arc", "arc_challenge", "acc_norm", 25),
        ScoreColumn("hellaswag", "hellaswag", "acc_norm", 10),
        ScoreColumn("mmlu", "mmlu", "acc", 5),
        ScoreColumn("truthfulqa", "truthfulqa_mc2", "mc2", 0),
        ScoreColumn("winogrande", "winogrande", "acc", 5),
        ScoreColumn("gsm8k", "gsm8k", "acc", 5),
        ScoreColumn("average", "average", MEAN, is_group=True),
    ),
    model=("fullname", "model"),
    sha="model_sha",
    dtype="precision",
    weights="weight_type",
    day="date",
    row_id=("fullname", "precision", "model_sha"),
    flags={
        "available_on_the_hub": ("not_on_hub", False),
        # Of 7,169 rows 7,060 are TRUE in `flagged` and 6,606 in `moe`, Mixtral models mostly FALSE.
        "flagged": ("flagged", False),
        "moe": ("moe", False),
        "merged": ("merged", False),
    },
    remarks=("flags_inverted",),
)
OBS_SCALING_V1 = Layout(
    format="obs_scaling_csv",
    suite="obs_scaling_v1",
    known_by=frozenset({"Model", "ARC-C", "HellaSwag", "Winograd", "TruthfulQA", "XWinograd"}),
    scores=(
        ScoreColumn("MMLU", "mmlu", "acc", 5, factor=100.0),
        ScoreColumn("ARC-C", "arc_challenge", "acc_norm", 25, factor=100.0),
        ScoreColumn("HellaSwag", "hellaswag", "acc_norm", 10, factor=100.0),
        ScoreColumn("Winograd", "winogrande", "acc", 5, factor=100.0),
        ScoreColumn("TruthfulQA", "truthfulqa_mc2", "mc2", 0, factor=100.0),
        ScoreColumn("GSM8K", "gsm8k", "acc", 5, factor=100.0),
        ScoreColumn("XWinograd", "xwinograd", "acc", None, factor=100.0),
        ScoreColumn("HumanEval", "humaneval", "pass@1", 0, factor=100.0),
    ),
    model=("Model",),
)
OBS_SCALING_V2 = Layout(
    format="obs_scaling_csv",
    suite="obs_scaling_v2",
    known_by=frozenset({"Model", "leaderboard_bbh", "leaderboard_musr"}),
    scores=tuple(
        ScoreColumn(f"leaderboard_{name}", benchmark, "raw", _SHOTS_V2[benchmark], factor=100.0)
        for benchmark, name in {**{key: key for key in _SHOTS_V2}, "math_lvl_5": "math_hard"}.items()
    ),
    model=("Model",),
)
LAYOUTS = (
    _with_arena(V2_FORMATTED, "model"),
    _with_arena(V1, "model.y"),
    V2_FORMATTED,
    CONTENTS,
    V2_EARLY,
    V1,
    OBS_SCALING_V1,
    OBS_SCALING_V2,
)
"""The more specific layouts come first."""
