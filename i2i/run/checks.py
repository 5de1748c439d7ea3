"""What a document must hold before anything is built of it: keys, losses, data, optimizers, schedule."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from i2i.core.config.build import build, check_and_build, check_arguments, failure, find_component, make
from i2i.core.config.document import Node, merge, parse
from i2i.core.errors import ConfigError, Problem, RegistryError
from i2i.core.meta import on_meta
from i2i.core.plugins import load_plugin_file
from i2i.core.registry import DATASETS, LOSSES, OPTIMIZERS, SCHEDULES, did_you_mean
from i2i.data.base import Dataset, adapted
from i2i.data.loading.stream import SeededDataset
from i2i.pipelines.base import LossRole, family_of
from i2i.training.schedules import Constant, Schedule
from i2i.training.settings import DataSettings, TrainerSettings

FORMAT = 1
FRAMEWORK_KEYS = (
    *("format", "name", "plugins", "init_from", "pipeline", "losses", "data", "optimizer", "schedule", "trainer"),
    *("validation", "trackers"),
)
DATA_KEYS = tuple(field.name for field in fields(DataSettings))
MAX_PIXELS = 2**32  # of a training image
DEFAULT_OPTIMIZER = parse("{type: adam, lr: 2.0e-4, betas: [0.5, 0.999]}", "<default>")

_FAMILIES = {"adversarial": "an adversarial loss", "pairwise": "a loss that compares two images"}
_EXAMPLES = {"adversarial": "lsgan", "pairwise": "l1"}

Result = TypeVar("Result")


class Problems(list[Problem]):
    """Collects the problems of independent parts, so that all are shown at once."""

    def attempt(self, part: Callable[..., Result], *arguments: Any) -> Result | None:
        """Returns the part's result, or collects its problems and returns ``None``."""
        try:
            return part(*arguments)
        except ConfigError as error:
            self.extend(problem for problem in error.problems if problem not in self)
            return None

    def stop_if_any(self) -> None:
        if self:
            raise ConfigError(self)


@dataclass(frozen=True)
class Data:
    """The YAML's ``data``.

    Attributes:
        node: The data set's own part of it.
        settings: The framework's part.
        dataset: The data set, which has not looked at its files yet.
    """

    node: Node
    settings: DataSettings
    dataset: Dataset

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each domain, after ``direction``."""
        return {domain: codec.channels for domain, codec in self.seeded(0).codecs.items()}

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the training images, where the data set says that they are all alike."""
        size = self.dataset.size
        return None if size is None else (size[0], size[1])

    def seeded(self, seed: int, dataset: Dataset | None = None) -> SeededDataset:
        """Returns the data set, or another one, with a seed and the domains as the pipeline has them."""
        return SeededDataset(dataset or self.dataset, seed, self.settings.direction == "b2a")

    def sample(self, count: int, device: str = "meta") -> dict[str, torch.Tensor]:
        """Returns a random batch, labels included; its size must be known."""
        return self.seeded(0).sample(count, device)

    def count(self, domains: tuple[str, ...]) -> int:
        """Returns the channels of some domains together.

        Raises:
            ConfigError: The data set does not have one of them.
        """
        channels = self.channels
        if any(domain not in channels for domain in domains):
            message = f"gives {', '.join(channels)}, but this pipeline needs {' and '.join(domains)}"
            raise ConfigError([self.node.problem(message, "type")])
        return sum(channels[domain] for domain in domains)


def load_plugins(root: Node) -> None:
    """Runs the local plugin files that a document names."""
    plugins = root.get("plugins")
    if plugins is None:
        return
    if not isinstance(plugins.value, list) or not all(isinstance(item.value, str) for item in plugins.value):
        raise ConfigError([plugins.problem("expected a list of Python files, relative to this YAML")])
    for item in plugins.value:
        try:
            load_plugin_file(item.value)
        except RegistryError as error:
            raise ConfigError([item.problem(error.message, hints=error.hints)]) from error


def check_head(root: Node) -> None:
    """Checks ``format`` and ``name``."""
    found, name = root.get("format"), root.get("name")
    problems = []
    if found is not None and found.value != FORMAT:
        problems.append(found.problem(f"expected {FORMAT}, the format of this version, got {found.plain()!r}"))
    if name is not None and (
        not isinstance(name.value, str) or Path(name.value).name != name.value or name.value in ("", "..")
    ):
        problems.append(name.problem(f"expected a name that can be a folder's, got {name.plain()!r}"))
    if problems:
        raise ConfigError(problems)


