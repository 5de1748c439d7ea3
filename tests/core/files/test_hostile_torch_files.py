"""Files of torch.save: what strangers may try."""

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
    name,
    number,
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


def repeated(function, body, times, *more):
    """Calls a function of the same value again and again."""
    return body + b"q\0](" + (name(function) + group(b"h\0", *more) + b"R") * times + b"e"


def nested(count, opening=b"](", closing=b"e"):
    return opening * count + closing * count


RUNS_CODE = {
    **{f"os.system, protocol {p}": archive(code(p)) for p in range(2, 6)},
    **{f"bare, protocol {p}": code(p) for p in range(6)},
    "eval": archive(code(2, eval, "1")),
    "getattr": archive(code(2, getattr, 1, "real")),
    "torch.load": archive(code(2, torch.load, "x")),
    "torch.jit": archive(code(2, torch.jit.load, "x")),
    "hub": archive(code(2, torch.hub.load, "x", "y")),
    "inst": archive(pickled(b"(" + word("true") + b"ios\nsystem\n")),
    "obj": archive(pickled(b"(" + name("os.system") + word("true") + b"o")),
    "a module": archive(pickle.dumps(nn.Linear, 2)),
    "extension": archive(pickled(b"\x82\x01")),
    "text id": archive(pickled(b"Pstorage\n")),
    "legacy": legacy(call("os.system", word("true"))),
    "in the head": pickled(call("os.system", word("true"))),
    "a word as a module": archive(pickled(name("torch._utils"))),
    "numpy": archive(pickled(call("numpy.core.multiarray._reconstruct", number(1)))),
    "script": archive(pickled(ONE), {"constants.pkl": b"", "code/x.py": b"1"}),
    "another id": archive(pickled(group(word("module"), *[b"N"] * 4) + b"Q")),
}

TAKES_MEMORY = {
    "called storage": archive(pickled(call("torch.storage.UntypedStorage", number(HUGE)))),
    "bytearray": archive(pickled(call("builtins.bytearray", number(HUGE)))),
    "python 2's bytearray": archive(pickled(call("__builtin__.bytearray", number(HUGE)))),
    "tensor class": archive(pickled(call("torch.FloatTensor", number(HUGE)))),
    "tensor": archive(pickled(call("torch.Tensor", number(HUGE)))),
    "encoded often": archive(pickled(repeated("_codecs.encode", word("x" * 500_000), 5000, word("latin1")))),
    "legacy often": legacy(repeated("_codecs.encode", word("x" * 500_000), 5000, word("latin1"))),
    "legacy claim": legacy(tensor(storage(HUGE, view=b"N"), (HUGE,))),
    "a second pickle": archive(
        pickled(ONE), {"data/0": b"\0\0\x80\x3f", "DATA.PKL": pickled(call("torch.Tensor", number(HUGE)))}
    ),
}


def zipped(change):
    """Returns an archive of one tensor, whose list of records a stranger has changed."""
    data = bytearray(archive(pickled(ONE)))
    change(data, data.index(b"PK\1\2"))
    return bytes(data)


DAMAGED = {
    "claim": (archive(pickled(tensor(storage(HUGE), (HUGE,)))), "damaged"),
    "no record": (archive(pickled(tensor(storage(1, "9")))), "damaged"),
    "beyond": (archive(pickled(tensor(storage(1), (HUGE,)))), "damaged"),
    "offset": (archive(pickled(tensor(storage(1), (1,), offset=1))), "damaged"),
    "strides": (archive(pickled(tensor(storage(1), (2,), (HUGE,)))), "damaged"),
    "overflow": (archive(pickled(tensor(storage(1), (2**40, 2**40)))), "damaged"),
    "codec": (archive(pickled(call("_codecs.encode", word("x"), word("my_codec")))), "damaged"),
    "long word": (archive(pickled(b"X\xff\xff\xff\xff")), "damaged"),
    "bomb": (archive(pickled(ONE), {"data/0": b"\0" * 10**7}, zipfile.ZIP_DEFLATED), "compressed"),
    "claimed length": (
        zipped(lambda d, at: d.__setitem__(slice(at + 20, at + 28), b"\xf0\xff\xff\x7f" * 2)),
        "claim more",
    ),
    "checksum": (zipped(lambda d, at: d.__setitem__(at + 16, d[at + 16] ^ 1)), "checksum"),
    "encrypted": (zipped(lambda d, at: d.__setitem__(at + 8, 1)), "damaged"),
    "no pickle": (archive(pickled(ONE)).replace(b"data.pkl", b"data.pkx"), "no data.pkl"),
    "no records": (b"PK\5\6" + bytes(18), "begins unlike one"),
    "prepended": (b"PK\3\4" + archive(pickled(ONE)), "damaged"),
    "byte order": (archive(pickled(ONE)).replace(b"little", b"lottle"), "checksum"),
    "nothing on the stack": (archive(pickled(b"")), "damaged"),
    "no end": (archive(b"\x80\x02]"), "damaged"),
    "no pickle at all": (archive(b""), "damaged"),
    "no memo": (archive(pickled(b"h\0")), "damaged"),
    "bad utf-8": (archive(pickled(b"X\x02\0\0\0\xff\xff")), "damaged"),
    "magic": (legacy(OLD, magic=5), "damaged"),
    "legacy cut": (legacy(OLD)[:-1], "damaged"),
    "legacy count": (legacy(OLD, content=b"\x02" + bytes(15)), "damaged"),
    "legacy claims": (legacy(group(*[storage(1000, str(i), view=b"N") for i in range(100)])), "damaged"),
    "legacy other": (legacy(OLD, ("1",)), "damaged"),
    "tar": (b"storages" + bytes(249) + b"ustar\x0000" + bytes(1000), "begins unlike one"),
    "empty": (b"", "empty"),
    "page": (b"\n <!DOCTYPE html><html>404", "web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "safetensors": (struct.pack("<Q", 16) + b'{"a":{}}        ', "safetensors"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "begins unlike one"),
    "text": (b"no torch file", "begins unlike one"),
    "half a pickle": (b"\x80\x02", "damaged"),
}
HOSTILE = {
    **{case: (content, "it could run code") for case, content in RUNS_CODE.items()},
    **{case: (content, "not enough memory") for case, content in TAKES_MEMORY.items()},
    **DAMAGED,
}


@linux
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
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
    assert list(tmp_path.iterdir()) == [path]  # nothing was run


@pytest.mark.parametrize("function", ["torch.hub.load", "os.system", "eval"])
def test_a_function_that_is_asked_for_is_named(tmp_path, function):
    pickled_call = pickled(call(function, word("x"))) if "." in function else code(2, eval, "1")
    (tmp_path / "x.pth").write_bytes(archive(pickled_call))
    with pytest.raises(CheckpointError, match=f"asks for {function}, and was refused"):
        load_torch_file(tmp_path / "x.pth")


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
