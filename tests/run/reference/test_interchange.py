"""Parts are interchangeable: every generator, discriminator and adversarial loss takes a step in every pipeline."""

import itertools

import pytest

from i2i.core.registry import DISCRIMINATORS, GENERATORS, LOSSES, PIPELINES
from i2i.run.reference import interchange
from i2i.run.reference.interchange import Combination, combinations, pairwise, table, take_step

EVERY = list(combinations())
SELECTED = pairwise(EVERY)


def test_every_component_of_the_registries_is_among_the_combinations():
    parts = {part.partition(",")[0] for combination in EVERY for part in combination.parts.values()}
    own = {
        name
        for registry in (GENERATORS, DISCRIMINATORS, LOSSES)
        for name, (entry, *_) in registry.entries().items()
        if entry.owner == "i2i" and (registry is not LOSSES or hasattr(entry.load(), "discriminator"))
    }
    assert parts >= own
    assert {combination.pipeline for combination in EVERY} == set(PIPELINES.names())
    assert len({str(combination) for combination in EVERY}) == len(EVERY)
    assert "patchgan, 1x1" in {combination.parts["discriminator"] for combination in EVERY}


def test_the_selection_holds_every_pair():
    def pairs(found):
        return {
            pair
            for combination in found
            for pair in itertools.combinations([combination.pipeline, *combination.parts.values()], 2)
        }

    assert pairs(SELECTED) == pairs(EVERY)
    assert len(SELECTED) < len(EVERY) / 2


@pytest.mark.parametrize("combination", SELECTED, ids=str)
def test_pairs_of_parts_take_a_step(combination):
    assert take_step(combination)


@pytest.mark.slow
@pytest.mark.parametrize("combination", EVERY, ids=str)
def test_every_combination_takes_a_step(combination):
    assert take_step(combination)


def test_a_part_without_gradient_is_seen(monkeypatch):
    from i2i.networks.patchgan import PatchGANDiscriminator

    forward = PatchGANDiscriminator.forward
    monkeypatch.setattr(PatchGANDiscriminator, "forward", lambda self, x: forward(self, x) * 0)
    parts = {"generator": "resnet", "discriminator": "patchgan", "adversarial": "lsgan"}
    with pytest.raises(AssertionError, match="D receives no gradient"):
        take_step(Combination("pix2pix", parts))


def test_the_table_shows_what_fits():
    parts = {"generator": "unet", "discriminator": "multiscale"}
    chosen = [Combination("pix2pix", {**parts, "adversarial": loss}) for loss in ("lsgan", "hinge")]
    header, _, row = table(chosen).splitlines()
    cells = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    assert row.startswith("| pix2pix | unet + multiscale | ")
    assert [loss for loss, cell in cells.items() if "✓" in cell] == ["hinge", "lsgan"]


def test_what_does_not_fit_is_not_in_the_table(monkeypatch):
    monkeypatch.setitem(interchange._SMALL, "num_layers", 3)  # half of the size is too small for that
    parts = {"generator": "resnet", "adversarial": "lsgan"}
    chosen = [Combination("cyclegan", {**parts, "discriminator": name}) for name in ("patchgan, 1x1", "multiscale")]
    _, _, *rows = table(chosen).splitlines()
    assert [row.split(" | ")[1] for row in rows] == ["resnet + patchgan, 1x1"]
