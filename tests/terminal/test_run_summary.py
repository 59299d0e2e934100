"""What the command line prints: the answer in about ten lines, then every number with what it depends on."""

import re
from dataclasses import replace

import pytest

from core import wording
from core.registry.protocols import SPECIFICATIONS
from core.tables import LayerCorrelatorRow, RunCheckRow
from core.terminal.output import say
from core.terminal.run_details import answer_lines, more_lines, next_lines, result_lines, run_details
from core.terminal.tables import runs_table
from core.warehouse import queries
from core.warehouse.runs import read_profile
from core.warehouse.warehouse import Warehouse
from tests import frames
from tests.frames import Model
from tests.profiles import make_controls, make_model, make_profile, with_controls
from tests.screens import add_run


def told(profile=None, controls=()) -> str:
    profile = profile or make_profile()
    return "\n".join([*answer_lines(profile), *result_lines(profile, controls), *more_lines(profile, controls)])


def judged(profile, **changes):
    """The same profile with another primary summary."""
    first, *others = profile.summaries
    return replace(profile, summaries=[replace(first, **changes), *others])


def line_with(text: str, said: str) -> str:
    return next(line for line in said.splitlines() if text in line)


def test_no_line_is_longer_than_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    profile = judged(
        make_profile(model=make_model("x" * 90 + "@1", base_repository="o/" + "b" * 40, base_relation="tuned " * 9)),
        reasons_rise=[f"axis_{one.axis}" for one in SPECIFICATIONS if one.is_core and one.axis],
        qualifiers=["check_vetoed", "few_types", "no_final_norm"],
    )
    controls = make_controls(profile, 5)
    profile = with_controls(profile, controls)
    say(*answer_lines(profile), *result_lines(profile, controls), *more_lines(profile))
    said = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in said if "x" * 90 not in line) <= 80
    assert len(said) < 100  # of the longest names and reasons that there are


def test_the_answer_comes_first_in_ten_lines():
    profile = with_controls(make_profile(), make_controls(make_profile(), 5))
    answer = answer_lines(profile)
    said = " ".join(" ".join(answer).split())
    assert "d2 50.0 [" in said[:80] and "] at the start, 100 [90, 110] at most inside, 20.0 [" in said
    labels = [line[2:16].strip() for line in answer[1:]]
    assert labels == ["rises", "falls", "controls", "checks", "loss", "cost"]
    (line,) = next_lines(profile)
    assert [command.split()[1] for command in line.split("`")[1::2]] == ["runs", "app"]
    assert len(answer) <= 9 and len(result_lines(profile)) <= 50


def test_what_blocks_do_is_told_beside_what_chance_gives():
    said = told()
    assert line_with("0 to 1", said).split()[:4] == ["layers", "0", "to", "1"]
    of_first = [line_with(f"    {name} ", said).split() for name in ("autocorr.", "kept", "removed", "added")]
    assert [cells[1] for cells in of_first] == ["0.0300±0.01", "1.50±0.06", "48.5±2", "48.5±2"]
    assert [line_with(f"    {name} ", said).split()[-1] for name in ("kept", "overlap", "CKA")] == [
        "0.0100±0.5",
        "0.0100",
        "0±0.002",
    ]


def test_the_loss_readable_at_a_layer_is_told_with_what_it_is_not():
    profile = make_profile()
    rows = [
        LayerCorrelatorRow(profile.run.run_id, layer, "residual", "predicted", "readable_loss", 5.0 - layer, 0.1, 512)
        for layer in range(profile.model.n_layers + 1)
    ]
    said = " ".join("\n".join(result_lines(replace(profile, correlators=[*profile.correlators, *rows]))).split())
    assert "Readable loss, in nats: 4.00 ± 0.1 where the dimension is largest (layer 1), 1.00 ± 0.1 at the end." in said
    assert "by their coordinates" in said and "Readable loss" not in told()


def test_the_largest_norm_is_told_with_its_place():
    said = told()
    largest = r"largest norm 140 times the median, at layer [123], \d+ such tokens there, \d+ % at"
    assert re.search(largest, " ".join(said.split()))


def test_the_largest_norm_is_looked_for_where_the_mask_looks():
    profile = make_profile()
    rows = [
        replace(row, value=500.0) if (row.correlator, row.layer) == ("large_norm_ratio", 4) else row
        for row in profile.correlators
    ]
    assert "at layer 4" not in line_with("largest norm", told(replace(profile, correlators=rows)))


def test_the_gaussian_equivalent_is_a_range_over_the_ranks_and_none_is_made_up():
    profile = make_profile()
    missing = [replace(row, gaussian_equivalent=None) for row in profile.estimates]
    assert "Gaussian equivalent" not in told(replace(profile, estimates=missing))
    known = [
        replace(row, gaussian_equivalent=6.0 + row.n1)
        if row.n1 and row.n1 < 32
        else replace(row, gaussian_equivalent=None)
        for row in profile.estimates
    ]
    said = line_with("Gaussian equivalent", told(replace(profile, estimates=known)))
    assert said.endswith("Gaussian equivalent of GRIDE: 7.00 to 22.0 for n1=1 to 16")


