"""The classes of label maps: those that a YAML lists, and those of published sets by name."""

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

from i2i.core.errors import ArgumentError
from i2i.core.registry import did_you_mean
from i2i.images.codecs import LabelClass
from i2i.images.codecs.labels import MAX_CLASSES, Colour

Spec = int | str | Sequence[str | Mapping[str, Any]]

# Name, id in the trained classes (None: void), colour; in the order of the ids in files, 0 to 33: the table of
# cityscapesScripts. Several ids are black, and polegroup has the colour of pole.
_CITYSCAPES: tuple[tuple[str, int | None, Colour], ...] = (
    ("unlabeled", None, (0, 0, 0)),
    ("ego vehicle", None, (0, 0, 0)),
    ("rectification border", None, (0, 0, 0)),
    ("out of roi", None, (0, 0, 0)),
    ("static", None, (0, 0, 0)),
    ("dynamic", None, (111, 74, 0)),
    ("ground", None, (81, 0, 81)),
    ("road", 0, (128, 64, 128)),
    ("sidewalk", 1, (244, 35, 232)),
    ("parking", None, (250, 170, 160)),
    ("rail track", None, (230, 150, 140)),
    ("building", 2, (70, 70, 70)),
    ("wall", 3, (102, 102, 156)),
    ("fence", 4, (190, 153, 153)),
    ("guard rail", None, (180, 165, 180)),
    ("bridge", None, (150, 100, 100)),
    ("tunnel", None, (150, 120, 90)),
    ("pole", 5, (153, 153, 153)),
    ("polegroup", None, (153, 153, 153)),
    ("traffic light", 6, (250, 170, 30)),
    ("traffic sign", 7, (220, 220, 0)),
    ("vegetation", 8, (107, 142, 35)),
    ("terrain", 9, (152, 251, 152)),
    ("sky", 10, (70, 130, 180)),
    ("person", 11, (220, 20, 60)),
    ("rider", 12, (255, 0, 0)),
    ("car", 13, (0, 0, 142)),
    ("truck", 14, (0, 0, 70)),
    ("bus", 15, (0, 60, 100)),
    ("caravan", None, (0, 0, 90)),
    ("trailer", None, (0, 0, 110)),
    ("train", 16, (0, 80, 100)),
    ("motorcycle", 17, (0, 0, 230)),
    ("bicycle", 18, (119, 11, 32)),
)
# The 11 classes of Badrinarayanan et al. 2017 (SegNet) and void, in the colours of the set's own 32.
_CAMVID: tuple[tuple[str, Colour], ...] = (
    ("sky", (128, 128, 128)),
    ("building", (128, 0, 0)),
    ("pole", (192, 192, 128)),
    ("road", (128, 64, 128)),
    ("pavement", (0, 0, 192)),
    ("tree", (128, 128, 0)),
    ("sign", (192, 128, 128)),
    ("fence", (64, 64, 128)),
    ("car", (64, 0, 128)),
    ("pedestrian", (64, 64, 0)),
    ("bicyclist", (0, 128, 192)),
    ("void", (0, 0, 0)),
)


def _cityscapes() -> tuple[LabelClass, ...]:
    """The 19 classes that are evaluated, in the order of their training ids, and all others as void."""
    rows = [(train, id, name, colour) for id, (name, train, colour) in enumerate(_CITYSCAPES)]
    trained = sorted(row for row in rows if row[0] is not None)
    void = tuple((id, colour) for train, id, _, colour in rows if train is None and id)
    classes = [LabelClass(id, name, colour) for _, id, name, colour in trained]
    return (*classes, LabelClass(0, "void", (0, 0, 0), void))


SCHEMES: Mapping[str, tuple[LabelClass, ...]] = {
    "camvid": tuple(LabelClass(id, name, colour) for id, (name, colour) in enumerate(_CAMVID)),
    "cityscapes": _cityscapes(),
    "cityscapes_ids": tuple(LabelClass(id, name, colour) for id, (name, _, colour) in enumerate(_CITYSCAPES)),
}


