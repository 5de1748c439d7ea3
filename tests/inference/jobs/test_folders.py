"""Many images: batches, trouble of single images, order on disk."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.images.codecs import ImageCodec
from i2i.images.decoding import Refused
from i2i.inference.jobs import folders
from i2i.inference.jobs.folders import FolderTranslation
from i2i.inference.jobs.jobs import Files, Job, Loaded, Options
from i2i.inference.jobs.manifest import Manifest, Refusals
from i2i.inference.jobs.scratch import Scratch
from i2i.training.precision import Precision
from tests.bundles import make_image, pixels

RGB = ImageCodec(3)


class Inverter:
    """Stands in for a translator; what makes it fail is the red of the first pixel."""

    def __init__(self, device="cuda", fails=()):
        self.device, self.fails, self.batches = torch.device(device), fails, []
        self.is_shared, self.precision = False, Precision("fp32", self.device)

    def batch(self, images, direction):
        self.batches.append([image.shape for image in images])
        for image in images:
            if image[0, 0, 0] in self.fails:
                raise torch.OutOfMemoryError("too much") if image[0, 0, 0] == 1 else RuntimeError("odd\nnumber")
        return 255 - np.stack(images)


@pytest.fixture
def setting(tmp_path):
    """Returns a function that translates images of the given sizes; red of the first pixel is the image's index."""

    def translate(sizes, translator, **options):
        jobs = []
        for index, (width, height) in enumerate(sizes):
            array = np.zeros((height, width, 3), np.uint8)
            array[0, 0, 0] = index
            (tmp_path / "in").mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / f"in/{index}.png")
            jobs.append(Job(tmp_path / f"in/{index}.png", f"{index}.png", f"{index}.png"))
        chosen = Options("a2b", **options)
        refusals = Refusals(None)
        (tmp_path / "out").mkdir(exist_ok=True)
        scratch = Scratch(tmp_path / "out")
        files = Files(scratch, Manifest(None, "", {}), chosen, RGB, RGB)
        tally = FolderTranslation([translator], files, chosen, refusals).run(jobs)
        scratch.close()
        for index in range(len(sizes)):
            path = tmp_path / f"out/{index}.png"
            if path.exists():
                assert pixels(path)[0, 0, 0] == 255 - index and pixels(path).shape[1::-1] == sizes[index]
        return tally, dict(refusals.first)

    return translate


def test_batches_hold_images_of_one_size(setting):
    translator = Inverter()
    tally, _ = setting([(8, 4), (4, 8)] * 5, translator, batch_size=3)
    assert tally.translated == 10 and tally.is_complete
    assert sorted(len(batch) for batch in translator.batches) == [2, 2, 3, 3]
    assert all(len(set(batch)) == 1 for batch in translator.batches)


def test_the_batch_is_chosen_by_device_and_size(setting, monkeypatch):
    monkeypatch.setattr(folders, "GPU_BATCH_PIXELS", 400)
    for device, sizes, expected in (
        ("cuda", [(4, 4)] * 10, [2, 8]),
        ("cuda", [(10, 10)] * 10, [2, 4, 4]),
        ("cuda", [(30, 30)] * 2, [1, 1]),
        ("cpu", [(4, 4)] * 3, [1, 1, 1]),
    ):
        translator = Inverter(device)
        setting(sizes, translator, overwrite=True)
        assert sorted(map(len, translator.batches)) == expected


def test_sizes_that_never_fill_a_batch_do_not_pile_up(setting, monkeypatch):
    monkeypatch.setattr(folders, "WAITING_IMAGES", 6)
    translator = Inverter()
    tally, _ = setting([(4 + index, 4) for index in range(20)], translator, batch_size=4)
    assert tally.translated == 20
    assert translator.batches[0] == [(4, 4, 3)]  # what has waited longest goes first


def test_one_image_that_fails_does_not_take_its_batch_along(setting):
    tally, refused = setting([(4, 4)] * 6, Inverter(fails=(1, 4)), batch_size=6)
    assert tally.translated == 4 and not tally.trouble
    assert refused == {
        "1.png": "its 4 x 4 pixels do not fit into memory",
        "4.png": "the model cannot translate it: odd number",
    }


def test_a_model_that_fails_on_all_is_given_up(setting):
    tally, refused = setting([(4, 4)] * 60, Inverter(fails=range(60)), batch_size=2)
    assert tally.translated == 0 and not tally.is_complete
    assert tally.trouble.startswith("given up after") and tally.trouble.endswith("odd number")
    assert len(refused) < 12


def test_failures_now_and_then_are_not_given_up(setting, monkeypatch):
    write = Files.write
    monkeypatch.setattr(Files, "write", lambda *arguments: time.sleep(0.01) or write(*arguments))  # a slow disk
    tally, refused = setting([(4, 4)] * 60, Inverter("cpu", fails=range(0, 60, 4)))
    assert tally.translated == 45 and len(refused) == 15 and tally.is_complete


