"""Our own files of tensors, against the library that others read them with."""

import json
import struct

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from i2i.core.errors import CheckpointError
from i2i.core.files.tensor_files import check_digest, read_outline, read_tensors, read_values, write_tensor_file

TYPES = [
    torch.float16, torch.float32, torch.float64, torch.bfloat16,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool,
]  # fmt: skip


def tensors():
    rng = torch.Generator().manual_seed(0)
    made = {f"t{i}": torch.randint(0, 2, (3, i + 1), generator=rng).to(dtype) for i, dtype in enumerate(TYPES)}
    turned = torch.rand(4, 5, generator=rng).T
    return made | {"turned": turned, "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 7), "ä/ö": torch.ones(1)}


def test_the_library_reads_what_we_write(tmp_path):
    path, written = tmp_path / "x.safetensors", tensors()
    write_tensor_file(path, written, {"name": "é", "list": [1, {"a": None}]})
    found = load_file(path)
    assert found.keys() == written.keys()
    for name, tensor in written.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name
    with safe_open(str(path), "pt") as file:
        assert json.loads(file.metadata()["name"]) == "é"
    assert {k: v.shape for k, v in read_outline(path).items()} == {k: v.shape for k, v in written.items()}


def test_every_tensor_lies_on_a_multiple_of_its_element(tmp_path):
    """Memory-mapped readers need that."""
    write_tensor_file(tmp_path / "x", tensors(), {})
    data = (tmp_path / "x").read_bytes()
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    assert (8 + length) % 8 == 0
    for name, tensor in tensors().items():
        assert (8 + length + header[name]["data_offsets"][0]) % tensor.element_size() == 0, name


def test_the_checksum_is_that_of_the_file_with_zeros_in_its_place(tmp_path):
    import hashlib

    path = tmp_path / "x"
    write_tensor_file(path, tensors(), {"a": 1})
    digest = read_values(path, "file")["sha256"]
    blanked = path.read_bytes().replace(digest.encode(), b"0" * 64)
    assert hashlib.sha256(blanked).hexdigest() == digest
    check_digest(path, "file")


@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 0.999])
def test_one_changed_byte_is_found(tmp_path, place):
    path = tmp_path / "x"
    write_tensor_file(path, {"w": torch.rand(1000)}, {})
    data = bytearray(path.read_bytes())
    start = 8 + struct.unpack_from("<Q", data)[0]
    data[start + int(place * (len(data) - start))] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum is wrong"):
        check_digest(path, "checkpoint")


def test_prefixes_are_cut_off(tmp_path):
    write_tensor_file(tmp_path / "x", {"G.w": torch.ones(1), "F.w": torch.zeros(1)}, {})
    assert read_tensors(tmp_path / "x", "G.").keys() == {"w"}
    assert read_outline(tmp_path / "x", "F.").keys() == {"w"}


def test_types_of_other_programs_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"w is of the type torch\.complex64"):
        write_tensor_file(tmp_path / "x", {"w": torch.zeros(1, dtype=torch.complex64)}, {})
    assert not list(tmp_path.iterdir())


def test_numpy_agrees_on_every_bit(tmp_path):
    value = torch.tensor(np.random.default_rng(0).integers(0, 2**32, 64, dtype=np.uint32).view(np.float32))
    write_tensor_file(tmp_path / "x", {"w": value}, {})
    assert (tmp_path / "x").read_bytes().endswith(value.numpy().tobytes())
