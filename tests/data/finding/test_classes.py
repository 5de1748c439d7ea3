"""Classes of label maps: published ones and those of a YAML."""

import pytest

from i2i.core.errors import ArgumentError
from i2i.data.finding.classes import SCHEMES, default_colours, parse_classes

# Ids in files of the 19 classes that the Cityscapes benchmark evaluates, by training id.
TRAINED = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


def test_cityscapes_is_the_benchmarks():
    *trained, void = SCHEMES["cityscapes"]
    assert [one.id for one in trained] == TRAINED
    assert {void.id, *(id for id, _ in void.also)} == set(range(34)) - set(TRAINED)
    by_name = {one.name: one for one in trained}
    assert by_name["road"].colour == (128, 64, 128) and by_name["road"].id == 7
    assert by_name["bicycle"].colour == (119, 11, 32) and by_name["bicycle"].id == 33
    assert by_name["sky"].colour == (70, 130, 180) and by_name["train"].colour == (0, 80, 100)
    assert len({one.colour for one in SCHEMES["cityscapes"]}) == 20
    assert [one.id for one in SCHEMES["cityscapes_ids"]] == list(range(34))
    assert SCHEMES["cityscapes_ids"][24].name == "person"


def test_camvid_is_as_its_readme_says(real_images):
    text = (real_images / "README.md").read_text()
    listed = text.partition("labels are class ids in one channel, not colours: ")[2].partition(". CC")[0]
    listed = listed.partition(". Frames")[0]
    assert [f"{one.id} {one.name}" for one in SCHEMES["camvid"]] == listed.split(", ")


def test_a_number_names_or_mappings():
    assert [one.id for one in parse_classes(3)] == [0, 1, 2]
    assert [(one.id, one.name) for one in parse_classes(["sky", "road"])] == [(0, "sky"), (1, "road")]
    given = [{"id": 7, "name": "road", "colour": [1, 2, 3], "also": [8, {"id": 9, "colour": [4, 5, 6]}]}, {"id": 0}]
    road, other = parse_classes(given)
    assert (road.id, road.name, road.colour, road.also) == (7, "road", (1, 2, 3), ((8, None), (9, (4, 5, 6))))
    assert (other.id, other.name) == (0, "class 0")


@pytest.mark.parametrize("count", [2, 12, 34, 255])
def test_default_colours_are_distinct_and_none_is_black(count):
    colours = default_colours(count)
    assert len(set(colours)) == count == len(colours) and (0, 0, 0) not in colours
    assert default_colours(2) == colours[:2]


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ("cityscape", (), "no classes are known by the name 'cityscape', did you mean 'cityscapes'?"),
        (1, (), "classes must be 2 to 255, got 1"),
        (256, (), "classes must be 2 to 255, got 256"),
        ([{"name": "sky"}, "road"], (0,), "a class needs its id in files, as in {id: 7, name: road}"),
        ([{"id": 256}, "road"], (0, "id"), "a class id is an integer from 0 to 255, got 256"),
        ([{"id": True}, "road"], (0, "id"), "a class id is an integer from 0 to 255, got True"),
        ([{"id": 0, "color": [0, 0, 0]}, "road"], (0, "color"), "a class has no 'color', did you mean 'colour'?"),
        ([{"id": 0, "colour": [0, 0]}, "road"], (0, "colour"), "a colour is [red, green, blue], each 0 to 255"),
        ([{"id": 0, "name": 3}, "road"], (0, "name"), "a class's name is text, got 3"),
        ([{"id": 0, "also": 3}, "road"], (0, "also"), "also lists further ids of the class, got 3"),
        (["sky", {"id": 0, "name": "road"}], (1,), "id 0 belongs to 'sky' and to 'road'"),
        (["sky", {"id": 5, "name": "road", "also": [0]}], (1,), "id 0 belongs to 'sky' and to 'road'"),
        ([{"id": 0, "colour": [1, 1, 1]}, {"id": 1, "colour": [1, 1, 1]}], (1, "colour"), "another class has the"),
    ],
)
def test_wrong_classes_are_told_where_and_how(spec, path, message):
    with pytest.raises(ArgumentError) as caught:
        parse_classes(spec)
    assert caught.value.path == ("classes", *path)
    assert str(caught.value).startswith(message)
