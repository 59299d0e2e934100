"""Tables of leaderboards: one row for each model, by column what it is and how it is meant."""

from __future__ import annotations

import csv
import io
import json

import polars as pl
import pytest

from core.scores.reader import read_scores
from core.scores.score_rows import Skip
from core.warehouse.schema import BENCHMARKS
from tests.scores.files import TABLES, codes, read, read_json, read_text, row, skipped, taken

V2 = TABLES / "leaderboard_v2.csv"
YI = "01-ai/Yi-1.5-34B"
TWICE = "AtAndDev/Qwen2.5-1.5B-continuous-learnt"
NO_SHA = "DoppelReflEx/MN-12B-Mimicore-WhiteSnake-v2-Experiment-2"


def as_csv(rows):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def rows_of(path):
    return list(csv.DictReader(path.open(encoding="utf-8", newline="")))


def nested(row):
    """A row of the CSV as the JSON that it was flattened from."""
    entry = {"id": row["id"], "model": {}, "evaluations": {}, "features": {}, "metadata": {}}
    for name, value in row.items():
        section, _, key = name.partition("_")
        if section == "evaluations":
            benchmark, _, kind = key.removesuffix("_normalized_score").removesuffix("_value").partition("_name")
            kind = "name" if name.endswith("_name") else "value" if name.endswith("_value") else "normalized_score"
            entry[section].setdefault(benchmark, {})[kind] = value if kind == "name" else float(value)
        elif section in entry and key:
            entry[section][key] = {"TRUE": True, "FALSE": False}.get(value, value)
    entry["model"]["average_score"] = float(row["model_average_score"])
    return entry


def test_v2_gives_thirteen_values_a_row():
    found = read(V2)
    assert found.format == "leaderboard_v2_csv" and len(taken(found)) == 13 * len(rows_of(V2))
    assert {s.benchmark for s in taken(found)} == {"ifeval", "bbh", "math_lvl_5", "gpqa", "musr", "mmlu_pro", "average"}


def test_raw_and_normalised_are_two_metrics_of_one_suite():
    found = read(V2)
    raw, normalised = (row(found, "gpqa", metric, model=YI) for metric in ("raw", "normalised"))
    assert (raw.value, normalised.value) == (pytest.approx(36.5771812), pytest.approx(15.4362416))
    assert raw.suite == normalised.suite == "open_llm_leaderboard_v2" and raw.unit == normalised.unit == "percent"
    assert normalised.value == pytest.approx((raw.value - 25) / 75 * 100)


@pytest.mark.parametrize(
    ("benchmark", "shots"), [("ifeval", 0), ("bbh", 3), ("math_lvl_5", 4), ("gpqa", 0), ("musr", 0), ("mmlu_pro", 5)]
)
def test_v2_shots(benchmark, shots):
    assert row(read(V2), benchmark, "raw", model=YI).n_shot == shots


def test_the_average_is_the_mean_of_the_six_and_is_marked():
    found = read(V2)
    average = row(found, "average", "mean of benchmarks", model=YI)
    six = [s.value for s in taken(found) if s.metric == "normalised" and s.repository == YI]
    assert average.is_group and average.value == pytest.approx(sum(six) / 6, abs=1e-9)
    assert not any(s.is_group for s in taken(found) if s.benchmark != "average")


def test_two_rows_of_one_model_are_told_apart():
    scores = [s for s in taken(read(V2)) if s.repository == TWICE and (s.benchmark, s.metric) == ("bbh", "raw")]
    assert {s.dtype for s in scores} == {"float16", "bfloat16"} and len({s.source_row for s in scores}) == 2
    assert all(s.source_row.startswith(TWICE) and s.chat_template is True for s in scores)


def test_a_blank_sha_is_null_and_told():
    found = read(V2)
    proposed = next(r for r in found.rows if r.model == NO_SHA)
    assert proposed.score.revision is None and "no_revision" in codes(proposed)
    assert row(found, "bbh", "raw", model=YI).revision == "4b486f81c935a2dadde84c6baa1e1370d40a098f"


def test_availability_says_the_contrary_of_its_name():
    """TRUE in `is_not_available_on_hub` is a model that can be had, such as Yi-1.5-34B."""
    found = read(V2)
    assert "not_on_hub" not in row(found, "bbh", "raw", model=YI).flags
    assert "availability_inverted" in codes(found)
    rows = [r | {"features_is_not_available_on_hub": "FALSE"} for r in rows_of(V2)[:1]]
    assert taken(read_text(as_csv(rows)))[0].flags == "not_on_hub;official_provider"


