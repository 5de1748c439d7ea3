import pickle
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.core.config.build import make
from i2i.core.config.document import parse
from i2i.core.errors import ConfigError, DataError
from i2i.core.registry import DATASETS
from i2i.data.pictures import Paired, Unpaired
from i2i.data.shards.dataset import Shards
from i2i.data.shards.index import ShardError
from i2i.run.experiment import Experiment
from i2i.testing import check_dataset
from tests.data.shards.shard_sets import SMALL, number_of, paired_set, picture, unpaired_set, write_tar


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def refusal(*arguments, **keys) -> DataError:
    with pytest.raises(DataError) as error:
        Shards(*arguments, **keys).scan()
    return error.value


def test_the_contract(tmp_path):
    check_dataset(Shards, root=str(paired_set(tmp_path / "p", [3, 2])), **SMALL)
    check_dataset(Shards, root=str(unpaired_set(tmp_path / "u", {"A": [3, 2], "B": [4]})), paired=False, **SMALL)


def test_pairs_are_those_of_the_folders(tmp_path):
    """The same files in folders and in shards give the same items from the same random numbers."""
    for number in range(7):
        for folder, value in (("A", number), ("B", number + 500)):
            path = tmp_path / f"folders/train{folder}/{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(value))
    keys = {"transforms": [{"type": "RandomCrop", "height": 8, "width": 8}, {"type": "ColorJitter", "p": 1}]}
    folders = Paired(str(tmp_path / "folders"), **keys)
    shards = Shards(str(paired_set(tmp_path / "shards", [4, 3])), **keys)
    assert len(shards) == len(folders) == 7
    for index in range(7):
        one, other = folders.get(index, rng(5, index)), shards.get(index, rng(5, index))
        assert torch.equal(one["a"], other["a"]) and torch.equal(one["b"], other["b"])
    assert shards[5]["a_path"] == str(tmp_path / "shards/train-001.tar/0005.a.png")
    assert shards[5]["b_path"] == str(tmp_path / "shards/train-001.tar/0005.b.png")
    assert type(shards[5]["a_path"]) is str


def test_domains_are_those_of_the_folders(tmp_path):
    for folder, values in (("A", range(5)), ("B", range(500, 507))):
        for value in values:
            path = tmp_path / f"folders/train{folder}/{value:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(value))
    folders = Unpaired(str(tmp_path / "folders"), **SMALL)
    shards = Shards(str(unpaired_set(tmp_path / "shards", {"A": [2, 3], "B": [4, 3]})), paired=False, **SMALL)
    for index in range(7):
        one, other = folders.get(index, rng(index)), shards.get(index, rng(index))
        assert torch.equal(one["a"], other["a"]) and torch.equal(one["b"], other["b"])


def wide(number: int) -> bytes:
    """A picture whose left half shows a number, and whose right half shows it plus 50."""
    halves = [np.full((12, 12, 3), value, np.uint8) for value in (number, number + 50)]
    buffer = BytesIO()
    Image.fromarray(np.concatenate(halves, 1)).save(buffer, "PNG")
    return buffer.getvalue()


def test_side_by_side(tmp_path):
    write_tar(tmp_path / "train-0.tar", {f"{n}.ab.png": wide(n) for n in range(4)})
    item = Shards(str(tmp_path), **SMALL)[3]
    assert [round(float((item[name][0, 0, 0] + 1) * 127.5)) for name in "ab"] == [3, 53]
    assert item["a_path"] == item["b_path"] == str(tmp_path / "train-0.tar/3.ab.png")
    apart = Shards(str(tmp_path), paired=False, **SMALL)
    found = [apart.get(index, rng(index)) for index in range(4)]
    reds = [[round(float((item[name][0, 0, 0] + 1) * 127.5)) for item in found] for name in "ab"]
    assert reds[0] == [0, 1, 2, 3] and set(reds[1]) <= {50, 51, 52, 53} and reds[1] != [50, 51, 52, 53]


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("{}.input.png", "{}.target.jpg"), None),
        (("{}.jpg", "{}.png"), ("jpg", "png")),
        (("{}.photo.jpg", "{}.map.png"), ("photo", "map")),
        (("sub.x/{}.A.PNG", "sub.x/{}.B.PNG"), None),
    ],
)
def test_names_of_pairs(tmp_path, names, parts):
    files = {}
    for number in range(3):
        for name, value in zip(names, (number, number + 500), strict=True):
            files[name.format(number)] = picture(value)
        files[f"{number}.json"] = b"{}"
        files[f".{number}.png"] = b"hidden"
    write_tar(tmp_path / "train-0.tar", files)
    dataset = Shards(str(tmp_path), parts=parts, **SMALL)
    assert [(number_of(item["a"]), number_of(item["b"])) for item in dataset] == [(n, n + 500) for n in range(3)]


