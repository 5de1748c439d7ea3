from pathlib import Path

import numpy as np
import torch
from PIL import Image

from i2i.data.pictures import Unpaired
from tests.data.domain_folders import SMALL, rng, save, two_folders


def test_unpaired_epoch_is_as_long_as_the_larger_domain(tmp_path: Path) -> None:
    dataset = Unpaired(str(two_folders(tmp_path, 3, 7)), **SMALL)
    assert len(dataset) == 7
    items = [dataset.get(index, rng(0, index)) for index in range(7)]
    assert [Path(item["a_path"]).stem for item in items] == ["0", "1", "2", "0", "1", "2", "0"]
    drawn = {Path(dataset.get(0, rng(seed))["b_path"]).stem for seed in range(60)}
    assert drawn == set("0123456")
    two_folders(tmp_path, 5, 2, "test{}/{}.png")
    test = Unpaired(str(tmp_path), "test", **SMALL)
    pairs = [(Path(item["a_path"]).stem, Path(item["b_path"]).stem) for item in test]
    assert pairs == [("0", "0"), ("1", "1"), ("2", "0"), ("3", "1"), ("4", "0")]


def test_unpaired_images_are_augmented_apart(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    for index in range(2):
        save(tmp_path / f"trainA/{index}.png", noise)
        save(tmp_path / f"trainB/{index}.png", noise)
    dataset = Unpaired(str(tmp_path), **SMALL)
    items = [dataset.get(0, rng(seed)) for seed in range(8)]
    assert any(not torch.equal(item["a"], item["b"]) for item in items)
