"""Files of torch.save: what is read, and what damage does to them."""

import random
import struct
from collections import OrderedDict

import pytest
import torch
from torch import nn

from i2i.core.errors import CheckpointError
from i2i.core.files.torch_files import load_torch_file
from tests.core.files.hostile_pickles import (
    call,
    equal,
    group,
    legacy,
    name,
    number,
    numbers,
)

REBUILD = "torch._utils._rebuild_"


def state():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    return {
        "networks": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "numbers": [1, 2.5, True, None, 2**70, float("inf"), -3],
        "words": ("a", "ü", "", b"bytes \xff"),
        "config": {"trainer": {"steps": 5}, "list": [[], {}, ()]},
    }


VALID = {
    "state": state(),
    "ordered": OrderedDict(a=torch.ones(2), b=torch.arange(3)),
    "tensor": torch.eye(3),
    "parameter": nn.Parameter(torch.ones(2)),
    "views": {"steps": torch.arange(100.0)[3:9:2], "t": torch.ones(3, 4).t(), "expanded": torch.ones(1).expand(5)},
    "empty": {"none": torch.zeros(0, 3), "scalar": torch.tensor(2.0)},
    "kinds": [torch.ones(2, dtype=d) for d in (torch.half, torch.bfloat16, torch.bool, torch.uint8, torch.cfloat)],
    "others": {"size": torch.Size([1, 2]), "device": torch.device("cpu"), "dtype": torch.float16},
    "collections": [{1, "a", None, (1, 2)}, set(), bytearray(b"ab"), bytearray(), 1 + 2j, {(1, "a"): 2, (): 3}],
    "schedule": torch.optim.lr_scheduler.MultiStepLR(torch.optim.SGD([torch.ones(1)]), [3, 3, 5]).state_dict(),
    "shared": (lambda x: [x, x, x[1:]])(torch.arange(4.0)),
}


@pytest.mark.parametrize("is_archive", [True, False])
@pytest.mark.parametrize("key", VALID)
def test_what_torch_saves_is_read(tmp_path, key, is_archive):
    path = tmp_path / "x.pth"
    torch.save(VALID[key], path, _use_new_zipfile_serialization=is_archive)
    assert equal(load_torch_file(path), VALID[key])


def test_kinds_without_a_storage_of_their_own(tmp_path):
    saved = {"u": torch.tensor([1, 2], dtype=torch.uint16), "f": torch.ones(4).to(torch.float8_e4m3fn)}
    torch.save(saved, tmp_path / "x.pth")
    found = load_torch_file(tmp_path / "x.pth")
    assert equal(found["u"], saved["u"]) and equal(found["f"].float(), saved["f"].float())


@pytest.mark.filterwarnings("ignore:Validating sparse:UserWarning", "ignore:Sparse CSR:UserWarning")
@pytest.mark.parametrize("is_archive", [True, False])
def test_tensors_of_other_kinds_are_read(tmp_path, is_archive):
    noted, tagged = torch.ones(2), nn.Parameter(torch.ones(3))
    noted.note, tagged.tag = "x", [torch.zeros(1)]
    dense = torch.tensor([[0.0, 2], [0, 3]])
    saved = {"noted": noted, "tagged": tagged, "buffer": nn.Buffer(dense)}
    saved |= {"coo": dense.to_sparse(), "csr": dense.to_sparse_csr(), "layout": torch.sparse_coo}
    torch.save(saved, tmp_path / "x.pth", _use_new_zipfile_serialization=is_archive)
    found = load_torch_file(tmp_path / "x.pth")
    assert found["noted"].note == "x" and equal(found["tagged"].tag, tagged.tag) and found["layout"] == saved["layout"]
    assert equal(found["buffer"], dense) and equal(found["noted"], torch.ones(2))
    assert all(
        found[kind].layout == saved[kind].layout and equal(found[kind].to_dense(), dense) for kind in ("coo", "csr")
    )


def test_files_of_2017_are_read(tmp_path):
    # Python 2: byte strings, an OrderedDict from a list of pairs, the first rebuild function, a view as a storage.
    def text(value):
        return b"U" + bytes([len(value)]) + value.encode()

    def stored(view):
        return group(text("storage"), name("torch.FloatStorage"), text("7"), text("cuda:0"), number(4), view) + b"Q"

    def rebuilt(view, length):
        return call(f"{REBUILD}tensor", stored(view), number(0), numbers(length), numbers(1))

    pairs = [text("w") + rebuilt(b"N", 4), text("v") + rebuilt(group(text("8"), number(1), number(2)), 2)]
    body = name("collections.OrderedDict") + group(b"](" + b"".join(b"](" + pair + b"e" for pair in pairs) + b"e")
    path = tmp_path / "old.pth"
    path.write_bytes(legacy(body + b"R", ("7",), struct.pack("<q4f", 4, 1, 2, 3, 4)))
    found = load_torch_file(path)
    assert list(found) == ["w", "v"]
    assert found["w"].tolist() == [1, 2, 3, 4] and found["v"].tolist() == [2, 3]


def damages(data, count, seed):
    """Twice ``count`` ways in which a file goes bad: bits, blocks, ends."""
    rng = random.Random(seed)
    ends = [*range(64), *range(len(data) - 300, len(data))]
    for place in [
        *rng.sample(ends, min(count // 2, len(ends))),
        *(rng.randrange(len(data)) for _ in range(count // 2)),
    ]:
        yield data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
    for _ in range(count // 3):
        begin, length = rng.randrange(len(data)), rng.choice([1, 8, 64, 512])
        yield data[:begin] + bytes(len(data[begin : begin + length])) + data[begin + length :]
        yield data[: rng.randrange(len(data))]
        yield data[:begin] + data[begin + length :]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("is_archive", [True, False])
def test_damage_anywhere_is_found_or_changes_nothing(tmp_path, is_archive):
    path, saved = tmp_path / "x.pth", state()
    torch.save(saved, path, _use_new_zipfile_serialization=is_archive)
    found = 0
    for damaged in damages(path.read_bytes(), 200, seed=0):
        path.write_bytes(damaged)
        try:
            loaded = load_torch_file(path)
        except CheckpointError:
            found += 1
        else:
            # The old format has no checksums: it must not do harm, and may differ.
            assert not is_archive or equal(loaded, saved)
    assert found > 200
