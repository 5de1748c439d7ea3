"""What translations are called."""

import itertools
import os
import tracemalloc

import numpy as np
import pytest

from i2i.core.errors import DataError
from i2i.images.codecs import ImageCodec
from i2i.inference.jobs.inputs import find_inputs
from i2i.inference.jobs.jobs import name_jobs
from i2i.inference.jobs.targets import Target, find_target, folded, output_names


def named(*names):
    return {one.name: one.output for one in output_names(names, "png")}


def test_outputs_are_named_after_the_stem():
    assert named("a.jpg", "b.tar.png", "no_suffix") == {
        "a.jpg": "a.png",
        "b.tar.png": "b.tar.png",
        "no_suffix": "no_suffix.png",
    }


def test_names_that_would_be_shared_keep_the_suffix():
    assert named("a.jpg", "a.png", "b.jpg") == {"a.jpg": "a.jpg.png", "a.png": "a.png.png", "b.jpg": "b.png"}


def test_names_that_differ_by_case_or_accents_count_as_shared():
    assert named("a.jpg", "A.png") == {"a.jpg": "a.jpg.png", "A.png": "A.png.png"}
    assert named("a.jpg", "a.JPG") == {"a.jpg": "a.jpg.png", "a.JPG": "a.JPG.png"}
    composed, decomposed = "\u00e9.jpg", "e\u0301.webp"
    assert named(composed, decomposed) == {composed: f"{composed}.png", decomposed: f"{decomposed}.png"}


def test_a_name_with_a_suffix_may_be_what_another_wants():
    assert named("a.jpg", "a.png", "a.jpg.webp", "a.jpg.webp.gif", "x.gif") == {
        "a.jpg": "a.jpg.png",
        "a.png": "a.png.png",
        "a.jpg.webp": "a.jpg.webp.png",
        "a.jpg.webp.gif": "a.jpg.webp.gif.png",
        "x.gif": "x.png",
    }


def test_no_two_outputs_share_a_name_and_order_does_not_matter():
    pieces = [".".join(parts) for n in (1, 2, 3) for parts in itertools.product(("a", "png", "jpg"), repeat=n)]
    outputs = named(*pieces)
    assert len(set(outputs.values())) == len(pieces)
    assert outputs == named(*reversed(pieces))


def test_what_a_file_system_cannot_tell_apart_is_refused(tmp_path):
    target, refused = Target(tmp_path, "png"), []
    arguments = (tmp_path, [("in", ["A.jpg", "a.jpg", "b.jpg"])], target)
    jobs = list(name_jobs(*arguments, True, lambda *refusal: refused.append(refusal), print))
    assert [job.output for job in jobs] == ["in/A.jpg.png", "in/b.png"]
    assert refused == [("in/a.jpg", "its translation would replace in/A.jpg.png: their names differ only by case")]
    jobs = list(name_jobs(*arguments, False, pytest.fail, print))
    assert [job.output for job in jobs] == ["in/A.jpg.png", "in/a.jpg.png", "in/b.png"]


def test_a_suffix_makes_a_file_unless_it_is_a_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").touch()
    (tmp_path / "v1.0").mkdir()
    folder, file = find_inputs(str(tmp_path / "in")), find_inputs(str(tmp_path / "in/a.jpg"))
    assert find_target(f"{tmp_path}/v1.0", folder) == Target(tmp_path / "v1.0", "png", is_chosen=False)
    assert find_target(f"{tmp_path}/v2.0/", folder, "jpg") == Target(tmp_path / "v2.0", "jpg")
    assert find_target(f"{tmp_path}/b.JPG", file) == Target(tmp_path, "jpg", "b.JPG")
    assert find_target(f"{tmp_path}/b.jpg", file, "jpeg") == Target(tmp_path, "jpg", "b.jpg")
    with pytest.raises(DataError, match="is a file, by its suffix, but INPUT is many images"):
        find_target(f"{tmp_path}/v2.0", folder)


def test_the_folder_is_tried_before_work_starts(tmp_path):
    with pytest.raises(DataError, match="a 8 x 8 image of 2 uint8 channels cannot be written as png"):
        Target(tmp_path, "png").prepare(ImageCodec(2))
    assert not list(tmp_path.iterdir())
    scratch, folds_case = Target(tmp_path / "new/one", "png").prepare(ImageCodec(3))
    with scratch:
        assert folds_case is (tmp_path / "NEW").exists()
    assert not list((tmp_path / "new/one").iterdir())


def by_pairs(names):
    """As :func:`output_names`, by comparing each name with each other: which keep their suffix."""
    same = [[folded(one), folded(one.rpartition(".")[0])] for one in names]
    keeps = {i for i, j in itertools.permutations(range(len(names)), 2) if same[i][1] == same[j][1]}
    while added := {i for i in range(len(names)) if any(same[i][1] == same[j][0] for j in keeps)} - keeps:
        keeps |= added
    return {name for index, name in enumerate(names) if index in keeps}


@pytest.mark.parametrize("seed", range(20))
def test_the_same_names_keep_their_suffix_as_when_each_is_compared_with_each(seed):
    rng = np.random.default_rng(seed)
    parts = ("a", "A", "b", "png", "jpg", "é", "e\u0301")
    names = sorted({".".join(rng.choice(parts, rng.integers(2, 5))) for _ in range(40)})
    assert {one.name for one in output_names(names, "png") if one.keeps_suffix} == by_pairs(names)


def test_a_large_folder_takes_little_memory_beside_its_names():
    names = [f"image_{index:06d}.{suffix}" for index in range(50_000) for suffix in ("jpg", "png")]
    tracemalloc.start()
    try:
        outputs = output_names(iter(names), "png")
        assert next(outputs).output == "image_000000.jpg.png"
        assert tracemalloc.get_traced_memory()[1] < 100 * len(names)
    finally:
        tracemalloc.stop()


def test_names_that_differ_by_case_are_refused_wherever_they_are_sorted(tmp_path):
    target, refused = Target(tmp_path, "png"), []
    folders = [("", ["A.jpg", "B.jpg", "a.jpg", "C.jpg"]), ("in", ["a.jpg"])]
    jobs = list(name_jobs(tmp_path, folders, target, True, lambda *refusal: refused.append(refusal[0]), print))
    assert refused == ["a.jpg"] and len(jobs) == 4


@pytest.mark.parametrize("name", ["a", "a.b", "a.b.c", ".a", "..a", ".a.b", "..a.b", "a.", "a..", ".", "..", "a..b"])
def test_the_stem_is_pythons(name):
    assert named(name)[name] == f"{os.path.splitext(name)[0]}.png"  # noqa: PTH122 (a second implementation)