def test_dimensions_stand_with_estimator_size_interval_and_band():
    said = told()
    assert "estimated dimension (d2, one token per type, N=800), 95 % intervals" in said
    assert "100 [90, 110]" in line_with("working  ", said)
    assert "layers 1–2 of 4; read at layer 1" in line_with("working  ", said)
    assert line_with("largest inner", said).split("  ")[-1].strip() == "layer 1 of 4"
    assert "profile start 50.0 at layer 0, peak 100 at layer 1, end 20.0 at layer 4" in " ".join(said.split())
    assert "intrinsic" not in said and "better" not in said


def test_without_an_inner_peak_no_working_dimension_is_printed():
    none = dict.fromkeys(("working_dimension", "working_dimension_lower", "working_dimension_upper"))
    said = told(judged(make_profile(), **none, lowest_layer=2, lowest_dimension=4.05))
    assert line_with("working  ", said).split(maxsplit=1)[1] == "no inner peak; lowest at layer 2 (4.05)"


def test_dominant_coordinates_stand_below_the_profile_that_they_shape():
    profile = make_profile()
    share = replace(profile.correlators[0], layer=2, correlator="top_coordinates_3", value=0.7, cloud="one_per_type")
    lines = told(replace(profile, correlators=[*profile.correlators, share])).splitlines()
    below = next(number for number, line in enumerate(lines) if line.startswith("    profile  ")) + 1
    while not lines[below].startswith("    dominant"):
        assert not lines[below].startswith("  across")
        below += 1
    assert lines[below].split(maxsplit=1)[1].startswith("three coordinates hold half of the variance or more")
    assert "dominant  " not in told(profile)


def test_claims_stand_line_by_line_and_the_final_dimension_against_ten():
    said = told()
    rises, falls = said[said.index("rises, by") :].split("falls, by")
    core = [one for one in SPECIFICATIONS if one.is_core]
    assert len(rises.splitlines()) == len(core) + 2
    assert rises.splitlines()[1].strip().split("  ")[0] == "d2, one per type"
    assert "● 2.00 [1.90, 2.10]" in line_with("d2, one per type ", rises)
    assert "● 4.00 [3.81, 4.20]" in line_with("d2, one per type ", falls)
    assert "▼ 0.600" in line_with("three leading", rises)
    assert "effective rank" not in said
    assert "core specifications: " in line_with("final dimension under", said)
    without = replace(make_profile(), claims=[])
    assert "by specification" not in told(without)


def test_the_words_of_other_tokenizers_have_lines_of_their_own():
    said = told()
    assert "across tokenizers (d2, one point per word, N=800 of 900 words)" in said
    assert "12 (beyond the tokens read, or masked)" in line_with("occurrences lost", said)
    without = replace(make_profile(), summaries=make_profile().summaries[:1])
    assert "across tokenizers" not in told(without)


@pytest.mark.parametrize(
    ("scan", "said"),
    [
        ([4.5, 6.2, 11.7, 19.7, 21.1, 21.4], "GRIDE levels off at 19.7 (n1=8, n2=16)"),
        ([4.5, 6.2, 11.7, 19.7, 30.0, 40.0], "GRIDE does not level off: 4.50 to 40.0 for n1=1 to 32"),
    ],
)
def test_the_scan_is_read_at_its_plateau_or_told_as_a_range(scan, said):
    profile = make_profile()
    of_rank = dict(zip((1, 2, 4, 8, 16, 32), scan, strict=True))
    estimates = [
        replace(row, value=of_rank[row.n1]) if row.estimator == "gride" and row.transform == "centred" else row
        for row in profile.estimates
    ]
    assert said in told(replace(profile, estimates=estimates))


def test_only_checks_that_did_not_pass_are_told_in_full_a_veto_first():
    profile = make_profile()
    bad = [
        RunCheckRow("r", "sequence_invariance", 4, 0.12, 0.095, "warn", 0.031),
        RunCheckRow("r", "duplicates", 1, 0.09, 0.05, "veto"),
        RunCheckRow("r", "duplicates", 2, 0.06, 0.05, "veto"),
    ]
    said = told(replace(profile, checks=[*profile.checks, *bad]))
    limited = sum(row.threshold is not None for row in profile.checks)
    assert limited < len(profile.checks), "there are checks for information"
    assert f"{limited} of {limited + 3} with a limit passed" in said
    assert "veto     Share of duplicate points, layer 1: 0.0900 (limit 0.0500); further" in said
    assert "warning  Shift of log d2 with the number of windows, layer 4: 0.120 ± 0.031" in said
    assert said.index("veto   ") < said.index("warning  ")
    assert "Tokens per character" not in said