def test_merged_moe_flagged_and_adapters_are_flags():
    one = rows_of(V2)[0] | {"features_is_merged": "TRUE", "features_is_moe": "true", "features_is_flagged": "1"}
    flags = taken(read_text(as_csv([one | {"model_weight_type": "Adapter"}])))[0].flags
    assert flags.split(";") == ["merged", "moe", "flagged", "official_provider", "adapter"]


def test_no_error_no_count_and_the_day_of_submission():
    score = row(read(V2), "bbh", "raw", model=YI)
    assert (score.std_error, score.n_samples, score.as_of, score.filter) == (None, None, "2024-06-12", "not stated")
    assert score.higher_is_better is True and score.licence == "not stated"


def test_json_gives_the_same_scores_as_csv():
    found = read_json([nested(r) for r in rows_of(V2)])
    assert found.format == "leaderboard_v2_json"

    def known(scores):
        return {(s.source_row, s.benchmark, s.metric, s.value, s.revision, s.flags, s.dtype, s.as_of) for s in scores}

    assert known(taken(found)) == known(taken(read(V2)))


def test_json_with_wrong_types_is_skipped_value_by_value():
    entry = nested(rows_of(V2)[0])
    entry["evaluations"]["bbh"] = {"value": "high", "normalized_score": [1]}
    entry["evaluations"]["gpqa"] = None
    found = read_json([entry, 7, {"model": "x"}, None])
    why = skipped(found)
    assert why["entry 1 / evaluations_bbh_value"] == "not_a_number"
    assert why["entry 1 / evaluations_bbh_normalized_score"] == "not_a_number"
    assert why["entry 1 / evaluations_gpqa_value"] == "no_value"
    assert why["entry 2"] == why["entry 4"] == "not_a_task" and why["entry 3 / evaluations_ifeval_value"] == "no_value"


def test_front_end_has_another_name_for_official_providers():
    entry = nested(rows_of(V2)[0])
    entry["features"] = {"is_highlighted_by_maintainer": True, "is_not_available_on_hub": True}
    assert taken(read_json([entry]))[0].flags == "official_provider"


def test_values_outside_percent_are_told():
    one = rows_of(V2)[0] | {"evaluations_bbh_normalized_score": "785.0", "evaluations_gpqa_normalized_score": "-1"}
    remarked = [r.at for r in read_text(as_csv([one])).rows if "outside_percent" in codes(r)]
    assert remarked == ["line 2 / evaluations_bbh_normalized_score", "line 2 / evaluations_gpqa_normalized_score"]


def test_a_row_without_model_skips_all_its_values():
    found = read_text(as_csv([rows_of(V2)[0] | {"model_name": " "}]))
    assert set(skipped(found).values()) == {"name_missing"} and taken(found) == []


def test_the_suite_has_the_names_and_shots_of_our_reference_scores():
    ours = pl.read_parquet(BENCHMARKS).filter(pl.col("suite") == "open_llm_leaderboard_v2")
    known = set(ours.select("suite", "benchmark", "metric", "n_shot").unique().iter_rows())
    assert known <= {(s.suite, s.benchmark, s.metric, s.n_shot) for s in taken(read(V2))}


def test_names_of_models_can_be_changed_by_the_user():
    found = read(V2, {YI: "01-ai/other"})
    assert row(found, "bbh", "raw", model="01-ai/other").value > 0


def test_skip_carries_its_reason():
    assert Skip("no_value", "x").remark.detail == "x"


def test_semicolons_and_decimal_commas_of_a_spreadsheet():
    rows = rows_of(V2)
    scores = [name for name in rows[0] if name.startswith("evaluations_") and not name.endswith("_name")]
    german = [row | {name: row[name].replace(".", ",") for name in [*scores, "model_average_score"]} for row in rows]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(german)
    found = read_scores("v2.csv", out.getvalue().encode("utf-8-sig"))
    assert [s.value for s in taken(found)] == [s.value for s in taken(read(V2))]
    assert "separator" in codes(found) and "decimal_comma" in codes(found.rows[0])


def test_json_is_an_array_of_rows_and_nothing_else(tmp_path):
    text = json.dumps([nested(rows_of(V2)[0])])
    assert read_scores("anything.txt", text.encode()).format == "leaderboard_v2_json"
