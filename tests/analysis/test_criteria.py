"""Criteria: costs against arithmetic; nothing but the assumptions enters."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from core.analysis.criteria import choice_context, estimate_costs, resolve_criteria
from core.pilots.saved import Assumptions, Criterion
from tests import frames

RUNS = pl.DataFrame(
    {
        "run_id": ["1", "2"],
        "model_id": ["a@1", "b@1"],
        "reference": ["a", "b"],
        "name": ["A", "B"],
        "kind": ["decoder", "encoder"],
        "parameters": [1_000_000, 2_000_000],
        "hidden_size": [64, 128],
        "key_value_size": [None, None],
        "n_layers": [10, 12],
        "inner_max": [40.0, 60.0],
        "final_dimension_pre_norm": [10.0, 12.0],
    }
)


SPEEDS = pl.DataFrame(
    {"run_id": ["1", "2"], "n_tokens": [4096, 4096], "forward_seconds": [2.0, None], "device": ["cpu", "cpu"]},
    schema={"run_id": pl.String, "n_tokens": pl.Int64, "forward_seconds": pl.Float64, "device": pl.String},
)


def test_a_cost_is_what_its_assumptions_make_it():
    assumed = Assumptions(
        bits=8.0, cache_bits=16.0, cache_share=0.25, context_tokens=1000, requests=4, overhead=0.5,
        tokens_per_month=7_372_800, utilisation=0.5, price_per_hour=3.0,
    )  # fmt: skip
    a, b = estimate_costs(RUNS, SPEEDS, assumed).values()
    assert a.weight_bytes == (4e6, 2e6, 1e6, 5e5)
    assert a.cache_bytes == 2 * 10 * 64 * 0.25 * 2 * 1000 * 4
    assert a.memory_bytes == (1e6 + a.cache_bytes) * 1.5
    assert (a.tokens_per_second, a.speed_from, a.device) == (2048, "measured", "cpu")
    assert a.hours == 2.0 and a.price == 6.0 and a.machines == 1  # 3,600 s of reading, half of the hours
    assert (b.cache_bytes, b.tokens_per_second, b.hours, b.price) == (0, None, None, None)
    known = estimate_costs(RUNS.with_columns(key_value_size=pl.lit(24)), SPEEDS, assumed)["1"]
    assert known.cache_bytes == 2 * 10 * 24 * 2 * 1000 * 4 and known.is_cache_known and not a.is_cache_known
    own = estimate_costs(RUNS, SPEEDS, replace(assumed, speeds={"b": 1.0}, tokens_per_month=3600 * 1000))["2"]
    assert (own.speed_from, own.hours, own.machines) == ("own", 2000.0, 3)
    assert estimate_costs(RUNS, SPEEDS, replace(assumed, price_per_hour=None))["1"].price is None


def test_a_dimension_never_enters_a_cost():
    other = RUNS.with_columns(inner_max=pl.lit(1.0), final_dimension_pre_norm=pl.lit(999.0))
    without = RUNS.drop("inner_max", "final_dimension_pre_norm")
    assert (
        estimate_costs(RUNS, SPEEDS, Assumptions())
        == estimate_costs(other, SPEEDS, Assumptions())
        == estimate_costs(without, SPEEDS, Assumptions())
    )


def test_the_better_end_of_a_score_is_what_its_sources_say_and_unknown_where_they_do_not():
    runs = frames.runs(frames.Model("a"), frames.Model("b"))

    def direction(*stated: bool | None, way: str | None = None) -> tuple[bool, bool]:
        rows = [
            frames.score(f"hub:{name}", 1.0, higher_is_better=says) for name, says in zip("ab", stated, strict=True)
        ]
        context = choice_context(runs, frames.scores(*rows), SPEEDS, Assumptions())
        (found,) = resolve_criteria([Criterion("score", direction=way)], context, None)
        return found.higher_is_better, found.is_direction_known

    assert direction(True, None) == (True, True) and direction(False, False) == (False, True)
    assert not direction(None, None)[1] and not direction(True, False)[1]
    assert direction(None, None, way="lower") == (False, True)
