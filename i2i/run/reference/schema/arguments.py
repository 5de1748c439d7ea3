"""Schemas of constructor arguments, and the few forms that all schemas here are made of."""

from collections.abc import Iterable, Mapping
from typing import Any

from i2i.core.config.build import adapter_of, nested_kind
from i2i.run.reference.documentation import Argument

Schema = dict[str, Any]


def either(arguments: Iterable[Mapping[str, Schema]]) -> dict[str, Schema]:
    """Joins the arguments of several components; one that some declare differently takes what either takes."""
    choices: dict[str, list[Schema]] = {}
    for schemas in arguments:
        for name, schema in schemas.items():
            bare = {key: value for key, value in schema.items() if key not in ("description", "default")}
            if bare not in choices.setdefault(name, []):
                choices[name].append(bare)
    return {name: found[0] if len(found) == 1 else {"anyOf": found} for name, found in choices.items()}


def properties(arguments: Iterable[Argument]) -> dict[str, Schema]:
    """Argument -> the schema of its annotation, with description and default."""
    schemas = {}
    for argument in arguments:
        schema = _of_annotation(argument.annotation)
        if argument.text:
            schema["description"] = argument.text
        if _is_plain(argument.default):
            schema["default"] = list(argument.default) if isinstance(argument.default, tuple) else argument.default
        schemas[argument.name] = schema
    return schemas


def _of_annotation(annotation: Any) -> Schema:
    from pydantic.errors import PydanticUserError

    adapter = None if nested_kind(annotation) else adapter_of(annotation)
    try:
        schema: Schema = _draft7(adapter.json_schema()) if adapter is not None else {}
    except PydanticUserError:  # no plain data
        return {}
    return schema


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)


def _draft7(schema: Any) -> Any:
    """Rewrites what pydantic writes for later drafts: tuples."""
    if isinstance(schema, list):
        return [_draft7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {"items" if key == "prefixItems" else key: _draft7(value) for key, value in schema.items()}
    return renamed | {"additionalItems": False} if "prefixItems" in schema else renamed


def one_of(names: Iterable[str]) -> Schema:
    """Any of these names. Editors refuse an empty ``enum``, so where there is no name, it is said otherwise."""
    return {"enum": list(names)} if list(names) else {"not": {}}


def is_type(name: str) -> Schema:
    """A node of that type."""
    return {"type": "object", "properties": {"type": {"const": name}}, "required": ["type"]}


def mapping(keys: Mapping[str, Schema], description: str = "") -> Schema:
    """A mapping with these keys and no others."""
    schema: Schema = {"description": description} if description else {}
    return schema | {"type": "object", "properties": dict(keys), "additionalProperties": False}


def reference(name: str) -> Schema:
    """What is defined under that name. In draft 7 nothing may stand beside it."""
    return {"$ref": f"#/definitions/{name}"}
