"""What a run will be, told before anything is loaded or allocated."""

from i2i.experiment import Experiment
from i2i.trial import NetworkPlan


def describe_plan(experiment: Experiment) -> str:
    """Describes networks, losses and length of a run; networks stay on the meta device and no file is read."""
    rows = [_network_row(experiment, letter, plan) for letter, plan in experiment.network_plans.items()]
    lines = [f"{experiment.name}: {experiment.root.find(['pipeline', 'type']).plain()}", ""]
    lines += _table(["network", "type", "input", "output", "parameters", "receptive field"], rows)
    lines += ["", *_loss_lines(experiment), "", *_run_lines(experiment)]
    return "\n".join(lines)


def _network_row(experiment: Experiment, letter: str, plan: NetworkPlan) -> list[str]:
    network = experiment.meta_networks[letter]
    count = sum(parameter.numel() for parameter in network.parameters())
    field = getattr(network, "receptive_field", None)
    shapes = experiment.shapes.get(letter)
    given, made = (_shape([shapes.input]), _shape(shapes.outputs)) if shapes else ("?", "?")
    return [letter, plan.type, given, made, f"{count:,}", f"{field} px" if field else "-"]


def _shape(shapes: list[list[int]]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes)


def _loss_lines(experiment: Experiment) -> list[str]:
    lines = []
    for role, nodes in experiment.loss_nodes.items():
        shown = " + ".join(f"{node.plain().get('weight', 1):g} {node.plain()['type']}" for node in nodes)
        lines.append(f"loss {role}: {shown}")
    return lines


def _run_lines(experiment: Experiment) -> list[str]:
    settings = experiment.settings
    length = f"{settings.steps} steps" if settings.steps is not None else f"{settings.epochs} epochs"
    lines = [f"run: {length} of {settings.batch_size} images, seed {settings.seed}"]
    for role in experiment.optimizer_roles:
        node = experiment.optimizer_nodes[role].plain()
        arguments = ", ".join(f"{key} {value}" for key, value in node.items() if key != "type")
        lines.append(f"optimizer of {role}: {node.get('type', 'adam')}, {arguments}")
    return lines


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
