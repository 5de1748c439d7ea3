"""A state dict of another project as one of our networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from i2i.core.config.build import build, check_arguments, complete_arguments, failure, find_component, nested_components
from i2i.core.config.document import Node
from i2i.core.errors import CheckpointError, ConfigError, first_of
from i2i.core.meta import filled, on_meta
from i2i.core.plugins import owner_of
from i2i.core.registry import GENERATORS, REGISTRIES
from i2i.inference.importing.architecture import OPTION, Architectures, placed
from i2i.inference.importing.files import Source
from i2i.inference.importing.recognition import Guess, recognise
from i2i.inference.importing.reference_names import NUM_SHOWN, Fitted, fit_reference, reference_layers, rename


@dataclass
class Imported:
    """A network with its weights.

    Attributes:
        source: The file.
        kind: The registry's kind.
        type: The registered name.
        arguments: All constructor arguments.
        told: The arguments that are no defaults of ours: inferred, assumed or given.
        assumed: Arguments that the tensors could not tell, and why the value was taken.
        left_out: Names of tensors that the network has no use for.
        network: With the weights, on the CPU.
        not_finite: Names of tensors in the file with values that are NaN or infinite.
    """

    source: Source
    kind: str
    type: str
    arguments: dict[str, Any]
    told: dict[str, Any]
    assumed: dict[str, str]
    left_out: list[str]
    network: nn.Module
    not_finite: list[str] = field(default_factory=list)

    def spec(self) -> dict[str, Any]:
        """What a bundle says of the network, its origin included."""
        inner = nested_components(REGISTRIES[self.kind].get(self.type), self.arguments)
        return {
            "kind": self.kind,
            "type": self.type,
            "arguments": self.arguments,
            "owner": owner_of(self.kind, self.type),
            "nested": [{"kind": kind, "type": name, "owner": owner_of(kind, name)} for kind, name in inner],
            "source": self.source.describe(),
        }


def import_network(
    source: Source, tensors: Mapping[str, Tensor], architectures: Architectures, beside: Mapping[str, str]
) -> Imported | None:
    """Makes a network of a state dict.

    Args:
        source: The file that it is from.
        tensors: By the names of the reference, or by ours.
        architectures: What replaces what the tensors tell.
        beside: Options of the original's run, where they lie beside the file; they never outweigh the tensors.

    Returns:
        The network, or ``None`` where the tensors are of no network known, and nothing was said of it.

    Raises:
        CheckpointError: The tensors do not fit the network.
        ConfigError: An argument that was given is unknown, of the wrong type or out of range.
    """
    guess = recognise({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    given = architectures.of(guess.kind if guess is not None else GENERATORS.kind)
    if guess is not None and given.get("type", guess.type) == guess.type:
        guess = with_options(guess, beside, source)
    elif "type" in given:
        known = guess.arguments if guess is not None else {}
        channels = {key: value for key, value in known.items() if key in ("in_channels", "out_channels")}
        guess = Guess(guess.kind if guess is not None else GENERATORS.kind, given["type"], channels)
    else:
        return None
    told = {**guess.arguments, **{key: value for key, value in given.items() if key != "type"}}
    node = placed({"type": guess.type, **told})
    component = find_component(REGISTRIES[guess.kind], node)
    problems = check_arguments(component, node)
    if problems:
        raise ConfigError(problems)

    def construct() -> nn.Module:
        network: nn.Module = build(component, node)
        return network

    network = _without_weights(construct, source, node, guess.type, is_given=bool(given))
    fitted = _fit(network, tensors)
    if fitted.problems:
        shown = ", ".join(f"{key} {value}" for key, value in told.items())
        count = f"{len(fitted.problems)} tensor{'s' if len(fitted.problems) > 1 else ''}"
        raise CheckpointError(
            f"{source.path}: taken for {guess.type} with {shown}, which does not fit in {count}",
            [
                *first_of(fitted.problems, NUM_SHOWN),
                f"if it is another network, say which: {OPTION} '{{type: NAME, …}}'",
            ],
        )
    kinds = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    state = {name: tensor.to(kinds[name]) for name, tensor in fitted.tensors.items()}
    return Imported(
        source,
        guess.kind,
        guess.type,
        complete_arguments(component, node, {}),
        told,
        {key: why for key, why in guess.assumed.items() if key not in given},
        fitted.left_out,
        filled(network, construct, state),
        [name for name, tensor in tensors.items() if not tensor.isfinite().all()],
    )


def _without_weights(
    construct: Callable[[], nn.Module], source: Source, node: Node, name: str, is_given: bool
) -> nn.Module:
    """Builds a network of shapes alone.

    Raises:
        CheckpointError: What the tensors tell cannot be built.
        ConfigError: What the user says of it cannot.
    """
    try:
        return on_meta(construct)
    except Exception as error:  # sizes may overflow, and constructors of others may raise anything
        reason = error.problems[0].message if isinstance(error, ConfigError) else failure(error)
        if is_given and not isinstance(error, ConfigError):
            raise ConfigError([node.problem(f"cannot be built: {reason}")]) from error
        if is_given:
            raise
        raise CheckpointError(f"{source.path}: taken for {name}, which cannot be built so: {reason}") from error


def with_options(guess: Guess, beside: Mapping[str, str], source: Source) -> Guess:
    """Decides what the tensors leave open, by the original's options or else by its presets."""
    arguments, assumed = dict(guess.arguments), dict(guess.assumed)
    if "norm" in assumed and beside.get("norm") == arguments["norm"]:
        del assumed["norm"]
    if guess.type == "unet":
        # Dropout leaves no tensors. Off in the original's CycleGAN, on in its pix2pix, whose file names no way.
        said = beside.get("no_dropout")
        has_dropout = said == "False" if said in ("True", "False") else not source.way
        arguments["dropout"] = 0.5 if has_dropout else 0.0
        if said not in ("True", "False"):
            assumed["dropout"] = f"it leaves no tensors, and is as in the original's {_model_of(source)}"
    return Guess(guess.kind, guess.type, arguments, assumed)


def _model_of(source: Source) -> str:
    return "cycle_gan" if source.way else "pix2pix"


def _fit(network: nn.Module, tensors: Mapping[str, Tensor]) -> Fitted:
    """Compares tensors with a network: by the reference's names where it has them, else by the network's own."""
    try:
        layers = reference_layers(network)
    except CheckpointError:
        layers = {}
    if any(rename(name, layers) is not None for name in tensors):
        return fit_reference(network, tensors)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    fitted = Fitted({name: tensor for name, tensor in tensors.items() if expected.get(name) == tuple(tensor.shape)})
    for name, tensor in tensors.items():
        if name not in expected:
            fitted.problems.append(f"unexpected tensor {name} {list(tensor.shape)}")
        elif name not in fitted.tensors:
            fitted.problems.append(f"tensor {name} is {list(tensor.shape)}, expected {list(expected[name])}")
    missing = expected.keys() - tensors.keys()
    fitted.problems += [f"missing tensor {name} {list(expected[name])}" for name in expected if name in missing]
    return fitted
