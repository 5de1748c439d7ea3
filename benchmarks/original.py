"""The original PyTorch code of CycleGAN and Pix2Pix (pytorch-CycleGAN-and-pix2pix), run out of a checkout.

Its own options, models, data sets and schedules do the work; here they are only called.
"""

import contextlib
import copy
import importlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils.data import default_collate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from i2i.inference.importing.reference_names import load_reference
from i2i.training.updater import Updater

FILES = (
    "models/cycle_gan_model.py",
    "models/pix2pix_model.py",
    "data/unaligned_dataset.py",
    "options/train_options.py",
)


def check_checkout(path: Path) -> str:
    """Returns the commit of a checkout, with a note where its files were changed; ``unknown`` where git cannot tell.

    Raises:
        SystemExit: It is none of the original code.
    """
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        print(f"--upstream {path}: no checkout of pytorch-CycleGAN-and-pix2pix, it lacks {missing[0]}", file=sys.stderr)
        raise SystemExit(2)
    git = ["git", "-C", str(path)]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run([*git, "status", "--porcelain", "--", "*.py"], capture_output=True, text=True)
    return (commit.stdout.strip() or "unknown") + (", with changes" if changed.stdout else "")


class Original:
    """A model of the original and its data set.

    Args:
        checkout: The folder of the original code.
        flags: As on its command line.
        dtype: Of weights and images.
        seed: Of the initial weights.
        device: ``cpu`` or ``cuda``, which is its first GPU.
        has_data: Whether to make its data set, which looks for files; without, only ``take`` gives it images.

    Attributes:
        model: The original's own object.
        dataset: The original's own object; None where ``has_data`` is not set.
        real: The images of the item read last, by ``a`` and ``b``, as the model takes them: after ``--direction``.
    """

    def __init__(
        self,
        checkout: Path,
        flags: list[str],
        dtype: torch.dtype,
        seed: int,
        device: str = "cpu",
        has_data: bool = True,
    ) -> None:
        if str(checkout) not in sys.path:
            sys.path.insert(0, str(checkout))
        if device == "cpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # it would move its networks there
        options, models, data = map(importlib.import_module, ("options.train_options", "models", "data"))
        with _quiet(), mock.patch.object(sys, "argv", ["train.py", *flags]), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            opt = options.TrainOptions().parse()
            opt.device = torch.device(device)
            self.dataset: Any = data.find_dataset_using_name(opt.dataset_mode)(opt) if has_data else None
            self.model = models.create_model(opt)
            self.model.setup(opt)
        self.dtype = dtype
        for part in (*map(self.network, self.model.model_names), self.model.criterionGAN):
            part.to(dtype)
        self.real: dict[str, Tensor] = {}

    def network(self, name: str) -> Any:
        """Returns a network by the original's name, such as ``G_A``."""
        return getattr(self.model, f"net{name}")

    def read(self, a_path: str, b_path: str) -> None:
        """Reads the images of an item, as float32, and hands them to the model in its own type."""
        data = self.dataset
        if hasattr(data, "AB_paths"):
            item = dict(data[data.AB_paths.index(a_path)])
        else:  # with --serial_batches the index alone decides
            item = {**data[data.A_paths.index(a_path)], "B": data[data.B_paths.index(b_path)]["B"]}
        batch = default_collate([item])
        self.model.set_input(batch)
        self.real = {"a": self.model.real_A, "b": self.model.real_B}
        self.model.set_input({key: value.to(self.dtype) if key in "AB" else value for key, value in batch.items()})

    def take(self, a: Tensor, b: Tensor) -> None:
        """Takes a step with images as its data set would give them, and nothing else."""
        self.model.set_input({"A": a, "B": b, "A_paths": [], "B_paths": []})
        self.model.optimize_parameters()

    def fill_pools(self) -> None:
        """Fills its image pools with copies of what they hold, as they will be after some steps."""
        for pool in (getattr(self.model, f"fake_{domain}_pool", None) for domain in "AB"):
            if pool is not None and pool.pool_size and pool.images:
                missing = pool.pool_size - len(pool.images)
                pool.images += [pool.images[0].clone() for _ in range(missing)]
                pool.num_imgs = len(pool.images)

    def step(self) -> dict[str, float]:
        """Takes a step with the images read last; returns the losses by the original's names."""
        self.model.optimize_parameters()
        names: list[str] = self.model.loss_names
        return {name: float(getattr(self.model, f"loss_{name}").detach()) for name in names}

    def end_epoch(self) -> None:
        with _quiet():
            self.model.update_learning_rate()

    def hand_over(self, updater: Updater, names: dict[str, str]) -> None:
        """Gives our networks and optimizers the weights and the Adam state of the original.

        Args:
            updater: Ours.
            names: Our networks' letters -> the original's names.
        """
        roles = {letter: phase.optimizer for phase in updater.pipeline.phases for letter in phase.trains}
        for letter, name in names.items():
            network, weights = updater.pipeline.members[letter], self.network(name).state_dict()
            load_reference(network, weights)
            carriers = []  # moments have the names and shapes of weights, and cross over as such
            for kind in ("exp_avg", "exp_avg_sq"):
                carriers.append(copy.deepcopy(network))
                load_reference(carriers[-1], {**weights, **self._moments(name, kind)})
            state, steps = updater.optimizers[roles[letter]].state, self._moments(name, "step")
            parameters = zip(network.parameters(), *(carrier.parameters() for carrier in carriers), strict=True)
            for own, mean, square in parameters if steps else ():
                step = next(iter(steps.values())).clone()  # the same of all
                state[own] = {"step": step, "exp_avg": mean.detach(), "exp_avg_sq": square.detach()}

    def _moments(self, name: str, kind: str) -> dict[str, Tensor]:
        """Part of Adam's state of a network's parameters, by their names; empty before the first step."""
        optimizer = self.model.optimizer_G if name.startswith("G") else self.model.optimizer_D
        parameters = self.network(name).named_parameters()
        return {key: optimizer.state[own][kind] for key, own in parameters if own in optimizer.state}


def _quiet() -> contextlib.AbstractContextManager[object]:
    return contextlib.redirect_stdout(io.StringIO())
