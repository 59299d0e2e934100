"""Models and machines that are not as they should be, from the command to its one line."""

import errno
import json
import os
import re

import pytest
from safetensors.torch import load_file, save_file

from core.errors import ModelError, ResourceError
from core.models.hub import find_weights
from core.records import RunConfig
from core.warehouse.warehouse import Warehouse
from tests.conftest import run_core
from tests.measuring import measure
from tests.tiny import open_model, save_tiny_model

pytestmark = pytest.mark.slow


def sharded(folder):
    """The one weight file as two, with their index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names, half = sorted(tensors), len(tensors) // 2
    weight_map = {}
    for number, part in enumerate((names[:half], names[half:]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


@pytest.mark.parametrize("streamed", [False, True])
def test_a_truncated_shard_is_named(streamed, tmp_path):
    folder = sharded(save_tiny_model(tmp_path / "tiny"))
    scratch = tmp_path if streamed else None
    assert open_model(find_weights(str(folder)), device="cpu", scratch=scratch).row.n_layers == 4
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-300])
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors of tiny cannot be used \(Error while"):
        open_model(find_weights(str(folder)), device="cpu", scratch=scratch)


def test_a_tensor_that_the_index_names_and_no_shard_holds_is_missing(tmp_path):
    folder = sharded(save_tiny_model(tmp_path / "tiny"))
    shard = folder / "model-00002-of-00002.safetensors"
    tensors = load_file(shard)
    del tensors["model.norm.weight"]
    save_file(tensors, shard, metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"weights of tiny cannot be used \(model\.norm\.weight is missing\)\. Download it"
    ):
        open_model(find_weights(str(folder)), device="cpu")


def measured(folder, tmp_path, corpus="english-business", protocol="quick"):
    asked = ("--text", corpus, "--protocol", protocol)
    return run_core("measure", str(folder), *asked, warehouse=tmp_path / "w.duckdb")


def test_a_model_of_one_block_is_measured_without_a_working_dimension(small_protocol, tmp_path):
    done = measured(save_tiny_model(tmp_path / "tiny", num_hidden_layers=1), tmp_path, protocol=small_protocol)
    assert done.returncode == 0 and "– at most inside" in done.stdout
    found = (
        Warehouse(tmp_path / "w.duckdb")
        .read(
            "SELECT working_dimension, embedding_dimension, final_dimension_pre_norm, verdict_rise FROM run_summaries "
            "WHERE cloud = 'one_per_type' AND estimator = 'd2'"
        )
        .row(0, named=True)
    )
    assert found["working_dimension"] is None and found["embedding_dimension"] and found["final_dimension_pre_norm"]
    assert found["verdict_rise"] == "unclear"


@pytest.mark.parametrize(
    "n_types, corpus, message",
    [
        (300, "english-business", r"english-business gives \d+ token types; a cloud needs"),
        (2000, "japanese-business", r"gives \d+ token types.*words of its language"),
    ],
)
def test_a_tokenizer_of_bytes_is_told_before_the_weights_are_read(n_types, corpus, message, tmp_path):
    folder = save_tiny_model(tmp_path / "tiny", n_types=n_types)
    done = measured(folder, tmp_path, corpus)
    assert done.returncode == 2 and re.search(message, done.stderr) and len(done.stderr.strip().splitlines()) == 1


def full(*_arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve disk space")
def test_a_disk_without_room_for_the_states_is_found_out_before_they_are_written(tmp_path, monkeypatch):
    """Reserved, because a mapped page that finds the disk full ends the process without a word."""
    monkeypatch.setattr(os, "posix_fallocate", full)
    warehouse, folder = Warehouse(tmp_path / "w.duckdb"), save_tiny_model(tmp_path / "tiny")
    with pytest.raises(ResourceError, match=r"needs .* MB is free.*--warehouse"):
        measure(RunConfig(str(folder), "english-business", device="cpu"), warehouse, lambda step: None)
    assert not any(warehouse.jobs.glob("*")) and not warehouse.parcels.exists()


@pytest.mark.parametrize(
    "place, message",
    [
        ("core.files.os.fsync", "cannot be written to: No space"),
        ("core.store.parcels.write_atomic", r"cannot be written to: No space left on device"),
    ],
)
def test_a_disk_that_fills_while_results_are_written_is_told_and_leaves_no_half_of_them(
    place, message, small_protocol, tmp_path, monkeypatch
):
    warehouse, folder = Warehouse(tmp_path / "w.duckdb"), save_tiny_model(tmp_path / "tiny")
    asked = RunConfig(str(folder), "english-business", small_protocol, device="cpu")
    with monkeypatch.context() as patched, pytest.raises(ResourceError, match=message):
        patched.setattr(place, full)
        measure(asked, warehouse, lambda step: None)
    assert not warehouse.parcels.exists()
    assert measure(asked, warehouse, lambda step: None).profile.estimates
    assert not any(path.is_dir() for path in warehouse.jobs.glob("*"))
