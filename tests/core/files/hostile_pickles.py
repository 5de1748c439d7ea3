"""Pickles written instruction by instruction, and the archives of torch.save around them."""

import io
import resource
import struct
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import torch


def name(path):
    """Imports ``module.attribute``."""
    module, _, attribute = path.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def word(text):
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def group(*items):
    """A tuple."""
    return b"(" + b"".join(items) + b"t"


def numbers(*values):
    return group(*map(number, values))


def call(function, *arguments):
    return name(function) + group(*arguments) + b"R"


def storage(count, key="0", kind="Float", view=b""):
    """A storage; files of before torch 1.6 also say of which part of it, or ``b"N"``."""
    return group(word("storage"), name(f"torch.{kind}Storage"), word(key), word("cpu"), number(count), view) + b"Q"


def tensor(stored, shape=(1,), strides=None, offset=0):
    steps = (1,) * len(shape) if strides is None else strides
    hooks = call("collections.OrderedDict")
    arguments = (stored, number(offset), numbers(*shape), numbers(*steps), b"\x89", hooks)
    return call("torch._utils._rebuild_tensor_v2", *arguments)


def mapping(**items):
    return b"}(" + b"".join(word(key) + value for key, value in items.items()) + b"u"


def pickled(body, protocol=2):
    return b"\x80" + bytes([protocol]) + body + b"."


def archive(pickle, records=None, compression=zipfile.ZIP_STORED, folder="archive"):
    """Returns an archive as torch.save writes it; by default with one storage of one float."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        out.writestr(f"{folder}/data.pkl", pickle)
        out.writestr(f"{folder}/byteorder", "little")
        for key, content in ({"data/0": b"\0\0\x80\x3f"} if records is None else records).items():
            out.writestr(f"{folder}/{key}", content)
        out.writestr(f"{folder}/version", "3\n")
    return file.getvalue()


def legacy(body, keys=("0",), content=b"\x01\0\0\0\0\0\0\0\0\0\x80\x3f", magic=0x1950A86A20F9469CFC6C):
    """Returns a file as torch.save wrote it before 1.6."""
    heads = pickled(number(magic)) + pickled(number(1001)) + pickled(mapping(little_endian=b"\x88"))
    listed = pickled(b"](" + b"".join(map(word, keys)) + b"e")
    return heads + pickled(body) + listed + content


@contextmanager
def frugal(megabytes=256, seconds=20):
    """Lets the process take a little more address space, and a little time; Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (megabytes << 20), before[1]))
    started = time.monotonic()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.monotonic() - started < seconds


def equal(one, other):
    """Whether two trees of tensors are the same."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return type(one) is type(other) and list(one) == list(other) and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and one == other
