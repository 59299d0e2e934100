"""The flow on networks whose truth is known: blocks that do nothing, a stream of known rank; and what bad input meets."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from core.analysis import plans as plan_analysis
from core.analysis.intervals import Difference
from core.errors import CorpusError, InputError, ModelError
from core.locale import in_language
from core.models.hub import find_weights
from core.models.model import read_blueprint
from core.plans import candidates
from core.plans import plan as flow
from core.plans.candidates import Candidate, isotonic_limits, needed_directions, principal_components
from core.plans.plan import make_plan
from core.plans.pricing import Pricer
from core.plans.record import NOT_COMPARED
from core.plans.setup import (
    PROBES,
    AbilityPrice,
    PlanSetup,
    check_plan,
    first_windows,
    hold_out,
    probe,
    split_in_halves,
    with_typos,
)
from core.plans.variants import Network
from core.records import AGAINST_PLAN, LayerPlan, PlanConfig
from core.texts.corpora import open_corpus
from core.texts.sample import TokenWindows
from core.texts.windows import SHORTEST_OF_PLAN, characters_for_tokens, merge_pieces
from core.wording import plans as plan_wording
from tests.plans.small import SIZES
from tests.tiny import open_model, save_tiny_model

pytestmark = pytest.mark.slow

IDLE = (2, 4)


def save_with_idle_blocks(folder, idle=IDLE):
    """A network in which some blocks add nothing to the stream, and all others much."""
    save_tiny_model(folder, "llama", num_hidden_layers=6)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for index, block in enumerate(model.model.layers):
            for parameter in block.parameters():
                if parameter.dim() > 1:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if index in idle:
                block.self_attn.o_proj.weight.zero_()
                block.mlp.down_proj.weight.zero_()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def idle_model(tmp_path_factory):
    return save_with_idle_blocks(tmp_path_factory.mktemp("models") / "idle")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for module, name, value in SIZES:
        monkeypatch.setattr(module, name, value)


def planned(model, tmp_path, progress=lambda step: None, **asked) -> LayerPlan:
    config = PlanConfig(str(model), "english-business", device="cpu", **asked)
    return make_plan(config, "plan-1", tmp_path / "scratch", progress)


def test_blocks_that_do_nothing_are_found_whatever_was_asked(idle_model, tmp_path):
    """Without a number: the budget allows exactly those that cost nothing."""
    found = planned(idle_model, tmp_path, verify=True, budget=0.01, blocks=2)
    plan = found.plan
    assert tuple(plan.blocks) == IDLE and plan.is_verified and plan.is_recommended
    assert plan.loss_increase == pytest.approx(0, abs=1e-6) and plan.upper < 0.01
    assert plan.random_10th > 0.001 and plan.same_windows == pytest.approx(0, abs=1e-6)
    assert plan.reasons.count("few_random_sets") == 1  # 15 sets of two blocks exist, one of them is the plan
    assert plan.parameters_before - plan.parameters_after == 2 * sum(
        p.numel() for p in open_model(find_weights(str(idle_model)), device="cpu").layers[0].parameters()
    )
    assert "2 of 6 blocks can go: text " in plan_wording.plan_text(found)
    assert {row.rule for row in plan_analysis.rivals(found)} >= {"greedy", "influence", "last_angle", "angle"}
    assert {row.text for row in plan_analysis.harder_text_prices(found)} >= {"typos", "other_domain", *PROBES}
    assert len(found.of("held_out", "loss", "random")) == 14
    for unit in ("attention", "mlp"):
        alone = [row for row in found.of("selection", "divergence", "single") if row.unit == unit]
        assert [row.blocks[0] for row in alone if row.value_after < 1e-6] == list(IDLE)
    influence = {row.blocks[0]: row.value_after for row in found.of("selection", "influence")}
    assert {*sorted(influence, key=influence.__getitem__)[:2]} == {*IDLE}
    assert LayerPlan.from_frames(found.frames()) == found


def test_as_many_go_as_the_budget_allows(idle_model, tmp_path, monkeypatch):
    monkeypatch.setattr(PlanSetup, "most_removed", 4)
    found = planned(idle_model, tmp_path, budget=0.001)
    assert tuple(found.plan.blocks) == IDLE
    assert len(plan_analysis.search_path(found)) > len(IDLE)  # what comes next is shown with its price


def test_blocks_that_cancel_each_other_are_found_though_each_alone_is_dear(tmp_path):
    """One by one, the cheapest go first and never the two that cancel; a published choice has both, and one wrong one."""
    save_tiny_model(tmp_path / "cancel", "llama", num_hidden_layers=7, mlp_bias=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "cancel")
    generator = torch.Generator().manual_seed(1)
    scales = {0: 0.2, 1: 0.02, 2: 0.0, 3: 0.0, 4: 0.024, 5: 0.0, 6: 0.02}
    with torch.no_grad():
        for index, block in enumerate(model.model.layers):
            for part in (block.self_attn.o_proj, block.mlp.down_proj):
                part.weight.copy_(torch.randn(part.weight.shape, generator=generator) * scales[index])
        away = torch.randn(48, generator=generator)
        model.model.layers[2].mlp.down_proj.bias.copy_(away)
        model.model.layers[3].mlp.down_proj.bias.copy_(-away)
    model.save_pretrained(tmp_path / "cancel")
    found = planned(tmp_path / "cancel", tmp_path, blocks=3)
    greedy = next(row for row in plan_analysis.rivals(found) if row.rule == "greedy")
    assert greedy.blocks == [1, 5, 6] and greedy.difference > 0.001
    assert found.plan.blocks == [2, 3, 5] and found.plan.rule == "exchange"
    assert found.plan.loss_increase == pytest.approx(0, abs=1e-6)


def test_an_unverified_plan_says_so_first_and_recommends_nothing(idle_model, tmp_path):
    found = planned(idle_model, tmp_path, blocks=1)
    plan = found.plan
    assert not plan.is_verified and not plan.is_recommended and plan.random_10th is None
    assert ", not verified: " in plan_wording.plan_text(found)
    assert "（未検証）" in in_language("ja", plan_wording.plan_text, found)
    assert "--verify" in plan_wording.note_lines(plan)[0]


def test_where_nothing_is_free_the_answer_is_none_with_the_prices(tmp_path):
    """Of the cheapest block repaired, too; what else makes a model smaller stands beside."""
    found = planned(save_with_idle_blocks(tmp_path / "busy", idle=()), tmp_path, verify=True, budget=1e-4)
    assert not found.plan.is_recommended and "over_budget" in found.plan.reasons
    assert plan_wording.plan_text(found).startswith(
        "busy: keep all 6 blocks, as the loss may exceed the budget. The budget is 0.0001 nats per token"
    )
    assert [row.unit for row in found.of("selection", "loss", "single")].count("block") == 6
    apart = found.of("held_out", "divergence", "path")
    (repaired,), alone = [row for row in apart if row.is_healed], apart[0]
    assert repaired.blocks == alone.blocks and repaired.value_after < alone.value_after
    (rounded,) = found.of("held_out", "loss", "rounding")
    (size,) = found.of("weights", "bytes_bfloat16", "rounding")
    assert 0 < abs(rounded.difference) < 0.01 and 0.5 < size.value_after / size.value_before < 1


def test_a_choice_of_ones_own_is_priced_without_a_search(idle_model, tmp_path):
    steps: list = []
    found = planned(idle_model, tmp_path, steps.append, remove=(1, 3), verify=True, budget=10.0)
    assert found.plan.blocks == [1, 3] and found.plan.rule == "own" and found.plan.sum_of_singles is None
    assert not found.of("selection", "loss", "single")[12:] and plan_analysis.search_path(found) == []
    assert {row.rule for row in plan_analysis.rivals(found)} >= {"own", "influence", "angle"}
    assert steps[-1].done <= steps[-1].total
    with pytest.raises(InputError, match="has blocks 0 to .*, of which"):
        planned(idle_model, tmp_path, remove=(9,))
    for wrong in ({"remove": (1, 1)}, {"remove": (1,), "blocks": 2}):
        with pytest.raises(InputError, match="--remove"):
            PlanConfig("m", **wrong)


def test_a_plan_after_which_an_ability_is_gone_is_not_recommended(idle_model, tmp_path):
    """Within the budget and better than chance, and yet: the reason stands first."""
    planner = flow._Planner("plan-1", flow.open_plan(PlanConfig(str(idle_model), "english-business")), tmp_path, print)
    for ability, before, after, has_room, chance in (
        ("digit_sums", 0.8, 0.1, True, 0.0),
        ("copying", 0.8, 0.4, True, 0.0),
        ("task", 0.6, 0.56, True, 0.5),  # of ten points above chance six are left
        ("brackets", 0.1, 0.0, False, 0.0),
    ):
        price = AbilityPrice("exact_match", before, after, NOT_COMPARED, has_room, chance)
        planner._add_ability(ability, Candidate("greedy", (1,)), price, is_healed=False)
    assert [code for code in planner.record.reasons if code in AGAINST_PLAN] == ["falls_digit_sums"]


def test_half_precision_is_planned_too(idle_model, tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "TOKENS_PER_DIMENSION", 1000)
    found = planned(idle_model, tmp_path, dtype="bfloat16", blocks=2, heal=True, directions=True)
    assert tuple(found.plan.blocks) == IDLE and found.plan.dtype == "bfloat16"
    assert found.plan.healing is None and "no_sublayers" not in found.plan.reasons
    assert "few_direction_tokens" in found.plan.reasons
    assert [row for row in found.outcomes if row.rule == "projection" and row.rank == 48 and abs(row.difference) < 0.05]


class Stopped(Exception):
    pass


def test_a_plan_that_was_stopped_goes_on_after_its_last_step(idle_model, tmp_path, monkeypatch):
    asked = {"verify": True, "blocks": 2}
    whole = planned(idle_model, tmp_path / "whole", **asked)
    seen: list[str] = []

    def stop(step):
        if step.phase == "verify":
            raise Stopped

    with pytest.raises(Stopped):
        planned(idle_model, tmp_path, stop, **asked)
    scores = Pricer.scores
    monkeypatch.setattr(
        Pricer, "scores", lambda self, variants, *more: seen.append("") or scores(self, variants, *more)
    )
    steps: list = []
    again = planned(idle_model, tmp_path, steps.append, **asked)
    assert {step.phase for step in steps} == {"load", "verify", "heal", "save"}  # nothing was chosen anew
    shares = [step.done / step.total for step in steps if step.phase != "load"]
    assert shares == sorted(shares) and shares[-1] <= 1
    strip = {"created_at": None, "prefill_seconds_before": None, "prefill_seconds_after": None}
    strip |= {"generation_seconds_before": None, "generation_seconds_after": None}
    assert replace(again.plan, **strip) == replace(whole.plan, **strip)
    plain = [[replace(row, created_at=None) for row in one.outcomes] for one in (again, whole)]
    assert plain[0] == plain[1]


def test_layers_whose_directions_are_known_are_not_searched_again(idle_model, tmp_path, monkeypatch):
    asked = {"remove": (2,), "directions": True}
    whole = planned(idle_model, tmp_path / "whole", **asked)
    search, searched = candidates.needed_directions, []

    def once(pricer, components, layer, *others):
        if layer is not None and len(searched) == stop_after:
            raise Stopped
        searched.extend([] if layer is None else [layer])
        return search(pricer, components, layer, *others)

    monkeypatch.setattr(candidates, "needed_directions", once)
    stop_after = 1
    with pytest.raises(Stopped):
        planned(idle_model, tmp_path, **asked)
    stop_after = 9
    again = planned(idle_model, tmp_path, **asked)
    assert searched == candidates.layers_to_try(6) and len(searched) == 2
    found, expected = (
        [replace(row, created_at=None) for row in one.outcomes if row.unit == "layer"] for one in (again, whole)
    )
    assert found == expected and {row.rule for row in found} >= {"projection", "joint_projection", "random_subspace"}
    assert "few_direction_tokens" not in again.plan.reasons


def test_a_model_that_has_changed_since_is_planned_anew(idle_model, tmp_path, caplog):
    def stop(step):
        if step.phase == "choose" and step.done:
            stopped.append(step)

    stopped: list = []
    planned(idle_model, tmp_path, blocks=1)
    planned(idle_model, tmp_path, stop, blocks=1)
    assert not stopped
    changed = save_with_idle_blocks(tmp_path / "idle", idle=(1,))
    found = make_plan(
        PlanConfig(str(changed), "english-business", device="cpu", blocks=1), "plan-1", tmp_path / "scratch", stop
    )
    assert stopped and found.plan.blocks == [1]
    assert "has changed:" in caplog.text


def test_healing_and_saving_are_verified(idle_model, tmp_path):
    """An idle block before the gap has nothing to turn; the block before it has, and its price falls."""
    folder = tmp_path / "smaller"
    found = planned(idle_model, tmp_path, blocks=3, heal=True, save_model=str(folder))
    plan = found.plan
    rows = [row for row in found.of("held_out", "loss") if row.is_chosen and row.unit == "block"]
    assert {row.is_healed for row in rows} == {True, False} or plan.healing
    saved = open_model(find_weights(str(folder)), device="cpu")
    assert saved.n_layers == 3 and plan.saved_as == str(folder)
    assert plan.saved_model_id == saved.row.model_id
    assert plan.kv_bytes_after == plan.kv_bytes_before / 2
    assert "blocks are counted from 0" in (folder / "README.md").read_text(encoding="utf-8").lower()
    with pytest.raises(InputError, match="not empty"):  # of another plan
        make_plan(PlanConfig(str(idle_model), save_model=str(folder)), "plan-2", tmp_path / "other", lambda step: None)
    half = [tmp_path / f".workdim-model-{plan_id}-abcd" for plan_id in ("plan-1", "plan-2")]
    for place in half:
        place.mkdir()
    planned(idle_model, tmp_path, blocks=3, heal=True, save_model=str(folder))  # its own, from before it was stopped
    assert [place.exists() for place in half] == [False, True]


def write_task(file, model, n=40):
    """Questions that the whole network answers as it does by construction: the likeliest of two tokens is right."""
    tokenizer = model.tokenizer
    generator, rows = np.random.default_rng(0), []
    for _ in range(n):
        ids = torch.from_numpy(generator.integers(300, 2000, (1, 12)))
        with torch.inference_mode():
            order = model.module(input_ids=ids).logits[0, -1].argsort(descending=True)
        words = [tokenizer.decode([int(i)]) for i in order if tokenizer.decode([int(i)]).strip().isalpha()]
        rows.append({"prompt": tokenizer.decode(ids[0]), "choices": [words[-1], words[0]], "answer": 1})
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def test_a_task_of_ones_own_is_priced_question_by_question(idle_model, tmp_path):
    task = write_task(tmp_path / "own.jsonl", open_model(find_weights(str(idle_model)), device="cpu"))
    asked = {"task": str(task), "budget": 15.0, "budget_unit": "points"}  # forty questions rule out a loss of no less
    idle = planned(idle_model, tmp_path, remove=IDLE, **asked)
    (row,) = [row for row in idle.outcomes if row.text == "task"]
    assert row.measure == "accuracy" and row.n_points == 40 and row.difference == 0
    assert row.value_before > 0.7 and "no_room_task" not in idle.plan.reasons
    assert idle.plan.is_recommended and plan_wording.budget_text(idle.plan) == "15 points of the task"
    busy = planned(idle_model, tmp_path, remove=(0, 1), **asked)
    (row,) = [row for row in busy.outcomes if row.text == "task"]
    assert row.value_after < row.value_before and not busy.plan.is_recommended
    assert "over_budget" in busy.plan.reasons and "falls_task" in busy.plan.reasons


def test_a_task_without_room_to_fall_recommends_nothing(idle_model, tmp_path):
    task = write_task(tmp_path / "own.jsonl", open_model(find_weights(str(idle_model)), device="cpu"), n=8)
    rows = [json.loads(line) for line in task.read_text("utf-8").splitlines()]
    task.write_text("\n".join(json.dumps(row | {"answer": 0}) for row in rows), "utf-8")
    plan = planned(idle_model, tmp_path, remove=IDLE, task=str(task), budget=5.0, budget_unit="points").plan
    assert {"no_room_task", "over_budget"} <= {*plan.reasons} and not plan.is_recommended
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps({"text": "A text of its own."}), "utf-8")
    with pytest.raises(
        InputError, match="holds texts, which give no points: state the budget in nats, or use questions"
    ):
        planned(idle_model, tmp_path, remove=IDLE, task=str(texts), budget=5.0, budget_unit="points")
    texts.write_text("\n".join(json.dumps({"text": "A text of its own." * n}) for n in (1, 9)), "utf-8")
    found = planned(idle_model, tmp_path, remove=(0, 1), task=str(texts))
    (row,) = [row for row in found.outcomes if row.text == "task"]
    assert row.measure == "loss" and abs(row.difference) > 0.01
    assert row.value_after - row.value_before == pytest.approx(row.difference), "of all tokens, as every loss"


# --- a stream of known rank --------------------------------------------------------------------------------------------

RANK = 11


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """All that is written into the stream lies in a space of 11 dimensions, and predictions use all of them."""
    folder = save_tiny_model(tmp_path_factory.mktemp("models") / "narrow", "llama", tie_word_embeddings=False)
    model = open_model(find_weights(str(folder)), device="cpu")
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(48, RANK, generator=generator))[0]
    space = basis @ basis.T
    with torch.no_grad():
        for part in (model.module.get_input_embeddings(), model.module.get_output_embeddings()):
            part.weight.copy_(torch.randn(part.weight.shape, generator=generator) @ space * 0.45)
        for block in model.layers:
            for part in (block.self_attn.o_proj, block.mlp.down_proj):
                part.weight.copy_(space @ torch.randn(part.weight.shape, generator=generator) * 0.1)
    network = Network(model)
    return network, sampled(model, 24, 32)


def sampled(model, n_sequences, n_tokens):
    """Text of the network's own: whatever it loses then raises its loss."""
    torch.manual_seed(0)
    ids = torch.randint(3, 2000, (n_sequences, 1))
    with torch.inference_mode():
        while ids.shape[1] < n_tokens:
            logits = model.module(input_ids=ids).logits[:, -1]
            ids = torch.cat([ids, torch.multinomial(logits.softmax(-1), 1)], dim=1)
    scored = np.ones(ids.shape, dtype=bool)
    scored[:, 0] = False
    return TokenWindows(ids.numpy(), scored, np.arange(n_sequences))


