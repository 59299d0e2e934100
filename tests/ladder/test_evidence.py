"""docs/evidence.md is what the shipped data give today, in both languages, and a fresh start ranks all of them."""

from __future__ import annotations

import json
import time
from dataclasses import fields, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from core.commands.main import main
from core.questions.ranking_answer import answer_question, ask
from core.questions.ranking_question import RankingQuestion
from core.warehouse import reference
from core.warehouse.warehouse import Warehouse
from tests import evidence
from tests.ladder import dose, shipping
from tests.ladder.__main__ import LOGS
from tests.ladder.recipes import Recipe, all_runs

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[Warehouse, float]:
    """A warehouse as the first start leaves it, and the seconds of processor time that took."""
    started = time.process_time()
    warehouse = Warehouse(tmp_path_factory.mktemp("fresh") / "w.duckdb")
    reference.add_profiles(warehouse, pytest.fail)
    return warehouse, time.process_time() - started


@pytest.mark.slow
def test_the_evidence_is_that_of_the_shipped_data(fresh: tuple[Warehouse, float], tmp_path: Path):
    evidence.write(fresh[0], tmp_path)
    tables = sorted(file.relative_to(DOCS) for file in (DOCS / "evidence").glob("*.csv"))
    assert tables == sorted(file.relative_to(tmp_path) for file in (tmp_path / "evidence").glob("*.csv"))
    for name in ("evidence.md", "evidence.ja.md", *tables):
        assert (tmp_path / name).read_text(encoding="utf-8") == (DOCS / name).read_text(encoding="utf-8"), (
            "run `python -m tests.evidence` and commit what it writes"
        )
    pictures = sorted((tmp_path / "figures").glob("*.svg"))
    assert pictures and len(pictures) % 2 == 0
    for picture in pictures:
        ElementTree.fromstring(picture.read_text(encoding="utf-8"))


def test_what_was_moved_on_purpose_is_told_with_its_check(tmp_path: Path):
    """From runs of known effect: raised, it helps by 0.04 bits per byte."""
    draw = np.random.default_rng(3)
    names = [field.name for field in fields(dose.Result)]
    runs = []
    for arm in dose.arms():
        d2 = float(arm.target or 40) if arm.kind == dose.DOSE else 40.0
        bits = 1.5 + 0.005 * draw.normal() - 0.04 * (arm.kind == dose.DOSE and d2 > 40)
        read = dict.fromkeys(names, 0.5) | dict.fromkeys(evidence._READINGS, d2 + draw.normal())
        runs.append(read | {"arm": arm.kind, "target": arm.target, "seed": arm.seed, "bits_per_byte": bits})
    section = evidence.moved_on_purpose(tmp_path, pl.DataFrame(runs))
    (lead,) = section.lead
    assert (
        lead[0].startswith("**Moved on purpose, with all else alike: larger is better.**")
        and "大きいほど良い" in lead[1]
    )
    assert "lowered to 28, it has no effect beyond 0.02" in lead[0] and "raised to 70, it helps (-0.0" in lead[0]
    check = {row[:2]: row[-1] for row in section.data["dosed_arms"][1:]}
    assert check["placebo", 70] == "–" and "d2_layer" in check["dose", 28]
    assert {row[-1] for row in section.data["dosed_differences"][1:5]} == {"no effect", "lower loss"}


@pytest.mark.slow
def test_a_fresh_start_ranks_every_finished_run_within_seconds(fresh: tuple[Warehouse, float]):
    """All of the registered width for the registered question, of all widths where everything that compares is asked for;
    a checkpoint on the way is no model."""
    warehouse, spent = fresh
    runs = all_runs()
    finished = {f"local:{runs[name].folder_of(runs[name].steps)}": runs[name].width for name in shipping.logged(LOGS)}
    of_width = {reference for reference, width in finished.items() if width == Recipe.width}
    assert len(of_width) >= 9
    started = time.process_time()
    for asked, wanted in ((RankingQuestion(), of_width), (RankingQuestion(ignores_pilots=True), set(finished))):
        told = ask(warehouse, asked)
        found = told.population
        assert set(found.rows["reference"]) == wanted, "python -m tests.ladder --measure, and --ship"
        assert told.relation.n_units == len(wanted) and {one.match for one in told.models} <= {"own", "exact"}
        assert not asked.ignores_pilots or max(one.group.rows.height for one in found.others) <= len(wanted)
        assert told.relation.errors_paired[-1:] == ("performance",) and told.models[0].score_rank_high is not None
    assert spent + time.process_time() - started < 30, "processor seconds: a third of them on a quiet machine"


@pytest.mark.slow
def test_public_decoders_of_three_tokenizers_are_ranked_on_words(
    fresh: tuple[Warehouse, float], capsys: pytest.CaptureFixture[str]
):
    asked = ["rank", "--benchmark", "code_copying", "--json", "--warehouse", str(fresh[0].path)]
    named = {}
    for flags in ([], ["--words"]):
        assert main([*asked, *flags]) == 0
        named[len(flags)] = {one["model"] for one in json.loads(capsys.readouterr().out)["models"]}
    assert len(named[1]) == 4 and named[0] < named[1]


@pytest.mark.slow
def test_with_the_scores_of_the_ladder_permuted_nothing_is_related(fresh: tuple[Warehouse, float]):
    population = ask(fresh[0], RankingQuestion()).population
    generator = np.random.default_rng(1)
    n_draws, n_related = 200, 0
    for _ in range(n_draws):
        order = generator.permutation(population.rows.height)
        moved = [population.rows[name].gather(order) for name in ("score", "score_lowest", "score_highest")]
        permuted = replace(population, rows=population.rows.with_columns(moved))
        n_related += answer_question(permuted, is_brief=True).word.startswith("related")
    assert n_related <= 0.065 * n_draws


@pytest.mark.parametrize(("value", "told"), [(None, "–"), (0.0004, "< 0.001"), (0.0421, "0.042")])
def test_p_values_are_short(value: float | None, told: str):
    assert evidence._p(value) == told
