import bz2
import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from i2i.core.errors import DataError
from i2i.data.shards.index import ShardError, check_content, expand_braces, index_path, read_headers, read_index
from i2i.data.shards.make import write_index
from tests.data.shards.shard_sets import write_tar

FILES = {
    "x/1.png": b"one",
    "x/2.png": os.urandom(700),
    "yy" * 60 + "/" + "long" * 20 + ".png": b"three",
    "näme.png": b"",
}


def refused(shard: Path, read=read_index) -> str:
    with pytest.raises(DataError) as error:
        read(shard)
    message = error.value.message
    assert message.startswith(f"{shard}: ")
    return message.removeprefix(f"{shard}: ")


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_offsets_lead_to_the_contents(tmp_path, format):
    shard = write_tar(tmp_path / "s.tar", FILES, format)
    index = read_index(shard)
    content = shard.read_bytes()
    assert {name: content[offset : offset + size] for name, offset, size in index.members} == FILES
    assert index.size == len(content)
    with shard.open("rb") as file:
        assert [check_content(file, "s", member) for member in index.members] == list(FILES.values())


def test_tars_of_the_system_are_read(tmp_path):
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/k.png").write_bytes(b"content")
    subprocess.run(["tar", "cf", "s.tar", "-C", "in", "."], cwd=tmp_path, check=True)
    ((name, _, size),) = read_headers(tmp_path / "s.tar").members
    assert (name, size) == ("sub/k.png", 7)


def test_the_index_beside_a_shard_is_taken(tmp_path):
    shard = write_tar(tmp_path / "s.tar", FILES)
    made = read_index(shard)
    assert write_index(shard) == len(FILES)
    assert index_path(str(shard)) == str(tmp_path / "s.idx.json")
    assert read_index(shard) == made
    write_tar(shard, {**FILES, "more.png": bytes(20_000)})
    assert "is changed" in refused(shard)
    shard.write_bytes(shard.read_bytes()[:600])
    assert "is cut short: it has 600 bytes" in refused(shard)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "size": 1, "members": []}',
        '{"format": 1, "size": 9999, "members": [["a", 1]]}',
        '{"format": 1, "size": 9999, "members": [["a", 512, 99999]]}',
        '{"format": 1, "size": 9999, "members": [["a", 0, 5]]}',
        '{"format": 1, "size": 9999, "members": [["a", 600, -5]]}',
        '{"format": 1, "size": 9999, "members": [["../a", 512, 5]]}',
        '{"format": 1, "size": "x", "members": []}',
    ],
)
def test_a_broken_index_is_named(tmp_path, text):
    write_tar(tmp_path / "s.tar", FILES)
    (tmp_path / "s.idx.json").write_text(text)
    with pytest.raises(DataError, match=r"s\.idx\.json: "):
        read_index(tmp_path / "s.tar")


def test_no_cut_goes_unseen(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", FILES).read_bytes()
    end = read_headers(tmp_path / "whole.tar").members[-1][1]  # where the end mark begins: the last file is empty
    shard = tmp_path / "s.tar"
    for length in range(0, end + 1, 256):
        shard.write_bytes(whole[:length])
        refused(shard)
    shard.write_bytes(whole[: end + 512])
    assert read_index(shard).members == read_headers(tmp_path / "whole.tar").members


def test_damage_between_files_is_not_the_end(tmp_path):
    shard = write_tar(tmp_path / "s.tar", FILES)
    content = bytearray(shard.read_bytes())
    header = read_headers(shard).members[1][1] - 512
    content[header + 3] ^= 255
    shard.write_bytes(content)
    assert "is damaged: what follows its first 1 files is no header" in refused(shard)


def test_joined_tars_are_refused(tmp_path):
    one, other = (write_tar(tmp_path / name, {f"{name}.png": b"x"}) for name in "ab")
    shard = tmp_path / "s.tar"
    shard.write_bytes(one.read_bytes() + other.read_bytes())
    assert "goes on behind its end mark" in refused(shard)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (gzip.compress(b"x" * 1000), "is compressed"),
        (bz2.compress(b"x" * 1000), "is compressed"),
        (b"PK\x03\x04" + bytes(2000), "is a zip archive"),
        (b"<html>" * 200, "is damaged or cut short"),
    ],
)
def test_other_files_are_refused(tmp_path, content, expected):
    shard = tmp_path / "s.tar"
    shard.write_bytes(content)
    assert expected in refused(shard)


def test_a_missing_shard(tmp_path):
    assert refused(tmp_path / "s.tar") == "no such file"


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "a\\..\\x.png", "a\nb.png"])
def test_names_that_lead_elsewhere(tmp_path, name):
    shard = write_tar(tmp_path / "s.tar", {"fine.png": b"x", name: b"y"})
    assert repr(name) in refused(shard)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices(tmp_path, kind):
    shard = tmp_path / "s.tar"
    with tarfile.open(shard, "w") as archive:
        info = tarfile.TarInfo("k.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert "'k.png' is a link" in refused(shard)


def test_a_file_that_has_moved_is_not_read(tmp_path):
    shard = write_tar(tmp_path / "s.tar", FILES)
    members = read_index(shard).members
    other = write_tar(tmp_path / "t.tar", {"x/0.png": bytes(50), **FILES}).read_bytes()
    with pytest.raises(ShardError, match=r"SHARD: 'x/2\.png' is not where the index says"):
        check_content(io.BytesIO(other), "SHARD", members[1])
    with pytest.raises(ShardError, match="cut short"):
        check_content(io.BytesIO(shard.read_bytes()[: members[1][1] + 5]), "SHARD", members[1])


def test_the_index_is_plain_json(tmp_path):
    shard = write_tar(tmp_path / "s.tar", {"k.a.png": b"four"})
    write_index(shard)
    assert json.loads((tmp_path / "s.idx.json").read_text()) == {
        "format": 1,
        "size": 10240,
        "members": [["k.a.png", 512, 4]],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("s-{008..011}.tar", ["s-008.tar", "s-009.tar", "s-010.tar", "s-011.tar"]),
        ("s-{9..11}.tar", ["s-9.tar", "s-10.tar", "s-11.tar"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
        ("{0..0}", ["0"]),
    ],
)
def test_braces(text, expected):
    shell = subprocess.run(["bash", "-c", f"echo {text}"], capture_output=True, text=True, check=True).stdout.split()
    assert shell == expected
    assert expand_braces(text) == expected


@pytest.mark.parametrize("text", ["{3..1}", "{a..c}", "{x}", "{0..99999999}"])
def test_braces_that_mean_nothing(text):
    with pytest.raises(ValueError, match="no range|neither a range"):
        expand_braces(text)
