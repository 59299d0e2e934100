"""Tables of leaderboards: one row for each model, by column what it is and how it is meant."""

from __future__ import annotations

import csv
import io
import json

import polars as pl
import pytest

from core.scores.cells import Skip
from core.scores.layouts import LAYOUTS
from core.scores.leaderboards import model_cell
from core.scores.reader import read_scores
from core.warehouse.scores import REFERENCE
from tests.scores.files import TABLES, codes, read, read_json, read_text, row, skipped, taken

V2 = TABLES / "leaderboard_v2.csv"
V1 = TABLES / "leaderboard_v1.csv"
YI = "01-ai/Yi-1.5-34B"
TWICE = "AtAndDev/Qwen2.5-1.5B-continuous-learnt"
NO_SHA = "DoppelReflEx/MN-12B-Mimicore-WhiteSnake-v2-Experiment-2"
EARLY = (
    "t,model,average,ifeval,ifeval_raw,bbh,bbh_raw,math_lvl_5,math_lvl_5_raw,gpqa,gpqa_raw,musr,musr_raw,mmlupro,"
    "mmlupro_raw,precision,not_merged,available_on_the_hub,model_sha,flagged,moe,submission_date,chat_template,fullname\n"
    "x,org/a,30.0,40.0,0.4,30.0,0.5,10.0,0.1,5.0,0.3,6.0,0.4,20.0,0.28,bfloat16,TRUE,TRUE,abc,TRUE,FALSE,2024-06-12,TRUE,"
    "org/a\n"
)
CONTENTS = {
    "eval_name": "org_a_bfloat16",
    "Precision": "bfloat16",
    "Type": "chat",
    "Weight type": "Adapter",
    "Model": '<a target="_blank" href="https://example.org/org/a" style="color: red">org/a</a>',
    "fullname": "org/a",
    "Model sha": "abc",
    "Average ⬆️": 20.5,
    "Available on the hub": True,
    "MoE": False,
    "Flagged": True,
    "Chat Template": False,
    "IFEval Raw": 0.4,
    "IFEval": 40.0,
    "BBH Raw": 0.5,
    "BBH": 30.0,
    "MATH Lvl 5 Raw": 0.1,
    "MATH Lvl 5": 10.0,
    "GPQA Raw": 0.3,
    "GPQA": 6.7,
    "MUSR Raw": 0.4,
    "MUSR": 8.0,
    "MMLU-PRO Raw": 0.28,
    "MMLU-PRO": 20.0,
    "Merged": False,
    "Official Providers": True,
    "Submission Date": "2024-06-12",
}


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


def test_early_v2_export_has_inverted_flags_and_rounded_raw_values():
    found = read_text(EARLY)
    score = row(found, "mmlu_pro", "raw")
    assert score.value == pytest.approx(28.0) and score.flags == "moe" and score.chat_template is True
    assert set(codes(found)) >= {"flags_inverted", "rounded_to_two_digits"}


def test_contents_as_csv_and_parquet_are_the_same(tmp_path):
    path = tmp_path / "train.parquet"
    pl.DataFrame([CONTENTS]).write_parquet(path)
    from_parquet, from_csv = read(path), read_text(as_csv([CONTENTS]))
    assert from_parquet.format == from_csv.format == "leaderboard_contents"
    values = [
        [(s.benchmark, s.metric, s.value, s.flags, s.revision, s.chat_template) for s in taken(found)]
        for found in (from_parquet, from_csv)
    ]
    assert values[0] == values[1] and len(values[0]) == 13
    assert taken(from_csv)[0].flags == "flagged;official_provider;adapter"
    assert taken(from_csv)[0].source_row == "org_a_bfloat16"


def test_a_model_may_stand_as_an_html_link():
    without = {key: value for key, value in CONTENTS.items() if key != "fullname"} | {"fullname": ""}
    assert taken(read_text(as_csv([without])))[0].repository == "org/a"
    layout = next(layout for layout in LAYOUTS if layout.format == "leaderboard_contents")
    assert model_cell({"Model": "<b>org/a</b>"}, layout) == "<b>org/a</b>", "kept as text: the page escapes it"


def test_v1_has_the_names_shots_and_suite_of_our_reference_scores():
    found = read(V1)
    ours = pl.read_parquet(REFERENCE).filter(pl.col("suite") == "open_llm_leaderboard_v1")
    known = set(ours.select("suite", "benchmark", "metric", "n_shot").unique().iter_rows())
    imported = {(s.suite, s.benchmark, s.metric, s.n_shot) for s in taken(found)}
    assert known <= imported and found.format == "leaderboard_v1_csv"
    bloom = row(found, "arc_challenge", "acc_norm", model="bigscience/bloom-560m")
    published = ours.filter(model_id="bigscience/bloom-560m", benchmark="arc_challenge")["score"][0]
    assert bloom.value == pytest.approx(published, abs=0.051) and bloom.unit == "percent"


