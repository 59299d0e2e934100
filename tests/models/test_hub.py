"""Models from a hub: what is fetched, by which way, and one line for each way in which that can fail."""

import errno
import json
import os
import shutil
import time

import pytest

from core.errors import ModelError, ResourceError
from core.models import network
from core.models.hub import find_weights, from_hub, wanted_files
from core.models.network import require_hub, route
from tests.hub_server import SHA, in_force, running_hub, running_proxy
from tests.tiny import save_tiny_model

NOBODY = "http://192.0.2.1"
"""An address that never answers (RFC 5737)."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with the model our/tiny, in force for this process, with a cache of its own."""
    from huggingface_hub.utils import close_session

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "HF_TOKEN", *network.BUNDLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    close_session()
    with running_hub() as hub:
        hub.repositories["our/tiny"] = save_tiny_model(tmp_path / "served")
        in_force(monkeypatch, hub.url, tmp_path)
        yield hub
    close_session()


def test_a_model_is_fetched_once_and_then_found_without_the_hub(hub, monkeypatch, tmp_path):
    (hub.repositories["our/tiny"] / "README.md").write_text("not read", encoding="utf-8")
    (hub.repositories["our/tiny"] / "tiny [Q8].gguf").write_bytes(b"the same weights again")
    (hub.repositories["our/tiny"] / "notes [1].txt").write_text("a name that is also a pattern", encoding="utf-8")
    weights = find_weights("our/tiny")
    assert {"model.safetensors", "notes [1].txt"} <= set(hub.fetched)
    assert not {"README.md", "tiny [Q8].gguf"} & set(hub.fetched)
    assert (weights.reference, weights.revision, weights.repository) == ("our/tiny", SHA, "our/tiny")
    assert weights.files[0].read_bytes() == (hub.repositories["our/tiny"] / "model.safetensors").read_bytes()
    in_force(monkeypatch, NOBODY, tmp_path)
    assert find_weights("our/tiny") == weights


def test_a_model_whose_tokenizer_is_not_in_the_cache_is_completed(hub, tmp_path):
    snapshot = tmp_path / "hub-cache" / "models--our--tiny" / "snapshots" / SHA
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text(SHA, encoding="utf-8")
    for name in ("config.json", "model.safetensors"):  # as another program leaves them, that needs no tokenizer
        shutil.copy(hub.repositories["our/tiny"] / name, snapshot)
    assert (find_weights("our/tiny").folder / "tokenizer.json").is_file()
    assert "model.safetensors" not in hub.fetched


def test_only_the_weights_that_are_loaded_are_wanted(tmp_path):
    small = ["config.json", "chat_template.jinja", "spiece.model"]
    others = [
        "consolidated.safetensors",
        "model.fp16.safetensors",
        "4bit/model.safetensors",
        "data/train.json",
        "onnx/config.json",
        "tiny.gguf",
        "pytorch_model.bin",
    ]
    single = [*small, *others, "model.safetensors"]
    assert wanted_files("our/tiny", single, lambda name: pytest.fail(name)) == [*small, "model.safetensors"]
    index = tmp_path / "index.json"
    index.write_text('{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}', encoding="utf-8")
    names = [*single, "model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"]
    wanted = wanted_files("our/tiny", names, lambda name: index)
    assert wanted == [*small, "model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"]
    with pytest.raises(
        ModelError, match=r"our/tiny has 4bit/model\.safetensors, but no model\.safetensors or GGUF file"
    ):
        wanted_files("our/tiny", ["config.json", "4bit/model.safetensors"], lambda name: index)


@pytest.mark.parametrize(
    "answer, message",
    [
        ((403, "GatedRepo"), r"is gated\. Accept its conditions at http.*/our/tiny, then log in \(`hf auth login`"),
        ((401, "RepoNotFound"), r"refused our/tiny \(no such model, or a"),
        ((403, "DisabledRepo"), "The hub has disabled our/tiny|refused our/tiny"),
        ((503, ""), r"answers 503 about our/tiny\. Try later\."),
        ((429, ""), r"answers 429 about our/tiny\. Try later\."),
    ],
)
def test_what_the_hub_refuses_is_said_with_the_way_out(answer, message, hub):
    hub.answers["our/tiny"] = answer
    with pytest.raises((ModelError, ResourceError), match=message) as caught:
        from_hub("our/tiny", "")
    assert "\n" not in str(caught.value)


def test_a_gated_repository_speaks_of_the_account_that_is_logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody")
    hub.answers["our/tiny"] = (403, "GatedRepo")
    with pytest.raises(ModelError, match=r"our/tiny is gated\. Accept its conditions at"):
        from_hub("our/tiny", "")


def test_a_revision_that_does_not_exist_is_named(hub):
    with pytest.raises(ModelError, match=r"our/tiny has no revision 'v9'\. Choose one at"):
        find_weights("our/tiny@v9")


