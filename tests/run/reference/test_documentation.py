"""What is read from signatures and docstrings, and the reference made of it."""

import re
from typing import Annotated, Literal

import pytest
from torch import Tensor

from i2i.cli import main
from i2i.core.registry import LOSSES, REGISTRIES, Entry
from i2i.run.reference.documentation import REQUIRED, Argument, arguments_of, entries_of, summary_of
from i2i.run.reference.page import reference
from i2i.training.settings import TrainerSettings
from tests.conftest import REPOSITORY


class Base:
    """Base of all.

    Args:
        policy: One of two, ``on``
            or ``off``.
    """

    def __init__(self, policy: str) -> None:
        """
        Args:
            check: Of the base.
        """


class Example(Base):
    """Does one thing, as :func:`torch.add` does,
    on two lines.

    And more: this is no argument.

    Args:
        in_channels: Channels.
        rate: How fast: ``1`` is usual.

            - a list, for instance
        policy: See :class:`Base`; here ``on`` is usual.
        check: Of its own.

    Attributes:
        rate: Not the argument.
        stride: No argument.

    Raises:
        ValueError: Never.
    """

    def __init__(
        self,
        in_channels: int,
        rate: float | Tensor = 1.0,
        policy: Literal["on", "off"] = "on",
        check: Annotated[bool, "mark"] = True,
    ) -> None:
        pass


def test_arguments_of_a_class_and_its_bases() -> None:
    in_channels, rate, policy, check = arguments_of(Example)
    assert in_channels == Argument("in_channels", int, REQUIRED, "Channels.")
    assert not in_channels.is_required  # the data tell
    assert (rate.annotation, rate.default, rate.type_text) == (float, 1.0, "a number")
    assert rate.text.startswith("How fast: `1` is usual.")
    assert policy.text == "One of two, `on` or `off`. Here `on` is usual."
    assert policy.type_text == "one of 'on', 'off'"
    assert check.text == "Of its own."


def test_arguments_of_a_dataclass_are_its_attributes() -> None:
    texts = {argument.name: argument.text for argument in arguments_of(TrainerSettings)}
    assert all(texts.values())
    assert texts["seed"] == "Decides initial weights, order, augmentation and every other random choice."


def test_summary_is_the_first_paragraph() -> None:
    assert summary_of(Example) == "Does one thing, as `torch.add` does, on two lines."
    assert summary_of(REGISTRIES["optimizer"].get("adam")) == "`torch.optim.Adam`, documented there."


def test_entries_leave_out_what_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "l1": [Entry("l1", "a:B", "i2i")],
        "mine": [Entry("mine", "c:D", "mine-dist")],
        "both": [Entry("both", "a:B", "i2i"), Entry("both", "c:D", "mine-dist")],
    }
    monkeypatch.setattr(LOSSES, "entries", lambda: found)
    assert list(entries_of(LOSSES)) == ["l1", "mine"]
    assert list(entries_of(LOSSES, plugins=False)) == ["l1"]


def test_the_reference_holds_every_key_of_every_component() -> None:
    text = reference(plugins=False)
    for kind, registry in REGISTRIES.items():
        section = text.partition(f"\n## {'losses' if kind == 'loss' else kind + 's'}\n")[2].partition("\n## ")[0]
        for name in entries_of(registry, plugins=False):
            part = section.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
            assert summary_of(registry.get(name)) in part
            for argument in arguments_of(registry.get(name)):
                assert f"`{argument.name}`" in part or argument.name in ("in_channels", "out_channels"), argument
    assert r"| `num_blocks` | an integer | `9` | Number of residual blocks. |" in text
    assert "| `losses.identity` | pairwise loss |" in text
    assert "| `losses.cycle` * | pairwise loss |" in text


def test_a_bar_in_a_text_does_not_end_a_cell() -> None:
    row = next(line for line in reference(plugins=False).splitlines() if line.startswith("| `gradient_penalty`"))
    assert row.replace(r"\|", "").count("|") == 5


def test_the_shipped_reference_is_up_to_date() -> None:
    shipped = (REPOSITORY / "docs/reference.md").read_text()
    assert shipped == reference(plugins=False), (
        "run: python tools/components.py --markdown --no-plugins --out docs/reference.md"
    )


def test_links_of_the_reference_lead_somewhere() -> None:

    text = reference(plugins=False)
    headings = {line.lstrip("# ").replace(" ", "-").lower() for line in text.splitlines() if line.startswith("#")}
    links = set(re.findall(r"\]\(#([^)]*)\)", text))
    assert links
    assert links <= headings


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("components", ["--markdown", "--no-plugins"]) == 0
    assert capsys.readouterr().out == reference(plugins=False)