def parse_classes(spec: Spec, argument: str = "classes") -> tuple[LabelClass, ...]:
    """Reads the classes that a YAML gives.

    Args:
        spec: How many there are (ids from 0), their names (ids from 0), mappings ``{id, name, colour, also}`` of which
            only the id is needed, or a name in ``SCHEMES``. ``also`` lists further ids that count as the class, as
            numbers or as ``{id, colour}``.
        argument: The YAML key, for messages.

    Raises:
        ArgumentError: Says which class is wrong, and how.
    """
    if isinstance(spec, str):
        if spec not in SCHEMES:
            raise ArgumentError(
                f"no classes are known by the name {spec!r}{did_you_mean(spec, SCHEMES)}; known: {', '.join(SCHEMES)}",
                (argument,),
            )
        return SCHEMES[spec]
    given = [f"class {id}" for id in range(spec)] if isinstance(spec, int) else list(spec)
    if not 2 <= len(given) <= MAX_CLASSES:
        raise ArgumentError(f"{argument} must be 2 to {MAX_CLASSES}, got {len(given)}", (argument,))
    colours = default_colours(len(given))
    classes = [_parse(one, index, colours[index], (argument, index)) for index, one in enumerate(given)]
    owners: dict[int, str] = {}
    for index, one in enumerate(classes):
        for id in (one.id, *(id for id, _ in one.also)):
            if id in owners:
                raise ArgumentError(f"id {id} belongs to {owners[id]!r} and to {one.name!r}", (argument, index))
            owners[id] = one.name
        if one.colour in (other.colour for other in classes[:index]):
            raise ArgumentError(f"another class has the colour {list(one.colour)} too", (argument, index, "colour"))
    return tuple(classes)


def _parse(spec: Any, index: int, colour: Colour, path: tuple[str | int, ...]) -> LabelClass:
    if isinstance(spec, str):
        return LabelClass(index, spec, colour)
    for key in spec:
        if key not in ("id", "name", "colour", "also"):
            near = did_you_mean(key, ("id", "name", "colour", "also"))
            raise ArgumentError(f"a class has no {key!r}{near or '; known: id, name, colour, also'}", (*path, key))
    if "id" not in spec:
        raise ArgumentError("a class needs its id in files, as in {id: 7, name: road}", path)
    id = _id(spec["id"], (*path, "id"))
    name = spec.get("name", f"class {id}")
    if not isinstance(name, str):
        raise ArgumentError(f"a class's name is text, got {name!r}", (*path, "name"))
    also = spec.get("also", [])
    if not isinstance(also, list | tuple):
        raise ArgumentError(f"also lists further ids of the class, got {also!r}", (*path, "also"))
    more = []
    for place, one in enumerate(also):
        here = (*path, "also", place)
        if isinstance(one, Mapping):
            own = one.get("colour")
            more.append((_id(one.get("id"), here), None if own is None else _colour(own, here)))
        else:
            more.append((_id(one, here), None))
    own = spec.get("colour")
    return LabelClass(id, name, colour if own is None else _colour(own, (*path, "colour")), tuple(more))


def _id(value: Any, path: tuple[str | int, ...]) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
        raise ArgumentError(f"a class id is an integer from 0 to 255, got {value!r}", path)
    return value


def _colour(value: Any, path: tuple[str | int, ...]) -> Colour:
    if (
        not isinstance(value, list | tuple)
        or len(value) != 3
        or any(not isinstance(part, int) or isinstance(part, bool) or not 0 <= part <= 255 for part in value)
    ):
        raise ArgumentError(f"a colour is [red, green, blue], each 0 to 255, got {value!r}", path)
    return (value[0], value[1], value[2])


def default_colours(count: int) -> list[Colour]:
    """Returns distinct colours, none of them black: hues by the golden ratio, in turns of lightness."""
    colours: list[Colour] = []
    step = 0
    while len(colours) < count:
        saturation, value = ((0.9, 0.95), (0.55, 0.8), (0.8, 0.5))[step % 3]
        red, green, blue = colorsys.hsv_to_rgb(step * 0.618034 % 1, saturation, value)
        colour = (round(255 * red), round(255 * green), round(255 * blue))
        step += 1
        if colour not in colours:
            colours.append(colour)
    return colours
