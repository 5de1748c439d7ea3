"""Files of torch.save: what strangers may try."""

import io
import os
import pickle
import struct
import sys
import zipfile

import pytest
import torch
from torch import nn

from i2i.core.errors import CheckpointError
from i2i.core.files.torch_files import load_torch_file
from tests.core.files.hostile_pickles import (
    archive,
    call,
    frugal,
    group,
    legacy,
    mapping,
    name,
    number,
    numbers,
    pickled,
    storage,
    tensor,
    word,
)

HUGE = 10**12
REBUILD = "torch._utils._rebuild_"
ONE = tensor(storage(1))
OLD = tensor(storage(1, view=b"N"))
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits address space")


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def code(protocol, function=os.system, *arguments):
    return pickle.dumps({"w": Evil(function, *(arguments or ("touch pwned",)))}, protocol)


def laughs():
    """A list of ten lists of ten lists of ...: small in a file, endless for who walks through it."""
    body = b"]q\0"
    for level in range(40):
        body += b"](" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"eq" + bytes([level + 1])
    return body


def attributed(**state):
    hooks = call("collections.OrderedDict")
    arguments = (storage(1), number(0), numbers(1), numbers(1), b"\x89", hooks)
    rebuild = name(f"{REBUILD}tensor_v2"), name("torch.Tensor"), group(*arguments), mapping(**state)
    return call("torch._tensor._rebuild_from_type_v2", *rebuild)


def repeated(function, body, times, *more):
    """Calls a function of the same value again and again."""
    return body + b"q\0](" + (name(function) + group(b"h\0", *more) + b"R") * times + b"e"


def sparse(count, times):
    """Sparse tensors of the same indices, all of which are looked through for each."""
    indices = tensor(storage(count, kind="Long"), (1, count), (count, 1)) + b"q\0"
    values = tensor(storage(count, kind="Long"), (count,)) + b"q\1"
    layout = call("torch.serialization._get_layout", word("torch.sparse_coo"))
    rebuilt = call(f"{REBUILD}sparse_tensor", layout, group(b"h\0h\1", numbers(1), b"\x89"))
    return group(indices, values, *[rebuilt] * times)


def nested(count, opening=b"](", closing=b"e"):
    return opening * count + closing * count


RUNS_CODE = {
    **{f"os.system, protocol {p}": (archive(code(p)), "system") for p in range(2, 6)},
    **{f"bare, protocol {p}": (code(p), "system") for p in range(6)},
    "eval": (archive(code(2, eval, "1")), "eval"),
    "getattr": (archive(code(2, getattr, 1, "real")), "getattr"),
    "torch.load": (archive(code(2, torch.load, "x")), "torch.serialization.load"),
    "torch.jit": (archive(code(2, torch.jit.load, "x")), "load"),
    "hub": (archive(code(2, torch.hub.load, "x", "y")), "torch.hub.load"),
    "inst": (archive(pickled(b"(" + word("true") + b"ios\nsystem\n")), "os.system"),
    "obj": (archive(pickled(b"(" + name("os.system") + word("true") + b"o")), "os.system"),
    "a module": (archive(pickle.dumps(nn.Linear, 2)), "torch.nn.modules.linear.Linear"),
    "extension": (archive(pickled(b"\x82\x01")), "EXT1"),
    "new object": (archive(pickled(name("torch.Size") + b")\x81")), "NEWOBJ"),
    "text id": (archive(pickled(b"Pstorage\n")), "PERSID"),
    "encode": (archive(pickled(call("_codecs.encode", word("x"), word("my_codec")))), "_codecs.encode"),
    "class of": (
        archive(pickled(name("collections.OrderedDict") + b")R" + mapping(__class__=number(1)) + b"b")),
        "attr",
    ),
    "attribute": (archive(pickled(attributed(numel=number(1)))), "sets the attribute 'numel'"),
    "class of a tensor": (archive(pickled(attributed(__class__=name("torch.Size")))), "sets the attribute"),
    "data of a parameter": (
        archive(pickled(call(f"{REBUILD}parameter_with_state", ONE, b"\x88", b"}", mapping(data=ONE)))),
        "sets the attribute 'data'",
    ),
    "hooks": (
        archive(pickled(call(f"{REBUILD}parameter_with_state", ONE, b"\x88", mapping(a=name("torch.Size")), b"}"))),
        "with_state",
    ),
    "rebuilt by anything": (
        archive(
            pickled(call("torch._tensor._rebuild_from_type_v2", *map(name, ("torch.Size", "torch.Tensor")), b")}"))
        ),
        "from_type",
    ),
    "methods": (archive(pickled(name("collections.OrderedDict") + b")R" + mapping(items=number(1)) + b"b")), "attr"),
    "legacy": (legacy(call("os.system", word("true"))), "os.system"),
    "in the head": (pickled(call("os.system", word("true"))), "os.system"),
    "behind": (legacy(OLD) + code(2), "appended"),
    "a word as a module": (archive(pickled(name("torch._utils"))), "torch._utils"),
    "called storage": (archive(pickled(call("torch.storage.UntypedStorage", number(HUGE)))), "UntypedStorage"),
    "called dtype": (archive(pickled(call("torch.float32", number(1)))), "torch.float32"),
    "script": (archive(pickled(ONE), {"constants.pkl": b"", "code/x.py": b"1"}), "TorchScript"),
}