def test_pairs_can_be_taken_apart(tmp_path):
    root = str(paired_set(tmp_path, [3, 3]))
    dataset = Shards(root, "train-{000..001}.tar", paired=False, **SMALL)
    partners = [dataset.get(index, rng(index)) for index in range(6)]
    assert [number_of(item["a"]) for item in partners] == list(range(6))
    assert all(number_of(item["b"]) >= 500 for item in partners)
    assert any(number_of(item["b"]) != 500 + number_of(item["a"]) for item in partners)


def test_every_image_once_a_pass(tmp_path):
    dataset = Shards(str(paired_set(tmp_path, [5] * 6)), open_shards=2, **SMALL)
    order = dataset.order(rng(0))
    items = [dataset.get(int(number), rng(0)) for number in order]
    assert sorted(number_of(item["a"]) for item in items) == list(range(30))
    assert all(number_of(item["b"]) == number_of(item["a"]) + 500 for item in items)
    shards = [Path(item["a_path"]).parent.name for item in items]
    assert all(len(set(shards[start : start + 3])) <= 4 for start in range(28))
    assert (order != dataset.order(rng(1))).any() and (order == dataset.order(rng(0))).all()


@pytest.mark.parametrize("counts", [{"A": [4] * 5, "B": [3] * 3}, {"A": [3] * 3, "B": [4] * 5}])
def test_both_domains_are_local_without_pairs(tmp_path, counts):
    dataset = Shards(str(unpaired_set(tmp_path, counts)), paired=False, open_shards=1, **SMALL)
    assert len(dataset) == 20
    items = [dataset.get(int(number), rng(0)) for number in dataset.order(rng(4))]
    for name, first, count in (("a", 0, sum(counts["A"])), ("b", 500, sum(counts["B"]))):
        numbers = [number_of(item[name]) - first for item in items]
        uses = np.bincount(numbers, minlength=count)
        assert set(uses.tolist()) <= {20 // count, -(-20 // count)}
        shards = [item[f"{name}_path"].rpartition("/")[0] for item in items]
        changes = sum(one != other for one, other in zip(shards, shards[1:], strict=False))
        assert changes <= 5 + 3  # a shard is left once a pass


def test_partners_change_from_pass_to_pass(tmp_path):
    dataset = Shards(str(unpaired_set(tmp_path, {"A": [10, 10], "B": [10, 10]})), paired=False, **SMALL)
    pairs = [{tuple(dataset.paths_of(int(n), rng(0))) for n in dataset.order(rng(seed))} for seed in range(2)]
    assert len(pairs[0] & pairs[1]) < 6


def test_other_splits_are_calm(tmp_path):
    root = str(paired_set(paired_set(tmp_path, [4]), [3], "val"))
    dataset = Shards(root, split="val", **SMALL)
    assert dataset.splits == ["train", "val"] and len(dataset) == 3
    assert torch.equal(dataset.get(1, rng(0))["a"], dataset.get(1, rng(1))["a"])
    named = Shards(root, "SPLIT-{000..000}.tar", split="val", **SMALL)
    assert len(named) == 3


def test_the_fingerprint_knows_the_files(tmp_path):
    prints = [Shards(str(paired_set(tmp_path / str(n), c))).fingerprint for n, c in enumerate([[3, 2], [3, 2], [2, 3]])]
    assert prints[0] == prints[1] != prints[2]


def test_what_a_shard_lacks(tmp_path):
    write_tar(tmp_path / "train-0.tar", {"1.a.png": b"", "1.b.png": b"", "x/2.a.png": b"", "3.b.png": b""})
    write_tar(tmp_path / "train-1.tar", {"2.b.png": b"", "4.a.png": b"", "4.b.png": b""})
    error = refusal(str(tmp_path))
    assert error.message == "3 of 7 files have no partner in their shard"
    assert error.hints == (
        f"{tmp_path}/train-0.tar/x/2.a.png: has no partner 2.b.*",
        f"{tmp_path}/train-0.tar/3.b.png: has no partner 3.a.*",
        f"{tmp_path}/train-1.tar/2.b.png: has no partner 2.a.*",
    )


def test_two_files_of_one_part(tmp_path):
    write_tar(tmp_path / "train-0.tar", {"1.a.png": b"", "1.b.png": b"", "1.a.jpg": b""})
    message = refusal(str(tmp_path)).message
    assert message == f"{tmp_path}/train-0.tar: holds '1.a.png' and '1.a.jpg', which are the same part of a pair"


def test_shards_without_pairs(tmp_path):
    write_tar(tmp_path / "train-0.tar", {"1.jpg": b"", "1.txt": b""})
    error = refusal(str(tmp_path))
    assert error.message.startswith(f"{tmp_path}/train-0.tar: holds no pairs") and "KEY.jpg, KEY.txt" in error.message
    assert "data.parts=[jpg,png]" in error.hints[0] and "data.paired=false" in error.hints[1]
    assert "holds no files KEY.x.* or KEY.y.*" in refusal(str(tmp_path), parts=("x", "y")).message


def test_shards_without_images(tmp_path):
    for name in "AB":
        write_tar(tmp_path / f"train{name}-0.tar", {"1.txt": b""})
    assert refusal(str(tmp_path), paired=False).message == f"{tmp_path}/trainA-0.tar: holds no images"


def test_missing_shards(tmp_path):
    unpaired_set(tmp_path, {"A": [2], "B": [2]})
    error = refusal(str(tmp_path))
    assert "holds no train-*.tar" in error.message and "data.paired=false" in error.hints[-1]
    assert refusal(str(tmp_path), "x-{0..1}.tar").message == f"{tmp_path}/x-0.tar: no such file"
    assert "no folder" in refusal(str(tmp_path / "none")).message
    assert "does not tell which shards" in refusal("http://127.0.0.1:9/x").message


def test_a_member_that_is_no_image(tmp_path):
    files = {f"{n}.{part}.png": picture(n) for n in range(3) for part in "ab"}
    write_tar(tmp_path / "train-0.tar", files | {"1.b.png": b"hello", "2.a.png": picture(3)[:-20]})
    dataset = Shards(str(tmp_path), **SMALL)
    dataset.get(0, rng(0))
    with pytest.raises(DataError) as error:
        dataset.get(1, rng(0))
    assert error.value.message == f"{tmp_path}/train-0.tar/1.b.png: is text, not an image"
    with pytest.raises(DataError, match=r"train-0\.tar/2\.a\.png: "):
        dataset.get(2, rng(0))


def test_a_shard_that_changes_during_training_ends_it(tmp_path):
    dataset = Shards(str(paired_set(tmp_path, [4])), **SMALL)
    dataset.scan()
    write_tar(tmp_path / "train-000.tar", {"0.a.png": bytes(3000)})
    with pytest.raises(ShardError, match=r"train-000\.tar: '0003\.a\.png' is not where the index says"):
        dataset.get(3, rng(0))


def test_numbers_beyond_the_set(tmp_path):
    dataset = Shards(str(paired_set(tmp_path, [4])), **SMALL)
    for number in (-1, 4 * 5):
        with pytest.raises(IndexError):
            dataset.get(number, rng(0))


@pytest.mark.parametrize(
    ("keys", "place", "message"),
    [
        ("urls: 'a-{3..1}.tar'", "urls", "urls: {3..1} is no range"),
        ("urls: ftp://x/a.tar", "urls", "neither a path nor an http address"),
        ("urls: []", "urls", "names no shard"),
        ("urls: {a: x.tar, b: y.tar}", "urls", "pairs lie in the same shards"),
        ("urls: {a: x.tar}, paired: false", "urls", "both a and b are needed"),
        ("urls: {a: x.tar, b: '{z}'}, paired: false", "urls.b", "{z} is neither a range"),
        ("open_shards: 0", "open_shards", "at least 1"),
        ("store_gb: 0", "store_gb", "above 0"),
        ("channels: 0", "channels", "at least 1"),
    ],
)
def test_keys_out_of_range(keys, place, message):
    node = parse(f"{{type: shards, root: x, {keys}}}", "f.yaml")
    with pytest.raises(ConfigError) as error:
        make(DATASETS, node)
    (problem,) = error.value.problems
    assert ".".join(map(str, problem.path)) == place and message in problem.message


def test_a_large_set_takes_little_memory(tmp_path):
    """44 bytes and the name for each file, and pickled for loaders that are started afresh not more."""
    with tarfile.open(tmp_path / "train-0.tar", "w") as archive:
        for number in range(20_000):
            archive.addfile(tarfile.TarInfo(f"{number:08}.ab.png"))
    dataset = Shards(str(tmp_path), **SMALL)
    dataset.scan()
    assert len(dataset) == 20_000
    assert len(pickle.dumps(dataset)) < 20_000 * (44 + len("00000000.ab.png")) + 50_000


def test_addresses_stay_addresses_in_a_resolved_config(repository, tmp_path):
    text = (repository / "configs/tiny/cyclegan.yaml").read_text().splitlines()
    data = "data: {type: shards, root: 'https://example.org/x', urls: 'x-{0..9}.tar', paired: false, store: mine}"
    lines = [data if line.startswith("data:") else line for line in text]
    config = tmp_path / "x.yaml"
    config.write_text("\n".join(lines))
    resolved = Experiment.load(config).resolved()["data"]
    assert resolved["root"] == "https://example.org/x" and resolved["store"] == str(Path("mine").resolve())