@pytest.mark.parametrize("layer", [0, 2])
def test_the_rank_of_the_stream_is_what_is_needed(narrow, layer):
    network, windows = narrow
    found = principal_components(network, windows, [layer])
    needed = needed_directions(Pricer(network, windows), found, layer, budget=0.01, seed=5)
    prices = {(one.rule, one.rank): one.price for one in needed}
    assert [(one.rule, one.rank) for one in needed if one.is_chosen] == [("projection", RANK)]
    assert prices["projection", RANK].upper < 1e-4 and prices["projection", RANK - 1].lower > 0.01
    assert prices["random_subspace", RANK].lower > 0.1  # another space of as many dimensions
    assert prices["projection_of_all", RANK].upper < 1e-4
    assert found[layer].d2 == pytest.approx(RANK, rel=0.15)  # directions drawn at random in that space
    assert ("projection_d2", round(found[layer].d2)) in prices


def test_all_layers_at_once_need_no_more_where_they_share_the_space(narrow):
    network, windows = narrow
    found = principal_components(network, windows, range(network.n_blocks + 1))
    for budget, rank in ((0.01, RANK), (0.0, None)):
        needed = needed_directions(Pricer(network, windows), found, None, budget)
        assert next((one.rank for one in needed if one.is_chosen), None) == rank