TAKES_MEMORY = {
    "bytearray": (archive(pickled(call("builtins.bytearray", number(HUGE)))), "bytearray"),
    "python 2's bytearray": (archive(pickled(call("__builtin__.bytearray", number(HUGE)))), "bytearray"),
    "tensor class": (archive(pickled(call("torch.FloatTensor", number(HUGE)))), "FloatTensor"),
    "tensor": (archive(pickled(call("torch.Tensor", number(HUGE)))), "Tensor"),
    "counter": (archive(pickled(call("collections.Counter", word("x")))), "Counter"),
    "set": (archive(pickled(call("builtins.set", number(9)))), "set"),
    "numpy": (archive(pickled(call("numpy.core.multiarray._reconstruct", number(1)))), "numpy"),
    "from numpy": (archive(pickled(call(f"{REBUILD}device_tensor_from_numpy", number(1)))), "numpy"),
    "sparse": (archive(pickled(call(f"{REBUILD}sparse_tensor", number(1)))), "sparse"),
    "quantized": (archive(pickled(call(f"{REBUILD}qtensor", number(1)))), "qtensor"),
    "meta": (archive(pickled(call(f"{REBUILD}meta_tensor_no_storage", number(1)))), "meta"),
    "subclass": (archive(pickled(call(f"{REBUILD}wrapper_subclass", number(1)))), "subclass"),
    "attributes": (archive(pickled(call(f"{REBUILD}parameter_with_state", ONE, b"\x89", b"N", b"}"))), "with_state"),
    "any type": (archive(pickled(call("torch._tensor._rebuild_from_type_v2", number(1)))), "from_type"),
    "claim": (archive(pickled(tensor(storage(HUGE), (HUGE,)))), "claims 4000000000000 bytes and has 4"),
    "claim of others": (archive(pickled(group(storage(1), storage(1, kind="Double")) + ONE)), "two ways"),
    "no record": (archive(pickled(tensor(storage(1, "9")))), "has no in the file"),
    "beyond": (archive(pickled(tensor(storage(1), (HUGE,)))), "does not fit its storage"),
    "offset": (archive(pickled(tensor(storage(1), (1,), offset=1))), "does not fit its storage"),
    "strides": (archive(pickled(tensor(storage(1), (2,), (HUGE,)))), "does not fit its storage"),
    "expanded": (archive(pickled(tensor(storage(1), (HUGE,), (0,)))), "its values repeat"),
    "expanded often": (archive(pickled(group(*[tensor(storage(1), (500,), (0,))] * 10))), "its values repeat"),
    "negative size": (archive(pickled(tensor(storage(1), (-1,)))), "described wrongly"),
    "negative stride": (archive(pickled(tensor(storage(1), (1,), (-1,)))), "described wrongly"),
    "negative offset": (archive(pickled(tensor(storage(1), (1,), offset=-1))), "described wrongly"),
    "negative storage": (archive(pickled(tensor(storage(-1)))), "described wrongly"),
    "overflow": (archive(pickled(tensor(storage(1), (2**40, 2**40)))), "does not fit its storage"),
    "giant number": (archive(pickled(tensor(storage(2**900)))), "described wrongly"),
    "giant stride": (archive(pickled(tensor(storage(1), (1,), (2**900,)))), "described wrongly"),
    "fewer strides": (archive(pickled(tensor(storage(1), (1, 1), (1,)))), "described wrongly"),
    "true for one": (
        archive(pickled(call(f"{REBUILD}tensor", storage(1), number(0), group(b"\x88"), numbers(1)))),
        "described wrongly",
    ),
    "deep lists": (archive(pickled(nested(10**5))), "nested too deeply"),
    "deep tuples": (archive(pickled(b")" + b"\x85" * 10**5)), "nested too deeply"),
    "deep key": (archive(pickled(b"}" + b")" + b"\x85" * 10**5 + b"Ns")), "a key of its dictionaries"),
    "tensor as a key": (archive(pickled(b"}" + ONE + b"Ns")), "a key of its dictionaries"),
    "encoded often": (
        archive(pickled(repeated("_codecs.encode", word("x" * 500_000), 5000, word("latin1")))),
        "many copies",
    ),
    "ordered often": (
        archive(pickled(repeated("collections.OrderedDict", b"](" + b"](K\1K\2e" * 30_000 + b"e", 10_000))),
        "many copies",
    ),
    "sets often": (archive(pickled(repeated("builtins.set", b"](" + b"N" * 10_000 + b"e", 10_000))), "many copies"),
    "counters often": (
        archive(pickled(repeated("collections.Counter", mapping(**{f"k{i}": b"N" for i in range(10_000)}), 10_000))),
        "many copies",
    ),
    "legacy often": (
        legacy(repeated("_codecs.encode", word("x" * 500_000), 5000, word("latin1"))),
        "many copies",
    ),
    "sparse often": (archive(pickled(sparse(50_000, 3000)), {"data/0": bytes(400_000)}), "their values repeat"),
    "tuples as keys": (
        archive(pickled(b"}(" + b"".join(group(number(i)) + b"N" for i in range(10_001)) + b"u")),
        "keys that are tuples",
    ),
    "long key often": (archive(pickled(b"(" + b"N" * 10_000 + b"tq\0}(" + b"h\0N" * 9_000 + b"u")), "many copies"),
    "keys of one hash": (
        archive(pickled(b"}(" + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(60_000)) + b"u")),
        "neither text nor a number",
    ),
    "attributes that laugh": (archive(pickled(attributed(x=nested(300)))), "nested too deeply"),
    "laughs": (archive(pickled(laughs())), "nested too deeply, or hold themselves"),
    "itself": (archive(pickled(b"]q\0h\0a")), "hold themselves"),
    "long word": (archive(pickled(b"X\xff\xff\xff\xff")), "damaged"),
    "long number": (archive(pickled(b"\x8b\xff\xff\xff\x7f")), "damaged"),
    "long bytes": (archive(pickled(b"\x8e" + b"\xff" * 7 + b"\x0f")), "damaged"),
    "high memo": (archive(pickled(b"]r\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff")), "damaged"),
    "digits": (archive(pickled(b"L" + b"9" * 10**6 + b"L\n")), "damaged"),
    "legacy claim": (legacy(tensor(storage(HUGE, view=b"N"), (HUGE,))), "more bytes than the file has"),
    "legacy claims": (
        legacy(group(*[storage(1000, str(i), view=b"N") for i in range(100)])),
        "more bytes than the file has",
    ),
    "legacy two kinds": (legacy(group(storage(1, view=b"N"), storage(4, kind="Byte", view=b"N"))), "two ways"),
    "legacy expanded": (legacy(tensor(storage(1, view=b"N"), (HUGE,), (0,))), "its values repeat"),
}