def check_keys(root: Node, roles: Collection[str], needs_losses: bool = True) -> None:
    """Checks the keys of the document.

    Args:
        root: The document.
        roles: The pipeline's networks.
        needs_losses: Whether the pipeline has a loss role that is required.
    """
    known = [*FRAMEWORK_KEYS, *roles]
    hints = [f"known with this pipeline: {', '.join(known)}"]
    problems = [
        child.problem(f"unknown key{did_you_mean(key, known)}", hints=hints)
        for key, child in root.items()
        if key not in known
    ]
    wanted = ["data", "trainer", *(["losses"] if needs_losses else [])]
    problems += [root.problem(f"needs {key!r}") for key in wanted if root.get(key) is None]
    if problems:
        raise ConfigError(problems)


def check_losses(root: Node, declared: Mapping[str, LossRole]) -> dict[str, list[Node]]:
    """Checks ``losses`` and returns the nodes of each role."""
    losses = root.get("losses")
    if losses is None:
        return {}
    if not losses.is_mapping:
        raise ConfigError([losses.problem("expected a mapping of roles such as 'adversarial: {type: lsgan}'")])
    checked: dict[str, list[Node]] = {}
    problems = Problems()
    for role, child in losses.items():
        if role not in declared:
            hints = [f"roles of this pipeline: {', '.join(declared)}"]
            problems.append(child.problem(f"unknown role{did_you_mean(role, declared)}", hints=hints))
            continue
        checked[role] = child.value if isinstance(child.value, list) else [child]
        for node in checked[role]:
            problems.attempt(_check_loss, node, declared[role])
        if not checked[role]:
            problems.append(child.problem("the role has no loss"))
    for role, spec in declared.items():
        if spec.required and losses.get(role) is None:
            example = _EXAMPLES.get(spec.families[0], "NAME")
            hint = f"losses: {{{role}: {{type: {example}}}}}"
            problems.append(losses.problem(f"the role {role!r} has no loss", hints=[hint]))
    problems.stop_if_any()
    return checked


def _check_loss(node: Node, role: LossRole) -> None:
    component = find_component(LOSSES, node)
    if family_of(component) not in role.families:
        wanted = " or ".join(_FAMILIES.get(family, f"a loss of the family {family!r}") for family in role.families)
        raise ConfigError([node.problem(f"{node.plain()['type']!r} is not {wanted}, which this role needs", "type")])
    problems = Problems()
    problems.attempt(_try_loss, component, node.without(["weight"]))
    weight = node.get("weight")
    if weight is not None and (not isinstance(weight.value, int | float) or isinstance(weight.value, bool)):
        problems.append(node.problem(f"expected a number, got {weight.plain()!r}", "weight"))
    elif weight is not None and not 0 <= weight.value < float("inf"):
        problems.append(node.problem(f"weight must be at least 0 and finite, got {weight.value}", "weight"))
    problems.stop_if_any()


def _try_loss(component: Callable[..., Any], node: Node) -> None:
    """Builds a loss for nothing, and without memory: one with a backbone looks for the weights and leaves them."""
    problems = check_arguments(component, node)
    if problems:
        raise ConfigError(problems)
    try:
        on_meta(lambda: build(component, node))
    except ConfigError:
        raise
    except Exception as error:  # constructors of others may raise anything
        raise ConfigError([node.problem(f"cannot be built: {failure(error)}")]) from error


def weight_of(loss: Node) -> float:
    """Returns the weight that a loss has in its role."""
    weight = loss.get("weight")
    return float(weight.value) if weight is not None else 1.0


def trainer_settings(root: Node) -> TrainerSettings:
    """Checks and returns ``trainer``."""
    node = root.get("trainer")
    if node is None:
        raise ConfigError([root.problem("needs 'trainer'")])
    settings: TrainerSettings = check_and_build(TrainerSettings, node)
    return settings


