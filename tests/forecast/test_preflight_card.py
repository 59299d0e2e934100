"""The card before a measurement: what it says is what the run then is, and what it refuses is refused."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from core.forecast.preflight_card import base_memory, estimate
from core.models.hub import find_weights
from core.models.model import read_blueprint
from core.models.stacks import batch_bytes, suspended_bytes
from core.records import RunConfig
from core.registry.protocols import PASSES, PROTOCOLS, STANDARD_CONTROLS
from core.runs import jobs
from core.runs.jobs import submit
from core.terminal.progress import card_lines
from core.warehouse import queries
from core.wording.labels import amount, duration
from tests.conftest import ROOT, run_core
from tests.measuring import measure
from tests.runs.small import BROAD, NARROW, SMALL
from tests.tiny import save_tiny_model

pytestmark = pytest.mark.slow

TEXT = "english-business"


def asked(folder, **changes):
    return RunConfig(str(folder), TEXT, device="cpu", **changes)


def test_a_card_says_what_the_run_then_is(tiny_llama, warehouse, small_protocol):
    config = asked(tiny_llama, protocol=small_protocol)
    card = estimate(config, warehouse)
    assert not warehouse.path.exists() and not warehouse.jobs.exists()
    assert card.refusals == () and card.measured_run is None
    run = queries.runs(_measured(config, warehouse)).row(0, named=True)
    for name in ("architecture", "family", "kind", "parameters", "n_layers", "hidden_size", "n_tokens", "n_sequences"):
        assert getattr(card, name) == run[name], name
    # Tokens of large norm are masked once there are norms.
    assert run["n_points"] <= card.n_points <= 1.1 * run["n_points"]
    assert (card.stored_format, card.stored_dtype, card.download_bytes) == ("safetensors", "float32", 0)
    assert (card.streamed, card.batch) == (False, 8)
    assert card.seconds == pytest.approx(card.start_seconds + sum(card.passes[0].seconds.values()))


@pytest.fixture(scope="module")
def own_base():
    """Of a process that has done nothing else."""
    code = "from core.forecast.preflight_card import base_memory; print(base_memory())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize(
    "family, changes, protocol",
    [
        ("llama", {}, BROAD),  # its distances
        ("mamba", dict(hidden_size=96, num_hidden_layers=2, state_size=96), NARROW),  # the states of its scan
        ("bloom", dict(hidden_size=96, n_layer=2, n_head=96), NARROW),  # the scores of its attention
    ],
)
def test_a_card_says_the_memory_that_the_run_then_takes(
    family, changes, protocol, tmp_path, warehouse, small_protocol, own_base
):
    config = asked(save_tiny_model(tmp_path / family, family, **changes), protocol=protocol.name)
    told = estimate(config, warehouse).memory_bytes - base_memory()  # most of both
    assert 0.75 < told / (_peak_of_own_process(config, warehouse) - own_base) < 1.25


def _measured(config, warehouse):
    measure(config, warehouse, lambda step: None)
    return warehouse


def _peak_of_own_process(config, warehouse):
    """Of a process that has done nothing else, as the tests' has."""
    assert jobs.start_job(submit(config, warehouse), warehouse).wait() == 0
    return queries.runs(warehouse)["peak_memory_bytes"][0]


CONTROLS_OF_LLAMA = [name for name in STANDARD_CONTROLS if name != "without_bos"]


def test_what_the_warehouse_has_is_known(tmp_path, warehouse, monkeypatch):
    monkeypatch.setattr("psutil.getloadavg", lambda: (0.0, 0.0, 0.0))
    quick = PROTOCOLS["quick"]
    changes = {"n_sequences": quick.n_sequences, "n_tokens": quick.n_tokens, "clouds": ("one_per_type", "one_per_word")}
    monkeypatch.setitem(PROTOCOLS, "quick", replace(SMALL, name="quick", n_control_seeds=2, **changes))
    config = asked(save_tiny_model(tmp_path / "known", num_hidden_layers=2), controls=True)
    passes = estimate(config, warehouse).passes
    assert [one.name for one in passes] == [*CONTROLS_OF_LLAMA, "text"]
    assert all(one.seconds and one.known_run is None for one in passes)
    before = estimate(config, warehouse).seconds
    _measured(config, warehouse)
    runs = queries.runs(warehouse)
    ids = {name: runs.filter(runs["pass"] == name)["run_id"].to_list() for name in PASSES}

    again = estimate(config, warehouse)
    assert again.measured_run == ids["text"][0] and again.comparable_runs == ()
    labelled = replace(config, labels="labels.csv", labels_sha256="0" * 64)
    assert estimate(labelled, warehouse).measured_run is None  # no layer was tried on these labels
    known = {name: {one.known_run for one in again.passes if one.name == name} for name in ids}
    assert known == {name: set(run_ids) for name, run_ids in ids.items()} | {"text": {None}}
    assert again.seconds < before

    # Same configuration and tokenizer.
    other = estimate(asked(save_tiny_model(tmp_path / "other", seed=1, num_hidden_layers=2)), warehouse)
    assert other.measured_run is None and other.comparable_runs == (ids["text"][0],)
    assert [one.name for one in other.passes if one.known_run] == ["random_init"]

    wordy = estimate(asked(save_tiny_model(tmp_path / "wordy", n_types=1500)), warehouse)
    assert wordy.comparable_runs == () and wordy.comparable_by_words == (ids["text"][0],)
    encoder = estimate(asked(save_tiny_model(tmp_path / "encoder", "bert")), warehouse)
    assert encoder.comparable_runs == encoder.comparable_by_words == () and not encoder.measured_run
    assert encoder.comparison.startswith("No other model compares")
    assert estimate(asked(tmp_path / "other", seed=1), warehouse).comparison == encoder.comparison