def test_large_tokens_and_the_first_stay_as_they_are(narrow):
    network, windows = narrow
    found = principal_components(network, windows, [1])[1]
    states = torch.randn(2, 5, 48) * found.limit / 20
    states[1, 3] *= 1000
    moved = found.projection(3)(states)
    stay = (moved == states).all(-1)
    assert stay.tolist() == [[True, False, False, False, False], [True, False, False, True, False]]
    assert not (found.projection(3, keep_large=False)(states) == states).all(-1).any()


def test_an_isotonic_limit_never_rises_with_the_rank():
    prices = {rank: Difference(upper, 0.1, 0.0, upper, 8) for rank, upper in ((4, 1.0), (8, 0.2), (16, 0.4), (32, 0.0))}
    assert isotonic_limits(prices) == pytest.approx({4: 1.0, 8: 0.3, 16: 0.3, 32: 0.0})


# --- texts -----------------------------------------------------------------------------------------------------------


def test_the_halves_share_no_document():
    corpus = open_corpus("english-business")
    chosen, held_out = split_in_halves(corpus, 1000)
    assert not {*chosen.pieces} & {*held_out.pieces}
    assert sorted(chosen.pieces + held_out.pieces) == sorted(corpus.pieces)
    assert 0.4 < sum(map(len, chosen.pieces)) / sum(map(len, corpus.pieces)) < 0.6
    assert min(len(merge_pieces(half.pieces, 1000)) for half in (chosen, held_out)) > 20