def view(offset, length, key="1"):
    return storage(1, view=group(word(key), number(offset), number(length)))


def zipped(change):
    """An archive of one tensor, whose list of records a stranger has changed."""
    data = bytearray(archive(pickled(ONE)))
    change(data, data.index(b"PK\1\2"))
    return bytes(data)


def overlapping():
    """Two records that are one place in the file."""
    data = archive(pickled(ONE), {"data/0": b"\0\0\x80\x3f", "data/1": b"\0\0\x80\x3f"})
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        at = opened.getinfo("archive/data/0").header_offset
    entry = data.rindex(b"PK\1\2", 0, data.rindex(b"archive/data/1"))
    return data[: entry + 42] + struct.pack("<I", at) + data[entry + 46 :]


TWICE = archive(pickled(ONE), {"data/0": b"\0\0\x80\x3f", "data/1": b"\0\0\x80\x3f"})

DAMAGED = {
    "bomb": (archive(pickled(ONE), {"data/0": b"\0" * 10**7}, zipfile.ZIP_DEFLATED), "compressed"),
    "claimed length": (
        zipped(lambda d, at: d.__setitem__(slice(at + 20, at + 28), b"\xf0\xff\xff\x7f" * 2)),
        "claim more",
    ),
    "checksum": (zipped(lambda d, at: d.__setitem__(at + 16, d[at + 16] ^ 1)), "checksum"),
    "encrypted": (zipped(lambda d, at: d.__setitem__(at + 8, 1)), "damaged"),
    "the same name": (TWICE.replace(b"archive/data/1", b"archive/data/0"), "the same name"),
    "a second pickle": (
        archive(pickled(ONE), {"data/0": b"\0\0\x80\x3f", "DATA.PKL": pickled(call("torch.Tensor", number(HUGE)))}),
        "the same name",
    ),
    "the same place": (overlapping(), "damaged"),
    "no pickle": (archive(pickled(ONE)).replace(b"data.pkl", b"data.pkx"), "no data.pkl"),
    "no records": (b"PK\5\6" + bytes(18), "begins unlike one"),
    "appended": (archive(pickled(ONE)) + b"x", "appended"),
    "prepended": (b"PK\3\4" + archive(pickled(ONE)), "list of records"),
    "another list": (archive(pickled(ONE)) + archive(pickled(ONE)), "list of records"),
    "byte order": (archive(pickled(ONE)).replace(b"little", b"lottle"), "checksum"),
    "underflow": (archive(pickled(b"0")), "POP"),
    "nothing on the stack": (archive(pickled(b"")), "damaged"),
    "no mark": (archive(pickled(b"t")), "damaged"),
    "no end": (archive(b"\x80\x02]"), "damaged"),
    "no pickle at all": (archive(b""), "damaged"),
    "no memo": (archive(pickled(b"h\0")), "damaged"),
    "odd pairs": (archive(pickled(b"}(" + word("a") + b"u")), "damaged"),
    "no list": (archive(pickled(b"}Na")), "damaged"),
    "bad utf-8": (archive(pickled(b"X\x02\0\0\0\xff\xff")), "damaged"),
    "another id": (archive(pickled(group(word("module"), *[b"N"] * 4) + b"Q")), "damaged"),
    "id of nothing": (archive(pickled(b"NQ")), "damaged"),
    "magic": (legacy(OLD, magic=5), "another kind of pickle"),
    "legacy cut": (legacy(OLD)[:-1], "cut off"),
    "legacy count": (legacy(OLD, content=b"\x02" + bytes(15)), "another size"),
    "legacy negative": (legacy(OLD, content=b"\xff" * 8 + bytes(4)), "another size"),
    "legacy no storage": (legacy(OLD, ()), "list of storages"),
    "legacy twice": (legacy(OLD, ("0", "0")), "list of storages"),
    "legacy other": (legacy(OLD, ("1",)), "list of storages"),
    "view beyond": (legacy(view(1, 1)), "leaves the storage"),
    "two views": (legacy(group(view(0, 1), view(0, 0))), "two ways"),
    "view as storage": (legacy(group(view(0, 1, "0"))), "two ways"),
    "tar": (b"storages" + bytes(249) + b"ustar\x0000" + bytes(1000), "begins unlike one"),
    "empty": (b"", "empty"),
    "page": (b"\n <!DOCTYPE html><html>404", "web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "safetensors": (struct.pack("<Q", 16) + b'{"a":{}}        ', "safetensors"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "begins unlike one"),
    "text": (b"no torch file", "begins unlike one"),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "begins unlike one"),
    "half a pickle": (b"\x80\x02", "damaged"),
}
HOSTILE = RUNS_CODE | TAKES_MEMORY | DAMAGED


