"""Every pipeline on a GPU, as tensors without numbers show it: none meets one of another device, none is read.

PyTorch lets such tensors lie on ``cuda`` where there is none. A value that the host reads ends in an error there, as
does an operation on tensors of two devices.
"""

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from i2i.core.registry import PIPELINES
from i2i.pipelines.base import Now, Terms, each_of
from i2i.run.experiment import Experiment
from tests.conftest import REPOSITORY

VARIANTS = {
    "cyclegan": [
        [],
        ["losses.adversarial.type=wgan", "discriminator.norm=instance"],
        ["losses.identity={type: ssim}", "losses.cycle=[{type: l1, weight: 10}, {type: perceptual, weights: random}]"],
    ],
    "pix2pix": [
        [],
        ["losses.adversarial.type=hinge", "losses.feature_matching={type: l1, weight: 10}"],
        ["losses.adversarial={type: vanilla, real_label: 0.9}", "losses.reconstruction={type: smooth_l1}"],
        ["losses.adversarial={type: non_saturating, r1: 1.0}", "losses.reconstruction={type: charbonnier}"],
    ],
    "gan": [
        [],
        ["losses.adversarial.type=wgan"],
        ["data.labels=false"],
        ["losses.adversarial={type: vanilla}", "pipeline.r1=0"],
    ],
}


@contextmanager
def on_fake_gpu(name, overrides):
    """Gives a pipeline and a step; what is neither parameter nor buffer stays where it is, as with ``.to("cuda")``."""
    experiment = Experiment.load(REPOSITORY / f"configs/tiny/{name}.yaml", ["trainer.precision=fp32", *overrides])
    pipeline = experiment.build_pipeline().train()
    batch = {key: value.numpy() for key, value in experiment.data.sample(2, "cpu").items()}
    with FakeTensorMode(allow_non_fake_inputs=True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.autograd, "grad", slopes_of_nothing)
        for module in pipeline.modules():
            for key, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[key] = nn.Parameter(fake(parameter), parameter.requires_grad)
            module._buffers.update({key: fake(b) for key, b in module._buffers.items() if b is not None})
        on_gpu = {key: torch.from_numpy(value).to("cuda") for key, value in batch.items()}
        yield pipeline, Now(on_gpu, torch.Generator())


def slopes_of_nothing(outputs, inputs, *_, **__):
    """Tensors without numbers have no backward pass on a GPU that is not there: penalties get slopes of zero."""
    return tuple(torch.zeros_like(x) for x in (inputs if isinstance(inputs, list | tuple) else [inputs]))


def fake(tensor):
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")


def step(pipeline, now):
    """Forward and losses."""
    shared = pipeline(now)
    for phase in pipeline.phases:
        seen = {key: value.detach() for key, value in shared.items()} if phase.constant_shared else shared
        terms = Terms.joined(each_of(pipeline.loss(phase.name, now, seen), phase.name))
        for name, value in (terms.losses | terms.statistics).items():
            assert value.device.type == "cuda", name


def test_every_pipeline_is_tried():
    assert set(PIPELINES.names()) == set(VARIANTS)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [pytest.param(n, v, id=f"{n}-{' '.join(v) or 'plain'}") for n, variants in VARIANTS.items() for v in variants],
)
def test_forward_and_losses_stay_on_the_gpu_and_read_nothing(name, overrides):
    with on_fake_gpu(name, overrides) as (pipeline, now):
        step(pipeline, now)
        if "generate" in pipeline.directions:
            z = torch.randn(2, *pipeline.latent_shape, device="cuda")
            assert pipeline.generate(z, now.batch.get("label")).device.type == "cuda"
        else:
            x = next(iter(now.batch.values()))
            for direction in pipeline.directions:
                assert pipeline.translate(x, direction, torch.Generator()).device.type == "cuda"


def test_a_tensor_on_the_wrong_device_is_seen():
    class Mixed(PIPELINES.get("gan")):
        def forward(self, now):
            return {"fake": super().forward(now)["fake"] + torch.zeros(2, 1, 16, 16)}

    with on_fake_gpu("gan", []) as (pipeline, now):
        pipeline.__class__ = Mixed
        with pytest.raises(RuntimeError, match="device"):
            step(pipeline, now)


def test_a_read_is_seen():
    class Reading(PIPELINES.get("gan")):
        def loss(self, phase, now, shared):
            terms = super().loss(phase, now, shared)
            return terms if next(iter(terms.losses.values())) > 0 else Terms({})

    with on_fake_gpu("gan", []) as (pipeline, now):
        pipeline.__class__ = Reading
        with pytest.raises(DataDependentOutputException):
            step(pipeline, now)