def test_a_text_that_begins_with_a_long_document_has_two_halves_too():
    corpus = open_corpus("english-business")
    long, short = " ".join(corpus.pieces)[:65_000], " ".join(corpus.pieces)[:22_000]
    for pieces in ([long, short], [short, long]):
        halves = split_in_halves(replace(corpus, pieces=pieces), 1000)
        assert [half.pieces for half in halves] == [[piece] for piece in pieces]
        assert [half.row.n_characters for half in halves] == list(map(len, pieces))


def test_windows_of_both_halves_are_apart(idle_model, tmp_path, monkeypatch):
    model = open_model(find_weights(str(idle_model)), device="cpu")
    held = hold_out(open_corpus("english-business"), model, 0, 512)
    read = [{model.tokenizer.decode(ids[:20]) for ids in half.ids} for half in (held.selection, held.verification)]
    assert len(read[0]) == 8 and len(read[1]) == 8 and not read[0] & read[1]
    assert len(first_windows(held.selection, 3).ids) == 3


def test_a_text_of_one_document_is_told_what_the_shortest_windows_need(idle_model):
    model = open_model(find_weights(str(idle_model)), device="cpu")
    corpus = open_corpus("english-business")
    whole = replace(corpus, pieces=[" ".join(corpus.pieces)])
    shortest = characters_for_tokens(whole.beginning, SHORTEST_OF_PLAN)
    with pytest.raises(CorpusError, match=f"^Half of the text is held out .* two documents of {shortest:,} characters"):
        hold_out(whole, model, 0, 512)


