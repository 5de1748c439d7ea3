"""What a pipeline declares must fit itself, its networks, its data and its run: one line each, place and way out."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from i2i.core.errors import ConfigError, DataError
from i2i.core.registry import DATASETS, GENERATORS, NETWORKS, PIPELINES
from i2i.data.base import Dataset
from i2i.images.codecs import ImageCodec
from i2i.pipelines.base import Channels, Direction, LossRole, NetworkRole, Phase, Pipeline, Stage, Terms
from i2i.run.assembly import total_steps
from i2i.run.experiment import Experiment

DOCUMENT = {
    "pipeline": {"type": "own"},
    "generator": {"type": "affine"},
    "data": {"type": "digits", "size": 8, "length": 20},
    "trainer": {"steps": 5, "batch_size": 2, "device": "cpu", "precision": "fp32"},
}
LABELLED = {"num_classes": "data.num_classes", "num_attributes": "data.num_attributes"}


class Affine(nn.Module):
    """A generator that reads what it is told of classes."""

    def __init__(self, in_channels: int, out_channels: int, num_classes: int = 0, num_attributes: int = 0) -> None:
        super().__init__()
        self.num_classes, self.num_attributes = num_classes, num_attributes
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x, label=None):
        return self.conv(x)


class Own(Pipeline):
    networks: ClassVar[Mapping[str, NetworkRole]] = {
        "generator": NetworkRole("generator", {"G": Channels(("image",), ("image",))}, takes=LABELLED)
    }
    losses: ClassVar[Mapping[str, LossRole]] = {"extra": LossRole(("pairwise",), required=False)}
    phases = (Phase("G", ("G",), "generator"),)
    directions: ClassVar[Any] = {"reconstruct": Direction(("G",), source="image")}

    def loss(self, phase, now, shared):
        return Terms({"G": self.G(now.batch["image"]).square().mean()})


def experiment(declared=Own, **changes):
    PIPELINES.register("own")(declared)
    GENERATORS.register("affine")(Affine)
    return Experiment.load({**DOCUMENT, **changes})


def error_of(declared=Own, **changes):
    with pytest.raises(ConfigError) as error:
        experiment(declared, **changes)
    said = str(error.value)
    assert "Traceback" not in said
    return said


def with_trainer(**changes):
    return {"trainer": {**DOCUMENT["trainer"], **changes}}


def test_the_shape_is_sound():
    made = experiment()
    assert made.trial.is_whole and made.directions == {"reconstruct": "reconstruct"}
    assert made.notes == ("labels: this pipeline does not read them, they are ignored",)


GIVEN = {
    "nothing": (lambda: None, "gives NoneType, expected Terms"),
    "empty": (lambda: Terms({}), "gives Terms without a loss"),
    "a list": (lambda: [Terms({"G": torch.zeros(())})], "gives list, expected Terms"),
    "a tensor": (lambda: torch.zeros(()), "gives Tensor, expected Terms"),
    "a number": (lambda: Terms({"G": 0.0}), "'G' of phase 'G' is no scalar tensor"),
    "an image": (lambda: Terms({"G": torch.zeros(2, 2)}), "'G' of phase 'G' is no scalar tensor"),
    "yields nothing": (lambda: iter(()), "gives Terms without a loss"),
    "yields others": (lambda: iter([0]), "gives int, expected Terms"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_loss_gives_terms(name):
    give, message = GIVEN[name]

    class Odd(Own):
        def loss(self, phase, now, shared):
            return give()

    said = error_of(Odd)
    assert message in said and "pipeline" in said


def declared(**attributes):
    return type("Declared", (Own,), attributes)


PHASE = Phase("G", ("G",), "generator")
ODD = {
    "no direction": ({"directions": {}}, "has no direction"),
    "no networks": ({"directions": {"a": Direction(())}}, "'a' names no network"),
    "another letter": ({"directions": {"a": Direction(("G", "E"), "image")}}, "needs E, which no key here makes"),
    "another domain": (
        {"directions": {"a": Direction(("G",), "photo")}},
        "the direction 'a' of this pipeline needs photo",
    ),
    "a phase twice": ({"phases": (PHASE, PHASE)}, "two of its phases are named 'G'"),
    "trains nobody": ({"phases": (Phase("G", ("H",), "generator"),)}, "trains H, which no role makes"),
    "no role": ({"phases": (Phase("G", ("G",), "generatr"),)}, "'generatr', which is no role, did you mean"),
    "stages": ({"stages": lambda self, n: (Stage(5, n),)}, "must begin at image 0"),
    "0.1 directions": ({"directions": {"a2b": "G"}}, 'now it is Direction((\'G\',), "a", "b")'),
}


@pytest.mark.parametrize("name", ODD)
def test_declarations_that_do_not_fit(name):
    attributes, message = ODD[name]
    said = error_of(declared(**attributes))
    assert message in said, said


def test_signatures_of_the_first_version_are_named():
    class Old(Own):
        def forward(self, batch, rng):
            return {}

        def loss(self, phase, batch, shared, rng):
            return Terms({})

    said = error_of(Old)
    assert "forward(batch, rng) is not called any more" in said and "loss(phase, now, shared)" in said
    assert said.count("\n") <= 2, "one problem: all others would follow from it"


def test_every_must_be_one_at_least():
    class Never(Own):
        def __init__(self, networks, losses, every: int = 0):
            super().__init__(networks, losses)
            self.phases = (Phase("G", ("G",), "generator", every=every),)

    said = error_of(Never)
    assert "every must be at least 1, got 0 in phase 'G'" in said
    said = error_of(Never, pipeline={"type": "own", "every": -3})
    assert "got -3" in said


def test_more_classes_than_the_network_knows():
    said = error_of(generator={"type": "affine", "num_classes": 4})
    assert "num_classes" in said and "10" in said and "4" in said
    assert "expected an integer" in error_of(generator={"type": "affine", "num_classes": "ten"})


def test_labels_that_are_not_there():
    class Reads(Own):
        def loss(self, phase, now, shared):
            return Terms({"G": self.G(now.batch["image"], now.batch["label"]).mean()})

    said = error_of(Reads, data={"type": "digits", "size": 8, "labels": False})
    assert "gives no 'label', which this pipeline reads" in said and "data.classes=auto" in said
    assert not experiment(Reads).notes


def test_an_attribute_that_is_not_there():
    class Takes(Own):
        networks: ClassVar[Mapping[str, NetworkRole]] = {
            "generator": NetworkRole("generator", {"G": Channels(("image",), ("image",))}),
            "second": NetworkRole(
                "generator", {"H": Channels(("image",), ("image",))}, takes={"num_classes": "G.num_latents"}
            ),
        }

    said = error_of(Takes, second={"type": "affine"})
    assert "num_latents" in said and "G" in said


def test_an_optimizer_that_no_phase_steps():
    class Two(Own):
        networks: ClassVar[Mapping[str, NetworkRole]] = {
            **Own.networks,
            "second": NetworkRole("generator", {"H": Channels(("image",), ("image",))}),
        }

    optimizer = {"generator": {"type": "adam"}, "second": {"type": "adam"}}
    said = error_of(Two, second={"type": "affine"}, optimizer=optimizer)
    assert "optimizer.second" in said and "no phase steps this optimizer" in said


def test_an_average_of_nothing():
    class Judges(Own):
        networks: ClassVar[Mapping[str, NetworkRole]] = {
            **Own.networks,
            "second": NetworkRole("generator", {"H": Channels(("image",), ("image",))}),
        }
        directions: ClassVar[Any] = {"other": Direction(("H",), "image")}

    said = error_of(Judges, second={"type": "affine"}, **with_trainer(ema=0.9))
    assert "trainer.ema" in said and "averages nothing" in said


def test_a_loss_that_nobody_asks_for():
    said = error_of(losses={"extra": {"type": "l1"}})
    assert "losses.extra" in said and "no phase of this pipeline asks for this loss" in said


class Growing(Own):
    def stages(self, batch_size):
        return (Stage(0, batch_size), Stage(100, batch_size))


def test_a_stage_that_the_run_never_reaches():
    said = error_of(Growing, **with_trainer(steps=None, images=100))
    assert "trainer.images" in said and "a stage of the pipeline begins at 100" in said and "trainer.images=101" in said
    assert experiment(Growing, **with_trainer(steps=None, images=101)).trial.is_whole
    made = experiment(Growing, **with_trainer(steps=None, epochs=5))
    with pytest.raises(ConfigError, match=r"trainer\.epochs.*begins at 100"):
        total_steps(made, length=20)
    assert total_steps(made, length=21) == 53
    assert total_steps(experiment(Growing), length=20) == 5, "steps cut a run short where they say so"


def test_a_network_may_take_what_another_offers():
    class Encoder(nn.Module):
        def __init__(self, in_channels: int, num_numbers: int = 3) -> None:
            super().__init__()
            self.num_numbers = num_numbers
            self.conv = nn.Conv2d(in_channels, num_numbers, 1)

        def forward(self, x):
            return self.conv(x)

        def code(self, x):
            return self(x).mean((2, 3))

    class Mute(nn.Identity):
        def __init__(self, in_channels: int) -> None:
            super().__init__()

    class Takes(Own):
        networks: ClassVar[Mapping[str, NetworkRole]] = {
            "encoder": NetworkRole(
                "network", {"E": Channels(("image",))}, takes={"num_numbers": "G.num_classes"}, offers=("code",)
            ),
            **Own.networks,
        }

        def loss(self, phase, now, shared):
            return Terms({"G": self.G(now.batch["image"]).mean() + self.E.code(now.batch["image"]).mean()})

    NETWORKS.register("numbers")(Encoder)
    NETWORKS.register("mute")(Mute)
    made = experiment(Takes, encoder={"type": "numbers"})
    assert made.build_pipeline().members["E"].num_numbers == 10, "planned after G, though named before"
    assert experiment(Takes, encoder={"type": "numbers", "num_numbers": 5}).build_pipeline().E.num_numbers == 5
    said = error_of(Takes, encoder={"type": "mute"})
    assert "the network 'mute' has no code, which this pipeline calls" in said


class Photos(Dataset):
    codecs: ClassVar[Any] = {"photo": ImageCodec(3)}
    size = (8, 8)

    def __len__(self):
        return 5

    def get(self, index, rng):
        return {"photo": torch.zeros(3, 8, 8), "path": f"{index}"}


def test_a_domain_that_the_data_do_not_give():
    DATASETS.register("photos")(Photos)
    said = error_of(data={"type": "photos"})
    assert "photo" in said and "image" in said


def test_a_step_is_tried_with_as_many_images_as_it_has():
    class Normalised(Affine):
        def forward(self, x, label=None):
            y = self.conv(x)
            if self.training:
                y = y + nn.functional.batch_norm(y.mean((2, 3)), None, None, training=True)[:, :, None, None]
            return y

    GENERATORS.register("normalised")(Normalised)
    assert experiment(generator={"type": "normalised"}).trial.is_whole
    said = error_of(generator={"type": "normalised"}, **with_trainer(batch_size=4, accumulate=4))
    assert "a training step on image 1x1x8x8" in said and "batch normalisation needs two images or more" in said


def test_a_data_set_that_finds_no_files_says_so_in_its_own_words():
    class Nowhere(Photos):
        def __init__(self, root: str = "photos"):
            raise DataError(f"{root}: no such folder", ["data.root=FOLDER says where they are"])

    DATASETS.register("nowhere")(Nowhere)
    said = error_of(data={"type": "nowhere"})
    assert said.startswith("<config> data: photos: no such folder\n    data.root=FOLDER says")


def test_a_pipeline_may_have_buffers_of_its_own_and_no_parameters():
    class Keeps(Own):
        def __init__(self, networks, losses):
            super().__init__(networks, losses)
            self.register_buffer("mean", torch.ones(()))

        def loss(self, phase, now, shared):
            return Terms({"G": (self.G(now.batch["image"]) - self.mean).square().mean()})

    class Scales(Keeps):
        def __init__(self, networks, losses):
            super().__init__(networks, losses)
            self.scale = nn.Parameter(torch.ones(()))

    made = experiment(Keeps)
    assert made.trial.is_whole and made.build_pipeline().mean == 1
    assert "has a parameter of its own, 'scale', which no phase would train" in error_of(Scales)


@pytest.mark.parametrize("is_constant", [False, True])
def test_a_phase_whose_losses_do_not_depend_on_what_it_trains(is_constant):
    class Constant(Own):
        phases = (Phase("G", ("G",), "generator", constant_shared=is_constant),)

        def forward(self, now):
            return {"fake": self.G(now.batch["image"])}

        def loss(self, phase, now, shared):
            return Terms({"G": (shared["fake"] if is_constant else shared["fake"].detach()).mean()})

    said = error_of(Constant)
    assert "fails in phase 'G': none of its losses depends on G, which it trains" in said


def test_two_directions_from_noise():
    both = {name: Direction(("G",), target="image") for name in ("day", "night")}
    assert "has 2 directions from noise, day and night, and can have one" in error_of(declared(directions=both))


LOST = {
    "twice": (lambda x: iter([Terms({"G": x}), Terms({"G": x})]), "'G' of phase 'G' has the name of another loss"),
    "a statistic's": (lambda x: Terms({"G": x}, {"G": x}), "'G' of phase 'G' has the name of another loss"),
    "the log's": (lambda x: Terms({"G": x}, {"step": x}), "'step' of phase 'G' has the name of the log"),
    "no tensor": (lambda x: Terms({"G": x}, {"n": 1.0}), "the statistic 'n' of phase 'G' is no scalar tensor"),
    "kept twice": (
        lambda x: iter([Terms({"G": x}, keep={"m": x}), Terms({"H": x}, keep={"m": x})]),
        "'keep m' of phase",
    ),
    "kept number": (lambda x: Terms({"G": x}, keep={"m": 1.0}), "phase 'G' keeps 'm', which is float, no tensor"),
}


@pytest.mark.parametrize("name", LOST)
def test_names_and_values_that_would_be_lost(name):
    give, message = LOST[name]

    class Odd(Own):
        def loss(self, phase, now, shared):
            return give(self.G(now.batch["image"]).mean())

    assert message in error_of(Odd)


def test_labels_that_are_read_with_the_whole_batch():
    class Copies(Own):
        def loss(self, phase, now, shared):
            batch = dict(now.batch)
            return Terms({"G": self.G(batch["image"], batch["label"]).mean()})

    assert experiment(Copies, generator={"type": "affine"}).reads_labels


def test_a_class_that_is_no_pipeline():
    PIPELINES.register("own")(Affine)
    with pytest.raises(ConfigError, match="does not derive from i2i.Pipeline"):
        Experiment.load(DOCUMENT)


class Deaf(Own):
    """Its direction is another thing than its training."""

    directions: ClassVar[Any] = {"reconstruct": Direction(("G",), source="image", target="image")}
    networks: ClassVar[Mapping[str, NetworkRole]] = Own.networks | {
        "other": NetworkRole("generator", {"H": Channels(("image",), ("image",))})
    }


def refuses(self, x, direction, rng):
    raise KeyError("nothing")


DEAF = {
    "no method": (
        {"directions": {"there and back": Direction(("G", "H"), source="image", target="image")}},
        "direction 'there and back' fails: ",
    ),
    "an error": ({"translate": refuses}, "direction 'reconstruct' fails: 'nothing'"),
    "another network": (
        {"translate": lambda self, x, direction, rng: self.H(self.G(x))},
        "direction 'reconstruct' calls H, and does not name it among its networks",
    ),
    "other channels": (
        {"translate": lambda self, x, direction, rng: self.G(x).repeat(1, 3, 1, 1)},
        "direction 'reconstruct' makes 3 channels, image has 1",
    ),
    "no generate": ({"directions": {"noise": Direction(("G",), target="image")}}, "direction 'noise' fails: "),
}


@pytest.mark.parametrize("name", DEAF)
def test_each_direction_is_tried_before_training(name):
    attributes, message = DEAF[name]
    assert message in error_of(type("Deaf", (Deaf,), attributes), other={"type": "affine"})


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"class_names": (3, 7)}, "its class_names hold 3, expected text"),
        ({"attributes": ("old", None)}, "its attributes hold None, expected text"),
        ({"num_classes": 4}, "has num_classes 4, and 0 class_names"),
    ],
)
def test_names_that_a_bundle_could_not_hold(attributes, message):
    DATASETS.register("photos")(type("Named", (Photos,), {"codecs": {"image": ImageCodec(1)}, **attributes}))
    assert message in error_of(data={"type": "photos"})


def bare(**attributes):
    """A pipeline with the attributes of :class:`Own` that are not named here."""
    names = {"networks", "losses", "phases", "directions", "loss"} - set(attributes)
    kept = {name: getattr(Own, name) for name in names} | attributes
    return type("Bare", (Pipeline,), {name: value for name, value in kept.items() if value is not None})


def forgets(self, networks, losses):
    self.networks_given = networks


BARE = {
    "no phases": ({"phases": None}, "it declares no phases: phases = (Phase("),
    "no directions": ({"directions": None}, "it declares no directions: directions = {"),
    "one phase": ({"phases": Phase("G", ("G",), "generator")}, "it declares no phases"),
    "no super": ({"__init__": forgets}, "its __init__ does not begin with super().__init__(networks, losses)"),
    "a kind": ({"networks": {"generator": NetworkRole("generater", {"G": Channels()})}},
               "its role 'generator' is of the unknown kind 'generater', did you mean 'generator'?"),
    "no role": ({"networks": {"generator": ("G",)}}, "its role 'generator' is tuple, expected NetworkRole"),
    "a loss": ({"loss": lambda self, phase, now, shared: Terms({"G": self.objective("extre")(0, 0)})},
               "no loss has the role 'extre'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BARE)
def test_what_each_pipeline_has(name):
    attributes, message = BARE[name]
    assert message in error_of(bare(**attributes))


TEXTS = [lambda: Channels(inputs="image"), lambda: LossRole("pairwise"), lambda: Phase("G", "G", "generator")]


@pytest.mark.parametrize("make", TEXTS)
def test_a_text_is_no_tuple(make):
    with pytest.raises(TypeError, match="is a tuple: "):
        make()


@pytest.mark.parametrize("missing", ["codecs", "__len__", "get"])
def test_what_each_data_set_has(missing):
    kept = {name: value for name, value in vars(Photos).items() if name in ("codecs", "size", "__len__", "get")}
    del kept[missing]
    DATASETS.register("photos")(type("Bare", (Dataset,), kept))
    assert f"data.type: Bare declares no {missing}" in error_of(data={"type": "photos"})
