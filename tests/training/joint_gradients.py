"""Run by test_distributed.py under torchrun: saves the gradients of a step in float64, each process with its share."""

import sys

import torch

from i2i.core.config.document import node_of
from i2i.run.experiment import Experiment
from i2i.training import distributed
from i2i.training.updater import Updater
from tests.training.timelines import timeline_of

BATCH = 4


def main(pipeline: str, path: str) -> None:
    device = torch.device("cpu")
    compared = {"cyclegan": "cycle", "pix2pix": "reconstruction"}[pipeline]
    pool = {"pool_size": 0} if pipeline == "cyclegan" else {}
    document = {
        "pipeline": {"type": pipeline, **pool},
        "generator": {"type": "resnet", "num_blocks": 1, "base_channels": 4},
        "discriminator": {"type": "patchgan", "num_layers": 1, "base_channels": 4},
        "losses": {"adversarial": {"type": "lsgan"}, compared: {"type": "l1", "weight": 10}},
        "data": {"type": "synthetic", "size": 32, "paired": pipeline == "pix2pix"},
        "optimizer": {"type": "sgd", "lr": 1e-3},
        "trainer": {"steps": 9, "batch_size": BATCH, "precision": "fp32"},
    }
    experiment = Experiment(node_of(document))
    builders = {role: lambda ps, role=role: experiment.build_optimizer(role, ps) for role in experiment.optimizer_roles}
    model = experiment.build_pipeline().double()
    updater = Updater(model, builders, timeline_of(), experiment.settings, device)
    model.train()
    rng = torch.Generator().manual_seed(1)
    joint = {key: torch.rand(BATCH, 3, 32, 32, generator=rng, dtype=torch.float64) * 2 - 1 for key in "ab"}
    share = BATCH // distributed.world_size()
    first = distributed.rank() * share
    updater.step({key: images[first : first + share] for key, images in joint.items()})
    if distributed.is_main():
        torch.save({name: p.grad for name, p in model.members.named_parameters()}, path)


if __name__ == "__main__":
    with distributed.joined():
        main(*sys.argv[1:])
