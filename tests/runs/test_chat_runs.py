"""Chat messages from the command line to the warehouse: recognised, measured by each model's template, kept apart."""

import re
from dataclasses import replace

import polars as pl
import pytest

from core.analysis.differences import controls_of
from core.records import RunConfig
from core.registry.protocols import PROTOCOLS, STANDARD_CONTROLS
from core.runs.requests import expand_request
from core.store import parcels
from core.tables import Run, records
from core.warehouse import queries
from tests.chats import CHATML, DATED, save_chat_model, write_chats
from tests.conftest import run_core
from tests.measuring import measure
from tests.runs.small import SMALL

pytestmark = pytest.mark.slow


def quiet(step):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chats")


@pytest.fixture(scope="module")
def config(folder):
    return RunConfig(
        str(save_chat_model(folder / "model", num_hidden_layers=2)),
        str(write_chats(folder / "chats.jsonl")),
        "small",
        device="cpu",
    )


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """As many tokens as usual, of which those of a template are a part; few points."""
    sized = replace(SMALL, n_sequences=32, n_tokens=128, n_control_seeds=2, clouds=("one_per_type", "one_per_word"))
    monkeypatch.setitem(PROTOCOLS, "small", sized)


def test_a_run_on_chats_has_its_template_and_its_own_controls(config, folder, warehouse, monkeypatch):
    profile = measure(replace(config, controls=True), warehouse, quiet).profile
    run, known = profile.run, queries.runs(warehouse)
    assert run.corpus_id.startswith("chats@")
    assert run.chat_template_hash and run.n_dropped_template > 0.1 * run.n_tokens
    dropped = run.n_dropped_position + run.n_dropped_special + run.n_dropped_template + run.n_dropped_norm
    assert run.n_tokens_used + dropped == run.n_tokens and 0 < run.n_bytes_scored < 15_000 and run.bits_per_byte > 1
    assert known["pass"].sort().to_list() == sorted({"text", *STANDARD_CONTROLS} - {"without_bos"})
    assert known["chat_template_hash"].unique().to_list() == [run.chat_template_hash]
    assert known["n_dropped_template"].unique().to_list() == [run.n_dropped_template]
    monkeypatch.setitem(PROTOCOLS, "small", replace(PROTOCOLS["small"], passes=("random_init",)))
    dated = replace(config, model=str(save_chat_model(folder / "dated", DATED, num_hidden_layers=2)))
    other = measure(dated, warehouse, quiet).profile.run
    known = queries.runs(warehouse)
    assert other.corpus_id == run.corpus_id and other.words_hash == run.words_hash
    assert other.chat_template_hash != run.chat_template_hash
    of_each = [set(controls_of(records(known.filter(run_id=r.run_id), Run)[0], known)["run_id"]) for r in (run, other)]
    # Random weights would be shared but for the template: they read other tokens.
    assert list(map(len, of_each)) == [4, 1] and not of_each[0] & of_each[1]


def test_plain_contents_are_never_compared_with_a_rendering(config, warehouse):
    plain = measure(replace(config, chat="plain"), warehouse, quiet).profile.run
    assert plain.chat_template_hash is None and plain.n_dropped_template is None
    assert re.fullmatch(r"chats \(plain\)@[0-9a-f]{12}", plain.corpus_id)


def test_further_texts_of_a_protocol_are_read_as_they_are(config):
    parts = expand_request(replace(config, protocol="thorough", chat="plain"))
    assert [part.chat for part in parts if part.corpus != config.corpus] == ["template"] * 2


def test_no_message_leaves_with_a_parcel(config, folder, warehouse):
    marked = folder / "private.jsonl"
    text = (folder / "chats.jsonl").read_text(encoding="utf-8")
    marked.write_text(re.sub(r"\b(the|of|and|a|to|in|was|for)\b", "zyxomma", text), encoding="utf-8")
    run_id = measure(replace(config, corpus=str(marked)), warehouse, quiet).run_id
    for frame in parcels.read_parcel(warehouse.parcels / run_id).values():
        for column in frame.select(pl.col(pl.String)):
            assert not column.drop_nulls().str.contains("zyxomma|helpful model of the tests").any(), column.name


def test_the_command_line_knows_chats_by_their_shape(folder, config, warehouse):
    asked = ("--text", config.corpus, "--protocol", config.protocol, "--device", "cpu")
    done = run_core("measure", config.model, *asked, warehouse=warehouse.path)
    assert done.returncode == 0, done.stderr
    run_id = queries.runs(warehouse)["run_id"][0]
    shown = run_core("runs", "show", run_id, "--all", warehouse=warehouse.path).stdout
    assert re.search(r"left out as the chat template's +[1-9][\d,]+\n", shown), shown
    bare = str(save_chat_model(folder / "bare", None))
    write_chats(folder / "system.jsonl", system=True)
    strict = CHATML.replace("{% endif %}", "{% else %}{{ raise_exception('No system role') }}{% endif %}", 1)
    refusing = str(save_chat_model(folder / "strict", strict))
    for model, corpus, told in [
        (bare, config.corpus, "The chat template of bare cannot be used"),
        (refusing, str(folder / "system.jsonl"), "of system: No system role"),
    ]:
        done = run_core("measure", model, "--text", corpus, "--device", "cpu", warehouse=warehouse.path)
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
        assert told in done.stderr and "--chat plain" in done.stderr
