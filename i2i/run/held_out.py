"""The YAML's ``validation``: which held-out images are measured, by what, and which metric chooses the best state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from i2i.core.config.build import check_and_build, check_arguments, find_component, make
from i2i.core.config.document import Node, merge, node_of
from i2i.core.errors import ConfigError
from i2i.core.registry import DATASETS, METRICS, TRACKERS, did_you_mean
from i2i.run.checks import DATA_KEYS, Data, Problems
from i2i.training.settings import ValidationSettings

DEFAULT_METRICS = ("psnr", "ssim", "l1")
_OWN_KEYS = ("metrics", "data", "split")


@dataclass(frozen=True)
class HeldOut:
    """A checked ``validation``.

    Attributes:
        node: Where it stands.
        settings: Its plain keys.
        dataset: The held-out images; has not looked at its files yet.
        metrics: By name.
    """

    node: Node
    settings: ValidationSettings
    dataset: Any
    metrics: dict[str, Any]


def check_validation(root: Node, data: Data | None) -> HeldOut | None:
    """Checks ``validation`` and builds what it names; ``None`` where there is none.

    The images are those of ``data`` with another ``split`` and whatever ``validation.data`` changes.

    Raises:
        ConfigError: Holds every problem found.
    """
    node = root.get("validation")
    if node is None:
        return None
    if not node.is_mapping:
        raise ConfigError([node.problem("expected a mapping such as {split: val, every: 1000, metrics: [psnr]}")])
    problems = Problems()
    settings = problems.attempt(check_and_build, ValidationSettings, node.without(_OWN_KEYS))
    metrics = problems.attempt(_metrics, node)
    dataset = problems.attempt(_dataset, node, data) if data else None
    if settings and metrics:
        problems.attempt(_check_best, node, settings.best, metrics)
    problems.stop_if_any()
    assert settings is not None and metrics is not None  # they had no problem
    return HeldOut(node, settings, dataset, metrics)


def _dataset(node: Node, data: Data) -> Any:
    changes = node.get("data") or Node({}, node.place, (*node.path, "data"))
    if not changes.is_mapping:
        raise ConfigError([changes.problem("expected a mapping such as {root: FOLDER}")])
    split = node.get("split") or Node("val", node.place, (*node.path, "split"))
    if changes.get("split") is None:
        changes = merge(Node({"split": split}, changes.place, changes.path), changes)
    return make(DATASETS, merge(data.node, changes).without(DATA_KEYS))


def _metrics(node: Node) -> dict[str, Any]:
    given = node.get("metrics")
    if given is None:
        nodes = [node_of({"type": name}, (*node.path, "metrics"), node.place) for name in DEFAULT_METRICS]
    else:
        children = given.value if isinstance(given.value, list) else [given]
        nodes = [child if child.is_mapping else Node({"type": child}, child.place, child.path) for child in children]
        if not nodes:
            raise ConfigError([given.problem("expected at least one metric", hints=[_known()])])
    problems, metrics = Problems(), {}
    for child in nodes:
        metric = problems.attempt(make, METRICS, child)
        if metric is None:
            continue
        name = child.plain()["type"]
        if name in metrics:
            problems.append(child.problem(f"the metric {name!r} stands twice"))
        metrics[name] = metric
    problems.stop_if_any()
    return metrics


def _check_best(node: Node, best: str | None, metrics: dict[str, Any]) -> None:
    if best is None:
        return
    if best not in metrics:
        hints = [f"metrics here: {', '.join(metrics)}"]
        raise ConfigError(
            [node.problem(f"no metric here is named {best!r}{did_you_mean(best, metrics)}", "best", hints=hints)]
        )
    if getattr(metrics[best], "higher_is_better", None) is None:
        raise ConfigError([node.problem(f"{best!r} does not say which way is better, so it cannot choose", "best")])


def _known() -> str:
    return f"metrics: {', '.join(METRICS.names())}"


def check_trackers(root: Node) -> list[tuple[str, Callable[..., Any], Node]]:
    """Checks ``trackers``, a list of nodes; nothing is built, since a tracker may call its server when it is.

    Returns:
        The name, class and node of each.

    Raises:
        ConfigError: Holds every problem found.
    """
    node = root.get("trackers")
    if node is None:
        return []
    if not isinstance(node.value, list):
        raise ConfigError([node.problem("expected a list such as [{type: NAME}]")])
    problems, found = Problems(), []
    for child in node.value:
        component = problems.attempt(find_component, TRACKERS, child)
        if component is None:
            continue
        problems += check_arguments(component, child)
        if not hasattr(component, "on_log"):
            problems.append(child.problem("is no tracker: it has no method on_log(step, values)", "type"))
        found.append((child.plain()["type"], component, child))
    problems.stop_if_any()
    return found
