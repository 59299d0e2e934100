"""What the first bytes of weight files say."""

import struct

import gguf
import numpy as np
import pytest
import torch
import transformers

from core.errors import ModelError
from core.models.hub import find_weights
from core.models.loading import check_files
from core.models.weights import gguf_entries, named, stored_dtype


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_format_of_safetensors(tiny_llama, tmp_path, dtype):
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=getattr(torch, dtype))
    model.save_pretrained(tmp_path)
    assert stored_dtype(find_weights(str(tmp_path))) == dtype


def test_the_format_of_most_numbers_is_named():
    assert named({"F32": 10, "BF16": 1000}) == "bfloat16"
    assert named({"I8": 5}) == "I8" and named({}) is None


@pytest.fixture
def gguf_file(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_languages(["en", "ja"])
    writer.add_license("apache-2.0")
    writer.add_token_list(["a", "b", "c"])
    writer.add_token_scores([0.5, 0.25, 0.125])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "model.gguf"


def test_the_entries_of_a_gguf_file_beyond_its_lists(gguf_file):
    entries = gguf_entries(gguf_file)
    assert (entries["general.architecture"], entries["general.license"]) == ("llama", "apache-2.0")
    assert stored_dtype(find_weights(str(gguf_file))) == "Q4_K_M"


def test_a_file_that_breaks_off_is_damaged(gguf_file):
    gguf_file.write_bytes(gguf_file.read_bytes()[:100])
    with pytest.raises(
        ModelError, match=r"test_a_file_that_breaks_off_is0 cannot be used \(unpack requires a buffer of 4 b"
    ):
        check_files(find_weights(str(gguf_file)))


@pytest.mark.parametrize("length", [200, 2**45, 2**62, 2**64 - 1])
@pytest.mark.parametrize("entry", ["key", "text", "numbers", "texts"])
def test_a_length_beyond_the_file_is_damage(tmp_path, length, entry):
    begun = {
        "key": b"",
        "text": struct.pack("<Q", 1) + b"a" + struct.pack("<I", 8),
        "numbers": struct.pack("<Q", 1) + b"a" + struct.pack("<II", 9, 4),
        "texts": struct.pack("<Q", 1) + b"a" + struct.pack("<II", 9, 8),
    }[entry]
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + begun + struct.pack("<Q", length) + b"abc")
    with pytest.raises(ModelError, match=r"cannot be used \(a length beyond the end of the "):
        gguf_entries(path)