def make_data(root: Node) -> Data:
    """Checks ``data`` and builds the data set, which looks at no file yet."""
    node = root.get("data")
    if node is None:
        raise ConfigError([root.problem("needs 'data'")])
    if not node.is_mapping:
        raise ConfigError([node.problem("expected a data set such as {type: unpaired, root: FOLDER}")])
    framework = Node({key: child for key, child in node.items() if key in DATA_KEYS}, node.place, node.path)
    own = node.without(DATA_KEYS)
    problems = Problems()
    settings = problems.attempt(check_and_build, DataSettings, framework)
    dataset = problems.attempt(make, DATASETS, own)
    problems.stop_if_any()
    assert settings is not None  # it had no problem
    if isinstance(dataset, Dataset):  # others are adapted
        _check_declared(dataset, own)
    data = Data(own, settings, adapted(dataset))
    if data.size is not None and data.size[0] * data.size[1] > MAX_PIXELS:
        raise ConfigError(
            [own.problem(f"images of {data.size[0]}x{data.size[1]} are larger than any that can be trained on")]
        )
    return data


def _check_declared(dataset: Dataset, node: Node) -> None:
    """Refuses a data set that lacks what each one has."""
    is_there = {
        'codecs: codecs = {"image": ImageCodec(3)}': isinstance(getattr(dataset, "codecs", None), Mapping),
        "__len__(self)": getattr(type(dataset), "__len__", Dataset.__len__) is not Dataset.__len__,
        "get(self, index, rng)": getattr(type(dataset), "get", Dataset.get) is not Dataset.get,
    }
    missing = [name for name, there in is_there.items() if not there]
    if missing:
        raise ConfigError([node.problem(f"{type(dataset).__name__} declares no {missing[0]}", "type")])


def make_schedule(root: Node) -> Schedule:
    """Checks and builds ``schedule``; constant where there is none."""
    node = root.get("schedule")
    schedule: Schedule = Constant() if node is None else make(SCHEDULES, node)
    return schedule


def optimizer_nodes(root: Node, roles: Collection[str]) -> dict[str, Node]:
    """Returns the optimizer of each network role: the common keys with the role's own laid over them."""
    node = root.get("optimizer") or DEFAULT_OPTIMIZER
    if not node.is_mapping:
        raise ConfigError([node.problem("expected an optimizer such as {type: adam, lr: 2.0e-4}")])
    problems, nodes = Problems(), {}
    for role in roles:
        own = node.get(role) or Node({}, node.place, node.path)
        if not own.is_mapping:
            problems.append(own.problem("expected a mapping such as {lr: 1.0e-4}"))
            continue
        nodes[role] = merge(node.without(roles), own)
        problems.attempt(_try_optimizer, nodes[role])
    problems.stop_if_any()
    return nodes


def _try_optimizer(node: Node) -> None:
    """Builds an optimizer for nothing; points at the argument that torch complains of."""
    try:
        make(OPTIMIZERS, node, {"params": [nn.Parameter(torch.zeros(1))]})
    except ConfigError as error:
        words = {"learning rate": "lr", "beta parameter": "betas", "epsilon": "eps", "weight_decay": "weight_decay"}
        culprit = next((key for text, key in words.items() if text in str(error) and node.get(key)), None)
        if culprit is None or not str(error).partition(": ")[2].startswith("Invalid"):
            raise
        message = error.problems[0].message
        raise ConfigError([node.problem(message[0].lower() + message[1:], culprit)]) from error


def make_optimizer(node: Node, parameters: list[nn.Parameter], fused: bool = False) -> torch.optim.Optimizer:
    """Builds an optimizer; each group remembers its ``initial_lr`` for the schedule.

    Args:
        node: Of the YAML.
        parameters: What it optimizes.
        fused: Whether Adam has its fused kernel, unless the node says otherwise. It reads and writes memory once, its
            rounding differs, and on a GPU it leaves an update out by a flag on the device. (That of SGD would then go
            on from a momentum that it has never set.)
    """
    component, supplied = find_component(OPTIMIZERS, node), dict[str, Any](params=parameters)
    is_free = not any(node.get(key) is not None for key in ("fused", "foreach", "differentiable"))
    if fused and is_free and component in (torch.optim.Adam, torch.optim.AdamW):
        supplied["fused"] = True
    optimizer: torch.optim.Optimizer = build(component, node, supplied)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer
