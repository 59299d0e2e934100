"""Cards of hub models that are not here, asked of a hub on this machine."""

import json

import pytest

from tests.chats import save_chat_model, write_chats
from tests.conftest import run_core, start_core
from tests.hub_server import in_force, running_hub
from tests.tiny import save_tiny_model


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    with running_hub() as hub:
        for name in ("open", "gated", "pickled", "foreign", "unheard", "bare", "wordy"):
            hub.repositories[f"owner/{name}"] = save_tiny_model(folder / name)
        hub.told["owner/open"] = {
            "cardData": {"license": "mit"},
            "safetensors": {"parameters": {"BF16": 275_376}, "total": 275_376},
        }
        hub.told["owner/gated"] = {"gated": "manual"}
        hub.closed.add("owner/gated")
        (folder / "pickled" / "model.safetensors").rename(folder / "pickled" / "pytorch_model.bin")
        (folder / "bare" / "config.json").unlink()
        _change(folder / "foreign", model_type="new", auto_map={"AutoConfig": "configuration_new.New"})
        _change(folder / "unheard", model_type="new")
        (folder / "wordy" / "tokenizer.json").write_bytes(b" " * 5 * 2**20)
        hub.repositories["owner/chat"] = save_chat_model(folder / "chat")
        (folder / "chat" / "consolidated.safetensors").write_bytes(b"the same weights again")
        yield hub


def _change(folder, **entries):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | entries), encoding="utf-8")


@pytest.fixture
def ask(hub, tmp_path, monkeypatch):
    """The cards of models of this hub, and the exit code; `start` is run_core or start_core."""
    in_force(monkeypatch, hub.url, tmp_path / "hf")
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}

    def ask(*models, corpus="english-business", start=run_core):
        asked = ("measure", *models, "--text", corpus, "--estimate-only", "--json")
        done = start(*asked, warehouse=tmp_path / "w.duckdb", **environment)
        assert done.stdout, done.stderr[-2000:]
        return done.returncode, json.loads(done.stdout)

    return ask


def test_a_model_of_the_hub_is_told_without_its_weights(hub, ask, tmp_path):
    hub.fetched.clear()
    code, [card] = ask("owner/open", start=start_core)
    folder = hub.repositories["owner/open"]
    assert (code, card["refusals"]) == (0, [])
    assert (card["where"], card["licence"], card["stored_dtype"]) == ("hub", "mit", "bfloat16")
    assert (card["architecture"], card["parameters"], card["n_layers"]) == ("LlamaModel", 275_376, 4)
    assert card["weight_bytes"] == (folder / "model.safetensors").stat().st_size
    assert card["download_bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert card["n_tokens"] == 4096 and card["seconds"] > 1 and card["memory_bytes"] > 10**8
    assert set(hub.fetched) == {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert not list((tmp_path / "hf").rglob("*.json")) and not (tmp_path / "w.duckdb").exists()


def test_what_will_be_refused_is_said_before_the_download(hub, ask):
    names = ("gated", "pickled", "foreign", "unheard", "bare", "nobody", "open@v9")
    code, cards = ask(*(f"owner/{name}" for name in names))
    assert code == 2
    reasons = {name: " ".join(card["refusals"]) for name, card in zip(names, cards, strict=True)}
    assert "owner/gated is gated" in reasons["gated"]
    assert "pytorch_model.bin, which can run code" in reasons["pickled"]
    assert "Python code of its own" in reasons["foreign"]
    assert "does not know it" in reasons["unheard"]
    assert "no config.json" in reasons["bare"]
    assert f"{hub.url} (HF_ENDPOINT) refused owner/nobody" in reasons["nobody"]
    assert "owner/open has no revision 'v9'" in reasons["open@v9"]


def test_a_large_tokenizer_is_not_fetched_and_what_hangs_on_it_is_unknown(hub, ask):
    hub.fetched.clear()
    code, [card] = ask("owner/wordy")
    assert code == 0 and hub.fetched == ["config.json"]
    assert card["n_layers"] == 4 and card["batch"] == 8
    assert card["seconds"] is None and card["n_points"] is None
    assert any("tokenizer is known after the download only" in note for note in card["notes"])


def test_a_template_in_a_file_of_its_own_is_known_and_weights_of_other_names_are_not_counted(hub, ask, tmp_path):
    folder = hub.repositories["owner/chat"]
    assert (folder / "chat_template.jinja").is_file()
    code, [card] = ask("owner/chat", corpus=str(write_chats(tmp_path / "c.jsonl", turns=4)))
    assert (code, card["refusals"]) == (0, []) and card["n_points"]
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    assert card["download_bytes"] == sum(sizes.values()) - sizes["consolidated.safetensors"]


def test_a_revision_is_asked_for_and_named(hub, ask):
    _, [card] = ask("owner/open@main")
    assert card["refusals"] == [] and card["name"] == "open"
    assert any(path.endswith("owner/open/revision/main") for path in hub.asked)
