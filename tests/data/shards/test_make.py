import tarfile
from pathlib import Path

import pytest

from i2i.cli import main
from i2i.core.errors import DataError
from i2i.core.files.locks import try_lock
from i2i.data.pictures import Paired
from i2i.data.shards.dataset import Shards
from i2i.data.shards.index import read_headers, read_index
from i2i.data.shards.make import parse_size, plan_shards, urls_of, write_shards
from tests.data.domain_folders import plain, save, side_by_side, two_folders
from tests.data.shards.shard_sets import picture


def contents(folder: Path) -> dict[str, dict[str, bytes]]:
    """What standard tar makes of each shard."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            found[path.name] = {member.name: archive.extractfile(member).read() for member in archive}
    return found


def run(*arguments: object) -> int:
    return main("make_shards", [str(argument) for argument in arguments])


def test_files_are_copied_as_they_are(tmp_path, capsys):
    two_folders(two_folders(tmp_path / "in", 5, 7), 2, 2, "val{}/{}.png")
    (tmp_path / "in/trainA/photo.v1.JPG").write_bytes(picture(9, format="JPEG"))
    assert run(tmp_path / "in", tmp_path / "out") == 0
    made = contents(tmp_path / "out")
    assert list(made) == [f"{name}-000000.tar" for name in ("trainA", "trainB", "valA", "valB")]
    originals = {path.name: path.read_bytes() for path in (tmp_path / "in/trainA").iterdir()}
    originals["photo_v1.jpg"] = originals.pop("photo.v1.JPG")
    assert made["trainA-000000.tar"] == originals
    said = capsys.readouterr().out
    assert f"{tmp_path}/out/trainA-{{000000..000000}}.tar: 6 images" in said
    dataset = Shards(str(tmp_path / "out"), paired=False)
    assert len(dataset) == 7 and dataset.splits == ["train", "val"]


def test_pairs_of_two_folders(tmp_path):
    two_folders(tmp_path / "in", 5, 5)
    save(tmp_path / "in/trainA/sub.x/7.5.png", plain(50))
    save(tmp_path / "in/trainB/sub.x/7.5.png", plain(150))
    assert run(tmp_path / "in", tmp_path / "out", "--paired") == 0
    names = set(contents(tmp_path / "out")["train-000000.tar"])
    assert names == {f"{key}.{part}.png" for key in (*"01234", "sub.x/7_5") for part in "ab"}
    folders, shards = Paired(str(tmp_path / "in")), Shards(str(tmp_path / "out"))
    values = {(float(item["a"].mean()), float(item["b"].mean())) for item in folders}
    assert {(float(item["a"].mean()), float(item["b"].mean())) for item in shards} == values and len(values) == 6


def test_side_by_side_files(tmp_path):
    assert run(side_by_side(tmp_path / "in", 4), tmp_path / "out") == 0
    assert set(contents(tmp_path / "out")["train-000000.tar"]) == {f"{n}.ab.png" for n in range(4)}
    folders, shards = Paired(str(tmp_path / "in")), Shards(str(tmp_path / "out"))
    assert {float(item["b"].mean()) for item in folders} == {float(item["b"].mean()) for item in shards}


def test_shards_have_the_size_asked_for(tmp_path):
    for number in range(40):
        path = tmp_path / f"in/trainA/{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number) + bytes(3000 - len(picture(number))))  # what follows a PNG's end is allowed
    (tmp_path / "in/trainB").mkdir()
    (tmp_path / "in/trainB/0.png").write_bytes(picture(0))
    assert run("--shard-size", "20kB", tmp_path / "in", tmp_path / "out") in (0, 1)
    made = {name: files for name, files in contents(tmp_path / "out").items() if name.startswith("trainA")}
    # A file of 3000 bytes takes a block of 512 and 6 more: 5 of these fit into 20,000 bytes.
    assert [len(files) for files in made.values()] == [5] * 8
    names = [name for files in made.values() for name in files]
    assert sorted(names) == [f"{number:02}.png" for number in range(40)] and names != sorted(names)


def test_each_shard_has_its_index(tmp_path):
    run(two_folders(tmp_path / "in"), tmp_path / "out")
    for shard in (tmp_path / "out").glob("*.tar"):
        assert shard.with_name(shard.stem + ".idx.json").is_file()
        assert read_index(shard) == read_headers(shard)


def test_the_same_files_make_the_same_bytes(tmp_path):
    two_folders(tmp_path / "in", 9, 9)
    for name in ("one", "two"):
        run(tmp_path / "in", tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_keys_of_their_own(tmp_path):
    two_folders(tmp_path / "in")
    for name in ("1.x.png", "1_x.png", "1_x.jpg"):
        (tmp_path / "in/trainA" / name).write_bytes(picture(1))
    run(tmp_path / "in", tmp_path / "out")
    names = set(contents(tmp_path / "out")["trainA-000000.tar"])
    assert names == {"0.png", "1.png", "2.png", "1_x.png", "1_x_2.jpg", "1_x_3.png"}


def test_what_is_no_image_is_left_out_and_named(tmp_path, capsys):
    two_folders(tmp_path / "in", 4, 4)
    (tmp_path / "in/trainA/1.png").write_bytes(b"hello")
    (tmp_path / "in/trainB/2.png").write_bytes((tmp_path / "in/trainB/2.png").read_bytes()[:-20])
    assert run(tmp_path / "in", tmp_path / "out", "--paired") == 1
    assert {name[0] for name in contents(tmp_path / "out")["train-000000.tar"]} == {"0", "3"}
    said = capsys.readouterr().out
    assert f"left out: {tmp_path}/in/trainA/1.png: is text, not an image" in said
    assert f"left out: {tmp_path}/in/trainB/1.png: its partner {tmp_path}/in/trainA/1.png cannot be used" in said
    assert f"left out: {tmp_path}/in/trainB/2.png: " in said


def test_files_that_training_has_a_use_for_stay(tmp_path):
    """Transparent images need data.channels=4; that is not for shards to say."""
    from PIL import Image

    two_folders(tmp_path / "in")
    Image.new("RGBA", (24, 20), (1, 2, 3, 4)).save(tmp_path / "in/trainA/0.png")
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert "0.png" in contents(tmp_path / "out")["trainA-000000.tar"]


def test_a_failure_leaves_nothing(tmp_path):
    plan = plan_shards(str(two_folders(tmp_path / "in", 9, 9)), False)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="out: no space left on device"):
        write_shards(plan, tmp_path / "out", 10**6, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_what_a_killed_process_left_is_removed_and_what_another_makes_is_not(tmp_path):
    plan = plan_shards(str(two_folders(tmp_path / "in")), False)
    (tmp_path / ".out.making").mkdir()
    (tmp_path / ".out.making/half.tar").write_bytes(b"half")
    with (tmp_path / ".out.lock").open("ab") as lock:
        assert try_lock(lock.fileno())
        with pytest.raises(DataError, match="another process is making it"):
            write_shards(plan, tmp_path / "out", 10**6)
    assert (tmp_path / ".out.making/half.tar").exists()
    write_shards(plan, tmp_path / "out", 10**6)
    assert not (tmp_path / "out/half.tar").exists() and not (tmp_path / ".out.making").exists()


def test_nothing_is_overwritten(tmp_path, capsys):
    two_folders(tmp_path / "in")
    (tmp_path / "out").mkdir()
    assert run(tmp_path / "in", tmp_path / "out") == 2
    assert "exists already" in capsys.readouterr().err
    assert run(tmp_path / "missing", tmp_path / "out") == 2
    assert "exists already" in capsys.readouterr().err  # told before images are looked at


def test_indexes_of_shards_of_others(tmp_path, capsys):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("1.jpg"))
    assert run("--index", tmp_path / "x.tar") == 0
    assert capsys.readouterr().out == f"{tmp_path}/x.tar: 1 files\n"
    assert read_index(tmp_path / "x.tar").members == [("1.jpg", 512, 0)]
    (tmp_path / "y.tar").write_bytes(b"")
    assert run("--index", tmp_path / "y.tar") == 2


@pytest.mark.parametrize("arguments", [[], ["one"], ["a", "b", "c"], ["a", "b", "--index", "c"]])
def test_other_arguments(arguments, capsys):
    assert run(*arguments) == 2
    assert "expected ROOT and OUT, or --index TAR" in capsys.readouterr().err


def test_no_set(tmp_path, capsys):
    (tmp_path / "in/pictures").mkdir(parents=True)
    assert run(tmp_path / "in", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "holds no images in train, val or test" in said and "found there: pictures/" in said


@pytest.mark.parametrize(
    ("text", "size"), [("256MB", 256 * 10**6), ("1.5gb", 1_500_000_000), ("20 kB", 20_000), ("777", 777)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "MB", "1TB", "-1GB", "0.1", "1e3"])
def test_no_sizes(text):
    with pytest.raises(DataError, match="--shard-size"):
        parse_size(text)


def test_urls():
    assert urls_of("train", 12) == "train-{000000..000011}.tar"
