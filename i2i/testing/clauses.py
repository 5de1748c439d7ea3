"""What all contract checks share: raising, naming, building, and the clauses about constructor arguments."""

import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2i.core.config.build import (
    check_arguments,
    check_value,
    constructor_arguments,
    describe,
    nested_kind,
    parameters_of,
)
from i2i.core.config.document import node_of

SEED = 0
_SCALARS = (int, float, bool, str, type(None))
_CONTAINERS = (list, tuple, dict, Sequence, Mapping)
_SHOWN = 5


class BrokenClause(AssertionError):
    """A component does not keep its contract."""


class Subject:
    """A component under test, with the arguments that a YAML would give.

    Args:
        component: A class, or a function that makes the object.
        arguments: The YAML's.
        supplied: Arguments that the framework passes where the constructor names them.

    Raises:
        AssertionError: The signature cannot be driven from a YAML.
    """

    def __init__(
        self, component: Callable[..., Any], arguments: Mapping[str, Any], supplied: Collection[str] = ()
    ) -> None:
        self.component = component
        self.name = getattr(component, "__name__", repr(component))
        self.arguments = dict(arguments)
        with self.doing("its signature cannot be read"):
            self.parameters = parameters_of(component)
            self._check_kinds()
        self._check_annotations(supplied)
        problems = check_arguments(component, node_of(self.arguments), supplied)
        self.require(not problems, _messages(problems))

    def _check_kinds(self) -> None:
        if getattr(self.component, "__init__", None) is nn.Module.__init__:
            return  # no constructor of its own
        for parameter in inspect.signature(self.component).parameters.values():
            self.require(
                parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.VAR_KEYWORD),
                f"a YAML can only set arguments that have a name; {str(parameter)!r} has none",
            )

    def _check_annotations(self, supplied: Collection[str]) -> None:
        for name, parameter in self.parameters.items():
            if name in supplied:
                continue
            annotation, default = parameter.annotation, parameter.default
            self.require(
                annotation is not parameter.empty,
                f"the argument {name!r} has no annotation, so its value in a YAML could not be checked",
            )
            self.require(
                is_plain(annotation),
                f"the argument {name!r} is annotated {describe(annotation)}, which a YAML cannot hold: "
                "int, float, bool, str, Literal, list, tuple, dict, None and unions of them, "
                "or Annotated[..., Nested(kind)]",
            )
            if default is not parameter.empty and not nested_kind(annotation):
                problems = check_value(annotation, node_of(default))
                self.require(not problems, f"the default of {name!r} contradicts its annotation: {_messages(problems)}")

    def build(self, **supplied: Any) -> Any:
        """Calls the constructor as the framework does, under a fixed seed."""
        given = constructor_arguments(self.component, node_of(self.arguments))
        arguments = {key: value for key, value in supplied.items() if key in self.parameters} | given
        shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items() if not isinstance(value, dict))
        meta = " on the meta device, where a YAML is checked," if torch.get_default_device().type == "meta" else ""
        with self.doing(f"cannot be built{meta} with {shown or 'no arguments'}"), seeded():
            return self.component(**arguments)

    def require(self, holds: bool, clause: str) -> None:
        """Raises unless the clause holds; a plain ``assert`` would vanish under ``python -O``."""
        if not holds:
            raise BrokenClause(f"{self.name}: {clause}")

    @contextmanager
    def doing(self, failure: str) -> Iterator[None]:
        """Turns whatever the component raises into a broken clause."""
        try:
            yield
        except BrokenClause:
            raise
        except Exception as error:
            raise BrokenClause(f"{self.name}: {failure}: {type(error).__name__}: {error}") from error

    def require_scalar(self, value: Any, what: str) -> None:
        """Requires a finite floating-point tensor without dimensions."""
        self.require(isinstance(value, Tensor), f"{what} gives {type(value).__name__}, expected a tensor")
        self.require(
            value.ndim == 0 and value.is_floating_point(),
            f"{what} gives {value.dtype} of shape {list(value.shape)}, expected one floating-point number",
        )
        self.require(bool(value.isfinite()), f"{what} gives {value.item()}")


def is_plain(annotation: Any) -> bool:
    """Tells whether an annotation describes data that a YAML can hold."""
    if nested_kind(annotation):
        return True
    if annotation is Any or annotation in _SCALARS or annotation in _CONTAINERS or annotation is None:
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return all(isinstance(argument, _SCALARS) for argument in arguments)
    nests = origin in (typing.Union, types.UnionType) or origin in _CONTAINERS
    return nests and all(is_plain(argument) for argument in arguments if argument is not Ellipsis)


@contextmanager
def seeded(seed: int = SEED) -> Iterator[None]:
    """Seeds PyTorch's global random state, and puts it back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def images(*shape: int, seed: int = SEED) -> Tensor:
    """Returns ``[N, C, H, W]``, uniform in [-1, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def some(names: Iterable[str]) -> str:
    """Lists the first few names."""
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _messages(problems: Iterable[Any]) -> str:
    return "; ".join(f"{'.'.join(map(str, problem.path))} {problem.message}".strip() for problem in problems)
