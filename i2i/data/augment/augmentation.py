"""Builds albumentations pipelines of YAML nodes; what the library only warns about is an error here."""

import os
from collections.abc import Mapping, Sequence
from inspect import Parameter, isclass, signature
from typing import Any

from i2i.core.errors import ArgumentError
from i2i.core.registry import did_you_mean

Path = tuple[str | int, ...]

_INTERPOLATIONS = ("INTER_", ("nearest", "nearest_exact", "linear", "cubic", "area", "lanczos4"))
_NEAREST = ("nearest", "nearest_exact")
_WORDS = {
    "interpolation": _INTERPOLATIONS,
    "mask_interpolation": _INTERPOLATIONS,
    "border_mode": ("BORDER_", ("constant", "replicate", "reflect", "wrap", "reflect_101")),
}
_RANGE_CHANGERS = {"Normalize", "ToFloat", "FromFloat", "ToTensorV2", "ToTensor3D"}
_NOT_FOR_YAML = {"BaseCompose", "Compose", "ReplayCompose", "Lambda", "BasicTransform", "DualTransform"}


def build_compose(nodes: Sequence[Mapping[str, Any]], extra_targets: Mapping[str, str], path: Path) -> Any:
    """Builds a pipeline whose random state is set before every item.

    Args:
        nodes: ``{type: ClassName, **arguments}``.
        extra_targets: Further images that get the same geometry: name -> ``image`` or ``mask``.
        path: Where the nodes stand in the configuration.

    Raises:
        ArgumentError: An unknown transform or argument, or a value out of range.
    """
    has_masks = "mask" in extra_targets.values()
    transforms = _build_all(nodes, path, has_masks)
    return _library().Compose(transforms, additional_targets=dict(extra_targets), is_check_shapes=False)


def _library() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for news
    import albumentations

    return albumentations


def _build_all(nodes: Any, path: Path, has_masks: bool) -> list[Any]:
    if isinstance(nodes, str | Mapping) or not isinstance(nodes, Sequence):
        raise ArgumentError("a list of transforms is needed, as in [{type: HorizontalFlip, p: 0.5}]", path)
    return [_build(node, (*path, index), has_masks) for index, node in enumerate(nodes)]


def _build(node: Any, path: Path, has_masks: bool) -> Any:
    if not isinstance(node, Mapping) or not isinstance(node.get("type"), str):
        raise ArgumentError("a transform needs a type, as in {type: HorizontalFlip, p: 0.5}", path)
    name = node["type"]
    cls = _find(name, (*path, "type"))
    parameters = {key: p for key, p in signature(cls.__init__).parameters.items() if key != "self"}
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values()):
        parameters = {key: p for key, p in parameters.items() if p.kind is not Parameter.VAR_KEYWORD}
    arguments = {key: value for key, value in node.items() if key != "type"}
    for key in arguments:
        if key not in parameters:
            known = ", ".join(key for key in parameters)
            raise ArgumentError(
                f"{name} has no argument {key!r}{did_you_mean(key, parameters) or f', only {known}'}", (*path, key)
            )
    missing = [key for key, p in parameters.items() if p.default is Parameter.empty and key not in arguments]
    if missing:
        raise ArgumentError(f"{name} needs {' and '.join(missing)}", path)
    if "transforms" in arguments:
        arguments["transforms"] = _build_all(arguments["transforms"], (*path, "transforms"), has_masks)
    if has_masks:
        _keep_labels(arguments, parameters, path)
    for key in arguments.keys() & _WORDS.keys():
        arguments[key] = _constant(key, arguments[key], (*path, key))
    if "area_for_downscale" in parameters:
        arguments.setdefault("area_for_downscale", "image")  # the library's own default aliases
    return _construct(cls, name, arguments, path)


def _keep_labels(arguments: dict[str, Any], parameters: Mapping[str, Any], path: Path) -> None:
    """Sees to it that classes are never mixed: between two ids, interpolation finds a third."""
    key = "mask_interpolation"
    if arguments.get(key, "nearest") not in _NEAREST:
        raise ArgumentError(f"label maps are never interpolated: {' or '.join(_NEAREST)}", (*path, key))
    if arguments.get("area_for_downscale") == "image_mask":
        raise ArgumentError("label maps are never averaged: image, not image_mask", (*path, "area_for_downscale"))
    if "area_for_downscale" in parameters:  # it resizes; plain "nearest" shifts by up to half a pixel then
        arguments.setdefault(key, "nearest_exact")


def _find(name: str, path: Path) -> Any:
    library = _library()
    known = {
        key: value
        for key, value in vars(library).items()
        if isclass(value) and issubclass(value, (library.BasicTransform, library.BaseCompose))
    }
    if name in _RANGE_CHANGERS:
        raise ArgumentError(f"{name} is not needed: tensors in [-1, 1] are made after the transforms", path)
    if name not in known or name in _NOT_FOR_YAML:
        near = did_you_mean(name, known.keys() - _NOT_FOR_YAML)
        raise ArgumentError(f"albumentations has no transform {name!r}{near}", path)
    return known[name]


def _constant(key: str, value: Any, path: Path) -> Any:
    """Translates ``cubic`` and its like; numbers pass as they are."""
    if not isinstance(value, str):
        return value
    import cv2

    prefix, words = _WORDS[key]
    if value not in words:
        raise ArgumentError(f"{key} is one of {', '.join(words)}, not {value!r}{did_you_mean(value, words)}", path)
    return getattr(cv2, prefix + value.upper())


def _construct(cls: Any, name: str, arguments: dict[str, Any], path: Path) -> Any:
    from pydantic import ValidationError

    chance = arguments.get("p", 1)
    if not isinstance(chance, int | float) or not 0 <= chance <= 1:
        raise ArgumentError(f"{name}.p should be a number from 0 to 1, got {chance!r}", (*path, "p"))
    constructor = next(base for base in cls.__mro__ if "__init__" in vars(base))
    strict = {"strict": True} if "InitSchema" in vars(constructor) else {}  # without it, some errors only warn
    try:
        transform = cls(**arguments, **strict)
    except Exception as error:  # schemas raise ValueError, constructors anything
        cause = error.__cause__
        if not isinstance(cause, ValidationError):
            raise ArgumentError(f"{name}: {error}".replace("\n", " "), path) from error
        detail = cause.errors()[0]
        place = detail["loc"][:1]  # what follows are branches of the type, no keys of the YAML
        message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
        where = f"{name}.{place[0]}" if place else name
        raise ArgumentError(f"{where} {message}, got {detail['input']!r}", (*path, *place)) from error
    extra = set(getattr(transform, "targets_as_params", ())) - {"image"}
    if extra:
        raise ArgumentError(f"{name} cannot be used: it needs {', '.join(sorted(extra))} beside the image", path)
    return transform