def test_v1_flags_are_inverted():
    """Of 7,169 rows 7,060 have TRUE in `flagged`; Mixtral has FALSE in `moe`, a merge FALSE in `merged`."""
    found = read(V1)
    assert row(found, "gsm8k", "acc", model="mistralai/Mixtral-8x22B-Instruct-v0.1").flags == "moe"
    assert row(found, "gsm8k", "acc", model="paloalma/Le_Triomphant-ECE-TW3").flags == "merged"
    contaminated = row(found, "gsm8k", "acc", model="Contamination/contaminated_proof_7b_v1.0").flags
    assert "flagged" in contaminated.split(";")
    assert row(found, "gsm8k", "acc", model="bigscience/bloom-560m").flags == ""
    assert "flags_inverted" in codes(found)


def test_v1_and_v2_never_share_a_suite():
    assert {s.suite for s in taken(read(V1))} & {s.suite for s in taken(read(V2))} == set()


def test_merged_table_has_arena_scores_with_an_error_from_their_interval():
    found = read(TABLES / "merged.csv")
    score = row(found, "lmarena", "arena_score", model="CohereForAI/aya-expanse-32b")
    assert (score.value, score.unit, score.n_samples, score.suite) == (1209.0, "elo", 28779, "lmarena_text")
    assert score.std_error == pytest.approx(3.5 / 1.96, rel=1e-3)
    assert (score.revision, score.dtype, score.source_row) == (None, None, None), "matched by name, not by revision"
    assert found.format == "leaderboard_merged_csv" and len(taken(found)) == 2 * 14


def test_arena_scores_beside_v1_are_read_too():
    one = rows_of(V1)[0] | {"model.y": "Mixtral-8x22b", "arena_score": "1148", "95_pct_ci": "+3/-3", "votes": "53751"}
    found = read_text(as_csv([one]))
    score = row(found, "lmarena", "arena_score")
    assert score.value == 1148.0 and score.repository == one["fullname"] and len(taken(found)) == 8
    assert [r.detail for r in found.rows[-1].remarks if r.code == "matched_by_name"] == ["Mixtral-8x22b"]


@pytest.mark.parametrize(("interval", "known"), [("+4/-3", True), ("", False), ("4-3", False), ("±3", False)])
def test_only_a_plain_interval_gives_an_error(interval, known):
    one = rows_of(TABLES / "merged.csv")[0] | {"95_pct_ci": interval}
    assert (row(read_text(as_csv([one])), "lmarena", "arena_score").std_error is not None) is known


def test_obs_scaling_is_recognised_as_what_ships_with_us():
    found = [*taken(read(TABLES / "obs_scaling_v1.csv")), *taken(read(TABLES / "obs_scaling_v2.csv"))]
    ours = pl.read_parquet(REFERENCE).filter(pl.col("suite").str.starts_with("obs_scaling"))
    shipped = {
        (r["model_id"], r["suite"], r["benchmark"], r["metric"], r["n_shot"]): r["score"]
        for r in ours.iter_rows(named=True)
    }
    mine = {(s.repository, s.suite, s.benchmark, s.metric, s.n_shot): s.value for s in found}
    both = mine.keys() & shipped.keys()
    assert len(both) >= 20 and all(mine[key] == pytest.approx(shipped[key], abs=1e-3) for key in both)
    assert {key[1:4] for key in mine} <= {key[1:4] for key in shipped}


def test_blank_cells_are_skipped_with_their_place():
    found = read(TABLES / "obs_scaling_v1.csv")
    assert skipped(found) == {"line 3 / XWinograd": "no_value", "line 3 / HumanEval": "no_value"}


def test_values_outside_percent_are_told():
    one = rows_of(V1)[0] | {"arc": "785.0", "mmlu": "-1"}
    remarked = [r.at for r in read_text(as_csv([one])).rows if "outside_percent" in codes(r)]
    assert remarked == ["line 2 / arc", "line 2 / mmlu"]


def test_a_row_without_model_skips_all_its_values():
    one = rows_of(V1)[0] | {"fullname": "", "model": " "}
    found = read_text(as_csv([one]))
    assert set(skipped(found).values()) == {"name_missing"} and taken(found) == []


def test_names_of_models_can_be_changed_by_the_user():
    found = read(V2, {YI: "01-ai/other"})
    assert row(found, "bbh", "raw", model="01-ai/other").value > 0


def test_layouts_are_told_apart_by_their_columns():
    for one in LAYOUTS:
        wider = [other for other in LAYOUTS if other.known_by < one.known_by]
        assert all(LAYOUTS.index(one) < LAYOUTS.index(other) for other in wider)
        assert one.known_by - {"model_name"} and {column.name for column in one.scores}


def test_skip_carries_its_reason():
    assert Skip("no_value", "x").remark.detail == "x"


def test_semicolons_and_decimal_commas_of_a_spreadsheet():
    text = V1.read_text(encoding="utf-8")
    rows = list(csv.reader(io.StringIO(text)))
    german = [[cell.replace(".", ",") if 1 < i < 9 else cell for i, cell in enumerate(r)] for r in rows]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=";").writerows(german)
    found = read_scores("v1.csv", out.getvalue().encode("utf-8-sig"))
    assert [s.value for s in taken(found)] == [s.value for s in taken(read(V1))]
    assert "separator" in codes(found) and "decimal_comma" in codes(found.rows[0])


def test_json_is_an_array_of_rows_and_nothing_else(tmp_path):
    text = json.dumps([nested(rows_of(V2)[0])])
    assert read_scores("anything.txt", text.encode()).format == "leaderboard_v2_json"