def test_a_model_that_changes_the_size_is_refused(setting):
    class Doubler(Inverter):
        def batch(self, images, direction):
            return np.stack(images).repeat(2, axis=1)

    _, refused = setting([(4, 3)], Doubler())
    assert refused == {"0.png": "the model makes 4 x 6 pixels of its 4 x 3"}


def image_of(tmp_path):
    return Loaded(Job(tmp_path / "in.png", "in.png", "out.png"), np.empty(0))


@pytest.mark.parametrize("replaces", [False, True])
def test_a_kill_at_any_moment_leaves_nothing_that_looks_done_or_foreign(replaces, tmp_path, monkeypatch):
    """A new translation is listed before it appears; one that replaces another, after, and as unknown before."""
    old = make_image(tmp_path / "out.png", seed=1).read_bytes() if replaces else None
    manifest = Manifest(tmp_path / "manifest.jsonl", "abc", {})
    if replaces:
        manifest.append("out.png", "in.png", 1, (16, 16))
    at_listing = []
    append = manifest.append

    def note(*arguments, is_made=True):
        path = tmp_path / "out.png"
        at_listing.append((is_made, path.read_bytes() if path.exists() else None))
        append(*arguments, is_made=is_made)

    monkeypatch.setattr(manifest, "append", note)
    with Scratch(tmp_path) as scratch:
        files = Files(scratch, manifest, Options("a2b"), RGB, RGB)
        assert files.write(image_of(tmp_path), np.zeros((4, 4, 3), np.uint8)) == ("replaced" if replaces else "new")
    new = (tmp_path / "out.png").read_bytes()
    assert new != old and at_listing == ([(False, old), (True, new)] if replaces else [(True, None)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.jsonl", "out.png"]


def test_what_a_format_cannot_hold_is_refused_and_a_full_disk_is_not(tmp_path, monkeypatch):
    manifest = Manifest(tmp_path / "manifest.jsonl", "abc", {})
    with Scratch(tmp_path) as scratch:
        files = Files(scratch, manifest, Options("a2b", format="jpg"), RGB, RGB)
        with pytest.raises(Refused, match="a 70000 x 1 image of 3 uint8 channels cannot be written as jpg"):
            files.write(image_of(tmp_path), np.zeros((1, 70000, 3), np.uint8))
        with pytest.raises(Refused, match="cannot be written as jpg"):
            files.write(image_of(tmp_path), np.zeros((4, 4, 2), np.uint8))
        monkeypatch.setattr("i2i.images.files.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            files.write(image_of(tmp_path), np.zeros((4, 4, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]
    assert not (tmp_path / "manifest.jsonl").read_bytes()


def test_a_translation_and_its_line_change_together(tmp_path, monkeypatch):
    """Two jobs replace one translation again and again: what lies there is always the last one's that is listed."""
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda *arguments: (replace(*arguments), time.sleep(0.002)))

    def job(bundle):
        manifest = Manifest(tmp_path / "manifest.jsonl", bundle, {})
        with Scratch(tmp_path) as scratch:
            files = Files(scratch, manifest, Options("a2b", overwrite=True), RGB, RGB)
            for _ in range(20):
                files.write(image_of(tmp_path), np.full((1, 1, 3), int(bundle), np.uint8))

    def check():
        with other.held():
            last = json.loads((tmp_path / "manifest.jsonl").read_text().splitlines()[-1])
            assert last["bundle"] == str(pixels(tmp_path / "out.png")[0, 0, 0])

    other = Manifest(tmp_path / "manifest.jsonl", "", {})
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(job, bundle) for bundle in ("1", "2")]
        while not (tmp_path / "out.png").exists():
            time.sleep(0.001)
        while not all(one.done() for one in jobs):
            check()
    check()
    assert not [one.exception() for one in jobs if one.exception()]


@pytest.mark.parametrize(
    ("listed_by_the_other", "outcome"),
    [
        (("out.png", "in.png", 0), "done"),
        (("out.png", "in.png", 1), "replaced"),
        (("out.png", "in.jpg", 0), "exists as the translation of another image"),
        (None, "exists and is not in the manifest"),
    ],
)
def test_what_another_job_has_made_meanwhile(listed_by_the_other, outcome, tmp_path):
    manifest = Manifest(tmp_path / "manifest.jsonl", "abc", {})
    with Scratch(tmp_path) as scratch:
        files = Files(scratch, manifest, Options("a2b"), RGB, RGB)
        theirs = make_image(tmp_path / "out.png").read_bytes()
        if listed_by_the_other:
            Manifest(tmp_path / "manifest.jsonl", "abc", {}).append(*listed_by_the_other, (16, 16))
        try:
            assert files.write(image_of(tmp_path), np.zeros((4, 4, 3), np.uint8)) == outcome
        except Refused as error:
            assert outcome in str(error)
    assert ((tmp_path / "out.png").read_bytes() == theirs) is (outcome != "replaced")
