"""What a run will be, as text."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from i2i.run.experiment import Experiment
from i2i.run.network_plans import NetworkPlan
from i2i.run.plan.units import flops, shape


def describe(experiment: Experiment) -> Iterator[str]:
    """Describes networks, losses and optimizers, line by line; networks stay on the meta device, no file is read."""
    yield f"{experiment.name}: {experiment.root.find(['pipeline', 'type']).plain()}"
    yield ""
    header = ["network", "type", "input", "output", "parameters", "receptive field", "forward"]
    rows = [_network_row(experiment, letter, plan) for letter, plan in experiment.network_plans.items()]
    yield from table([header, *rows])
    yield ""
    yield from _loss_lines(experiment)
    yield ""
    yield from _run_lines(experiment)


def table(rows: list[list[str]]) -> Iterator[str]:
    """Lays rows out in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _network_row(experiment: Experiment, letter: str, plan: NetworkPlan) -> list[str]:
    network = experiment.meta_networks[letter]
    count = f"{sum(parameter.numel() for parameter in network.parameters()):,}"
    field = getattr(network, "receptive_field", None)
    call = experiment.trial.calls.get(letter)
    kind = f"{plan.type}, frozen" if plan.frozen else plan.type
    if call is None:
        return [letter, kind, "?", "?", count, f"{field} px" if field else "-", "?"]
    made = ", ".join(shape([1, *output[1:]]) for output in call.outputs) or "-"
    inputs = [value[:1] if isinstance(value, Tensor) else value for value in call.inputs]
    arithmetic = flops(_forward_flops(network, inputs))
    return [letter, kind, shape(list(inputs[0].shape)), made, count, f"{field} px" if field else "-", arithmetic]


def _forward_flops(network: nn.Module, inputs: list[Any]) -> int:
    was_training = network.training
    network.eval()  # in training, batch normalisation takes no single image
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(*inputs)
    finally:
        network.train(was_training)
    return counter.get_total_flops()


def _loss_lines(experiment: Experiment) -> Iterator[str]:
    for role, nodes in experiment.loss_nodes.items():
        shown = " + ".join(f"{node.plain().get('weight', 1):g} {node.plain()['type']}" for node in nodes)
        yield f"loss {role}: {shown}"


def _run_lines(experiment: Experiment) -> Iterator[str]:
    settings = experiment.settings
    amounts = {"steps": settings.steps, "images": settings.images, "epochs": settings.epochs}
    length = next(f"{count:,} {unit}" for unit, count in amounts.items() if count is not None)
    parts = f" in {settings.accumulate} parts" if settings.accumulate > 1 else ""
    images = "1 image" if settings.batch_size == 1 else f"{settings.batch_size} images"
    each = f" of {images}" if settings.steps is not None else f", {images} a step"
    yield f"run: {length}{each}{parts}, seed {settings.seed}"
    for role in experiment.optimizer_roles:
        node = experiment.optimizer_nodes[role].plain()
        arguments = ", ".join(f"{key} {value}" for key, value in node.items() if key != "type")
        yield f"optimizer of {role}: {node.get('type', 'adam')}, {arguments}"