@linux
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    content, reason = HOSTILE[case]
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with frugal(), pytest.raises(CheckpointError) as error:
        load_torch_file(path)
    message = str(error.value)
    assert str(path) in message and reason in message and "\n" not in message and "MemoryError" not in message
    if case in RUNS_CODE and case != "behind":
        assert "it could run code" in message
    assert list(tmp_path.iterdir()) == [path]  # nothing was run


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match=str(path)):
            load_torch_file(path)


def test_the_hostile_legacy_files_are_refused_for_one_flaw(tmp_path):
    (tmp_path / "x.pth").write_bytes(legacy(OLD))
    assert load_torch_file(tmp_path / "x.pth").tolist() == [1]
    (tmp_path / "x.pth").write_bytes(archive(pickled(ONE)))
    assert load_torch_file(tmp_path / "x.pth").tolist() == [1]


def test_a_pickle_has_an_end(tmp_path, monkeypatch):
    (tmp_path / "x.pth").write_bytes(archive(pickled(b"]" + b"]a" * 1000)))
    assert load_torch_file(tmp_path / "x.pth") == [[]] * 1000
    monkeypatch.setattr("i2i.core.files.torch_pickles._MAX_INSTRUCTIONS", 1000)
    with pytest.raises(CheckpointError, match="more than a file of tensors would"):
        load_torch_file(tmp_path / "x.pth")