def test_pickles_are_refused_unfetched(hub, tmp_path):
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    hub.repositories["our/pickled"] = folder
    with pytest.raises(
        ModelError, match=r"our/pickled \(hub\) has only pytorch_model\.bin, which can run code\. Convert"
    ):
        from_hub("our/pickled", "")
    assert not hub.fetched


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}},
            r"tiny cannot be measured: it needs Python code of its own\. Choose another",
        ),
        ({"model_type": "nobody"}, r"tiny cannot be measured: transformers .* does not know it\. Update it"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "tiny is quantised with awq"),
    ],
)
def test_what_would_be_refused_is_refused_before_its_weights_are_fetched(changes, message, hub):
    path = hub.repositories["our/tiny"] / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        from_hub("our/tiny", "")
    assert hub.fetched == ["config.json"]


def test_a_download_that_breaks_off_is_no_model(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)  # between its own retries
    hub.broken.add("model.safetensors")
    with pytest.raises(ResourceError, match="download of our/tiny from http.* broke off .* Try again to continue"):
        from_hub("our/tiny", "")
    hub.broken.clear()
    assert from_hub("our/tiny", "").files[0].is_file()


def test_a_full_disk_is_said(hub, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(
        ResourceError, match=r"hub-cache cannot be written to: No space left on device\. Free some space,"
    ):
        from_hub("our/tiny", "")


def test_a_slow_answer_is_waited_for(hub):
    hub.delay = 0.3
    assert from_hub("our/tiny", "").files[0].is_file()


def test_a_proxy_is_used_waited_for_and_left_out_where_no_proxy_says_so(hub, monkeypatch):
    with running_proxy() as proxy:
        proxy.delay = 0.2
        monkeypatch.setenv("http_proxy", proxy.url)
        assert route().proxy == proxy.url
        assert from_hub("our/tiny", "").files[0].is_file()
        assert any("our/tiny" in path for path in proxy.asked)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert route().proxy is None


def test_a_proxy_that_asks_for_a_password_is_said_and_passwords_are_not(hub, monkeypatch):
    with running_proxy() as proxy:
        proxy.password = "Basic right"
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:wrong@"))
        with pytest.raises(ResourceError, match=r"did not lead to .*http://user:password@host:port") as caught:
            from_hub("our/tiny", "")
    assert "wrong" not in str(caught.value)


def test_a_proxy_that_is_not_there_is_named(hub, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(
        ResourceError, match=r"through the proxy http://127\.0\.0\.1:9 cannot be reached \(Connection refused"
    ):
        from_hub("our/tiny", "")


def test_patience_is_for_detours(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(network, "DETOUR_PATIENCE", 0.4)
    monkeypatch.setattr(network, "PATIENCE", 0.1)
    in_force(monkeypatch, NOBODY, tmp_path)
    with pytest.raises(ResourceError, match=r"192\.0\.2\.1 \(HF_ENDPOINT\) cannot be reached"):
        require_hub("our/tiny")
    monkeypatch.setattr(network, "HUB", NOBODY)
    start = time.monotonic()
    with pytest.raises(ResourceError, match="cannot be reached"):
        require_hub("our/tiny")
    assert time.monotonic() - start < 5


def test_the_offline_setting_is_said(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ResourceError, match="our/tiny is not cached, and HF_HUB_OFFLINE forbids"):
        find_weights("our/tiny")
    assert not hub.asked


@pytest.mark.parametrize("variable", network.BUNDLES)
def test_certificates_are_taken_from_whichever_variable_names_them(variable, hub, monkeypatch, tmp_path):
    place = tmp_path / "certificates"
    place.mkdir() if variable.endswith("DIR") else place.write_text("", encoding="utf-8")
    others = {name: text for name, text in os.environ.items() if name not in network.BUNDLES}
    monkeypatch.setattr(os, "environ", others | {variable: str(place)})
    assert route().certificate == f"{variable}={place}"
    assert os.environ["SSL_CERT_DIR" if place.is_dir() else "SSL_CERT_FILE"] == str(place)
    assert os.environ["REQUESTS_CA_BUNDLE"] == str(place)
    monkeypatch.setattr(os, "environ", others | {variable: str(tmp_path / "absent")})
    with pytest.raises(ResourceError, match=f"{variable} names .*absent, which is not there"):
        route()


def test_of_several_folders_of_certificates_those_that_are_there_are_taken(hub, monkeypatch, tmp_path):
    named = os.pathsep.join((str(tmp_path / "absent"), str(tmp_path)))
    others = {name: text for name, text in os.environ.items() if name not in network.BUNDLES}
    monkeypatch.setattr(os, "environ", others | {"SSL_CERT_DIR": named})
    assert route().certificate == f"SSL_CERT_DIR={named}"
    assert (os.environ["SSL_CERT_DIR"], os.environ["REQUESTS_CA_BUNDLE"]) == (named, str(tmp_path))


def test_passwords_of_a_mirror_are_in_no_message(hub, monkeypatch, tmp_path):
    in_force(monkeypatch, hub.url.replace("//", "//me:secret@") + "/hf", tmp_path)
    for status in (418, 503):
        hub.answers["hf/api"] = (status, "")
        with pytest.raises((ModelError, ResourceError), match=r"http://127\.0\.0\.1:\d+/hf \(HF_ENDPOINT\)") as caught:
            from_hub("our/tiny", "")
        assert "secret" not in str(caught.value)