def test_weights_that_are_read_on_demand_are_read_for_each_part_of_a_task():
    windows, shape = SimpleNamespace(ids=np.zeros((64, 256))), SimpleNamespace(hidden_size=64)
    setup = SimpleNamespace(
        _work={"task": (64 * 256, 2, 0)},
        task=SimpleNamespace(parts=[windows] * 5),
        search_windows=windows,
        blueprint=SimpleNamespace(shape=shape),
        memory=SimpleNamespace(batch=64),
        config=SimpleNamespace(directions=False),
    )
    assert PlanSetup.count_weight_reads(setup) == 5 + 1  # and once to choose blocks


def test_typing_errors_keep_every_length_and_most_words():
    corpus = open_corpus("english-business")
    wrong = with_typos(corpus, 0)
    words = [one.split() for one in (" ".join(corpus.pieces), " ".join(wrong.pieces))]
    differing = [(a, b) for a, b in zip(*words, strict=True) if a != b]
    assert 0.03 < len(differing) / len(words[0]) < 0.15
    assert all(sorted(a) == sorted(b) for a, b in differing)
    assert with_typos(corpus, 0).pieces == wrong.pieces


@pytest.mark.parametrize("kind", PROBES)
def test_a_probe_asks_for_the_answer_and_nothing_else(kind, idle_model):
    tokenizer = open_model(find_weights(str(idle_model)), device="cpu").tokenizer
    found = probe(kind, tokenizer, 0)
    for ids, scored in zip(found.ids, found.scored, strict=True):
        n = int(scored.nonzero()[0][-1]) + 1
        asked, answer = tokenizer.decode(ids[: int(scored.argmax())]), tokenizer.decode(ids[scored])
        assert scored[scored.argmax() : n].all()
        assert answer.endswith("\n") and asked.endswith("=" if kind == "digit_sums" else "=>")
        line = (asked + answer).splitlines()[-1]
        if kind == "copying":
            assert line.partition("=>")[0].split() == answer.split()
        if kind == "digit_sums":
            assert sum(map(int, line.partition("=")[0].split("+"))) == int(answer)
        if kind == "brackets":
            pairs = dict(zip("([{<", ")]}>", strict=True))
            assert [pairs[one] for one in reversed(line.partition("=>")[0].split())] == answer.split()
    assert probe(kind, tokenizer, 0, longest=10) is None


