from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.core.errors import DataError
from i2i.data.pictures import Paired, Unpaired
from tests.data.domain_folders import SMALL, plain, refusal, rng, save, two_folders


def test_orphans_are_listed(tmp_path: Path) -> None:
    two_folders(tmp_path, 10, 3)
    save(tmp_path / "trainB/only/here.png", plain(1))
    error = refusal(lambda: Paired(str(tmp_path)))
    assert error.message == (
        f"{str(tmp_path / 'trainA')!r} and 'trainB' have 8 images without a partner of the same name"
    )
    assert error.hints == ("7 of 10 only in trainA: 3, 4, 5, 6, 7, …", "1 of 4 only in trainB: only/here")


def test_no_name_in_common_points_to_unpaired(tmp_path: Path) -> None:
    for name in "xyz":
        save(tmp_path / f"trainA/{name}.png", plain(1))
        save(tmp_path / f"trainB/{name}{name}.png", plain(1))
    assert "type: unpaired" in refusal(lambda: Paired(str(tmp_path))).hints[-1]
    assert len(Unpaired(str(tmp_path))) == 3


def test_partners_are_found_across_suffixes_and_folders(tmp_path: Path) -> None:
    for name in ("1.5", "sub/1.5", "sub/2"):
        save(tmp_path / f"train/images/{name}.jpg", plain(1))
        save(tmp_path / f"train/labels/{name}.png", plain(2))
    dataset = Paired(str(tmp_path), **SMALL)
    for item in dataset:
        assert Path(item["a_path"]).relative_to(tmp_path / "train/images").with_suffix("") == Path(
            item["b_path"]
        ).relative_to(tmp_path / "train/labels").with_suffix("")


def test_names_that_differ_in_nothing_but_the_suffix_are_ambiguous(tmp_path: Path) -> None:
    save(two_folders(tmp_path) / "trainA/1.jpg", plain(1))
    error = refusal(lambda: Paired(str(tmp_path)))
    assert error.message.startswith(f"{tmp_path / 'trainA/1.png'}: has the same name as 1.jpg but for the suffix")
    assert len(Unpaired(str(tmp_path), **SMALL)) == 4


def test_partners_of_different_sizes(tmp_path: Path) -> None:
    save(two_folders(tmp_path) / "trainB/1.png", plain(101, (32, 32)))
    item = Paired(str(tmp_path), **SMALL).get(1, rng(3))
    assert item["a"].shape == item["b"].shape
    for check in (True, False):
        with pytest.raises(DataError) as error:
            dataset = Paired(str(tmp_path), transforms="crop", crop_size=16, check=check)
            dataset.scan()  # says so already, unless it was told not to look
            assert not check
            dataset.get(1, rng(0))
        a, b = tmp_path / "trainA/1.png", tmp_path / "trainB/1.png"
        assert error.value.message == f"{a}: is 24 x 20 pixels, its partner {b} is 32 x 32"
    assert Unpaired(str(tmp_path), transforms="crop", crop_size=16).get(1, rng(0))["b"].shape == (3, 16, 16)


@pytest.mark.parametrize("layout", ["folders", "side_by_side"])
def test_a_pair_stays_aligned(tmp_path: Path, layout: str) -> None:
    """Every pixel tells its place; b is a in inverted colours."""
    rows, columns = np.indices((30, 40))
    a = np.stack([rows * 6, columns * 6, rows + columns], axis=-1).astype(np.uint8)
    for index in range(2):
        if layout == "folders":
            save(tmp_path / f"trainA/{index}.png", Image.fromarray(a))
            save(tmp_path / f"trainB/{index}.png", Image.fromarray(255 - a))
        else:
            save(tmp_path / f"train/{index}.png", Image.fromarray(np.hstack([a, 255 - a])))
    dataset = Paired(str(tmp_path), load_size=(30, 40), crop_size=(16, 20))
    seen = set()
    for seed in range(20):
        item = dataset.get(0, rng(seed))
        torch.testing.assert_close(item["a"], -item["b"])
        seen.add(item["a"].numpy().tobytes())
    assert len(seen) > 15


def test_16_bit_pairs(tmp_path: Path) -> None:
    import cv2

    values = np.random.default_rng(0).integers(0, 65536, (20, 24, 3), dtype=np.uint16)
    for folder in ("trainA", "trainB"):
        for index in range(2):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{index}.png"), values[..., ::-1])
    item = Paired(str(tmp_path), transforms="none").get(0, rng(0))
    expected = torch.from_numpy(values.astype(np.float32).transpose(2, 0, 1)) / 32767.5 - 1
    torch.testing.assert_close(item["a"], expected, rtol=0, atol=2e-7)