def test_controls_stand_beside_the_text_with_what_they_say_of_the_claims():
    profile = make_profile()
    shuffled, *randoms = make_controls(profile, 5)
    vetoed = judged(randoms[0], qualifiers=["check_vetoed"])  # by a check that judges no control
    controls = [shuffled, vetoed, randoms[1]]
    compared = with_controls(profile, controls)
    rows = [
        replace(row, outcome="not_usable") if row.control_run_id == randoms[1].run.run_id else row
        for row in compared.controls
    ]
    said = told(replace(compared, controls=rows), controls)
    flat = " ".join(said.split())
    assert line_with("shuffled text ", said).split()[2:] == ["47.5", "95.0", "19.0"]
    assert "random weights, seed 1 (not usable)" in said and "seed 0 (" not in said
    assert "largest inner dimension: 1.05 [1.01, 1.09] times the control: the same within 10 percent" in flat
    assert "seed 0: rises: 2.10 [2.02, 2.18] times the control (power 0.05): could not have shown it" in flat
    assert "controls (d2" not in told(profile)


def test_verdicts_have_their_reasons():
    said = told(judged(make_profile(), qualifiers=["few_types"]))
    assert " ".join(said[said.index("  rises  ") : said.index("  checks ")].split()).startswith(
        "rises depends (changes without dominant directions) falls holds limits few token types"
    )


def test_a_control_pass_is_told_as_one_and_has_no_verdict():
    _, random, _ = make_controls(make_profile(), 5)
    said = told(random)
    assert "(random weights, seed 0)" in said and "rises  " not in said


def test_an_encoder_and_a_run_without_summary_are_told_too():
    said = told(make_profile(model=make_model(kind="encoder")))
    assert "] at the end" in said and "bits per byte" not in said
    assert "rises  " not in told(replace(make_profile(), summaries=[]))


def test_the_literatures_statistics_have_lines_of_their_own():
    profile = make_profile()
    of_last = [replace(row, cloud="last_token") for row in profile.estimates if row.cloud == "one_per_type"]
    said = told(replace(profile, estimates=of_last, summaries=[]))
    assert "estimated dimension (GRIDE n1=2, last token of each window, N=800), 95 % intervals" in said
    assert "at most" in said and "at the end" in said


def test_a_control_of_a_protocol_without_verdict_shows_the_same_statistic():
    def of_prompts(profile, peak):
        rows = [row for row in profile.estimates if row.cloud == "one_per_type" and row.estimator == "two_nn"]
        values = [(row, peak - row.layer) for row in rows]
        rows = [replace(row, cloud="per_prompt", value=at, lower=at - 1, upper=at + 1) for row, at in values]
        return replace(profile, estimates=rows, summaries=[])

    text = make_profile()
    shuffled, random, _ = make_controls(text, 5)
    said = told(of_prompts(text, 40.0), [of_prompts(shuffled, 30.0), replace(random, estimates=[], summaries=[])])
    assert "controls (d2" not in said and "random weights" not in said
    of_control = said[said.index("control       shuffled text") :]
    assert "estimated dimension (TwoNN, all tokens of one prompt, averaged, N=800), 95 % intervals" in of_control
    ends = "30.0 [29.0, 31.0] at the embedding, at most 30.0 [29.0, 31.0] at layer 0, 26.0 [25.0, 27.0] at the end"
    assert ends in of_control
    assert "40.0 [39.0, 41.0] at the embedding" in said and "40.0 [" not in of_control


def test_a_stored_run_is_told_as_it_was_when_it_was_measured(tmp_path):
    profile = make_profile()
    warehouse = Warehouse(tmp_path / "w.duckdb")
    add_run(warehouse.path, profile)
    run_id = profile.run.run_id
    stored = read_profile(warehouse, run_id)
    said = run_details(stored, [], queries.run_records(warehouse, [run_id]).row(0, named=True))
    assert (
        answer_lines(profile)
        == said[: len(answer_lines(profile))]
        == run_details(stored, [])[: len(answer_lines(profile))]
    )
    said = "\n".join(said)
    assert "hash of the protocol" in said and "layer 4  after the final norm" in said
    assert "vetoed" not in said and "specifications outside the core" in said


def test_the_table_of_runs_marks_a_veto_and_gives_controls_no_verdict():
    runs = frames.runs(Model("a", worst_check="veto", qualifiers=("check_vetoed",)), Model("b", pass_="shuffled"))
    said = "\n".join(runs_table(runs))
    assert "a ‡" in said and "Vetoed by a check: do not rely on it" in said
    assert "shuffled text" in said and "↗◐" in said and "◐ depends" in said


@pytest.mark.parametrize(
    ("phase", "shown"),
    [
        ("geometry", "measuring layers"),
        ("layers", "comparing layers"),
        ("random_init: forward", "control: random weights, reading text"),
        ("shuffled: geometry", "control: shuffled text, measuring layers"),
        ("calibrate", "measuring Gaussian points"),
        ("new", "new"),
    ],
)
def test_phases_have_names(phase, shown):
    assert wording.phase_name(phase) == shown