# --- bad input ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_planned_is_told_in_one_line(idle_model, tiny_bert, tmp_path):
    with pytest.raises(ModelError, match="it has no loss per token.*workdim measure"):
        planned(tiny_bert, tmp_path)
    two = save_tiny_model(tmp_path / "two", "llama", num_hidden_layers=2)
    with pytest.raises(ModelError, match="has 2 blocks; a plan needs 3"):
        planned(two, tmp_path)
    shared = read_blueprint(find_weights(str(idle_model)), "float32", "cpu", None)
    shared.outline.model.layers[2].mlp = shared.outline.model.layers[1].mlp
    with pytest.raises(ModelError, match="Blocks 1 and 2 .* share weights"):  # before any is read
        check_plan(PlanConfig(str(idle_model)), open_corpus("english-business"), shared)
    with pytest.raises(InputError, match="at most 5 can go"):
        planned(idle_model, tmp_path, blocks=6)
    with pytest.raises(InputError, match="budget must be 0 or more"):
        PlanConfig("m", budget=-1.0)
    with pytest.raises(InputError, match="name its file with --task"):
        PlanConfig("m", budget_unit="points")


def test_a_text_that_is_too_short_to_hold_out_is_refused(idle_model, tmp_path):
    short = tmp_path / "short.jsonl"
    short.write_text("\n".join(json.dumps({"text": f"A short text, number {i}. " * 4}) for i in range(12)), "utf-8")
    config = PlanConfig(str(idle_model), str(short), device="cpu")
    with pytest.raises(CorpusError, match="Half of the text is held out.*too short"):
        make_plan(config, "p", tmp_path / "scratch", lambda step: None)
    one = tmp_path / "one.txt"
    one.write_text("word " * 40_000, "utf-8")
    with pytest.raises(CorpusError, match="needs two documents .* to choose and to verify"):
        make_plan(replace(config, corpus=str(one)), "p", tmp_path / "scratch", lambda step: None)