def test_all_that_headers_can_refuse_is_told_at_once(tmp_path, warehouse, monkeypatch):
    text = tmp_path / "short.txt"
    text.write_text("A text of few words.\n\n" * 40, encoding="utf-8")
    folder = save_tiny_model(tmp_path / "narrow", max_position_embeddings=64)
    config = replace(asked(folder, memory_budget=10**6), corpus=str(text))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10**6}))
    card = estimate(config, warehouse)
    assert card.seconds is None and card.n_layers == 4
    for reason in (
        "reads at most 64 tokens",
        "is too short for quick",
        "0.00 GB is allowed",
        "Free some space, or choose another disk with --warehouse",
    ):
        assert any(reason in refusal for refusal in card.refusals), reason
    assert len(card.refusals) == 4
    labels = [line.split()[0] for line in card_lines(card) if re.match(r"  \S", line)]
    assert labels[:4] == ["Refused"] * 4 and not {"Tokens", "Time"} & set(labels)


@pytest.mark.parametrize(
    "changes, reason",
    [
        (dict(protocol="quik"), "Did you mean quick"),
        (dict(dtype="float31"), "Unknown dtype"),
        (dict(stack="decoder"), "one stack of blocks"),
        (dict(estimators=("d2",)), "is measured in every run with its cloud"),
    ],
)
def test_a_request_is_judged_as_measuring_would(tiny_llama, warehouse, changes, reason):
    refusals = estimate(asked(tiny_llama, **changes), warehouse).refusals
    assert len(refusals) == 1 and reason in refusals[0]


def test_weights_that_do_not_fit_are_streamed(tmp_path, warehouse):
    folder = save_tiny_model(tmp_path / "deep", num_hidden_layers=60)  # or its windows would be the larger part
    needed = read_blueprint(find_weights(str(folder)), "float32", "cpu", None).plan(32, 128, None).n_bytes
    base = base_memory()
    for share, streamed in ((1.01, False), (0.45, True)):
        card = estimate(asked(folder, memory_budget=base + int(share * needed)), warehouse)
        assert card.refusals == () and card.streamed == streamed


def test_random_weights_that_do_not_fit_are_refused_where_read_ones_do(tmp_path, warehouse):
    folder = save_tiny_model(tmp_path / "deep", num_hidden_layers=60)
    blueprint = read_blueprint(find_weights(str(folder)), "float32", "cpu", None)
    shape = blueprint.shape
    least = shape.largest_unit + suspended_bytes(shape, 32, 128) + batch_bytes(shape, 1, 128)
    budget = base_memory() + least
    text, all_ = (estimate(asked(folder, memory_budget=budget, controls=c), warehouse) for c in (False, True))
    assert text.streamed and text.refusals == ()
    assert len(all_.refusals) == 1 and f"deep needs {(least + shape.outside) / 1e9:.2f} GB" in all_.refusals[0]


def test_the_command_prints_cards_and_measures_nothing(tiny_llama, tmp_path):
    file = tmp_path / "w" / "w.duckdb"
    arguments = ("measure", str(tiny_llama), "absent/", "--text", TEXT, "--estimate-only")
    done = run_core(*arguments, "--json", warehouse=file)
    assert done.returncode == 2 and not file.parent.exists()
    first, second = json.loads(done.stdout)
    assert first["architecture"] == "LlamaModel" and first["refusals"] == []
    assert second["architecture"] is None and "No model 'absent/'" in second["refusals"][0]
    done = run_core(*arguments, warehouse=file)
    assert done.returncode == 2 and "LlamaModel, decoder" in done.stdout
    assert re.search(r"Refused +No model 'absent/'", done.stdout)
    done = run_core("measure", str(tiny_llama), "--json", warehouse=file)
    assert done.returncode == 2 and "--estimate-only" in done.stderr and not file.parent.exists()


def test_a_card_is_told_in_lines(tiny_llama, warehouse):
    card = estimate(asked(tiny_llama, controls=True), warehouse)
    lines = card_lines(card)
    text = " ".join("\n".join(lines).split())
    for said in ("Layers 4 Parameters 275,376 Tokens to read 4,096", "To download 0 kB", "control: random weights "):
        assert said in text
    json.dumps(asdict(card))
    assert "unknown" in "\n".join(card_lines(replace(card, seconds=None, memory_bytes=None)))


def test_amounts_have_no_more_digits_than_they_are_worth():
    assert [duration(s) for s in (0.2, 89, 125, 7200, None)] == ["1 s", "89 s", "2 min", "2.0 h", "unknown"]
    assert [amount(n) for n in (2_500_000, 1_234_000_000, None)] == ["2 MB", "1.23 GB", "unknown"]
