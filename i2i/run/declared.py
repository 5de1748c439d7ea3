"""Whether what a pipeline declares, once it is built, fits itself and the YAML."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from i2i.core.config.document import Node
from i2i.core.errors import ConfigError, DataError, Problem
from i2i.core.registry import REGISTRIES, did_you_mean
from i2i.pipelines.base import Direction, NetworkRole, Phase, Pipeline
from i2i.run.checks import Data
from i2i.run.trial import Trial
from i2i.training.settings import TrainerSettings
from i2i.training.timetable import Timetable

_SIGNATURES = {"forward": 1, "loss": 3, "commit": 2, "translate": 3}  # arguments that the framework passes
_NOW = "forward(now), loss(phase, now, shared), commit(phase, keep), translate(x, direction, rng)"


def signature_problem(component: Any, node: Node) -> Problem | None:
    """Finds a pipeline that was written for i2i 0.1, whose methods took other arguments."""
    if not (inspect.isclass(component) and issubclass(component, Pipeline)):
        return node.problem(f"{node.plain()['type']!r} is no pipeline: it does not derive from i2i.Pipeline", "type")
    for name in ("networks", "losses"):
        if not isinstance(getattr(component, name, None), Mapping):
            message = f"{component.__name__} declares no {name}: {name} = {{…}} in the class"
            return node.problem(message, "type", hints=_PAGE)
    for name, count in _SIGNATURES.items():
        method = getattr(component, name)
        if method is not getattr(Pipeline, name) and not _accepts(method, count + 1):
            parameters = [one for one in inspect.signature(method).parameters if one != "self"]
            old = f"{name}({', '.join(parameters)})"
            return node.problem(f"{old} is not called any more; now it is {_NOW}", "type", hints=_PAGE)
    for role, spec in component.networks.items():
        if not isinstance(spec, NetworkRole):
            return node.problem(
                f"its role {role!r} is {type(spec).__name__}, expected NetworkRole", "type", hints=_PAGE
            )
        if spec.kind not in REGISTRIES:
            near = did_you_mean(spec.kind, REGISTRIES)
            return node.problem(f"its role {role!r} is of the unknown kind {spec.kind!r}{near}", "type")
    declared = getattr(component, "directions", {})
    if isinstance(declared, Mapping) and any(isinstance(value, str) for value in declared.values()):
        old, letter = next(iter(declared.items()))
        new = f'Direction(({letter!r},), "a", "b")'
        return node.problem(f"directions hold {letter!r} for {old!r}; now it is {new}", "type", hints=_PAGE)
    return None


def shape_problem(pipeline: Pipeline, node: Node) -> Problem | None:
    """Finds a pipeline that lacks what each one has, once it is built."""
    if "members" not in vars(pipeline).get("_modules", {}):
        message = "its __init__ does not begin with super().__init__(networks, losses)"
        return node.problem(message, "type", hints=_PAGE)
    expected = {"phases": 'phases = (Phase("G", ("G",), "generator"),)', "directions": "directions = {…: Direction(…)}"}
    for name, example in expected.items():
        if not isinstance(getattr(pipeline, name, None), Sequence if name == "phases" else Mapping):
            return node.problem(f"it declares no {name}: {example}", "type", hints=_PAGE)
    strange = [phase for phase in pipeline.phases if not isinstance(phase, Phase)]
    if strange:
        return node.problem(f"its phases hold {type(strange[0]).__name__}, expected Phase", "type", hints=_PAGE)
    return None


_PAGE = ["docs/howto/own-pipeline.md shows a whole one"]


def _accepts(method: Any, count: int) -> bool:
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    return True


def check_declared(root: Node, pipeline: Pipeline, data: Data, settings: TrainerSettings) -> Timetable:
    """Checks phases, directions, optimizers, the moving average and the stages of a pipeline as built.

    Returns:
        Which images a step sees.

    Raises:
        ConfigError: Holds every problem found.
    """
    node = root.find(["pipeline"])
    problems = [*_name_problems(data), *_direction_problems(node, pipeline, data)]
    problems += _phase_problems(root, node, pipeline)
    if settings.ema is not None and not pipeline.averaged:
        message = "averages nothing: no network that a direction uses is trained"
        problems.append(root.problem(message, "trainer", "ema", hints=["leave it out"]))
    timetable = None
    try:
        timetable = Timetable(pipeline.stages(settings.batch_size))
    except ValueError as error:
        problems.append(node.problem(str(error)))
    if timetable and settings.steps is None and settings.images is not None:
        problems += unreached(root, timetable, timetable.steps_for(settings.images))
    if problems:
        raise ConfigError(problems)
    assert timetable is not None
    return timetable


def unreached(root: Node, timetable: Timetable, steps: int) -> list[Problem]:
    """Finds the stages that the run is too short for."""
    key = "images" if root.find(["trainer"]).get("images") is not None else "epochs"
    seen = timetable.at(steps).images
    return [
        root.problem(
            f"the run ends after {seen:,} images, and a stage of the pipeline begins at {stage.first_image:,}",
            "trainer",
            key,
            hints=[f"trainer.images={stage.first_image + 1} or more, or fewer stages"],
        )
        for stage in timetable.unreached(steps)[:1]
    ]


def _name_problems(data: Data) -> Iterator[Problem]:
    """Finds names of classes and attributes that a bundle could not hold."""
    try:
        names = {"class_names": data.dataset.class_names, "attributes": data.dataset.attributes}
        count, named = data.dataset.num_classes, len(data.dataset.class_names)
    except DataError:  # they are read off files, which are not here yet
        return
    for key, held in names.items():
        strange = [name for name in held if not isinstance(name, str)]
        if strange:
            yield data.node.problem(f"its {key} hold {strange[0]!r}, expected text", "type")
    if count != named:
        hints = ["class_names = ('day', 'night'): num_classes follows"]
        yield data.node.problem(f"has num_classes {count}, and {named} class_names", "type", hints=hints)


def _direction_problems(node: Node, pipeline: Pipeline, data: Data) -> Iterator[Problem]:
    if not pipeline.directions:
        yield node.problem("has no direction, so that its model could not be used for anything", "type")
    noisy = [name for name, one in pipeline.directions.items() if isinstance(one, Direction) and not one.source]
    if len(noisy) > 1:  # generate(z, label) is told of no direction
        yield node.problem(f"has {len(noisy)} directions from noise, {' and '.join(noisy)}, and can have one", "type")
    own = [name for name, _ in pipeline.named_parameters() if name.partition(".")[0] not in ("members", "objectives")]
    if own:
        hints = ["put it into a network, whose phase trains it, or make it a buffer"]
        yield node.problem(f"has a parameter of its own, {own[0]!r}, which no phase would train", "type", hints=hints)
    for name, direction in pipeline.directions.items():
        if not isinstance(direction, Direction):
            yield node.problem(f"its direction {name!r} is {type(direction).__name__}, expected Direction", "type")
            continue
        if not direction.networks:
            yield node.problem(f"its direction {name!r} names no network", "type")
        absent = [letter for letter in direction.networks if letter not in pipeline.members]
        if absent:
            made = ", ".join(pipeline.members)
            message = f"its direction {name!r} needs {' and '.join(absent)}, which no key here makes"
            yield node.problem(message, "type", hints=[f"made: {made}"])
        for domain in (direction.source, direction.target):
            if domain and domain not in data.channels:
                message = (
                    f"gives {', '.join(data.channels)}, and the direction {name!r} of this pipeline needs {domain}"
                )
                yield data.node.problem(message, "type")


def _phase_problems(root: Node, node: Node, pipeline: Pipeline) -> Iterator[Problem]:
    letters = {letter for role in pipeline.networks.values() for letter in role.makes}
    names = [phase.name for phase in pipeline.phases]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield node.problem(f"two of its phases are named {name!r}", "type")
    for phase in pipeline.phases:
        strange = [letter for letter in phase.trains if letter not in letters]
        if strange:
            yield node.problem(f"its phase {phase.name!r} trains {', '.join(strange)}, which no role makes", "type")
        if phase.optimizer not in pipeline.networks:
            near = did_you_mean(phase.optimizer, pipeline.networks)
            message = f"its phase {phase.name!r} steps the optimizer of {phase.optimizer!r}, which is no role{near}"
            yield node.problem(message, "type")
    if not pipeline.trained:
        yield root.problem("no network is left to train: all that its phases train are frozen")
        return
    stepped = dict.fromkeys(phase.optimizer for phase in pipeline.active_phases)
    optimizer = root.get("optimizer")
    for role in pipeline.networks if optimizer is not None and optimizer.is_mapping else ():
        if role not in stepped and optimizer is not None and optimizer.get(role) is not None:
            hints = [f"optimizers here: {', '.join(stepped)}"]
            yield root.problem("no phase steps this optimizer", "optimizer", role, hints=hints)


def check_trial(
    root: Node, pipeline: Pipeline, trial: Trial, data: Data, losses: Mapping[str, Sequence[Node]]
) -> tuple[str, ...]:
    """Checks that a step without memory has used what the YAML gives.

    Returns:
        What the user should know, a line each.

    Raises:
        ConfigError: A loss is never asked for.
    """
    if not trial.is_whole:
        return ()
    idle = [role for role in pipeline.objectives if role not in trial.objectives and not pipeline.losses[role].required]
    if idle:
        message = "no phase of this pipeline asks for this loss"
        raise ConfigError([root.problem(message, "losses", role, hints=["leave it out"]) for role in idle])
    has_labels = bool(data.dataset.num_classes or data.dataset.num_attributes)
    if has_labels and "label" not in trial.keys:
        return ("labels: this pipeline does not read them, they are ignored",)
    return ()