def test_a_budget_of_zero_recommends_only_what_lowers_the_loss(idle_model, tmp_path):
    plan = planned(idle_model, tmp_path, budget=0.0, verify=True, blocks=1).plan
    assert {"budget_zero", "over_budget"} <= {*plan.reasons} and not plan.is_recommended


def test_weights_that_come_block_by_block_are_planned_and_not_saved(idle_model, tmp_path, caplog, monkeypatch):
    resident = planned(idle_model, tmp_path / "resident", blocks=2, verify=True)
    config = PlanConfig(str(idle_model), "english-business", device="cpu", blocks=2, verify=True, heal=True)
    setup = flow.open_plan(config)
    from core.models.stacks import MemoryPlan

    class Short(type(setup.blueprint)):  # type: ignore[misc]
        def plan(self, *_others):
            return MemoryPlan(True, 4, 1)

    blueprint = setup.blueprint
    short = Short(**{name: getattr(blueprint, name) for name in blueprint.__dataclass_fields__})
    monkeypatch.setattr(flow, "open_plan", lambda asked: replace(setup, blueprint=short))
    found = make_plan(config, "p", tmp_path / "s", lambda step: None)
    assert found.plan.blocks == resident.plan.blocks
    assert found.plan.loss_increase == pytest.approx(resident.plan.loss_increase, abs=1e-6)
    assert re.search(r"block by block, about \d+ times", caplog.text)
    assert found.plan.healing == "streamed" and found.plan.prefill_seconds_before is None
    assert "streamed" in found.plan.reasons and "no_sublayers" not in found.plan.reasons
